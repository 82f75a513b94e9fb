use proptest::prelude::*;
use scaling::observation::{NodeId, Resources, UnreadableAd};

use super::*;

/// A slot line with some values other than those of an idle partitionable slot.
fn line(changes: &[(usize, &str)]) -> String {
    let mut values = [
        "\"n1\"",
        "\"slot1@n1\"",
        "\"Partitionable\"",
        "",
        "",
        "undefined",
        "\"Unclaimed\"",
        "\"Idle\"",
        "false",
        "false",
        "",
        "",
        "4",
        "4096",
        "1000",
        "0",
        "4",
        "4096",
        "1000",
        "0",
        "0",
        "100",
        "undefined",
        "90",
        "150",
        "200",
    ];
    for (index, value) in changes {
        values[*index] = value;
    }
    values.join("\t")
}

fn read(lines: &[String], now: i64) -> (Vec<StartdView>, Vec<UnreadableAd>) {
    let mut startds = Startds::default();
    for line in lines {
        startds.add(line, None);
    }
    startds.views(now)
}

fn view(lines: &[String], now: i64) -> StartdView {
    read(lines, now).0.remove(0)
}

/// The columns of a line, as they are told.
const COLUMNS: [&str; 26] = [
    "Machine",
    "Name",
    "SlotType",
    "CloudInstanceID",
    "EhosNode",
    "EhosUpdateInterval",
    "State",
    "Activity",
    "Start",
    "Draining",
    "DrainReason",
    "DrainingRequestId",
    "TotalSlotCpus",
    "TotalSlotMemory",
    "TotalSlotDisk",
    "TotalSlotGPUs",
    "Cpus",
    "Memory",
    "Disk",
    "GPUs",
    "NumDynamicSlots",
    "NumDynamicSlotsTime",
    "LastDrainStopTime",
    "DaemonStartTime",
    "MyCurrentTime",
    "LastHeardFrom",
];

/// A slot of the node n1.
fn of_n1(changes: &[(usize, &str)]) -> String {
    let mut all = vec![(3, "\"uuid\""), (4, "\"node\""), (9, "true")];
    all.extend(changes);
    line(&all)
}

#[test]
fn one_ad_that_cannot_be_read_is_told_by_name_counts_as_claimed_and_costs_no_other() {
    let other = line(&[(0, "\"n2\""), (1, "\"slot1@n2\"")]);
    for (index, column) in COLUMNS.iter().enumerate() {
        for value in ["error", "[ a = 1 ]", "{", "\"a\" + \"b\"", "\u{fffd}"] {
            let lines = [of_n1(&[(index, value)]), other.clone()];
            let (startds, unreadable) = read(&lines, 200);
            let n2 = startds
                .iter()
                .find(|startd| startd.machine == "n2")
                .unwrap();
            assert_eq!((n2.claims(), n2.free().cpus), (0, 4), "{column} {value}");
            let [ad] = unreadable.as_slice() else {
                panic!("{column} {value}: {unreadable:?}");
            };
            assert!(ad.what.contains(column), "{column} {value}: {ad:?}");
            assert!(ad.owner_known, "one of both ids can be read: {ad:?}");
            let named = ad.slot.as_deref().or(ad.machine.as_deref());
            assert!(named.is_some_and(|name| name.contains("n1")), "{ad:?}");
            let n1 = startds
                .iter()
                .find(|startd| startd.machine == "n1")
                .unwrap();
            assert_eq!(
                (n1.claims(), n1.free()),
                (1, Resources::default()),
                "{column} {value}"
            );
            assert!(
                n1.slots.iter().all(|slot| !slot.accepts_jobs),
                "{column} {value}"
            );
            assert!(n1.instance_id.is_some() || n1.node.is_some());
            assert!(n1.draining.as_ref().is_none_or(|drain| !drain.complete));
        }
    }
}

#[test]
fn a_slot_whose_owner_cannot_be_read_is_claimed_on_every_startd_of_its_machine() {
    let whose = [(3, "error"), (4, "error"), (1, "\"slot2@n1\"")];
    let lines = [
        of_n1(&[]),
        line(&[(3, "\"namesake\"")]),
        line(&whose),
        line(&[(0, "\"n2\""), (1, "\"slot1@n2\"")]),
    ];
    let (startds, unreadable) = read(&lines, 200);
    let claims: Vec<_> = startds
        .iter()
        .map(|startd| (startd.machine.as_str(), startd.claims()))
        .collect();
    assert_eq!(claims, [("n1", 1), ("n1", 1), ("n2", 0)]);
    assert!(!unreadable[0].owner_known);
    assert!(unreadable[0].may_be_of(Some("N1")) && unreadable[0].may_be_of(None));
    assert!(!unreadable[0].may_be_of(Some("n2")));
    assert_eq!(unreadable[0].slot_name(), "slot2@n1");
    // By its own clock it is a minute old.
    let age = |seconds| unreadable[0].is_older_than(Duration::from_secs(seconds));
    assert_eq!(unreadable[0].up_for, Some(Duration::from_secs(60)));
    assert!(!age(0), "clocks differ");
    let (_, of_old) = read(&[line(&[whose[0], whose[1], (24, "90000")])], 200);
    assert!(of_old[0].is_older_than(Duration::from_secs(3600)));
    // Alone it is a startd of nobody, which is claimed; without a machine it may be anybody's.
    let (startds, _) = read(&[line(&whose)], 200);
    assert_eq!((startds.len(), startds[0].claims()), (1, 1));
    let nameless = [(0, "error"), (1, "error"), (3, "error"), (4, "error")];
    let (startds, unreadable) = read(&[line(&nameless)], 200);
    assert_eq!(startds, []);
    assert!(unreadable[0].may_be_of(Some("n2")));
    assert_eq!(unreadable[0].slot_name(), "of an unknown machine");
    // Its server is known, its machine is not.
    let (startds, unreadable) = read(&[of_n1(&[(0, "error"), (1, "error")])], 200);
    assert_eq!((startds[0].node.is_some(), startds[0].claims()), (true, 1));
    assert!(!unreadable[0].may_be_of(Some("n2")));
}

#[test]
fn however_many_cannot_be_read_they_hide_no_node_that_they_are_not() {
    let names: Vec<String> = (0..3 * MAX_UNREADABLE)
        .map(|number| format!("\"m{number}\""))
        .collect();
    let ads = |whose: &str| -> Vec<String> {
        let ad = |name: &String| line(&[(0, name), (1, name), (3, whose), (12, "error")]);
        names.iter().map(ad).collect()
    };
    let (startds, unreadable) = read(&ads("\"another\""), 200);
    assert_eq!((startds.len(), unreadable.len()), (300, MAX_UNREADABLE));
    assert!(!unreadable.iter().any(|ad| ad.may_be_of(Some("n1"))));
    let (_, unreadable) = read(&[ads("\"another\""), ads("error")].concat(), 200);
    assert!(unreadable.iter().any(|ad| ad.may_be_of(Some("n1"))));
}

#[test]
fn a_line_that_was_torn_costs_itself_alone() {
    let lines = [
        "{".to_owned(),
        of_n1(&[]),
        "\"a\", }\tfalse".to_owned(),
        String::new(),
    ];
    let (startds, unreadable) = read(&lines, 200);
    assert_eq!((startds.len(), startds[0].claims()), (1, 0));
    assert_eq!(unreadable.len(), 3);
    assert!(unreadable.iter().all(|ad| ad.may_be_of(Some("any"))));
    let many = vec!["{".to_owned(); 10_000];
    assert_eq!(read(&many, 200).1.len(), MAX_UNREADABLE);
}

#[test]
fn the_address_is_read_where_it_is_told() {
    let known = format!("{}\t\"<10.0.0.1:9618?sock=startd_1>\"", line(&[]));
    let address = view(&[known], 200).address;
    assert_eq!(address.as_deref(), Some("<10.0.0.1:9618?sock=startd_1>"));
    assert_eq!(view(&[format!("{}\terror", line(&[]))], 200).address, None);
}

#[test]
fn ages_are_of_the_clock_that_stamped_them() {
    // The startd's clock is 50 s behind the collector's.
    let view = view(&[line(&[])], 230);
    assert_eq!(view.heard_ago, Duration::from_secs(30));
    assert_eq!(view.up_for, Duration::from_secs(60 + 30));
    assert_eq!(view.idle_for(), Some(Duration::from_secs(50 + 30)));
}

#[test]
fn a_drain_that_was_taken_back_starts_idleness_anew() {
    let view = view(&[line(&[(22, "140")])], 200);
    assert_eq!(view.idle_for(), Some(Duration::from_secs(10)));
}

#[test]
fn a_claimed_slot_offers_nothing() {
    let slot = |state: &str| {
        let line = line(&[(2, "\"Static\""), (6, state)]);
        SlotAd::read(&line, None).unwrap().slot
    };
    for state in [
        "\"Claimed\"",
        "\"Preempting\"",
        "\"Matched\"",
        "\"new\"",
        "",
    ] {
        let slot = slot(state);
        assert_eq!(
            (slot.claims, slot.free),
            (1, Resources::default()),
            "{state}"
        );
    }
    assert_eq!(slot("\"Unclaimed\"").claims, 0);
    assert!(!slot("\"Owner\"").accepts_jobs);
    assert_eq!(slot("\"Owner\"").claims, 0);
}

#[test]
fn a_slot_that_does_not_say_counts_as_claimed() {
    for index in [13, 17, 20] {
        let ad = SlotAd::read(&line(&[(index, "undefined")]), None).unwrap();
        let slot = ad.slot;
        assert_eq!(
            (slot.claims, slot.free),
            (1, Resources::default()),
            "{index}"
        );
    }
    for index in [1, 25] {
        let ad = SlotAd::read(&line(&[(index, "undefined")]), None).unwrap();
        let slot = ad.slot;
        assert_eq!((slot.claims, slot.accepts_jobs), (1, false), "{index}");
    }
    let ad = SlotAd::read(&line(&[(0, "")]), None).unwrap();
    assert_eq!(ad.machine.as_deref(), Some("n1"));
}

#[test]
fn the_sender_of_an_ad_is_its_collectors_word() {
    let sent = |sender: &str, changes: &[(usize, &str)]| {
        format!("{}\t\"<10.0.0.1:9618>\"\t{sender}", line(changes))
    };
    let node = "\"execute-20261129t090000-01@testbed\"";
    let sender = Sender::Node(NodeId("20261129t090000-01".into()));
    // Neither what it leaves out nor what cannot be read hides whose ad it is.
    for changes in [&[][..], &[(4, "error"), (3, "error")], &[(12, "error")]] {
        let (startds, unreadable) = read(&[sent(node, changes)], 200);
        assert_eq!(startds[0].sender, sender);
        assert_eq!(startds[0].node, Some(NodeId("20261129t090000-01".into())));
        assert!(unreadable.iter().all(|ad| ad.owner_known));
    }
    let other = [(4, "\"another\"")];
    let startd = view(&[sent(node, &other)], 200);
    assert_eq!(startd.node, Some(NodeId("another".into())));
    assert_eq!(startd.sender, sender);
    assert_eq!(view(&[line(&[])], 200).sender, Sender::Unknown);
    // Two senders, or two addresses, are two startds.
    let both = [sent(node, &other), sent("\"execute@testbed\"", &other)];
    assert_eq!(read(&both, 200).0.len(), 2);
    let elsewhere = sent("\"execute@testbed\"", &other).replace("10.0.0.1", "10.0.0.2");
    assert_eq!(read(&[both[1].clone(), elsewhere], 200).0.len(), 2);
    // Nobody is fresh for ever.
    let patient = view(&[line(&[(5, "1000000000")])], 200);
    assert_eq!(patient.update_interval, Some(MAX_UPDATE_INTERVAL));
}

#[test]
fn a_drain_is_over_when_every_slot_is_drained() {
    let drained = [
        (2, "\"Static\""),
        (6, "\"Drained\""),
        (9, "true"),
        (10, "\"ours\""),
        (11, "\"7\""),
    ];
    let retiring = [
        (2, "\"Static\""),
        (6, "\"Claimed\""),
        (7, "\"Retiring\""),
        (9, "true"),
    ];
    let both = view(&[line(&drained), line(&drained)], 200)
        .draining
        .unwrap();
    assert!(both.complete);
    assert_eq!(
        (both.reason.as_str(), both.request_id.as_str()),
        ("ours", "7")
    );
    assert!(
        !view(&[line(&drained), line(&retiring)], 200)
            .draining
            .unwrap()
            .complete
    );
    // Not yet drained, or drained above jobs that go on.
    let idle = [(2, "\"Static\""), (9, "true")];
    assert!(
        !view(&[line(&drained), line(&idle)], 200)
            .draining
            .unwrap()
            .complete
    );
    let above = [(6, "\"Drained\""), (9, "true"), (20, "1")];
    assert!(!view(&[line(&above)], 200).draining.unwrap().complete);
}

proptest! {
    #[test]
    fn no_line_makes_another_slot_disappear_or_free(
        text in ".*",
        index in 0usize..26,
        value in "[^\t]*",
        at in 0usize..3,
        now: i64,
    ) {
        let good = |number: usize| {
            let machine = format!("\"good{number}\"");
            line(&[(0, &machine), (1, &format!("\"slot1@good{number}\""))])
        };
        for bad in [text, line(&[(index, &value), (3, "\"bad\"")])] {
            let mut lines = vec![good(0), good(1)];
            lines.insert(at, bad);
            let (startds, unreadable) = read(&lines, now);
            for number in 0..2 {
                let machine = format!("good{number}");
                let found = startds.iter().find(|startd| startd.machine == machine).unwrap();
                prop_assert!(found.free().cpus == 4 || !unreadable.is_empty());
            }
            for startd in startds.iter().filter(|startd| !startd.machine.starts_with("good")) {
                let unread = unreadable.iter().any(|ad| ad.machine.as_ref() == Some(&startd.machine));
                prop_assert!(!unread || startd.claims() > 0 && startd.free() == Resources::default());
            }
        }
    }

    #[test]
    fn no_number_is_too_large(index in 12usize..26, value: i64, now: i64) {
        let _ = view(&[line(&[]), line(&[(index, &value.to_string()), (5, "1")])], now);
    }
}
