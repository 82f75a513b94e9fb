//! Where nodes are put, and what they boot from: availability zones, server group, boot volume.

use super::Finding;
use openstack::among;
use openstack::image::Image;
use openstack::server_group::ServerGroup;
use openstack::volume::VolumeType;
use openstack::zone::Zone;

/// Each configured zone is there, and has a host that is up.
pub fn zones(there: &[Zone], configured: &[String]) -> Vec<Finding> {
    const CHECK: &str = "zones";
    let mut findings = Vec::new();
    let mut fine = Vec::new();
    for wanted in configured {
        match there.iter().find(|zone| zone.name == *wanted) {
            Some(zone) if zone.available => fine.push(wanted.as_str()),
            Some(_) => findings.push(Finding::warning(
                CHECK,
                format!("no host of zone {wanted} is up"),
                "wait, ask the cloud's operators, or remove it from `availability_zones`",
            )),
            None => {
                let names: Vec<&str> = there.iter().map(|zone| zone.name.as_str()).collect();
                findings.push(Finding::failed(
                    CHECK,
                    format!("there is no availability zone {wanted}{}", among(&names)),
                    "correct `availability_zones` of this cloud",
                ));
            }
        }
    }
    if !fine.is_empty() {
        findings.insert(0, Finding::ok(CHECK, fine.join(", ")));
    }
    findings
}

/// The policy of the server group is the one that is configured, or would be.
pub fn server_group(group: &ServerGroup, policy: &str) -> Finding {
    const CHECK: &str = "server-group";
    let there = format!("{}: {}", group.name, group.policy);
    if group.policy == policy {
        return Finding::ok(CHECK, there);
    }
    Finding::warning(
        CHECK,
        format!("{there}, and server_group_policy is {policy}"),
        "set `server_group_policy` to the policy of the group, which never changes, or `server_group` to another name \
         and run `ehos cloud setup`",
    )
}

/// The image fits into the boot volume, and the volume's type is there.
pub fn boot_volume(
    size_gb: u64,
    volume_type: Option<&str>,
    types: &[VolumeType],
    image: Option<&Image>,
) -> Finding {
    const CHECK: &str = "boot-volume";
    let needed = image.map_or(0, |image| {
        let size_gb = image.size.unwrap_or(0).div_ceil(1 << 30);
        image.min_disk.max(size_gb)
    });
    if size_gb < needed {
        return Finding::failed(
            CHECK,
            format!("boot_volume_size is {size_gb} GB, and the image needs {needed} GB"),
            format!("set `boot_volume_size` to {needed} or more"),
        );
    }
    match volume_type {
        Some(wanted)
            if !types
                .iter()
                .any(|there| there.name == wanted || there.id == wanted) =>
        {
            let names: Vec<&str> = types.iter().map(|there| there.name.as_str()).collect();
            Finding::failed(
                CHECK,
                format!("there is no volume type {wanted}{}", among(&names)),
                "correct `boot_volume_type` of this cloud",
            )
        }
        Some(wanted) => Finding::ok(CHECK, format!("{size_gb} GB of {wanted}")),
        None => Finding::ok(CHECK, format!("{size_gb} GB")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Outcome;

    #[test]
    fn each_zone_is_there_and_up() {
        let zone = |name: &str, available| Zone {
            name: name.to_owned(),
            available,
        };
        let there = [zone("z1", true), zone("z2", false)];
        let of = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let findings = zones(&there, &names);
            findings.iter().map(|f| f.outcome).collect::<Vec<_>>()
        };
        assert_eq!(of(&[]), []);
        assert_eq!(of(&["z1"]), [Outcome::Ok]);
        assert_eq!(of(&["z1", "z2"]), [Outcome::Ok, Outcome::Warning]);
        assert_eq!(of(&["z3"]), [Outcome::Failed]);
    }

    #[test]
    fn a_group_of_another_policy_is_told() {
        let group = ServerGroup {
            id: "g".to_owned(),
            name: "nodes".to_owned(),
            policy: "anti-affinity".to_owned(),
            members: 0,
        };
        assert_eq!(server_group(&group, "anti-affinity").outcome, Outcome::Ok);
        let other = server_group(&group, "soft-anti-affinity");
        assert_eq!(other.outcome, Outcome::Warning);
    }

    #[test]
    fn a_boot_volume_must_be_large_enough_and_of_a_type_that_is_there() {
        let image: Image = serde_json::from_str(
            r#"{"id": "i", "status": "active", "created_at": "2026-11-22T10:27:30Z", "min_disk": 10}"#,
        )
        .unwrap();
        let types = [VolumeType {
            id: "t".to_owned(),
            name: "fast".to_owned(),
        }];
        let of = |size_gb, volume_type| boot_volume(size_gb, volume_type, &types, Some(&image));
        assert_eq!(of(10, None).outcome, Outcome::Ok);
        assert_eq!(of(10, Some("fast")).outcome, Outcome::Ok);
        assert_eq!(of(9, None).outcome, Outcome::Failed);
        let missing = of(10, Some("slow"));
        assert_eq!(missing.outcome, Outcome::Failed);
        assert!(missing.what.contains("fast"), "{}", missing.what);
    }
}
