//! Whole configurations, as files.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::*;
use openstack::{AuthMethod, NameOrId};
use report::metrics::InfluxLogin;
use scaling::policy::Policy;
use yaml::Place;

const PROJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// A world in which `folder` is `/`, the working and the home folder.
pub(super) fn environment(folder: &Path, variables: &[(&str, &str)]) -> Environment {
    let home = folder.display().to_string();
    Environment {
        variables: variables
            .iter()
            .copied()
            .chain([("HOME", home.as_str())])
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        root: folder.to_owned(),
        working_directory: folder.to_owned(),
    }
}

/// A folder with these files, which only their owner can read.
pub(super) fn world(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    folder
}

pub(super) const TEMPLATE: (&str, &str) = ("etc/ehos/execute.yaml", "#cloud-config\nx: {token}\n");

/// Under which a cloud needs no more than its access.
pub(super) const REST: &str = "ehos: {cluster: p, image: i, flavor: f, network: n}\n";

pub(super) fn cloud(access: &str) -> String {
    format!("{REST}clouds:\n  one: {{auth_url: 'https://a', {access}}}\n")
}

pub(super) const PASSWORD: &str =
    "username: u, user_domain_name: Default, project_name: p, password: hush-inline";

/// `shown` without what differs from one machine or run to the next.
fn stable(shown: &str) -> String {
    let mut out = String::new();
    for line in shown.replace(PROJECT, "PROJECT").lines() {
        // Of a checkout others may or may not read the files.
        if line.contains("every user of this machine can read it") {
            continue;
        }
        let mut line = line.to_owned();
        if let Some(at) = line.find("pool-").filter(|at| line.len() >= at + 21) {
            let id = &line[at + 5..at + 21];
            if id.chars().all(|c| c.is_ascii_hexdigit()) {
                line.replace_range(at + 5..at + 21, "RANDOM");
            }
        }
        writeln!(out, "{line}").unwrap();
    }
    out
}

/// Compares what each `NAME.yaml` of `folder` becomes with `NAME.txt`; `EHOS_BLESS=1` writes the latter.
fn fixtures(folder: &str, show: impl Fn(&Path) -> String) {
    let folder = Path::new(PROJECT)
        .join("tests/fixtures/config")
        .join(folder);
    let mut seen = 0;
    let mut different = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        seen += 1;
        let shown = stable(&show(&path));
        assert!(
            !shown.contains("hush"),
            "{} shows a secret: {shown}",
            path.display()
        );
        let expected = path.with_extension("txt");
        if std::env::var_os("EHOS_BLESS").is_some() {
            std::fs::write(&expected, &shown).unwrap();
        } else if std::fs::read_to_string(&expected).unwrap_or_default() != shown {
            different.push(format!("{} is now:\n{shown}", expected.display()));
        }
    }
    assert!(seen > 0);
    assert!(different.is_empty(), "{}", different.join("\n"));
}

fn fixture_environment() -> Environment {
    let home = format!("{PROJECT}/tests/fixtures/config/home");
    Environment {
        variables: BTreeMap::from([("HOME".to_owned(), home)]),
        root: PathBuf::from("/nonexistent"),
        working_directory: PathBuf::from(PROJECT),
    }
}

#[test]
fn valid_files_become_what_they_mean() {
    let env = fixture_environment();
    fixtures("valid", |path| {
        match ensure_cluster(&[path.to_owned()], &env, true) {
            Ok(config) => format!("{config:#?}"),
            Err(error) => panic!("{error}"),
        }
    });
}

#[test]
fn invalid_files_are_refused_with_place_and_advice() {
    let env = fixture_environment();
    fixtures("invalid", |path| match load(&[path.to_owned()], &env) {
        Ok(config) => panic!("{} is taken: {config:#?}", path.display()),
        Err(error) => error.to_string(),
    });
}

#[test]
fn the_example_lacks_nothing_but_what_is_to_be_filled_in() {
    let example = Path::new(PROJECT).join("configs/ehos.yaml.example");
    let text = std::fs::read_to_string(&example).unwrap();
    let env = fixture_environment();
    let error = load(&[example], &env).unwrap_err();
    for problem in &error.problems {
        assert!(
            problem.what.problem.contains("placeholder")
                || problem.what.problem.contains("has no id"),
            "{problem}"
        );
    }
    let filled: String = text
        .lines()
        .map(|line| match (line.find('<'), line.rfind('>')) {
            (Some(start), Some(end)) if line.starts_with(' ') && !line.contains("URL") => {
                format!("{}filled-in{}\n", &line[..start], &line[end + 1..])
            }
            (Some(start), Some(end)) if line.starts_with(' ') => {
                format!("{}https://x{}\n", &line[..start], &line[end + 1..])
            }
            _ => format!("{line}\n"),
        })
        .collect();
    let folder = world(&[("etc/ehos/ehos.yaml", &filled), TEMPLATE]);
    let config = ensure_cluster(&[], &environment(folder.path(), &[]), true).unwrap();
    assert_eq!(config.clouds.len(), 1);
    // What is written as the default in the example is the default.
    let default = Policy {
        clouds: config.policy.clouds.clone(),
        cluster: config.policy.cluster.clone(),
        ..Policy::new("")
    };
    assert_eq!(config.policy, default);
}

#[test]
fn the_first_folder_with_a_file_is_the_sites_and_templates_are_searched_one_by_one() {
    let text = cloud(PASSWORD);
    let folder = world(&[
        ("usr/local/etc/ehos/ehos.yaml", text.as_str()),
        ("usr/share/ehos/ehos.yaml", "nonsense: true"),
        ("usr/share/ehos/execute.yaml", "#cloud-config\nfar: 1\n"),
        TEMPLATE,
    ]);
    let env = environment(folder.path(), &[]);
    let config = load(&[], &env).unwrap();
    assert_eq!(
        config.files,
        [folder.path().join("usr/local/etc/ehos/ehos.yaml")]
    );
    assert_eq!(
        config.clouds[0].user_data_file,
        folder.path().join(TEMPLATE.0)
    );
    assert_eq!(
        template("base.yaml", &env),
        userdata::builtin_templates::path("base.yaml")
    );
    assert_eq!(template("none.yaml", &env), None);
    assert!(config.notes.is_empty(), "{:?}", config.notes);
}

#[test]
fn without_a_file_all_folders_are_named() {
    let folder = world(&[]);
    let error = load(&[], &environment(folder.path(), &[]))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("usr/local/share/ehos") && error.contains("EHOS_CONFIG"),
        "{error}"
    );
}

#[test]
fn named_files_take_the_sites_place_and_each_has_its_folder() {
    let first = cloud(PASSWORD);
    let folder = world(&[
        ("etc/ehos/ehos.yaml", "nonsense: true"),
        TEMPLATE,
        ("a.yaml", &first),
        ("a.d/10-x.yaml", "daemon: {nodes_max: 7, nodes_min: 1}"),
        ("a.d/.20-hidden.yaml", "nonsense: true"),
        ("a.d/30-other.txt", "nonsense: true"),
        ("b.yaml", "daemon: {nodes_max: 8}"),
    ]);
    let by_argument = load(
        &["a.yaml".into(), "b.yaml".into()],
        &environment(folder.path(), &[("EHOS_CONFIG", "nowhere")]),
    )
    .unwrap();
    let by_variable = load(
        &[],
        &environment(folder.path(), &[("EHOS_CONFIG", "a.yaml:b.yaml")]),
    )
    .unwrap();
    for config in [by_argument, by_variable] {
        let names: Vec<_> = config
            .files
            .iter()
            .map(|f| f.file_name().unwrap())
            .collect();
        assert_eq!(names, ["a.yaml", "10-x.yaml", "b.yaml"]);
        assert_eq!((config.policy.nodes_min, config.policy.nodes_max), (1, 8));
    }
}

#[test]
fn a_problem_names_the_file_whose_value_counts() {
    let folder = world(&[
        ("etc/ehos/ehos.yaml", &cloud(PASSWORD)),
        TEMPLATE,
        ("etc/ehos/ehos.d/1.yaml", "daemon:\n  nodes_max: 2\n"),
        (
            "etc/ehos/ehos.d/2.yaml",
            "# over it\ndaemon:\n    max_actions: 0\n",
        ),
    ]);
    let error = load(&[], &environment(folder.path(), &[])).unwrap_err();
    let problem = &error.problems[0];
    assert!(problem.file.as_ref().unwrap().ends_with("ehos.d/2.yaml"));
    assert_eq!(problem.place, Some(Place { line: 3, column: 5 }));
    assert_eq!(problem.key.as_deref(), Some("daemon.max_actions"));
}

#[test]
fn a_pool_id_is_made_once_and_kept() {
    let text = cloud(PASSWORD).replace("cluster: p, ", "");
    let folder = world(&[("etc/ehos/ehos.yaml", &text), TEMPLATE]);
    let env = environment(folder.path(), &[]);
    let error = load(&[], &env).unwrap_err().to_string();
    assert!(error.contains("ehos.yaml:1:1: ehos.cluster:"), "{error}");
    assert!(error.contains("`cluster: pool-"), "{error}");

    let kept = folder.path().join("etc/ehos/ehos.d/10-cluster.yaml");
    let dry = ensure_cluster(&[], &env, true).unwrap();
    assert!(dry.policy.cluster.starts_with("pool-") && !kept.exists());
    assert!(
        dry.notes
            .iter()
            .any(|note| note.to_string().contains("without --dry-run"))
    );

    let ids: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| ensure_cluster(&[], &env, false).unwrap().policy.cluster))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let config = load(&[], &env).unwrap();
    assert_eq!(config.policy.cluster, ids[0]);
    assert!(config.files.contains(&kept));
}

#[test]
fn no_id_is_kept_for_a_configuration_that_is_wrong_or_cannot_hold_it() {
    let text = cloud(PASSWORD).replace("cluster: p, ", "");
    let wrong = format!("{text}daemon: {{nodes_max: x}}\n");
    let folder = world(&[("etc/ehos/ehos.yaml", &wrong), TEMPLATE]);
    let env = environment(folder.path(), &[]);
    let error = ensure_cluster(&[], &env, false).unwrap_err();
    assert_eq!(error.problems.len(), 1, "{error}");
    assert!(!folder.path().join("etc/ehos/ehos.d").exists());

    // A file where the folder should be: root, too, cannot write there.
    let folder = world(&[
        ("etc/ehos/ehos.yaml", &text),
        ("etc/ehos/ehos.d", ""),
        TEMPLATE,
    ]);
    let env = environment(folder.path(), &[]);
    let error = ensure_cluster(&[], &env, false).unwrap_err().to_string();
    assert!(
        error.contains("ehos.d/10-cluster.yaml: ") && error.contains("`cluster: pool-"),
        "{error}"
    );
}

#[test]
fn variables_make_a_cloud_when_none_is_configured() {
    let folder = world(&[("etc/ehos/ehos.yaml", REST), TEMPLATE]);
    let variables = [
        ("OS_AUTH_URL", "https://a"),
        ("OS_USERNAME", "u"),
        ("OS_PASSWORD", "hush"),
        ("OS_PROJECT_NAME", "p"),
        ("OS_USER_DOMAIN_NAME", "Default"),
        ("OS_REGION_NAME", "r"),
        ("OS_INSECURE", "true"),
    ];
    let config = load(&[], &environment(folder.path(), &variables)).unwrap();
    let cloud = &config.clouds[0];
    assert_eq!((cloud.name.as_str(), cloud.insecure), ("envvars", true));
    let AuthMethod::Password {
        password,
        project_domain,
        ..
    } = &cloud.auth.method
    else {
        panic!("{cloud:?}");
    };
    assert_eq!(password.expose_secret(), "hush");
    // Where only the user's domain is given it is the project's too.
    assert_eq!(*project_domain, Some(NameOrId::Name("Default".to_owned())));

    let error = load(&[], &environment(folder.path(), &variables[..2]))
        .unwrap_err()
        .to_string();
    for name in ["OS_PASSWORD", "OS_PROJECT_NAME", "OS_USER_DOMAIN_NAME"] {
        assert!(error.contains(name), "{error}");
    }

    // A configured cloud is not mixed with them.
    let folder = world(&[("etc/ehos/ehos.yaml", &cloud_text()), TEMPLATE]);
    let config = load(&[], &environment(folder.path(), &variables)).unwrap();
    assert_eq!(
        (config.clouds.len(), config.clouds[0].region.is_none()),
        (1, true)
    );
}

fn cloud_text() -> String {
    cloud(PASSWORD)
}

#[test]
fn clouds_yaml_is_found_by_variable_working_folder_home_and_etc() {
    let entry =
        |url: &str| format!("clouds: {{one: {{auth: {{auth_url: 'https://{url}', {PASSWORD}}}}}}}");
    let (here, home, etc, named) = (entry("here"), entry("home"), entry("etc"), entry("named"));
    let folder = world(&[
        ("etc/ehos/ehos.yaml", REST),
        TEMPLATE,
        ("clouds.yaml", &here),
        (".config/openstack/clouds.yml", &home),
        ("etc/openstack/clouds.yaml", &etc),
        ("named.yaml", &named),
    ]);
    let url = |folder: &tempfile::TempDir, variables: &[(&str, &str)]| {
        let mut all = vec![("OS_CLOUD", "one")];
        all.extend(variables);
        load(&[], &environment(folder.path(), &all)).map(|config| config.clouds[0].auth.url.clone())
    };
    assert_eq!(
        url(&folder, &[("OS_CLIENT_CONFIG_FILE", "named.yaml")]).unwrap(),
        "https://named"
    );
    for (expected, file) in [
        ("https://here", "clouds.yaml"),
        ("https://home", ".config/openstack/clouds.yml"),
        ("https://etc", "etc/openstack/clouds.yaml"),
    ] {
        assert_eq!(url(&folder, &[]).unwrap(), expected);
        std::fs::remove_file(folder.path().join(file)).unwrap();
    }
    let error = url(&folder, &[]).unwrap_err().to_string();
    assert!(
        error.contains("there is no clouds.yaml for the cloud"),
        "{error}"
    );
}

#[test]
fn secrets_come_from_files_and_credentials_first() {
    let text = cloud("user_id: u, project_id: p, password_file: key");
    let folder = world(&[
        ("etc/ehos/ehos.yaml", &text),
        ("etc/ehos/key", "hush-beside\n"),
        ("run/credentials/key", "hush-credential"),
        TEMPLATE,
    ]);
    let password = |variables: &[(&str, &str)]| {
        let config = load(&[], &environment(folder.path(), variables)).unwrap();
        let AuthMethod::Password { password, .. } = &config.clouds[0].auth.method else {
            panic!("{config:?}");
        };
        (password.expose_secret().to_owned(), config.notes)
    };
    assert_eq!(password(&[]), ("hush-beside".to_owned(), vec![]));
    let credentials = folder.path().join("run/credentials").display().to_string();
    let variables = [("CREDENTIALS_DIRECTORY", credentials.as_str())];
    assert_eq!(password(&variables).0, "hush-credential");

    let beside = folder.path().join("etc/ehos/key");
    std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o644)).unwrap();
    let notes: Vec<String> = password(&[]).1.iter().map(Diagnostic::to_string).collect();
    assert!(
        notes[0].contains("key: holds a secret") && notes[0].contains("chmod"),
        "{notes:?}"
    );

    for (content, expected) in [
        ("", "is empty"),
        ("\n", "is empty"),
        ("a\nb\n", "more than one line"),
    ] {
        std::fs::write(&beside, content).unwrap();
        let error = load(&[], &environment(folder.path(), &[]))
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_secret_in_a_configuration_that_others_can_read_is_noted() {
    let folder = world(&[("etc/ehos/ehos.yaml", &cloud_text()), TEMPLATE]);
    let file = folder.path().join("etc/ehos/ehos.yaml");
    let notes = || load(&[], &environment(folder.path(), &[])).unwrap().notes;
    assert_eq!(notes(), []);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(notes()[0].to_string().contains("ehos.yaml: holds a secret"));
}

#[test]
fn a_simulated_world_needs_neither_clouds_nor_an_id() {
    let folder = world(&[("etc/ehos/ehos.yaml", "simulation: {clouds: {}}\n")]);
    let config = ensure_cluster(&[], &environment(folder.path(), &[]), false).unwrap();
    assert!(config.simulation.is_some() && config.clouds.is_empty());
    assert_eq!(config.policy.cluster, "simulation");
}

#[test]
fn the_templates_of_the_project_are_templates() {
    let tags = |name: &str| {
        let path = Path::new(PROJECT).join("configs").join(name);
        let template = userdata::cloudinit::Template::load(&path).unwrap();
        let values = userdata::cloudinit::TAGS.map(|(tag, _)| (tag, "value".into()));
        template.render(&BTreeMap::from(values)).unwrap();
        template
            .tags()
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(tags("base.yaml"), Vec::<String>::new());
    // No secret: no credential of a cloud, and no key or token of the pool.
    assert_eq!(
        tags("master.yaml"),
        ["ehos_yaml", "execute_yaml", "trust_domain"]
    );
    assert_eq!(
        tags("execute.yaml"),
        [
            "ccb_address",
            "cloud",
            "ehos_cluster",
            "ehos_node",
            "flavor",
            "host_ip",
            "image",
            "noclaim_shutdown",
            "region",
            "retire_at",
            "token",
            "trust_domain"
        ]
    );
}

/// Everything that a configuration can say, on two clouds.
const FULL: &str = "
ehos: {cluster: pool-1, project_prefix: farm, base_image: Debian 13, metadata: {owner: 'me: and you', '1e5': '007'}}
daemon:
  nodes_min: 1
  nodes_max: 33
  nodes_spare: 2
  node_allocation: random
  max_lifetime: 400h
  max_lifetime_kill: 24h
  time_zone: Europe/Vienna
  budget: {per_hour: 12.5, per_month: 1000}
  user_limits:
    default: {cores_max: 64}
    'bob smith': {nodes_max: 2, budget: {per_month: 30}}
    root:
  accounting_group_limits: {Physics.heavy: {nodes_max: 7, budget: {per_hour: 0.5}}}
  schedules:
  - {days: [mon-wed, fri], hours: '08:00-18:00', nodes_max: 40, nodes_min: 2}
  - {hours: 22:00-06:00, time_zone: America/New_York, nodes_spare: 10%, idle_timeout: 90s}
  min_cores: 3
  min_ram: 1.5
  min_instances: 1
  max_actions: 7
  max_unproven: 2
  idle_timeout: 1h30m
  boot_timeout: 16m
  lost_timeout: 90s
  lost_job_timeout: 61m
  intent_grace: 1s
  collector_grace: 2s
  schedd_grace: 3s
  delete_timeout: 4s
  negotiation_cycle: 0.5s
  update_interval: 6s
  protect_after: 4
  backoff_reset: 2h30m
  backoff_initial: 7s
  backoff_max: 8s
  unclaimed_backoff: 9s
  token_renew_before: 10h
  max_silent_share: 0.7
  max_silent_count: 5
  tick_timeout: 101s
  request_timeout: 31s
  command_timeout: 32s
  state_dir: ~/state
  hostname: 'farm one'
metrics: {prometheus_textfile: /srv/ehos.prom, timeout: 1500ms}
influxdb: {url: 'http://me:hush-in-url@stats:8086/', db: 'my farm', username: she, password: hush-influx}
condor:
  host_ip: fd00::1
  pool: elsewhere.example.org
  schedds: [one, 'two words']
  job_constraint: 'Owner == \"me\" && x =!= 1'
  universes: [5, 10]
  bin: ~/condor
  trust_domain: example.org
  password: hush-pool
  token_file: join
  token_key: NODES
  token_key_directory: ~/keys
  token_identity: execute@example.org
  token_lifetime: 720h
  scale_down: self-shutdown
clouds:
  one:
    auth: {auth_url: 'https://a:5000', user_id: u, password: hush-one, project_name: p, project_domain_id: default}
    region_name: r
    interface: internal
    cacert: ca.pem
    insecure: true
    image: golden
    flavors: [m1.small, '2']
    networks: [n, 'n:2']
    key: my key
    security_groups: [default, ehos]
    availability_zones: [zone-1, zone 2]
    server_group: my nodes
    server_group_policy: anti-affinity
    boot_volume_size: 40
    boot_volume_type: fast
    config_drive: yes
    tags: [grid, 'two words']
    gpus: {'2': 4}
    scratch_size: 100
    nodes_max: 5
    prices: {m1.small: 0.05, '2': 1}
    budget: {per_month: 20}
    billing_period: 1h
    max_lifetime: 30h
    min_cores: 8
    userdata_file: other.yaml
  two/three:
    auth_url: http://b
    application_credential_name: c
    username: n
    user_domain_name: Default
    application_credential_secret_file: two.secret
    flavor: m
    prices: {m: 0.2}
    network: 'null'
    retire: true
    endpoint_overrides: {compute: 'https://n/v2.1', network: 'https://q'}
    interfaces: {image: internal}
    region_names: {volume: '007'}
";

/// What `public` writes, on a machine where the files are that it asks for.
#[test]
fn the_public_configuration_says_all_but_the_secrets() {
    let here = world(&[
        ("etc/ehos/ehos.yaml", FULL),
        ("etc/ehos/other.yaml", "#cloud-config\nx: {token}\n"),
        ("etc/ehos/two.secret", "\u{feff}hush-two\r\n"),
        ("etc/ehos/join", "eyJ.hush-join.x"),
        ("ca.pem", "x"),
        TEMPLATE,
    ]);
    let config = load(&[], &environment(here.path(), &[])).unwrap();
    let text = export::public(&config);
    assert!(!text.contains("hush"), "{text}");

    let there = world(&[("etc/ehos/ehos.yaml", &text)]);
    let place = |path: &Path| there.path().join(path.strip_prefix("/").unwrap());
    // The text names files of /etc/ehos: here they are somewhere else.
    let moved = text.replace(
        "/etc/ehos/",
        &format!("{}/etc/ehos/", there.path().display()),
    );
    std::fs::write(there.path().join("etc/ehos/ehos.yaml"), &moved).unwrap();
    let before = load(&[], &environment(there.path(), &[])).unwrap_err();
    assert_eq!(before.problems.len(), 7, "{before}");
    for (path, secret) in export::secret_files(&config) {
        std::fs::write(place(&path), secret.expose_secret()).unwrap();
    }
    for (path, source) in export::plain_files(&config) {
        std::fs::copy(source, place(&path)).unwrap();
    }
    let read = load(&[], &environment(there.path(), &[])).unwrap();
    let shown = |config: &Config| {
        let secrets: Vec<String> = export::secret_files(config)
            .iter()
            .map(|(path, secret)| format!("{} {}", path.display(), secret.expose_secret()))
            .collect();
        format!(
            "{:#?} {:#?} {:#?} {:#?} {secrets:?}",
            config.policy, config.clouds, config.timeouts, config.metrics
        )
    };
    let mut expected = shown(&config)
        .replace(
            &here.path().join("ca.pem").display().to_string(),
            "PLACE/one.pem",
        )
        .replace("etc/ehos/other.yaml", "etc/ehos/first.yaml")
        .replace("etc/ehos/execute.yaml", "PLACE/execute-two%2Fthree.yaml")
        .replace("etc/ehos/first.yaml", "PLACE/execute.yaml");
    let mut found = shown(&read);
    for (text, folder) in [(&mut expected, &here), (&mut found, &there)] {
        *text = text.replace(&format!("{}/", folder.path().display()), "");
        *text = text.replace("PLACE", "etc/ehos");
    }
    assert_eq!(found, expected);
    let condor = &read.condor;
    assert_eq!(condor.host_ip, config.condor.host_ip);
    assert_eq!(condor.trust_domain, config.condor.trust_domain);
    assert_eq!(condor.job_constraint, config.condor.job_constraint);
    assert_eq!(condor.schedds, config.condor.schedds);
    assert_eq!(condor.universes, config.condor.universes);
    assert_eq!(condor.token_identity, config.condor.token_identity);
    assert_eq!(condor.token_lifetime, config.condor.token_lifetime);
    assert!(condor.pool.is_none() && condor.bin.is_none() && condor.token.is_none());
    assert!(condor.token_key.is_none() && condor.token_key_directory.is_none());
    assert!(read.state_dir.is_none());
    // What is written of what was written is the same.
    assert_eq!(
        export::public(&read),
        moved.replace(&there.path().display().to_string(), "")
    );
}

proptest! {
    #[test]
    fn no_file_makes_the_reader_panic_or_tell_a_secret(
        lines in proptest::collection::vec(
            "( {0,6})(clouds|ehos|daemon|condor|one|auth|password|cluster|nodes_max|flavor|- |hush|\\{x\\}|<X>)(:| |: hush|: \\[|: \\{|\n)",
            0..12,
        )
    ) {
        let folder = world(&[("etc/ehos/ehos.yaml", &lines.join("\n")), TEMPLATE]);
        if let Ok(config) = load(&[], &environment(folder.path(), &[])) {
            let shown = format!("{config:?}");
            prop_assert!(!shown.contains("password: \"hush"), "{}", shown);
        }
    }
}

#[test]
fn names_of_earlier_versions_are_read_and_noted() {
    let read = |daemon: &str| {
        let text = format!(
            "daemon: {{{daemon}}}\ncondor: {{scale_down: Node}}\n{}",
            cloud(PASSWORD)
        );
        let template = (
            "etc/ehos/execute.yaml",
            "#cloud-config\nx: {token} {noclaim_shutdown}\n",
        );
        let folder = world(&[("etc/ehos/ehos.yaml", &text), template]);
        load(&[], &environment(folder.path(), &[]))
    };
    let config = read("backoff_first: 7s, token_margin: 9h").unwrap();
    let policy = &config.policy;
    assert_eq!(policy.backoff_initial.as_secs(), 7);
    assert_eq!(policy.token_renew_before.as_secs(), 9 * 3600);
    assert!(!policy.drains());
    for note in [
        "daemon.backoff_first: is now called `backoff_initial`; rename the key",
        "daemon.token_margin: is now called `token_renew_before`; rename the key",
        "condor.scale_down: `Node` is now called `self-shutdown`; rename the value",
    ] {
        let found = config
            .notes
            .iter()
            .any(|found| found.to_string().contains(note));
        assert!(found, "{note}: {:?}", config.notes);
    }
    for key in <Policy as keys::Settings>::KEYS {
        let Some(former) = key.former() else { continue };
        let (name, value) = (key.name, (key.default)().unwrap().text().unwrap());
        assert!(read(&format!("{former}: {value}")).is_ok(), "{former}");
        let both = read(&format!("{former}: {value}, {name}: {value}"));
        let both = both.unwrap_err().to_string();
        let problem = format!("daemon.{former}: `{name}` is given too");
        assert!(both.contains(&problem), "{both}");
    }
}

#[test]
fn a_flavor_without_a_price_beside_others_is_noted_where_prices_decide() {
    let notes = |daemon: &str, prices: &str| {
        let text = format!(
            "daemon: {{{daemon}}}\nehos: {{cluster: p, image: i, flavors: [f, g], network: n}}\nclouds:\n  \
             one: {{auth_url: 'https://a', {PASSWORD}, weight: 0{prices}}}\n"
        );
        let folder = world(&[("etc/ehos/ehos.yaml", &text), TEMPLATE]);
        let config = load(&[], &environment(folder.path(), &[])).unwrap();
        let price = |note: &String| note.contains("price");
        assert_eq!(config.policy.clouds[0].weight, 0);
        config
            .notes
            .iter()
            .map(Diagnostic::to_string)
            .find(price)
            .unwrap_or_default()
    };
    let some = ", prices: {f: 1}";
    let all = ", prices: {f: 1, g: 0}";
    let told = notes("node_allocation: cheapest", some);
    assert!(
        told.contains(
            "g has no price, and other flavors have one: counted as the most expensive core"
        ),
        "{told}"
    );
    let told = notes("node_allocation: least_waste, core_price: 0.5", some);
    assert!(told.contains("core_price, 0.5 an hour"), "{told}");
    for (daemon, prices) in [
        ("node_allocation: cheapest", all),
        ("node_allocation: cheapest", ""),
        ("node_allocation: random", some),
    ] {
        assert_eq!(notes(daemon, prices), "", "{daemon} {prices}");
    }
}

/// What is sent where, of an `influxdb:` with this value.
fn influxdb(value: &str) -> Result<Config, Error> {
    let text = format!("{}influxdb: {value}\n", cloud(PASSWORD));
    let folder = world(&[
        ("etc/ehos/ehos.yaml", &text),
        ("etc/ehos/secret", "hush-file\n"),
        TEMPLATE,
    ]);
    load(&[], &environment(folder.path(), &[]))
}

#[test]
fn an_influxdb_of_the_original_or_of_version_2_is_understood() {
    for (value, address, login) in [
        (
            "http://h:8086/write?db=ehos",
            "http://h:8086/write?db=ehos",
            "",
        ),
        (
            "http://h:8086/write?db=x&rp=y&u=me&p=hush",
            "http://h:8086/write?db=x&rp=y",
            "me hush",
        ),
        ("http://me:hu%40sh@h", "http://h/write?db=ehos", "me hu@sh"),
        (
            "{url: 'https://localhost:8088/', db: a b, username: u, password: hush}",
            "https://localhost:8088/write?db=a%20b",
            "u hush",
        ),
        (
            "{url: 'http://h', username: u, password_file: secret}",
            "http://h/write?db=ehos",
            "u hush-file",
        ),
        (
            "{url: 'http://h', org: my lab, bucket: b, token: hush}",
            "http://h/api/v2/write?org=my%20lab&bucket=b&precision=s",
            " hush",
        ),
        (
            "{url: 'http://h/api/v2/write?org=o&bucket=b&precision=s', token_file: secret}",
            "http://h/api/v2/write?org=o&bucket=b&precision=s",
            " hush-file",
        ),
    ] {
        let config = influxdb(value).unwrap_or_else(|error| panic!("{value}: {error}"));
        let found = config.metrics.influxdb.as_ref().unwrap();
        assert_eq!(found.address, address);
        let login_of = |login: &InfluxLogin| match login {
            InfluxLogin::Password { username, password } => {
                format!("{username} {}", password.expose_secret())
            }
            InfluxLogin::Token(token) => format!(" {}", token.expose_secret()),
        };
        assert_eq!(
            found.login.as_ref().map(login_of).unwrap_or_default(),
            login,
            "{value}"
        );
        assert!(!format!("{config:?}").contains("hush"), "{value}");
    }
    for nothing in ["None", "", "~"] {
        assert!(
            influxdb(nothing).unwrap().metrics.influxdb.is_none(),
            "{nothing}"
        );
    }
}

#[test]
fn who_is_told_of_trouble_does_not_hold_up_a_tick_for_long() {
    let with = |timeout| {
        influxdb(&format!(
            "None\nnotify: {{command: [/bin/true], timeout: {timeout}}}"
        ))
    };
    assert!(with("10s").is_ok());
    for (timeout, words) in [("11s", "at most 10 s"), ("0s", "longer than 0")] {
        let error = with(timeout).unwrap_err().to_string();
        assert!(error.contains(words), "{timeout}: {error}");
    }
}

#[test]
fn an_influxdb_that_cannot_be_is_refused_without_its_password() {
    for (value, words) in [
        ("ftp://me:hush@h", "is not an address"),
        ("<URL>", "placeholder"),
        (
            "{db: ehos, username: u, password: hush}",
            "`url` is missing",
        ),
        (
            "{url: 'http://h/write?db=a', db: b}",
            "is given in `url` too",
        ),
        ("{url: 'http://h', bucket: b, token: hush}", "needs `org`"),
        ("{url: 'http://h', org: o, bucket: b}", "needs a `token`"),
        (
            "{url: 'http://h', db: d, username: u, password: hush, token: hush}",
            "keep one of them",
        ),
        (
            "{url: 'http://h', passwort: hush}",
            "the nearest known key is `password`",
        ),
        ("[http://h]", "must be an address, or a mapping"),
        (
            "http://h\ndaemon: {influxdb: http://h}",
            "is given at the top level too",
        ),
        ("None\nmetrics: {timeout: 11s}", "at most 10 s"),
        (
            "None\nmetrics: {prometheus_textfile: /tmp/ehos.txt}",
            "must end in `.prom`",
        ),
        (
            "None\nmetrics: {timeuot: 1s}",
            "the nearest known key is `timeout`",
        ),
    ] {
        let error = match influxdb(value) {
            Ok(config) => panic!("{value} is taken: {config:?}"),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(words), "{value}: {error}");
        assert!(!error.contains("hush"), "{value}: {error}");
    }
}
