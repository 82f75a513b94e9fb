//! When HTCondor matches jobs with slots, and when it lets a slot go: negotiation cycles and the end of a claim.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use condor::CondorPool;
use condor::CondorSettings;
use scaling::action::PoolAction;
use scaling::observation::NodeId;
use system::deadline::Deadline;
use tick::pool::{Pool, TrackedMachines};

use crate::condor::Testbed;

/// Long enough that no cycle of these tests begins by itself.
const INTERVALS: &str = "NEGOTIATOR_INTERVAL = 300
NEGOTIATOR_CYCLE_DELAY = 2
NEGOTIATOR_MIN_INTERVAL = 1
NEGOTIATOR_UPDATE_AFTER_CYCLE = True
";

/// A pool with other intervals; dropped, it has its own again.
struct Negotiated {
    testbed: Testbed,
    settings: PathBuf,
}

impl Negotiated {
    fn start() -> Option<Negotiated> {
        let testbed = Testbed::start()?;
        let settings = testbed
            .root()
            .join("etc/condor/config.d/80-negotiation.config");
        fs::write(&settings, INTERVALS).unwrap();
        testbed.tool("condor_reconfig", &["-daemon", "negotiator"]);
        Some(Negotiated { testbed, settings })
    }

    /// An attribute of the negotiator's ad.
    fn negotiator(&self, attribute: &str) -> String {
        let args = ["-negotiator", "-af", attribute];
        let text = self.testbed.tool("condor_status", &args);
        text.trim().to_owned()
    }

    fn began(&self) -> u64 {
        let began = self.negotiator("LastNegotiationCycleTime0");
        began.parse().unwrap_or_default()
    }

    fn ask_for_a_cycle(&self) {
        let address = self.negotiator("MyAddress");
        let args = ["-addr", &address];
        self.testbed.tool_with("ehos", "condor_reschedule", &args);
    }

    /// A cycle that was asked for: when it was, and when it began.
    fn cycle(&self) -> (u64, u64) {
        let (before, asked) = (self.began(), now());
        self.ask_for_a_cycle();
        let began = wait_for("another cycle", || {
            Some(self.began()).filter(|began| *began != before)
        });
        (asked, began)
    }

    /// `NumDynamicSlots`, `LastHeardFrom` and `MyCurrentTime` of the node's partitionable slot.
    fn slot(&self, machine: &str) -> Option<[u64; 3]> {
        let constraint = format!("Machine == \"{machine}\" && PartitionableSlot");
        let args = [
            "-constraint",
            &constraint,
            "-af",
            "NumDynamicSlots",
            "LastHeardFrom",
            "MyCurrentTime",
        ];
        let text = self.testbed.tool("condor_status", &args);
        let numbers: Vec<u64> = text
            .split_whitespace()
            .map(|number| number.parse().unwrap())
            .collect();
        numbers.try_into().ok()
    }
}

impl Drop for Negotiated {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.settings);
    }
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs()
}

#[track_caller]
fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < end, "not within 20 s: {what}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// `LastNegotiationCycleTime0` is the second in which the last cycle began, before it read any ad.
#[test]
fn a_cycle_that_an_administrator_asks_for_begins_at_once() {
    let Some(pool) = Negotiated::start() else {
        return;
    };
    // The first one may be delayed by a cycle of the start.
    pool.cycle();
    thread::sleep(Duration::from_secs(3));
    let (asked, began) = pool.cycle();
    assert!((asked..=asked + 1).contains(&began), "{asked} {began}");
    let ended: u64 = pool.negotiator("LastNegotiationCycleEnd0").parse().unwrap();
    assert!((began..=began + 1).contains(&ended), "{began} {ended}");

    // Asked again at once: after the delay.
    let (_, next) = pool.cycle();
    assert!((ended + 2..=ended + 4).contains(&next), "{ended} {next}");
    let period = pool.negotiator("LastNegotiationCyclePeriod0");
    let end = pool.negotiator("LastNegotiationCycleEnd0");
    assert_eq!(
        end.parse::<u64>().unwrap() - ended,
        period.parse::<u64>().unwrap()
    );

    // The same by the pool of a tick.
    let settings = CondorSettings {
        bin: Some(pool.testbed.bin_of("ehos")),
        ..CondorSettings::default()
    };
    let second = Duration::from_secs(1);
    let ticks = CondorPool::new(&settings, second, second, Duration::from_secs(12));
    let deadline = || Deadline::within(Duration::from_secs(20));
    let before = pool.began();
    let view = ticks.observe(&TrackedMachines::default(), deadline());
    assert!(view.collector.known().unwrap().cycle_began < Some(Duration::from_secs(20)));
    let node = NodeId("test".into());
    ticks
        .perform(&PoolAction::Reschedule { node }, deadline())
        .unwrap();
    wait_for("another cycle", || {
        Some(()).filter(|()| pool.began() != before)
    });

    // A node's token and an ordinary user have no right to it.
    let address = pool.negotiator("MyAddress");
    let testbed = &pool.testbed;
    let tool = |folder: PathBuf, user: Option<&str>| {
        testbed.run(
            &folder.join("condor_reschedule"),
            &["-addr", &address],
            "",
            user,
        )
    };
    for (folder, user) in [
        (testbed.bin_of("execute"), None),
        (testbed.bin(), Some("alice")),
    ] {
        let (status, stdout, stderr) = tool(folder, user);
        assert_eq!((status, stdout.as_str()), (Some(1), ""), "{stderr}");
        assert!(stderr.contains("DENIED"), "{stderr}");
    }
}

/// With no other job that fits, the schedd gives the claim back at once, and the startd sends its ad at once: the time of that
/// ad is the end of the claim.
#[test]
fn the_first_ad_without_claims_comes_at_the_end_of_the_last_claim() {
    let Some(pool) = Negotiated::start() else {
        return;
    };
    let testbed = &pool.testbed;
    testbed.script(
        "node-start",
        &["t1", "2", "1024", "-"],
        "UPDATE_INTERVAL = 30\n",
    );
    // Of the same user, first in the queue, and of no use to this node.
    testbed.submit(None, "request_cpus = 8\nqueue 2");
    testbed.submit(None, "requirements = NoSuchAttribute == 3\nqueue 2");
    let job = testbed.submit(
        None,
        "arguments = 3\nrequest_cpus = 1\nrequest_memory = 128\nqueue",
    );
    pool.ask_for_a_cycle();
    wait_for("a claim", || {
        pool.slot("t1").filter(|[claims, ..]| *claims == 1)
    });
    let [_, heard, node_time] = wait_for("the end of the claim", || {
        pool.slot("t1").filter(|[claims, ..]| *claims == 0)
    });
    let completed: u64 = wait_for("the job in the history", || {
        let text = testbed.tool("condor_history", &[&job, "-af", "CompletionDate"]);
        text.trim().parse().ok()
    });
    println!("completed {completed}, heard {heard}, node's time {node_time}");
    assert!((completed..=completed + 2).contains(&heard));
    assert!((completed..=completed + 2).contains(&node_time));
    testbed.script("node-stop", &["t1"], "");
}
