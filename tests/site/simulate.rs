//! `ehos simulate --site` of a real HTCondor and a real OpenStack: its jobs are those that condor_history prints.

use serde_json::Value;

use crate::faults::rig::Rig;

#[test]
fn the_site_is_replayed_from_its_own_history() {
    let Some(rig) = Rig::up("simulate", "nodes_max: 3\nidle_timeout: 5 s") else {
        return;
    };
    rig.pool
        .submit(3, "1", "request_cpus = 1\nrequest_memory = 512");
    rig.tick_until("three jobs are done", 120, &[0, 1], |rig| {
        rig.pool.jobs(1) + rig.pool.jobs(2) == 0
    });
    let servers = rig.servers().len();
    let answer = rig.ehos("simulate", &["--site", "--days", "1", "-o", "json"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    let found: Value = serde_json::from_str(&answer.stdout).unwrap();
    println!("{:#}", found["workload"]);
    let figures = &found["runs"][0]["figures"];
    println!("{:#} {:#}", figures["jobs"], figures["wait"]);
    // Other tests of this testbed have left jobs in the same history.
    assert!(figures["jobs"]["submitted"].as_u64().unwrap() >= 3);
    assert!(figures["jobs"]["ended"].as_u64().unwrap() >= 3);
    assert_eq!(rig.servers().len(), servers, "nothing was created");
}
