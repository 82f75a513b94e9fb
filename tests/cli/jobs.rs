//! Odd jobs beside others: each is told by name, and the others are served.

use serde_json::Value;

use crate::double::Double;
use crate::harness::cloud::{self, CREATE};
use crate::harness::{Site, condor};

/// When the recorded schedd answered, less 14 seconds.
const SINCE: &str = "1795353034\t1795353034";

/// The line of a job: its amounts, its name, and what follows.
struct Line {
    amounts: &'static str,
    /// Universe, MaxHosts, AcctGroup, ConcurrencyLimits.
    shape: &'static str,
    requests: &'static str,
    deferral: &'static str,
    requirements: String,
}

impl Default for Line {
    fn default() -> Line {
        Line {
            amounts: "1\t1024\t45\t0",
            shape: "5\t1\t\t",
            requests: "1\t1024\t45\t",
            deferral: "undefined\tundefined",
            requirements: String::new(),
        }
    }
}

impl Line {
    /// Three of them, with the jobs 9.0 to 9.2.
    fn text(&self) -> String {
        let Line {
            amounts,
            shape,
            requests,
            deferral,
            requirements,
        } = self;
        format!(
            "3\t{amounts}\t{SINCE}\t9.0 ... 9.2\t{shape}\t{requests}\t{deferral}\talice\t0\t{requirements}"
        )
    }
}

/// Two good jobs, and these lines before and behind them.
fn site(double: &Double, jobs: u64, before: &str, behind: &str) -> Site {
    let good = condor::group(2, 1, 512);
    let good = good.lines().next().unwrap();
    let told = |text: &str| -> String {
        let lines = text.split_terminator('\n');
        lines.map(|line| format!("out|{line}\n")).collect()
    };
    let answer = format!("{}{good}\n{}exit=0\n", told(before), told(behind));
    Site::with_cloud(double.url())
        .waiting(jobs)
        .answers("condor_q", "-group-by", &answer)
        .answers("condor_q", "any", &answer)
}

/// The good jobs have their nodes, and nothing is unknown.
#[track_caller]
fn served(double: &Double, site: &Site) {
    site.tick(&[]).exits(0).says("create 2 nodes for 2 jobs");
    assert_eq!(double.count("POST", CREATE), 2);
}

/// `ehos status`, as if its lines were not broken.
fn status(site: &Site) -> String {
    let state = site.state().display().to_string();
    let run = site.run(&["status", "--state-dir", &state]);
    run.stdout.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_job_of_each_odd_shape_costs_itself_alone() {
    let line = Line::default;
    let bad = |amounts, requests| Line {
        amounts,
        requests,
        ..Line::default()
    };
    let table = [
        (
            bad("1\terror\t45\t0", "1\t\"4 GB\"\t45\t"),
            "3 without a matching slot: RequestMemory is not an amount: \"4 GB\"",
        ),
        (
            bad("1\t-9223372036854775808\t45\t0", "1\t1e300\t45\t"),
            "RequestMemory is not an amount: 1e300",
        ),
        (
            bad("error\t5\t45\t0", "error\t5\t45\t"),
            "RequestCpus is not an amount: error",
        ),
        (
            bad("1\t5\terror\t0", "1\t5\t\t"),
            "RequestDisk is not an amount: undefined",
        ),
        (
            bad("1\t5\t45\terror", "1\t5\t45\t{ 1 }"),
            "RequestGPUs is not an amount: { 1 }",
        ),
        (
            Line {
                shape: "5\t1\t\t#type",
                ..line()
            },
            "3 unreadable, so no node is created for them: ConcurrencyLimits: it is no string",
        ),
        (
            Line {
                requirements: "#long".to_owned(),
                ..line()
            },
            "3 unreadable, so no node is created for them: Requirements: it is longer than 16384 bytes",
        ),
        (
            Line {
                shape: "11\t1\t\t",
                ..line()
            },
            "3 of the parallel universe",
        ),
        (
            Line {
                deferral: "1795353030\t1795353040",
                ..line()
            },
            "DeferralTime and DeferralWindow have passed",
        ),
        (
            Line {
                deferral: "1795363030\t1795363040",
                ..line()
            },
            "3 deferred: HTCondor matches the first in 2 h 46 min",
        ),
    ];
    for (line, told) in table {
        let double = Double::start(cloud::script(vec![]));
        let site = site(&double, 5, &line.text(), "");
        site.tick(&["--dry-run"])
            .exits(0)
            .says("create 2 nodes for 2 jobs")
            .says("(job 9.0, ")
            .says(told)
            .says("queue    5 idle, 0 running, 0 held\n");
        served(&double, &site);
        let told = told.split(':').next().unwrap();
        assert!(status(&site).contains(told), "{told}: {}", status(&site));
        let json = site
            .tick(&["--dry-run", "-o", "json"])
            .exits(0)
            .stdout
            .clone();
        let report: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            report["unknown_sources"].as_array().map_or(0, Vec::len),
            0,
            "{report}"
        );
        let odd = report["job_groups"].as_array().unwrap().iter();
        let odd: Vec<&Value> = odd.filter(|group| group["example"] == "9.0").collect();
        assert!(matches!(odd[..], [group] if group["jobs"] == 3), "{report}");
    }
}

/// Before it, behind it and in its midst.
#[test]
fn lines_that_are_none_cost_nothing_but_their_own_jobs() {
    let long = "x".repeat(1_100_000);
    for torn in [
        "   {\n      \"n1.example.org\",\n   }) || TARGET.Cpus > 1",
        "",
        "\u{1b}[31m\u{0}\u{7f}",
        "9\t9\t9",
        "\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t",
        &long,
        &format!("{}\t{long}", Line::default().text()),
    ] {
        let double = Double::start(cloud::script(vec![]));
        let site = site(&double, 5, torn, &format!("{torn}\n{torn}"));
        site.tick(&["-n"])
            .exits(0)
            .says("create 2 nodes for 2 jobs")
            .says("3 unreadable, so no node is created for them: condor_q ");
        served(&double, &site);
    }
}

#[test]
fn groups_with_the_same_id_are_told_job_by_job() {
    let double = Double::start(cloud::script(vec![]));
    let one = condor::group(1, 1, 512);
    let one = one.lines().next().unwrap();
    let site = Site::with_cloud(double.url())
        .waiting(2)
        .answers(
            "condor_q",
            "-group-by",
            &format!("{one}\nerr|Error: Two results with the same ID.\nexit=0\n"),
        )
        .answers("condor_q", "any", &format!("{one}\n{one}\nexit=0\n"));
    served(&double, &site);
}

#[test]
fn no_more_nodes_than_the_schedd_starts_jobs() {
    let double = Double::start(cloud::script(vec![]));
    let site = Site::with_cloud(double.url()).waiting(4).answers(
        "condor_status",
        "-schedd",
        "out|\"cm\"\t\"cm\"\t3\t1\nexit=0\n",
    );
    site.tick(&["-n"])
        .exits(0)
        .says("2 waiting, limited by MAX_JOBS_RUNNING 3 of schedd local: 1 running job there")
        .says("create 2 nodes for 2 jobs");
    served(&double, &site);
    // Who does not say limits nothing.
    for answer in ["err|Error\nexit=1\n", "out|\"cm\"\t{\t\nexit=0\n"] {
        let site =
            Site::with_cloud(double.url())
                .waiting(4)
                .answers("condor_status", "-schedd", answer);
        site.tick(&["-n"])
            .exits(0)
            .says("create 3 nodes for 3 jobs");
    }
}

#[test]
fn jobs_that_are_still_to_come_are_told() {
    let double = Double::start(cloud::script(vec![]));
    let site = Site::with_cloud(double.url()).waiting(2).answers(
        "condor_q",
        "-factory",
        "out|700\t2\nexit=0\n",
    );
    site.tick(&["-n"])
        .exits(0)
        .says("queue    2 idle, 0 running, 0 held; 698 to come (late materialization)");
    served(&double, &site);
    assert!(status(&site).contains("698 to come"));
}
