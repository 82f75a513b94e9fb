//! Errors that say that a daemon is off, in words that say so: HTCondor's own speak of authorization and of null.
//!
//! Source: tests/testbed/FACTS.md, "Unreachable daemons".

use super::SHARED_PORT;
use super::command::Tools;
use super::error::Error;
use super::inspect;
use system::deadline::Deadline;

/// Nobody listens at the address, or the shared port there knows no such daemon.
const OFF: [&str; 2] = ["CEDAR:6001:", "SECMAN:2011:"];
/// How condor_q says that its schedd has not left its address, or not answered.
const SCHEDD_OFF: [&str; 2] = ["Can't find address for schedd", "Error: (null)"];
/// Before what the error is; it says nothing.
const PREAMBLE: &str = "Error: communication error";

fn stderr_of<'e>(error: &'e Error, signs: &[&str]) -> Option<&'e str> {
    match error {
        Error::Failed { stderr, .. } if signs.iter().any(|sign| stderr.contains(sign)) => {
            Some(stderr)
        }
        _ => None,
    }
}

/// What an error of a question to the collector says. The address is asked for only where the collector is off.
pub fn collector(tools: &Tools, error: &Error, deadline: Deadline) -> String {
    let Some(stderr) = stderr_of(error, &OFF) else {
        return error.to_string();
    };
    let address = match tools.pool() {
        Some(pool) => Some(pool.to_owned()),
        None => inspect::setting(tools, "COLLECTOR", "COLLECTOR_HOST", deadline)
            .ok()
            .flatten(),
    };
    let place = address.map_or_else(
        || "the address in COLLECTOR_HOST".to_owned(),
        |it| with_port(&it),
    );
    format!("no collector answers at {place}: {}", cause(stderr))
}

/// What an error of a question to the schedd `name` says.
pub fn schedd(name: &str, error: &Error) -> String {
    let signs = [OFF, SCHEDD_OFF].concat();
    match stderr_of(error, &signs) {
        Some(stderr) => format!("no schedd answers as {name}: {}", cause(stderr)),
        None => error.to_string(),
    }
}

/// HTCondor's words, without those that say nothing.
fn cause(stderr: &str) -> String {
    let told = stderr.strip_prefix(PREAMBLE).unwrap_or(stderr);
    let told = told.trim_matches(|c: char| c.is_whitespace() || c == '|');
    format!("HTCondor says `{told}`")
}

/// A collector's address with its port; the first, where there are several.
fn with_port(address: &str) -> String {
    let first = address
        .split([',', ' '])
        .find(|part| !part.is_empty())
        .unwrap_or(address);
    let host = first.trim_matches(['<', '>']);
    let host = host.split_once('?').map_or(host, |(host, _)| host);
    let has_port = match host.rsplit_once(':') {
        Some((before, port)) => {
            port.parse::<u16>().is_ok() && (!before.contains(':') || before.ends_with(']'))
        }
        None => false,
    };
    match (has_port, host.contains(':') && !host.starts_with('[')) {
        (true, _) => host.to_owned(),
        (false, true) => format!("[{host}]:{SHARED_PORT}"),
        (false, false) => format!("{host}:{SHARED_PORT}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::fake::FakeTools;
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    fn failed(stderr: &str) -> Error {
        Error::Failed {
            tool: "condor_status".to_owned(),
            about: "the collector".to_owned(),
            status: "exit code 1".to_owned(),
            stderr: stderr.to_owned(),
        }
    }

    const SHARED_PORT: &str = "Error: communication error | SECMAN:2011:Connection closed during command authorization. \
                               Probably due to an unknown command.";
    const REFUSED: &str =
        "Error: communication error\nCEDAR:6001:Failed to connect to <10.77.0.52:9618>";

    fn of_collector(host: Option<&str>, pool: Option<&str>, stderr: &str) -> String {
        let fake = FakeTools::new();
        if let Some(host) = host {
            let answer = format!("out|{host}\nexit=0\n");
            fake.answer("condor_config_val", "COLLECTOR_HOST", &answer);
        }
        let tools = Tools::new(fake.settings().bin, LIMIT).of_pool(pool);
        collector(&tools, &failed(stderr), Deadline::within(LIMIT))
    }

    #[test]
    fn a_collector_that_is_off_is_named_with_its_address() {
        insta::assert_snapshot!(of_collector(Some("cm.example.org"), None, SHARED_PORT), @"no collector answers at cm.example.org:9618: HTCondor says `SECMAN:2011:Connection closed during command authorization. Probably due to an unknown command.`");
        insta::assert_snapshot!(of_collector(None, Some("10.77.0.52:9618"), REFUSED), @"no collector answers at 10.77.0.52:9618: HTCondor says `CEDAR:6001:Failed to connect to <10.77.0.52:9618>`");
        let said = of_collector(None, None, REFUSED);
        assert!(
            said.starts_with("no collector answers at the address in COLLECTOR_HOST: "),
            "{said}"
        );
        // Rights are another thing.
        let denied = "SECMAN: FAILED: Received \"DENIED\" from server for user ehos@testbed using method IDTOKENS.";
        let said = of_collector(Some("cm"), None, denied);
        assert!(said.starts_with("condor_status failed"), "{said}");
        let no_token = "AUTHENTICATE:1003:Failed to authenticate with any method";
        let said = of_collector(Some("cm"), None, no_token);
        assert!(said.contains("AUTHENTICATE:1003"), "{said}");
    }

    #[test]
    fn a_schedd_that_is_off_is_named() {
        let gone = "Error: Can't find address for schedd HOST";
        insta::assert_snapshot!(schedd("local", &failed(gone)), @"no schedd answers as local: HTCondor says `Error: Can't find address for schedd HOST`");
        insta::assert_snapshot!(schedd("local", &failed("Error: (null)")), @"no schedd answers as local: HTCondor says `Error: (null)`");
        let crashed = "CEDAR:6001:Failed to connect to <10.77.0.52:9618>";
        assert!(schedd("main@", &failed(crashed)).starts_with("no schedd answers as main@: "));
        let unknown = "Error: unknown host ehos-cm";
        assert!(schedd("ehos-cm", &failed(unknown)).starts_with("condor_status failed"));
    }

    #[test]
    fn an_address_has_its_port() {
        for (address, told) in [
            ("cm", "cm:9618"),
            ("cm:9619", "cm:9619"),
            ("cm:9618?sock=collector", "cm:9618"),
            ("a.example.org, b.example.org", "a.example.org:9618"),
            ("10.0.0.1", "10.0.0.1:9618"),
            ("<10.0.0.1:9618?addrs=x>", "10.0.0.1:9618"),
            ("2001:db8::1", "[2001:db8::1]:9618"),
            ("[2001:db8::1]:9618", "[2001:db8::1]:9618"),
            ("[2001:db8::1]", "[2001:db8::1]:9618"),
        ] {
            assert_eq!(with_port(address), told);
        }
    }
}
