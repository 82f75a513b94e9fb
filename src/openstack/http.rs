//! One HTTP client for each cloud. The only place that sends a request again.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use log::debug;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use ureq::http::header::{HeaderValue, InvalidHeaderValue};
use ureq::http::request::Builder;
use ureq::http::{HeaderMap, Method, StatusCode, Uri};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, AsSendBody, Body, SendBody, Timeout};

use super::error::{Call, Error, ErrorResponse, RequestKind};
use super::{items, message};
use crate::{AuthMethod, CloudSettings};
use system::deadline::Deadline;
use system::http_client::Agents;
use system::json;
use system::rights;

/// No answer that ehos asks for is larger: a page of 1000 servers is about 2 MB. An answer in gzip is measured after it was
/// decompressed. The services do not compress, but a proxy in front of them may.
const LARGEST_BODY: u64 = 16 * 1024 * 1024;
/// Buffers of a connection, which are filled with zeros when it begins. The head of a request must fit into the first, the
/// head of an answer into the second.
const OUTPUT_BUFFER: usize = 32 * 1024;
const INPUT_BUFFER: usize = 64 * 1024;
/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long is waited before a request is sent for the second and the third time.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(1)];

/// What is asked, apart from where.
pub struct Request<'a> {
    pub method: Method,
    /// What it does to the cloud.
    pub kind: RequestKind,
    /// Nova's microversion (`OpenStack-API-Version: compute X`).
    pub microversion: Option<&'static str>,
    /// JSON. It may hold secrets.
    pub body: Option<String>,
    /// A part of the body that an answer may repeat and nobody may see.
    pub hidden: Option<&'a SecretString>,
}

impl Request<'_> {
    pub fn get() -> Request<'static> {
        Request {
            method: Method::GET,
            kind: RequestKind::Reads,
            microversion: None,
            body: None,
            hidden: None,
        }
    }

    /// A request with this body that changes something.
    pub fn json(method: Method, kind: RequestKind, body: &Value) -> Request<'static> {
        Request {
            method,
            kind,
            body: Some(body.to_string()),
            ..Request::get()
        }
    }

    /// A POST that reads only.
    pub fn read_by_post(body: String) -> Request<'static> {
        Request {
            method: Method::POST,
            body: Some(body),
            ..Request::get()
        }
    }

    pub fn delete() -> Request<'static> {
        Request {
            method: Method::DELETE,
            kind: RequestKind::Repeatable,
            ..Request::get()
        }
    }

    /// The same request for this microversion of Nova.
    pub fn at(self, microversion: &'static str) -> Self {
        Self {
            microversion: Some(microversion),
            ..self
        }
    }
}

/// An answer with a status of 2xx.
pub struct Answer {
    pub call: Arc<Call>,
    /// The service's clock (`Date`), where it says so.
    pub date: Option<Timestamp>,
    /// `X-Subject-Token`: a new token of Keystone.
    pub subject_token: Option<SecretString>,
    /// `Location`: the address of what was made.
    pub location: Option<String>,
    body: String,
}

impl Answer {
    pub fn body(&self) -> &str {
        &self.body
    }

    /// The body as what it should be.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Error> {
        json::read(&self.body).map_err(|error| self.unparsable(self.why(&self.body, &error)))
    }

    /// The value of the field `name` of the body.
    pub fn field<'a, T: Deserialize<'a>>(&'a self, name: &str) -> Result<T, Error> {
        let fields: BTreeMap<String, &RawValue> = self.json()?;
        let value = fields.get(name).map(|value| value.get());
        let value = value.ok_or_else(|| self.unparsable(format!("it has no {name}")))?;
        json::read(value)
            .map_err(|error| self.unparsable(format!("{name}: {}", self.why(value, &error))))
    }

    pub fn unparsable(&self, why: impl Into<String>) -> Error {
        Error::Unparsable {
            call: self.call.clone(),
            why: why.into(),
        }
    }

    /// serde_json names the place and what it expected there, and may quote a value: not from a create's answer, which
    /// holds the server's administrator password.
    fn why(&self, text: &str, error: &serde_json::Error) -> String {
        use serde_json::error::Category;
        let problem = match error.classify() {
            _ if text.is_empty() => return "it is empty".to_owned(),
            Category::Data if self.call.kind == RequestKind::Reads => {
                return items::why(text, error);
            }
            Category::Eof => "it is cut off",
            Category::Data => "it has another form than expected",
            _ => "it is not JSON",
        };
        format!(
            "{problem} at line {} column {}",
            error.line(),
            error.column()
        )
    }
}

/// A client for one cloud.
pub struct Client {
    agents: Agents,
    cloud: String,
    request_timeout: Duration,
    /// The token is an application credential's.
    restricted: bool,
}

impl Client {
    /// A client for the cloud of `settings`; each request takes `request_timeout` at most.
    /// Fails when `cacert` cannot be used.
    pub fn new(settings: &CloudSettings, request_timeout: Duration) -> Result<Client, Error> {
        let certificates = root_certificates(settings)?;
        let agents = Agents::new(&|proxy| {
            let tls = TlsConfig::builder()
                .root_certs(certificates.clone())
                .disable_verification(settings.insecure)
                .build();
            Agent::config_builder()
                .http_status_as_error(false)
                // A redirect could carry the token to another host.
                .max_redirects(0)
                .tls_config(tls)
                .proxy(proxy)
                .user_agent(concat!("ehos/", env!("CARGO_PKG_VERSION")))
                .accept("application/json")
                .output_buffer_size(OUTPUT_BUFFER)
                .input_buffer_size(INPUT_BUFFER)
                .timeout_global(Some(request_timeout))
                .timeout_resolve(Some(connect_timeout(request_timeout)))
                .timeout_connect(Some(connect_timeout(request_timeout)))
                .build()
        });
        Ok(Client {
            agents,
            cloud: settings.name.clone(),
            request_timeout,
            restricted: matches!(
                settings.auth.method,
                AuthMethod::ApplicationCredential { .. }
            ),
        })
    }

    /// Sends `request` to `url`, and again (three times in all) after a passing fault if that is safe.
    /// Every status but 2xx is an error.
    pub fn send(
        &self,
        url: &str,
        token: Option<&SecretString>,
        request: &Request,
        deadline: Deadline,
    ) -> Result<Answer, Error> {
        let mut pauses = PAUSES.iter();
        loop {
            let error = match self.send_once(url, token, request, deadline) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if request.kind == RequestKind::Once || !error.is_passing() {
                return Err(error);
            }
            let Some(pause) = pauses.next() else {
                return Err(error);
            };
            let pause = error
                .retry_after()
                .map_or(*pause, |asked| asked.max(*pause));
            if pause >= deadline.left().min(self.request_timeout) {
                return Err(error);
            }
            debug!("{error}; once more in {} ms", pause.as_millis());
            thread::sleep(pause);
        }
    }

    fn send_once(
        &self,
        url: &str,
        token: Option<&SecretString>,
        request: &Request,
        deadline: Deadline,
    ) -> Result<Answer, Error> {
        let uri: Result<Uri, _> = url.parse();
        let call = Arc::new(Call {
            cloud: self.cloud.clone(),
            method: request.method.to_string(),
            path: uri.as_ref().map_or("", Uri::path).to_owned(),
            kind: request.kind,
            restricted: self.restricted,
        });
        let bad_address = |why: String| Error::BadAddress {
            call: call.clone(),
            why,
        };
        let uri = uri.map_err(|error| bad_address(format!("{url}: {error}")))?;
        let host = match (uri.host(), uri.port_u16()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (Some(host), None) => host.to_owned(),
            (None, _) => return Err(bad_address(format!("{url} names no host"))),
        };
        if deadline.passed() {
            return Err(Error::DeadlinePassed { call });
        }
        let route = self.agents.route(&uri).map_err(&bad_address)?;
        let host = match route.proxy {
            Some(proxy) => format!("{host} through {proxy}"),
            None => host,
        };

        let builder = headed(request, uri, token)
            .map_err(|_| bad_address("the token is not one".to_owned()))?;
        let began = Instant::now();
        let (agent, kind) = (route.agent, request.kind);
        let result = match &request.body {
            Some(body) => self.run(agent, builder.body(body.as_str()), kind, deadline),
            None => self.run(agent, builder.body(SendBody::none()), kind, deadline),
        };
        let response = result.map_err(|error| {
            debug!("{call}: {error} after {} ms", began.elapsed().as_millis());
            failed(error, &call, &host)
        })?;

        let (parts, body) = response.into_parts();
        let status = parts.status.as_u16();
        // An answer without a body is no gzip, whatever its headers say.
        let is_empty = parts.status == StatusCode::NO_CONTENT
            || text(&parts.headers, "content-length").is_some_and(|length| length == "0");
        let body = match is_empty {
            true => Ok(Vec::new()),
            false => body.into_with_config().limit(LARGEST_BODY).read_to_vec(),
        };
        debug!("{call}: {status} in {} ms", began.elapsed().as_millis());
        if !parts.status.is_success() {
            return Err(Error::Refused(Box::new(ErrorResponse {
                message: message::of_service(&body.unwrap_or_default(), request.hidden),
                request_id: text(&parts.headers, "x-openstack-request-id").map(message::shorten),
                retry_after: retry_after(&parts.headers),
                call,
                status,
            })));
        }
        Ok(Answer {
            // Bytes that are no UTF-8 spoil the text that they are in, and no more.
            body: String::from_utf8(body.map_err(|error| failed(error, &call, &host))?)
                .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
            call,
            date: text(&parts.headers, "date").and_then(http_date),
            subject_token: text(&parts.headers, "x-subject-token").map(SecretString::from),
            location: text(&parts.headers, "location").map(str::to_owned),
        })
    }

    fn run<S: AsSendBody>(
        &self,
        agent: &Agent,
        request: Result<ureq::http::Request<S>, ureq::http::Error>,
        kind: RequestKind,
        deadline: Deadline,
    ) -> Result<ureq::http::Response<Body>, ureq::Error> {
        let request = request?;
        let left = deadline.left();
        // The plain way first: ureq keeps the TLS set-up (all root certificates) for the agent's own
        // configuration only.
        if left >= self.request_timeout && kind != RequestKind::Once {
            return agent.run(request);
        }
        let timeout = left.min(self.request_timeout);
        let request = agent
            .configure_request(request)
            .timeout_global(Some(timeout))
            .timeout_resolve(Some(connect_timeout(timeout)))
            .timeout_connect(Some(connect_timeout(timeout)));
        // A kept connection that the server closes at this moment would leave it open whether a create arrived.
        let request = match kind {
            RequestKind::Once => request.max_idle_age(Duration::ZERO),
            RequestKind::Reads | RequestKind::Repeatable => request,
        };
        agent.run(request.build())
    }
}

/// The request line and the headers.
fn headed(
    request: &Request,
    uri: Uri,
    token: Option<&SecretString>,
) -> Result<Builder, InvalidHeaderValue> {
    let mut builder = ureq::http::Request::builder()
        .method(request.method.clone())
        .uri(uri);
    if let Some(token) = token {
        let mut value = HeaderValue::from_str(token.expose_secret())?;
        value.set_sensitive(true);
        builder = builder.header("X-Auth-Token", value);
    }
    if let Some(microversion) = request.microversion {
        builder = builder.header("OpenStack-API-Version", format!("compute {microversion}"));
    }
    if request.body.is_some() {
        builder = builder.header("Content-Type", "application/json");
    }
    Ok(builder)
}

/// Shorter than the whole: a connection that does not come about must be told from an answer that does not.
fn connect_timeout(whole: Duration) -> Duration {
    CONNECT_TIMEOUT.min(whole / 2)
}

fn root_certificates(settings: &CloudSettings) -> Result<RootCerts, Error> {
    let Some(file) = &settings.cacert else {
        return Ok(RootCerts::PlatformVerifier);
    };
    let failed = |why: String| Error::Misconfigured {
        cloud: settings.name.clone(),
        advice: (
            format!("cacert {}: {why}", file.display()),
            "name a readable file with certificates in PEM form",
        )
            .into(),
    };
    let pem = fs::read(file).map_err(|error| failed(rights::told(file, &error).to_string()))?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(failed(error.to_string())),
        }
    }
    if certificates.is_empty() {
        return Err(failed("no certificate in it".to_owned()));
    }
    Ok(RootCerts::from(certificates))
}

/// ureq's error in our words: above all, whether the request can have reached the service.
fn failed(error: ureq::Error, call: &Arc<Call>, host: &str) -> Error {
    let call = call.clone();
    let host = host.to_owned();
    let not_reached = |why: String, timed_out| Error::NotReached {
        call: call.clone(),
        host: host.clone(),
        why,
        timed_out,
    };
    match error {
        ureq::Error::HostNotFound => not_reached("no such host".to_owned(), false),
        ureq::Error::Timeout(Timeout::Resolve) => {
            not_reached("no answer of the name service".to_owned(), true)
        }
        ureq::Error::Timeout(Timeout::Connect) => {
            not_reached("it does not answer".to_owned(), true)
        }
        ureq::Error::Timeout(_) => Error::NoAnswer {
            call,
            why: "not within the time given".to_owned(),
            timed_out: true,
        },
        ureq::Error::Io(error) => {
            let why = error.to_string();
            // The standard library has no kind of error for a failed name look-up.
            if error.kind() == io::ErrorKind::ConnectionRefused
                || why.starts_with("failed to lookup address")
            {
                not_reached(why, false)
            } else if error.kind() == io::ErrorKind::InvalidData && why.contains("certificate") {
                Error::NotTrusted { call, host, why }
            } else {
                Error::NoAnswer {
                    call,
                    why,
                    timed_out: false,
                }
            }
        }
        // The request itself has not been sent.
        ureq::Error::ConnectProxyFailed(why) => not_reached(why, false),
        ureq::Error::BodyExceedsLimit(limit) => Error::Unparsable {
            call,
            why: format!("it is larger than {limit} bytes"),
        },
        // A connection that ended early does the same.
        ureq::Error::Decompress(coding, error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Error::NoAnswer {
                call,
                why: format!("its {coding} is cut off"),
                timed_out: false,
            }
        }
        ureq::Error::Decompress(coding, error) => Error::Unparsable {
            call,
            why: format!("its {coding} is damaged: {error}"),
        },
        ureq::Error::BadUri(why) => Error::BadAddress { call, why },
        ureq::Error::Http(error) => Error::BadAddress {
            call,
            why: error.to_string(),
        },
        other => Error::NoAnswer {
            call,
            why: other.to_string(),
            timed_out: false,
        },
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// `Retry-After`: seconds, or a date (RFC 9110, 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = text(headers, "retry-after")?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = http_date(value)?;
    let now = text(headers, "date")
        .and_then(http_date)
        .or_else(|| Timestamp::try_from(SystemTime::now()).ok())?;
    Some(Duration::try_from(at.duration_since(now)).unwrap_or_default())
}

/// A date of HTTP (RFC 9110, 5.6.7), which is one of RFC 2822 in GMT.
fn http_date(value: &str) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let of = |pairs: &[(&'static str, &'static str)]| retry_after(&headers(pairs));
        assert_eq!(of(&[("retry-after", "7")]), Some(Duration::from_secs(7)));
        assert_eq!(
            of(&[
                ("date", "Sun, 22 Nov 2026 10:30:16 GMT"),
                ("retry-after", "Sun, 22 Nov 2026 10:31:16 GMT")
            ]),
            Some(Duration::from_secs(60))
        );
        assert_eq!(
            of(&[
                ("date", "Sun, 22 Nov 2026 10:30:16 GMT"),
                ("retry-after", "Sun, 22 Nov 2026 10:00:00 GMT")
            ]),
            Some(Duration::ZERO)
        );
        assert_eq!(of(&[("retry-after", "soon")]), None);
        assert_eq!(of(&[]), None);
    }
}
