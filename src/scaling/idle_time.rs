//! How long the idle jobs of one group have been idle, and how many of them count as demand.
//!
//! A job says so itself (the later one of `QDate` and `EnteredCurrentStatus`), and its user may write there what they like. So
//! each wait is bounded by what earlier ticks saw of the job's cluster ([`super::first_seen`]).

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::first_seen::ClusterMarks;

/// Times that are told apart in one group; of more the oldest are one. Only the youngest decide whether a job counts yet.
const MAX_TIMES: usize = 1000;

/// The idle jobs of one group, by the time since which they say they have been idle.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdleTimes(BTreeMap<i64, Lines>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lines {
    jobs: u64,
    /// The highest `ClusterId` among them.
    newest_cluster: Option<u64>,
}

/// What the waits are judged by.
#[derive(Debug, Clone, Copy)]
pub struct Clocks<'a> {
    /// The schedd's clock, in seconds since 1970.
    pub schedd: i64,
    /// The time of this observation, as in `marks`.
    pub at: Timestamp,
    /// The newest clusters that earlier ticks saw on this schedd.
    pub marks: Option<&'a ClusterMarks>,
    /// A job that has been idle for less does not count as demand.
    pub min_wait: Duration,
}

/// The idle jobs that count as demand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// How many.
    pub jobs: u64,
    /// The longest wait among them.
    pub longest: Duration,
}

impl IdleTimes {
    /// Adds jobs that say they have been idle since this time; `None` where that cannot be read.
    pub fn add(&mut self, since: Option<i64>, newest_cluster: Option<u64>, jobs: u64) {
        let lines = self.0.entry(since.unwrap_or(i64::MAX)).or_insert(Lines {
            jobs: 0,
            newest_cluster,
        });
        lines.jobs = lines.jobs.saturating_add(jobs);
        lines.newest_cluster = lines.newest_cluster.max(newest_cluster);
        if self.0.len() > MAX_TIMES {
            self.join_oldest();
        }
    }

    /// The wait of the oldest stays exact.
    fn join_oldest(&mut self) {
        let (Some((since, mut oldest)), Some((_, next))) = (self.0.pop_first(), self.0.pop_first())
        else {
            return;
        };
        oldest.jobs = oldest.jobs.saturating_add(next.jobs);
        self.0.insert(since, oldest);
    }

    /// All jobs.
    pub fn jobs(&self) -> u64 {
        let jobs = self.0.values().map(|lines| lines.jobs);
        jobs.fold(0, u64::saturating_add)
    }

    /// Those that count.
    pub fn waiting(&self, clocks: Clocks<'_>) -> Waiting {
        let mut waiting = Waiting::default();
        for (since, lines) in &self.0 {
            let wait = lines.wait(*since, clocks);
            if wait < clocks.min_wait {
                continue;
            }
            waiting.jobs = waiting.jobs.saturating_add(lines.jobs);
            waiting.longest = waiting.longest.max(wait);
        }
        waiting
    }
}

impl Lines {
    fn wait(&self, since: i64, clocks: Clocks<'_>) -> Duration {
        let possible = self
            .newest_cluster
            .zip(clocks.marks)
            .and_then(|(cluster, marks)| marks.longest_wait(cluster, clocks.at));
        let claimed = clocks.schedd.checked_sub(since).map(u64::try_from);
        match (claimed, possible) {
            (Some(Ok(claimed)), possible) => {
                let claimed = Duration::from_secs(claimed);
                possible.map_or(claimed, |possible| possible.min(claimed))
            }
            // It says nothing, or that it is of the future.
            (_, Some(possible)) => possible,
            (_, None) => clocks.min_wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_790_000_000;

    fn at(ago: i64) -> Timestamp {
        Timestamp::from_second(NOW - ago).unwrap()
    }

    fn waiting(times: &IdleTimes, marks: Option<&ClusterMarks>) -> (u64, u64) {
        let clocks = Clocks {
            // Clocks of two machines differ.
            schedd: NOW + 5000,
            at: at(0),
            marks,
            min_wait: Duration::from_secs(80),
        };
        let Waiting { jobs, longest } = times.waiting(clocks);
        (jobs, longest.as_secs())
    }

    fn times(lines: &[(i64, u64, u64)]) -> IdleTimes {
        let mut times = IdleTimes::default();
        for (ago, cluster, jobs) in lines {
            times.add(Some(NOW + 5000 - ago), Some(*cluster), *jobs);
        }
        times
    }

    #[test]
    fn jobs_count_after_the_minimum_wait() {
        let times = times(&[(79, 7, 1), (80, 6, 2), (600, 5, 4)]);
        assert_eq!(waiting(&times, None), (6, 600));
    }

    #[test]
    fn a_wait_is_no_longer_than_its_cluster_can_have_been_there() {
        let mut marks = ClusterMarks::default();
        marks.add(at(600), 5);
        marks.add(at(60), 6);
        let marks = Some(&marks);
        // Cluster 7 came after the last tick, whatever it says; 6 after the one before; of 5 nothing is known.
        assert_eq!(waiting(&times(&[(1_700_000_000, 7, 20)]), marks), (0, 0));
        assert_eq!(waiting(&times(&[(1_700_000_000, 6, 20)]), marks), (20, 600));
        assert_eq!(waiting(&times(&[(5000, 5, 20)]), marks), (20, 5000));
        assert_eq!(waiting(&times(&[(90, 6, 1), (90, 7, 1)]), marks), (0, 0));
    }

    #[test]
    fn a_time_that_cannot_be_is_no_way_past_the_minimum_wait() {
        let mut marks = ClusterMarks::default();
        marks.add(at(60), 6);
        for since in [None, Some(NOW + 9_000_000), Some(i64::MIN), Some(i64::MAX)] {
            let mut times = IdleTimes::default();
            times.add(since, Some(7), 3);
            assert_eq!(waiting(&times, Some(&marks)), (0, 0), "{since:?}");
            let expected = if since == Some(i64::MIN) {
                None
            } else {
                Some((3, 80))
            };
            if let Some(expected) = expected {
                assert_eq!(waiting(&times, None), expected, "{since:?}: a first tick");
            }
        }
    }

    #[test]
    fn many_times_are_few_and_no_job_is_lost() {
        let mut lines: Vec<(i64, u64, u64)> = (0..5000).map(|ago| (ago, 1, 1)).collect();
        lines.reverse();
        let times = times(&lines);
        assert!(times.0.len() <= MAX_TIMES);
        assert_eq!(waiting(&times, None), (5000 - 80, 4999));
    }
}
