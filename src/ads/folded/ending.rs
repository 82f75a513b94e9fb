//! The ending of a line: all that follows the number of a job, which jobs of one kind have in common.

use std::collections::BTreeSet;
use std::rc::Rc;

use scaling::job_requirements::{JobFault, RequirementsDigest};

use scaling::plan::MANY_STARTS;

use super::{LIMITS_MAX, PARALLEL, take};
use crate::answer::{amount, integer};
use crate::column::{LONG, NO_STRING};
use crate::job_ad::digest;

/// More starts are not told apart.
const STARTS_MAX: u64 = 20;

/// A job of the parallel universe asks for no more nodes: amounts are added up.
const HOSTS_MAX: u64 = 1_000_000;

/// What jobs are like besides their requests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Shape {
    pub needs: RequirementsDigest,
    pub owner: Option<String>,
    /// How often each was started, where that is often.
    pub starts: u64,
    /// How many nodes each takes, in the parallel universe.
    pub nodes: u64,
    pub concurrency_limits: String,
    pub accounting_group: Option<String>,
    pub fault: Option<JobFault>,
    /// When a deferred job begins and ceases to match, on the schedd's clock.
    pub deferral: Option<(i64, i64)>,
    /// Its requests depend on the machine.
    pub machine_requests: bool,
}

impl Shape {
    pub fn size(&self) -> usize {
        let group = self.accounting_group.as_ref().map_or(0, String::len);
        let owner = self.owner.as_ref().map_or(0, String::len);
        self.needs.0.len() + self.concurrency_limits.len() + group + owner + size_of::<Shape>()
    }

    pub fn with_fault(self, fault: JobFault) -> Shape {
        let needs = RequirementsDigest::unread(&digest(&format!("{fault:?}")));
        Shape {
            needs,
            fault: Some(fault),
            ..self
        }
    }
}

/// What Requirements ask for.
#[derive(Debug, Clone, Default)]
pub(super) struct AskedFor {
    pub needs: RequirementsDigest,
    /// Requests depend on the machine.
    pub machine_requests: bool,
    /// They name the job's own number.
    pub by_number: bool,
    pub fault: Option<JobFault>,
    /// The attributes that they refer to.
    pub names: Rc<BTreeSet<String>>,
}

/// The values of an ending before its Requirements.
pub(super) struct Ending<'a> {
    pub universe: u64,
    pub hosts: u64,
    pub accounting_group: Option<String>,
    pub limits: &'a str,
    pub requests: [&'a str; 4],
    pub deferral: Option<(i64, i64)>,
    pub owner: Option<String>,
    pub starts: u64,
    /// Requirements and the columns that they refer to.
    pub rest: std::str::Split<'a, char>,
    /// The same as one text.
    tail: &'a str,
}

impl<'a> Ending<'a> {
    /// `None` where values are missing.
    pub fn read(ending: &'a str) -> Option<Ending<'a>> {
        let mut head = ending.splitn(13, '\t');
        let universe = amount(head.next()?).unwrap_or(0);
        let hosts = amount(head.next()?).unwrap_or(1);
        // HTCondor goes by no group where it is no string.
        let accounting_group = text(head.next()?).map(str::to_ascii_lowercase);
        let limits = head.next()?;
        let requests: [&str; 4] = take(&mut head)?;
        let [begins, ends] = take(&mut head)?;
        let owner = text(head.next()?).map(str::to_owned);
        let starts = amount(head.next()?).unwrap_or(0);
        let tail = head.next();
        let mut rest = tail.unwrap_or_default().split('\t');
        if tail.is_none() {
            rest.next();
        }
        Some(Ending {
            universe,
            hosts,
            accounting_group,
            limits,
            requests,
            deferral: integer(begins).zip(integer(ends)),
            owner,
            starts,
            rest,
            tail: tail.unwrap_or_default(),
        })
    }

    /// All of it that Requirements and requests may depend on: an amount depends on nothing.
    pub fn asked_key(&self) -> String {
        let mut key = self.universe.to_string();
        for request in self.requests {
            key.push('\t');
            if request.parse::<f64>().is_err() {
                key.push_str(request);
            }
        }
        key.push('\t');
        key.push_str(self.tail);
        key
    }

    /// What jobs with it are like, but for their Requirements, and what cannot be read of it.
    pub fn shape(&self) -> (Shape, Option<JobFault>) {
        let mut shape = Shape {
            nodes: match self.universe {
                PARALLEL => self.hosts.clamp(1, HOSTS_MAX),
                _ => 1,
            },
            owner: self.owner.clone(),
            starts: match self.starts {
                0..MANY_STARTS => 0,
                starts => starts.min(STARTS_MAX),
            },
            accounting_group: self.accounting_group.clone(),
            deferral: self.deferral,
            ..Shape::default()
        };
        let fault = match self.limits {
            LONG => Some(unread("ConcurrencyLimits", &longer(LIMITS_MAX))),
            NO_STRING => Some(unread("ConcurrencyLimits", "it is no string")),
            limits => {
                shape.concurrency_limits = limits.to_owned();
                None
            }
        };
        (shape, fault)
    }
}

fn text(value: &str) -> Option<&str> {
    match value {
        "" | LONG | NO_STRING => None,
        text => Some(text),
    }
}

pub(super) fn unread(attribute: &str, problem: &str) -> JobFault {
    JobFault::Unread {
        attribute: Some(attribute.to_owned()),
        problem: problem.to_owned(),
    }
}

pub(super) fn longer(max: usize) -> String {
    format!("it is longer than {max} bytes")
}
