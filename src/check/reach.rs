//! Whether nodes get an address, and whether they and the central manager can reach each other.

use std::net::IpAddr;

use super::Finding;
use super::fix::Fix;
use condor::SHARED_PORT;
use deploy::prerequisites::{self, Part, SSH_PORT};
use openstack::network::{Network, SecurityGroup, Subnet};
use openstack::rule::{Direction, Family, Prefix, Remote, Rule, Traffic};
use openstack::{among, called, looks_like_id};
use scaling::policy::addresses;

/// The name of the group that servers get when none is named.
const DEFAULT_GROUP: &str = "default";

/// The configured networks, and what is wrong with them.
pub fn networks<'n>(
    there: &'n [Network],
    configured: &[String],
) -> (Vec<&'n Network>, Vec<Finding>) {
    const CHECK: &str = "networks";
    let mut found = Vec::new();
    let mut findings = Vec::new();
    for wanted in configured {
        let called = called(there, wanted, |network| [&network.id, &network.name]);
        let network = match called.as_slice() {
            [network] => *network,
            [] => {
                let names: Vec<&str> = there.iter().map(|network| network.name.as_str()).collect();
                findings.push(Finding::failed(
                    CHECK,
                    format!("there is no network {wanted}{}", among(&names)),
                    "correct `networks` of this cloud",
                ));
                continue;
            }
            several => {
                let ids: Vec<&str> = several.iter().map(|network| network.id.as_str()).collect();
                findings.push(Finding::failed(
                    CHECK,
                    format!("several networks have the name {wanted}"),
                    format!("set `networks` to one of the ids: {}", ids.join(", ")),
                ));
                continue;
            }
        };
        found.push(network);
        findings.push(one_network(CHECK, network));
    }
    (found, findings)
}

fn one_network(check: &'static str, network: &Network) -> Finding {
    let name = &network.name;
    if network.status != "ACTIVE" {
        return Finding::failed(
            check,
            format!(
                "network {name} is not ACTIVE: its status is {}",
                network.status
            ),
            "ask the cloud's operators, or configure another one",
        );
    }
    if network.subnets.is_empty() {
        return Finding::failed(
            check,
            format!("network {name} has no subnet: a server gets no address from it"),
            format!(
                "create one by `openstack subnet create --network {name} --subnet-range CIDR NAME`"
            ),
        );
    }
    if network.external && !network.shared {
        return Finding::failed(
            check,
            format!(
                "network {name} is external: it gives floating IPs, and servers cannot be in it"
            ),
            "configure a network of the project with a router to it",
        );
    }
    Finding::ok(check, name)
}

/// The security groups let through what nodes need.
pub fn security_groups(
    there: &[SecurityGroup],
    configured: &[String],
    subnets: &[Prefix],
    host_ip: Option<&str>,
) -> Vec<Finding> {
    const CHECK: &str = "security-groups";
    let default = [DEFAULT_GROUP.to_owned()];
    let configured = if configured.is_empty() {
        &default
    } else {
        configured
    };
    let mut findings = Vec::new();
    let mut groups = Vec::new();
    for (place, wanted) in configured.iter().enumerate() {
        match prerequisites::group(there, wanted) {
            Ok(Some(group)) => groups.push(group),
            Ok(None) => {
                let names: Vec<&str> = there.iter().map(|group| group.name.as_str()).collect();
                // `ehos cloud setup` makes the first.
                let can_be_made = place == 0 && !looks_like_id(wanted);
                let finding = Finding::failed(
                    CHECK,
                    format!("there is no security group {wanted}{}", among(&names)),
                    if can_be_made {
                        "run `ehos cloud setup`, or correct `security_groups` of this cloud"
                            .to_owned()
                    } else {
                        format!(
                            "correct `security_groups` of this cloud, or make it by `openstack security group create \
                             {wanted}`"
                        )
                    },
                );
                let fix = can_be_made.then_some(Fix::Prerequisite(Part::SecurityGroup));
                findings.push(finding.fixed_by(fix));
            }
            Err(refusal) => findings.push(Finding::by_error(CHECK, refusal)),
        }
    }
    if findings.is_empty() {
        let names: Vec<&str> = groups.iter().map(|group| group.name.as_str()).collect();
        findings.push(Finding::ok(CHECK, names.join(", ")));
    }
    if groups.is_empty() {
        return findings;
    }
    let gate = Gate {
        ids: groups.iter().map(|group| group.id.as_str()).collect(),
        rules: groups.iter().flat_map(|group| &group.rules).collect(),
    };
    findings.push(within(&gate, subnets));
    let managers = host_ip.into_iter().flat_map(addresses);
    findings.extend(managers.filter_map(|address| from_master(&gate, subnets, address)));
    findings.push(egress(&gate, subnets));
    findings.push(ssh(&gate));
    findings
}

/// The rules of all groups that a node has.
struct Gate<'g> {
    ids: Vec<&'g str>,
    rules: Vec<&'g Rule>,
}

impl Gate<'_> {
    fn passes(&self, traffic: &Traffic) -> bool {
        self.rules
            .iter()
            .any(|rule| rule.covers(traffic, &self.ids))
    }

    /// Whether servers of the same groups may do this to each other, by a rule for the group or for their addresses.
    fn passes_within(&self, traffic: &Traffic, subnets: &[Prefix]) -> bool {
        let to = |subnet: &Prefix| Traffic {
            remote: Remote::Prefix(*subnet),
            ..traffic.clone()
        };
        let mut ours = subnets
            .iter()
            .filter(|subnet| subnet.family() == traffic.family)
            .peekable();
        self.passes(traffic)
            || (ours.peek().is_some() && ours.all(|subnet| self.passes(&to(subnet))))
    }
}

fn traffic(direction: Direction, family: Family, port: u16) -> Traffic {
    Traffic {
        direction,
        family,
        port,
        remote: Remote::Group,
    }
}

/// The families that servers have addresses of; IPv4 when no subnet is known.
fn families(subnets: &[Prefix]) -> Vec<Family> {
    let mut families = vec![Family::V4, Family::V6];
    if !subnets.is_empty() {
        families.retain(|family| subnets.iter().any(|subnet| subnet.family() == *family));
    } else {
        families.truncate(1);
    }
    families
}

fn within(gate: &Gate, subnets: &[Prefix]) -> Finding {
    const CHECK: &str = "port-9618";
    let closed: Vec<&str> = families(subnets)
        .into_iter()
        .filter(|family| {
            !gate.passes_within(&traffic(Direction::Ingress, *family, SHARED_PORT), subnets)
        })
        .map(Family::as_str)
        .collect();
    if !closed.is_empty() {
        let what = format!(
            "no rule allows tcp 9618 between servers of the group ({}): nodes and central manager cannot communicate",
            closed.join(", ")
        );
        let remedy = "run `ehos cloud setup`: it adds a rule from the group itself";
        // HTCondor is content with one family.
        let is_partly_open = closed.len() < families(subnets).len();
        return if is_partly_open {
            Finding::warning(CHECK, what, remedy)
        } else {
            Finding::failed(CHECK, what, remedy)
        }
        .fixed_by([Fix::Prerequisite(Part::SecurityGroup)]);
    }
    let world = gate.rules.iter().any(|rule| {
        let concerns = |family| rule.may_concern(&traffic(Direction::Ingress, family, SHARED_PORT));
        rule.is_for_anyone() && (concerns(Family::V4) || concerns(Family::V6))
    });
    Finding::ok(
        CHECK,
        if world {
            "open within the group and to all addresses: HTCondor authenticates its clients"
        } else {
            "open within the group"
        },
    )
}

/// A central manager that is not in the nodes' network, and so is hardly in their security group.
fn from_master(gate: &Gate, subnets: &[Prefix], host_ip: &str) -> Option<Finding> {
    let address = Prefix::of(host_ip.parse::<IpAddr>().ok()?);
    if subnets.is_empty() || subnets.iter().any(|subnet| subnet.contains(&address)) {
        return None;
    }
    let in_from = Traffic {
        remote: Remote::Prefix(address),
        ..traffic(Direction::Ingress, address.family(), SHARED_PORT)
    };
    (!gate.passes(&in_from)).then(|| {
        Finding::warning(
            "port-9618",
            format!(
                "condor.host_ip {host_ip} is not in the nodes' networks, and no rule allows it to reach them on tcp 9618"
            ),
            "run `ehos cloud setup --external`, or add a rule for the central manager's address",
        )
    })
}

fn egress(gate: &Gate, subnets: &[Prefix]) -> Finding {
    const CHECK: &str = "egress";
    let out = |family: &Family| {
        gate.passes_within(&traffic(Direction::Egress, *family, SHARED_PORT), subnets)
    };
    if families(subnets).iter().any(out) {
        return Finding::ok(CHECK, "nodes can reach tcp 9618 of the group");
    }
    Finding::failed(
        CHECK,
        "no rule allows nodes to send to tcp 9618: they cannot join the pool",
        "add one: `openstack security group rule create --egress --ethertype IPv4 GROUP`",
    )
}

fn ssh(gate: &Gate) -> Finding {
    const CHECK: &str = "ssh";
    let open = gate.rules.iter().any(|rule| {
        // Nobody logs in from a server that nobody can log in to.
        rule.remote_group_id
            .as_deref()
            .is_none_or(|group| !gate.ids.contains(&group))
            && [Family::V4, Family::V6]
                .into_iter()
                .any(|family| rule.may_concern(&traffic(Direction::Ingress, family, SSH_PORT)))
    });
    if open {
        return Finding::ok(CHECK, "a rule allows ssh");
    }
    Finding::warning(
        CHECK,
        "no rule allows ssh from outside the group: you cannot log in to a node or to the central manager",
        "run `ehos cloud setup` with --ssh-from and your own addresses",
    )
}

/// The blocks of addresses of these networks.
pub fn prefixes(subnets: &[Subnet], networks: &[&Network]) -> Vec<Prefix> {
    subnets
        .iter()
        .filter(|subnet| {
            networks
                .iter()
                .any(|network| network.id == subnet.network_id)
        })
        .filter_map(|subnet| subnet.cidr.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Outcome;

    fn network(name: &str) -> Network {
        Network {
            id: format!("id-{name}"),
            name: name.to_owned(),
            status: "ACTIVE".to_owned(),
            external: false,
            shared: false,
            subnets: vec!["s".to_owned()],
        }
    }

    #[test]
    fn networks_must_be_there_whole_and_for_servers() {
        let mut down = network("down");
        down.status = "DOWN".to_owned();
        let mut empty = network("empty");
        empty.subnets.clear();
        let mut external = network("external");
        external.external = true;
        let mut provider = network("provider");
        provider.external = true;
        provider.shared = true;
        let there = [
            network("lab"),
            down,
            empty,
            external,
            provider,
            network("twice"),
            network("twice"),
        ];
        let of = |name: &str| {
            let (found, findings) = networks(&there, &[name.to_owned()]);
            (found.len(), findings[0].outcome)
        };
        assert_eq!(of("lab"), (1, Outcome::Ok));
        assert_eq!(of("id-lab"), (1, Outcome::Ok));
        assert_eq!(of("provider"), (1, Outcome::Ok));
        assert_eq!(of("down"), (1, Outcome::Failed));
        assert_eq!(of("empty"), (1, Outcome::Failed));
        assert_eq!(of("external"), (1, Outcome::Failed));
        assert_eq!(of("gone"), (0, Outcome::Failed));
        assert_eq!(of("twice"), (0, Outcome::Failed));
    }

    fn rule(direction: Direction, port: u16, remote: &str) -> Rule {
        let remote = match remote {
            "group" => Remote::Group,
            prefix => Remote::Prefix(prefix.parse().unwrap()),
        };
        Traffic {
            direction,
            family: Family::V4,
            port,
            remote,
        }
        .rule("g")
    }

    fn outcomes(rules: Vec<Rule>, host_ip: &str) -> Vec<(&'static str, Outcome)> {
        let there = [SecurityGroup {
            id: "g".to_owned(),
            name: "ehos".to_owned(),
            description: None,
            project_id: None,
            rules,
        }];
        let subnets = [
            "10.1.0.0/16".parse().unwrap(),
            "10.2.0.0/16".parse().unwrap(),
        ];
        security_groups(&there, &["ehos".to_owned()], &subnets, Some(host_ip))
            .iter()
            .map(|finding| (finding.check, finding.outcome))
            .filter(|(_, outcome)| *outcome != Outcome::Ok)
            .collect()
    }

    #[test]
    fn nodes_and_central_manager_must_reach_each_other() {
        use Direction::{Egress, Ingress};
        use Outcome::{Failed, Warning};
        let out = || rule(Egress, 9618, "0.0.0.0/0");
        let ssh = || rule(Ingress, 22, "192.0.2.0/24");
        let inside = "10.1.0.5";
        assert_eq!(
            outcomes(vec![out(), ssh(), rule(Ingress, 9618, "group")], inside),
            []
        );
        // By addresses instead of the group: all of them, or it is not enough.
        assert_eq!(
            outcomes(
                vec![out(), ssh(), rule(Ingress, 9618, "10.0.0.0/8")],
                inside
            ),
            []
        );
        assert_eq!(
            outcomes(
                vec![out(), ssh(), rule(Ingress, 9618, "10.1.0.0/16")],
                inside
            ),
            [("port-9618", Failed)]
        );
        assert_eq!(
            outcomes(vec![out(), ssh()], inside),
            [("port-9618", Failed)]
        );
        assert_eq!(
            outcomes(vec![ssh(), rule(Ingress, 9618, "group")], inside),
            [("egress", Failed)]
        );
        assert_eq!(
            outcomes(vec![out(), rule(Ingress, 9618, "group")], inside),
            [("ssh", Warning)]
        );
        // As the group `default` has it: from one node to another, and from nowhere to the first.
        let mut from_group = rule(Ingress, 9618, "group");
        (from_group.port_range_min, from_group.port_range_max) = (None, None);
        assert_eq!(
            outcomes(vec![out(), from_group.clone()], inside),
            [("ssh", Warning)]
        );
        from_group.remote_group_id = Some("where people log in".to_owned());
        assert_eq!(
            outcomes(
                vec![out(), from_group, rule(Ingress, 9618, "group")],
                inside
            ),
            []
        );
        // A central manager elsewhere.
        assert_eq!(
            outcomes(
                vec![out(), ssh(), rule(Ingress, 9618, "group")],
                "198.51.100.7"
            ),
            [("port-9618", Warning)]
        );
        assert_eq!(
            outcomes(
                vec![out(), ssh(), rule(Ingress, 9618, "0.0.0.0/0")],
                "198.51.100.7"
            ),
            []
        );
    }

    #[test]
    fn without_a_group_the_default_one_counts() {
        let there = [SecurityGroup {
            id: "d".to_owned(),
            name: "default".to_owned(),
            description: None,
            project_id: None,
            rules: Vec::new(),
        }];
        let findings = security_groups(&there, &[], &[], None);
        assert_eq!(findings[0], Finding::ok("security-groups", "default"));
        let gone = security_groups(&there, &["ehos".to_owned()], &[], None);
        assert_eq!(gone.len(), 1);
        assert_eq!(gone[0].outcome, Outcome::Failed);
        // What to do is what `ehos cloud setup` really does.
        let of = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            let findings = security_groups(&there, &names, &[], None);
            findings
                .into_iter()
                .find_map(|finding| finding.remedy)
                .unwrap()
        };
        assert!(of(&["ehos"]).contains("ehos cloud setup"));
        for others in [
            &["default", "site"][..],
            &["dc7e4c7e-bf86-482d-8e5d-1a2f4393e733"],
        ] {
            assert!(!of(others).contains("cloud setup"), "{others:?}");
        }
    }
}
