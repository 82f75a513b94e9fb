//! The user data of a node: its template, filled in.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use secrecy::SecretString;

use crate::cloudinit::Template;
use crate::condor::{Tools, token};
use crate::config::{CloudSettings, CondorSettings};
use crate::deadline::Deadline;
use crate::scaling::action::{Failure, FailureKind, Intent};

/// How long a token that ehos makes is good for: a startd that restarts needs a valid one, so as long as a node may
/// live.
const TOKEN_LIFETIME: Duration = Duration::from_secs(365 * 86_400);

/// Fills in the user data of nodes. The token and the trust domain are asked for once, when the first node is made.
#[derive(Debug)]
pub struct NodeUserData<'a> {
    condor: &'a CondorSettings,
    cluster: &'a str,
    tools: Tools,
    asked: Mutex<Asked>,
}

#[derive(Debug, Default)]
struct Asked {
    trust_domain: Option<String>,
    token: Option<SecretString>,
}

/// HTCondor's connection broker on the central manager: its collector, on the port of all its daemons.
fn broker(host_ip: &str) -> String {
    const PORT: u16 = 9618;
    match host_ip.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]:{PORT}"),
        Err(_) => format!("{host_ip}:{PORT}"),
    }
}

fn failure(message: String) -> Failure {
    Failure {
        kind: FailureKind::NotDone,
        message,
    }
}

impl<'a> NodeUserData<'a> {
    /// For nodes of the pool `cluster`.
    pub fn new(
        condor: &'a CondorSettings,
        cluster: &'a str,
        command_timeout: Duration,
    ) -> NodeUserData<'a> {
        NodeUserData {
            condor,
            cluster,
            tools: Tools::new(condor.bin.clone(), command_timeout),
            asked: Mutex::default(),
        }
    }

    /// The user data of the node of `intent` in `region` of the cloud of `settings`.
    ///
    /// # Errors
    /// When the template cannot be read or filled in, or HTCondor makes no token.
    pub fn render(
        &self,
        settings: &CloudSettings,
        intent: &Intent,
        region: &str,
        deadline: Deadline,
    ) -> Result<SecretString, Failure> {
        let template =
            Template::load(&settings.user_data_file).map_err(|error| failure(error.to_string()))?;
        let more = BTreeMap::new();
        self.fill(&template, settings, intent, region, more, deadline)
    }

    /// `template` filled in as [`NodeUserData::render`] fills that of the cloud's nodes; `more` are values for tags
    /// that nodes have no use for.
    ///
    /// # Errors
    /// When the template cannot be filled in, or HTCondor makes no token.
    pub fn fill<'v>(
        &'v self,
        template: &Template,
        settings: &'v CloudSettings,
        intent: &'v Intent,
        region: &str,
        more: BTreeMap<&'v str, SecretString>,
        deadline: Deadline,
    ) -> Result<SecretString, Failure> {
        let mut values = more;
        let mut put = |tag, value: &str| values.insert(tag, SecretString::from(value));
        put("ehos_node", &intent.node.0);
        put("ehos_cluster", self.cluster);
        put("cloud", &settings.name);
        put("region", region);
        put("flavor", &intent.flavor);
        put("image", &intent.image);
        let noclaim = self.condor.noclaim_shutdown.unwrap_or_default();
        // Whole seconds, and never none of them: that is for ever.
        put(
            "noclaim_shutdown",
            &noclaim.as_secs_f64().ceil().to_string(),
        );
        if let Some(host_ip) = &self.condor.host_ip {
            put("host_ip", host_ip);
            put("master_ip", host_ip);
        }
        match &self.condor.host_ip {
            _ if !settings.ccb => put("ccb_address", ""),
            Some(host_ip) => put("ccb_address", &broker(host_ip)),
            None => None,
        };
        if let Some(password) = &self.condor.password {
            values.insert("password", password.clone());
        }
        let tags = template.tags();
        if tags.contains("trust_domain") {
            values.insert(
                "trust_domain",
                SecretString::from(self.trust_domain(deadline)?),
            );
        }
        if tags.contains("token") {
            values.insert("token", self.token(deadline)?);
        }
        template
            .render(&values)
            .map_err(|error| failure(error.to_string()))
    }

    fn trust_domain(&self, deadline: Deadline) -> Result<String, Failure> {
        if let Some(domain) = &self.condor.trust_domain {
            return Ok(domain.clone());
        }
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(domain) = &asked.trust_domain {
            return Ok(domain.clone());
        }
        let domain = token::trust_domain(&self.tools, deadline).map_err(|error| {
            let mut failure = Failure::from(error);
            failure.message.push_str("; or set condor.trust_domain");
            failure
        })?;
        asked.trust_domain = Some(domain.clone());
        Ok(domain)
    }

    fn token(&self, deadline: Deadline) -> Result<SecretString, Failure> {
        if let Some(token) = &self.condor.token {
            return Ok(token.clone());
        }
        let identity = match &self.condor.token_identity {
            Some(identity) => identity.clone(),
            None => format!("execute@{}", self.trust_domain(deadline)?),
        };
        let lifetime = self.condor.token_lifetime.unwrap_or(TOKEN_LIFETIME);
        // Held while HTCondor is asked: the creates that run at once share one token.
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = &asked.token {
            return Ok(token.clone());
        }
        let authorizations = &token::NODE_AUTHORIZATIONS;
        let token = token::create(&self.tools, &identity, authorizations, lifetime, deadline)
            .map_err(|error| {
                failure(format!(
                    "no token for a node: {error}; or give one by condor.token_file"
                ))
            })?;
        asked.token = Some(token.clone());
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_broker_is_an_address_with_the_port_of_htcondor() {
        assert_eq!(broker("10.0.0.1"), "10.0.0.1:9618");
        assert_eq!(broker("cm.example.org"), "cm.example.org:9618");
        assert_eq!(broker("2001:db8::1"), "[2001:db8::1]:9618");
    }
}
