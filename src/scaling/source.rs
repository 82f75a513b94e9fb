//! Sources of an observation, by the names that programs read.

use std::fmt;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceKind {
    Collector,
    Schedd,
    /// Jobs of one owner, beyond the owner's share.
    Jobs,
    /// HTCondor's matches of jobs and node types.
    Matches,
    Cloud,
    /// Resources in a cloud that outlived their servers.
    Leftovers,
    /// Ports, volumes and server groups that a cloud allows.
    Limits,
    /// A cloud that is not in the configuration any more.
    RemovedCloud,
    /// A flavor of a cloud.
    Flavor,
    /// A slot whose ad cannot be read.
    Slot,
    /// A startd that contradicts a server or another startd.
    Startd,
    /// Several of them.
    Startds,
    /// A forged ad.
    Ad,
    /// A source that only another version knows.
    Other,
}

impl SourceKind {
    /// Each kind, and the beginning of its name on the wire. The first one is written.
    const NAMES: [(SourceKind, &'static str); 14] = [
        (SourceKind::Collector, "collector"),
        (SourceKind::Schedd, "schedd "),
        (SourceKind::Jobs, "jobs of "),
        (SourceKind::Matches, "matches"),
        (SourceKind::Cloud, "cloud "),
        (SourceKind::Leftovers, "leftovers of cloud "),
        (SourceKind::Limits, "limits of cloud "),
        (SourceKind::RemovedCloud, "removed cloud "),
        (SourceKind::Flavor, "flavor "),
        (SourceKind::Slot, "slot "),
        (SourceKind::Startd, "startd "),
        (SourceKind::Startds, "startds"),
        (SourceKind::Ad, "ad of "),
        // Layout 1; only read.
        (SourceKind::Matches, "which jobs would run where"),
    ];

    /// Whether sources of this kind have no name of their own.
    fn is_alone(self) -> bool {
        matches!(
            self,
            SourceKind::Collector | SourceKind::Matches | SourceKind::Startds
        )
    }

    /// The name of the kind in counters.
    pub fn name(self) -> &'static str {
        match self {
            SourceKind::Collector => "collector",
            SourceKind::Schedd => "schedd",
            SourceKind::Jobs => "jobs",
            SourceKind::Cloud => "cloud",
            SourceKind::Leftovers => "leftovers",
            SourceKind::Limits => "limits",
            SourceKind::Flavor => "flavor",
            SourceKind::Slot => "slot",
            SourceKind::Startd | SourceKind::Startds => "startd",
            SourceKind::Ad => "ad",
            SourceKind::Matches | SourceKind::RemovedCloud | SourceKind::Other => "matches",
        }
    }
}

/// A source of an observation. Its text on the wire is a name that programs read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub struct Source {
    pub kind: SourceKind,
    /// Its name; empty for a kind of which there is only one.
    pub name: String,
}

impl Source {
    /// The source of this kind with this name.
    pub fn new(kind: SourceKind, name: impl Into<String>) -> Source {
        Source {
            kind,
            name: name.into(),
        }
    }

    /// The only source of its kind.
    pub fn only(kind: SourceKind) -> Source {
        Source::new(kind, "")
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names = SourceKind::NAMES.iter();
        let beginning = names.find(|(kind, _)| *kind == self.kind);
        f.write_str(beginning.map_or("", |(_, beginning)| beginning))?;
        f.write_str(&self.name)
    }
}

impl From<Source> for String {
    fn from(source: Source) -> String {
        source.to_string()
    }
}

impl From<String> for Source {
    fn from(text: String) -> Source {
        let known = SourceKind::NAMES.iter().find_map(|(kind, beginning)| {
            let name = text.strip_prefix(beginning)?;
            (name.is_empty() == kind.is_alone()).then(|| Source::new(*kind, name))
        });
        known.unwrap_or_else(|| Source::new(SourceKind::Other, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_as_it_was_written() {
        for (kind, _) in SourceKind::NAMES {
            let name = if kind.is_alone() { "" } else { "of cloud a" };
            let source = Source::new(kind, name);
            assert_eq!(Source::from(source.to_string()), source);
        }
        for (text, kind) in [
            ("collector", SourceKind::Collector),
            ("schedd a b", SourceKind::Schedd),
            ("startd of node n-1", SourceKind::Startd),
            ("startds", SourceKind::Startds),
            ("limits of cloud a", SourceKind::Limits),
            ("collector of a newer ehos", SourceKind::Other),
            ("schedd ", SourceKind::Other),
            ("", SourceKind::Other),
        ] {
            let source: Source = serde_json::from_value(text.into()).unwrap();
            assert_eq!(source.kind, kind, "{text}");
            assert_eq!(serde_json::to_value(source).unwrap(), text);
        }
    }
}
