//! The text format of Prometheus (0.0.4): samples, labels and units.

use std::fmt::{Display, Write as _};

use serde::Serialize;
use system::plain::clean;

const MEBIBYTE: f64 = 1024.0 * 1024.0;

/// Metrics, as they are written.
#[derive(Default)]
pub(super) struct Text(pub String);

pub(super) fn escaped(content: &str) -> String {
    let content = content
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    clean(&content)
}

impl Text {
    /// A metric with these samples; nothing where there are none.
    fn metric(&mut self, name: &str, kind: &str, help: &str, samples: &str) {
        if !samples.is_empty() {
            // Writing to a string cannot fail.
            _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
            self.0.push_str(samples);
        }
    }

    pub fn gauge<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels<'l, N>, impl Display)>,
    ) {
        self.metric(name, "gauge", help, &samples(name, rows));
    }

    pub fn counter<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels<'l, N>, impl Display)>,
    ) {
        self.metric(name, "counter", help, &samples(name, rows));
    }

    /// Sums and counts.
    pub fn summary<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels<'l, N>, (u64, u64))>,
    ) {
        let mut text = String::new();
        for (labels, (sum, count)) in rows {
            text.push_str(&samples(&format!("{name}_sum"), [(labels, sum)]));
            text.push_str(&samples(&format!("{name}_count"), [(labels, count)]));
        }
        self.metric(name, "summary", help, &text);
    }

    /// One sample without labels, if there is a value.
    pub fn value(&mut self, name: &str, help: &str, value: Option<impl Display>) {
        self.gauge(name, help, value.map(|value| ([], value)));
    }
}

type Labels<'l, const N: usize> = [(&'static str, &'l str); N];

fn samples<'l, const N: usize>(
    name: &str,
    rows: impl IntoIterator<Item = (Labels<'l, N>, impl Display)>,
) -> String {
    let mut text = String::new();
    for (labels, value) in rows {
        text.push_str(name);
        for (index, (label, content)) in labels.iter().enumerate() {
            text.push(if index == 0 { '{' } else { ',' });
            _ = write!(text, "{label}=\"{}\"", escaped(content));
        }
        if N > 0 {
            text.push('}');
        }
        _ = writeln!(text, " {value}");
    }
    text
}

/// As it is in JSON.
pub(super) fn number(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "NaN".to_owned())
}

#[allow(clippy::cast_precision_loss)] // A float is what Prometheus has.
pub(super) fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1000.0
}

#[allow(clippy::cast_precision_loss)]
pub(super) fn bytes(mebibytes: u64) -> f64 {
    mebibytes as f64 * MEBIBYTE
}

#[allow(clippy::cast_precision_loss)]
pub(super) fn unix(at: jiff::Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1000.0
}
