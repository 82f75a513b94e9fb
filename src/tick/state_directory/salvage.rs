//! Reads a partly damaged state file, entry by entry.
//!
//! A lost entry costs its timers. ehos adopts its node again by the metadata (docs/design-rules.md, rule 4).

use serde_json::{Map, Value};

use super::reread;
use scaling::state::State;

/// The clock that all other entries are measured by. Without it they mean nothing.
const CLOCK: &str = "now";
/// The nodes, and the clouds whose nodes are all known.
const NODES: &str = "nodes";
const CLOUDS: &str = "clouds";
/// Whether the pool has ever had machines that ehos does not manage.
const UNMANAGED: &str = "unmanaged";

/// Returns the state with every entry of `fields` that parses, and the names of those that do not (`nodes.NAME`).
///
/// `None` when the tick clock itself does not parse.
pub(super) fn salvage(fields: &Map<String, Value>) -> Option<(State, Vec<String>)> {
    let mut whole: Map<String, Value> = reread(&State::default()).ok()?;
    // Small, however large the state is: each entry is read with it.
    let base = whole.clone();
    let mut lost = Vec::new();
    for (field, value) in fields {
        let (kept, without) = readable(&base, field, value);
        lost.extend(without);
        match kept {
            Some(kept) => whole.insert(field.clone(), kept),
            None if field == CLOCK => return None,
            None => continue,
        };
    }
    if !fields.contains_key(CLOCK) {
        return None;
    }
    // A cloud that held a lost node may be unknown in this tick: as one never seen, it may hold any number of nodes.
    if lost.iter().any(|name| name.starts_with(NODES)) {
        whole.insert(CLOUDS.to_owned(), Value::Array(Vec::new()));
    }
    // What is lost is not "never".
    if !fields.contains_key(UNMANAGED) || lost.iter().any(|name| name == UNMANAGED) {
        whole.remove(UNMANAGED);
    }
    let state = reread(&Value::Object(whole)).ok()?;
    Some((state, lost))
}

/// Returns what parses of one field, entry by entry where it has entries, and the names of the rest.
fn readable(base: &Map<String, Value>, field: &str, value: &Value) -> (Option<Value>, Vec<String>) {
    let parses = |value: &Value| {
        let mut alone = base.clone();
        alone.insert(field.to_owned(), value.clone());
        reread::<State>(&Value::Object(alone)).is_ok()
    };
    if parses(value) {
        return (Some(value.clone()), Vec::new());
    }
    let mut lost = Vec::new();
    let kept = match value {
        Value::Object(entries) => {
            // A map is empty by default, a struct has its default values.
            let default = base.get(field).and_then(Value::as_object);
            let default = default.cloned().unwrap_or_default();
            let mut kept = default.clone();
            for (key, entry) in entries {
                let mut alone = default.clone();
                alone.insert(key.clone(), entry.clone());
                if parses(&Value::Object(alone)) {
                    kept.insert(key.clone(), entry.clone());
                } else {
                    lost.push(format!("{field}.{key}"));
                }
            }
            Value::Object(kept)
        }
        Value::Array(entries) => {
            let mut kept = Vec::new();
            for (index, entry) in entries.iter().enumerate() {
                if parses(&Value::Array(vec![entry.clone()])) {
                    kept.push(entry.clone());
                } else {
                    lost.push(format!("{field}[{index}]"));
                }
            }
            Value::Array(kept)
        }
        _ => return (None, vec![field.to_owned()]),
    };
    if parses(&kept) {
        (Some(kept), lost)
    } else {
        (None, vec![field.to_owned()])
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use scaling::observation::{CloudName, NodeId};
    use scaling::state::{NodeState, NodeType, Pause, TickInstant};

    fn state() -> State {
        let mut state = State {
            turn: 7,
            last_tick: Some(Timestamp::UNIX_EPOCH),
            ..State::default()
        };
        for name in ["one", "two", "three"] {
            let kind = NodeType {
                cloud: CloudName::from("blue"),
                flavor: "m1.small".to_owned(),
                image: name.to_owned(),
            };
            let node = NodeState::new(
                kind.clone(),
                name,
                Timestamp::UNIX_EPOCH,
                TickInstant::default(),
            );
            state.nodes.insert(NodeId(name.into()), node.into());
            state.node_type_mut(&kind).joined = 3;
            state.pauses.insert(
                CloudName::from(name),
                Pause {
                    until: TickInstant::default(),
                    why: "later".to_owned(),
                },
            );
        }
        state
    }

    fn fields(state: &State) -> Map<String, Value> {
        serde_json::to_value(state)
            .unwrap()
            .as_object()
            .unwrap()
            .clone()
    }

    /// Every value of every entry replaced by one of another type, one at a time: the other entries stay.
    #[test]
    fn an_entry_that_does_not_parse_costs_itself() {
        let whole = fields(&state());
        for odd in [
            json!(null),
            json!("\u{0}\n"),
            json!(-1),
            json!(1e300),
            json!([[]]),
            json!({"a": 1}),
        ] {
            for (field, value) in &whole {
                if field == CLOCK {
                    continue;
                }
                let mut damaged = whole.clone();
                damaged.insert(field.clone(), odd.clone());
                let (read, _) = salvage(&damaged).unwrap();
                if field != "nodes" {
                    assert_eq!(read.nodes, state().nodes, "{field} = {odd}");
                }
                let Some(entries) = value.as_object() else {
                    continue;
                };
                for key in entries.keys() {
                    let mut damaged = whole.clone();
                    damaged[field][key] = odd.clone();
                    let (read, lost) = salvage(&damaged).unwrap();
                    let read = fields(&read);
                    let left = read[field].as_object().unwrap();
                    if lost.is_empty() {
                        continue;
                    }
                    assert_eq!(lost, [format!("{field}.{key}")], "{odd}");
                    for (other, value) in entries.iter().filter(|(other, _)| *other != key) {
                        assert_eq!(&left[other], value, "{field}.{key} = {odd}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_entry_of_a_list_costs_itself() {
        let mut damaged = fields(&state());
        damaged["node_types"][1]["failures"] = json!("many");
        let (read, lost) = salvage(&damaged).unwrap();
        assert_eq!(lost, ["node_types[1]"]);
        assert_eq!(read.node_types.len(), 2);
        assert_eq!((read.nodes, read.turn), (state().nodes, 7));
    }

    /// nodes_max could not be kept otherwise while that cloud does not answer.
    #[test]
    fn a_lost_node_makes_the_contents_of_its_cloud_unknown() {
        let mut whole = state();
        whole.clouds.insert(CloudName::from("blue"));
        let mut damaged = fields(&whole);
        damaged["nodes"]["two"]["since"] = json!("yesterday");
        let (read, lost) = salvage(&damaged).unwrap();
        assert_eq!(lost, ["nodes.two"]);
        assert_eq!((read.nodes.len(), read.clouds.len()), (2, 0));
        let (read, lost) = salvage(&fields(&whole)).unwrap();
        assert_eq!((read, lost.len()), (whole, 0));
    }

    #[test]
    fn without_the_clock_nothing_is_read() {
        let mut damaged = fields(&state());
        damaged[CLOCK] = json!("noon");
        assert_eq!(salvage(&damaged), None);
        damaged.remove(CLOCK);
        assert_eq!(salvage(&damaged), None);
    }
}
