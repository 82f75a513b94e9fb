//! The cloud and flavor whose node the demand uses best.

use super::{Amount, Basis, Figure, Rank, Strategy, rank};

pub(super) struct LeastWaste;

impl Strategy for LeastWaste {
    fn basis(&self, _weight: u64, _weights: u64) -> Basis {
        Basis::LeastWaste
    }

    fn judges(&self) -> bool {
        true
    }

    fn judge(&self, cost: f64, unused: Option<f64>) -> (Option<Figure>, Rank) {
        // nodes_min and nodes_spare count nodes: without demand the order of the configuration is as good.
        let Some(unused) = unused else {
            return (None, (0, 0));
        };
        let figure = Figure::UnusedShare(Amount::new(unused));
        (Some(figure), (rank(unused), rank(cost)))
    }
}
