//! How often a command that waits queries a cloud.

use std::time::Duration;

use super::error::{Diagnostic, Error};
use system::environment::Environment;

/// How often, where the variable does not say.
const POLL: Duration = Duration::from_secs(5);
/// The variable, in seconds, for clouds that are quicker or slower than most.
const POLL_VARIABLE: &str = "EHOS_POLL_SECONDS";

/// The time between two queries: `$EHOS_POLL_SECONDS`, or 5 s.
///
/// # Errors
/// When the variable is no number of seconds above 0.
pub fn poll(env: &Environment) -> Result<Duration, Error> {
    let Some(text) = env.variable(POLL_VARIABLE) else {
        return Ok(POLL);
    };
    match text.parse().map(Duration::try_from_secs_f64) {
        Ok(Ok(poll)) if !poll.is_zero() => Ok(poll),
        _ => Err(Diagnostic::general(format!(
            "${POLL_VARIABLE} is `{text}`: it must be a number of seconds above 0"
        ))
        .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_often_a_cloud_is_looked_at() {
        let poll = |text: Option<&str>| {
            let pair = text.map(|text| (POLL_VARIABLE.to_owned(), text.to_owned()));
            let env = Environment {
                variables: pair.into_iter().collect(),
                root: "/".into(),
                working_directory: "/".into(),
            };
            super::poll(&env).ok()
        };
        assert_eq!(poll(None), Some(POLL));
        assert_eq!(poll(Some("0.5")), Some(Duration::from_millis(500)));
        for wrong in ["0", "-1", "nan", "soon", "1e40"] {
            assert_eq!(poll(Some(wrong)), None, "{wrong}");
        }
    }
}
