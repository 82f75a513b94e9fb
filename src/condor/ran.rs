//! Jobs that ran, with the host of their last run: those that left the queue (`condor_history`), and those that are in it.
//!
//! Ads are read as JSON, with expressions as they stand: no text of a user is evaluated. They are read one by one: a damaged one
//! is counted and costs itself.
//!
//! | what | attributes |
//! | --- | --- |
//! | host | `RemoteHost` of a running job, else `LastRemoteHost`: `slot1_3@HOST` |
//! | last run | `JobCurrentStartDate` for `LastRemoteWallClockTime`, else until `CompletionDate` or `EnteredCurrentStatus` |
//! | earlier runs | `RemoteWallClockTime` less the last run, after `QDate`: their hosts are not kept |
//! | size | `CpusProvisioned` and `MemoryProvisioned` of the slot, else `RequestCpus` and `RequestMemory` |
//!
//! Source: HTCondor manual, "Job ClassAd Attributes"; condor_history(1).

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Map, Value};

use super::command::{Call, Tools};
use super::error::Error;
use super::queue::Schedd;
use system::deadline::Deadline;
use system::json;

/// What is read of an ad.
const ATTRIBUTES: &str = "ClusterId,ProcId,Owner,User,AcctGroup,AccountingGroup,JobStatus,JobUniverse,QDate,\
     JobCurrentStartDate,CompletionDate,EnteredCurrentStatus,ServerTime,RemoteWallClockTime,LastRemoteWallClockTime,\
     RequestCpus,RequestMemory,CpusProvisioned,MemoryProvisioned,LastRemoteHost,RemoteHost";

/// Longest ad of these.
const AD_MAX: usize = 1 << 20;

/// Longest text in it that is kept, in characters.
const TEXT_MAX: usize = 300;

/// Longest run, in seconds: longer ones are errors of a clock.
const RUN_MAX: i64 = 366 * 86_400;

/// Jobs in a queue that are kept until the history is read, at most: memory does not grow with the queue.
const QUEUED_MAX: usize = 200_000;

/// Why a job in the queue does not count.
const MORE_QUEUED: &str = "more jobs in the queue than ehos keeps: not counted";

/// The last ads of an answer, which show how far it reaches back.
const LAST: usize = 100;

/// The least number of them that must be as old.
const PROOF: usize = 3;

/// A job that ran.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RanJob {
    /// `ClusterId` and `ProcId`, which no two jobs of a schedd share. A user can edit `GlobalJobId`.
    id: (i64, i64),
    pub owner: String,
    pub group: Option<String>,
    pub cpus: u64,
    /// In MiB.
    pub memory_mb: u64,
    /// In small letters.
    pub host: Option<String>,
    /// The submit, in seconds since 1970.
    pub queued: Option<i64>,
    /// The last run, in seconds since 1970.
    pub run: Option<(i64, i64)>,
    /// Seconds of earlier runs.
    pub earlier: u64,
}

/// Odd ads, by what is odd about them.
pub type Notes = BTreeMap<String, u64>;

fn note(notes: &mut Notes, what: &str) {
    *notes.entry(what.to_owned()).or_default() += 1;
}

/// The time before which jobs that left the queue of a schedd (`None`: this machine's) are not known; `None` if all since
/// `since` are. A named schedd reads only the newest part of its file (HISTORY_HELPER_MAX_HISTORY), and files are rotated.
///
/// # Errors
/// condor_history could not be run, failed, or took too long.
pub fn known_since(
    tools: &Tools,
    schedd: Option<&str>,
    since: i64,
    deadline: Deadline,
) -> Result<Option<i64>, Error> {
    let mut notes = Notes::new();
    let mut ends = VecDeque::new();
    let mut count = 0_usize;
    let mut has_first = false;
    let end = ["-attributes", "ClusterId,EnteredCurrentStatus"];
    let call = history(tools, schedd, &end);
    read(tools, &call, deadline, &mut notes, |ad, _| {
        count += 1;
        has_first |= ad.number("clusterid") == Some(1);
        ends.extend(ad.number("enteredcurrentstatus"));
        if ends.len() > LAST {
            ends.pop_front();
        }
    })?;
    // The newest come first. Where the first job of all is there, nothing is missing. One old time proves nothing: a job can
    // stay in the queue for long, and its user can edit the attribute.
    let last = ends.len().saturating_sub((count / LAST).max(PROOF));
    let oldest = ends.into_iter().skip(last).max();
    Ok(oldest.filter(|oldest| !has_first && *oldest >= since))
}

/// Gives the jobs of a schedd (`None`: this machine's) that ran, and were in its queue after `since`, in seconds since 1970, to
/// `take`. Those that run count until now.
///
/// # Errors
/// A tool could not be run, failed, or took too long: some jobs were given then.
pub fn ran_jobs(
    tools: &Tools,
    schedd: Option<&str>,
    since: i64,
    deadline: Deadline,
    notes: &mut Notes,
    mut take: impl FnMut(RanJob),
) -> Result<(), Error> {
    // The queue first: a job that leaves it in between is found twice, and not never.
    let mut queued = Queued::new(QUEUED_MAX);
    let name = schedd.map_or_else(Schedd::local, |name| Schedd::named(name, tools.pool()));
    // A user's expression is not evaluated: its text is compared.
    let started = "unparse(JobCurrentStartDate)";
    let has_run = format!("{started} =!= \"undefined\" && {started} =!= \"0\"");
    let mut args = name.args();
    args.extend(["-json", "-attributes", ATTRIBUTES, "-constraint", &has_run]);
    let about = name.about();
    let call = Call::new("condor_q", &args, &about);
    read(tools, &call, deadline, notes, |ad, notes| {
        ad.add(notes, |job| queued.add(job));
    })?;
    if queued.more > 0 {
        *notes.entry(MORE_QUEUED.to_owned()).or_default() += queued.more;
    }
    let recent = format!("EnteredCurrentStatus >= {since}");
    let args = ["-attributes", ATTRIBUTES, "-constraint", &recent];
    let call = history(tools, schedd, &args);
    read(tools, &call, deadline, notes, |ad, notes| {
        ad.add(notes, |job| {
            queued.jobs.remove(&job.id);
            take(job);
        });
    })?;
    queued.jobs.into_values().for_each(take);
    Ok(())
}

/// The jobs of a queue, by `ClusterId` and `ProcId`.
#[derive(Debug)]
struct Queued {
    jobs: BTreeMap<(i64, i64), RanJob>,
    most: usize,
    /// Jobs beyond `most`.
    more: u64,
}

impl Queued {
    fn new(most: usize) -> Queued {
        Queued {
            jobs: BTreeMap::new(),
            most,
            more: 0,
        }
    }

    fn add(&mut self, job: RanJob) {
        if self.jobs.len() < self.most || self.jobs.contains_key(&job.id) {
            self.jobs.insert(job.id, job);
        } else {
            self.more += 1;
        }
    }
}

fn history<'a>(tools: &'a Tools, schedd: Option<&'a str>, more: &[&'a str]) -> Call<'a> {
    let mut args = vec!["-json"];
    args.extend(more);
    match schedd {
        Some(name) => {
            args.extend(["-name", name]);
            tools.to_pool("condor_history", &args, name)
        }
        None => Call::new("condor_history", &args, "the schedd of this machine"),
    }
}

/// Why an ad is no job.
const UNREADABLE: &str = "an ad that cannot be read: left out";

fn read(
    tools: &Tools,
    call: &Call<'_>,
    deadline: Deadline,
    notes: &mut Notes,
    mut take: impl FnMut(&Ad, &mut Notes),
) -> Result<(), Error> {
    let mut objects = Objects::default();
    tools.run(call, deadline, (), |(), line| {
        objects.add(line, |object| match object.and_then(Ad::parse) {
            Some(ad) => take(&ad, notes),
            None => note(notes, UNREADABLE),
        });
        Ok(())
    })?;
    if objects.depth > 0 {
        note(notes, UNREADABLE);
    }
    Ok(())
}

/// Finds the objects of a list, line by line.
#[derive(Debug, Default)]
struct Objects {
    text: String,
    depth: u32,
    in_string: bool,
}

impl Objects {
    fn add(&mut self, line: &str, mut take: impl FnMut(Option<&str>)) {
        // Each ad begins on a line of its own: one that has no end costs itself.
        if line == "{" && self.depth > 0 {
            take(None);
            *self = Objects::default();
        }
        let mut is_escaped = false;
        for c in line.chars() {
            if self.depth > 0 || c == '{' {
                self.text.push(c);
            }
            match c {
                _ if is_escaped => is_escaped = false,
                '\\' if self.in_string => is_escaped = true,
                '"' => self.in_string = !self.in_string && self.depth > 0,
                '{' if !self.in_string => self.depth += 1,
                '}' if !self.in_string && self.depth > 0 => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        let is_short = self.text.len() <= AD_MAX;
                        take(is_short.then_some(self.text.as_str()));
                        self.text.clear();
                    }
                }
                _ => {}
            }
        }
        // No string of JSON goes on in another line.
        self.in_string = false;
        self.text.truncate(if self.text.len() > AD_MAX {
            0
        } else {
            self.text.len()
        });
    }
}

/// The attributes of a job, by name in small letters.
#[derive(Debug)]
struct Ad(Map<String, Value>);

impl Ad {
    fn parse(text: &str) -> Option<Ad> {
        let map: Map<String, Value> = json::read(text).ok()?;
        let mut lower = Map::new();
        for (name, value) in map {
            lower.insert(name.to_ascii_lowercase(), value);
        }
        Some(Ad(lower))
    }

    fn number(&self, name: &str) -> Option<i64> {
        let value = self.0.get(name)?;
        let number = value
            .as_i64()
            .map(|number| number as f64)
            .or_else(|| value.as_f64())?;
        (number.abs() < 1e15).then_some(number as i64)
    }

    /// A time or an amount that is set: HTCondor writes 0 and -1 for those that are not.
    fn positive(&self, name: &str) -> Option<i64> {
        self.number(name).filter(|number| *number > 0)
    }

    /// An expression is no text: `\/Expr(…)\/` stands for it.
    fn text(&self, name: &str) -> Option<String> {
        let text = self.0.get(name)?.as_str()?;
        let is_text = !text.is_empty() && !text.starts_with("/Expr(");
        is_text.then(|| text.chars().take(TEXT_MAX).collect())
    }

    /// Gives its job, or counts why there is none.
    fn add(&self, notes: &mut Notes, take: impl FnOnce(RanJob)) {
        match self.job(|what| note(notes, what)) {
            Ok(job) => take(job),
            Err(Some(problem)) => note(notes, problem),
            Err(None) => {}
        }
    }

    /// The job; no error for one that needs no node, or never ran.
    fn job(&self, note: impl FnMut(&str)) -> Result<RanJob, Option<&'static str>> {
        // Scheduler, grid and local universe: these run on no node.
        if let Some(7 | 9 | 12) = self.number("jobuniverse") {
            return Err(None);
        }
        let wall = self.positive("remotewallclocktime").unwrap_or(0);
        let Some(started) = self.positive("jobcurrentstartdate") else {
            return match wall {
                0 => Err(None),
                _ => Err(Some("no JobCurrentStartDate: left out")),
            };
        };
        let is_running = matches!(self.number("jobstatus"), Some(2 | 6 | 7));
        let ended = self
            .positive("completiondate")
            .or(self.positive("enteredcurrentstatus"));
        let length = match self.positive("lastremotewallclocktime") {
            _ if is_running => self.positive("servertime").map(|now| now - started),
            Some(length) => Some(length),
            None => ended.map(|ended| ended - started),
        };
        let run = length.filter(|length| (0..=RUN_MAX).contains(length));
        let mut note = note;
        if run.is_none() {
            note(
                "no end, or an end before the start: RemoteWallClockTime counts as an earlier run",
            );
        }
        if self.number("jobuniverse") == Some(11) {
            note("parallel universe: only its first host counts");
        }
        // That of a running job is of its earlier runs alone.
        let last = if is_running { 0 } else { run.unwrap_or(0) };
        let earlier = (wall - last).clamp(0, RUN_MAX);
        let host = match is_running {
            true => self
                .text("remotehost")
                .or_else(|| self.text("lastremotehost")),
            false => self
                .text("lastremotehost")
                .or_else(|| self.text("remotehost")),
        };
        let host = host.and_then(|host| Some(host.rsplit('@').next()?.to_lowercase()));
        Ok(RanJob {
            id: self.id(),
            owner: self.owner(),
            group: self.group(),
            cpus: self
                .amount("cpusprovisioned", "requestcpus")
                .unwrap_or_else(|| {
                    note("no RequestCpus: 1 assumed");
                    1
                }),
            memory_mb: self
                .amount("memoryprovisioned", "requestmemory")
                .unwrap_or_else(|| {
                    note("no RequestMemory: 128 MB assumed");
                    128
                }),
            host: host.filter(|host| !host.is_empty()),
            queued: self.positive("qdate"),
            run: run.map(|run| (started, started + run)),
            earlier: earlier.unsigned_abs(),
        })
    }

    fn id(&self) -> (i64, i64) {
        let number = |name| self.number(name).unwrap_or(-1);
        (number("clusterid"), number("procid"))
    }

    fn owner(&self) -> String {
        let user = || Some(self.text("user")?.split('@').next()?.to_owned());
        self.text("owner")
            .or_else(user)
            .unwrap_or_else(|| "unknown".to_owned())
    }

    /// `AccountingGroup` is the group and the user.
    fn group(&self) -> Option<String> {
        let of_user = || Some(self.text("accountinggroup")?.rsplit_once('.')?.0.to_owned());
        self.text("acctgroup").or_else(of_user)
    }

    fn amount(&self, provisioned: &str, requested: &str) -> Option<u64> {
        let amount = self
            .positive(provisioned)
            .or_else(|| self.positive(requested));
        Some(amount?.unsigned_abs().min(1 << 40))
    }
}

#[cfg(test)]
#[path = "ran_tests.rs"]
mod tests;
