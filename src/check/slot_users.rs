//! Finds nodes that run the jobs of several users as one user.
//!
//! Source: configs/execute.yaml, `slot_users`, publishes EhosSlotUsers; HTCondor manual, "User Accounts in HTCondor on
//! Unix Platforms".

use std::path::Path;

use super::Finding;
use condor::inspect::NodeSettings;
use scaling::sorting;
use userdata::builtin_templates;

const CHECK: &str = "slot-users";
/// The attribute by which a node publishes how many slots have a user.
const ATTRIBUTE: &str = "EhosSlotUsers";
const REMEDY: &str = "copy the bootcmd block `slot_users` and the settings from STARTER_ALLOW_RUNAS_OWNER to \
     MOUNT_PRIVATE_DEV_SHM into it from /usr/share/ehos/execute.yaml of this version";

/// Checks the template at `path`, by which the nodes of `clouds` are created.
pub fn template(path: &Path, clouds: &[&str]) -> Option<Finding> {
    // The configuration's own check reports a template that cannot be read.
    let text = builtin_templates::read(path).ok()?;
    (!text.contains(ATTRIBUTE)).then(|| {
        Finding::warning(
            CHECK,
            format!(
                "{} (cloud {}): its nodes run the jobs of all users as one user, nobody: no {ATTRIBUTE} in it",
                path.display(),
                clouds.join(", ")
            ),
            REMEDY,
        )
    })
}

/// Checks the nodes of the pool `cluster`.
pub fn nodes(found: &[NodeSettings], cluster: &str) -> Finding {
    let mut all = 0_usize;
    let mut without: Vec<&str> = Vec::new();
    for node in found {
        if node.cluster.as_deref().is_some_and(|of| of != cluster) {
            continue;
        }
        all += 1;
        // A slot without a user of its own runs its jobs as nobody, too.
        let enough = node
            .slot_users
            .is_some_and(|users| users >= node.cpus.unwrap_or(1));
        if !enough {
            without.push(&node.machine);
        }
    }
    sorting::ascending(&mut without);
    match without.first() {
        Some(first) => Finding::warning(
            CHECK,
            format!(
                "{} of {all} nodes, as {first}, run jobs of several users as one user: {ATTRIBUTE} is missing or less \
                 than their cores",
                without.len()
            ),
            "replace these nodes; first change their template if it makes no slot users",
        ),
        None if all == 0 => Finding::skipped(CHECK, "no node of this pool has joined yet"),
        None => Finding::ok(CHECK, format!("{all} nodes have a user for each slot")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Outcome;

    fn node(machine: &str, cluster: &str, slot_users: Option<u64>) -> NodeSettings {
        NodeSettings {
            machine: machine.to_owned(),
            cluster: Some(cluster.to_owned()),
            max_job_retirement_seconds: None,
            update_interval_seconds: None,
            slot_users,
            cpus: Some(4),
        }
    }

    #[test]
    fn nodes_without_a_user_for_each_slot_are_named() {
        let of = |found: &[NodeSettings]| {
            let finding = nodes(found, "pool-1");
            (finding.outcome, finding.what)
        };
        assert_eq!(of(&[]).0, Outcome::Skipped);
        assert_eq!(of(&[node("n1", "pool-2", None)]).0, Outcome::Skipped);
        assert_eq!(of(&[node("n1", "pool-1", Some(4))]).0, Outcome::Ok);
        let few = [node("n2", "pool-1", Some(4)), node("n1", "pool-1", Some(3))];
        let (outcome, what) = of(&few);
        assert_eq!(outcome, Outcome::Warning);
        assert!(what.starts_with("1 of 2 nodes, as n1,"), "{what}");
        let none = [node("n4", "pool-1", None), node("n3", "pool-1", None)];
        assert!(of(&none).1.starts_with("2 of 2 nodes, as n3,"));
    }

    #[test]
    fn a_template_that_makes_no_slot_users_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("execute.yaml");
        assert_eq!(template(&path, &["lab"]), None, "not there");
        std::fs::write(&path, "#cloud-config\n").unwrap();
        let finding = template(&path, &["lab", "green"]).unwrap();
        assert_eq!(finding.outcome, Outcome::Warning);
        assert!(
            finding.what.contains("execute.yaml (cloud lab, green)"),
            "{}",
            finding.what
        );
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/execute.yaml");
        assert_eq!(template(&own, &["lab"]), None);
    }
}
