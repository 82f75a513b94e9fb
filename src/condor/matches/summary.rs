//! The table that `condor_q -better-analyze:summary` prints.

use std::collections::BTreeMap;

use super::Counts;

/// The answer of `condor_q -better-analyze:summary`.
#[derive(Debug, Default)]
pub(super) struct Summary {
    /// The table has begun, and has the columns that it should have.
    begun: bool,
    titled: bool,
    pub counts: BTreeMap<usize, Option<Counts>>,
}

impl Summary {
    pub fn add(&mut self, line: &str) -> Result<(), String> {
        if !self.begun {
            let words: Vec<&str> = line.split_whitespace().collect();
            self.titled |= words.starts_with(&["JobId"])
                && words.ends_with(&[
                    "Requirements",
                    "Rejects",
                    "Job",
                    "Users",
                    "Job",
                    "Other",
                    "User",
                    "Available",
                    "Owner",
                ]);
            self.begun = self.titled && line.starts_with("-----");
            return Ok(());
        }
        if line.trim().is_empty() {
            return Ok(());
        }
        let read = || {
            let mut words = line.split_whitespace();
            let number = words.next()?.strip_suffix(".0")?.parse().ok()?;
            let mut count = || words.next()?.parse::<u64>().ok();
            let (matches, rejected) = (count()?, count()?);
            let (_running, _serving) = (count()?, count()?);
            let available = count()?;
            (rejected <= matches && available <= matches - rejected)
                .then_some((number, Counts { matches, available }))
        };
        // A line that is none of the table costs the job alone of which it should be, and so do two that differ.
        if let Some((number, counts)) = read() {
            let known = self.counts.entry(number).or_insert(Some(counts));
            if *known != Some(counts) {
                *known = None;
            }
        }
        Ok(())
    }

    /// The answers about so many jobs, when those that are known are right.
    pub fn of(&self, jobs: usize, slots: u64) -> Result<Vec<Option<Counts>>, String> {
        if !self.begun {
            return Err("it has no known table".to_owned());
        }
        let count = |number: usize| self.counts.get(&number).copied().flatten();
        let matches = |number: usize| count(number).map(|counts| counts.matches);
        if (matches(1), matches(2)) != (Some(slots), Some(0)) {
            return Err(format!(
                "of {slots} slots it says that {:?} match a job that asks for nothing and {:?} one that takes none; \
                 look at startd_attrs",
                matches(1),
                matches(2)
            ));
        }
        let counts = (3..jobs + 3).map(count);
        let counts = counts.map(|counts| counts.filter(|counts| counts.matches <= slots));
        Ok(counts.collect())
    }
}
