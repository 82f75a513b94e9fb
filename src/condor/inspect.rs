//! What `ehos check` asks HTCondor: rights, settings, clocks. Nothing is changed.

use std::time::SystemTime;

use jiff::SignedDuration;

use super::command::{Call, Tools};
use super::error::Error;
use super::slots;
use ads::answer::{amount, excerpt, integer, short_string, string, values};
use system::deadline::Deadline;

/// Whether the collector lets us do something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permission {
    /// It does, and knows us by this name.
    Granted(String),
    /// It does not.
    Refused,
}

/// Asks the collector by `condor_ping` whether we have the rights of `level` (`ADMINISTRATOR`, `ADVERTISE_STARTD`). The
/// right to drain is the collector's to give: it hands its administrators a capability for each startd
/// (SEC_ENABLE_REMOTE_ADMINISTRATION), so nothing has to be drained to find out.
pub fn permission(tools: &Tools, level: &str, deadline: Deadline) -> Result<Permission, Error> {
    let args = ["-type", "COLLECTOR", level];
    let call = tools.to_pool("condor_ping", &args, "the collector");
    match tools.text(&call, deadline) {
        Ok(said) => Ok(Permission::Granted(identity(&said))),
        // It says on standard error when it could not ask, and on standard output when the answer was no.
        Err(Error::Failed { stderr, .. }) if !stderr.contains("ERROR") => Ok(Permission::Refused),
        Err(error) => Err(error),
    }
}

/// `… succeeded as ehos@testbed to local collector.`
fn identity(said: &str) -> String {
    let name = said.split_once(" as ").map_or("", |(_, rest)| rest);
    name.split_whitespace()
        .next()
        .unwrap_or("somebody")
        .to_owned()
}

/// A setting of this machine's HTCondor, as the daemon `subsystem` sees it; `None` when it is not defined.
pub fn setting(
    tools: &Tools,
    subsystem: &str,
    name: &str,
    deadline: Deadline,
) -> Result<Option<String>, Error> {
    let call = Call::new("condor_config_val", &["-subsystem", subsystem, name], name);
    match tools.text(&call, deadline) {
        Ok(value) => Ok(Some(value.trim().to_owned())),
        Err(Error::Failed { stderr, .. }) if stderr.contains("Not defined") => Ok(None),
        Err(error) => Err(error),
    }
}

/// How far the collector's clock is ahead of this machine's, to about five seconds.
pub fn clock_ahead(tools: &Tools, deadline: Deadline) -> Result<SignedDuration, Error> {
    let there = slots::clock(tools, deadline)?.now();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let here = now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    Ok(SignedDuration::from_secs(there.saturating_sub(here)))
}

/// The address that the collector of `pool` gives of itself, wherever it was reached: which collector it is.
/// `None` when it does not say.
pub fn collector_address(tools: &Tools, deadline: Deadline) -> Result<Option<String>, Error> {
    let args = ["-collector", "-af:t", "MyAddress"];
    let call = tools.to_pool(
        "condor_status",
        &args,
        tools.pool().unwrap_or("the collector"),
    );
    let said = tools.text(&call, deadline)?;
    let first = said.lines().next().unwrap_or_default();
    let address = first.rsplit('\t').next().unwrap_or_default().trim();
    Ok((!address.is_empty() && address != "undefined").then(|| address.to_owned()))
}

/// What a node says about itself that a drain depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSettings {
    /// `Machine`.
    pub machine: String,
    /// `EhosCluster`: the pool whose node it is.
    pub cluster: Option<String>,
    /// `MaxJobRetirementTime` in seconds: how long a drain waits for a job. `None` when it depends on the job.
    pub max_job_retirement_seconds: Option<i64>,
    /// `EhosUpdateInterval` in seconds.
    pub update_interval_seconds: Option<u64>,
    /// `EhosSlotUsers`: how many of its slots have a user of their own.
    pub slot_users: Option<u64>,
    /// `TotalSlotCpus`.
    pub cpus: Option<u64>,
}

/// The slots of all nodes that say which node of ehos they are.
pub fn nodes(tools: &Tools, deadline: Deadline) -> Result<Vec<NodeSettings>, Error> {
    let (machine, cluster) = (short_string("Machine"), short_string("EhosCluster"));
    let args = [
        "-constraint",
        "EhosNode =!= undefined && SlotType =!= \"Dynamic\"",
        "-af:tV",
        &machine,
        &cluster,
        "int(MaxJobRetirementTime)",
        "int(EhosUpdateInterval)",
        "int(EhosSlotUsers)",
        "int(TotalSlotCpus)",
    ];
    let call = tools.to_pool("condor_status", &args, "the collector");
    tools.run(&call, deadline, Vec::new(), |nodes, line| {
        // One that cannot be read is told by the tick, and costs no other.
        let Ok([machine, cluster, retirement, interval, slot_users, cpus]) = values(line) else {
            log::warn!("the ad of a node cannot be read: {}", excerpt(line));
            return Ok(());
        };
        nodes.push(NodeSettings {
            machine: string(machine).unwrap_or_else(|| "a machine without a name".to_owned()),
            cluster: string(cluster),
            max_job_retirement_seconds: integer(retirement),
            update_interval_seconds: amount(interval),
            slot_users: amount(slot_users),
            cpus: amount(cpus),
        });
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::fake::FakeTools;
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    fn ask(fake: &FakeTools) -> Result<Permission, Error> {
        let tools = Tools::new(fake.settings().bin, LIMIT);
        permission(&tools, "ADMINISTRATOR", Deadline::within(LIMIT))
    }

    #[test]
    fn a_node_whose_ad_cannot_be_read_costs_no_other() {
        let fake = FakeTools::new();
        fake.answer(
            "condor_status",
            "any",
            "out|\"n1\"\t{\nout|error\t\"c\"\terror\terror\terror\terror\nout|\"n2\"\t\"c\"\t3600\t30\t4\t4\nexit=0\n",
        );
        let tools = Tools::new(fake.settings().bin, LIMIT);
        let nodes = nodes(&tools, Deadline::within(LIMIT)).unwrap();
        let seen: Vec<_> = nodes
            .iter()
            .map(|node| (node.machine.as_str(), node.max_job_retirement_seconds))
            .collect();
        assert_eq!(
            seen,
            [("a machine without a name", None), ("n2", Some(3600))]
        );
    }

    #[test]
    fn a_right_is_granted_refused_or_not_known() {
        let fake = FakeTools::new();
        fake.answer(
            "condor_ping",
            "ADMINISTRATOR",
            "out|ADMINISTRATOR command using (AES, AES, and IDTOKENS) succeeded as ehos@testbed to local \
             collector.\nexit=0\n",
        );
        assert_eq!(
            ask(&fake).unwrap(),
            Permission::Granted("ehos@testbed".to_owned())
        );
        fake.answer(
            "condor_ping",
            "ADMINISTRATOR",
            "out|ADMINISTRATOR failed!  Use -verbose for more information.\nexit=1\n",
        );
        assert_eq!(ask(&fake).unwrap(), Permission::Refused);
        fake.answer(
            "condor_ping",
            "ADMINISTRATOR",
            "err|ERROR: failed to make connection to <127.0.0.1:1>\nexit=1\n",
        );
        assert!(ask(&fake).is_err());
    }
}
