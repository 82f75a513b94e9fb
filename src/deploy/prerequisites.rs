//! What a cloud needs before nodes can be made in it: a keypair, and a security group that lets them be reached. Pure:
//! what is missing of what is asked for.

use std::fmt;

use condor::SHARED_PORT;
use openstack::compute::Keypair;
use openstack::network::SecurityGroup;
use openstack::owned_setup;
use openstack::rule::{Direction, Family, Prefix, Remote, Traffic};
use openstack::server_group::ServerGroup;
use system::advice::Advice;

/// What keypair and security group are called when the configuration names none.
pub const NAME: &str = "ehos";
/// SSH.
pub const SSH_PORT: u16 = 22;

/// What the cloud has.
#[derive(Debug, Default)]
pub struct There {
    /// The user's keypairs that the API shows.
    pub keypairs: Vec<Keypair>,
    /// The project's security groups.
    pub groups: Vec<SecurityGroup>,
    /// The project's server groups, where one is asked for.
    pub server_groups: Vec<ServerGroup>,
}

/// What is asked for.
#[derive(Debug)]
pub struct Asked<'a> {
    /// The name of the keypair, where the configuration has one.
    pub key: Option<&'a str>,
    /// The public key that was given on the command line, or found.
    pub public_key: Option<PublicKey>,
    /// Names or ids of the security groups that nodes get; the first is the one that is made and added to.
    pub groups: Vec<&'a str>,
    /// Name or id of the server group that nodes are put into, and the policy that it is to have.
    pub server_group: Option<(&'a str, &'a str)>,
    /// Where SSH may come from.
    pub ssh_from: &'a [Prefix],
    /// Port 9618 from everywhere.
    pub external: bool,
    pub cluster: &'a str,
}

/// A public key as `authorized_keys` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    pub line: String,
    pub file: String,
    /// The file was named, not just found: this key it must be.
    pub named: bool,
}

/// The kinds of prerequisites.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Key,
    ServerGroup,
    /// The first security group and its rules.
    SecurityGroup,
}

impl Part {
    pub const ALL: [Part; 3] = [Part::Key, Part::ServerGroup, Part::SecurityGroup];
}

/// Something that is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A keypair is to be added.
    ImportKey { name: String, key: PublicKey },
    /// A security group is to be made.
    CreateGroup { name: String, description: String },
    /// A server group is to be made.
    CreateServerGroup { name: String, policy: String },
    /// A rule is to be added to a security group.
    AddRule {
        /// The group's name or id.
        group: String,
        /// What is to pass.
        traffic: Traffic,
        description: String,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::ImportKey { name, key } => write!(f, "add keypair {name} ({})", key.file),
            Change::CreateGroup { name, .. } => write!(f, "make security group {name}"),
            Change::CreateServerGroup { name, policy } => {
                write!(f, "make server group {name} ({policy})")
            }
            Change::AddRule { group, traffic, .. } => {
                write!(f, "let through security group {group}: {traffic}")
            }
        }
    }
}

/// The only group of this id or name.
pub fn group<'g>(
    there: &'g [SecurityGroup],
    wanted: &str,
) -> Result<Option<&'g SecurityGroup>, Advice> {
    let called = openstack::called(there, wanted, |group| [&group.id, &group.name]);
    match called.as_slice() {
        [] => Ok(None),
        [only] => Ok(Some(only)),
        several => {
            let ids: Vec<&str> = several.iter().map(|group| group.id.as_str()).collect();
            let problem = format!("several security groups have the name {wanted}");
            let remedy = format!(
                "set `security_groups:` to one of the ids: {}",
                ids.join(", ")
            );
            Err((problem, remedy).into())
        }
    }
}

/// What is missing of these parts, in the order in which it is to be done.
///
/// # Errors
/// When something cannot be made as it is asked for.
pub fn wanted(there: &There, asked: &Asked, parts: &[Part]) -> Result<Vec<Change>, Advice> {
    let mut changes = Vec::new();
    for part in Part::ALL.into_iter().filter(|part| parts.contains(part)) {
        match part {
            Part::Key => changes.extend(key(there, asked)?),
            Part::ServerGroup => changes.extend(server_group(there, asked)?),
            Part::SecurityGroup => changes.extend(security_group(there, asked)?),
        }
    }
    Ok(changes)
}

/// The first security group and its rules, where they are missing.
fn security_group(there: &There, asked: &Asked) -> Result<Vec<Change>, Advice> {
    let mut changes = Vec::new();
    let Some(first) = asked.groups.first() else {
        return Ok(changes);
    };
    let mut ours = Vec::new();
    for name in &asked.groups {
        match group(&there.groups, name)? {
            Some(group) => ours.push(group),
            None if name == first => {}
            None => {
                let problem = format!(
                    "there is no security group {name}, and ehos creates only the first of `security_groups`"
                );
                let remedy = format!(
                    "create it by `openstack security group create {name}`, or remove it from `security_groups`"
                );
                return Err((problem, remedy).into());
            }
        }
    }
    if group(&there.groups, first)?.is_none() {
        if openstack::looks_like_id(first) {
            let remedy = "set `security_groups:` to the name of the group to create";
            return Err((format!("there is no security group {first}"), remedy).into());
        }
        changes.push(Change::CreateGroup {
            name: (*first).to_owned(),
            description: owned_setup::group_description(asked.cluster),
        });
    }
    let ids: Vec<&str> = ours.iter().map(|group| group.id.as_str()).collect();
    let missing = traffic(asked).into_iter().filter(|traffic| {
        let mut rules = ours.iter().flat_map(|group| &group.rules);
        !rules.any(|rule| rule.covers(traffic, &ids))
    });
    changes.extend(missing.map(|traffic| Change::AddRule {
        group: (*first).to_owned(),
        traffic,
        description: owned_setup::rule_description(asked.cluster),
    }));
    Ok(changes)
}

/// The server group, where there is none of that id or name. Several of one name are told by `ehos check`.
fn server_group(there: &There, asked: &Asked) -> Result<Option<Change>, Advice> {
    let Some((wanted, policy)) = asked.server_group else {
        return Ok(None);
    };
    let mut groups = there.server_groups.iter();
    if groups.any(|group| group.id == wanted || group.name == wanted) {
        return Ok(None);
    }
    if openstack::looks_like_id(wanted) {
        let remedy = "set `server_group:` to the name of the group to create";
        return Err((format!("there is no server group {wanted}"), remedy).into());
    }
    Ok(Some(Change::CreateServerGroup {
        name: wanted.to_owned(),
        policy: policy.to_owned(),
    }))
}

/// What the keypair is called: as configured, else as the cloud calls the public key that was found here, else a name
/// that is free: another's key would let nobody here log in.
pub fn key_name(there: &There, asked: &Asked) -> String {
    if let Some(name) = asked.key {
        return name.to_owned();
    }
    let Some(key) = &asked.public_key else {
        return NAME.to_owned();
    };
    let pairs = &there.keypairs;
    if let Some(same) = pairs
        .iter()
        .filter(|pair| !owned_setup::is_key_of_another_pool(pair, asked.cluster))
        .find(|pair| same_key(&pair.public_key, &key.line))
    {
        return same.name.clone();
    }
    let mut name = NAME.to_owned();
    let mut number = 1;
    while pairs.iter().any(|pair| pair.name == name) {
        number += 1;
        name = format!("{NAME}-{number}");
    }
    name
}

/// The name of the security group where the configuration has none: [`NAME`], or that with a number if another pool made
/// the group of that name, which goes with that pool.
pub fn group_name(there: &There, cluster: &str) -> String {
    let of_another = |name: &str| {
        let mut groups = there.groups.iter().filter(|group| group.name == name);
        groups.any(|group| owned_setup::is_group_of_another_pool(group, cluster))
    };
    let names = (2_u64..).map(|number| format!("{NAME}-{number}"));
    let mut names = std::iter::once(NAME.to_owned()).chain(names);
    names.find(|name| !of_another(name)).unwrap_or_default()
}

fn key(there: &There, asked: &Asked) -> Result<Option<Change>, Advice> {
    let name = key_name(there, asked);
    let found = there.keypairs.iter().find(|pair| pair.name == name);
    match (found, &asked.public_key) {
        (None, Some(key)) => Ok(Some(Change::ImportKey {
            name,
            key: PublicKey {
                line: owned_setup::marked_key(&key.line, asked.cluster),
                ..key.clone()
            },
        })),
        (None, None) => Err((
            format!("the API shows no keypair {name}, and there is no public key to add"),
            "create one by `ssh-keygen -t ed25519`, or give --public-key FILE",
        )
            .into()),
        (Some(pair), Some(key)) if key.named && !same_key(&pair.public_key, &key.line) => {
            let problem = format!(
                "keypair {name} exists with another key ({}) than {}, and ehos never replaces a keypair",
                pair.fingerprint, key.file
            );
            let remedy = format!(
                "set `key:` to another name, or delete it by `openstack keypair delete {name}`"
            );
            Err((problem, remedy).into())
        }
        (Some(_), _) => Ok(None),
    }
}

/// Type and key are the same; what follows is a comment (sshd(8), AUTHORIZED_KEYS FILE FORMAT).
pub fn same_key(one: &str, other: &str) -> bool {
    let key = |line: &str| -> Vec<String> {
        line.split_whitespace().take(2).map(str::to_owned).collect()
    };
    key(one) == key(other)
}

/// All that is to pass.
fn traffic(asked: &Asked) -> Vec<Traffic> {
    let both = [Family::V4, Family::V6];
    let ingress = |family, port, remote| Traffic {
        direction: Direction::Ingress,
        family,
        port,
        remote,
    };
    let ssh = asked
        .ssh_from
        .iter()
        .map(|from| ingress(from.family(), SSH_PORT, Remote::Prefix(*from)));
    let group = both.map(|family| ingress(family, SHARED_PORT, Remote::Group));
    let world =
        both.map(|family| ingress(family, SHARED_PORT, Remote::Prefix(Prefix::all(family))));
    // From everywhere is from the group, too.
    let condor = if asked.external { world } else { group };
    ssh.chain(condor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: &str = "dc7e4c7e-bf86-482d-8e5d-1a2f4393e733";

    fn public_key(blob: &str, named: bool) -> PublicKey {
        PublicKey {
            line: format!("ssh-ed25519 {blob} me@here"),
            file: "id.pub".to_owned(),
            named,
        }
    }

    fn asked(ssh_from: &[Prefix]) -> Asked<'_> {
        Asked {
            key: Some("ehos"),
            public_key: Some(public_key("AAAA", false)),
            groups: vec!["ehos"],
            server_group: None,
            ssh_from,
            external: false,
            cluster: "pool-1",
        }
    }

    fn everywhere() -> [Prefix; 2] {
        [Prefix::all(Family::V4), Prefix::all(Family::V6)]
    }

    /// What the cloud has when the changes are made.
    fn after(mut there: There, changes: &[Change]) -> There {
        for change in changes {
            match change {
                Change::ImportKey { name, key } => there.keypairs.push(Keypair {
                    name: name.clone(),
                    fingerprint: "aa:bb".to_owned(),
                    public_key: key.line.clone(),
                }),
                Change::CreateGroup { name, .. } => there.groups.push(SecurityGroup {
                    id: GROUP.to_owned(),
                    name: name.clone(),
                    description: None,
                    project_id: None,
                    rules: Vec::new(),
                }),
                Change::CreateServerGroup { name, policy } => {
                    there.server_groups.push(ServerGroup {
                        id: "server-group".to_owned(),
                        name: name.clone(),
                        policy: policy.clone(),
                        members: 0,
                    });
                }
                Change::AddRule { traffic, .. } => {
                    there.groups[0].rules.push(traffic.rule(GROUP));
                }
            }
        }
        there
    }

    fn told(changes: &[Change]) -> Vec<String> {
        changes.iter().map(Change::to_string).collect()
    }

    #[test]
    fn a_server_group_is_made_where_it_is_asked_for_and_missing() {
        let ssh_from = everywhere();
        let asked = Asked {
            server_group: Some(("nodes", "soft-anti-affinity")),
            ..asked(&ssh_from)
        };
        let changes = wanted(&There::default(), &asked, &Part::ALL).unwrap();
        let words = "make server group nodes (soft-anti-affinity)".to_owned();
        assert!(told(&changes).contains(&words));
        let there = after(There::default(), &changes);
        assert_eq!(wanted(&there, &asked, &Part::ALL), Ok(vec![]));
        let id = "69bb5a8d-15f0-4b2f-bf33-61027181cd66";
        let asked = Asked {
            server_group: Some((id, "soft-anti-affinity")),
            ..asked
        };
        let refused = wanted(&there, &asked, &Part::ALL).unwrap_err();
        assert!(
            refused.problem.contains("there is no server group"),
            "{refused}"
        );
    }

    #[test]
    fn an_empty_cloud_needs_all_of_it_and_then_nothing() {
        let ssh_from = everywhere();
        let asked = asked(&ssh_from);
        let changes = wanted(&There::default(), &asked, &Part::ALL).unwrap();
        assert_eq!(
            told(&changes),
            [
                "add keypair ehos (id.pub)",
                "make security group ehos",
                "let through security group ehos: in tcp 22 from 0.0.0.0/0",
                "let through security group ehos: in tcp 22 from ::/0",
                "let through security group ehos: in tcp 9618 from the group itself (IPv4)",
                "let through security group ehos: in tcp 9618 from the group itself (IPv6)",
            ]
        );
        let there = after(There::default(), &changes);
        assert_eq!(wanted(&there, &asked, &Part::ALL), Ok(vec![]));
        // Only what --external adds.
        let external = Asked {
            external: true,
            ..asked
        };
        assert_eq!(
            told(&wanted(&there, &external, &Part::ALL).unwrap()),
            [
                "let through security group ehos: in tcp 9618 from 0.0.0.0/0",
                "let through security group ehos: in tcp 9618 from ::/0",
            ]
        );
    }

    #[test]
    fn rules_of_another_group_of_the_servers_count() {
        let ssh_from = ["10.0.0.0/8".parse().unwrap()];
        let mut asked = asked(&ssh_from);
        let any = |ethertype: &str, group: &str| openstack::rule::Rule {
            direction: "ingress".to_owned(),
            ethertype: ethertype.to_owned(),
            remote_group_id: Some(group.to_owned()),
            ..Default::default()
        };
        let mut there = after(
            There::default(),
            &wanted(&There::default(), &asked, &Part::ALL).unwrap(),
        );
        there.groups[0]
            .rules
            .retain(|rule| rule.port_range_min == Some(22));
        assert_eq!(wanted(&there, &asked, &Part::ALL).unwrap().len(), 2);
        asked.groups = vec!["ehos", "site"];
        there.groups.push(SecurityGroup {
            id: "site-id".to_owned(),
            name: "site".to_owned(),
            description: None,
            project_id: None,
            rules: vec![any("IPv4", "site-id"), any("IPv6", GROUP)],
        });
        assert_eq!(wanted(&there, &asked, &Part::ALL), Ok(vec![]));
    }

    #[test]
    fn a_key_that_is_there_is_never_replaced() {
        let ssh_from = everywhere();
        let there = after(
            There::default(),
            &wanted(&There::default(), &asked(&ssh_from), &Part::ALL).unwrap(),
        );
        let with = |key| Asked {
            public_key: key,
            ..asked(&ssh_from)
        };
        for fine in [
            None,
            Some(public_key("AAAA", true)),
            // Merely found in the home folder.
            Some(public_key("BBBB", false)),
        ] {
            assert_eq!(wanted(&there, &with(fine), &Part::ALL), Ok(vec![]));
        }
        let refused =
            wanted(&there, &with(Some(public_key("BBBB", true))), &Part::ALL).unwrap_err();
        assert!(refused.problem.contains("with another key"), "{refused}");
        let none = wanted(&There::default(), &with(None), &Part::ALL).unwrap_err();
        assert!(none.problem.contains("no public key to add"), "{none}");
    }

    #[test]
    fn without_a_configured_name_the_key_here_decides() {
        let pair = |name: &str, blob: &str| Keypair {
            name: name.to_owned(),
            fingerprint: String::new(),
            public_key: format!("ssh-ed25519 {blob} somebody@elsewhere"),
        };
        let name = |keypairs: &[Keypair], configured, found: Option<&str>| {
            let there = There {
                keypairs: keypairs.to_vec(),
                groups: Vec::new(),
                server_groups: Vec::new(),
            };
            let asked = Asked {
                key: configured,
                public_key: found.map(|blob| public_key(blob, false)),
                ..asked(&[])
            };
            key_name(&there, &asked)
        };
        let others = [pair("ehos", "BBBB"), pair("ehos-2", "CCCC")];
        assert_eq!(name(&others, Some("mine"), Some("AAAA")), "mine");
        assert_eq!(name(&[], None, Some("AAAA")), "ehos");
        assert_eq!(name(&others, None, Some("AAAA")), "ehos-3");
        assert_eq!(name(&others, None, Some("CCCC")), "ehos-2");
        assert_eq!(name(&others, None, None), "ehos");
    }

    #[test]
    fn what_is_ambiguous_or_cannot_be_made_is_refused() {
        let ssh_from = everywhere();
        let mut asked = asked(&ssh_from);
        let group = |id: &str| SecurityGroup {
            id: id.to_owned(),
            name: "ehos".to_owned(),
            description: None,
            project_id: None,
            rules: Vec::new(),
        };
        let there = There {
            groups: vec![group("a"), group("b")],
            ..There::default()
        };
        let refused = wanted(&there, &asked, &Part::ALL).unwrap_err();
        assert!(refused.to_string().contains("a, b"), "{refused}");
        asked.groups = vec!["b"];
        assert!(
            wanted(&there, &asked, &Part::ALL).is_ok(),
            "an id is only one"
        );
        asked.groups = vec![GROUP];
        let refused = wanted(&there, &asked, &Part::ALL).unwrap_err();
        assert!(
            refused.problem.contains("there is no security group"),
            "{refused}"
        );
        // Nodes would not be made without the other one.
        asked.groups = vec!["b", "site"];
        let refused = wanted(&there, &asked, &Part::ALL).unwrap_err();
        assert!(
            refused.problem.contains("creates only the first"),
            "{refused}"
        );
    }
}
