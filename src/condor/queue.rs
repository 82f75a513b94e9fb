//! What a schedd has in its queue: how many jobs in which state, and what the idle ones ask for.
//!
//! Each schedd is asked by itself (`condor_q -global` takes a schedd without an ad for an empty queue), with
//! several calls at the same time:
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
//! - `-json`: jobs with expressions of their users, read whole (`odd`). A schedd evaluates none of these: each other query asks
//!   only for jobs whose attributes are literals (`plain`). There are none of them in most queues, and then no such call.
//! - `-factory`: jobs that are still to come (late materialization).
//!
//! `-group-by` says `Two results with the same ID` at random and leaves groups out. So its answer is compared with the number of
//! idle jobs. Where jobs are missing, where it is not known, and where Requirements name the number of a job, the idle
//! jobs are asked for one by one.

mod running;

mod select;

mod totals;

mod job_filter;

pub(crate) use job_filter::JobFilter;
use running::since;
use scaling::sorting;
pub(super) use select::Selection;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};
use totals::Totals;

use jiff::Timestamp;

use super::command::{Call, Tools};
use super::error::Error;
use super::odd;
use super::plain;
use ads::answer::{amount, quoted, values};
use ads::folded::{Ads, Folded};
use ads::job_ad::Columns;
use ads::odd_job::OddJobs;
use scaling::first_seen::ClusterMarks;
use scaling::idle_time::Clocks;
use scaling::job_requirements::OwnerBound;
#[cfg(fuzzing)]
use scaling::observation::Demand;
use scaling::observation::ScheddView;
use system::deadline::Deadline;
use system::threads::{joined, spawn};

/// The attributes by which idle jobs are grouped, besides those of the site's constraint and of their Requirements.
const GROUP_BY: [&str; 18] = [
    "JobStatus",
    "JobUniverse",
    "Owner",
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
    "DeferralTime",
    "DeferralPrepTime",
    "DeferralWindow",
    "ScheddInterval",
    "NumShadowStarts",
];

/// How often a schedd is asked in one tick for what Requirements refer to.
const ROUNDS: usize = 3;

/// `-group-by` says so at random, on standard error, and leaves a group out.
const SAME_ID: &str = "Two results with the same ID";

/// A list of machines that is longer is not put into a constraint (Linux takes 128 KiB in one argument).
const CONSTRAINT_MAX: usize = 64 * 1024;

/// Longest name of a slot.
const HOST_MAX: usize = 1024;

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

    /// Whether it is the one of this machine.
    pub(super) fn is_local(&self) -> bool {
        self.address.is_empty()
    }

    pub(super) fn about(&self) -> String {
        format!("schedd {}", self.name)
    }

    /// All that the tick wants to know of this schedd, whole or not at all.
    ///
    /// `silent` are the machines of which it is asked whether jobs run there.
    pub(super) fn observe(
        &self,
        tools: &Tools,
        filter: &JobFilter,
        waits: &Waits<'_>,
        asked: &Asked<'_>,
        silent: &BTreeSet<String>,
        deadline: Deadline,
    ) -> Result<(ScheddView, Ads), Error> {
        let Asked { columns, slow } = *asked;
        let question = Question {
            tools,
            filter,
            constraint: filter.idle(),
            slow,
            deadline,
        };
        let (totals, to_come, folded, running_on) = thread::scope(|scope| {
            let totals = spawn(scope, || self.totals(tools, &filter.counted, deadline));
            let to_come = spawn(scope, || self.to_come(&question));
            let running_on = (!silent.is_empty())
                .then(|| spawn(scope, || self.running_on(tools, silent, deadline)));
            let folded = self.idle(&question, columns);
            let running_on = running_on.map_or(Ok(BTreeMap::new()), joined);
            (joined(totals), joined(to_come), folded, running_on)
        });
        let totals = totals?;
        let running_on = running_on?;
        let idle = totals.jobs.idle;
        let folded = self.whole(&question, folded?, idle)?;
        // Of a line that cannot be read, how many jobs it stood for.
        let missing = idle.saturating_sub(folded.counted);
        let unread = if folded.torn > 0 {
            missing.max(1)
        } else if lacks(&folded, idle) {
            missing
        } else {
            0
        };
        let clocks = Clocks {
            schedd: totals.now(),
            at: waits.at,
            marks: waits.clusters.get(&self.name),
            young: waits.young,
        };
        let view = ScheddView {
            demand: folded.demand(clocks, unread),
            jobs: totals.jobs,
            running_on: since(running_on, totals.now()),
            to_come: to_come.unwrap_or_else(|error| {
                log::debug!("{error}; jobs to come of factories are unknown");
                0
            }),
            max_running: None,
            // A job that was not listed may be of a newer one.
            newest_cluster: folded.newest_cluster().filter(|_| unread == 0),
        };
        Ok((view, folded.into_ads()))
    }

    /// The answer with the jobs that it leaves out, or that about each job where groups do not tell all.
    fn whole(&self, question: &Question, mut folded: Folded, idle: u64) -> Result<Folded, Error> {
        let mut odd = self.odd(question, &mut folded, idle);
        let columns = folded.columns.clone().with(&folded.names());
        let time = question.deadline.left() > self.time_to_ask_again(question);
        if folded.has_unread() && columns != folded.columns && time {
            // With what the others refer to most of them may be asked for as groups.
            match self.with_names(question, &columns, folded.grouped) {
                Ok(more) => {
                    folded = more;
                    odd = self.odd(question, &mut folded, idle);
                }
                Err(error) => log::warn!("{error}; what some Requirements refer to is not known"),
            }
        }
        if !folded.grouped {
            return Ok(folded);
        }
        if !lacks(&folded, idle) && !folded.needs_numbers() {
            return Ok(folded);
        }
        let columns = columns.with(&folded.names());
        match self.with_names(question, &columns, false) {
            Ok(mut each) => {
                each.add_odd(&odd);
                // Where fewer were listed one by one, the groups tell more.
                match each.counted < folded.counted && lacks(&each, idle) {
                    true => Ok(folded),
                    false => Ok(each),
                }
            }
            Err(error) => {
                log::warn!(
                    "{error}; the jobs that condor_q -group-by did not tell of are counted as unread"
                );
                Ok(folded)
            }
        }
    }

    /// Half of the tool's own limit: to match jobs takes time too.
    fn time_to_ask_again(&self, question: &Question) -> Duration {
        question.tools.limit() / 2
    }

    /// Adds the jobs that may not be asked for by attributes, if there are any.
    fn odd(&self, question: &Question, folded: &mut Folded, idle: u64) -> OddJobs {
        if idle <= folded.counted {
            return OddJobs::default();
        }
        let about = self.about();
        let constraint = format!(
            "{} && ({}) =!= true",
            question.constraint,
            question.filter.plain(&folded.columns)
        );
        let ask = odd::Ask {
            tools: question.tools,
            args: self.args(),
            about: &about,
            constraint,
            site: question.filter.site.as_deref(),
            nodes_ask: &folded.columns.nodes_ask,
            slow: question.slow,
            deadline: question.deadline,
        };
        match ask.jobs() {
            Ok(odd) => {
                folded.add_odd(&odd);
                odd
            }
            Err(error) => {
                log::warn!("{error}; jobs with expressions of their own are counted as unread");
                OddJobs::default()
            }
        }
    }

    /// The idle jobs: as the schedd groups them, or one by one where `condor_q` does not know how or fails at it.
    fn idle(&self, question: &Question, columns: &Columns) -> Result<Folded, Error> {
        match self.with_names(question, columns, true) {
            Err(error @ Error::Failed { .. }) => {
                log::debug!("{error}; ehos queries the idle jobs one by one");
                self.with_names(question, columns, false)
            }
            Err(error @ Error::TimedOut { .. }) => {
                log::warn!("{error}; ehos asks for the idle jobs owner by owner");
                self.by_owner(question, columns)
            }
            answer => answer,
        }
    }

    /// The idle jobs of each owner by themselves, those with the fewest first: one owner's jobs take the time of no other's.
    fn by_owner(&self, question: &Question, columns: &Columns) -> Result<Folded, Error> {
        let about = self.about();
        let ask = odd::Ask {
            tools: question.tools,
            args: self.args(),
            about: &about,
            constraint: question.constraint.clone(),
            site: None,
            nodes_ask: &columns.nodes_ask,
            slow: question.slow,
            deadline: question.deadline,
        };
        let owners = ask.owners()?;
        let mut owners: Vec<(u64, Option<String>)> = owners
            .into_iter()
            .map(|(owner, jobs)| (jobs, owner))
            .collect();
        sorting::ascending(&mut owners);
        let mut all = self.folded(question, columns.clone(), true);
        let mut left = u32::try_from(owners.len()).unwrap_or(u32::MAX);
        for (jobs, owner) in owners {
            let before = all.counted;
            if let Some(name) = &owner {
                let own = Question {
                    constraint: format!(
                        "{} && unparse(Owner) =?= {}",
                        question.constraint,
                        quoted(&quoted(name))
                    ),
                    deadline: question
                        .deadline
                        .at_most(question.deadline.left() / 2 / left.max(1)),
                    ..*question
                };
                let (folded, answer) = self.fold_into(&own, all);
                all = folded;
                if let Err(error) = answer {
                    log::warn!("{error}: idle jobs of {name}");
                    let missing = jobs.saturating_sub(all.counted.saturating_sub(before));
                    all.leave_unread(owner, OwnerBound::Time, missing);
                }
            }
            left = left.saturating_sub(1);
        }
        Ok(all)
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
            let columns = folded.columns.clone().with(&folded.names());
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

    /// The jobs by state for which `constraint` is true.
    fn totals(&self, tools: &Tools, constraint: &str, deadline: Deadline) -> Result<Totals, Error> {
        let mut args = self.args();
        args.extend(["-totals", "-constraint", constraint, "-af:t"]);
        args.extend(Totals::ATTRIBUTES);
        let about = self.about();
        let call = Call::new("condor_q", &args, &about);
        let (totals, wrong) =
            tools.run(&call, deadline, (None, None), |(totals, wrong), line| {
                // A line that is none of ours costs nothing while the right one is there.
                match Totals::read(line) {
                    Ok(read) => *totals = Some(read),
                    Err(_) if line.trim().is_empty() => {}
                    Err(why) => drop(wrong.get_or_insert(why)),
                }
                Ok(())
            })?;
        totals.ok_or_else(|| Error::Unparsable {
            tool: call.tool.to_owned(),
            about: about.clone(),
            what: wrong.unwrap_or_else(|| "it is empty, and never should be".to_owned()),
        })
    }

    /// Jobs of factories that are not in the queue yet.
    fn to_come(&self, question: &Question) -> Result<u64, Error> {
        let mut args = self.args();
        let constraint = format!(
            "{} && {}",
            question.filter.counted,
            plain::literals(["TotalSubmitProcs", "JobMaterializeNextProcId"].into_iter())
        );
        args.extend(["-factory", "-constraint", &constraint, "-af:t"]);
        args.extend(["int(TotalSubmitProcs)", "int(JobMaterializeNextProcId)"]);
        let about = self.about();
        let call = Call::new("condor_q", &args, &about);
        let run = |sum: &mut u64, line: &str| {
            if let Ok([all, next]) = values(line) {
                let to_come = amount(all)
                    .unwrap_or(0)
                    .saturating_sub(amount(next).unwrap_or(0));
                *sum = sum.saturating_add(to_come);
            }
            Ok(())
        };
        question.tools.run(&call, question.deadline, 0, run)
    }

    fn fold(&self, question: &Question, columns: Columns, grouped: bool) -> Result<Folded, Error> {
        let folded = self.folded(question, columns, grouped);
        // An owner's flood leaves time for the jobs of the others.
        let first = Question {
            constraint: question.constraint.clone(),
            deadline: question.deadline.at_most(question.deadline.left() / 2),
            ..*question
        };
        let (folded, answer) = self.fold_into(&first, folded);
        answer.map(|()| folded)
    }

    fn folded(&self, question: &Question, columns: Columns, grouped: bool) -> Folded {
        let folded = Folded::new(columns, question.filter.requirements, grouped);
        match question.filter.parallel {
            true => folded,
            false => folded.without_parallel(),
        }
    }

    /// Adds the answer, as far as there is one, and says whether that is all.
    fn fold_into(&self, question: &Question, folded: Folded) -> (Folded, Result<(), Error>) {
        let filter = question.filter;
        let columns = &folded.columns;
        let group_by = filter.group_by(columns).join(",");
        let constraint = format!("{} && {}", question.constraint, filter.plain(columns));
        let mut args = self.args();
        if folded.grouped {
            args.extend(["-group-by", "-attributes", &group_by]);
        }
        args.extend(["-constraint", &constraint, "-af:t"]);
        let expressions = Folded::expressions(columns, filter.requirements, folded.grouped);
        args.extend(expressions.iter().map(String::as_str));
        let about = self.about();
        let call = Call::new("condor_q", &args, &about);
        let harmless = folded.grouped.then_some(SAME_ID);
        let folded = RefCell::new(folded);
        let add = |(): &mut (), line: &str| {
            folded.borrow_mut().add(line);
            Ok(())
        };
        let answer = question
            .tools
            .run_despite(&call, harmless, question.deadline, (), add);
        (folded.into_inner(), answer)
    }

    /// Whether there is a job for which the constraint is true.
    fn has(&self, tools: &Tools, constraint: &str, deadline: Deadline) -> Result<bool, Error> {
        let mut args = self.args();
        args.extend(["-limit", "1", "-constraint", constraint]);
        args.extend(["-af:t", "\"there is one\""]);
        let about = self.about();
        let call = Call::new("condor_q", &args, &about);
        tools.run(&call, deadline, false, |found, line| {
            *found |= line == "there is one";
            Ok(())
        })
    }

    pub(super) fn args(&self) -> Vec<&str> {
        let mut args: Vec<&str> = self.address.iter().map(String::as_str).collect();
        args.push("-allusers");
        args
    }
}

/// What is asked about idle jobs.
struct Question<'a> {
    tools: &'a Tools,
    filter: &'a JobFilter,
    constraint: String,
    slow: &'a BTreeSet<String>,
    deadline: Deadline,
}

/// What tells how long a job has waited.
pub(super) struct Waits<'a> {
    /// One that has been idle for less is young.
    pub young: Duration,
    /// The time of this observation.
    pub at: Timestamp,
    /// The newest clusters that earlier ticks saw, by schedd.
    pub clusters: &'a BTreeMap<String, ClusterMarks>,
}

/// What was learnt of jobs before.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub columns: &'a Columns,
    /// Names of evaluations that take too long.
    pub slow: &'a BTreeSet<String>,
}

/// Whether groups tell of fewer jobs than there are. Jobs come and go between two answers; one in a hundred is no loss.
fn lacks(folded: &Folded, idle: u64) -> bool {
    let missing = idle.saturating_sub(folded.counted);
    folded.torn > 0 || missing.saturating_mul(100) > idle
}

/// What tests/fuzz reads: the demand in `text`, whatever it is.
#[cfg(fuzzing)]
pub fn read_anything(text: &str) -> Vec<Demand> {
    let mut folded = Folded::new(Columns::default(), true, !text.starts_with('1'));
    let mut now = 0;
    for line in text.lines() {
        folded.add(line);
        if let Ok(totals) = Totals::read(line) {
            now = totals.now();
        }
        ads::expression::references(line);
        let _ = ads::expression::renamed(line, |_| Some("x"));
    }
    super::schedds::read_anything(text);
    super::negotiator::read_anything(text);
    super::matches::read_anything(text);
    super::match_memory::read_anything(text);
    let clocks = Clocks {
        schedd: now,
        at: jiff::Timestamp::UNIX_EPOCH,
        marks: None,
        young: Duration::ZERO,
    };
    folded.demand(clocks, folded.torn)
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
