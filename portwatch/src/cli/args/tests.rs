//! Command lines, good and bad.

use super::parse::*;
use super::*;
use crate::sink::filter::EventName;
use clap::error::ErrorKind;
use std::time::Duration;

fn read(line: &str) -> Result<Cli, clap::Error> {
    Cli::read(std::iter::once("portwatch").chain(line.split_whitespace()))
}

fn watch(line: &str) -> WatchArgs {
    let cli = read(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    let Run::Watch(watch) = cli.to_run() else {
        panic!("{line}: {cli:?}")
    };
    watch.clone()
}

fn refusal(args: &[&str]) -> String {
    let args = std::iter::once("portwatch").chain(args.iter().copied());
    let error = Cli::read(args).unwrap_err();
    assert!(error.use_stderr(), "{error}");
    error.to_string()
}

#[test]
fn the_definitions_hold_together() {
    Cli::command().debug_assert();
}

#[test]
fn every_option_has_a_variable_and_a_help() {
    fn check(command: &clap::Command) {
        for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
            let Some(long) = arg
                .get_long()
                .filter(|long| !["help", "version"].contains(long))
            else {
                continue;
            };
            let variable = format!("PORTWATCH_{}", long.to_uppercase().replace('-', "_"));
            let env = arg.get_env().and_then(std::ffi::OsStr::to_str);
            assert_eq!(env, Some(variable.as_str()), "--{long}");
            assert!(arg.get_help().is_some(), "--{long}");
            assert!(arg.get_help_heading().is_some(), "--{long}");
        }
        command.get_subcommands().for_each(check);
    }
    check(&Cli::command());
}

#[test]
fn without_a_command_it_watches() {
    for line in [
        "--json --port 60001",
        "watch --json --port 60001",
        "watch --port 60001 --format json",
    ] {
        let watch = watch(line);
        assert_eq!(watch.format.format(), Format::Json);
        assert_eq!(watch.select.selection().told()["port"], "60001");
    }
    let plain = watch("");
    assert_eq!(plain.format.format(), Format::Text);
    assert_eq!(plain.limits.incident_timeout, Duration::from_secs(30));
    assert_eq!(plain.trace.backend, BackendChoice::Auto);
    assert_eq!(watch("--json --format json").format.format(), Format::Json);
}

/// Whoever writes both has one of them from a script, and would not see which won.
#[test]
fn two_formats_are_refused() {
    for line in [
        &["--json", "--format", "text"][..],
        &["watch", "--format", "text", "--json"],
        &["demo", "--json", "--format=text"],
    ] {
        let text = refusal(line);
        assert!(
            text.contains("--json and --format text cannot both"),
            "{text}"
        );
    }
}

#[test]
fn no_incidents_are_not_to_be_waited_for() {
    for bad in ["0", "-1", "many", ""] {
        let text = refusal(&[&format!("--max-conflicts={bad}")]);
        assert!(
            text.contains(&format!("`{bad}` is not a number of incidents")),
            "{text}"
        );
    }
    assert!(refusal(&["--max-conflicts", "99999999999999999999"]).contains("too large"));
    let limit = watch("--max-conflicts 3").limits.max_conflicts;
    assert_eq!(limit.map(std::num::NonZero::get), Some(3));
}

#[test]
fn options_in_front_of_another_command_are_refused() {
    for line in [
        &["--port", "1", "doctor"][..],
        &["--json", "demo"],
        &["--netns", "1", "watch"],
    ] {
        let text = refusal(line);
        assert!(text.contains("write it behind"), "{text}");
    }
    let cli = read("-vv --color never doctor --json").unwrap();
    assert_eq!((cli.common.verbose, cli.common.color), (2, Colour::Never));
    assert_eq!(read("doctor -v").unwrap().common.verbose, 1);
    assert!(matches!(cli.to_run(), Run::Doctor(doctor) if doctor.format.format() == Format::Json));
}

#[test]
fn a_full_command_line() {
    let watch = watch(
        "--events assign,conflict --port 60001,8000-9000 --transport tcp --pid 1,2 --comm ceph-osd \
         --comm nginx --cgroup /a --netns 4026531840,net:[1] --output /tmp/x --duration 5m \
         --max-conflicts 3 --fail-on-conflict --incident-timeout 1m --cmdline argv0 \
         --redact address,uid --neighbours --ready-fd 9 --backend tracepoint --no-udp-autobind \
         --ring-size 1M --owners 4096 --closed-connections 131072",
    );
    let selection = watch.select.selection();
    assert_eq!(
        selection.events,
        [EventName::Conflict, EventName::Assign].into()
    );
    assert_eq!((selection.pids, selection.comms.len()), (vec![1, 2], 2));
    assert_eq!(selection.netns, [4_026_531_840, 1]);
    assert_eq!(watch.limits.duration, Some(Duration::from_secs(300)));
    assert_eq!(watch.limits.max_conflicts.map(u64::from), Some(3));
    assert_eq!(
        (watch.limits.ready_fd, watch.trace.ring_size),
        (Some(9), Some(1 << 20))
    );
    assert_eq!(
        (watch.trace.owners, watch.trace.closed_connections),
        (Some(4096), Some(1 << 17))
    );
    assert!(watch.limits.fail_on_conflict && watch.show.neighbours && watch.trace.no_udp_autobind);
}

#[test]
fn bad_values_are_told_with_the_way_out() {
    for (line, hint) in [
        (&["--port", "70000"][..], "1 to 65535"),
        (&["--port", "0"], "1 to 65535"),
        (&["--port", ""], "60001"),
        (&["--port", "80,"], "60001"),
        (&["--port", "http"], "8000-9000"),
        (&["--port", "90-80"], "80-90"),
        (&["--transport", "sctp"], "tcp, udp"),
        (&["--events", "conflicts"], "conflict"),
        (&["--events", ""], "conflict"),
        (&["--pid", "0"], "1.."),
        (&["--pid", ""], "--pid"),
        (&["--pid", "me"], "--pid"),
        (&["--comm", ""], "missing"),
        (&["--comm", "0123456789abcdefg"], "`0123456789abcde`"),
        (&["--cgroup", "system.slice"], "`/system.slice`"),
        (&["--cgroup", ""], "begins with"),
        (&["--netns", ""], "/run/netns"),
        (&["--netns", "/no/such"], "ip netns"),
        (&["--netns", "/proc/self/ns/mnt"], "not a network namespace"),
        (&["--netns", "/etc/passwd"], "not a network namespace"),
        (&["--netns", "99999999999"], "too large"),
        (&["--output", ""], "--output"),
        (&["--duration", "soon"], "5m"),
        (&["--duration", "0"], "longer"),
        (&["--max-conflicts", "0"], "--max-conflicts"),
        (&["--max-conflicts", "-1"], "'-1'"),
        (&["--ready-fd", "1"], "from 3 up"),
        (&["--ready-fd", "x"], "from 3 up"),
        (&["--ring-size", "100"], "256K"),
        (&["--owners", "1"], "1024"),
        (&["--closed-connections", "1"], "1024"),
        (
            &["--backend", "ebpf"],
            "auto, trampoline, kprobe, tracepoint",
        ),
        (&["--redact", "name"], "address"),
        (&["--cmdline", "some"], "argv0"),
        (&["--color", "maybe"], "always"),
        (
            &["--events", "assign", "--fail-on-conflict"],
            "add `conflict`",
        ),
        (
            &["--events", "assign", "--max-conflicts", "1"],
            "add `conflict`",
        ),
        (
            &["watch", "--fail-on-conflict", "--events", "refused"],
            "add `conflict`",
        ),
        (&["no-such-command"], "no-such-command"),
        (&["generate", "novel"], "novel"),
    ] {
        let text = refusal(line);
        assert!(text.contains(hint), "{line:?}: {text}");
    }
}

#[test]
fn a_key_alone_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "00112233445566778899aabbccddeeff").unwrap();
    let key = file.path().display().to_string();
    for command in [
        &[][..],
        &["watch"],
        &["replay", "a"],
        &["export", "--format", "csv", "a"],
        &["report", "a"],
    ] {
        let with = |redact: &[&'static str]| {
            let line = [command, &["--redact-key", &key], redact].concat();
            Cli::read([&["portwatch"], &line[..]].concat())
        };
        let text = with(&[]).unwrap_err().to_string();
        assert!(text.contains("add `--redact address`"), "{text}");
        assert!(with(&["--redact", "cmdline"]).is_err());
        assert!(with(&["--redact", "address"]).is_ok());
    }
}

#[test]
fn lengths_of_time() {
    let ms = |text| duration(text).map(|time| time.as_millis()).ok();
    for (text, length) in [
        ("30", Some(30_000)),
        ("30s", Some(30_000)),
        (" 30 s ", Some(30_000)),
        ("500ms", Some(500)),
        ("5m", Some(300_000)),
        ("5min", Some(300_000)),
        ("2h", Some(7_200_000)),
        ("1d", Some(86_400_000)),
        ("", None),
        ("s", None),
        ("-5", None),
        ("1.5s", None),
        ("5 minutes", None),
        ("0s", None),
        ("18446744073709551615d", None),
        ("99999999999999999999", None),
    ] {
        assert_eq!(ms(text), length, "{text}");
    }
}

#[test]
fn flags_of_variables() {
    for (text, value) in [
        ("1", true),
        ("Yes", true),
        ("0", false),
        ("off", false),
        ("", false),
    ] {
        assert_eq!(flag(text).unwrap(), value, "{text}");
    }
    assert!(flag("maybe").unwrap_err().to_string().contains("1 or 0"));
}

#[test]
fn sizes_of_rings() {
    for (text, size) in [
        ("4096", Some(4096)),
        ("4K", Some(4096)),
        ("1m", Some(1 << 20)),
        ("1G", Some(1 << 30)),
        ("2G", None),
        ("3K", None),
        ("2K", None),
        ("K", None),
        ("", None),
        ("4T", None),
        ("99999999999K", None),
    ] {
        assert_eq!(ring_size(text).ok(), size, "{text}");
    }
}

#[test]
fn groups_and_namespaces() {
    assert_eq!(cgroup("/sys/fs/cgroup/a/b/").unwrap(), "/a/b");
    assert_eq!(cgroup("/").unwrap(), "/");
    assert_eq!(cgroup("/sys/fs/cgroupx").unwrap(), "/sys/fs/cgroupx");
    let own: Netns = "/proc/self/ns/net".parse().unwrap();
    let link = std::fs::read_link("/proc/self/ns/net").unwrap();
    assert_eq!(link.to_str().unwrap().parse::<Netns>().unwrap(), own);
}

#[test]
fn names_are_cut_between_characters() {
    let error = comm("ääääääääx").unwrap_err();
    assert!(
        matches!(&error, ParseError::LongName(cut) if cut == "äääääää"),
        "{error}"
    );
}

#[test]
fn help_shows_examples_and_groups() {
    let error = read("--help").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DisplayHelp);
    let help = error.to_string();
    for part in [
        "Examples:",
        "Commands",
        "Filters:",
        "Output:",
        "Limits:",
        "Kernel side:",
    ] {
        assert!(help.contains(part), "{part}\n{help}");
    }
}
