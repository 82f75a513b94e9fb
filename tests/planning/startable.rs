//! Jobs that HTCondor would not start, or that could not be read, beside others.

use std::time::Duration;

use scaling::job_requirements::{JobFault, MatchResult, OwnerBound, RequirementsDigest};
use scaling::observation::{Demand, MaxRunning, Observation, Observed, Resources, ScheddView};
use scaling::plan::{Plan, plan};
use scaling::reason::Reason;
use scaling::seconds::Seconds;

use crate::small::{Small, SmallNode, SmallPhase, cloud, flavor, jobs, kind, made_in_order};

/// A cloud with nodes of 2 and of 4 cores, and eight jobs of one core.
fn small() -> Small {
    let flavors = vec![flavor(4, 8192, None), flavor(2, 4096, None)];
    Small::new(vec![cloud("a", flavors)], vec![jobs(8, 1, 512)])
}

fn planned(small: &Small, change: impl FnOnce(&mut Observation)) -> Plan {
    let (mut observation, policy, state) = small.scene();
    change(&mut observation);
    plan(&observation, &policy, &state)
}

fn schedd(observation: &mut Observation) -> &mut ScheddView {
    match observation.pool.schedds.get_mut("schedd0") {
        Some(Observed::Known(view)) => view,
        other => panic!("{other:?}"),
    }
}

/// As an adapter tells jobs with a fault.
fn faulty(fault: JobFault) -> Demand {
    Demand {
        request: Resources {
            cpus: 1,
            ..Resources::default()
        },
        needs: RequirementsDigest::unread(&format!("{fault:?}")),
        jobs: 3,
        waiting: Duration::from_secs(5000),
        example: Some("9.0".to_owned()),
        fault: Some(fault),
        ..Demand::default()
    }
}

fn faults() -> Vec<(JobFault, &'static str)> {
    let unread = |attribute: Option<&str>| JobFault::Unread {
        attribute: attribute.map(str::to_owned),
        problem: "odd".to_owned(),
    };
    let request = JobFault::Request {
        attribute: "RequestMemory".to_owned(),
        value: "\"4 GB\"".to_owned(),
    };
    vec![
        (request, "bad_request"),
        (JobFault::Missed, "deferral_missed"),
        (JobFault::ParallelUniverse, "parallel_universe"),
        (unread(Some("Requirements")), "unread"),
        (unread(None), "unread"),
    ]
}

/// It makes nothing, takes nothing away from the others, and is named.
#[test]
fn a_fault_costs_its_own_jobs_alone() {
    let well = made_in_order(&small().plan());
    assert_eq!(well.len(), 2);
    for (fault, reason) in faults() {
        let plan = planned(&small(), |observation| {
            schedd(observation).demand.push(faulty(fault.clone()));
        });
        assert_eq!(made_in_order(&plan), well, "{fault:?}");
        let group = plan.groups.iter().find(|group| group.jobs == 3).unwrap();
        assert_eq!(group.example.as_deref(), Some("9.0"));
        let names: Vec<&str> = group.why.iter().map(Reason::name).collect();
        assert_eq!(names, [reason], "{fault:?}");
        assert!(
            plan.unknown_sources.is_empty(),
            "{:?}",
            plan.unknown_sources
        );
    }
}

/// A share that is used up costs its owner's jobs alone, and is no silent matter.
#[test]
fn whoever_is_beyond_the_share_is_named() {
    let well = made_in_order(&small().plan());
    let bound = JobFault::OwnerBound {
        owner: Some("bob".to_owned()),
        bound: OwnerBound::Requirements,
    };
    let plan = planned(&small(), |observation| {
        schedd(observation).demand.push(faulty(bound.clone()));
    });
    assert_eq!(made_in_order(&plan), well);
    let [unseen] = &*plan.unknown_sources else {
        panic!("{:?}", plan.unknown_sources);
    };
    assert_eq!(unseen.source.to_string(), "jobs of bob");
    assert!(
        unseen.why.starts_with("no node is created for 3 of them: "),
        "{}",
        unseen.why
    );
}

/// What may run keeps what is free; what HTCondor never starts keeps nothing.
#[test]
fn only_what_may_run_keeps_an_idle_node() {
    for (fault, _) in faults() {
        let mut small = small();
        small.schedds = vec![Vec::new()];
        small.clouds[0].nodes = vec![SmallNode {
            flavor: 0,
            phase: SmallPhase::Idle { seconds: 4000 },
        }];
        let may_run = fault.may_run();
        let plan = planned(&small, |observation| {
            schedd(observation).demand.push(Demand {
                waiting: Duration::from_secs(10),
                ..faulty(fault.clone())
            });
        });
        let needed = plan
            .nodes
            .iter()
            .any(|node| matches!(node.why, Reason::NeededByDemand { .. }));
        assert_eq!(needed, may_run, "{fault:?} {:?}", plan.nodes);
    }
}

#[test]
fn no_node_is_made_for_jobs_that_the_schedd_would_not_start() {
    let with = |limit, running| {
        planned(&small(), |observation| {
            schedd(observation).max_running = Some(MaxRunning { limit, running });
        })
    };
    assert_eq!(made_in_order(&with(10_000, 3)).len(), 2);
    assert_eq!(made_in_order(&with(8, 0)).len(), 2);
    for (limit, running, nodes, jobs) in [(2, 0, 1, 6), (10, 9, 1, 7), (5, 9, 0, 8), (0, 0, 0, 8)] {
        let plan = with(limit, running);
        assert_eq!(made_in_order(&plan).len(), nodes, "{limit} {running}");
        let held = plan.groups[0].why.iter().find_map(|why| match why {
            Reason::MaxJobsRunning {
                jobs,
                schedd,
                limit,
                ..
            } => Some((*jobs, schedd.as_str(), *limit)),
            _ => None,
        });
        assert_eq!(held, Some((jobs, "schedd0", limit)), "{:?}", plan.groups);
        assert!(
            plan.groups[0].why[0]
                .to_string()
                .contains(&format!("MAX_JOBS_RUNNING {limit} of schedd schedd0"))
        );
    }
}

/// Jobs that no node runs have waited for longest, and are more than the schedd would start.
#[test]
fn jobs_that_no_node_runs_take_nothing_of_the_limit_of_their_schedd() {
    let unread = JobFault::Unread {
        attribute: Some("Requirements".to_owned()),
        problem: "odd".to_owned(),
    };
    let too_large = Demand {
        request: Resources {
            cpus: 64,
            memory_mb: 512,
            ..Resources::default()
        },
        fault: None,
        needs: RequirementsDigest::default(),
        ..faulty(unread.clone())
    };
    let refused = Demand {
        needs: RequirementsDigest("of a machine that is not there".to_owned()),
        fault: None,
        ..faulty(unread.clone())
    };
    let not_asked = Demand {
        needs: RequirementsDigest::unread("room"),
        fault: None,
        ..faulty(unread.clone())
    };
    for stuck in [faulty(unread), too_large, refused, not_asked] {
        let small = small();
        let plan = planned(&small, |observation| {
            for position in 0..2 {
                let verdict = MatchResult::JobRefuses { clause: None };
                let (kind, asks) = (kind(&small.clouds[0], position), stuck.key());
                if stuck.needs.0.starts_with("of a machine") {
                    observation
                        .matches
                        .insert(kind, asks, Observed::Known(verdict));
                }
            }
            let schedd = schedd(observation);
            schedd.max_running = Some(MaxRunning {
                limit: 8,
                running: 0,
            });
            schedd.demand.push(Demand {
                jobs: 20_000,
                ..stuck.clone()
            });
        });
        assert_eq!(made_in_order(&plan).len(), 2, "{:?}", plan.groups);
    }
}

/// One schedd's limit is none of the other's.
#[test]
fn the_limit_of_a_schedd_is_its_own() {
    let mut small = small();
    small.schedds.push(vec![jobs(4, 1, 512)]);
    let plan = planned(&small, |observation| {
        schedd(observation).max_running = Some(MaxRunning {
            limit: 1,
            running: 1,
        });
    });
    assert_eq!(made_in_order(&plan), ["a/f0"]);
}

#[test]
fn nodes_are_made_for_deferred_jobs_shortly_before_their_time() {
    let with = |seconds: &[u64]| {
        planned(&small(), |observation| {
            let schedd = schedd(observation);
            let one = schedd.demand.remove(0);
            schedd.demand.extend(seconds.iter().map(|seconds| Demand {
                deferred: Some(Duration::from_secs(*seconds)),
                ..one.clone()
            }));
        })
    };
    // boot_timeout is 15 minutes.
    assert_eq!(made_in_order(&with(&[400])).len(), 2);
    let later = with(&[4000, 9000]);
    assert_eq!(made_in_order(&later).len(), 0);
    let expected = Reason::Deferred {
        jobs: 16,
        seconds: Seconds(4000),
    };
    assert_eq!(later.groups[0].why, [expected]);
    assert_eq!(made_in_order(&with(&[4000, 100])).len(), 2);
}

/// A request that depends on the machine is another one of each kind of node.
#[test]
fn each_job_that_asks_for_a_whole_node_gets_one() {
    let mut small = small();
    small.schedds = vec![vec![jobs(3, 1, 512)]];
    let whole = |small: &Small, which: &[usize]| {
        planned(small, |observation| {
            let asks = schedd(observation).demand[0].key();
            for (position, cpus, memory_mb) in [(0, 4, 7000), (1, 2, 3000)] {
                if which.contains(&position) {
                    let request = Resources {
                        cpus,
                        memory_mb,
                        ..asks.request
                    };
                    let kind = kind(&small.clouds[0], position);
                    observation
                        .matches
                        .insert_request(kind, asks.clone(), request);
                }
            }
        })
    };
    assert_eq!(
        made_in_order(&whole(&small, &[])),
        ["a/f0"],
        "beside each other"
    );
    assert!(!small.plan().groups[0].by_machine);
    assert!(whole(&small, &[0, 1]).groups[0].by_machine);
    assert_eq!(made_in_order(&whole(&small, &[0, 1])), ["a/f0"; 3]);
    // One idle node takes one of them, and a busy one none.
    small.clouds[0].nodes = vec![
        SmallNode {
            flavor: 1,
            phase: SmallPhase::Idle { seconds: 5 },
        },
        SmallNode {
            flavor: 0,
            phase: SmallPhase::Busy { cpus: 1 },
        },
    ];
    let plan = whole(&small, &[0, 1]);
    assert_eq!(made_in_order(&plan), ["a/f0"; 2], "{:?}", plan.groups);
    assert!(
        plan.groups[0].why.contains(&Reason::FitsFree { jobs: 1 }),
        "{:?}",
        plan.groups
    );
}

#[test]
fn jobs_to_come_are_told_and_make_nothing() {
    let plan = planned(&small(), |observation| schedd(observation).to_come = 700);
    assert_eq!(plan.to_come, 700);
    assert_eq!(made_in_order(&plan).len(), 2);
}

#[test]
fn what_could_not_be_read_of_the_negotiator_is_told_by_name() {
    let plan = planned(&small(), |observation| {
        let schedd = schedd(observation);
        schedd.demand[0].accounting_group = Some("g".to_owned());
        if let Observed::Known(negotiator) = &mut observation.pool.negotiator {
            negotiator.unread.push("accounting group g: odd".to_owned());
        }
    });
    assert_eq!(made_in_order(&plan).len(), 2);
    assert!(
        plan.notices
            .iter()
            .any(|notice| notice.contains("accounting group g")),
        "{:?}",
        plan.notices
    );
}

/// A slot is claimed before its job counts as running.
#[test]
fn young_jobs_whose_slots_are_claimed_already_need_no_node() {
    let mut small = small();
    small.clouds[0].nodes = vec![SmallNode {
        flavor: 0,
        phase: SmallPhase::Busy { cpus: 4 },
    }];
    let claims = {
        let (observation, ..) = small.scene();
        let startds = &observation.pool.collector.known().unwrap().startds;
        startds[0].claims()
    };
    let held = |young: u64, running: u64| {
        let plan = planned(&small, |observation| {
            let schedd = schedd(observation);
            schedd.jobs.running = running;
            schedd.demand[0].young = young;
        });
        let why = plan.groups[0].why.iter();
        let held: u64 = why
            .map(|why| match why {
                Reason::FitsClaimed { jobs } => *jobs,
                _ => 0,
            })
            .sum();
        held
    };
    assert!(claims > 0);
    assert_eq!(held(8, 0), claims);
    assert_eq!(held(8, claims), 0, "all of them run jobs");
    assert_eq!(held(8, claims + 5), 0);
    assert_eq!(held(0, 0), 0, "older jobs have been looked at");
}
