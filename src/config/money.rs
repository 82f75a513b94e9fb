//! Budgets, billing periods and lifetimes of nodes.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::context::Context;
use super::file::{self, Daemon};
use super::schedules;
use crate::scaling::budget::Budget;
use crate::scaling::money::Money;
use crate::scaling::policy::{CloudPolicy, Policy};
use crate::scaling::reason::spoken;

/// `budget:`, where there is one.
pub(super) fn budget(given: Option<&file::Budget>) -> Budget {
    let amount = |given: Option<f64>| given.map(Money::new);
    given.map_or_else(Budget::default, |given| Budget {
        per_hour: amount(given.per_hour.value()),
        per_month: amount(given.per_month.value()),
    })
}

/// Windows, and the time zone in which they and months are: this machine's, where none is given.
pub(super) fn time(context: &mut Context<'_>, daemon: &Daemon, policy: &mut Policy) {
    let by_month = |budget: &Budget| budget.per_month.is_some();
    let needed = daemon.schedules.is_some()
        || by_month(&policy.budget)
        || policy.clouds.iter().any(|cloud| by_month(&cloud.budget));
    policy.time_zone = match daemon.time_zone.get() {
        Some(name) => schedules::time_zone(context, &["daemon", "time_zone"], name),
        None if needed => TimeZone::system(),
        None => TimeZone::UTC,
    };
    if let Some(given) = &daemon.schedules {
        policy.schedules = schedules::check(context, given, &policy.time_zone, policy);
    }
}

/// What a budget counts must have a price; billing periods and lifetimes must be some time.
pub(super) fn check(context: &mut Context<'_>, daemon: &Daemon, policy: &Policy, simulated: bool) {
    for (key, time) in [
        ("max_lifetime", policy.max_lifetime),
        ("max_lifetime_kill", policy.max_lifetime_kill),
    ] {
        if time.is_some_and(|time| time.is_zero()) {
            context.problem(&["daemon", key], "must be longer than 0");
        }
    }
    let too_short = |time: Option<Duration>| {
        let short = time.is_some_and(|time| !time.is_zero() && time <= policy.boot_timeout);
        let least = spoken(policy.boot_timeout.as_secs());
        short.then(|| {
            format!("must be longer than daemon.boot_timeout ({least}): nodes would be too old before they run jobs")
        })
    };
    if let Some(what) = too_short(policy.max_lifetime) {
        context.problem(&["daemon", "max_lifetime"], what);
    }
    let mut lifetimes = policy.clouds.iter().map(|cloud| cloud.max_lifetime);
    if policy.max_lifetime_kill.is_some()
        && policy.max_lifetime.is_none()
        && !lifetimes.any(|own| own.is_some())
    {
        context.note(
            &["daemon", "max_lifetime_kill"],
            "not used: there is no max_lifetime, so no node expires",
        );
    }
    for cloud in &policy.clouds {
        for (key, time) in [
            ("billing_period", cloud.billing_period),
            ("max_lifetime", cloud.max_lifetime),
        ] {
            if time.is_some_and(|time| time.is_zero()) {
                context.problem(&["clouds", &cloud.name, key], "must be longer than 0");
            }
        }
    }
    for cloud in &policy.clouds {
        if let Some(what) = too_short(cloud.max_lifetime) {
            context.problem(&["clouds", &cloud.name, "max_lifetime"], what);
        }
    }
    // Prices of a simulated world stand in its scenario.
    if simulated {
        return;
    }
    let of_all = daemon.budget.is_some() && policy.budget != Budget::default();
    for cloud in policy.clouds.iter().filter(|cloud| !cloud.retire) {
        let own = cloud.budget != Budget::default();
        let without = |cloud: &CloudPolicy| {
            let mut flavors = cloud.flavors.iter();
            flavors
                .find(|flavor| cloud.price(flavor).is_none())
                .cloned()
        };
        let Some(flavor) = without(cloud).filter(|_| of_all || own) else {
            continue;
        };
        let what = format!(
            "counts what nodes cost, and flavor {flavor} of cloud {} has no price: add it to `prices`",
            cloud.name
        );
        if own {
            context.problem(&["clouds", &cloud.name, "budget"], what);
        } else {
            context.problem(&["daemon", "budget"], what);
        }
    }
}

/// A token that ends before its node is too old decides when that is replaced.
pub(super) fn lifetimes(context: &mut Context<'_>, policy: &Policy, token_lifetime: Duration) {
    let longest = token_lifetime.saturating_sub(policy.token_margin);
    let what = format!(
        "is longer than condor.token_lifetime less daemon.token_margin, {}: that is the age at which nodes are replaced",
        spoken(longest.as_secs())
    );
    if policy.max_lifetime.is_some_and(|time| time > longest) {
        context.note(&["daemon", "max_lifetime"], what.clone());
    }
    for cloud in &policy.clouds {
        if cloud.max_lifetime.is_some_and(|time| time > longest) {
            context.note(&["clouds", &cloud.name, "max_lifetime"], what.clone());
        }
    }
}
