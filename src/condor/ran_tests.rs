use std::time::Duration;

use super::*;
use crate::fake::FakeTools;

fn ad(text: &str) -> Result<RanJob, Option<&'static str>> {
    Ad::parse(text).unwrap().job(|_| {})
}

#[test]
fn the_last_run_has_a_host_and_the_earlier_ones_a_time() {
    let job = ad(r#"{"ClusterId": 8, "ProcId": 1, "QDate": 50, "Owner": "alice", "AcctGroup": "phys", "JobStatus": 4, "JobCurrentStartDate": 1000,
        "CompletionDate": 1600, "RemoteWallClockTime": 1.5E+03, "RequestCpus": 2, "RequestMemory": "\/Expr(x * 2)\/",
        "MemoryProvisioned": 4096, "LastRemoteHost": "slot1_2@startd@Node-1.example.org"}"#)
    .unwrap();
    let known = RanJob {
        id: (8, 1),
        owner: "alice".to_owned(),
        group: Some("phys".to_owned()),
        cpus: 2,
        memory_mb: 4096,
        host: Some("node-1.example.org".to_owned()),
        queued: Some(50),
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

fn history_of(ads: &[(i64, i64)]) -> String {
    let ad = |(id, end): &(i64, i64)| {
        format!(
            "out|{{\nout|  \"GlobalJobId\": \"edited\",\nout|  \"ProcId\": {id},\nout|  \"ClusterId\": 7,\nout|  \"JobStatus\": 4,\n\
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
    fake.answer("condor_q", "any", &history_of(&[(1, 5000), (2, 5000)]));
    fake.answer(
        "condor_history",
        "any",
        &history_of(&[(2, 5000), (3, 3000)]),
    );
    let tools = fake.tools(Duration::from_secs(20));
    let mut jobs = Vec::new();
    let mut notes = Notes::new();
    ran_jobs(&tools, Some("far"), 1000, within(), &mut notes, |job| {
        jobs.push(job.id.1)
    })
    .unwrap();
    assert_eq!(jobs, [2, 3, 1]);
    assert_eq!(
        fake.calls().matches("-name far").count(),
        2,
        "{}",
        fake.calls()
    );
    // The search must not end at a job that left the queue late.
    assert!(!fake.calls().contains("-since"), "{}", fake.calls());
}

#[test]
fn jobs_beyond_the_most_of_a_queue_are_counted_and_not_kept() {
    let mut queued = Queued::new(2);
    for cluster in [1, 2, 2, 3, 4] {
        queued.add(RanJob {
            id: (cluster, 0),
            ..RanJob::default()
        });
    }
    let kept: Vec<i64> = queued.jobs.keys().map(|(cluster, _)| *cluster).collect();
    assert_eq!((kept, queued.more), (vec![1, 2], 2));
}

#[test]
fn a_history_that_does_not_reach_back_is_told() {
    let fake = FakeTools::new();
    let tools = fake.tools(Duration::from_secs(20));
    let since = || known_since(&tools, Some("far"), 1000, within()).unwrap();
    fake.answer(
        "condor_history",
        "any",
        &history_of(&[(4, 6000), (3, 5000), (2, 4000), (1, 900)]),
    );
    assert_eq!(since(), Some(5000), "one old job proves nothing");
    let mut many: Vec<(i64, i64)> = (0..400).map(|number| (number, 9000 - number)).collect();
    many.push((500, 900));
    fake.answer("condor_history", "any", &history_of(&many));
    assert_eq!(since(), Some(8603));
    many.extend([(501, 910), (502, 920), (503, 930)]);
    fake.answer("condor_history", "any", &history_of(&many));
    assert_eq!(since(), None, "it has several older ones");
    let first = history_of(&[(1, 3000)]).replace("\"ClusterId\": 7", "\"ClusterId\": 1");
    fake.answer("condor_history", "any", &first);
    assert_eq!(since(), None, "it has the first one of all");
    fake.answer("condor_history", "any", "exit=0\n");
    assert_eq!(since(), None, "there was no job at all");
}
