//! What a real HTCondor says of jobs and of nodes that are not there yet.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use condor::CondorSettings;
use condor::{CondorPool, MatchFile, StartdAttributes};
use scaling::capacity::Capacity;
use scaling::job_requirements::{JobGroupKey, MatchAnswer, MatchResult, MatchTarget, Matches};
use scaling::observation::{Demand, Observed, PoolView, Resources};
use scaling::state::NodeType;
use system::deadline::Deadline;
use tick::pool::{Pool, TrackedMachines};

use crate::condor::Testbed;

fn candidate(example: Option<&str>) -> MatchTarget {
    MatchTarget {
        node_type: NodeType {
            cloud: "a".to_owned(),
            flavor: "m1".to_owned(),
            image: "gold".to_owned(),
        },
        capacity: Capacity::whole(Resources {
            cpus: 2,
            memory_mb: 2048,
            disk_kb: 1 << 22,
            gpus: 0,
        }),
        example: example.map(str::to_owned),
    }
}

/// A tick of its own: it knows what is on disk, and no more.
fn pool(testbed: &Testbed, memory: &Path) -> CondorPool {
    let settings = CondorSettings {
        bin: Some(testbed.bin()),
        ..CondorSettings::default()
    };
    let limit = Duration::from_secs(12);
    CondorPool::new(&settings, Duration::ZERO, limit, limit)
        .remembering(MatchFile::new(memory, true), StartdAttributes::new())
}

fn look(testbed: &Testbed, memory: &Path, node: &MatchTarget) -> (PoolView, Matches) {
    let pool = pool(testbed, memory);
    let deadline = Deadline::within(Duration::from_secs(40));
    let view = pool.observe(&TrackedMachines::default(), deadline);
    let jobs: BTreeSet<JobGroupKey> = demand(&view).iter().map(Demand::key).collect();
    let matches = pool.matches(&jobs, std::slice::from_ref(node), deadline);
    (view, matches)
}

fn demand(view: &PoolView) -> &[Demand] {
    match &view.schedds["local"] {
        Observed::Known(schedd) => &schedd.demand,
        Observed::Unknown(why) => panic!("{why}"),
    }
}

/// Idle jobs of one submit.
struct Submitted {
    id: String,
    jobs: u64,
}

impl Submitted {
    fn answer(&self, view: &PoolView, matches: &Matches) -> String {
        let first = format!("{}.0", self.id);
        let mine = |demand: &&Demand| demand.example.as_deref() == Some(&*first);
        let demand = demand(view).iter().find(mine);
        let demand = demand.unwrap_or_else(|| panic!("{first} is no demand: {view:?}"));
        assert_eq!(demand.jobs, self.jobs, "{first}");
        assert_eq!(demand.needs.0.len(), 16, "{demand:?}");
        match matches.answer(&candidate(None).node_type, &demand.key()) {
            MatchAnswer::Takes => "takes".to_owned(),
            MatchAnswer::Perhaps(clause) => format!("perhaps: {}", clause.unwrap_or("?")),
            MatchAnswer::Refuses(MatchResult::JobRefuses { clause }) => {
                format!("no: {}", clause.as_deref().unwrap_or("?"))
            }
            MatchAnswer::Refuses(verdict) => format!("{verdict:?}"),
            MatchAnswer::Unknown(why) => format!("unknown: {why}"),
        }
    }
}

#[test]
fn real_jobs_are_matched_with_new_nodes() {
    let Some(testbed) = Testbed::start() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let submit = |description: &str, jobs: u64| Submitted {
        id: testbed.submit(None, &format!("{description}\nqueue {jobs}")),
        jobs,
    };
    // Before the first node of a kind: what it depends on, and what is known.
    let cases = [
        (submit("request_memory = 512", 3), "takes", "takes"),
        (
            submit("requirements = OpSysAndVer == \"CentOS7\"", 2),
            "perhaps: OpSysAndVer == \"CentOS7\"",
            "no: OpSysAndVer == \"CentOS7\"",
        ),
        (
            submit("universe = docker\ndocker_image = debian", 1),
            "perhaps: TARGET.HasDocker",
            "no: TARGET.HasDocker",
        ),
        (
            submit("requirements = Machine == \"n1\"", 1),
            "no: Machine == \"n1\"",
            "no: Machine == \"n1\"",
        ),
        (
            submit("requirements = Machine =!= \"bad\"", 1),
            "takes",
            "takes",
        ),
        (
            submit("requirements = (time() - QDate) > -5", 1),
            "takes",
            "takes",
        ),
        (
            submit(
                "+Wanted = Base * 2\n+Base = 1\nrequirements = TARGET.Cpus > Wanted",
                1,
            ),
            "no: TARGET.Cpus > Wanted",
            "no: TARGET.Cpus > Wanted",
        ),
        (
            submit(
                "request_memory = 600\n+Other = 1\nshould_transfer_files = no",
                1,
            ),
            "perhaps: TARGET.FileSystemDomain == MY.FileSystemDomain",
            "takes",
        ),
    ];
    let new = candidate(None);
    let (view, matches) = look(&testbed, folder.path(), &new);
    for (jobs, before, _) in &cases {
        assert_eq!(jobs.answer(&view, &matches), *before);
    }

    // A node that takes one user's jobs only, and that draws no job away from here.
    testbed.script(
        "node-start",
        &["n1", "2", "2048", "-"],
        "START = TARGET.Owner == \"alice\" && TARGET.RequestCpus > 7\n",
    );
    let there = candidate(Some("slot1@n1"));
    let (view, matches) = look(&testbed, folder.path(), &there);
    let first = &cases[0].0;
    assert!(
        first
            .answer(&view, &matches)
            .starts_with("unknown: START of such a node asks a job for owner"),
        "{}",
        first.answer(&view, &matches)
    );
    let (view, matches) = look(&testbed, folder.path(), &there);
    for (jobs, _, after) in &cases {
        let after = if *after == "takes" {
            "NodeRefuses"
        } else {
            after
        };
        assert_eq!(jobs.answer(&view, &matches), after);
    }
    // What was learnt stays known when the node is gone.
    testbed.script("node-stop", &["n1"], "");
    let (view, matches) = look(&testbed, folder.path(), &new);
    assert_eq!(first.answer(&view, &matches), "NodeRefuses");
}
