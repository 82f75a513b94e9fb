//! Jobs whose Requirements new nodes would not satisfy, and an HTCondor that does not say.

use crate::double::Double;
use crate::harness::cloud::{self, CREATE};
use crate::harness::{Site, condor};

/// Two jobs that wait, with these Requirements.
fn site(double: &Double, requirements: &str) -> Site {
    let group = condor::group(2, 1, 512);
    let line = group.lines().next().unwrap();
    let answer = format!("{line}{requirements}\nexit=0\n");
    Site::with_cloud(double.url())
        .waiting(2)
        .answers("condor_q", "-group-by", &answer)
}

fn asked(site: &Site) -> usize {
    let calls = site.calls();
    calls
        .lines()
        .filter(|call| call.contains("-better-analyze"))
        .count()
}

#[test]
fn jobs_that_a_new_node_would_run_make_one() {
    let double = Double::start(cloud::script(vec![]));
    let site = site(&double, "TARGET.Arch == \"X86_64\"");
    site.tick(&[]).exits(0).says("create 2 nodes for 2 jobs");
    assert_eq!(double.count("POST", CREATE), 2);
    assert_eq!(asked(&site), 1);
    // Remembered in the state directory.
    site.tick(&[]);
    assert_eq!(asked(&site), 1, "{}", site.calls());
}

#[test]
fn jobs_that_no_node_would_run_are_named_with_what_is_false() {
    let double = Double::start(cloud::script(vec![]));
    let site = site(
        &double,
        "(TARGET.Arch == \"X86_64\") && (TARGET.OpSys == \"NO\")",
    );
    for _ in 0..2 {
        site.tick(&[])
            .exits(0)
            .says("2 × 1 CPU, 512 MB  ")
            .says("(job 7.0, waiting for ")
            .says("no match: TARGET.OpSys == \"NO\" is false on m1.small in ");
    }
    assert_eq!(double.count("POST", CREATE), 0);
    // One for the whole, one for its parts; then it is known.
    assert_eq!(asked(&site), 2, "{}", site.calls());
    let json = site.tick(&["-o", "json"]).exits(0).json();
    let why = &json["job_groups"][0]["reasons"][0];
    assert_eq!(why["reason"], "no_match", "{json:#}");
    assert_eq!(why["mismatches"][0]["clause"], "TARGET.OpSys == \"NO\"");
    assert_eq!(json["job_groups"][0]["example"], "7.0");
}

#[test]
fn without_an_answer_nothing_is_made_and_that_is_said() {
    let double = Double::start(cloud::script(vec![]));
    let site = site(&double, "TARGET.Arch == \"X86_64\"").answers(
        "condor_q",
        "-better-analyze:summary",
        "err|condor_q: unknown option\nexit=1\n",
    );
    site.tick(&[])
        .exits(1)
        .says("unknown  matches: ")
        .says("match unknown, so no node is created: ")
        .says("unknown option");
    assert_eq!(double.count("POST", CREATE), 0);
    // A site whose HTCondor cannot say it goes by the size of jobs; Requirements are not asked for then.
    let group = condor::group(2, 1, 512).replace("alice\t0\t\n", "alice\t0\n");
    let site =
        site.over("condor: {match_requirements: false}\n")
            .answers("condor_q", "-group-by", &group);
    site.tick(&[]).exits(0);
    assert_eq!(double.count("POST", CREATE), 2);
}
