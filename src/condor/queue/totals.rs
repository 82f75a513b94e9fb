//! Counts of jobs, and the schedd's clock: the answer of `condor_q -totals`.

use std::time::Instant;

use scaling::observation::JobCounts;

use ads::answer::{amount, excerpt, integer, values};

/// The answer of `condor_q -totals`.
#[derive(Debug)]
pub(super) struct Totals {
    pub jobs: JobCounts,
    /// The schedd's clock, in seconds since 1970 …
    server_time: i64,
    /// … when it answered.
    pub at: Instant,
}

impl Totals {
    pub const ATTRIBUTES: [&'static str; 7] = [
        "MyType",
        "Jobs",
        "Idle",
        "Running",
        "Held",
        "Suspended",
        "ServerTime",
    ];

    pub fn read(line: &str) -> Result<Totals, String> {
        let numbers = || {
            let [kind, _, idle, running, held, suspended, server_time] = values(line).ok()?;
            (kind == "Summary").then_some(())?;
            Some(Totals {
                jobs: JobCounts {
                    idle: amount(idle)?,
                    running: amount(running)?.checked_add(amount(suspended)?)?,
                    held: amount(held)?,
                },
                server_time: integer(server_time)?,
                at: Instant::now(),
            })
        };
        numbers().ok_or_else(|| format!("these are no job totals: {}", excerpt(line)))
    }

    /// The schedd's clock now.
    pub fn now(&self) -> i64 {
        let elapsed = i64::try_from(self.at.elapsed().as_secs()).unwrap_or(i64::MAX);
        self.server_time.saturating_add(elapsed)
    }
}
