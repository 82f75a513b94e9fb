use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::boot::CreateRequest;
use crate::console::Boot;
use scaling::observation::{NodeId, builder_metadata, execute_metadata};

fn builder(status: ServerStatus) -> Server {
    Server {
        id: "s-1".to_owned(),
        name: "builder".to_owned(),
        status,
        deleting: false,
        task: None,
        fault: None,
        is_own: true,
        is_ready: false,
    }
}

/// A run that has this builder.
fn seen(builder: Server) -> BuildView {
    BuildView {
        boot: BootView {
            server: Some(builder),
            has_own: true,
            ..BootView::default()
        },
        ..BuildView::default()
    }
}

fn booted(builder: Server) -> BuildView {
    BuildView {
        is_booted: true,
        ..seen(builder)
    }
}

fn image(id: &str, status: &str) -> ImageSnapshot {
    ImageSnapshot {
        id: id.to_owned(),
        status: status.to_owned(),
    }
}

fn attempt() -> Attempt {
    Attempt::new(Creates::new(Duration::ZERO), false)
}

#[test]
fn from_nothing_to_an_image() {
    use ServerStatus::{Active, Build, Shutoff};
    let mut attempt = attempt();
    assert_eq!(next(&BuildView::default(), &attempt), Step::Create);
    let mut now = BuildView::default();
    now.boot.request = CreateRequest {
        times: 1,
        may_appear: true,
    };
    assert_eq!(next(&now, &attempt), Step::Wait(Wait::Appearing));
    now = seen(builder(Build));
    assert_eq!(next(&now, &attempt), Step::Wait(Wait::Building));
    now = seen(builder(Active));
    assert_eq!(next(&now, &attempt), Step::Wait(Wait::Console));
    now.boot.boot = Some(Boot::Running(Some("apt".to_owned())));
    let booting = Step::Wait(Wait::Booting(Some("apt".to_owned())));
    assert_eq!(next(&now, &attempt), booting);
    now.boot.boot = Some(Boot::Finished);
    assert_eq!(next(&now, &attempt), Step::Act(Action::MarkBooted));
    now = booted(builder(Active));
    assert_eq!(next(&now, &attempt), Step::Act(Action::Stop));
    let stopping = Server {
        task: Some("powering-off".to_owned()),
        ..builder(Active)
    };
    let waits = Step::Wait(Wait::Task("powering-off".to_owned()));
    assert_eq!(next(&booted(stopping), &attempt), waits);
    now = booted(builder(Shutoff));
    assert_eq!(next(&now, &attempt), Step::Act(Action::Snapshot));
    attempt.snapshots = 1;
    now.images = vec![image("i-1", "saving")];
    let imaging = Step::Wait(Wait::Imaging("saving".to_owned()));
    assert_eq!(next(&now, &attempt), imaging);
    now.images = vec![image("i-1", "active")];
    let id = || "i-1".to_owned();
    let publish = Step::Act(Action::Publish { id: id() });
    assert_eq!(next(&now, &attempt), publish);
    attempt.published = Some(id());
    assert_eq!(next(&now, &attempt), Step::Act(Action::Delete));
    attempt.keep_server = true;
    assert_eq!(next(&now, &attempt), Step::Act(Action::Disown));
    attempt.keep_server = false;
    now.boot.server = Some(Server {
        deleting: true,
        ..builder(Shutoff)
    });
    assert_eq!(next(&now, &attempt), Step::Wait(Wait::Deleting));
    now.boot.server = None;
    assert_eq!(next(&now, &attempt), Step::Done);
}

#[test]
fn what_cannot_become_an_image() {
    use ServerStatus::{Active, Error, Shutoff};
    let mut attempt = attempt();
    let fails = |seen: &BuildView, why: BuildFailure| {
        assert_eq!(next(seen, &self::attempt()), Step::Fail(why));
    };
    let fault = Some("No valid host was found. ".to_owned());
    fails(
        &seen(Server {
            fault: fault.clone(),
            ..builder(Error)
        }),
        BootFailure::Fault(fault).into(),
    );
    let mut gone = seen(builder(Active));
    gone.boot.server = None;
    fails(&gone, BuildFailure::Vanished);
    let mut deleting = seen(Server {
        deleting: true,
        ..builder(Active)
    });
    fails(&deleting, BuildFailure::Vanished);
    // It was nobody's: an earlier run is deleting it.
    deleting.boot.has_own = false;
    assert_eq!(next(&deleting, &attempt), Step::Create);
    for status in [Active, Shutoff] {
        let mut failed = seen(builder(status));
        failed.boot.boot = Some(Boot::Failed("E: no such package".to_owned()));
        let why = BootFailure::Boot("E: no such package".to_owned());
        fails(&failed, why.into());
    }
    let mut off = seen(builder(Shutoff));
    off.boot.boot = Some(Boot::Running(None));
    fails(&off, BootFailure::PoweredOff(None).into());
    // A template may end with a power-off.
    off.boot.boot = Some(Boot::Finished);
    assert_eq!(next(&off, &attempt), Step::Act(Action::MarkBooted));
    attempt.snapshots = SNAPSHOTS;
    let step = next(&booted(builder(Shutoff)), &attempt);
    assert_eq!(step, Step::Fail(BuildFailure::Snapshot));
}

#[test]
fn of_several_images_one_is_whole_and_the_others_go() {
    let mut now = booted(builder(ServerStatus::Shutoff));
    now.images = vec![image("i-2", "killed"), image("i-1", "saving")];
    let gone = |id: &str| Step::Act(Action::DeleteImage { id: id.to_owned() });
    assert_eq!(next(&now, &attempt()), gone("i-2"));
    now.images = vec![image("i-2", "saving"), image("i-1", "active")];
    assert_eq!(next(&now, &attempt()), gone("i-2"));
}

#[test]
fn a_leftover_is_deleted_once_and_does_not_stop_the_build() {
    let leftover = Leftover::Image {
        id: "i-9".to_owned(),
        name: "old".to_owned(),
    };
    let now = BuildView {
        leftovers: vec![leftover.clone()],
        ..BuildView::default()
    };
    let mut attempt = attempt();
    assert_eq!(next(&now, &attempt), Step::Remove(leftover));
    attempt.cleared.insert("i-9".to_owned());
    assert_eq!(next(&now, &attempt), Step::Create);
}

fn server(id: &str, status: ServerStatus, minutes: u64, more: &[(&str, &str)]) -> OwnedServer {
    let node = NodeId(format!("b-{id}").into());
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
    let this: &[_] = &[(CLOUD, "lab"), (METADATA_DIGEST, "d-1")];
    let and = |more: (&'static str, &'static str)| [this, &[more]].concat();
    let node = NodeId("n".into());
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
            &[(CLOUD, "site"), (METADATA_DIGEST, "d-2")],
        ),
        server(
            "other digest",
            Active,
            1,
            &[(CLOUD, "lab"), (METADATA_DIGEST, "d-2")],
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

fn any_builder() -> impl Strategy<Value = Server> {
    use ServerStatus::{Active, Build, Error, Other, Shutoff};
    let status = prop::sample::select(vec![Build, Active, Shutoff, Error, Other]);
    let task = prop::sample::select(vec![None, Some("image_uploading"), Some("powering-off")]);
    (status, any::<bool>(), task).prop_map(|(status, deleting, task)| Server {
        deleting,
        task: task.map(str::to_owned),
        ..builder(status)
    })
}

fn any_seen() -> impl Strategy<Value = BuildView> {
    let boot = prop::sample::select(vec![
        None,
        Some(Boot::Running(None)),
        Some(Boot::Finished),
        Some(Boot::Failed("x".to_owned())),
    ]);
    let status = prop::sample::select(vec!["queued", "saving", "active", "killed"]);
    let images = prop::collection::vec(status, 0..3);
    let server = prop::option::of(any_builder());
    (server, boot, any::<[bool; 2]>(), images).prop_map(
        |(server, boot, [is_booted, has_own], images)| BuildView {
            boot: BootView {
                server,
                has_own,
                boot,
                ..BootView::default()
            },
            is_booted,
            images: (0..)
                .zip(images)
                .map(|(at, status)| image(&format!("i-{at}"), status))
                .collect(),
            leftovers: Vec::new(),
        },
    )
}

proptest! {
    #[test]
    fn whatever_is_seen_nothing_is_lost(
        seen in any_seen(), snapshots in 0..3u32, published in any::<bool>(), keep_server in any::<bool>()
    ) {
        let attempt = Attempt {
            snapshots,
            keep_server,
            published: published.then(|| "i-0".to_owned()),
            ..attempt()
        };
        let whole = seen.images.iter().find(|image| image.is_whole()).map(|image| image.id.as_str());
        let server = seen.boot.server.as_ref();
        match next(&seen, &attempt) {
            // The builder goes only when its image is whole and written down.
            Step::Act(Action::Delete | Action::Disown) => {
                prop_assert!(whole.is_some() && attempt.published.as_deref() == whole);
            }
            // An image that is whole is deleted only beside another one.
            Step::Act(Action::DeleteImage { id }) => prop_assert!(Some(id.as_str()) != whole),
            Step::Act(Action::Snapshot) => {
                let is_off = server.is_some_and(|server| server.status == ServerStatus::Shutoff);
                prop_assert!(seen.is_booted && is_off && seen.images.is_empty());
            }
            Step::Create => {
                prop_assert!(!seen.boot.has_own && server.is_none_or(|server| server.deleting));
            }
            Step::Fail(_) => prop_assert!(whole.is_none()),
            Step::Remove(_) => prop_assert!(false, "there is none"),
            _ => {}
        }
    }
}
