//! Some of the idle jobs, read as a tick reads all of them.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::{JobFilter, Question, Schedd};
use crate::command::Tools;
use crate::error::Error;
use ads::job_ad::Columns;
use scaling::idle_time::Clocks;
use scaling::observation::{Demand, JobCounts};
use system::deadline::Deadline;

/// The jobs that are selected.
pub(crate) struct Selection<'a> {
    pub filter: &'a JobFilter,
    /// Attributes that nodes ask of a job.
    pub node_attributes: &'a BTreeSet<String>,
    /// True for these jobs; for a group of jobs as for each of them, unless `by_number`.
    pub constraint: String,
    /// A single job, which no group tells of.
    pub by_number: bool,
}

impl Schedd {
    /// The selected idle jobs as demand, the numbers of all selected jobs, and the schedd's clock.
    pub(crate) fn select(
        &self,
        tools: &Tools,
        selection: &Selection<'_>,
        at: Timestamp,
        deadline: Deadline,
    ) -> Result<(Vec<Demand>, JobCounts, i64), Error> {
        let Selection {
            filter, constraint, ..
        } = selection;
        let counted = format!("{} && {constraint}", filter.counted);
        let totals = self.totals(tools, &counted, deadline)?;
        if totals.jobs.idle == 0 {
            return Ok((Vec::new(), totals.jobs, totals.now()));
        }
        let question = Question {
            tools,
            filter,
            constraint: format!("{} && {constraint}", filter.idle()),
            slow: &BTreeSet::new(),
            deadline,
        };
        let columns = Columns {
            nodes_ask: selection.node_attributes.clone(),
            ..Columns::default()
        };
        let folded = match selection.by_number {
            true => self.with_names(&question, &columns, false)?,
            false => self.idle(&question, &columns)?,
        };
        let folded = self.whole(&question, folded, totals.jobs.idle)?;
        let clocks = Clocks {
            schedd: totals.now(),
            at,
            marks: None,
            young: Duration::ZERO,
        };
        Ok((folded.demand(clocks, 0), totals.jobs, totals.now()))
    }
}
