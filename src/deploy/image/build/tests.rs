//! The loop on a small simulated cloud that fails, delays and forgets, with runs that are killed anywhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::super::step::{BOOTED, FAILED, ImageSnapshot, sort};
use super::*;
use crate::boot::{BootFailure, BootView, METADATA_DIGEST};
use crate::console::Boot;
use openstack::owned_image::CLOUD;
use openstack::{Call, Error as CloudError, RequestKind};
use scaling::observation::{NodeId, OwnedServer, ServerRecord, ServerStatus, builder_metadata};
use system::progress::Progress;

/// A server of the simulated cloud.
#[derive(Debug, Clone)]
struct Server {
    record: ServerRecord,
    task: Option<&'static str>,
    /// Looks until what goes on with it is over.
    left: u32,
}

#[derive(Debug, Clone)]
struct Image {
    id: String,
    builder: String,
    whole: bool,
}

/// What the cloud gets wrong.
#[derive(Debug, Clone, Default)]
struct Faults {
    /// Each so many-th request is not answered, though it may be done.
    silent_every: u32,
    /// So many snapshots come to nothing.
    snapshots: u32,
    /// The first boot ends so.
    boot: Option<Boot>,
    /// Servers end in ERROR.
    error: bool,
}

#[derive(Debug, Default)]
struct World {
    servers: BTreeMap<String, Server>,
    images: Vec<Image>,
    requests: u32,
    made: u32,
    published: Vec<String>,
    faults: Faults,
    /// The run is killed when so many requests were made.
    killed_at: Option<u32>,
}

/// What ends a run: nothing catches it but the test.
struct Killed;

impl World {
    fn silent() -> CloudError {
        CloudError::NoAnswer {
            call: Arc::new(Call {
                cloud: "lab".to_owned(),
                method: "POST".to_owned(),
                path: "/servers".to_owned(),
                kind: RequestKind::Once,
                restricted: false,
            }),
            why: "cut".to_owned(),
            timed_out: true,
        }
    }

    /// Each request passes here, before or after what it does.
    fn request(&mut self) -> Result<(), CloudError> {
        self.requests += 1;
        if self.killed_at == Some(self.requests) {
            std::panic::resume_unwind(Box::new(Killed));
        }
        match self.faults.silent_every {
            0 => Ok(()),
            every if self.requests.is_multiple_of(every) => Err(World::silent()),
            _ => Ok(()),
        }
    }

    fn pass(&mut self) {
        for server in self.servers.values_mut() {
            server.left = server.left.saturating_sub(1);
            if server.left > 0 {
                continue;
            }
            match (server.record.status, server.task.take()) {
                (ServerStatus::Build, _) if self.faults.error => {
                    server.record.status = ServerStatus::Error;
                }
                (ServerStatus::Build, _) => server.record.status = ServerStatus::Active,
                (_, Some("powering-off")) => server.record.status = ServerStatus::Shutoff,
                (_, Some("deleting")) => server.record.name = "gone".to_owned(),
                (_, Some("image_uploading")) => {
                    let id = &server.record.id;
                    if self.faults.snapshots > 0 {
                        self.faults.snapshots -= 1;
                        self.images.retain(|image| image.builder != *id);
                    } else {
                        for image in self.images.iter_mut().filter(|image| image.builder == *id) {
                            image.whole = true;
                        }
                    }
                }
                _ => {}
            }
        }
        self.servers
            .retain(|_, server| server.record.name != "gone");
    }

    fn builders(&self) -> Vec<OwnedServer> {
        self.servers
            .values()
            .map(|server| OwnedServer::recognise(server.record.clone(), "pool-1").unwrap())
            .collect()
    }
}

impl BuildBackend for World {
    fn look(&mut self, attempt: &mut Attempt) -> Result<BuildView, CloudError> {
        self.request()?;
        let (mine, leftovers) = match &attempt.creates.own {
            Some(id) if attempt.published.is_some() => {
                let (other, mut leftovers) = sort(&self.builders(), "lab", "d-1");
                leftovers.extend(other.map(|other| Leftover::Server {
                    id: other.id().to_owned(),
                    name: other.record().name.clone(),
                    why: "another one has become the image".to_owned(),
                }));
                leftovers.retain(|leftover| leftover.id() != id);
                (self.servers.get(id), leftovers)
            }
            Some(id) => (self.servers.get(id), Vec::new()),
            None => {
                let (mine, leftovers) = sort(&self.builders(), "lab", "d-1");
                (mine.and_then(|mine| self.servers.get(mine.id())), leftovers)
            }
        };
        let id = mine
            .map(|server| server.record.id.clone())
            .or(attempt.creates.own.clone());
        if let Some(server) = mine
            && !server.record.deleting
        {
            attempt.creates.own = Some(server.record.id.clone());
        }
        Ok(BuildView {
            boot: BootView {
                server: mine.map(|server| boot::Server {
                    id: server.record.id.clone(),
                    name: server.record.name.clone(),
                    status: server.record.status,
                    deleting: server.record.deleting,
                    task: server.task.map(str::to_owned),
                    fault: None,
                    is_own: true,
                    is_ready: false,
                }),
                has_own: attempt.creates.own.is_some(),
                request: attempt.creates.request(),
                boot: mine.map(|_| self.faults.boot.clone().unwrap_or(Boot::Finished)),
            },
            is_booted: mine.is_some_and(|server| server.record.metadata.contains_key(BOOTED)),
            images: self
                .images
                .iter()
                .filter(|image| Some(&image.builder) == id.as_ref())
                .map(|image| ImageSnapshot {
                    id: image.id.clone(),
                    status: if image.whole { "active" } else { "saving" }.to_owned(),
                })
                .collect(),
            leftovers,
        })
    }

    fn create(&mut self) -> Result<String, CloudError> {
        self.request()?;
        self.made += 1;
        let id = format!("s-{}", self.made);
        let node = NodeId(id.clone().into());
        let mut metadata = builder_metadata("pool-1", &node, Duration::from_secs(5400));
        metadata.insert(CLOUD.to_owned(), "lab".to_owned());
        metadata.insert(METADATA_DIGEST.to_owned(), "d-1".to_owned());
        let record = ServerRecord {
            id: id.clone(),
            name: id.clone(),
            status: ServerStatus::Build,
            nova_status: None,
            deleting: false,
            metadata,
            age: Duration::ZERO,
            fault: None,
            volumes: Vec::new(),
            zone: None,
            addresses: Vec::new(),
        };
        let server = Server {
            record,
            task: Some("spawning"),
            left: 3,
        };
        self.servers.insert(id.clone(), server);
        self.request()?;
        Ok(id)
    }

    fn remove(&mut self, leftover: &Leftover) -> Result<(), CloudError> {
        self.request()?;
        if let Some(server) = self.servers.get_mut(leftover.id()) {
            server.record.deleting = true;
            (server.task, server.left) = (Some("deleting"), 2);
        }
        self.request()
    }

    fn perform(
        &mut self,
        action: &Action,
        builder: &str,
        attempt: &mut Attempt,
    ) -> Result<(), CloudError> {
        // The kill may come before it is done or after; the silence too.
        self.request()?;
        let server = self.servers.get_mut(builder);
        match action {
            Action::MarkBooted => {
                let metadata = &mut server.unwrap().record.metadata;
                metadata.insert(BOOTED.to_owned(), String::new());
            }
            Action::Stop => {
                let server = server.unwrap();
                (server.task, server.left) = (Some("powering-off"), 2);
            }
            Action::Snapshot => {
                attempt.snapshots += 1;
                let server = server.unwrap();
                (server.task, server.left) = (Some("image_uploading"), 3);
                self.made += 1;
                let id = format!("i-{}", self.made);
                let builder = server.record.id.clone();
                self.images.push(Image {
                    id,
                    builder,
                    whole: false,
                });
            }
            Action::Delete => {
                let server = server.unwrap();
                server.record.deleting = true;
                (server.task, server.left) = (Some("deleting"), 2);
            }
            Action::DeleteImage { id } => self.images.retain(|image| image.id != *id),
            Action::Publish { id } => {
                self.published.push(id.clone());
                attempt.published = Some(id.clone());
            }
            Action::Disown => {
                self.servers.remove(builder);
                attempt.disowned = true;
            }
        }
        self.request()
    }

    fn mark_failed(&mut self, builder: &str, _why: &str) -> Result<(), CloudError> {
        self.request()?;
        let metadata = &mut self.servers.get_mut(builder).unwrap().record.metadata;
        metadata.insert(FAILED.to_owned(), String::new());
        self.request()
    }

    fn pause(&mut self, _longest: Duration) {
        self.pass();
        std::thread::sleep(Duration::from_micros(200));
    }

    fn console(&self) -> Option<String> {
        None
    }
}

const LIMITS: BuildLimits = BuildLimits {
    timeout: Duration::from_secs(20),
    keep_failed: false,
    keep_server: false,
    appearance: Duration::from_millis(2),
};

fn go(world: &mut World, limits: BuildLimits) -> Result<BuildOutcome, Error> {
    let line = Progress::plain().line("lab");
    run(world, "lab", limits, &line)
}

/// Runs it until a run is not killed; the first is killed at the request of this number.
fn killed_once(world: &mut World, at: u32) -> Result<BuildOutcome, Error> {
    world.killed_at = Some(at);
    let killed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| go(world, LIMITS)));
    world.killed_at = None;
    match killed {
        Ok(outcome) => outcome,
        Err(payload) if payload.is::<Killed>() => {
            // What goes on in the cloud goes on.
            world.pass();
            go(world, LIMITS)
        }
        Err(other) => std::panic::resume_unwind(other),
    }
}

fn one_image_and_no_server(world: &World, outcome: BuildOutcome) {
    assert!(world.servers.is_empty(), "{world:?}");
    let ids: Vec<&str> = world.images.iter().map(|image| image.id.as_str()).collect();
    assert_eq!(ids, [outcome.image_id.as_str()], "{world:?}");
    assert!(world.images[0].whole);
    assert_eq!(world.published.last().unwrap(), ids[0]);
}

#[test]
fn killed_at_each_request_and_run_again_there_is_one_image_and_no_server() {
    let mut world = World::default();
    let outcome = go(&mut world, LIMITS).unwrap();
    let requests = world.requests;
    one_image_and_no_server(&world, outcome);
    assert!(requests > 15, "{requests}");
    for at in 1..=requests {
        let mut world = World::default();
        let outcome = killed_once(&mut world, at).unwrap();
        let images = world.images.len();
        // Killed when the server was gone already, there is nothing to go on with: its image is written down, and the
        // second run makes its own.
        if world.published.first() == world.published.last() {
            one_image_and_no_server(&world, outcome);
        } else {
            assert!(
                at + 1 >= requests && images == 2,
                "killed at {at}: {world:?}"
            );
        }
    }
}

#[test]
fn a_snapshot_that_comes_to_nothing_is_asked_for_once_more() {
    let mut world = World::default();
    world.faults.snapshots = 1;
    let outcome = go(&mut world, LIMITS).unwrap();
    one_image_and_no_server(&world, outcome);
    world = World::default();
    world.faults.snapshots = 2;
    let error = go(&mut world, LIMITS).unwrap_err();
    assert!(
        matches!(*error.cause, Cause::Build(BuildFailure::Snapshot)),
        "{error}"
    );
    assert_eq!(error.left, Some(Left::Nothing));
    assert!(world.servers.is_empty() && world.images.is_empty());
}

#[test]
fn after_a_failure_nothing_is_left_unless_it_is_to_be_kept() {
    let mut world = World::default();
    world.faults.boot = Some(Boot::Failed("x".to_owned()));
    let error = go(&mut world, LIMITS).unwrap_err();
    assert_eq!(error.left, Some(Left::Nothing));
    assert!(world.servers.is_empty());
    let keep = BuildLimits {
        keep_failed: true,
        ..LIMITS
    };
    let error = go(&mut world, keep).unwrap_err();
    assert!(matches!(error.left, Some(Left::Kept { .. })), "{error}");
    assert_eq!(world.servers.len(), 1);
    // The next build does not go on with it.
    world.faults.boot = None;
    let outcome = go(&mut world, LIMITS).unwrap();
    one_image_and_no_server(&world, outcome);
    world = World::default();
    world.faults.error = true;
    let error = go(&mut world, LIMITS).unwrap_err();
    assert!(
        matches!(
            *error.cause,
            Cause::Build(BuildFailure::Boot(BootFailure::Fault(None)))
        ),
        "{error}"
    );
    assert!(world.servers.is_empty());
}

#[test]
fn what_takes_too_long_is_deleted() {
    let mut world = World::default();
    world.faults.boot = Some(Boot::Running(None));
    let limits = BuildLimits {
        timeout: Duration::from_millis(50),
        ..LIMITS
    };
    let error = go(&mut world, limits).unwrap_err();
    insta::assert_snapshot!(error, @"cloud lab: not done after 0 s: first boot; its console is empty; give it more time with --timeout, or see what it waits for; the server is deleted");
    assert!(world.servers.is_empty());

    // Nothing is wrong with what only took too long: the next build continues with it, and that is what is said.
    let error = go(
        &mut world,
        BuildLimits {
            keep_failed: true,
            ..limits
        },
    )
    .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("the next build continues with it"),
        "{error}"
    );
    world.faults.boot = None;
    let kept = world.servers.keys().next().cloned().unwrap();
    go(&mut world, LIMITS).unwrap();
    assert_eq!(world.images[0].builder, kept);
}

#[test]
fn a_server_that_is_kept_is_not_deleted() {
    let mut world = World::default();
    let line = Progress::plain().line("lab");
    let limits = BuildLimits {
        keep_server: true,
        ..LIMITS
    };
    run(&mut world, "lab", limits, &line).unwrap();
    assert_eq!(world.images.len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn it_ends_and_leaves_nothing_whatever_goes_wrong(
        silent_every in prop::sample::select(vec![0u32, 4, 5, 7]), snapshots in 0..3u32, error in any::<bool>(), at in 1..60u32
    ) {
        let mut world = World {
            faults: Faults { silent_every, snapshots, error, boot: None },
            ..World::default()
        };
        let outcome = killed_once(&mut world, at);
        if let Ok(outcome) = outcome {
            prop_assert!(outcome.server_left.is_none());
            prop_assert!(world.images.iter().any(|image| image.id == outcome.image_id && image.whole));
        }
        // Creates of unknown effect may have made more than one; the next build clears them away.
        world.faults = Faults::default();
        if !world.servers.is_empty() {
            prop_assert!(silent_every > 0, "{:?}", world);
        }
        let _ = go(&mut world, LIMITS);
        for _ in 0..5 {
            world.pass();
        }
        prop_assert!(world.servers.is_empty(), "{:?}", world);
        prop_assert!(world.images.iter().all(|image| image.whole));
    }
}
