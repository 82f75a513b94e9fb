//! `notify:`, who is told of what is wrong.

use std::time::Duration;

use secrecy::ExposeSecret;
use ureq::http::Uri;

use super::context::Context;
use super::file::Notify;
use crate::notify::Settings;

/// Longer than this nobody is told: systemd ends a tick a while after its own time is over.
const LONGEST: Duration = Duration::from_secs(10);

/// Notices, where there are any.
pub(super) fn settings(context: &mut Context<'_>, given: Option<&Notify>) -> Settings {
    let mut settings = Settings::default();
    let Some(given) = given else {
        return settings;
    };
    settings.command = given.command.value().unwrap_or_default();
    settings.webhook = context.secret(
        &["notify"],
        "webhook",
        &given.webhook,
        &given.webhook_file,
        "write the address into it that the chat or the pager has given for this pool",
    );
    settings.after_ticks = given.after_ticks.value().unwrap_or(settings.after_ticks);
    settings.repeat = given.repeat.value().unwrap_or(settings.repeat);
    settings.timeout = given.timeout.value().unwrap_or(settings.timeout);
    if given.command.get().is_some_and(|command| {
        let program = command.first().map(String::as_str);
        program.is_none_or(|program| !program.starts_with('/'))
    }) {
        context.problem(
            &["notify", "command"],
            "is a list: a program, by its whole path, and its arguments",
        );
    }
    let fine = |address: &str| {
        let uri: Result<Uri, _> = address.parse();
        uri.is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()
        })
    };
    if let Some(webhook) = &settings.webhook
        && !fine(webhook.expose_secret())
    {
        let key = if given.webhook.is_absent() {
            "webhook_file"
        } else {
            "webhook"
        };
        context.problem(
            &["notify", key],
            "is no address of the kind https://HOST/PATH",
        );
    }
    for (key, zero) in [
        ("after_ticks", settings.after_ticks == 0),
        ("repeat", settings.repeat.is_zero()),
        ("timeout", settings.timeout.is_zero()),
    ] {
        if zero {
            context.problem(&["notify", key], "must be more than 0");
        }
    }
    if settings.timeout > LONGEST {
        let longest = LONGEST.as_secs();
        context.problem(
            &["notify", "timeout"],
            format!("must be at most {longest} s: the next tick waits for it"),
        );
    }
    settings
}
