//! Jobs that were asked for by themselves, and those that were not read.

use std::rc::Rc;

use scaling::job_names::JobId;
use scaling::job_requirements::OwnerBound;

use super::{AD_MAX, Folded, ONE_CORE, REQUEST_MAX, REQUESTS, beyond};
use crate::answer;
use crate::column::LONG;
use crate::job_ad::digest;
use crate::odd_job::{OddJob, OddJobs};

impl Folded {
    /// Takes jobs that were asked for by themselves.
    pub fn add_odd(&mut self, odd: &OddJobs) {
        for (job, line) in &odd.valued {
            self.add_valued(job, line);
        }
        for (job, name) in &odd.slow {
            if !name.is_empty() {
                self.slow.insert(name.clone());
            }
            self.add_slow(job);
        }
        for (owner, jobs) in &odd.unread {
            self.leave_unread(owner.clone(), OwnerBound::Expressions, *jobs);
        }
    }

    /// Counts jobs that were not read.
    pub fn leave_unread(&mut self, owner: Option<String>, bound: OwnerBound, jobs: u64) {
        let sum = self.unread.entry((owner, bound)).or_default();
        *sum = sum.saturating_add(jobs);
        self.counted = self.counted.saturating_add(jobs);
    }

    pub(super) fn add_valued(&mut self, job: &OddJob, line: &str) {
        let values = answer::columns(line);
        let Some((numbers, [universe, hosts, group, limits, begins, ends, counts])) =
            values.split_first_chunk::<6>().and_then(|(numbers, rest)| {
                let rest: &[&str; 7] = rest.try_into().ok()?;
                Some((numbers, rest))
            })
        else {
            self.add_slow(job);
            return;
        };
        if *counts != "1" {
            // The site's constraint is not true for it.
            self.counted = self.counted.saturating_add(1);
            return;
        }
        let text = |name: &str, max: usize| {
            let text = job.attributes.get(&name.to_ascii_lowercase());
            let text = text.map_or("", String::as_str);
            if text.len() > max { LONG } else { text }
        };
        let [cpus, memory, disk, gpus] = REQUESTS.map(|name| text(name, REQUEST_MAX));
        let mut all = String::new();
        for (name, text) in &job.attributes {
            all.push_str(name);
            all.push_str(text);
        }
        let line = format!(
            "1\t{}\t{}.{}\t{universe}\t{hosts}\t{group}\t{limits}\t{cpus}\t{memory}\t{disk}\t{gpus}\t{begins}\t{ends}\t{}\t{}\t{}\t{}",
            numbers.join("\t"),
            job.cluster,
            job.proc,
            job.owner.as_deref().unwrap_or_default(),
            text("numshadowstarts", 20),
            text("requirements", AD_MAX),
            digest(&all),
        );
        self.told_whole = Some(Rc::new(job.attributes.clone()));
        self.add(&line);
        self.told_whole = None;
    }

    /// A job of which HTCondor did not say in time what it asks for.
    pub(super) fn add_slow(&mut self, job: &OddJob) {
        let mut shape = beyond(job.owner.clone(), OwnerBound::Time);
        shape.owner.clone_from(&job.owner);
        let place = self.keep(shape, Rc::default());
        let request = ONE_CORE;
        self.counted = self.counted.saturating_add(1);
        self.newest_cluster = self.newest_cluster.max(job.cluster);
        let idle = self.jobs.entry((request, place)).or_default();
        idle.ids.add(JobId {
            cluster: job.cluster,
            proc: job.proc,
        });
        idle.times.add(None, Some(job.cluster), 1);
    }
}
