//! Which central manager is active: the negotiators of a pool with HAD, as the collector knows them.
//!
//! Source: HTCondor manual, "High Availability of the Central Manager"; tests/testbed/FACTS.md, "High availability".

use std::time::Duration;

use super::command::{Call, Tools};
use super::error::Error;
use ads::answer::{amount, excerpt, integer, short_string, string, values};
use scaling::observation::{CentralManagers, NegotiatorAd};
use scaling::sender::Sender;
use system::deadline::Deadline;

/// The host of this ehos as HTCondor names it, the update interval of its negotiator, and whether it runs HAD.
const SETTINGS: &str = "$(FULL_HOSTNAME) $(NEGOTIATOR_UPDATE_INTERVAL:300) $(HAD_LIST:none)";

/// The negotiators, and daemons that update their ads often.
///
/// The central managers have a clock each, and condor_status may ask another collector than it did for the slots. So only
/// times of this one answer are compared: the collector stamps each ad with `LastHeardFrom`, its own one, too.
const DAEMONS: &str = "MyType == \"Negotiator\" || MyType == \"Collector\" || MyType == \"Scheduler\" || MyType == \"HAD\"";

/// More negotiators than these are not read: a pool has one.
const NEGOTIATORS_MAX: usize = 16;

/// Longer intervals are not believed: the collector drops an ad after `CLASSAD_LIFETIME`, by default this long.
const MAX_INTERVAL: Duration = Duration::from_secs(900);

/// What one answer says.
#[derive(Debug, Default)]
struct Answer {
    /// The latest `LastHeardFrom`: the clock of the collector that answered.
    now: Option<i64>,
    has_collector: bool,
    negotiators: Vec<Stamped>,
}

/// A negotiator, as stamped.
#[derive(Debug)]
struct Stamped {
    machine: String,
    /// On the collector's clock.
    heard: i64,
    /// On the negotiator's clock.
    up_for: i64,
}

/// Asks HTCondor's configuration on this host, and the collector. `identity` is the one that the tokens of nodes have.
pub(super) fn observe(
    tools: &Tools,
    identity: Option<&str>,
    deadline: Deadline,
) -> Result<CentralManagers, Error> {
    let (host, update_interval) = settings(tools, deadline)?;
    let args = [
        "-any",
        "-constraint",
        DAEMONS,
        "-af:tV",
        &short_string("MyType"),
        &short_string("Machine"),
        "int(LastHeardFrom)",
        "int(MyCurrentTime)",
        "int(DaemonStartTime)",
        &short_string("AuthenticatedIdentity"),
    ];
    let call = tools.to_pool("condor_status", &args, "the negotiators");
    let answer = tools.run(&call, deadline, Answer::default(), |answer, line| {
        answer.add(line, identity)
    })?;
    // Without the collector's own ad the clock may stand still, and a silent negotiator seems to be fresh.
    let now = answer.now.filter(|_| answer.has_collector);
    let now = now.ok_or_else(|| Error::Unparsable {
        tool: call.tool.to_owned(),
        about: call.about.to_owned(),
        what: "no ad of a collector with LastHeardFrom; see condor_status -collector -long"
            .to_owned(),
    })?;
    let age = |seconds: i64| Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    let negotiators = answer.negotiators.into_iter().map(|negotiator| {
        let heard_ago = age(now.saturating_sub(negotiator.heard));
        NegotiatorAd {
            is_here: negotiator.machine.eq_ignore_ascii_case(&host),
            machine: negotiator.machine,
            heard_ago,
            up_for: age(negotiator.up_for).saturating_add(heard_ago),
        }
    });
    Ok(CentralManagers {
        update_interval,
        negotiators: negotiators.collect(),
    })
}

fn settings(tools: &Tools, deadline: Deadline) -> Result<(String, Duration), Error> {
    let call = Call::new(
        "condor_config_val",
        &["-macro", SETTINGS],
        "the central managers",
    );
    let said = tools.text(&call, deadline)?;
    let wrong = |what: String| Error::Unparsable {
        tool: call.tool.to_owned(),
        about: call.about.to_owned(),
        what,
    };
    let mut words = said.split_whitespace();
    let (Some(host), Some(interval), Some(list)) = (words.next(), words.next(), words.next())
    else {
        return Err(wrong(format!(
            "no host name and interval: {}",
            excerpt(&said)
        )));
    };
    if list == "none" {
        return Err(wrong(
            "HAD_LIST is not defined on this host; set condor.high_availability only on central managers with HAD".to_owned(),
        ));
    }
    let interval = amount(interval).map(Duration::from_secs);
    let interval = interval.filter(|interval| !interval.is_zero() && *interval <= MAX_INTERVAL);
    let interval = interval.ok_or_else(|| {
        wrong(format!(
            "NEGOTIATOR_UPDATE_INTERVAL must be a number from 1 to {}",
            MAX_INTERVAL.as_secs()
        ))
    })?;
    Ok((host.to_owned(), interval))
}

impl Answer {
    /// One ad. A negotiator that cannot be read may be the active one: then nothing is known. An ad that a node may have sent
    /// is left out.
    fn add(&mut self, line: &str, identity: Option<&str>) -> Result<(), String> {
        if line.trim().is_empty() {
            return Ok(());
        }
        let [kind, machine, heard, current, start, sender] = values(line)?;
        if Sender::of(string(sender).as_deref(), identity).may_be_node() {
            return Ok(());
        }
        let heard = integer(heard);
        self.now = self.now.max(heard);
        match string(kind).as_deref() {
            Some("Collector") => self.has_collector |= heard.is_some(),
            Some("Scheduler" | "HAD") => {}
            // An ad of unreadable type may be the active negotiator's.
            _ if self.negotiators.len() < NEGOTIATORS_MAX => {
                let machine =
                    string(machine).ok_or_else(|| format!("no Machine: {}", excerpt(line)))?;
                let known =
                    |time: Option<i64>| time.ok_or_else(|| format!("no time: {}", excerpt(line)));
                let (current, start) = (known(integer(current))?, known(integer(start))?);
                self.negotiators.push(Stamped {
                    machine,
                    heard: known(heard)?,
                    up_for: current.saturating_sub(start),
                });
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::FakeTools;
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    fn ask(settings: &str, ads: &[&str]) -> Result<CentralManagers, Error> {
        let fake = FakeTools::new();
        fake.answer(
            "condor_config_val",
            "-macro",
            &format!("out|{settings}\nexit=0\n"),
        );
        let ads: String = ads.iter().map(|ad| format!("out|{ad}\n")).collect();
        fake.answer("condor_status", "-any", &format!("{ads}exit=0\n"));
        observe(&fake.tools(LIMIT), None, Deadline::within(LIMIT))
    }

    /// The answer of a collector at 1,000,000.
    fn ask_one(settings: &str, ads: &[&str]) -> Result<CentralManagers, Error> {
        ask(settings, &[ads, &[COLLECTOR]].concat())
    }

    const COLLECTOR: &str = "\"Collector\"\t\"cm1.example\"\t1000000\t7\t5\tundefined";

    const CM1: &str = "\"Negotiator\"\t\"cm1.example\"\t999990\t999992\t999000\t\"condor@pool\"";
    const CM2: &str = "\"Negotiator\"\t\"cm2.example\"\t999000\t999000\t999000\t\"condor@pool\"";

    #[test]
    fn each_negotiator_is_read_with_its_ages() {
        let seen = ask_one("CM1.example 60 cm1:9618, cm2:9618", &[CM1, CM2]).unwrap();
        assert_eq!(seen.update_interval, Duration::from_secs(60));
        let [cm1, cm2] = seen.negotiators.as_slice() else {
            panic!("{seen:?}")
        };
        assert!(cm1.is_here && !cm2.is_here);
        let ages = |ad: &NegotiatorAd| (ad.heard_ago.as_secs(), ad.up_for.as_secs());
        assert_eq!((ages(cm1), ages(cm2)), ((10, 1002), (1000, 1000)));
        assert_eq!(cm2.machine, "cm2.example");
    }

    /// The clocks of both central managers differ: only the one that answers counts.
    #[test]
    fn ages_are_worked_out_on_the_clock_of_the_collector_that_answers() {
        let late = CM1.replace("999990", "1000900");
        let at = |now: &str| COLLECTOR.replace("1000000", now);
        let heard = |ads: &[&str]| {
            let seen = ask("cm1.example 60 x:1", ads).unwrap();
            let ages = seen.negotiators.iter().map(|ad| ad.heard_ago.as_secs());
            ages.collect::<Vec<_>>()
        };
        assert_eq!(heard(&[CM1, &at("999995")]), [5]);
        assert_eq!(heard(&[&late, &at("1000910")]), [10]);
        let schedd = COLLECTOR.replace("Collector", "Scheduler");
        assert_eq!(heard(&[CM1, &at("999000"), &schedd]), [10]);
        // The clock of no collector: a silent negotiator would seem to be fresh.
        assert!(ask("cm1.example 60 x:1", &[CM1, &schedd]).is_err());
        assert!(ask("cm1.example 60 x:1", &[CM1, &at("undefined")]).is_err());
        assert!(ask("cm1.example 60 x:1", &[]).is_err());
    }

    #[test]
    fn no_negotiator_is_an_answer() {
        assert_eq!(ask_one("cm1 300 cm1:9618", &[]).unwrap().negotiators, []);
    }

    #[test]
    fn an_ad_of_a_node_is_no_negotiator() {
        let forged = CM2.replace("condor@pool", "execute-20261129t090000-01@pool");
        let seen = ask_one("cm1.example 60 x:1", &[CM1, &forged]).unwrap();
        assert_eq!(seen.negotiators.len(), 1);
    }

    #[test]
    fn what_cannot_be_read_is_unknown_and_never_nobody() {
        for ad in [
            "\"Negotiator\"\t\"cm2\"\tundefined\t1\t1\t\"condor@pool\"",
            "\"Negotiator\"\tundefined\t1\t1\t1\t\"condor@pool\"",
            "\"Negotiator\"\t\"cm2\"\t1\t1\t1",
            "[ x = 1 ]",
        ] {
            assert!(ask_one("cm1 60 x:1", &[CM1, ad]).is_err(), "{ad}");
        }
        for settings in ["", "cm1 60", "cm1 0 x:1", "cm1 soon x:1", "cm1 901 x:1"] {
            assert!(ask_one(settings, &[CM1]).is_err(), "{settings}");
        }
        let error = ask_one("cm1 60 none", &[CM1]).unwrap_err().to_string();
        assert!(
            error.contains("HAD_LIST is not defined on this host"),
            "{error}"
        );
    }

    #[test]
    fn a_pool_has_a_few_negotiators_at_most() {
        let many = vec![CM2; 1000];
        assert_eq!(
            ask_one("cm1 60 x:1", &many).unwrap().negotiators.len(),
            NEGOTIATORS_MAX
        );
    }
}
