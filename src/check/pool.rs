//! The pool: whether HTCondor answers, and whether ehos may do there what it has to.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;

use super::{Area, Finding, access, joined, slot_users};
use crate::cloudinit::Template;
use crate::condor::SHARED_PORT;
use crate::condor::inspect::{self, NodeSettings, Permission};
use crate::condor::{CondorPool, Error, Tools, token};
use crate::config::Config;
use crate::deadline::Deadline;
use crate::pool::{Pool, Watch};
use crate::scaling::observation::{CollectorView, Seen};
use crate::scaling::sender;

const NAME: &str = "pool";
/// Ads of a node that is gone stay with the collector for this long at most: so long jobs are matched to it in vain.
const LONGEST_AD_LIFETIME_SECONDS: u64 = 180;
/// Longer ones are for pools whose slots stay: nodes that have joined wait for their first job. Those of configs/master.yaml
/// are 10 and 5.
const LONGEST_NEGOTIATOR_INTERVAL_SECONDS: u64 = 20;
const LONGEST_CYCLE_DELAY_SECONDS: u64 = 5;
/// How long a connection to the central manager may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A token that is made to see that it can be: it ends soon, and nobody gets it.
const TRIAL_TOKEN: Duration = Duration::from_secs(60);

/// Looks at the pool of `config`.
pub fn check(config: &Config, deadline: Deadline) -> Area {
    let tools = Tools::new(config.condor.bin.clone(), config.timeouts.command);
    let pool = config.condor.pool.as_deref();
    let clock = inspect::clock_ahead(&tools, pool, deadline);
    if let Err(error @ Error::NotFound { .. }) = &clock {
        let why = format!("{error}; the pool can be checked on the central manager only");
        return Area {
            name: NAME.to_owned(),
            findings: vec![Finding::skipped("tools", why)],
            answered: None,
        };
    }
    let condor_pool = CondorPool::new(
        &config.condor,
        config.policy.negotiation_cycle,
        config.policy.update_interval,
        config.timeouts.command,
    );
    let mut findings = Vec::new();
    let mut answered = false;
    thread::scope(|scope| {
        let tools = &tools;
        let view = scope.spawn(|| condor_pool.observe(&Watch::default(), deadline));
        let rights = scope.spawn(move || {
            let drains = config.policy.drains();
            [
                match drains {
                    true => {
                        right_to_drain(&inspect::permission(tools, pool, "ADMINISTRATOR", deadline))
                    }
                    false => nodes_end_themselves(),
                },
                right_to_advertise(&inspect::permission(
                    tools,
                    pool,
                    "ADVERTISE_STARTD",
                    deadline,
                )),
            ]
        });
        let tokens = scope.spawn(move || joining(config, tools, deadline));
        let settings = scope.spawn(move || central_manager(config, tools, deadline));
        let nodes = scope.spawn(move || inspect::nodes(tools, pool, deadline));
        let host = host_ip(config.condor.host_ip.as_deref(), deadline, |address| {
            let of = |pool| inspect::collector_address(tools, pool, deadline).ok()?;
            Some((of(pool)?, of(Some(address))?))
        });

        let view = joined(view);
        let collector = match &view.collector {
            Seen::Known(collector) => Some(collector),
            Seen::Unknown(why) => {
                findings.push(unanswered("collector", why));
                None
            }
        };
        answered = collector.is_some() || view.schedds.values().any(Seen::is_known);
        findings.extend(collector.map(|view| {
            Finding::ok(
                "collector",
                format!("it knows {} startd(s)", view.startds.len()),
            )
        }));
        for (name, schedd) in &view.schedds {
            findings.push(match schedd {
                Seen::Known(schedd) => Finding::ok(
                    "schedd",
                    format!(
                        "{name}: {} jobs idle, {} running",
                        schedd.jobs.idle, schedd.jobs.running
                    ),
                ),
                Seen::Unknown(why) => unanswered("schedd", why),
            });
        }
        if let Some(collector) = collector {
            findings.push(negotiator(collector, config.policy.negotiation_cycle));
        }
        match clock {
            Ok(ahead) => findings.push(access::clock("the collector", Some(ahead))),
            // Said above.
            Err(_) => findings.push(Finding::skipped("clock", "the collector does not answer")),
        }
        let rights = joined(rights);
        findings.extend(match collector {
            Some(_) => rights,
            // Nobody was there to be asked for a right.
            None => rights.map(|it| Finding::skipped(it.check, "the collector does not answer")),
        });
        findings.extend(joined(tokens));
        findings.push(host);
        findings.extend(joined(settings));
        findings.extend(match joined(nodes) {
            Ok(found) => {
                let mut findings = nodes_settings(&found, &config.policy.cluster);
                findings.push(slot_users::nodes(&found, &config.policy.cluster));
                findings
            }
            Err(_) => vec![Finding::skipped("nodes", "the collector does not answer")],
        });
        findings.extend(templates(config));
    });
    Area {
        name: NAME.to_owned(),
        findings,
        answered: Some(answered),
    }
}

/// Findings on the users of jobs, one for each template.
fn templates(config: &Config) -> Vec<Finding> {
    let mut templates: BTreeMap<&Path, Vec<&str>> = BTreeMap::new();
    for cloud in &config.clouds {
        let clouds = templates.entry(&cloud.user_data_file).or_default();
        clouds.push(&cloud.name);
    }
    let check = |(path, clouds): (&Path, Vec<&str>)| slot_users::template(path, &clouds);
    templates.into_iter().filter_map(check).collect()
}

fn unanswered(check: &'static str, why: &str) -> Finding {
    Finding::failed(
        check,
        why,
        "see that HTCondor runs (`systemctl status condor`), and that condor.pool and condor.schedds are right",
    )
}

/// How often the negotiator really matches, against what ehos reckons with.
fn negotiator(collector: &CollectorView, cycle: Duration) -> Finding {
    const CHECK: &str = "negotiator";
    let Some(period) = collector.negotiation_period else {
        return Finding::warning(
            CHECK,
            "no negotiator has said yet how long its cycles take: without one no job is matched",
            "wait for two cycles after a start; else see `condor_status -negotiator` and the NegotiatorLog",
        );
    };
    let what = format!("a cycle takes {} s", period.as_secs());
    if period > cycle {
        return Finding::warning(
            CHECK,
            format!(
                "{what}, and daemon.negotiation_cycle is {} s",
                cycle.as_secs()
            ),
            format!(
                "set daemon.negotiation_cycle: {}s; ehos goes by the longer one",
                period.as_secs()
            ),
        );
    }
    Finding::ok(CHECK, what)
}

fn nodes_end_themselves() -> Finding {
    let what = "not asked for: condor.scale_down is node, and nodes end by themselves";
    Finding::skipped("drain", what)
}

fn right_to_drain(permission: &Result<Permission, Error>) -> Finding {
    const CHECK: &str = "drain";
    match permission {
        Ok(Permission::Granted(who)) => {
            Finding::ok(CHECK, format!("the collector lets {who} drain nodes"))
        }
        Ok(Permission::Refused) => Finding::failed(
            CHECK,
            "the collector does not let this user drain nodes: idle ones could not be removed",
            "run this as the user that runs ehos; if it still fails, add its identity to ALLOW_ADMINISTRATOR on the \
             central manager, and give it a token (master.yaml)",
        ),
        Err(error) => unknown_right(CHECK, error),
    }
}

fn right_to_advertise(permission: &Result<Permission, Error>) -> Finding {
    const CHECK: &str = "advertise";
    match permission {
        Ok(Permission::Granted(who)) => Finding::ok(
            CHECK,
            format!("the collector lets {who} take ads of deleted nodes away"),
        ),
        Ok(Permission::Refused) => Finding::warning(
            CHECK,
            "the collector does not let this user take ads of deleted nodes away: jobs are matched to them in vain \
             until the ads end",
            "add the identity of the user that runs ehos to ALLOW_ADVERTISE_STARTD and ALLOW_ADVERTISE_MASTER on the \
             central manager",
        ),
        Err(error) => unknown_right(CHECK, error),
    }
}

fn unknown_right(check: &'static str, error: &Error) -> Finding {
    match error {
        Error::NotFound { .. } => Finding::skipped(check, error.to_string()),
        _ => unanswered(check, &error.to_string()),
    }
}

/// What nodes join with: the trust domain and a token, where a template asks for them.
fn joining(config: &Config, tools: &Tools, deadline: Deadline) -> Vec<Finding> {
    const CHECK: &str = "token";
    let asks = |tag: &str| {
        // A template that cannot be read is the configuration's failure.
        config.clouds.iter().any(|cloud| {
            Template::load(&cloud.user_data_file)
                .is_ok_and(|template| template.tags().contains(tag))
        })
    };
    let mut findings = Vec::new();
    let domain = match &config.condor.trust_domain {
        Some(domain) => Some(domain.clone()),
        None => match token::trust_domain(tools, deadline) {
            Ok(domain) => Some(domain),
            Err(error) if asks("trust_domain") || asks("token") => {
                findings.push(Finding::failed(
                    "trust-domain",
                    format!("TRUST_DOMAIN is not known: {error}"),
                    "set condor.trust_domain",
                ));
                None
            }
            Err(_) => None,
        },
    };
    if !asks("token") {
        return findings;
    }
    findings.push(match (&config.condor.token, &domain) {
        (Some(secret), domain) => given_token(secret, domain.as_deref(), Timestamp::now()),
        (None, Some(domain)) => {
            let identity = match &config.condor.token_identity {
                Some(identity) => identity.clone(),
                None => sender::shared_identity(domain),
            };
            let authorizations = &token::NODE_AUTHORIZATIONS;
            let signing = token::Signing::of(&config.condor);
            let trial = token::create(
                tools,
                &identity,
                authorizations,
                TRIAL_TOKEN,
                signing,
                deadline,
            );
            match trial {
                Ok(_) => Finding::ok(
                    CHECK,
                    match signing.key {
                        Some(key) => {
                            format!("tokens for {identity} can be made here, with the key {key}")
                        }
                        None => format!("tokens for {identity} can be made here"),
                    },
                ),
                Err(error) => Finding::failed(
                    CHECK,
                    format!("no token for nodes can be made here: {error}"),
                    signing.remedy(),
                ),
            }
        }
        (None, None) => Finding::skipped(CHECK, "without a trust domain no token can be made"),
    });
    if let (None, None, Some(domain)) =
        (&config.condor.token, &config.condor.token_identity, &domain)
    {
        let pool = config.condor.pool.as_deref();
        let taken = token::takes_own_identities(tools, pool, domain, deadline);
        findings.push(identities(taken, domain));
    }
    findings
}

/// Whether each node speaks for itself alone.
fn identities(taken: Result<bool, Error>, domain: &str) -> Finding {
    const CHECK: &str = "identities";
    let entry = sender::own_identities(domain);
    match taken {
        Ok(true) => Finding::ok(
            CHECK,
            format!("each node's token has an identity of its own ({entry})"),
        ),
        Ok(false) => Finding::warning(
            CHECK,
            format!(
                "the collector does not take ads from {entry}: tokens of all nodes have the identity {}, and whoever is root on one \
                 node can send ads of the others",
                sender::shared_identity(domain)
            ),
            format!(
                "add {entry} to ALLOW_ADVERTISE_STARTD and ALLOW_ADVERTISE_MASTER on the central manager, and run condor_reconfig \
                 there; nodes that are created from then on use it"
            ),
        ),
        Err(error) => Finding::skipped(CHECK, error.to_string()),
    }
}

/// The token of the configuration, by what it says about itself.
fn given_token(secret: &SecretString, trust_domain: Option<&str>, now: Timestamp) -> Finding {
    const CHECK: &str = "token";
    let renew = "make a new one by condor_token_create on the central manager, and put it where condor.token_file says";
    let Some(claims) = token::claims(secret) else {
        return Finding::failed(CHECK, "condor.token is no token (JSON Web Token)", renew);
    };
    let who = claims.sub.unwrap_or_else(|| "nobody".to_owned());
    if let (Some(issuer), Some(domain)) = (&claims.iss, trust_domain)
        && issuer != domain
    {
        return Finding::failed(
            CHECK,
            format!(
                "the token of {who} is of the trust domain {issuer}, and the pool's is {domain}"
            ),
            format!("{renew}, or correct condor.trust_domain"),
        );
    }
    let end = claims.exp.and_then(|end| Timestamp::from_second(end).ok());
    Finding {
        check: CHECK,
        ..access::end(&format!("the nodes' token of {who}"), end, now, renew)
    }
}

/// The collector's port at the address that nodes are told. `collectors` are this pool's and the one there, as they call
/// themselves, where both say so.
fn host_ip(
    host_ip: Option<&str>,
    deadline: Deadline,
    collectors: impl FnOnce(&str) -> Option<(String, String)>,
) -> Finding {
    const CHECK: &str = "host-ip";
    let Some(host_ip) = host_ip else {
        return Finding::skipped(CHECK, "condor.host_ip is not set");
    };
    let address = match host_ip.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') && port.parse::<u16>().is_ok() => {
            host_ip.to_owned()
        }
        _ if host_ip.contains(':') && !host_ip.starts_with('[') => {
            format!("[{host_ip}]:{SHARED_PORT}")
        }
        _ => format!("{host_ip}:{SHARED_PORT}"),
    };
    let reached = address
        .to_socket_addrs()
        .and_then(|mut addresses| {
            addresses
                .next()
                .ok_or_else(|| std::io::Error::other("no such host"))
        })
        .and_then(|address| {
            let timeout = deadline.left().min(CONNECT_TIMEOUT);
            TcpStream::connect_timeout(&address, timeout.max(Duration::from_millis(1)))
        });
    match reached.map(|_| collectors(&address)) {
        Ok(Some((here, there))) if here != there => Finding::failed(
            CHECK,
            format!(
                "nodes would join another pool: the collector of this one is {here}, and at {address} is {there}"
            ),
            "set condor.host_ip to this pool's central manager; if the configuration was copied from another pool's, \
             give this one an ehos.cluster of its own, too: each would delete the other's nodes",
        ),
        Ok(_) => Finding::ok(CHECK, format!("{address} takes connections")),
        Err(error) => Finding::warning(
            CHECK,
            format!(
                "{address}, where nodes look for the collector, cannot be reached from here: {error}"
            ),
            "correct condor.host_ip; a floating IP may not be reachable from its own server, then this says nothing",
        ),
    }
}

/// Settings of the central manager, where this machine is it.
fn central_manager(config: &Config, tools: &Tools, deadline: Deadline) -> Vec<Finding> {
    const CHECK: &str = "settings";
    let daemons = inspect::setting(tools, "MASTER", "DAEMON_LIST", deadline);
    let daemons = daemons.ok().flatten().unwrap_or_default().to_uppercase();
    if config.condor.pool.is_some() || !daemons.contains("COLLECTOR") {
        return vec![Finding::skipped(
            CHECK,
            "settings of the central manager can be seen on it only",
        )];
    }
    let lifetime = inspect::setting(tools, "COLLECTOR", "CLASSAD_LIFETIME", deadline);
    let update = inspect::setting(
        tools,
        "NEGOTIATOR",
        "NEGOTIATOR_UPDATE_AFTER_CYCLE",
        deadline,
    );
    let negotiation_interval = |name: &str, longest, consequence: &str| {
        inspect::setting(tools, "NEGOTIATOR", name, deadline).map_or_else(
            |error| Finding::skipped(CHECK, error.to_string()),
            |value| at_most(name, value.as_deref(), longest, consequence),
        )
    };
    let mut findings = vec![
        lifetime.map_or_else(
            |error| Finding::skipped(CHECK, error.to_string()),
            |value| ad_lifetime(value.as_deref()),
        ),
        update.map_or_else(
            |error| Finding::skipped(CHECK, error.to_string()),
            |value| update_after_cycle(value.as_deref()),
        ),
        negotiation_interval(
            "NEGOTIATOR_INTERVAL",
            LONGEST_NEGOTIATOR_INTERVAL_SECONDS,
            "a node that has joined may wait for its first job for as long",
        ),
        negotiation_interval(
            "NEGOTIATOR_CYCLE_DELAY",
            LONGEST_CYCLE_DELAY_SECONDS,
            "new jobs and nodes may wait for their cycle for as long after the end of another",
        ),
    ];
    // Only a schedd writes it.
    if daemons.contains("SCHEDD") && !config.event_interval.is_zero() {
        let log = inspect::setting(tools, "SCHEDD", "EVENT_LOG", deadline);
        findings.push(log.map_or_else(
            |error| Finding::skipped(CHECK, error.to_string()),
            |value| event_log(value.as_deref(), config.condor.event_log()),
        ));
    }
    findings
}

/// Without an event log that ehos can read, a tick comes with the timer's minute: that is slower, and no fault.
fn event_log(value: Option<&str>, expected: &Path) -> Finding {
    const CHECK: &str = "settings";
    let place = expected.display();
    let Some(value) = value.filter(|value| !value.is_empty()) else {
        return Finding::warning(
            CHECK,
            "EVENT_LOG is not set: jobs wait for the next minute's tick",
            format!(
                "set EVENT_LOG = {place} on the central manager and run condor_reconfig; or set daemon.event_interval: 0"
            ),
        );
    };
    if Path::new(value) != expected {
        return Finding::warning(
            CHECK,
            format!("EVENT_LOG is {value}, and ehos reads {place}"),
            format!(
                "set condor.event_log: {value} here, and PathModified={value} by `systemctl edit ehos.path`"
            ),
        );
    }
    match File::open(expected) {
        Ok(_) => Finding::ok(CHECK, format!("EVENT_LOG = {value}")),
        // It comes with the first job.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Finding::ok(
            CHECK,
            format!("EVENT_LOG = {value}; no job has been logged yet"),
        ),
        Err(error) => Finding::warning(
            CHECK,
            format!("EVENT_LOG = {value} cannot be read: {error}"),
            "let the user that runs the ticks read the file and its folder: without, each change counts as new jobs",
        ),
    }
}

fn ad_lifetime(value: Option<&str>) -> Finding {
    const CHECK: &str = "settings";
    match value.and_then(|value| value.parse::<u64>().ok()) {
        Some(seconds) if seconds <= LONGEST_AD_LIFETIME_SECONDS => {
            Finding::ok(CHECK, format!("CLASSAD_LIFETIME = {seconds}"))
        }
        seconds => Finding::warning(
            CHECK,
            format!(
                "CLASSAD_LIFETIME is {}: ads of nodes that are gone stay for so long, and up to twice",
                // The manual's default.
                seconds.unwrap_or(900)
            ),
            format!(
                "set COLLECTOR.CLASSAD_LIFETIME = {LONGEST_AD_LIFETIME_SECONDS} on the central manager, longer than \
                 UPDATE_INTERVAL of the nodes"
            ),
        ),
    }
}

fn update_after_cycle(value: Option<&str>) -> Finding {
    const CHECK: &str = "settings";
    if value.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Finding::ok(CHECK, "NEGOTIATOR_UPDATE_AFTER_CYCLE = True");
    }
    Finding::warning(
        CHECK,
        "NEGOTIATOR_UPDATE_AFTER_CYCLE is not True: ehos learns only every five minutes how long cycles take",
        "set NEGOTIATOR_UPDATE_AFTER_CYCLE = True on the central manager",
    )
}

/// A setting in seconds against the longest that suits a pool of elastic nodes.
fn at_most(name: &str, value: Option<&str>, longest: u64, consequence: &str) -> Finding {
    const CHECK: &str = "settings";
    match value.map(str::parse::<u64>) {
        Some(Ok(seconds)) if seconds <= longest => {
            Finding::ok(CHECK, format!("{name} = {seconds}"))
        }
        Some(Ok(seconds)) => Finding::warning(
            CHECK,
            format!("{name} is {seconds} s: {consequence}"),
            format!(
                "set {name} = {longest}, or less, on the central manager, unless negotiation cycles take longer than 5 s"
            ),
        ),
        // An expression, which HTCondor evaluates.
        _ => Finding::skipped(CHECK, format!("{name} is not a number of seconds")),
    }
}

/// Nodes that are there must let jobs finish, and say how often they report.
fn nodes_settings(found: &[NodeSettings], cluster: &str) -> Vec<Finding> {
    const CHECK: &str = "nodes";
    let ours: Vec<&NodeSettings> = found
        .iter()
        .filter(|node| node.cluster.as_deref().is_none_or(|of| of == cluster))
        .collect();
    if ours.is_empty() {
        return vec![Finding::skipped(CHECK, "no node of this pool is there yet")];
    }
    let named = |which: fn(&&&NodeSettings) -> bool| {
        let mut machines: Vec<&str> = ours
            .iter()
            .filter(which)
            .map(|node| node.machine.as_str())
            .collect();
        machines.sort_unstable();
        machines.dedup();
        machines
    };
    let mut findings = Vec::new();
    let evicting = named(|node| {
        node.max_job_retirement_seconds
            .is_some_and(|time| time <= 0)
    });
    if let Some(first) = evicting.first() {
        findings.push(Finding::failed(
            CHECK,
            format!(
                "a drain would end running jobs on {} nodes, as {first}: their MaxJobRetirementTime is 0",
                evicting.len()
            ),
            "set MAXJOBRETIREMENTTIME in the nodes' template (execute.yaml), and replace these nodes",
        ));
    }
    let silent = named(|node| node.update_interval_seconds.is_none());
    if let Some(first) = silent.first() {
        findings.push(Finding::warning(
            CHECK,
            format!(
                "{} nodes, as {first}, do not say how often they report (EhosUpdateInterval): daemon.update_interval is \
                 taken",
                silent.len()
            ),
            "publish EhosUpdateInterval in the nodes' template (execute.yaml)",
        ));
    }
    if findings.is_empty() {
        let machines = named(|_| true).len();
        findings.push(Finding::ok(
            CHECK,
            format!("{machines} let jobs finish when they are drained"),
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use secrecy::ExposeSecret;

    use super::*;
    use crate::check::Outcome;

    fn a_token(claims: &str) -> SecretString {
        format!("eyJh.{}.c2ln", URL_SAFE_NO_PAD.encode(claims)).into()
    }

    #[test]
    fn a_negotiator_setting_is_compared_as_a_number_of_seconds() {
        let outcome = |value| at_most("NEGOTIATOR_INTERVAL", value, 20, "jobs wait").outcome;
        assert_eq!(outcome(Some("20")), Outcome::Ok);
        assert_eq!(outcome(Some("0")), Outcome::Ok);
        assert_eq!(outcome(Some("21")), Outcome::Warning);
        for unknown in [None, Some("$(MINUTE) * 2"), Some("-1"), Some("20 s")] {
            assert_eq!(outcome(unknown), Outcome::Skipped, "{unknown:?}");
        }
    }

    #[test]
    fn a_given_token_is_read_and_not_told() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let of = |token: SecretString| {
            let finding = given_token(&token, Some("lab"), now);
            let said = format!("{finding:?}");
            assert!(!said.contains(token.expose_secret()), "{said}");
            finding.outcome
        };
        assert_eq!(
            of(a_token(r#"{"iss": "lab", "sub": "execute@lab"}"#)),
            Outcome::Ok
        );
        let ends = |end: i64| a_token(&format!(r#"{{"iss": "lab", "exp": {end}}}"#));
        assert_eq!(of(ends(1_800_000_000 + 9 * 86_400)), Outcome::Ok);
        assert_eq!(of(ends(1_800_000_000 + 86_400)), Outcome::Warning);
        assert_eq!(of(ends(1_800_000_000)), Outcome::Failed);
        assert_eq!(of(a_token(r#"{"iss": "other"}"#)), Outcome::Failed);
        assert_eq!(of("no token at all".into()), Outcome::Failed);
        assert_eq!(of("a.!.b".into()), Outcome::Failed);
    }

    #[test]
    fn the_negotiator_should_not_be_slower_than_configured() {
        let of = |period: Option<u64>| {
            let view = CollectorView {
                up_for: Duration::from_secs(3600),
                negotiation_period: period.map(Duration::from_secs),
                cycle_began: None,
                startds: Vec::new(),
                unreadable: Vec::new(),
                forged: Vec::new(),
            };
            negotiator(&view, Duration::from_secs(80)).outcome
        };
        assert_eq!(of(Some(80)), Outcome::Ok);
        assert_eq!(of(Some(81)), Outcome::Warning);
        assert_eq!(of(None), Outcome::Warning);
    }

    #[test]
    fn settings_of_the_central_manager() {
        assert_eq!(ad_lifetime(Some("180")).outcome, Outcome::Ok);
        assert_eq!(ad_lifetime(Some("900")).outcome, Outcome::Warning);
        assert_eq!(ad_lifetime(None).outcome, Outcome::Warning);
        assert_eq!(update_after_cycle(Some("True")).outcome, Outcome::Ok);
        assert_eq!(update_after_cycle(Some("false")).outcome, Outcome::Warning);
        assert_eq!(update_after_cycle(None).outcome, Outcome::Warning);
    }

    #[test]
    fn the_event_log_is_the_one_that_ehos_reads() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("EventLog");
        let of = |value: Option<&str>| event_log(value, &log);
        assert!(of(None).what.contains("is not set"));
        assert_eq!(of(Some("")).outcome, Outcome::Warning);
        assert_eq!(of(Some("/elsewhere")).outcome, Outcome::Warning);
        let value = log.to_str();
        assert_eq!(of(value).outcome, Outcome::Ok, "before the first job");
        std::fs::write(&log, "").unwrap();
        assert_eq!(of(value).outcome, Outcome::Ok);
    }

    #[test]
    fn nodes_must_let_jobs_finish() {
        let node = |cluster: &str, retirement: Option<i64>, interval: Option<u64>| NodeSettings {
            machine: "n1".to_owned(),
            cluster: Some(cluster.to_owned()),
            max_job_retirement_seconds: retirement,
            update_interval_seconds: interval,
            slot_users: None,
            cpus: None,
        };
        let of = |nodes: &[NodeSettings]| {
            let findings = nodes_settings(nodes, "pool-1");
            findings.iter().map(|f| f.outcome).collect::<Vec<_>>()
        };
        assert_eq!(of(&[]), [Outcome::Skipped]);
        assert_eq!(of(&[node("pool-2", Some(0), None)]), [Outcome::Skipped]);
        assert_eq!(of(&[node("pool-1", Some(3600), Some(60))]), [Outcome::Ok]);
        assert_eq!(of(&[node("pool-1", None, Some(60))]), [Outcome::Ok]);
        assert_eq!(of(&[node("pool-1", Some(0), Some(60))]), [Outcome::Failed]);
        assert_eq!(of(&[node("pool-1", Some(3600), None)]), [Outcome::Warning]);
    }

    #[test]
    fn the_address_of_the_central_manager_is_tried() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let deadline = || Deadline::within(Duration::from_secs(10));
        let address = listener.local_addr().unwrap().to_string();
        let of = |host: Option<&str>, there: &str| {
            let collectors = ("<10.0.0.1:9618>".to_owned(), there.to_owned());
            host_ip(host, deadline(), |_| Some(collectors)).outcome
        };
        assert_eq!(of(Some(&address), "<10.0.0.1:9618>"), Outcome::Ok);
        assert_eq!(of(Some(&address), "<10.0.0.2:9618>"), Outcome::Failed);
        let silent = host_ip(Some(&address), deadline(), |_| None);
        assert_eq!(silent.outcome, Outcome::Ok);
        drop(listener);
        assert_eq!(of(Some(&address), "<10.0.0.1:9618>"), Outcome::Warning);
        assert_eq!(of(None, "<10.0.0.1:9618>"), Outcome::Skipped);
    }
}
