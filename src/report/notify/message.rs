//! The message: JSON whose `text` suffices for chats (Slack, Mattermost, Rocket.Chat).

use jiff::Timestamp;
use serde::Serialize;

use super::due::{Notice, State};
use crate::TickReport;
use system::json;
use system::plain::{self, clean};

/// The version of this layout.
const VERSION: u32 = 2;

#[derive(Serialize)]
struct Message<'a> {
    version: u32,
    cluster: &'a str,
    at: Timestamp,
    text: String,
    notices: &'a [Notice<'a>],
}

/// Returns one message with all notices.
pub fn json(snapshot: &TickReport, notices: &[Notice<'_>]) -> String {
    let cluster = &snapshot.policy.cluster;
    let lines = notices.iter().map(|notice| match notice.state {
        State::Begins => format!("ehos of pool {cluster}: {}", notice.text),
        State::Lasts => format!(
            "ehos of pool {cluster}, since {:.0}: {}",
            notice.since, notice.text
        ),
        State::Over => format!("ehos of pool {cluster}: resolved: {}", notice.text),
    });
    let message = Message {
        version: VERSION,
        cluster,
        at: snapshot.at,
        // Each notice is one line of a chat or mail.
        text: lines
            .map(|line| clean(&line))
            .collect::<Vec<_>>()
            .join("\n"),
        notices,
    };
    // Strings, numbers and times: always JSON.
    plain::json(&json::text(&message).unwrap_or_default()).into_owned()
}
