//! Errors of requests to an OpenStack cloud.
//!
//! 429, and 413 with Retry-After, are rate limits. 413 without, and 403 or 409 that name a quota or
//! a limit, are quotas.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use scaling::action::{Failure, FailureKind};
use scaling::observation::Unread;
use scaling::refusal::{self, About};
use system::advice::Advice;

/// Effect of a request: whether it may be sent again, and what silence means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    /// Changes nothing (GET, a token, a console): sent again after a fault.
    Reads,
    /// Changes something, and twice is as good as once (DELETE): sent again after a fault.
    Repeatable,
    /// Creates something: sent once.
    Once,
}

/// One request: the cloud, method and path. It holds no secret, no query and no body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub cloud: String,
    pub method: String,
    pub path: String,
    pub kind: RequestKind,
    /// The token is an application credential's, whose access rules may lack this request.
    pub restricted: bool,
}

/// An answer with an error status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorResponse {
    pub call: Arc<Call>,
    pub status: u16,
    /// The service's own words, at most 200 characters, user data cut out.
    pub message: String,
    /// The service's id of the request, by which its log can be searched.
    pub request_id: Option<String>,
    /// The delay that the service asked for.
    pub retry_after: Option<Duration>,
}

impl ErrorResponse {
    pub fn about(&self) -> About {
        // Cinder says `Retry-After: 0` when a quota is full.
        let patience = !self.retry_after.unwrap_or_default().is_zero();
        refusal::of_refusal(self.status, &self.message, patience)
    }

    /// 429, or 413 with Retry-After.
    pub fn is_rate_limit(&self) -> bool {
        self.about() == About::Rate
    }

    /// The service, or a proxy before it, fails.
    pub fn is_fault(&self) -> bool {
        self.status >= 500 || self.status == 408
    }

    fn problem(&self) -> String {
        let mut problem = format!("status {}", self.status);
        if self.is_rate_limit() {
            problem.push_str(" (rate limited)");
        }
        if !self.message.is_empty() {
            problem = format!("{problem}: {}", self.message);
        }
        match &self.request_id {
            Some(id) => format!("{problem} ({id})"),
            None => problem,
        }
    }

    fn remedy(&self) -> &'static str {
        match (self.status, self.about()) {
            (_, About::Room) => "ask for a larger quota or lower nodes_max",
            (_, About::Rate) => "ehos retries in a later tick",
            (_, About::Flavor) if self.message.contains("zero disk") => {
                "set `boot_volume_size` of this cloud, or configure flavors with a disk"
            }
            (300..=399, _) => {
                "correct auth_url or the cloud's catalog: ehos does not follow redirects"
            }
            (401, _) if self.call.restricted => {
                "create an application credential with an access rule for this request"
            }
            (401, _) => "check that the clocks of the cloud's services agree: it rejects the token",
            (403, About::Rights) => "check the roles of the user or application credential",
            (400 | 403 | 404 | 409, _) => {
                "correct what the message names in this cloud's configuration"
            }
            (408 | 500..=599, _) => {
                "retry later, or ask the cloud's operators: the fault is inside the cloud"
            }
            _ => "look the status up in the API reference of the service",
        }
    }
}

/// A failure between ehos and an OpenStack cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// No connection: refused, no such host, no answer to the attempt.
    NotReached {
        call: Arc<Call>,
        /// Host and port.
        host: String,
        why: String,
        timed_out: bool,
    },
    /// The server's certificate is not trusted.
    NotTrusted {
        call: Arc<Call>,
        host: String,
        why: String,
    },
    /// The request went out and no whole answer came back.
    NoAnswer {
        call: Arc<Call>,
        why: String,
        timed_out: bool,
    },
    /// The deadline passed before the request.
    DeadlinePassed {
        call: Arc<Call>,
    },
    Refused(Box<ErrorResponse>),
    /// `why` says where the answer stops making sense.
    Unparsable {
        call: Arc<Call>,
        why: String,
    },
    /// One item of an answer cannot be read.
    Unreadable {
        cloud: String,
        unread: Unread,
    },
    /// A cell of the cloud is down: its servers are listed without details.
    CellDown {
        call: Arc<Call>,
        servers: usize,
    },
    /// The next page of a list is an earlier one.
    EndlessList {
        call: Arc<Call>,
    },
    /// Keystone rejects the login.
    AuthFailed {
        call: Arc<Call>,
        /// User and project, or the application credential.
        who: String,
        message: String,
    },
    /// The catalog has no such endpoint for this project.
    NotInCatalog {
        cloud: String,
        advice: Advice,
    },
    /// A resource with this name or id does not exist.
    NotFound {
        cloud: String,
        what: &'static str,
        name: String,
        /// What there is instead.
        hint: String,
    },
    /// Several resources have this name.
    Ambiguous {
        cloud: String,
        what: &'static str,
        name: String,
        ids: String,
    },
    UserDataTooLong {
        cloud: String,
        server: String,
        /// Of base64.
        characters: usize,
    },
    /// The configuration of the cloud must change.
    Misconfigured {
        cloud: String,
        advice: Advice,
    },
    /// The URL cannot be used.
    BadAddress {
        call: Arc<Call>,
        why: String,
    },
}

impl Error {
    /// Whether a service refuses a request that may name what is gone: an image, a flavor, a network. It has done nothing.
    pub fn may_be_of_a_lookup(&self) -> bool {
        let Error::Refused(refusal) = self else {
            return false;
        };
        // A proxy says 408 of a request that the service may have taken.
        if self.may_have_acted() {
            return false;
        }
        let names = [
            About::Image,
            About::Flavor,
            About::Configuration,
            About::Cloud,
        ];
        (400..500).contains(&refusal.status) && names.contains(&refusal.about())
    }

    fn cloud(&self) -> &str {
        match self {
            Error::Refused(refusal) => &refusal.call.cloud,
            Error::NotReached { call, .. }
            | Error::NotTrusted { call, .. }
            | Error::NoAnswer { call, .. }
            | Error::DeadlinePassed { call }
            | Error::Unparsable { call, .. }
            | Error::CellDown { call, .. }
            | Error::EndlessList { call }
            | Error::AuthFailed { call, .. }
            | Error::BadAddress { call, .. } => &call.cloud,
            Error::Unreadable { cloud, .. }
            | Error::NotInCatalog { cloud, .. }
            | Error::NotFound { cloud, .. }
            | Error::Ambiguous { cloud, .. }
            | Error::UserDataTooLong { cloud, .. }
            | Error::Misconfigured { cloud, .. } => cloud,
        }
    }

    /// The problem, without the cloud's name, and its remedy.
    pub fn advice(&self) -> Advice {
        match self {
            Error::NotReached {
                call, host, why, ..
            } => call.advice(
                format!("cannot connect to {host}: {why}"),
                "check the address, the network and that the service runs",
            ),
            Error::NotTrusted { call, host, why } => call.advice(
                format!("{host} is not trusted: {why}"),
                certificate_remedy(why),
            ),
            Error::NoAnswer { call, why, .. } => {
                call.advice(format!("no whole answer: {why}"), call.after_silence())
            }
            Error::DeadlinePassed { call } => call.advice(
                "skipped: deadline exceeded".to_owned(),
                "raise daemon.tick_timeout",
            ),
            Error::Refused(refusal) => refusal.call.advice(refusal.problem(), refusal.remedy()),
            Error::Unparsable { call, why } => call.advice(
                format!("cannot read the answer: {why}"),
                call.after_silence(),
            ),
            Error::Unreadable { unread, .. } => (unread.to_string(), ASK).into(),
            Error::CellDown { call, servers } => call.advice(
                format!(
                    "Nova lists {servers} servers without details: a cell of the cloud is down"
                ),
                ASK,
            ),
            Error::EndlessList { call } => call.advice(
                "the next page of the list is an earlier one".to_owned(),
                ASK,
            ),
            Error::AuthFailed { call, who, message } => call.advice(
                format!("Keystone does not accept {who}: {message}"),
                "check names, domains, project and secret",
            ),
            Error::NotInCatalog { advice, .. } | Error::Misconfigured { advice, .. } => {
                advice.clone()
            }
            Error::NotFound {
                what, name, hint, ..
            } => (
                format!("there is no {what} '{name}'{hint}"),
                "correct the configuration of this cloud",
            )
                .into(),
            Error::Ambiguous {
                what, name, ids, ..
            } => (
                format!("several {what}s have the name '{name}'"),
                format!("configure one of the ids: {ids}"),
            )
                .into(),
            Error::UserDataTooLong {
                server, characters, ..
            } => (
                format!(
                    "user data of {server} is too long: {characters} characters of base64, Nova takes 65535"
                ),
                "shorten the template or move parts of it into the image",
            )
                .into(),
            Error::BadAddress { call, why } => call.advice(
                format!("invalid address: {why}"),
                "correct auth_url or the cloud's catalog",
            ),
        }
    }

    /// Whether the cloud may have changed although the request failed.
    pub fn may_have_acted(&self) -> bool {
        match self {
            Error::NoAnswer { call, .. } | Error::Unparsable { call, .. } => {
                call.kind != RequestKind::Reads
            }
            Error::Refused(refusal) => {
                refusal.is_fault() && refusal.call.kind != RequestKind::Reads
            }
            _ => false,
        }
    }

    /// The delay that the service asked for.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Error::Refused(refusal) => refusal.retry_after,
            _ => None,
        }
    }

    /// Whether the same request may succeed in a moment. One that timed out has used up its time.
    pub fn is_passing(&self) -> bool {
        match self {
            Error::NotReached { timed_out, .. } | Error::NoAnswer { timed_out, .. } => !timed_out,
            _ => self.is_unanswered() && !matches!(self, Error::DeadlinePassed { .. }),
        }
    }

    /// Whether no service answered, or none that works: a later request may succeed.
    pub fn is_unanswered(&self) -> bool {
        match self {
            Error::NotReached { .. } | Error::NoAnswer { .. } | Error::DeadlinePassed { .. } => {
                true
            }
            Error::Refused(refusal) => refusal.is_fault() || refusal.is_rate_limit(),
            _ => false,
        }
    }

    /// The HTTP status, where the answer is an error.
    pub fn status(&self) -> Option<u16> {
        match self {
            Error::Refused(refusal) => Some(refusal.status),
            _ => None,
        }
    }
}

const ASK: &str = "ask the cloud's operators";

impl Call {
    fn advice(&self, problem: String, remedy: &str) -> Advice {
        Advice::from((problem, remedy)).at(format_args!("{} {}", self.method, self.path))
    }

    fn after_silence(&self) -> &'static str {
        match self.kind {
            RequestKind::Reads => "retry later, or ask the cloud's operators",
            RequestKind::Repeatable | RequestKind::Once => {
                "the effect is unknown: the next list of servers shows it"
            }
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cloud {}: {} {}", self.cloud, self.method, self.path)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cloud {}: {}", self.cloud(), self.advice())
    }
}

impl std::error::Error for Error {}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let kind = match &error {
            _ if error.may_have_acted() => FailureKind::Unknown,
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
            Error::NotInCatalog { .. } | Error::Misconfigured { .. } => {
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

/// Source of the words: rustls.
fn certificate_remedy(why: &str) -> &'static str {
    if why.contains("not valid for name") {
        "use the name that the certificate is for, or ask the service's operators to correct it"
    } else if why.contains("expired") || why.contains("not valid yet") {
        "ask the service's operators to renew it, or correct this machine's clock"
    } else {
        "set `cacert` to the certificate of its authority"
    }
}
