//! The idle times of the jobs of one group, and the number of jobs that no negotiation cycle has considered yet.
//!
//! The time is the later one of `QDate` and `EnteredCurrentStatus`, which users can set to any value. So each wait is bounded
//! by the observations of earlier ticks ([`super::first_seen`]).

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::first_seen::ClusterMarks;
use super::observation::CollectorView;

/// The most distinct times of one group; older ones are merged. Only the youngest times decide which jobs are young.
const MAX_TIMES: usize = 1000;

/// A queue is read some seconds after the negotiator's ad, and times are whole seconds.
const MARGIN: Duration = Duration::from_secs(5);

/// A job that has been idle for less is young: it came after the last negotiation cycle began. Where the negotiator does not say
/// when that was, or has not ended a cycle for longer than `negotiation_cycle`, a job is young for that long.
pub fn young(collector: Option<&CollectorView>, negotiation_cycle: Duration) -> Duration {
    let began = collector.and_then(|collector| collector.cycle_began);
    began.map_or(negotiation_cycle, |began| {
        began.saturating_add(MARGIN).min(negotiation_cycle)
    })
}

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
    /// A job that has been idle for less is young: no negotiation cycle has offered it a slot yet.
    pub young: Duration,
}

/// The idle jobs of one group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    pub jobs: u64,
    /// Of these, the young ones.
    pub young: u64,
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

    pub fn jobs(&self) -> u64 {
        let jobs = self.0.values().map(|lines| lines.jobs);
        jobs.fold(0, u64::saturating_add)
    }

    /// How many there are, and how long they have waited.
    pub fn waiting(&self, clocks: Clocks<'_>) -> Waiting {
        let mut waiting = Waiting::default();
        for (since, lines) in &self.0 {
            let wait = lines.wait(*since, clocks);
            waiting.jobs = waiting.jobs.saturating_add(lines.jobs);
            if wait < clocks.young {
                waiting.young = waiting.young.saturating_add(lines.jobs);
            }
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
            (_, None) => clocks.young,
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

    /// All, the young ones, and the longest wait.
    fn waiting(times: &IdleTimes, marks: Option<&ClusterMarks>) -> (u64, u64, u64) {
        let clocks = Clocks {
            // Clocks of two machines differ.
            schedd: NOW + 5000,
            at: at(0),
            marks,
            young: Duration::from_secs(80),
        };
        let Waiting {
            jobs,
            young,
            longest,
        } = times.waiting(clocks);
        (jobs, young, longest.as_secs())
    }

    fn times(lines: &[(i64, u64, u64)]) -> IdleTimes {
        let mut times = IdleTimes::default();
        for (ago, cluster, jobs) in lines {
            times.add(Some(NOW + 5000 - ago), Some(*cluster), *jobs);
        }
        times
    }

    #[test]
    fn a_job_is_young_until_a_cycle_began_after_it() {
        let collector = |began: Option<u64>| CollectorView {
            up_for: Duration::ZERO,
            negotiation_period: None,
            cycle_began: began.map(Duration::from_secs),
            startds: Vec::new(),
            unreadable: Vec::new(),
            forged: Vec::new(),
        };
        let young = |began| young(Some(&collector(began)), Duration::from_secs(80)).as_secs();
        assert_eq!(young(Some(10)), 15);
        assert_eq!(young(Some(1000)), 80);
        assert_eq!(young(None), 80);
        assert_eq!(super::young(None, Duration::from_secs(80)).as_secs(), 80);
    }

    #[test]
    fn jobs_are_young_until_a_negotiation_cycle_has_looked_at_them() {
        let times = times(&[(79, 7, 1), (80, 6, 2), (600, 5, 4)]);
        assert_eq!(waiting(&times, None), (7, 1, 600));
    }

    #[test]
    fn a_wait_is_no_longer_than_its_cluster_can_have_been_there() {
        let mut marks = ClusterMarks::default();
        marks.add(at(600), 5);
        marks.add(at(60), 6);
        let marks = Some(&marks);
        // Cluster 7 came after the last tick, whatever it says; 6 after the one before; of 5 nothing is known.
        assert_eq!(
            waiting(&times(&[(1_700_000_000, 7, 20)]), marks),
            (20, 20, 60)
        );
        assert_eq!(
            waiting(&times(&[(1_700_000_000, 6, 20)]), marks),
            (20, 0, 600)
        );
        assert_eq!(waiting(&times(&[(5000, 5, 20)]), marks), (20, 0, 5000));
        assert_eq!(
            waiting(&times(&[(90, 6, 1), (90, 7, 1)]), marks),
            (2, 2, 60),
            "jobs of one time are one line, and the newest cluster is judged"
        );
    }

    #[test]
    fn a_time_that_cannot_be_makes_no_young_job_old() {
        let mut marks = ClusterMarks::default();
        marks.add(at(60), 6);
        for since in [None, Some(NOW + 9_000_000), Some(i64::MIN), Some(i64::MAX)] {
            let mut times = IdleTimes::default();
            times.add(since, Some(7), 3);
            assert_eq!(waiting(&times, Some(&marks)), (3, 3, 60), "{since:?}");
            if since != Some(i64::MIN) {
                assert_eq!(waiting(&times, None), (3, 0, 80), "{since:?}: a first tick");
            }
        }
    }

    #[test]
    fn many_times_are_few_and_no_job_is_lost() {
        let mut lines: Vec<(i64, u64, u64)> = (0..5000).map(|ago| (ago, 1, 1)).collect();
        lines.reverse();
        let times = times(&lines);
        assert!(times.0.len() <= MAX_TIMES);
        assert_eq!(waiting(&times, None), (5000, 80, 4999));
    }
}
