//! The daemons of HTCondor stopped, frozen and slow, before a tick and in the middle of one.

use super::furnished;
use super::processes::Frozen;
use super::rig::{Rig, machine_of, within};
use crate::machines::step;

/// When a daemon goes away.
enum When {
    /// It is away when the tick begins.
    Before,
    /// It goes when ehos calls this tool.
    At(&'static str),
}

/// How.
#[derive(Clone, Copy, PartialEq)]
enum How {
    /// It is killed; condor_master starts it again after ten seconds.
    Killed,
    /// It hangs.
    Frozen,
    /// It runs for a tenth of each second.
    Slow,
}

struct Case {
    daemon: &'static str,
    /// `cm`, or the idle node.
    of_node: bool,
    how: How,
    when: When,
    codes: &'static [i32],
    words: &'static [&'static str],
    /// What is seen suffices: the idle node may be drained.
    may_drain: bool,
    /// Only in the long variant.
    long: bool,
}

const COLLECTOR: Case = Case {
    daemon: "condor_collector",
    of_node: false,
    how: How::Frozen,
    when: When::Before,
    codes: &[75],
    words: &[
        "unknown  collector: ",
        "brake    creates and deletes blocked",
    ],
    may_drain: false,
    long: false,
};
const SCHEDD: Case = Case {
    daemon: "condor_schedd",
    words: &["unknown  schedd local: ", "brake    deletes blocked"],
    ..COLLECTOR
};
const NEGOTIATOR: Case = Case {
    daemon: "condor_negotiator",
    codes: &[0],
    words: &[],
    may_drain: true,
    ..COLLECTOR
};
const STARTD: Case = Case {
    daemon: "condor_startd",
    of_node: true,
    codes: &[1],
    words: &["failed   ", "drain "],
    may_drain: true,
    ..COLLECTOR
};

const CASES: &[Case] = &[
    Case {
        words: &["within 8 s and was killed"],
        ..COLLECTOR
    },
    Case {
        words: &["within 8 s and was killed"],
        ..SCHEDD
    },
    Case {
        when: When::At("condor_q"),
        codes: &[1],
        words: &["failed   "],
        ..COLLECTOR
    },
    Case {
        when: When::At("condor_drain"),
        ..STARTD
    },
    Case {
        how: How::Killed,
        when: When::Before,
        words: &[
            "unknown  collector: ",
            "no collector answers at 127.0.0.1",
            "brake    creates and deletes blocked",
        ],
        ..COLLECTOR
    },
    Case {
        how: How::Slow,
        codes: &[0, 1, 75],
        words: &[],
        may_drain: true,
        long: true,
        ..COLLECTOR
    },
    Case {
        when: When::At("condor_drain"),
        codes: &[1],
        words: &["failed   "],
        long: true,
        ..COLLECTOR
    },
    Case {
        how: How::Killed,
        long: true,
        ..SCHEDD
    },
    Case {
        how: How::Slow,
        codes: &[0, 1, 75],
        words: &[],
        may_drain: true,
        long: true,
        ..SCHEDD
    },
    Case {
        when: When::At("condor_q"),
        long: true,
        ..SCHEDD
    },
    Case {
        when: When::At("condor_drain"),
        codes: &[0],
        words: &[],
        may_drain: true,
        long: true,
        ..SCHEDD
    },
    Case {
        long: true,
        ..NEGOTIATOR
    },
    Case {
        how: How::Killed,
        long: true,
        ..NEGOTIATOR
    },
    Case {
        when: When::At("condor_q"),
        long: true,
        ..NEGOTIATOR
    },
    Case {
        long: true,
        ..STARTD
    },
    Case {
        how: How::Slow,
        codes: &[0, 1],
        words: &[],
        long: true,
        ..STARTD
    },
];

#[test]
fn a_daemon_of_htcondor_that_is_away_costs_no_job_and_no_node() {
    let Some(rig) = Rig::up("pool", "nodes_max: 2\nidle_timeout: 1 h") else {
        return;
    };
    let idle = furnished(&rig);
    let idle_machine = machine_of(&idle);
    // Nobody does anything for it. What a dry run sees of a startd that is new is not remembered: a tick that drains
    // nothing yet looks first.
    let may_go = |rig: &Rig| {
        rig.over("");
        rig.tick(&[]);
        rig.over("daemon: {idle_timeout: 1 s}");
        let tick = rig.tick(&["--dry-run"]);
        (tick.code == 0 && tick.says("drain"), tick)
    };
    for case in CASES.iter().filter(|case| super::long() || !case.long) {
        let how = match case.how {
            How::Killed => "killed",
            How::Frozen => "frozen",
            How::Slow => "slow",
        };
        let when = match case.when {
            When::Before => "before a tick".to_owned(),
            When::At(tool) => format!("at {tool}"),
        };
        step(&format!("{} {how} {when}", case.daemon));
        // A drain that was taken back makes it idle anew.
        assert!(within(60, || may_go(&rig).0));
        let before = rig.holdings();
        let of = if case.of_node {
            idle_machine.as_str()
        } else {
            "cm"
        };
        // One that was killed comes back after ten seconds.
        assert!(within(30, || !rig.pool.daemons(of, case.daemon).is_empty()));
        let pids = rig.pool.daemons(of, case.daemon);
        rig.over("daemon: {idle_timeout: 1 s}");
        let signal = if case.how == How::Killed {
            "-KILL"
        } else {
            "-STOP"
        };
        let frozen = match (&case.when, case.how) {
            (When::Before, How::Frozen) => Some(Frozen::new(pids)),
            (_, How::Slow) => Some(Frozen::slowly(pids)),
            (When::Before, How::Killed) => {
                super::kill(&pids);
                None
            }
            (When::At(tool), _) => {
                rig.pool
                    .hook(tool, &format!("kill {signal} {}", pids.join(" ")));
                Some(Frozen::later(pids))
            }
        };
        let tick = rig.tick(&[]);
        println!("{tick}");
        if let When::At(tool) = case.when {
            assert!(rig.pool.unhook(tool), "{tool} was never called: {tick}");
        }
        tick.expect(case.codes, case.words);
        drop(frozen);
        let undrained = || {
            let slot = format!("slot1@{idle_machine}");
            rig.pool.tool("condor_drain", &["-cancel", &slot]);
            rig.pool.draining().is_empty()
        };
        // A drain that the daemon took would end the idle node in the next tick, as it should.
        if case.may_drain {
            assert!(within(20, undrained));
        }

        let mut last = tick;
        let back = within(60, || {
            let (may_go, tick) = may_go(&rig);
            last = tick;
            may_go
        });
        assert!(
            back,
            "it never sees again that the idle node may go: {last}"
        );
        rig.over("");
        let mut after = rig.holdings();
        if case.may_drain {
            after.draining.remove(&idle_machine);
        }
        assert_eq!(after, before);
        assert!(within(20, undrained));
    }
    step("and then the idle node goes, and the busy one stays");
    rig.over("daemon: {idle_timeout: 1 s}");
    rig.tick_until("the idle node is gone", 60, &[0], |rig| {
        rig.servers().len() == 1
    });
    assert_eq!(rig.pool.jobs(2), 1);
    super::assert_nobody_was_evicted(&rig);
}
