//! How many jobs a schedd runs at most (`MAX_JOBS_RUNNING`): its ad in the collector says so.

use std::collections::BTreeMap;
use std::fs;

use super::command::Tools;
use super::error::Error;
use ads::answer::{amount, string, values};
use scaling::observation::MaxRunning;
use system::deadline::Deadline;

/// More schedds are not read.
const SCHEDDS_MAX: usize = 10_000;

/// What schedds say of themselves, by their names in small letters.
#[derive(Debug, Default)]
pub(super) struct ScheddAds {
    ads: BTreeMap<String, (Option<String>, MaxRunning)>,
    /// Lines that are no such ad: there are more schedds than these.
    others: bool,
}

/// Asks the collector. An ad that cannot be read limits nothing, and the others do.
pub(super) fn observe(tools: &Tools, deadline: Deadline) -> Result<ScheddAds, Error> {
    let args = [
        "-schedd",
        "-af:t",
        "unparse(Name)",
        "unparse(Machine)",
        "int(MaxJobsRunning)",
        "int(TotalRunningJobs)",
    ];
    let call = tools.to_pool("condor_status", &args, "limits of schedds");
    tools.run(&call, deadline, ScheddAds::default(), |found, line| {
        found.add(line);
        Ok(())
    })
}

impl ScheddAds {
    fn add(&mut self, line: &str) {
        let read = || {
            let [name, machine, limit, running] = values(line).ok()?;
            let (limit, running) = (amount(limit)?, amount(running)?);
            Some((
                string(name)?,
                string(machine),
                MaxRunning { limit, running },
            ))
        };
        match read().filter(|_| self.ads.len() < SCHEDDS_MAX) {
            Some((name, machine, max)) => {
                self.ads.insert(name.to_ascii_lowercase(), (machine, max));
            }
            None => self.others |= !line.trim().is_empty(),
        }
    }

    /// The limit of the schedd with this name.
    pub(super) fn of(&self, name: &str) -> Option<MaxRunning> {
        self.ads
            .get(&name.to_ascii_lowercase())
            .map(|(_, max)| *max)
    }

    /// The limit of the schedd of this machine: the only one, or the only one that is on this host.
    pub(super) fn local(&self) -> Option<MaxRunning> {
        self.on(&fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default())
    }

    fn on(&self, host: &str) -> Option<MaxRunning> {
        let short = |name: &str| {
            let first = name.trim().split('.').next().unwrap_or_default();
            first.to_ascii_lowercase()
        };
        let only = |ads: Vec<MaxRunning>| match ads.as_slice() {
            [one] => Some(*one),
            _ => None,
        };
        let here = self.ads.values().filter(|(machine, _)| {
            let machine = machine.as_deref().map(short);
            machine.is_some_and(|machine| machine == short(host))
        });
        // Where an ad cannot be read, the other may be the only one that can.
        let all = self.ads.values().filter(|_| !self.others);
        let all = all.map(|(_, max)| *max);
        only(all.collect()).or_else(|| only(here.map(|(_, max)| *max).collect()))
    }
}

/// What tests/fuzz reads.
#[cfg(fuzzing)]
pub(super) fn read_anything(text: &str) {
    let mut ads = ScheddAds::default();
    text.lines().for_each(|line| ads.add(line));
    let _ = (ads.of(text), ads.local());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_odd_ad_limits_nothing_and_the_others_do() {
        let mut ads = ScheddAds::default();
        for line in [
            "\"a.example\"\t\"a.example\"\t2\t1",
            "\"B\"\t\"B.example\"\t10000\t3",
            "\"c\"\t\"c\"\tundefined\t3",
            "\"d\"\t{ \"x\" }\terror\t3",
            "\"e\"",
            "",
            "\"f\"\t\t5\t-1",
        ] {
            ads.add(line);
        }
        let max = |limit, running| Some(MaxRunning { limit, running });
        assert_eq!(
            (ads.of("A.example"), ads.of("b")),
            (max(2, 1), max(10_000, 3))
        );
        for name in ["c", "d", "e", "f", ""] {
            assert_eq!(ads.of(name), None, "{name}");
        }
        assert_eq!(ads.on("b\n"), max(10_000, 3));
        assert_eq!(ads.on("nowhere"), None);
    }

    #[test]
    fn the_only_schedd_is_that_of_this_machine() {
        let mut ads = ScheddAds::default();
        assert_eq!(ads.local(), None);
        ads.add("\"cm\"\t\"cm\"\t2\t0");
        assert_eq!(ads.on("elsewhere").map(|max| max.limit), Some(2));
        // That of this machine cannot be read: the limit of the other is not its own.
        ads.add("\"here\"\t\"here\"\terror\t0");
        assert_eq!(ads.on("here"), None);
        assert_eq!(ads.on("cm").map(|max| max.limit), Some(2));
    }
}
