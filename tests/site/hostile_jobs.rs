//! Jobs by which one user of a real HTCondor tries to keep the others from nodes: each costs that user's own jobs alone.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use condor::CondorSettings;
use condor::{CondorPool, MatchFile, StartdAttributes};
use scaling::capacity::Capacity;
use scaling::job_requirements::{
    JobFault, JobGroupKey, MatchAnswer, MatchTarget, Matches, OwnerBound,
};
use scaling::observation::{Demand, Observed, Resources, ScheddView};
use scaling::state::NodeType;
use system::deadline::Deadline;
use tick::pool::{Pool, TrackedMachines};

use crate::condor::Testbed;

const PLAIN: &str =
    "request_cpus = 1\nrequest_memory = 512\nrequest_disk = 1024\nshould_transfer_files = yes\n";
/// A tick of `tick_timeout`.
const TICK: Duration = Duration::from_secs(60);

fn node() -> MatchTarget {
    MatchTarget {
        node_type: NodeType {
            cloud: "a".to_owned(),
            flavor: "m1".to_owned(),
            image: "gold".to_owned(),
        },
        capacity: Capacity::whole(Resources {
            cpus: 4,
            memory_mb: 8000,
            disk_kb: 1 << 22,
            gpus: 0,
        }),
        example: None,
    }
}

struct Look {
    schedd: ScheddView,
    matches: Matches,
    took: Duration,
}

/// One tick, which knows what the one before has kept in `memory`.
fn look_at(
    testbed: &Testbed,
    memory: &Path,
    site: Option<&str>,
    negotiation_cycle: Duration,
) -> Look {
    let settings = CondorSettings {
        bin: Some(testbed.bin()),
        job_constraint: site.map(str::to_owned),
        ..CondorSettings::default()
    };
    let limit = Duration::from_secs(30);
    let pool = CondorPool::new(&settings, negotiation_cycle, limit, limit)
        .naming_jobs(true)
        .remembering(MatchFile::new(memory, true), StartdAttributes::new());
    let start = Instant::now();
    let deadline = Deadline::within(TICK);
    let view = pool.observe(&TrackedMachines::default(), deadline);
    let schedd = match &view.schedds["local"] {
        Observed::Known(schedd) => schedd.clone(),
        Observed::Unknown(why) => panic!("{why}"),
    };
    let well = schedd.demand.iter().filter(|demand| demand.fault.is_none());
    let jobs: BTreeSet<JobGroupKey> = well.map(Demand::key).collect();
    let matches = pool.matches(&jobs, &[node()], deadline);
    let took = start.elapsed();
    Look {
        schedd,
        matches,
        took,
    }
}

fn look(testbed: &Testbed, memory: &Path) -> Look {
    look_at(testbed, memory, None, Duration::ZERO)
}

impl Look {
    fn of(&self, owner: &str) -> Vec<&Demand> {
        let own = |demand: &&Demand| demand.owner.as_deref() == Some(owner);
        self.schedd.demand.iter().filter(own).collect()
    }

    fn takes(&self, demand: &Demand) -> bool {
        let answer = self.matches.answer(&node().node_type, &demand.key());
        matches!(answer, MatchAnswer::Takes)
    }

    /// Jobs of an owner that a new node would run.
    fn served(&self, owner: &str) -> u64 {
        let demand = self.of(owner).into_iter();
        let served = demand.filter(|demand| demand.fault.is_none() && self.takes(demand));
        served.map(|demand| demand.jobs).sum()
    }

    /// Jobs of an owner that are told to have used up this share, and whether one of them is named.
    fn bound(&self, owner: &str, bound: OwnerBound) -> u64 {
        let expected = JobFault::OwnerBound {
            owner: Some(owner.to_owned()),
            bound,
        };
        let demand = self.of(owner).into_iter();
        let told = demand.filter(|demand| demand.fault.as_ref() == Some(&expected));
        told.map(|demand| demand.jobs).sum()
    }
}

/// `B0` … `B33`, each the double of the one before.
fn doubling(step: &str) -> String {
    let mut text = "+B0 = 1\n".to_owned();
    for n in 1..34 {
        let _ = writeln!(
            text,
            "+B{n} = {}",
            step.replace('B', &format!("B{}", n - 1))
        );
    }
    text
}

fn hostile(testbed: &Testbed, description: &str, jobs: &str) -> String {
    testbed.submit_as("bob", None, &format!("{PLAIN}{description}\nqueue {jobs}"))
}

fn honest(testbed: &Testbed) -> String {
    testbed.submit(None, &format!("{PLAIN}request_memory = 640\nqueue 3"))
}

/// The schedd answers at once.
#[track_caller]
fn schedd_answers(testbed: &Testbed) {
    let start = Instant::now();
    testbed.tool("condor_q", &["-totals", "-allusers"]);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn expressions_that_double_are_neither_followed_nor_evaluated() {
    let Some(testbed) = Testbed::start() else {
        return;
    };
    let memory = tempfile::tempdir().unwrap();
    let chain = doubling("B + B");
    let strings = doubling("strcat(B, B)");
    let alice = honest(&testbed);
    let mut slow = 0;
    for (attribute, value) in [
        ("RequestMemory", "B33"),
        ("RequestDisk", "B33"),
        ("QDate", "B33"),
        ("AcctGroup", "B33"),
        // The schedd itself evaluates these, in a tenth of a second.
        ("RequestCpus", "B18"),
        ("EnteredCurrentStatus", "B18"),
        ("ConcurrencyLimits", "B18"),
        ("DeferralTime", "B18"),
        ("ScheddInterval", "B18"),
    ] {
        hostile(&testbed, &format!("{chain}+{attribute} = {value}"), "2");
        slow += 2;
    }
    for (chain, requirements) in [(&chain, "B33 > TARGET.Foo"), (&strings, "B33 =!= \"x\"")] {
        hostile(
            &testbed,
            &format!("{chain}requirements = {requirements}"),
            "1",
        );
        slow += 1;
    }
    // Nobody needs these of such a job.
    let mut harmless = 0;
    for attribute in [
        "MaxHosts",
        "Managed",
        "TARGET",
        "MY",
        "JobMaterializeNextProcId",
    ] {
        hostile(&testbed, &format!("{chain}+{attribute} = B18"), "2");
        harmless += 2;
    }
    for _ in 0..2 {
        let look = look(&testbed, memory.path());
        assert_eq!(look.served("alice"), 3, "{:?}", look.schedd);
        assert!(look.schedd.newest_cluster >= alice.parse().ok());
        assert_eq!(
            look.bound("bob", OwnerBound::Time),
            slow,
            "{:?}",
            look.of("bob")
        );
        assert!(look.of("bob").iter().all(|demand| demand.example.is_some()));
        assert_eq!(look.served("bob"), harmless, "{:?}", look.of("bob"));
        assert!(look.took < Duration::from_secs(30), "{:?}", look.took);
        schedd_answers(&testbed);
    }
    // The site's own constraint, and the time of a negotiation cycle, ask for users' attributes as well.
    hostile(&testbed, &format!("{chain}+Project = B33"), "2");
    let look = look_at(
        &testbed,
        memory.path(),
        Some("Project =!= \"other\" && Project =!= \"another\""),
        Duration::from_secs(1),
    );
    assert_eq!(look.served("alice"), 3);
    assert_eq!(
        look.bound("bob", OwnerBound::Time),
        slow + 2,
        "{:?}",
        look.of("bob")
    );
    schedd_answers(&testbed);
}

/// Each of these once kept all other users from nodes.
#[test]
fn what_is_long_or_names_much_costs_its_own_jobs_alone() {
    let Some(testbed) = Testbed::start() else {
        return;
    };
    let memory = tempfile::tempdir().unwrap();
    honest(&testbed);
    let long = "x".repeat(1_200_000);
    let mut unread = 0;
    for description in [
        format!("requirements = TARGET.Foo =!= \"{long}\""),
        format!("concurrency_limits = {long}"),
        format!("+Blob = \"{long}\"\nrequirements = MY.Blob =!= TARGET.Foo"),
    ] {
        hostile(&testbed, &description, "1");
        unread += 1;
    }
    // HTCondor goes by no such group.
    let mut served = 0;
    for description in [
        format!("+AcctGroup = \"{long}\""),
        format!("+Blob = \"{long}\""),
    ] {
        hostile(&testbed, &description, "1");
        served += 1;
    }
    let names: Vec<String> = (0..150).map(|n| format!("(A{n:03} =!= 1)")).collect();
    hostile(
        &testbed,
        &format!("requirements = {}", names.join(" && ")),
        "1",
    );
    served += 1;
    let mut many = String::new();
    for n in 0..300 {
        let text = format!("{n}{}", "y".repeat(10_000));
        let _ = write!(many, "requirements = TARGET.Foo =!= \"{text}\"\nqueue 1\n");
    }
    testbed.submit_as("bob", None, &format!("{PLAIN}{many}"));
    for _ in 0..2 {
        let look = look(&testbed, memory.path());
        assert_eq!(look.served("alice"), 3);
        let faults = look.of("bob").into_iter().filter(|demand| {
            matches!(demand.fault, Some(JobFault::Unread { .. })) && demand.example.is_some()
        });
        assert_eq!(faults.map(|demand| demand.jobs).sum::<u64>(), unread);
        // As many as one owner's Requirements have room.
        let bound = look.bound("bob", OwnerBound::Requirements);
        assert!((80..120).contains(&bound), "{bound}");
        assert_eq!(look.served("bob") + bound, served + 300);
        let kept = std::fs::read_to_string(memory.path().join("matches.json")).unwrap();
        assert!(!kept.contains("\"a149\""));
    }
}

/// What HTCondor takes long to match is found in halves, told, and not asked again for a while.
#[test]
fn requirements_that_take_long_are_found_and_set_aside() {
    let Some(testbed) = Testbed::start() else {
        return;
    };
    let memory = tempfile::tempdir().unwrap();
    honest(&testbed);
    // With time() in them no answer lasts.
    let regexps = vec!["!regexp(\"^(a+)+$\", X)"; 400].join(" && ");
    let requirements = format!(
        "+X = \"{}!\"\nrequirements = time() > 5 && {regexps}",
        "a".repeat(40)
    );
    let slow = hostile(&testbed, &requirements, "1");
    for n in 0..5 {
        hostile(
            &testbed,
            &format!("requirements = TARGET.Cpus > 0 && {n} < 100"),
            "1",
        );
    }
    let mut took = Vec::new();
    for _ in 0..5 {
        let look = look(&testbed, memory.path());
        assert_eq!(look.served("alice"), 3);
        took.push(look.took);
        assert!(look.took < TICK, "{took:?}");
        if let Some(why) = look.matches.failure() {
            assert!(why.contains("Requirements of bob"), "{why}");
            continue;
        }
        assert_eq!(look.served("bob"), 5, "{:?}", look.of("bob"));
        for demand in look.of("bob") {
            if let MatchAnswer::Unknown(why) = look.matches.answer(&node().node_type, &demand.key())
            {
                assert!(why.contains(&format!("job {slow}.0 of bob")), "{why}");
            }
        }
        if look.took < Duration::from_secs(5) {
            return;
        }
    }
    panic!("they are asked about again and again: {took:?}");
}

/// Groups of which no two are alike, asked for with more columns in the second tick.
#[test]
fn thousands_of_different_requirements_leave_others_served() {
    let Some(testbed) = Testbed::start() else {
        return;
    };
    let memory = tempfile::tempdir().unwrap();
    honest(&testbed);
    let mut many = String::new();
    for n in 0..3000 {
        let _ = write!(many, "requirements = Other{} =?= {n}\nqueue 1\n", n % 10);
    }
    testbed.submit_as("bob", None, &format!("{PLAIN}{many}"));
    for _ in 0..2 {
        let look = look(&testbed, memory.path());
        assert_eq!(look.served("alice"), 3);
        let jobs: u64 = look.of("bob").iter().map(|demand| demand.jobs).sum();
        assert_eq!(jobs, 3000);
        assert!(
            look.schedd
                .demand
                .iter()
                .all(|demand| demand.owner.is_some())
        );
    }
}
