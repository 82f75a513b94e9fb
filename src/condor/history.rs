//! The jobs that have left a schedd's queue, as `condor_history` prints them. Nothing is changed.
//!
//! Source: HTCondor manual, condor_history(1): `-since EXPR` ends the search at the first job for which EXPR is true.

use std::io::{self, Write};

use super::command::{Call, Tools};
use super::error::Error;
use system::deadline::Deadline;

/// What a replay needs of a job, each an attribute of its ad.
const ATTRIBUTES: &str = "ClusterId,ProcId,Owner,User,AcctGroup,JobUniverse,JobStatus,QDate,CompletionDate,\
     EnteredCurrentStatus,JobStartDate,JobCurrentStartDate,RemoteWallClockTime,CumulativeSuspensionTime,NumJobStarts,\
     NumShadowStarts,NumHolds,RequestCpus,RequestMemory,RequestDisk,RequestGPUs,MemoryUsage,ImageSize,DiskUsage,ExitCode,\
     RemoveReason,MinHosts,MaxHosts";

/// Writes the ads of the jobs that left the queue of a schedd (`None`: this machine's) after `since`, in seconds since 1970, to
/// `sink` as JSON.
///
/// # Errors
/// condor_history could not be run, failed, or took too long; or `sink` could not be written.
pub fn write_history(
    tools: &Tools,
    schedd: Option<&str>,
    since: i64,
    deadline: Deadline,
    sink: &mut impl Write,
) -> Result<(), Error> {
    let recent = format!("EnteredCurrentStatus >= {since}");
    let older = format!("EnteredCurrentStatus < {since}");
    let mut args = vec![
        "-json",
        "-attributes",
        ATTRIBUTES,
        "-constraint",
        &recent,
        "-since",
        &older,
    ];
    args.extend(schedd.iter().flat_map(|name| ["-name", *name]));
    let call = Call {
        tool: "condor_history",
        args,
        stdin: "",
        about: schedd.unwrap_or("the schedd of this machine"),
    };
    let mut written: io::Result<()> = Ok(());
    tools.run(&call, deadline, (), |(), line| {
        if written.is_ok() {
            written = writeln!(sink, "{line}");
        }
        written.as_ref().map(drop).map_err(io::Error::to_string)
    })
}
