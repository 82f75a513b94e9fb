//! `ehos explain`: why a job waits, where it runs or ran, or the history of a node.

mod answer;
mod job;
mod node;
mod queue;
mod text;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use jiff::Timestamp;
use log::{debug, error, warn};

use crate::cli::{Explain, Output};
use crate::commands::state_directory_of_reader;
use answer::JobAnswer;
use condor::job::Which;
use frontend::token::Token;
use job::Inquiry;
use report::history;
use report::history::life::Life;
use report::status::RemoteNode;
use report::{TickReport, explain, status};
use scaling::job_names::JobId;
use system::environment::Environment;
use system::exit::Exit;
use system::json;
use system::plain::clean;
use text::Page;

/// What the report is read from.
struct Source {
    report: Result<TickReport, String>,
    /// The history beside it; none behind a page.
    folder: Option<PathBuf>,
    /// The exit code where there is no report.
    exit: Exit,
}

/// The subject of an explanation.
enum Subject {
    Jobs {
        schedd: Option<String>,
        which: Which,
    },
    Name(String),
}

impl Subject {
    /// `[SCHEDD#]CLUSTER[.PROC]`, or a name.
    fn of(text: &str) -> Subject {
        let (schedd, id) = match text.rsplit_once('#') {
            Some((schedd, id)) => (Some(schedd.to_owned()), id),
            None => (None, text),
        };
        let is_number = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
        let cluster = is_number.then(|| id.parse().ok()).flatten();
        let which = id.parse::<JobId>().ok().map(Which::Job);
        match which.or(cluster.map(Which::Cluster)) {
            Some(which) => Subject::Jobs { schedd, which },
            None => Subject::Name(text.to_owned()),
        }
    }
}

/// Writes the explanation to `out`.
///
/// # Errors
/// The history cannot be read and nothing else tells of the subject ([`status::Error`]).
pub fn run(args: &Explain, environment: &Environment, out: &mut dyn Write) -> anyhow::Result<Exit> {
    match Subject::of(&args.subject) {
        Subject::Jobs { schedd, which } => {
            let source = source(args, environment);
            let schedd = args.schedd.clone().or(schedd);
            let inquiry = inquiry(args, environment, &source, schedd.as_deref())?;
            let answer = match inquiry.answer(&which, Timestamp::now()) {
                Ok(answer) => answer,
                Err(problem) => {
                    error!("{problem:#}");
                    return Ok(Exit::Unavailable);
                }
            };
            finish(answer, &source, args, environment, out)
        }
        Subject::Name(name) => of_name(&name, args, environment, out),
    }
}

fn of_name(
    name: &str,
    args: &Explain,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    if args.url.is_none() {
        let folder = history::folder(&state_directory_of_reader(&args.common, environment)?);
        let last = status::last(&folder)?;
        let is_owner = explain::owners(&last).contains(name);
        if !is_owner {
            let found = node::find(name, &folder, &last)?;
            if let Some(life) = &found.life {
                return node::write(life, args, environment, out);
            }
            let source = Source {
                report: Ok(last),
                folder: Some(folder.clone()),
                exit: Exit::Done,
            };
            let inquiry = inquiry(args, environment, &source, args.schedd.as_deref())?;
            let which = Which::Owner(name.to_owned());
            let answer = inquiry.answer(&which, Timestamp::now());
            return match answer {
                Ok(Some(answer)) => finish(Some(answer), &source, args, environment, out),
                Ok(None) => Ok(found.not_found(name, &folder)),
                Err(problem) => {
                    debug!("{problem:#}");
                    Ok(found.not_found(name, &folder))
                }
            };
        }
    }
    let source = source(args, environment);
    let last = source.report.as_ref().ok();
    let is_owner = last.is_some_and(|last| explain::owners(last).contains(name));
    let missing = match &args.url {
        Some(url) if !is_owner && last.is_some() => {
            match fetch_node(url, name, args, environment) {
                Ok(RemoteNode::Found(life)) => return node::write(&life, args, environment, out),
                Ok(RemoteNode::Missing(words)) => Some(words),
                Err(problem) => {
                    warn!("{problem}");
                    None
                }
            }
        }
        _ => None,
    };
    let inquiry = inquiry(args, environment, &source, args.schedd.as_deref())?;
    let answer = inquiry.answer(&Which::Owner(name.to_owned()), Timestamp::now());
    match (answer, missing) {
        (Ok(None) | Err(_), Some(words)) => {
            error!(
                "{}: not found at the page: {}; no user of this name has jobs in the schedd of this host; to ask another, give \
                 --schedd NAME",
                clean(name),
                clean(&words)
            );
            Ok(Exit::Failed)
        }
        (Ok(answer), _) => finish(answer, &source, args, environment, out),
        (Err(problem), _) => {
            error!("{problem:#}");
            Ok(Exit::Unavailable)
        }
    }
}

fn finish(
    answer: Option<JobAnswer>,
    source: &Source,
    args: &Explain,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let subject = &args.subject;
    let Some(answer) = answer else {
        error!(
            "{subject}: neither in the queue nor in the job history of this schedd, nor a node; check it with condor_q -allusers, \
             or give --schedd NAME"
        );
        return Ok(Exit::Failed);
    };
    if let Err(problem) = &source.report {
        warn!("{problem}");
    }
    let printed = match args.output {
        Output::Json => json::pretty(&answer)?,
        Output::Text => Page::new(args, environment).job(&answer),
    };
    out.write_all(printed.as_bytes())
        .map_err(|error| anyhow!("the explanation cannot be printed: {error}"))?;
    Ok(match source.report {
        Ok(_) => Exit::Done,
        Err(_) => source.exit,
    })
}

/// The last tick: of `--url`, or of the state directory.
fn source(args: &Explain, environment: &Environment) -> Source {
    if let Some(url) = &args.url {
        return Source {
            report: fetch(url, args, environment),
            folder: None,
            exit: Exit::Unavailable,
        };
    }
    let folder = match state_directory_of_reader(&args.common, environment) {
        Ok(directory) => history::folder(&directory),
        Err(problem) => {
            return Source {
                report: Err(problem.to_string()),
                folder: None,
                exit: Exit::State,
            };
        }
    };
    let last = status::last(&folder);
    Source {
        exit: last.as_ref().err().map_or(Exit::Done, status::Error::exit),
        report: last.map_err(|problem| elsewhere(&folder, &problem)),
        folder: Some(folder),
    }
}

/// How to ask the page of another host: it listens on the loopback alone.
const TUNNEL: &str = "run ssh -L 5000:localhost:5000 HOST, then give --url http://localhost:5000 and --token-file FILE";

fn elsewhere(folder: &Path, problem: &status::Error) -> String {
    match problem {
        status::Error::NoTick { .. } => format!(
            "{}: no tick on this host; if ehos runs on another host, {TUNNEL}",
            folder.display()
        ),
        status::Error::Denied { path, .. } => format!(
            "{}: permission denied; ask the administrator for chmod 711 of the state directory, or {TUNNEL}",
            path.display()
        ),
        problem => problem.to_string(),
    }
}

fn fetch(url: &str, args: &Explain, environment: &Environment) -> Result<TickReport, String> {
    let token = token(args, environment)?;
    status::fetch(url, token.as_ref().map(Token::expose))
}

fn fetch_node(
    url: &str,
    name: &str,
    args: &Explain,
    environment: &Environment,
) -> Result<RemoteNode, String> {
    let token = token(args, environment)?;
    status::fetch_node(url, token.as_ref().map(Token::expose), name)
}

/// The token of the page.
fn token(args: &Explain, environment: &Environment) -> Result<Option<Token>, String> {
    let file = args.token_file.as_ref();
    let file = file.map(|file| environment.working_directory.join(file));
    let token = file.map(|file| {
        Token::read(&file).map_err(|error| format!("token {}: {error}", file.display()))
    });
    token.transpose()
}

fn inquiry<'s>(
    args: &'s Explain,
    environment: &'s Environment,
    source: &'s Source,
    schedd: Option<&str>,
) -> anyhow::Result<Inquiry<'s>> {
    let settings = config::for_reader(&args.common.config, environment)?;
    let is_simulated = source.report.as_ref().is_ok_and(|report| report.simulated);
    if is_simulated && args.url.is_some() {
        bail!(
            "{}: jobs of a simulated site are in its state directory; run this there, without --url",
            clean(&args.subject)
        );
    }
    // The world is in the state directory, beside the history.
    let folder = source.folder.as_deref();
    let world = folder.filter(|_| is_simulated).and_then(Path::parent);
    let world = world.map(|directory| {
        simulation::file::read(directory).with_context(|| {
            format!(
                "{}: the simulated world cannot be read; run this as the user that runs the ticks",
                directory.display()
            )
        })
    });
    let report = source.report.as_ref().ok();
    // Neither the page nor a day of the history that cannot be read keeps the rest of the answer.
    let life_of = move |host: &str| match &args.url {
        Some(url) => match fetch_node(url, host, args, environment) {
            Ok(RemoteNode::Found(life)) => Some(*life),
            Ok(RemoteNode::Missing(_)) => None,
            Err(problem) => {
                warn!("{problem}");
                None
            }
        },
        None => match node::find(host, folder?, report?) {
            Ok(found) => found.life,
            Err(problem) => {
                debug!("{problem:#}");
                None
            }
        },
    };
    Ok(Inquiry::new(
        settings,
        schedd,
        world.transpose()?,
        report,
        Box::new(life_of),
    ))
}

/// The node and its history, if there is one.
struct FoundNode {
    life: Option<Life>,
    suggestions: Vec<String>,
    /// Every day could be read.
    whole: bool,
}
