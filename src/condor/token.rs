//! Tokens with which nodes join the pool.

use std::time::Duration;

use secrecy::SecretString;

use super::command::{Call, Tools};
use super::error::Error;
use crate::config::is_json_web_token;
use crate::deadline::Deadline;

/// What a node's token allows: to join, and to read.
pub const NODE_AUTHORIZATIONS: [&str; 3] = ["ADVERTISE_STARTD", "ADVERTISE_MASTER", "READ"];

/// Makes a token for `identity` (`execute@TRUST_DOMAIN`) that is limited to `authorizations` and good for `lifetime`,
/// signed with this machine's pool key; only root on the central manager can.
pub fn create(
    tools: &Tools,
    identity: &str,
    authorizations: &[&str],
    lifetime: Duration,
    deadline: Deadline,
) -> Result<SecretString, Error> {
    let seconds = lifetime.as_secs().to_string();
    let mut args = vec!["-identity", identity, "-lifetime", &seconds];
    for authorization in authorizations {
        args.extend(["-authz", authorization]);
    }
    let call = Call {
        tool: "condor_token_create",
        args: &args,
        stdin: "",
        about: identity,
    };
    let printed = SecretString::from(tools.text(&call, deadline)?);
    let token = secrecy::ExposeSecret::expose_secret(&printed).trim();
    if is_json_web_token(token) {
        Ok(SecretString::from(token))
    } else {
        Err(Error::Unparsable {
            tool: call.tool.to_owned(),
            about: identity.to_owned(),
            what: "it is no token".to_owned(),
        })
    }
}

/// `TRUST_DOMAIN` of this machine's HTCondor.
pub fn trust_domain(tools: &Tools, deadline: Deadline) -> Result<String, Error> {
    let call = Call {
        tool: "condor_config_val",
        args: &["TRUST_DOMAIN"],
        stdin: "",
        about: "TRUST_DOMAIN",
    };
    let domain = tools.text(&call, deadline)?.trim().to_owned();
    if domain.is_empty() || domain.contains(char::is_whitespace) {
        return Err(Error::Unparsable {
            tool: call.tool.to_owned(),
            about: call.about.to_owned(),
            what: "it is no domain; set condor.trust_domain".to_owned(),
        });
    }
    Ok(domain)
}
