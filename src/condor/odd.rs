//! Idle jobs that a schedd is not asked about by attributes, for their expressions could keep it busy ([`super::plain`]).
//!
//! Their ads are asked for whole: a schedd sends these as they are. What users wrote there is evaluated by a `condor_q` of
//! ehos's own that reads a file, asks no daemon and has bounds of time and memory. A batch that is killed is halved until the
//! slow jobs are found. Each owner has a share: one owner's jobs cost that owner's own alone.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::fd::AsRawFd;
use std::time::Duration;

use scaling::sorting::IntoMap;
use serde_json::{Map, Value};

use super::command::{Call, Tools};
use super::error::Error;
use ads::answer::{amount, quoted, values};
use ads::column::{self, LONG};
use ads::expression::{Names, STEPS_MAX, Scope, is_plain, references, steps};
use ads::folded::{AD_MAX, Folded, PARALLEL};
use ads::job_ad::digest;
use ads::lines::is_cut;
use ads::odd_job::{OddJob, OddJobs};
use scaling::sorting;
use system::child::Bounds;
use system::deadline::Deadline;
use system::json;

/// Jobs that are read of one owner in one tick, and the bytes of their ads.
const JOBS_MAX: u64 = 2000;
const BYTES_MAX: usize = 16 * 1024 * 1024;
/// Owners that are asked about one by one.
const OWNERS_MAX: usize = 8;
/// What is kept of one job.
const JOB_MAX: usize = 64 * 1024;
/// CPU time and memory of one `condor_q` that evaluates, and how many of them an owner's jobs may cost.
const EVALUATION: Bounds = Bounds {
    cpu: Some(Duration::from_secs(1)),
    memory: Some(1 << 30),
};
const EVALUATIONS_MAX: usize = 12;
/// The same for one that reads ads.
const READING: Bounds = Bounds {
    cpu: Some(Duration::from_secs(20)),
    memory: Some(2 << 30),
};

/// How to ask for them.
pub(super) struct Ask<'a> {
    pub tools: &'a Tools,
    /// The beginning of each call: which schedd.
    pub args: Vec<&'a str>,
    pub about: &'a str,
    /// True for idle jobs that are odd.
    pub constraint: String,
    /// The site's own constraint.
    pub site: Option<&'a str>,
    /// What nodes ask of a job.
    pub nodes_ask: &'a BTreeSet<String>,
    /// Jobs that were slow a while ago.
    pub slow: &'a BTreeSet<String>,
    pub deadline: Deadline,
}

/// Ads that were read, and whether these are all.
struct Read {
    jobs: Vec<OddJob>,
    whole: bool,
}

impl Ask<'_> {
    /// All of them, as far as the shares of their owners go.
    pub(super) fn jobs(&self) -> Result<OddJobs, Error> {
        let mut found = OddJobs::default();
        let time = self.deadline.left() / 6;
        let read = self.read(&self.constraint, self.deadline.at_most(time));
        let jobs = if read.whole {
            read.jobs
        } else {
            self.by_owner(&mut found)?
        };
        let mut owners: BTreeMap<Option<String>, Vec<OddJob>> = BTreeMap::new();
        for job in jobs {
            owners.entry(job.owner.clone()).or_default().push(job);
        }
        let mut owners: Vec<Vec<OddJob>> = owners.into_values().collect();
        sorting::by_key(&mut owners, Vec::len);
        let mut left = owners.len();
        for jobs in owners {
            let time = self.deadline.left() / 2 / u32::try_from(left.max(1)).unwrap_or(1);
            self.evaluate(jobs, self.deadline.at_most(time), &mut found);
            left = left.saturating_sub(1);
        }
        Ok(found)
    }

    /// The ads of each owner's jobs, those with the fewest first.
    fn by_owner(&self, found: &mut OddJobs) -> Result<Vec<OddJob>, Error> {
        let mut owners: Vec<(u64, Option<String>)> = self
            .owners()?
            .into_iter()
            .map(|(owner, jobs)| (jobs, owner))
            .collect();
        sorting::ascending(&mut owners);
        let mut all = Vec::new();
        for (place, (jobs, owner)) in owners.iter().enumerate() {
            let mut read = Vec::new();
            if let (true, Some(name)) = (place < OWNERS_MAX, owner) {
                let constraint = format!(
                    "{} && unparse(Owner) =?= {}",
                    self.constraint,
                    quoted(&quoted(name))
                );
                let left = owners.len().min(OWNERS_MAX).saturating_sub(place);
                let time = self.deadline.left() / 3 / u32::try_from(left.max(1)).unwrap_or(1);
                read = self.read(&constraint, self.deadline.at_most(time)).jobs;
            }
            let unread = jobs.saturating_sub(u64::try_from(read.len()).unwrap_or(u64::MAX));
            if unread > 0 {
                found.unread.insert(owner.clone(), unread);
            }
            all.extend(read);
        }
        Ok(all)
    }

    /// How many such jobs each owner has.
    pub(super) fn owners(&self) -> Result<BTreeMap<Option<String>, u64>, Error> {
        // The schedd applies the constraint to each job and then to each group, which has no number of a job.
        let constraint = format!("unparse(ClusterId) == \"\" || ({})", self.constraint);
        let mut args = self.args.clone();
        let owner = column::text("Owner", 256);
        args.extend([
            "-attributes",
            "Owner,JobStatus",
            "-group-by",
            "-constraint",
            &constraint,
            "-af:t",
            "JobCount",
            &owner,
        ]);
        let call = Call::new("condor_q", &args, self.about);
        let add = |owners: &mut BTreeMap<Option<String>, u64>, line: &str| {
            if let Ok([jobs, owner]) = values(line)
                && let Some(jobs) = amount(jobs)
            {
                let owner = (!owner.is_empty()).then(|| owner.to_owned());
                let sum = owners.entry(owner).or_default();
                *sum = sum.saturating_add(jobs);
            }
            Ok(())
        };
        self.tools.run(&call, self.deadline, BTreeMap::new(), add)
    }

    /// The ads of jobs for which the constraint is true. What was read until it failed counts.
    fn read(&self, constraint: &str, deadline: Deadline) -> Read {
        let limit = JOBS_MAX.to_string();
        let mut args = self.args.clone();
        args.extend(["-json", "-limit", &limit, "-constraint", constraint]);
        let call = Call::new("condor_q", &args, self.about);
        let ads = RefCell::new(Ads::default());
        let read = self
            .tools
            .bounded(READING)
            .run(&call, deadline, (), |(), line| {
                ads.borrow_mut().add(line, self);
                Ok(())
            });
        let ads = ads.into_inner();
        if let Err(error) = &read {
            log::warn!("{error}; ehos asks for these jobs owner by owner");
        }
        let count = u64::try_from(ads.jobs.len()).unwrap_or(u64::MAX);
        Read {
            whole: read.is_ok() && !ads.full && ads.torn == 0 && count < JOBS_MAX,
            jobs: ads.jobs,
        }
    }

    /// Of a whole ad all that matters.
    fn job(&self, ad: &Map<String, Value>) -> Option<OddJob> {
        let ad: BTreeMap<String, String> = ad
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), written(value)))
            .into_map();
        let number = |name: &str| ad.get(name).and_then(|text| amount(text));
        let owner = ad.get("owner").and_then(|text| ads::answer::string(text));
        let mut job = OddJob {
            cluster: number("clusterid")?,
            proc: number("procid")?,
            owner,
            attributes: BTreeMap::new(),
        };
        let mut open: Vec<String> = ROOTS.iter().map(|name| (*name).to_owned()).collect();
        if number("jobuniverse") == Some(PARALLEL) {
            open.extend(["maxhosts", "scheduler"].map(str::to_owned));
        }
        open.extend(self.nodes_ask.iter().cloned());
        if let Some(site) = self.site {
            open.extend(
                references(site)
                    .iter()
                    .map(|name| name.to_ascii_lowercase()),
            );
        }
        let mut bytes = 0;
        while let Some(name) = open.pop() {
            let Some(text) = ad.get(&name) else { continue };
            if job.attributes.contains_key(&name) {
                continue;
            }
            bytes += name.len() + text.len();
            let long = text.len() > AD_MAX || bytes > JOB_MAX;
            if !long {
                let names = Names::of(text).attributes.into_iter();
                open.extend(
                    names
                        .filter(|(scope, name)| *scope != Scope::Target && is_plain(name))
                        .map(|(_, name)| name.to_ascii_lowercase()),
                );
            }
            let text = if long { LONG } else { text };
            job.attributes.insert(name, text.to_owned());
        }
        Some(job)
    }

    /// Evaluates what one owner's jobs ask for.
    fn evaluate(&self, jobs: Vec<OddJob>, deadline: Deadline, found: &mut OddJobs) {
        let mut alike: BTreeMap<String, (String, Vec<OddJob>)> = BTreeMap::new();
        for job in jobs {
            let text = ad_text(&job);
            let name = digest(&text);
            let evaluated = job
                .attributes
                .iter()
                .filter(|(name, _)| *name != "requirements");
            let evaluated = evaluated.map(|(_, text)| text.as_str());
            if steps(evaluated, &job.attributes) > STEPS_MAX {
                found.slow.push((job, String::new()));
                continue;
            }
            if self.slow.contains(&name) {
                found.slow.push((job, name));
                continue;
            }
            let (_, same) = alike.entry(name).or_insert_with(|| (text, Vec::new()));
            same.push(job);
        }
        let texts: Vec<&str> = alike.values().map(|(text, _)| text.as_str()).collect();
        let all: Vec<usize> = (0..texts.len()).collect();
        let mut evaluation = Evaluation {
            ask: self,
            texts: &texts,
            deadline,
            left: EVALUATIONS_MAX,
            values: BTreeMap::new(),
            slow: BTreeSet::new(),
            open: BTreeSet::new(),
        };
        evaluation.run(&all);
        let Evaluation {
            mut values,
            slow,
            open,
            ..
        } = evaluation;
        for (place, (name, (_, jobs))) in alike.into_iter().enumerate() {
            if slow.contains(&place) || open.contains(&place) {
                // One that was only beside a slow one is tried again in the next tick.
                let name = if slow.contains(&place) {
                    name
                } else {
                    String::new()
                };
                found
                    .slow
                    .extend(jobs.into_iter().map(|job| (job, name.clone())));
                continue;
            }
            match values.remove(&place) {
                Some(line) => found
                    .valued
                    .extend(jobs.into_iter().map(|job| (job, line.clone()))),
                // It has no line: HTCondor cannot read the ad.
                None => found
                    .slow
                    .extend(jobs.into_iter().map(|job| (job, String::new()))),
            }
        }
    }
}

/// Attributes of each job that matter, besides those that they refer to.
const ROOTS: [&str; 18] = [
    "clusterid",
    "procid",
    "owner",
    "jobstatus",
    "jobuniverse",
    "requestcpus",
    "requestmemory",
    "requestdisk",
    "requestgpus",
    "qdate",
    "enteredcurrentstatus",
    "acctgroup",
    "concurrencylimits",
    "deferraltime",
    "deferralpreptime",
    "deferralwindow",
    "scheddinterval",
    "requirements",
];

/// Attributes that HTCondor does not evaluate here, and numbers by which jobs that are alike differ.
const LEFT_OUT: [&str; 3] = ["requirements", "clusterid", "procid"];

/// The ad of a job for `condor_q -jobads`: without its own number, unless it refers to that.
fn ad_text(job: &OddJob) -> String {
    let refers = |own: &str| {
        let texts = job
            .attributes
            .iter()
            .filter(|(name, _)| *name != "requirements");
        let mut names = texts.flat_map(|(_, text)| Names::of(text).attributes);
        names.any(|(_, name)| name.eq_ignore_ascii_case(own))
    };
    let mut ad = String::new();
    for (name, text) in &job.attributes {
        if LEFT_OUT.contains(&name.as_str()) && !(name != "requirements" && refers(name)) {
            continue;
        }
        let text = if text == LONG { "\"#long\"" } else { text };
        let _ = writeln!(ad, "{name} = {text}");
    }
    ad
}

/// One owner's jobs that are being evaluated, each by its place in `texts`.
struct Evaluation<'a, 'b> {
    ask: &'a Ask<'b>,
    texts: &'a [&'a str],
    deadline: Deadline,
    /// Processes that may still be started.
    left: usize,
    values: BTreeMap<usize, String>,
    slow: BTreeSet<usize>,
    /// Not evaluated: beside one that is slow.
    open: BTreeSet<usize>,
}

impl Evaluation<'_, '_> {
    /// Evaluates these, and halves them when that takes too long.
    fn run(&mut self, places: &[usize]) {
        if places.is_empty() {
            return;
        }
        if self.left == 0 || self.deadline.passed() {
            self.open.extend(places);
            return;
        }
        self.left -= 1;
        match self.lines(places) {
            Ok(lines) => self.values.extend(lines),
            Err(error) => {
                log::debug!("{error}: {} jobs of one owner", places.len());
                match places.split_at_checked(places.len() / 2) {
                    Some((one, other)) if !one.is_empty() => {
                        self.run(one);
                        self.run(other);
                    }
                    _ => self.slow.extend(places),
                }
            }
        }
    }

    fn lines(&self, places: &[usize]) -> Result<BTreeMap<usize, String>, String> {
        let mut text = String::new();
        for place in places {
            let ad = self.texts.get(*place).copied().unwrap_or_default();
            text.push_str(ad);
            // The name of each line; the last one counts where a user has one too.
            let _ = write!(text, "MyType = \"Job\"\nEhosPlace = {place}\n");
            if !ad.contains("clusterid = ") {
                let _ = writeln!(text, "ClusterId = {}", place + 1);
            }
            if !ad.contains("procid = ") {
                text.push_str("ProcId = 0\n");
            }
            text.push('\n');
        }
        let mut file = tempfile::tempfile().map_err(|error| error.to_string())?;
        file.write_all(text.as_bytes())
            .map_err(|error| error.to_string())?;
        let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
        let mut args = vec!["-allusers", "-jobads", &path];
        let columns = Folded::evaluated(self.ask.site);
        args.extend(["-af:t", "EhosPlace"]);
        args.extend(columns.iter().map(String::as_str));
        let call = Call::new("condor_q", &args, self.ask.about);
        let add = |lines: &mut BTreeMap<usize, String>, line: &str| {
            if let Some((place, line)) = line.split_once('\t')
                && let Ok(place) = place.parse::<usize>()
                && places.contains(&place)
                && !is_cut(line)
            {
                lines.insert(place, line.to_owned());
            }
            Ok(())
        };
        let tools = self.ask.tools.bounded(EVALUATION);
        tools
            .run(&call, self.deadline, BTreeMap::new(), add)
            .map_err(|error| error.to_string())
    }
}

/// Ads as `condor_q -json` prints them: each attribute on a line of its own, but for lists and records.
#[derive(Debug, Default)]
struct Ads {
    jobs: Vec<OddJob>,
    text: String,
    inside: bool,
    bytes: usize,
    /// No more are kept.
    full: bool,
    /// Ads that could not be read.
    torn: u64,
}

impl Ads {
    fn add(&mut self, line: &str, ask: &Ask<'_>) {
        if line == "{" {
            self.text.clear();
            self.inside = true;
        }
        if !self.inside {
            return;
        }
        if line.len() > AD_MAX || is_cut(line) {
            // `  "Name": …`: the name is what counts.
            let begin: String = line.chars().take(200).collect();
            if let Some((name, _)) = begin.split_once(": ") {
                let _ = writeln!(self.text, "{name}: \"/Expr({LONG})/\",");
            }
        } else if self.text.len() < 4 * JOB_MAX {
            self.text.push_str(line);
            self.text.push('\n');
        }
        if line != "}" {
            return;
        }
        self.inside = false;
        // A long value at the end leaves a comma behind.
        let text = self.text.trim_end().trim_end_matches('}').trim_end();
        let text = format!("{}\n}}", text.trim_end_matches(','));
        let ad: Option<Map<String, Value>> = json::read(&text).ok();
        self.full |= self.bytes > BYTES_MAX;
        match ad.and_then(|ad| ask.job(&ad)) {
            Some(job) if !self.full => {
                self.bytes += text.len();
                self.jobs.push(job);
            }
            Some(_) => {}
            None => self.torn += 1,
        }
        self.text.clear();
    }
}

/// A value of such an ad as a ClassAd has it.
fn written(value: &Value) -> String {
    match value {
        Value::Null => "undefined".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => {
            match text
                .strip_prefix("/Expr(")
                .and_then(|text| text.strip_suffix(")/"))
            {
                Some(expression) => expression.replace(|c: char| c.is_control(), " "),
                None => quoted(text),
            }
        }
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(written).collect();
            format!("{{ {} }}", values.join(","))
        }
        Value::Object(values) => {
            let values: Vec<String> = values
                .iter()
                .map(|(name, value)| format!("{name} = {}", written(value)))
                .collect();
            format!("[ {} ]", values.join("; "))
        }
    }
}
