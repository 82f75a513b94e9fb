//! Leaves tables out of the release, and names the revision in `ehos --version`: `ehos 0.1.0 (0123456789ab 2026-11-29)`.
//!
//! `$EHOS_REVISION` names it where there is no git. Only release builds ask git: no commit makes a developer compile anew.
//! The date is that of the commit, or `$SOURCE_DATE_EPOCH`, so the same sources make the same bytes.
//! Source: reproducible-builds.org/specs/source-date-epoch.

use std::path::Path;
use std::process::Command;

/// Which tables, and why.
const TABLES: &str = "src/no_unwind_tables.ld";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for variable in ["EHOS_REVISION", "SOURCE_DATE_EPOCH"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let is_release = variable("PROFILE").as_deref() == Some("release");
    if is_release && variable("CARGO_CFG_TARGET_OS").as_deref() == Some("linux") {
        println!("cargo:rerun-if-changed={TABLES}");
        let top = variable("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo:rustc-link-arg-bins=-T{top}/{TABLES}");
    }
    let revision = variable("EHOS_REVISION").or_else(|| is_release.then(revision).flatten());
    let Some(revision) = revision else {
        return;
    };
    let seconds = variable("SOURCE_DATE_EPOCH")
        .or_else(|| git(&["log", "-1", "--format=%ct"]))
        .and_then(|seconds| seconds.parse().ok());
    let date = seconds.map_or_else(String::new, |seconds| format!(" {}", date(seconds)));
    let version = variable("CARGO_PKG_VERSION").unwrap_or_default();
    println!("cargo:rustc-env=EHOS_VERSION={version} ({revision}{date})");
}

fn revision() -> Option<String> {
    // A folder above may be the repository of something else.
    let top = git(&["rev-parse", "--show-prefix"])?;
    if !top.is_empty() {
        return None;
    }
    // It changes with each commit and checkout.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"])
        && Path::new(&log).exists()
    {
        println!("cargo:rerun-if-changed={log}");
        println!("cargo:rerun-if-changed=src");
    }
    git(&[
        "describe",
        "--always",
        "--exclude=*",
        "--abbrev=12",
        "--dirty=-modified",
    ])
}

/// What git says, or nothing where there is none.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| said.trim().to_owned())
}

/// The day of a Unix time in UTC. Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days.
fn date(seconds: i64) -> String {
    let days = seconds.div_euclid(86_400) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}
