//! The cloud and flavor with the lowest cost for the demand.

use super::{Amount, Basis, Figure, Rank, Strategy, rank};

pub(super) struct Cheapest;

impl Strategy for Cheapest {
    fn basis(&self, _weight: u64, _weights: u64) -> Basis {
        Basis::Cheapest
    }

    fn judges(&self) -> bool {
        true
    }

    fn judge(&self, cost: f64, unused: Option<f64>) -> (Option<Figure>, Rank) {
        let figure = unused.map(|_| Figure::CostPerCpuHour(Amount::new(cost)));
        (figure, (rank(cost), unused.map_or(0, rank)))
    }
}
