//! What would help: an imperative sentence for each reason for which jobs wait.

use serde_json::Value;

use crate::names::{LimitName, Named, ReasonName};
use crate::tick_report::ReasonReport;
use scaling::nearest::{Nearest, Resource};

/// The advice for a reason, for a user with the job `example`.
pub fn advice(why: &ReasonReport, example: Option<&str>) -> Vec<String> {
    let job = example.unwrap_or("JOB");
    let text = |name: &str| why.numbers.get(name).and_then(Value::as_str).unwrap_or("?");
    let one = |sentence: &str| vec![sentence.to_owned()];
    let Some(name) = why.reason.known() else {
        return Vec::new();
    };
    match name {
        ReasonName::FitsFree => one("wait for the next negotiation cycle"),
        ReasonName::FitsClaimed => one("wait until the claimed slots start jobs"),
        ReasonName::FitsComing | ReasonName::FitsNew | ReasonName::NewNodes => {
            one("wait until the nodes have booted")
        }
        ReasonName::FitsTakenBack => one("wait until the drain is cancelled"),
        ReasonName::TooLarge => too_large(why, job),
        ReasonName::NoMatch => no_match(why, job),
        ReasonName::NotAnswered | ReasonName::FirstNodeDecides => {
            one("wait for the next ticks; if this stays, ask the administrator")
        }
        ReasonName::MatchUndetermined => vec![format!(
            "ask the administrator whether a node of this pool can match: condor_q {job} -af Requirements"
        )],
        ReasonName::ConcurrencyLimit => vec![format!(
            "wait for jobs with concurrency limit {0} to end, or ask the administrator to raise {0}_LIMIT",
            text("concurrency_limit")
        )],
        ReasonName::GroupQuota => vec![format!(
            "wait for jobs of accounting group {0} to end, or ask the administrator to raise GROUP_QUOTA_{0}",
            text("accounting_group")
        )],
        ReasonName::MaxJobsRunning => vec![format!(
            "wait for running jobs to end, or ask the administrator to raise MAX_JOBS_RUNNING of schedd {}",
            text("schedd")
        )],
        ReasonName::Deferred => one("wait until DeferralTime"),
        ReasonName::DeferralMissed => vec![format!(
            "remove the job (condor_rm {job}), or set a later DeferralTime: condor_qedit {job} DeferralTime SECONDS"
        )],
        ReasonName::ParallelUniverse => one(
            "submit to the vanilla universe, or ask the administrator to add 11 to condor.universes",
        ),
        ReasonName::Restarting => vec![format!(
            "check why the job starts again and again: condor_q -long {job} | grep -i reason, and the job's log"
        )],
        ReasonName::BadRequest => {
            let attribute = text("attribute");
            vec![format!(
                "set {attribute} to a number: condor_qedit {job} {attribute} NUMBER"
            )]
        }
        ReasonName::Unread => {
            one("shorten the job's Requirements and requests, or make them numbers")
        }
        ReasonName::OwnerBound => {
            one("make requests and Requirements of your jobs equal and shorter")
        }
        ReasonName::Limited => limited(why),
        ReasonName::Refused => vec![format!(
            "show why no slot takes the job: condor_q -better-analyze {job}"
        )],
        ReasonName::NothingMade => {
            one("wait until the brake ends; ask the administrator if it stays")
        }
        ReasonName::Busy
        | ReasonName::Kept
        | ReasonName::DrainRequested
        | ReasonName::DrainRequestWaiting
        | ReasonName::DeleteRequested => Vec::new(),
    }
}

fn too_large(why: &ReasonReport, job: &str) -> Vec<String> {
    let nearest = why.numbers.get("nearest").cloned();
    let nearest: Option<Nearest> = nearest.and_then(|nearest| serde_json::from_value(nearest).ok());
    let Some(nearest) = nearest else {
        return vec!["ask the administrator for a larger flavor".to_owned()];
    };
    let mut advice: Vec<String> = nearest
        .too_large
        .iter()
        .filter(|one| !(nearest.no_gpu && one.resource == Resource::Gpus))
        .map(|one| {
            let (command, attribute) = match one.resource {
                Resource::Cpus => ("request_cpus", "RequestCpus"),
                Resource::MemoryMb => ("request_memory", "RequestMemory"),
                Resource::DiskKb => ("request_disk", "RequestDisk"),
                Resource::Gpus => ("request_gpus", "RequestGPUs"),
            };
            let most = one.available;
            format!("lower {command} to at most {most}: condor_qedit {job} {attribute} {most}")
        })
        .collect();
    advice.push(match nearest.no_gpu {
        true => "ask the administrator for a flavor with a GPU".to_owned(),
        false => "ask the administrator for a larger flavor".to_owned(),
    });
    advice
}

fn no_match(why: &ReasonReport, job: &str) -> Vec<String> {
    let mismatches = why.numbers.get("mismatches").and_then(Value::as_array);
    let mismatches = mismatches.map_or(&[][..], Vec::as_slice);
    let mut advice: Vec<String> = Vec::new();
    for mismatch in mismatches {
        let by_node = mismatch.get("node") == Some(&Value::Bool(true));
        let clause = mismatch.get("clause").and_then(Value::as_str);
        let sentence = match (by_node, clause) {
            (true, _) => {
                "ask the administrator which jobs the START expression of the nodes accepts"
                    .to_owned()
            }
            (false, Some(clause)) => format!(
                "change this clause of the job's Requirements with condor_qedit {job} Requirements: {clause}"
            ),
            (false, None) => format!(
                "compare the job's Requirements with the nodes: condor_q -better-analyze {job}"
            ),
        };
        if !advice.contains(&sentence) && advice.len() < 5 {
            advice.push(sentence);
        }
    }
    advice
}

fn limited(why: &ReasonReport) -> Vec<String> {
    let limit = why.numbers.get("limit");
    let number = |name: &str| {
        limit
            .and_then(|limit| limit.get(name))
            .and_then(Value::as_u64)
    };
    let text = |name: &str| {
        limit
            .and_then(|limit| limit.get(name))
            .and_then(Value::as_str)
    };
    let cloud = text("cloud").unwrap_or("?");
    let name: Named<LimitName> = limit
        .and_then(|limit| limit.get("name"))
        .and_then(|name| serde_json::from_value(name.clone()).ok())
        .unwrap_or_default();
    let quota = |what: &str| {
        format!(
            "ask the administrator to raise the {what} quota of the project in cloud {cloud}, or wait for a free slot"
        )
    };
    let raise =
        |key: &str| format!("ask the administrator to raise {key}, or wait for a free slot");
    let Some(name) = name.known() else {
        return vec![
            "ask the administrator to raise the limit, or wait for a free slot".to_owned(),
        ];
    };
    let sentence = match name {
        LimitName::NodesMax => {
            let most = number("nodes_max").map_or_else(String::new, |most| format!(" (now {most})"));
            raise(&format!("nodes_max{most}"))
        }
        LimitName::CloudNodesMax => raise(&format!("nodes_max of cloud {cloud}")),
        LimitName::CoresMax => {
            let most = number("cores_max").map_or_else(String::new, |most| format!(" (now {most})"));
            raise(&format!("cores_max{most}"))
        }
        LimitName::CloudCoresMax => raise(&format!("cores_max of cloud {cloud}")),
        LimitName::Instances => quota("instances"),
        LimitName::Cores => quota("cores"),
        LimitName::Ram => quota("RAM"),
        LimitName::Ports => quota("ports"),
        LimitName::Volumes | LimitName::VolumeGigabytes => quota("volume"),
        LimitName::ServerGroupMembers => quota("server group"),
        LimitName::SubmitterNodesMax | LimitName::SubmitterCoresMax => {
            let submitter = text("submitter").unwrap_or("the submitter");
            format!("wait for nodes of {submitter} to be free, or ask the administrator to raise the limit of {submitter}")
        }
        LimitName::BudgetPerHour => raise("budget.per_hour"),
        LimitName::BudgetPerMonth => {
            "ask the administrator to raise budget.per_month, or wait for a free slot or the next month".to_owned()
        }
        LimitName::Backoff | LimitName::Pause => {
            format!("wait: ehos tries cloud {cloud} again by itself")
        }
        LimitName::Protected => {
            format!("ask the administrator to correct the cause and to run: ehos resume {cloud}")
        }
        LimitName::OperatorPause => {
            "wait until the administrator ends the pause, or for a free slot".to_owned()
        }
        LimitName::Unproven => "wait until the first nodes of this flavor have joined".to_owned(),
        LimitName::MaxActions => "wait: the next ticks create further nodes".to_owned(),
        LimitName::CloudUnknown | LimitName::NeverSeen | LimitName::SecondaryQuotaUnknown => {
            format!("wait until cloud {cloud} answers; ask the administrator if this stays")
        }
        LimitName::Retire => format!("ask the administrator for another cloud: cloud {cloud} retires"),
        LimitName::FlavorUnknown => {
            format!("ask the administrator to correct the flavor of cloud {cloud}")
        }
    };
    vec![sentence]
}
