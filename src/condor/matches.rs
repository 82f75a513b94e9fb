//! Whether HTCondor would match jobs with new nodes: `condor_q -better-analyze:summary`, which reads jobs and slots from
//! files and asks no daemon.
//!
//! One process for each kind of node with all jobs that are new to it, and one more for those without a match: with a
//! job for each part of their Requirements, which says what it is that fails. What was answered is kept under a digest
//! of all that went into it ([`MatchCache`]), so that a queue like that of the tick before starts no process.
//!
//! Each file begins with two jobs whose answers are known. When they are not answered so, nothing is.
//!
//! A process has bounds of time and memory. When one is killed, ehos queries the jobs of each owner by themselves, and a batch that
//! is killed is halved until the slow job is found. That one is remembered as slow and not asked about for an hour.

mod halving;
mod requests;

mod summary;

use halving::Halving;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::time::Duration;
use summary::Summary;

use super::command::{Call, Tools};
use super::match_memory::MatchCache;
use ads::expression::clauses;
use ads::job_ad::{JobAd, Unread, built_in};
use ads::machine_ad::{LongAds, MachineAd};
use scaling::job_requirements::{
    JobGroupKey, MatchResult, MatchTarget, Matches, RequirementsDigest,
};
use scaling::observation::{CloudName, Observed, Resources};
use scaling::sorting;
use scaling::state::NodeType;
use system::child::Bounds;
use system::deadline::Deadline;

/// Jobs in one file.
const JOBS_MAX: usize = 4000;
/// Parts of Requirements that are looked at one by one, and how much of one is told.
const CLAUSES_MAX: usize = 40;
const CLAUSE_TOLD: usize = 120;
/// Kinds of jobs whose requests depend on the machine that are asked about for one kind of node in one tick, and the bits
/// of such a request.
const BY_MACHINE_MAX: usize = 40;
/// Memory of one process, in bytes, and processes that one owner's jobs may cost when one is killed.
const MEMORY_MAX: u64 = 2 << 30;
const HALVES_MAX: usize = 24;
/// CPU time of one process: 2,000 jobs and 20 slots take a tenth of a second.
const CPU_SECONDS: u64 = 1;
const REQUEST_BITS: u32 = 40;

/// What the configuration says of new nodes' ads: name and expression, by cloud.
pub type StartdAttributes = BTreeMap<CloudName, Vec<(String, String)>>;

/// Whom and what to ask.
pub(super) struct Matching<'a> {
    pub tools: &'a Tools,
    pub startd_attributes: &'a StartdAttributes,
    /// What the jobs need that the observation has found.
    pub ads: &'a BTreeMap<RequirementsDigest, JobAd>,
    /// Whose they are.
    pub owners: &'a BTreeMap<RequirementsDigest, Owner>,
    /// What was asked of each of them because nodes ask for it.
    pub nodes_ask: &'a BTreeSet<String>,
    /// Reports name jobs and owners.
    pub names_jobs: bool,
    pub deadline: Deadline,
}

/// A node to match with: its ad, and whether that is of one that was there.
struct Node<'a> {
    candidate: &'a MatchTarget,
    ad: MachineAd,
    learnt: bool,
}

/// Who has jobs with such needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Owner {
    pub name: Option<String>,
    /// One of the jobs.
    pub example: Option<String>,
}

/// Why there is no answer.
#[derive(Debug, Clone)]
struct MatchFailure {
    why: String,
    /// The process was killed: something takes too long.
    slow: bool,
}

/// Bounds of one process.
#[derive(Debug, Clone, Copy)]
struct Limits {
    bounds: Bounds,
    deadline: Deadline,
}

/// One question: what jobs ask for, and their ad.
#[derive(Clone, Copy)]
struct Question<'a> {
    jobs: &'a JobGroupKey,
    ad: &'a JobAd,
}

/// What is said of one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counts {
    /// Slots for which its Requirements are true.
    matches: u64,
    /// Of these, those whose own are true too.
    available: u64,
}

/// The name of a question in [`MatchCache`].
fn question_name(digest: &str, group: &JobGroupKey) -> String {
    let request = &group.request;
    format!(
        "{digest}:{}:{}:{}:{}:{}",
        group.needs.0, request.cpus, request.memory_mb, request.disk_kb, request.gpus
    )
}

impl Matching<'_> {
    /// The answers, as far as there are any.
    pub(super) fn ask(
        &self,
        jobs: &BTreeSet<JobGroupKey>,
        candidates: &[MatchTarget],
        memory: &mut MatchCache,
    ) -> Matches {
        let mut matches = Matches::default();
        self.learn(candidates, memory);
        let nodes = candidates
            .iter()
            .map(|candidate| self.node(candidate, memory));
        let nodes: Vec<Node<'_>> = nodes.collect();
        for node in &nodes {
            let (answers, failure) = self.answers(node, jobs, memory);
            if let Some(why) = failure {
                matches.fail(why);
            }
            for (jobs, answer) in answers {
                matches.insert(node.candidate.node_type.clone(), jobs.clone(), answer);
            }
        }
        // Last: what some jobs ask of a machine takes no time from the answers that all others wait for.
        for node in &nodes {
            for (jobs, request) in self.requests(node, jobs, memory) {
                matches.insert_request(node.candidate.node_type.clone(), jobs.clone(), request);
            }
        }
        memory.save();
        matches
    }

    /// Learns what nodes are like that are in the pool, once in a while.
    fn learn(&self, candidates: &[MatchTarget], memory: &mut MatchCache) {
        let stale =
            |node_type: &NodeType| !memory.machine(node_type).is_some_and(|(_, fresh)| fresh);
        let examples: Vec<(&NodeType, &str)> = candidates
            .iter()
            .filter(|candidate| stale(&candidate.node_type))
            .filter_map(|candidate| Some((&candidate.node_type, candidate.example.as_deref()?)))
            .collect();
        if examples.is_empty() {
            return;
        }
        let is = |(_, name): &(&NodeType, &str)| format!("Name == {}", ads::answer::quoted(name));
        let constraint: Vec<String> = examples.iter().map(is).collect();
        let constraint = constraint.join(" || ");
        let args = ["-long", "-constraint", &constraint];
        let call = self.tools.to_pool("condor_status", &args, "ads of nodes");
        let found = self
            .tools
            .run(&call, self.deadline, LongAds::default(), LongAds::add);
        match found {
            Ok(found) => {
                for (node_type, name) in examples {
                    let quoted = ads::answer::quoted(name);
                    let ad = found.ads.iter().find(|ad| ad.get("name") == Some(&quoted));
                    if let Some(ad) = ad.and_then(MachineAd::learnt) {
                        memory.learn(node_type, ad);
                    }
                }
            }
            Err(error) => log::warn!("{error}; ehos uses the earlier ads of nodes"),
        }
    }

    fn node<'a>(&self, candidate: &'a MatchTarget, memory: &MatchCache) -> Node<'a> {
        let node_type = &candidate.node_type;
        let learnt = memory.machine(node_type).map(|(ad, _)| ad.clone());
        let said = self.startd_attributes.get(&node_type.cloud);
        let said = said.map_or(&[][..], Vec::as_slice);
        let made_up = || match memory.sibling(node_type) {
            Some(sibling) => MachineAd::like(sibling, node_type, said),
            None => MachineAd::made_up(node_type, said),
        };
        Node {
            candidate,
            learnt: learnt.is_some(),
            ad: learnt.unwrap_or_else(made_up),
        }
    }

    /// The answers, and what went wrong.
    fn answers<'a>(
        &self,
        node: &Node<'_>,
        jobs: &'a BTreeSet<JobGroupKey>,
        memory: &mut MatchCache,
    ) -> (
        Vec<(&'a JobGroupKey, Observed<MatchResult>)>,
        Option<String>,
    ) {
        let unknown = |why: &str| Observed::Unknown(why.to_owned());
        let capacity = &node.candidate.capacity;
        let digest = node.ad.digest(capacity);
        let node_changes = node.ad.changes();
        let not_asked = || {
            let asks = node.ad.asks();
            let new = asks
                .iter()
                .find(|name| !self.nodes_ask.contains(*name) && !built_in(name))?;
            Some(format!(
                "START of such a node refers to {new} of a job; the next tick queries it"
            ))
        };
        let not_asked = not_asked();
        let mut answers = Vec::new();
        let mut open: Vec<(Question, &JobGroupKey, String)> = Vec::new();
        for group in jobs {
            if let Some(why) = Unread::of(&group.needs) {
                answers.push((group, unknown(why)));
                continue;
            }
            let Some(ad) = self.ads.get(&group.needs) else {
                continue;
            };
            if memory.is_slow(&group.needs.0) {
                answers.push((group, Observed::Unknown(self.too_slow(&group.needs))));
                continue;
            }
            if let Some(why) = &not_asked {
                answers.push((group, unknown(why)));
                continue;
            }
            let name = question_name(&digest, group);
            match memory.answer(&name) {
                Some(verdict) => answers.push((group, Observed::Known(verdict))),
                None => open.push((Question { jobs: group, ad }, group, name)),
            }
        }
        let mut failure = None;
        for some in open.chunks(JOBS_MAX) {
            let questions: Vec<Question> = some.iter().map(|(question, ..)| *question).collect();
            let verdicts = self.verdicts_by_owner(node, &questions, memory, &mut failure);
            for ((question, group, name), answer) in some.iter().zip(verdicts) {
                if let Observed::Known(verdict) = &answer
                    && !question.ad.changes
                    && !node_changes
                {
                    memory.keep(name.clone(), verdict);
                }
                answers.push((*group, answer));
            }
        }
        (answers, failure)
    }

    /// An answer to each question: to all at once, or owner by owner where that fails.
    fn verdicts_by_owner(
        &self,
        node: &Node<'_>,
        questions: &[Question<'_>],
        memory: &mut MatchCache,
        failure: &mut Option<String>,
    ) -> Vec<Observed<MatchResult>> {
        let limits = self.limits(questions.len(), self.deadline.left() / 3);
        match self.verdicts(node, questions, limits) {
            Ok(answers) => return answers,
            Err(MatchFailure { why, .. }) if self.deadline.passed() => {
                failure.get_or_insert_with(|| why.clone());
                return vec![Observed::Unknown(why); questions.len()];
            }
            Err(MatchFailure { why, .. }) => {
                log::debug!("{why}; ehos queries the jobs of each owner")
            }
        }
        let mut owners: BTreeMap<Option<&str>, Vec<usize>> = BTreeMap::new();
        for (place, question) in questions.iter().enumerate() {
            let owner = self.owners.get(&question.jobs.needs);
            let name = owner.and_then(|owner| owner.name.as_deref());
            owners.entry(name).or_default().push(place);
        }
        let mut owners: Vec<Vec<usize>> = owners.into_values().collect();
        sorting::by_key(&mut owners, Vec::len);
        let mut found: BTreeMap<usize, Observed<MatchResult>> = BTreeMap::new();
        let mut left = u32::try_from(owners.len()).unwrap_or(u32::MAX);
        for places in owners {
            let mut halving = Halving {
                matching: self,
                node,
                questions,
                deadline: self
                    .deadline
                    .at_most(self.deadline.left() / 2 / left.max(1)),
                left: HALVES_MAX,
                found: &mut found,
                slow: BTreeSet::new(),
                failure,
            };
            halving.ask(&places);
            memory.note_slow(&halving.slow);
            left = left.saturating_sub(1);
        }
        let unsaid = || Observed::Unknown("condor_q -better-analyze did not say".to_owned());
        (0..questions.len())
            .map(|place| found.remove(&place).unwrap_or_else(unsaid))
            .collect()
    }

    fn limits(&self, questions: usize, time: Duration) -> Limits {
        let more = u64::try_from(questions / 500).unwrap_or(0);
        Limits {
            bounds: Bounds {
                cpu: Some(Duration::from_secs(CPU_SECONDS + more)),
                memory: Some(MEMORY_MAX),
            },
            deadline: self.deadline.at_most(time),
        }
    }

    /// Why there is no answer about jobs that take too long.
    fn too_slow(&self, needs: &RequirementsDigest) -> String {
        let owner = self.owners.get(needs).cloned().unwrap_or_default();
        let job = match self.names_jobs {
            true => format!(
                "job {} of {}",
                owner.example.as_deref().unwrap_or("?"),
                owner.name.as_deref().unwrap_or("an unknown owner")
            ),
            false => "these jobs".to_owned(),
        };
        format!(
            "HTCondor takes longer than {CPU_SECONDS} s to evaluate the Requirements of {job}; \
             shorten them with condor_qedit"
        )
    }

    /// An answer to each question, or to none.
    fn verdicts(
        &self,
        node: &Node<'_>,
        questions: &[Question<'_>],
        limits: Limits,
    ) -> Result<Vec<Observed<MatchResult>>, MatchFailure> {
        let whole: Vec<(&Question, &str)> = questions
            .iter()
            .map(|question| (question, question.ad.requirements.as_str()))
            .collect();
        let counts = self.counts(node, &whole, limits)?;
        let verdict = |count: &Option<Counts>| match count {
            None => Some(Observed::Unknown(
                "condor_q -better-analyze did not say".to_owned(),
            )),
            Some(count) if count.available > 0 => Some(Observed::Known(MatchResult::Matches)),
            Some(count) if count.matches > 0 => Some(Observed::Known(MatchResult::NodeRefuses)),
            Some(_) => None,
        };
        let verdicts: Vec<Option<Observed<MatchResult>>> = counts.iter().map(verdict).collect();
        let refused = verdicts.iter().zip(questions);
        let refused: Vec<&Question> = refused
            .filter(|(verdict, _)| verdict.is_none())
            .map(|(_, question)| question)
            .collect();
        let mut refusals = self.refusals(node, &refused, limits)?.into_iter();
        let missing = || Observed::Unknown("condor_q -better-analyze did not say".to_owned());
        Ok(verdicts
            .into_iter()
            .map(|verdict| verdict.or_else(|| refusals.next()).unwrap_or_else(missing))
            .collect())
    }

    /// Why each of these does not match.
    fn refusals(
        &self,
        node: &Node<'_>,
        questions: &[&Question<'_>],
        limits: Limits,
    ) -> Result<Vec<Observed<MatchResult>>, MatchFailure> {
        let mut answers = Vec::new();
        let mut rest = questions;
        while !rest.is_empty() {
            // Each with a job that asks for nothing, to see that its ad can be read.
            let mut parts: Vec<(&Question, &str)> = Vec::new();
            let mut here: Vec<(&Question, Vec<&str>)> = Vec::new();
            while let Some((question, others)) = rest.split_first() {
                if parts.len() > JOBS_MAX {
                    break;
                }
                let mut clauses = clauses(&question.ad.requirements);
                clauses.truncate(CLAUSES_MAX);
                parts.push((question, "true"));
                parts.extend(clauses.iter().map(|clause| (*question, *clause)));
                here.push((question, clauses));
                rest = others;
            }
            let mut counts = self.counts(node, &parts, limits)?.into_iter();
            for (question, clauses) in here {
                let readable = counts.next().flatten();
                let counts: Vec<Option<Counts>> = counts.by_ref().take(clauses.len()).collect();
                answers.push(refusal(node, question, readable, &clauses, &counts));
            }
        }
        Ok(answers)
    }

    /// What HTCondor says of each of these jobs, with these Requirements in place of their own.
    fn counts(
        &self,
        node: &Node<'_>,
        jobs: &[(&Question<'_>, &str)],
        limits: Limits,
    ) -> Result<Vec<Option<Counts>>, MatchFailure> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let node_type = &node.candidate.node_type;
        let about = format!("nodes {} on {}", node_type.flavor, node_type.cloud);
        let (slots, number) = node.ad.slots(&node.candidate.capacity);
        let mut text = String::new();
        let plain = JobAd::plain();
        let nothing = Resources::default();
        plain.write(1, &nothing, "true", &mut text);
        plain.write(2, &nothing, "false", &mut text);
        for (place, (question, requirements)) in jobs.iter().enumerate() {
            question
                .ad
                .write(place + 3, &question.jobs.request, requirements, &mut text);
        }
        let unwritable = |error: std::io::Error| MatchFailure {
            why: format!("the ads could not be written for condor_q: {error}"),
            slow: false,
        };
        let file = |text: &str| {
            let mut file = tempfile::tempfile()?;
            file.write_all(text.as_bytes())?;
            // It has no name, so that nothing remains by a tick that is killed; the child opens it as ours.
            let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
            Ok((file, path))
        };
        let (_jobs_file, jobs_path) = file(&text).map_err(unwritable)?;
        let (_slots_file, slots_path) = file(&slots).map_err(unwritable)?;
        let call = Call::new(
            "condor_q",
            &[
                "-better-analyze:summary",
                "-jobads",
                &jobs_path,
                "-slotads",
                &slots_path,
            ],
            &about,
        );
        let said = self
            .tools
            .bounded(limits.bounds)
            .run(&call, limits.deadline, Summary::default(), Summary::add)
            .map_err(|error| MatchFailure {
                slow: error.is_killed(),
                why: format!("{error}; condor.match_requirements: false does without this answer"),
            })?;
        said.of(jobs.len(), number).map_err(|why| MatchFailure {
            why: format!("condor_q -better-analyze about {about}: {why}"),
            slow: false,
        })
    }
}

fn refusal(
    node: &Node<'_>,
    question: &Question<'_>,
    readable: Option<Counts>,
    clauses: &[&str],
    counts: &[Option<Counts>],
) -> Observed<MatchResult> {
    if readable.is_none_or(|counts| counts.matches == 0) {
        return Observed::Unknown("HTCondor cannot read what they refer to".to_owned());
    }
    let fails = |count: &Option<Counts>| count.is_some_and(|count| count.matches == 0);
    let failing = || clauses.iter().zip(counts).filter(|(_, count)| fails(count));
    let open = |clause: &str| !node.learnt && node.ad.lacks(question.ad, clause);
    let told = |clause: &str| {
        let clause = ads::job_ad::with_own_numbers(clause);
        Some(clause.chars().take(CLAUSE_TOLD).collect())
    };
    Observed::Known(match failing().find(|(clause, _)| !open(clause)) {
        Some((clause, _)) => MatchResult::JobRefuses {
            clause: told(clause),
        },
        None => match failing().next() {
            Some((clause, _)) => MatchResult::Undetermined {
                clause: told(clause),
            },
            None if open(&question.ad.requirements) => MatchResult::Undetermined { clause: None },
            None => MatchResult::JobRefuses { clause: None },
        },
    })
}

/// What tests/fuzz reads.
#[cfg(fuzzing)]
pub(super) fn read_anything(text: &str) {
    let mut summary = Summary::default();
    let mut ads = LongAds::default();
    for line in text.lines() {
        let _ = (summary.add(line), ads.add(line), clauses(line));
    }
    let _ = summary.of(text.lines().count(), 1);
    for ad in &ads.ads {
        let _ = MachineAd::learnt(ad);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use jiff::Timestamp;

    use super::super::fake::FakeTools;
    use super::super::match_memory::MatchFile;
    use super::*;
    use ads::expression::Names;
    use ads::job_ad::JobColumns;
    use scaling::capacity::Capacity;
    use scaling::job_requirements::MatchAnswer;

    const LIMIT: Duration = Duration::from_secs(60);

    /// A condor_q that reads the ads; it says what it does.
    const ANALYZE: &str = include_str!("../../tests/fixtures/condor/analyze");

    struct Pool {
        fake: FakeTools,
        folder: tempfile::TempDir,
        ads: BTreeMap<RequirementsDigest, JobAd>,
        nodes_ask: BTreeSet<String>,
        startd_attributes: StartdAttributes,
    }

    impl Pool {
        fn new() -> Pool {
            let fake = FakeTools::new();
            fake.answer("condor_q", "-better-analyze:summary", ANALYZE);
            fake.replay("condor_status", "-long", "status-long.txt");
            Pool {
                fake,
                folder: tempfile::tempdir().unwrap(),
                ads: BTreeMap::new(),
                nodes_ask: BTreeSet::new(),
                startd_attributes: StartdAttributes::new(),
            }
        }

        /// Jobs with these Requirements.
        fn jobs(&mut self, requirements: &str) -> JobGroupKey {
            self.jobs_with(requirements, &[])
        }

        fn jobs_with(&mut self, requirements: &str, attributes: &[(&str, &str)]) -> JobGroupKey {
            let names = Names::of(requirements);
            let mut columns: BTreeMap<String, &str> = names
                .attributes
                .iter()
                .map(|(_, name)| (name.to_ascii_lowercase(), ""))
                .collect();
            columns.extend(
                attributes
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), *value)),
            );
            let columns = columns.iter().map(|(name, value)| (name.as_str(), *value));
            let columns: BTreeMap<&str, &str> = columns.collect();
            let mut names = BTreeSet::new();
            let job = JobColumns {
                universe: 5,
                requirements,
                ..JobColumns::default()
            };
            let ad = JobAd::of(&job, &columns, &self.nodes_ask, &mut names).unwrap();
            let needs = ad.needs();
            self.ads.insert(needs.clone(), ad);
            JobGroupKey {
                request: Resources {
                    cpus: 1,
                    memory_mb: 128,
                    disk_kb: 1024,
                    gpus: 0,
                },
                needs,
            }
        }

        fn ask(&self, jobs: &[&JobGroupKey], nodes: &[MatchTarget], time: Duration) -> Matches {
            let file = MatchFile::new(self.folder.path(), true);
            let mut memory = MatchCache::load(Some(file), Timestamp::now());
            let tools = self.fake.tools(LIMIT);
            let matching = Matching {
                tools: &tools,
                startd_attributes: &self.startd_attributes,
                ads: &self.ads,
                owners: &BTreeMap::new(),
                nodes_ask: &self.nodes_ask,
                names_jobs: true,
                deadline: Deadline::within(time),
            };
            let jobs = jobs.iter().map(|jobs| (*jobs).clone()).collect();
            matching.ask(&jobs, nodes, &mut memory)
        }

        fn processes(&self) -> usize {
            self.fake.calls().lines().count()
        }
    }

    fn candidate(flavor: &str, example: Option<&str>) -> MatchTarget {
        let space = Resources {
            cpus: 4,
            memory_mb: 4096,
            disk_kb: 1 << 20,
            gpus: 0,
        };
        MatchTarget {
            node_type: NodeType {
                cloud: "a".to_owned(),
                flavor: flavor.to_owned(),
                image: "gold".to_owned(),
            },
            capacity: Capacity::whole(space),
            example: example.map(str::to_owned),
        }
    }

    fn verdict(matches: &Matches, node: &MatchTarget, jobs: &JobGroupKey) -> Observed<MatchResult> {
        match matches.answer(&node.node_type, jobs) {
            MatchAnswer::Takes => Observed::Known(MatchResult::Matches),
            MatchAnswer::Perhaps(clause) => Observed::Known(MatchResult::Undetermined {
                clause: clause.map(str::to_owned),
            }),
            MatchAnswer::Refuses(verdict) => Observed::Known(verdict.clone()),
            MatchAnswer::Unknown(why) => Observed::Unknown(why.to_owned()),
        }
    }

    fn job_refuses(clause: &str) -> Observed<MatchResult> {
        let clause = Some(clause.to_owned());
        Observed::Known(MatchResult::JobRefuses { clause })
    }

    #[test]
    fn each_verdict_is_told_from_the_others_in_two_processes_and_then_in_none() {
        let mut pool = Pool::new();
        let fine = pool.jobs("TARGET.Arch == \"X86_64\"");
        let refuses = pool.jobs("(TARGET.OpSys == \"LINUX\") && (TARGET.OpSys == \"NO\")");
        let closed = pool.jobs("TARGET.OpSys != \"START\"");
        let open = pool.jobs("(TARGET.Arch == \"X86_64\") && (OpSysAndVer == \"NO\")");
        let both = pool.jobs("(OpSysAndVer == \"NO\") && (Machine == \"NO\")");
        let broken = pool.jobs_with("MY.x == \"NO\"", &[("x", "\"BROKEN\"")]);
        let new = candidate("m1", None);
        let jobs = [&fine, &refuses, &closed, &open, &both, &broken];
        for processes in [2, 3] {
            let matches = pool.ask(&jobs, std::slice::from_ref(&new), LIMIT);
            let verdict = |jobs| verdict(&matches, &new, jobs);
            assert_eq!(verdict(&fine), Observed::Known(MatchResult::Matches));
            assert_eq!(verdict(&refuses), job_refuses("TARGET.OpSys == \"NO\""));
            assert_eq!(verdict(&closed), Observed::Known(MatchResult::NodeRefuses));
            let clause = Some("OpSysAndVer == \"NO\"".to_owned());
            assert_eq!(
                verdict(&open),
                Observed::Known(MatchResult::Undetermined { clause })
            );
            assert_eq!(verdict(&both), job_refuses("Machine == \"NO\""));
            assert!(!verdict(&broken).is_known());
            // What was not read is asked again, all else is remembered.
            assert!(pool.processes() >= processes && pool.processes() <= processes + 1);
        }
        let before = pool.processes();
        let known = [&fine, &refuses, &closed, &open, &both];
        pool.ask(&known, std::slice::from_ref(&new), LIMIT);
        assert_eq!(pool.processes(), before, "{}", pool.fake.calls());
    }

    #[test]
    fn a_node_that_is_there_says_what_the_next_is_like() {
        let mut pool = Pool::new();
        let jobs = pool.jobs("OpSysAndVer == \"NO\"");
        let there = candidate("m1", Some("slot1@m1"));
        let matches = pool.ask(&[&jobs], std::slice::from_ref(&there), LIMIT);
        // It has the attribute: this is no question of the first node any more.
        assert_eq!(
            verdict(&matches, &there, &jobs),
            job_refuses("OpSysAndVer == \"NO\"")
        );
        let slots = fs::read_to_string(pool.fake.path().join("slots")).unwrap();
        for has in [
            "opsysandver = \"Debian13\"",
            "machine = \"m0-new\"",
            "name = \"slot1@m0-new\"",
            "cpus = 4\n",
            "memory = 4096\n",
            "state = \"Unclaimed\"",
        ] {
            assert!(slots.contains(has), "{has}: {slots}");
        }
        for gone in [
            "lastheardfrom",
            "myaddress",
            "childcpus",
            "updatessequenced",
        ] {
            assert!(!slots.contains(gone), "{gone}: {slots}");
        }
        // Not learnt again for an hour.
        let before = pool.processes();
        pool.ask(&[&jobs], std::slice::from_ref(&there), LIMIT);
        assert_eq!(pool.processes(), before);
    }

    /// What software there is stands in the image, what hardware in the flavor.
    #[test]
    fn a_node_of_the_same_image_says_what_software_another_flavor_has() {
        let mut pool = Pool::new();
        let software = pool.jobs("OpSysAndVer == \"NO\"");
        let hardware = pool.jobs("Microarch == \"NO\"");
        let vm_type = pool.jobs("CloudVMType == \"NO\"");
        let there = candidate("m1", Some("slot1@m1"));
        let mut other_flavor = candidate("m2", None);
        let nodes = [there, other_flavor.clone()];
        let jobs = [&software, &hardware, &vm_type];
        let matches = pool.ask(&jobs, &nodes, LIMIT);
        let of = |jobs| verdict(&matches, &other_flavor, jobs);
        assert_eq!(of(&software), job_refuses("OpSysAndVer == \"NO\""));
        let clause = Some("Microarch == \"NO\"".to_owned());
        assert_eq!(
            of(&hardware),
            Observed::Known(MatchResult::Undetermined { clause })
        );
        assert_eq!(of(&vm_type), job_refuses("CloudVMType == \"NO\""));
        let slots = fs::read_to_string(pool.fake.path().join("slots")).unwrap();
        assert!(slots.contains("cloudvmtype = \"m2\""), "{slots}");

        other_flavor.node_type.image = "another".to_owned();
        let matches = pool.ask(&[&software], std::slice::from_ref(&other_flavor), LIMIT);
        let clause = Some("OpSysAndVer == \"NO\"".to_owned());
        let another = verdict(&matches, &other_flavor, &software);
        assert_eq!(
            another,
            Observed::Known(MatchResult::Undetermined { clause })
        );
    }

    #[test]
    fn a_node_that_is_drained_or_closed_teaches_nothing() {
        for line in ["Draining = true", "Start = false", "State = \"Drained\""] {
            let mut lines = LongAds::default();
            for line in ["Machine = \"n1\"", "Start = true", line] {
                lines.add(line).unwrap();
            }
            assert_eq!(MachineAd::learnt(&lines.ads[0]), None, "{line}");
        }
    }

    #[test]
    fn what_start_asks_of_a_job_is_asked_for_first() {
        let mut pool = Pool::new();
        let start = ("Start".to_owned(), "TARGET.Owner != \"bob\"".to_owned());
        pool.startd_attributes.insert("a".to_owned(), vec![start]);
        let new = candidate("m1", None);
        let jobs = pool.jobs("TARGET.Arch == \"X86_64\"");
        let matches = pool.ask(&[&jobs], std::slice::from_ref(&new), LIMIT);
        let Observed::Unknown(why) = verdict(&matches, &new, &jobs) else {
            panic!("it was not asked for");
        };
        assert!(why.contains("owner"), "{why}");
        assert_eq!(pool.processes(), 0);
        pool.nodes_ask.insert("owner".to_owned());
        let jobs = pool.jobs_with("TARGET.Arch == \"X86_64\"", &[("owner", "\"bob\"")]);
        let matches = pool.ask(&[&jobs], std::slice::from_ref(&new), LIMIT);
        assert_eq!(
            verdict(&matches, &new, &jobs),
            Observed::Known(MatchResult::Matches)
        );
    }

    #[test]
    fn what_changes_by_itself_is_asked_each_time() {
        let mut pool = Pool::new();
        let jobs = pool.jobs("(time() - 5) > 3");
        let new = candidate("m1", None);
        for processes in 1..3 {
            pool.ask(&[&jobs], std::slice::from_ref(&new), LIMIT);
            assert_eq!(pool.processes(), processes);
        }
    }

    /// HTCondor says of each bit of a request whether it is set: here of 4 cores and 3900 MB, as the node has them.
    #[test]
    fn what_a_job_asks_of_a_machine_is_worked_out_by_htcondor() {
        let mut pool = Pool::new();
        let bits = ANALYZE.replace(
            "/^Requirements = / { no",
            "/>> [0-9]+/ { match($0, />> [0-9]+/); bit = substr($0, RSTART + 3, RLENGTH - 3) + 0; value = /Cpus/ ? 4 : 3900\n\
             for (i = 0; i < bit; i++) value = int(value / 2)\n\
             odd = value % 2 == 0 }\n\
             /^Requirements = [^(]/ { odd = 0 }\n/^Requirements = / { no",
        );
        let bits = bits.replace("m = no ||", "m = odd || no ||");
        pool.fake
            .answer("condor_q", "-better-analyze:summary", &bits);
        let columns = BTreeMap::from([("totalcpus", ""), ("totalmemory", "")]);
        let mut names = BTreeSet::new();
        let mut requests = JobColumns::default().requests;
        requests[0] = ("RequestCpus", "TotalCpus");
        requests[1] = ("RequestMemory", "TotalMemory * 95 / 100");
        let job = JobColumns {
            universe: 5,
            requirements: "TARGET.x",
            requests,
            ..JobColumns::default()
        };
        let ad = JobAd::of(&job, &columns, &BTreeSet::new(), &mut names).unwrap();
        let whole = JobGroupKey {
            needs: ad.needs(),
            ..pool.jobs("TARGET.x")
        };
        pool.ads.insert(ad.needs(), ad);
        let plain = pool.jobs("TARGET.y");
        let new = candidate("m1", None);
        let ask = |pool: &Pool| pool.ask(&[&whole, &plain], std::slice::from_ref(&new), LIMIT);
        let matches = ask(&pool);
        assert!(matches.depends_on_machine(&whole) && !matches.depends_on_machine(&plain));
        let request = matches.request(&new.node_type, &whole);
        assert_eq!(
            (request.cpus, request.memory_mb, request.disk_kb),
            (4, 3968, 1024)
        );
        assert_eq!(matches.request(&new.node_type, &plain), plain.request);
        // It is kept: no process is started for it again.
        let before = pool.processes();
        assert_eq!(ask(&pool).request(&new.node_type, &whole), request);
        assert_eq!(pool.processes(), before);
        // Where it does not say, such a job has a node for itself.
        pool.fake
            .script("condor_q", "-better-analyze:summary", "exit 1");
        let larger = candidate("m2", None);
        let request = pool.ask(&[&whole, &plain], std::slice::from_ref(&larger), LIMIT);
        let request = request.request(&larger.node_type, &whole);
        assert_eq!((request.cpus, request.memory_mb), (4, 4096));
    }

    /// However many of them there are, and however long it takes to work that out.
    #[test]
    fn what_jobs_ask_of_a_machine_takes_no_answer_from_others() {
        let mut pool = Pool::new();
        let slow = format!("grep -q '>>' \"$3\" && sleep 1\n{ANALYZE}");
        pool.fake
            .script("condor_q", "-better-analyze:summary", &slow);
        let mut names = BTreeSet::new();
        let columns = BTreeMap::from([("totalcpus", "")]);
        let mut whole = Vec::new();
        for number in 0..BY_MACHINE_MAX {
            let mut requests = JobColumns::default().requests;
            let request = format!("TotalCpus - {number}");
            requests[0] = ("RequestCpus", &request);
            let job = JobColumns {
                universe: 5,
                requirements: "TARGET.x",
                requests,
                ..JobColumns::default()
            };
            let ad = JobAd::of(&job, &columns, &BTreeSet::new(), &mut names).unwrap();
            let needs = ad.needs();
            pool.ads.insert(ad.needs(), ad);
            whole.push(JobGroupKey {
                needs,
                ..pool.jobs("TARGET.x")
            });
        }
        let plain = pool.jobs("TARGET.y");
        let mut jobs: Vec<&JobGroupKey> = whole.iter().collect();
        jobs.push(&plain);
        let nodes = [candidate("m1", None), candidate("m2", None)];
        let matches = pool.ask(&jobs, &nodes, Duration::from_secs(5));
        for node in &nodes {
            assert_eq!(
                verdict(&matches, node, &plain),
                Observed::Known(MatchResult::Matches)
            );
            assert_eq!(matches.request(&node.node_type, &whole[39]).cpus, 4);
        }
    }

    /// One job at which condor_q ends takes no answer from the others.
    #[test]
    fn a_job_that_condor_q_cannot_take_costs_itself_alone() {
        let mut pool = Pool::new();
        let bad = pool.jobs("TARGET.CRASH");
        let fine: Vec<JobGroupKey> = (0..6).map(|n| pool.jobs(&format!("TARGET.a{n}"))).collect();
        let crash = format!("grep -q CRASH \"$3\" && exit 134\n{ANALYZE}");
        pool.fake
            .script("condor_q", "-better-analyze:summary", &crash);
        let mut jobs: Vec<&JobGroupKey> = fine.iter().collect();
        jobs.push(&bad);
        let new = candidate("m1", None);
        let matches = pool.ask(&jobs, std::slice::from_ref(&new), LIMIT);
        for jobs in &fine {
            assert_eq!(
                verdict(&matches, &new, jobs),
                Observed::Known(MatchResult::Matches)
            );
        }
        assert!(!verdict(&matches, &new, &bad).is_known());
        assert!(pool.processes() < 12, "{}", pool.processes());
    }

    /// A line that is none of the table, or that says otherwise of a job, costs that job its answer.
    #[test]
    fn an_odd_line_costs_its_own_job_the_answer() {
        let mut pool = Pool::new();
        let jobs: Vec<JobGroupKey> = (0..3).map(|n| pool.jobs(&format!("TARGET.a{n}"))).collect();
        let new = candidate("m1", None);
        let odd = "\necho '4.0  0 0 0 0 0 ehos'\necho '   }'\necho 'x y z'";
        pool.fake.script(
            "condor_q",
            "-better-analyze:summary",
            &format!("{ANALYZE}{odd}"),
        );
        let all: Vec<&JobGroupKey> = jobs.iter().collect();
        let matches = pool.ask(&all, std::slice::from_ref(&new), LIMIT);
        let known = jobs
            .iter()
            .filter(|jobs| verdict(&matches, &new, jobs).is_known());
        assert_eq!(known.count(), 2);
    }

    #[test]
    fn no_answer_and_a_strange_one_are_unknown() {
        let mut pool = Pool::new();
        let jobs = pool.jobs("TARGET.Arch == \"X86_64\"");
        let new = candidate("m1", None);
        let why = |pool: &Pool, time| {
            let matches = pool.ask(&[&jobs], std::slice::from_ref(&new), time);
            match verdict(&matches, &new, &jobs) {
                Observed::Unknown(why) => why,
                known => panic!("{known:?}"),
            }
        };
        assert!(why(&pool, Duration::ZERO).contains("tick deadline exceeded"));
        for (script, expected) in [
            ("exit 1", "match_requirements"),
            ("echo 'Unknown table'", "no known table"),
            // Jobs that match everything, whatever they ask for.
            (&*ANALYZE.replace("= false$", "never"), "startd_attrs"),
            (
                &*ANALYZE
                    .replace("ehos\"", "\"")
                    .replace("\"  \" r", "\"  1/0 \" r"),
                "None match",
            ),
        ] {
            pool.fake
                .script("condor_q", "-better-analyze:summary", script);
            let why = why(&pool, LIMIT);
            assert!(why.contains(expected), "{why}");
        }
        // Requirements that were not read.
        let unread = JobGroupKey {
            needs: Unread::Number.needs(),
            ..jobs.clone()
        };
        let matches = pool.ask(&[&unread], std::slice::from_ref(&new), LIMIT);
        assert!(!verdict(&matches, &new, &unread).is_known());
    }

    /// As condor_q of 23.9.6 printed it.
    #[test]
    fn a_recorded_table_is_read() {
        let text = include_str!("../../tests/fixtures/condor/q-better-analyze.txt");
        let mut summary = Summary::default();
        for line in text.lines().filter_map(|line| line.strip_prefix("out|")) {
            summary.add(line).unwrap();
        }
        let jobs = summary.counts.len() - 2;
        let counts = summary.of(jobs, 1).unwrap();
        assert!(counts.iter().all(Option::is_some));
        assert!(summary.of(jobs, 2).is_err());
        assert_eq!(summary.of(jobs + 1, 1).unwrap().last(), Some(&None));
    }

    #[test]
    fn a_thousand_kinds_of_jobs_are_one_file_for_each_node() {
        let mut pool = Pool::new();
        let all: Vec<JobGroupKey> = (0..1000)
            .map(|number| pool.jobs(&format!("TARGET.Disk > {number}")))
            .collect();
        let nodes: Vec<MatchTarget> = (0..20).map(|n| candidate(&format!("f{n}"), None)).collect();
        let jobs: Vec<&JobGroupKey> = all.iter().collect();
        pool.ask(&jobs, &nodes, LIMIT);
        assert_eq!(pool.processes(), 20);
    }
}
