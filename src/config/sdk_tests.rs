//! Entries of clouds.yaml, openrc files and variables as openstacksdk reads them: what counts, and what is named.

use std::collections::BTreeMap;
use std::path::Path;

use secrecy::ExposeSecret;

use super::connection::{self, Connection};
use super::tests::{environment, world};
use super::*;
use openstack::{AuthMethod, NameOrId, ServiceSettings};

const LOGIN: &str =
    "auth_url: https://a, username: u, password: hush, project_name: p, user_domain_name: d";

/// The entry `one` of this clouds.yaml, beside these files.
fn entry_beside(
    text: &str,
    files: &[(&str, &str)],
    variables: &[(&str, &str)],
) -> Result<Connection, String> {
    let mut all = vec![("clouds.yaml", text)];
    all.extend(files);
    let folder = world(&all);
    let found = connection::of_entry("one", &environment(folder.path(), variables));
    let here = format!("{}/", folder.path().display());
    found
        .map(|mut found| {
            for file in found.notes.iter_mut().filter_map(|note| note.file.as_mut()) {
                *file = file.strip_prefix(folder.path()).unwrap().to_owned();
            }
            found
        })
        .map_err(|error| error.to_string().replace(&here, ""))
}

fn texts(notes: &[Diagnostic]) -> Vec<String> {
    notes.iter().map(Diagnostic::to_string).collect()
}

fn entry(text: &str) -> Result<Connection, String> {
    entry_beside(text, &[], &[])
}

/// The only entry with these keys in its `auth`, and these beside it.
fn keys(auth: &str, beside: &str) -> Result<Connection, String> {
    entry(&format!("clouds:\n  one:\n    auth: {{{auth}}}\n{beside}"))
}

fn password(found: &Connection) -> (String, String, String) {
    match &found.settings.auth.method {
        AuthMethod::Password {
            user,
            user_domain,
            password,
            project,
            project_domain,
        } => (
            format!("{user:?} {user_domain:?}"),
            password.expose_secret().to_owned(),
            format!("{project:?} {project_domain:?}"),
        ),
        other => panic!("{other:?}"),
    }
}

#[test]
fn domains_and_tenants_are_found_wherever_they_stand() {
    let base = "auth_url: https://a, username: u, password: hush";
    let default = "Some(Name(\"d\"))";
    for (auth, beside) in [
        (
            "project_name: p, user_domain_name: d, project_domain_name: d",
            "",
        ),
        ("project_name: p, domain_name: d", ""),
        ("project_name: p", "    domain_name: d\n"),
        ("project-name: p, domain-name: d", ""),
        ("tenant_name: p, domain_name: d", ""),
        ("tenant-name: p, default_domain_name: d", ""),
        ("project_name: p", "    default_domain_name: d\n"),
        (
            "",
            "    project_name: p\n    user_domain_name: d\n    project_domain_name: d\n",
        ),
        ("project_name: p, user_domain_name: d", ""),
    ] {
        let found = keys(&format!("{base}, {auth}"), beside).unwrap();
        let (user, _, project) = password(&found);
        assert_eq!(user, format!("Name(\"u\") {default}"), "{auth} {beside}");
        assert_eq!(project, format!("Name(\"p\") {default}"), "{auth} {beside}");
        assert!(found.notes.is_empty(), "{:?}", found.notes);
    }
    for (auth, expected) in [
        (
            "tenant_id: 0123, domain_id: default",
            "Id(\"0123\") Some(Id(\"default\"))",
        ),
        (
            "project_id: 0123, default_domain: default",
            "Id(\"0123\") Some(Id(\"default\"))",
        ),
        (
            "project_id: 1e5, default_domain_id: 12",
            "Id(\"1e5\") Some(Id(\"12\"))",
        ),
    ] {
        let found = keys(&format!("{base}, {auth}"), "").unwrap();
        assert_eq!(password(&found).2, expected, "{auth}");
    }
    // Of two that say different things one counts, and the other is named.
    let found = keys(
        &format!("{base}, domain_name: d, tenant_name: old, project_name: p"),
        "",
    )
    .unwrap();
    assert_eq!(password(&found).2, "Name(\"p\") Some(Name(\"d\"))");
    assert_eq!(
        texts(&found.notes),
        [
            "clouds.yaml:3:78: clouds.one.auth.tenant_name: not used: `project_name` has another value"
        ]
    );
}

#[test]
fn values_that_look_like_numbers_keep_their_text() {
    let found = keys(
        "auth_url: https://a, username: 007, password: 12345678, project_id: 0123456, user_domain_id: 1_0",
        "",
    )
    .unwrap();
    assert_eq!(
        password(&found),
        (
            "Name(\"007\") Some(Id(\"1_0\"))".to_owned(),
            "12345678".to_owned(),
            "Id(\"0123456\") Some(Id(\"1_0\"))".to_owned()
        )
    );
}

#[test]
fn merge_keys_json_and_other_endings_are_read() {
    let yaml = format!(
        "x: &base\n  auth: &auth {{{LOGIN}}}\n  region_name: R\nclouds:\n  one:\n    <<: *base\n    auth:\n      <<: *auth\n      \
         project_name: other\n"
    );
    let found = entry(&yaml).unwrap();
    assert_eq!(password(&found).2, "Name(\"other\") Some(Name(\"d\"))");
    assert_eq!(found.settings.region.as_deref(), Some("R"));

    let json = "{\"clouds\": {\"one\": {\n\t\"auth\": {\"auth_url\": \"https://a\", \"username\": \"u\", \"project_name\": \"p\", \
                \"user_domain_name\": \"d\"}, \"verify\": false}}}";
    let secret = "{\"clouds\": {\"one\": {\"auth\": {\"password\": \"hush\"}}}}";
    let folder = world(&[("clouds.json", json), ("secure.json", secret)]);
    let found = connection::of_entry("one", &environment(folder.path(), &[])).unwrap();
    assert!(found.settings.insecure);
    assert_eq!(password(&found).1, "hush");
}

#[test]
fn a_region_of_several_must_be_chosen() {
    let list = format!(
        "clouds:\n  one:\n    auth: {{{LOGIN}}}\n    regions: [A, {{name: B, values: {{auth: {{project_name: b}}, interface: internal}}}}]\n"
    );
    let region = [("OS_REGION_NAME", "B")];
    let found = entry_beside(&list, &[], &region).unwrap();
    assert_eq!(found.settings.region.as_deref(), Some("B"));
    assert_eq!(found.settings.interface, "internal");
    assert_eq!(password(&found).2, "Name(\"b\") Some(Name(\"d\"))");
    let error = entry(&list).unwrap_err();
    assert_eq!(
        error,
        "clouds.yaml:4:5: clouds.one.regions: has several regions: A, B; set `region_name` in ehos.yaml, or \
         $OS_REGION_NAME with $OS_CLOUD"
    );
    let error = entry_beside(&list, &[], &[("OS_REGION_NAME", "C")]).unwrap_err();
    assert!(
        error.ends_with("there is no region `C` in it; expected one of A, B"),
        "{error}"
    );
    // The entry itself may choose one.
    let chosen = format!("{list}    region_name: A\n");
    assert_eq!(
        entry(&chosen).unwrap().settings.region.as_deref(),
        Some("A")
    );
    for (regions, expected) in [
        ("regions: [A]", "A"),
        ("region_name: A", "A"),
        ("region_name: [A]", "A"),
    ] {
        let found = keys(LOGIN, &format!("    {regions}\n")).unwrap();
        assert_eq!(
            found.settings.region.as_deref(),
            Some(expected),
            "{regions}"
        );
    }
    for nothing in ["regions: []", "region_name: ''", "region_name:"] {
        let found = keys(LOGIN, &format!("    {nothing}\n")).unwrap();
        assert_eq!(found.settings.region, None, "{nothing}");
    }
    // Its own default is none that must be.
    let default = format!("clouds: {{one: {{auth: {{{LOGIN}}}, region_name: A}}}}");
    let found = entry_beside(&default, &[], &region).unwrap();
    assert_eq!(found.settings.region.as_deref(), Some("B"));
    let error = keys(LOGIN, "    region_name: A,B\n").unwrap_err();
    assert!(
        error.contains("clouds.one.region_name: has several regions: A, B"),
        "{error}"
    );
}

#[test]
fn endpoints_interfaces_and_regions_of_one_service_count() {
    let found = keys(
        &LOGIN.replace("https://a", "'https://{region_name}.example:5000'"),
        "    region_name: R\n    endpoint_type: internalURL\n    compute_endpoint_override: 'https://{region_name}.example:8774/v2.1'\n    \
         block-storage-endpoint-override: https://c\n    image_interface: public\n    network_endpoint_type: adminURL\n    \
         image_region_name: Other\n    object_store_endpoint_override: https://swift\n    volume_api_version: '3'\n    \
         network_api_version: 2.0\n    compute_api_version: 2.1\n    identity_api_version: 3\n",
    )
    .unwrap();
    let settings = &found.settings;
    assert_eq!(settings.auth.url, "https://R.example:5000");
    assert_eq!(settings.interface, "internal");
    let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        let own = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
        pairs.iter().map(own).collect()
    };
    assert_eq!(
        settings.services,
        ServiceSettings {
            endpoint_overrides: map(&[
                ("compute", "https://R.example:8774/v2.1"),
                ("volume", "https://c")
            ]),
            interfaces: map(&[("image", "public"), ("network", "admin")]),
            region_names: map(&[("image", "Other")]),
        }
    );
    assert!(found.notes.is_empty(), "{:?}", found.notes);
}

#[test]
fn what_does_not_count_is_named_by_its_line_unless_it_can_change_nothing() {
    for (key, said) in [
        (
            "api_timeout: 9",
            "not used: daemon.request_timeout limits each request",
        ),
        (
            "cert: /c",
            "not used: ehos shows no certificate of its own to a cloud",
        ),
        (
            "key: /k",
            "not used: ehos shows no certificate of its own to a cloud",
        ),
        (
            "identity_api_version: 2",
            "not used: Keystone v2 is not supported: ehos uses v3",
        ),
        (
            "identity_endpoint_override: https://k",
            "not used: Keystone is at `auth_url`",
        ),
        ("volume_api_version: 2", "not used: ehos uses version 3"),
        (
            "compute_default_microversion: 2.96",
            "not used: ehos requests the microversions that it needs",
        ),
        (
            "vendor_hook: x.y",
            "not used: ehos runs no code of a vendor",
        ),
        (
            "auth_type: v2password",
            "Keystone v2 is not supported: ehos uses v3",
        ),
        (
            "regoin_name: R",
            "not used: ehos does not know this key; the nearest known key is `region_name`",
        ),
        ("something: {a: b}", "not used: ehos does not know this key"),
        (
            "compute_service_type: nova",
            "not used: ehos finds the service by its usual type; set compute_endpoint_override if ehos does not find it",
        ),
    ] {
        let found = keys(LOGIN, &format!("    {key}\n")).unwrap();
        let name = key.split(':').next().unwrap();
        assert_eq!(
            texts(&found.notes),
            [format!("clouds.yaml:4:5: clouds.one.{name}: {said}")]
        );
    }
    let found = keys(
        LOGIN,
        "    networks: [{name: n, nat_destination: true}]\n    cache: {auth: true}\n    floating_ip_source: neutron\n    force_ipv4: true\n    \
         dns_api_version: 1\n    has_network: true\n    image_format: qcow2\n    description: x\n    compute_connect_retries: 3\nclient: {}\n\
         metrics: {}\ncache: {}\n",
    )
    .unwrap();
    assert!(found.notes.is_empty(), "{:?}", found.notes);
    let found = keys(&format!("{LOGIN}, pasword: x"), "").unwrap();
    assert!(
        found.notes[0]
            .to_string()
            .ends_with("the nearest known key is `password`"),
        "{:?}",
        found.notes
    );
}

#[test]
fn a_login_that_ehos_cannot_do_is_an_error_with_what_to_do() {
    for kind in [
        "v3oidcpassword",
        "v3oidcclientcredentials",
        "v3oidcaccesstoken",
        "v3totp",
        "v3multifactor",
        "none",
        "http_basic",
        "admin_token",
        "token_endpoint",
        "v3kerberos",
        "v3samlpassword",
        "v3oauth1",
    ] {
        let error = keys(LOGIN, &format!("    auth_type: {kind}\n")).unwrap_err();
        assert_eq!(
            error,
            format!(
                "clouds.yaml:4:5: clouds.one.auth_type: ehos cannot log in by `{kind}`, only by password, \
                 v3applicationcredential or token; create an application credential for ehos (openstack application \
                 credential create ehos) and use that"
            )
        );
    }
    for (key, said) in [
        ("trust_id: t", "ehos cannot log in by a trust"),
        (
            "system_scope: all",
            "ehos cannot log in by the system as scope",
        ),
        (
            "passcode: 123456",
            "ehos cannot log in by a one-time passcode",
        ),
    ] {
        let error = keys(&format!("{LOGIN}, {key}"), "").unwrap_err();
        assert!(
            error.contains(said) && error.starts_with("clouds.yaml:3:"),
            "{error}"
        );
    }
}

#[test]
fn a_token_and_an_application_credential_are_logins() {
    for kind in ["token", "v3token"] {
        let found = keys(
            "auth_url: https://a, token: hush, project_name: p, project_domain_id: default",
            &format!("    auth_type: {kind}\n"),
        )
        .unwrap();
        let AuthMethod::Token { token, project, .. } = &found.settings.auth.method else {
            panic!("{found:?}");
        };
        assert_eq!(token.expose_secret(), "hush");
        assert_eq!(*project, Some(NameOrId::Name("p".to_owned())));
        assert!(
            found.notes[0]
                .to_string()
                .contains("a token expires within hours"),
            "{:?}",
            found.notes
        );
    }
    let found = keys(
        "auth_url: https://a, application_credential_id: i, application_credential_secret: hush",
        "    auth_type: v3applicationcredential\n",
    )
    .unwrap();
    assert!(matches!(
        found.settings.auth.method,
        AuthMethod::ApplicationCredential { .. }
    ));
}

#[test]
fn certificates_are_checked_as_the_entry_says() {
    for (key, insecure) in [
        ("verify: false", true),
        ("verify: no", true),
        ("insecure: 'True'", true),
        ("verify: true", false),
        ("insecure: false", false),
    ] {
        let found = keys(LOGIN, &format!("    {key}\n")).unwrap();
        assert_eq!(found.settings.insecure, insecure, "{key}");
    }
    let clouds = format!("clouds: {{one: {{auth: {{{LOGIN}}}, verify: ./ca.pem}}}}");
    let found = entry_beside(&clouds, &[("ca.pem", "x")], &[]).unwrap();
    assert!(found.settings.cacert.unwrap().ends_with("ca.pem"));
}

#[test]
fn a_profile_is_read_from_clouds_public_yaml_or_named() {
    let clouds = "clouds:\n  one:\n    profile: vendor\n    auth: {username: u, password: hush, project_name: p, user_domain_name: d}\n    interface: public\n";
    let vendors = "public-clouds:\n  vendor:\n    auth: {auth_url: 'https://v', user_domain_name: x}\n    region_name: V\n    interface: internal\n";
    let found = entry_beside(clouds, &[("clouds-public.yaml", vendors)], &[]).unwrap();
    assert_eq!(found.settings.auth.url, "https://v");
    assert_eq!(found.settings.region.as_deref(), Some("V"));
    assert_eq!(found.settings.interface, "public");
    assert_eq!(password(&found).0, "Name(\"u\") Some(Name(\"d\"))");
    let old = clouds.replace("profile:", "cloud:");
    assert!(entry_beside(&old, &[("clouds-public.yaml", vendors)], &[]).is_ok());
    let error = entry(clouds).unwrap_err();
    assert!(error.starts_with("clouds.yaml:3:5: clouds.one.profile: the profile `vendor` is in no clouds-public.yaml (of the folders"), "{error}");
    assert!(
        error.ends_with("put `auth_url` and `region_name` into this entry"),
        "{error}"
    );
    let found = keys(LOGIN, "    profile: vendor\n").unwrap();
    assert!(
        found.notes[0]
            .to_string()
            .starts_with("clouds.yaml:4:5: clouds.one.profile: not used: the profile"),
        "{:?}",
        found.notes
    );
}

#[test]
fn a_value_of_the_wrong_kind_is_named_and_others_of_the_file_do_no_harm() {
    let error = keys(
        &LOGIN.replace("username: u", "username: [u]"),
        "    interface: private\n",
    )
    .unwrap_err();
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(
        lines,
        [
            "clouds.yaml:3:33: clouds.one.auth.username: must be one value",
            "clouds.yaml:4:5: clouds.one.interface: unknown value `private`; expected one of public, internal, admin",
        ]
    );
    // Other entries are other programs'.
    let odd = format!(
        "clouds:\n  two: 5\n  three: {{auth: [1]}}\n  one:\n    auth: {{{LOGIN}}}\nmore: [1]\n"
    );
    assert!(entry(&odd).is_ok());
    for (text, said) in [
        (
            "clouds: [one]\n",
            "clouds.yaml: clouds: must be a mapping of names to clouds",
        ),
        (
            "clouds: {one: text}\n",
            "clouds.yaml:1:10: clouds.one: must be a mapping of keys to values",
        ),
        ("- a\n", "clouds.yaml: there is no cloud `one` in it"),
        (
            "clouds: {two: {}}\n",
            "there is no cloud `one` in it; expected one of two",
        ),
        ("clouds: {one: {\n", "clouds.yaml:"),
    ] {
        let error = entry(text).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn variables_and_openrc_files_say_the_same_as_entries() {
    let base = [
        ("OS_AUTH_URL", "https://a"),
        ("OS_USERNAME", "u"),
        ("OS_PASSWORD", "hush"),
    ];
    for more in [
        &[("OS_TENANT_NAME", "p"), ("OS_DOMAIN_NAME", "d")][..],
        &[("OS_PROJECT_NAME", "p"), ("OS_DEFAULT_DOMAIN_NAME", "d")],
        &[
            ("OS_PROJECT_NAME", "p"),
            ("OS_USER_DOMAIN_NAME", "d"),
            ("OS_PROJECT_DOMAIN_NAME", "d"),
            ("OS_REGION_NAME", ""),
        ],
    ] {
        let folder = world(&[]);
        let variables = base
            .iter()
            .chain(more)
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()));
        let env = environment(folder.path(), &[]);
        let found = connection::of_variables("one", variables.collect(), None, &env).unwrap();
        assert_eq!(
            password(&found).2,
            "Name(\"p\") Some(Name(\"d\"))",
            "{more:?}"
        );
        assert!(found.notes.is_empty(), "{:?}", found.notes);
    }
    let text = "export OS_AUTH_URL=https://a\nexport OS_USERNAME=u OS_PASSWORD=hush\nexport OS_PROJECT_NAME=p\nexport OS_DEFAULT_DOMAIN=default\n\
                export OS_ENDPOINT_TYPE=internalURL\nexport OS_COMPUTE_ENDPOINT_OVERRIDE=https://n\nexport OS_CERT=/c\nexport OS_VOLUME_API_VERSION=2\n\
                export OS_IDENTITY_API_VERSION=3\nexport OS_FOO=x\n";
    let folder = world(&[("o.sh", text)]);
    let path = folder.path().join("o.sh");
    let env = environment(folder.path(), &[]);
    let openrc = openrc::variables(&path, &env).unwrap();
    let found =
        connection::of_variables("one", openrc.variables, Some((&path, &openrc.lines)), &env)
            .unwrap();
    assert_eq!(found.settings.interface, "internal");
    assert_eq!(
        found.settings.services.endpoint_overrides["compute"],
        "https://n"
    );
    let here = format!("{}:", path.display());
    let notes: Vec<String> = found
        .notes
        .iter()
        .map(|note| note.to_string().replace(&here, ""))
        .collect();
    assert_eq!(
        notes,
        [
            "8:1: OS_VOLUME_API_VERSION: not used: ehos uses version 3",
            "7:1: OS_CERT: not used: ehos shows no certificate of its own to a cloud",
            "10:1: OS_FOO: not used: ehos does not know this key",
        ]
    );
    let wrong = text.replace("OS_CERT=/c", "OS_AUTH_TYPE=v3totp");
    std::fs::write(&path, wrong).unwrap();
    let openrc = openrc::variables(Path::new(&path), &env).unwrap();
    let error =
        connection::of_variables("one", openrc.variables, Some((&path, &openrc.lines)), &env)
            .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("o.sh:7:1: OS_AUTH_TYPE: ehos cannot log in by `v3totp`"),
        "{error}"
    );
}

/// The files from which fuzzing begins.
const CLOUDS: &str = include_str!("../../tests/fixtures/config/access/clouds.yaml");
const OPENRC: &str = include_str!("../../tests/fixtures/config/access/openrc.sh");

#[test]
fn an_entry_with_most_of_it_is_read() {
    let found = entry(CLOUDS).unwrap();
    assert_eq!(found.settings.auth.url, "https://One.example.org:5000/v3");
    assert_eq!(
        found.settings.services.endpoint_overrides["network"],
        "https://One.example.org:9696"
    );
    assert_eq!(found.settings.services.interfaces["volume"], "public");
    assert_eq!(password(&found).2, "Id(\"0123\") Some(Name(\"Default\"))");
    let names: Vec<&str> = found
        .notes
        .iter()
        .filter_map(|note| note.key.as_deref())
        .filter(|key| key.starts_with("clouds.one."))
        .collect();
    assert_eq!(
        names,
        [
            "clouds.one.profile",
            "clouds.one.compute_default_microversion",
            "clouds.one.api_timeout",
            "clouds.one.unheard_of"
        ]
    );
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]

    /// Lines of an entry and of an openrc file, left out, cut off and put together: read or refused, without a panic and without the
    /// secret.
    #[test]
    fn what_is_cut_out_of_such_files_is_read_or_refused(
        lines in proptest::collection::vec((0_usize..40, 0_usize..60), 1..30),
        shell in proptest::bool::ANY,
    ) {
        let all: Vec<&str> = if shell { OPENRC } else { CLOUDS }.lines().collect();
        let mut text = String::new();
        for (line, end) in lines {
            if let Some(line) = all.get(line) {
                let end = line.char_indices().nth(end).map_or(line.len(), |(at, _)| at);
                text.push_str(&line[..end.max(line.len() / 2)]);
                text.push('\n');
            }
        }
        let said = if shell {
            let folder = world(&[("o.sh", &text)]);
            let path = folder.path().join("o.sh");
            let env = environment(folder.path(), &[]);
            match openrc::variables(&path, &env) {
                Ok(openrc) => {
                    let from = Some((path.as_path(), &openrc.lines));
                    match connection::of_variables("one", openrc.variables, from, &env) {
                        Ok(found) => format!("{found:?}"),
                        Err(error) => error.to_string(),
                    }
                }
                Err(error) => error.to_string(),
            }
        } else {
            match entry(&text) {
                Ok(found) => format!("{found:?}"),
                Err(error) => error,
            }
        };
        proptest::prop_assert!(!said.contains("hush"), "{}", said);
    }
}
