//! Who ehos is on a cloud: what is given for it, checked for being whole.

use secrecy::SecretString;

use super::address::has_user;
use super::clouds::CloudChecker;
use super::diagnostics::{Diagnostics, unknown_value};
use super::document::Section;
use openstack::{Auth, AuthMethod, NameOrId};

impl CloudChecker<'_> {
    /// How a key of the access is called where this cloud is described.
    fn called(&self, field: &str) -> String {
        if self.of_variables {
            format!("OS_{}", field.to_ascii_uppercase())
        } else {
            format!("`{field}`")
        }
    }

    /// Who ehos is on it, when that is whole.
    pub(super) fn auth(&self, context: &mut Diagnostics<'_>) -> Option<Auth> {
        let keys = self.cloud.login();
        let key = ["clouds", self.name];
        let before = context.problems.len();
        let application_credential = match self.cloud.text("auth_type") {
            Some("v3applicationcredential" | "application_credential") => true,
            Some("v3password" | "password" | "v3token" | "token") => false,
            Some(other) => {
                context.problem(
                    &["clouds", self.name, "auth_type"],
                    unknown_value(other, &["v3password", "v3applicationcredential", "v3token"]),
                );
                return None;
            }
            None => {
                keys.has("application_credential_id") || keys.has("application_credential_name")
            }
        };
        let url = match (keys.get("auth_url"), keys.text("auth_url")) {
            // Addresses are shown; what stands in it must not be.
            (_, Some(url)) if has_user(url) => {
                context.problem(
                    &key,
                    (
                        "`auth_url` has a user or a password in it",
                        "move what stands before the `@` to `username` and `password_file`",
                    ),
                );
                String::new()
            }
            (_, Some(url)) if url.starts_with("https://") || url.starts_with("http://") => {
                url.to_owned()
            }
            (_, Some(url)) => {
                context.problem(
                    &key,
                    format!("`auth_url` must begin with https:// or http://, and is `{url}`"),
                );
                String::new()
            }
            (None, None) => {
                context.problem(&key, format!("{} is missing", self.called("auth_url")));
                String::new()
            }
            (Some(_), None) => String::new(),
        };
        let by_token = match self.cloud.text("auth_type") {
            Some(kind) => kind.ends_with("token"),
            None => keys.has("token") || keys.has("token_file"),
        };
        let user_domain = name_or_id(&keys, "user_domain");
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
        context: &mut Diagnostics<'_>,
        keys: &Section,
        user_domain: Option<NameOrId>,
    ) -> Option<AuthMethod> {
        let credential = self.named(
            context,
            keys,
            "application_credential",
            "application_credential_id",
        );
        let user = name_or_id(keys, "user");
        if matches!(credential, Some(NameOrId::Name(_))) {
            if user.is_none() {
                context.problem(
                    &["clouds", self.name],
                    (
                        "an application credential by name needs `username` or `user_id`",
                        "set one of them, or name the credential by its id",
                    ),
                );
            }
            self.check_domain(context, user.as_ref(), user_domain.as_ref());
        }
        let secret = self.secret(context, keys, "application_credential_secret");
        Some(AuthMethod::ApplicationCredential {
            credential: credential?,
            user,
            user_domain,
            secret: secret?,
        })
    }

    fn token(&self, context: &mut Diagnostics<'_>, keys: &Section) -> Option<AuthMethod> {
        context.note(
            &["clouds", self.name],
            (
                "a token expires within hours and ehos cannot renew it",
                "create an application credential (openstack application credential create ehos)",
            ),
        );
        let token = self.secret(context, keys, "token");
        Some(AuthMethod::Token {
            token: token?,
            project: name_or_id(keys, "project"),
            project_domain: name_or_id(keys, "project_domain"),
        })
    }

    fn password(
        &self,
        context: &mut Diagnostics<'_>,
        keys: &Section,
        user_domain: Option<NameOrId>,
    ) -> Option<AuthMethod> {
        let user = self.named(context, keys, "user", "username");
        self.check_domain(context, user.as_ref(), user_domain.as_ref());
        let project = self.named(context, keys, "project", "project_name");
        let project_domain = name_or_id(keys, "project_domain").or_else(|| user_domain.clone());
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
        let password = self.secret(context, keys, "password");
        Some(AuthMethod::Password {
            user: user?,
            user_domain,
            password: password?,
            project: project?,
            project_domain,
        })
    }

    /// The id, or else the name; one of them must be there. `asked` is the key to ask for.
    fn named(
        &self,
        context: &mut Diagnostics<'_>,
        keys: &Section,
        what: &str,
        asked: &str,
    ) -> Option<NameOrId> {
        let [name, id] = names(what);
        if !keys.has(&name) && !keys.has(&id) {
            context.problem(
                &["clouds", self.name],
                format!("{} is missing", self.called(asked)),
            );
        }
        name_or_id(keys, what)
    }

    /// A user by name is one of a domain.
    fn check_domain(
        &self,
        context: &mut Diagnostics<'_>,
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
        context: &mut Diagnostics<'_>,
        keys: &Section,
        field: &str,
    ) -> Option<SecretString> {
        let file_key = format!("{field}_file");
        if !keys.has(field) && !keys.has(&file_key) {
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
        let section = if context.has(&["clouds", self.name, "auth", &file_key]) {
            &nested[..]
        } else {
            &nested[..2]
        };
        context.secret(
            section,
            field,
            keys,
            "write the secret into it, readable by its owner only (chmod 600)",
        )
    }
}

/// The keys with the name and with the id of something.
fn names(what: &str) -> [String; 2] {
    let name = match what {
        "user" => "username".to_owned(),
        _ => format!("{what}_name"),
    };
    [name, format!("{what}_id")]
}

/// The id, where it is given, else the name.
fn name_or_id(keys: &Section, what: &str) -> Option<NameOrId> {
    let [name, id] = names(what);
    let id = keys.value(&id).map(NameOrId::Id);
    id.or_else(|| keys.value(&name).map(NameOrId::Name))
}
