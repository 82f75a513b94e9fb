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
//! - `-constraint … RemoteHost`: jobs that run on machines which have gone silent; only when there are any.
//!
//! Where `-group-by` is not known, or is empty although jobs are idle, the idle jobs are asked for one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use super::answer::{amount, excerpt, integer, quoted, string, values};
use super::command::{Call, Tools};
use super::error::Error;
use crate::deadline::Deadline;
use crate::scaling::observation::{Demand, JobCounts, Resources, ScheddView};

/// The attributes by which idle jobs are grouped, besides those of the site's constraint.
const GROUP_BY: [&str; 9] = [
    "JobStatus",
    "JobUniverse",
    "Managed",
    "RequestCpus",
    "RequestMemory",
    "RequestDisk",
    "RequestGPUs",
    "QDate",
    "EnteredCurrentStatus",
];

/// A list of machines that is longer is not put into a constraint (Linux takes 128 KiB in one argument).
const CONSTRAINT_MAX: usize = 64 * 1024;

/// Which jobs count.
#[derive(Debug, Clone)]
pub(super) struct JobFilter {
    /// A ClassAd expression that is true for jobs of the right universe that the site wants counted.
    counted: String,
    /// `-attributes`: what jobs are grouped by.
    group_by: String,
}

impl JobFilter {
    /// Jobs of `universes` (vanilla when empty) for which the site's constraint is true.
    pub(super) fn new(universes: &[u32], job_constraint: Option<&str>) -> JobFilter {
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
        if let Some(site) = job_constraint {
            counted.push_str(&format!(" && ({site})"));
            for name in references(site) {
                if !group_by
                    .iter()
                    .any(|known| known.eq_ignore_ascii_case(&name))
                {
                    group_by.push(name);
                }
            }
        }
        JobFilter {
            counted,
            group_by: group_by.join(","),
        }
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
        silent: &BTreeSet<String>,
        deadline: Deadline,
    ) -> Result<ScheddView, Error> {
        let (totals, folded, running_on) = thread::scope(|scope| {
            let totals = scope.spawn(|| self.totals(tools, filter, deadline));
            let running_on = scope.spawn(|| self.running_on(tools, silent, deadline));
            let folded = self.grouped(tools, filter, min_wait, deadline);
            (joined(totals), folded, joined(running_on))
        });
        let totals = totals?;
        let running_on = running_on?;
        let folded = match folded {
            Ok(Some(folded)) if folded.lines > 0 || totals.jobs.idle == 0 => folded,
            Ok(_) => self.one_by_one(tools, filter, min_wait, deadline)?,
            Err(error) => return Err(error),
        };
        folded.report(&self.name);
        Ok(ScheddView {
            demand: folded.demand(totals.now()),
            jobs: totals.jobs,
            running_on,
        })
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

    /// The idle jobs as the schedd groups them; `None` where `condor_q` does not know how.
    fn grouped(
        &self,
        tools: &Tools,
        filter: &JobFilter,
        min_wait: Duration,
        deadline: Deadline,
    ) -> Result<Option<Folded>, Error> {
        let attributes = ["-group-by", "-attributes", &filter.group_by];
        match self.fold(tools, filter, min_wait, &attributes, deadline) {
            Ok(folded) => Ok(Some(folded)),
            Err(Error::Failed { stderr, .. }) if stderr.contains("-group-by") => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn one_by_one(
        &self,
        tools: &Tools,
        filter: &JobFilter,
        min_wait: Duration,
        deadline: Deadline,
    ) -> Result<Folded, Error> {
        self.fold(tools, filter, min_wait, &[], deadline)
    }

    fn fold(
        &self,
        tools: &Tools,
        filter: &JobFilter,
        min_wait: Duration,
        attributes: &[&str],
        deadline: Deadline,
    ) -> Result<Folded, Error> {
        let constraint = filter.idle(min_wait);
        let mut args = self.args();
        args.extend(attributes);
        args.extend(["-constraint", &constraint, "-af:t"]);
        args.extend(Folded::EXPRESSIONS);
        let call = Call {
            tool: "condor_q",
            args: &args,
            stdin: "",
            about: &self.about(),
        };
        tools.run(&call, deadline, Folded::default(), Folded::add)
    }

    fn running_on(
        &self,
        tools: &Tools,
        silent: &BTreeSet<String>,
        deadline: Deadline,
    ) -> Result<BTreeSet<String>, Error> {
        if silent.is_empty() {
            return Ok(BTreeSet::new());
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
        args.extend(["-constraint", &constraint, "-af:t", "unparse(RemoteHost)"]);
        let call = Call {
            tool: "condor_q",
            args: &args,
            stdin: "",
            about: &self.about(),
        };
        tools.run(&call, deadline, BTreeSet::new(), |found, line| {
            let [host] = values(line)?;
            // slot1_2@MACHINE, or slot1_2@STARTD@MACHINE.
            if let Some(machine) = string(host)
                .as_deref()
                .and_then(|host| host.rsplit('@').next())
                .and_then(|machine| by_name.get(&machine.to_ascii_lowercase()))
            {
                found.insert((*machine).clone());
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
#[derive(Debug, Default, PartialEq, Eq)]
struct Folded {
    lines: u64,
    requests: BTreeMap<Resources, Waiting>,
    unreadable: u64,
    example: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Waiting {
    jobs: u64,
    /// Since when the longest waiting one has been idle, on the schedd's clock.
    since: Option<i64>,
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

    fn add(&mut self, line: &str) -> Result<(), String> {
        let [count, cpus, memory, disk, gpus, queued, entered] = values(line)?;
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
        self.requests
            .entry(request)
            .and_modify(|waiting| {
                waiting.jobs = waiting.jobs.saturating_add(jobs);
                waiting.since = match (waiting.since, since) {
                    (Some(one), Some(other)) => Some(one.min(other)),
                    (one, other) => one.or(other),
                };
            })
            .or_insert(Waiting { jobs, since });
        Ok(())
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
        self.requests
            .iter()
            .map(|(request, waiting)| Demand {
                request: *request,
                jobs: waiting.jobs,
                waiting: waiting.since.map_or(Duration::ZERO, |since| {
                    Duration::from_secs(u64::try_from(now.saturating_sub(since)).unwrap_or(0))
                }),
                ..Demand::default()
            })
            .collect()
    }
}

/// The attributes that a ClassAd expression refers to: its identifiers, without functions and keywords. One too many
/// does no harm.
fn references(expression: &str) -> Vec<String> {
    const KEYWORDS: [&str; 10] = [
        "true",
        "false",
        "undefined",
        "error",
        "is",
        "isnt",
        "my",
        "target",
        "parent",
        "root",
    ];
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found: Vec<String> = Vec::new();
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        if first == '"' || first == '\'' {
            // A string, or an attribute name in quotes.
            let mut escaped = false;
            let inner = rest.get(1..).unwrap_or_default();
            let end = inner
                .find(|c| {
                    let ends = c == first && !escaped;
                    escaped = c == '\\' && !escaped;
                    ends
                })
                .unwrap_or(inner.len());
            let (name, after) = inner.split_at(end);
            if first == '\'' && name.chars().all(is_word) && !name.is_empty() {
                found.push(name.to_owned());
            }
            rest = after.get(1..).unwrap_or_default();
        } else if is_word(first) {
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            let is_function = after.trim_start().starts_with('(');
            if !first.is_ascii_digit()
                && !is_function
                && !KEYWORDS
                    .iter()
                    .any(|keyword| word.eq_ignore_ascii_case(keyword))
            {
                found.push(word.to_owned());
            }
            rest = after;
        } else {
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// What tests/fuzz reads: the demand in `text`, whatever it is.
#[cfg(fuzzing)]
pub fn read_anything(text: &str) -> Vec<Demand> {
    let mut folded = Folded::default();
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

    use super::*;

    #[test]
    fn jobs_of_equal_requests_are_one_demand_with_the_longest_wait() {
        let mut folded = Folded::default();
        for line in [
            "40\t8\t16384\t1048576\t0\t1000\t1000",
            "3\t8\t16384\t1048576\t0\t900\t1010",
            "undefined\t8\t16384\t1048576\t0\t995\t995",
            "2\t1\t128\t45\t1\tundefined\tundefined",
        ] {
            folded.add(line).unwrap();
        }
        let demand = folded.demand(1100);
        assert_eq!(demand.len(), 2);
        assert_eq!(demand[0].request.gpus, 1);
        assert_eq!(demand[0].waiting, Duration::ZERO);
        assert_eq!(demand[1].jobs, 44);
        assert_eq!(demand[1].waiting, Duration::from_secs(105));
    }

    #[test]
    fn a_request_that_is_no_amount_is_no_demand() {
        let mut folded = Folded::default();
        folded.add("2\t1\terror\t45\t0\t1\t1").unwrap();
        folded
            .add("2\t1\t5\t-9223372036854775808\t0\t1\t1")
            .unwrap();
        folded.add("1\t1\t5\t45\t0\t1\t1").unwrap();
        assert_eq!(folded.unreadable, 4);
        assert_eq!(folded.demand(1).len(), 1);
        assert!(folded.example.contains("RequestMemory error"), "{folded:?}");
    }

    #[test]
    fn a_torn_line_is_an_error() {
        assert!(Folded::default().add("3\t1\t5").is_err());
        assert!(Folded::default().add("x\t1\t5\t45\t0\t1\t1").is_err());
        assert!(Folded::default().add("").is_err());
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
        assert_eq!(
            references(
                r#"Owner == "al\"ice" && TARGET.x_1 >= 10K && regexp ( "^a", 'Cmd') && true isnt My.Foo"#
            ),
            ["Cmd", "Foo", "Owner", "x_1"]
        );
        assert_eq!(references(""), Vec::<String>::new());
        let filter = JobFilter::new(&[5, 11], Some("owner == \"x\" && jobuniverse == 5"));
        assert!(
            filter.group_by.ends_with("EnteredCurrentStatus,owner"),
            "{filter:?}"
        );
        assert_eq!(
            filter.idle(Duration::from_secs(80)),
            "JobStatus == 1 && (JobUniverse == 5 || JobUniverse == 11) && Managed =!= \"External\" \
             && (owner == \"x\" && jobuniverse == 5) \
             && ((time() - max({QDate, EnteredCurrentStatus}) < 80) =!= true)"
        );
        assert!(!filter.idle(Duration::ZERO).contains("time()"));
        assert!(
            JobFilter::new(&[], None)
                .counted
                .starts_with("(JobUniverse == 5)")
        );
    }

    proptest! {
        #[test]
        fn garbage_does_not_panic(lines in prop::collection::vec("[-0-9a-z\t\"\\\\]{0,60}", 0..8), text in ".*") {
            let mut folded = Folded::default();
            for line in &lines {
                let _ = folded.add(line);
                let _ = Totals::read(line);
            }
            let _ = folded.demand(i64::MIN);
            let _ = references(&text);
        }

        #[test]
        fn no_job_is_lost_or_made_up(jobs in prop::collection::vec((1u64..9, 0u64..3, 0u64..3), 0..20)) {
            let mut folded = Folded::default();
            for (count, cpus, memory) in &jobs {
                folded.add(&format!("{count}\t{cpus}\t{memory}\t1\t0\t5\t5")).unwrap();
            }
            let total: u64 = folded.demand(9).iter().map(|demand| demand.jobs).sum();
            prop_assert_eq!(total, jobs.iter().map(|(count, _, _)| count).sum::<u64>());
        }
    }
}
