//! Keystone v3: who ehos is on a cloud, and every request that needs a token.
//!
//! A 401, or a 403 that names a policy, gets a new token once: rights may have returned, and a kept
//! token may be revoked. If that did not help, the request is remembered with the token, and tried
//! with another one after five minutes.
//!
//! keystonemiddleware answers 401 as well if the access rules of an application credential lack a
//! request: other requests continue.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};
use log::{debug, warn};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use ureq::http::Method;

use super::catalog::{Catalog, Service};
use super::error::{Error, ErrorResponse, RequestKind};
use super::http::{Answer, Client, Request};
use super::items;
use super::looks_like_id;
use super::token_cache::TokenCache;
use crate::{AuthMethod, CloudSettings, NameOrId};
use scaling::action::Done;
use scaling::observation::Unread;
use scaling::refusal::About;
use system::deadline::Deadline;
use system::http_client::percent_encoded;

/// A token is renewed when it has less than this to live: what is asked with it may take a while.
const MARGIN: SignedDuration = SignedDuration::from_secs(60);

/// A request that a new token did not help is tried with another one after this time.
const RENEWAL: SignedDuration = SignedDuration::from_mins(5);

/// More refused requests are not remembered with a token.
const MAX_REFUSED: usize = 50;

/// More items that cannot be read are not told.
pub const MAX_UNREAD: usize = 100;

/// A token of Keystone. Its Debug does not show it.
#[derive(Debug, Clone)]
pub struct Token {
    pub secret: SecretString,
    /// When it ends, on this machine's clock.
    pub good_until: Timestamp,
    pub project_id: Option<String>,
    /// The user who has it.
    pub user_id: Option<String>,
    /// Where the services are.
    pub catalog: Catalog,
    /// When the user's password ends; `None`: never, or this token was kept from an earlier run.
    pub password_expires_at: Option<Timestamp>,
    /// How far Keystone's clock is ahead of this machine's, to about a second; `None`: kept from an earlier run.
    pub clock_ahead: Option<SignedDuration>,
    /// The names of the roles that it has; none where it does not tell, or was kept from an earlier run.
    pub roles: Vec<String>,
    /// When it was got, on this machine's clock.
    pub got_at: Timestamp,
    /// Requests that were refused with it or one before it right after that had been got: another one did not help them.
    pub refused: BTreeSet<String>,
}

impl Token {
    /// Whether a new token may get what this one did not: rights may have changed since it was got, and a token that is
    /// not accepted may be revoked.
    fn may_be_renewed_for(&self, request: &str) -> bool {
        let age = now().duration_since(self.got_at);
        let young = age >= SignedDuration::ZERO && age < RENEWAL;
        !(young && self.refused.contains(request))
    }
}

/// A cloud with a token: all services are asked through this.
pub struct Session<'s> {
    settings: &'s CloudSettings,
    client: Client,
    cache: Option<TokenCache>,
    token: Mutex<Option<Arc<Token>>>,
    /// Items of lists that could not be read, each once.
    unread: Mutex<BTreeSet<Unread>>,
    /// Whoever has the session tells them; else the log does.
    reports: bool,
}

impl<'s> Session<'s> {
    /// A session on the cloud of `settings`. Nothing is asked yet. Each request takes `request_timeout` at most;
    /// the token is kept in the file `token_cache` from one run to the next. Fails when `cacert` cannot be used.
    pub fn new(
        settings: &'s CloudSettings,
        request_timeout: Duration,
        token_cache: Option<PathBuf>,
    ) -> Result<Session<'s>, Error> {
        let client = Client::new(settings, request_timeout)?;
        let cache = token_cache.map(|path| TokenCache::new(path, owner(settings)));
        let token = cache.as_ref().and_then(TokenCache::load).map(Arc::new);
        Ok(Session {
            settings,
            client,
            cache,
            token: Mutex::new(token),
            unread: Mutex::default(),
            reports: false,
        })
    }

    /// The same session, of a caller that reports what could not be read.
    #[must_use]
    pub fn reporting(mut self) -> Session<'s> {
        self.reports = true;
        self
    }

    /// Reads the items of a list that are of the kind `what`. Those that cannot be read are remembered, to be told.
    pub fn read<'a, T: Deserialize<'a>>(&self, what: &str, list: &[&'a RawValue]) -> Vec<T> {
        let items = items::each(what, list);
        self.tell(items.unread.iter().map(|item| &item.told));
        items.read
    }

    /// The list `name` of an answer, of things of the kind `what`: those that can be read. The others are told.
    pub fn list<T: DeserializeOwned>(
        &self,
        answer: &Answer,
        name: &str,
        what: &str,
    ) -> Result<Vec<T>, Error> {
        let list: Vec<&RawValue> = answer.field(name)?;
        Ok(self.read(what, &list))
    }

    /// Reads what is at `path`.
    pub fn get(&self, service: Service, path: &str, deadline: Deadline) -> Result<Answer, Error> {
        self.send(service, path, &service.at_first(Request::get()), deadline)
    }

    /// Reads what is at `path`; `None` where it does not exist.
    pub fn find(
        &self,
        service: Service,
        path: &str,
        deadline: Deadline,
    ) -> Result<Option<Answer>, Error> {
        match self.get(service, path, deadline) {
            Err(error) if error.status() == Some(404) => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// Deletes what is at `path`. One that does not exist is no error.
    pub fn delete(&self, service: Service, path: &str, deadline: Deadline) -> Result<Done, Error> {
        let request = service.at_first(Request::delete());
        match self.send(service, path, &request, deadline) {
            Err(error) if error.status() == Some(404) => Ok(Done::AlreadyGone),
            answer => answer.map(|_| Done::Accepted),
        }
    }

    /// Posts `body`.
    pub fn post(
        &self,
        service: Service,
        path: &str,
        kind: RequestKind,
        body: &Value,
        deadline: Deadline,
    ) -> Result<Answer, Error> {
        let request = service.at_first(Request::json(Method::POST, kind, body));
        self.send(service, path, &request, deadline)
    }

    /// The filter for things of this project alone: an administrator sees those of all.
    pub fn of_project(&self, deadline: Deadline) -> Result<String, Error> {
        let id = self.token(deadline)?.project_id.clone();
        Ok(id.map_or(String::new(), |id| {
            format!("project_id={}", percent_encoded(&id))
        }))
    }

    /// Remembers what cannot be read.
    pub fn tell<'u>(&self, unread: impl IntoIterator<Item = &'u Unread>) {
        let mut all = self.unread.lock().unwrap_or_else(PoisonError::into_inner);
        for item in unread {
            if all.len() < MAX_UNREAD && all.insert(item.clone()) && !self.reports {
                warn!("cloud {}: {item}; it is passed over", self.settings.name);
            }
        }
    }

    /// All that could not be read so far, each once: at most [`MAX_UNREAD`].
    pub fn unread(&self) -> Vec<Unread> {
        let all = self.unread.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().cloned().collect()
    }

    /// The settings of the cloud.
    pub fn settings(&self) -> &'s CloudSettings {
        self.settings
    }

    /// A token that is good for a while yet; a new one if need be. Threads that ask at once share one.
    pub fn token(&self, deadline: Deadline) -> Result<Arc<Token>, Error> {
        self.token_other_than(None, deadline)
    }

    fn token_other_than(
        &self,
        refused: Option<&Token>,
        deadline: Deadline,
    ) -> Result<Arc<Token>, Error> {
        let mut kept = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = kept.as_ref() {
            let refused = refused
                .is_some_and(|old| old.secret.expose_secret() == token.secret.expose_secret());
            if !refused && token.good_until.duration_since(now()) > MARGIN {
                return Ok(Arc::clone(token));
            }
        }
        let mut token = self.authenticate(deadline)?;
        if let Some(old) = kept.as_ref() {
            token.refused.clone_from(&old.refused);
        }
        let token = Arc::new(token);
        if let Some(cache) = &self.cache {
            cache.save(&token);
        }
        *kept = Some(Arc::clone(&token));
        Ok(token)
    }

    /// Asks `service` at `path` (and query) below its endpoint. A token that is refused is renewed once: a
    /// service refuses it before it looks at the request, so this is safe for a create too. What a new token does not help
    /// is remembered with it: an application credential whose access rules do not have a request is refused by 401 as a
    /// dead token is (`_validate_access_rules` of keystonemiddleware), and a policy by 403.
    pub fn send(
        &self,
        service: Service,
        path: &str,
        request: &Request,
        deadline: Deadline,
    ) -> Result<Answer, Error> {
        let token = self.token(deadline)?;
        let send = |token: &Token| {
            let url = token.catalog.url(service, self.settings)?;
            self.client.send(
                &format!("{url}{path}"),
                Some(&token.secret),
                request,
                deadline,
            )
        };
        let error = match send(&token) {
            Err(error) if is_for_want_of_rights(&error) => error,
            other => return other,
        };
        let what = kind_of_request(service, path, request);
        if !token.may_be_renewed_for(&what) {
            return Err(error);
        }
        debug!("{error}; with a new token once more");
        let answer = send(&*self.token_other_than(Some(&token), deadline)?);
        if answer.as_ref().is_err_and(is_for_want_of_rights) {
            self.remember_refused(what);
        }
        answer
    }

    fn remember_refused(&self, request: String) {
        let mut kept = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(token) = kept.as_mut() else { return };
        let mut token_now = Token::clone(token);
        if token_now.refused.len() < MAX_REFUSED && token_now.refused.insert(request) {
            if let Some(cache) = &self.cache {
                cache.save(&token_now);
            }
            *token = Arc::new(token_now);
        }
    }

    /// Asks Keystone at `path` below its address (`/v3`), which stands in the configuration and not in the catalog.
    pub fn ask_keystone(
        &self,
        path: &str,
        request: &Request,
        deadline: Deadline,
    ) -> Result<Answer, Error> {
        let url = format!("{}{path}", identity_url(&self.settings.auth.url));
        let token = self.token(deadline)?;
        self.client
            .send(&url, Some(&token.secret), request, deadline)
    }

    fn authenticate(&self, deadline: Deadline) -> Result<Token, Error> {
        let began = now();
        let url = format!("{}/auth/tokens", identity_url(&self.settings.auth.url));
        let body = request_body(&self.settings.auth.method).to_string();
        let answer = self
            .client
            .send(&url, None, &Request::read_by_post(body), deadline)
            .map_err(|error| self.refused(error))?;
        let ended = now();
        let token: TokenFields = answer.field("token")?;
        let unusable = |why: &str| answer.unparsable(why);
        let secret = answer
            .subject_token
            .clone()
            .ok_or_else(|| unusable("it has no X-Subject-Token"))?;
        let catalog = token.catalog.ok_or_else(|| {
            unusable("the token has no catalog: name the project, or give the user a role on it")
        })?;
        self.tell(catalog.unread());
        // How long it lives is worked out on Keystone's clock, when that starts on ours.
        let life = token.expires_at.duration_since(token.issued_at);
        let good_until = began
            .checked_add(life)
            .map_err(|_| unusable("the token's end is out of range"))?;
        debug!(
            "cloud {}: new token, good for {} s",
            self.settings.name,
            life.as_secs()
        );
        Ok(Token {
            secret,
            good_until,
            clock_ahead: Some(ahead(token.issued_at, began, ended)),
            project_id: token.project.map(|project| project.id),
            password_expires_at: token
                .user
                .as_ref()
                .and_then(|user| user.password_expires_at),
            user_id: token.user.map(|user| user.id),
            catalog,
            roles: token.roles.into_iter().map(|role| role.name).collect(),
            got_at: began,
            refused: BTreeSet::new(),
        })
    }

    /// A refusal by Keystone. The message of a 400 repeats what was sent, the password too, so it is left out.
    fn refused(&self, error: Error) -> Error {
        match error {
            Error::Refused(refusal) if refusal.status == 401 || deleted(&refusal) => {
                Error::AuthFailed {
                    call: refusal.call,
                    who: who(&self.settings.auth.method),
                    message: refusal.message,
                }
            }
            Error::Refused(mut refusal) => {
                if refusal.status == 400 {
                    refusal.message =
                        "Keystone does not understand user, project or domain".to_owned();
                }
                Error::Refused(refusal)
            }
            other => other,
        }
    }
}

/// Whether a token with other rights may be answered otherwise.
fn is_for_want_of_rights(error: &Error) -> bool {
    match error {
        Error::Refused(refusal) => {
            matches!(refusal.status, 401 | 403) && refusal.about() == About::Rights
        }
        _ => false,
    }
}

/// A request without the ids in its path: rights are the same for all of them.
fn kind_of_request(service: Service, path: &str, request: &Request) -> String {
    let path = path.split('?').next().unwrap_or_default();
    let parts: Vec<&str> = path
        .split('/')
        .map(|part| if looks_like_id(part) { "ID" } else { part })
        .collect();
    format!(
        "{} {} {}",
        request.method,
        service.catalog_type(),
        parts.join("/")
    )
}

/// Keystone's answer to an application credential that was deleted is 404; any other 404 is another address's.
fn deleted(refusal: &ErrorResponse) -> bool {
    refusal.status == 404 && refusal.message.contains("Application Credential")
}

#[derive(Deserialize)]
struct TokenFields {
    issued_at: Timestamp,
    expires_at: Timestamp,
    project: Option<Project>,
    user: Option<User>,
    catalog: Option<Catalog>,
    #[serde(default, deserialize_with = "items::readable")]
    roles: Vec<Role>,
}

#[derive(Deserialize)]
struct Role {
    name: String,
}

#[derive(Deserialize)]
struct User {
    id: String,
    #[serde(default, deserialize_with = "super::identity::moment")]
    password_expires_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Project {
    id: String,
}

fn now() -> Timestamp {
    // Out of range only beyond the year 9999.
    Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::MAX)
}

/// How far a clock is ahead that showed `there` at some moment between `began` and `ended` of ours.
fn ahead(there: Timestamp, began: Timestamp, ended: Timestamp) -> SignedDuration {
    if there < began {
        there.duration_since(began)
    } else if there > ended {
        there.duration_since(ended)
    } else {
        SignedDuration::ZERO
    }
}

/// Keystone's address with the version: configured with or without it.
fn identity_url(configured: &str) -> String {
    let url = configured.trim_end_matches('/');
    let url = url.strip_suffix("/auth/tokens").unwrap_or(url);
    // The original's configurations may still name the version that Keystone has dropped.
    let url = url.strip_suffix("/v2.0").unwrap_or(url);
    if url.ends_with("/v3") {
        url.to_owned()
    } else {
        format!("{url}/v3")
    }
}

/// `{"name": …}` or `{"id": …}`.
fn named(name: &NameOrId) -> Value {
    match name {
        NameOrId::Name(name) => json!({ "name": name }),
        NameOrId::Id(id) => json!({ "id": id }),
    }
}

/// A user or project; a name is only known within its domain, `Default` when none is given (as in the original).
fn in_domain(name: &NameOrId, domain: Option<&NameOrId>) -> Value {
    match name {
        NameOrId::Id(id) => json!({ "id": id }),
        NameOrId::Name(name) => json!({
            "name": name,
            "domain": domain.map_or_else(|| json!({ "id": "default" }), named),
        }),
    }
}

/// The body of POST /v3/auth/tokens.
fn request_body(method: &AuthMethod) -> Value {
    match method {
        AuthMethod::Password {
            user,
            user_domain,
            password,
            project,
            project_domain,
        } => {
            let mut user = in_domain(user, user_domain.as_ref());
            if let Some(fields) = user.as_object_mut() {
                fields.insert("password".to_owned(), json!(password.expose_secret()));
            }
            json!({ "auth": {
                "identity": { "methods": ["password"], "password": { "user": user } },
                "scope": { "project": in_domain(project, project_domain.as_ref()) },
            } })
        }
        AuthMethod::ApplicationCredential {
            credential,
            user,
            user_domain,
            secret,
        } => {
            let mut fields = named(credential);
            if let Some(fields) = fields.as_object_mut() {
                fields.insert("secret".to_owned(), json!(secret.expose_secret()));
                if let (NameOrId::Name(_), Some(user)) = (credential, user) {
                    fields.insert("user".to_owned(), in_domain(user, user_domain.as_ref()));
                }
            }
            // It carries its own scope: another would be refused.
            json!({ "auth": { "identity": {
                "methods": ["application_credential"],
                "application_credential": fields,
            } } })
        }
        AuthMethod::Token {
            token,
            project,
            project_domain,
        } => {
            let identity = json!({
                "methods": ["token"],
                "token": { "id": token.expose_secret() },
            });
            match project {
                Some(project) => json!({ "auth": {
                    "identity": identity,
                    "scope": { "project": in_domain(project, project_domain.as_ref()) },
                } }),
                None => json!({ "auth": { "identity": identity } }),
            }
        }
    }
}

/// Who asks, for an error message.
fn who(method: &AuthMethod) -> String {
    let plain = |name: &NameOrId| match name {
        NameOrId::Name(text) | NameOrId::Id(text) => text.clone(),
    };
    match method {
        AuthMethod::Password { user, project, .. } => {
            format!("user {} for project {}", plain(user), plain(project))
        }
        AuthMethod::ApplicationCredential { credential, .. } => {
            format!("application credential {}", plain(credential))
        }
        AuthMethod::Token { project, .. } => match project {
            Some(project) => format!("the token for project {}", plain(project)),
            None => "the token".to_owned(),
        },
    }
}

/// All that makes a token this configuration's: without the secret, which may change while the token lives.
pub(super) fn owner(settings: &CloudSettings) -> String {
    let url = identity_url(&settings.auth.url);
    match &settings.auth.method {
        AuthMethod::Password {
            user,
            user_domain,
            project,
            project_domain,
            ..
        } => format!("{url} password {user:?} {user_domain:?} {project:?} {project_domain:?}"),
        AuthMethod::ApplicationCredential {
            credential,
            user,
            user_domain,
            ..
        } => format!("{url} application credential {credential:?} {user:?} {user_domain:?}"),
        AuthMethod::Token {
            project,
            project_domain,
            ..
        } => format!("{url} token {project:?} {project_domain:?}"),
    }
}

/// What tests/fuzz reads: a token in `body`, whatever it is, and what its catalog says for `settings`.
#[cfg(fuzzing)]
pub fn read_anything(body: &[u8], settings: &CloudSettings) {
    if let Ok(token) = items::field::<TokenFields>(body, "token")
        && let Some(catalog) = token.catalog
    {
        drop(catalog.url(Service::Compute, settings));
        drop(catalog.region(settings));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keystones_address_may_have_the_version_or_not() {
        for configured in [
            "https://cloud.example:5000",
            "https://cloud.example:5000/",
            "https://cloud.example:5000/v3",
            "https://cloud.example:5000/v3/",
            "https://cloud.example:5000/v2.0",
            "https://cloud.example:5000/v3/auth/tokens",
        ] {
            assert_eq!(identity_url(configured), "https://cloud.example:5000/v3");
        }
        assert_eq!(
            identity_url("https://cloud.example/identity"),
            "https://cloud.example/identity/v3"
        );
    }

    #[test]
    fn bodies_for_names_and_ids() {
        let name = |text: &str| NameOrId::Name(text.to_owned());
        let id = |text: &str| NameOrId::Id(text.to_owned());
        assert_eq!(
            request_body(&AuthMethod::Password {
                user: id("u1"),
                user_domain: None,
                password: "secret".into(),
                project: name("p"),
                project_domain: Some(id("d1")),
            }),
            json!({"auth": {
                "identity": {"methods": ["password"], "password": {"user": {"id": "u1", "password": "secret"}}},
                "scope": {"project": {"name": "p", "domain": {"id": "d1"}}},
            }})
        );
        assert_eq!(
            request_body(&AuthMethod::ApplicationCredential {
                credential: name("ehos"),
                user: Some(name("me")),
                user_domain: Some(name("Default")),
                secret: "secret".into(),
            }),
            json!({"auth": {"identity": {"methods": ["application_credential"], "application_credential": {
                "name": "ehos", "secret": "secret", "user": {"name": "me", "domain": {"name": "Default"}},
            }}}})
        );
    }
}
