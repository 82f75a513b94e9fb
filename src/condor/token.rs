//! Tokens with which nodes join the pool.
//!
//! Each token has an identity of its own, `execute-NODE@TRUST_DOMAIN`, if both lists of the
//! collector (ALLOW_ADVERTISE_STARTD, ALLOW_ADVERTISE_MASTER) accept it; otherwise all nodes share
//! `execute@TRUST_DOMAIN`.

use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::command::{Call, Tools};
use super::error::Error;
use super::settings::CondorSettings;
use scaling::observation::NodeId;
use scaling::sender;
use system::deadline::Deadline;
use system::rights;

/// What a node's token allows: to join, and to read.
pub const NODE_AUTHORIZATIONS: [&str; 3] = ["ADVERTISE_STARTD", "ADVERTISE_MASTER", "READ"];

/// Whether this can be a token of HTCondor: a JSON Web Token, three parts in base64url.
pub fn is_json_web_token(text: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    };
    text.split('.').count() == 3 && text.split('.').all(is_part)
}

/// With which key a token is signed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Signing<'a> {
    /// The key's name (`-key`); `None`: the pool's, which only root can read.
    pub key: Option<&'a str>,
    /// The folder with the key's file, which must be this user's own and nobody else's; `None`: HTCondor's
    /// (`SEC_PASSWORD_DIRECTORY`).
    pub directory: Option<&'a Path>,
}

impl<'a> Signing<'a> {
    /// As configured.
    pub fn of(settings: &'a CondorSettings) -> Signing<'a> {
        Signing {
            key: settings.token_key.as_deref(),
            directory: settings.token_key_directory.as_deref(),
        }
    }

    /// What to do when it cannot be done.
    pub fn remedy(&self) -> String {
        match (self.key, self.directory) {
            (Some(key), Some(directory)) => {
                let file = directory.join(key);
                let run = rights::command_as_owner(&file)
                    .map_or_else(String::new, |command| format!(" ({command})"));
                format!(
                    "run ehos as the user that {} belongs to{run}, and see that its mode is 0600: HTCondor takes no key \
                     that others own or can read, not even for root",
                    file.display()
                )
            }
            _ => "only root on the central manager can sign with HTCondor's own keys: give ehos a key of its own \
                  (condor.token_key), or a token by condor.token_file"
                .to_owned(),
        }
    }
}

/// Makes a token for `identity` (`execute@TRUST_DOMAIN`) that is limited to `authorizations` and good for `lifetime`.
pub fn create(
    tools: &Tools,
    identity: &str,
    authorizations: &[&str],
    lifetime: Duration,
    signing: Signing<'_>,
    deadline: Deadline,
) -> Result<SecretString, Error> {
    let tools = match signing.directory {
        Some(directory) => &tools.with("_CONDOR_SEC_PASSWORD_DIRECTORY", directory),
        None => tools,
    };
    let seconds = lifetime.as_secs().to_string();
    let mut args = vec!["-identity", identity, "-lifetime", &seconds];
    if let Some(key) = signing.key {
        args.extend(["-key", key]);
    }
    for authorization in authorizations {
        args.extend(["-authz", authorization]);
    }
    let call = Call::new("condor_token_create", &args, identity);
    let printed = SecretString::from(tools.text(&call, deadline)?);
    let token = printed.expose_secret().trim();
    if is_json_web_token(token) {
        Ok(SecretString::from(token))
    } else {
        Err(Error::Unparsable {
            tool: call.tool.to_owned(),
            about: identity.to_owned(),
            what: "it is not a token".to_owned(),
        })
    }
}

/// The claims of a token that ehos looks at (RFC 7519, 4.1). None of them is a secret.
#[derive(Debug, Default, Deserialize)]
pub struct TokenClaims {
    /// The trust domain.
    pub iss: Option<String>,
    pub sub: Option<String>,
    /// Its end, in seconds since 1970; without it there is none.
    pub exp: Option<i64>,
    /// Its id, by which this one alone can be revoked.
    pub jti: Option<String>,
}

/// What a token says of itself; its signature only the collector can judge. `None` when it is no token.
pub fn claims(token: &SecretString) -> Option<TokenClaims> {
    let mut parts = token.expose_secret().trim().split('.');
    let (Some(_), Some(claims), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let json = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&json).ok()
}

/// `TRUST_DOMAIN` of this machine's HTCondor.
pub fn trust_domain(tools: &Tools, deadline: Deadline) -> Result<String, Error> {
    let call = Call::new("condor_config_val", &["TRUST_DOMAIN"], "TRUST_DOMAIN");
    let domain = tools.text(&call, deadline)?.trim().to_owned();
    if domain.is_empty() || domain.contains(char::is_whitespace) {
        return Err(Error::Unparsable {
            tool: call.tool.to_owned(),
            about: call.about.to_owned(),
            what: "it is not a domain; set condor.trust_domain".to_owned(),
        });
    }
    Ok(domain)
}

/// Lists of the collector that a node's token must be on, and must not be on.
const LISTS: [&str; 4] = [
    "ALLOW_ADVERTISE_STARTD",
    "ALLOW_ADVERTISE_MASTER",
    "DENY_ADVERTISE_STARTD",
    "DENY_ADVERTISE_MASTER",
];

/// Whether the collector of `pool` takes ads from nodes whose tokens have identities of their own. Where its lists name hosts, or
/// `execute@…` alone, it is not known to.
///
/// # Errors
/// When the collector does not say.
pub fn takes_own_identities(
    tools: &Tools,
    trust_domain: &str,
    deadline: Deadline,
) -> Result<bool, Error> {
    let args: Vec<&str> = std::iter::once("-collector").chain(LISTS).collect();
    let call = tools.to_pool("condor_config_val", &args, "the collector's ALLOW lists");
    let said = tools.text(&call, deadline)?;
    let lines: Vec<&str> = said.lines().map(str::trim).collect();
    let [startds, masters, no_startds, no_masters] = lines.as_slice() else {
        return Err(Error::Unparsable {
            tool: call.tool.to_owned(),
            about: call.about.to_owned(),
            what: format!("{} lines for {} settings", lines.len(), LISTS.len()),
        });
    };
    let some_node = NodeId("20000101t000000-01".into());
    let Some(identity) = sender::own_identity(&some_node, trust_domain) else {
        return Ok(false);
    };
    let named = |list: &&str| names(list, &identity);
    let allowed = [startds, masters].into_iter().all(&named);
    Ok(allowed && ![no_startds, no_masters].into_iter().any(&named))
}

/// Whether a list of HTCondor names this identity on every host.
fn names(list: &str, identity: &str) -> bool {
    let entries = list
        .split([',', ' ', '\t'])
        .filter(|entry| !entry.is_empty());
    let mut users = entries.filter_map(|entry| match entry.split_once('/') {
        Some((user, "*")) => Some(user),
        Some(_) => None,
        None => (entry == "*" || entry.contains('@')).then_some(entry),
    });
    users.any(|user| match user.split_once('*') {
        None => user == identity,
        Some((before, after)) => {
            identity.len() >= before.len() + after.len()
                && identity.starts_with(before)
                && identity.ends_with(after)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::fake::FakeTools;
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    fn takes(lists: &str) -> Option<bool> {
        let fake = FakeTools::new();
        let answer: String = lists.lines().map(|line| format!("out|{line}\n")).collect();
        fake.answer(
            "condor_config_val",
            "-collector",
            &format!("{answer}exit=0\n"),
        );
        let tools = Tools::new(fake.settings().bin, LIMIT);
        takes_own_identities(&tools, "dom", Deadline::within(LIMIT)).ok()
    }

    #[test]
    fn nodes_get_identities_that_the_collector_takes() {
        let undenied = "Not defined\nNot defined";
        for list in [
            "condor@dom, execute@dom, execute-*@dom",
            "condor@dom execute*@dom",
            "*@dom",
            "*",
            "execute-*@dom/*",
        ] {
            assert_eq!(
                takes(&format!("{list}\n{list}\n{undenied}")),
                Some(true),
                "{list}"
            );
            let alone = format!("{list}\nexecute@dom\n{undenied}");
            assert_eq!(takes(&alone), Some(false), "{list}: masters are not let in");
        }
        for list in [
            "execute@dom",
            "execute-*@other",
            "execute-*@dom/10.0.0.1",
            "10.0.0.*",
            "Not defined",
            "",
        ] {
            assert_eq!(
                takes(&format!("{list}\n{list}\n{undenied}")),
                Some(false),
                "{list}"
            );
        }
        assert_eq!(takes("*\n*\nNot defined\nexecute-*@dom"), Some(false));
        assert_eq!(takes("*\n*"), None);
    }
}
