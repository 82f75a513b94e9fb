//! One slot: its columns, and how a line of them is read.

use scaling::observation::{Resources, SlotView, UnreadableAd};

use super::super::answer::amount;
use super::super::answer::integer;
use super::super::answer::readable_string;
use super::super::answer::short_string;
use super::super::answer::string;
use super::super::answer::values;
use super::since;
use std::time::Duration;

/// One partitionable or static slot as the collector has it.
#[derive(Debug)]
pub(super) struct Slot {
    pub machine: Option<String>,
    pub name: Option<String>,
    pub instance_id: Option<String>,
    pub node: Option<String>,
    pub address: Option<String>,
    pub sender: Option<String>,
    pub update_interval: Option<u64>,
    total: Resources,
    pub free: Resources,
    pub claims: u64,
    pub accepts_jobs: bool,
    /// `Drained` and `Idle`.
    pub drained: bool,
    /// Reason and request id.
    pub draining: Option<(String, String)>,
    /// On the collector's clock; `None`, which counts as now, where that cannot be read.
    pub heard: Option<i64>,
    /// The following on the startd's clock.
    pub sent: Option<i64>,
    pub started: Option<i64>,
    /// From start to ad.
    pub up_for: Option<Duration>,
    unchanged_since: Option<i64>,
    /// The attributes that cannot be read, or must be there and are not: it counts as claimed then.
    pub wrong: Vec<&'static str>,
}

/// Reads the values of an ad, and keeps in mind which it could not.
#[derive(Default)]
pub(super) struct Values {
    pub wrong: Vec<&'static str>,
}

impl Values {
    pub fn string(&mut self, attribute: &'static str, value: &str) -> Option<String> {
        readable_string(value).unwrap_or_else(|()| self.is_wrong(attribute))
    }

    pub fn integer(&mut self, attribute: &'static str, value: &str) -> Option<i64> {
        match value {
            "undefined" | "" => None,
            value => integer(value).or_else(|| self.is_wrong(attribute)),
        }
    }

    pub fn amount(&mut self, attribute: &'static str, value: &str) -> Option<u64> {
        match value {
            "undefined" | "" => None,
            value => amount(value).or_else(|| self.is_wrong(attribute)),
        }
    }

    fn needed(&mut self, attribute: &'static str, value: &str) -> u64 {
        amount(value).unwrap_or_else(|| {
            self.is_wrong::<()>(attribute);
            0
        })
    }

    fn resources(&mut self, attributes: [&'static str; 4], values: [&str; 4]) -> Resources {
        let [cpus, memory, disk, gpus] = attributes;
        let [cpus_value, memory_value, disk_value, gpus_value] = values;
        Resources {
            cpus: self.needed(cpus, cpus_value),
            memory_mb: self.needed(memory, memory_value),
            disk_kb: self.needed(disk, disk_value),
            // Absent where none were discovered.
            gpus: self.amount(gpus, gpus_value).unwrap_or(0),
        }
    }

    fn boolean(&mut self, attribute: &'static str, value: &str) -> bool {
        if !matches!(value, "true" | "false") {
            self.is_wrong::<()>(attribute);
        }
        value == "true"
    }

    fn must_be(&mut self, attribute: &'static str, there: bool) {
        if !there && !self.wrong.contains(&attribute) {
            self.wrong.push(attribute);
        }
    }

    fn is_wrong<T>(&mut self, attribute: &'static str) -> Option<T> {
        self.wrong.push(attribute);
        None
    }
}

impl Slot {
    pub fn expressions() -> Vec<String> {
        let int = |attribute: &str| format!("int({attribute})");
        let mut all = Vec::with_capacity(28);
        let strings = ["Machine", "Name", "SlotType", "CloudInstanceID", "EhosNode"];
        all.extend(strings.map(short_string));
        all.push(int("EhosUpdateInterval"));
        all.extend(["State", "Activity"].map(short_string));
        // Undefined where it depends on the job; what is neither true nor false is no leave to start one.
        all.push(
            "Start =?= false || isList(Start) || isClassad(Start) || isString(Start)".to_owned(),
        );
        all.push(
            "ifThenElse(isBoolean(Draining) || isUndefined(Draining), Draining =?= true, error)"
                .to_owned(),
        );
        all.extend(["DrainReason", "DrainingRequestId"].map(short_string));
        all.extend(
            [
                "TotalSlotCpus",
                "TotalSlotMemory",
                "TotalSlotDisk",
                "TotalSlotGPUs",
            ]
            .map(int),
        );
        all.extend(["Cpus", "Memory", "Disk", "GPUs", "NumDynamicSlots"].map(int));
        // Of a partitionable slot; a static one changes with its state.
        all.push(int(
            "ifThenElse(SlotType =?= \"Partitionable\", NumDynamicSlotsTime, EnteredCurrentState)",
        ));
        let times = [
            "LastDrainStopTime",
            "DaemonStartTime",
            "MyCurrentTime",
            "LastHeardFrom",
        ];
        all.extend(times.map(int));
        all.extend(["MyAddress", "AuthenticatedIdentity"].map(short_string));
        all
    }

    /// The slot of a line; an error where it is no line of an answer.
    pub fn read<'l>(line: &'l str) -> Result<Slot, String> {
        let last_of = |count: usize, line: &'l str| match line.rsplit_once('\t') {
            Some((rest, last)) if line.matches('\t').count() + 1 == count => (rest, last),
            _ => (line, ""),
        };
        let (line, sender) = last_of(28, line);
        let (line, address) = last_of(27, line);
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
        let mut ad = Values::default();
        let name = ad.string("Name", name);
        let machine = ad.string("Machine", machine).or_else(|| {
            let name = name.as_deref()?;
            Some(name.rsplit('@').next().unwrap_or(name).to_owned())
        });
        ad.must_be("Name", name.is_some());
        let instance_id = ad.string("CloudInstanceID", instance_id);
        let node = ad.string("EhosNode", node);
        let update_interval = ad.amount("EhosUpdateInterval", update_interval);
        let state = ad.string("State", state).unwrap_or_default();
        ad.must_be("State", !state.is_empty());
        let activity = ad.string("Activity", activity);
        let start_is_false = ad.boolean("Start", start_is_false);
        let reason = ad.string("DrainReason", reason).unwrap_or_default();
        let request_id = ad
            .string("DrainingRequestId", request_id)
            .unwrap_or_default();
        let draining = ad
            .boolean("Draining", draining)
            .then_some((reason, request_id));
        let total = ad.resources(
            [
                "TotalSlotCpus",
                "TotalSlotMemory",
                "TotalSlotDisk",
                "TotalSlotGPUs",
            ],
            [total_cpus, total_memory, total_disk, total_gpus],
        );
        let left = ad.resources(
            ["Cpus", "Memory", "Disk", "GPUs"],
            [cpus, memory, disk, gpus],
        );
        let partitionable = ad.string("SlotType", kind).as_deref() == Some("Partitionable");
        let claimed = !matches!(state.as_str(), "Unclaimed" | "Owner" | "Drained");
        let dynamic = if partitionable {
            ad.needed("NumDynamicSlots", dynamic_slots)
        } else {
            0
        };
        let heard = ad
            .integer("LastHeardFrom", heard)
            .filter(|heard| *heard > 0);
        ad.must_be("LastHeardFrom", heard.is_some());
        let started = ad.integer("DaemonStartTime", started);
        let changed = ad.integer("NumDynamicSlotsTime or EnteredCurrentState", changed);
        let drain_stopped = ad.integer("LastDrainStopTime", drain_stopped);
        let sent = ad.integer("MyCurrentTime", sent);
        let up_for = sent
            .zip(started)
            .map(|(sent, started)| since(sent, started));
        let sent = sent.or(heard);
        let wrong = ad.wrong;
        let claims = dynamic.saturating_add(u64::from(claimed));
        Ok(Slot {
            instance_id,
            node,
            address: string(address),
            sender: string(sender),
            update_interval,
            total,
            free: if claimed || !wrong.is_empty() {
                Resources::default()
            } else {
                left
            },
            claims: claims.max(u64::from(!wrong.is_empty())),
            accepts_jobs: !start_is_false && state != "Owner" && wrong.is_empty(),
            drained: state == "Drained" && activity.as_deref() == Some("Idle"),
            draining,
            heard,
            sent,
            started,
            up_for,
            unchanged_since: changed.max(drain_stopped).max(started),
            machine,
            name,
            wrong,
        })
    }

    /// Whose it is can be read: a node of ours would say so.
    pub fn owner_known(&self) -> bool {
        let says = self.instance_id.is_some() || self.node.is_some();
        let unreadable = ["CloudInstanceID", "EhosNode"];
        says || !unreadable.iter().any(|name| self.wrong.contains(name))
    }

    /// What is told of it when it cannot be read.
    pub fn unreadable(&self) -> UnreadableAd {
        UnreadableAd {
            machine: self.machine.clone(),
            slot: self.name.clone(),
            owner_known: self.owner_known(),
            up_for: self.up_for,
            what: format!("cannot be read: {}", self.wrong.join(", ")),
        }
    }

    pub fn view(&self, now: i64, ago: Duration) -> SlotView {
        let sent = self.sent.unwrap_or(now);
        SlotView {
            name: self.name.clone().unwrap_or_default(),
            total: self.total,
            free: self.free,
            claims: self.claims,
            accepts_jobs: self.accepts_jobs,
            unchanged_for: self
                .unchanged_since
                .map_or(Duration::ZERO, |then| since(sent, then) + ago),
        }
    }
}
