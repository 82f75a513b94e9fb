//! Estimates jobs from the history of ehos: each tick has the numbers of idle and running jobs.
//!
//! An increase of idle and running jobs together is submitted then; a decrease ends running jobs, the oldest first, or, if
//! fewer ran, removes idle ones, the newest first. Idle jobs start in the order of their submission as `running` says.
//! So the sum of all run times is the time that `running` counts, and no job is submitted that was not observed. A job that
//! begins in the very tick in which another ends is not seen: the two count as one longer job.
//! Each request is the mean of the tick in which its job is submitted: `demand` for each waiting job, else claimed cores for
//! each running one. Owners are not known. [`Notes`](super::Notes) says that all this is an estimate.

use std::collections::VecDeque;

use jiff::Timestamp;
use scaling::observation::Resources;
use serde::Deserialize;

use super::input::{Source, excerpt};
use super::read::Calendar;
use super::{Builder, JOBS_MAX, JobClass, RUNS_MAX, Seconds, WorkloadError};

/// A longer time between two ticks is unknown: running jobs count until this much after the tick before.
/// Source: docs/json.md, `/api/series`.
const TICK_VALIDITY: i64 = 300;

/// The part of a record that is read.
#[derive(Deserialize)]
struct Record {
    at: Timestamp,
    queue: Option<Queue>,
    #[serde(default)]
    demand: Resources,
    #[serde(default)]
    cores: Cores,
    #[serde(default, alias = "unseen")]
    unknown_sources: Vec<Unknown>,
}

#[derive(Deserialize)]
struct Queue {
    idle: u64,
    running: u64,
    #[serde(default)]
    waiting: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Cores {
    claimed: u64,
    #[serde(alias = "others_claimed")]
    unmanaged_claimed: u64,
}

#[derive(Deserialize)]
struct Unknown {
    source: String,
}

/// Jobs of the same submission and request.
#[derive(Debug, Clone, Copy)]
struct Group {
    submitted: i64,
    /// Time in the unit of [`Ticks::clock`].
    started: i64,
    jobs: u64,
    request: Resources,
}

/// The jobs that the ticks so far show.
#[derive(Debug, Default)]
pub(super) struct Ticks {
    /// The last tick.
    at: Option<i64>,
    /// Time that was observed: gaps between ticks do not count.
    clock: i64,
    idle: Queued,
    running: Queued,
    jobs: u64,
    place: String,
}

pub(super) fn read(
    source: &mut Source,
    ticks: &mut Ticks,
    builder: &mut Builder,
) -> Result<Option<Calendar>, WorkloadError> {
    let place = source.place.clone();
    ticks.place.clone_from(&place);
    let what = "estimated from the idle and running jobs of each tick: owners, requests and run times are means";
    builder.notes.count(what, || place.clone());
    while let Some((number, text)) = source.next_record()? {
        let example = || format!("{place}:{number}");
        let record = match serde_json::from_slice::<Record>(text) {
            Ok(record) => record,
            Err(_) => {
                let what = "not the record of a tick: ignored";
                builder
                    .notes
                    .count(what, || format!("{} `{}`", example(), excerpt(text)));
                continue;
            }
        };
        let is_partial = |unknown: &Unknown| unknown.source.starts_with("schedd ");
        match &record.queue {
            Some(queue) if !record.unknown_sources.iter().any(is_partial) => {
                ticks.add(&record, queue, builder, example);
            }
            _ => builder
                .notes
                .count("a tick that did not know all jobs: ignored", example),
        }
    }
    Ok(Some(Calendar::Unix))
}

impl Ticks {
    fn add(
        &mut self,
        record: &Record,
        queue: &Queue,
        builder: &mut Builder,
        example: impl Fn() -> String,
    ) {
        let at = record.at.as_second();
        let passed = self.at.map_or(0, |before| at.saturating_sub(before));
        if passed < 0 {
            let what = "a tick before the last one: ignored (give the days in their order)";
            return builder.notes.count(what, example);
        }
        if passed > TICK_VALIDITY {
            builder.notes.count(
                "no tick for more than 5 min: unknown, not counted",
                &example,
            );
        }
        self.at = Some(at);
        self.clock += passed.min(TICK_VALIDITY);
        let before = self.idle.jobs + self.running.jobs;
        let room = (JOBS_MAX as u64).saturating_sub(self.jobs);
        let now = queue.idle.saturating_add(queue.running);
        let submitted = now.saturating_sub(before).min(room);
        self.jobs += submitted;
        if now.saturating_sub(before) > submitted {
            let what = format!("more than {JOBS_MAX} jobs: left out");
            builder.notes.count(&what, &example);
        }
        let mut gone = before.saturating_sub(now);
        while gone > 0 {
            let Some(ended) = self.running.take(gone, Side::Oldest) else {
                break;
            };
            gone -= ended.jobs;
            ended.add_run(self.clock, builder);
        }
        while gone > 0 {
            let Some(removed) = self.idle.take(gone, Side::Newest) else {
                break;
            };
            gone -= removed.jobs;
            removed.add_unstarted(Some(at), builder);
        }
        if submitted > 0 {
            self.idle.push(
                Group {
                    submitted: at,
                    started: 0,
                    jobs: submitted,
                    request: request(record, queue),
                },
                Side::Newest,
            );
        }
        self.start_and_stop(queue.running, builder, example);
    }

    /// Moves jobs until as many run as the tick says.
    fn start_and_stop(&mut self, wanted: u64, builder: &mut Builder, example: impl Fn() -> String) {
        while let Some(missing @ 1..) = wanted.checked_sub(self.running.jobs) {
            let Some(mut group) = self.idle.take(missing, Side::Oldest) else {
                return;
            };
            group.started = self.clock;
            self.running.push(group, Side::Newest);
        }
        while let Some(beyond @ 1..) = self.running.jobs.checked_sub(wanted) {
            // The newest ones lose least.
            let Some(group) = self.running.take(beyond, Side::Newest) else {
                return;
            };
            let what = "fewer run while more are idle (evicted): their runs until then are lost";
            builder.notes.count_many(what, group.jobs, &example);
            self.idle.push(group, Side::Oldest);
        }
    }

    /// Adds the jobs that the last tick shows.
    pub(super) fn finish(&mut self, builder: &mut Builder) {
        let place = &self.place;
        for group in std::mem::take(&mut self.running).groups {
            let what = "still running: their run time until then counts";
            builder.notes.count_many(what, group.jobs, || place.clone());
            group.add_run(self.clock, builder);
        }
        for group in std::mem::take(&mut self.idle).groups {
            let what = "still idle, never started";
            builder.notes.count_many(what, group.jobs, || place.clone());
            group.add_unstarted(None, builder);
        }
    }
}

impl Group {
    fn class(&self) -> JobClass {
        JobClass {
            owner: "unknown".to_owned(),
            accounting_group: None,
            request: self.request.rounded(),
        }
    }

    fn add_run(&self, clock: i64, builder: &mut Builder) {
        let runs = clock.saturating_sub(self.started).clamp(1, RUNS_MAX);
        let runs = Seconds::try_from(runs).unwrap_or(Seconds::MAX);
        let class = self.class();
        for _ in 0..self.jobs {
            builder.notes.records += 1;
            builder.add(self.submitted, runs, None, &class);
        }
    }

    fn add_unstarted(&self, removed: Option<i64>, builder: &mut Builder) {
        let class = self.class();
        for _ in 0..self.jobs {
            builder.notes.records += 1;
            builder.add_unstarted(self.submitted, removed, &class);
        }
    }
}

/// Jobs in the order of their submission or start.
#[derive(Debug, Default)]
struct Queued {
    groups: VecDeque<Group>,
    jobs: u64,
}

#[derive(Debug, Clone, Copy)]
enum Side {
    Oldest,
    Newest,
}

impl Queued {
    fn push(&mut self, group: Group, side: Side) {
        self.jobs += group.jobs;
        match side {
            Side::Oldest => self.groups.push_front(group),
            Side::Newest => self.groups.push_back(group),
        }
    }

    /// Takes at most this many jobs of the first group of a side.
    fn take(&mut self, most: u64, side: Side) -> Option<Group> {
        let group = match side {
            Side::Oldest => self.groups.front_mut()?,
            Side::Newest => self.groups.back_mut()?,
        };
        let taken = Group {
            jobs: group.jobs.min(most),
            ..*group
        };
        group.jobs -= taken.jobs;
        self.jobs -= taken.jobs;
        if group.jobs == 0 {
            match side {
                Side::Oldest => self.groups.pop_front(),
                Side::Newest => self.groups.pop_back(),
            };
        }
        Some(taken)
    }
}

/// The mean request of a tick.
fn request(record: &Record, queue: &Queue) -> Resources {
    if let Some(waiting) = std::num::NonZero::new(queue.waiting) {
        let mean = |amount: u64| amount.div_ceil(waiting.get());
        let demand = record.demand;
        // A mean of GPUs below one for each job is more often none than one.
        return Resources {
            cpus: mean(demand.cpus),
            memory_mb: mean(demand.memory_mb),
            disk_kb: mean(demand.disk_kb),
            gpus: demand.gpus / waiting,
        };
    }
    let claimed = record
        .cores
        .claimed
        .saturating_add(record.cores.unmanaged_claimed);
    Resources {
        cpus: claimed
            .saturating_add(queue.running / 2)
            .checked_div(queue.running)
            .unwrap_or(1),
        ..Resources::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{NEVER, Workload, read_from};

    /// A history of ticks a minute apart, each with its idle, running and waiting jobs, and the requested cores of these.
    fn workload(ticks: &[[u64; 4]]) -> Workload {
        let lines = ticks.iter().enumerate().map(|(minute, [idle, running, waiting, cpus])| {
            let at = format!("2026-11-29T12:{minute:02}:00Z");
            format!(
                r#"{{"version":1,"at":"{at}","queue":{{"schedds":1,"idle":{idle},"running":{running},"waiting":{waiting}}},"demand":{{"cpus":{cpus},"memory_mb":{},"disk_kb":0,"gpus":0}},"cores":{{"claimed":{}}},"unseen":[]}}"#,
                cpus * 1000, running * 2
            ) + "\n"
        });
        read(&lines.collect::<String>())
    }

    fn read(text: &str) -> Workload {
        read_from(
            "FILE",
            text.as_bytes(),
            &super::super::ReadOptions::default(),
        )
        .unwrap()
    }

    fn jobs(workload: &Workload) -> Vec<(u32, u32, u32)> {
        let jobs = workload.jobs.iter();
        jobs.map(|job| (job.submitted, job.runs, job.removed))
            .collect()
    }

    #[test]
    fn run_times_sum_up_to_the_time_that_jobs_ran() {
        let ticks = [
            [0, 0, 0, 0],
            [3, 0, 3, 12],
            [1, 2, 1, 4],
            [1, 2, 1, 4],
            [2, 1, 2, 8],
            [0, 3, 0, 0],
            [0, 3, 0, 0],
            [2, 3, 0, 0],
            [0, 2, 0, 0],
            [0, 0, 0, 0],
        ];
        let workload = workload(&ticks);
        assert_eq!(workload.start.unwrap().to_string(), "2026-11-29T12:01:00Z");
        // Of the five jobs one was evicted after 2 min, which are lost.
        let counted: u64 = ticks.iter().map(|[_, running, ..]| running * 60).sum();
        let ran: u64 = workload.jobs.iter().map(|job| u64::from(job.runs)).sum();
        assert_eq!(ran, counted - 120);
        assert_eq!(
            jobs(&workload),
            [
                (0, 360, NEVER),
                (0, 180, NEVER),
                (0, 180, NEVER),
                (360, 60, NEVER),
                (360, 60, NEVER)
            ]
        );
        let request = |job: usize| workload.class(&workload.jobs[job]).unwrap().request;
        assert_eq!((request(0).cpus, request(0).memory_mb), (4, 4096));
        // No waiting job: the mean of those that run.
        assert_eq!(request(3).cpus, 2);
        let evicted = "fewer run while more are idle (evicted): their runs until then are lost";
        assert_eq!(workload.notes.counts[evicted].records, 1);
    }

    #[test]
    fn what_does_not_end_is_counted() {
        let workload = workload(&[
            [0, 2, 0, 0],
            [5, 2, 0, 0],
            [3, 2, 0, 0],
            [1, 0, 0, 0],
            [2, 1, 0, 0],
        ]);
        let notes = &workload.notes;
        assert_eq!((notes.records, notes.left_out), (9, 0));
        assert_eq!(
            notes.counts["still running: their run time until then counts"].records,
            1
        );
        assert_eq!(notes.counts["still idle, never started"].records, 2);
    }

    #[test]
    fn unknown_and_broken_ticks_are_no_empty_ones() {
        let tick = |at: &str, queue: &str, unknown: &str| {
            format!(
                r#"{{"version":2,"at":"2026-11-29T{at}Z","queue":{queue},"unknown_sources":[{unknown}]}}"#
            ) + "\n"
        };
        let two = r#"{"idle":0,"running":2}"#;
        let none = r#"{"idle":0,"running":0}"#;
        let text = [
            tick("12:00:00", two, ""),
            tick("12:01:00", "null", ""),
            tick(
                "12:02:00",
                none,
                r#"{"source":"schedd ap2","why":"no answer"}"#,
            ),
            tick(
                "12:03:00",
                two,
                r#"{"source":"cloud green","why":"no answer"}"#,
            ),
            "{\"version\":1,\"at\":\"2026-1\n".to_owned(),
            tick("11:00:00", none, ""),
            tick("18:03:00", none, ""),
        ];
        let workload = read(&text.concat());
        // 3 min, and 5 min of the gap.
        assert_eq!(jobs(&workload), [(0, 480, NEVER), (0, 480, NEVER)]);
        let counts: Vec<_> = workload
            .notes
            .counts
            .iter()
            .map(|(what, count)| (&**what, count.records))
            .collect();
        assert_eq!(
            counts,
            [
                (
                    "a tick before the last one: ignored (give the days in their order)",
                    1
                ),
                ("a tick that did not know all jobs: ignored", 2),
                (
                    "estimated from the idle and running jobs of each tick: owners, requests and run times are means",
                    1
                ),
                ("no tick for more than 5 min: unknown, not counted", 1),
                ("not the record of a tick: ignored", 1),
            ]
        );
    }
}
