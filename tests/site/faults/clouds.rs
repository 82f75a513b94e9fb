//! A cloud of which a service is away, slow, or answers otherwise than it should, while the other cloud goes on. The
//! fault is on the way to it, so that it is this cloud's alone.

use std::time::Duration;

use super::proxy::{Fault, GLANCE, KEYSTONE, NEUTRON, NOVA, What};
use super::rig::{REQUEST_TIMEOUT, Rig, within};
use super::{furnished, long};
use crate::machines::step;

/// What does not answer for as long as a tick lives.
const NEVER: What = What::Late(Duration::from_secs(120));

struct Case {
    name: &'static str,
    /// No process listens for this service.
    closed: Option<u16>,
    faults: Vec<Fault>,
    /// There is no token from before.
    no_token: bool,
    codes: &'static [i32],
    words: &'static [&'static str],
    long: bool,
}

fn case(name: &'static str, faults: Vec<Fault>, words: &'static [&'static str]) -> Case {
    Case {
        name,
        closed: None,
        faults,
        no_token: false,
        codes: &[1],
        words,
        long: false,
    }
}

fn unseen() -> Vec<Case> {
    let list = "/servers/detail";
    let login = "/auth/tokens";
    let cases = vec![
        Case {
            closed: Some(KEYSTONE),
            no_token: true,
            ..case("Keystone is stopped", vec![], &["unknown  cloud big: "])
        },
        Case {
            no_token: true,
            long: true,
            ..case(
                "Keystone hangs",
                vec![Fault::each("POST", login, NEVER)],
                &["unknown  cloud big: "],
            )
        },
        Case {
            no_token: true,
            long: true,
            ..case(
                "Keystone has a fault",
                vec![Fault::each("POST", login, What::Answer(500, "{}"))],
                &["unknown  cloud big: "],
            )
        },
        Case {
            closed: Some(NOVA),
            ..case("Nova is stopped", vec![], &["unknown  cloud big: "])
        },
        case(
            "Nova hangs",
            vec![Fault::each("GET", list, NEVER)],
            &["unknown  cloud big: "],
        ),
        Case {
            long: true,
            ..case(
                "nobody is behind the load balancer",
                vec![Fault::each(
                    "",
                    "/v2.1",
                    What::Answer(503, "<html>No server is available</html>"),
                )],
                &["unknown  cloud big: "],
            )
        },
        Case {
            long: true,
            ..case(
                "a page that is no answer of Nova, with status 200",
                vec![Fault::each(
                    "GET",
                    list,
                    What::Answer(200, "<html>Please log in</html>"),
                )],
                &["unknown  cloud big: "],
            )
        },
        Case {
            long: true,
            ..case(
                "the list is cut off",
                vec![Fault::each("GET", list, What::CutAnswer)],
                &["unknown  cloud big: "],
            )
        },
        case(
            "the second page of the list fails",
            vec![
                Fault::once("GET", list, What::AlsoAsk("limit=1")),
                Fault::each("GET", "marker=", What::Answer(500, "{}")),
            ],
            &["unknown  cloud big: "],
        ),
        Case {
            long: true,
            ..case(
                "it is asked too often",
                vec![Fault::each("GET", list, What::Answer(429, "{}"))],
                &["unknown  cloud big: "],
            )
        },
    ];
    cases
}

#[test]
fn a_cloud_that_does_not_answer_keeps_its_nodes_and_the_other_goes_on() {
    let Some(rig) = Rig::up("clouds", "nodes_max: 2\nidle_timeout: 1 h") else {
        return;
    };
    let idle = furnished(&rig);
    for case in unseen().into_iter().filter(|case| long() || !case.long) {
        step(case.name);
        let before = rig.holdings();
        rig.over("daemon: {idle_timeout: 1 s}");
        if case.no_token {
            rig.forget_tokens();
        }
        rig.big.set(&case.faults);
        if let Some(service) = case.closed {
            rig.big.close(service);
        }
        let tick = rig.tick(&[]);
        println!("{tick}");
        tick.expect(case.codes, case.words);
        rig.big.set(&[]);
        if let Some(service) = case.closed {
            rig.big.reopen(service);
        }
        assert_eq!(rig.holdings(), before, "{tick}");
        let tick = rig.tick(&["--dry-run"]);
        tick.expect(&[0], &["drain"]);
    }

    step("the quota alone cannot be asked for: that stops creates and no more");
    let before = rig.holdings();
    rig.over("daemon: {idle_timeout: 1 h}");
    rig.big
        .set(&[Fault::each("GET", "/limits", What::Answer(500, "{}"))]);
    rig.tick(&[])
        .expect(&[1], &["unknown  limits of cloud big: "]);
    rig.over("daemon: {idle_timeout: 1 s}");
    let tick = rig.tick(&["--dry-run"]);
    tick.expect(&[1], &["unknown  limits of cloud big: ", "drain"]);
    rig.big.set(&[]);
    assert_eq!(rig.holdings(), before, "{tick}");

    step("Nova of one cloud is stopped, and a job waits");
    let before = rig.holdings();
    rig.big.close(NOVA);
    // A node of `big` that runs a job says so in the pool, whatever its cloud says.
    rig.over("daemon: {nodes_max: 3}");
    rig.tick_until("the other cloud makes a node", 60, &[1], |rig| {
        rig.servers().iter().any(|server| server.cloud == "small")
    });
    rig.tick_until("it runs the job", 90, &[1], |rig| rig.pool.jobs(2) == 2);
    rig.big.reopen(NOVA);
    let mut after = rig.holdings();
    after.servers.retain(|id| before.servers.contains(id));
    after.running.retain(|job| before.running.contains(job));
    assert_eq!(after, before);

    step("a cloud that is only slow");
    rig.big
        .set(&[Fault::each("", "", What::Late(Duration::from_millis(900)))]);
    rig.over("daemon: {idle_timeout: 1 s}");
    let tick = rig.tick(&[]);
    println!("{tick}");
    tick.expect(&[0], &["drain"]);
    rig.tick_until("the idle node is gone", 60, &[0], |rig| {
        !rig.servers().iter().any(|server| server.id == idle.id)
    });
    super::assert_nobody_was_evicted(&rig);
}

/// What becomes of a create, and of a delete.
struct Create {
    name: &'static str,
    closed: Option<u16>,
    faults: Vec<Fault>,
    words: &'static [&'static str],
    /// Nova has made the server all the same.
    made: bool,
    long: bool,
}

fn creates() -> Vec<Create> {
    let post = |what| vec![Fault::once("POST", "/v2.1/servers", what)];
    let plain = |name, faults, words| Create {
        name,
        closed: None,
        faults,
        words,
        made: false,
        long: false,
    };
    vec![
        Create {
            closed: Some(GLANCE),
            ..plain("Glance is stopped", vec![], &["failed   ", "create"])
        },
        Create {
            closed: Some(NEUTRON),
            long: true,
            // Its quota of ports is not known then.
            ..plain(
                "Neutron is stopped",
                vec![],
                &["unknown  limits of cloud big: "],
            )
        },
        Create {
            long: true,
            ..plain(
                "Glance has a fault",
                vec![Fault::each(
                    "GET",
                    "/v2/images",
                    What::Answer(500, "<html>"),
                )],
                &["failed   ", "create"],
            )
        },
        Create {
            long: true,
            ..plain(
                "Neutron hangs",
                vec![Fault::each("GET", "/v2.0/networks", NEVER)],
                &["failed   ", "create"],
            )
        },
        Create {
            closed: Some(KEYSTONE),
            ..plain(
                "the token is refused in mid tick, and Keystone is stopped",
                vec![Fault::each(
                    "POST",
                    "/v2.1/servers",
                    What::Answer(401, "{}"),
                )],
                &["failed   ", "create"],
            )
        },
        plain(
            "Nova has a fault before it makes the server",
            post(What::Answer(
                500,
                "{\"computeFault\": {\"message\": \"Unexpected API Error.\"}}",
            )),
            &["failed   ", "create"],
        ),
        Create {
            made: true,
            ..plain(
                "the connection breaks when the server is made",
                post(What::CutAnswer),
                &["failed   ", "create"],
            )
        },
        Create {
            made: true,
            ..plain(
                "the answer to a create comes too late",
                post(What::LateAnswer(REQUEST_TIMEOUT + Duration::from_secs(2))),
                &["failed   ", "create"],
            )
        },
        Create {
            made: true,
            long: true,
            ..plain(
                "the request to make a server is taken late",
                post(What::Late(REQUEST_TIMEOUT + Duration::from_secs(2))),
                &["failed   ", "create"],
            )
        },
    ]
}

#[test]
fn a_create_that_goes_wrong_makes_one_server_or_none_and_never_two() {
    let Some(rig) = Rig::up(
        "creates",
        "nodes_max: 8\nidle_timeout: 1 h\nbackoff_first: 1 s",
    ) else {
        return;
    };
    // The other cloud has no part in it.
    rig.over("clouds: {small: {nodes_max: 0}}");
    rig.tick(&[]).expect(&[0], &[]);
    let mut nodes = 0;
    let mut waits = false;
    for create in creates()
        .into_iter()
        .filter(|create| long() || !create.long)
    {
        step(create.name);
        if !waits {
            rig.pool
                .submit(1, "100000", "request_cpus = 2\nrequest_memory = 512");
            waits = true;
        }
        // An intent of which nobody knows what became counts as coming for a while.
        let counts = || rig.tick(&["--dry-run"]).says("create 1");
        assert!(within(60, counts), "the job does not count");
        rig.big.set(&create.faults);
        if let Some(service) = create.closed {
            rig.big.close(service);
        }
        let tick = rig.tick(&[]);
        println!("{tick}");
        rig.big.set(&[]);
        if let Some(service) = create.closed {
            rig.big.reopen(service);
        }
        tick.expect(&[1], create.words);
        if create.made {
            // It may still be on its way.
            let there = || rig.servers().len() == nodes + 1;
            assert!(within(30, there), "it was not made: {tick}");
            nodes += 1;
            waits = false;
            rig.tick_until(
                "the node that nobody answered for runs the job",
                90,
                &[0],
                |rig| rig.pool.jobs(2) == nodes && rig.pool.jobs(1) == 0,
            );
        }
        assert_eq!(rig.servers().len(), nodes, "{tick}");
        assert_eq!(rig.made.lock().unwrap().len(), nodes, "{tick}");
    }
    super::assert_nobody_was_evicted(&rig);
}
