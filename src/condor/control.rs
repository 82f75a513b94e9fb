//! Actions in HTCondor: drain a startd, cancel a drain, invalidate the ads of a machine.
//!
//! The tools' exit codes alone do not tell what happened, their words do. `-debug` makes them say why a connection
//! failed: without it "not allowed" and "not there" read the same.
//!
//! A drain is `condor_drain -graceful -check CHECK`: the startd itself evaluates that each slot is
//! Unclaimed and that CloudInstanceID is the server that is meant, for two machines can have one
//! name. Never with -exit-on-completion, which nobody can observe or cancel. A drain is cancelled
//! by its own request id only.
//!
//! Ads are not invalidated while another machine of that name is in the pool: HTCondor selects them
//! by name.

use std::time::Duration;

use super::command::{Call, Tools};
use super::error::Error;
use ads::answer::quoted;
use scaling::action::{Done, Failure, FailureKind, StartdIdentity};
use system::deadline::Deadline;

/// What the startd itself checks on every slot, dynamic ones too, before it drains: that nobody has claimed it, and that
/// it is the one that is meant, for condor_drain knows names alone, and two machines can have one.
fn check(startd: &StartdIdentity) -> String {
    let unclaimed = "State == \"Unclaimed\"";
    match &startd.server_id {
        Some(server) => format!(
            "{unclaimed} && (CloudInstanceID =?= undefined || CloudInstanceID == {})",
            quoted(server)
        ),
        None => unclaimed.to_owned(),
    }
}

/// Drains the startd of `slot`, if it is this one, unless any of its slots is claimed.
pub(super) fn drain(
    tools: &Tools,
    startd: &StartdIdentity,
    slot: &str,
    reason: &str,
    deadline: Deadline,
) -> Result<Done, Failure> {
    let check = check(startd);
    let args = ["-graceful", "-check", &check, "-reason", reason, slot];
    condor_drain(tools, &args, slot, deadline)
}

/// Cancels the drain with this id, and no other.
pub(super) fn cancel(
    tools: &Tools,
    slot: &str,
    request_id: &str,
    deadline: Deadline,
) -> Result<Done, Failure> {
    if request_id.is_empty() {
        // Without an id, condor_drain cancels any drain.
        return Err(Failure {
            kind: FailureKind::Rejected,
            message: format!("drain of {slot} not cancelled: the ad has no DrainingRequestId"),
        });
    }
    let args = ["-cancel", "-request-id", request_id, slot];
    condor_drain(tools, &args, slot, deadline)
}

fn condor_drain(
    tools: &Tools,
    request: &[&str],
    slot: &str,
    deadline: Deadline,
) -> Result<Done, Failure> {
    let args: Vec<&str> = ["-debug"].iter().chain(request).copied().collect();
    let call = tools.to_pool("condor_drain", &args, slot);
    let said = tools.text(&call, deadline).map_err(judged)?;
    if said.contains("Sent request to") {
        Ok(Done::Accepted)
    } else {
        Err(Failure {
            kind: FailureKind::Unknown,
            message: format!(
                "condor_drain for {slot}: exit code 0 without the words \"Sent request to\""
            ),
        })
    }
}

/// A negotiator that is stopped or in a long cycle does not answer; it takes 30 ms else.
const RESCHEDULE_LIMIT: Duration = Duration::from_secs(5);

/// Asks the negotiator at `address` (its `MyAddress`) for a cycle. Sent to a schedd, the command has done nothing since
/// HTCondor 25 (HTCONDOR-3624).
pub(super) fn reschedule(
    tools: &Tools,
    address: &str,
    deadline: Deadline,
) -> Result<Done, Failure> {
    let call = Call::new("condor_reschedule", &["-addr", address], "the negotiator");
    let deadline = deadline.at_most(RESCHEDULE_LIMIT);
    tools.text(&call, deadline).map_err(judged)?;
    Ok(Done::Accepted)
}

/// Invalidates the ads of `machine` in the collector: its slots, its startd and its master. The collector does not say
/// whether there were any.
pub(super) fn invalidate(
    tools: &Tools,
    machine: &str,
    deadline: Deadline,
) -> Result<Done, Failure> {
    // A startd has an ad of its own beside those of its slots (since 23.2), which wants a query of its own.
    advertise(
        tools,
        "INVALIDATE_STARTD_ADS",
        &["Machine", "StartD"],
        machine,
        deadline,
    )?;
    advertise(
        tools,
        "INVALIDATE_MASTER_ADS",
        &["DaemonMaster"],
        machine,
        deadline,
    )
}

fn advertise(
    tools: &Tools,
    command: &str,
    kinds: &[&str],
    machine: &str,
    deadline: Deadline,
) -> Result<Done, Failure> {
    let ads = kinds
        .iter()
        .map(|kind| {
            format!(
                "MyType = \"Query\"\nTargetType = \"{kind}\"\nRequirements = Machine == {}\n",
                quoted(machine)
            )
        })
        .collect::<Vec<_>>()
        .join("\n");
    let args = ["-debug", "-tcp", "-multiple", command, "-"];
    let call = Call {
        stdin: &ads,
        ..tools.to_pool("condor_advertise", &args, machine)
    };
    let said = tools.text(&call, deadline).map_err(judged)?;
    let all = format!("Sent {0} of {0} ad", kinds.len());
    if said.contains(&all) {
        Ok(Done::Accepted)
    } else {
        Err(Failure {
            kind: FailureKind::Unknown,
            message: format!(
                "condor_advertise {command} for {machine}: exit code 0 without the words \"{all}\""
            ),
        })
    }
}

/// What a failed call means. The numbers are those of the DRAIN_JOBS protocol.
fn judged(error: Error) -> Failure {
    let Error::Failed { stderr, .. } = &error else {
        return error.into();
    };
    let says = |words: &[&str]| words.iter().any(|word| stderr.contains(word));
    let (kind, advice) = if says(&["error code 10001", "error code 10002", "error code 10003"]) {
        // Draining already; no such drain; claimed.
        (FailureKind::NotIdle, "")
    } else if says(&["DENIED", "authenticat", "AUTHENTICATE", "authoriz"]) {
        (
            FailureKind::NotAuthorized,
            "; give ehos a token with ADMINISTRATOR (drains) and ADVERTISE_STARTD, ADVERTISE_MASTER (ads) rights on the \
             central manager",
        )
    } else if says(&["Received failure from"]) {
        (FailureKind::Rejected, "")
    } else if says(&[
        "Can't find address",
        "Failed to start",
        "Failed to compose",
        "failed to connect",
        "Connection refused",
        "unknown host",
        "ERROR: (null)",
        "couldn't parse ClassAd",
    ]) {
        (FailureKind::NotDone, "")
    } else {
        (FailureKind::Unknown, "")
    };
    Failure {
        kind,
        message: format!("{error}{advice}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(stderr: &str) -> FailureKind {
        judged(Error::Failed {
            tool: "condor_drain".to_owned(),
            about: "slot1@n1".to_owned(),
            status: "exit code 1".to_owned(),
            stderr: stderr.to_owned(),
        })
        .kind
    }

    #[test]
    fn the_tools_words_decide() {
        // All as 23.9.6 says them.
        let drain = "Attempt to send DRAIN_JOBS to startd <127.0.0.1:12197> failed | ";
        assert_eq!(
            kind(&format!(
                "{drain}Received failure from slot1@n1 in response to DRAIN_JOBS request: error code 10001: Draining already in progress."
            )),
            FailureKind::NotIdle
        );
        assert_eq!(
            kind(
                "Received failure from slot1@n1 in response to DRAIN_JOBS request: error code 10003: Draining check expression is false on slot1_1@n1."
            ),
            FailureKind::NotIdle
        );
        assert_eq!(
            kind(
                "Received failure from slot1@n1 in response to CANCEL_DRAIN_JOBS request: error code 10002: No matching draining request id 77."
            ),
            FailureKind::NotIdle
        );
        assert_eq!(
            kind(&format!(
                "SECMAN: required authentication with startd slot1@st failed, so aborting command DRAIN_JOBS. | {drain}Failed to start DRAIN_JOBS command to slot1@st"
            )),
            FailureKind::NotAuthorized
        );
        assert_eq!(
            kind(
                "SECMAN: FAILED: Received \"DENIED\" from server for user ehos@testbed using method IDTOKENS. | failed to send classad to <127.0.0.1:9618>"
            ),
            FailureKind::NotAuthorized
        );
        assert_eq!(
            kind(&format!(
                "attempt to connect to <127.0.0.1:14349> failed: Connection refused (connect errno = 111). | {drain}Failed to start DRAIN_JOBS command to slot1@gone"
            )),
            FailureKind::NotDone
        );
        assert_eq!(
            kind("ERROR: Can't find address for startd slot1@nosuch"),
            FailureKind::NotDone
        );
        assert_eq!(kind("something else"), FailureKind::Unknown);
    }
}
