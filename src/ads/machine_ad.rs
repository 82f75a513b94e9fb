//! The ad that a new node of a kind will have: learnt from one that is in the pool, or made up before there is one.
//!
//! The ad of a node in the pool, without what is of that machine alone, is learnt anew after an
//! hour and kept for 30 days. Before there is one: the software of a node of the same image and
//! another flavor, or what every node publishes, and `startd_attrs`. An attribute that is missing
//! in an ad that was made up is undetermined, and no refusal.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use scaling::sorting::{IntoMap, IntoSet};
use serde::{Deserialize, Serialize};

use crate::expression::{Names, Scope};
use crate::job_ad::{JobAd, digest};
use scaling::capacity::Capacity;
use scaling::observation::Resources;
use scaling::state::NodeType;

/// What a slot's ad says of the very machine, of its address, its load, its claims and its history: nothing that holds
/// for the next one.
const OF_THIS_ONE: [&str; 49] = [
    "activationrequests",
    "accountinggroup",
    "addressv1",
    "authenticatedidentity",
    "authenticationmethod",
    "claimrequests",
    "clientmachine",
    "clockday",
    "clockmin",
    "cloudinstanceid",
    "collector_host_string",
    "condorscratchdir",
    "cpubusy",
    "cpubusytime",
    "cpuisbusy",
    "currentrank",
    "daemoncoredutycycle",
    "daemonlastreconfigtime",
    "daemonstarttime",
    "drainreason",
    "enteredcurrentactivity",
    "enteredcurrentstate",
    "globaljobid",
    "hardwareaddress",
    "imagesize",
    "jobid",
    "jobstart",
    "jobstarts",
    "mycurrenttime",
    "myaddress",
    "newdslotnotmatch",
    "numdynamicslots",
    "numdynamicslotstime",
    "numpids",
    "publicclaimid",
    "preemptingowner",
    "preemptinguser",
    "preemptingrank",
    "retirementtimeremaining",
    "slotid",
    "startdipaddr",
    "subnetmask",
    "totaljobruntime",
    "totalloadavg",
    "totalvirtualmemory",
    "updatesequencenumber",
    "utsnamenodename",
    "virtualmemory",
    "draining",
];
/// … and all that begins like this.
const OF_THIS_ONE_BEGIN: [&str; 12] = [
    "assigned",
    "child",
    "draining",
    "expectedmachine",
    "jobpreemptions",
    "jobrankpreemptions",
    "jobuserprio",
    "last",
    "monitorself",
    "recent",
    "remote",
    "totaltime",
];
/// The rest of those that count up.
const COUNTERS: [&str; 3] = ["updates", "nextfetchwork", "totalclaim"];

/// What hardware says of itself, which another flavor has another one of …
const HARDWARE: [&str; 12] = [
    "availablegpus",
    "cpucachesize",
    "cpufamily",
    "cpumodel",
    "cpumodelnumber",
    "kflops",
    "microarch",
    "mips",
    "hibernationlevel",
    "hibernationstate",
    "hibernationsupportedstates",
    "canhibernate",
];
/// … and all that begins like this.
const HARDWARE_BEGIN: [&str; 10] = [
    "cloud", "cuda", "detected", "device", "gpu", "has_", "opencl", "total", "vm_", "hasvm",
];

/// What a node of today's HTCondor on Linux can do; Requirements that HTCondor adds to a job by itself ask for it.
const ABILITIES: [&str; 14] = [
    "HasFileTransfer",
    "HasIOProxy",
    "HasJICLocalConfig",
    "HasJICLocalStdin",
    "HasJobDeferral",
    "HasJobTransferPlugins",
    "HasMPI",
    "HasPerFileEncryption",
    "HasReconnect",
    "HasSelfCheckpointTransfers",
    "HasStartDaemonAd",
    "HasTDP",
    "HasTransferInputRemaps",
    "PartitionableSlot",
];

/// An expression without the end of a node's own time (`{retire_at}` of execute.yaml): the next node has another.
fn without_retirement(start: &str) -> String {
    const UNTIL: &str = "time() < ";
    let mut left = start;
    let mut out = String::new();
    while let Some(at) = left.find(UNTIL) {
        let (before, after) = left.split_at(at);
        let after = after.get(UNTIL.len()..).unwrap_or_default();
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = after.split_at(digits);
        let clause = before.strip_suffix(&format!("({number} == 0 || "));
        match (clause, rest.strip_prefix(')')) {
            (Some(before), Some(rest)) if !number.is_empty() => {
                out.push_str(before);
                out.push_str("true");
                left = rest;
            }
            _ => {
                out.push_str(before);
                out.push_str(UNTIL);
                left = after;
            }
        }
    }
    out + left
}

/// The ad of a node, by names in small letters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MachineAd(BTreeMap<String, String>);

impl MachineAd {
    /// What the ad of a node that is there says of the next one; `None` while it says nothing of that: it is
    /// drained, or closed for a while.
    pub fn learnt(ad: &BTreeMap<String, String>) -> Option<MachineAd> {
        let is = |name: &str, value: &str| {
            let found = ad.get(name);
            found.is_some_and(|found| found.eq_ignore_ascii_case(value))
        };
        let start = ad.get("start")?;
        let closed = is("start", "false") || start == "undefined";
        if closed
            || is("draining", "true")
            || is("state", "\"Drained\"")
            || is("state", "\"Owner\"")
        {
            return None;
        }
        let mut next: BTreeMap<String, String> = ad
            .iter()
            .filter(|(name, _)| !of_this_one(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .into_map();
        // All GPUs that the machine has, also those in use.
        let gpus: Vec<&str> = ad
            .iter()
            .filter(|(name, value)| name.starts_with("gpus_") && value.starts_with('['))
            .map(|(name, _)| name.as_str())
            .collect();
        if !gpus.is_empty() {
            next.insert(
                "availablegpus".to_owned(),
                format!("{{ {} }}", gpus.join(", ")),
            );
        }
        let machine = ad.get("machine").map_or("", |name| name.trim_matches('"'));
        let mut next = MachineAd(next);
        next.make_new(&another_name(machine));
        next.set("Start", &without_retirement(start));
        Some(next)
    }

    /// What is known of the first node of a kind before it is there. `attributes` are what the configuration says.
    pub fn made_up(node_type: &NodeType, attributes: &[(String, String)]) -> MachineAd {
        let mut ad = MachineAd(BTreeMap::new());
        for ability in ABILITIES {
            ad.set(ability, "true");
        }
        let arch = match std::env::consts::ARCH {
            "x86_64" => "X86_64",
            other => other,
        };
        ad.set("Arch", &text(arch));
        ad.set("OpSys", "\"LINUX\"");
        ad.set(
            "HasFileTransferPluginMethods",
            "\"http,https,ftp,file,data\"",
        );
        ad.set("SlotType", "\"Partitionable\"");
        ad.set("SlotTypeID", "1");
        ad.set("SlotWeight", "Cpus");
        ad.set("Start", "true");
        ad.set("Requirements", "START && (WithinResourceLimits)");
        ad.set(
            "WithinResourceLimits",
            "(MY.Cpus > 0 && TARGET.RequestCpus <= MY.Cpus && MY.Memory > 0 && TARGET.RequestMemory <= MY.Memory && \
             MY.Disk > 0 && TARGET.RequestDisk <= MY.Disk && \
             (TARGET.RequestGPUs =?= undefined || MY.GPUs >= TARGET.RequestGPUs))",
        );
        // As configs/execute.yaml has it.
        ad.set("CloudProvider", &text(&node_type.cloud));
        ad.set("CloudPlatform", "\"OpenStack\"");
        ad.set("CloudVMType", &text(&node_type.flavor));
        ad.set("CloudImage", &text(&node_type.image));
        ad.make_new("ehos-new-node");
        for (name, value) in attributes {
            ad.set(name, value);
        }
        ad
    }

    /// What a node that boots from the same image says of one of another kind: all of its software. `attributes` are
    /// what the configuration says.
    pub fn like(
        sibling: &MachineAd,
        node_type: &NodeType,
        attributes: &[(String, String)],
    ) -> MachineAd {
        let hardware = |name: &str| {
            HARDWARE.contains(&name) || HARDWARE_BEGIN.iter().any(|begin| name.starts_with(begin))
        };
        let mut ad = MachineAd::made_up(node_type, &[]);
        let software = sibling.0.iter().filter(|(name, _)| !hardware(name));
        ad.0.extend(software.map(|(name, value)| (name.clone(), value.clone())));
        for (name, value) in attributes {
            ad.set(name, value);
        }
        ad
    }

    fn make_new(&mut self, machine: &str) {
        self.set("MyType", "\"Machine\"");
        self.set("Machine", &text(machine));
        self.set("UtsnameNodename", &text(machine));
        self.set("State", "\"Unclaimed\"");
        self.set("Activity", "\"Idle\"");
        self.set("CloudInstanceID", "\"new\"");
        self.set("EhosNode", "\"new\"");
        for load in [
            "LoadAvg",
            "CondorLoadAvg",
            "TotalLoadAvg",
            "TotalCondorLoadAvg",
            "CurrentRank",
        ] {
            self.set(load, "0.0");
        }
        self.set("NumDynamicSlots", "0");
        self.set("SlotID", "1");
        for idle in ["KeyboardIdle", "ConsoleIdle"] {
            self.set(idle, "3600");
        }
        self.set("MyCurrentTime", "time()");
    }

    fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_ascii_lowercase(), value.to_owned());
    }

    /// Whether it has such an attribute, by its name in small letters.
    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name) || ["name", "cpus", "memory", "disk", "gpus"].contains(&name)
    }

    /// The expressions on which it depends which jobs the node takes.
    fn reachable(&self) -> (BTreeSet<String>, bool) {
        let mut asked = BTreeSet::new();
        let mut changes = false;
        let mut seen = BTreeSet::new();
        let mut left = vec!["requirements".to_owned()];
        while let Some(name) = left.pop() {
            let Some(value) = self.0.get(&name) else {
                continue;
            };
            if !seen.insert(name) {
                continue;
            }
            let names = Names::of(value);
            changes |= names.change();
            for (scope, name) in names.attributes {
                let name = name.to_ascii_lowercase();
                match scope {
                    Scope::Target => _ = asked.insert(name),
                    Scope::Either if !self.has(&name) => _ = asked.insert(name),
                    Scope::My | Scope::Either => left.push(name),
                }
            }
        }
        (asked, changes)
    }

    /// The attributes of a job, in small letters, that decide whether the node takes it.
    pub fn asks(&self) -> BTreeSet<String> {
        self.reachable().0
    }

    /// Which jobs it takes changes by itself.
    pub fn changes(&self) -> bool {
        self.reachable().1
    }

    /// Whether `expression` of `job` names an attribute of the machine that is not here.
    pub fn lacks(&self, job: &JobAd, expression: &str) -> bool {
        let mut seen = BTreeSet::new();
        let mut left = vec![expression];
        while let Some(expression) = left.pop() {
            for (scope, name) in Names::of(expression).attributes {
                let name = name.to_ascii_lowercase();
                if scope != Scope::Target && job.has(&name) {
                    if let Some(value) = job.value(&name).filter(|_| seen.insert(name)) {
                        left.push(value);
                    }
                } else if scope != Scope::My && !self.has(&name) {
                    return true;
                }
            }
        }
        false
    }

    /// The slots of a node that offers `capacity`, for HTCondor, and how many they are.
    pub fn slots(&self, capacity: &Capacity) -> (String, u64) {
        let spaces: BTreeSet<&Resources> = capacity.spaces().into_set();
        let mut out = String::new();
        let sum =
            |of: fn(&Resources) -> u64| capacity.spaces().map(of).fold(0, u64::saturating_add);
        for (number, space) in spaces.iter().enumerate() {
            let mut slot = self.clone();
            let amounts: [(&str, u64, u64); 4] = [
                ("Cpus", space.cpus, sum(|space| space.cpus)),
                ("Memory", space.memory_mb, sum(|space| space.memory_mb)),
                ("Disk", space.disk_kb, sum(|space| space.disk_kb)),
                ("GPUs", space.gpus, sum(|space| space.gpus)),
            ];
            for (name, here, all) in amounts {
                slot.set(name, &here.to_string());
                slot.set(&format!("TotalSlot{name}"), &here.to_string());
                slot.set(&format!("Total{name}"), &all.to_string());
            }
            let machine = self
                .0
                .get("machine")
                .map_or("", |name| name.trim_matches('"'));
            slot.set("Name", &text(&format!("slot{}@{machine}", number + 1)));
            for (name, value) in &slot.0 {
                let _ = writeln!(out, "{name} = {value}");
            }
            out.push('\n');
        }
        (out, spaces.len() as u64)
    }

    /// 16 hex digits that stand for a node of this ad that offers `capacity`.
    pub fn digest(&self, capacity: &Capacity) -> String {
        digest(&self.slots(capacity).0)
    }
}

fn of_this_one(name: &str) -> bool {
    let begins = |beginnings: &[&str]| {
        beginnings
            .iter()
            .any(|beginning| name.starts_with(beginning))
    };
    OF_THIS_ONE.contains(&name) || begins(&OF_THIS_ONE_BEGIN) || begins(&COUNTERS)
}

/// A name like that of `machine` that no machine has: the same one for all that differ in numbers.
fn another_name(machine: &str) -> String {
    let (host, domain) = machine.split_at(machine.find('.').unwrap_or(machine.len()));
    let mut name = String::new();
    for c in host.chars() {
        match c {
            '0'..='9' if name.ends_with('0') => {}
            '0'..='9' => name.push('0'),
            other => name.push(other),
        }
    }
    format!("{name}-new{domain}")
}

/// `text` as a string of an ad.
fn text(text: &str) -> String {
    crate::answer::quoted(text)
}

/// The ads that `condor_status -long` prints, by names in small letters. One with a line that is no attribute (a value may
/// have several) is left out.
#[derive(Debug, Default)]
pub struct LongAds {
    pub ads: Vec<BTreeMap<String, String>>,
    place: Place,
}

/// Where the next line belongs.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    #[default]
    Between,
    InAd,
    InUnreadable,
}

impl LongAds {
    /// Takes the next line.
    pub fn add(&mut self, line: &str) -> Result<(), String> {
        if line.trim().is_empty() {
            self.place = Place::Between;
            return Ok(());
        }
        let attribute = line.split_once(" = ").filter(|(name, _)| {
            !name.is_empty() && !name.contains(' ') && !crate::lines::is_cut(line)
        });
        match (attribute, self.place) {
            (_, Place::InUnreadable) => {}
            (None, place) => {
                if place == Place::InAd {
                    self.ads.pop();
                }
                self.place = Place::InUnreadable;
                log::warn!(
                    "the ad of a slot is not learnt from: a line is no attribute: {}",
                    crate::answer::excerpt(line)
                );
            }
            (Some((name, value)), place) => {
                if place == Place::Between {
                    self.ads.push(BTreeMap::new());
                    self.place = Place::InAd;
                }
                if let Some(ad) = self.ads.last_mut() {
                    ad.insert(name.to_ascii_lowercase(), value.to_owned());
                }
            }
        }
        Ok(())
    }
}

/// What tests/fuzz reads: the ads in `text`, whatever it is; how many there are.
#[cfg(fuzzing)]
pub fn read_anything(text: &str) -> usize {
    let mut long = LongAds::default();
    for line in text.lines() {
        let _ = long.add(line);
    }
    for ad in &long.ads {
        let _ = MachineAd::learnt(ad).map(|ad| (ad.asks(), ad.changes()));
    }
    long.ads.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_start(start: &str) -> BTreeMap<String, String> {
        let ad = [
            ("machine", "\"n1\""),
            ("start", start),
            ("requirements", "START && (WithinResourceLimits)"),
            ("withinresourcelimits", "MY.Cpus > 0"),
        ];
        ad.map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    #[test]
    fn an_ad_of_which_a_line_is_no_attribute_is_not_learnt_from_and_others_are() {
        let mut long = LongAds::default();
        for line in "a = 1\nb = 2\n\nA = 3\nB = \"x\ny\"\nC = 4\n\nwhat\na = 5\n\nA = 6\n".lines() {
            long.add(line).unwrap();
        }
        let values: Vec<_> = long.ads.iter().map(|ad| ad["a"].as_str()).collect();
        assert_eq!(values, ["1", "6"]);
    }

    #[test]
    fn the_end_of_a_nodes_own_time_is_not_that_of_the_next() {
        let learnt = |start: &str| MachineAd::learnt(&with_start(start)).unwrap();
        let open = learnt("(true) && true");
        assert!(!open.changes());
        for end in ["0", "1800003600", "1000000000"] {
            let ad = learnt(&format!("(true) && ({end} == 0 || time() < {end})"));
            assert_eq!(ad, open, "{end}");
        }
        for own in [
            "time() < 1800003600",
            "(1 == 0 || time() < 2)",
            "(x == 0 || time() < x)",
            "time() < ",
        ] {
            assert_eq!(learnt(own).0["start"], own, "another's");
        }
    }
}
