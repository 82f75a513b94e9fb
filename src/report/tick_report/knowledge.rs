//! Known and unknown sums of a tick: a sum without one of its sources is unknown.

use scaling::names::PhaseName;
use scaling::source::SourceKind;

use super::{BrakeReport, TickReport, exists};
use crate::names::BrakeName;

impl TickReport {
    /// Whether no source of this kind is unknown.
    pub fn knows(&self, kind: SourceKind) -> bool {
        !self
            .unknown_sources
            .iter()
            .any(|unseen| unseen.source.kind == kind)
    }

    /// Whether every schedd answered: a sum without one of them would be a fall that there was none of.
    pub fn knows_jobs(&self) -> bool {
        self.queue.schedds > 0 && self.knows(SourceKind::Schedd)
    }

    /// Whether the cores of all servers are known: those of a cloud that does not answer, and of which no node has ever
    /// joined, are not.
    pub fn knows_paid(&self) -> bool {
        let mut nodes = self.nodes.iter().filter(|node| exists(&node.phase));
        nodes.all(|node| node.phase.is(PhaseName::New) || node.server.vcpus.is_some())
    }

    /// Whether the collector answered and every startd has reported: else nothing is known of claims.
    pub fn knows_claims(&self) -> bool {
        let hides = |brake: &BrakeReport| brake.brake.known().is_some_and(BrakeName::hides_claims);
        self.knows(SourceKind::Collector) && !self.brakes.iter().any(hides)
    }
}
