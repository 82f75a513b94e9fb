//! The result of a sweep of hours survives its terminal.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use anyhow::Context;
use rustix::io::Errno;

use crate::cli::SimulateOutput;

/// Prints the result; if the terminal is gone, to a new file in `folder`.
///
/// # Errors
/// Neither standard output nor the file can be written.
pub(super) fn print(
    text: &str,
    format: SimulateOutput,
    out: &mut dyn Write,
    folder: &Path,
) -> anyhow::Result<()> {
    let printed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match printed {
        // Source: termios(3): after a hangup a write to the terminal is EIO.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::IO) => keep(text, format, folder),
        printed => printed.context("the result could not be printed"),
    }
}

fn keep(text: &str, format: SimulateOutput, folder: &Path) -> anyhow::Result<()> {
    let ending = match format {
        SimulateOutput::Table => "txt",
        SimulateOutput::Json => "json",
        SimulateOutput::Html => "html",
    };
    let path = folder.join(format!("ehos-simulate-{}.{ending}", std::process::id()));
    let shown = path.display();
    let kept = File::create_new(&path).and_then(|mut file| file.write_all(text.as_bytes()));
    kept.with_context(|| format!("the terminal is gone, and {shown} cannot be written"))?;
    log::warn!("the terminal is gone; the result is in {shown}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    struct Broken(Errno);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_result_whose_terminal_is_gone_is_kept_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let printed = |error| {
            print(
                "text\n",
                SimulateOutput::Json,
                &mut Broken(error),
                folder.path(),
            )
        };
        printed(Errno::IO).unwrap();
        let path = format!("ehos-simulate-{}.json", std::process::id());
        let path = folder.path().join(path);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "text\n");
        // It is never overwritten.
        assert!(printed(Errno::IO).is_err());
        std::fs::remove_file(&path).unwrap();
        assert!(printed(Errno::PIPE).is_err());
        assert!(!path.exists());
    }
}
