//! The `ehos` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    ehos::run(std::env::args_os(), &mut std::io::stdout()).into()
}
