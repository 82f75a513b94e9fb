//! A run: a workload on a site under a rule, from the first job to the last server.

#![warn(missing_docs)]

use crate::record::Record;
use crate::rule::Rule;
use crate::site::Site;
use crate::workload::Seconds;

/// Passes between two reports of progress: some hundredths of a second.
const PROGRESS: u64 = 64;

/// Replays the workload of `site` under `rule`. `progress` is called now and then with the share that is done; when it returns
/// false, the run ends there, and the result is false.
///
/// The run ends when all jobs have ended and every server is gone. It also ends when no job was submitted or ended for
/// [`Rule::patience`], and for the run time of the longest job if some run. Servers that remain then are paid until that time.
pub fn run(
    site: &mut Site<'_>,
    rule: &mut dyn Rule,
    progress: &mut dyn FnMut(f64) -> bool,
) -> bool {
    let interval = site.model.tick_interval.max(1);
    let last = site.workload.jobs.last().map_or(0, |job| job.submitted);
    let longest = site.workload.jobs.iter().map(|job| job.runs).max();
    let longest = longest.unwrap_or_default();
    let mut timer: Seconds = 0;
    let mut again: Option<Seconds> = None;
    let mut passes: u64 = 0;
    let mut passed: Option<Seconds> = None;
    let has_ended = loop {
        let due = rule.next_pass(site, timer).min(timer);
        let due = again.map_or(due, |again| again.min(due));
        // Two passes are never of the same second.
        let due = due.max(passed.map_or(0, |passed| passed + 1)).max(site.now);
        // Events of the same second come first: a tick observes what has happened.
        if let Some(event) = site.next_event()
            && event <= due
        {
            site.advance(event);
            continue;
        }
        site.advance(due);
        let pass = rule.pass(site);
        passed = Some(site.now);
        site.record.pass(pass.actions, pass.limited);
        again = pass.again_after.map(|seconds| site.now + seconds);
        if site.now >= timer {
            timer = (site.now / interval + 1).saturating_mul(interval);
        }
        passes += 1;
        if passes.is_multiple_of(PROGRESS) {
            let share = f64::from(site.now.min(last)) / f64::from(last.max(1));
            if !progress(share) {
                break false;
            }
        }
        let is_over = site.is_done() && site.count() == 0;
        let patience = match site.is_stuck() {
            true => rule.patience(),
            false => rule.patience().saturating_add(longest),
        };
        let end = last.max(site.record.last_end).saturating_add(patience);
        if is_over || site.now > end {
            break true;
        }
    };
    site.close();
    has_ended
}

impl Site<'_> {
    /// Servers that remain are paid until now.
    fn close(&mut self) {
        let remain: Vec<_> = self.nodes().map(|(number, _)| number).collect();
        for number in remain {
            self.remove_at_end(number);
        }
    }
}

/// The record of a run.
pub fn record(mut site: Site<'_>, rule: &mut dyn Rule) -> Record {
    run(&mut site, rule, &mut |_| true);
    site.record
}
