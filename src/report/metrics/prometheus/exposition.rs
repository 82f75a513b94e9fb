//! The text format of Prometheus (0.0.4): samples, labels and units.

use std::fmt::{Display, Write as _};

use serde::Serialize;
use system::plain::clean;

const MEBIBYTE: f64 = 1024.0 * 1024.0;

/// Metrics, as they are written.
#[derive(Default)]
pub(super) struct Text(pub String);

/// Of one metric: each sample with its labels.
pub(super) struct Samples<'t> {
    pub text: &'t mut String,
    pub name: &'static str,
}

impl Samples<'_> {
    /// One sample.
    pub fn add(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.add_to("", labels, value);
    }

    pub fn add_to(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        for (index, (label, content)) in labels.iter().enumerate() {
            self.text.push(if index == 0 { '{' } else { ',' });
            // Writing to a string cannot fail.
            _ = write!(self.text, "{label}=\"{}\"", escaped(content));
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        _ = writeln!(self.text, " {value}");
    }
}

pub(super) fn escaped(content: &str) -> String {
    let content = content
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    clean(&content)
}

impl Text {
    /// A metric whose samples `fill` adds; without any, nothing is said of it.
    pub fn metric(
        &mut self,
        name: &'static str,
        kind: &str,
        help: &str,
        fill: impl FnOnce(&mut Samples<'_>),
    ) {
        let mut samples = String::new();
        fill(&mut Samples {
            text: &mut samples,
            name,
        });
        if !samples.is_empty() {
            _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
            self.0.push_str(&samples);
        }
    }

    pub fn gauge(&mut self, name: &'static str, help: &str, fill: impl FnOnce(&mut Samples<'_>)) {
        self.metric(name, "gauge", help, fill);
    }

    pub fn counter(&mut self, name: &'static str, help: &str, fill: impl FnOnce(&mut Samples<'_>)) {
        self.metric(name, "counter", help, fill);
    }

    /// One sample without labels, if there is a value.
    pub fn value(&mut self, name: &'static str, help: &str, value: Option<impl Display>) {
        self.gauge(name, help, |samples| {
            if let Some(value) = value {
                samples.add(&[], value);
            }
        });
    }
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
