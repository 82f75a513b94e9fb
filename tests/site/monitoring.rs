//! Debian's InfluxDB, Prometheus, node_exporter and Alertmanager take what ehos gives: lines, textfile, rules and dashboard.
//!
//! The packages are downloaded with apt and unpacked into a folder; nothing is installed. Each server listens on a loopback
//! port, with its data in a folder of the test, and is killed at the end. Needs `EHOS_STORY=long` (scripts/test --long),
//! root, `apt-get` with a Debian mirror, and `dpkg`. No testbed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::machines::{step, wait};
use crate::story::long;

const PACKAGES: [&str; 4] = [
    "influxdb",
    "prometheus",
    "prometheus-node-exporter",
    "prometheus-alertmanager",
];

/// A server, killed at the end.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Monitoring {
    folder: tempfile::TempDir,
    /// Where the packages are unpacked.
    root: PathBuf,
    ports: BTreeMap<&'static str, u16>,
    servers: Vec<Server>,
    agent: ureq::Agent,
}

/// The packages, unpacked once for all runs of this build.
fn packages() -> Option<PathBuf> {
    if !long() {
        println!("skipped: EHOS_STORY is not `long` (scripts/test --long)");
        return None;
    }
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root");
        return None;
    }
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("monitoring");
    if root.join("complete").exists() {
        return Some(root);
    }
    let _ = fs::remove_dir_all(&root);
    fs::create_dir_all(&root).unwrap();
    let download = Command::new("apt-get")
        .args(["download", "-q"])
        .args(PACKAGES)
        .current_dir(&root)
        .output();
    match download {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            println!(
                "skipped: apt-get download: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            return None;
        }
        Err(error) => {
            println!("skipped: apt-get: {error}");
            return None;
        }
    }
    for file in fs::read_dir(&root).unwrap() {
        let file = file.unwrap().path();
        if file.extension().is_some_and(|end| end == "deb") {
            let unpacked = Command::new("dpkg")
                .arg("-x")
                .arg(&file)
                .arg(&root)
                .status();
            assert!(unpacked.unwrap().success(), "{}", file.display());
            fs::remove_file(&file).unwrap();
        }
    }
    fs::write(root.join("complete"), "").unwrap();
    Some(root)
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl Monitoring {
    fn start(webhook: u16) -> Option<Monitoring> {
        let root = packages()?;
        let names = [
            "influxd",
            "influxd-rpc",
            "node",
            "alertmanager",
            "prometheus",
        ];
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .build()
            .into();
        let mut monitoring = Monitoring {
            folder: tempfile::tempdir().unwrap(),
            root,
            ports: names.iter().map(|name| (*name, free_port())).collect(),
            servers: Vec::new(),
            agent,
        };
        fs::create_dir(monitoring.path("textfiles")).unwrap();
        monitoring.configure(webhook);
        let at =
            |monitoring: &Monitoring, name: &str| format!("127.0.0.1:{}", monitoring.ports[name]);
        let (node, alertmanager, prometheus) = (
            at(&monitoring, "node"),
            at(&monitoring, "alertmanager"),
            at(&monitoring, "prometheus"),
        );
        let place = |flag: &str, name: &str| format!("{flag}={}", monitoring.path(name).display());
        let (influx, textfiles, alerts, alert_data, scrape, data) = (
            place("-config", "influxdb.conf"),
            place("--collector.textfile.directory", "textfiles"),
            place("--config.file", "alertmanager.yml"),
            place("--storage.path", "alertmanager"),
            place("--config.file", "prometheus.yml"),
            place("--storage.tsdb.path", "prometheus"),
        );
        let listen = |address: &str| format!("--web.listen-address={address}");
        let commands: [(&str, Vec<String>); 4] = [
            ("influxd", vec![influx]),
            (
                "prometheus-node-exporter",
                vec![
                    "--collector.disable-defaults".to_owned(),
                    "--collector.textfile".to_owned(),
                    textfiles,
                    listen(&node),
                ],
            ),
            (
                "prometheus-alertmanager",
                vec![
                    alerts,
                    alert_data,
                    "--cluster.listen-address=".to_owned(),
                    listen(&alertmanager),
                ],
            ),
            ("prometheus", vec![scrape, data, listen(&prometheus)]),
        ];
        for (program, args) in commands {
            monitoring.spawn(program, &args);
        }
        for (name, path) in [
            ("influxd", "/ping"),
            ("node", "/metrics"),
            ("alertmanager", "/-/ready"),
            ("prometheus", "/-/ready"),
        ] {
            wait(&format!("{name} to answer"), 60, || {
                monitoring
                    .get(name, path)
                    .is_some_and(|(status, _)| status < 300)
            });
        }
        Some(monitoring)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn configure(&self, webhook: u16) {
        let influx = self.path("influxdb");
        let place = influx.display();
        let influx = format!(
            "reporting-disabled = true\nbind-address = \"127.0.0.1:{}\"\n[meta]\n  dir = \"{place}/meta\"\n[data]\n  dir = \
             \"{place}/data\"\n  wal-dir = \"{place}/wal\"\n[http]\n  bind-address = \"127.0.0.1:{}\"\n",
            self.ports["influxd-rpc"], self.ports["influxd"]
        );
        let alertmanager = format!(
            "route: {{receiver: site, group_wait: 0s, group_interval: 1s, group_by: [alertname]}}\nreceivers:\n- name: site\n  \
             webhook_configs: [{{url: 'http://127.0.0.1:{webhook}/'}}]\n"
        );
        let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/prometheus/ehos.rules.yml");
        let prometheus = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{}']\nscrape_configs:\n- job_name: node\n  \
             static_configs: [{{targets: ['127.0.0.1:{}']}}]\nalerting:\n  alertmanagers:\n  - static_configs: [{{targets: \
             ['127.0.0.1:{}']}}]\n",
            rules.display(),
            self.ports["node"],
            self.ports["alertmanager"]
        );
        for (name, text) in [
            ("influxdb.conf", influx),
            ("alertmanager.yml", alertmanager),
            ("prometheus.yml", prometheus),
        ] {
            fs::write(self.path(name), text).unwrap();
        }
    }

    fn spawn(&mut self, program: &str, args: &[String]) {
        let log = fs::File::create(self.path(&format!("{program}.log"))).unwrap();
        // Debian's Alertmanager reads templates below /usr/share: in a mount namespace of its own, the package's are there.
        let script = "mount -t overlay overlay -o lowerdir=$0/usr/share:/usr/share /usr/share && exec \"$0/usr/bin/$1\" \"${@:2}\"";
        let child = Command::new("unshare")
            .args(["--mount", "bash", "-c", script])
            .arg(&self.root)
            .arg(program)
            .args(args)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.servers.push(Server(child));
    }

    /// Status and text of an answer.
    fn get(&self, server: &str, path: &str) -> Option<(u16, String)> {
        let url = format!("http://127.0.0.1:{}{path}", self.ports[server]);
        let mut answer = self.agent.get(url).call().ok()?;
        let text = answer.body_mut().read_to_string().ok()?;
        Some((answer.status().as_u16(), text))
    }

    fn json(&self, server: &str, path: &str) -> Value {
        let (status, text) = self.get(server, path).unwrap();
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// The samples that Prometheus has for a query.
    fn query(&self, expression: &str) -> Vec<Value> {
        let answer = self.json(
            "prometheus",
            &format!("/api/v1/query?query={}", escaped(expression)),
        );
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        answer["data"]["result"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    }

    fn number(&self, expression: &str) -> Option<f64> {
        let samples = self.query(expression);
        samples.first()?["value"][1].as_str()?.parse().ok()
    }

    fn influx(&self, method: &str, query: &str) -> Value {
        let path = format!("/query?db=ehos&q={}", escaped(query));
        let url = format!("http://127.0.0.1:{}{path}", self.ports["influxd"]);
        let text = match method {
            "POST" => self.agent.post(url).send_empty(),
            _ => self.agent.get(url).call(),
        };
        let text = text.unwrap().body_mut().read_to_string().unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{query}: {error}: {text}"))
    }
}

fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

/// A webhook: the alerts that came, as `STATUS NAME`.
fn webhook() -> (u16, Arc<Mutex<BTreeSet<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let alerts = Arc::new(Mutex::new(BTreeSet::new()));
    let heard = Arc::clone(&alerts);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let mut length = 0;
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                if let Some((name, value)) = line.split_once(':')
                    && name.eq_ignore_ascii_case("content-length")
                {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let mut stream = reader.into_inner();
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let body: Value = serde_json::from_slice(&body).unwrap();
            for alert in body["alerts"].as_array().unwrap() {
                let text = |value: &Value| value.as_str().unwrap().to_owned();
                let name = text(&alert["labels"]["alertname"]);
                heard
                    .lock()
                    .unwrap()
                    .insert(format!("{} {name}", text(&alert["status"])));
            }
        }
    });
    (port, alerts)
}

/// A simulated site whose metrics go to both.
fn tick(monitoring: &Monitoring, more: &str) -> Value {
    let config = monitoring.path("ehos.yaml");
    let demo = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/demo.yaml"))
        .unwrap();
    let daemon = format!("daemon:\n  hostname: site\n{more}");
    let text = format!(
        "{}metrics: {{prometheus_textfile: {}}}\ninfluxdb: {{url: 'http://127.0.0.1:{}', db: ehos}}\n",
        demo.replacen("daemon:\n", &daemon, 1),
        monitoring.path("textfiles/ehos.prom").display(),
        monitoring.ports["influxd"]
    );
    fs::write(&config, text).unwrap();
    let output = Command::new(testkit::program!())
        .args(["tick", "-o", "json", "--config"])
        .arg(&config)
        .arg("--state-dir")
        .arg(monitoring.path("state"))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && !errors.contains("InfluxDB"),
        "{errors}"
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_lines_textfile_rules_and_dashboard_are_taken_by_the_real_programs() {
    let (port, alerts) = webhook();
    let Some(monitoring) = Monitoring::start(port) else {
        return;
    };
    step("InfluxDB takes the lines");
    monitoring.influx("POST", "CREATE DATABASE ehos");
    let reports: Vec<Value> = (0..6).map(|_| tick(&monitoring, "")).collect();
    let rows = |query: &str| {
        let answer = monitoring.influx("GET", query);
        let rows = answer["results"][0]["series"][0]["values"]
            .as_array()
            .cloned();
        rows.unwrap_or_else(|| panic!("{query}: {answer}"))
    };
    // One point for each pass of each tick.
    let passes = reports
        .iter()
        .map(|report| 1 + usize::from(report["second_pass"].is_object()));
    assert_eq!(rows("SELECT * FROM ehos_jobs").len(), passes.sum::<usize>());
    let last = reports.last().unwrap();
    let idle = rows("SELECT last(idle) FROM ehos_jobs WHERE host='site'");
    assert_eq!(
        idle[0][1].as_f64(),
        last["queue"]["idle"].as_f64(),
        "{last:#}"
    );
    let measurements: BTreeSet<String> = rows("SHOW MEASUREMENTS")
        .iter()
        .map(|row| row[0].as_str().unwrap().to_owned())
        .collect();
    for name in [
        "condor",
        "ehos",
        "ehos_cloud",
        "ehos_cores",
        "ehos_jobs",
        "ehos_nodes",
    ] {
        assert!(measurements.contains(name), "{measurements:?}");
    }

    step("Prometheus scrapes the textfile");
    wait("the metrics to be scraped", 60, || {
        monitoring.number("ehos_jobs{state=\"idle\"}") == last["queue"]["idle"].as_f64()
    });
    assert_eq!(monitoring.number("ehos_active"), Some(1.0));
    assert_eq!(monitoring.number("node_textfile_scrape_error"), Some(0.0));
    let textfile = fs::read_to_string(monitoring.path("textfiles/ehos.prom")).unwrap();
    let given = textfile
        .lines()
        .filter(|line| !line.starts_with('#'))
        .count();
    let scraped = monitoring.number("count({__name__=~\"ehos_.+\"})").unwrap();
    assert_eq!(scraped as usize, given, "every sample");

    step("Prometheus loads the rules and evaluates each");
    let rules = || {
        let answer = monitoring.json("prometheus", "/api/v1/rules");
        answer["data"]["groups"][0]["rules"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    };
    wait("every rule to be evaluated", 60, || {
        rules().iter().all(|rule| rule["health"] == "ok")
    });
    assert!(rules().len() > 10);
    assert_eq!(*alerts.lock().unwrap(), BTreeSet::new(), "all is well");

    step("every query of the dashboard is answered");
    let board = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/grafana/ehos.json");
    let board: Value = serde_json::from_str(&fs::read_to_string(board).unwrap()).unwrap();
    let mut answered = 0;
    for panel in board["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().unwrap();
            let expression = expression
                .replace("$instance", ".+")
                .replace("$__rate_interval", "1m")
                .replace("$__interval", "1m")
                .replace("$__range", "1m");
            assert!(!expression.contains('$'), "{expression}");
            answered += usize::from(!monitoring.query(&expression).is_empty());
        }
    }
    assert!(answered > 10, "{answered} queries have data");

    step("a spent budget is an alert that reaches the webhook, and ends");
    tick(&monitoring, "  budget: {per_month: 0.000001}\n");
    wait("the alert", 60, || {
        alerts.lock().unwrap().contains("firing EhosBudgetSpent")
    });
    tick(&monitoring, "  budget: {per_month: 1000000}\n");
    wait("its end", 120, || {
        alerts.lock().unwrap().contains("resolved EhosBudgetSpent")
    });

    step("a late tick is one after 3 minutes");
    let took = monitoring.number("ehos_tick_duration_seconds").unwrap();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();
    let aged = |seconds: f64| {
        let line = |line: &str| match line.starts_with("ehos_last_tick_timestamp_seconds ") {
            true => format!("ehos_last_tick_timestamp_seconds {}\n", now - seconds),
            false => format!("{line}\n"),
        };
        let text = fs::read_to_string(monitoring.path("textfiles/ehos.prom")).unwrap();
        let text: String = text.lines().map(line).collect();
        let file = monitoring.path("textfiles/ehos.prom");
        fs::write(file.with_extension("new"), text).unwrap();
        fs::rename(file.with_extension("new"), file).unwrap();
    };
    aged(150.0 + took);
    wait("the age to be scraped", 60, || {
        monitoring
            .number("time() - ehos_last_tick_timestamp_seconds")
            .is_some_and(|age| age > 100.0)
    });
    thread::sleep(Duration::from_secs(3));
    assert!(!alerts.lock().unwrap().contains("firing EhosNoTick"));
    aged(181.0 + took);
    wait("the alert", 60, || {
        alerts.lock().unwrap().contains("firing EhosNoTick")
    });
}
