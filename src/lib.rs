//! ehos, Elastic HTCondor OpenStack Scaling: an autoscaler for HTCondor pools on OpenStack.

pub mod check;
pub mod cli;
pub mod commands;
pub mod init;
mod wake;

use std::ffi::OsString;
use std::io::Write;

use clap::Parser;
use log::error;
use tick::state_directory;

use cli::{Cli, CloudCommand, Command, ConfigCommand, ImageCommand, MasterCommand};
use system::environment::Environment;
use system::exit::Exit;
use system::plain::{Own, PlainWriter};
use system::{logging, rights};

/// Runs the command line `args` (the name of the program first) and writes its output to `out`, as plain text.
pub fn run(args: impl IntoIterator<Item = OsString>, out: &mut dyn Write) -> Exit {
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(refusal) => {
            // Coloured on a terminal: help goes to standard output, errors to standard error.
            let printed = refusal.print();
            let asked_for_help = !refusal.use_stderr();
            return if asked_for_help && printed.is_ok() {
                Exit::Done
            } else {
                Exit::Usage
            };
        }
    };
    let environment = Environment::of_process();
    rights::remember(&args, &environment);
    let journal = environment.variables.get("JOURNAL_STREAM");
    let journal = journal.map(String::as_str);
    let levels = logging::is_journal(std::io::stderr(), journal);
    logging::start(verbosity(&cli.command), levels);
    let to_journal = logging::is_journal(std::io::stdout(), journal);
    let exact = matches!(&cli.command, Command::Config(ConfigCommand::Render(_)));
    let mut plain;
    let out: &mut dyn Write = if exact {
        // User data are copied byte for byte.
        out
    } else {
        plain = PlainWriter::new(out, own(&cli.command, to_journal));
        &mut plain
    };
    let result = match &cli.command {
        Command::Tick(args) => commands::tick::run(args, &environment, to_journal, out),
        Command::Due(args) => commands::due::run(args, &environment),
        Command::Status(args) => commands::status::run(args, &environment, out),
        Command::Explain(args) => commands::explain::run(args, &environment, out),
        Command::Cost(args) => commands::cost::run(args, &environment, out),
        Command::Check(args) => commands::check::run(args, &environment, out),
        Command::Resume(args) => commands::resume::run(args, &environment, out),
        Command::Simulate(args) => commands::simulate::run(args, &environment, out),
        Command::Frontend(args) => commands::frontend::run(args, &environment, out),
        Command::Config(ConfigCommand::Init(args)) => {
            commands::config_init::run(args, &environment, out)
        }
        Command::Config(ConfigCommand::Show(args)) => {
            commands::config_show::run(args, &environment, out)
        }
        Command::Config(ConfigCommand::Check(args)) => {
            commands::config_check::run(args, &environment, out)
        }
        Command::Config(ConfigCommand::Render(args)) => {
            commands::config_render::run(args, &environment, out)
        }
        Command::Config(ConfigCommand::Schema) => commands::config_schema::run(out),
        Command::Cloud(CloudCommand::Setup(args)) => {
            commands::cloud_setup::run(args, &environment, out)
        }
        Command::Image(ImageCommand::Build(args)) => {
            commands::image_build::run(args, &environment, out)
        }
        Command::Image(ImageCommand::List(args)) => {
            commands::image_list::run(args, &environment, out)
        }
        Command::Image(ImageCommand::Prune(args)) => {
            commands::image_prune::run(args, &environment, out)
        }
        Command::Master(MasterCommand::Deploy(args)) => {
            commands::master_deploy::run(args, &environment, out)
        }
    };
    result.unwrap_or_else(|failure| {
        error!("{failure:#}");
        exit_of(&failure)
    })
}

/// The control sequences that a command writes besides text.
fn own(command: &Command, to_journal: bool) -> Own {
    let own = |styles, levels| Own { styles, levels };
    match command {
        Command::Status(_) | Command::Explain(_) | Command::Simulate(_) => own(true, !to_journal),
        Command::Tick(_) => own(false, true),
        _ => own(false, !to_journal),
    }
}

/// The number of `-v` flags.
fn verbosity(command: &Command) -> u8 {
    match command {
        Command::Tick(args) => args.common.verbose,
        Command::Due(args) => args.common.verbose,
        Command::Status(args) => args.common.verbose,
        Command::Explain(args) => args.common.verbose,
        Command::Cost(args) => args.common.verbose,
        Command::Check(args) => args.common.verbose,
        Command::Resume(args) => args.common.verbose,
        Command::Simulate(args) => args.common.verbose,
        Command::Frontend(args) => args.common.verbose,
        Command::Config(ConfigCommand::Init(args)) => args.verbose,
        Command::Config(ConfigCommand::Show(args)) => args.common.verbose,
        Command::Config(ConfigCommand::Check(args)) => args.common.verbose,
        Command::Config(ConfigCommand::Render(args)) => args.common.verbose,
        Command::Config(ConfigCommand::Schema) => 0,
        Command::Cloud(CloudCommand::Setup(args)) => args.common.verbose,
        Command::Image(ImageCommand::Build(args)) => args.common.verbose,
        Command::Image(ImageCommand::List(args)) => args.common.verbose,
        Command::Image(ImageCommand::Prune(args)) => args.common.verbose,
        Command::Master(MasterCommand::Deploy(args)) => args.common.verbose,
    }
}

/// The exit code of an error of a command.
fn exit_of(failure: &anyhow::Error) -> Exit {
    for cause in failure.chain() {
        if cause.is::<config::Error>() {
            return Exit::Configuration;
        }
        if let Some(error) = cause.downcast_ref::<openstack::Error>() {
            return exit_of_cloud(error);
        }
        if let Some(error) = cause.downcast_ref::<report::status::Error>() {
            return error.exit();
        }
        match cause.downcast_ref::<state_directory::Error>() {
            Some(state_directory::Error::Newer { .. }) => return Exit::Configuration,
            Some(_) => return Exit::State,
            None => {}
        }
    }
    Exit::Failed
}

/// The exit code of an error of a cloud: the configuration can correct it, time may, or neither.
fn exit_of_cloud(error: &openstack::Error) -> Exit {
    use openstack::Error;
    match error {
        Error::NotTrusted { .. }
        | Error::AuthFailed { .. }
        | Error::NotInCatalog { .. }
        | Error::NotFound { .. }
        | Error::Ambiguous { .. }
        | Error::Misconfigured { .. }
        | Error::BadAddress { .. } => Exit::Configuration,
        Error::NotReached { .. } | Error::NoAnswer { .. } | Error::DeadlinePassed { .. } => {
            Exit::Unavailable
        }
        Error::Refused(refusal) if refusal.is_fault() || refusal.is_rate_limit() => {
            Exit::Unavailable
        }
        Error::Refused(_)
        | Error::Unparsable { .. }
        | Error::Unreadable { .. }
        | Error::CellDown { .. }
        | Error::EndlessList { .. }
        | Error::UserDataTooLong { .. } => Exit::Failed,
    }
}
