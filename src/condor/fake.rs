//! Tools that replay recorded answers, for tests.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Tools;
use crate::CondorSettings;

/// A folder of such tools.
pub(super) struct FakeTools {
    dir: tempfile::TempDir,
}

impl FakeTools {
    pub(super) fn new() -> FakeTools {
        let dir = tempfile::tempdir().unwrap();
        for tool in [
            "condor_q",
            "condor_history",
            "condor_status",
            "condor_drain",
            "condor_advertise",
            "condor_reschedule",
            "condor_token_create",
            "condor_config_val",
            "condor_ping",
        ] {
            symlink(fixtures().join("replay"), dir.path().join(tool)).unwrap();
        }
        FakeTools { dir }
    }

    /// `tool` with the argument `word` (`any`: whatever the arguments) gives the answer of this fixture.
    pub(super) fn replay(&self, tool: &str, word: &str, fixture: &str) {
        let text = fs::read(fixtures().join(fixture)).unwrap();
        fs::write(self.dir.path().join(format!("{tool}.{word}")), text).unwrap();
    }

    /// … gives this answer.
    pub(super) fn answer(&self, tool: &str, word: &str, text: &str) {
        fs::write(self.dir.path().join(format!("{tool}.{word}")), text).unwrap();
    }

    /// … runs this shell script.
    pub(super) fn script(&self, tool: &str, word: &str, script: &str) {
        self.answer(tool, word, &format!("#!/bin/sh\n{script}\n"));
    }

    /// All calls so far, one a line.
    pub(super) fn calls(&self) -> String {
        fs::read_to_string(self.dir.path().join("calls")).unwrap_or_default()
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn tools(&self, limit: Duration) -> Tools {
        Tools::new(Some(self.path().to_owned()), limit)
    }

    pub(super) fn settings(&self) -> CondorSettings {
        CondorSettings {
            bin: Some(self.path().to_owned()),
            ..CondorSettings::default()
        }
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/condor")
}
