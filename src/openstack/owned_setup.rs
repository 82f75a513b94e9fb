//! Keypairs, security groups and rules that ehos created for this pool, known by their marks.
//!
//! Owns: the marks, and the only constructors of what `ehos retire` deletes of them. Each delete asks the cloud for the
//! one object again and takes only an object that still has its mark.
//! Source of the fields: Nova `os-keypairs` keeps the comment of a public key; Neutron's security groups and rules have a
//! `description`; a server group of Nova has a name only.

use super::auth::Session;
use super::compute::{self, Keypair};
use super::error::Error;
use super::network::{self, SecurityGroup};
use super::rule::Rule;
use system::deadline::Deadline;

/// The description of a security group of the pool.
pub fn group_description(cluster: &str) -> String {
    format!("{GROUP_MARK}{cluster}")
}

/// The description of a rule of the pool, in whichever group.
pub fn rule_description(cluster: &str) -> String {
    format!("rule of the ehos pool {cluster}")
}

/// `public_key` (`authorized_keys` form) with the mark of the pool at the end of its comment.
pub fn marked_key(public_key: &str, cluster: &str) -> String {
    format!("{} {KEY_MARK}{cluster}", public_key.trim_end())
}

const KEY_MARK: &str = "ehos-pool=";
const GROUP_MARK: &str = "servers of the ehos pool ";

/// The pool whose mark the keypair has.
fn pool_of_key(pair: &Keypair) -> Option<&str> {
    // Type and key come first: a mark there would be none.
    let comment = pair.public_key.split_whitespace().skip(2).last()?;
    comment.strip_prefix(KEY_MARK)
}

/// Whether another pool made the keypair, and deletes it with itself.
pub fn is_key_of_another_pool(pair: &Keypair, cluster: &str) -> bool {
    pool_of_key(pair).is_some_and(|pool| pool != cluster)
}

/// Whether another pool made the security group, and deletes it with itself.
pub fn is_group_of_another_pool(group: &SecurityGroup, cluster: &str) -> bool {
    let pool = group
        .description
        .as_deref()
        .and_then(|text| text.strip_prefix(GROUP_MARK));
    pool.is_some_and(|pool| pool != cluster)
}

/// The result of a delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    Deleted,
    AlreadyGone,
    /// The object no longer has the mark: it stays.
    Foreign,
    /// Servers are in it: it stays.
    InUse,
}

/// A keypair with the mark of the pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedKeypair(Keypair);

impl OwnedKeypair {
    pub fn recognise(pair: Keypair, cluster: &str) -> Option<OwnedKeypair> {
        let ours = !cluster.is_empty() && pool_of_key(&pair) == Some(cluster);
        ours.then_some(OwnedKeypair(pair))
    }

    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Deletes it. A name can be given anew: the key must be the same.
    pub fn remove(&self, session: &Session, deadline: Deadline) -> Result<Removed, Error> {
        match compute::keypair(session, self.name(), deadline)? {
            None => return Ok(Removed::AlreadyGone),
            Some(now) if now.public_key != self.0.public_key => return Ok(Removed::Foreign),
            Some(_) => {}
        }
        compute::delete_keypair(session, self.name(), deadline)?;
        Ok(Removed::Deleted)
    }
}

/// A security group with the mark of the pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedGroup(SecurityGroup);

impl OwnedGroup {
    /// `group` as one of the pool, if its description says so and it belongs to the `project`.
    pub fn recognise(
        group: SecurityGroup,
        cluster: &str,
        project: Option<&str>,
    ) -> Option<OwnedGroup> {
        let ours = !cluster.is_empty()
            && group.description.as_deref() == Some(group_description(cluster).as_str())
            && group
                .project_id
                .as_deref()
                .is_none_or(|of| Some(of) == project);
        ours.then_some(OwnedGroup(group))
    }

    pub fn group(&self) -> &SecurityGroup {
        &self.0
    }

    /// Deletes it with its rules. Neutron refuses (409) while a port has it.
    pub fn remove(
        &self,
        session: &Session,
        cluster: &str,
        deadline: Deadline,
    ) -> Result<Removed, Error> {
        let project = session.token(deadline)?.project_id.clone();
        let Some(now) = network::security_group(session, &self.0.id, deadline)? else {
            return Ok(Removed::AlreadyGone);
        };
        if OwnedGroup::recognise(now, cluster, project.as_deref()).is_none() {
            return Ok(Removed::Foreign);
        }
        match network::delete_security_group(session, &self.0.id, deadline) {
            Ok(()) => Ok(Removed::Deleted),
            Err(error) if error.status() == Some(409) => Ok(Removed::InUse),
            Err(error) => Err(error),
        }
    }
}

/// A rule with the mark of the pool, in a security group that others created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedRule(Rule);

impl OwnedRule {
    pub fn recognise(rule: Rule, cluster: &str) -> Option<OwnedRule> {
        let ours = !cluster.is_empty()
            && !rule.id.is_empty()
            && rule.description.as_deref() == Some(rule_description(cluster).as_str());
        ours.then_some(OwnedRule(rule))
    }

    pub fn rule(&self) -> &Rule {
        &self.0
    }

    pub fn remove(
        &self,
        session: &Session,
        cluster: &str,
        deadline: Deadline,
    ) -> Result<Removed, Error> {
        let Some(now) = network::rule(session, &self.0.id, deadline)? else {
            return Ok(Removed::AlreadyGone);
        };
        if OwnedRule::recognise(now, cluster).is_none() {
            return Ok(Removed::Foreign);
        }
        network::delete_rule(session, &self.0.id, deadline)?;
        Ok(Removed::Deleted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(public_key: &str) -> Keypair {
        Keypair {
            name: "ehos".to_owned(),
            fingerprint: String::new(),
            public_key: public_key.to_owned(),
        }
    }

    #[test]
    fn a_keypair_is_ours_by_the_end_of_its_comment() {
        let ours = |key: &str, cluster| OwnedKeypair::recognise(pair(key), cluster).is_some();
        let marked = marked_key("ssh-ed25519 AAAA me@here\n", "pool-1");
        assert_eq!(marked, "ssh-ed25519 AAAA me@here ehos-pool=pool-1");
        assert!(ours(&marked, "pool-1"));
        assert!(ours(&marked_key("ssh-ed25519 AAAA", "pool-1"), "pool-1"));
        assert!(!ours(&marked, "pool-2"));
        assert!(!ours(&marked, "pool"));
        assert!(!ours("ssh-ed25519 ehos-pool=pool-1", "pool-1"));
        assert!(!ours("ssh-ed25519 AAAA ehos-pool=pool-1 me", "pool-1"));
        assert!(!ours("ssh-ed25519 AAAA me", "pool-1"));
        assert!(!ours("ssh-ed25519 AAAA ehos-pool=", ""));
    }

    #[test]
    fn groups_and_rules_are_ours_by_their_description_and_project() {
        let group = |description: Option<&str>, project: Option<&str>| {
            let group = SecurityGroup {
                id: "g".to_owned(),
                name: "ehos".to_owned(),
                description: description.map(str::to_owned),
                project_id: project.map(str::to_owned),
                rules: Vec::new(),
            };
            OwnedGroup::recognise(group, "pool-1", Some("p")).is_some()
        };
        let mark = group_description("pool-1");
        assert!(group(Some(&mark), Some("p")));
        assert!(group(Some(&mark), None), "the list was of the project");
        assert!(!group(Some(&mark), Some("another")));
        assert!(!group(Some("servers of the ehos pool pool-12"), Some("p")));
        assert!(!group(None, Some("p")));
        let rule = |description: &str, id: &str| {
            let rule = Rule {
                id: id.to_owned(),
                description: Some(description.to_owned()),
                ..Rule::default()
            };
            OwnedRule::recognise(rule, "pool-1").is_some()
        };
        assert!(rule(&rule_description("pool-1"), "r"));
        assert!(
            !rule(&rule_description("pool-1"), ""),
            "no delete can name it"
        );
        assert!(!rule(&rule_description("pool-2"), "r"));
    }
}
