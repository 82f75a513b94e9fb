//! What is wrong, in words.

use jiff::Timestamp;

use super::layout::Style;
use crate::report::Snapshot;
use crate::report::snapshot::ActionResult;
use crate::scaling::reason::spoken;

/// A last tick that is older: the timer runs each minute.
const OLD_SECONDS: u64 = 180;

/// Something that an operator should know first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What kind of thing it is, in a word.
    pub what: &'static str,
    /// The sentence.
    pub text: String,
    /// Somebody should look at it: the exit code is 1. The rest ends by itself, or is as configured.
    pub wrong: bool,
}

impl Trouble {
    fn new(what: &'static str, wrong: bool, text: impl Into<String>) -> Trouble {
        Trouble {
            what,
            text: text.into(),
            wrong,
        }
    }

    /// How it is shown.
    pub fn style(&self) -> Style {
        if self.wrong { Style::Bad } else { Style::Warn }
    }
}

/// How long ago the last tick was. A simulated site's time is the simulation's.
pub fn age_seconds(snapshot: &Snapshot, now: Timestamp) -> u64 {
    if snapshot.simulated {
        return 0;
    }
    let age = now.duration_since(snapshot.at).as_secs();
    u64::try_from(age).unwrap_or_default()
}

/// There should have been another tick since. One that takes as long as the last one did is still at work.
pub fn is_late(snapshot: &Snapshot, now: Timestamp) -> bool {
    let took = snapshot.milliseconds / 1000;
    age_seconds(snapshot, now) > took.saturating_add(OLD_SECONDS)
}

/// What is wrong, the gravest first.
pub fn troubles(snapshot: &Snapshot, now: Timestamp) -> Vec<Trouble> {
    let mut all = Vec::new();
    if is_late(snapshot, now) {
        let age = age_seconds(snapshot, now);
        let text = format!(
            "the last tick was {} ago: nothing is scaled, and what follows was so then. See systemctl status \
             ehos.timer ehos.service",
            spoken(age)
        );
        all.push(Trouble::new("late", true, text));
    }
    let unseen = snapshot.unseen.iter();
    all.extend(
        unseen.map(|one| Trouble::new("unknown", true, format!("{}: {}", one.source, one.why))),
    );
    let protected = snapshot.protected.iter();
    all.extend(protected.map(|one| Trouble::new("protected", true, &one.text)));
    let failed = snapshot.actions.iter();
    let failed = failed
        .filter(|one| snapshot.exit == 1 && one.result == ActionResult::Failed && !one.is_minor());
    all.extend(failed.map(|one| {
        let message = one.message.as_deref().unwrap_or("failed");
        Trouble::new(
            "not done",
            true,
            format!("{} {}: {message}", one.action, one.node),
        )
    }));
    if snapshot.exit != 0 {
        let what = match snapshot.exit {
            1 => "something failed, or the view was partial",
            75 => "HTCondor or all clouds did not answer",
            _ => "see journalctl -u ehos.service",
        };
        let text = format!(
            "the last tick ended with exit code {}: {what}",
            snapshot.exit
        );
        all.push(Trouble::new("failed", true, text));
    }
    let brakes = snapshot.brakes.iter();
    all.extend(brakes.map(|one| {
        let what = if one.stops_creates {
            "no node is made or deleted"
        } else {
            "no node is deleted"
        };
        // A young collector is waited for; the others have a cause.
        let wrong = one.brake != "collector_young";
        Trouble::new("brake", wrong, format!("{what}: {}", one.text))
    }));
    // It ends by itself, with the leases.
    let stranded = snapshot.stranded.iter();
    all.extend(stranded.map(|one| Trouble::new("stranded", false, &one.text)));
    let spent = snapshot.budgets_spent.iter();
    all.extend(spent.map(|one| Trouble::new("budget", false, format!("spent: {}", one.text))));
    all
}
