//! What the collector knows: the startds of the pool, and how long it has been listening to them.
//!
//! Three calls at the same time: the partitionable and static slots (dynamic ones are counted in their parents), the
//! collector's own ad, and the ads of its master and of the negotiator.
//!
//! Clocks: the collector brings the statistics in its own ad up to date every COLLECTOR_UPDATE_INTERVAL (only as seen
//! with `condor_status -collector`, not with `-any`), so `StatsLastUpdateTime` there is the collector's clock, so much
//! old at most: 5 s with `configs/master.yaml`, 900 s by default. A `LastHeardFrom` that is later, which it stamps too,
//! corrects that. A startd's own times are compared with the `MyCurrentTime` of the same ad, and the time since that ad
//! came is added.

mod daemons;

mod jobs;

use daemons::{daemons, own_ad};
pub(crate) use jobs::running;
use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use super::command::{Call, Tools};
use super::error::Error;
use ads::answer::{quoted, since};
use ads::startds::Startds;
use ads::startds::slot::Slot;
use scaling::action::StartdIdentity;
use scaling::job_names::MachineJobs;
use scaling::observation::{CollectorView, StartdView};
use scaling::sender::Sender;
use system::deadline::Deadline;
use system::threads::{joined, spawn};

/// The longest negotiation cycle that ehos believes.
const MAX_CYCLE: Duration = Duration::from_secs(3600);

/// More ads of daemons than these are left out without their names.
const MAX_FORGED: usize = 10;

/// The collector's clock, as it was at some moment of ours.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    seconds: i64,
    at: Instant,
}

impl Clock {
    /// Seconds since 1970.
    pub(super) fn now(self) -> i64 {
        let elapsed = i64::try_from(self.at.elapsed().as_secs()).unwrap_or(i64::MAX);
        self.seconds.saturating_add(elapsed)
    }

    /// What it is at least, where it has stamped these. It is no more than a day behind: what says that is wrong.
    fn now_after(self, startds: &Startds) -> i64 {
        let now = self.now();
        let stamps = startds.heard();
        let stamps = stamps.filter(|heard| *heard <= now.saturating_add(86_400));
        now.max(stamps.max().unwrap_or(i64::MIN))
    }
}

/// The answers of a collector.
pub(super) struct Collected {
    pub view: CollectorView,
    pub clock: Clock,
    /// `MyAddress` of the negotiator.
    pub negotiator: Option<String>,
    /// Running jobs by machine; `None` if a node does not list its own.
    pub jobs: Option<BTreeMap<String, MachineJobs>>,
}

/// Asks the collector of `pool`, or of this machine's configuration: all of it, or an error.
/// `identity` is the one that the tokens of nodes have (`condor.token_identity`). With `several` schedds, a job has the name of
/// its schedd.
pub(super) fn observe(
    tools: &Tools,
    identity: Option<&str>,
    several: bool,
    deadline: Deadline,
) -> Result<Collected, Error> {
    let (clock, daemons, startds) = thread::scope(|scope| {
        let clock = spawn(scope, || own_ad(tools, deadline));
        let daemons = spawn(scope, || daemons(tools, identity, deadline));
        let startds = startds(tools, Asked::Collector, NODES, identity, deadline);
        (joined(clock), joined(daemons), startds)
    });
    let (collector, daemons, startds) = (clock?, daemons?, startds?);
    let now = collector.clock.now_after(&startds);
    let up_for = collector.up_for(&daemons.masters, now);
    let clock = Clock {
        seconds: now,
        at: Instant::now(),
    };
    let jobs = jobs::listed(&startds, several);
    let (startds, unreadable) = startds.views(now);
    let view = CollectorView {
        up_for,
        negotiation_period: daemons.negotiation_period,
        cycle_began: daemons.cycle_began.map(|began| since(now, began)),
        startds,
        unreadable,
        forged: daemons.forged,
    };
    Ok(Collected {
        view,
        clock,
        negotiator: daemons.negotiator,
        jobs,
    })
}

/// The startds that `startd` may be, in one call.
pub(super) fn look(
    tools: &Tools,
    identity: Option<&str>,
    startd: &StartdIdentity,
    clock: Clock,
    deadline: Deadline,
) -> Result<Vec<StartdView>, Error> {
    let is = |(name, value): (&str, &str)| format!("{name} =?= {}", quoted(value));
    let known = [
        Some(("EhosNode", startd.node.0.as_str())),
        startd
            .server_id
            .as_deref()
            .map(|id| ("CloudInstanceID", id)),
        startd.machine.as_deref().map(|name| ("Machine", name)),
    ];
    let which: Vec<String> = known.into_iter().flatten().map(is).collect();
    let constraint = format!("{NODES} && ({})", which.join(" || "));
    let startds = startds(tools, Asked::Collector, &constraint, identity, deadline)?;
    let now = clock.now_after(&startds);
    Ok(startds.views(now).0)
}

/// The startd at this address, as it says itself.
pub(super) fn ask(
    tools: &Tools,
    address: &str,
    deadline: Deadline,
) -> Result<Vec<StartdView>, Error> {
    // Nodes cannot check who asks: the key of the pool is not theirs. To read is free (SEC_READ_AUTHENTICATION = OPTIONAL),
    // but for a client that insists on a proof.
    let mut tools = tools.clone();
    for setting in [
        "_CONDOR_SEC_CLIENT_AUTHENTICATION",
        "_CONDOR_SEC_CLIENT_ENCRYPTION",
        "_CONDOR_SEC_CLIENT_INTEGRITY",
    ] {
        tools = tools.with(setting, "OPTIONAL");
    }
    let startds = startds(&tools, Asked::Startd(address), NODES, None, deadline)?;
    // It has just said so.
    let now = startds.heard().max();
    let (mut said, _) = startds.views(now.unwrap_or_default());
    for startd in &mut said {
        startd.heard_ago = Duration::ZERO;
        // The startd may say anything here.
        startd.sender = Sender::Unknown;
    }
    Ok(said)
}

/// The collector's clock.
pub(super) fn clock(tools: &Tools, deadline: Deadline) -> Result<Clock, Error> {
    Ok(own_ad(tools, deadline)?.clock)
}

/// Dynamic slots are counted in their parents. A machine that sleeps (condor_rooster) has an ad that the collector keeps for
/// it: nobody has heard of it, and what it offers is not there.
const NODES: &str = "SlotType =!= \"Dynamic\" && Offline =!= true";

/// Who is asked.
#[derive(Clone, Copy)]
enum Asked<'a> {
    Collector,
    /// The startd at this address.
    Startd(&'a str),
}

fn query<A, E: AsRef<str>>(
    tools: &Tools,
    asked: Asked<'_>,
    args: &[&str],
    expressions: &[E],
    deadline: Deadline,
    answer: A,
    line: impl FnMut(&mut A, &str) -> Result<(), String>,
) -> Result<A, Error> {
    let mut all = Vec::with_capacity(args.len() + expressions.len() + 3);
    let about = match asked {
        Asked::Collector => match tools.pool() {
            Some(pool) => {
                all.extend(["-pool", pool]);
                format!("collector {pool}")
            }
            None => "the collector".to_owned(),
        },
        Asked::Startd(address) => {
            all.extend(["-direct", address]);
            format!("the startd at {address}")
        }
    };
    all.extend(args);
    // Strings in quotes.
    all.push("-af:tV");
    all.extend(expressions.iter().map(AsRef::as_ref));
    let call = Call::new("condor_status", &all, &about);
    tools.run(&call, deadline, answer, line)
}

/// Startds whose slots `constraint` leaves. An ad that cannot be read costs itself alone; where none can be read, this is no
/// answer.
fn startds(
    tools: &Tools,
    asked: Asked<'_>,
    constraint: &str,
    identity: Option<&str>,
    deadline: Deadline,
) -> Result<Startds, Error> {
    let mut startds = query(
        tools,
        asked,
        &["-constraint", constraint],
        &Slot::expressions(),
        deadline,
        Startds::default(),
        |startds: &mut Startds, line| {
            startds.add(line, identity);
            Ok(())
        },
    )?;
    match startds.no_answer.take() {
        Some(what) if startds.slots.is_empty() => Err(Error::Unparsable {
            tool: "condor_status".to_owned(),
            about: match asked {
                Asked::Collector => "the collector".to_owned(),
                Asked::Startd(address) => format!("the startd at {address}"),
            },
            what,
        }),
        _ => Ok(startds),
    }
}

#[cfg(test)]
mod tests {
    use super::daemons::{Collector, Daemons};
    use super::*;

    #[test]
    fn a_stamp_of_another_age_makes_nobody_silent() {
        let clock = Clock {
            seconds: 1000,
            at: Instant::now(),
        };
        let mut startds = Startds::default();
        let columns = "\"Partitionable\"\t\t\tundefined\t\"Unclaimed\"\t\"Idle\"\tfalse\tfalse\t\t\t4\t4096\t1000\t0\t4\t4096\t1000\t0\t0\t100\tundefined\t90\t150";
        for (machine, heard) in [("n1", "1010"), ("n2", "9000000000000000000")] {
            let line = format!("\"{machine}\"\t\"slot1@{machine}\"\t{columns}\t{heard}");
            startds.add(&line, None);
        }
        assert_eq!(startds.heard().count(), 2);
        let now = clock.now_after(&startds);
        assert!((1010..1020).contains(&now), "{now}");
    }

    #[test]
    fn a_node_speaks_for_no_daemon_of_the_central_manager() {
        let of_node = [
            "\"execute@testbed\"",
            "\"execute-20261129t090000-01@testbed\"",
            "\"worker@testbed\"",
        ];
        let mut daemons = Daemons::default();
        for sender in of_node {
            for kind in ["DaemonMaster", "Negotiator"] {
                let line = format!("\"{kind}\"\t\"cm\"\t990\t100000000\t990\t\"<n>\"\t{sender}");
                daemons.add(&line, Some("worker@testbed"));
            }
        }
        assert_eq!(daemons.forged.len(), 6);
        assert!(daemons.forged[1].of.contains("negotiator on machine cm"));
        assert!((daemons.masters.is_empty(), daemons.negotiation_period) == (true, None));
        // One that is as slow as that, whoever sent it.
        daemons.add(
            "\"Negotiator\"\t\"cm\"\tundefined\t100000000\t990\t\"<cm>\"\t\"condor@family\"",
            None,
        );
        assert_eq!(daemons.negotiation_period, Some(MAX_CYCLE));
        assert_eq!(
            (daemons.cycle_began, daemons.negotiator.as_deref()),
            (Some(990), Some("<cm>"))
        );
        assert_eq!(daemons.forged.len(), 7);
        for _ in 0..100 {
            daemons.add(
                "\"Negotiator\"\t\"cm\"\t1\t1\t1\t\"<n>\"\t\"execute@x\"",
                None,
            );
        }
        assert_eq!(daemons.forged.len(), MAX_FORGED);
        // Those of its own are believed; those of nobody only where the collector does not count.
        let collector = |lifetime| Collector {
            machine: Some("cm".to_owned()),
            clock: Clock {
                seconds: 1000,
                at: Instant::now(),
            },
            lifetime,
        };
        daemons.add(
            "\"DaemonMaster\"\t\"cm\"\t900\t\t\t\t\"condor@family\"",
            None,
        );
        let up = |lifetime, daemons: &Daemons| collector(lifetime).up_for(&daemons.masters, 1000);
        assert_eq!(up(Some(500), &daemons), Duration::from_secs(100));
        let mut unnamed = Daemons::default();
        unnamed.add("\"DaemonMaster\"\t\"cm\"\t999\t\t\t\tundefined", None);
        unnamed.add("\"DaemonMaster\"\t\"cm\"\t998\t", None);
        assert_eq!(up(Some(500), &unnamed), Duration::from_secs(500));
        assert_eq!(up(None, &unnamed), Duration::from_secs(1));
    }
}
