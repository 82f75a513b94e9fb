//! What can go wrong between ehos and an OpenStack cloud.
//!
//! 429, and 413 with Retry-After, are rate limits. 413 without, and 403 or 409 that name a quota or
//! a limit, are quotas.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use scaling::action::{Failure, FailureKind};
use scaling::observation::Unread;
use scaling::refusal::{self, About};

/// What a request does to the cloud: whether it may be sent again, and what its silence means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    /// Changes nothing (GET, a token, a look at a console): sent again after a fault.
    Reads,
    /// Changes something, and twice is as good as once (DELETE): sent again after a fault.
    Repeatable,
    /// Makes something: sent once.
    Once,
}

/// Whether the cloud may have been changed by what failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It certainly was not.
    None,
    /// It may have been.
    Unknown,
}

/// One request: which cloud, what was asked for. It holds no secret, no query and no body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The cloud's name in the configuration.
    pub cloud: String,
    /// The HTTP method.
    pub method: String,
    /// The path of the URL.
    pub path: String,
    /// What it does.
    pub kind: RequestKind,
    /// Its token is an application credential's, whose access rules may not have this request.
    pub restricted: bool,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cloud {}: {} {}", self.cloud, self.method, self.path)
    }
}

/// An answer that says no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorResponse {
    /// What was asked.
    pub call: Arc<Call>,
    /// The HTTP status.
    pub status: u16,
    /// The service's own words, at most 200 characters, user data cut out.
    pub message: String,
    /// The service's id of the request, by which its log can be searched.
    pub request_id: Option<String>,
    /// When it may be asked again, if the service said so.
    pub retry_after: Option<Duration>,
}

impl ErrorResponse {
    /// What it is about.
    pub fn about(&self) -> About {
        // Cinder says `Retry-After: 0` when a quota is full.
        let patience = !self.retry_after.unwrap_or_default().is_zero();
        refusal::of_refusal(self.status, &self.message, patience)
    }

    /// A quota does not allow it.
    pub fn is_quota(&self) -> bool {
        self.about() == About::Room
    }

    /// Not now: 429, or 413 with Retry-After.
    pub fn is_rate_limit(&self) -> bool {
        self.about() == About::Rate
    }

    /// The service, or a proxy before it, is in trouble.
    pub fn is_fault(&self) -> bool {
        self.status >= 500 || self.status == 408
    }

    fn advice(&self) -> &'static str {
        match (self.status, self.about()) {
            (_, About::Room) => "ask for a larger quota or lower nodes_max",
            (_, About::Rate) => "the cloud asks for patience; a later tick asks again",
            (_, About::Flavor) if self.message.contains("zero disk") => {
                "set `boot_volume_size` of this cloud, or configure flavors with a disk"
            }
            (300..=399, _) => "redirects are not followed: correct auth_url or the cloud's catalog",
            (401, _) if self.call.restricted => {
                "an access rule of the application credential is missing for this request: create one with it"
            }
            (401, _) => {
                "the token is not accepted: check that the clocks of the cloud's services agree"
            }
            (403, About::Rights) => "check the roles of the user or application credential",
            (400 | 403 | 404 | 409, _) => {
                "correct what the message names in this cloud's configuration"
            }
            (408 | 500..=599, _) => "a fault inside the cloud: try later, or ask its operators",
            _ => "look the status up in the API reference of the service",
        }
    }
}

impl fmt::Display for ErrorResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: status {}", self.call, self.status)?;
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        if let Some(id) = &self.request_id {
            write!(f, " ({id})")?;
        }
        write!(f, "; {}", self.advice())
    }
}

/// A failure between ehos and an OpenStack cloud.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No connection: refused, no such host, no answer to the attempt.
    #[error(
        "{call}: cannot connect to {host}: {why}; check the address, the network and that the service is up"
    )]
    NotReached {
        /// What was asked.
        call: Arc<Call>,
        /// Host and port.
        host: String,
        /// What the system said.
        why: String,
        /// It was waited for in vain.
        timed_out: bool,
    },
    /// The server's certificate is not trusted.
    #[error("{call}: {host} is not trusted: {why}; {}", certificate_remedy(why))]
    NotTrusted {
        /// What was asked.
        call: Arc<Call>,
        /// Host and port.
        host: String,
        /// What is wrong with it.
        why: String,
    },
    /// The request went out and no whole answer came back.
    #[error("{call}: no whole answer: {why}; {}", after_silence(.call))]
    NoAnswer {
        /// What was asked.
        call: Arc<Call>,
        /// What happened.
        why: String,
        /// It was waited for in vain.
        timed_out: bool,
    },
    /// There was no time left to ask.
    #[error("{call}: not asked, the time is up; try again, or give the tick more time")]
    DeadlinePassed {
        /// What would have been asked.
        call: Arc<Call>,
    },
    /// The service said no.
    #[error("{0}")]
    Refused(Box<ErrorResponse>),
    /// The answer makes no sense.
    #[error("{call}: cannot understand the answer: {why}; {}", after_silence(.call))]
    Unparsable {
        /// What was asked.
        call: Arc<Call>,
        /// Where it stops making sense.
        why: String,
    },
    /// Nova is too old for what is configured.
    #[error(
        "cloud {cloud}: this Nova does not have microversion {version}, which `{key}` needs; take `{key}` out of the \
         configuration of this cloud"
    )]
    TooOld {
        /// The cloud.
        cloud: String,
        /// The key of the configuration.
        key: &'static str,
        /// The microversion.
        version: &'static str,
    },
    /// One thing cannot be read.
    #[error("cloud {cloud}: {unread}; ask the cloud's operators")]
    Unreadable {
        /// The cloud.
        cloud: String,
        /// The thing, and why.
        unread: Unread,
    },
    /// A part of the cloud is down: its servers are listed without details.
    #[error(
        "{call}: Nova lists {servers} servers without details: a cell of the cloud is down; ask the cloud's operators"
    )]
    CellDown {
        /// What was asked.
        call: Arc<Call>,
        /// How many servers.
        servers: usize,
    },
    /// The pages of a list do not come to an end.
    #[error("{call}: the list's next page is one that was seen already; ask the cloud's operators")]
    EndlessList {
        /// What was asked.
        call: Arc<Call>,
    },
    /// Keystone does not believe who we are.
    #[error(
        "{call}: Keystone does not accept {who}: {message}; check names, domains, project and secret"
    )]
    AuthFailed {
        /// What was asked.
        call: Arc<Call>,
        /// User and project, or the application credential.
        who: String,
        /// Keystone's own words.
        message: String,
    },
    /// The catalog has no such service for us.
    #[error(
        "cloud {cloud}: no {interface} endpoint of the {service} service{in_region}; the catalog has: {there}; \
         correct `region_name` or `interface`, or the roles on the project"
    )]
    NotInCatalog {
        /// The cloud.
        cloud: String,
        /// The type of the service.
        service: &'static str,
        /// The interface that was looked for.
        interface: String,
        /// ` in region X`, when one was looked for.
        in_region: String,
        /// What the catalog has instead.
        there: String,
    },
    /// The catalog has several regions and the configuration names none.
    #[error(
        "cloud {cloud}: several regions have the {service} service; set `region_name` to one of: {regions}"
    )]
    RegionNeeded {
        /// The cloud.
        cloud: String,
        /// The type of the service.
        service: &'static str,
        /// The regions.
        regions: String,
    },
    /// The cloud has nothing of this name or id.
    #[error(
        "cloud {cloud}: there is no {what} '{name}'{hint}; correct the configuration of this cloud"
    )]
    NotFound {
        /// The cloud.
        cloud: String,
        /// What kind of thing.
        what: &'static str,
        /// Its name or id, as configured.
        name: String,
        /// What there is instead.
        hint: String,
    },
    /// Several things share this name.
    #[error("cloud {cloud}: several {what}s are called '{name}'; configure one of the ids: {ids}")]
    Ambiguous {
        /// The cloud.
        cloud: String,
        /// What kind of thing.
        what: &'static str,
        /// The name.
        name: String,
        /// The ids of all of them.
        ids: String,
    },
    /// Nova takes no more than 65535 characters of base64.
    #[error(
        "cloud {cloud}: user data of {server} has {characters} characters of base64, Nova takes 65535; \
         shorten the template or put parts of it into the image"
    )]
    UserDataTooLong {
        /// The cloud.
        cloud: String,
        /// The server's name.
        server: String,
        /// How long it is.
        characters: usize,
    },
    /// `cacert` cannot be used.
    #[error(
        "cloud {cloud}: cacert {file}: {why}; give a readable file with certificates in PEM form"
    )]
    Cacert {
        /// The cloud.
        cloud: String,
        /// The file.
        file: String,
        /// What is wrong.
        why: String,
    },
    /// An address that is none.
    #[error("{call}: cannot be sent: {why}; correct auth_url or the cloud's catalog")]
    BadAddress {
        /// What was asked.
        call: Arc<Call>,
        /// What is wrong.
        why: String,
    },
}

fn after_silence(call: &Call) -> &'static str {
    match call.kind {
        RequestKind::Reads => "try later; if it stays so, ask the cloud's operators",
        RequestKind::Repeatable | RequestKind::Once => {
            "it may or may not have been done; the next look at the cloud tells"
        }
    }
}

impl Error {
    /// Whether the cloud may have been changed.
    pub fn effect(&self) -> Effect {
        let unknown = match self {
            Error::NoAnswer { call, .. } | Error::Unparsable { call, .. } => {
                call.kind != RequestKind::Reads
            }
            Error::Refused(refusal) => {
                refusal.is_fault() && refusal.call.kind != RequestKind::Reads
            }
            _ => false,
        };
        if unknown {
            Effect::Unknown
        } else {
            Effect::None
        }
    }

    /// How long the service asked us to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Error::Refused(refusal) => refusal.retry_after,
            _ => None,
        }
    }

    /// Whether the same request may well be answered in a moment. One that was waited for in vain is not: it
    /// has used up its time.
    pub fn is_passing(&self) -> bool {
        match self {
            Error::NotReached { timed_out, .. } | Error::NoAnswer { timed_out, .. } => !timed_out,
            Error::Refused(refusal) => refusal.is_fault() || refusal.is_rate_limit(),
            _ => false,
        }
    }

    /// Nobody was there to answer, or was in no state to: it may be tried later.
    pub fn is_unanswered(&self) -> bool {
        match self {
            Error::NotReached { .. } | Error::NoAnswer { .. } | Error::DeadlinePassed { .. } => {
                true
            }
            Error::Refused(refusal) => refusal.is_fault() || refusal.is_rate_limit(),
            _ => false,
        }
    }

    /// The HTTP status, if that is what failed.
    pub fn status(&self) -> Option<u16> {
        match self {
            Error::Refused(refusal) => Some(refusal.status),
            _ => None,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let kind = match &error {
            _ if error.effect() == Effect::Unknown => FailureKind::Unknown,
            Error::AuthFailed { .. } => FailureKind::NotAuthorized,
            Error::Refused(refusal) => match refusal.about() {
                About::Room => FailureKind::Quota,
                About::Rate => FailureKind::Later(refusal.retry_after),
                _ if refusal.is_fault() => FailureKind::NotDone,
                About::Rights => FailureKind::NotAuthorized,
                about => FailureKind::Refused(about),
            },
            Error::NotFound { what, .. } | Error::Ambiguous { what, .. } => {
                FailureKind::Refused(match *what {
                    "image" => About::Image,
                    "flavor" => About::Flavor,
                    _ => About::Configuration,
                })
            }
            Error::UserDataTooLong { .. } => FailureKind::Refused(About::UserData),
            Error::NotInCatalog { .. } | Error::RegionNeeded { .. } | Error::TooOld { .. } => {
                FailureKind::Refused(About::Configuration)
            }
            _ => FailureKind::NotDone,
        };
        Failure {
            kind,
            message: error.to_string(),
        }
    }
}

/// What to do about a certificate that is not trusted, by what is wrong with it.
fn certificate_remedy(why: &str) -> &'static str {
    if why.contains("not valid for name") {
        "ask for it by the name that its certificate is for, or tell its operators"
    } else if why.contains("expired") || why.contains("not valid yet") {
        "its operators have to renew it, unless this machine's clock is wrong"
    } else {
        "set `cacert` to the certificate of its authority"
    }
}
