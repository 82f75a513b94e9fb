//! `notify:`, the receivers of notifications.

use secrecy::ExposeSecret;
use ureq::http::Uri;

use super::diagnostics::Diagnostics;
use super::document::Section;
use report::notify::Settings;

/// The settings of the section `notify:`.
pub(super) fn settings(context: &mut Diagnostics<'_>, keys: &Section) -> Settings {
    let mut settings = Settings::default();
    context.fill(&mut settings, &[(&["notify"], keys)]);
    settings.webhook = context.secret(
        &["notify"],
        "webhook",
        keys,
        "write the address of the chat or pager for this pool into it",
    );
    let program = settings.command.first();
    if keys.has("command") && program.is_none_or(|program| !program.starts_with('/')) {
        context.problem(
            &["notify", "command"],
            "must be a list: the absolute path of a program, and its arguments",
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
        let key = match keys.has("webhook") {
            true => "webhook",
            false => "webhook_file",
        };
        context.problem(&["notify", key], "is not an address like https://HOST/PATH");
    }
    settings
}
