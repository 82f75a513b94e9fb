//! HTCondor: not installed, down in part, and as it was recorded.

use std::fs;

use scaling::state::{State, UnmanagedMachines};

use crate::double::Double;
use crate::harness::cloud::{self, CREATE};
use crate::harness::{Site, condor};

fn site() -> (Double, Site) {
    let double = Double::start(cloud::script(vec![]));
    let site = Site::with_cloud(double.url()).waiting(1);
    (double, site)
}

/// All was read and nothing was done.
fn nothing_was_done(double: &Double, site: &Site) {
    assert_eq!(double.count("POST", CREATE), 0);
    assert_eq!(double.count("DELETE", ""), 0);
    for tool in ["condor_drain", "condor_advertise", "condor_token_create"] {
        assert!(!site.calls().contains(tool), "{}", site.calls());
    }
}

#[test]
fn tools_that_are_not_installed() {
    let (double, site) = site();
    fs::create_dir(site.path().join("empty")).unwrap();
    let empty = site.path().join("empty").display().to_string();
    let site = site.set("PATH", &empty);
    for (over, place) in [
        (String::new(), "$PATH".to_owned()),
        (format!("condor: {{bin: {empty}}}\n"), empty.clone()),
    ] {
        let site = Site::with_cloud(double.url())
            .set("PATH", &empty)
            .over(&over);
        site.tick(&[])
            .exits(75)
            .says(&format!(
                "unknown  collector: condor_status not found in {place}; install HTCondor's command line tools"
            ))
            .says("unknown  schedd local: condor_q not found in ")
            .says("or set condor.bin to their folder");
    }
    nothing_was_done(&double, &site);
}

#[test]
fn a_tool_that_may_not_be_run() {
    let (double, site) = site();
    fs::remove_file(site.tools().join("condor_q")).unwrap();
    site.write("tools/condor_q", "#!/bin/sh\n");
    site.tick(&[])
        .exits(75)
        .says("unknown  schedd local: condor_q could not be started: Permission denied")
        .says("check its permissions");
    nothing_was_done(&double, &site);
}

#[test]
fn a_collector_that_does_not_answer() {
    let (double, site) = site();
    let site = site.answers(
        "condor_status",
        "any",
        "err|Error: communication error\nerr|CEDAR:6001:Failed to connect to <10.0.0.1:9618>\nexit=1\n",
    );
    let site = site.answers(
        "condor_config_val",
        "COLLECTOR_HOST",
        "out|10.0.0.1\nexit=0\n",
    );
    site.tick(&[])
        .exits(75)
        .says("unknown  collector: no collector answers at 10.0.0.1:9618: ")
        .says("CEDAR:6001:Failed to connect to <10.0.0.1:9618>")
        .says("brake    creates and deletes blocked: ")
        .says("queue    1 idle")
        .says("plan     nothing to do");
    nothing_was_done(&double, &site);
}

#[test]
fn a_young_collector_has_not_heard_from_all() {
    let (double, site) = site();
    let site = site
        .answers(
            "condor_status",
            "-any",
            &condor::recorded("status-daemons.txt"),
        )
        .answers(
            "condor_status",
            "-collector",
            &condor::recorded("status-collector.txt"),
        );
    // No startd can be missing in a pool that has never had one.
    site.tick(&["--dry-run"])
        .exits(0)
        .says("brake    deletes blocked: the collector started 34 s ago")
        .says("creates continue: no node that has joined is missing")
        .says("plan     create 1 node (dry run)");
    let state = State {
        unmanaged: UnmanagedMachines::Seen,
        ..State::default()
    };
    let state = serde_json::json!({"version": 1, "state": state}).to_string();
    fs::create_dir_all(site.state()).unwrap();
    fs::write(site.state().join("state.json"), state).unwrap();
    site.tick(&[])
        .exits(0)
        .says("brake    creates and deletes blocked: the collector started 34 s ago")
        .says("plan     nothing to do");
    nothing_was_done(&double, &site);
}

#[test]
fn a_schedd_that_does_not_answer() {
    let (double, site) = site();
    let site = site.answers("condor_q", "-totals", &condor::recorded("q-schedd-off.txt"));
    site.tick(&[])
        .exits(75)
        .says("unknown  schedd local: no schedd answers as local: HTCondor says `Error: Can't find address for schedd host`")
        .never_says("Extra Info")
        .says("brake    deletes blocked: ")
        .says("plan     nothing to do");
    nothing_was_done(&double, &site);
}

#[test]
fn one_schedd_of_two_that_does_not_answer() {
    let (double, site) = site();
    let site = site.over("condor: {schedds: [one@cm, two@cm]}\n").answers(
        "condor_q",
        "two@cm",
        &condor::recorded("q-schedd-off.txt"),
    );
    site.tick(&[])
        .exits(1)
        .says("unknown  schedd two@cm: ")
        .never_says("unknown  schedd one@cm")
        .says("plan     create 1");
    assert_eq!(double.count("POST", CREATE), 1);
}

#[test]
fn answers_that_are_none() {
    for (tool, word, answer, why) in [
        (
            "condor_q",
            "-totals",
            "exit=0\n",
            "it is empty, and never should be",
        ),
        (
            "condor_q",
            "-totals",
            "out|All queues are empty\nexit=0\n",
            "All queues are empty",
        ),
        (
            "condor_status",
            "any",
            "out|\"n1\"\t\"slot1\nexit=0\n",
            "a line with 2 values instead of 26 to 31",
        ),
        (
            "condor_status",
            "-collector",
            "exit=0\n",
            "condor_status: cannot read the answer",
        ),
    ] {
        let (double, site) = site();
        let site = site.answers(tool, word, answer);
        site.tick(&[])
            .exits(75)
            .says("cannot read the answer about ")
            .says(why);
        nothing_was_done(&double, &site);
    }
}

/// A slot of another machine, with one of its values in another way.
fn odd_slot(index: usize, value: &str) -> String {
    let slot = condor::slot("odd", "uuid-odd", "node-odd", 900);
    let mut values: Vec<&str> = slot.trim_end().split('\t').collect();
    let first = format!("out|{value}");
    values[index] = if index == 0 { &first } else { value };
    values.join("\t") + "\n"
}

#[test]
fn one_slot_that_cannot_be_read_is_told_by_name_and_the_rest_goes_on() {
    let torn = "out|\"odd\"\t{\nout|   \"a\",\nout|}\tfalse\n".to_owned();
    let mut bad: Vec<(String, &str)> = (0..26)
        .map(|index| (odd_slot(index, "error"), "unknown  slot "))
        .collect();
    for value in ["undefined", "[ a = 1 ]", "{1,2}", "\"", "-1", "\u{fffd}"] {
        bad.push((
            odd_slot(16, value),
            "unknown  slot slot1@odd: cannot be read: Cpus: the slot counts as claimed",
        ));
    }
    bad.push((
        odd_slot(3, "error").replace("\"node-odd\"", "error"),
        "ehos keeps silent nodes to which it may belong",
    ));
    bad.push((
        torn,
        "unknown  slot of an unknown machine: a line with 2 values instead of 26 to 31",
    ));
    for (bad, words) in bad {
        let (double, site) = site();
        let site = site.waiting(2).over("daemon: {negotiation_cycle: 10s}\n");
        // One job fits the free slot of the good machine, a node is made for the other; none is placed on the bad one.
        let good = condor::slot("good", "uuid-good", "node-good", 900);
        for answer in [
            format!("{bad}{good}exit=0\n"),
            format!("{good}{bad}exit=0\n"),
        ] {
            let site = &site;
            condor::answer(&site.tools(), "condor_status", "any", &answer);
            site.tick(&["--dry-run"])
                .exits(1)
                .says(words)
                .says("plan     create 1 node (dry run)")
                .says("1 can run in free slots");
        }
        assert_eq!(double.count("DELETE", ""), 0);
    }
}

#[test]
fn machines_that_publish_lists_records_and_megabytes() {
    let (double, site) = site();
    let site = site.answers(
        "condor_status",
        "any",
        &condor::recorded("status-odd-slots.txt"),
    );
    site.tick(&[])
        .exits(1)
        .says("unknown  slot slot1@odd3: cannot be read: CloudInstanceID: ")
        .says("unknown  slot slot1@odd24: cannot be read: MyCurrentTime: ")
        .never_says("unknown  collector");
    assert_eq!(double.count("DELETE", ""), 0);
}

/// `+QDate = 5` and `+EnteredCurrentStatus = 5`: a free slot serves one of the jobs in the next negotiation cycle.
#[test]
fn a_job_waits_no_longer_than_ehos_has_seen_its_cluster() {
    let (double, site) = site();
    let slot = condor::slot("good", "uuid-good", "node-good", 900);
    let site = site
        .answers("condor_status", "any", &format!("{slot}exit=0\n"))
        .answers("condor_q", "-totals", &condor::totals(0, 0))
        .answers("condor_q", "-group-by", "exit=0\n");
    site.tick(&[]).exits(0).says("queue    0 idle");
    let recorded = condor::group(40, 1, 512);
    let claims: Vec<&str> = recorded.split('\t').collect();
    let forged = recorded.replace(&format!("{0}\t{0}", claims[5]), "5\t5");
    assert_ne!(forged, recorded);
    let site = site
        .answers("condor_q", "-totals", &condor::totals(40, 0))
        .answers("condor_q", "-group-by", &forged);
    site.tick(&[])
        .exits(0)
        .says("1 can run in free slots; create 3 nodes for 3 jobs; 36 waiting");
    assert_eq!(double.count("POST", CREATE), 3);
}

#[test]
fn a_recorded_pool_gets_the_nodes_that_it_needs() {
    let (double, site) = site();
    let site = site
        .answers(
            "condor_status",
            "any",
            &condor::recorded("status-slots.txt"),
        )
        .answers("condor_q", "-totals", &condor::recorded("q-totals.txt"))
        .over("daemon: {negotiation_cycle: 10s}\n");
    condor::recorded_groups(&site.tools());
    // One of the three jobs of one core fits into the free static slot; no flavor holds the others.
    site.tick(&[])
        .exits(0)
        .says("queue    49 idle, 3 running, 1 held")
        .says("1 can run in free slots; create 2 nodes for 2 jobs (waiting for 14 s)")
        .says("40 × 8 CPUs, 16384 MB     no flavor is large enough: requested 8 CPUs, 16384 MB; largest node 1 CPU, 1536 MB (m1.small in lab) (job 16.0, waiting for 14 s)")
        .says("plan     create 2 nodes");
    assert_eq!(double.count("POST", CREATE), 2);
    let received = double.received();
    let create = received.iter().find(|asked| asked.target == CREATE);
    assert_eq!(
        create.unwrap().json()["server"]["metadata"]["ehos_condor_host"],
        "10.0.0.1",
        "a second master tells by it whose nodes they are"
    );
    assert_eq!(
        double.count("DELETE", ""),
        0,
        "none of the pool's own nodes is ours"
    );
    assert!(!site.calls().contains("condor_drain"), "{}", site.calls());
}

#[test]
fn each_node_gets_a_token_of_its_own() {
    use base64::Engine;
    let (double, site) = site();
    let site = site.waiting(2).over("daemon: {max_unproven: 2}\n").script(
        "condor_token_create",
        "any",
        // Its id is the process's.
        "printf 'eyJh.%s.sig-of-%s\\n' \"$(printf '{\"jti\":\"id-%s\"}' $$ | base64 -w 0 | tr -d =)\" $$",
    );
    site.tick(&[]).exits(0);
    let mut creates = double.received();
    creates.retain(|request| request.method == "POST" && request.target == CREATE);
    assert_eq!(creates.len(), 2);
    let tokens: std::collections::BTreeSet<(String, String)> = creates
        .iter()
        .map(|create| {
            let server = create.json()["server"].clone();
            assert_eq!(server["metadata"]["ehos_token_lifetime"], "7776000");
            let id = server["metadata"]["ehos_token_id"]
                .as_str()
                .unwrap()
                .to_owned();
            let user_data = base64::engine::general_purpose::STANDARD
                .decode(server["user_data"].as_str().unwrap())
                .unwrap();
            let text = String::from_utf8(user_data).unwrap();
            let token = text.lines().find(|line| line.contains("eyJh.")).unwrap();
            assert!(
                token.ends_with(&id.replace("id-", "sig-of-")),
                "{token} {id}"
            );
            (id, token.to_owned())
        })
        .collect();
    assert_eq!(tokens.len(), 2, "{tokens:?}");
}

#[test]
fn no_node_is_made_with_a_token_that_ends_soon() {
    use base64::Engine;
    let (double, site) = site();
    let in_days = |days: i64| {
        let end = jiff::Timestamp::now().as_second() + days * 86_400;
        let claims = format!("{{\"exp\":{end},\"jti\":\"one\"}}");
        format!(
            "eyJh.{}.sig",
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(claims)
        )
    };
    let site = site.over("condor: {token_file: join}\n");
    for days in [-1, 6] {
        site.write("ehos.d/join", &in_days(days));
        site.tick(&[])
            .exits(1)
            .says("condor.token_file: this token ends in ")
            .says("daemon.token_renew_before");
    }
    assert_eq!(double.count("POST", CREATE), 0);
    site.write("ehos.d/join", &in_days(30));
    site.tick(&[]).exits(0);
    let metadata = double.wait_for("POST", CREATE).json()["server"]["metadata"].clone();
    let lifetime: i64 = metadata["ehos_token_lifetime"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(
        (30 * 86_400 - 60..=30 * 86_400).contains(&lifetime),
        "{lifetime}"
    );
    assert_eq!(metadata["ehos_token_id"], "one");
}

#[test]
fn a_token_that_cannot_be_made_stops_the_create_and_says_what_to_do() {
    let (double, site) = site();
    let site = site.answers(
        "condor_token_create",
        "any",
        "err|Failed to generate a token: no pool signing key\nexit=2\n",
    );
    site.tick(&[])
        .exits(1)
        .says("no token for a node: condor_token_create failed for execute@testbed (exit code 2): ")
        .says("give ehos a key of its own (condor.token_key)");
    assert_eq!(double.count("POST", CREATE), 0);
    assert_eq!(site.remembered().len(), 0, "it will be tried again");
}
