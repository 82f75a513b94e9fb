//! Who ehos is on a cloud: what is given for it, checked for being whole.

use std::path::PathBuf;

use secrecy::SecretString;

use super::clouds::One;
use super::context::Context;
use super::file;
use super::given::Given;
use crate::openstack::{Auth, AuthMethod, NameOrId};

impl One<'_> {
    /// How a key of the access is called where this cloud is described.
    fn called(&self, field: &str) -> String {
        if self.of_variables {
            format!("OS_{}", field.to_ascii_uppercase())
        } else {
            format!("`{field}`")
        }
    }

    /// Who ehos is on it, when that is whole.
    pub(super) fn auth(&mut self, context: &mut Context<'_>) -> Option<Auth> {
        let keys = self.cloud.take_auth();
        let key = ["clouds", self.name];
        let before = context.problems.len();
        let application_credential = match self.cloud.auth_type.get().map(String::as_str) {
            Some("v3applicationcredential" | "application_credential") => true,
            Some("v3password" | "password" | "v3token" | "token") => false,
            Some(other) => {
                context.problem(
                    &["clouds", self.name, "auth_type"],
                    format!("`{other}` is none of v3password, v3applicationcredential, v3token"),
                );
                return None;
            }
            None => {
                !keys.application_credential_id.is_absent()
                    || !keys.application_credential_name.is_absent()
            }
        };
        let url = match &keys.auth_url {
            // Addresses are shown; what stands in it must not be.
            Given::Value(url) if has_user(url) => {
                context.problem(
                    &key,
                    "`auth_url` has a user or a password in it: leave out what stands before the `@`, and put it into keys \
                     of its own (`username`, `password_file`)",
                );
                String::new()
            }
            Given::Value(url) if url.starts_with("https://") || url.starts_with("http://") => {
                url.clone()
            }
            Given::Value(url) => {
                context.problem(
                    &key,
                    format!("`auth_url` must begin with https:// or http://, and is `{url}`"),
                );
                String::new()
            }
            Given::Absent => {
                context.problem(&key, format!("{} is missing", self.called("auth_url")));
                String::new()
            }
            Given::Wrong(_) => String::new(),
        };
        let by_token = match self.cloud.auth_type.get() {
            Some(kind) => kind.ends_with("token"),
            None => !keys.token.is_absent() || !keys.token_file.is_absent(),
        };
        let user_domain = name_or_id(&keys.user_domain_name, &keys.user_domain_id);
        let method = if by_token {
            self.token(context, &keys)
        } else if application_credential {
            self.application_credential(context, &keys, user_domain)
        } else {
            self.password(context, &keys, user_domain)
        };
        (context.problems.len() == before)
            .then_some(())
            .and(method)
            .map(|method| Auth { url, method })
    }

    fn application_credential(
        &self,
        context: &mut Context<'_>,
        keys: &file::Auth,
        user_domain: Option<NameOrId>,
    ) -> Option<AuthMethod> {
        let credential = self.named(
            context,
            "application_credential_id",
            &keys.application_credential_name,
            &keys.application_credential_id,
        );
        let user = name_or_id(&keys.username, &keys.user_id);
        if matches!(credential, Some(NameOrId::Name(_))) {
            if user.is_none() {
                context.problem(
                    &["clouds", self.name],
                    "an application credential by name needs `username` or `user_id`; by id it does not",
                );
            }
            self.check_domain(context, user.as_ref(), user_domain.as_ref());
        }
        let secret = self.secret(
            context,
            "application_credential_secret",
            &keys.application_credential_secret,
            &keys.application_credential_secret_file,
        );
        Some(AuthMethod::ApplicationCredential {
            credential: credential?,
            user,
            user_domain,
            secret: secret?,
        })
    }

    fn token(&self, context: &mut Context<'_>, keys: &file::Auth) -> Option<AuthMethod> {
        context.note(
            &["clouds", self.name],
            "a token ends within hours and ehos cannot renew it; create an application credential (openstack application \
             credential create ehos)",
        );
        let token = self.secret(context, "token", &keys.token, &keys.token_file);
        Some(AuthMethod::Token {
            token: token?,
            project: name_or_id(&keys.project_name, &keys.project_id),
            project_domain: name_or_id(&keys.project_domain_name, &keys.project_domain_id),
        })
    }

    fn password(
        &self,
        context: &mut Context<'_>,
        keys: &file::Auth,
        user_domain: Option<NameOrId>,
    ) -> Option<AuthMethod> {
        let user = self.named(context, "username", &keys.username, &keys.user_id);
        self.check_domain(context, user.as_ref(), user_domain.as_ref());
        let project = self.named(
            context,
            "project_name",
            &keys.project_name,
            &keys.project_id,
        );
        let project_domain = name_or_id(&keys.project_domain_name, &keys.project_domain_id)
            .or_else(|| user_domain.clone());
        if matches!(project, Some(NameOrId::Name(_)))
            && project_domain.is_none()
            && !matches!(user, Some(NameOrId::Name(_)))
        {
            context.problem(
                &["clouds", self.name],
                format!(
                    "{} is missing (on most clouds it is `Default`)",
                    self.called("project_domain_name")
                ),
            );
        }
        let password = self.secret(context, "password", &keys.password, &keys.password_file);
        Some(AuthMethod::Password {
            user: user?,
            user_domain,
            password: password?,
            project: project?,
            project_domain,
        })
    }

    /// The id, or else the name; one of them must be there. `field` is the key to ask for.
    fn named(
        &self,
        context: &mut Context<'_>,
        field: &str,
        name: &Given<String>,
        id: &Given<String>,
    ) -> Option<NameOrId> {
        if name.is_absent() && id.is_absent() {
            context.problem(
                &["clouds", self.name],
                format!("{} is missing", self.called(field)),
            );
        }
        name_or_id(name, id)
    }

    /// A user by name is one of a domain.
    fn check_domain(
        &self,
        context: &mut Context<'_>,
        user: Option<&NameOrId>,
        domain: Option<&NameOrId>,
    ) {
        if matches!(user, Some(NameOrId::Name(_))) && domain.is_none() {
            context.problem(
                &["clouds", self.name],
                format!(
                    "{} is missing (on most clouds it is `Default`)",
                    self.called("user_domain_name")
                ),
            );
        }
    }

    fn secret(
        &self,
        context: &mut Context<'_>,
        field: &str,
        inline: &Given<SecretString>,
        file: &Given<PathBuf>,
    ) -> Option<SecretString> {
        if inline.is_absent() && file.is_absent() {
            let or_file = if self.of_variables {
                String::new()
            } else {
                format!(" (or `{field}_file`)")
            };
            context.problem(
                &["clouds", self.name],
                format!("{}{or_file} is missing", self.called(field)),
            );
            return None;
        }
        let nested = ["clouds", self.name, "auth"];
        let file_key = format!("{field}_file");
        let section = if context.has(&["clouds", self.name, "auth", &file_key]) {
            &nested[..]
        } else {
            &nested[..2]
        };
        context.secret(
            section,
            field,
            inline,
            file,
            "put the secret alone into it, for its owner to read (chmod 600)",
        )
    }
}

/// Whether the address has a user, or a user and a password, before its host (RFC 3986, 3.2.1).
pub(super) fn has_user(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#'])
        .next()
        .is_some_and(|host| host.contains('@'))
}

/// The id, where it is given, else the name.
fn name_or_id(name: &Given<String>, id: &Given<String>) -> Option<NameOrId> {
    id.value()
        .map(NameOrId::Id)
        .or_else(|| name.value().map(NameOrId::Name))
}
