//! The jobs that have left a schedd's queue, as `condor_history` prints them. Nothing is changed.
//!
//! Source: HTCondor manual, condor_history(1): `-since EXPR` ends the search at the first job for which EXPR is true.

use std::io::{self, Write};

use super::command::{Call, Tools};
use super::error::Error;
use system::deadline::Deadline;

/// The file is in the order in which jobs left the queue. One that completed and stayed (`leave_in_queue`, 10 days by
/// default) is found late, with an old time.
pub(super) const STAYS: i64 = 30 * 86_400;

/// Writes these `attributes` of the jobs that left the queue of a schedd (`None`: this machine's) after `since`, in seconds
/// since 1970, to `sink` as JSON. A named schedd reads at most HISTORY_HELPER_MAX_HISTORY jobs.
///
/// # Errors
/// condor_history could not be run, failed, or took too long; or `sink` could not be written.
pub fn write_history(
    tools: &Tools,
    schedd: Option<&str>,
    attributes: &str,
    since: i64,
    deadline: Deadline,
    sink: &mut impl Write,
) -> Result<(), Error> {
    let recent = format!("EnteredCurrentStatus >= {since}");
    let older = format!("EnteredCurrentStatus < {}", since.saturating_sub(STAYS));
    let mut args = vec![
        "-json",
        "-attributes",
        attributes,
        "-constraint",
        &recent,
        "-since",
        &older,
    ];
    args.extend(schedd.iter().flat_map(|name| ["-name", *name]));
    let call = match schedd {
        Some(name) => tools.to_pool("condor_history", &args, name),
        None => Call::new("condor_history", &args, "the schedd of this machine"),
    };
    let mut written: io::Result<()> = Ok(());
    tools.run(&call, deadline, (), |(), line| {
        if written.is_ok() {
            written = writeln!(sink, "{line}");
        }
        written.as_ref().map(drop).map_err(io::Error::to_string)
    })
}
