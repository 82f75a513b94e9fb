//! How many nodes are tried at first of an image that was seen to boot.

use std::collections::BTreeMap;

use scaling::limits::first_nodes;
use scaling::observation::{METADATA_IMAGE, master_metadata};
use simulation::{IMAGE, locked};

use crate::site::Site;

/// A new pool of nodes with 4 cores, at most 6, and its first 40 jobs of 50 cores.
fn first_burst(tested: bool) -> Site {
    let site = Site::simple();
    site.world().image_tested = tested;
    site.submit(30, 1, 1024, 300);
    site.submit(10, 2, 1024, 300);
    site
}

#[test]
fn a_tested_image_starts_with_a_share_of_the_demand() {
    let mut site = first_burst(true);
    site.policy.nodes_max = 6;
    site.tick();
    assert_eq!(site.created(), 6, "{}", site.describe());
    let mut site = first_burst(true);
    site.policy.nodes_max = 20;
    site.tick();
    assert_eq!(site.created(), 7, "half of 13\n{}", site.describe());
    // No more until one has joined.
    site.tick();
    assert_eq!(site.created(), 0, "{}", site.describe());
    site.until(30, "done", |world| world.unfinished() == 0);
}

#[test]
fn an_image_that_nobody_has_seen_starts_with_max_unproven() {
    let mut site = first_burst(false);
    site.tick();
    assert_eq!(site.created(), 3, "{}", site.describe());
}

#[test]
fn the_share_of_a_tested_image_has_bounds() {
    let of = |needed| first_nodes(needed, 3);
    assert_eq!([of(0), of(1), of(6), of(7)], [3, 3, 3, 4]);
    assert_eq!([of(13), of(20), of(1000)], [7, 10, 10]);
    assert_eq!(first_nodes(1000, 30), 30, "the site's own word");
}

#[test]
fn a_tested_image_that_fails_is_tried_as_an_unknown_one() {
    let mut site = first_burst(true);
    locked(&site.world).broken.image = true;
    site.policy.nodes_max = 20;
    site.tick();
    assert_eq!(site.created(), 7);
    for _ in 0..120 {
        site.tick();
        assert!(site.created() <= 3, "{}", site.describe());
    }
    assert!(!site.plan().backoffs.is_empty(), "{}", site.describe());
}

#[test]
fn the_image_of_the_central_manager_is_tested() {
    for (signed, image, created) in [(true, IMAGE, 6), (false, IMAGE, 3), (true, "another", 3)] {
        let mut site = first_burst(false);
        site.policy.nodes_max = 6;
        let mut metadata: BTreeMap<String, String> = master_metadata(&site.policy.cluster);
        metadata.insert(METADATA_IMAGE.to_owned(), image.to_owned());
        let mut world = site.world();
        let id = if signed {
            world.create_signed("blue", "master", "medium", metadata)
        } else {
            world.create("blue", "master", "medium", metadata)
        };
        world.servers.get_mut(&id).unwrap().joins_at = None;
        drop(world);
        site.tick();
        assert_eq!(site.created(), created, "{}", site.describe());
    }
}
