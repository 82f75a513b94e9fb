//! The table of configuration keys: what can stand where.
//!
//! Owns: the sections, and the rows of keys that fill no single field. The rows of the others stand beside their fields
//! (`settings!` of the parts). Parsing, messages, `config show`, the central manager's file, the JSON schema and the tables
//! of docs/configuration.md are made of it.

use condor::CondorSettings;
use keys::{Group, Key, Kind, Setting, Settings, Table, keys};
use openstack::CloudSettings;
use report::metrics::MetricsSettings;
use report::notify;
use scaling::budget::Budget;
use scaling::policy::{CloudPolicy, Policy, ScaleDown};
use scaling::schedule::Window;
use scaling::submitter::SubmitterLimit;

use super::settings::{Config, Timeouts};

/// The whole file.
pub(super) static FILE: Table = Table {
    groups: &[Group::all(keys! {
        /// Clouds, by names of your own.
        clouds: Kind::Named("cloud", &CLOUD);
        /// The pool, and its servers in all clouds.
        ehos: Kind::Table(&EHOS);
        /// Numbers, times and limits.
        daemon: Kind::Table(&DAEMON);
        /// The pool's HTCondor.
        condor: Kind::Table(&CONDOR);
        /// A simulated site instead of HTCondor and clouds, see `configs/demo.yaml`.
        simulation: Kind::World;
        /// Notifications of problems.
        notify: Kind::Table(&NOTIFY);
        /// Figures of each tick.
        metrics: Kind::Table(&METRICS);
        /// The InfluxDB that gets these figures.
        influxdb: Kind::AddressOr(&INFLUXDB);
    })],
};

/// `ehos:`.
pub(super) static EHOS: Table = Table {
    groups: &[
        Group::all(keys! {
            /// The pool's id: at most 64 letters, digits, `-`, `_`, `.`
            cluster: Kind::Text, "created, see [below](#pool-id)";
            /// Prefix of server names: at most 40 letters, digits, `-`, `_`, `.`
            project_prefix: Kind::Text, "`ehos-v1`";
        }),
        Group::of("ehos", SERVERS),
        Group::of("ehos", CloudSettings::KEYS),
        Group::of("ehos", CloudPolicy::KEYS),
        Group::of("ehos", Policy::KEYS),
        Group::all(keys! {
            base_image_id: Kind::Unused("the image is named by `image`");
        }),
        Group::all(UNUSED_OF_DAEMON),
    ],
};

/// Servers of one cloud or of all.
const SERVERS: &[Key] = keys! {
    /// Image of nodes, name or id. When it changes, idle nodes of the older one are replaced.
    image [For("ehos")]: Kind::Text, "`base_image`; one of the two is required";
    /// Template of nodes' user data; a relative name is looked for beside the file, then in the folders of templates.
    userdata_file [For("ehos"), Machine]: Kind::Path, "`execute.yaml`";
};

/// `daemon:`.
pub(super) static DAEMON: Table = Table {
    groups: &[
        Group::all(Policy::KEYS),
        Group::all(keys! {
            /// Schedule windows, see [below](#schedules).
            schedules: Kind::Tables(&WINDOW), "none";
            /// Time zone of schedules and of months, such as `Europe/Vienna`.
            time_zone: Kind::Text, "this machine's";
            /// Budget of all clouds together, see [below](#budgets).
            budget: Kind::Table(&BUDGET), "none";
            /// Limits of the nodes that ehos creates for the jobs of one user, see [below](#limits-by-user).
            user_limits: Kind::Named("limit", &LIMIT), "none";
            /// The same for accounting groups.
            accounting_group_limits: Kind::Named("limit", &LIMIT), "none";
        }),
        Group::of("daemon", CloudPolicy::KEYS),
        Group::of("daemon", QUOTA),
        Group::all(Timeouts::KEYS),
        Group::all(Config::KEYS),
        Group::all(keys! {
            /// Name of this machine in InfluxDB (tag `host`).
            hostname: Kind::Text, "its own";
            /// The same as `influxdb:` at the top level.
            influxdb: Kind::AddressOr(&INFLUXDB), "none";
            /// The original's name of `ehos.userdata_file`, which counts where that is missing.
            execute_config: Kind::Path, "none";
            master_cloud: Kind::Unused("`ehos tick` creates no central manager");
            node_log: Kind::Unused("the log shows which nodes ehos creates");
            database: Kind::Unused(NO_DATABASE);
            use_db_settings: Kind::Unused(NO_DATABASE);
        }),
        Group::all(UNUSED_OF_DAEMON),
    ],
};

const NO_DATABASE: &str =
    "there is no database: settings stand in this file, state in the state folder";
const NO_SLEEP: &str = "a timer runs `ehos tick`, and nothing sleeps";

/// The original has these under `ehos:`, too.
const UNUSED_OF_DAEMON: &[Key] = keys! {
    submission_nodes: Kind::Unused("ehos counts only its own nodes");
    sleep: Kind::Unused(NO_SLEEP);
    sleep_min: Kind::Unused(NO_SLEEP);
    sleep_max: Kind::Unused(NO_SLEEP);
};

const QUOTA: &[Key] = keys! {
    /// RAM in GB (1024 MiB) of the project's quota that ehos leaves free.
    min_ram [For("daemon")]: Kind::Number, "0";
};

/// `budget:`.
pub(super) static BUDGET: Table = Table {
    groups: &[Group::all(Budget::KEYS)],
};

/// An entry of `user_limits:` or `accounting_group_limits:`.
pub(super) static LIMIT: Table = Table {
    groups: &[
        Group::all(SubmitterLimit::KEYS),
        Group::all(keys! {
            /// Budget of these nodes.
            budget: Kind::Table(&BUDGET), "none";
        }),
    ],
};

/// An entry of `schedules:`.
pub(super) static WINDOW: Table = Table {
    groups: &[
        Group::all(keys! {
            /// Days: `mon` … `sun`, or ranges of them (`mon-fri`).
            days: Kind::List, "every day";
            /// Hours, such as `08:00-18:00`. They can pass midnight, and belong to the day on which they begin.
            hours: Kind::Text, "the whole day";
            /// Time zone.
            time_zone: Kind::Text, "`daemon.time_zone`";
        }),
        Group::all(Window::KEYS),
    ],
};

/// `condor:`.
pub(super) static CONDOR: Table = Table {
    groups: &[
        Group::all(CondorSettings::KEYS),
        Group::all(keys! {
            /// `false`: free resources alone decide which jobs a node can run, not their Requirements. For an HTCondor whose
            /// `condor_q -better-analyze:summary` prints something else.
            match_requirements: Kind::Flag, "true";
            /// Numbers of the universes whose idle jobs need nodes. 11 (parallel) needs nodes that set `DedicatedScheduler`, see
            /// the HTCondor manual.
            universes: Kind::List, "5 (vanilla)";
            /// The token with which all nodes join: `{token}`.
            token: Kind::Secret, "one for each node";
            /// The pool password of the original: `{password}`.
            password: Kind::Secret, "none";
            /// `drain`: ehos drains surplus nodes, for which it needs the administrator's right in the pool. `self-shutdown`: nodes shut
            /// themselves down, see [below](#pools-without-the-administrators-right).
            scale_down [WordWas("node", "self-shutdown")]: ScaleDown::KIND, "`drain`";
        }),
    ],
};

/// `notify:`.
pub(super) static NOTIFY: Table = Table {
    groups: &[Group::all(notify::Settings::KEYS)],
};

/// `metrics:`.
pub(super) static METRICS: Table = Table {
    groups: &[Group::all(MetricsSettings::KEYS)],
};

/// `influxdb:`.
pub(super) static INFLUXDB: Table = Table {
    groups: &[Group::all(keys! {
        /// Address of InfluxDB. `/write` (version 1) or `/api/v2/write` (version 2) is added where it is missing.
        url: Kind::Address, "nothing is sent";
        /// Version 1: the database.
        db: Kind::Text, "`ehos`";
        /// Version 1: the user.
        username: Kind::Text, "none";
        /// Version 1: its password.
        password: Kind::Secret, "none";
        /// Version 2: the organization.
        org: Kind::Text, "none";
        /// Version 2: the bucket.
        bucket: Kind::Text, "none";
        /// Version 2: a token that can write there.
        token: Kind::Secret, "none";
    })],
};

/// `auth:` of a cloud.
pub(super) static AUTH: Table = Table {
    groups: &[Group::all(LOGIN)],
};

/// A login: the same keys stand in a cloud, under its `auth:`, and in a clouds.yaml.
const LOGIN: &[Key] = keys! {
    /// Address of Keystone v3, with or without `/v3`.
    auth_url: Kind::Text, "required";
    /// The user, by name.
    username: Kind::Text;
    /// The user, by id.
    user_id: Kind::Text;
    /// The user's password.
    password: Kind::Secret;
    /// The project, by name.
    project_name: Kind::Text;
    /// The project, by id.
    project_id: Kind::Text;
    /// Domain of a user by name; often `Default`.
    user_domain_name: Kind::Text;
    /// The same by id.
    user_domain_id: Kind::Text;
    /// Domain of a project by name.
    project_domain_name: Kind::Text, "the user's";
    /// The same by id.
    project_domain_id: Kind::Text;
    /// An application credential instead of user and project.
    application_credential_id: Kind::Text;
    /// The same by name, with its user.
    application_credential_name: Kind::Text;
    /// Secret of the application credential.
    application_credential_secret: Kind::Secret;
    /// A token of Keystone instead. The token expires within hours, and ehos cannot renew it (noted).
    token: Kind::Secret;
};

/// An entry of `clouds:`.
pub(super) static CLOUD: Table = Table {
    groups: &[
        Group::all(keys! {
            /// An entry of clouds.yaml with the access; keys beside it replace those of the entry.
            cloud [Also("os_cloud")]: Kind::Text, "none";
            /// The keys of the login can stand under it, as in clouds.yaml.
            auth: Kind::Table(&AUTH);
        }),
        Group::all(LOGIN),
        Group::all(keys! {
            /// `v3password`, `v3applicationcredential` or `v3token`; seldom needed.
            auth_type: Kind::Text, "what the other keys say";
            /// The address of one service, like `{network: 'https://…:9696'}`; services are `compute`, `image`, `network`,
            /// `volume`.
            endpoint_overrides: Kind::Texts, "that of the catalog";
            /// The interface of one service.
            interfaces: Kind::Texts, "`interface`";
            /// The region of one service.
            region_names: Kind::Texts, "`region_name`";
        }),
        Group::all(CloudSettings::KEYS),
        Group::all(SERVERS),
        Group::all(CloudPolicy::KEYS),
        Group::all(QUOTA),
        Group::all(keys! {
            /// Budget of the cloud, see [below](#budgets).
            budget: Kind::Table(&BUDGET), "none";
            /// `false`: the same as `insecure: true`.
            verify: Kind::Flag, "true";
            backend: Kind::Unused("every cloud is an OpenStack cloud");
            no_cache: Kind::Unused("ehos caches only tokens");
            identity_api_version: Kind::Unused("ehos uses Keystone v3");
        }),
    ],
};
