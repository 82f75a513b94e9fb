//! How a job finds its group, and what it is told.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::names::LimitName;
use scaling::job_requirements::RequirementsDigest;
use scaling::submitter::Submitter;

fn demand(owner: &str, needs: &str) -> Demand {
    Demand {
        needs: RequirementsDigest(needs.to_owned()),
        jobs: 2,
        waiting: Duration::from_secs(90),
        example: Some("7.0".to_owned()),
        owner: Some(owner.to_owned()),
        accounting_group: Some("phys.a".to_owned()),
        ..Demand::default()
    }
}

fn report(groups: &[(&str, serde_json::Value)]) -> TickReport {
    let groups: Vec<_> = groups
        .iter()
        .map(|(id, reason)| {
            json!({"id": id, "request": Resources::default(), "jobs": 9, "waiting_seconds": 1, "reasons": [reason]})
        })
        .collect();
    serde_json::from_value(json!({
        "at": "2026-11-26T12:00:00Z", "queue": {"schedds": 1}, "job_groups": groups,
    }))
    .unwrap()
}

fn id(demand: &Demand, submitters: &[Submitter]) -> String {
    group_id(&demand.key(), &Submitters(submitters.to_vec()))
}

#[test]
fn a_job_is_in_the_group_of_its_own_limits() {
    let alice = demand("alice", "x");
    let user = Submitter::User("alice".to_owned());
    let group = Submitter::AccountingGroup("phys".to_owned());
    let (none, limited) = (id(&alice, &[]), id(&alice, &[user, group]));
    let reason = |name: &str| json!({"reason": name, "text": name});
    let report = report(&[(&none, reason("no_match")), (&limited, reason("fits_free"))]);
    let of = |demand: &Demand| {
        let (found, others) = groups(std::slice::from_ref(demand), Some(&report), None);
        assert_eq!((found.len(), others), (1, 0));
        (found[0].reasons[0].text.clone(), found[0].group_jobs)
    };
    assert_eq!(of(&alice), ("fits_free".to_owned(), Some(9)));
    assert_eq!(of(&demand("bob", "x")), ("no_match".to_owned(), Some(9)));
}

#[test]
fn a_group_that_is_not_listed_is_told_with_the_cause() {
    let report = report(&[]);
    let cause = |report: &TickReport, since: Option<&str>| {
        let since = since.map(|since| since.parse().unwrap());
        groups(&[demand("alice", "x")], Some(report), since).0[0].unlisted
    };
    let younger = Some("2026-11-26T12:00:05Z");
    assert_eq!(cause(&report, younger), Some(Unlisted::Younger));
    let mut later = report.clone();
    later.at = "2026-11-26T12:00:05.9Z".parse().unwrap();
    assert_eq!(cause(&later, younger), Some(Unlisted::Younger));
    let older = Some("2026-11-26T11:00:05Z");
    assert_eq!(cause(&report, older), Some(Unlisted::NotFound));
    let mut blind = report.clone();
    blind.queue.schedds = 0;
    assert_eq!(cause(&blind, older), Some(Unlisted::ScheddUnknown));
}

#[test]
fn every_reason_has_advice_in_the_imperative() {
    let why = |value: serde_json::Value| -> ReasonReport { serde_json::from_value(value).unwrap() };
    let said = |value| advice(&why(value), Some("7.0")).join("\n");
    insta::assert_snapshot!(said(json!({"reason": "too_large", "text": "", "nearest": {"cloud": "a", "flavor": "f",
        "no_gpu": false, "too_large": [{"resource": "memory_mb", "requested": 20000, "available": 15074}]}})), @r"
    lower request_memory to at most 15074: condor_qedit 7.0 RequestMemory 15074
    ask the administrator for a larger flavor
    ");
    insta::assert_snapshot!(said(json!({"reason": "no_match", "text": "", "mismatches": [
        {"cloud": "a", "flavor": "f", "node": false, "clause": "TARGET.HasWindows"},
        {"cloud": "b", "flavor": "f", "node": false, "clause": "TARGET.HasWindows"}]})), @"change this clause of the job's Requirements with condor_qedit 7.0 Requirements: TARGET.HasWindows");
    insta::assert_snapshot!(said(json!({"reason": "limited", "text": "", "jobs": 1, "nodes": 1,
        "limit": {"name": "nodes_max", "nodes_max": 6}})), @"ask the administrator to raise nodes_max (now 6), or wait for a free slot");
    insta::assert_snapshot!(said(json!({"reason": "limited", "text": "", "limit": {"name": "cores", "cloud": "a"}})), @"ask the administrator to raise the cores quota of the project in cloud a, or wait for a free slot");
    for name in ReasonName::ALL
        .iter()
        // Reasons of nodes.
        .filter(|name| {
            let of_nodes = [
                ReasonName::Busy,
                ReasonName::Kept,
                ReasonName::DrainRequested,
                ReasonName::DrainRequestWaiting,
                ReasonName::DeleteRequested,
            ];
            !of_nodes.contains(name)
        })
    {
        let all = json!({"reason": name, "text": "", "mismatches": [{"node": true}]});
        assert!(!said(all).is_empty(), "{name}");
    }
    for name in LimitName::ALL {
        let limit = json!({"reason": "limited", "text": "", "limit": {"name": name}});
        assert!(!said(limit).is_empty(), "{name}");
    }
    assert_eq!(
        said(json!({"reason": "of_a_newer_version", "text": ""})),
        ""
    );
}

#[test]
fn a_cost_share_goes_by_the_largest_part_of_the_node() {
    let node = JobNode {
        host: "n1".to_owned(),
        jobs: 1,
        node: None,
        cloud: None,
        flavor: None,
        per_hour: Some(Money::new(0.8)),
        size: Some((8, Some(16_000))),
    };
    assert_eq!(node.share(2, Some(1000), 3600), Some(Money::new(0.2)));
    assert_eq!(node.share(1, Some(8000), 1800), Some(Money::new(0.2)));
    assert_eq!(node.share(99, None, 3600), Some(Money::new(0.8)));
}
