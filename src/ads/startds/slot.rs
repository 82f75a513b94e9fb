//! One slot: its columns, and how a line of them is read.

use scaling::job_names::MachineJobs;
use scaling::observation::{Resources, SlotView, UnreadableAd};

use super::owners;
use crate::answer::{
    amount, columns, excerpt, integer, readable_text, short_string, since, string, text,
};
use scaling::sender::Sender;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

/// The ad of one partitionable or static slot as the collector has it.
#[derive(Debug)]
pub struct SlotAd {
    pub machine: Option<String>,
    pub instance_id: Option<String>,
    pub node: Option<String>,
    pub address: Option<String>,
    pub sender: Sender,
    /// From start to ad, on the startd's clock.
    pub up_for: Option<Duration>,
    /// The attributes that cannot be read, or must be there and are not: the slot counts as claimed then.
    pub wrong: Vec<&'static str>,
    pub slot: Slot,
}

/// What a slot has besides its startd. It is small: a pool has tens of thousands.
#[derive(Debug, Clone)]
pub struct Slot {
    pub name: Option<String>,
    pub update_interval: Option<u64>,
    total: Resources,
    pub free: Resources,
    pub claims: u64,
    owners: BTreeMap<String, u64>,
    /// Its jobs, with the names of their schedds; `None` where it has jobs and does not list them.
    pub jobs: Option<MachineJobs>,
    pub accepts_jobs: bool,
    /// `Drained` and `Idle`.
    pub drained: bool,
    /// Reason and request id.
    pub draining: Option<Box<(String, String)>>,
    /// On the collector's clock; `None`, which counts as now, where that cannot be read.
    pub heard: Option<i64>,
    /// The following on the startd's clock.
    pub sent: Option<i64>,
    pub started: Option<i64>,
    unchanged_since: Option<i64>,
}

/// Reads the columns of a line one after the other, and keeps the names of those that it cannot read.
struct Values<'l> {
    columns: std::vec::IntoIter<&'l str>,
    wrong: Vec<&'static str>,
}

impl<'l> Values<'l> {
    fn of(columns: Vec<&'l str>) -> Values<'l> {
        Values {
            columns: columns.into_iter(),
            wrong: Vec::new(),
        }
    }

    fn next(&mut self) -> &'l str {
        self.columns.next().unwrap_or_default()
    }

    fn text(&mut self, attribute: &'static str) -> Option<Cow<'l, str>> {
        readable_text(self.next()).unwrap_or_else(|_| self.is_wrong(attribute))
    }

    fn string(&mut self, attribute: &'static str) -> Option<String> {
        self.text(attribute).map(Cow::into_owned)
    }

    /// What `read` makes of the column; nothing where it is empty.
    fn optional<T>(&mut self, attribute: &'static str, read: fn(&str) -> Option<T>) -> Option<T> {
        match self.next() {
            "undefined" | "" => None,
            value => read(value).or_else(|| self.is_wrong(attribute)),
        }
    }

    fn needed(&mut self, attribute: &'static str) -> u64 {
        amount(self.next()).unwrap_or_else(|| {
            self.is_wrong::<()>(attribute);
            0
        })
    }

    fn resources(&mut self, [cpus, memory, disk, gpus]: [&'static str; 4]) -> Resources {
        Resources {
            cpus: self.needed(cpus),
            memory_mb: self.needed(memory),
            disk_kb: self.needed(disk),
            // Absent where none were discovered.
            gpus: self.optional(gpus, amount).unwrap_or(0),
        }
    }

    fn boolean(&mut self, attribute: &'static str) -> bool {
        let value = self.next();
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

const TOTAL: [&str; 4] = [
    "TotalSlotCpus",
    "TotalSlotMemory",
    "TotalSlotDisk",
    "TotalSlotGPUs",
];
const FREE: [&str; 4] = ["Cpus", "Memory", "Disk", "GPUs"];

/// Columns of a line; fixtures of older answers lack the last ones.
const COLUMNS: std::ops::RangeInclusive<usize> = 26..=31;

impl Slot {
    pub fn expressions() -> Vec<String> {
        let int = |attribute: &str| format!("int({attribute})");
        let mut all = Vec::with_capacity(31);
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
        all.extend(TOTAL.map(int));
        all.extend(FREE.map(int));
        all.push(int("NumDynamicSlots"));
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
        all.extend(owners::expressions());
        all
    }
}

impl SlotAd {
    /// The ad of a line; an error where it is no line of an answer. `identity` is `condor.token_identity`.
    pub fn read(line: &str, identity: Option<&str>) -> Result<SlotAd, String> {
        let columns = columns(line);
        if !COLUMNS.contains(&columns.len()) {
            let count = columns.len();
            return Err(format!(
                "a line with {count} values instead of 26 to 31: {}",
                excerpt(line)
            ));
        }
        Ok(SlotAd::of(Values::of(columns), identity))
    }

    /// Reads column by column, as [`Slot::expressions`] orders them.
    fn of(mut ad: Values<'_>, identity: Option<&str>) -> SlotAd {
        let machine = ad.string("Machine");
        let name = ad.string("Name");
        ad.must_be("Name", name.is_some());
        let machine = machine.or_else(|| {
            let name = name.as_deref()?;
            Some(name.rsplit('@').next().unwrap_or(name).to_owned())
        });
        let partitionable = ad.text("SlotType").as_deref() == Some("Partitionable");
        let instance_id = ad.string("CloudInstanceID");
        let node = ad.string("EhosNode");
        let update_interval = ad.optional("EhosUpdateInterval", amount);
        let state = ad.text("State").unwrap_or_default();
        ad.must_be("State", !state.is_empty());
        let activity = ad.text("Activity");
        let start_is_false = ad.boolean("Start");
        let is_draining = ad.boolean("Draining");
        let reason = ad.text("DrainReason").unwrap_or_default();
        let request_id = ad.text("DrainingRequestId").unwrap_or_default();
        let total = ad.resources(TOTAL);
        let left = ad.resources(FREE);
        let dynamic = match partitionable {
            true => ad.needed("NumDynamicSlots"),
            false => {
                ad.next();
                0
            }
        };
        let changed = ad.optional("NumDynamicSlotsTime or EnteredCurrentState", integer);
        let drain_stopped = ad.optional("LastDrainStopTime", integer);
        let started = ad.optional("DaemonStartTime", integer);
        let sent = ad.optional("MyCurrentTime", integer);
        let heard = ad.optional("LastHeardFrom", integer);
        let heard = heard.filter(|heard| *heard > 0);
        ad.must_be("LastHeardFrom", heard.is_some());
        let (address, sender) = (string(ad.next()), text(ad.next()));
        let (users, cores, jobs) = (ad.next(), ad.next(), ad.next());
        let claimed = !matches!(&*state, "Unclaimed" | "Owner" | "Drained");
        let readable = ad.wrong.is_empty();
        let is_free = !claimed && readable;
        // The user and the job of a free slot are of its last job.
        let has_users = partitionable || claimed;
        SlotAd {
            machine,
            instance_id,
            node,
            address,
            sender: Sender::of(sender.as_deref(), identity),
            up_for: sent
                .zip(started)
                .map(|(sent, started)| since(sent, started)),
            slot: Slot {
                name,
                update_interval,
                total,
                free: match is_free {
                    true => left,
                    false => Resources::default(),
                },
                claims: dynamic
                    .saturating_add(u64::from(claimed))
                    .max(u64::from(!readable)),
                owners: match has_users {
                    true => owners::read(users, cores),
                    false => BTreeMap::new(),
                },
                jobs: match has_users && dynamic.saturating_add(u64::from(claimed)) > 0 {
                    true => owners::jobs(users, jobs),
                    false => Some(MachineJobs::default()),
                },
                accepts_jobs: !start_is_false && state != "Owner" && readable,
                drained: state == "Drained" && activity.as_deref() == Some("Idle"),
                draining: is_draining
                    .then(|| Box::new((reason.into_owned(), request_id.into_owned()))),
                heard,
                sent: sent.or(heard),
                started,
                unchanged_since: changed.max(drain_stopped).max(started),
            },
            wrong: ad.wrong,
        }
    }

    /// Whose it is can be read: a node of the pool would say so.
    pub fn owner_known(&self) -> bool {
        let says = self.instance_id.is_some() || self.node.is_some();
        let unreadable = ["CloudInstanceID", "EhosNode"];
        says || !unreadable.iter().any(|name| self.wrong.contains(name))
    }

    /// What is told of it when it cannot be read.
    pub fn unreadable(&self) -> UnreadableAd {
        UnreadableAd {
            machine: self.machine.clone(),
            slot: self.slot.name.clone(),
            owner_known: self.owner_known(),
            up_for: self.up_for,
            what: format!("cannot be read: {}", self.wrong.join(", ")),
        }
    }
}

impl Slot {
    pub fn into_view(self, now: i64, ago: Duration) -> SlotView {
        let sent = self.sent.unwrap_or(now);
        SlotView {
            name: self.name.unwrap_or_default(),
            total: self.total,
            free: self.free,
            claims: self.claims,
            owners: self.owners,
            accepts_jobs: self.accepts_jobs,
            unchanged_for: self
                .unchanged_since
                .map_or(Duration::ZERO, |then| since(sent, then) + ago),
        }
    }
}
