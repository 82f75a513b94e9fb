//! How the services of a simulated site behave: boot times, failures, negotiation, deletes.

#![warn(missing_docs)]

use crate::random::Random;
use crate::workload::Seconds;

/// The behaviour of a site's services.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// Times from the create of a server to its startd in the pool, in ascending order: a draw takes one of them, or a time
    /// between two.
    pub boot_seconds: Vec<Seconds>,
    /// The share of servers that never join.
    pub boot_failures: f64,
    /// Seconds between two negotiation cycles (NEGOTIATOR_INTERVAL).
    pub negotiation_interval: Seconds,
    /// Seconds from one cycle to the next one at least; a submission has a cycle begin as soon as these are over
    /// (NEGOTIATOR_CYCLE_DELAY, NEGOTIATOR_MIN_INTERVAL).
    pub negotiation_delay: Seconds,
    /// The time for which a claim takes further jobs of its class without a negotiation (CLAIM_WORKLIFETIME).
    pub claim_worklife: Seconds,
    /// Jobs go to the emptiest node that fits, not to the fullest.
    pub breadth_first: bool,
    /// Seconds from the delete of a server until the project does not pay for it any more.
    pub delete_seconds: Seconds,
    /// Seconds between two ticks of the timer.
    pub tick_interval: Seconds,
    /// Seconds between two updates of a startd (`EhosUpdateInterval`).
    pub update_interval: Seconds,
    /// Half-life of the usage that counts for a user's priority, in seconds (PRIORITY_HALFLIFE).
    pub priority_halflife: f64,
}

impl Default for Model {
    fn default() -> Model {
        Model {
            boot_seconds: vec![60, 90],
            boot_failures: 0.0,
            negotiation_interval: 10,
            negotiation_delay: 5,
            claim_worklife: 1200,
            breadth_first: false,
            delete_seconds: 2,
            tick_interval: 60,
            update_interval: 60,
            priority_halflife: 86_400.0,
        }
    }
}

impl Model {
    /// The time from create to join of the next server; `None`: it never joins.
    pub(crate) fn joins_after(&self, random: &mut Random) -> Option<Seconds> {
        let (fails, place) = (random.unit(), random.unit());
        if fails < self.boot_failures {
            return None;
        }
        let last = self.boot_seconds.len().checked_sub(1)?;
        let at = place * last as f64;
        let below = at.floor() as usize;
        let low = f64::from(*self.boot_seconds.get(below)?);
        let high = self.boot_seconds.get(below + 1);
        let high = high.map_or(low, |high| f64::from(*high));
        Some((low + (high - low) * at.fract()).round() as Seconds)
    }

    /// The next negotiation cycle at `now` or later, where the last one began at `last`. `asked`: jobs were submitted since.
    pub(crate) fn next_cycle(&self, now: Seconds, last: Option<Seconds>, asked: bool) -> Seconds {
        let Some(last) = last else { return now };
        if asked {
            return now.max(last.saturating_add(self.negotiation_delay));
        }
        let interval = self.negotiation_interval.max(1);
        let cycles = now.saturating_sub(last).div_ceil(interval).max(1);
        last.saturating_add(cycles.saturating_mul(interval))
    }

    /// What is left of a usage after so many seconds.
    pub(crate) fn decay(&self, seconds: Seconds) -> f64 {
        (-f64::from(seconds) / self.priority_halflife).exp2()
    }

    /// The usage of a user who has used nothing: a real priority of 0.5, which is half a core held for ever.
    pub(crate) fn least_usage(&self) -> f64 {
        0.5 * self.priority_halflife / std::f64::consts::LN_2
    }
}
