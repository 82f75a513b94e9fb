//! Two projects of a real OpenStack as two clouds: three flavors, the quota reached in one, ERROR in the other, and jobs
//! of six shapes, two of which no node could run.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use crate::machines::{By, Nova, Server, Site, openstack_as_admin, step, wait};

/// Nowhere has a host for it: its servers end in ERROR.
const NOWHERE: &str = "story-nowhere";

/// The small project, which is empty before and after, and the flavor.
struct Small {
    nova: Nova,
    dir: PathBuf,
}

impl Small {
    fn of(dir: &Path) -> Small {
        let small = Small {
            nova: Nova::of(dir, "ehos-small"),
            dir: dir.to_owned(),
        };
        small.clear();
        wait("the small project to be empty", 60, || {
            small.nodes().is_empty()
        });
        let flavor = ["--vcpus", "2", "--ram", "4096", "--disk", "99999999"];
        openstack_as_admin(dir, &[&["flavor", "create", NOWHERE][..], &flavor].concat()).ok();
        small
    }

    /// The servers of a story in it.
    fn nodes(&self) -> Vec<Server> {
        let mut servers = self.nova.servers();
        servers.retain(|server| {
            let cluster = server.metadata.get("ehos_cluster");
            cluster.is_some_and(|cluster| cluster.starts_with("story-"))
        });
        servers
    }

    fn clear(&self) {
        for server in self.nodes() {
            self.nova.delete(&server.id);
        }
        // It need not be there.
        let _ = openstack_as_admin(&self.dir, &["flavor", "delete", NOWHERE]);
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        self.clear();
    }
}

#[test]
fn jobs_of_six_shapes_on_two_clouds() {
    let Some(mut site) = Site::up("two", "nodes_max: 8\nnode_allocation: cheapest") else {
        return;
    };
    let small = Small::of(&site.testbed.dir);

    // The golden image is the other project's: a community image is used by its id.
    let image = site.image();
    let id = site
        .testbed
        .openstack(&["image", "show", &image, "-f", "value", "-c", "id"]);
    site.testbed
        .openstack(&["image", "set", "--community", &id]);
    let url = &small.nova.auth["auth_url"];
    site.configure(
        "60-clouds.yaml",
        &format!(
            "clouds:
  testbed:
    flavor: [{NOWHERE}, m1.medium, m1.large]
    prices: {{{NOWHERE}: 0.05, m1.medium: 0.06, m1.large: 0.12}}
{cloud}    image: {id}
    flavor: [m1.medium, m1.large]
    prices: {{m1.medium: 0.04, m1.large: 0.08}}
",
            cloud = small.nova.cloud_yaml("small", url),
        ),
    );

    step("six shapes");
    let shape = |cpus: u64, memory_mb: u64, more: &str| {
        format!("request_cpus = {cpus}\nrequest_memory = {memory_mb}\n{more}")
    };
    site.submit(6, 30, &shape(1, 256, ""));
    site.submit(2, 30, &shape(2, 512, ""));
    site.submit(1, 30, &shape(4, 1024, ""));
    site.submit(
        1,
        30,
        &shape(1, 6000, "requirements = CloudProvider == \"testbed\""),
    );
    let shapes = 10;
    site.submit(1, 30, &shape(16, 256, ""));
    let centos = "requirements = TARGET.OpSysAndVer == \"CentOS7\"";
    site.submit(1, 30, &shape(1, 256, centos));

    let most = Cell::new(0);
    let look = || most.set(small.nodes().len().max(most.get()));
    let codes = [0, 1];
    for _ in 0..3 {
        println!("{}", site.tick(By::Hand).text);
        look();
    }
    site.tick_until("the four shapes are done", 300, By::Hand, &codes, |site| {
        look();
        site.history().len() == shapes
    });
    for job in site.history() {
        assert_eq!(
            (job.status, job.starts, job.exit_code),
            (4, 1, 0),
            "{job:?}"
        );
    }
    assert_eq!(site.queue().get(&1), Some(&2), "{}", site.story());
    step("what was said");
    for words in [
        // The quota of the small project, and what the other says of a flavor that has no host.
        "quota of cloud small",
        &format!("backoff of {NOWHERE} in testbed"),
        "No valid host",
        "no flavor is large enough: requested 16 CPUs",
        "no match: ",
    ] {
        assert!(site.said(words), "never said: {words}\n{}", site.story());
    }
    // Its quota is for two servers, and for four cores: two of one flavor, or one of the other.
    assert!([1, 2].contains(&most.get()), "{} servers", most.get());
    site.tick_until("the nodes are gone", 180, By::Hand, &codes, |site| {
        small.nodes().is_empty() && site.nodes().is_empty()
    });
    step("done");
}
