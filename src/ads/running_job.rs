//! Running jobs, as the ads of slots name them.

use scaling::job_names::{JobId, RunningJob};

/// Longest name of an owner.
const OWNER_MAX: usize = 256;
/// Longest name of a schedd.
const SCHEDD_MAX: usize = 256;

/// The job of `SCHEDD#CLUSTER.PROC#QDATE`.
pub fn named(job: &str, owner: Option<String>, several: bool) -> Option<RunningJob> {
    let (schedd, id) = job.rsplit_once('#')?.0.rsplit_once('#')?;
    // A node may write any text there.
    if schedd.len() > SCHEDD_MAX {
        return None;
    }
    let id: JobId = id.parse().ok()?;
    let owner = owner.filter(|owner| owner.len() <= OWNER_MAX);
    let owner = owner.map(|owner| match owner.split_once('@') {
        Some((user, _)) => user.to_owned(),
        None => owner,
    });
    let job = match several {
        true => format!("{schedd}#{id}"),
        false => id.to_string(),
    };
    Some(RunningJob { job, owner })
}
