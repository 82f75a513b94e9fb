//! What a node is made of: flavor, image, keypair.

use super::fix::Fix;
use super::{Finding, Outcome};
use deploy::local_keys::LocalKeys;
use deploy::prerequisites::Part;
use openstack::among;
use openstack::compute::{Keypair, NamedFlavor};
use openstack::image::Image;
use openstack::items::Items;

/// The configured flavors that are there.
pub fn found<'f>(there: &'f [NamedFlavor], configured: &[String]) -> Vec<&'f NamedFlavor> {
    configured
        .iter()
        .filter_map(|wanted| flavor(there, wanted))
        .collect()
}

fn flavor<'f>(there: &'f [NamedFlavor], wanted: &str) -> Option<&'f NamedFlavor> {
    let called = openstack::called(there, wanted, |it| [&it.flavor.id, &it.name]);
    called.first().copied()
}

/// Each configured flavor is there, and the image fits into it.
pub fn flavors(
    all: &Items<NamedFlavor>,
    configured: &[String],
    image: Option<&Image>,
    boots_from_volume: bool,
) -> Vec<Finding> {
    const CHECK: &str = "flavors";
    let mut findings = Vec::new();
    let mut fitting = Vec::new();
    let there = &all.read;
    for wanted in configured {
        let Some(flavor) = flavor(there, wanted) else {
            if let Some(item) = all.unread.iter().find(|item| item.is(wanted)) {
                findings.push(Finding::failed(
                    CHECK,
                    item.told.to_string(),
                    "ask the operators of the cloud to correct this flavor, or configure another one",
                ));
                continue;
            }
            let names: Vec<&str> = there.iter().map(|flavor| flavor.name.as_str()).collect();
            findings.push(Finding::failed(
                CHECK,
                format!("there is no flavor {wanted}{}", among(&names)),
                "correct `flavors` of this cloud",
            ));
            continue;
        };
        if !boots_from_volume && flavor.root_disk_gb == 0 {
            findings.push(Finding::warning(
                CHECK,
                format!(
                    "flavor {wanted} has no disk: Nova refuses servers that boot from an image on it, unless the cloud allows it \
                     (policy servers:create:zero_disk_flavor)"
                ),
                "set `boot_volume_size` of this cloud, or configure flavors with a disk",
            ));
        }
        match image.and_then(|image| too_small(flavor, image, boots_from_volume)) {
            None => fitting.push(wanted.as_str()),
            Some(why) => findings.push(Finding::warning(
                CHECK,
                why,
                format!("remove {wanted} from `flavors`, or build the image with a smaller flavor"),
            )),
        }
    }
    if fitting.is_empty() {
        // No node can be made with any of them.
        for finding in &mut findings {
            finding.outcome = Outcome::Failed;
        }
    } else {
        findings.insert(0, Finding::ok(CHECK, fitting.join(", ")));
    }
    findings
}

fn too_small(flavor: &NamedFlavor, image: &Image, boots_from_volume: bool) -> Option<String> {
    let name = &flavor.name;
    // Nova does not compare the disk of a flavor without one.
    if !boots_from_volume && flavor.root_disk_gb > 0 && flavor.root_disk_gb < image.min_disk {
        return Some(format!(
            "flavor {name} has a disk of {} GB, and the image needs {} GB",
            flavor.root_disk_gb, image.min_disk
        ));
    }
    if flavor.flavor.ram_mb < image.min_ram {
        return Some(format!(
            "flavor {name} has {} MB of memory, and the image needs {} MB",
            flavor.flavor.ram_mb, image.min_ram
        ));
    }
    None
}

/// The image is one that was made for nodes of this pool. Before there is a central manager, that it is not made yet is
/// no fault.
pub fn image(
    image: &Image,
    configured: &str,
    base_image: Option<&str>,
    cluster: &str,
    has_master: bool,
) -> Finding {
    const CHECK: &str = "image";
    let remedy = "run `ehos image build`";
    match image.property("ehos_cluster") {
        Some(made_for) if made_for == cluster => Finding::ok(
            CHECK,
            format!("{configured} is active, built by ehos image build"),
        ),
        Some(made_for) => Finding::warning(
            CHECK,
            format!("{configured} is active, and was built for another pool ({made_for})"),
            remedy,
        ),
        None if base_image == Some(configured) => {
            let what = format!("{configured} is the base image, without HTCondor");
            if has_master {
                Finding::failed(CHECK, what, remedy)
            } else {
                Finding::warning(CHECK, what, remedy)
            }
        }
        None => Finding::warning(
            CHECK,
            format!("{configured} is active, and was not built by ehos image build"),
            "check that HTCondor and cloud-init are in it (base.yaml), or run `ehos image build`",
        ),
    }
}

/// The keypair is one that the API shows, and somebody here can log in with it. Once there is a central manager, and this
/// may be it, that matters no more: whoever made it has logged in.
pub fn key(
    there: &[Keypair],
    configured: Option<&str>,
    here: &LocalKeys,
    has_master: bool,
) -> Finding {
    const CHECK: &str = "key";
    let Some(name) = configured else {
        return Finding::warning(
            CHECK,
            "no key is configured: you cannot log in to a node",
            "run `ehos cloud setup`, or set `key`",
        )
        .fixed_by([Fix::Prerequisite(Part::Key)]);
    };
    if let Some(keypair) = there.iter().find(|key| key.name == name) {
        return match here.missing(name, &keypair.public_key) {
            Some(advice) if !has_master => Finding::of(CHECK, Outcome::Warning, advice),
            Some(_) | None => Finding::ok(CHECK, name),
        };
    }
    let names: Vec<&str> = there.iter().map(|key| key.name.as_str()).collect();
    Finding::failed(
        CHECK,
        format!("the API shows no keypair {name}{}", among(&names)),
        format!(
            "a key that another login added in a dashboard belongs to that user: run `ehos cloud setup`, or `openstack keypair create --public-key FILE {name}` with this configuration's access"
        ),
    )
    .fixed_by([Fix::Prerequisite(Part::Key)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use scaling::observation::Flavor;

    fn flavor(name: &str, root_disk_gb: u64, ram_mb: u64) -> NamedFlavor {
        NamedFlavor {
            name: name.to_owned(),
            root_disk_gb,
            flavor: Flavor {
                id: format!("id-{name}"),
                vcpus: 1,
                ram_mb,
                disk_gb: root_disk_gb,
                gpus: 0,
            },
        }
    }

    fn an_image(more: &str) -> Image {
        let text = format!(
            r#"{{"id": "i", "status": "active", "created_at": "2026-11-22T10:27:30Z", "min_disk": 20, "min_ram": 1024
                {more}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn outcomes(findings: &[Finding]) -> Vec<Outcome> {
        findings.iter().map(|finding| finding.outcome).collect()
    }

    #[test]
    fn flavors_must_be_there_and_one_must_fit() {
        use Outcome::{Failed, Ok, Warning};
        let there = [
            flavor("small", 10, 2048),
            flavor("low", 40, 512),
            flavor("large", 40, 4096),
            flavor("diskless", 0, 4096),
        ];
        let there = Items {
            read: there.to_vec(),
            unread: Vec::new(),
        };
        let image = an_image("");
        let of = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            outcomes(&flavors(&there, &names, Some(&image), false))
        };
        assert_eq!(of(&["large", "id-diskless"]), [Ok, Warning]);
        assert_eq!(of(&["diskless"]), [Ok, Warning]);
        assert_eq!(
            outcomes(&flavors(
                &there,
                &["diskless".to_owned()],
                Some(&image),
                true
            )),
            [Ok],
            "its disk is the volume"
        );
        assert_eq!(of(&["large", "gone"]), [Ok, Failed]);
        assert_eq!(of(&["small", "large"]), [Ok, Warning]);
        assert_eq!(of(&["small", "low"]), [Failed, Failed]);
        assert_eq!(
            outcomes(&flavors(&there, &["small".to_owned()], None, false)),
            [Ok]
        );
        assert_eq!(
            outcomes(&flavors(&there, &["small".to_owned()], Some(&image), true)),
            [Ok],
            "its disk is the volume"
        );
    }

    #[test]
    fn an_image_should_be_one_of_this_pool() {
        let of = |more: &str, base| image(&an_image(more), "i", base, "pool-1", true).outcome;
        assert_eq!(of(r#", "ehos_cluster": "pool-1""#, Some("i")), Outcome::Ok);
        assert_eq!(of(r#", "ehos_cluster": "pool-2""#, None), Outcome::Warning);
        assert_eq!(of("", None), Outcome::Warning);
        assert_eq!(of("", Some("other")), Outcome::Warning);
        assert_eq!(of("", Some("i")), Outcome::Failed);
        let first = image(&an_image(""), "i", Some("i"), "pool-1", false);
        assert_eq!(first.outcome, Outcome::Warning);
    }

    #[test]
    fn a_key_must_be_seen_by_the_api() {
        let there = [Keypair {
            name: "ehos".to_owned(),
            fingerprint: String::new(),
            public_key: String::new(),
        }];
        // Nova does not tell its public half, and nothing is known of keys here.
        let here = LocalKeys::default();
        let key = |name| key(&there, name, &here, false);
        assert_eq!(key(Some("ehos")).outcome, Outcome::Ok);
        assert_eq!(key(None).outcome, Outcome::Warning);
        let lost = key(Some("mine"));
        assert_eq!(lost.outcome, Outcome::Failed);
        assert!(lost.remedy.unwrap().contains("dashboard"));
    }

    #[test]
    fn a_key_that_nobody_here_holds_is_found_while_there_is_no_master() {
        let there = [Keypair {
            name: "ehos".to_owned(),
            fingerprint: String::new(),
            public_key: "ssh-ed25519 AAAAother".to_owned(),
        }];
        let here = LocalKeys::default();
        let found = key(&there, Some("ehos"), &here, false);
        assert_eq!(found.outcome, Outcome::Warning);
        assert!(found.remedy.unwrap().contains("--identity"));
        assert_eq!(key(&there, Some("ehos"), &here, true).outcome, Outcome::Ok);
    }
}
