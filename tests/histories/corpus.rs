//! The plans of all fixed histories: a change of the planner that is to change no plan changes none of these bytes.
//!
//! `tests/fixtures/plans.txt` has a digest for each simulated site. A change that is meant renews it by
//! `scripts/plans renew`; `scripts/plans text DIR` writes all plans and states, to compare two trees by `diff -r`.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::LazyLock;

use scaling::plan::Plan;
use scaling::state::{Outcome, State};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const RECORDED: &str = "tests/fixtures/plans.txt";

/// The digest of each site, by its name.
static DIGESTS: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    let text = std::fs::read_to_string(RECORDED).unwrap_or_default();
    let line = |line: &str| {
        line.rsplit_once(' ')
            .map(|(name, sum)| (name.to_owned(), sum.to_owned()))
    };
    text.lines().filter_map(line).collect()
});

thread_local! {
    static SITES: Cell<usize> = const { Cell::new(0) };
}

/// Records what one site's passes plan. When it is dropped, its digest must be the recorded one.
pub struct Recorder {
    name: String,
    digest: Sha256,
    passes: usize,
    text: Option<File>,
    checked: bool,
}

impl Recorder {
    /// Of the next site of this test.
    pub fn new() -> Recorder {
        let number = SITES.replace(SITES.get() + 1) + 1;
        Recorder::named(format!("{}-{number}", test_name()))
    }

    pub fn named(name: String) -> Recorder {
        let text = std::env::var_os("EHOS_PLANS").map(|directory| {
            std::fs::create_dir_all(&directory).unwrap();
            File::create(Path::new(&directory).join(&name)).unwrap()
        });
        Recorder {
            name,
            digest: Sha256::new(),
            passes: 0,
            text,
            checked: true,
        }
    }

    /// A part of a digest that is checked elsewhere.
    pub fn unchecked(name: String) -> Recorder {
        let mut recorder = Recorder::named(name);
        recorder.checked = false;
        recorder
    }

    /// Adds one pass: what was planned, what came of it and what is remembered.
    pub fn add(&mut self, plan: &Plan, outcomes: &[Outcome], next: &State) {
        self.passes += 1;
        let outcomes: Vec<Value> = outcomes.iter().map(outcome).collect();
        let pass = json!({
            "plan": plan,
            "look_again": plan.look_again,
            "actions": plan.actions.iter().map(|action| format!("{} {}", action.verb(), action.node())).collect::<Vec<_>>(),
            "outcomes": outcomes,
            "intents": plan.next,
            "next": next,
        });
        if let Some(text) = &mut self.text {
            serde_json::to_writer_pretty(&mut *text, &pass).unwrap();
            writeln!(text).unwrap();
        }
        self.digest.update(serde_json::to_vec(&pass).unwrap());
    }

    pub fn digest(&self) -> String {
        hex(self.digest.clone())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if !self.checked || self.passes == 0 || std::thread::panicking() {
            return;
        }
        check(&self.name, &self.digest());
    }
}

/// The digest of a text.
pub fn digest(text: String) -> String {
    hex(Sha256::new_with_prefix(text))
}

fn hex(digest: Sha256) -> String {
    let digest = digest.finalize();
    digest.iter().take(8).fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// Compares a digest with the recorded one, or adds it to a new record.
pub fn check(name: &str, digest: &str) {
    if let Some(new) = std::env::var_os("EHOS_PLANS_RENEW") {
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(new)
            .unwrap();
        file.write_all(format!("{name} {digest}\n").as_bytes())
            .unwrap();
        return;
    }
    assert_eq!(
        Some(digest),
        DIGESTS.get(name).map(String::as_str),
        "the plans of {name} are not the recorded ones; scripts/plans says how to see and to renew them"
    );
}

fn outcome(outcome: &Outcome) -> Value {
    let result = match &outcome.result {
        Ok(done) => format!("{done:?}"),
        Err(failure) => failure.message.clone(),
    };
    json!([outcome.action.verb(), outcome.action.node(), result])
}

/// The test that runs in this thread, or that was asked for alone.
fn test_name() -> String {
    let thread = std::thread::current();
    let name = match thread.name() {
        Some(name) if name != "main" => name.to_owned(),
        _ => {
            let mut words = std::env::args().skip(1);
            words.find(|word| word.contains("::")).unwrap_or_default()
        }
    };
    name.replace("::", ".")
}
