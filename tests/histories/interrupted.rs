//! Creates of a tick that was killed: the intents are on disk, and nothing says what became of the requests.

use std::collections::BTreeSet;

use scaling::action::{CloudAction, Intent};
use scaling::observation::{NodeId, execute_metadata};
use scaling::plan::{Action, NodeDecision};
use scaling::reason::Reason;
use scaling::seconds::Seconds;
use scaling::state::State;

use crate::site::Site;

/// A tick that is killed between the save of its intents and the first of its outcomes. Its first `sent` creates take
/// effect. Returns all of its intents.
fn killed(site: &mut Site, sent: usize) -> Vec<Intent> {
    let before = site.servers();
    site.tick();
    site.state = site.plan().next.clone();
    let actions = site.plan().actions.iter();
    let intents = actions.filter_map(|action| match action {
        Action::Cloud {
            action: CloudAction::Create(intent),
            ..
        } => Some(intent.clone()),
        _ => None,
    });
    let intents: Vec<Intent> = intents.collect();
    let unsent: BTreeSet<&str> = intents
        .iter()
        .skip(sent)
        .map(|intent| &*intent.name)
        .collect();
    site.world()
        .servers
        .retain(|_, server| !unsent.contains(&*server.name));
    assert_eq!(site.servers(), before + sent);
    intents
}

#[test]
fn an_intent_whose_tick_was_killed_lapses_when_no_request_can_be_under_way() {
    let mut site = Site::simple();
    site.submit(4, 1, 1024, 300);
    let intents = killed(&mut site, 0);
    assert_eq!(intents.len(), 1);
    // The other tick may have been killed a moment ago, with its request under way.
    site.tick();
    assert_eq!(site.plan().nodes[0].phase.as_str(), "requested");
    assert_eq!(site.created(), 0, "{}", site.describe());
    site.tick();
    let lapsed = &site.plan().nodes[0];
    assert_eq!(lapsed.decision, NodeDecision::Forget, "{}", site.describe());
    assert_eq!(
        lapsed.why,
        Reason::IntentLapsed {
            seconds: Seconds(120)
        }
    );
    assert_eq!(site.created(), 1, "another one\n{}", site.describe());
    site.until(12, "done", |world| world.unfinished() == 0);
}

#[test]
fn an_intent_whose_tick_was_killed_waits_for_a_long_request() {
    let mut site = Site::simple();
    site.policy.request_timeout = std::time::Duration::from_secs(100);
    site.submit(4, 1, 1024, 300);
    killed(&mut site, 0);
    for _ in 0..2 {
        site.tick();
        assert_eq!(site.created(), 0, "{}", site.describe());
    }
    site.tick();
    assert_eq!(site.created(), 1, "{}", site.describe());
}

#[test]
fn creates_of_a_killed_tick_that_took_effect_are_found_and_made_once() {
    let mut site = Site::simple();
    site.submit(12, 1, 1024, 600);
    let intents = killed(&mut site, 2);
    assert_eq!(intents.len(), 3);
    for _ in 0..2 {
        site.tick();
        assert!(site.servers() <= 3, "{}", site.describe());
    }
    site.ticks(2);
    assert_eq!(
        site.servers(),
        3,
        "one that was not sent\n{}",
        site.describe()
    );
    assert!(site.state.nodes.values().all(|node| !node.adopted));
}

#[test]
fn a_server_that_comes_after_its_intent_has_lapsed_is_found_by_its_metadata() {
    let mut site = Site::simple();
    site.submit(4, 1, 1024, 300);
    let intents = killed(&mut site, 0);
    site.ticks(2);
    let node: &NodeId = &intents[0].node;
    assert!(!site.state.nodes.contains_key(node), "it has lapsed");
    let metadata = execute_metadata(&site.policy.cluster, node, "medium", &intents[0].image);
    let id = site
        .world()
        .create_signed("blue", &intents[0].name, "medium", metadata);
    site.tick();
    let memory = &site.state.nodes[node];
    assert_eq!(memory.server_id.as_deref(), Some(&*id));
    assert!(!memory.adopted, "it is known");
    site.until(30, "all gone", |world| world.servers.is_empty());
}

#[test]
fn an_intent_of_an_older_state_file_keeps_its_grace() {
    let mut site = Site::simple();
    site.submit(4, 1, 1024, 300);
    killed(&mut site, 0);
    let mut old = serde_json::to_value(&site.state).unwrap();
    for node in old["nodes"].as_object_mut().unwrap().values_mut() {
        node.as_object_mut().unwrap().remove("unanswered").unwrap();
    }
    site.state = serde_json::from_value::<State>(old).unwrap();
    for _ in 0..4 {
        site.tick();
        assert_eq!(site.created(), 0, "{}", site.describe());
    }
    site.tick();
    assert_eq!(site.created(), 1, "{}", site.describe());
}
