//! Queries about the jobs of one person: one job, the jobs of one cluster, or those of one owner.
//!
//! A tick's own reader reads them, so that they have the job group that the last tick gave them. The schedd evaluates no text of
//! users here either: an ad is sent whole ([`crate::plain`]).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::command::{Call, Tools};
use super::error::Error;
use super::queue::{JobFilter, Schedd, Selection};
use ads::answer::{quoted, values};
use scaling::job_names::{JobId, JobQuery};
use scaling::observation::{Demand, JobCounts};
use system::deadline::Deadline;
use system::json;

/// An ad with more text is not read.
const AD_MAX: usize = 4 << 20;

/// Longest text of an attribute that is kept.
const TEXT_MAX: usize = 1000;

/// Running jobs that are listed.
const RUNNING_MAX: u64 = 5000;

/// The jobs in question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    Job(JobId),
    Cluster(u64),
    Owner(String),
}

impl Which {
    fn constraint(&self) -> String {
        match self {
            Which::Job(JobId { cluster, proc }) => {
                format!("ClusterId == {cluster} && ProcId == {proc}")
            }
            // A group of jobs has no ClusterId, and the schedd applies the constraint to it, too.
            Which::Cluster(cluster) => {
                format!("(unparse(ClusterId) == \"\" || ClusterId == {cluster})")
            }
            Which::Owner(owner) => format!("unparse(Owner) =?= {}", quoted(&quoted(owner))),
        }
    }
}

/// `JobStatus`. Source: HTCondor manual, job ClassAd attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    Idle,
    /// Running, transferring output, or suspended.
    Running,
    Removed,
    Completed,
    Held,
    Unknown,
}

/// One job, as its ad has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    pub id: JobId,
    pub state: JobState,
    pub owner: Option<String>,
    pub accounting_group: Option<String>,
    pub universe: u64,
    /// Times in seconds since 1970, on the schedd's clock.
    pub queued: Option<i64>,
    pub entered: Option<i64>,
    pub started: Option<i64>,
    pub ended: Option<i64>,
    /// `RemoteHost`, or `LastRemoteHost`: `slot1_2@HOST`.
    pub slot: Option<String>,
    /// `HoldReason` or `RemoveReason`.
    pub reason: Option<String>,
    /// `RemoteWallClockTime`, of all its runs.
    pub wall_seconds: u64,
    pub starts: u64,
    /// Requests, as far as they are numbers.
    pub cpus: Option<u64>,
    pub memory_mb: Option<u64>,
}

impl Job {
    /// The host of its slot.
    pub fn host(&self) -> Option<&str> {
        self.slot.as_deref()?.rsplit('@').next()
    }

    fn of(ad: &Map<String, Value>) -> Option<Job> {
        let found = |name: &str| {
            let mut all = ad.iter();
            all.find(|(known, _)| known.eq_ignore_ascii_case(name))
                .map(|(_, value)| value)
        };
        let text = |name: &str| {
            let text = found(name)?.as_str()?;
            // An expression has no value here.
            let is_text = !text.is_empty() && !text.starts_with("/Expr(");
            is_text.then(|| text.chars().take(TEXT_MAX).collect::<String>())
        };
        let number = |name: &str| found(name).and_then(whole);
        let amount = |name: &str| number(name).and_then(|number| u64::try_from(number).ok());
        let time = |name: &str| number(name).filter(|time| *time > 0);
        let state = match number("JobStatus") {
            Some(1) => JobState::Idle,
            Some(2 | 6 | 7) => JobState::Running,
            Some(3) => JobState::Removed,
            Some(4) => JobState::Completed,
            Some(5) => JobState::Held,
            _ => JobState::Unknown,
        };
        let is_over = matches!(state, JobState::Removed | JobState::Completed);
        let reason = match state {
            JobState::Held => text("HoldReason"),
            JobState::Removed => text("RemoveReason"),
            _ => None,
        };
        let slot = match state {
            JobState::Running => text("RemoteHost"),
            _ => text("LastRemoteHost"),
        };
        let ended = time("CompletionDate").or(time("EnteredCurrentStatus"));
        Some(Job {
            id: JobId {
                cluster: amount("ClusterId")?,
                proc: amount("ProcId")?,
            },
            state,
            owner: text("Owner"),
            accounting_group: text("AcctGroup").map(|group| group.to_ascii_lowercase()),
            universe: amount("JobUniverse").unwrap_or(0),
            queued: time("QDate"),
            entered: time("EnteredCurrentStatus"),
            started: time("JobCurrentStartDate").or(time("JobStartDate")),
            ended: ended.filter(|_| is_over),
            slot: slot.filter(|slot| slot.contains('@')),
            reason,
            wall_seconds: amount("RemoteWallClockTime").unwrap_or(0),
            starts: amount("NumShadowStarts")
                .or(amount("NumJobStarts"))
                .unwrap_or(0),
            cpus: amount("RequestCpus"),
            memory_mb: amount("RequestMemory"),
        })
    }
}

fn whole(value: &Value) -> Option<i64> {
    #[allow(clippy::cast_possible_truncation)] // `as` saturates.
    value
        .as_i64()
        .or_else(|| value.as_f64().map(|number| number as i64))
}

/// Idle jobs of a [`Which`], and the numbers of all its jobs.
#[derive(Debug)]
pub struct Waiting {
    pub demand: Vec<Demand>,
    pub jobs: JobCounts,
    /// The schedd's clock.
    pub now: i64,
}

/// A schedd, asked by a user of the pool.
#[derive(Debug)]
pub struct JobQueue {
    tools: Tools,
    schedd: Schedd,
}

impl JobQueue {
    /// The schedd of this machine, or a named one.
    pub fn new(tools: Tools, schedd: Option<&str>) -> JobQueue {
        let schedd = match schedd {
            Some(name) => Schedd::named(name, tools.pool()),
            None => Schedd::local(),
        };
        JobQueue { tools, schedd }
    }

    /// The job, if the queue has it.
    ///
    /// # Errors
    /// condor_q could not be run, failed, or took too long.
    pub fn job(&self, id: JobId, deadline: Deadline) -> Result<Option<Job>, Error> {
        let constraint = Which::Job(id).constraint();
        let mut args = self.schedd.args();
        args.extend(["-json", "-limit", "1", "-constraint", &constraint]);
        let about = format!("job {id}");
        self.first_job(&Call::new("condor_q", &args, &about), deadline)
    }

    /// The job, if the history of the schedd has it.
    ///
    /// # Errors
    /// condor_history could not be run, failed, or took too long.
    pub fn finished(&self, id: JobId, deadline: Deadline) -> Result<Option<Job>, Error> {
        let mut args: Vec<&str> = self.schedd.address.iter().map(String::as_str).collect();
        let attributes = "ClusterId,ProcId,JobStatus,Owner,AcctGroup,JobUniverse,QDate,EnteredCurrentStatus,\
                          JobCurrentStartDate,JobStartDate,CompletionDate,LastRemoteHost,RemoveReason,HoldReason,\
                          RemoteWallClockTime,NumShadowStarts,NumJobStarts,RequestCpus,RequestMemory";
        let id_text = id.to_string();
        args.extend(["-json", "-limit", "1", "-attributes", attributes, &id_text]);
        let about = format!("job {id}");
        self.first_job(&Call::new("condor_history", &args, &about), deadline)
    }

    fn first_job(&self, call: &Call, deadline: Deadline) -> Result<Option<Job>, Error> {
        let text = self
            .tools
            .run(call, deadline, String::new(), |text, line| {
                if text.len() + line.len() > AD_MAX {
                    return Err(format!("the ad of the job is longer than {AD_MAX} bytes"));
                }
                text.push_str(line);
                text.push('\n');
                Ok(())
            })?;
        if text.trim().is_empty() {
            return Ok(None);
        }
        let ads: Result<Vec<Map<String, Value>>, _> = json::read(&text);
        let unreadable = |what: String| Error::Unparsable {
            tool: call.tool.to_owned(),
            about: call.about.to_owned(),
            what,
        };
        let ads = ads.map_err(|error| unreadable(format!("no JSON: {error}")))?;
        match ads.first() {
            None => Ok(None),
            Some(ad) => Job::of(ad)
                .map(Some)
                .ok_or_else(|| unreadable("the ad has no job id".to_owned())),
        }
    }

    /// The idle jobs in their job groups, with the numbers of all.
    ///
    /// # Errors
    /// condor_q could not be run, failed, or took too long.
    pub fn waiting(
        &self,
        which: &Which,
        query: &JobQuery,
        at: Timestamp,
        deadline: Deadline,
    ) -> Result<Waiting, Error> {
        let constraint = query.job_constraint.as_deref();
        let filter = JobFilter::new(&query.universes, constraint, query.match_requirements);
        let selection = Selection {
            filter: &filter,
            node_attributes: &query.node_attributes,
            constraint: which.constraint(),
            by_number: matches!(which, Which::Job(_)),
        };
        let (demand, jobs, now) = self.schedd.select(&self.tools, &selection, at, deadline)?;
        Ok(Waiting { demand, jobs, now })
    }

    /// Numbers of running jobs by host.
    ///
    /// # Errors
    /// condor_q could not be run, failed, or took too long.
    pub fn running(
        &self,
        which: &Which,
        deadline: Deadline,
    ) -> Result<BTreeMap<String, u64>, Error> {
        let host = ads::column::text("RemoteHost", TEXT_MAX);
        let constraint = format!(
            "member(unparse(JobStatus), {{\"2\", \"6\", \"7\"}}) && {} && {}",
            super::plain::literals(["RemoteHost"].into_iter()),
            which.constraint()
        );
        let limit = RUNNING_MAX.to_string();
        let mut args = self.schedd.args();
        args.extend(["-limit", &limit, "-constraint", &constraint, "-af:t"]);
        args.extend([&*host, "ClusterId"]);
        let call = Call::new("condor_q", &args, "running jobs");
        let add = |hosts: &mut BTreeMap<String, u64>, line: &str| {
            if let Ok([slot, _]) = values(line)
                && let Some((_, host)) = slot.rsplit_once('@')
            {
                *hosts.entry(host.to_owned()).or_default() += 1;
            }
            Ok(())
        };
        self.tools.run(&call, deadline, BTreeMap::new(), add)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fake::FakeTools;

    const LIMIT: Duration = Duration::from_secs(20);
    const ID: JobId = JobId {
        cluster: 7,
        proc: 3,
    };

    fn queue(fake: &FakeTools) -> JobQueue {
        JobQueue::new(fake.tools(LIMIT), None)
    }

    fn found(answer: &str) -> Result<Option<Job>, String> {
        let fake = FakeTools::new();
        fake.answer("condor_q", "any", answer);
        let job = queue(&fake).job(ID, Deadline::within(LIMIT));
        job.map_err(|error| error.to_string())
    }

    #[test]
    fn a_job_is_read_from_its_whole_ad() {
        let job = found(
            "out|[\nout|{\nout|  \"ClusterId\": 7, \"ProcId\": 3, \"JobStatus\": 5, \"Owner\": \"alice\",\n\
             out|  \"HoldReason\": \"via condor_hold\", \"RequestMemory\": \"/Expr(ImageSize)/\", \"RequestCpus\": 2,\n\
             out|  \"QDate\": 1795353048, \"RemoteWallClockTime\": 12.5, \"LastRemoteHost\": \"slot1_1@n1\"\nout|}\nout|]\nexit=0\n",
        );
        let job = job.unwrap().unwrap();
        assert_eq!((job.id, job.state), (ID, JobState::Held));
        assert_eq!(job.reason.as_deref(), Some("via condor_hold"));
        assert_eq!(
            (job.cpus, job.memory_mb, job.wall_seconds),
            (Some(2), None, 12)
        );
        assert_eq!(job.host(), Some("n1"));
        assert_eq!(job.queued, Some(1_795_353_048));
    }

    #[test]
    fn no_job_is_none_and_garbage_is_an_error() {
        assert_eq!(found("exit=0\n"), Ok(None));
        assert_eq!(found("out|[\nout|]\nexit=0\n"), Ok(None));
        for garbage in ["out|hello\nexit=0\n", "out|[{\"ProcId\": 1}]\nexit=0\n"] {
            let error = found(garbage).unwrap_err();
            assert!(error.contains("condor_q"), "{error}");
        }
    }

    #[test]
    fn an_owner_cannot_leave_the_constraint() {
        let hostile = Which::Owner("a\" || true || \"".to_owned());
        let constraint = hostile.constraint();
        assert!(
            constraint.starts_with("unparse(Owner) =?= \"\\\"a"),
            "{constraint}"
        );
        let names = ads::expression::references(&constraint);
        assert_eq!(names, ["Owner"], "{constraint}");
    }

    #[test]
    fn running_jobs_are_counted_by_host() {
        let fake = FakeTools::new();
        let lines = "out|slot1_1@n1\t7\nout|slot1_2@n1\t7\nout|slot1_1@n2\t7\nout|odd\nexit=0\n";
        fake.answer("condor_q", "any", lines);
        let hosts = queue(&fake).running(&Which::Cluster(7), Deadline::within(LIMIT));
        let expected = [("n1".to_owned(), 2), ("n2".to_owned(), 1)];
        assert_eq!(hosts.unwrap(), BTreeMap::from(expected));
    }
}
