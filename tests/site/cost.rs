//! `ehos cost` with a real HTCondor and a real OpenStack: the job of condor_history pays for the node that it ran on.

use serde_json::Value;

use crate::faults::rig::Rig;

#[test]
fn the_owner_of_the_jobs_pays_for_the_nodes() {
    let Some(rig) = Rig::up("cost", "nodes_max: 2\nidle_timeout: 5 s") else {
        return;
    };
    rig.over("clouds:\n  big: {prices: {m1.small: 0.36, m1.medium: 0.72}}\n  small: {prices: {m1.small: 0.36, m1.medium: 0.72}}\n");
    rig.pool.submit(
        2,
        "8",
        "request_cpus = 1\nrequest_memory = 256\naccounting_group = group_phys",
    );
    rig.tick_until("two jobs are done", 180, &[0, 1], |rig| {
        rig.pool.jobs(1) + rig.pool.jobs(2) == 0
    });
    rig.tick(&[]);
    let report = |by: &str| {
        let answer = rig.ehos("cost", &["--by", by, "-o", "json"]);
        assert_eq!(answer.code, 0, "{answer:?}");
        serde_json::from_str::<Value>(&answer.stdout).unwrap()
    };
    let by_owner = report("owner");
    println!("{by_owner:#}\n{}", rig.ehos("cost", &["--apart"]).stdout);
    let rows = by_owner["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 1, "one user has submitted them");
    assert_eq!(rows[0]["jobs"], 2);
    let used = rows[0]["used_core_seconds"].as_f64().unwrap();
    assert!(
        (16.0..60.0).contains(&used),
        "{used} core-seconds for two jobs of 8 s"
    );
    let paid = rows[0]["paid_core_seconds"].as_f64().unwrap();
    assert!(paid >= used, "{paid} core-seconds are paid");
    // Other tests have left jobs of nodes that are no longer known: these are not in the sums.
    for by in ["accounting-group", "cloud", "flavor", "day", "node"] {
        assert_eq!(report(by)["total"], by_owner["total"], "by {by}");
    }
}
