//! The `ehos` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    system::exit::at_panic();
    ehos::run(std::env::args_os(), &mut std::io::stdout()).into()
}
