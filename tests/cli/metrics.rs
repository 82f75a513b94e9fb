//! The figures of a tick: the textfile of Prometheus, and InfluxDB, which neither delays a tick nor changes its end.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use report::TickReport;
use report::history;
use report::metrics::{influx, prometheus};
use report::names::BrakeName;

use crate::double::{Double, Reply, always};
use crate::harness::cloud::{self, LOGIN};
use crate::harness::{PASSWORD, Site, repository};

const WRITE: &str = "/write?db=ehos";

/// promtool, where there is one; in CI there must be.
fn promtool() -> Option<PathBuf> {
    let named = std::env::var_os("EHOS_TEST_PROMTOOL").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path);
    let found = named.or_else(|| {
        folders.find_map(|folder| Some(folder.join("promtool")).filter(|file| file.is_file()))
    });
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI needs promtool");
        println!("skipped: no promtool in PATH, and EHOS_TEST_PROMTOOL is not set");
    }
    found
}

/// Runs promtool with these words and this on standard input.
fn promtool_says_well(words: &[&str], input: &str) {
    use std::io::Write as _;
    let Some(promtool) = promtool() else { return };
    let mut child = Command::new(promtool)
        .args(words)
        .current_dir(repository().join("configs/prometheus"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        output.status.success(),
        "promtool {words:?}: {said}\n{input}"
    );
    assert!(
        words[0] != "check" || words[1] != "metrics" || said.is_empty(),
        "{said}"
    );
}

fn last(site: &Site) -> TickReport {
    history::last(&history::folder(&site.state()))
        .unwrap()
        .unwrap()
}

/// A simulated site with all there can be: prices, budgets, ends of nodes.
fn busy() -> Site {
    Site::simulated().over("daemon: {budget: {per_hour: 500, per_month: 9000}}\n")
}

/// Ticks of several kinds.
fn snapshots() -> Vec<TickReport> {
    let site = busy();
    let mut all: Vec<TickReport> = (0..45)
        .map(|_| {
            site.tick(&[]);
            last(&site)
        })
        .collect();
    let double = Double::start(cloud::script(vec![always(
        "POST",
        cloud::CREATE,
        Reply::fixture("server-create-quota-instances"),
    )]));
    let site = Site::with_cloud(double.url())
        .waiting(2)
        .over("ehos: {prices: {m1.small: 0.25}}\ndaemon: {budget: {per_hour: 5, per_month: 7}}\n");
    for _ in 0..3 {
        site.tick(&[]);
        all.push(last(&site));
    }
    double.play(vec![always(
        "POST",
        LOGIN,
        Reply::fixture("token-password-wrong"),
    )]);
    let site = site.answers(
        "condor_status",
        "any",
        "err|Error: communication error\nexit=1\n",
    );
    site.tick(&[]).exits(75);
    all.push(last(&site));
    all.extend([of_everything(), TickReport::default()]);
    all
}

/// One with a value in each field that a metric is made of, and names that have to be escaped.
pub fn of_everything() -> TickReport {
    let cloud = "a \"b\\c\nd";
    serde_json::from_value(serde_json::json!({
        "version": 1, "program": "0.0.0", "at": "2026-11-26T12:00:00.5Z", "exit": 1, "milliseconds": 1234,
        "source_milliseconds": {"pool": 12, "cloud a, b=c": 1000},
        "policy": {"nodes_min": 1, "nodes_max": 9, "cores_max": 64, "budget": {"per_hour": 3.5, "per_month": 100}},
        "queue": {"schedds": 1, "idle": 7, "running": 5, "held": 2, "waiting": 6, "longest_seconds": 99,
            "unmatched": 1, "limited": 4},
        "demand": {"cpus": 12, "memory_mb": 1024, "disk_kb": 5, "gpus": 1},
        "cores": {"paid": 8, "joined": 8, "claimed": 5, "free": 3, "unmanaged": 2, "unmanaged_claimed": 1},
        "unknown_sources": [{"source": "cloud down", "cause": ""}, {"source": "matches", "cause": ""},
            {"source": "flavor f of cloud c", "cause": ""}],
        "brakes": [{"brake": "schedd_unknown", "text": "", "stops_creates": false}],
        "protected": [{"cloud": cloud, "flavor": "f", "image": "i", "since": "2026-11-26T11:00:00Z", "failures": 5,
            "last_failure": "", "text": ""}],
        "pauses": [{"since": "2026-11-26T11:00:00Z", "by": "a", "text": ""},
            {"cloud": cloud, "since": "2026-11-26T11:00:00Z", "by": "a", "deletes": true, "text": ""}],
        "kept": {"nodes": 2, "per_hour": 0.5, "text": ""},
        "budgets_spent": [{"cloud": null, "per_month": 1, "spent": 1, "committed": 1, "text": ""}],
        "cost": {"month": "2026-11", "per_hour": 1.25, "spent_this_month": 17.5, "clouds": [
            {"cloud": cloud, "per_hour": 1.25, "spent_this_month": 17.5}]},
        "clouds": [
            {"cloud": cloud, "answers": true, "nodes": 2, "nodes_max": 4, "cores_max": 32,
                "quota": {"instances": {"used": 2, "limit": 10}, "cores": {"used": 8, "limit": null},
                    "ram_mb": {"used": 16, "limit": 64}},
                "budget": {"per_hour": 2, "per_month": 50}, "pause": {"seconds": 60, "cause": ""}},
            {"cloud": "down", "answers": false, "quota": {"cores": {"used": 1, "limit": 5}}}],
        "backoffs": [{"cloud": cloud, "flavor": "f", "image": "i", "seconds": 300, "failures": 1, "last_failure": ""}],
        "nodes": [
            {"node": "n-1", "name": "n-1", "cloud": cloud, "flavor": "f", "phase": "busy", "decision": "keep", "reason": "busy",
                "server": {"vcpus": 4}, "startd": {"cpus": 4, "claimed_cpus": 3, "owners": {"alice": 2, "a \"b\\c\nd": 1}}},
            {"node": "n-2", "name": "n-2", "cloud": cloud, "flavor": "f", "phase": "idle", "decision": "keep", "reason": "spare",
                "server": {"vcpus": 4}},
            {"node": "n-3", "name": "n-3", "cloud": cloud, "flavor": "f", "phase": "deleted", "decision": "forget",
                "reason": "deleted_externally"},
            {"node": "n-4", "name": "n-4", "cloud": cloud, "flavor": "f", "phase": "new", "decision": "create",
                "reason": "create_for_demand"}],
        "job_groups": [{"request": {"cpus": 1, "memory_mb": 512, "disk_kb": 0, "gpus": 0}, "jobs": 6, "waiting_seconds": 99, "reasons": [
            {"reason": "limited", "text": "", "jobs": 4, "limit": {"name": "nodes_max"}}]}],
        "totals": {"since": "2026-11-26T11:00:00Z", "last_success": "2026-11-26T11:59:00Z",
            "ticks": [{"result": "done", "count": 59}, {"result": "failed", "count": 1}],
            "nodes": [{"cloud": cloud, "flavor": "f", "created": 5, "drained": 3, "drains_cancelled": 1, "joined": 4,
                "boot_seconds": 480, "failed": 1, "lost": 1}],
            "deletes": [{"cloud": cloud, "flavor": "f", "reason": "drained", "count": 2}],
            "failures": [{"cloud": cloud, "action": "cancel_drain", "kind": "quota", "count": 2}],
            "unknown_sources": [{"source": "schedd", "count": 3}],
            "spent": [{"cloud": cloud, "money": 17.5, "month": "2026-11", "month_money": 17.5}],
            "paid_core_milliseconds": 28800500u64, "claimed_core_milliseconds": 18000000u64}
    }))
    .unwrap()
}

/// The names of all metrics in a text, as a query names them.
fn names(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(['{', ' ']).next().unwrap().to_owned())
        .collect()
}

/// Every word of a text that is a metric's name.
fn metrics_in(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("ehos_"))
        .map(str::to_owned)
        .collect()
}

fn read(name: &str) -> String {
    fs::read_to_string(repository().join(name)).unwrap()
}

#[test]
fn promtool_takes_what_is_rendered() {
    for snapshot in snapshots() {
        let text = prometheus::text(&snapshot);
        assert!(text.ends_with('\n'));
        let helps = text.lines().filter(|line| line.starts_with("# HELP"));
        let helps: Vec<&str> = helps.map(|line| line.split(' ').nth(2).unwrap()).collect();
        let once: BTreeSet<&str> = helps.iter().copied().collect();
        assert_eq!(helps.len(), once.len(), "each once: {text}");
        assert!(!text.contains("n-1"), "nodes have no samples of their own");
        promtool_says_well(&["check", "metrics"], &text);
    }
}

#[test]
fn what_there_is_is_told() {
    let text = prometheus::text(&of_everything());
    let label = r#"cloud="a \"b\\c\nd""#;
    for line in [
        "ehos_jobs{state=\"idle\"} 7",
        "ehos_jobs_limited{limit=\"nodes_max\"} 4",
        "ehos_demand_memory_bytes 1073741824",
        "ehos_tick_duration_seconds 1.234",
        "ehos_last_tick_timestamp_seconds 1795694400.5",
        "ehos_last_success_timestamp_seconds 1795694340",
        "ehos_brake{brake=\"schedd_unknown\"} 1",
        "ehos_brake{brake=\"nodes_silent\"} 0",
        "ehos_sources_unknown{source=\"matches\"} 1",
        "ehos_paid_core_seconds_total 28800.5",
        "ehos_build_info{version=\"0.0.0\"} 1",
        "ehos_cloud_up{cloud=\"down\"} 0",
        &format!("ehos_cloud_up{{{label}}} 1"),
        &format!("ehos_nodes{{{label},phase=\"busy\"}} 1"),
        &format!("ehos_nodes{{{label},phase=\"lost\"}} 0"),
        &format!("ehos_quota_memory_limit_bytes{{{label}}} 67108864"),
        &format!("ehos_node_boot_seconds_sum{{{label}}} 480"),
        &format!("ehos_spent_total{{{label}}} 17.5"),
        &format!("ehos_nodes_deleted_total{{{label},flavor=\"f\",reason=\"drained\"}} 2"),
        &format!("ehos_action_failures_total{{{label},action=\"cancel_drain\",kind=\"quota\"}} 2"),
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    let unlimited = format!("ehos_quota_cores_limit{{{label}}}");
    assert!(!text.contains(&unlimited), "{text}");
    assert!(!text.contains("phase=\"new\""), "{text}");
}

#[test]
fn what_was_not_seen_has_no_sample() {
    let mut snapshot = of_everything();
    snapshot.unknown_sources[0].source = serde_json::from_str("\"schedd s\"").unwrap();
    assert!(!names(&prometheus::text(&snapshot)).contains("ehos_jobs"));
    let mut snapshot = of_everything();
    snapshot.queue.schedds = 0;
    let found = names(&prometheus::text(&snapshot));
    for name in [
        "ehos_jobs",
        "ehos_jobs_waiting",
        "ehos_demand_cores",
        "ehos_jobs_limited",
    ] {
        assert!(!found.contains(name), "{name}");
    }
    assert!(found.contains("ehos_cores_claimed"));
    assert!(!influx::lines(&snapshot, "h").contains("jobs_"));
    let mut snapshot = of_everything();
    snapshot.unknown_sources[0].source = serde_json::from_str("\"collector\"").unwrap();
    let found = names(&prometheus::text(&snapshot));
    assert!(!found.contains("ehos_cores_claimed") && !found.contains("ehos_cores_free"));
    assert!(found.contains("ehos_jobs") && found.contains("ehos_cores_paid"));
    // Nodes that the collector had are not idle or busy: nobody knows.
    for phase in ["idle", "busy", "draining"] {
        let text = prometheus::text(&snapshot);
        let seen = |line: &str| line.contains("ehos_nodes{") && line.contains(phase);
        assert!(
            !text.lines().any(|line| seen(line) && line.ends_with(" 0")),
            "{text}"
        );
    }
    let lines = influx::lines(&snapshot, "h");
    assert!(
        lines.contains("ehos,host=h nodes_total=") && !lines.contains("nodes_idle"),
        "{lines}"
    );
    // A collector that has not heard from all of them yet has answered, and knows as little.
    for brake in [BrakeName::CollectorYoung, BrakeName::NodesVanished] {
        let mut snapshot = of_everything();
        snapshot.brakes[0].brake = brake.into();
        let found = names(&prometheus::text(&snapshot));
        assert!(!found.contains("ehos_cores_claimed"), "{brake}");
    }
    // Of nodes that are not in the pool yet only their cloud knows the cores.
    let mut snapshot = of_everything();
    snapshot.nodes[0].server.vcpus = None;
    assert!(!names(&prometheus::text(&snapshot)).contains("ehos_cores_paid"));
    assert!(!influx::lines(&snapshot, "h").contains("paid="));
    // Before the first success there is none.
    assert!(!prometheus::text(&TickReport::default()).contains("ehos_last_success"));
}

#[test]
fn dashboard_rules_and_page_name_the_metrics_that_there_are() {
    let there = names(&prometheus::text(&of_everything()));
    for file in [
        "configs/grafana/ehos.json",
        "configs/prometheus/ehos.rules.yml",
        "configs/prometheus/ehos.rules.test.yml",
    ] {
        let named = metrics_in(&read(file));
        assert!(named.len() > 5, "{file}: {named:?}");
        let missing: Vec<_> = named.difference(&there).collect();
        assert!(
            missing.is_empty(),
            "{file} names {missing:?}, which is no metric"
        );
    }
    let page = read("docs/metrics.md");
    // Those of InfluxDB are named further down.
    let (page, _) = page.split_once("\n## ").unwrap();
    let rows: BTreeSet<String> = page
        .lines()
        .filter(|line| line.starts_with("| `ehos_"))
        .flat_map(|line| metrics_in(line.split(" | ").next().unwrap()))
        .collect();
    let missing: Vec<_> = there.difference(&rows).collect();
    assert!(missing.is_empty(), "not in docs/metrics.md: {missing:?}");
    let more: Vec<_> = rows.difference(&there).collect();
    assert!(
        more.is_empty(),
        "in docs/metrics.md, and no metric: {more:?}"
    );
}

#[test]
fn promtool_takes_the_rules_and_their_tests_pass() {
    promtool_says_well(&["check", "rules", "ehos.rules.yml"], "");
    promtool_says_well(&["test", "rules", "ehos.rules.test.yml"], "");
}

/// What the JSON schema of dashboards requires of a variable and of the options of a panel, as of June 2026 (grafana/
/// grafana-foundation-sdk, `jsonschema/dashboard.jsonschema.json`, `stat` and `timeseries`).
const OPTIONS: [(&str, &str, &[&str]); 3] = [
    (
        "stat",
        "/options",
        &[
            "graphMode",
            "colorMode",
            "justifyMode",
            "textMode",
            "wideLayout",
            "reduceOptions",
            "showPercentChange",
            "percentChangeColorMode",
            "orientation",
        ],
    ),
    (
        "timeseries",
        "/options/legend",
        &["displayMode", "placement", "showLegend", "calcs"],
    ),
    ("timeseries", "/options/tooltip", &["mode", "sort"]),
];

#[test]
fn the_dashboard_is_one_that_grafana_can_read() {
    let board: serde_json::Value =
        serde_json::from_str(&read("configs/grafana/ehos.json")).unwrap();
    let variables = board["templating"]["list"].as_array().unwrap();
    assert_eq!(variables[0]["type"], "datasource");
    for variable in variables {
        let current = &variable["current"];
        let is_whole = current["text"].is_string() && current["value"].is_string();
        assert!(is_whole && variable["query"].is_string(), "{variable}");
    }
    let mut ids = BTreeSet::new();
    for panel in board["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let at = &panel["gridPos"];
        assert!(
            at["x"].as_u64().unwrap() + at["w"].as_u64().unwrap() <= 24,
            "{panel}"
        );
        if panel["type"] == "row" {
            continue;
        }
        for (_, place, names) in OPTIONS.iter().filter(|(kind, ..)| panel["type"] == *kind) {
            let options = panel.pointer(place).unwrap().as_object().unwrap();
            let missing: Vec<_> = names
                .iter()
                .filter(|name| !options.contains_key(**name))
                .collect();
            assert!(missing.is_empty(), "{place} of {panel}: {missing:?}");
        }
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel}");
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"].as_str().unwrap();
            let balanced = query.matches('(').count() == query.matches(')').count();
            assert!(balanced, "{query}");
        }
    }
    assert!(board["uid"].is_string() && ids.len() > 10);
}

#[test]
fn the_textfile_is_written_at_the_end_of_each_acting_tick() {
    let site = Site::simulated();
    let folder = site.path().join("textfiles");
    fs::create_dir(&folder).unwrap();
    let file = folder.join("ehos.prom");
    let site = site.over(&format!(
        "metrics: {{prometheus_textfile: {}}}\n",
        file.display()
    ));
    site.tick(&["-n"]).exits(0);
    assert!(!file.exists(), "a dry run writes nothing");
    for count in 1..=2 {
        site.tick(&[]).exits(0);
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(text, prometheus::text(&last(&site)));
        let ticks = format!("ehos_ticks_total{{result=\"done\"}} {count}\n");
        assert!(text.contains(&ticks), "{text}");
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o644
        );
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }
    fs::remove_dir_all(&folder).unwrap();
    let run = site.tick(&[]);
    run.exits(0);
    assert!(
        run.stderr
            .contains("the metrics of this tick are not written"),
        "{run}"
    );
    assert!(run.stderr.contains("ReadWritePaths="), "{run}");
}

/// A site whose figures go to the InfluxDB at `url`.
fn sending(influxdb: &str) -> Site {
    Site::simulated().over(&format!(
        "daemon: {{hostname: 'the, host'}}\ninfluxdb: {influxdb}\n"
    ))
}

#[test]
fn the_lines_are_those_of_the_original_and_more() {
    let lines = influx::lines(&of_everything(), "the, host=1");
    let host = r"host=the\,\ host\=1";
    let mut lines = lines.lines();
    let mut next = || lines.next().unwrap();
    assert_eq!(
        next(),
        format!("condor,{host} jobs_total=14,jobs_idle=7,jobs_running=5,jobs_suspended=0")
    );
    assert_eq!(
        next(),
        format!("ehos,{host} nodes_total=2,nodes_idle=1,nodes_busy=1")
    );
    assert_eq!(next(), format!("ehos,{host} jobs_running=5,jobs_idle=7"));
    let more: Vec<&str> = lines.collect();
    let cloud = r#"a\ "b\ c\ d"#;
    for line in [
        format!("ehos_nodes,{host},cloud={cloud},phase=busy count=1"),
        format!("ehos_cost,{host},cloud={cloud} per_hour=1.25,spent_this_month=17.5"),
        format!("ehos_limits,{host},limit=nodes_max jobs=4"),
        format!(
            "ehos_cloud,{host},cloud=down up=0,nodes=0,servers_used=0,cores_used=1,cores_limit=5,memory_used_mb=0,pause_seconds=0"
        ),
    ] {
        assert!(more.contains(&line.as_str()), "{line}: {more:?}");
    }
}

#[test]
fn each_acting_tick_is_sent() {
    let double = Double::start(vec![always("POST", WRITE, Reply::status(204, ""))]);
    let site = sending(&format!("{}{WRITE}", double.url()));
    site.tick(&["-n"]).exits(0);
    assert_eq!(double.received().len(), 0, "a dry run sends nothing");
    let run = site.tick(&[]);
    run.exits(0);
    assert!(!run.stderr.contains("InfluxDB"), "{run}");
    let [sent] = &double.received()[..] else {
        panic!("once: {:?}", double.received())
    };
    assert_eq!(sent.body, influx::lines(&last(&site), "the, host"));
    assert_eq!(sent.header("authorization"), None);

    // As the original's code had it, under `daemon:` too.
    let over = format!(
        "daemon: {{influxdb: {{url: '{}/', db: ehos, username: u, password: {PASSWORD}}}}}\n",
        double.url()
    );
    let site = Site::simulated().over(&over);
    site.tick(&[]).exits(0);
    let sent = double.received();
    let login = "Basic dTpwYTU1LXcwcmQtb2YtdGhlLWNsb3Vk";
    assert_eq!(sent[1].header("authorization"), Some(login));
    let name = rustix::system::uname();
    let name = name.nodename().to_str().unwrap();
    assert!(
        sent[1].body.starts_with(&format!("condor,host={name} ")),
        "{}",
        sent[1].body
    );
}

#[test]
fn version_2_gets_organization_bucket_and_token() {
    let target = "/api/v2/write?org=my%20lab&bucket=ehos&precision=s";
    let double = Double::start(vec![always("POST", target, Reply::status(204, ""))]);
    let site = Site::simulated();
    site.write("token", &format!("{PASSWORD}\n"));
    let token = site_file(&site, "token");
    let site = site.over(&format!(
        "influxdb: {{url: '{}', org: my lab, bucket: ehos, token_file: {token}}}\n",
        double.url()
    ));
    let run = site.tick(&[]);
    run.exits(0);
    assert!(!run.stderr.contains("InfluxDB"), "{run}");
    let sent = double.received();
    assert_eq!(sent[0].target, target);
    assert_eq!(
        sent[0].header("authorization"),
        Some(&*format!("Token {PASSWORD}"))
    );
}

fn site_file(site: &Site, name: &str) -> String {
    site.path().join(name).display().to_string()
}

#[test]
fn an_influxdb_that_does_not_take_it_changes_neither_exit_code_nor_time() {
    let said = format!("{{\"error\": \"unauthorized {PASSWORD}\"}}");
    for (reply, words) in [
        (Reply::status(401, &said), "answer 401: correct user"),
        (
            Reply::status(500, "engine: cache full"),
            "answer 500 (engine: cache full)",
        ),
        (
            Reply::status(302, "").with("Location", "http://127.0.0.1:1/"),
            "answer 302",
        ),
        (Reply::Stall, "no answer within 0.5 s (metrics.timeout)"),
        (Reply::Reset, "metrics of this tick not sent"),
    ] {
        let double = Double::start(vec![always("POST", "/write", reply)]);
        let host = double.url().trim_start_matches("http://").to_owned();
        let site = sending(&format!("'http://me:{PASSWORD}@{host}{WRITE}'"))
            .over("metrics: {timeout: 500ms}\n");
        let run = site.tick(&[]);
        run.exits(0);
        assert!(run.stderr.contains(words), "{words}: {run}");
        assert_eq!(
            run.stderr.matches("InfluxDB").count(),
            1,
            "one warning: {run}"
        );
        assert!(run.took < Duration::from_secs(5), "{:?}", run.took);
        assert_eq!(double.received().len(), 1, "sent once");
        // The tick is in the history, and the lock is free.
        site.tick(&[]).exits(0);
        assert_eq!(last(&site).totals.ticks[0].count, 2);
    }
    // Nobody listens.
    let site = sending("http://127.0.0.1:1/write?db=ehos");
    let run = site.tick(&[]);
    run.exits(0);
    assert!(
        run.stderr.contains("InfluxDB at http://127.0.0.1:1/write"),
        "{run}"
    );
}

#[test]
fn the_next_tick_need_not_wait_for_influxdb() {
    let double = Double::start(vec![always("POST", "/write", Reply::Stall)]);
    let site = sending(&format!("{}{WRITE}", double.url())).over("metrics: {timeout: 8s}\n");
    let first = site.start_tick(&[]);
    double.wait_for("POST", "/write");
    let site = site.over("metrics: {timeout: 300ms}\n");
    site.tick(&[]).exits(0);
    assert_eq!(last(&site).totals.ticks[0].count, 2, "it had the lock");
    site.end(first).exits(0);
}

#[test]
fn config_show_masks_what_influxdb_is_told() {
    let site = sending(&format!(
        "{{url: 'http://me:{PASSWORD}@h/', token: {PASSWORD}}}"
    ));
    let config = site_file(&site, "ehos.yaml");
    let run = site.run(&["config", "show", "--config", &config]);
    assert!(run.stdout.contains("http://***@h"), "{run}");
    assert!(run.stdout.contains("influxdb.token"), "{run}");
}

#[test]
fn counters_survive_from_tick_to_tick() {
    let site = busy();
    let mut before: Option<TickReport> = None;
    for _ in 0..30 {
        site.tick(&[]);
        let now = last(&site);
        if let Some(before) = &before {
            assert!(now.totals.paid_core_milliseconds >= before.totals.paid_core_milliseconds);
            assert_eq!(now.totals.since, before.totals.since);
        }
        before = Some(now);
    }
    let totals = before.unwrap().totals;
    // Some had a second pass.
    let passes: u64 = totals.ticks.iter().map(|row| row.count).sum();
    assert!((31..40).contains(&passes), "{passes}");
    assert!(
        totals
            .nodes
            .iter()
            .any(|row| row.created > 0 && row.joined > 0),
        "{totals:?}"
    );
    assert!(totals.paid_core_milliseconds > totals.claimed_core_milliseconds);
}
