//! The daemons of the central manager, as their ads say: collector, masters and negotiator.

use std::time::{Duration, Instant};

use scaling::observation::ForgedAd;
use scaling::sender::Sender;
use system::deadline::Deadline;

use super::{Asked, Clock, MAX_CYCLE, MAX_FORGED, query};
use crate::command::Tools;
use crate::error::Error;
use ads::answer::{amount, excerpt, integer, short_string, since, string, values};

/// The collector's own ad.
#[derive(Debug)]
pub(super) struct Collector {
    pub machine: Option<String>,
    pub clock: Clock,
    /// How long it has been counting what it does: since its start.
    pub lifetime: Option<u64>,
}

impl Collector {
    /// `COLLECTOR_StartTime` of the master beside it says since when, and so does its own count; the younger wins. A
    /// master whose sender the collector does not name counts only where there is no count. With neither it has just started.
    pub fn up_for(&self, masters: &[Master], now: i64) -> Duration {
        let lifetime = self.lifetime.map(Duration::from_secs);
        let by_master = masters
            .iter()
            .filter(|master| master.machine == self.machine)
            .filter(|master| lifetime.is_none() || master.sender != Sender::Unknown)
            .map(|master| since(now, master.start))
            .min();
        match (by_master, lifetime) {
            (Some(one), Some(other)) => one.min(other),
            (one, other) => one.or(other).unwrap_or_default(),
        }
    }
}

pub(super) fn own_ad(tools: &Tools, deadline: Deadline) -> Result<Collector, Error> {
    let expressions = [
        "int(StatsLastUpdateTime)".to_owned(),
        "int(StatsLifetime)".to_owned(),
        short_string("Machine"),
    ];
    // A collector can hold ads of others (a view collector, high availability); its own is the freshest.
    let found: Option<Collector> = query(
        tools,
        Asked::Collector,
        &["-collector"],
        &expressions,
        deadline,
        None,
        |own: &mut Option<Collector>, line| {
            // That of another may be anything.
            let Ok([clock, lifetime, machine]) = values(line) else {
                return Ok(());
            };
            if let Some(clock) = integer(clock)
                && own.as_ref().is_none_or(|own| own.clock.seconds < clock)
            {
                *own = Some(Collector {
                    machine: string(machine),
                    clock: Clock {
                        seconds: clock,
                        at: Instant::now(),
                    },
                    lifetime: amount(lifetime),
                });
            }
            Ok(())
        },
    )?;
    found.ok_or_else(|| Error::Unparsable {
        tool: "condor_status".to_owned(),
        about: "the collector".to_owned(),
        what: "it has no ad of the collector itself with its clock (StatsLastUpdateTime); see \
               condor_status -collector -long"
            .to_owned(),
    })
}

/// A master that runs a collector.
#[derive(Debug)]
pub(super) struct Master {
    pub machine: Option<String>,
    pub sender: Sender,
    /// When it started the collector.
    pub start: i64,
}

/// What the daemons of the central manager say.
#[derive(Debug, Default)]
pub(super) struct Daemons {
    pub masters: Vec<Master>,
    /// The longest time between the starts of the last two cycles of a negotiator.
    pub negotiation_period: Option<Duration>,
    /// When the last cycle that has ended began, of the negotiator of which that is longest ago.
    pub cycle_began: Option<i64>,
    /// `MyAddress` of a negotiator.
    pub negotiator: Option<String>,
    pub forged: Vec<ForgedAd>,
}

impl Daemons {
    pub fn add(&mut self, line: &str, identity: Option<&str>) {
        let (line, sender) = match line.rsplit_once('\t') {
            // The sender is the last of seven.
            Some((rest, sender)) if line.matches('\t').count() == 6 => (rest, string(sender)),
            _ => (line, None),
        };
        // One that cannot be read says nothing: the collector's own ad says how long it has been up, too.
        let Ok([kind, machine, start, period, cycle_began, address]) = values(line) else {
            log::warn!("the ad of a daemon cannot be read: {}", excerpt(line));
            return;
        };
        let machine = string(machine);
        let sender = Sender::of(sender.as_deref(), identity);
        let negotiates = string(kind).as_deref() == Some("Negotiator");
        // A node may advertise a master, and HTCondor takes a master's ad of any name and MyType.
        if sender.may_be_node() {
            let what = if negotiates {
                "a negotiator"
            } else {
                "the master of a collector"
            };
            self.leave_out(what, machine.as_deref(), &sender);
        } else if negotiates {
            let period = amount(period).map(Duration::from_secs);
            if period.is_some_and(|period| period > MAX_CYCLE) {
                self.forged.push(ForgedAd {
                    of: format!(
                        "negotiator on machine {}",
                        machine.as_deref().unwrap_or("unknown")
                    ),
                    why: format!(
                        "a negotiation cycle of {} s is longer than ehos believes, which counts it as {} s; see \
                         condor_status -negotiator -long",
                        period.unwrap_or_default().as_secs(),
                        MAX_CYCLE.as_secs()
                    ),
                });
            }
            let period = period.map(|period| period.min(MAX_CYCLE));
            self.negotiation_period = self.negotiation_period.max(period);
            self.negotiator = string(address).or(self.negotiator.take());
            let cycle_began = integer(cycle_began).filter(|began| *began > 0);
            self.cycle_began = [self.cycle_began, cycle_began].into_iter().flatten().min();
        } else if let Some(start) = integer(start) {
            self.masters.push(Master {
                machine,
                sender,
                start,
            });
        }
    }

    fn leave_out(&mut self, what: &str, machine: Option<&str>, sender: &Sender) {
        if self.forged.len() >= MAX_FORGED {
            return;
        }
        self.forged.push(ForgedAd {
            of: format!("{what} on machine {}", machine.unwrap_or("unknown")),
            why: format!(
                "the collector received this ad from {sender}, which runs none: ehos leaves the ad out; look at that node, \
                 and revoke its token"
            ),
        });
    }
}

pub(super) fn daemons(
    tools: &Tools,
    identity: Option<&str>,
    deadline: Deadline,
) -> Result<Daemons, Error> {
    query(
        tools,
        Asked::Collector,
        &[
            "-any",
            "-constraint",
            "(MyType == \"DaemonMaster\" && COLLECTOR_StartTime =!= undefined) || MyType == \"Negotiator\"",
        ],
        &[
            short_string("MyType"),
            short_string("Machine"),
            "int(COLLECTOR_StartTime)".to_owned(),
            "int(LastNegotiationCyclePeriod0)".to_owned(),
            "int(LastNegotiationCycleTime0)".to_owned(),
            short_string("MyAddress"),
            short_string("AuthenticatedIdentity"),
        ],
        deadline,
        Daemons::default(),
        |daemons: &mut Daemons, line| {
            daemons.add(line, identity);
            Ok(())
        },
    )
}
