//! The first cloud until it is full, then the next.

use super::{Basis, Strategy};

pub(super) struct FillFirst;

impl Strategy for FillFirst {
    fn basis(&self, _weight: u64, _weights: u64) -> Basis {
        Basis::FillFirst
    }
}
