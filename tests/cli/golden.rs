//! Everything that other programs read, byte for byte: JSON of every command, the history, the state, metrics, notifications,
//! requests to clouds, drain reasons, exit codes. A change here is a change for them. `EHOS_BLESS=1` writes the files anew.
//!
//! A simulated site has a time of its own, so nothing of it is redacted but how long things took. Of other sites the fields
//! named in [`CLOCK`] and times in texts are redacted too.

use std::collections::BTreeMap;
use std::fs;

use report::metrics::{influx, prometheus};

use crate::double::{Double, Received, Reply, always};
use crate::frontend::Server;
use crate::harness::cloud::{self, CREATE, LOGIN};
use crate::harness::{Run, Site, condor, repository};

/// Fields that differ between two runs of the same site.
const TAKES: &[&str] = &["milliseconds", "source_milliseconds.*", "program"];

/// Fields that come from this machine's clock, besides.
const CLOCK: &[&str] = &[
    "age_seconds",
    // The one signs the time, the other comes from addresses here.
    "ehos_proof",
    "ehos_digest",
    "created",
    "cost.month",
    "spent.month",
    "spent.month_money",
    "paid_core_milliseconds",
    "claimed_core_milliseconds",
    "longest_seconds",
    "waiting_seconds",
    "unknown_seconds",
    "idle_seconds",
    "seconds",
    "server.user_data",
];

/// A text beside its golden file.
pub struct Golden {
    text: String,
    fields: Vec<&'static str>,
    words: Vec<(String, String)>,
    times: bool,
}

impl Golden {
    /// A text that is the same each time.
    pub fn fixed(text: String) -> Golden {
        Golden {
            text,
            fields: Vec::new(),
            words: Vec::new(),
            times: false,
        }
    }

    /// Of a simulated site.
    fn simulated(site: &Site) -> Golden {
        Golden {
            text: String::new(),
            fields: TAKES.to_vec(),
            words: vec![(site.path().display().to_string(), "SITE".to_owned())],
            times: false,
        }
    }

    /// Of a site beside this cloud.
    fn real(site: &Site, double: &Double) -> Golden {
        let mut golden = Golden::simulated(site);
        golden.fields.extend(CLOCK);
        let url = double.url().to_owned();
        let address = url.trim_start_matches("http://").to_owned();
        let sources = repository().display().to_string();
        golden.words.extend([
            (url, "CLOUD".to_owned()),
            (address, "CLOUD".to_owned()),
            (sources, "SOURCES".to_owned()),
        ]);
        golden.times = true;
        golden
    }

    /// Adds what a command printed, and its exit code.
    fn run(&mut self, command: &str, run: &Run) {
        let code = run.code().unwrap();
        self.add(&format!("ehos {command} (exit {code})"), &run.stdout);
    }

    /// Adds a text under a heading; JSON is laid out with a line for each value.
    fn add(&mut self, heading: &str, text: &str) {
        self.text += &format!("=== {heading}\n");
        let mut nodes = BTreeMap::new();
        for line in text.lines() {
            let is_json = text.starts_with(['{', '[']);
            let is_compact = is_json && line.len() > 1 && line.starts_with(['{', '[']);
            let line = match is_compact {
                true => laid_out(line),
                false => line.to_owned(),
            };
            self.text += &repeats_counted(&line);
        }
        for (from, to) in &self.words {
            self.text = self.text.replace(from, to);
        }
        self.text = self.redacted();
        if self.times {
            self.text = without_times(&self.text, &mut nodes);
        }
    }

    /// The text without the values of these fields.
    fn redacted(&self) -> String {
        let mut path: Vec<&str> = Vec::new();
        let mut out = String::new();
        for line in self.text.lines() {
            let trimmed = line.trim_start();
            if trimmed.starts_with(['}', ']']) {
                path.pop();
            }
            let key = trimmed
                .strip_prefix('"')
                .and_then(|rest| rest.split_once("\": "));
            let (key, value) = key.unwrap_or(("", trimmed));
            let opens = value.ends_with(['{', '[']);
            let whole = path.iter().copied().chain([key]).collect::<Vec<_>>();
            let whole = whole.join(".").replace("..", ".");
            let is_known = self.fields.iter().any(|field| {
                let (whole, field) = match field.strip_suffix(".*") {
                    Some(parent) => (path.join("."), parent),
                    None => (whole.clone(), *field),
                };
                whole == field || whole.ends_with(&format!(".{field}"))
            });
            if !opens && !key.is_empty() && is_known && value != "null" && value != "null," {
                let (before, _) = line.split_at(line.len() - value.len());
                let comma = if value.ends_with(',') { "," } else { "" };
                out += &format!("{before}*{comma}\n");
            } else {
                out += line;
                out.push('\n');
            }
            if opens {
                path.push(key);
            }
        }
        out
    }

    /// Compares it with its file.
    pub fn is(self, name: &str) {
        let path = repository().join("tests/fixtures/golden").join(name);
        if std::env::var_os("EHOS_BLESS").is_some() {
            fs::write(&path, &self.text).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        if expected != self.text {
            let differs = expected.lines().zip(self.text.lines()).enumerate();
            let first = differs.into_iter().find(|(_, (old, new))| old != new);
            let first = first.map(|(number, (old, new))| (number + 1, old, new));
            panic!(
                "{} is not what is printed now, first in {first:#?}; if it must change: EHOS_BLESS=1\n--- now\n{}",
                path.display(),
                self.text
            );
        }
    }
}

/// Equal lines that follow each other become one with their number.
fn repeats_counted(text: &str) -> String {
    let mut out = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let mut more = 0;
        while lines.next_if_eq(&line).is_some() {
            more += 1;
        }
        out += line;
        if more > 0 {
            out += &format!(" × {}", more + 1);
        }
        out.push('\n');
    }
    out
}

/// One line for each value of JSON, in its own order.
fn laid_out(json: &str) -> String {
    let mut out = String::new();
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    let mut characters = json.chars().peekable();
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    };
    while let Some(c) = characters.next() {
        if in_string {
            out.push(c);
            in_string = escaped || c != '"';
            escaped = c == '\\' && !escaped;
            continue;
        }
        match c {
            '{' | '[' => {
                out.push(c);
                let end = if c == '{' { '}' } else { ']' };
                if characters.peek() == Some(&end) {
                    out.push(end);
                    characters.next();
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth -= 1;
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            ' ' | '\n' => {}
            _ => {
                in_string = c == '"';
                out.push(c);
            }
        }
    }
    out
}

/// Shapes of times: `9` is a digit.
const SHAPES: &[(&str, &str)] = &[
    (" 999 s", " N s"),
    (" 99 s", " N s"),
    (" 9 s", " N s"),
    ("spent in 9999-99", "spent in MONTH"),
    // The length of an address is in it.
    ("9999 bytes", "N bytes"),
    ("99999999t999999-99", "NODE"),
    // A fraction of any length may follow.
    ("9999-99-99T99:99:99", "TIME"),
    ("9999-99-99 99:99:99", "TIME"),
    ("99999999-999999", "TIME"),
];

/// The text without times; those that HTTP doubles say are the same each time, and stay.
fn without_times(text: &str, nodes: &mut BTreeMap<String, usize>) -> String {
    let bytes = text.as_bytes();
    let fits = |shape: &str, at: usize| {
        let there = bytes.get(at..at + shape.len())?;
        let mut both = shape.bytes().zip(there);
        let fits = both.all(|(want, &is)| match want {
            b'9' => is.is_ascii_digit(),
            want => want == is,
        });
        let next = bytes.get(at + shape.len()).copied().unwrap_or_default();
        // Seconds, and no servers.
        let is_word = shape.ends_with(" s") && next.is_ascii_alphanumeric();
        (fits && !is_word).then_some(shape.len())
    };
    let mut out = String::new();
    let mut at = 0;
    while at < bytes.len() {
        let found = SHAPES
            .iter()
            .find_map(|(shape, word)| Some((fits(shape, at)?, *word)));
        let recorded = ["2026-11-22", "2026-11-19", "2026-11-20", "2026-11-1"];
        match found {
            Some((length, "NODE")) => {
                let id = text[at..at + length].to_owned();
                let next = nodes.len();
                let number = nodes.entry(id).or_insert(next);
                out += &format!("NODE{number}");
                at += length;
            }
            Some((length, word)) if !recorded.iter().any(|r| text[at..].starts_with(r)) => {
                out += word;
                at += length;
                let rest = text[at..].trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
                if let Some(rest) = rest.strip_prefix('Z') {
                    at = text.len() - rest.len();
                }
            }
            _ => {
                let c = text[at..].chars().next().unwrap();
                out.push(c);
                at += c.len_utf8();
            }
        }
    }
    out
}

fn ehos(site: &Site, words: &[&str]) -> Run {
    let (config, state) = (site.config(), site.state());
    let places = [
        "--config",
        config.to_str().unwrap(),
        "--state-dir",
        state.to_str().unwrap(),
    ];
    site.run(&[words, &places].concat())
}

/// The body of a request, and which it is.
fn request(golden: &mut Golden, request: &Received) {
    golden.add(
        &format!("{} {}", request.method, request.target),
        &request.body,
    );
}

#[test]
fn a_simulated_site_in_json() {
    let site = Site::simulated()
        .over("daemon: {budget: {per_hour: 500, per_month: 9000}, node_allocation: cheapest}\n");
    let mut golden = Golden::simulated(&site);
    for number in 1..=20 {
        if number == 5 {
            golden.run(
                &format!("tick -n -o json, before {number}"),
                &site.tick(&["-n", "-o", "json"]),
            );
        }
        let run = site.tick(&["-o", "json"]);
        if [1, 4, 9, 12, 16, 20].contains(&number) {
            golden.run(&format!("tick -o json, {number}"), &run);
        }
    }
    golden.is("simulated-tick.txt");

    let mut golden = Golden::simulated(&site);
    for file in ["history/last.json", "history/2027-01-15.jsonl"] {
        let text = fs::read_to_string(site.state().join(file)).unwrap();
        golden.add(file, &text);
    }
    golden.is("simulated-history.txt");

    let mut golden = Golden::simulated(&site);
    let text = fs::read_to_string(site.state().join("state.json")).unwrap();
    golden.add("state.json", &text);
    golden.is("simulated-state.txt");

    let mut golden = Golden::simulated(&site);
    for output in ["json", "prometheus", "influx"] {
        let run = ehos(&site, &["status", "-o", output]);
        golden.run(&format!("status -o {output}"), &run);
    }
    let text = golden.text.lines();
    // They tell how long the tick took.
    let text = text.map(|line| match line.split_once(' ') {
        Some((name, _))
            if name.starts_with("ehos_tick_duration")
                || name.starts_with("ehos_source_duration") =>
        {
            format!("{name} *\n")
        }
        _ => without_host(line) + "\n",
    });
    golden.text = text.collect();
    golden.is("simulated-status.txt");

    let mut golden = Golden::simulated(&site);
    for node in ["20270115t090200-01", "20270115t090800-01"] {
        let run = ehos(&site, &["explain", node, "-o", "json"]);
        golden.run(&format!("explain {node} -o json"), &run);
    }
    golden.is("simulated-explain.txt");

    let mut golden = Golden::simulated(&site);
    let server = Server::start(&site, &[]);
    for target in [
        "/api/status",
        "/api/page",
        "/api/series?range=1h",
        "/api/series?range=24h",
        "/api/series?range=7d",
        "/api/series?range=30d",
        "/api/decisions?limit=1000",
        "/api/decisions?limit=1&before=2027-01-15T09:10:00Z",
        "/api/node/20270115t090200-01",
        "/api/node/none",
        "/api/life/20270115t090200-01",
        "/api/life/none",
        "/api/series?range=1y",
    ] {
        let reply = server.get(target);
        golden.add(&format!("{target} ({})", reply.status), &reply.body);
    }
    golden.is("simulated-api.txt");
}

/// A line of InfluxDB without this machine's name and without how long the tick took.
fn without_host(line: &str) -> String {
    let Some((measurement, rest)) = line.split_once(",host=") else {
        return line.to_owned();
    };
    let (_, rest) = rest.split_once([' ', ',']).unwrap_or_default();
    let fields = rest.split(',').map(|field| match field.split_once('=') {
        Some(("seconds", _)) if measurement == "ehos_tick" => "seconds=*".to_owned(),
        _ => field.to_owned(),
    });
    let fields: Vec<String> = fields.collect();
    format!("{measurement},host=HOST {}", fields.join(","))
}

#[test]
fn metrics_of_everything() {
    let mut snapshot = crate::metrics::of_everything();
    let mut all = String::new();
    for _ in 0..2 {
        all += &prometheus::text(&snapshot);
        all += &influx::lines(&snapshot, "host");
        // Without the collector and the schedds.
        snapshot.queue.schedds = 0;
        snapshot.unknown_sources = serde_json::from_value(serde_json::json!([
            {"source": "collector", "cause": "it does not answer"},
            {"source": "schedd b", "cause": "it does not answer"},
            {"source": "something of a newer ehos", "cause": "so"},
        ]))
        .unwrap();
    }
    let golden = Golden {
        text: all,
        fields: Vec::new(),
        words: Vec::new(),
        times: false,
    };
    golden.is("metrics.txt");
}

#[test]
fn ticks_that_make_drain_and_delete() {
    let (double, site) = crate::dry_run::known_site();
    let mut golden = Golden::real(&site, &double);
    golden.run("tick -n -o json", &site.tick(&["-n", "-o", "json"]));
    golden.run("tick -o json", &site.tick(&["-o", "json"]));
    // They are sent at the same time.
    let mut requests = double.received();
    requests.retain(|one| one.method != "GET" && one.target != LOGIN);
    requests.sort_by(|a, b| (&a.method, &a.target).cmp(&(&b.method, &b.target)));
    for one in requests {
        request(&mut golden, &one);
    }
    let calls = site.calls();
    let calls = calls.lines().filter(|call| !call.starts_with("condor_q"));
    let mut calls: Vec<&str> = calls
        .filter(|call| !call.starts_with("condor_status"))
        .collect();
    calls.sort_unstable();
    golden.add("tools", &calls.join("\n"));
    golden.is("lab-acts.txt");
}

#[test]
fn ticks_that_fail() {
    let folder = tempfile::tempdir().unwrap();
    let program = crate::notify::hook(folder.path(), "");
    let double = Double::start(crate::notify::refusing());
    let site = Site::with_cloud(double.url()).waiting(1).over(&format!(
        "daemon: {{protect_after: 2, backoff_initial: 1ms, backoff_max: 2ms}}\nnotify: {{command: [{program}], after_ticks: 1}}\n"
    ));
    let mut golden = Golden::real(&site, &double);
    for number in 1..=3 {
        golden.run(
            &format!("tick -o json, {number}"),
            &site.tick(&["-o", "json"]),
        );
    }
    golden.run("status -o json", &ehos(&site, &["status", "-o", "json"]));
    golden.run(
        "resume lab -o json",
        &ehos(&site, &["resume", "lab", "-o", "json"]),
    );
    double.play(vec![always(
        "POST",
        LOGIN,
        Reply::fixture("token-password-wrong"),
    )]);
    crate::notify::a_minute_later(&site);
    golden.run("tick -o json, login", &site.tick(&["-o", "json"]));
    double.play(cloud::script(vec![]));
    let site = site.answers(
        "condor_status",
        "any",
        "err|Error: communication error\nexit=1\n",
    );
    crate::notify::a_minute_later(&site);
    golden.run("tick -o json, collector", &site.tick(&["-o", "json"]));
    let site = site.answers("condor_q", "any", "err|no\nexit=1\n").answers(
        "condor_q",
        "-totals",
        "err|no\nexit=1\n",
    );
    crate::notify::a_minute_later(&site);
    golden.run("tick -o json, schedd", &site.tick(&["-o", "json"]));
    let told = fs::read_to_string(folder.path().join("told")).unwrap();
    for line in told.lines() {
        golden.add("notify.command", line);
    }
    let notices = fs::read_to_string(site.state().join("notices.json")).unwrap();
    golden.add("notices.json", &notices);
    golden.is("lab-fails.txt");
}

#[test]
fn what_else_a_tick_can_find() {
    let (double, site) = crate::floating_ips::site();
    let site = site.over("daemon: {purge_floating_ips: true}\n");
    let mut golden = Golden::real(&site, &double);
    golden.run("tick -o json, floating IP", &site.tick(&["-o", "json"]));

    let lost = r#"{"floatingips": [{"id": "f-1", "floating_ip_address": "192.0.2.1", "port_id": null,
        "floating_network_id": "n", "description": "ehos pool-1 master"}]}"#;
    double.play(cloud::script(vec![
        crate::builders::listed_at("18:00:00"),
        always("GET", "/v2.0/floatingips", Reply::status(200, lost)),
    ]));
    golden.run("tick -o json, leftovers", &site.tick(&["-o", "json"]));

    let mut forged = cloud::server("aaaaaaaa-0000-4000-8000-000000000001", "n-1", "ACTIVE");
    forged["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("ehos_proof");
    double.play(cloud::script(vec![cloud::list(&[forged])]));
    golden.run("tick -o json, unsigned", &site.tick(&["-o", "json"]));

    double.play(cloud::script(vec![always(
        "POST",
        CREATE,
        Reply::fixture("server-create-quota-instances"),
    )]));
    let site = site.waiting(3);
    golden.run("tick -o json, quota", &site.tick(&["-o", "json"]));
    golden.is("lab-finds.txt");

    let double = Double::start(cloud::script(vec![]));
    let site = crate::economy::site(&double, 0);
    let mut golden = Golden::real(&site, &double);
    golden.run("tick -n -o json, budget", &site.tick(&["-n", "-o", "json"]));
    golden.is("lab-economy.txt");
}

#[test]
fn a_create() {
    let double = Double::start(cloud::script(vec![]));
    let site = Site::with_cloud(double.url()).waiting(1);
    site.tick(&[]).exits(0);
    let mut create = double.wait_for("POST", CREATE);
    let mut body = create.json();
    // It is a signature of the time.
    assert_eq!(
        body["server"]["metadata"]["ehos_proof"]
            .take()
            .as_str()
            .map(str::is_empty),
        Some(false)
    );
    create.body = body.to_string();
    let mut golden = Golden::real(&site, &double);
    request(&mut golden, &create);
    golden.is("lab-create.txt");
}

/// The report as journald gets it: it reads the level in front of each line.
#[test]
fn levels_of_the_journal() {
    use std::os::unix::fs::MetadataExt;
    let double = Double::start(crate::notify::refusing());
    let site = Site::with_cloud(double.url()).waiting(1).over(
        "ehos: {prices: {m1.small: 0.25}}\ndaemon: {protect_after: 2, backoff_initial: 1ms, backoff_max: 2ms, budget: \
         {per_month: 0}}\n",
    );
    let mut golden = Golden::real(&site, &double);
    golden.times = true;
    let budget = |site: Site, per_month: u64| {
        site.over(&format!("daemon: {{budget: {{per_month: {per_month}}}}}\n"))
    };
    let mut site = site;
    for (number, per_month) in [(1, 0), (2, 9), (3, 9), (4, 9), (5, 9)] {
        site = budget(site, per_month);
        if number == 5 {
            site = site.answers(
                "condor_status",
                "any",
                "err|Error: communication error\nexit=1\n",
            );
        }
        let file = fs::File::create(site.path().join("journal")).unwrap();
        let metadata = file.metadata().unwrap();
        let stream = format!("{}:{}", metadata.dev(), metadata.ino());
        let mut tick = site.command(&[]);
        tick.env("JOURNAL_STREAM", stream)
            .stdin(std::process::Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file);
        let code = tick.status().unwrap().code().unwrap();
        let text = fs::read_to_string(site.path().join("journal")).unwrap();
        golden.add(&format!("journal of tick {number} (exit {code})"), &text);
    }
    golden.is("lab-journal.txt");
}

#[test]
fn other_commands_in_json() {
    let double = Double::start(crate::check::script(vec![]));
    let site = crate::check::site(&double);
    let mut golden = Golden::real(&site, &double);
    golden.run(
        "check -o json",
        &crate::check::check(&site, &["-o", "json"]),
    );
    double.play(crate::check::script(vec![
        always(
            "GET",
            "/v2.1/os-keypairs",
            Reply::status(200, r#"{"keypairs": []}"#),
        ),
        always(
            "GET",
            "/v2/images?name=",
            Reply::status(200, r#"{"images": []}"#),
        ),
    ]));
    let site = site.answers("condor_ping", "ADMINISTRATOR", "out|It failed!\nexit=1\n");
    golden.run(
        "check -o json, faults",
        &crate::check::check(&site, &["-o", "json"]),
    );
    golden.is("check.txt");

    let site = Site::with_cloud("http://127.0.0.1:1").over("daemon: {nodes_max: 7}\n");
    let mut golden = Golden::real(&site, &double);
    let config = site.config();
    let run = site.run(&[
        "config",
        "show",
        "--config",
        config.to_str().unwrap(),
        "-o",
        "json",
    ]);
    golden.run("config show -o json", &run);
    golden.is("config-show.txt");

    let double = Double::start(crate::cloud_setup::takes_all());
    let site = crate::cloud_setup::site(&double);
    let mut golden = Golden::real(&site, &double);
    for more in [&["-n", "-o", "json"][..], &["-o", "json"]] {
        golden.run(
            &format!("cloud setup {}", more.join(" ")),
            &crate::cloud_setup::setup(&site, more),
        );
        double.play(crate::cloud_setup::takes_all());
    }
    golden.is("cloud-setup.txt");
}

#[test]
fn images_and_the_central_manager_in_json() {
    let (double, site) = crate::image::site(crate::image::old_images());
    let mut golden = Golden::real(&site, &double);
    golden.run(
        "image list -o json",
        &crate::image::ehos(&site, "list", &["-o", "json"]),
    );
    for more in [
        &["--keep", "1", "-n", "-o", "json"][..],
        &["--keep", "1", "-o", "json"],
    ] {
        golden.run(
            &format!("image prune {}", more.join(" ")),
            &crate::image::ehos(&site, "prune", more),
        );
    }
    golden.is("image-prune.txt");

    let (double, site) = crate::image::site(crate::image::well());
    let mut golden = Golden::real(&site, &double);
    // A random one.
    golden.fields.extend(["ehos_node", "server.name"]);
    golden.run(
        "image build -o json",
        &crate::image::build(&site, &["-o", "json"]),
    );
    for one in double.received() {
        if one.method == "POST" && one.target != LOGIN {
            request(&mut golden, &one);
        }
    }
    golden.is("image-build.txt");

    let double = crate::master::empty_cloud(vec![]);
    let site = crate::master::site(&double, crate::master::WELL);
    let mut golden = Golden::real(&site, &double);
    golden.fields.extend(["address", "login"]);
    golden.run(
        "master deploy -n -o json",
        &crate::master::deploy(&site, &["-n", "-o", "json"]),
    );
    golden.is("master-deploy-dry-run.txt");
    let double = crate::master::empty_cloud(vec![]);
    let site = crate::master::site(&double, crate::master::WELL);
    let mut golden = Golden::real(&site, &double);
    golden.run(
        "master deploy -o json",
        &crate::master::deploy(&site, &["-o", "json"]),
    );
    let create = double.wait_for("POST", CREATE);
    request(&mut golden, &create);
    golden.is("master-deploy.txt");
}

/// What a slot of the pool says; kept here so that the drain's reason is a part of what is frozen.
#[test]
fn a_drain_that_another_version_began_is_its_own() {
    let (double, site) = {
        let id = "aaaaaaaa-0000-4000-8000-000000000002";
        let server = cloud::server(id, "n-2", "ACTIVE");
        let double = Double::start(cloud::script(vec![
            cloud::list(std::slice::from_ref(&server)),
            cloud::shown(&server),
        ]));
        let slots = condor::drained_slot("n2", id, "n-2", "ehos pool-1: idle") + "exit=0\n";
        let site = Site::with_cloud(double.url()).answers("condor_status", "any", &slots);
        (double, site)
    };
    let mut golden = Golden::real(&site, &double);
    for _ in 0..2 {
        golden.run("tick -o json", &site.tick(&["-o", "json"]));
    }
    golden.is("lab-drained.txt");
}
