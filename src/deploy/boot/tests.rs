//! The loop with the smallest ending: a server that is finished by one action.

use std::collections::VecDeque;
use std::sync::Arc;

use super::*;
use crate::console::Boot;
use openstack::{Call, RequestKind};
use scaling::observation::ServerStatus;
use system::progress::Progress;

/// A server that is there at once, in a cloud whose errors are told beforehand.
struct Smallest {
    creates: Creates,
    server: Option<Server>,
    is_finished: bool,
    /// What each request meets.
    errors: VecDeque<Option<Error>>,
    requests: Vec<&'static str>,
}

impl Smallest {
    fn new(errors: impl IntoIterator<Item = Option<Error>>) -> Smallest {
        Smallest {
            creates: Creates::new(Duration::ZERO),
            server: None,
            is_finished: false,
            errors: errors.into_iter().collect(),
            requests: Vec::new(),
        }
    }

    /// The same with a server that an earlier run has left.
    fn with_server(mut self) -> Smallest {
        self.server = Some(server());
        self
    }

    fn request(&mut self, what: &'static str) -> Result<(), Error> {
        self.requests.push(what);
        self.errors.pop_front().flatten().map_or(Ok(()), Err)
    }

    fn run(&mut self, timeout: Duration) -> Result<(), Failure<TestFailure>> {
        let line = Progress::plain().line("smallest");
        let ended = run(self, timeout, &line);
        ended.map(|_| ()).map_err(|(failure, _)| failure)
    }
}

#[derive(Debug, PartialEq)]
struct TestFailure(String);

impl From<BootFailure> for TestFailure {
    fn from(failure: BootFailure) -> TestFailure {
        TestFailure(format!("{failure:?}"))
    }
}

impl fmt::Display for TestFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn server() -> Server {
    Server {
        id: "s-1".to_owned(),
        name: "smallest".to_owned(),
        status: ServerStatus::Active,
        deleting: false,
        task: None,
        fault: None,
        is_own: true,
        is_ready: false,
    }
}

impl Ending for Smallest {
    type View = BootView;
    type Action = &'static str;
    type Failure = TestFailure;

    fn creates(&mut self) -> &mut Creates {
        &mut self.creates
    }

    fn look(&mut self) -> Result<BootView, Failure<TestFailure>> {
        self.request("look")?;
        Ok(BootView {
            server: self.server.clone(),
            has_own: self.creates.own.is_some(),
            request: self.creates.request(),
            boot: Some(Boot::Finished),
        })
    }

    fn server(view: &BootView) -> Option<&Server> {
        view.server.as_ref()
    }

    fn next(&mut self, view: &BootView) -> Step<&'static str, TestFailure> {
        match &view.server {
            None => without_server(view.request),
            Some(_) if self.is_finished => Step::Done,
            Some(server) => first_boot(server, view.boot.as_ref()).unwrap_or(Step::Act("finish")),
        }
    }

    fn told(&self, step: &Step<&'static str, TestFailure>) -> String {
        format!("{step:?}")
    }

    fn title(&self, _server: Option<&Server>) -> String {
        "smallest".to_owned()
    }

    fn create(&mut self) -> Result<String, Error> {
        self.request("create")?;
        self.server = Some(server());
        Ok(server().id)
    }

    fn remove(&mut self, _leftover: &Leftover) -> Result<(), Error> {
        self.request("remove")
    }

    fn perform(
        &mut self,
        action: &&'static str,
        _view: &BootView,
    ) -> Result<(), Failure<TestFailure>> {
        self.request(action)?;
        self.is_finished = true;
        Ok(())
    }

    fn is_urgent(step: &Step<&'static str, TestFailure>) -> bool {
        matches!(step, Step::Act(_))
    }

    fn clean(&mut self) -> Result<bool, Failure<TestFailure>> {
        self.request("clean")?;
        Ok(self.server.take().is_none())
    }

    fn pause(&mut self, _longest: Duration) {}
}

const LONG: Duration = Duration::from_secs(60);

fn call() -> Arc<Call> {
    Arc::new(Call {
        cloud: "lab".to_owned(),
        method: "POST".to_owned(),
        path: "/servers".to_owned(),
        kind: RequestKind::Once,
        restricted: false,
    })
}

/// Nobody knows whether it was done.
fn silence() -> Option<Error> {
    Some(Error::NoAnswer {
        call: call(),
        why: "cut".to_owned(),
        timed_out: true,
    })
}

/// It is final.
fn refusal() -> Error {
    Error::BadAddress {
        call: call(),
        why: "none".to_owned(),
    }
}

#[test]
fn errors_that_pass_are_waited_for_and_others_end_the_run() {
    let mut ending = Smallest::new([silence(), None, None, None, silence()]);
    assert_eq!(ending.run(LONG), Ok(()));
    let requests = [
        "look", "look", "create", "look", "finish", "look", "finish", "look",
    ];
    assert_eq!(ending.requests, requests);
    let mut ending = Smallest::new([Some(refusal())]);
    assert_eq!(ending.run(LONG), Err(Failure::Cloud(refusal())));
    let mut ending = Smallest::new([None, Some(refusal())]);
    assert_eq!(ending.run(LONG), Err(Failure::Refused(refusal())));
    assert_eq!(ending.requests, ["look", "create"]);
}

#[test]
fn a_create_without_an_answer_is_sent_twice_at_most() {
    let mut ending = Smallest::new([None, silence(), None, silence()]);
    let none = BootFailure::NoServer { creates: 2 };
    assert_eq!(ending.run(LONG), Err(Failure::Ending(none.into())));
    assert_eq!(
        ending.requests,
        ["look", "create", "look", "create", "look"]
    );
    // What comes late is gone on with.
    let mut ending = Smallest::new([None, silence()]);
    ending.creates = Creates::new(LONG);
    assert_eq!(ending.creates.request().times, 0);
    let line = Progress::plain().line("smallest");
    let mut doing = String::new();
    for _ in 0..2 {
        let deadline = Deadline::within(LONG);
        let turn = turn(&mut ending, &mut None, &mut doing, deadline, &line);
        assert!(matches!(turn, Ok(Turn::Pause)));
    }
    assert_eq!(doing, "Wait(Appearing)");
    let mut ending = ending.with_server();
    assert_eq!(ending.run(LONG), Ok(()));
    assert_eq!(
        ending.requests.iter().filter(|it| **it == "create").count(),
        1
    );
}

#[test]
fn when_the_time_is_up_only_what_is_urgent_is_done() {
    let mut ending = Smallest::new([]);
    let during = "Create".to_owned();
    assert_eq!(
        ending.run(Duration::ZERO),
        Err(Failure::TimedOut { during })
    );
    let mut ending = Smallest::new([]).with_server();
    assert_eq!(ending.run(Duration::ZERO), Ok(()));
    // It is not tried again and again.
    let mut ending = Smallest::new([None, silence()]).with_server();
    let ended = ending.run(Duration::ZERO);
    assert!(matches!(ended, Err(Failure::TimedOut { .. })), "{ended:?}");
    assert_eq!(ending.requests, ["look", "finish"]);
}

#[test]
fn a_clean_up_goes_on_after_errors_that_pass() {
    let mut ending = Smallest::new([silence()]).with_server();
    assert_eq!(clean(&mut ending), Ok(()));
    assert_eq!(ending.requests, ["clean", "clean", "clean"]);
    let mut ending = Smallest::new([Some(refusal())]).with_server();
    assert_eq!(clean(&mut ending), Err(refusal().to_string()));
    assert_eq!(ending.requests, ["clean"]);
}
