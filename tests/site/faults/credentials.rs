//! What ehos may do on a cloud, taken away: tokens, the password, the application credential, the role.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use serde_json::json;

use super::furnished;
use super::proxy::{Fault, What};
use super::rig::{Api, Rig};
use crate::machines::step;

/// The services keep what they know of a token for five minutes: they forget it.
fn forget_tokens(address: &str) {
    let mut memcached = TcpStream::connect(format!("{address}:11211")).unwrap();
    memcached.write_all(b"flush_all\r\nquit\r\n").unwrap();
    let mut answer = String::new();
    memcached.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "OK\r\n");
}

/// A user of this test alone, with a role in the project of the cloud `big`.
struct Guest {
    admin: Api,
    name: String,
    id: String,
    project: String,
    grant: String,
}

impl Guest {
    fn new(rig: &Rig) -> Guest {
        let admin = rig.admin();
        let name = format!("faults-{}", std::process::id());
        let user = json!({"user": {"name": name, "domain_id": "default", "password": "first"}});
        let user = admin.ok("POST", ":5000/v3/users", Some(&user));
        let id = user["user"]["id"].as_str().unwrap().to_owned();
        let mut guest = Guest {
            admin,
            name,
            id,
            project: rig.nova.project("big").project.clone(),
            grant: String::new(),
        };
        guest.grant = guest.role("member");
        guest.admin.ok("PUT", &guest.grant, None);
        guest
    }

    /// Where this role is granted.
    fn role(&self, name: &str) -> String {
        let roles = format!(":5000/v3/roles?name={name}");
        let roles = self.admin.ok("GET", &roles, None);
        let role = roles["roles"][0]["id"].as_str().unwrap();
        let (project, user) = (&self.project, &self.id);
        format!(":5000/v3/projects/{project}/users/{user}/roles/{role}")
    }

    fn password(&self, password: &str) {
        let user = json!({"user": {"password": password}});
        self.admin
            .ok("PATCH", &format!(":5000/v3/users/{}", self.id), Some(&user));
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self
            .admin
            .call("DELETE", &format!(":5000/v3/users/{}", self.id), None);
    }
}

#[test]
fn tokens_passwords_and_credentials_that_are_no_good_any_more() {
    let Some(rig) = Rig::up("access", "nodes_max: 2\nidle_timeout: 1 h") else {
        return;
    };
    let guest = Guest::new(&rig);
    let access = |password: &str, daemon: &str| {
        rig.over(&format!(
            "clouds: {{big: {{username: {}, password: {password}}}}}\ndaemon: {{{daemon}}}",
            guest.name
        ));
    };
    access("first", "");
    let idle = furnished(&rig);
    let goes = "idle_timeout: 1 s";
    let logins = |rig: &Rig| {
        let seen = rig.big.seen();
        seen.iter()
            .filter(|seen| *seen == "POST /v3/auth/tokens")
            .count()
    };
    // A look that would take the idle node away, and nobody is the wiser.
    let refused = |words: &[&str]| {
        let before = rig.holdings();
        let tick = rig.tick(&[]);
        println!("{tick}");
        tick.expect(&[1], words);
        assert!(
            !tick.text.contains("first") && !tick.text.contains("second"),
            "{tick}"
        );
        assert_eq!(rig.holdings(), before);
    };

    step("the kept token is revoked between two ticks");
    rig.steady_tick().expect(&[0], &[]);
    logins(&rig);
    rig.steady_tick().expect(&[0], &[]);
    assert_eq!(logins(&rig), 0, "the token is not kept");
    rig.revoke_kept_token("big");
    forget_tokens(&rig.address);
    rig.steady_tick().expect(&[0], &["nothing to do"]);
    assert_eq!(logins(&rig), 1);

    step("it is revoked in the middle of a tick");
    let address = rig.address.clone();
    let token = rig.kept_token("big");
    let admin = guest.admin.clone();
    let revoke = move || {
        admin.revoke(&token);
        forget_tokens(&address);
    };
    rig.big
        .set(&[Fault::once("GET", "/limits", What::First(Arc::new(revoke)))]);
    rig.steady_tick().expect(&[0], &["nothing to do"]);
    rig.big.set(&[]);
    assert_eq!(logins(&rig), 1);

    step("the password is changed");
    access("first", goes);
    guest.password("second");
    forget_tokens(&rig.address);
    let who = format!("does not accept user {} for project ehos", guest.name);
    refused(&["unknown  cloud big: ", &who]);
    access("second", "");
    rig.steady_tick().expect(&[0], &["nothing to do"]);

    step("the role is taken away");
    access("second", goes);
    guest.admin.ok("DELETE", &guest.grant, None);
    forget_tokens(&rig.address);
    refused(&["unknown  cloud big: ", &who]);
    guest.admin.ok("PUT", &guest.grant, None);
    access("second", "");
    rig.steady_tick().expect(&[0], &["nothing to do"]);

    step("an application credential is deleted");
    let url = format!("http://{}", rig.address);
    let user = Api::login(&url, &guest.name, "second", "ehos").unwrap();
    let place = format!(":5000/v3/users/{}/application_credentials", user.user);
    let wanted = json!({"application_credential": {"name": "faults"}});
    let made = user.ok("POST", &place, Some(&wanted));
    let made = &made["application_credential"];
    let (id, secret) = (
        made["id"].as_str().unwrap(),
        made["secret"].as_str().unwrap(),
    );
    let credential = |daemon: &str| {
        rig.over(&format!(
            "clouds:\n  big:\n    username:\n    password:\n    project_name:\n    user_domain_name:\n    \
             project_domain_name:\n    application_credential_id: {id}\n    application_credential_secret: {secret}\n\
             daemon: {{{daemon}}}"
        ));
    };
    credential("");
    rig.steady_tick().expect(&[0], &["nothing to do"]);
    credential(goes);
    user.ok("DELETE", &format!("{place}/{id}"), None);
    forget_tokens(&rig.address);
    refused(&[
        "unknown  cloud big: ",
        &format!("does not accept application credential {id}"),
    ]);

    access("second", goes);
    if super::long() {
        step("the role is reduced to reader: the node is drained and may not be deleted (403)");
        let reader = guest.role("reader");
        guest.admin.ok("PUT", &reader, None);
        guest.admin.ok("DELETE", &guest.grant, None);
        forget_tokens(&rig.address);
        let is_refused = |_| rig.tick(&[]).text.contains("status 403");
        assert!((0..60).any(is_refused), "it is never refused");
        assert!(rig.servers().iter().any(|server| server.id == idle.id));

        step("the role is given back: a new token is tried within five minutes");
        // The grant of reader stays: its end would end the kept token.
        guest.admin.ok("PUT", &guest.grant, None);
        rig.tick_until("the idle node is gone", 400, &[0, 1], |rig| {
            !rig.servers().iter().any(|server| server.id == idle.id)
        });
    }

    step("and with a password that is right the idle node goes");
    // In its place one may be made for the job that waits.
    rig.tick_until("the idle node is gone", 60, &[0], |rig| {
        !rig.servers().iter().any(|server| server.id == idle.id)
    });
    super::assert_nobody_was_evicted(&rig);
}
