//! Startds by the names of their machines, without regard to upper and lower case.

use std::hash::Hasher;

use super::index::NameHasher;
use super::observation::StartdView;

/// Startds in the order of the hashes of their names.
pub(super) struct MachineNames<'a>(Vec<(u64, &'a StartdView)>);

impl<'a> MachineNames<'a> {
    pub(super) fn new(startds: &'a [StartdView]) -> MachineNames<'a> {
        let hashed = startds.iter().map(|startd| (hash(&startd.machine), startd));
        let mut all: Vec<(u64, &'a StartdView)> = hashed.collect();
        all.sort_unstable_by_key(|(hash, _)| *hash);
        MachineNames(all)
    }

    /// The startds of machines with this name.
    pub(super) fn named(&self, machine: &str) -> impl Iterator<Item = &'a StartdView> {
        let sought = hash(machine);
        let begin = self.0.partition_point(|(hash, _)| *hash < sought);
        let equal = self.0.iter().skip(begin);
        let equal = equal.take_while(move |(hash, _)| *hash == sought);
        let startds = equal.map(|(_, startd)| *startd);
        startds.filter(move |startd| startd.machine.eq_ignore_ascii_case(machine))
    }
}

fn hash(machine: &str) -> u64 {
    let mut hasher = NameHasher::default();
    let mut lower = [0; 64];
    for part in machine.as_bytes().chunks(lower.len()) {
        for (lower, byte) in lower.iter_mut().zip(part) {
            *lower = byte.to_ascii_lowercase();
        }
        hasher.write(lower.get(..part.len()).unwrap_or_default());
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sender::Sender;

    fn startd(machine: &str, up_for: u64) -> StartdView {
        StartdView {
            machine: machine.to_owned(),
            instance_id: None,
            node: None,
            address: None,
            slots: Vec::new(),
            sender: Sender::Unknown,
            heard_ago: Duration::ZERO,
            update_interval: None,
            up_for: Duration::from_secs(up_for),
            draining: None,
        }
    }

    #[test]
    fn case_makes_no_other_name() {
        let startds = [
            startd("n1.example", 1),
            startd("N1.Example", 2),
            startd("n2.example", 3),
        ];
        let names = MachineNames::new(&startds);
        let named = |machine: &str| {
            let named = names.named(machine).map(|startd| startd.up_for.as_secs());
            let mut named: Vec<u64> = named.collect();
            named.sort_unstable();
            named
        };
        assert_eq!(named("n1.EXAMPLE"), [1, 2]);
        assert_eq!(named("n2.example"), [3]);
        assert_eq!(named("n3.example"), [0; 0]);
    }
}
