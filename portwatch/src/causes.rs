//! What each cause means, how it comes about, how to see it by hand, how to mend it: the text behind
//! `portwatch generate causes` and docs/causes.md.
//!
//! Not what is said of one conflict (`advise`): this is what is true of every conflict of a cause.
#![forbid(unsafe_code)]

mod entries;

use crate::report::Cause;
use std::fmt::{self, Write};

/// The port in the commands of the page.
pub const EXAMPLE_PORT: u16 = 60001;

/// One cause.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// What has the port.
    pub means: &'static str,
    /// How that comes about.
    pub arises: &'static str,
    /// A command that shows it, for [`EXAMPLE_PORT`]; none where nothing does.
    pub see: &'static [&'static str],
    /// What such a command shows.
    pub shows: &'static str,
    /// How to mend it, what helps most first.
    pub mend: &'static [&'static str],
}

/// What there is to say of a cause.
#[must_use]
pub fn entry(cause: Cause) -> Entry {
    entries::of(cause)
}

/// Every cause, in the order of the page.
pub fn all() -> impl Iterator<Item = Cause> {
    Cause::ALL.iter().copied()
}

/// The whole page, in Markdown.
///
/// # Errors
/// Those of `out`.
pub fn write(out: &mut dyn Write) -> fmt::Result {
    out.write_str(HEAD)?;
    out.write_str("\n| `cause` | what has the port |\n|---|---|\n")?;
    for cause in all() {
        writeln!(
            out,
            "| [`{0}`](#{0}) | {1} |",
            cause.word(),
            entry(cause).means
        )?;
    }
    for cause in all() {
        one(cause, out)?;
    }
    out.write_str(FOOT)
}

fn one(cause: Cause, out: &mut dyn Write) -> fmt::Result {
    let Entry {
        means,
        arises,
        see,
        shows,
        mend,
    } = entry(cause);
    writeln!(out, "\n## {}\n", cause.word())?;
    writeln!(out, "**What it means.** The port is held by: {means}.\n")?;
    writeln!(out, "**How it comes about.** {arises}\n")?;
    writeln!(out, "**See it by hand.** {shows}\n")?;
    if !see.is_empty() {
        writeln!(out, "```sh\n{}\n```\n", see.join("\n"))?;
    }
    writeln!(out, "**What to do.**\n")?;
    for step in mend {
        writeln!(out, "* {step}")?;
    }
    Ok(())
}

const HEAD: &str = "\
# Causes

Written by `portwatch generate causes`; a test compares the two.

What portwatch can say of a refused port, in the field `cause` of the JSON and in the text. It is the
cause of the first holder; a holder is listed as blocking only if the kernel's own rule says that it
blocks. What cannot be proven is `unknown`, and the message says what is missing.

The commands below are for TCP and port 60001; they are run by a test, in a network namespace. Run
them in the namespace of the conflict (`wanted.netns`), as root, while the holder is there: most
holders are gone, or nameless, a moment later.
";

const FOOT: &str = "
## How far a name can be trusted

`exact`: the kernel's own table was read at the failure, and the named process has the socket or was
seen at the call that took or released it. `remembered`: named from an earlier record that the
socket itself does not prove, the last listener of the port. `inferred`: deduced. `unknown`: it cannot
be proven.

## Where kernels differ

The rule that decides who blocks whom is that of Linux 6.18 (net/ipv4/inet_connection_sock.c:
inet_csk_get_port and inet_bind_conflict, net/ipv4/udp.c:udp_lib_lport_inuse). Random sequences of
sockets are played against the kernel to compare the two. Where kernels are known to differ,
the verdict is `unknown` instead of a guess:

| what | kernels |
|---|---|
| `127.0.0.6` of IPv4 against an IPv6 socket with an address: the same number stands in both | blocks up to 6.0 (one bind table), not from 6.1 on |
| SO_REUSEPORT against a socket that no process has any more: compared with root, or with its creator | root up to 6.15 (`sock_i_uid`), the creator from 6.16 on (`sk_uid`) |
| SO_REUSEPORT of a caller that is in a group already | depends on closed members of the group, which nothing shows |
| a stale cache in the kernel (`fastreuse`) lets a bind() in that the rule refuses | all; a call that succeeds is no conflict, so it is never told |
| a port that a bound socket shared with connections stays closed to other connections | 6.1 and 6.12; 6.18 recovers |
| UDP on a wildcard address beside more than ten sockets on the port can be let in wrongly | before the mend of March 2026 (CVE-2026-31503); no conflict is told of it |
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_the_docs_is_this_one() {
        let mut page = String::new();
        write(&mut page).unwrap();
        let docs = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/causes.md"));
        assert!(
            page == docs,
            "docs/causes.md differs: `portwatch generate causes > docs/causes.md`"
        );
    }

    #[test]
    fn every_cause_says_everything() {
        for cause in all() {
            let entry = entry(cause);
            for text in [entry.means, entry.arises, entry.shows] {
                assert!(
                    !text.is_empty() && text == text.trim(),
                    "{cause:?}: {text:?}"
                );
            }
            assert!(!entry.mend.is_empty(), "{cause:?}");
            assert!(
                !entry.means.ends_with('.') && entry.arises.ends_with('.'),
                "{cause:?}"
            );
        }
    }
}
