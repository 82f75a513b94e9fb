//! What HTCondor's tools print: no line makes ehos panic, or a claim that is not there.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (startds, unreadable) = ads::startds::read_anything(text);
    assert!(startds.len() <= text.lines().count());
    assert!(unreadable.len() <= text.lines().count());
    for ad in &unreadable {
        let _ = (ad.slot_name(), ad.may_be_of(None));
    }
    for startd in &startds {
        let _ = (startd.claims(), startd.total(), startd.free());
        assert!(startd.claims() == 0 || startd.idle_for().is_none());
    }
    let machines = ads::machine_ad::read_anything(text);
    assert!(machines <= text.lines().count());
    let demand = condor::queue::read_anything(text);
    assert!(demand.len() <= text.lines().count());
});
