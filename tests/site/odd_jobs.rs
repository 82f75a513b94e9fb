//! Jobs as users of a real HTCondor write them, odd ones beside others: each is served, or told by name.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use condor::CondorSettings;
use condor::{CondorPool, MatchFile, StartdAttributes};
use scaling::capacity::Capacity;
use scaling::job_requirements::{JobFault, JobGroupKey, MatchAnswer, MatchTarget, Matches};
use scaling::observation::{Demand, MaxRunning, Observed, Resources, ScheddView};
use scaling::state::NodeType;
use system::deadline::Deadline;
use tick::pool::{Pool, TrackedMachines};

use crate::condor::Testbed;

const PLAIN: &str =
    "request_cpus = 1\nrequest_memory = 512\nrequest_disk = 1024\nshould_transfer_files = yes\n";

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

fn look(testbed: &Testbed, schedd: Option<&str>) -> (ScheddView, Matches) {
    let folder = tempfile::tempdir().unwrap();
    let settings = CondorSettings {
        bin: Some(testbed.bin()),
        schedds: schedd.map(str::to_owned).into_iter().collect(),
        ..CondorSettings::default()
    };
    let limit = Duration::from_secs(12);
    let pool = CondorPool::new(&settings, Duration::ZERO, limit, limit)
        .remembering(MatchFile::new(folder.path(), true), StartdAttributes::new());
    let deadline = Deadline::within(Duration::from_secs(40));
    let view = pool.observe(&TrackedMachines::default(), deadline);
    let schedd = match &view.schedds[schedd.unwrap_or("local")] {
        Observed::Known(schedd) => schedd.clone(),
        Observed::Unknown(why) => panic!("{why}"),
    };
    let well = schedd.demand.iter().filter(|demand| demand.fault.is_none());
    let jobs: BTreeSet<JobGroupKey> = well.map(Demand::key).collect();
    let matches = pool.matches(&jobs, &[node()], deadline);
    (schedd, matches)
}

/// All demand of one submit.
fn of<'a>(schedd: &'a ScheddView, cluster: &str) -> Vec<&'a Demand> {
    let own = |demand: &&Demand| {
        let example = demand.example.as_deref().unwrap_or_default();
        example.split('.').next() == Some(cluster)
    };
    schedd.demand.iter().filter(own).collect()
}

fn takes(matches: &Matches, demand: &Demand) -> bool {
    matches!(
        matches.answer(&node().node_type, &demand.key()),
        MatchAnswer::Takes
    )
}

#[test]
fn odd_jobs_cost_themselves_alone() {
    let Some(testbed) = Testbed::start() else {
        return;
    };
    let submit = |description: &str, queue: &str| {
        testbed.submit(None, &format!("{PLAIN}{description}\nqueue {queue}"))
    };
    let good = submit("request_memory = 640", "3");
    let served = [
        "requirements = member(TARGET.Machine, {\"n1\", \"n2\"}) || TARGET.Cpus > 1",
        "+Odd = [ a = { 1, \"x\\ty\" }; b = \"q\" ]\nrequirements = MY.Odd.b == \"q\" && TARGET.Cpus > 1",
        "+Odd = \"tab\there\"\nrequirements = MY.Odd =!= \"x\" && 'odd name' =!= 5 && TARGET.Cpus > 1",
        "+AcctGroup = { \"a\", \"b\" }\n+MaxHosts = { 1 }",
    ]
    .map(|description| (description, submit(description, "2")));
    let request = |attribute: &str, value: &str| (attribute.to_owned(), value.to_owned());
    let bad = [
        (
            "+RequestMemory = \"4 GB\"",
            request("RequestMemory", "\"4 GB\""),
        ),
        ("+RequestMemory = -5", request("RequestMemory", "-5")),
        (
            "+RequestMemory = undefined",
            request("RequestMemory", "undefined"),
        ),
        (
            "+RequestDisk = 1.0e300",
            request("RequestDisk", "1.000000000000000E+300"),
        ),
        ("+RequestCpus = error", request("RequestCpus", "error")),
        (
            "+RequestCpus = { 1, 2 }",
            request("RequestCpus", "{ 1, 2 }"),
        ),
        ("+RequestGPUs = true", request("RequestGPUs", "true")),
    ]
    .map(|(description, fault)| (submit(description, "2"), fault));
    let long: Vec<String> = (0..2000).map(|n| format!("TARGET.a{n} == {n}")).collect();
    let long = submit(&format!("requirements = {}", long.join(" || ")), "1");
    let limits = submit("+ConcurrencyLimits = [ a = 1 ]", "1");
    let parallel = submit("universe = parallel\nmachine_count = 3", "1");
    let whole = submit(
        "+WantWholeNode = True\n+JobCpus = 1\n\
         request_cpus = ifThenElse(WantWholeNode =?= true, !isUndefined(TotalCpus) ? TotalCpus : JobCpus, 1)\n\
         request_memory = !isUndefined(TotalMemory) ? TotalMemory * 95 / 100 : 2000",
        "4",
    );
    let numbered = submit("requirements = (ProcId % 2 == 0) || TARGET.Cpus > 100", "3");
    let deferred = submit(
        "deferral_time = time() + 3600\ndeferral_prep_time = 120\ndeferral_window = 60",
        "1",
    );
    submit("request_memory = 700\nmax_materialize = 2", "5");

    let (schedd, matches) = look(&testbed, None);
    let one = |cluster: &str| match of(&schedd, cluster)[..] {
        [demand] => demand.clone(),
        ref other => panic!("{cluster}: {other:?}"),
    };
    assert_eq!(one(&good).jobs, 3);
    assert!(takes(&matches, &one(&good)));
    for (description, cluster) in &served {
        let demand = one(cluster);
        assert_eq!(
            (demand.jobs, demand.fault.clone()),
            (2, None),
            "{description}"
        );
        assert!(
            takes(&matches, &demand),
            "{description}: {:?}",
            matches.answer(&node().node_type, &demand.key())
        );
    }
    for (cluster, (attribute, value)) in &bad {
        let demand = one(cluster);
        let expected = JobFault::Request {
            attribute: attribute.clone(),
            value: value.clone(),
        };
        assert_eq!((demand.jobs, demand.fault), (2, Some(expected)));
    }
    let unread = |cluster: &str| match one(cluster).fault {
        Some(JobFault::Unread { attribute, .. }) => attribute,
        other => panic!("{other:?}"),
    };
    assert_eq!(unread(&long).as_deref(), Some("Requirements"));
    assert_eq!(unread(&limits).as_deref(), Some("ConcurrencyLimits"));
    assert_eq!(
        (one(&parallel).jobs, one(&parallel).fault),
        (3, Some(JobFault::ParallelUniverse))
    );
    let demand = one(&whole);
    let asks = matches.request(&node().node_type, &demand.key());
    assert!(takes(&matches, &demand));
    assert_eq!((demand.jobs, asks.cpus, asks.memory_mb), (4, 4, 7680));
    let numbered: Vec<bool> = of(&schedd, &numbered)
        .into_iter()
        .map(|demand| takes(&matches, demand))
        .collect();
    assert_eq!(
        numbered.iter().filter(|takes| **takes).count(),
        2,
        "{numbered:?}"
    );
    let demand = one(&deferred);
    let time = demand.deferred.unwrap_or_default().as_secs();
    assert!(
        (3000..3600).contains(&time) && takes(&matches, &demand),
        "{demand:?}"
    );
    assert_eq!(schedd.to_come, 3);
    let waiting: u64 = schedd.demand.iter().map(|demand| demand.jobs).sum();
    // The job of the parallel universe is one in the queue.
    assert_eq!(waiting, schedd.jobs.idle + 2);

    // Each schedd says how many jobs it runs at most; ehos asks where jobs wait.
    let waits = testbed.submit(Some("second@"), "request_cpus = 7\nqueue 1");
    let root = testbed.root();
    let setting = root.join("etc/condor/config.d/80-max-jobs.config");
    fs::write(&setting, "MAX_JOBS_RUNNING = 2\n").unwrap();
    testbed.tool("condor_reconfig", &[]);
    let limited = Some(MaxRunning {
        limit: 2,
        running: 0,
    });
    let told = (0..20).any(|_| {
        std::thread::sleep(Duration::from_millis(500));
        look(&testbed, Some("second@")).0.max_running == limited
    });
    fs::remove_file(&setting).unwrap();
    testbed.tool("condor_reconfig", &[]);
    testbed.tool("condor_rm", &["-name", "second@", &waits]);
    assert!(told);
}

/// Groups of a queue in which no job is like another are all told, however often condor_q is asked.
#[test]
fn jobs_that_all_differ_are_all_counted() {
    let Some(testbed) = Testbed::start() else {
        return;
    };
    testbed.submit(
        None,
        &format!(
            "{PLAIN}+Own = $(ProcId)\nrequirements = TARGET.Cpus > MY.Own - 100000\nqueue 3000"
        ),
    );
    for _ in 0..3 {
        let (schedd, _) = look(&testbed, None);
        let jobs: u64 = schedd.demand.iter().map(|demand| demand.jobs).sum();
        assert_eq!(jobs, 3000);
    }
}
