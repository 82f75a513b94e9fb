//! Idle jobs as `condor_q` tells them, one line for a group or a job, folded by what they ask for.
//!
//! Owns: the columns of a line, and the bounds of what is kept. Each line counts for itself: one that cannot be read costs
//! its own jobs alone, which are counted as [`JobFault`] or by [`Folded::torn`].

mod asked;
mod columns;
mod demand;
mod ending;
mod odd_jobs;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use asked::Known;
use ending::{Ending, Shape};

use crate::answer::{amount, excerpt, integer};
use crate::column::LONG;
use crate::expression::Names;
use crate::job_ad::{COLUMNS_MAX, Columns, JobAd, Unread};
use crate::lines::is_cut;
use scaling::idle_time::IdleTimes;
use scaling::job_names::{JobId, JobIds};
use scaling::job_requirements::{JobFault, OwnerBound, RequirementsDigest};
use scaling::observation::Resources;
use scaling::sorting;

/// Texts of ads that are kept of one owner's jobs, and of all, in bytes; such as are longer than `AD_MAX` are not looked at.
pub const ADS_MAX: usize = 2 * 1024 * 1024;
const ALL_ADS_MAX: usize = 64 * 1024 * 1024;
pub const AD_MAX: usize = 16 * 1024;

/// Endings of lines that are kept, in bytes. The others are read anew: nothing is lost with them.
pub const ENDINGS_MAX: usize = 2 * 1024 * 1024;

/// Texts of shapes that are kept of one owner's jobs, and of all, in bytes; jobs beyond are counted together.
const SHAPES_MAX: usize = 4 * 1024 * 1024;
const ALL_SHAPES_MAX: usize = 64 * 1024 * 1024;

/// Job groups of one owner; jobs beyond are counted together.
const GROUPS_MAX: usize = 10_000;

/// Jobs of one owner whose Requirements name their own number that HTCondor is asked about, each by itself.
const NUMBERED_MAX: usize = 500;

/// Longest values of the columns in front of Requirements.
const GROUP_MAX: usize = 256;
const OWNER_MAX: usize = 256;
const LIMITS_MAX: usize = 4096;
const REQUEST_MAX: usize = 1024;
/// How much of a request is told.
const REQUEST_TOLD: usize = 60;

/// The request of jobs of which no other is known.
const ONE_CORE: Resources = Resources {
    cpus: 1,
    memory_mb: 0,
    disk_kb: 0,
    gpus: 0,
};

/// What jobs ask for.
const REQUESTS: [&str; 4] = ["RequestCpus", "RequestMemory", "RequestDisk", "RequestGPUs"];

/// The universe whose jobs take several nodes.
pub const PARALLEL: u64 = 11;

/// Idle jobs or groups of them, folded by what they ask for.
#[derive(Debug, Default)]
pub struct Folded {
    pub columns: Columns,
    requirements: bool,
    pub grouped: bool,
    /// Jobs of the parallel universe are counted, and no node is made for them.
    parallel_only_told: bool,
    /// Lines that could not be read, so that what they count is unknown.
    pub torn: u64,
    torn_example: String,
    /// Jobs that were read.
    pub counted: u64,
    /// By request, and by the place of their shape in `shapes`.
    jobs: BTreeMap<(Resources, usize), Idle>,
    /// The highest `ClusterId` of all.
    newest_cluster: u64,
    shapes: Vec<Shape>,
    /// What the jobs of each shape refer to.
    shape_names: Vec<Rc<BTreeSet<String>>>,
    shares: HashMap<Option<String>, Share>,
    all: Share,
    /// Where the shape of a line is that ends like this: a thousand lines end alike.
    endings: HashMap<String, usize>,
    /// Where each shape is.
    places: HashMap<Shape, usize>,
    ads: BTreeMap<RequirementsDigest, JobAd>,
    endings_bytes: usize,
    known: Known,
    /// The job that is being taken was told with all of its attributes: these.
    told_whole: Option<Rc<BTreeMap<String, String>>>,
    /// Jobs of each owner that were not read.
    unread: BTreeMap<(Option<String>, OwnerBound), u64>,
    /// Names of evaluations that take too long.
    slow: BTreeSet<String>,
}

/// What is kept of the jobs of one owner.
#[derive(Debug, Default)]
struct Share {
    ads_bytes: usize,
    shapes_bytes: usize,
    groups: usize,
    numbered: usize,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Idle {
    times: IdleTimes,
    ids: JobIds,
}

/// What ehos learns of idle jobs.
#[derive(Debug, Default)]
pub struct Ads {
    /// By their needs.
    pub ads: BTreeMap<RequirementsDigest, JobAd>,
    /// Attributes that most of them refer to.
    pub names: BTreeSet<String>,
    /// Names of evaluations that take too long.
    pub slow: BTreeSet<String>,
}

impl Folded {
    /// Evaluated and rounded up by HTCondor. A job without RequestCpus gets one core; one without RequestMemory or
    /// RequestDisk gets no slot at all from a partitionable slot (the startd refuses it).
    const EXPRESSIONS: [&'static str; 6] = [
        "ifThenElse(isUndefined(RequestCpus), 1, \
         ifThenElse(isInteger(RequestCpus) || isReal(RequestCpus), ceiling(RequestCpus), error))",
        "ifThenElse(isInteger(RequestMemory) || isReal(RequestMemory), ceiling(RequestMemory), error)",
        "ifThenElse(isInteger(RequestDisk) || isReal(RequestDisk), ceiling(RequestDisk), error)",
        "ifThenElse(isUndefined(RequestGPUs), 0, \
         ifThenElse(isInteger(RequestGPUs) || isReal(RequestGPUs), ceiling(RequestGPUs), error))",
        "int(QDate)",
        "int(EnteredCurrentStatus)",
    ];
    /// Behind the name of a job: with all that follows they are the ending of a line.
    const NUMBERS: [&'static str; 2] = ["int(JobUniverse)", "int(MaxHosts)"];
    /// condor_submit writes both times into Requirements: a deferred job matches from the first to the second.
    const DEFERRAL: [&'static str; 2] = [
        "int(DeferralTime - DeferralPrepTime - ScheddInterval)",
        "int(DeferralTime + DeferralWindow)",
    ];

    pub fn new(columns: Columns, requirements: bool, grouped: bool) -> Folded {
        Folded {
            columns,
            requirements,
            grouped,
            ..Folded::default()
        }
    }

    /// The same, for a site whose nodes do not serve the parallel universe.
    pub fn without_parallel(mut self) -> Folded {
        self.parallel_only_told = true;
        self
    }

    /// Takes the next line.
    pub fn add(&mut self, line: &str) {
        if self.take(line).is_none() {
            self.torn = self.torn.saturating_add(1);
            if self.torn_example.is_empty() {
                self.torn_example = excerpt(line);
            }
        }
    }

    fn take(&mut self, line: &str) -> Option<()> {
        if is_cut(line) {
            return None;
        }
        let mut head = line.splitn(9, '\t');
        let jobs = amount(head.next()?)?;
        let requests: [&str; 4] = take(&mut head)?;
        let [queued, entered, name, ending] = take(&mut head)?;
        let place = self.shape(ending, name)?;
        let amounts = requests.map(amount);
        let [cpus, memory_mb, disk_kb, gpus] = amounts;
        let by_machine = self.shapes.get(place)?.machine_requests;
        // The least, where it is unknown: what there is is kept for it.
        let request = Resources {
            cpus: cpus.unwrap_or(1),
            memory_mb: memory_mb.unwrap_or(0),
            disk_kb: disk_kb.unwrap_or(0),
            gpus: gpus.unwrap_or(0),
        };
        let bad = amounts.iter().position(Option::is_none);
        let place = match bad {
            Some(which) if !by_machine => self.with_bad_request(place, which, ending)?,
            _ => place,
        };
        let since = integer(queued).max(integer(entered));
        // `2.0`, `2.0 2.1` or `2.0 ... 2.9`.
        let clusters = name
            .split(' ')
            .filter_map(|id| amount(id.split_once('.')?.0));
        let newest_cluster = clusters.max();
        self.counted = self.counted.saturating_add(jobs);
        let (request, place) = self.within_share(request, place);
        self.newest_cluster = self.newest_cluster.max(newest_cluster.unwrap_or(0));
        let idle = self.jobs.entry((request, place)).or_default();
        idle.times.add(since, newest_cluster, jobs);
        idle.ids
            .extend(name.split(' ').filter_map(|id| id.parse::<JobId>().ok()));
        Some(())
    }

    /// The place of the same jobs with a request that is no amount.
    fn with_bad_request(&mut self, place: usize, which: usize, ending: &str) -> Option<usize> {
        let shape = self.shapes.get(place)?;
        // Why else they are not run does not matter.
        if shape.fault.is_some() || shape.needs.is_unread() {
            return Some(place);
        }
        let attribute = (*REQUESTS.get(which)?).to_owned();
        let expression = ending.split('\t').nth(4 + which)?.to_owned();
        let expression = expression.as_str();
        let value = match expression {
            LONG => format!("longer than {REQUEST_MAX} bytes"),
            "" => "undefined".to_owned(),
            value => value.trim().chars().take(REQUEST_TOLD).collect(),
        };
        let shape = shape.clone();
        let fault = match self.requirements || is_literal(expression) {
            true => JobFault::Request { attribute, value },
            false => JobFault::Unread {
                attribute: Some(attribute),
                problem: format!(
                    "{value} is no amount without the machine; with condor.match_requirements: true HTCondor works it out"
                ),
            },
        };
        let names = self.shape_names.get(place).cloned().unwrap_or_default();
        Some(self.keep(shape.with_fault(fault), names))
    }

    /// The group of such jobs: one for all that are more than the owner's share.
    fn within_share(&mut self, request: Resources, place: usize) -> (Resources, usize) {
        if self.jobs.contains_key(&(request, place)) {
            return (request, place);
        }
        let owner = self.shapes.get(place).and_then(|shape| shape.owner.clone());
        let share = self.shares.entry(owner.clone()).or_default();
        share.groups += 1;
        if share.groups <= GROUPS_MAX {
            return (request, place);
        }
        let shape = beyond(owner, OwnerBound::Groups);
        (ONE_CORE, self.keep(shape, Rc::default()))
    }

    /// Where the shape is that a line with this ending has.
    fn shape(&mut self, ending: &str, name: &str) -> Option<usize> {
        if let Some(place) = self.endings.get(ending) {
            return Some(*place);
        }
        let alone = !self.grouped || self.told_whole.is_some();
        let (shape, by_number, names) = self.read(ending, None)?;
        if by_number && alone {
            let share = self.shares.entry(shape.owner.clone()).or_default();
            share.numbered += 1;
            if share.numbered <= NUMBERED_MAX {
                // Not kept under the ending: the next job has another number.
                let (cluster, proc) = name.split_once('.')?;
                let number = [amount(cluster)?, amount(proc)?];
                let (shape, _, names) = self.read(ending, Some(number))?;
                return Some(self.keep(shape, names));
            }
        }
        let place = self.keep(shape, names);
        let lasts = !by_number || !alone;
        if lasts && self.endings_bytes < ENDINGS_MAX {
            self.endings_bytes += ending.len();
            self.endings.insert(ending.to_owned(), place);
        }
        Some(place)
    }

    fn keep(&mut self, mut shape: Shape, mut names: Rc<BTreeSet<String>>) -> usize {
        if let Some(place) = self.places.get(&shape) {
            return *place;
        }
        let size = shape.size() + names.iter().map(String::len).sum::<usize>();
        let share = self.shares.entry(shape.owner.clone()).or_default();
        let full = share.shapes_bytes > SHAPES_MAX || self.all.shapes_bytes > ALL_SHAPES_MAX;
        if full {
            shape = beyond(shape.owner, OwnerBound::Groups);
            names = Rc::default();
            if let Some(place) = self.places.get(&shape) {
                return *place;
            }
        }
        share.shapes_bytes += size;
        self.all.shapes_bytes += size;
        self.shapes.push(shape.clone());
        self.shape_names.push(names);
        self.places.insert(shape, self.shapes.len() - 1);
        self.shapes.len() - 1
    }

    /// The shape of jobs with this ending, and whether their Requirements name their own number.
    fn read(
        &mut self,
        ending: &str,
        number: Option<[u64; 2]>,
    ) -> Option<(Shape, bool, Rc<BTreeSet<String>>)> {
        let mut ending = Ending::read(ending)?;
        let (mut shape, mut fault) = ending.shape();
        let mut by_number = false;
        let mut names = Rc::default();
        if self.requirements {
            let asked = self.asked(&mut ending, number, &shape.owner)?;
            shape.needs = asked.needs;
            shape.machine_requests = asked.machine_requests;
            by_number = asked.by_number;
            names = asked.names;
            fault = fault.or(asked.fault);
        } else if ending.rest.next().is_some() && self.told_whole.is_none() {
            return None;
        }
        if ending.universe == PARALLEL && self.parallel_only_told {
            fault = Some(JobFault::ParallelUniverse);
        }
        if let Some(fault) = fault {
            shape = shape.with_fault(fault);
        }
        Some((shape, by_number, names))
    }

    /// The attributes that jobs refer to, as many as are asked for: each owner's own, those that most jobs need first.
    pub fn names(&self) -> BTreeSet<String> {
        let mut owners: BTreeMap<&Option<String>, BTreeMap<&str, u64>> = BTreeMap::new();
        for ((_, place), idle) in &self.jobs {
            let (Some(shape), Some(names)) =
                (self.shapes.get(*place), self.shape_names.get(*place))
            else {
                continue;
            };
            let votes = owners.entry(&shape.owner).or_default();
            for name in names.iter() {
                let jobs = votes.entry(name).or_default();
                *jobs = jobs.saturating_add(idle.times.jobs());
            }
        }
        let mut lists: Vec<std::vec::IntoIter<&str>> = owners
            .into_values()
            .map(|votes| {
                let mut votes: Vec<(&str, u64)> = votes.into_iter().collect();
                sorting::by_key(&mut votes, |(name, jobs)| (std::cmp::Reverse(*jobs), *name));
                let names: Vec<&str> = votes.into_iter().map(|(name, _)| name).collect();
                names.into_iter()
            })
            .collect();
        let mut chosen = BTreeSet::new();
        while chosen.len() < COLUMNS_MAX {
            let round: Vec<&str> = lists.iter_mut().filter_map(Iterator::next).collect();
            if round.is_empty() {
                break;
            }
            let left = COLUMNS_MAX - chosen.len();
            chosen.extend(round.into_iter().take(left).map(str::to_owned));
        }
        chosen
    }

    /// Jobs that were not read, whosever they are.
    pub fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Jobs whose Requirements name their own number, of which a group does not tell.
    pub fn needs_numbers(&self) -> bool {
        let number = Unread::Number.needs();
        self.grouped && self.shapes.iter().any(|shape| shape.needs == number)
    }

    pub fn into_ads(self) -> Ads {
        let names = self.names();
        Ads {
            ads: self.ads,
            names,
            slow: self.slow,
        }
    }

    /// The highest `ClusterId`; `None` where not every job was read.
    pub fn newest_cluster(&self) -> Option<u64> {
        (self.torn == 0 && self.unread.is_empty()).then_some(self.newest_cluster)
    }
}

/// The shape of jobs of which no more is kept, for so much of their owner's is kept already.
fn beyond(owner: Option<String>, bound: OwnerBound) -> Shape {
    let shape = Shape {
        nodes: 1,
        owner: owner.clone(),
        ..Shape::default()
    };
    shape.with_fault(JobFault::OwnerBound { owner, bound })
}

/// Whether an expression names no attribute, so that no machine makes an amount of it. A list or a record is none either.
fn is_literal(expression: &str) -> bool {
    expression == LONG
        || expression.trim_start().starts_with(['[', '{'])
        || Names::of(expression).attributes.is_empty()
}

/// The next `N` of them.
fn take<'a, const N: usize>(values: &mut impl Iterator<Item = &'a str>) -> Option<[&'a str; N]> {
    let taken: Vec<&str> = values.take(N).collect();
    taken.try_into().ok()
}

#[cfg(test)]
#[path = "folded_tests.rs"]
mod tests;
