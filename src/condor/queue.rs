//! What a schedd has in its queue: how many jobs in which state, and what the idle ones ask for.
//!
//! Each schedd is asked by itself (`condor_q -global` takes a schedd without an ad for an empty queue), with up to
//! three calls at the same time:
//!
//! - `-totals`: the jobs by state. Its answer is never empty, so it tells "none" from "no answer", and it carries
//!   the schedd's clock (`ServerTime`).
//! - `-group-by`: the idle jobs, grouped by the schedd. **It applies the constraint to the groups, not to the jobs**
//!   (seen on 23.9.6): an attribute that the constraint refers to and that is not among `-attributes` is undefined
//!   there, and the answer is empty or counts what it should not. So all of them are made part of the group, those
//!   of the site's own constraint too. `QDate` and `EnteredCurrentStatus` are part of it for the longest wait; the
//!   groups are as many as submits then, in the worst case as many as jobs, and are folded as they arrive.
//!   So are their Requirements and what these refer to (`job_ad`), which is known only when they are seen: where an answer
//!   names attributes that were not asked for, the schedd is asked again with them, and they are kept for the next tick.
//! - `-constraint … RemoteHost`: jobs that run on machines which have gone silent; only when there are any.
//!
//! Where `-group-by` is not known, or is empty although jobs are idle, the idle jobs are asked for one by one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::thread;
use std::time::{Duration, Instant};

use super::answer::{amount, excerpt, integer, quoted, string, values};
use super::command::{Call, Tools};
use super::error::Error;
use super::expression::references;
use super::job_ad::{Columns, JobAd, Unread};
use crate::deadline::Deadline;
use crate::scaling::needs::Needs;
use crate::scaling::observation::{Demand, JobCounts, Resources, RunningJobs, ScheddView};

/// The attributes by which idle jobs are grouped, besides those of the site's constraint and of their Requirements.
const GROUP_BY: [&str; 12] = [
    "JobStatus",
    "JobUniverse",
    "Managed",
    "RequestCpus",
    "RequestMemory",
    "RequestDisk",
    "RequestGPUs",
    "QDate",
    "EnteredCurrentStatus",
    "MaxHosts",
    "AcctGroup",
    "ConcurrencyLimits",
];

/// How often a schedd is asked in one tick for what Requirements refer to.
const ROUNDS: usize = 3;

/// Texts of ads that are kept of one schedd, in bytes; such as are longer than this are not looked at.
const ADS_MAX: usize = 2 * 1024 * 1024;
const AD_MAX: usize = 16 * 1024;

/// Endings of lines that are kept, in bytes. The others are read anew: nothing is lost with them.
const ENDINGS_MAX: usize = 2 * 1024 * 1024;

/// Attributes that are noted.
const NAMES_MAX: usize = 1000;

/// A list of machines that is longer is not put into a constraint (Linux takes 128 KiB in one argument).
const CONSTRAINT_MAX: usize = 64 * 1024;

/// Which jobs count.
#[derive(Debug, Clone)]
pub(super) struct JobFilter {
    /// A ClassAd expression that is true for jobs of the right universe that the site wants counted.
    counted: String,
    /// `-attributes`: what jobs are grouped by.
    group_by: Vec<String>,
    /// Their Requirements are asked for.
    requirements: bool,
}

impl JobFilter {
    /// Jobs of `universes` (vanilla when empty) for which the site's constraint is true.
    pub(super) fn new(
        universes: &[u32],
        job_constraint: Option<&str>,
        requirements: bool,
    ) -> JobFilter {
        let universes = match universes {
            [] => "JobUniverse == 5".to_owned(),
            several => several
                .iter()
                .map(|universe| format!("JobUniverse == {universe}"))
                .collect::<Vec<_>>()
                .join(" || "),
        };
        // A job router has made another job of these; that one counts.
        let mut counted = format!("({universes}) && Managed =!= \"External\"");
        let mut group_by: Vec<String> = GROUP_BY.iter().map(|name| (*name).to_owned()).collect();
        if requirements {
            group_by.push("Requirements".to_owned());
        }
        if let Some(site) = job_constraint {
            counted.push_str(&format!(" && ({site})"));
            for name in references(site) {
                add(&mut group_by, &name);
            }
        }
        JobFilter {
            counted,
            group_by,
            requirements,
        }
    }

    /// `-attributes`, with these columns.
    fn group_by(&self, columns: &Columns) -> String {
        let mut group_by = self.group_by.clone();
        for name in columns.all() {
            add(&mut group_by, name);
        }
        group_by.join(",")
    }

    /// Idle jobs that count, and that have been idle for `min_wait` by the schedd's clock.
    fn idle(&self, min_wait: Duration) -> String {
        let mut constraint = format!("JobStatus == 1 && {}", self.counted);
        if !min_wait.is_zero() {
            // A job whose age cannot be told is waiting.
            constraint.push_str(&format!(
                " && ((time() - max({{QDate, EnteredCurrentStatus}}) < {}) =!= true)",
                min_wait.as_secs()
            ));
        }
        constraint
    }
}

fn add(names: &mut Vec<String>, name: &str) {
    if !names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
        names.push(name.to_owned());
    }
}

/// What a schedd's idle jobs need, and the attributes that were asked for to know it.
#[derive(Debug, Default)]
pub(super) struct Ads {
    /// By their needs.
    pub ads: BTreeMap<Needs, JobAd>,
    /// Those that Requirements refer to.
    pub names: BTreeSet<String>,
}

/// One schedd and how it is reached.
#[derive(Debug, Clone)]
pub(super) struct Schedd {
    /// Its name in the view.
    pub name: String,
    /// `-name … -pool …`; nothing for the one of this machine.
    pub address: Vec<String>,
}

impl Schedd {
    /// The schedd of this machine.
    pub(super) fn local() -> Schedd {
        Schedd {
            name: "local".to_owned(),
            address: Vec::new(),
        }
    }

    /// A schedd by the name that `condor_status -schedd` shows, in another pool where one is given.
    pub(super) fn named(name: &str, pool: Option<&str>) -> Schedd {
        let mut address = vec!["-name".to_owned(), name.to_owned()];
        if let Some(pool) = pool {
            address.extend(["-pool".to_owned(), pool.to_owned()]);
        }
        Schedd {
            name: name.to_owned(),
            address,
        }
    }

    fn about(&self) -> String {
        format!("schedd {}", self.name)
    }

    /// All that the tick wants to know of this schedd, whole or not at all.
    ///
    /// `silent` are the machines of which it is asked whether jobs run there.
    pub(super) fn observe(
        &self,
        tools: &Tools,
        filter: &JobFilter,
        min_wait: Duration,
        columns: &Columns,
        silent: &BTreeSet<String>,
        deadline: Deadline,
    ) -> Result<(ScheddView, Ads), Error> {
        let (totals, folded, running_on) = thread::scope(|scope| {
            let totals = scope.spawn(|| self.totals(tools, filter, deadline));
            let running_on = scope.spawn(|| self.running_on(tools, silent, deadline));
            let question = Question {
                tools,
                filter,
                constraint: filter.idle(min_wait),
                deadline,
            };
            let folded = self.idle(&question, columns);
            (joined(totals), folded, joined(running_on))
        });
        let totals = totals?;
        let running_on = running_on?;
        let folded = match folded {
            Ok(folded) if folded.lines > 0 || totals.jobs.idle == 0 => folded,
            Ok(folded) if !folded.grouped => folded,
            Ok(_) => {
                let question = Question {
                    tools,
                    filter,
                    constraint: filter.idle(min_wait),
                    deadline,
                };
                self.with_names(&question, columns, false)?
            }
            Err(error) => return Err(error),
        };
        folded.report(&self.name);
        let view = ScheddView {
            demand: folded.demand(totals.now()),
            jobs: totals.jobs,
            running_on: since(running_on, totals.now()),
        };
        Ok((view, folded.into_ads()))
    }

    /// The idle jobs: as the schedd groups them, or one by one where `condor_q` does not know how.
    fn idle(&self, question: &Question, columns: &Columns) -> Result<Folded, Error> {
        match self.with_names(question, columns, true) {
            Err(Error::Failed { stderr, .. }) if stderr.contains("-group-by") => {
                self.with_names(question, columns, false)
            }
            answer => answer,
        }
    }

    /// Asks again for what the answer refers to and does not say.
    fn with_names(
        &self,
        question: &Question,
        columns: &Columns,
        grouped: bool,
    ) -> Result<Folded, Error> {
        let start = Instant::now();
        let mut folded = self.fold(question, columns.clone(), grouped)?;
        let took = start.elapsed();
        for _ in 1..ROUNDS {
            let columns = folded.columns.clone().with(&folded.names);
            if columns == folded.columns {
                break;
            }
            // To match them takes time too.
            if took.saturating_mul(2) > question.deadline.left() {
                log::warn!(
                    "{} took {} s to say what its idle jobs ask for: what some Requirements refer to is asked in the next tick",
                    self.about(),
                    took.as_secs()
                );
                break;
            }
            match self.fold(question, columns, grouped) {
                Ok(more) => folded = more,
                Err(error) => {
                    // What is known of the jobs counts; where they may run is unknown for some of them.
                    log::warn!("{error}; what some Requirements refer to is not known");
                    break;
                }
            }
        }
        Ok(folded)
    }

    fn totals(
        &self,
        tools: &Tools,
        filter: &JobFilter,
        deadline: Deadline,
    ) -> Result<Totals, Error> {
        let mut args = self.args();
        args.extend(["-totals", "-constraint", &filter.counted, "-af:t"]);
        args.extend(Totals::ATTRIBUTES);
        let about = self.about();
        let call = Call {
            tool: "condor_q",
            args: &args,
            stdin: "",
            about: &about,
        };
        let totals = tools.run(&call, deadline, None, |totals, line| {
            if !line.trim().is_empty() {
                *totals = Some(Totals::read(line)?);
            }
            Ok(())
        })?;
        totals.ok_or_else(|| Error::Unparsable {
            tool: call.tool.to_owned(),
            about: about.clone(),
            what: "it is empty, and never should be".to_owned(),
        })
    }

    fn fold(&self, question: &Question, columns: Columns, grouped: bool) -> Result<Folded, Error> {
        let filter = question.filter;
        let group_by = filter.group_by(&columns);
        let mut args = self.args();
        if grouped {
            args.extend(["-group-by", "-attributes", &group_by]);
        }
        args.extend(["-constraint", &question.constraint, "-af:t"]);
        args.extend(Folded::EXPRESSIONS);
        // What is named here is part of the group, so that no group has the number of a job.
        args.push(match grouped {
            true => "JobIds",
            false => "strcat(ClusterId, \".\", ProcId)",
        });
        args.extend(Folded::SHAPE);
        let names: Vec<String> = columns
            .all()
            .into_iter()
            .map(|name| format!("unparse({name})"))
            .collect();
        if filter.requirements {
            args.push("unparse(Requirements)");
            args.extend(names.iter().map(String::as_str));
        }
        let call = Call {
            tool: "condor_q",
            args: &args,
            stdin: "",
            about: &self.about(),
        };
        let folded = Folded::new(columns, filter.requirements, grouped);
        question
            .tools
            .run(&call, question.deadline, folded, Folded::add)
    }

    fn running_on(
        &self,
        tools: &Tools,
        silent: &BTreeSet<String>,
        deadline: Deadline,
    ) -> Result<BTreeMap<String, Vec<RunningJob>>, Error> {
        if silent.is_empty() {
            return Ok(BTreeMap::new());
        }
        // Host names differ in case from one place to the other.
        let by_name: BTreeMap<String, &String> = silent
            .iter()
            .map(|machine| (machine.to_ascii_lowercase(), machine))
            .collect();
        // 2 running, 6 transferring output, 7 suspended.
        let mut constraint = "(JobStatus == 2 || JobStatus == 6 || JobStatus == 7)".to_owned();
        let list = silent
            .iter()
            .map(|machine| quoted(machine))
            .collect::<Vec<_>>()
            .join(", ");
        if list.len() <= CONSTRAINT_MAX {
            constraint.push_str(&format!(
                " && member(split(RemoteHost, \"@\")[size(split(RemoteHost, \"@\")) - 1], {{{list}}})"
            ));
        }
        let mut args = self.args();
        args.extend(["-constraint", &constraint, "-af:t"]);
        args.extend(RunningJob::COLUMNS);
        let call = Call {
            tool: "condor_q",
            args: &args,
            stdin: "",
            about: &self.about(),
        };
        tools.run(&call, deadline, BTreeMap::new(), |found, line| {
            if line.is_empty() {
                return Ok(());
            }
            // The host last: whatever stands in it, the others are read.
            let mut values = line.splitn(RunningJob::COLUMNS.len(), '\t');
            let mut value = || values.next().unwrap_or_default();
            let [lease, disconnected, started, id, host] = std::array::from_fn(|_| value());
            // slot1_2@MACHINE, or slot1_2@STARTD@MACHINE.
            let host = string(host);
            let Some(machine) = host.as_deref().and_then(|host| host.rsplit('@').next()) else {
                // A job that runs, and cannot be read where: on any of them, perhaps. It is counted on none.
                for machine in silent {
                    found.entry(machine.clone()).or_default();
                }
                return Ok(());
            };
            if let Some(machine) = by_name.get(&machine.to_ascii_lowercase()) {
                let jobs: &mut Vec<RunningJob> = found.entry((*machine).clone()).or_default();
                jobs.push(RunningJob::read(id, lease, disconnected, started));
            }
            Ok(())
        })
    }

    fn args(&self) -> Vec<&str> {
        let mut args: Vec<&str> = self.address.iter().map(String::as_str).collect();
        args.push("-allusers");
        args
    }
}

/// A running job on a machine that is silent or gone.
#[derive(Debug, Clone)]
struct RunningJob {
    id: String,
    lease: Option<u64>,
    /// When the schedd lost the connection of this run, on its clock. A run that began since has another one.
    disconnected: Option<i64>,
}

impl RunningJob {
    /// The lease may be an expression, and a job may say what it likes: what is no number is not known.
    const COLUMNS: [&'static str; 5] = [
        "int(JobLeaseDuration)",
        "int(JobDisconnectedDate)",
        "int(JobCurrentStartDate)",
        "strcat(ClusterId, \".\", ProcId)",
        "unparse(RemoteHost)",
    ];

    fn read(id: &str, lease: &str, disconnected: &str, started: &str) -> RunningJob {
        let started = integer(started).unwrap_or(i64::MIN);
        RunningJob {
            id: id.to_owned(),
            lease: amount(lease),
            disconnected: integer(disconnected).filter(|at| *at >= started),
        }
    }
}

/// What is known of these jobs at a time of the schedd's clock.
fn since(running_on: BTreeMap<String, Vec<RunningJob>>, now: i64) -> BTreeMap<String, RunningJobs> {
    let known = |job: RunningJob| {
        let lease = job.lease.map(Duration::from_secs);
        let lost_for = job
            .disconnected
            .and_then(|at| u64::try_from(now.saturating_sub(at)).ok());
        let lost_for = lost_for.map(Duration::from_secs);
        RunningJobs {
            jobs: 1,
            example: Some(job.id),
            lease_left: lease
                .zip(lost_for)
                .map(|(lease, lost_for)| lease.saturating_sub(lost_for)),
            lease,
        }
    };
    let of_machine = |(machine, jobs): (String, Vec<RunningJob>)| {
        let jobs = jobs.into_iter().map(known);
        let none = RunningJobs::default();
        (machine, jobs.fold(none, |sum, job| sum.and(&job)))
    };
    running_on.into_iter().map(of_machine).collect()
}

/// What is asked about idle jobs.
struct Question<'a> {
    tools: &'a Tools,
    filter: &'a JobFilter,
    constraint: String,
    deadline: Deadline,
}

fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    match thread.join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// The answer of `condor_q -totals`.
#[derive(Debug)]
struct Totals {
    jobs: JobCounts,
    /// The schedd's clock, in seconds since 1970 …
    server_time: i64,
    /// … when it answered.
    at: Instant,
}

impl Totals {
    const ATTRIBUTES: [&'static str; 7] = [
        "MyType",
        "Jobs",
        "Idle",
        "Running",
        "Held",
        "Suspended",
        "ServerTime",
    ];

    fn read(line: &str) -> Result<Totals, String> {
        let numbers = || {
            let [kind, _, idle, running, held, suspended, server_time] = values(line).ok()?;
            (kind == "Summary").then_some(())?;
            Some(Totals {
                jobs: JobCounts {
                    idle: amount(idle)?,
                    running: amount(running)?.checked_add(amount(suspended)?)?,
                    held: amount(held)?,
                },
                server_time: integer(server_time)?,
                at: Instant::now(),
            })
        };
        numbers().ok_or_else(|| format!("these are no job totals: {}", excerpt(line)))
    }

    /// The schedd's clock now.
    fn now(&self) -> i64 {
        let elapsed = i64::try_from(self.at.elapsed().as_secs()).unwrap_or(i64::MAX);
        self.server_time.saturating_add(elapsed)
    }
}

/// Idle jobs or groups of them, folded by what they ask for.
#[derive(Debug, Default)]
struct Folded {
    columns: Columns,
    requirements: bool,
    grouped: bool,
    lines: u64,
    /// By request, and by the place of their shape in `shapes`.
    jobs: BTreeMap<(Resources, usize), Waiting>,
    shapes: Vec<Shape>,
    /// Where the shape of a line is that ends like this: a thousand lines end alike.
    endings: HashMap<String, usize>,
    /// Where each shape is.
    places: HashMap<Shape, usize>,
    ads: BTreeMap<Needs, JobAd>,
    /// Their texts.
    ads_bytes: usize,
    endings_bytes: usize,
    /// Attributes that Requirements refer to, asked for or not.
    names: BTreeSet<String>,
    unreadable: u64,
    example: String,
}

/// What jobs are like besides their requests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Shape {
    needs: Needs,
    /// How many nodes each takes, in the parallel universe.
    nodes: u64,
    concurrency_limits: String,
    accounting_group: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Waiting {
    jobs: u64,
    /// Since when the longest waiting one has been idle, on the schedd's clock.
    since: Option<i64>,
    example: Option<String>,
}

impl Folded {
    /// Evaluated and rounded up by HTCondor. A job without RequestCpus gets one core; one without RequestMemory or
    /// RequestDisk gets no slot at all from a partitionable slot (the startd refuses it), so it is no demand.
    const EXPRESSIONS: [&'static str; 7] = [
        "JobCount",
        "ifThenElse(isUndefined(RequestCpus), 1, \
         ifThenElse(isInteger(RequestCpus) || isReal(RequestCpus), ceiling(RequestCpus), error))",
        "ifThenElse(isInteger(RequestMemory) || isReal(RequestMemory), ceiling(RequestMemory), error)",
        "ifThenElse(isInteger(RequestDisk) || isReal(RequestDisk), ceiling(RequestDisk), error)",
        "ifThenElse(isUndefined(RequestGPUs), 0, \
         ifThenElse(isInteger(RequestGPUs) || isReal(RequestGPUs), ceiling(RequestGPUs), error))",
        "int(QDate)",
        "int(EnteredCurrentStatus)",
    ];
    /// The end of a line, after the name of a job; Requirements and the columns follow.
    const SHAPE: [&'static str; 4] = [
        "int(JobUniverse)",
        "int(MaxHosts)",
        "unparse(AcctGroup)",
        "unparse(ConcurrencyLimits)",
    ];
    /// The universe whose jobs take several nodes.
    const PARALLEL: u64 = 11;

    fn new(columns: Columns, requirements: bool, grouped: bool) -> Folded {
        Folded {
            columns,
            requirements,
            grouped,
            ..Folded::default()
        }
    }

    fn add(&mut self, line: &str) -> Result<(), String> {
        let mut head = line.splitn(9, '\t');
        let mut value = || head.next().unwrap_or_default();
        let [
            count,
            cpus,
            memory,
            disk,
            gpus,
            queued,
            entered,
            name,
            ending,
        ] = std::array::from_fn(|_| value());
        let shape = self.shape(ending).map_err(|()| {
            let count = line.split('\t').count();
            format!("a line with {count} values: {}", excerpt(line))
        })?;
        self.lines += 1;
        // A single job has no JobCount.
        let jobs = match count {
            "undefined" => 1,
            count => amount(count).ok_or_else(|| format!("no job count: {}", excerpt(line)))?,
        };
        let request = || {
            Some(Resources {
                cpus: amount(cpus)?,
                memory_mb: amount(memory)?,
                disk_kb: amount(disk)?,
                gpus: amount(gpus)?,
            })
        };
        let Some(request) = request() else {
            self.unreadable = self.unreadable.saturating_add(jobs);
            if self.example.is_empty() {
                self.example = format!(
                    "RequestCpus {cpus}, RequestMemory {memory}, RequestDisk {disk}, RequestGPUs {gpus}"
                );
            }
            return Ok(());
        };
        let since = integer(queued).max(integer(entered));
        let example = || {
            // `2.0`, `2.0 2.1` or `2.0 ... 2.9`.
            let first = name.split(' ').next()?;
            let is_name =
                first.len() <= 30 && first.chars().all(|c| c.is_ascii_digit() || c == '.');
            (is_name && !first.is_empty()).then(|| first.to_owned())
        };
        self.jobs
            .entry((request, shape))
            .and_modify(|waiting| {
                waiting.jobs = waiting.jobs.saturating_add(jobs);
                waiting.since = match (waiting.since, since) {
                    (Some(one), Some(other)) => Some(one.min(other)),
                    (one, other) => one.or(other),
                };
            })
            .or_insert_with(|| Waiting {
                jobs,
                since,
                example: example(),
            });
        Ok(())
    }

    /// Where the shape is that a line with this ending has.
    fn shape(&mut self, ending: &str) -> Result<usize, ()> {
        if let Some(place) = self.endings.get(ending) {
            return Ok(*place);
        }
        let shape = self.read(ending).ok_or(())?;
        let place = match self.places.get(&shape) {
            Some(place) => *place,
            None => {
                self.shapes.push(shape.clone());
                self.places.insert(shape, self.shapes.len() - 1);
                self.shapes.len() - 1
            }
        };
        if self.endings_bytes < ENDINGS_MAX {
            self.endings_bytes += ending.len();
            self.endings.insert(ending.to_owned(), place);
        }
        Ok(place)
    }

    fn read(&mut self, ending: &str) -> Option<Shape> {
        let mut values = ending.split('\t');
        let universe = amount(values.next()?).unwrap_or(0);
        let hosts = amount(values.next()?).unwrap_or(1);
        let accounting_group = string(values.next()?).map(|group| group.to_ascii_lowercase());
        let concurrency_limits = string(values.next()?).unwrap_or_default();
        let needs = if self.requirements {
            let requirements = values.next()?;
            // Each column has its value, which may be empty.
            let columns: Option<BTreeMap<&str, &str>> = self
                .columns
                .all()
                .into_iter()
                .map(|name| Some((name, values.next()?)))
                .collect();
            let columns = columns?;
            if requirements.is_empty() || requirements == "undefined" {
                Needs::default()
            } else if ending.len() > AD_MAX {
                Unread::Room.needs()
            } else {
                let mut no_more = BTreeSet::new();
                let ad = JobAd::of(
                    universe,
                    requirements,
                    &columns,
                    &self.columns.nodes_ask,
                    if self.names.len() < NAMES_MAX {
                        &mut self.names
                    } else {
                        &mut no_more
                    },
                );
                match ad {
                    Ok(ad) => {
                        let needs = ad.needs();
                        if self.ads.contains_key(&needs) {
                            needs
                        } else if self.ads_bytes >= ADS_MAX {
                            Unread::Room.needs()
                        } else {
                            self.ads_bytes += ad.size();
                            self.ads.insert(needs.clone(), ad);
                            needs
                        }
                    }
                    Err(why) => why.needs(),
                }
            }
        } else {
            Needs::default()
        };
        if values.next().is_some() {
            return None;
        }
        Some(Shape {
            needs,
            nodes: if universe == Self::PARALLEL {
                hosts.max(1)
            } else {
                1
            },
            concurrency_limits,
            accounting_group,
        })
    }

    fn into_ads(self) -> Ads {
        Ads {
            ads: self.ads,
            names: self.names,
        }
    }

    /// Says once which requests are left out.
    fn report(&self, schedd: &str) {
        if self.unreadable > 0 {
            log::warn!(
                "schedd {schedd}: {} idle jobs ask for what is no amount ({}) and are not counted as demand; \
                 condor_q -af:r RequestCpus RequestMemory RequestDisk RequestGPUs shows their requests",
                self.unreadable,
                excerpt(&self.example)
            );
        }
    }

    fn demand(&self, now: i64) -> Vec<Demand> {
        let demand = |(&(request, place), waiting): (&(Resources, usize), &Waiting)| {
            let shape = self.shapes.get(place).cloned().unwrap_or_default();
            Demand {
                request,
                needs: shape.needs,
                jobs: waiting.jobs.saturating_mul(shape.nodes.max(1)),
                waiting: waiting.since.map_or(Duration::ZERO, |since| {
                    Duration::from_secs(u64::try_from(now.saturating_sub(since)).unwrap_or(0))
                }),
                example: waiting.example.clone(),
                concurrency_limits: concurrency_limits(&shape.concurrency_limits),
                accounting_group: shape.accounting_group,
            }
        };
        self.jobs.iter().map(demand).collect()
    }
}

/// `ConcurrencyLimits`: names with how much of each a job takes (`a`, `b:2`, `c.d:0.5`), with commas between them.
pub(super) fn concurrency_limits(text: &str) -> BTreeMap<String, f64> {
    let limit = |part: &str| {
        let part = part.trim();
        let (name, weight) = match part.split_once(':') {
            // A weight that is no number, or none above zero, is 1.
            Some((name, weight)) => (name.trim(), weight.trim().parse().unwrap_or(1.0)),
            None => (part, 1.0),
        };
        let weight = if weight > 0.0 && f64::is_finite(weight) {
            weight
        } else {
            1.0
        };
        (!name.is_empty()).then(|| (name.to_ascii_lowercase(), weight))
    };
    text.split([',', ' ']).filter_map(limit).take(100).collect()
}

/// What tests/fuzz reads: the demand in `text`, whatever it is.
#[cfg(fuzzing)]
pub fn read_anything(text: &str) -> Vec<Demand> {
    let mut folded = Folded::new(Columns::default(), true, true);
    let mut now = 0;
    for line in text.lines() {
        // A line that cannot be read is an error of the whole; here the next one is as good.
        let _ = folded.add(line);
        if let Ok(totals) = Totals::read(line) {
            now = totals.now();
        }
        references(line);
    }
    folded.report("fuzzed");
    folded.demand(now)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fake::FakeTools;
    use super::*;

    /// What a line ends with after the times of a job in a pool where only room counts.
    const PLAIN: &str = "\t7.0\t5\t1\t\t";

    #[test]
    fn jobs_of_equal_requests_are_one_demand_with_the_longest_wait() {
        let mut folded = Folded::default();
        for line in [
            "40\t8\t16384\t1048576\t0\t1000\t1000",
            "3\t8\t16384\t1048576\t0\t900\t1010",
            "undefined\t8\t16384\t1048576\t0\t995\t995",
            "2\t1\t128\t45\t1\tundefined\tundefined",
        ] {
            folded.add(&format!("{line}{PLAIN}")).unwrap();
        }
        let demand = folded.demand(1100);
        assert_eq!(demand.len(), 2);
        assert_eq!(demand[0].request.gpus, 1);
        assert_eq!(demand[0].waiting, Duration::ZERO);
        assert_eq!(demand[1].jobs, 44);
        assert_eq!(demand[1].waiting, Duration::from_secs(105));
        assert_eq!(demand[1].example.as_deref(), Some("7.0"));
        assert!(demand[1].needs.is_empty());
    }

    #[test]
    fn a_request_that_is_no_amount_is_no_demand() {
        let mut folded = Folded::default();
        for line in [
            "2\t1\terror\t45\t0\t1\t1",
            "2\t1\t5\t-9223372036854775808\t0\t1\t1",
            "1\t1\t5\t45\t0\t1\t1",
        ] {
            folded.add(&format!("{line}{PLAIN}")).unwrap();
        }
        assert_eq!(folded.unreadable, 4);
        assert_eq!(folded.demand(1).len(), 1);
        assert!(folded.example.contains("RequestMemory error"), "{folded:?}");
    }

    #[test]
    fn a_torn_line_is_an_error() {
        let mut columns = Folded::new(Columns::default(), true, true);
        for line in ["3\t1\t5", "x\t1\t5\t45\t0\t1\t1\t7.0\t5\t1\t\t", ""] {
            assert!(Folded::default().add(line).is_err(), "{line}");
        }
        let whole = format!("1\t1\t5\t45\t0\t1\t1{PLAIN}");
        assert!(columns.add(&whole).is_err(), "no Requirements");
        assert!(columns.add(&format!("{whole}\ttrue")).is_ok());
        assert!(columns.add(&format!("{whole}\ttrue\t1")).is_err());
    }

    #[test]
    fn jobs_that_need_the_same_are_one_kind() {
        let names = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        let mut folded = Folded::new(Columns::default().with(&names), true, true);
        let line = |ending: &str| format!("2\t1\t5\t45\t0\t1\t1\t3.0 ... 3.1\t5\t1\t\t\t{ending}");
        for ending in [
            // b is none of its business.
            "TARGET.x > A\t1\t5",
            "TARGET.x > A\t1\t",
            "TARGET.x > A\t2\t",
            "TARGET.x > 1\t1\t",
            // Each of these is unread, for the same reason.
            "My.c\t1\t",
            "d.e > 5\t1\t",
        ] {
            folded.add(&line(ending)).unwrap();
        }
        let demand = folded.demand(1);
        let jobs: BTreeMap<&str, u64> = demand
            .iter()
            .map(|d| (d.needs.0.as_str(), d.jobs))
            .collect();
        assert_eq!(jobs.len(), 4, "{demand:?}");
        assert_eq!(jobs["unread-names"], 4);
        assert_eq!(jobs.values().sum::<u64>(), 12);
        assert!(jobs.values().any(|jobs| *jobs == 4));
        assert_eq!(demand[0].example.as_deref(), Some("3.0"));
        let ads = folded.into_ads();
        assert_eq!(ads.ads.len(), 3);
        assert!(ads.names.contains("c") && ads.names.contains("a") && !ads.names.contains("b"));
    }

    #[test]
    fn memory_has_a_bound_and_no_job_is_lost() {
        let mut folded = Folded::new(Columns::default(), true, true);
        let long = "x".repeat(10_000);
        for number in 0..2000 {
            folded
                .add(&format!(
                    "1\t1\t5\t45\t0\t1\t1\t1.0\t5\t1\t\t\t\"{long}{number}\""
                ))
                .unwrap();
        }
        let demand = folded.demand(1);
        assert_eq!(demand.iter().map(|demand| demand.jobs).sum::<u64>(), 2000);
        assert!(folded.ads_bytes < ADS_MAX + AD_MAX);
        assert!(folded.endings_bytes < ENDINGS_MAX + AD_MAX);
        let unread = Unread::Room.needs();
        let beyond = demand.iter().find(|demand| demand.needs == unread);
        assert!(beyond.is_some_and(|demand| demand.jobs > 1000));
    }

    /// A column that differs from job to job and is nobody's business fills what is kept of the answer, and takes no room
    /// from what jobs need.
    #[test]
    fn what_no_job_refers_to_takes_no_room() {
        let names = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        let mut folded = Folded::new(Columns::default().with(&names), true, true);
        let long = "x".repeat(10_000);
        for number in 0..1000 {
            let line = format!("1\t1\t5\t45\t0\t1\t1\t1.0\t5\t1\t\t\tA > 1\t1\t\"{long}{number}\"");
            folded.add(&line).unwrap();
        }
        // This one comes last.
        folded
            .add("1\t1\t5\t45\t0\t1\t1\t1.0\t5\t1\t\t\tC > 1\t1\t")
            .unwrap();
        assert!(folded.names.contains("c"), "what it refers to is asked for");
        let demand = folded.demand(1);
        let of = |unread: Unread| demand.iter().find(|demand| demand.needs == unread.needs());
        assert_eq!(of(Unread::Room), None);
        assert_eq!(of(Unread::Names).unwrap().jobs, 1);
        assert_eq!((demand.len(), folded.ads.len()), (2, 1));
        assert!(folded.endings.len() < 1000);
    }

    #[test]
    fn attributes_that_jobs_refer_to_have_a_bound() {
        let mut folded = Folded::new(Columns::default(), true, true);
        for number in 0..5000 {
            let line = format!("1\t1\t5\t45\t0\t1\t1\t1.0\t5\t1\t\t\ta{number} > 1");
            folded.add(&line).unwrap();
        }
        assert!(folded.names.len() <= 1000, "{}", folded.names.len());
    }

    /// A schedd that takes long is not asked until there is no time left for what follows.
    #[test]
    fn a_slow_schedd_is_asked_again_in_the_next_tick() {
        let fake = FakeTools::new();
        let count = "echo x >>\"$(dirname \"$0\")/asked\"; sleep 1";
        fake.script(
            "condor_q",
            "-group-by",
            &format!(
                "{count}; printf '1\\t1\\t5\\t45\\t0\\t1\\t1\\t1.0\\t5\\t1\\t\\t\\tWanted > 1\\n'"
            ),
        );
        fake.answer(
            "condor_q",
            "-totals",
            "out|Summary\t1\t1\t0\t0\t0\t1795350962\nexit=0\n",
        );
        let filter = JobFilter::new(&[], None, true);
        let long = Duration::from_secs(60);
        let observed = Schedd::local().observe(
            &fake.tools(long),
            &filter,
            Duration::ZERO,
            &Columns::default(),
            &BTreeSet::new(),
            Deadline::within(Duration::from_millis(2900)),
        );
        let (view, ads) = observed.unwrap();
        assert_eq!(view.demand[0].needs, Unread::Names.needs());
        assert!(ads.names.contains("wanted"), "the next tick asks for it");
        let asked = std::fs::read_to_string(fake.path().join("asked")).unwrap();
        assert_eq!(asked.lines().count(), 1);
    }

    #[test]
    fn a_job_of_several_nodes_counts_as_so_many() {
        let mut folded = Folded::default();
        let line = "2\t1\t5\t45\t0\t1\t1\t3.0\t";
        folded
            .add(&format!("{line}11\t4\t\"Group_A\"\t\"sw:2,LIC.a\""))
            .unwrap();
        folded.add(&format!("{line}5\t4\t\t")).unwrap();
        let demand = folded.demand(1);
        assert_eq!(demand.iter().map(|d| d.jobs).collect::<Vec<_>>(), [8, 2]);
        assert_eq!(demand[0].accounting_group.as_deref(), Some("group_a"));
        let limits = BTreeMap::from([("sw".to_owned(), 2.0), ("lic.a".to_owned(), 1.0)]);
        assert_eq!(demand[0].concurrency_limits, limits);
    }

    #[test]
    fn limits_are_names_with_weights() {
        let read = |text| concurrency_limits(text).into_iter().collect::<Vec<_>>();
        let expected = [
            ("a".to_owned(), 2.0),
            ("b.c".to_owned(), 1.0),
            ("d".to_owned(), 0.5),
        ];
        assert_eq!(read("A:2, b.C,d:0.5"), expected);
        assert_eq!(read("a:x, a:-1, a:nan, :3, "), [("a".to_owned(), 1.0)]);
    }

    #[test]
    fn totals_are_read_or_refused() {
        let totals = Totals::read("Summary\t49\t45\t2\t2\t1\t1795350962").unwrap();
        assert_eq!(
            totals.jobs,
            JobCounts {
                idle: 45,
                running: 3,
                held: 2
            }
        );
        assert!(totals.now() >= 1_795_350_962);
        for garbage in [
            "undefined\tundefined\tundefined\tundefined\tundefined\tundefined\tundefined",
            "Summary\t49",
            "Summary\t49\t-1\t2\t2\t1\t1795350962",
            "",
        ] {
            assert!(Totals::read(garbage).is_err(), "{garbage}");
        }
    }

    #[test]
    fn what_a_constraint_refers_to_is_part_of_the_group() {
        let filter = JobFilter::new(&[5, 11], Some("owner == \"x\" && jobuniverse == 5"), false);
        let group_by = filter.group_by(&Columns::default());
        assert!(group_by.ends_with("ConcurrencyLimits,owner"), "{group_by}");
        let columns = ["Owner", "qdate", "wanted", "requestcpus"].map(str::to_owned);
        let columns = Columns::default().with(&columns.into_iter().collect());
        let other = JobFilter::new(&[], Some("owner == 1"), true);
        let group_by = other.group_by(&columns);
        assert!(
            group_by.ends_with("ConcurrencyLimits,Requirements,owner,wanted"),
            "{group_by}"
        );
        assert_eq!(
            filter.idle(Duration::from_secs(80)),
            "JobStatus == 1 && (JobUniverse == 5 || JobUniverse == 11) && Managed =!= \"External\" \
             && (owner == \"x\" && jobuniverse == 5) \
             && ((time() - max({QDate, EnteredCurrentStatus}) < 80) =!= true)"
        );
        assert!(!filter.idle(Duration::ZERO).contains("time()"));
        assert!(
            JobFilter::new(&[], None, true)
                .counted
                .starts_with("(JobUniverse == 5)")
        );
    }

    proptest! {
        #[test]
        fn garbage_does_not_panic(lines in prop::collection::vec("[-0-9a-z\t\"\\\\]{0,60}", 0..8)) {
            let mut folded = Folded::default();
            for line in &lines {
                let _ = folded.add(line);
                let _ = Totals::read(line);
            }
            let _ = folded.demand(i64::MIN);
        }

        #[test]
        fn no_job_is_lost_or_made_up(jobs in prop::collection::vec((1u64..9, 0u64..3, 0u64..3), 0..20)) {
            let mut folded = Folded::default();
            for (count, cpus, memory) in &jobs {
                folded.add(&format!("{count}\t{cpus}\t{memory}\t1\t0\t5\t5{PLAIN}")).unwrap();
            }
            let total: u64 = folded.demand(9).iter().map(|demand| demand.jobs).sum();
            prop_assert_eq!(total, jobs.iter().map(|(count, _, _)| count).sum::<u64>());
        }
    }
}
