//! What ehos may do on a cloud, as far as that can be asked without an effect, and what its Nova is too old for.

use super::Finding;
use openstack::CloudSettings;
use openstack::auth::{Session, Token};
use openstack::{Error, compute, network};
use scaling::refusal::About;
use system::deadline::Deadline;

const CHECK: &str = "rights";
const REMEDY: &str = "give this user the role `member` on the project; an application credential needs it too, and access \
                      rules for these requests where it has any";

/// The role that may look, and nothing else (Keystone's default roles).
const READER: &str = "reader";

/// Whether servers and ports may be created. Whether they may be deleted a cloud says only of one that is there.
pub fn rights(session: &Session, token: &Token, deadline: Deadline) -> Vec<Finding> {
    if let Some(finding) = only_reads(&token.roles) {
        return vec![finding];
    }
    let server = match compute::try_create(session, deadline) {
        // It cannot be, and must not stay.
        Ok(id) => {
            drop(compute::delete(session, &id, deadline));
            None
        }
        Err(error) => judged("create servers", &error),
    };
    let port = match network::try_create_port(session, deadline) {
        Ok(()) => None,
        Err(error) => judged("create ports, as Nova does for a server", &error),
    };
    match (server, port) {
        (Some(Ok(())), Some(Ok(()))) => {
            vec![Finding::ok(CHECK, "servers and ports may be created")]
        }
        (server, port) => {
            let lacks = [server, port].into_iter().flatten();
            lacks.filter_map(Result::err).collect()
        }
    }
}

/// A login all of whose roles may only look.
fn only_reads(roles: &[String]) -> Option<Finding> {
    let reads = !roles.is_empty() && roles.iter().all(|role| role == READER);
    reads.then(|| {
        Finding::failed(
            CHECK,
            "the only role on the project is `reader`: ehos may look, and neither create nor delete servers",
            REMEDY,
        )
    })
}

/// What the answer to a request for nothing says of the right to it; `None`: nothing.
fn judged(what: &str, error: &Error) -> Option<Result<(), Finding>> {
    let Error::Refused(refusal) = error else {
        return None;
    };
    match (refusal.status, refusal.about()) {
        (401 | 403, About::Rights) => {
            let text = format!("ehos may not {what}: {}", refusal.message);
            Some(Err(Finding::failed(CHECK, text, REMEDY)))
        }
        (400 | 404, _) => Some(Ok(())),
        _ => None,
    }
}

/// What is configured and needs a newer Nova.
pub fn versions(settings: &CloudSettings, newest: Option<(u32, u32)>) -> Vec<Finding> {
    const CHECK: &str = "compute API";
    let Some(newest) = newest else {
        return Vec::new();
    };
    let lacks = |version: &str| compute::parsed(version).is_some_and(|version| newest < version);
    let has = format!("{}.{}", newest.0, newest.1);
    let mut findings = Vec::new();
    if settings.boot_volume_type.is_some() && lacks(compute::VOLUME_TYPE) {
        findings.push(Finding::failed(
            CHECK,
            format!(
                "Nova has microversions up to {has}, and `boot_volume_type` needs {}: no node can be created",
                compute::VOLUME_TYPE
            ),
            "take `boot_volume_type` out of the configuration of this cloud",
        ));
    }
    if !settings.tags.is_empty() && lacks(compute::TAGS) {
        findings.push(Finding::warning(
            CHECK,
            format!(
                "Nova has microversions up to {has}, and `tags` needs {}: nodes are created without tags",
                compute::TAGS
            ),
            "take `tags` out of the configuration of this cloud",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Outcome;

    #[test]
    fn a_reader_alone_may_do_nothing() {
        let of = |roles: &[&str]| {
            let roles: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
            only_reads(&roles).map(|finding| finding.outcome)
        };
        assert_eq!(of(&["reader"]), Some(Outcome::Failed));
        assert_eq!(of(&["reader", "member"]), None);
        assert_eq!(of(&["member"]), None);
        assert_eq!(of(&[]), None, "not told");
    }
}
