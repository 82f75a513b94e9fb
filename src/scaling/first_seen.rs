//! The longest time that an idle job can have waited, by the number of its cluster.
//!
//! Users can set `QDate` and `EnteredCurrentStatus`, and a forged wait would create nodes beside free slots. Users cannot set
//! `ClusterId`, which the schedd counts up. A job whose cluster is newer than all idle ones of an earlier tick was submitted,
//! or became idle, after that tick.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The newest cluster that was idle on a schedd when a tick looked at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterMark {
    /// The time of the last tick that found no newer one.
    pub at: Timestamp,
    /// `ClusterId`; 0 in an empty queue.
    pub newest: u64,
}

/// The marks of one schedd, the oldest first: times and numbers both rise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterMarks(Vec<ClusterMark>);

/// More are thinned out, where that makes the least difference to how long a job can have waited.
const MAX_MARKS: usize = 64;

impl ClusterMarks {
    /// The longest time that a job of this cluster can have been idle at `now`; `None` where no tick was before it.
    pub fn longest_wait(&self, cluster: u64, now: Timestamp) -> Option<Duration> {
        let before = self.0.iter().rev().find(|mark| mark.newest < cluster)?;
        // A clock that was set back gives no information.
        Duration::try_from(now.duration_since(before.at)).ok()
    }

    /// Adds that of a tick at `now`.
    pub fn add(&mut self, now: Timestamp, newest: u64) {
        self.0.retain(|mark| mark.at < now);
        match self.0.last_mut() {
            Some(last) if newest <= last.newest => last.at = now,
            _ => self.0.push(ClusterMark { at: now, newest }),
        }
        if self.0.len() > MAX_MARKS {
            self.thin(now);
        }
    }

    /// Without a mark, its clusters count as seen at the one before it.
    fn thin(&mut self, now: Timestamp) {
        let age = |at: Timestamp| now.duration_since(at).as_secs_f64().max(1.0);
        let worst = self.0.windows(3).enumerate().map(|(index, marks)| {
            let growth = match marks {
                [before, mark, _] => age(before.at) / age(mark.at),
                _ => f64::MAX,
            };
            (growth, index + 1)
        });
        if let Some((_, index)) = worst.min_by(|one, other| one.0.total_cmp(&other.0)) {
            self.0.remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + seconds).unwrap()
    }

    #[test]
    fn a_job_is_no_older_than_the_tick_that_had_no_such_cluster() {
        let mut marks = ClusterMarks::default();
        assert_eq!(marks.longest_wait(7, at(0)), None, "nothing is known yet");
        marks.add(at(0), 5);
        marks.add(at(60), 5);
        marks.add(at(120), 9);
        let wait = |cluster| marks.longest_wait(cluster, at(180)).map(|it| it.as_secs());
        assert_eq!(wait(10), Some(60));
        assert_eq!(wait(9), Some(120), "not there at 60 s");
        assert_eq!(wait(6), Some(120));
        assert_eq!(wait(5), None, "older than this state");
    }

    #[test]
    fn a_clock_that_is_set_back_forgets_what_it_has_not_reached() {
        let mut marks = ClusterMarks::default();
        marks.add(at(0), 5);
        marks.add(at(1000), 9);
        marks.add(at(500), 12);
        assert_eq!(marks.longest_wait(12, at(560)).unwrap().as_secs(), 560);
        assert_eq!(marks.longest_wait(13, at(560)).unwrap().as_secs(), 60);
        assert_eq!(marks.longest_wait(13, at(400)), None);
    }

    #[test]
    fn an_honest_wait_is_never_shortened_and_marks_stay_few() {
        let mut marks = ClusterMarks::default();
        for tick in 0..20_000 {
            marks.add(at(tick * 60), u64::try_from(tick).unwrap());
        }
        assert!(marks.0.len() <= MAX_MARKS, "{}", marks.0.len());
        let now = 19_999 * 60;
        for cluster in (1..20_000).step_by(97) {
            let seen = i64::try_from(cluster).unwrap() * 60;
            let longest = marks.longest_wait(cluster, at(now)).unwrap().as_secs_f64();
            #[allow(clippy::cast_precision_loss)]
            let (honest, most) = ((now - seen) as f64, 1.5 * (now - seen) as f64 + 120.0);
            assert!(
                longest >= honest && longest <= most,
                "{cluster}: {longest} {honest}"
            );
        }
    }
}
