//! What is chosen of what a cloud has. Pure: nothing is asked.

use scaling::sorting;
use std::cmp::Reverse;

use config::can_be_named;
use openstack::compute::{Keypair, NamedFlavor};
use openstack::image::Image;
use openstack::network::{Network, SecurityGroup};

/// What is chosen for one key of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    pub key: &'static str,
    /// Its value: a name, or an id where the name is not its own.
    pub value: Option<String>,
    /// Why this one, and what else there is; or why there is none.
    pub why: String,
    /// The configuration will not do without it.
    pub needed: bool,
}

impl Choice {
    /// Nothing can be chosen, because of `why`.
    pub fn none(key: &'static str, needed: bool, why: String) -> Choice {
        Choice {
            key,
            value: None,
            why,
            needed,
        }
    }
}

/// Systems that `base.yaml` makes images of, the first preferred: how they are called in `os_distro` and names, and
/// their version and its other name.
const HANDLED: [(&str, &str, &str); 7] = [
    ("debian", "13", "trixie"),
    ("debian", "12", "bookworm"),
    ("ubuntu", "24.04", "noble"),
    ("alma", "10", "10"),
    ("rocky", "10", "10"),
    ("alma", "9", "9"),
    ("rocky", "9", "9"),
];

/// Other processors than those of nearly all clouds.
const OTHER_PROCESSORS: [&str; 6] = ["aarch64", "arm64", "ppc64", "s390x", "riscv64", "i386"];

/// The image to build golden images from, with the image itself: of the systems that `base.yaml` handles the first that
/// there is, and of that the newest.
pub fn base_image(images: &[Image]) -> (Choice, Option<&Image>) {
    const KEY: &str = "base_image";
    let mut fit: Vec<(usize, &Image)> = images
        .iter()
        .filter(|image| image.status == "active" && is_base(image))
        .filter_map(|image| Some((rank(image)?, image)))
        .collect();
    sorting::by_key(&mut fit, |(rank, image)| (*rank, Reverse(image.created_at)));
    let Some(((_, chosen), others)) = fit.split_first() else {
        let names = images
            .iter()
            .filter(|image| image.status == "active")
            .filter_map(|image| image.name.as_deref());
        let why = format!(
            "the cloud has no image of Debian 12 or 13, Ubuntu 24.04, AlmaLinux or Rocky 9 or 10{}",
            but(names)
        );
        return (Choice::none(KEY, true, why), None);
    };
    let others = others.iter().map(|(_, image)| named(images, image));
    let choice = Choice {
        key: KEY,
        value: Some(named(images, chosen)),
        why: format!(
            "{}made {}{}",
            label(images, chosen),
            chosen.created_at.strftime("%Y-%m-%d"),
            also(others)
        ),
        needed: true,
    };
    (choice, Some(chosen))
}

/// Whether it is what a distribution or the cloud's operators made, for the usual processors, with cloud-init in it.
fn is_base(image: &Image) -> bool {
    let name = image.name.as_deref().unwrap_or_default().to_lowercase();
    let processor = ["architecture", "hw_architecture"]
        .iter()
        .filter_map(|property| image.property(property))
        .chain([name.as_str()])
        .any(|text| OTHER_PROCESSORS.iter().any(|other| text.contains(other)));
    let snapshot = image
        .property("image_type")
        .is_some_and(|kind| ["snapshot", "backup"].contains(&kind));
    // A golden image is a pool's own.
    let golden = image.property("ehos_cluster").is_some();
    !processor && !snapshot && !golden && !name.contains("nocloud")
}

/// The place of its system in [`HANDLED`].
fn rank(image: &Image) -> Option<usize> {
    let name = image.name.as_deref().unwrap_or_default().to_lowercase();
    let property = |name: &str| image.property(name).unwrap_or_default().to_lowercase();
    let system = format!("{} {name}", property("os_distro"));
    let version = match property("os_version") {
        version if version.is_empty() => name.clone(),
        version => version,
    };
    let is = |wanted: &str| {
        version
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == '.'))
            // `debian13` and the like.
            .map(|word| match word {
                _ if word == wanted => word,
                _ => word.trim_start_matches(|c: char| c.is_ascii_alphabetic()),
            })
            .any(|word| {
                word.strip_prefix(wanted)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
    };
    HANDLED
        .iter()
        .position(|(family, number, word)| system.contains(family) && (is(number) || is(word)))
}

/// How an active image is named: by its id when its name is not its own, or will not do.
fn named(images: &[Image], image: &Image) -> String {
    match &image.name {
        Some(name) if is_only(images, name) => name.clone(),
        _ => image.id.clone(),
    }
}

/// Its name, where it is named by its id.
fn label(images: &[Image], image: &Image) -> String {
    match &image.name {
        Some(name) if !is_only(images, name) => format!("{name}, "),
        _ => String::new(),
    }
}

fn is_only(images: &[Image], name: &str) -> bool {
    let same = |image: &&Image| image.status == "active" && image.name.as_deref() == Some(name);
    can_be_named(name) && images.iter().filter(same).count() == 1
}

/// The smallest flavor (cores, then memory, then disk) with at least `min_cores` and `min_ram_mb` that `image` fits.
pub fn flavor(
    flavors: &[NamedFlavor],
    min_cores: u64,
    min_ram_mb: u64,
    image: Option<&Image>,
) -> Choice {
    const KEY: &str = "flavor";
    let (min_disk_gb, image_ram_mb) = image.map_or((0, 0), |image| {
        let size_gb = image.size.unwrap_or(0).div_ceil(1 << 30);
        (image.min_disk.max(size_gb), image.min_ram)
    });
    let ram_mb = min_ram_mb.max(image_ram_mb);
    // Nova lets only administrators boot an image without a disk of the flavor's.
    let disk_gb = min_disk_gb.max(1);
    let mut fit: Vec<&NamedFlavor> = flavors
        .iter()
        .filter(
            |NamedFlavor {
                 flavor,
                 root_disk_gb,
                 ..
             }| {
                flavor.vcpus >= min_cores && flavor.ram_mb >= ram_mb && *root_disk_gb >= disk_gb
            },
        )
        .collect();
    if fit.is_empty() {
        // They boot from a volume: `boot_volume_size` is chosen with them.
        let diskless = flavors.iter().filter(|named| {
            let flavor = &named.flavor;
            named.root_disk_gb == 0 && flavor.vcpus >= min_cores && flavor.ram_mb >= ram_mb
        });
        fit.extend(diskless);
    }
    sorting::by_key(&mut fit, |named| {
        let flavor = &named.flavor;
        (flavor.vcpus, flavor.ram_mb, flavor.disk_gb, &named.name)
    });
    let Some((chosen, others)) = fit.split_first() else {
        let why = format!(
            "no flavor has {min_cores} cores, {ram_mb} MB of memory and {disk_gb} GB of disk{}",
            but(flavors.iter().map(|flavor| &*flavor.name))
        );
        return Choice::none(KEY, true, why);
    };
    let NamedFlavor { name, flavor, .. } = chosen;
    Choice {
        key: KEY,
        value: Some(if can_be_named(name) { name } else { &flavor.id }.clone()),
        why: format!(
            "{} cores, {} MB, {} GB of disk: the smallest with {min_cores} cores and {ram_mb} MB{}",
            flavor.vcpus,
            flavor.ram_mb,
            flavor.disk_gb,
            also(others.iter().map(|other| &*other.name))
        ),
        needed: true,
    }
}

/// Larger nodes are kept by single jobs for long.
const FAMILY_CORES_MAX: u64 = 16;

/// The flavors with as much memory for each core as the chosen one, from its size on: nodes of several sizes. The
/// configuration has them as a comment only, because `nodes_max` and quotas of instances count nodes, not cores.
pub fn family(flavors: &[NamedFlavor], chosen: &Choice) -> Option<Choice> {
    let value = chosen.value.as_deref()?;
    let is_it = |named: &&NamedFlavor| named.name == value || named.flavor.id == value;
    let first = flavors.iter().find(is_it)?;
    let is_alike = |named: &&NamedFlavor| {
        let (one, other) = (&first.flavor, &named.flavor);
        one.ram_mb.checked_mul(other.vcpus) == other.ram_mb.checked_mul(one.vcpus)
            && (one.vcpus..=FAMILY_CORES_MAX).contains(&other.vcpus)
            && one.gpus == other.gpus
            && first.root_disk_gb.min(1) == named.root_disk_gb.min(1)
            && can_be_named(&named.name)
    };
    let mut alike: Vec<&NamedFlavor> = flavors.iter().filter(is_alike).collect();
    sorting::by_key(&mut alike, |named| {
        (named.flavor.vcpus, named.flavor.disk_gb, &named.name)
    });
    alike.dedup_by_key(|named| named.flavor.vcpus);
    (alike.len() > 1).then(|| Choice {
        key: "flavors",
        value: Some(yaml::list(alike.iter().map(|named| named.name.as_str()))),
        why: format!(
            "the same memory for each core as {}; in place of `flavor`, with `node_allocation: cheapest` and \
             `straggler_overhead: 0.15` under `daemon`, they cost less for jobs of different run times (`ehos simulate`, \
             docs/choosing.md); raise nodes_max with them",
            first.name
        ),
        needed: false,
    })
}

/// The volume that nodes boot from, where the chosen flavor has no disk.
pub fn boot_volume(
    flavors: &[NamedFlavor],
    chosen: &Choice,
    image: Option<&Image>,
) -> Option<Choice> {
    /// Room for the system, HTCondor and a few jobs.
    const LEAST_GB: u64 = 20;
    let value = chosen.value.as_deref()?;
    let is_it = |named: &&NamedFlavor| named.name == value || named.flavor.id == value;
    let flavor = flavors.iter().find(is_it)?;
    if flavor.root_disk_gb > 0 {
        return None;
    }
    let needed = image.map_or(0, |image| {
        let size_gb = image.size.unwrap_or(0).div_ceil(1 << 30);
        image.min_disk.max(size_gb)
    });
    Some(Choice {
        key: "boot_volume_size",
        value: Some(needed.max(LEAST_GB).to_string()),
        why: format!(
            "flavor {} has no disk: nodes boot from a volume of this many GB",
            flavor.name
        ),
        needed: true,
    })
}

/// The network of nodes: one of the project's own, else one that is shared with it.
pub fn network(networks: &[Network]) -> Choice {
    const KEY: &str = "network";
    // Servers of a project can be in an external network only when it is shared with it.
    let usable = |network: &&Network| {
        network.status == "ACTIVE"
            && !network.subnets.is_empty()
            && (!network.external || network.shared)
    };
    let mut fit: Vec<&Network> = networks.iter().filter(usable).collect();
    // The order of the answer decides among equal ones.
    sorting::by_key(&mut fit, |network| (network.external, network.shared));
    let named = |network: &Network| {
        let same = networks.iter().filter(|other| other.name == network.name);
        if same.count() == 1 && can_be_named(&network.name) {
            network.name.clone()
        } else {
            network.id.clone()
        }
    };
    let Some((chosen, others)) = fit.split_first() else {
        let why = format!(
            "there is no network that servers can be in (active, with a subnet, not external){}",
            but(networks.iter().map(|network| &*network.name))
        );
        return Choice::none(KEY, true, why);
    };
    let kind = match (chosen.external, chosen.shared) {
        (true, _) => "external, and shared with the project",
        (false, true) => "shared with the project",
        (false, false) => "the project's own",
    };
    Choice {
        key: KEY,
        value: Some(named(chosen)),
        why: format!(
            "{kind}{}",
            also(others.iter().map(|network| named(network)))
        ),
        needed: true,
    }
}

/// The keypair with which people log in: the one of a public key that is here (`local`: the lines of `~/.ssh/*.pub`).
/// Where there is no public key, the only one. Another's would let nobody here log in to the central manager.
pub fn key(keypairs: &[Keypair], local: &[String]) -> Choice {
    const KEY: &str = "key";
    let body = |line: &str| line.split_whitespace().nth(1).map(str::to_owned);
    let here: Vec<String> = local.iter().filter_map(|line| body(line)).collect();
    let names = || keypairs.iter().map(|keypair| &*keypair.name);
    let mine = keypairs
        .iter()
        .find(|keypair| body(&keypair.public_key).is_some_and(|key| here.contains(&key)));
    match (mine, keypairs) {
        (Some(keypair), _) => Choice {
            key: KEY,
            value: Some(keypair.name.clone()),
            why: "its public key is in ~/.ssh here".to_owned(),
            needed: false,
        },
        (None, [only]) if here.is_empty() => Choice {
            key: KEY,
            value: Some(only.name.clone()),
            why: "the only one of this user; its public key is not in ~/.ssh here. Who has not its private half takes \
                  this line out: `ehos cloud setup` adds yours"
                .to_owned(),
            needed: false,
        },
        (None, []) => Choice::none(
            KEY,
            false,
            "this user has no keypair yet: `ehos cloud setup` adds one".to_owned(),
        ),
        (None, _) => Choice::none(
            KEY,
            false,
            format!(
                "of no keypair is the public key in ~/.ssh here{}; `ehos cloud setup` adds yours",
                but(names())
            ),
        ),
    }
}

/// The security group `ehos`, where it is.
pub fn security_group(groups: &[SecurityGroup]) -> Choice {
    const KEY: &str = "security_groups";
    const NAME: &str = "ehos";
    if groups.iter().filter(|group| group.name == NAME).count() == 1 {
        return Choice {
            key: KEY,
            value: Some(NAME.to_owned()),
            why: "`ehos cloud setup` adds the rules that it lacks".to_owned(),
            needed: false,
        };
    }
    let why = "`ehos cloud setup` creates the group `ehos`".to_owned();
    Choice::none(KEY, false, why)
}

/// What else would do.
fn also<T: AsRef<str>>(names: impl Iterator<Item = T>) -> String {
    match some(names) {
        Some(names) => format!("; others: {names}"),
        None => String::new(),
    }
}

/// What there is that does not do.
fn but<T: AsRef<str>>(names: impl Iterator<Item = T>) -> String {
    match some(names) {
        Some(names) => format!("; there are {names}"),
        None => "; there is none".to_owned(),
    }
}

/// Not more of them than fit a few lines.
fn some<T: AsRef<str>>(names: impl Iterator<Item = T>) -> Option<String> {
    const MOST: usize = 10;
    let names: Vec<String> = names.map(|name| name.as_ref().to_owned()).collect();
    let first = names.get(..MOST).unwrap_or(&names).join(", ");
    match names.len() {
        0 => None,
        count if count > MOST => Some(format!("{first} and {} more", count - MOST)),
        _ => Some(first),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use scaling::observation::Flavor;

    fn image(name: &str, day: u8, more: serde_json::Value) -> Image {
        let mut fields = json!({
            "id": format!("id of {name} {day}"), "name": name, "status": "active",
            "created_at": format!("2026-01-{day:02}T00:00:00Z"),
        });
        let object = fields.as_object_mut().unwrap();
        object.extend(more.as_object().unwrap().clone());
        serde_json::from_value(fields).unwrap()
    }

    fn base(images: &[Image]) -> Option<String> {
        base_image(images).0.value
    }

    #[test]
    fn systems_are_known_by_name_and_property() {
        let none = || json!({});
        for (name, more, expected) in [
            ("Debian 13", none(), Some(0)),
            ("debian-13-genericcloud-amd64-20260101", none(), Some(0)),
            ("debian-trixie", none(), Some(0)),
            ("GOLD Debian 12", none(), Some(1)),
            ("Ubuntu 24.04 LTS", none(), Some(2)),
            ("ubuntu-noble-server-cloudimg", none(), Some(2)),
            ("AlmaLinux-10.1-x86_64", none(), Some(3)),
            ("Rocky-9-GenericCloud-9.4", none(), Some(6)),
            ("rocky9", none(), Some(6)),
            ("GOLD CentOS 7", none(), None),
            ("Debian 11", none(), None),
            ("Ubuntu 22.04", none(), None),
            (
                "standard",
                json!({"os_distro": "debian", "os_version": "13"}),
                Some(0),
            ),
            (
                "Debian 12 build 13",
                json!({"os_distro": "debian", "os_version": "12"}),
                Some(1),
            ),
            (
                "standard",
                json!({"os_distro": "almalinux", "os_version": "9.5"}),
                Some(5),
            ),
        ] {
            assert_eq!(rank(&image(name, 1, more)), expected, "{name}");
        }
    }

    #[test]
    fn the_base_image_is_the_newest_of_the_best_system() {
        let none = || json!({});
        let images = [
            image("Ubuntu 24.04", 9, none()),
            image("Debian 13 a", 1, none()),
            image("Debian 13 b", 2, none()),
            image("Debian 13 queued", 3, json!({"status": "queued"})),
            image("Debian 13 golden", 4, json!({"ehos_cluster": "pool-1"})),
            image("Debian 13 snapshot", 5, json!({"image_type": "snapshot"})),
            image("Debian 13 arm", 6, json!({"architecture": "aarch64"})),
            image("debian-13-nocloud-amd64", 7, none()),
        ];
        let (choice, chosen) = base_image(&images);
        assert_eq!(choice.value.as_deref(), Some("Debian 13 b"));
        assert_eq!(chosen.unwrap().id, images[2].id);
        assert_eq!(
            choice.why,
            "made 2026-01-02; others: Debian 13 a, Ubuntu 24.04"
        );
        // A name that is not its own says nothing.
        let twins = [image("Debian 13", 1, none()), image("Debian 13", 2, none())];
        assert_eq!(base(&twins), Some(twins[1].id.clone()));
        let (choice, _) = base_image(&[image("GOLD CentOS 7", 1, none())]);
        assert!(choice.value.is_none() && choice.needed);
        assert!(
            choice.why.ends_with("there are GOLD CentOS 7"),
            "{}",
            choice.why
        );
    }

    #[test]
    fn a_flavor_without_a_disk_is_chosen_with_a_volume() {
        let make = |name: &str, vcpus: u64, disk_gb: u64| NamedFlavor {
            name: name.to_owned(),
            flavor: Flavor {
                id: name.to_owned(),
                vcpus,
                ram_mb: 4096,
                disk_gb,
                gpus: 0,
            },
            root_disk_gb: disk_gb,
        };
        let picture = image("Debian 13", 1, json!({"min_disk": 30}));
        let diskless = [make("b", 4, 0), make("a", 2, 0), make("tiny", 2, 5)];
        let chosen = flavor(&diskless, 2, 1024, Some(&picture));
        assert_eq!(chosen.value.as_deref(), Some("a"));
        let volume = boot_volume(&diskless, &chosen, Some(&picture)).unwrap();
        assert_eq!(volume.value.as_deref(), Some("30"));
        let volume = boot_volume(&diskless, &chosen, None).unwrap();
        assert_eq!(volume.value.as_deref(), Some("20"));
        let mixed = [make("a", 2, 0), make("b", 4, 40)];
        let chosen = flavor(&mixed, 2, 1024, Some(&picture));
        assert_eq!(
            chosen.value.as_deref(),
            Some("b"),
            "one with a disk goes before"
        );
        assert_eq!(boot_volume(&mixed, &chosen, Some(&picture)), None);
    }

    #[test]
    fn the_family_of_a_flavor_has_its_memory_for_each_core() {
        let make = |(name, vcpus, ram_mb, disk_gb): &(&str, u64, u64, u64)| NamedFlavor {
            name: (*name).to_owned(),
            flavor: Flavor {
                id: format!("id of {name}"),
                vcpus: *vcpus,
                ram_mb: *ram_mb,
                disk_gb: *disk_gb,
                gpus: 0,
            },
            root_disk_gb: *disk_gb,
        };
        let all = [
            ("huge", 32, 65536, 80),
            ("large", 8, 16384, 80),
            ("diskless", 4, 8192, 0),
            ("fat", 2, 8192, 20),
            ("medium", 2, 4096, 20),
            ("roomy", 2, 4096, 40),
            ("small", 1, 2048, 10),
        ];
        let flavors: Vec<NamedFlavor> = all.iter().map(make).collect();
        let family = |of: &str| {
            let chosen = Choice {
                value: Some(of.to_owned()),
                ..Choice::none("flavor", true, String::new())
            };
            super::family(&flavors, &chosen).and_then(|family| family.value)
        };
        assert_eq!(family("small").as_deref(), Some("[small, medium, large]"));
        assert_eq!(family("id of medium").as_deref(), Some("[medium, large]"));
        for alone in ["fat", "diskless", "large", "huge", "unknown"] {
            assert_eq!(family(alone), None, "{alone}");
        }
    }

    #[test]
    fn the_flavor_is_the_smallest_that_fits() {
        let make = |(name, vcpus, ram_mb, disk_gb): &(&str, u64, u64, u64)| NamedFlavor {
            name: (*name).to_owned(),
            flavor: Flavor {
                id: (*name).to_owned(),
                vcpus: *vcpus,
                ram_mb: *ram_mb,
                disk_gb: *disk_gb,
                gpus: 0,
            },
            root_disk_gb: *disk_gb,
        };
        let flavors: Vec<NamedFlavor> = [
            ("large", 8, 16384, 80),
            ("diskless", 2, 4096, 0),
            ("fat", 2, 8192, 20),
            ("medium", 2, 4096, 20),
            ("roomy", 2, 4096, 40),
            ("small", 1, 2048, 10),
        ]
        .iter()
        .map(make)
        .collect();
        let chosen = |cores, ram, image: Option<&Image>| flavor(&flavors, cores, ram, image).value;
        assert_eq!(chosen(2, 4096, None).as_deref(), Some("medium"));
        assert_eq!(chosen(1, 1, None).as_deref(), Some("small"));
        assert_eq!(chosen(3, 1, None).as_deref(), Some("large"));
        let with = |fields| image("x", 1, fields);
        assert_eq!(
            chosen(2, 1, Some(&with(json!({"min_disk": 30})))).as_deref(),
            Some("roomy")
        );
        assert_eq!(
            chosen(2, 1, Some(&with(json!({"min_ram": 5000})))).as_deref(),
            Some("fat")
        );
        let size = 21_u64 << 30;
        assert_eq!(
            chosen(2, 1, Some(&with(json!({"size": size})))).as_deref(),
            Some("roomy")
        );
        let none = flavor(&flavors, 64, 1, None);
        assert!(
            none.value.is_none() && none.why.contains("64 cores"),
            "{}",
            none.why
        );
    }

    fn net(name: &str, external: bool, shared: bool, subnets: usize) -> Network {
        Network {
            id: format!("id of {name} {external} {shared}"),
            name: name.to_owned(),
            status: "ACTIVE".to_owned(),
            external,
            shared,
            subnets: vec!["s".to_owned(); subnets],
        }
    }

    #[test]
    fn the_network_is_the_projects_own_if_it_has_one() {
        let value = |networks: &[Network]| network(networks).value;
        let all = [
            net("public", true, false, 1),
            net("shared", false, true, 1),
            net("empty", false, false, 0),
            net("own", false, false, 1),
            net("other", false, false, 1),
        ];
        let choice = network(&all);
        assert_eq!(choice.value.as_deref(), Some("own"));
        assert_eq!(choice.why, "the project's own; others: other, shared");
        assert_eq!(value(&all[..2]).as_deref(), Some("shared"));
        assert_eq!(value(&[net("p", true, true, 1)]).as_deref(), Some("p"));
        let none = network(&all[..1]);
        assert!(none.value.is_none() && none.why.ends_with("there are public"));
        let down = Network {
            status: "DOWN".to_owned(),
            ..net("own", false, false, 1)
        };
        assert_eq!(value(&[down]), None);
        let twins = [net("n", false, false, 1), net("n", false, true, 1)];
        assert_eq!(value(&twins), Some(twins[0].id.clone()));
    }

    #[test]
    fn the_key_is_one_that_this_user_has() {
        let keypair = |name: &str, public_key: &str| Keypair {
            name: name.to_owned(),
            fingerprint: String::new(),
            public_key: public_key.to_owned(),
        };
        let pairs = [
            keypair("a", "ssh-ed25519 AAA x"),
            keypair("b", "ssh-rsa BBB"),
        ];
        let local = ["ssh-rsa BBB me@laptop\n".to_owned()];
        assert_eq!(key(&pairs, &local).value.as_deref(), Some("b"));
        assert_eq!(key(&pairs[..1], &local).value, None);
        assert_eq!(key(&pairs[..1], &[]).value.as_deref(), Some("a"));
        assert_eq!(key(&pairs, &[]).value, None);
        assert_eq!(key(&[], &local).value, None);
        assert!(!key(&[], &local).needed);
        // Nova may leave the public key out; that is no match with an empty line here.
        assert_eq!(
            key(&[keypair("a", ""), keypair("b", "")], &[String::new()]).value,
            None
        );
    }
}
