//! ehos, Elastic HTCondor OpenStack Scaling: an autoscaler for HTCondor pools on OpenStack.

pub mod check;
pub mod cli;
pub mod commands;
pub mod init;
mod wake;

use std::ffi::OsString;
use std::io::Write;

use clap::error::ErrorKind;
use clap::{ColorChoice, CommandFactory, FromArgMatches};
use log::error;
use tick::state_directory;

use cli::{Cli, CloudCommand, ColorWhen, Command, ConfigCommand, ImageCommand, MasterCommand};
use report::TextOptions;
use system::environment::Environment;
use system::exit::Exit;
use system::plain::{Own, PlainWriter};
use system::{logging, progress, rights};

/// Runs the command line `args` (the name of the program first) and writes its output to `out`, as plain text.
pub fn run(args: impl IntoIterator<Item = OsString>, out: &mut dyn Write) -> Exit {
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match parsed(&args) {
        Ok(cli) => cli,
        Err(refusal) => {
            // Help goes to standard output, errors to standard error.
            let printed = refusal.print();
            let asked_for_help = !refusal.use_stderr();
            return if asked_for_help && printed.is_ok() {
                Exit::Done
            } else {
                Exit::Usage
            };
        }
    };
    let mut environment = Environment::of_process();
    match cli.global.color {
        ColorWhen::Auto => {}
        ColorWhen::Always => environment.force_color(),
        ColorWhen::Never => environment.forbid_color(),
    }
    rights::remember(&args, &environment);
    let journal = environment.variables.get("JOURNAL_STREAM");
    let journal = journal.map(String::as_str);
    let verbosity = logging::Verbosity {
        more: cli.global.verbose,
        journal: logging::is_journal(std::io::stderr(), journal),
        color: environment.has_color(&std::io::stderr()),
    };
    logging::start(verbosity);
    if cli.global.quiet {
        progress::silence();
    }
    let to_journal = logging::is_journal(std::io::stdout(), journal);
    let text = TextOptions {
        levels: to_journal,
        color: !to_journal && environment.has_color(&std::io::stdout()),
        problems_only: cli.global.quiet,
    };
    let exact = matches!(
        &cli.command,
        Command::Config(ConfigCommand::Render(_)) | Command::Completions(_) | Command::Man(_)
    );
    let mut plain;
    let out: &mut dyn Write = if exact {
        // User data and the files of other programs are copied byte for byte.
        out
    } else {
        plain = PlainWriter::new(out, own(&cli.command, text));
        &mut plain
    };
    let result = perform(&cli.command, &environment, text, out);
    result.unwrap_or_else(|failure| {
        error!("{failure:#}");
        exit_of(&failure)
    })
}

fn perform(
    command: &Command,
    environment: &Environment,
    text: TextOptions,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    match command {
        Command::Tick(args) => commands::tick::run(args, environment, text, out),
        Command::Due(args) => commands::due::run(args, environment),
        Command::Status(args) => commands::status::run(args, environment, out),
        Command::Explain(args) => commands::explain::run(args, environment, out),
        Command::Cost(args) => commands::cost::run(args, environment, out),
        Command::Check(args) => commands::check::run(args, environment, text, out),
        Command::Resume(args) => commands::resume::run(args, environment, out),
        Command::Pause(args) => commands::pause::run(args, environment, out),
        Command::Drain(args) => commands::drain::run(args, environment, out),
        Command::Keep(args) => commands::keep::run(args, environment, out),
        Command::Delete(args) => commands::delete::run(args, environment, out),
        Command::Retire(args) => commands::retire::run(args, environment, out),
        Command::Simulate(args) => commands::simulate::run(args, environment, out),
        Command::Frontend(args) => commands::frontend::run(args, environment, out),
        Command::Config(ConfigCommand::Init(args)) => {
            commands::config_init::run(args, environment, out)
        }
        Command::Config(ConfigCommand::Show(args)) => {
            commands::config_show::run(args, environment, out)
        }
        Command::Config(ConfigCommand::Check(args)) => {
            commands::config_check::run(args, environment, out)
        }
        Command::Config(ConfigCommand::Render(args)) => {
            commands::config_render::run(args, environment, out)
        }
        Command::Config(ConfigCommand::Schema) => commands::config_schema::run(out),
        Command::Cloud(CloudCommand::Setup(args)) => {
            commands::cloud_setup::run(args, environment, out)
        }
        Command::Image(ImageCommand::Build(args)) => {
            commands::image_build::run(args, environment, out)
        }
        Command::Image(ImageCommand::List(args)) => {
            commands::image_list::run(args, environment, out)
        }
        Command::Image(ImageCommand::Prune(args)) => {
            commands::image_prune::run(args, environment, out)
        }
        Command::Master(MasterCommand::Deploy(args)) => {
            commands::master_deploy::run(args, environment, out)
        }
        Command::Completions(args) => commands::completions::run(args, out),
        Command::Man(args) => commands::man::run(args, environment, out),
    }
}

/// The command line; its help and errors have colors as `--color` says, also where the rest is not understood.
fn parsed(args: &[OsString]) -> Result<Cli, clap::Error> {
    let mut words = args.iter().filter_map(|word| word.to_str());
    let color = match words.find_map(|word| word.strip_prefix("--color")) {
        Some("") => words.next(),
        Some(value) => value.strip_prefix('='),
        None => None,
    };
    let color = match color {
        Some("always") => ColorChoice::Always,
        Some("never") => ColorChoice::Never,
        _ => ColorChoice::Auto,
    };
    let mut command = Cli::command().color(color);
    let matches = command.try_get_matches_from_mut(args);
    let mut matches = matches.map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let help = Cli::grouped().color(color).try_get_matches_from(args);
            help.err().unwrap_or(error)
        }
        _ => error,
    })?;
    Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

/// The control sequences that a command writes besides text.
fn own(command: &Command, text: TextOptions) -> Own {
    let own = |styles, levels| Own { styles, levels };
    match command {
        Command::Status(_) | Command::Explain(_) | Command::Simulate(_) => own(true, !text.levels),
        Command::Tick(_) => own(text.color, true),
        Command::Check(_) => own(text.color, !text.levels),
        _ => own(false, !text.levels),
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
