use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::scaling::observation::{NodeId, builder_metadata, execute_metadata};

const GOAL: Goal = Goal { keep_server: false };

fn builder(status: ServerStatus) -> Builder {
    Builder {
        id: "s-1".to_owned(),
        name: "builder".to_owned(),
        status,
        deleting: false,
        task: None,
        fault: None,
        booted: false,
    }
}

fn seen(builder: Builder) -> Seen {
    Seen {
        builder: Some(builder),
        ..Seen::default()
    }
}

fn image(id: &str, status: &str) -> Snapshot {
    Snapshot {
        id: id.to_owned(),
        status: status.to_owned(),
    }
}

fn ours() -> Attempt {
    Attempt {
        builder: Some("s-1".to_owned()),
        ..Attempt::default()
    }
}

#[test]
fn from_nothing_to_an_image() {
    use ServerStatus::{Active, Build, Shutoff};
    let none = Attempt::default();
    assert_eq!(next(&Seen::default(), GOAL, &none), Step::Create);
    let heard = Attempt {
        may_appear: true,
        ..none
    };
    let appearing = Step::Wait(Wait::Appearing);
    assert_eq!(next(&Seen::default(), GOAL, &heard), appearing);
    let mut attempt = ours();
    let mut now = seen(builder(Build));
    assert_eq!(next(&now, GOAL, &attempt), Step::Wait(Wait::Building));
    now = seen(builder(Active));
    assert_eq!(next(&now, GOAL, &attempt), Step::Wait(Wait::Console));
    now.boot = Some(Boot::Running(Some("apt".to_owned())));
    let booting = Step::Wait(Wait::Booting(Some("apt".to_owned())));
    assert_eq!(next(&now, GOAL, &attempt), booting);
    now.boot = Some(Boot::Finished);
    assert_eq!(next(&now, GOAL, &attempt), Step::MarkBooted);
    let booted = |status| Builder {
        booted: true,
        ..builder(status)
    };
    now = seen(booted(Active));
    assert_eq!(next(&now, GOAL, &attempt), Step::Stop);
    let stopping = Builder {
        task: Some("powering-off".to_owned()),
        ..booted(Active)
    };
    let waits = Step::Wait(Wait::Task("powering-off".to_owned()));
    assert_eq!(next(&seen(stopping), GOAL, &attempt), waits);
    now = seen(booted(Shutoff));
    assert_eq!(next(&now, GOAL, &attempt), Step::Snapshot);
    attempt.snapshots = 1;
    now.images = vec![image("i-1", "saving")];
    let imaging = Step::Wait(Wait::Imaging("saving".to_owned()));
    assert_eq!(next(&now, GOAL, &attempt), imaging);
    now.images = vec![image("i-1", "active")];
    let id = || "i-1".to_owned();
    assert_eq!(next(&now, GOAL, &attempt), Step::Publish { id: id() });
    attempt.published = Some(id());
    assert_eq!(next(&now, GOAL, &attempt), Step::Delete);
    let keep = Goal { keep_server: true };
    assert_eq!(next(&now, keep, &attempt), Step::Disown);
    let deleting = Builder {
        deleting: true,
        ..booted(Shutoff)
    };
    now.builder = Some(deleting);
    assert_eq!(next(&now, GOAL, &attempt), Step::Wait(Wait::Going));
    now.builder = None;
    assert_eq!(next(&now, GOAL, &attempt), Step::Done { id: id() });
}

#[test]
fn what_cannot_become_an_image() {
    use ServerStatus::{Active, Error, Shutoff};
    let attempt = ours();
    let fails = |seen: &Seen, why| assert_eq!(next(seen, GOAL, &attempt), Step::Fail(why));
    fails(
        &seen(Builder {
            fault: Some("No valid host was found. ".to_owned()),
            ..builder(Error)
        }),
        Why::Fault(Some("No valid host was found. ".to_owned())),
    );
    fails(&Seen::default(), Why::Vanished);
    let deleting = Builder {
        deleting: true,
        ..builder(Active)
    };
    fails(&seen(deleting.clone()), Why::Vanished);
    // It was nobody's: an earlier run is deleting it.
    assert_eq!(
        next(&seen(deleting), GOAL, &Attempt::default()),
        Step::Create
    );
    for status in [Active, Shutoff] {
        let mut failed = seen(builder(status));
        failed.boot = Some(Boot::Failed("E: no such package".to_owned()));
        fails(&failed, Why::Boot("E: no such package".to_owned()));
    }
    let mut off = seen(builder(Shutoff));
    off.boot = Some(Boot::Running(None));
    fails(&off, Why::PoweredOff(None));
    // A template may end with a power-off.
    off.boot = Some(Boot::Finished);
    assert_eq!(next(&off, GOAL, &attempt), Step::MarkBooted);
    let mut twice = attempt.clone();
    twice.snapshots = SNAPSHOTS;
    let booted = Builder {
        booted: true,
        ..builder(Shutoff)
    };
    let step = next(&seen(booted), GOAL, &twice);
    assert_eq!(step, Step::Fail(Why::Snapshot));
}

#[test]
fn of_several_images_one_is_whole_and_the_others_go() {
    let mut now = seen(builder(ServerStatus::Shutoff));
    now.images = vec![image("i-2", "killed"), image("i-1", "saving")];
    let gone = |id: &str| Step::DeleteImage { id: id.to_owned() };
    assert_eq!(next(&now, GOAL, &ours()), gone("i-2"));
    now.images = vec![image("i-2", "saving"), image("i-1", "active")];
    assert_eq!(next(&now, GOAL, &ours()), gone("i-2"));
}

#[test]
fn a_leftover_is_deleted_once_and_does_not_stop_the_build() {
    let leftover = Leftover::Image {
        id: "i-9".to_owned(),
        name: "old".to_owned(),
    };
    let now = Seen {
        leftovers: vec![leftover.clone()],
        ..Seen::default()
    };
    let mut attempt = Attempt::default();
    assert_eq!(next(&now, GOAL, &attempt), Step::Clear(leftover));
    attempt.cleared.insert("i-9".to_owned());
    assert_eq!(next(&now, GOAL, &attempt), Step::Create);
}

fn server(id: &str, status: ServerStatus, minutes: u64, more: &[(&str, &str)]) -> OwnedServer {
    let node = NodeId(format!("b-{id}"));
    let mut metadata = builder_metadata("pool-1", &node, Duration::from_secs(5400));
    metadata.extend(
        more.iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
    );
    owned(id, status, minutes, metadata)
}

fn owned(
    id: &str,
    status: ServerStatus,
    minutes: u64,
    metadata: BTreeMap<String, String>,
) -> OwnedServer {
    let record = ServerRecord {
        id: id.to_owned(),
        name: id.to_owned(),
        status,
        nova_status: None,
        deleting: false,
        metadata,
        age: Duration::from_secs(minutes * 60),
        fault: None,
        volumes: Vec::new(),
        zone: None,
        addresses: Vec::new(),
    };
    OwnedServer::recognise(record, "pool-1").unwrap()
}

#[test]
fn a_build_goes_on_with_its_own_builder_only() {
    use ServerStatus::{Active, Build, Error, Shutoff};
    let this: &[_] = &[(CLOUD, "lab"), (DIGEST, "d-1")];
    let and = |more: (&'static str, &'static str)| [this, &[more]].concat();
    let node = NodeId("n".to_owned());
    let servers = [
        owned(
            "node",
            Active,
            1,
            execute_metadata("pool-1", &node, "f", "i"),
        ),
        server(
            "other cloud",
            Active,
            1,
            &[(CLOUD, "site"), (DIGEST, "d-2")],
        ),
        server(
            "other digest",
            Active,
            1,
            &[(CLOUD, "lab"), (DIGEST, "d-2")],
        ),
        server("failed", Active, 1, &and((FAILED, "no"))),
        server("error", Error, 1, this),
        server("old", Active, 91, this),
        server("building", Build, 2, this),
        server("booted", Shutoff, 3, &and((BOOTED, "true"))),
        server("booting", Active, 20, this),
    ];
    let (mine, leftovers) = sort(&servers, "lab", "d-1");
    assert_eq!(mine.unwrap().id(), "booted");
    let left: Vec<&str> = leftovers.iter().map(Leftover::id).collect();
    assert_eq!(
        left,
        [
            "other digest",
            "failed",
            "error",
            "old",
            "building",
            "booting"
        ]
    );
    let (mine, leftovers) = sort(&servers[..2], "lab", "d-1");
    assert!(mine.is_none() && leftovers.is_empty());
}

fn any_builder() -> impl Strategy<Value = Builder> {
    use ServerStatus::{Active, Build, Error, Other, Shutoff};
    let status = prop::sample::select(vec![Build, Active, Shutoff, Error, Other]);
    let task = prop::sample::select(vec![None, Some("image_uploading"), Some("powering-off")]);
    (status, any::<bool>(), any::<bool>(), task).prop_map(|(status, deleting, booted, task)| {
        Builder {
            deleting,
            booted,
            task: task.map(str::to_owned),
            ..builder(status)
        }
    })
}

fn any_seen() -> impl Strategy<Value = Seen> {
    let boot = prop::sample::select(vec![
        None,
        Some(Boot::Running(None)),
        Some(Boot::Finished),
        Some(Boot::Failed("x".to_owned())),
    ]);
    let status = prop::sample::select(vec!["queued", "saving", "active", "killed"]);
    let images = prop::collection::vec(status, 0..3);
    (prop::option::of(any_builder()), boot, images).prop_map(|(builder, boot, images)| Seen {
        builder,
        boot,
        images: (0..)
            .zip(images)
            .map(|(at, status)| image(&format!("i-{at}"), status))
            .collect(),
        leftovers: Vec::new(),
    })
}

proptest! {
    #[test]
    fn whatever_is_seen_nothing_is_lost(
        seen in any_seen(), snapshots in 0..3u32, known in any::<bool>(), published in any::<bool>(), keep_server in any::<bool>()
    ) {
        let attempt = Attempt {
            builder: known.then(|| "s-1".to_owned()),
            snapshots,
            published: published.then(|| "i-0".to_owned()),
            ..Attempt::default()
        };
        let whole = seen.images.iter().find(|image| image.is_whole()).map(|image| image.id.as_str());
        match next(&seen, Goal { keep_server }, &attempt) {
            // The builder goes only when its image is whole and written down.
            Step::Delete | Step::Disown => {
                prop_assert!(whole.is_some() && attempt.published.as_deref() == whole);
            }
            // An image that is whole is deleted only beside another one.
            Step::DeleteImage { id } => prop_assert!(Some(id.as_str()) != whole),
            Step::Snapshot => {
                let builder = seen.builder.as_ref().unwrap();
                prop_assert!(builder.booted && builder.status == ServerStatus::Shutoff && seen.images.is_empty());
            }
            Step::Create => prop_assert!(!known && seen.builder.as_ref().is_none_or(|builder| builder.deleting)),
            Step::Fail(_) => prop_assert!(whole.is_none()),
            Step::Clear(_) => prop_assert!(false, "there is none"),
            _ => {}
        }
    }
}
