use super::*;
use serde_json::json;

const NODE: &str = "20261126t090000-01";

/// A tick at this minute in which the node was so, and this was done with it.
fn record(minute: u32, event: Value, action: &str, result: &str) -> Record {
    let mut whole = json!({"node": NODE, "name": "n", "cloud": "c", "flavor": "f", "image": "i", "per_hour": 0.6,
        "phase": "busy", "decision": "keep", "reason": "r", "text": "t"});
    let events = match event {
        Value::Object(event) => {
            whole.as_object_mut().unwrap().extend(event);
            json!([whole])
        }
        _ => json!([]),
    };
    let mut record =
        json!({"at": format!("2026-11-26T09:{minute:02}:00Z"), "events": events, "actions": []});
    if !action.is_empty() {
        record["actions"] =
            json!([{"action": action, "node": NODE, "result": result, "message": "what failed"}]);
    }
    serde_json::from_value(record).unwrap()
}

fn life(records: &[Record]) -> Life {
    Life::of(NODE, records, &TickReport::default()).unwrap()
}

fn created() -> Record {
    record(
        0,
        json!({"phase": "new", "decision": "create", "text": "for 1 waiting job"}),
        "create",
        "done",
    )
}

#[test]
fn a_whole_life() {
    let records = [
        created(),
        record(
            1,
            json!({"previous_phase": "new", "phase": "booting"}),
            "",
            "",
        ),
        record(
            4,
            json!({"previous_phase": "booting", "phase": "busy", "server": "uuid", "machine": "host"}),
            "",
            "",
        ),
        record(
            14,
            json!({"previous_phase": "busy", "phase": "idle"}),
            "",
            "",
        ),
        record(
            20,
            json!({"phase": "idle", "decision": "drain", "text": "idle 6 min"}),
            "drain",
            "done",
        ),
        record(
            21,
            json!({"phase": "drained", "decision": "delete", "text": "no claim left"}),
            "delete",
            "failed",
        ),
        record(22, Value::Null, "delete", "done"),
        record(
            24,
            json!({"phase": "deleted", "decision": "forget", "text": "its server is gone"}),
            "invalidate",
            "done",
        ),
    ];
    let life = life(&records);
    let (server, machine) = (life.server.as_deref(), life.machine.as_deref());
    assert_eq!((server, machine), (Some("uuid"), Some("host")));
    let phases: Vec<String> = life.phases.iter().map(part_in_words).collect();
    assert_eq!(
        phases,
        [
            "new 60 s",
            "booting 3 min",
            "busy 10 min",
            "idle 7 min",
            "drained 3 min"
        ]
    );
    // 24 minutes at 0.6 an hour.
    assert_eq!(life.cost, Some(Money::new(0.24)));
    assert_eq!(
        life.text,
        "ehos deleted the node at 2026-11-26T09:22:00Z: no claim left."
    );
    assert_eq!(life.events.len(), 8);
    assert_eq!(life.events[6].text, "repeated");
}

#[test]
fn each_end() {
    let gone =
        json!({"phase": "deleted", "decision": "forget", "text": "it was not there any more"});
    let ends: Vec<End> = [
        vec![record(
            0,
            json!({"phase": "new", "decision": "create"}),
            "create",
            "failed",
        )],
        vec![created(), record(1, gone, "", "")],
        vec![created(), record(1, json!({"phase": "idle"}), "", "")],
    ]
    .iter()
    .map(|records| life(records).end)
    .collect();
    let at = |minute: u32| format!("2026-11-26T09:{minute:02}:00Z").parse().unwrap();
    assert_eq!(
        ends,
        [
            End::NotMade {
                at: at(0),
                why: "what failed".to_owned()
            },
            End::Gone {
                at: at(1),
                why: "it was not there any more".to_owned()
            },
            End::Unknown {
                at: at(1),
                phase: PhaseName::Idle.into()
            },
        ]
    );
    let last: TickReport = serde_json::from_value(json!({"at": "2026-11-26T09:30:00Z", "nodes": [{"node": NODE, "name": "n",
        "cloud": "c", "flavor": "f", "phase": "busy", "decision": "keep", "reason": "busy", "text": "busy 1 of 2 cpus"}]}))
    .unwrap();
    let there = Life::of(NODE, &[created()], &last).unwrap();
    assert_eq!(there.text, "The node exists: busy 1 of 2 cpus.");
    assert_eq!(there.phases[0].seconds, 1800);
    // Of a history that is lost the last tick is what is known.
    let only_last = Life::of(NODE, &[], &last).unwrap();
    assert_eq!((only_last.name.as_str(), only_last.events.len()), ("n", 0));
    assert_eq!(Life::of("another", &[created()], &last), None);
}
