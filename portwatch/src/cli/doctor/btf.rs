//! `portwatch doctor --btf FILE`: what the kernel of a BTF file allows. No root, no BPF.

use super::super::args::Format;
use super::super::exit::Status;
use crate::probe::btf::Btf;
use crate::probe::support::{self, Field, Found, FoundFunction, Support};
use crate::sink::escape::escape;
use anyhow::{Context, Result, bail};
use serde::Serialize;
use std::io::{Read, Write};
use std::path::Path;

/// The BTF of a kernel takes 4 to 12 MB.
const LARGEST: u64 = 128 << 20;

/// What BTF cannot show.
const NOT_SEEN: &str = "configuration, lockdown and local policy cannot be seen in BTF, nor whether \
                        the verifier takes each program: `portwatch doctor` there tells";

/// What was read.
#[derive(Serialize)]
struct Answer<'a> {
    /// The file.
    file: &'a str,
    #[serde(flatten)]
    support: &'a Support,
    /// What the file cannot tell.
    not_seen: &'static str,
}

/// Tells what the kernel of a file allows; 2 if that is nothing.
pub(super) fn run(file: &Path, format: Format) -> Result<Status> {
    let data = read(file)?;
    let btf =
        Btf::parse(&data).with_context(|| format!("`{}` is no BTF of a kernel", file.display()))?;
    let support = support::of(&btf);
    let name = file.to_string_lossy();
    let mut out = anstream::stdout();
    match format {
        Format::Json => writeln!(
            out,
            "{}",
            serde_json::to_string(&Answer {
                file: &name,
                support: &support,
                not_seen: NOT_SEEN,
            })?
        )?,
        Format::Text => show(&name, &support, &mut out)?,
    }
    out.flush()?;
    Ok(if support.refused.is_some() {
        Status::Failed
    } else {
        Status::Ran
    })
}

/// Reads a file, unpacked if it is an `.xz`.
fn read(file: &Path) -> Result<Vec<u8>> {
    let cannot = || format!("`{}` cannot be read", file.display());
    let mut head = Vec::new();
    let mut opened = std::fs::File::open(file).with_context(cannot)?;
    Read::by_ref(&mut opened)
        .take(6)
        .read_to_end(&mut head)
        .with_context(cannot)?;
    let whole = std::io::Cursor::new(head.clone()).chain(opened);
    let mut data = Vec::new();
    if head == *b"\xfd7zXZ\0" {
        let unpacked = lzma_rust2::XzReader::new(whole, true);
        unpacked
            .take(LARGEST + 1)
            .read_to_end(&mut data)
            .with_context(|| format!("`{}` is a damaged .xz file", file.display()))?;
    } else {
        whole
            .take(LARGEST + 1)
            .read_to_end(&mut data)
            .with_context(cannot)?;
    }
    if data.len() as u64 > LARGEST {
        bail!("`{}` is larger than the BTF of any kernel", file.display());
    }
    Ok(data)
}

fn show(file: &str, support: &Support, out: &mut dyn Write) -> Result<()> {
    writeln!(out, "kernel of {}", escape(file))?;
    for Found {
        name,
        present,
        since,
        lost,
    } in &support.features
    {
        if *present {
            writeln!(out, "  ok    {name}")?;
        } else {
            writeln!(out, "  LACKS {name} (Linux {since}); lost: {lost}")?;
        }
    }
    for Field {
        name,
        present,
        lost,
    } in &support.fields
    {
        match *present {
            true => writeln!(out, "  ok    {name}")?,
            false => writeln!(out, "  LACKS {name}; lost: {lost}")?,
        }
    }
    for FoundFunction {
        name,
        present,
        serves,
    } in &support.functions
    {
        let mark = if *present { "ok   " } else { "LACKS" };
        writeln!(out, "  {mark} function {name}: {serves}")?;
    }
    match (&support.refused, support.backend) {
        (Some(refused), _) => writeln!(out, "nothing can be traced: {}", escape(refused))?,
        (None, Some(backend)) => writeln!(
            out,
            "every field that the probes need is there; backend, if the kernel lets us: {}",
            backend.word()
        )?,
        (None, None) => {}
    }
    writeln!(out, "{NOT_SEEN}")?;
    Ok(())
}
