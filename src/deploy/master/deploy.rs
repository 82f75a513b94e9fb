//! The loop that makes a central manager: look, ask [`next`] what is to be done, do it, until all is done.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use log::{debug, info, warn};

use super::conffile::{Care, FileChange, Occasion};
use super::install::{self, TICK, Timer, Work};
use super::order::{METADATA_DIGEST, Order};
use super::step::{Asked, FloatingIp, Installation, Seen, Server, Step, next};
use crate::deadline::Deadline;
use crate::deploy::console::{Boot, boot, host_keys, login_user};
use crate::deploy::ssh::{self, Login, Ssh};
use crate::openstack::CloudSettings;
use crate::openstack::auth::Session;
use crate::openstack::compute::{self, NewServer, ServerDetails};
use crate::openstack::{self, Effect, network};
use crate::progress::{Line, Remains};
use crate::rights;
use crate::scaling::console;
use crate::scaling::observation::{METADATA_IMAGE, OwnedServer, Role, ServerRecord, ServerStatus};
use crate::scaling::signing::SigningKeys;

/// When its installation was whole.
const METADATA_READY: &str = "ehos_ready";
/// The user to log in as: its console may have forgotten.
const METADATA_LOGIN: &str = "ehos_login";
/// One of its public host keys. Who reads the metadata of a server may also read its console, but only the console can
/// be written to from within.
const METADATA_HOST_KEY: &str = "ehos_host_key";
/// The longest value of metadata (`maxLength` of Nova's schema).
const LONGEST_VALUE: usize = 255;
/// Lines of the console of a failed server that are told.
const TOLD_LINES: usize = 25;
/// How long one question to the cloud may take, with what it takes to answer it. It is not the time of the whole: when
/// that is over, there is still something to clean up.
const SOON: Duration = Duration::from_secs(60);
/// How long the clean-up after a failure may take.
const CLEAN_UP: Duration = Duration::from_secs(120);

/// How it is gone about.
#[derive(Debug)]
pub struct Manner<'a> {
    /// The user to log in as; `None`: what the console says.
    pub user: Option<&'a str>,
    /// The private key; `None`: those of ssh itself.
    pub identity: Option<PathBuf>,
    /// The file of the host keys.
    pub known_hosts: PathBuf,
    /// Signs the server, and tells it from a forgery.
    pub proof: Proof,
    /// A host key that the console does not tell is believed.
    pub accept_host_key: bool,
    /// What failed is left as it is.
    pub keep: bool,
    /// Between two looks.
    pub poll: Duration,
}

/// How the central manager of this pool is told from a server of somebody else that says so.
#[derive(Debug, Clone)]
pub struct Proof {
    /// Sign the metadata of servers.
    pub keys: SigningKeys,
    /// The host keys that this machine has learnt, by the UUIDs of servers: those were deployed from here.
    pub known_hosts: PathBuf,
    /// UUIDs that an operator trusts (`--trust-server`).
    pub trusted: Vec<String>,
}

impl Proof {
    fn holds(&self, server: &OwnedServer) -> bool {
        let known = || knows(&self.known_hosts, server.id()).unwrap_or(false);
        let trusted = || self.trusted.iter().any(|id| id == server.id());
        server.is_signed() || trusted() || known()
    }
}

/// A central manager that works.
#[derive(Debug)]
pub struct Deployed {
    /// Its server.
    pub server: ServerDetails,
    /// It is new; else it was there and ready, and was installed again.
    pub made: bool,
    /// What became of its files, where it was there and ready.
    pub files: Vec<FileChange>,
    /// Its timer, where it could be seen.
    pub timer: Option<Timer>,
    /// The address that its SSH answered at.
    pub address: String,
    /// The floating IP that leads to it.
    pub floating_ip: Option<String>,
    /// The user to log in as.
    pub user: String,
    /// What `ehos --version` says there.
    pub version: String,
    /// The exit code of the first tick there, where it could be had.
    pub tick_exit: Option<i32>,
    /// What that tick said.
    pub tick: String,
}

/// No central manager came of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cloud refused something.
    #[error("{0}{1}")]
    OpenStack(Box<openstack::Error>, CleanUp),
    /// There are several.
    #[error(
        "cloud {cloud}: {} servers are this pool's central manager: {}; delete those that are not (openstack server \
         delete ID), and run this again",
        servers.len(),
        servers.join(", ")
    )]
    Several {
        /// The cloud.
        cloud: String,
        /// Name, id and readiness of each.
        servers: Vec<String>,
    },
    /// One says that it is, and nothing shows it.
    #[error(
        "cloud {cloud}: {} carries the id of this pool as its central manager, without a valid ehos_proof, and this machine has \
         not deployed it: nothing is installed there, for it would get every secret; give --trust-server UUID when it is \
         yours, or delete it",
        servers.join(", ")
    )]
    Unsigned {
        /// The cloud.
        cloud: String,
        /// Name, id and readiness of each.
        servers: Vec<String>,
    },
    /// It failed.
    #[error("cloud {cloud}: the central manager {name}: {why}{clean_up}")]
    GaveUp {
        /// The cloud.
        cloud: String,
        /// The server's name.
        name: String,
        /// What went wrong.
        why: String,
        /// What became of what there was.
        clean_up: CleanUp,
    },
    /// The file of the host keys cannot be written.
    #[error("{}: the host key of the master cannot be kept: {}", path.display(), rights::told(path, source))]
    KnownHosts {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

/// What became of a server that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CleanUp {
    /// There was none.
    Nothing,
    /// It was deleted, with its floating IP.
    Deleted,
    /// It was left, as wished.
    Kept,
    /// It was left, for it had been ready before.
    Ready,
    /// It was left, for all is in place there and its timer runs.
    Installed,
    /// The cloud could not be asked.
    Unknown,
    /// It could not be deleted.
    Failed(String),
}

impl std::fmt::Display for CleanUp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CleanUp::Nothing => Ok(()),
            CleanUp::Deleted => f.write_str(". Its server was deleted (--keep leaves it)"),
            CleanUp::Kept => f.write_str(". Its server was left; the next run goes on with it"),
            CleanUp::Unknown => {
                f.write_str(". Its server was left; the next run goes on with it or deletes it")
            }
            CleanUp::Ready => f.write_str(". Its server was left as it is"),
            CleanUp::Installed => f.write_str(
                ". Its server was left, for all is installed there: run this again, so that it is marked as ready and its \
                 timer starts",
            ),
            CleanUp::Failed(why) => write!(
                f,
                ". Its server is still there, for it could not be deleted: {why}; the next run tries again"
            ),
        }
    }
}

/// Makes the central manager of `order`, or goes on where another run was interrupted, or brings one that is there up
/// to date. What it is doing is told on `line`.
///
/// # Errors
/// [`Error`]. A server that was never ready is deleted then, unless the manner says otherwise.
pub fn deploy(
    session: &Session,
    order: &Order,
    manner: &Manner,
    work: &[Work],
    line: &Line,
    deadline: Deadline,
) -> Result<Deployed, Error> {
    Run::new(session, order, manner, line, deadline).complete(work)
}

/// What a deploy would change on a central manager that is ready.
#[derive(Debug)]
pub struct Preview {
    /// Each file, in order.
    pub files: Vec<FileChange>,
    /// Its timer, where it could be seen.
    pub timer: Option<Timer>,
    /// What `ehos --version` says there.
    pub version: String,
}

/// Looks at the files of the central manager `record`, which is ready. Nothing is changed there; the manner must name a
/// file of host keys that may be written to.
///
/// # Errors
/// Why it cannot be looked at, in words.
pub fn preview(
    session: &Session,
    order: &Order,
    manner: &Manner,
    record: &ServerRecord,
    work: &[Work],
    line: &Line,
    deadline: Deadline,
) -> Result<Preview, String> {
    let run = Run::new(session, order, manner, line, deadline);
    let text = |error: &dyn std::error::Error| error.to_string();
    let (addresses, _) = run.addresses(record).map_err(|error| text(&error))?;
    let login = run.login(record).map_err(|error| text(&error))??;
    let ssh = Ssh::connect(&login, &addresses, deadline).map_err(|error| text(&error))?;
    let mut files = Vec::new();
    for work in work {
        // The program is one file that no diff can show: its version is told.
        if let Work::File(file) = work
            && file.care != Care::Replace
        {
            let said = run
                .put(&ssh, file, Occasion::DryRun)
                .map_err(|error| text(&error))?;
            files.extend(FileChange::read(&file.path, &said));
        }
    }
    let version = ssh
        .run("ehos", "/usr/bin/ehos --version", Vec::new(), deadline)
        .unwrap_or_default();
    let timer = match install::timer(Occasion::DryRun) {
        Work::Script { what, script, .. } => ssh
            .run(what, &script, Vec::new(), deadline)
            .ok()
            .and_then(|said| Timer::read(&said)),
        Work::File(_) => None,
    };
    Ok(Preview {
        files,
        timer,
        version: version.trim().to_owned(),
    })
}

/// What there is, and what would be done about it: nothing is changed.
///
/// # Errors
/// What the cloud says.
pub fn look(
    session: &Session,
    order: &Order,
    proof: &Proof,
    deadline: Deadline,
) -> Result<Option<(ServerRecord, bool)>, Error> {
    let found = the_master(session, &order.cluster, proof, deadline)?;
    Ok(found.map(|record| {
        let ready = record.metadata.contains_key(METADATA_READY);
        (record, ready)
    }))
}

/// Whether the cloud of `session` has a central manager of this pool that stays: its name and id.
///
/// # Errors
/// What the cloud says, and several central managers.
pub fn found_in(
    session: &Session,
    cluster: &str,
    proof: &Proof,
    deadline: Deadline,
) -> Result<Option<(String, String)>, Error> {
    let found = the_master(session, cluster, proof, deadline)?;
    Ok(found
        .filter(|record| !record.deleting)
        .map(|record| (record.name, record.id)))
}

/// Whether the cloud of `session` has a central manager of this pool on which ehos ticks.
///
/// # Errors
/// What the cloud says.
pub fn has_ready_master(
    session: &Session,
    cluster: &str,
    deadline: Deadline,
) -> Result<bool, openstack::Error> {
    let masters = masters(session, cluster, deadline)?;
    Ok(masters
        .iter()
        .map(OwnedServer::record)
        .any(|record| !record.deleting && record.metadata.contains_key(METADATA_READY)))
}

/// The image, as configured, of a central manager that an interrupted run has begun with and that is not ready: what is
/// made of that image goes on, and of another one it would be made anew.
///
/// # Errors
/// What the cloud says, and several central managers.
pub fn unfinished(
    session: &Session,
    cluster: &str,
    proof: &Proof,
    deadline: Deadline,
) -> Result<Option<String>, Error> {
    let found = the_master(session, cluster, proof, deadline)?;
    let alive = |record: &ServerRecord| {
        !record.deleting && matches!(record.status, ServerStatus::Build | ServerStatus::Active)
    };
    Ok(found
        .filter(|record| alive(record) && !record.metadata.contains_key(METADATA_READY))
        .and_then(|record| record.metadata.get(METADATA_IMAGE).cloned()))
}

/// The one server of this pool that is its central manager.
fn the_master(
    session: &Session,
    cluster: &str,
    proof: &Proof,
    deadline: Deadline,
) -> Result<Option<ServerRecord>, Error> {
    let masters = masters(session, cluster, deadline).map_err(refused)?;
    let checked = masters
        .into_iter()
        .map(|server| server.checked(&proof.keys, Timestamp::now()));
    let (own, others): (Vec<OwnedServer>, Vec<OwnedServer>) =
        checked.partition(|server| proof.holds(server));
    let others = others.iter().map(OwnedServer::record);
    let others: Vec<String> = others
        .filter(|record| !record.deleting)
        .map(in_words)
        .collect();
    let cloud = &session.settings().name;
    match (own.is_empty(), others.is_empty()) {
        (_, true) => {}
        (true, false) => {
            return Err(Error::Unsigned {
                cloud: cloud.clone(),
                servers: others,
            });
        }
        (false, false) => warn!(
            "cloud {cloud}: {}: carries the id of this pool as its central manager, without a valid ehos_proof: not touched; \
             delete it when it is nobody's",
            others.join(", ")
        ),
    }
    let mut masters: Vec<ServerRecord> = own.iter().map(|server| server.record().clone()).collect();
    if masters.iter().filter(|record| !record.deleting).count() > 1 {
        return Err(Error::Several {
            cloud: session.settings().name.clone(),
            servers: masters.iter().map(in_words).collect(),
        });
    }
    // One that is going counts only while there is no other.
    masters.sort_by_key(|record| record.deleting);
    Ok(masters.into_iter().next())
}

fn masters(
    session: &Session,
    cluster: &str,
    deadline: Deadline,
) -> Result<Vec<OwnedServer>, openstack::Error> {
    let servers = compute::servers(session, deadline)?;
    session.tell(servers.told());
    for server in &servers.unread {
        let role = match server.of(cluster) {
            Some(obscure) => obscure.role,
            None => continue,
        };
        let named = server.item.name.as_deref();
        // Nobody knows whether this one is it: a second one would be one too many.
        if role == Some(Role::Master)
            || role.is_none() && named.is_some_and(|name| name.ends_with("-master"))
        {
            return Err(openstack::Error::Unreadable {
                cloud: session.settings().name.clone(),
                unread: server.item.told.clone(),
            });
        }
    }
    Ok(servers
        .records
        .into_iter()
        .filter_map(|record| OwnedServer::recognise(record, cluster))
        .filter(|server| server.role() == Role::Master)
        .collect())
}

fn in_words(record: &ServerRecord) -> String {
    match record.metadata.get(METADATA_READY) {
        Some(since) => format!("{} ({}, ready since {since})", record.name, record.id),
        None => format!("{} ({}, not ready)", record.name, record.id),
    }
}

fn soon() -> Deadline {
    Deadline::within(SOON)
}

fn refused(error: openstack::Error) -> Error {
    Error::OpenStack(Box::new(error), CleanUp::Nothing)
}

struct Run<'r> {
    session: &'r Session<'r>,
    order: &'r Order,
    manner: &'r Manner<'r>,
    line: &'r Line,
    deadline: Deadline,
    /// Creates without a proper answer, and when the last one was sent.
    asked: u32,
    asked_at: Instant,
    /// The id of the server that this run made.
    made: Option<String>,
    /// The server that is installed, and whether it was ready when it was first seen.
    was_ready: Option<(String, bool)>,
    /// All of its console, as last seen.
    console: String,
    first_try: Option<Instant>,
    installation: Installation,
    installed: Option<Installed>,
}

/// What is known once all is in place.
#[derive(Clone)]
struct Installed {
    ssh: Ssh,
    user: String,
    version: String,
    files: Vec<FileChange>,
    timer: Option<Timer>,
    tick_exit: Option<i32>,
    tick: String,
}

impl<'r> Run<'r> {
    fn new(
        session: &'r Session<'r>,
        order: &'r Order,
        manner: &'r Manner<'r>,
        line: &'r Line,
        deadline: Deadline,
    ) -> Run<'r> {
        Run {
            session,
            order,
            manner,
            line,
            deadline,
            asked: 0,
            asked_at: Instant::now(),
            made: None,
            was_ready: None,
            console: String::new(),
            first_try: None,
            installation: Installation::NotYet,
            installed: None,
        }
    }

    /// Remembers whether this server was ready when it was first seen. One that is being deleted is none: another one
    /// takes its place.
    fn first_seen(&mut self, record: &ServerRecord, server: &Server) {
        let is_known = |(id, _): &(String, bool)| *id == record.id;
        if !server.deleting && !self.was_ready.as_ref().is_some_and(is_known) {
            self.was_ready = Some((record.id.clone(), server.ready));
        }
    }

    /// Whether the server that is installed is in use already.
    fn occasion(&self) -> Occasion {
        match self.was_ready {
            Some((_, true)) => Occasion::Again,
            Some((_, false)) | None => Occasion::First,
        }
    }

    fn complete(&mut self, work: &[Work]) -> Result<Deployed, Error> {
        loop {
            let (record, seen) = match self.look() {
                Ok(found) => found,
                Err(Error::OpenStack(error, _))
                    if error.is_passing() && !self.deadline.passed() =>
                {
                    self.line.detail(&error.to_string());
                    debug!("{error}");
                    self.pause();
                    continue;
                }
                Err(Error::OpenStack(error, _)) if self.made.is_some() => {
                    return Err(Error::OpenStack(error, CleanUp::Unknown));
                }
                Err(error) => return Err(error),
            };
            if let (Some(record), Some(server)) = (&record, &seen.server) {
                self.first_seen(record, server);
                let name = record.name.clone();
                let id = record.id.clone();
                self.line.leaves(match (server.deleting, server.ready) {
                    (true, _) => None,
                    (false, true) => Some(Remains::Half { name }),
                    (false, false) => Some(Remains::Server { name, id }),
                });
            }
            let step = next(&seen);
            debug!("{step:?}");
            // What is installed is marked even then: nodes may come from it already.
            if self.deadline.passed() && !matches!(step, Step::Done | Step::MarkReady | Step::Start)
            {
                let doing = match &step {
                    Step::Wait { what } => format!("still waiting for {what}"),
                    other => format!("next would have been: {other:?}"),
                };
                let why = format!("it was not done in the time given (--timeout); {doing}");
                return Err(self.give_up(record.as_ref(), why));
            }
            match step {
                Step::Create => self.create()?,
                Step::Remove { why } => {
                    if let Some(record) = &record {
                        self.line.doing(&format!("deletes {}: {why}", record.name));
                        compute::delete(self.session, &record.id, soon()).map_err(refused)?;
                        self.pause();
                    }
                }
                Step::Wait { what } => {
                    self.line.doing(&format!("waits for {what}"));
                    if let Some(Boot::Running(Some(last))) = &seen.boot {
                        self.line.detail(last);
                    }
                    self.pause();
                }
                Step::LeadFloatingIp => {
                    if let Some(record) = &record
                        && let Err(error) = self.lead_floating_ip(record)
                    {
                        return Err(self.give_up(Some(record), error.to_string()));
                    }
                }
                Step::Install => {
                    if let Some(record) = &record {
                        self.installation = self.install(record, work)?;
                        if let Installation::NotReached { why, .. } = &self.installation {
                            self.line.detail(why);
                            self.pause();
                        }
                    }
                }
                Step::MarkReady => {
                    if let Some(record) = &record
                        && let Err(error) = self.mark_ready(record)
                    {
                        let again = error.is_unanswered() || error.effect() == Effect::Unknown;
                        if !again || self.deadline.passed() {
                            return Err(self.give_up(Some(record), error.to_string()));
                        }
                        self.line.detail(&error.to_string());
                        debug!("{error}");
                        self.pause();
                    }
                }
                Step::Start => {
                    self.installation = self.start();
                }
                Step::Done => return self.deployed(record.as_ref()),
                Step::GiveUp { why } => return Err(self.give_up(record.as_ref(), why)),
            }
        }
    }

    fn pause(&self) {
        thread::sleep(self.manner.poll.min(self.deadline.left()));
    }

    fn look(&mut self) -> Result<(Option<ServerRecord>, Seen), Error> {
        let mut proof = self.manner.proof.clone();
        proof.trusted.extend(self.made.clone());
        let found = the_master(self.session, &self.order.cluster, &proof, soon())?;
        let ready = |record: &ServerRecord| record.metadata.contains_key(METADATA_READY);
        let mut boot_seen = None;
        let mut floating_ip = FloatingIp::NotWanted;
        let mut fault = None;
        if let Some(record) = &found {
            if record.status == ServerStatus::Error {
                fault = match &record.fault {
                    Some(fault) => Some(fault.clone()),
                    None => compute::fault(self.session, &record.id, soon()).map_err(refused)?,
                };
            }
            if !record.deleting && record.status != ServerStatus::Build {
                boot_seen = self.boot(record);
            }
            if self.order.external_network.is_some() && record.status == ServerStatus::Active {
                floating_ip = match self.floating_ip(record).map_err(refused)? {
                    Some(_) => FloatingIp::There,
                    None => FloatingIp::Missing,
                };
            }
        }
        let server = found.as_ref().map(|record| Server {
            status: record.status,
            deleting: record.deleting,
            fault,
            ready: ready(record),
            made_here: self.made.as_deref() == Some(record.id.as_str()),
            as_ordered: record.metadata.get(METADATA_DIGEST) == Some(&self.order.digest),
        });
        let seen = Seen {
            server,
            asked: Asked {
                times: self.asked,
                ago: self.asked_at.elapsed(),
            },
            boot: boot_seen,
            floating_ip,
            installation: self.installation.clone(),
        };
        Ok((found, seen))
    }

    /// How its boot goes; nothing when there is no console, which can be for a while, or for good.
    fn boot(&mut self, record: &ServerRecord) -> Option<Boot> {
        match compute::console(self.session, &record.id, compute::ALL_LINES, soon()) {
            Ok(console) => {
                let seen = boot(&console, self.order.final_message.as_deref());
                self.console = console;
                Some(seen)
            }
            Err(error) => {
                self.line.detail(&error.to_string());
                debug!("{error}");
                None
            }
        }
    }

    fn create(&mut self) -> Result<(), Error> {
        let Order { name, image, .. } = self.order;
        self.line.doing(&format!("makes {name} of {}", image.1));
        let mut metadata = self.order.metadata.clone();
        let keys = &self.manner.proof.keys;
        keys.sign(&mut metadata, name, Timestamp::now());
        let server = NewServer {
            name,
            description: format!("central manager of the ehos pool {}", self.order.cluster),
            flavor: &self.order.flavor,
            image: &image.0,
            networks: &self.order.networks,
            key: Some(&self.order.key.name),
            security_groups: &self.order.security_groups,
            availability_zone: self.order.availability_zone.as_deref(),
            user_data: self.order.user_data.clone(),
            metadata,
            scratch_size_gb: None,
            boot_volume: None,
            server_group: None,
            config_drive: self.order.config_drive,
            tags: &[],
        };
        self.console.clear();
        self.installation = Installation::NotYet;
        self.first_try = None;
        match compute::create(self.session, &server, soon()) {
            Ok(id) => {
                self.line.leaves(Some(Remains::Server {
                    name: name.clone(),
                    id: id.clone(),
                }));
                self.made = Some(id);
                // Nova may list it a moment later.
                self.asked = self.asked.max(1);
            }
            Err(error) if error.effect() == Effect::Unknown => {
                warn!("{error}; the list of servers will tell");
                self.asked += 1;
            }
            Err(error) => return Err(refused(error)),
        }
        self.asked_at = Instant::now();
        Ok(())
    }

    /// The address of a floating IP that leads to it.
    fn floating_ip(&self, record: &ServerRecord) -> Result<Option<String>, openstack::Error> {
        let ports = network::ports(self.session, &record.id, soon())?;
        let all = network::floating_ips(self.session, soon())?;
        let leads_here = |port: &Option<String>| {
            port.as_ref()
                .is_some_and(|port| ports.iter().any(|known| known.id == *port))
        };
        Ok(all
            .into_iter()
            .find(|ip| leads_here(&ip.port_id))
            .map(|ip| ip.floating_ip_address))
    }

    /// Takes a floating IP, or one that an earlier run has taken, and lets it lead to the server.
    fn lead_floating_ip(&self, record: &ServerRecord) -> Result<(), openstack::Error> {
        let Some(external) = &self.order.external_network else {
            return Ok(());
        };
        let ports = network::ports(self.session, &record.id, soon())?;
        // Floating IPs lead to IPv4 addresses.
        let port = ports
            .iter()
            .find(|port| port.fixed_ips.iter().any(|ip| !ip.ip_address.contains(':')));
        let Some(port) = port else {
            self.line.doing("waits for its port in the network");
            self.pause();
            return Ok(());
        };
        let mark = self.order.floating_ip_mark();
        let free = network::floating_ips(self.session, soon())?
            .into_iter()
            .find(|ip| {
                ip.description.as_deref() == Some(&mark)
                    && ip.port_id.is_none()
                    && ip.floating_network_id == *external
            });
        let led = match free {
            Some(ip) => {
                let address = &ip.floating_ip_address;
                self.line.doing(&format!("gives it the address {address}"));
                network::associate_floating_ip(self.session, &ip.id, &port.id, soon())
            }
            None => {
                self.line.doing("takes a floating IP");
                network::create_floating_ip(self.session, external, &port.id, &mark, soon())
                    .map(|_| ())
            }
        };
        match led {
            // It is looked for again before another one is taken.
            Err(error) if error.effect() == Effect::Unknown => {
                warn!("{error}");
                self.pause();
                Ok(())
            }
            other => other,
        }
    }

    fn install(&mut self, record: &ServerRecord, work: &[Work]) -> Result<Installation, Error> {
        let first_try = *self.first_try.get_or_insert_with(Instant::now);
        let (addresses, _) = match self.addresses(record) {
            Ok(addresses) => addresses,
            Err(error) => return Ok(Installation::Failed(error.to_string())),
        };
        let login = match self.login(record)? {
            Ok(login) => login,
            Err(why) => return Ok(Installation::Failed(why)),
        };
        self.line.doing(&format!(
            "logs in as {} at {}",
            login.user,
            addresses.join(", ")
        ));
        match self.put_all(&login, &addresses, work) {
            Ok(installed) => {
                self.installed = Some(installed);
                Ok(Installation::Done)
            }
            Err(Failure::Ssh(error)) if error.is_passing() => Ok(Installation::NotReached {
                tried: first_try.elapsed(),
                why: error.to_string(),
            }),
            Err(failure) => Ok(Installation::Failed(failure.to_string())),
        }
    }

    /// The addresses of the server, the most likely to be reached first, and its floating IP.
    fn addresses(
        &self,
        record: &ServerRecord,
    ) -> Result<(Vec<String>, Option<String>), openstack::Error> {
        let details = compute::server(self.session, &record.id, soon())?;
        let mut known = details.map(|details| details.addresses).unwrap_or_default();
        known.sort_by_key(|address| (!address.floating, address.version));
        let mut addresses: Vec<String> = known.into_iter().map(|address| address.address).collect();
        let floating = match self.order.external_network {
            Some(_) => self.floating_ip(record)?,
            None => None,
        };
        if let Some(floating) = &floating {
            // Nova may know of it only later.
            addresses.retain(|address| address != floating);
            addresses.insert(0, floating.clone());
        }
        Ok((addresses, floating))
    }

    /// How to log in; or why nobody can.
    fn login(&self, record: &ServerRecord) -> Result<Result<Login, String>, Error> {
        let Manner {
            known_hosts,
            accept_host_key,
            ..
        } = self.manner;
        let kept = |source| Error::KnownHosts {
            path: known_hosts.clone(),
            source,
        };
        let said = |key: &str| record.metadata.get(key).cloned();
        // Once it is ready it has users, and any of them can have a line written to the console: the kernel tells there
        // the name of a program that crashes. So what was learnt before counts, and no console.
        let ready = record.metadata.contains_key(METADATA_READY);
        let known = knows(known_hosts, &record.id).map_err(kept)?;
        let keys = match (ready, known) {
            (true, true) => Vec::new(),
            (true, false) => said(METADATA_HOST_KEY).into_iter().collect(),
            (false, _) => host_keys(&self.console),
        };
        if !keys.is_empty() {
            keep_host_keys(known_hosts, &record.id, &keys).map_err(kept)?;
        }
        let known = known || !keys.is_empty();
        if !known && !accept_host_key {
            let why = if ready {
                format!(
                    "its SSH host key is neither in {} nor in its metadata ({METADATA_HOST_KEY}), and the console of a \
                     server that has users is not believed",
                    known_hosts.display()
                )
            } else {
                "its console does not tell its SSH host key (cloud-init's ssh.emit_keys_to_console)"
                    .to_owned()
            };
            return Ok(Err(format!(
                "{why}, so nobody can know who answers; give --accept-host-key if you trust the network"
            )));
        }
        let on_console = (!ready).then(|| login_user(&self.console)).flatten();
        let user = match (self.manner.user, on_console) {
            (Some(user), _) => user.to_owned(),
            (None, Some(login)) if login.has_key => login.name,
            (None, Some(login)) => {
                return Ok(Err(format!(
                    "its user {} has no key: keypair {} did not come into the server",
                    login.name, self.order.key.name
                )));
            }
            (None, None) => match said(METADATA_LOGIN) {
                Some(user) => user,
                None => {
                    let where_from = if ready { "metadata" } else { "console" };
                    return Ok(Err(format!(
                        "its {where_from} does not tell the user to log in as; give --ssh-user"
                    )));
                }
            },
        };
        Ok(Ok(Login {
            user,
            identity: self.manner.identity.clone(),
            known_hosts: known_hosts.clone(),
            host_key_alias: record.id.clone(),
            accept_host_key: !known && *accept_host_key,
            program: PathBuf::from("ssh"),
        }))
    }

    fn put_all(
        &self,
        login: &Login,
        addresses: &[String],
        work: &[Work],
    ) -> Result<Installed, Failure> {
        let ssh = Ssh::connect(login, addresses, self.deadline)?;
        let occasion = self.occasion();
        let mut files = Vec::new();
        let mut version = String::new();
        for work in work {
            match work {
                // Its first boot has written it just now.
                Work::File(file) if file.care == Care::Compare && occasion == Occasion::First => {}
                Work::File(file) => {
                    self.line
                        .doing(&format!("puts {} there", file.path.display()));
                    let said = self.put(&ssh, file, occasion)?;
                    if occasion == Occasion::Again && file.care != Care::Replace {
                        files.extend(FileChange::read(&file.path, &said));
                    }
                }
                Work::Script {
                    what,
                    script,
                    remedy,
                } => {
                    self.line.doing(&format!("sees to {what}"));
                    let said = ssh
                        .run(what, script, Vec::new(), self.deadline)
                        .map_err(|error| Failure::Work { error, remedy })?;
                    let said = said.trim();
                    if said.starts_with("ehos ") && !said.contains('\n') {
                        said.clone_into(&mut version);
                    } else if !said.is_empty() {
                        info!("{what}: {said}");
                    }
                }
            }
        }
        Ok(Installed {
            ssh,
            user: login.user.clone(),
            version,
            files,
            timer: None,
            tick_exit: None,
            tick: String::new(),
        })
    }

    /// Brings a file, and returns what its script says.
    fn put(&self, ssh: &Ssh, file: &install::File, occasion: Occasion) -> Result<String, Failure> {
        let path = file.path.display().to_string();
        let bytes = file.content.bytes().map_err(|source| Failure::Local {
            path: path.clone(),
            source,
        })?;
        let script = file.script(bytes.len(), occasion);
        Ok(ssh.run(&path, &script, bytes, self.deadline)?)
    }

    /// Starts the timer of a server that is marked as ready.
    fn start(&mut self) -> Installation {
        let occasion = self.occasion();
        let Some(installed) = &mut self.installed else {
            return Installation::NotYet;
        };
        let ssh = &installed.ssh;
        let Work::Script {
            what,
            script,
            remedy,
        } = install::timer(occasion)
        else {
            return Installation::Started;
        };
        self.line.doing(&format!("sees to {what}"));
        installed.timer = match ssh.run(what, &script, Vec::new(), self.deadline) {
            Ok(said) => Timer::read(&said),
            Err(error) => {
                return Installation::Failed(Failure::Work { error, remedy }.to_string());
            }
        };
        if installed.timer.is_some_and(|timer| !timer.active) {
            // Somebody has stopped it: a tick could make nodes.
            return Installation::Started;
        }
        self.line.doing("lets it tick for the first time");
        // The timer runs: that this tick is not heard of to its end is no failure of the installation.
        let said = match ssh.run("the first tick", TICK, Vec::new(), self.deadline) {
            Ok(said) => said,
            Err(error) => format!("\n{error}"),
        };
        let (code, tick) = said.split_once('\n').unwrap_or((&said, ""));
        installed.tick_exit = code.trim().parse().ok();
        tick.trim_end().clone_into(&mut installed.tick);
        Installation::Started
    }

    fn mark_ready(&mut self, record: &ServerRecord) -> Result<(), openstack::Error> {
        let user = self.installed.as_ref().map(|installed| &installed.user);
        let mut metadata = BTreeMap::new();
        metadata.insert(METADATA_READY.to_owned(), Timestamp::now().to_string());
        if let Some(user) = user {
            metadata.insert(METADATA_LOGIN.to_owned(), user.clone());
        }
        if !record.metadata.contains_key(METADATA_HOST_KEY) {
            match short_host_key(&self.manner.known_hosts, &record.id) {
                Ok(Some(key)) => {
                    metadata.insert(METADATA_HOST_KEY.to_owned(), key);
                }
                Ok(None) => {}
                Err(error) => warn!("{}: {error}", self.manner.known_hosts.display()),
            }
        }
        compute::add_metadata(self.session, &record.id, &metadata, soon())?;
        self.installation = Installation::Marked;
        Ok(())
    }

    fn deployed(&self, record: Option<&ServerRecord>) -> Result<Deployed, Error> {
        let vanished = || Error::GaveUp {
            cloud: self.session.settings().name.clone(),
            name: self.order.name.clone(),
            why: "its server is gone: somebody has deleted it meanwhile".to_owned(),
            clean_up: CleanUp::Nothing,
        };
        let (Some(record), Some(installed)) = (record, self.installed.clone()) else {
            return Err(vanished());
        };
        let server = compute::server(self.session, &record.id, soon())
            .map_err(refused)?
            .ok_or_else(vanished)?;
        let (_, floating_ip) = self.addresses(record).map_err(refused)?;
        Ok(Deployed {
            made: self.occasion() == Occasion::First,
            files: installed.files,
            timer: installed.timer,
            server,
            floating_ip,
            address: installed.ssh.address,
            user: installed.user,
            version: installed.version,
            tick_exit: installed.tick_exit,
            tick: installed.tick,
        })
    }

    /// Cleans up, and says what went wrong.
    fn give_up(&self, record: Option<&ServerRecord>, why: String) -> Error {
        let clean_up = match record {
            None => CleanUp::Nothing,
            Some(record) if record.metadata.contains_key(METADATA_READY) => CleanUp::Ready,
            Some(_) if self.installed.is_some() => CleanUp::Installed,
            Some(_) if self.manner.keep => CleanUp::Kept,
            Some(record) => {
                let tail = console::before_failure(&self.console, TOLD_LINES);
                let booted = boot(&self.console, self.order.final_message.as_deref());
                // What fails after a good boot is not told by the console.
                if booted != Boot::Finished && !tail.is_empty() {
                    warn!("from the console of {}:\n{tail}", record.name);
                }
                self.line
                    .doing(&format!("deletes {}, which failed", record.name));
                match self.take_away(record) {
                    Ok(()) => CleanUp::Deleted,
                    Err(error) => CleanUp::Failed(error),
                }
            }
        };
        Error::GaveUp {
            cloud: self.session.settings().name.clone(),
            name: record
                .map_or(&self.order.name, |record| &record.name)
                .clone(),
            why,
            clean_up,
        }
    }

    /// Deletes a server that was never ready, waits until it is gone, and gives the floating IP back that was taken
    /// for it.
    fn take_away(&self, record: &ServerRecord) -> Result<(), String> {
        let deadline = Deadline::within(CLEAN_UP);
        let text = |error: openstack::Error| error.to_string();
        let ports = match self.order.external_network {
            Some(_) => network::ports(self.session, &record.id, deadline).map_err(text)?,
            None => Vec::new(),
        };
        compute::delete(self.session, &record.id, deadline).map_err(text)?;
        while let Some(details) =
            compute::server(self.session, &record.id, deadline).map_err(text)?
        {
            if details.record.deleting && details.record.status == ServerStatus::Other {
                break;
            }
            if deadline.passed() {
                return Err("Nova has not deleted it yet".to_owned());
            }
            thread::sleep(self.manner.poll.min(deadline.left()));
        }
        if self.order.external_network.is_some() {
            let mark = self.order.floating_ip_mark();
            for ip in network::floating_ips(self.session, deadline).map_err(text)? {
                // Somebody may have let it lead to another server since.
                let free = ip.port_id.is_none()
                    || ports
                        .iter()
                        .any(|port| ip.port_id.as_ref() == Some(&port.id));
                if free && ip.description.as_deref() == Some(&mark) {
                    network::delete_floating_ip(self.session, &ip.id, deadline).map_err(text)?;
                }
            }
        }
        Ok(())
    }
}

/// Why not all could be put onto the server.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Ssh(#[from] ssh::Error),
    #[error("{error}; {remedy}")]
    Work {
        error: ssh::Error,
        remedy: &'static str,
    },
    #[error(
        "{path}: what is to be put there cannot be read here: {}",
        rights::told(Path::new(path), source)
    )]
    Local {
        path: String,
        source: std::io::Error,
    },
}

/// Whether a host key is known under this name.
fn knows(file: &Path, alias: &str) -> std::io::Result<bool> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(text.lines().any(|line| is_of(line, alias))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// A host key that is known under this name and short enough for metadata; one of Ed25519 before others.
fn short_host_key(file: &Path, alias: &str) -> std::io::Result<Option<String>> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let keys = text.lines().filter(|line| is_of(line, alias));
    let keys = keys.map(|line| {
        line.split_whitespace()
            .skip(1)
            .collect::<Vec<_>>()
            .join(" ")
    });
    Ok(keys
        .filter(|key| key.len() <= LONGEST_VALUE)
        .min_by_key(|key| !key.starts_with("ssh-ed25519 ")))
}

fn is_of(line: &str, alias: &str) -> bool {
    line.split_whitespace().next() == Some(alias)
}

/// Keeps these host keys under this name, in the place of others of it.
fn keep_host_keys(file: &Path, alias: &str, keys: &[String]) -> std::io::Result<()> {
    let old = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    let others = old.lines().filter(|line| !is_of(line, alias));
    let ours = keys.iter().map(|key| format!("{alias} {key}"));
    let lines: Vec<String> = others.map(str::to_owned).chain(ours).collect();
    let folder = file.parent().unwrap_or(Path::new("."));
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    writeln!(new, "{}", lines.join("\n"))?;
    new.persist(file).map_err(|error| error.error)?;
    Ok(())
}

/// The private key that belongs to `public_key` (a keypair's), among those of ~/.ssh: so that ssh need not try all. The
/// error says that the key which was `given` is another one.
///
/// # Errors
/// When the public half of `given` lies beside it and is not this key, or `given` is not there.
pub fn identity(
    given: Option<&Path>,
    public_key: &str,
    home: Option<&Path>,
    settings: &CloudSettings,
) -> anyhow::Result<Option<PathBuf>> {
    let same = |text: &str| {
        let words = |text: &str| -> Vec<String> {
            text.split_whitespace().take(2).map(str::to_owned).collect()
        };
        words(text) == words(public_key)
    };
    if let Some(given) = given {
        if !given.is_file() {
            anyhow::bail!("--identity {}: there is no such file", given.display());
        }
        let public = PathBuf::from(format!("{}.pub", given.display()));
        if let Ok(text) = fs::read_to_string(&public)
            && !public_key.is_empty()
            && !same(&text)
        {
            anyhow::bail!(
                "--identity {} is not the key of the keypair `{}` of cloud {}: give the private half of that, or \
                 configure another `key`",
                given.display(),
                settings.key.as_deref().unwrap_or_default(),
                settings.name
            );
        }
        return Ok(Some(given.to_owned()));
    }
    let Some(folder) = home.map(|home| home.join(".ssh")) else {
        return Ok(None);
    };
    let Ok(entries) = fs::read_dir(&folder) else {
        return Ok(None);
    };
    Ok(entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "pub"))
        .filter(|path| fs::read_to_string(path).is_ok_and(|text| same(&text)))
        .map(|path| path.with_extension(""))
        .find(|path| path.is_file()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_keys_of_a_server_take_the_place_of_its_old_ones_only() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("known_hosts");
        assert!(!knows(&file, "one").unwrap());
        keep_host_keys(&file, "one", &["ssh-ed25519 AAAAold".to_owned()]).unwrap();
        keep_host_keys(&file, "two", &["ssh-ed25519 AAAAtwo".to_owned()]).unwrap();
        keep_host_keys(&file, "one", &["ssh-ed25519 AAAAnew".to_owned()]).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(text, "two ssh-ed25519 AAAAtwo\none ssh-ed25519 AAAAnew\n");
        assert!(knows(&file, "one").unwrap());
        assert!(!knows(&file, "on").unwrap());
        let rsa = format!("ssh-rsa AAAA{}", "x".repeat(300));
        let keys = [
            rsa,
            "ecdsa-sha2-nistp256 AAAAec".to_owned(),
            "ssh-ed25519 AAAAed".to_owned(),
        ];
        keep_host_keys(&file, "three", &keys).unwrap();
        let short = |alias| short_host_key(&file, alias).unwrap();
        assert_eq!(short("three").as_deref(), Some("ssh-ed25519 AAAAed"));
        keep_host_keys(&file, "three", &keys[..2]).unwrap();
        assert_eq!(
            short("three").as_deref(),
            Some("ecdsa-sha2-nistp256 AAAAec")
        );
        keep_host_keys(&file, "three", &keys[..1]).unwrap();
        assert_eq!(short("three"), None);
    }
}
