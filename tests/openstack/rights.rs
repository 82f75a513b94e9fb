//! Requests that the rights of the login do not have, for a while or for good: they are refused, and nothing else is.

use std::path::PathBuf;
use std::time::Duration;

use openstack::{AuthMethod, CloudSettings, NameOrId};
use openstack::{OpenStackCloud, auth::Session, compute};
use scaling::observation::Observed;
use tick::cloud::{Cloud, LeftoverQuery};

use crate::double::{Double, Line, Reply, always, once};
use crate::{PASSWORD, TOKEN, login, settings, soon, token};

const LOGIN: &str = "/v3/auth/tokens";
const KEYS: &str = "/v2.1/os-keypairs";

fn forbidden() -> Reply {
    let body = r#"{"forbidden": {"code": 403, "message": "Policy doesn't allow os_compute_api:os-keypairs:index to be performed."}}"#;
    Reply::status(403, body)
}

fn refused() -> Reply {
    Reply::fixture("nova-401-invalid")
}

fn keys() -> Reply {
    Reply::status(200, r#"{"keypairs": []}"#)
}

/// Asks for the keypairs in a session of its own, as a tick does, with the token that the last one has kept.
fn tick(settings: &CloudSettings, cache: &std::path::Path) -> Result<(), u16> {
    let cache = Some(PathBuf::from(cache));
    let session = Session::new(settings, Duration::from_secs(10), cache).unwrap();
    match compute::keypairs(&session, soon()) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.status().unwrap()),
    }
}

/// Makes the kept token this much older.
fn age(cache: &std::path::Path, minutes: i64) {
    let text = std::fs::read_to_string(cache).unwrap();
    let mut stored: serde_json::Value = serde_json::from_str(&text).unwrap();
    let got_at: jiff::Timestamp = stored["got_at"].as_str().unwrap().parse().unwrap();
    let earlier = got_at - jiff::SignedDuration::from_mins(minutes);
    stored["got_at"] = earlier.to_string().into();
    std::fs::write(cache, stored.to_string()).unwrap();
}

#[test]
fn rights_that_come_back_are_used_with_a_new_token_within_minutes() {
    for lack in [forbidden, refused] {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("token");
        let double = Double::start(vec![login(), always("GET", KEYS, keys())]);
        let settings = settings(double.url());
        assert_eq!(tick(&settings, &cache), Ok(()));
        assert_eq!(double.count("POST", LOGIN), 1);
        // The role is taken away.
        double.play(vec![login(), always("GET", KEYS, lack())]);
        for _ in 0..20 {
            assert!(tick(&settings, &cache).is_err());
        }
        assert_eq!(
            double.count("POST", LOGIN),
            2,
            "a new one is tried once, not each tick"
        );
        for _ in 0..3 {
            age(&cache, 6);
            assert!(tick(&settings, &cache).is_err());
        }
        assert_eq!(
            double.count("POST", LOGIN),
            5,
            "and once more after a while"
        );
        // And given back: the kept token does not have it, a new one does.
        let script: Vec<Line> = vec![
            login(),
            once("GET", KEYS, lack()),
            always("GET", KEYS, keys()),
        ];
        double.play(script);
        age(&cache, 6);
        assert_eq!(tick(&settings, &cache), Ok(()));
        assert_eq!(double.count("POST", LOGIN), 6);
    }
}

#[test]
fn several_refused_requests_do_not_fetch_tokens_by_turns() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("token");
    let double = Double::start(vec![
        login(),
        always("GET", KEYS, refused()),
        always("GET", "/v2.1/servers/detail", refused()),
    ]);
    let settings = settings(double.url());
    for _ in 0..10 {
        let session =
            Session::new(&settings, Duration::from_secs(10), Some(cache.clone())).unwrap();
        assert!(compute::keypairs(&session, soon()).is_err());
        assert!(compute::servers(&session, soon()).is_err());
    }
    assert!(
        double.count("POST", LOGIN) <= 3,
        "{}",
        double.count("POST", LOGIN)
    );
}

#[test]
fn one_request_that_an_access_rule_lacks_is_no_dead_token() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("token");
    let body = r#"{"error": {"code": 401, "title": "Unauthorized", "message": "The request you have made requires authentication."}}"#;
    let double = Double::start(vec![
        always("POST", LOGIN, token(TOKEN)),
        always(
            "GET",
            "/v2.1/servers/detail",
            Reply::fixture("servers-empty"),
        ),
        always("GET", "/v2.1/limits", Reply::fixture("nova-limits")),
        always(
            "GET",
            "/v2.1/flavors/detail",
            Reply::fixture("nova-flavors"),
        ),
        always(
            "GET",
            "/v2.0/floatingips",
            Reply::status(200, r#"{"floatingips": []}"#),
        ),
        always("GET", "/v2.0/quotas/", Reply::status(401, body)),
    ]);
    let mut settings = settings(double.url());
    settings.auth.method = AuthMethod::ApplicationCredential {
        credential: NameOrId::Id("0fb637e0".to_owned()),
        user: None,
        user_domain: None,
        secret: PASSWORD.into(),
    };
    for _ in 0..10 {
        let cloud = OpenStackCloud::new(
            &settings,
            "pool-1",
            Duration::from_secs(10),
            Some(cache.clone()),
            Box::new(|_, _, _| Ok("".into())),
        )
        .unwrap();
        let view = cloud.observe(&LeftoverQuery::default(), soon()).unwrap();
        assert!(
            matches!(view.parts, Observed::Known(_)),
            "nodes are created: a create over the quota is refused"
        );
        let told: Vec<String> = view.unread.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].starts_with("quota of ports cannot be read: GET /v2.0/quotas/"),
            "{told:?}"
        );
        assert!(
            told[0].contains("create an application credential with an access rule"),
            "{told:?}"
        );
    }
    assert_eq!(double.count("POST", LOGIN), 2);
}
