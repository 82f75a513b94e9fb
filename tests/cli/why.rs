//! `ehos explain JOB`: why a job waits, with fake tools of HTCondor.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use crate::double::Double;
use crate::harness::cloud;
use crate::harness::{Run, Site, condor};
use crate::json::{documented, fields};

const RECORDED: i64 = 1_795_353_048;

fn explain(site: &Site, more: &[&str]) -> Run {
    let (config, state) = (site.config(), site.state());
    let mut args = vec![
        "explain",
        "--utc",
        "--config",
        config.to_str().unwrap(),
        "--state-dir",
        state.to_str().unwrap(),
    ];
    args.extend(more);
    site.run(&args)
}

/// `condor_q -json` of one job of alice, with further attributes.
fn ad(more: &str) -> String {
    let queued = RECORDED - 600;
    format!(
        "out|[\nout|{{\nout|\"ClusterId\": 7, \"ProcId\": 0, \"Owner\": \"alice\", \"JobUniverse\": 5, \"QDate\": {queued},\n\
         out|\"EnteredCurrentStatus\": {queued}, \"RequestCpus\": 1, \"RequestMemory\": 512, {more}\nout|}}\nout|]\nexit=0\n"
    )
}

/// A site with jobs of alice that wait, after a tick. The schedd tells of job 7.0 when it is asked for it.
fn waiting(double: &Double, jobs: u64, requirements: &str) -> Site {
    let group = condor::group(jobs, 1, 512);
    let line = group.lines().next().unwrap().to_owned() + requirements + "\n";
    let each = line.replacen(&format!("out|{jobs}\t"), "out|1\t", 1);
    let site = Site::with_cloud(double.url())
        .set("COLUMNS", "250")
        .waiting(jobs)
        .answers("condor_q", "-group-by", &format!("{line}exit=0\n"))
        .answers("condor_q", "-json", &ad("\"JobStatus\": 1"))
        .answers("condor_q", "any", &format!("{each}exit=0\n"));
    site.tick(&[]);
    // From now on the schedd is asked for one job.
    site.answers("condor_q", "-totals", &condor::totals(1, 0))
}

fn state_is(site: &Site, status: &str) {
    condor::answer(&site.tools(), "condor_q", "-json", &ad(status));
}

#[test]
fn a_waiting_job_learns_its_group_its_limit_and_what_helps() {
    let double = Double::start(cloud::script(vec![]));
    let site = waiting(&double, 40, "TARGET.Arch == \"X86_64\"").over("daemon: {nodes_max: 1}");
    site.tick(&[]);
    explain(&site, &["7.0"])
        .exits(0)
        .warns_nothing()
        .says("job      7.0 of alice: waiting since 20")
        .says("request  1 CPU, 512 MB")
        .says("waiting jobs with equal request and Requirements, with these reasons since ")
        .says("limited by nodes_max 1")
        .says("help     ask the administrator to raise nodes_max (now 1), or wait for a free slot")
        .says("tick     the last ");
}

#[test]
fn a_clause_that_no_node_satisfies_is_named_with_the_remedy() {
    let double = Double::start(cloud::script(vec![]));
    let site = waiting(
        &double,
        2,
        "(TARGET.Arch == \"X86_64\") && (TARGET.OpSys == \"NO\")",
    );
    explain(&site, &["7.0"])
        .exits(0)
        .says("why      no match: TARGET.OpSys == \"NO\" is false on m1.small in ")
        .says("change this clause of the job's Requirements with condor_qedit 7.0 Requirements: TARGET.OpSys == \"NO\"");
}

#[test]
fn held_removed_running_and_finished_jobs_are_told_apart() {
    let double = Double::start(cloud::script(vec![]));
    let site = waiting(&double, 2, "");
    state_is(
        &site,
        "\"JobStatus\": 5, \"HoldReason\": \"via condor_hold\"",
    );
    explain(&site, &["7.0"])
        .exits(0)
        .says("7.0 of alice: held since ")
        .says("reason   via condor_hold")
        .says("condor_release 7.0");
    let started = RECORDED - 300;
    state_is(
        &site,
        &format!(
            "\"JobStatus\": 2, \"RemoteHost\": \"slot1_1@n1\", \"JobCurrentStartDate\": {started}"
        ),
    );
    explain(&site, &["7.0"])
        .exits(0)
        .says("7.0 of alice: running since ")
        .says("waited 5 min")
        .says("node     n1, not a node of the last tick");
    let site = site.answers("condor_q", "-json", "exit=0\n").answers(
        "condor_history",
        "any",
        &ad(&format!(
            "\"JobStatus\": 4, \"LastRemoteHost\": \"slot1_1@n1\", \"JobCurrentStartDate\": {started}, \
             \"CompletionDate\": {RECORDED}, \"RemoteWallClockTime\": 300.0"
        )),
    );
    explain(&site, &["7.0"])
        .exits(0)
        .says("7.0 of alice: completed at ")
        .says("waited 5 min, ran 5 min");
    let calls = site.calls();
    let history = calls
        .lines()
        .find(|call| call.starts_with("condor_history"));
    assert!(history.unwrap().contains("-limit 1 "), "{calls}");
    let site = site.answers("condor_history", "any", "exit=0\n");
    explain(&site, &["7.0"])
        .exits(1)
        .warns("7.0: neither in the queue nor in the job history of this schedd");
}

#[test]
fn a_job_that_is_younger_than_the_tick_and_one_of_another_universe() {
    let double = Double::start(cloud::script(vec![]));
    let site = waiting(&double, 2, "");
    let later = "\"JobStatus\": 1, \"EnteredCurrentStatus\": 1999999999, \"JobPrio\": 0";
    let text = ad(later).replace(
        &format!("\"EnteredCurrentStatus\": {}, ", RECORDED - 600),
        "",
    );
    // It asks for another amount of memory than those of the last tick.
    let group = condor::group(1, 1, 333);
    let site = site
        .answers("condor_q", "-json", &text)
        .answers("condor_q", "any", &group);
    explain(&site, &["7.0"])
        .exits(0)
        .says("group    younger than the last tick: the next tick decides");
    state_is(&site, "\"JobStatus\": 1, \"JobUniverse\": 12");
    let site = site.answers("condor_q", "-totals", &condor::totals(0, 0));
    let text = ad("\"JobStatus\": 1").replace("\"JobUniverse\": 5", "\"JobUniverse\": 12");
    condor::answer(&site.tools(), "condor_q", "-json", &text);
    explain(&site, &["7.0"])
        .exits(0)
        .says("add 12 to condor.universes");
}

#[test]
fn a_cluster_and_a_user_have_all_their_groups() {
    let double = Double::start(cloud::script(vec![]));
    let site = waiting(&double, 2, "TARGET.Arch == \"X86_64\"").answers(
        "condor_q",
        "-totals",
        &condor::totals(2, 0),
    );
    for (subject, label) in [
        ("7", "cluster  7: 2 waiting, 0 running"),
        ("alice", "user     alice: 2 waiting"),
    ] {
        explain(&site, &[subject])
            .exits(0)
            .says(label)
            .says("request  2 × 1 CPU, 512 MB, such as 7.0")
            .says("2 waiting jobs with equal request and Requirements");
    }
    let site = site.answers("condor_q", "-totals", &condor::totals(0, 0));
    explain(&site, &["mallory"])
        .exits(1)
        .warns("node mallory: not found in ")
        .warns("no user of this name has jobs");
}

#[test]
fn json_has_documented_fields() {
    let double = Double::start(cloud::script(vec![]));
    let site = waiting(&double, 40, "TARGET.Arch == \"X86_64\"").over("daemon: {nodes_max: 1}");
    site.tick(&[]);
    let answer = explain(&site, &["7.0", "-o", "json"]).exits(0).json();
    assert_eq!(answer["condition"], "idle");
    assert!(answer["groups"][0]["reasons"][0]["reason"].is_string());
    let mut found = BTreeSet::new();
    fields(&answer, "", &mut found);
    let documented = documented("ehos explain JOB");
    found.retain(|field| !field.starts_with("groups.reasons."));
    let missing: Vec<_> = found.difference(&documented).collect();
    assert!(missing.is_empty(), "not in docs/json.md: {missing:?}");
}

#[test]
fn owners_and_jobs_are_named_in_the_report_unless_the_site_hides_them() {
    let double = Double::start(cloud::script(vec![]));
    let site = waiting(&double, 2, "");
    let last = || fs::read_to_string(site.state().join("history/last.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&last()).unwrap();
    let group = &report["job_groups"][0];
    assert_eq!(group["owners"][0]["owner"], "alice", "{group:#}");
    assert_eq!(group["job_ids"][0], "7.0");
    assert_eq!(group["id"].as_str().unwrap().len(), 16);
    assert!(site.calls().contains("GlobalJobId"));
    let site = site
        .over(
            "daemon: {show_owners: false, max_unproven: 20, user_limits: {alice: {nodes_max: 1}}}",
        )
        .answers("condor_q", "-totals", &condor::totals(40, 0))
        .answers("condor_q", "-group-by", &condor::group(40, 1, 512));
    site.tick(&["-o", "json"])
        .exits(0)
        .says("of user hidden")
        .never_says("alice")
        .never_says("7.0");
    // More job groups than are read of one owner.
    let groups = 1..=10_001_u64;
    let many = groups.map(|cpus| condor::group(40, cpus, 512).replace("exit=0\n", ""));
    let many: String = many.collect();
    let site = site
        .answers("condor_q", "-totals", &condor::totals(400_040, 0))
        .answers("condor_q", "-group-by", &format!("{many}exit=0\n"));
    site.tick(&["-o", "json"])
        .says("jobs of hidden")
        .never_says("alice");
    let site = site.answers("condor_q", "-group-by", &condor::group(40, 1, 512));
    site.tick(&[]);
    let history = fs::read_dir(site.state().join("history")).unwrap();
    let last = fs::read_to_string(site.state().join("history/last.json")).unwrap();
    assert!(!last.contains("alice") && !last.contains("7.0"), "{last}");
    assert!(history.count() > 0);
    assert!(!site.calls().contains("State =?= \"Claimed\""));
    let site = site.answers("condor_q", "-totals", &condor::totals(1, 0));
    explain(&site, &["7.0"])
        .exits(0)
        .says("40 waiting jobs with equal");
}

#[test]
fn any_user_may_ask_and_reads_nothing_but_the_history() {
    let double = Double::start(cloud::script(vec![]));
    let site = waiting(&double, 2, "");
    let state = site.state();
    let Some(mut command) =
        site.as_nobody(&["explain", "7.0", "--state-dir", state.to_str().unwrap()])
    else {
        return;
    };
    // The configuration may hold secrets.
    fs::set_permissions(site.config(), fs::Permissions::from_mode(0o600)).unwrap();
    site.finish(&mut command)
        .exits(0)
        .says("job      7.0 of alice: waiting since ");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o711);
    for entry in fs::read_dir(&state).unwrap() {
        let path = entry.unwrap().path();
        if !path.ends_with("history") {
            assert_eq!(mode(&path) & 0o077, 0, "{}", path.display());
        }
    }
}

/// A page that is stopped at the end.
struct Page(Child);

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The page of a site, and its address.
fn page_of(site: &Site) -> (Page, String) {
    use std::io::{BufRead, BufReader};
    let mut page = Command::new(testkit::program!())
        .args(["frontend", "--listen", "127.0.0.1:0", "--state-dir"])
        .arg(site.state())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let stdout = page.stdout.take().unwrap();
    let page = Page(page);
    BufReader::new(stdout).read_line(&mut line).unwrap();
    let url = line.trim().strip_prefix("listening on ").unwrap();
    (page, url.to_owned())
}

/// Adds a node to the history that is gone.
fn node_is_gone(site: &Site, machine: &str) {
    let mut days = fs::read_dir(site.state().join("history")).unwrap();
    let day = days.find_map(|day| {
        let path = day.unwrap().path();
        (path.extension()? == "jsonl").then_some(path)
    });
    let day = day.unwrap();
    let text = fs::read_to_string(&day).unwrap();
    let mut record: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let mut event = record["events"][0].clone();
    for (field, value) in [
        ("node", "20200101T000000-01".into()),
        ("name", "gone".into()),
        ("machine", machine.into()),
        ("vcpus", 4.into()),
        ("per_hour", 0.4.into()),
    ] {
        event[field] = value;
    }
    record["events"] = vec![event].into();
    record["actions"] = serde_json::Value::Array(Vec::new());
    fs::write(&day, format!("{text}{record}\n")).unwrap();
}

#[test]
fn a_finished_job_has_its_share_of_a_node_that_is_gone_on_both_hosts() {
    let double = Double::start(cloud::script(vec![]));
    let site = waiting(&double, 2, "");
    node_is_gone(&site, "n1");
    let started = RECORDED - 300;
    let site = site.answers("condor_q", "-json", "exit=0\n").answers(
        "condor_history",
        "any",
        &ad(&format!(
            "\"JobStatus\": 4, \"LastRemoteHost\": \"slot1_1@n1\", \"JobCurrentStartDate\": {started}, \
             \"CompletionDate\": {RECORDED}, \"RemoteWallClockTime\": 300.0"
        )),
    );
    let (_page, url) = page_of(&site);
    let token = site.state().join("frontend.token");
    let page = ["--url", &url, "--token-file", token.to_str().unwrap()];
    let elsewhere = site.path().join("elsewhere");
    let start = ["explain", "7.0", "--state-dir", elsewhere.to_str().unwrap()];
    let there = site.run(&[&start[..], &page].concat());
    let here = explain(&site, &["7.0"]);
    for run in [&here, &there] {
        // Five minutes on one of four cores.
        run.exits(0)
            .warns_nothing()
            .says("its share of the node's cost is about 0.008");
    }
    // A page that knows no such node keeps nothing back.
    let site = site.answers(
        "condor_history",
        "any",
        &ad("\"JobStatus\": 4, \"LastRemoteHost\": \"slot1_1@n2\", \"RemoteWallClockTime\": 300.0"),
    );
    let unknown = site.run(&[&start[..], &page].concat());
    unknown.exits(0).warns_nothing().says("completed");
}

#[test]
fn on_another_host_the_page_tells_of_the_last_tick() {
    let double = Double::start(cloud::script(vec![]));
    let site = waiting(&double, 2, "");
    let state = site.state();
    let (_page, url) = page_of(&site);
    let elsewhere = site.path().join("elsewhere");
    let ask = |more: &[&str]| {
        let start = ["explain", "7.0", "--state-dir", elsewhere.to_str().unwrap()];
        site.run(&[&start[..], more].concat())
    };
    ask(&[])
        .exits(75)
        .says("7.0 of alice: waiting since ")
        .warns("no tick on this host; if ehos runs on another host, run ssh -L 5000:localhost:5000 HOST, ");
    ask(&["--url", &url])
        .exits(75)
        .warns("give --token-file FILE");
    let token = state.join("frontend.token");
    ask(&["--url", &url, "--token-file", token.to_str().unwrap()])
        .exits(0)
        .warns_nothing()
        .says("2 waiting jobs with equal request");
    // A node has the same history here as there.
    let node = &site.remembered()[0];
    let ask = |subject: &str, more: &[&str]| {
        let elsewhere = elsewhere.to_str().unwrap();
        let token = token.to_str().unwrap();
        let start = ["explain", subject, "--utc", "--state-dir", elsewhere];
        let page = ["--url", &url, "--token-file", token];
        site.run(&[&start[..], &page, more].concat())
    };
    for output in [&[][..], &["-o", "json"]] {
        let there = explain(&site, &[&[node.as_str()][..], output].concat());
        let here = ask(node, output);
        assert_eq!(here.exits(0).stdout, there.exits(0).stdout);
    }
    ask("alice", &[]).exits(0).says("user     alice: ");
    let (site, nearly) = (
        site.answers("condor_q", "-totals", &condor::totals(0, 0))
            .answers("condor_q", "any", "exit=0\n")
            .answers("condor_q", "-group-by", "exit=0\n"),
        node.replace("-01", "-09"),
    );
    for name in [nearly.as_str(), "../../etc/passwd", "a%2f b?c#d"] {
        let start = ["explain", name, "--state-dir", elsewhere.to_str().unwrap()];
        let page = ["--url", &url, "--token-file", token.to_str().unwrap()];
        site.run(&[&start[..], &page].concat())
            .exits(1)
            .warns("not found at the page: no node of this name in the history");
    }
    let start = [
        "explain",
        &nearly,
        "--state-dir",
        elsewhere.to_str().unwrap(),
    ];
    let page = ["--url", &url, "--token-file", token.to_str().unwrap()];
    site.run(&[&start[..], &page].concat())
        .warns("similar names: ")
        .warns(node)
        .warns("give --schedd NAME");
}
