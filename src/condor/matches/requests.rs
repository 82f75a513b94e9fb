//! Requests that depend on the machine, worked out by HTCondor.

use std::collections::BTreeSet;

use scaling::job_requirements::JobGroupKey;
use scaling::observation::Resources;

use super::{BY_MACHINE_MAX, MatchFailure, Matching, Node, Question, REQUEST_BITS, question_name};
use crate::match_memory::MatchCache;

impl Matching<'_> {
    /// What those of these jobs ask of the node whose requests depend on the machine. HTCondor works it out: each bit of
    /// each amount is a question.
    pub(super) fn requests<'a>(
        &self,
        node: &Node<'_>,
        jobs: &'a BTreeSet<JobGroupKey>,
        memory: &mut MatchCache,
    ) -> Vec<(&'a JobGroupKey, Resources)> {
        let digest = node.ad.digest(&node.candidate.capacity);
        let node_changes = node.ad.changes();
        let mut asked = 0;
        let spare = self.deadline.left() / 2;
        let mut ask = |group: &JobGroupKey, question: &Question<'_>| {
            let name = question_name(&digest, group);
            if let Some(known) = memory.request(&name) {
                return Ok(known);
            }
            if asked >= BY_MACHINE_MAX {
                return Err("there are more such jobs than a tick asks about".to_owned());
            }
            if memory.is_slow(&group.needs.0) || self.deadline.left() < spare {
                return Err(self.too_slow(&group.needs));
            }
            asked += 1;
            let request = match self.request(node, question) {
                Ok(request) => request,
                Err(trouble) => {
                    if trouble.slow {
                        memory.note_slow(&BTreeSet::from([group.needs.0.clone()]));
                    }
                    return Err(trouble.why);
                }
            };
            if !question.ad.changes && !node_changes {
                memory.keep_request(name, request);
            }
            Ok(request)
        };
        let by_machine = jobs.iter().filter_map(|group| {
            let ad = self.ads.get(&group.needs)?;
            ad.machine_requests().next()?;
            Some((group, Question { jobs: group, ad }))
        });
        let mut found = Vec::new();
        for (group, question) in by_machine {
            let largest = node.candidate.capacity.spaces().max();
            let largest = largest.copied().unwrap_or_default();
            let request = ask(group, &question).unwrap_or_else(|why| {
                log::debug!("{why}; such jobs are taken to need a whole node");
                largest
            });
            // Rounded up as the startd does, but for what is all of the node.
            let rounded = request.rounded();
            let request = match request.fits(&largest) {
                true => rounded.each(&largest, u64::min),
                false => rounded,
            };
            found.push((group, request));
        }
        found
    }

    /// What one job asks of the node.
    pub(super) fn request(
        &self,
        node: &Node<'_>,
        question: &Question<'_>,
    ) -> Result<Resources, MatchFailure> {
        let bits: Vec<(&'static str, u32)> = question
            .ad
            .machine_requests()
            .flat_map(|name| (0..REQUEST_BITS).map(move |bit| (name, bit)))
            .collect();
        let expressions: Vec<String> = bits
            .iter()
            .map(|(name, bit)| format!("((int(ceiling({name})) >> {bit}) & 1) == 1"))
            .collect();
        let jobs: Vec<(&Question, &str)> = expressions
            .iter()
            .map(|expression| (question, expression.as_str()))
            .collect();
        let counts = self.counts(node, &jobs, self.limits(jobs.len(), self.deadline.left()))?;
        let no_amount = |why: String| MatchFailure { why, slow: false };
        let (_, slots) = node.ad.slots(&node.candidate.capacity);
        let mut request = question.jobs.request;
        for name in question.ad.machine_requests() {
            match name {
                "RequestCpus" => request.cpus = 0,
                "RequestMemory" => request.memory_mb = 0,
                "RequestDisk" => request.disk_kb = 0,
                _ => request.gpus = 0,
            }
        }
        for ((name, bit), count) in bits.iter().zip(counts) {
            let set = match count {
                Some(count) if count.matches == slots => true,
                Some(count) if count.matches == 0 => false,
                _ => return Err(no_amount(format!("{name} differs from slot to slot"))),
            };
            if set {
                let amount = 1_u64 << bit;
                match *name {
                    "RequestCpus" => request.cpus |= amount,
                    "RequestMemory" => request.memory_mb |= amount,
                    "RequestDisk" => request.disk_kb |= amount,
                    _ => request.gpus |= amount,
                }
            }
        }
        if request.cpus == 0 && request.memory_mb == 0 {
            let why = "a request that depends on the machine is no amount";
            return Err(no_amount(why.to_owned()));
        }
        Ok(request)
    }
}
