//! `portwatch report` in Chromium: light, dark and on paper, by keyboard, and with axe-core's rules.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use portwatch_tests::programs::{find, folder, python};
use portwatch_tests::stage::skip_without;
use serde_json::Value;

use crate::fleet::{CAPTURES, portwatch};

const BROWSE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/real/page/browse.py");

#[test]
fn a_page_is_read_in_a_browser() -> Result<()> {
    let axe = folder().join("node/node_modules/axe-core/axe.min.js");
    let chromium = find("/usr/bin/chromium").unwrap_or_default();
    for needed in [&chromium, &python("python"), &axe] {
        if !needed.exists() {
            return skip_without(&needed.display().to_string());
        }
    }
    let dir = tempfile::tempdir()?;
    let page = dir.path().join("report.html");
    let path = page.to_str().context("an odd path")?;
    portwatch(&["report", "-o", path, CAPTURES])?;
    // Kept where a person can look at them.
    let shots = folder().join("screenshots");
    std::fs::create_dir_all(&shots)?;
    let output = Command::new(python("python"))
        .arg(BROWSE)
        .args([&chromium, &page, &axe, &shots])
        .output()
        .context("python does not start")?;
    let talk = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{talk}");
    let seen: Value = serde_json::from_slice(&output.stdout)?;
    for mode in ["light", "dark"] {
        let seen = &seen[mode];
        for nothing in ["requests", "complaints", "violations", "overflow"] {
            ensure!(
                seen[nothing] == serde_json::json!([]),
                "{mode}, {nothing}: {seen}"
            );
        }
        ensure!(
            seen["skip"] == "#main",
            "Tab does not reach the skip link first: {seen}"
        );
        ensure!(
            seen["opened"] == true,
            "Enter does not open a story: {seen}"
        );
        ensure!(seen["charts"].as_u64() >= Some(3), "{seen}");
        ensure!(
            seen["charts"] == seen["named_charts"],
            "a chart has no name: {seen}"
        );
    }
    let paper = |mode: &str| seen[mode]["paper"].as_f64().unwrap_or(-1.0);
    ensure!(paper("light") > 240.0 && paper("dark") < 40.0, "{seen}");
    Ok(())
}
