//! The user data of a node: its template, filled in.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;

use crate::cloudinit::Template;
use condor::CondorSettings;
use condor::{Tools, token};
use openstack::CloudSettings;
use openstack::Filled;
use scaling::action::{Failure, FailureKind, Intent};
use scaling::observation::{
    METADATA_TOKEN_ID, METADATA_TOKEN_IDENTITY, METADATA_TOKEN_LIFETIME, NodeId,
};
use scaling::policy::{Policy, addresses, retires_after};
use scaling::reason::format_duration;
use scaling::sender;
use system::deadline::Deadline;

/// Fills in the user data of nodes. Each node gets a token of its own, unless one for all is configured; the trust
/// domain is asked for once, when the first node is made.
#[derive(Debug)]
pub struct NodeUserData<'a> {
    condor: &'a CondorSettings,
    policy: &'a Policy,
    tools: Tools,
    trust_domain: Mutex<Option<String>>,
    /// Whether the collector takes identities of nodes.
    own_identities: Mutex<Option<bool>>,
}

/// A token with which a node joins.
struct NodeToken {
    token: SecretString,
    /// How long it is good for from now on; `None`: for ever.
    lifetime: Option<Duration>,
    id: Option<String>,
    /// Its identity, where that is this node's alone.
    identity: Option<String>,
}

/// HTCondor's connection broker on each central manager: its collector, on the port of all its daemons.
fn broker(host_ip: &str) -> String {
    const PORT: u16 = 9618;
    let with_port = |host: &str| match host.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]:{PORT}"),
        Err(_) => format!("{host}:{PORT}"),
    };
    let all: Vec<String> = addresses(host_ip).map(with_port).collect();
    all.join(", ")
}

fn failure(message: String) -> Failure {
    Failure {
        kind: FailureKind::NotDone,
        message,
    }
}

impl<'a> NodeUserData<'a> {
    /// For nodes of the pool of `policy`.
    pub fn new(
        condor: &'a CondorSettings,
        policy: &'a Policy,
        command_timeout: Duration,
    ) -> NodeUserData<'a> {
        NodeUserData {
            condor,
            policy,
            tools: Tools::new(condor.bin.clone(), command_timeout).of_pool(condor.pool.as_deref()),
            trust_domain: Mutex::default(),
            own_identities: Mutex::default(),
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
    ) -> Result<Filled, Failure> {
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
    ) -> Result<Filled, Failure> {
        let mut values = more;
        let mut put = |tag, value: &str| values.insert(tag, SecretString::from(value));
        put("ehos_node", &intent.node.0);
        put("ehos_cluster", &self.policy.cluster);
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
        put("retire_at", &self.retire_at(intent).to_string());
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
        let mut metadata = BTreeMap::new();
        if tags.contains("token") {
            let NodeToken {
                token,
                lifetime,
                id,
                identity,
            } = self.token(&intent.node, deadline)?;
            values.insert("token", token);
            let lifetime = lifetime.map(|lifetime| lifetime.as_secs().to_string());
            metadata.extend(lifetime.map(|seconds| (METADATA_TOKEN_LIFETIME.to_owned(), seconds)));
            metadata.extend(id.map(|id| (METADATA_TOKEN_ID.to_owned(), id)));
            metadata.extend(identity.map(|own| (METADATA_TOKEN_IDENTITY.to_owned(), own)));
        }
        let text = template
            .render(&values)
            .map_err(|error| failure(error.to_string()))?;
        Ok(Filled { text, metadata })
    }

    /// From when on the node is to take no new jobs, in seconds of the Unix clock; 0: it is for ever.
    fn retire_at(&self, intent: &Intent) -> i64 {
        let Some(lifetime) = self.policy.max_lifetime(&intent.cloud) else {
            return 0;
        };
        let lifetime = retires_after(lifetime, &intent.node);
        let lifetime = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
        intent.at.as_second().saturating_add(lifetime)
    }

    fn trust_domain(&self, deadline: Deadline) -> Result<String, Failure> {
        if let Some(domain) = &self.condor.trust_domain {
            return Ok(domain.clone());
        }
        // Held while HTCondor is asked: of the creates that run at once one asks.
        let mut asked = self
            .trust_domain
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(domain) = asked.as_ref() {
            return Ok(domain.clone());
        }
        let domain = token::trust_domain(&self.tools, deadline).map_err(|error| {
            let mut failure = Failure::from(error);
            failure.message.push_str("; or set condor.trust_domain");
            failure
        })?;
        *asked = Some(domain.clone());
        Ok(domain)
    }

    /// The identity of this node alone, where the collector takes it. Where the collector is not known to, nodes share one: an
    /// identity that the collector does not take would keep them out of the pool.
    fn own_identity(&self, node: &NodeId, domain: &str, deadline: Deadline) -> Option<String> {
        let own = sender::own_identity(node, domain)?;
        // Held while the collector is asked: of the creates that run at once one asks.
        let mut asked = self
            .own_identities
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let taken = *asked.get_or_insert_with(|| {
            token::takes_own_identities(&self.tools, domain, deadline).unwrap_or_else(|error| {
                log::debug!("{error}; nodes share one identity");
                false
            })
        });
        taken.then_some(own)
    }

    fn token(&self, node: &NodeId, deadline: Deadline) -> Result<NodeToken, Failure> {
        if let Some(token) = &self.condor.token {
            return self.given(token);
        }
        let (identity, own) = match &self.condor.token_identity {
            Some(identity) => (identity.clone(), None),
            None => {
                let domain = self.trust_domain(deadline)?;
                let own = self.own_identity(node, &domain, deadline);
                let shared = || sender::shared_identity(&domain);
                (own.clone().unwrap_or_else(shared), own)
            }
        };
        let lifetime = self.condor.token_lifetime();
        let signing = token::Signing::of(self.condor);
        let authorizations = &token::NODE_AUTHORIZATIONS;
        let token = token::create(
            &self.tools,
            &identity,
            authorizations,
            lifetime,
            signing,
            deadline,
        )
        .map_err(|error| {
            failure(format!(
                "no token for a node: {error}; {}",
                signing.remedy()
            ))
        })?;
        Ok(NodeToken {
            lifetime: Some(lifetime),
            id: token::claims(&token).and_then(|claims| claims.jti),
            identity: own,
            token,
        })
    }

    /// The one token of the configuration, if it is good for longer than `token_renew_before`: else its nodes would be
    /// replaced as soon as they join.
    fn given(&self, token: &SecretString) -> Result<NodeToken, Failure> {
        let claims = token::claims(token).unwrap_or_default();
        let lifetime = claims.exp.map(|end| {
            let left = end.saturating_sub(Timestamp::now().as_second());
            Duration::from_secs(u64::try_from(left).unwrap_or(0))
        });
        if lifetime.is_some_and(|left| left <= self.policy.token_renew_before) {
            let left = lifetime.unwrap_or_default().as_secs();
            return Err(failure(format!(
                "condor.token_file: this token ends in {}, and nodes are drained {} before their tokens end \
                 (daemon.token_renew_before): make a new one by condor_token_create on the central manager",
                format_duration(left),
                format_duration(self.policy.token_renew_before.as_secs())
            )));
        }
        Ok(NodeToken {
            token: token.clone(),
            lifetime,
            identity: None,
            id: claims.jti,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_several_central_managers_is_a_broker() {
        assert_eq!(broker("10.0.0.1,fd00::2"), "10.0.0.1:9618, [fd00::2]:9618");
        assert_eq!(broker("cm.example.org"), "cm.example.org:9618");
    }

    #[test]
    fn a_node_with_a_lifetime_is_told_when_it_is_over() {
        let mut policy = Policy::new("p");
        let intent = Intent {
            node: scaling::observation::NodeId("n".into()),
            name: "n".to_owned(),
            cloud: "a".to_owned(),
            flavor: "f".to_owned(),
            image: "i".to_owned(),
            zone: None,
            at: Timestamp::from_second(1000).unwrap(),
        };
        let condor = CondorSettings::default();
        let told =
            |policy: &Policy| NodeUserData::new(&condor, policy, Duration::ZERO).retire_at(&intent);
        assert_eq!(told(&policy), 0);
        policy.max_lifetime = Some(Duration::from_secs(64_000));
        // In the last eighth: the first byte of the digest of its id is 27 of 256.
        assert_eq!(told(&policy), 1000 + 64_000 - 843 - 1);
        policy.clouds.push(scaling::policy::CloudPolicy {
            max_lifetime: Some(Duration::from_secs(2048)),
            ..scaling::policy::CloudPolicy::new("a", vec!["f".to_owned()], "i")
        });
        assert_eq!(told(&policy), 3048 - 27, "that of its cloud goes before");
    }

    #[test]
    fn the_broker_is_an_address_with_the_port_of_htcondor() {
        assert_eq!(broker("10.0.0.1"), "10.0.0.1:9618");
        assert_eq!(broker("cm.example.org"), "cm.example.org:9618");
        assert_eq!(broker("2001:db8::1"), "[2001:db8::1]:9618");
    }
}
