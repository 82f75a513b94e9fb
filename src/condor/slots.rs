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

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use super::answer::{amount, excerpt, integer, quoted, string, values};
use super::command::{Call, Tools};
use super::error::Error;
use crate::deadline::Deadline;
use crate::scaling::action::StartdIdentity;
use crate::scaling::observation::{
    CollectorView, DrainView, NodeId, Resources, SlotView, StartdView,
};

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

    /// What it is at least, where it has stamped these.
    fn now_after(self, machines: &BTreeMap<StartdKey, Machine>) -> i64 {
        let stamps = machines.values().flat_map(|machine| &machine.slots);
        self.now()
            .max(stamps.map(|slot| slot.heard).max().unwrap_or(i64::MIN))
    }
}

/// Asks the collector of `pool`, or of this machine's configuration: all of it, or an error. With it comes its clock.
pub(super) fn observe(
    tools: &Tools,
    pool: Option<&str>,
    deadline: Deadline,
) -> Result<(CollectorView, Clock), Error> {
    let (clock, daemons, machines) = thread::scope(|scope| {
        let clock = scope.spawn(|| own_ad(tools, pool, deadline));
        let daemons = scope.spawn(|| daemons(tools, pool, deadline));
        let machines = machines(tools, pool, NOT_DYNAMIC, deadline);
        (join(clock), join(daemons), machines)
    });
    let (collector, daemons, machines) = (clock?, daemons?, machines?);
    let now = collector.clock.now_after(&machines);
    let up_for = collector.up_for(&daemons.masters, now);
    let clock = Clock {
        seconds: now,
        at: Instant::now(),
    };
    let view = CollectorView {
        up_for,
        negotiation_period: daemons.negotiation_period,
        startds: machines
            .into_iter()
            .map(|(key, machine)| machine.view(key.machine, now))
            .collect(),
    };
    Ok((view, clock))
}

/// The startds that `startd` may be, in one call.
pub(super) fn look(
    tools: &Tools,
    pool: Option<&str>,
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
    let constraint = format!("{NOT_DYNAMIC} && ({})", which.join(" || "));
    let machines = machines(tools, pool, &constraint, deadline)?;
    let now = clock.now_after(&machines);
    Ok(machines
        .into_iter()
        .map(|(key, machine)| machine.view(key.machine, now))
        .collect())
}

/// The collector's clock.
pub(super) fn clock(tools: &Tools, pool: Option<&str>, deadline: Deadline) -> Result<Clock, Error> {
    Ok(own_ad(tools, pool, deadline)?.clock)
}

/// Dynamic slots are counted in their parents.
const NOT_DYNAMIC: &str = "SlotType =!= \"Dynamic\"";

fn join<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    match thread.join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn ask<A>(
    tools: &Tools,
    pool: Option<&str>,
    args: &[&str],
    expressions: &[&str],
    deadline: Deadline,
    answer: A,
    line: impl FnMut(&mut A, &str) -> Result<(), String>,
) -> Result<A, Error> {
    let mut all = Vec::with_capacity(args.len() + expressions.len() + 3);
    if let Some(pool) = pool {
        all.extend(["-pool", pool]);
    }
    all.extend(args);
    all.push("-af:t");
    all.extend(expressions);
    let about = match pool {
        Some(pool) => format!("collector {pool}"),
        None => "the collector".to_owned(),
    };
    let call = Call {
        tool: "condor_status",
        args: &all,
        stdin: "",
        about: &about,
    };
    tools.run(&call, deadline, answer, line)
}

/// The collector's own ad.
#[derive(Debug)]
struct Collector {
    machine: Option<String>,
    /// Its clock.
    clock: Clock,
    /// How long it has been counting what it does: since its start.
    lifetime: Option<u64>,
}

impl Collector {
    /// `COLLECTOR_StartTime` of the master beside it says since when, and so does its own count; the younger wins.
    /// With neither it has just started.
    fn up_for(&self, masters: &[(Option<String>, i64)], now: i64) -> Duration {
        let by_master = masters
            .iter()
            .filter(|(machine, _)| *machine == self.machine)
            .map(|(_, start)| since(now, *start))
            .min();
        match (by_master, self.lifetime.map(Duration::from_secs)) {
            (Some(one), Some(other)) => one.min(other),
            (one, other) => one.or(other).unwrap_or_default(),
        }
    }
}

fn own_ad(tools: &Tools, pool: Option<&str>, deadline: Deadline) -> Result<Collector, Error> {
    let expressions = [
        "int(StatsLastUpdateTime)",
        "int(StatsLifetime)",
        "unparse(Machine)",
    ];
    // A collector can hold ads of others (a view collector, high availability); its own is the freshest.
    let found: Option<Collector> = ask(
        tools,
        pool,
        &["-collector"],
        &expressions,
        deadline,
        None,
        |own: &mut Option<Collector>, line| {
            let [clock, lifetime, machine] = values(line)?;
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

/// What the daemons of the central manager say.
#[derive(Debug, Default)]
struct Daemons {
    /// The masters that run a collector, with when they started it.
    masters: Vec<(Option<String>, i64)>,
    /// The longest time between the starts of the last two cycles of a negotiator.
    negotiation_period: Option<Duration>,
}

fn daemons(tools: &Tools, pool: Option<&str>, deadline: Deadline) -> Result<Daemons, Error> {
    ask(
        tools,
        pool,
        &[
            "-any",
            "-constraint",
            "(MyType == \"DaemonMaster\" && COLLECTOR_StartTime =!= undefined) || MyType == \"Negotiator\"",
        ],
        &[
            "unparse(MyType)",
            "unparse(Machine)",
            "int(COLLECTOR_StartTime)",
            "int(LastNegotiationCyclePeriod0)",
        ],
        deadline,
        Daemons::default(),
        |daemons, line| {
            let [kind, machine, start, period] = values(line)?;
            if string(kind).as_deref() == Some("Negotiator") {
                let period = amount(period).map(Duration::from_secs);
                daemons.negotiation_period = daemons.negotiation_period.max(period);
            } else if let Some(start) = integer(start) {
                daemons.masters.push((string(machine), start));
            }
            Ok(())
        },
    )
}

fn machines(
    tools: &Tools,
    pool: Option<&str>,
    constraint: &str,
    deadline: Deadline,
) -> Result<BTreeMap<StartdKey, Machine>, Error> {
    ask(
        tools,
        pool,
        &["-constraint", constraint],
        &Slot::EXPRESSIONS,
        deadline,
        BTreeMap::new(),
        |machines: &mut BTreeMap<StartdKey, Machine>, line| {
            let slot = Slot::read(line)?;
            machines.entry(slot.startd()).or_default().add(slot);
            Ok(())
        },
    )
}

/// How long before `now` something was; nothing for the future, and for the never.
fn since(now: i64, then: i64) -> Duration {
    Duration::from_secs(u64::try_from(now.saturating_sub(then)).unwrap_or(0))
}

/// One partitionable or static slot as the collector has it.
#[derive(Debug)]
struct Slot {
    machine: String,
    name: String,
    instance_id: Option<String>,
    node: Option<String>,
    update_interval: Option<u64>,
    total: Resources,
    free: Resources,
    claims: u64,
    accepts_jobs: bool,
    /// `Drained` and `Idle`.
    drained: bool,
    /// Reason and request id.
    draining: Option<(String, String)>,
    /// On the collector's clock.
    heard: i64,
    /// The following on the startd's clock.
    sent: i64,
    started: Option<i64>,
    unchanged_since: Option<i64>,
}

impl Slot {
    const EXPRESSIONS: [&'static str; 26] = [
        "unparse(Machine)",
        "unparse(Name)",
        "unparse(SlotType)",
        "unparse(CloudInstanceID)",
        "unparse(EhosNode)",
        "int(EhosUpdateInterval)",
        "unparse(State)",
        "unparse(Activity)",
        // Undefined where it depends on the job.
        "Start =?= false",
        "Draining =?= true",
        "unparse(DrainReason)",
        "unparse(DrainingRequestId)",
        "int(TotalSlotCpus)",
        "int(TotalSlotMemory)",
        "int(TotalSlotDisk)",
        "int(TotalSlotGPUs)",
        "int(Cpus)",
        "int(Memory)",
        "int(Disk)",
        "int(GPUs)",
        "int(NumDynamicSlots)",
        // Of a partitionable slot; a static one changes with its state.
        "int(ifThenElse(SlotType =?= \"Partitionable\", NumDynamicSlotsTime, EnteredCurrentState))",
        "int(LastDrainStopTime)",
        "int(DaemonStartTime)",
        "int(MyCurrentTime)",
        "int(LastHeardFrom)",
    ];

    fn startd(&self) -> StartdKey {
        StartdKey {
            machine: self.machine.clone(),
            instance_id: self.instance_id.clone(),
            node: self.node.clone(),
        }
    }

    fn read(line: &str) -> Result<Slot, String> {
        let [
            machine,
            name,
            kind,
            instance_id,
            node,
            update_interval,
            state,
            activity,
            start_is_false,
            draining,
            reason,
            request_id,
            total_cpus,
            total_memory,
            total_disk,
            total_gpus,
            cpus,
            memory,
            disk,
            gpus,
            dynamic_slots,
            changed,
            drain_stopped,
            started,
            sent,
            heard,
        ] = values(line)?;
        let wrong = |what: &str| format!("a slot without {what}: {}", excerpt(line));
        let name = string(name).ok_or_else(|| wrong("Name"))?;
        let heard = integer(heard).ok_or_else(|| wrong("LastHeardFrom"))?;
        let machine = match string(machine) {
            Some(machine) => machine,
            None => name.rsplit('@').next().unwrap_or(&name).to_owned(),
        };
        let resources = |cpus, memory, disk, gpus| {
            Some(Resources {
                cpus: amount(cpus)?,
                memory_mb: amount(memory)?,
                disk_kb: amount(disk)?,
                // Absent where none were discovered.
                gpus: amount(gpus).unwrap_or(0),
            })
        };
        let state = string(state).unwrap_or_default();
        let partitionable = string(kind).as_deref() == Some("Partitionable");
        let claimed = !matches!(state.as_str(), "Unclaimed" | "Owner" | "Drained");
        let total = resources(total_cpus, total_memory, total_disk, total_gpus);
        let left = resources(cpus, memory, disk, gpus);
        let claims = if partitionable {
            amount(dynamic_slots).map(|slots| slots.saturating_add(u64::from(claimed)))
        } else {
            Some(u64::from(claimed))
        };
        // An ad that does not say what there is, or whether it is in use, offers nothing and counts as in use.
        let (total, free, claims) = match (total, left, claims) {
            (Some(total), Some(_), Some(claims)) if claimed => {
                (total, Resources::default(), claims)
            }
            (Some(total), Some(left), Some(claims)) => (total, left, claims),
            (total, _, claims) => {
                log::warn!(
                    "the ad of {name} is incomplete: it counts as claimed and offers nothing"
                );
                (
                    total.unwrap_or_default(),
                    Resources::default(),
                    claims.unwrap_or(0).max(1),
                )
            }
        };
        Ok(Slot {
            instance_id: string(instance_id),
            node: string(node),
            update_interval: amount(update_interval),
            total,
            free,
            claims,
            accepts_jobs: start_is_false != "true" && state != "Owner",
            drained: state == "Drained" && string(activity).as_deref() == Some("Idle"),
            draining: (draining == "true").then(|| {
                (
                    string(reason).unwrap_or_default(),
                    string(request_id).unwrap_or_default(),
                )
            }),
            heard,
            sent: integer(sent).unwrap_or(heard),
            started: integer(started),
            unchanged_since: integer(changed)
                .max(integer(drain_stopped))
                .max(integer(started)),
            machine,
            name,
        })
    }
}

/// What tells startds apart: two machines can have one host name.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct StartdKey {
    machine: String,
    instance_id: Option<String>,
    node: Option<String>,
}

/// The slots of one startd.
#[derive(Debug, Default)]
struct Machine {
    slots: Vec<Slot>,
}

impl Machine {
    fn add(&mut self, slot: Slot) {
        self.slots.push(slot);
    }

    fn view(self, machine: String, now: i64) -> StartdView {
        let ago = |slot: &Slot| since(now, slot.heard);
        let first = |take: fn(&Slot) -> Option<&String>| self.slots.iter().find_map(take).cloned();
        let drain = self.slots.iter().find_map(|slot| slot.draining.clone());
        let complete = self
            .slots
            .iter()
            .all(|slot| slot.drained && slot.claims == 0);
        StartdView {
            instance_id: first(|slot| slot.instance_id.as_ref()),
            node: first(|slot| slot.node.as_ref()).map(NodeId),
            heard_ago: self.slots.iter().map(ago).min().unwrap_or_default(),
            update_interval: self
                .slots
                .iter()
                .find_map(|slot| slot.update_interval)
                .map(Duration::from_secs),
            up_for: self
                .slots
                .iter()
                .filter_map(|slot| Some(since(slot.sent, slot.started?) + ago(slot)))
                .min()
                .unwrap_or_default(),
            draining: drain.map(|(reason, request_id)| DrainView {
                reason,
                request_id,
                complete,
            }),
            slots: self
                .slots
                .iter()
                .map(|slot| SlotView {
                    name: slot.name.clone(),
                    total: slot.total,
                    free: slot.free,
                    claims: slot.claims,
                    accepts_jobs: slot.accepts_jobs,
                    unchanged_for: slot
                        .unchanged_since
                        .map_or(Duration::ZERO, |then| since(slot.sent, then) + ago(slot)),
                })
                .collect(),
            machine,
        }
    }
}

/// What tests/fuzz reads: the slots in `text`, whatever it is.
#[cfg(fuzzing)]
pub fn read_anything(text: &str) -> Vec<StartdView> {
    let mut machines: BTreeMap<StartdKey, Machine> = BTreeMap::new();
    for slot in text.lines().filter_map(|line| Slot::read(line).ok()) {
        machines.entry(slot.startd()).or_default().add(slot);
    }
    let latest = machines.values().flat_map(|machine| &machine.slots);
    let now = latest.map(|slot| slot.heard).max().unwrap_or(0);
    let views = machines.into_iter();
    views
        .map(|(key, machine)| machine.view(key.machine, now))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A slot line with some values other than those of an idle partitionable slot.
    fn line(changes: &[(usize, &str)]) -> String {
        let mut values = [
            "\"n1\"",
            "\"slot1@n1\"",
            "\"Partitionable\"",
            "",
            "",
            "undefined",
            "\"Unclaimed\"",
            "\"Idle\"",
            "false",
            "false",
            "",
            "",
            "4",
            "4096",
            "1000",
            "0",
            "4",
            "4096",
            "1000",
            "0",
            "0",
            "100",
            "undefined",
            "90",
            "150",
            "200",
        ];
        for (index, value) in changes {
            values[*index] = value;
        }
        values.join("\t")
    }

    fn view(lines: &[String], now: i64) -> StartdView {
        let mut machine = Machine::default();
        for line in lines {
            machine.add(Slot::read(line).unwrap());
        }
        machine.view("n1".to_owned(), now)
    }

    #[test]
    fn ages_are_of_the_clock_that_stamped_them() {
        // The startd's clock is 50 s behind the collector's.
        let view = view(&[line(&[])], 230);
        assert_eq!(view.heard_ago, Duration::from_secs(30));
        assert_eq!(view.up_for, Duration::from_secs(60 + 30));
        assert_eq!(view.idle_for(), Some(Duration::from_secs(50 + 30)));
    }

    #[test]
    fn a_drain_that_was_taken_back_starts_idleness_anew() {
        let view = view(&[line(&[(22, "140")])], 200);
        assert_eq!(view.idle_for(), Some(Duration::from_secs(10)));
    }

    #[test]
    fn a_claimed_slot_offers_nothing() {
        let slot = |state: &str| Slot::read(&line(&[(2, "\"Static\""), (6, state)])).unwrap();
        for state in [
            "\"Claimed\"",
            "\"Preempting\"",
            "\"Matched\"",
            "\"new\"",
            "",
        ] {
            let slot = slot(state);
            assert_eq!(
                (slot.claims, slot.free),
                (1, Resources::default()),
                "{state}"
            );
        }
        assert_eq!(slot("\"Unclaimed\"").claims, 0);
        assert!(!slot("\"Owner\"").accepts_jobs);
        assert_eq!(slot("\"Owner\"").claims, 0);
    }

    #[test]
    fn a_slot_that_does_not_say_counts_as_claimed() {
        for index in [13, 17, 20] {
            let slot = Slot::read(&line(&[(index, "undefined")])).unwrap();
            assert_eq!(
                (slot.claims, slot.free),
                (1, Resources::default()),
                "{index}"
            );
        }
        assert!(Slot::read(&line(&[(1, "")])).is_err(), "no name");
        assert!(
            Slot::read(&line(&[(25, "undefined")])).is_err(),
            "not stamped"
        );
        assert_eq!(Slot::read(&line(&[(0, "")])).unwrap().machine, "n1");
    }

    #[test]
    fn a_drain_is_over_when_every_slot_is_drained() {
        let drained = [
            (2, "\"Static\""),
            (6, "\"Drained\""),
            (9, "true"),
            (10, "\"ours\""),
            (11, "\"7\""),
        ];
        let retiring = [
            (2, "\"Static\""),
            (6, "\"Claimed\""),
            (7, "\"Retiring\""),
            (9, "true"),
        ];
        let both = view(&[line(&drained), line(&drained)], 200)
            .draining
            .unwrap();
        assert!(both.complete);
        assert_eq!(
            (both.reason.as_str(), both.request_id.as_str()),
            ("ours", "7")
        );
        assert!(
            !view(&[line(&drained), line(&retiring)], 200)
                .draining
                .unwrap()
                .complete
        );
        // Not yet drained, or drained above jobs that go on.
        let idle = [(2, "\"Static\""), (9, "true")];
        assert!(
            !view(&[line(&drained), line(&idle)], 200)
                .draining
                .unwrap()
                .complete
        );
        let above = [(6, "\"Drained\""), (9, "true"), (20, "1")];
        assert!(!view(&[line(&above)], 200).draining.unwrap().complete);
    }

    proptest! {
        #[test]
        fn garbage_does_not_panic(text in ".*", index in 0usize..26, value in "[^\t]*", now: i64) {
            let _ = Slot::read(&text);
            if let Ok(slot) = Slot::read(&line(&[(index, &value)])) {
                let mut machine = Machine::default();
                machine.add(slot);
                let _ = machine.view("n1".to_owned(), now);
            }
        }

        #[test]
        fn no_number_is_too_large(index in 12usize..26, value: i64, now: i64) {
            let _ = view(&[line(&[]), line(&[(index, &value.to_string()), (5, "1")])], now);
        }
    }
}
