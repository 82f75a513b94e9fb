//! Which central manager is active: the negotiators of a pool with HAD, as the collector knows them.
//!
//! Source: HTCondor manual, "High Availability of the Central Manager"; tests/testbed/FACTS.md, "High availability".

use std::time::Duration;

use super::answer::{amount, excerpt, integer, short_string, string, values};
use super::command::{Call, Tools};
use super::error::Error;
use super::slots::Clock;
use scaling::observation::{CentralManagers, NegotiatorAd};
use scaling::sender::Sender;
use system::deadline::Deadline;

/// The host of this ehos as HTCondor names it, the update interval of its negotiator, and whether it runs HAD.
const SETTINGS: &str = "$(FULL_HOSTNAME) $(NEGOTIATOR_UPDATE_INTERVAL:300) $(HAD_LIST:none)";

/// More negotiators than these are not read: a pool has one.
const NEGOTIATORS_MAX: usize = 16;

/// Longer intervals are not believed: the collector drops an ad after `CLASSAD_LIFETIME`, by default this long.
const MAX_INTERVAL: Duration = Duration::from_secs(900);

/// Asks HTCondor's configuration on this host, and the collector. `identity` is the one that the tokens of nodes have.
pub(super) fn observe(
    tools: &Tools,
    identity: Option<&str>,
    clock: Clock,
    deadline: Deadline,
) -> Result<CentralManagers, Error> {
    let (host, update_interval) = settings(tools, deadline)?;
    let args = [
        "-negotiator",
        "-af:tV",
        &short_string("Machine"),
        "int(LastHeardFrom)",
        "int(MyCurrentTime)",
        "int(DaemonStartTime)",
        &short_string("AuthenticatedIdentity"),
    ];
    let call = tools.to_pool("condor_status", &args, "the negotiators");
    let negotiators = tools.run(&call, deadline, Vec::new(), |all: &mut Vec<_>, line| {
        if all.len() < NEGOTIATORS_MAX {
            all.extend(negotiator(line, identity, &host, clock.now())?);
        }
        Ok(())
    })?;
    Ok(CentralManagers {
        update_interval,
        negotiators,
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

/// One ad. A negotiator that cannot be read may be the active one: then nothing is known. An ad that a node may have sent is
/// left out.
fn negotiator(
    line: &str,
    identity: Option<&str>,
    host: &str,
    now: i64,
) -> Result<Option<NegotiatorAd>, String> {
    if line.trim().is_empty() {
        return Ok(None);
    }
    let [machine, heard, current, start, sender] = values(line)?;
    if Sender::of(string(sender).as_deref(), identity).may_be_node() {
        return Ok(None);
    }
    let machine = string(machine).ok_or_else(|| format!("no Machine: {}", excerpt(line)))?;
    let number = |value| integer(value).ok_or_else(|| format!("no time: {}", excerpt(line)));
    let (heard, current, start) = (number(heard)?, number(current)?, number(start)?);
    let age = |seconds: i64| Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    let heard_ago = age(now.saturating_sub(heard));
    Ok(Some(NegotiatorAd {
        is_here: machine.eq_ignore_ascii_case(host),
        machine,
        heard_ago,
        up_for: age(current.saturating_sub(start)).saturating_add(heard_ago),
    }))
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
        fake.answer("condor_status", "-negotiator", &format!("{ads}exit=0\n"));
        let clock = Clock::at(1_000_000);
        observe(&fake.tools(LIMIT), None, clock, Deadline::within(LIMIT))
    }

    const CM1: &str = "\"cm1.example\"\t999990\t999992\t999000\t\"condor@pool\"";
    const CM2: &str = "\"cm2.example\"\t999000\t999000\t999000\t\"condor@pool\"";

    #[test]
    fn each_negotiator_is_read_with_its_ages() {
        let seen = ask("CM1.example 60 cm1:9618, cm2:9618", &[CM1, CM2]).unwrap();
        assert_eq!(seen.update_interval, Duration::from_secs(60));
        let [cm1, cm2] = seen.negotiators.as_slice() else {
            panic!("{seen:?}")
        };
        assert!(cm1.is_here && !cm2.is_here);
        let ages = |ad: &NegotiatorAd| (ad.heard_ago.as_secs(), ad.up_for.as_secs());
        assert_eq!((ages(cm1), ages(cm2)), ((10, 1002), (1000, 1000)));
        assert_eq!(cm2.machine, "cm2.example");
    }

    #[test]
    fn no_negotiator_is_an_answer() {
        assert_eq!(ask("cm1 300 cm1:9618", &[]).unwrap().negotiators, []);
    }

    #[test]
    fn an_ad_of_a_node_is_no_negotiator() {
        let forged = CM2.replace("condor@pool", "execute-20261129t090000-01@pool");
        let seen = ask("cm1.example 60 x:1", &[CM1, &forged]).unwrap();
        assert_eq!(seen.negotiators.len(), 1);
    }

    #[test]
    fn what_cannot_be_read_is_unknown_and_never_nobody() {
        for ad in [
            "\"cm2\"\tundefined\t1\t1\t\"condor@pool\"",
            "undefined\t1\t1\t1\t\"condor@pool\"",
            "\"cm2\"\t1\t1\t1",
            "[ x = 1 ]",
        ] {
            assert!(ask("cm1 60 x:1", &[CM1, ad]).is_err(), "{ad}");
        }
        for settings in ["", "cm1 60", "cm1 0 x:1", "cm1 soon x:1", "cm1 901 x:1"] {
            assert!(ask(settings, &[CM1]).is_err(), "{settings}");
        }
        let error = ask("cm1 60 none", &[CM1]).unwrap_err().to_string();
        assert!(
            error.contains("HAD_LIST is not defined on this host"),
            "{error}"
        );
    }

    #[test]
    fn a_pool_has_a_few_negotiators_at_most() {
        let many = vec![CM2; 1000];
        assert_eq!(
            ask("cm1 60 x:1", &many).unwrap().negotiators.len(),
            NEGOTIATORS_MAX
        );
    }
}
