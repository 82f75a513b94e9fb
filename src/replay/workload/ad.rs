//! Job ads: the attributes that make a job of a workload, and the rules by which they do.
//!
//! | `JobStatus` | job of the workload |
//! | --- | --- |
//! | 4, completed | runs from `JobCurrentStartDate` to `CompletionDate`: the last start counts, evicted ones do not |
//! | 3, removed | ran: as above, until `EnteredCurrentStatus`; never ran: removed then if it is still idle |
//! | 2, 6, 7, running | runs until `ServerTime` |
//! | 1, idle | its runs so far; never ran: the median of similar jobs |
//! | 5, held | its runs so far; never ran: left out |
//!
//! Jobs of the scheduler, local and grid universe run on no node and are left out. A job of the parallel universe becomes one
//! job for each of its machines. Time on hold counts as idle time, since an ad does not have it.
//! Source: HTCondor manual, "Job ClassAd Attributes".

use scaling::observation::Resources;

use super::known::{Identity, Known};
use super::requirements::beyond_size;
use super::{Builder, JobClass, Notes, RUNS_MAX, Seconds};

/// An ad whose end is missing.
pub(super) const CUT_OFF: &str = "cut off at the end of the file: left out";
/// Most machines of a job of the parallel universe. More are an error of the ad.
const MACHINES_MAX: u64 = 10_000;
/// Larger amounts are errors of the ad: 1 PiB, in KiB.
const AMOUNT_MAX: f64 = (1_u64 << 40) as f64;

macro_rules! attributes {
    ($($name:ident),* $(,)?) => {
        /// An attribute that is read.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Attribute { $($name),* }

        impl Attribute {
            const ALL: &[(Attribute, &str)] = &[$((Attribute::$name, stringify!($name))),*];
        }
    };
}

/// The names of all of them.
pub fn attribute_names() -> Vec<&'static str> {
    Attribute::ALL.iter().map(|(_, name)| *name).collect()
}

attributes!(
    Owner,
    User,
    AcctGroup,
    AccountingGroup,
    GlobalJobId,
    ClusterId,
    ProcId,
    QDate,
    Requirements,
    JobMaterializeDate,
    JobMaterializeDigestFile,
    JobStatus,
    LastJobStatus,
    JobUniverse,
    JobStartDate,
    JobCurrentStartDate,
    CompletionDate,
    EnteredCurrentStatus,
    ServerTime,
    RemoteWallClockTime,
    NumJobStarts,
    NumShadowStarts,
    NumHolds,
    NumSystemHolds,
    MinHosts,
    RequestCpus,
    RequestMemory,
    RequestDisk,
    RequestGPUs,
    CpusProvisioned,
    MemoryProvisioned,
    GPUsProvisioned,
    MemoryUsage,
    ResidentSetSize,
    ImageSize,
    DiskUsage,
);

/// Of each first letter, the lengths of names that begin with it, a bit each: an ad has a hundred other attributes.
#[allow(clippy::indexing_slicing)] // The compiler evaluates it.
const LENGTHS: [u32; 26] = {
    let mut lengths = [0; 26];
    let mut all = Attribute::ALL;
    while let [(_, name), rest @ ..] = all {
        if let Some(first) = name.as_bytes().first() {
            lengths[(first.to_ascii_lowercase() - b'a') as usize] |= 1 << name.len();
        }
        all = rest;
    }
    lengths
};

impl Attribute {
    /// The attribute of a name. Names of attributes have no case.
    pub(super) fn named(name: &[u8]) -> Option<Attribute> {
        let letter = name.first()?.to_ascii_lowercase().checked_sub(b'a')?;
        let lengths = LENGTHS.get(usize::from(letter))?;
        if name.len() >= 32 || lengths & (1 << name.len()) == 0 {
            return None;
        }
        let is_name = |(_, known): &&(Attribute, &str)| known.as_bytes().eq_ignore_ascii_case(name);
        Attribute::ALL.iter().find(is_name).map(|(found, _)| *found)
    }
}

/// A value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Number(f64),
    Text(String),
    /// An expression.
    Expression(String),
    /// Another type.
    Other,
}

/// The attributes of one ad.
#[derive(Debug)]
pub(super) struct Ad {
    values: [Option<Value>; Attribute::ALL.len()],
    has_attributes: bool,
}

impl Default for Ad {
    fn default() -> Ad {
        Ad {
            values: [const { None }; Attribute::ALL.len()],
            has_attributes: false,
        }
    }
}

/// The life of a job.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Run {
    /// It ran for this time.
    Ran(i64),
    /// It never started.
    Unstarted { removed: Option<i64> },
}

impl Ad {
    /// Sets an attribute of this name, unless the ad has it. `false` if the ad has it.
    pub(super) fn set(&mut self, attribute: Attribute, value: Option<Value>) -> bool {
        self.has_attributes = true;
        match self.values.get_mut(attribute as usize) {
            Some(place) if place.is_none() => {
                *place = value;
                true
            }
            _ => false,
        }
    }

    /// Notes an attribute that is not read.
    pub(super) fn pass(&mut self) {
        self.has_attributes = true;
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.has_attributes
    }

    pub(super) fn has(&self, attribute: Attribute) -> bool {
        self.get(attribute).is_some()
    }

    /// What tells it from another job: `GlobalJobId`, or cluster, process and time of the submit.
    pub(super) fn identity(&self) -> Option<Identity<'_>> {
        let number = |attribute| self.number(attribute).map(|number| number as i64);
        if let Some(id) = self.text(Attribute::GlobalJobId) {
            return Some(Identity::Global(id));
        }
        let id = number(Attribute::ClusterId).zip(number(Attribute::ProcId))?;
        Some(Identity::Local(id, number(Attribute::QDate)))
    }

    fn get(&self, attribute: Attribute) -> Option<&Value> {
        self.values.get(attribute as usize)?.as_ref()
    }

    fn number(&self, attribute: Attribute) -> Option<f64> {
        match self.get(attribute) {
            Some(Value::Number(number)) => Some(*number),
            _ => None,
        }
    }

    fn text(&self, attribute: Attribute) -> Option<&str> {
        match self.get(attribute) {
            Some(Value::Text(text)) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// A time or a duration that is set: HTCondor writes 0 and -1 for those that are not.
    fn seconds(&self, attribute: Attribute) -> Option<i64> {
        let number = self.number(attribute)?;
        (number > 0.0 && number < 1e15).then_some(number as i64)
    }

    fn count(&self, attribute: Attribute) -> u64 {
        self.seconds(attribute).unwrap_or_default().unsigned_abs()
    }

    /// The job id, as `condor_q` prints it.
    fn id(&self) -> String {
        let part = |attribute| match self.number(attribute) {
            Some(number) => format!("{number}"),
            None => "?".to_owned(),
        };
        format!(
            "job {}.{}",
            part(Attribute::ClusterId),
            part(Attribute::ProcId)
        )
    }

    /// Adds the job of the ad, or counts why there is none.
    pub(super) fn add(&self, known: &mut Known, builder: &mut Builder, place: impl Fn() -> String) {
        let example = || format!("{} {}", place(), self.id());
        builder.notes.records += 1;
        let notes = &mut builder.notes;
        let job = self
            .check_universe()
            .and_then(|()| known.check(self.identity()))
            .and_then(|()| self.submitted(notes, &example))
            .and_then(|submitted| Ok((submitted, self.run(submitted, notes, &example)?)));
        let (submitted, run) = match job {
            Ok(job) => job,
            Err(problem) => return notes.leave_out(problem, example),
        };
        let machines = self.machines(notes, &example);
        notes.added += machines - 1;
        let class = JobClass {
            owner: self.owner(notes, &example),
            accounting_group: self.accounting_group(),
            request: self.request(notes, &example).rounded(),
        };
        if let Some(Value::Expression(requirements)) = self.get(Attribute::Requirements)
            && let Some(attribute) = beyond_size(requirements)
        {
            builder.requires(attribute, example);
        }
        for _ in 0..machines {
            match run {
                Run::Ran(runs) => {
                    let runs = Seconds::try_from(runs).unwrap_or_default();
                    builder.add(submitted, runs, None, &class);
                }
                Run::Unstarted { removed } => builder.add_unstarted(submitted, removed, &class),
            }
        }
    }

    fn machines(&self, notes: &mut Notes, example: &impl Fn() -> String) -> u64 {
        if self.number(Attribute::JobUniverse) != Some(11.0) {
            return 1;
        }
        notes.count("parallel universe: one job for each machine", example);
        let machines = self.count(Attribute::MinHosts);
        if machines > MACHINES_MAX {
            let what = format!(
                "parallel universe: more than {MACHINES_MAX} machines, {MACHINES_MAX} assumed"
            );
            notes.count(&what, example);
        }
        machines.clamp(1, MACHINES_MAX)
    }

    /// Source: HTCondor manual, `JobUniverse`.
    fn check_universe(&self) -> Result<(), &'static str> {
        match self.number(Attribute::JobUniverse) {
            Some(7.0) => Err("scheduler universe, runs on no node: left out"),
            Some(9.0) => Err("grid universe, runs on no node: left out"),
            Some(12.0) => Err("local universe, runs on no node: left out"),
            _ => Ok(()),
        }
    }

    fn submitted(
        &self,
        notes: &mut Notes,
        example: &impl Fn() -> String,
    ) -> Result<i64, &'static str> {
        let started = self
            .seconds(Attribute::JobStartDate)
            .or(self.seconds(Attribute::JobCurrentStartDate));
        let queued = self.seconds(Attribute::QDate);
        let materialized = self.seconds(Attribute::JobMaterializeDate);
        if self.has(Attribute::JobMaterializeDigestFile) || materialized.is_some() {
            let what = match materialized {
                Some(_) => "late materialization: submitted at JobMaterializeDate",
                None => "late materialization, no JobMaterializeDate: submitted at QDate",
            };
            notes.count(what, example);
        }
        match (materialized.max(queued), started) {
            (Some(submitted), Some(started)) if started < submitted => {
                notes.count(
                    "starts before it is submitted: submitted at its start",
                    example,
                );
                Ok(started)
            }
            (Some(submitted), _) => Ok(submitted),
            (None, Some(started)) => {
                notes.count("no QDate: submitted at its start", example);
                Ok(started)
            }
            (None, None) => Err("no QDate: left out"),
        }
    }

    fn run(
        &self,
        submitted: i64,
        notes: &mut Notes,
        example: &impl Fn() -> String,
    ) -> Result<Run, &'static str> {
        self.note_starts_and_holds(notes, example);
        let changed = self.seconds(Attribute::EnteredCurrentStatus);
        let Some(status) = self.number(Attribute::JobStatus) else {
            return Err("no JobStatus: left out");
        };
        let last = self.number(Attribute::LastJobStatus);
        let has_run = self.has_run();
        match (status as i64, has_run) {
            (4, _) => {
                let end = self.seconds(Attribute::CompletionDate).or(changed);
                self.last_run(end, notes, example).map(Run::Ran)
            }
            (3, true) if last.is_none_or(|last| last != 1.0 && last != 5.0) => {
                notes.count(
                    "removed while running: its run time until then counts",
                    example,
                );
                self.last_run(changed, notes, example).map(Run::Ran)
            }
            (3, true) => {
                notes.count(
                    "removed while idle or held after a run: the mean of its runs counts",
                    example,
                );
                self.mean_run().map(Run::Ran)
            }
            (3, false) if last == Some(5.0) => Err("removed while held, never started: left out"),
            (3, false) => match changed {
                Some(removed) if removed < submitted => {
                    Err("removed before it is submitted: left out")
                }
                Some(removed) => {
                    notes.count("removed while idle, never started", example);
                    let removed = Some(removed);
                    Ok(Run::Unstarted { removed })
                }
                None => Err("removed while idle, at an unknown time: left out"),
            },
            (2 | 6 | 7, _) => {
                notes.count("still running: its run time until then counts", example);
                let now = self.seconds(Attribute::ServerTime);
                match now.is_some() || self.seconds(Attribute::RemoteWallClockTime).is_some() {
                    true => self.last_run(now, notes, example).map(Run::Ran),
                    false => Ok(Run::Unstarted { removed: None }),
                }
            }
            (1, true) => {
                notes.count(
                    "idle again after a run: the mean of its runs counts",
                    example,
                );
                self.mean_run().map(Run::Ran)
            }
            (1, false) => {
                notes.count("still idle, never started", example);
                Ok(Run::Unstarted { removed: None })
            }
            (5, true) => {
                notes.count("held after a run: the mean of its runs counts", example);
                self.mean_run().map(Run::Ran)
            }
            (5, false) => Err("held, never started: left out"),
            _ => Err("unknown JobStatus: left out"),
        }
    }

    fn note_starts_and_holds(&self, notes: &mut Notes, example: &impl Fn() -> String) {
        let starts = self.count(Attribute::NumJobStarts);
        if starts > 1 {
            notes.count(
                "started more than once (evicted, requeued): the last start counts",
                example,
            );
        }
        if self.count(Attribute::NumShadowStarts) > starts.max(1) && starts > 0 {
            notes.count("shadows started that ran no job: not counted", example);
        }
        if self.count(Attribute::NumHolds) > 0 || self.count(Attribute::NumSystemHolds) > 0 {
            notes.count("was held: its time on hold counts as idle time", example);
        }
    }

    fn has_run(&self) -> bool {
        self.count(Attribute::NumJobStarts) > 0
            || self.seconds(Attribute::JobStartDate).is_some()
            || self.seconds(Attribute::JobCurrentStartDate).is_some()
            || self.seconds(Attribute::RemoteWallClockTime).is_some()
    }

    /// The time from the last start to `end`.
    fn last_run(
        &self,
        end: Option<i64>,
        notes: &mut Notes,
        example: &impl Fn() -> String,
    ) -> Result<i64, &'static str> {
        let start = self.seconds(Attribute::JobCurrentStartDate).or_else(|| {
            let is_only = self.count(Attribute::NumJobStarts) <= 1;
            self.seconds(Attribute::JobStartDate).filter(|_| is_only)
        });
        let runs = start.zip(end).map(|(start, end)| end.saturating_sub(start));
        if let Some(runs @ 0..=RUNS_MAX) = runs {
            return Ok(runs);
        }
        let mean = self.mean_run();
        match (runs, mean) {
            (Some(..0), Ok(mean)) => {
                notes.count("ends before it starts: RemoteWallClockTime counts", example);
                Ok(mean)
            }
            (Some(_), Ok(mean)) => {
                notes.count(
                    "runs longer than a year: RemoteWallClockTime counts",
                    example,
                );
                Ok(mean)
            }
            (None, Ok(mean)) => {
                notes.count(
                    "no time of start or end: RemoteWallClockTime counts",
                    example,
                );
                Ok(mean)
            }
            (Some(..0), Err(_)) => Err("ends before it starts: left out"),
            (Some(_), Err(_)) => Err("ran longer than a year: left out"),
            (None, Err(problem)) => Err(problem),
        }
    }

    /// `RemoteWallClockTime` is the sum of all starts.
    fn mean_run(&self) -> Result<i64, &'static str> {
        let starts = i64::try_from(self.count(Attribute::NumJobStarts)).unwrap_or(1);
        let time = self.seconds(Attribute::RemoteWallClockTime);
        match time.map(|time| time / starts.max(1)) {
            Some(runs) if runs <= RUNS_MAX => Ok(runs),
            Some(_) => Err("ran longer than a year: left out"),
            None => Err("no run time: left out"),
        }
    }

    fn owner(&self, notes: &mut Notes, example: &impl Fn() -> String) -> String {
        let user = self.text(Attribute::User);
        let owner = self
            .text(Attribute::Owner)
            .or_else(|| Some(user?.split('@').next().unwrap_or_default()));
        match owner {
            Some(owner) => owner.to_owned(),
            None => {
                notes.count("no Owner: unknown", example);
                "unknown".to_owned()
            }
        }
    }

    fn accounting_group(&self) -> Option<String> {
        let group = self.text(Attribute::AcctGroup).or_else(|| {
            // `AccountingGroup` is the group and the user.
            let (group, _) = self.text(Attribute::AccountingGroup)?.rsplit_once('.')?;
            Some(group)
        });
        group.map(str::to_owned)
    }

    fn amount(&self, attribute: Attribute) -> Option<f64> {
        let is_amount = |amount: &f64| *amount >= 0.0 && *amount <= AMOUNT_MAX;
        self.number(attribute).filter(is_amount).map(f64::ceil)
    }

    fn request(&self, notes: &mut Notes, example: &impl Fn() -> String) -> Resources {
        let positive = |amount: Option<f64>| amount.filter(|amount| *amount > 0.0);
        let mb = |attribute| positive(self.amount(attribute)).map(|kb| (kb / 1024.0).ceil());
        let provisioned = |attribute, request| {
            let amount = positive(self.amount(attribute));
            // Only an expression shows that the slot was made for it: a static slot may be larger than the job.
            let is_expression = matches!(self.get(request), Some(Value::Expression(_)));
            amount.filter(|_| is_expression)
        };
        let mut request = |attribute, from: &[(&str, Option<f64>)], assumed: (&str, f64)| {
            if let Some(amount) = self.amount(attribute) {
                return amount as u64;
            }
            let name = Attribute::ALL
                .get(attribute as usize)
                .map_or("", |(_, name)| name);
            let problem = match self.get(attribute) {
                None => format!("no {name}"),
                Some(Value::Number(_)) => format!("{name} is negative or more than 2^40"),
                Some(_) => format!("{name} is an expression"),
            };
            let found = from
                .iter()
                .find_map(|(name, amount)| Some((*name, (*amount)?)));
            let (source, amount) = match found {
                Some((name, amount)) => (format!("{name} counts"), amount),
                None => (format!("{} assumed", assumed.0), assumed.1),
            };
            notes.count(&format!("{problem}: {source}"), example);
            amount as u64
        };
        use Attribute as A;
        let cpus = (
            "CpusProvisioned",
            provisioned(A::CpusProvisioned, A::RequestCpus),
        );
        let memory = [
            (
                "MemoryProvisioned",
                provisioned(A::MemoryProvisioned, A::RequestMemory),
            ),
            ("MemoryUsage", positive(self.amount(A::MemoryUsage))),
            // `MemoryUsage` is an expression of it.
            ("ResidentSetSize", mb(A::ResidentSetSize)),
            ("ImageSize", mb(A::ImageSize)),
        ];
        let disk = ("DiskUsage", positive(self.amount(A::DiskUsage)));
        let gpus = ("GPUsProvisioned", self.amount(A::GPUsProvisioned));
        Resources {
            cpus: request(A::RequestCpus, &[cpus], ("1", 1.0)),
            memory_mb: request(A::RequestMemory, &memory, ("128 MB", 128.0)),
            disk_kb: request(A::RequestDisk, &[disk], ("1024 KB", 1024.0)),
            gpus: match self.has(A::RequestGPUs) {
                true => request(A::RequestGPUs, &[gpus], ("0", 0.0)),
                false => 0,
            },
        }
    }
}
