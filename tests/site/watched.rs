//! What an operator sees of a story: the page in a real browser, which stays open while the real site goes on.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::machines::{Site, run};
use crate::webdriver::Browser;

/// The page of a site, served from a copy of its history that each look renews.
pub struct Watched {
    folder: TempDir,
    frontend: Child,
    /// None where there is no browser.
    browser: Option<Browser>,
    /// Phases that tiles of nodes have shown.
    pub phases: BTreeSet<String>,
}

impl Watched {
    /// Serves it, and opens it.
    pub fn open() -> Watched {
        let folder = tempfile::tempdir().unwrap();
        let mut frontend = Command::new(testkit::program!())
            .args([
                "frontend",
                "--no-token",
                "--listen",
                "127.0.0.1:0",
                "--history",
            ])
            .arg(folder.path().join("history"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut said = BufReader::new(frontend.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap();
        let browser = Browser::start();
        if let Some(browser) = &browser {
            browser.open(address);
        }
        Watched {
            folder,
            frontend,
            browser,
            phases: BTreeSet::new(),
        }
    }

    /// Copies what the last ticks have left, and sees what the page shows by now.
    pub fn look(&mut self, site: &Site) {
        let history = site.run(&["tar", "-C", "/var/lib/ehos", "-c", "history"], b"");
        if history.code != 0 {
            // Before the first tick.
            return;
        }
        // Whoever reads it meanwhile has the old ones or the new ones, as on the machine itself.
        let new = tempfile::tempdir_in(&self.folder).unwrap();
        let mut unpack = Command::new("tar");
        unpack.arg("-C").arg(new.path()).arg("-x");
        run(&mut unpack, history.stdout.as_bytes()).ok();
        let folder = self.folder.path().join("history");
        fs::create_dir_all(&folder).unwrap();
        for file in fs::read_dir(new.path().join("history")).unwrap() {
            let file = file.unwrap();
            fs::rename(file.path(), folder.join(file.file_name())).unwrap();
        }
        if let Some(browser) = &self.browser {
            let tiles = "return [...document.querySelectorAll('#tiles .phase')].map((one) => one.textContent)";
            let shown = browser.js(tiles);
            let shown = shown.as_array().into_iter().flatten();
            let shown = shown.filter_map(|phase| phase.as_str().map(str::to_owned));
            self.phases.extend(shown);
        }
    }

    /// Waits until the page shows a text somewhere in the element.
    pub fn waits_for(&self, selector: &str, text: &str) {
        if let Some(browser) = &self.browser {
            browser.wait(&format!(
                "document.querySelector({}).textContent.includes({})",
                serde_json::json!(selector),
                serde_json::json!(text)
            ));
        }
    }

    /// Nothing was asked of another host, and nothing complained; the page as it is now, as a picture.
    pub fn close(self, name: &str) -> Option<PathBuf> {
        let browser = self.browser.as_ref()?;
        let lived = ["building", "booting", "busy"];
        assert!(
            lived.iter().any(|phase| self.phases.contains(*phase)),
            "{:?}",
            self.phases
        );
        assert_eq!(browser.console(), [""; 0], "the browser complains");
        let others: Vec<String> = browser
            .asked_for()
            .into_iter()
            .filter(|address| !address.starts_with("http://127.0.0.1:"))
            .collect();
        assert_eq!(others, [""; 0], "asked of other hosts");
        let picture = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.png"));
        fs::write(&picture, browser.picture()).unwrap();
        Some(picture)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.frontend.kill();
        let _ = self.frontend.wait();
    }
}
