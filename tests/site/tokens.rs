//! A token that ends while a job runs, and a node whose pool is gone, on real machines.

use std::time::Duration;

use crate::machines::{By, Site, step, wait};

/// More of the configuration than the section `daemon:` that the site has.
fn configure(site: &Site, yaml: &str) {
    let script = "umask 022; cat >/etc/ehos/ehos.d/30-test.yaml";
    site.run(&["sh", "-c", script], yaml.as_bytes()).ok();
}

fn job_runs(site: &Site) -> bool {
    site.queue().get(&2) == Some(&1)
}

/// Seconds since a server was made, by the testbed's one clock.
fn up_for(site: &Site, machine: &str) -> u64 {
    let said = site.run_on(machine, &["cat", "/proc/uptime"], b"").ok();
    said.split('.').next().unwrap().trim().parse().unwrap()
}

#[test]
fn a_node_whose_token_has_ended_ends_its_job() {
    if !crate::story::long() {
        println!("skipped: EHOS_STORY is not `long` (scripts/test --long)");
        return;
    }
    let Some(mut site) = Site::up("token", "nodes_max: 1\nlost_job_timeout: 60 s") else {
        return;
    };
    // So that a node which counts as lost would go long before its job is done.
    configure(
        &site,
        "condor: {token_lifetime: 40 s}\ndaemon: {token_renew_before: 1 s, lost_timeout: 5 s, lost_job_timeout: 20 s}\n",
    );
    site.submit(1, 75, "");
    site.tick_until("the job runs", 60, By::Unit, &[0], job_runs);
    let node = site.nodes().remove(0);
    assert_eq!(node.metadata["ehos_token_lifetime"], "40");
    println!("    its token is {}", node.metadata["ehos_token_id"]);
    let machine = &node.name;
    wait("the token to end", 60, || up_for(&site, machine) > 42);

    step("it stays in the pool");
    site.tick(By::Unit);
    assert_eq!(site.slots().len(), 1);
    assert!(job_runs(&site));

    step("the collector restarts");
    site.stop_collector();
    site.start_collector();
    let asked = ["condor_status", "-collector", "-af", "Name"];
    let answer = site.run_on(machine, &asked, b"");
    println!("    condor_status on the node: {answer:?}");
    let mut looks = 0;
    while job_runs(&site) {
        let tick = site.tick(By::Unit);
        // At first the collector is too young.
        let unreachable = tick.text.contains("unreachable");
        looks += u32::from(unreachable);
        assert!(site.slots().is_empty(), "it came back\n{}", site.story());
        assert_eq!(site.nodes().len(), 1, "{}", site.story());
        std::thread::sleep(Duration::from_secs(2));
    }
    assert!(looks >= 3, "{}", site.story());
    wait("the job to leave the queue", 20, || site.queue().is_empty());
    let history = site.history();
    assert_eq!(history.len(), 1, "{history:#?}");
    let job = &history[0];
    assert_eq!(
        (job.status, job.starts, job.exit_code),
        (4, 1, 0),
        "{job:?}"
    );
    site.tick_until("the node is gone", 60, By::Unit, &[0, 1], |site| {
        site.nodes().is_empty()
    });
    step("done");
}

#[test]
fn a_node_whose_pool_is_gone_switches_itself_off_after_its_job() {
    if !crate::story::long() {
        println!("skipped: EHOS_STORY is not `long` (scripts/test --long)");
        return;
    }
    let Some(mut site) = Site::up("orphan", "nodes_max: 1") else {
        return;
    };
    site.submit(1, 45, "");
    site.tick_until("the job runs", 60, By::Unit, &[0], job_runs);
    let machine = site.nodes()[0].name.clone();

    step("the timer of the node looks each second, and has 5 s of patience instead of two hours");
    let script = "set -e
        for unit in service timer; do mkdir -p /run/systemd/system/ehos-orphan.$unit.d; done
        printf '[Service]\\nEnvironment=EHOS_ORPHAN_TIMEOUT=5\\n' >/run/systemd/system/ehos-orphan.service.d/test.conf
        printf '[Timer]\\nOnActiveSec=\\nOnUnitActiveSec=\\nOnActiveSec=1\\nOnUnitActiveSec=1\\nAccuracySec=100ms\\n' \\
            >/run/systemd/system/ehos-orphan.timer.d/test.conf
        systemctl daemon-reload; systemctl restart ehos-orphan.timer";
    site.run_on(&machine, &["sh", "-c", script], b"").ok();
    let status = |site: &Site| site.nodes()[0].status.clone();
    std::thread::sleep(Duration::from_secs(10));
    assert_eq!(status(&site), "ACTIVE", "its pool is there");

    step("the collector is away, the job runs on");
    site.stop_collector();
    let still = std::time::Instant::now();
    while job_runs(&site) {
        assert_eq!(status(&site), "ACTIVE", "switched off under its job");
        std::thread::sleep(Duration::from_secs(2));
    }
    println!(
        "    the job ran for {:?} without a collector",
        still.elapsed()
    );
    assert!(still.elapsed() > Duration::from_secs(10));
    wait("the node to switch itself off", 40, || {
        status(&site) == "SHUTOFF"
    });
    let history = site.history();
    assert_eq!(
        (history.len(), history[0].exit_code),
        (1, 0),
        "{history:#?}"
    );

    step("the collector is back");
    site.start_collector();
    site.tick_until("the node is gone", 60, By::Unit, &[0, 1, 75], |site| {
        site.nodes().is_empty()
    });
    step("done");
}
