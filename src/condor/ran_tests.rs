use std::time::Duration;

use super::*;
use crate::fake::FakeTools;

fn ad(text: &str) -> Result<RanJob, Option<&'static str>> {
    Ad::parse(text).unwrap().job(|_| {})
}

#[test]
fn the_last_run_has_a_host_and_the_earlier_ones_a_time() {
    let job = ad(r#"{"GlobalJobId": "a#1", "Owner": "alice", "AcctGroup": "phys", "JobStatus": 4, "JobCurrentStartDate": 1000,
        "CompletionDate": 1600, "RemoteWallClockTime": 1.5E+03, "RequestCpus": 2, "RequestMemory": "\/Expr(x * 2)\/",
        "MemoryProvisioned": 4096, "LastRemoteHost": "slot1_2@startd@Node-1.example.org"}"#)
    .unwrap();
    let known = RanJob {
        id: "a#1".to_owned(),
        owner: "alice".to_owned(),
        group: Some("phys".to_owned()),
        cpus: 2,
        memory_mb: 4096,
        host: Some("node-1.example.org".to_owned()),
        run: Some((1000, 1600)),
        earlier: 900,
    };
    assert_eq!(job, known);
    // Removed a day after its last run ended.
    let removed = r#"{"JobStatus": 3, "JobCurrentStartDate": 1000, "EnteredCurrentStatus": 87400, "RemoteWallClockTime": 60,
        "LastRemoteWallClockTime": 60}"#;
    let removed = ad(removed).unwrap();
    assert_eq!((removed.run, removed.earlier), (Some((1000, 1060)), 0));
    let running = r#"{"JobStatus": 2, "JobCurrentStartDate": 1000, "ServerTime": 1300, "RemoteWallClockTime": 60,
        "RemoteHost": "slot1@b", "LastRemoteHost": "slot1@a"}"#;
    let running = ad(running).unwrap();
    assert_eq!((running.run, running.earlier), (Some((1000, 1300)), 60));
    assert_eq!(running.host.as_deref(), Some("b"));
}

#[test]
fn what_is_odd_costs_nothing_but_itself() {
    assert_eq!(
        ad(r#"{"JobUniverse": 7, "JobCurrentStartDate": 1}"#),
        Err(None)
    );
    assert_eq!(ad("{}"), Err(None), "it never ran");
    assert!(ad(r#"{"RemoteWallClockTime": 5}"#).unwrap_err().is_some());
    let back =
        ad(r#"{"JobCurrentStartDate": 1000, "CompletionDate": 900, "RemoteWallClockTime": 50}"#)
            .unwrap();
    assert_eq!((back.run, back.earlier), (None, 50));
    assert_eq!(
        (back.cpus, back.memory_mb, back.owner.as_str()),
        (1, 128, "unknown")
    );
    let long = format!(
        r#"{{"JobCurrentStartDate": 1, "CompletionDate": 2, "Owner": "{}"}}"#,
        "x".repeat(9999)
    );
    assert_eq!(ad(&long).unwrap().owner.len(), TEXT_MAX);
}

#[test]
fn objects_are_found_and_a_torn_one_is_counted() {
    let mut objects = Objects::default();
    let mut found = Vec::new();
    let text =
        "[\n{\n\"a\": \"}\\\"{\",\n\"b\": {\"c\": 1}\n}\n,\n{\n\"torn\": 1\n{\n\"d\": 2\n}\n]";
    for line in text.lines() {
        objects.add(line, |object| found.push(object.map(str::to_owned)));
    }
    let parsed: Vec<bool> = found
        .iter()
        .map(|one| one.as_deref().is_some_and(|one| Ad::parse(one).is_some()))
        .collect();
    assert_eq!(parsed, [true, false, true], "{found:?}");
}

fn history_of(ads: &[(&str, i64)]) -> String {
    let ad = |(id, end): &(&str, i64)| {
        format!(
            "out|{{\nout|  \"GlobalJobId\": \"{id}\",\nout|  \"ClusterId\": 7,\nout|  \"JobStatus\": 4,\n\
             out|  \"JobCurrentStartDate\": {},\nout|  \"EnteredCurrentStatus\": {end}\nout|}}\n",
            end - 10
        )
    };
    ads.iter().map(ad).collect::<Vec<_>>().join("out|,\n") + "exit=0\n"
}

fn within() -> Deadline {
    Deadline::within(Duration::from_secs(20))
}

#[test]
fn a_job_that_leaves_the_queue_meanwhile_counts_once() {
    let fake = FakeTools::new();
    fake.answer("condor_q", "any", &history_of(&[("a", 5000), ("b", 5000)]));
    fake.answer(
        "condor_history",
        "any",
        &history_of(&[("b", 5000), ("c", 3000)]),
    );
    let tools = fake.tools(Duration::from_secs(20));
    let mut jobs = Vec::new();
    let mut notes = Notes::new();
    ran_jobs(&tools, Some("far"), 1000, within(), &mut notes, |job| {
        jobs.push(job.id)
    })
    .unwrap();
    assert_eq!(jobs, ["b", "c", "a"]);
    assert_eq!(
        fake.calls().matches("-name far").count(),
        2,
        "{}",
        fake.calls()
    );
}

#[test]
fn jobs_beyond_the_most_of_a_queue_are_counted_and_not_kept() {
    let mut queued = Queued::new(2);
    for id in ["a", "b", "b", "c", "d"] {
        queued.add(RanJob {
            id: id.to_owned(),
            ..RanJob::default()
        });
    }
    let kept: Vec<&str> = queued.jobs.keys().map(String::as_str).collect();
    assert_eq!((kept, queued.more), (vec!["a", "b"], 2));
    assert!(queued.jobs.values().all(|job| job.id.is_empty()));
}

#[test]
fn a_history_that_does_not_reach_back_is_told() {
    let fake = FakeTools::new();
    let tools = fake.tools(Duration::from_secs(20));
    let since = || known_since(&tools, Some("far"), 1000, within()).unwrap();
    fake.answer(
        "condor_history",
        "any",
        &history_of(&[("b", 5000), ("c", 3000)]),
    );
    fake.answer("condor_history", "-match", "exit=0\n");
    assert_eq!(since(), Some(3000));
    // One job that had stayed in the queue for long does not make it longer.
    let many: Vec<(String, i64)> = (0..400)
        .map(|number| (format!("j{number}"), 9000 - number))
        .collect();
    let mut many: Vec<(&str, i64)> = many.iter().map(|(id, end)| (id.as_str(), *end)).collect();
    many.push(("stayed", 1500));
    fake.answer("condor_history", "any", &history_of(&many));
    assert_eq!(since(), Some(8603));
    fake.answer("condor_history", "-match", &history_of(&[("old", 900)]));
    assert_eq!(since(), None, "it has an older one");
    let first = history_of(&[("c", 3000)]).replace("\"ClusterId\": 7", "\"ClusterId\": 1");
    fake.answer("condor_history", "any", &first);
    fake.answer("condor_history", "-match", "exit=0\n");
    assert_eq!(since(), None, "it has the first one of all");
    fake.answer("condor_history", "any", "exit=0\n");
    assert_eq!(since(), None, "there was no job at all");
}
