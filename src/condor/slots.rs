//! What the collector knows: the startds of the pool, and how long it has been listening to them.
//!
//! Three calls at the same time: the partitionable and static slots (dynamic ones are counted in their parents), the
//! collector's own ad, and the ads of its master and of the negotiator.
//!
//! Clocks: the collector brings the statistics in its own ad up to date every COLLECTOR_UPDATE_INTERVAL (only as seen
//! with `condor_status -collector`, not with `-any`), so `StatsLastUpdateTime` there is the collector's clock, so much
//! old at most: 5 s with `configs/master.yaml`, 900 s by default. A `LastHeardFrom` that is later, which it stamps too,
//! corrects that. A startd's own times are compared with the `MyCurrentTime` of the same ad, and the time since that ad
//! came is added.

mod daemons;

mod jobs;

mod owners;

mod slot;

mod startds;

use daemons::{daemons, own_ad};
pub(crate) use jobs::running;
use slot::Slot;
use startds::Startds;
use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use super::answer::quoted;
use super::command::{Call, Tools};
use super::error::Error;
use scaling::action::StartdIdentity;
use scaling::job_names::MachineJobs;
use scaling::observation::{CollectorView, StartdView};
use scaling::sender::Sender;
use system::deadline::Deadline;
use system::threads::joined;

/// The longest update interval that ehos believes: by default an ad lives for no longer without an update
/// (`CLASSAD_LIFETIME`).
const MAX_UPDATE_INTERVAL: Duration = Duration::from_secs(900);

/// The longest negotiation cycle that ehos believes.
const MAX_CYCLE: Duration = Duration::from_secs(3600);

/// More ads of daemons than these are left out without their names.
const MAX_FORGED: usize = 10;

/// The collector's clock, as it was at some moment of ours.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    seconds: i64,
    at: Instant,
}

impl Clock {
    /// Seconds since 1970.
    pub(super) fn now(self) -> i64 {
        let elapsed = i64::try_from(self.at.elapsed().as_secs()).unwrap_or(i64::MAX);
        self.seconds.saturating_add(elapsed)
    }

    /// What it is at least, where it has stamped these. It is no more than a day behind: what says that is wrong.
    fn now_after(self, startds: &Startds) -> i64 {
        let now = self.now();
        let stamps = startds.heard();
        let stamps = stamps.filter(|heard| *heard <= now.saturating_add(86_400));
        now.max(stamps.max().unwrap_or(i64::MIN))
    }
}

/// The answers of a collector.
pub(super) struct Collected {
    pub view: CollectorView,
    pub clock: Clock,
    /// `MyAddress` of the negotiator.
    pub negotiator: Option<String>,
    /// Running jobs by machine; `None` if a node does not list its own.
    pub jobs: Option<BTreeMap<String, MachineJobs>>,
}

/// Asks the collector of `pool`, or of this machine's configuration: all of it, or an error.
/// `identity` is the one that the tokens of nodes have (`condor.token_identity`). With `several` schedds, a job has the name of
/// its schedd.
pub(super) fn observe(
    tools: &Tools,
    identity: Option<&str>,
    several: bool,
    deadline: Deadline,
) -> Result<Collected, Error> {
    let (clock, daemons, startds) = thread::scope(|scope| {
        let clock = scope.spawn(|| own_ad(tools, deadline));
        let daemons = scope.spawn(|| daemons(tools, identity, deadline));
        let startds = startds(tools, Asked::Collector, NODES, identity, deadline);
        (joined(clock), joined(daemons), startds)
    });
    let (collector, daemons, startds) = (clock?, daemons?, startds?);
    let now = collector.clock.now_after(&startds);
    let up_for = collector.up_for(&daemons.masters, now);
    let clock = Clock {
        seconds: now,
        at: Instant::now(),
    };
    let jobs = jobs::listed(&startds, several);
    let (startds, unreadable) = startds.views(now);
    let view = CollectorView {
        up_for,
        negotiation_period: daemons.negotiation_period,
        cycle_began: daemons.cycle_began.map(|began| since(now, began)),
        startds,
        unreadable,
        forged: daemons.forged,
    };
    Ok(Collected {
        view,
        clock,
        negotiator: daemons.negotiator,
        jobs,
    })
}

/// The startds that `startd` may be, in one call.
pub(super) fn look(
    tools: &Tools,
    identity: Option<&str>,
    startd: &StartdIdentity,
    clock: Clock,
    deadline: Deadline,
) -> Result<Vec<StartdView>, Error> {
    let is = |(name, value): (&str, &str)| format!("{name} =?= {}", quoted(value));
    let known = [
        Some(("EhosNode", startd.node.0.as_str())),
        startd
            .server_id
            .as_deref()
            .map(|id| ("CloudInstanceID", id)),
        startd.machine.as_deref().map(|name| ("Machine", name)),
    ];
    let which: Vec<String> = known.into_iter().flatten().map(is).collect();
    let constraint = format!("{NODES} && ({})", which.join(" || "));
    let startds = startds(tools, Asked::Collector, &constraint, identity, deadline)?;
    let now = clock.now_after(&startds);
    Ok(startds.views(now).0)
}

/// The startd at this address, as it says itself.
pub(super) fn ask(
    tools: &Tools,
    address: &str,
    deadline: Deadline,
) -> Result<Vec<StartdView>, Error> {
    // Nodes cannot check who asks: the key of the pool is not theirs. To read is free (SEC_READ_AUTHENTICATION = OPTIONAL),
    // but for a client that insists on a proof.
    let mut tools = tools.clone();
    for setting in [
        "_CONDOR_SEC_CLIENT_AUTHENTICATION",
        "_CONDOR_SEC_CLIENT_ENCRYPTION",
        "_CONDOR_SEC_CLIENT_INTEGRITY",
    ] {
        tools = tools.with(setting, "OPTIONAL");
    }
    let startds = startds(&tools, Asked::Startd(address), NODES, None, deadline)?;
    // It has just said so.
    let now = startds.heard().max();
    let (mut said, _) = startds.views(now.unwrap_or_default());
    for startd in &mut said {
        startd.heard_ago = Duration::ZERO;
        // The startd may say anything here.
        startd.sender = Sender::Unknown;
    }
    Ok(said)
}

/// The collector's clock.
pub(super) fn clock(tools: &Tools, deadline: Deadline) -> Result<Clock, Error> {
    Ok(own_ad(tools, deadline)?.clock)
}

/// Dynamic slots are counted in their parents. A machine that sleeps (condor_rooster) has an ad that the collector keeps for
/// it: nobody has heard of it, and what it offers is not there.
const NODES: &str = "SlotType =!= \"Dynamic\" && Offline =!= true";

/// More are not told by name.
const MAX_UNREADABLE: usize = 100;

/// Who is asked.
#[derive(Clone, Copy)]
enum Asked<'a> {
    Collector,
    /// The startd at this address.
    Startd(&'a str),
}

fn query<A, E: AsRef<str>>(
    tools: &Tools,
    asked: Asked<'_>,
    args: &[&str],
    expressions: &[E],
    deadline: Deadline,
    answer: A,
    line: impl FnMut(&mut A, &str) -> Result<(), String>,
) -> Result<A, Error> {
    let mut all = Vec::with_capacity(args.len() + expressions.len() + 3);
    let about = match asked {
        Asked::Collector => match tools.pool() {
            Some(pool) => {
                all.extend(["-pool", pool]);
                format!("collector {pool}")
            }
            None => "the collector".to_owned(),
        },
        Asked::Startd(address) => {
            all.extend(["-direct", address]);
            format!("the startd at {address}")
        }
    };
    all.extend(args);
    // Strings in quotes.
    all.push("-af:tV");
    all.extend(expressions.iter().map(AsRef::as_ref));
    let call = Call::new("condor_status", &all, &about);
    tools.run(&call, deadline, answer, line)
}

/// Startds whose slots `constraint` leaves. An ad that cannot be read costs itself alone; where none can be read, this is no
/// answer.
fn startds(
    tools: &Tools,
    asked: Asked<'_>,
    constraint: &str,
    identity: Option<&str>,
    deadline: Deadline,
) -> Result<Startds, Error> {
    let mut startds = query(
        tools,
        asked,
        &["-constraint", constraint],
        &Slot::expressions(),
        deadline,
        Startds::default(),
        |startds: &mut Startds, line| {
            startds.add(line, identity);
            Ok(())
        },
    )?;
    match startds.no_answer.take() {
        Some(what) if startds.slots.is_empty() => Err(Error::Unparsable {
            tool: "condor_status".to_owned(),
            about: match asked {
                Asked::Collector => "the collector".to_owned(),
                Asked::Startd(address) => format!("the startd at {address}"),
            },
            what,
        }),
        _ => Ok(startds),
    }
}

/// How long before `now` something was; nothing for the future, and for the never.
fn since(now: i64, then: i64) -> Duration {
    Duration::from_secs(u64::try_from(now.saturating_sub(then)).unwrap_or(0))
}

/// What tests/fuzz reads: the slots in `text`, whatever it is.
#[cfg(fuzzing)]
pub fn read_anything(text: &str) -> (Vec<StartdView>, Vec<scaling::observation::UnreadableAd>) {
    let mut startds = Startds::default();
    for line in text.lines() {
        startds.add(line, None);
    }
    let now = startds.heard().max();
    startds.views(now.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use scaling::observation::{NodeId, Resources, UnreadableAd};

    use super::daemons::{Collector, Daemons};
    use super::slot::SlotAd;
    use super::*;

    /// A slot line with some values other than those of an idle partitionable slot.
    fn line(changes: &[(usize, &str)]) -> String {
        let mut values = [
            "\"n1\"",
            "\"slot1@n1\"",
            "\"Partitionable\"",
            "",
            "",
            "undefined",
            "\"Unclaimed\"",
            "\"Idle\"",
            "false",
            "false",
            "",
            "",
            "4",
            "4096",
            "1000",
            "0",
            "4",
            "4096",
            "1000",
            "0",
            "0",
            "100",
            "undefined",
            "90",
            "150",
            "200",
        ];
        for (index, value) in changes {
            values[*index] = value;
        }
        values.join("\t")
    }

    fn read(lines: &[String], now: i64) -> (Vec<StartdView>, Vec<UnreadableAd>) {
        let mut startds = Startds::default();
        for line in lines {
            startds.add(line, None);
        }
        startds.views(now)
    }

    fn view(lines: &[String], now: i64) -> StartdView {
        read(lines, now).0.remove(0)
    }

    /// The columns of a line, as they are told.
    const COLUMNS: [&str; 26] = [
        "Machine",
        "Name",
        "SlotType",
        "CloudInstanceID",
        "EhosNode",
        "EhosUpdateInterval",
        "State",
        "Activity",
        "Start",
        "Draining",
        "DrainReason",
        "DrainingRequestId",
        "TotalSlotCpus",
        "TotalSlotMemory",
        "TotalSlotDisk",
        "TotalSlotGPUs",
        "Cpus",
        "Memory",
        "Disk",
        "GPUs",
        "NumDynamicSlots",
        "NumDynamicSlotsTime",
        "LastDrainStopTime",
        "DaemonStartTime",
        "MyCurrentTime",
        "LastHeardFrom",
    ];

    /// A slot of the node n1.
    fn of_n1(changes: &[(usize, &str)]) -> String {
        let mut all = vec![(3, "\"uuid\""), (4, "\"node\""), (9, "true")];
        all.extend(changes);
        line(&all)
    }

    #[test]
    fn one_ad_that_cannot_be_read_is_told_by_name_counts_as_claimed_and_costs_no_other() {
        let other = line(&[(0, "\"n2\""), (1, "\"slot1@n2\"")]);
        for (index, column) in COLUMNS.iter().enumerate() {
            for value in ["error", "[ a = 1 ]", "{", "\"a\" + \"b\"", "\u{fffd}"] {
                let lines = [of_n1(&[(index, value)]), other.clone()];
                let (startds, unreadable) = read(&lines, 200);
                let n2 = startds
                    .iter()
                    .find(|startd| startd.machine == "n2")
                    .unwrap();
                assert_eq!((n2.claims(), n2.free().cpus), (0, 4), "{column} {value}");
                let [ad] = unreadable.as_slice() else {
                    panic!("{column} {value}: {unreadable:?}");
                };
                assert!(ad.what.contains(column), "{column} {value}: {ad:?}");
                assert!(ad.owner_known, "one of both ids can be read: {ad:?}");
                let named = ad.slot.as_deref().or(ad.machine.as_deref());
                assert!(named.is_some_and(|name| name.contains("n1")), "{ad:?}");
                let n1 = startds
                    .iter()
                    .find(|startd| startd.machine == "n1")
                    .unwrap();
                assert_eq!(
                    (n1.claims(), n1.free()),
                    (1, Resources::default()),
                    "{column} {value}"
                );
                assert!(
                    n1.slots.iter().all(|slot| !slot.accepts_jobs),
                    "{column} {value}"
                );
                assert!(n1.instance_id.is_some() || n1.node.is_some());
                assert!(n1.draining.as_ref().is_none_or(|drain| !drain.complete));
            }
        }
    }

    #[test]
    fn a_slot_whose_owner_cannot_be_read_is_claimed_on_every_startd_of_its_machine() {
        let whose = [(3, "error"), (4, "error"), (1, "\"slot2@n1\"")];
        let lines = [
            of_n1(&[]),
            line(&[(3, "\"namesake\"")]),
            line(&whose),
            line(&[(0, "\"n2\""), (1, "\"slot1@n2\"")]),
        ];
        let (startds, unreadable) = read(&lines, 200);
        let claims: Vec<_> = startds
            .iter()
            .map(|startd| (startd.machine.as_str(), startd.claims()))
            .collect();
        assert_eq!(claims, [("n1", 1), ("n1", 1), ("n2", 0)]);
        assert!(!unreadable[0].owner_known);
        assert!(unreadable[0].may_be_of(Some("N1")) && unreadable[0].may_be_of(None));
        assert!(!unreadable[0].may_be_of(Some("n2")));
        assert_eq!(unreadable[0].slot_name(), "slot2@n1");
        // By its own clock it is a minute old.
        let age = |seconds| unreadable[0].is_older_than(Duration::from_secs(seconds));
        assert_eq!(unreadable[0].up_for, Some(Duration::from_secs(60)));
        assert!(!age(0), "clocks differ");
        let (_, of_old) = read(&[line(&[whose[0], whose[1], (24, "90000")])], 200);
        assert!(of_old[0].is_older_than(Duration::from_secs(3600)));
        // Alone it is a startd of nobody, which is claimed; without a machine it may be anybody's.
        let (startds, _) = read(&[line(&whose)], 200);
        assert_eq!((startds.len(), startds[0].claims()), (1, 1));
        let nameless = [(0, "error"), (1, "error"), (3, "error"), (4, "error")];
        let (startds, unreadable) = read(&[line(&nameless)], 200);
        assert_eq!(startds, []);
        assert!(unreadable[0].may_be_of(Some("n2")));
        assert_eq!(unreadable[0].slot_name(), "of an unknown machine");
        // Its server is known, its machine is not.
        let (startds, unreadable) = read(&[of_n1(&[(0, "error"), (1, "error")])], 200);
        assert_eq!((startds[0].node.is_some(), startds[0].claims()), (true, 1));
        assert!(!unreadable[0].may_be_of(Some("n2")));
    }

    #[test]
    fn however_many_cannot_be_read_they_hide_no_node_that_they_are_not() {
        let names: Vec<String> = (0..3 * MAX_UNREADABLE)
            .map(|number| format!("\"m{number}\""))
            .collect();
        let ads = |whose: &str| -> Vec<String> {
            let ad = |name: &String| line(&[(0, name), (1, name), (3, whose), (12, "error")]);
            names.iter().map(ad).collect()
        };
        let (startds, unreadable) = read(&ads("\"another\""), 200);
        assert_eq!((startds.len(), unreadable.len()), (300, MAX_UNREADABLE));
        assert!(!unreadable.iter().any(|ad| ad.may_be_of(Some("n1"))));
        let (_, unreadable) = read(&[ads("\"another\""), ads("error")].concat(), 200);
        assert!(unreadable.iter().any(|ad| ad.may_be_of(Some("n1"))));
    }

    #[test]
    fn a_line_that_was_torn_costs_itself_alone() {
        let lines = [
            "{".to_owned(),
            of_n1(&[]),
            "\"a\", }\tfalse".to_owned(),
            String::new(),
        ];
        let (startds, unreadable) = read(&lines, 200);
        assert_eq!((startds.len(), startds[0].claims()), (1, 0));
        assert_eq!(unreadable.len(), 3);
        assert!(unreadable.iter().all(|ad| ad.may_be_of(Some("any"))));
        let many = vec!["{".to_owned(); 10_000];
        assert_eq!(read(&many, 200).1.len(), MAX_UNREADABLE);
    }

    #[test]
    fn a_stamp_of_another_age_makes_nobody_silent() {
        let clock = Clock {
            seconds: 1000,
            at: Instant::now(),
        };
        let mut startds = Startds::default();
        startds.add(&line(&[(25, "1010")]), None);
        startds.add(&line(&[(0, "\"n2\""), (25, "9000000000000000000")]), None);
        let now = clock.now_after(&startds);
        assert!((1010..1020).contains(&now), "{now}");
    }

    #[test]
    fn the_address_is_read_where_it_is_told() {
        let known = format!("{}\t\"<10.0.0.1:9618?sock=startd_1>\"", line(&[]));
        let address = view(&[known], 200).address;
        assert_eq!(address.as_deref(), Some("<10.0.0.1:9618?sock=startd_1>"));
        assert_eq!(view(&[format!("{}\terror", line(&[]))], 200).address, None);
    }

    #[test]
    fn ages_are_of_the_clock_that_stamped_them() {
        // The startd's clock is 50 s behind the collector's.
        let view = view(&[line(&[])], 230);
        assert_eq!(view.heard_ago, Duration::from_secs(30));
        assert_eq!(view.up_for, Duration::from_secs(60 + 30));
        assert_eq!(view.idle_for(), Some(Duration::from_secs(50 + 30)));
    }

    #[test]
    fn a_drain_that_was_taken_back_starts_idleness_anew() {
        let view = view(&[line(&[(22, "140")])], 200);
        assert_eq!(view.idle_for(), Some(Duration::from_secs(10)));
    }

    #[test]
    fn a_claimed_slot_offers_nothing() {
        let slot = |state: &str| {
            let line = line(&[(2, "\"Static\""), (6, state)]);
            SlotAd::read(&line, None).unwrap().slot
        };
        for state in [
            "\"Claimed\"",
            "\"Preempting\"",
            "\"Matched\"",
            "\"new\"",
            "",
        ] {
            let slot = slot(state);
            assert_eq!(
                (slot.claims, slot.free),
                (1, Resources::default()),
                "{state}"
            );
        }
        assert_eq!(slot("\"Unclaimed\"").claims, 0);
        assert!(!slot("\"Owner\"").accepts_jobs);
        assert_eq!(slot("\"Owner\"").claims, 0);
    }

    #[test]
    fn a_slot_that_does_not_say_counts_as_claimed() {
        for index in [13, 17, 20] {
            let ad = SlotAd::read(&line(&[(index, "undefined")]), None).unwrap();
            let slot = ad.slot;
            assert_eq!(
                (slot.claims, slot.free),
                (1, Resources::default()),
                "{index}"
            );
        }
        for index in [1, 25] {
            let ad = SlotAd::read(&line(&[(index, "undefined")]), None).unwrap();
            let slot = ad.slot;
            assert_eq!((slot.claims, slot.accepts_jobs), (1, false), "{index}");
        }
        let ad = SlotAd::read(&line(&[(0, "")]), None).unwrap();
        assert_eq!(ad.machine.as_deref(), Some("n1"));
    }

    #[test]
    fn a_node_speaks_for_no_daemon_of_the_central_manager() {
        let of_node = [
            "\"execute@testbed\"",
            "\"execute-20261129t090000-01@testbed\"",
            "\"worker@testbed\"",
        ];
        let mut daemons = Daemons::default();
        for sender in of_node {
            for kind in ["DaemonMaster", "Negotiator"] {
                let line = format!("\"{kind}\"\t\"cm\"\t990\t100000000\t990\t\"<n>\"\t{sender}");
                daemons.add(&line, Some("worker@testbed"));
            }
        }
        assert_eq!(daemons.forged.len(), 6);
        assert!(daemons.forged[1].of.contains("negotiator on machine cm"));
        assert!((daemons.masters.is_empty(), daemons.negotiation_period) == (true, None));
        // One that is as slow as that, whoever sent it.
        daemons.add(
            "\"Negotiator\"\t\"cm\"\tundefined\t100000000\t990\t\"<cm>\"\t\"condor@family\"",
            None,
        );
        assert_eq!(daemons.negotiation_period, Some(MAX_CYCLE));
        assert_eq!(
            (daemons.cycle_began, daemons.negotiator.as_deref()),
            (Some(990), Some("<cm>"))
        );
        assert_eq!(daemons.forged.len(), 7);
        for _ in 0..100 {
            daemons.add(
                "\"Negotiator\"\t\"cm\"\t1\t1\t1\t\"<n>\"\t\"execute@x\"",
                None,
            );
        }
        assert_eq!(daemons.forged.len(), MAX_FORGED);
        // Those of its own are believed; those of nobody only where the collector does not count.
        let collector = |lifetime| Collector {
            machine: Some("cm".to_owned()),
            clock: Clock {
                seconds: 1000,
                at: Instant::now(),
            },
            lifetime,
        };
        daemons.add(
            "\"DaemonMaster\"\t\"cm\"\t900\t\t\t\t\"condor@family\"",
            None,
        );
        let up = |lifetime, daemons: &Daemons| collector(lifetime).up_for(&daemons.masters, 1000);
        assert_eq!(up(Some(500), &daemons), Duration::from_secs(100));
        let mut unnamed = Daemons::default();
        unnamed.add("\"DaemonMaster\"\t\"cm\"\t999\t\t\t\tundefined", None);
        unnamed.add("\"DaemonMaster\"\t\"cm\"\t998\t", None);
        assert_eq!(up(Some(500), &unnamed), Duration::from_secs(500));
        assert_eq!(up(None, &unnamed), Duration::from_secs(1));
    }

    #[test]
    fn the_sender_of_an_ad_is_its_collectors_word() {
        let sent = |sender: &str, changes: &[(usize, &str)]| {
            format!("{}\t\"<10.0.0.1:9618>\"\t{sender}", line(changes))
        };
        let node = "\"execute-20261129t090000-01@testbed\"";
        let sender = Sender::Node(NodeId("20261129t090000-01".into()));
        // Neither what it leaves out nor what cannot be read hides whose ad it is.
        for changes in [&[][..], &[(4, "error"), (3, "error")], &[(12, "error")]] {
            let (startds, unreadable) = read(&[sent(node, changes)], 200);
            assert_eq!(startds[0].sender, sender);
            assert_eq!(startds[0].node, Some(NodeId("20261129t090000-01".into())));
            assert!(unreadable.iter().all(|ad| ad.owner_known));
        }
        let other = [(4, "\"another\"")];
        let startd = view(&[sent(node, &other)], 200);
        assert_eq!(startd.node, Some(NodeId("another".into())));
        assert_eq!(startd.sender, sender);
        assert_eq!(view(&[line(&[])], 200).sender, Sender::Unknown);
        // Two senders, or two addresses, are two startds.
        let both = [sent(node, &other), sent("\"execute@testbed\"", &other)];
        assert_eq!(read(&both, 200).0.len(), 2);
        let elsewhere = sent("\"execute@testbed\"", &other).replace("10.0.0.1", "10.0.0.2");
        assert_eq!(read(&[both[1].clone(), elsewhere], 200).0.len(), 2);
        // Nobody is fresh for ever.
        let patient = view(&[line(&[(5, "1000000000")])], 200);
        assert_eq!(patient.update_interval, Some(MAX_UPDATE_INTERVAL));
    }

    #[test]
    fn a_drain_is_over_when_every_slot_is_drained() {
        let drained = [
            (2, "\"Static\""),
            (6, "\"Drained\""),
            (9, "true"),
            (10, "\"ours\""),
            (11, "\"7\""),
        ];
        let retiring = [
            (2, "\"Static\""),
            (6, "\"Claimed\""),
            (7, "\"Retiring\""),
            (9, "true"),
        ];
        let both = view(&[line(&drained), line(&drained)], 200)
            .draining
            .unwrap();
        assert!(both.complete);
        assert_eq!(
            (both.reason.as_str(), both.request_id.as_str()),
            ("ours", "7")
        );
        assert!(
            !view(&[line(&drained), line(&retiring)], 200)
                .draining
                .unwrap()
                .complete
        );
        // Not yet drained, or drained above jobs that go on.
        let idle = [(2, "\"Static\""), (9, "true")];
        assert!(
            !view(&[line(&drained), line(&idle)], 200)
                .draining
                .unwrap()
                .complete
        );
        let above = [(6, "\"Drained\""), (9, "true"), (20, "1")];
        assert!(!view(&[line(&above)], 200).draining.unwrap().complete);
    }

    proptest! {
        #[test]
        fn no_line_makes_another_slot_disappear_or_free(
            text in ".*",
            index in 0usize..26,
            value in "[^\t]*",
            at in 0usize..3,
            now: i64,
        ) {
            let good = |number: usize| {
                let machine = format!("\"good{number}\"");
                line(&[(0, &machine), (1, &format!("\"slot1@good{number}\""))])
            };
            for bad in [text, line(&[(index, &value), (3, "\"bad\"")])] {
                let mut lines = vec![good(0), good(1)];
                lines.insert(at, bad);
                let (startds, unreadable) = read(&lines, now);
                for number in 0..2 {
                    let machine = format!("good{number}");
                    let found = startds.iter().find(|startd| startd.machine == machine).unwrap();
                    prop_assert!(found.free().cpus == 4 || !unreadable.is_empty());
                }
                for startd in startds.iter().filter(|startd| !startd.machine.starts_with("good")) {
                    let unread = unreadable.iter().any(|ad| ad.machine.as_ref() == Some(&startd.machine));
                    prop_assert!(!unread || startd.claims() > 0 && startd.free() == Resources::default());
                }
            }
        }

        #[test]
        fn no_number_is_too_large(index in 12usize..26, value: i64, now: i64) {
            let _ = view(&[line(&[]), line(&[(index, &value.to_string()), (5, "1")])], now);
        }
    }
}
