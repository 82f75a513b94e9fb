//! With which tokens nodes join.

use jiff::Timestamp;
use secrecy::SecretString;

use super::TRIAL_TOKEN;
use crate::check::{Finding, access};
use condor::{Error, Tools, token};
use config::Config;
use scaling::sender;
use system::deadline::Deadline;
use userdata::cloudinit::Template;

/// What nodes join with: the trust domain and a token, where a template asks for them.
pub(super) fn joining(config: &Config, tools: &Tools, deadline: Deadline) -> Vec<Finding> {
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
                    format!("TRUST_DOMAIN is unknown: {}", error.advice().problem),
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
                            format!("tokens for {identity} can be created here with the key {key}")
                        }
                        None => format!("tokens for {identity} can be created here"),
                    },
                ),
                Err(error) => Finding::failed(
                    CHECK,
                    format!(
                        "cannot create a token for nodes here: {}",
                        error.advice().problem
                    ),
                    signing.remedy(),
                ),
            }
        }
        (None, None) => {
            Finding::skipped(CHECK, "ehos cannot create a token without a trust domain")
        }
    });
    if let (None, None, Some(domain)) =
        (&config.condor.token, &config.condor.token_identity, &domain)
    {
        let taken = token::takes_own_identities(tools, domain, deadline);
        findings.push(identities(taken, domain));
    }
    findings
}

/// Whether each node speaks for itself alone.
pub(super) fn identities(taken: Result<bool, Error>, domain: &str) -> Finding {
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
                "the collector does not accept ads from {entry}: tokens of all nodes have the identity {}, and root on one node can \
                 send ads of the others",
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
pub(super) fn given_token(
    secret: &SecretString,
    trust_domain: Option<&str>,
    now: Timestamp,
) -> Finding {
    const CHECK: &str = "token";
    let renew = "create one by condor_token_create on the central manager, and write it to condor.token_file";
    let Some(claims) = token::claims(secret) else {
        return Finding::failed(CHECK, "condor.token is not a token (JSON Web Token)", renew);
    };
    let who = claims.sub.unwrap_or_else(|| "nobody".to_owned());
    if let (Some(issuer), Some(domain)) = (&claims.iss, trust_domain)
        && issuer != domain
    {
        return Finding::failed(
            CHECK,
            format!("the token of {who} has the trust domain {issuer}, the pool has {domain}"),
            format!("{renew}, or correct condor.trust_domain"),
        );
    }
    let end = claims.exp.and_then(|end| Timestamp::from_second(end).ok());
    Finding {
        check: CHECK,
        ..access::end(&format!("the nodes' token of {who}"), end, now, renew)
    }
}
