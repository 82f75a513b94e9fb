//! The real services of OpenStack frozen, before a tick and in the middle of one: both clouds are without them.

use std::sync::{Arc, Mutex};

use super::proxy::{Fault, What};
use super::rig::Rig;
use super::{furnished, long};
use crate::machines::step;

struct Case {
    service: &'static str,
    /// The request of ehos at which it freezes; before the tick where there is none.
    at: Option<(&'static str, &'static str)>,
    /// There is no token from before.
    no_token: bool,
    codes: &'static [i32],
    words: &'static [&'static str],
    long: bool,
}

const LOOK: Case = Case {
    service: "nova-api",
    at: None,
    no_token: false,
    codes: &[75],
    words: &["unknown  cloud big: ", "unknown  cloud small: "],
    long: false,
};

/// With an idle node that would go.
const LOOKS: &[Case] = &[
    LOOK,
    Case {
        at: Some(("GET", "/limits")),
        codes: &[1, 75],
        words: &["unknown  cloud big: "],
        long: true,
        ..LOOK
    },
    Case {
        service: "keystone",
        no_token: true,
        ..LOOK
    },
    Case {
        service: "placement",
        codes: &[0],
        words: &["drain 1"],
        long: true,
        ..LOOK
    },
    Case {
        service: "glance-api",
        codes: &[0],
        words: &["drain 1"],
        long: true,
        ..LOOK
    },
    Case {
        service: "neutron",
        codes: &[0],
        words: &["drain 1"],
        long: true,
        ..LOOK
    },
];

const CREATE: Case = Case {
    service: "nova-api",
    at: Some(("POST", "/v2.1/servers")),
    no_token: false,
    codes: &[1],
    words: &["failed   ", "create "],
    long: false,
};

/// With a job that a node would be made for.
const CREATES: &[Case] = &[
    CREATE,
    Case {
        service: "glance-api",
        at: Some(("GET", "/v2/images")),
        ..CREATE
    },
    Case {
        service: "nova-conductor",
        codes: &[0],
        words: &["create 1"],
        ..CREATE
    },
    Case {
        service: "neutron",
        at: Some(("GET", "/v2.0/networks")),
        long: true,
        ..CREATE
    },
    Case {
        service: "keystone",
        codes: &[0, 1],
        words: &[],
        long: true,
        ..CREATE
    },
    Case {
        service: "nova-compute1",
        codes: &[0],
        words: &["create 1"],
        long: true,
        ..CREATE
    },
    Case {
        service: "nova-scheduler",
        codes: &[0],
        words: &["create 1"],
        long: true,
        ..CREATE
    },
    Case {
        service: "placement",
        codes: &[0],
        words: &["create 1"],
        long: true,
        ..CREATE
    },
    Case {
        service: "rabbitmq",
        codes: &[0, 1],
        words: &[],
        long: true,
        ..CREATE
    },
    Case {
        service: "mariadb",
        codes: &[0, 1],
        words: &[],
        long: true,
        ..CREATE
    },
];

#[test]
fn a_service_of_openstack_that_hangs_costs_no_job_and_makes_no_second_node() {
    if !long() {
        println!("skipped: EHOS_STORY is not `long` (scripts/test --long)");
        return;
    }
    let Some(rig) = Rig::up(
        "services",
        "nodes_max: 2\nidle_timeout: 1 h\nbackoff_first: 1 s",
    ) else {
        return;
    };
    let idle = furnished(&rig);
    for case in LOOKS.iter().filter(|case| long() || !case.long) {
        let before = rig.holdings();
        rig.over("daemon: {idle_timeout: 1 s}");
        let tick = frozen(&rig, case);
        let mut after = rig.holdings();
        if case.codes == [0] {
            after.draining.clear();
        }
        assert_eq!(after, before, "{tick}");
        let machine = super::rig::machine_of(&idle);
        rig.pool
            .tool("condor_drain", &["-cancel", &format!("slot1@{machine}")]);
        rig.over("");
        assert!(
            super::rig::within(60, || rig.tick(&[]).says("nothing to do")),
            "{}",
            rig.tick(&[])
        );
    }

    // From now on the job that waits buys a node.
    rig.over("daemon: {nodes_max: 12}\nclouds: {small: {nodes_max: 0}}");
    let mut nodes = 2;
    for case in CREATES.iter().filter(|case| long() || !case.long) {
        if rig.pool.jobs(1) == 0 {
            rig.pool
                .submit(1, "100000", "request_cpus = 2\nrequest_memory = 512");
        }
        let counts = || rig.tick(&["--dry-run"]).says("create 1");
        assert!(super::rig::within(60, counts), "the job does not count");
        frozen(&rig, case);
        nodes += 1;
        rig.tick_until("the job runs", 120, &[0, 1, 75], |rig| {
            rig.pool.jobs(2) == nodes - 1 && rig.pool.jobs(1) == 0
        });
        // Whatever is late is here by now.
        rig.steady_tick().expect(&[0], &[]);
        assert_eq!(rig.servers().len(), nodes);
        assert_eq!(rig.made.lock().unwrap().len(), nodes);
    }
    super::assert_nobody_was_evicted(&rig);
}

/// One tick with the service frozen.
#[track_caller]
fn frozen(rig: &Rig, case: &Case) -> String {
    let when = case
        .at
        .map_or("before a tick".to_owned(), |(method, path)| {
            format!("at {method} {path}")
        });
    step(&format!("{} frozen {when}", case.service));
    if case.no_token {
        rig.forget_tokens();
    }
    let held = Arc::new(Mutex::new(None));
    match case.at {
        None => *held.lock().unwrap() = Some(rig.freeze(case.service)),
        Some((method, path)) => {
            let (held, freeze) = (Arc::clone(&held), rig.freezer(case.service));
            let first = move || *held.lock().unwrap() = Some(freeze());
            rig.big
                .set(&[Fault::once(method, path, What::First(Arc::new(first)))]);
        }
    }
    let tick = rig.tick(&[]);
    let was = held.lock().unwrap().take();
    rig.big.set(&[]);
    println!("{tick}");
    assert!(was.is_some(), "it was never frozen: {tick}");
    drop(was);
    tick.expect(case.codes, case.words);
    tick.to_string()
}
