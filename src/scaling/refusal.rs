//! Classifies error messages of clouds and faults of servers. No other module reads their words.
//!
//! Only messages about the image, the flavor or the user data count against the node type. All others, known or not, cause a
//! backoff that ends by itself: an unknown message never leads to protected mode.

use serde::{Deserialize, Serialize};

/// What was refused, or has failed, for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// The image: it is not there, not whole, or not what this flavor can boot.
    Image,
    /// The flavor: it is not there, or too small for the image.
    Flavor,
    UserData,
    /// What else the configuration names: network, security group, keypair, server group, volume type.
    Configuration,
    /// The availability zone.
    Zone,
    /// Room: a quota, hosts, addresses, volumes. It is over when others leave.
    Room,
    /// Too many requests.
    Rate,
    /// The rights of the user or the application credential.
    Rights,
    /// A fault inside the cloud, or words that are not known.
    Cloud,
}

impl About {
    /// Whether it shows that no node of this kind can come to be.
    pub fn is_of_the_kind(self) -> bool {
        matches!(self, About::Image | About::Flavor | About::UserData)
    }

    /// Whether it would meet other kinds of node of the same cloud as well, so that one that fails while they do not is
    /// broken itself.
    pub fn meets_all(self) -> bool {
        self == About::Cloud
    }
}

/// Words and what they are about, in small letters; the first that are found count. Sources: Nova, `nova/exception.py`,
/// `nova/quota.py` and `nova/api/openstack/compute/servers.py`; oslo.limit, `oslo_limit/exception.py`; Neutron,
/// `neutron_lib/exceptions`; Cinder, `cinder/exception.py`. Nova puts the words of the others into the fault of a server.
const WORDS: [(About, &[&str]); 8] = [
    (
        About::Rights,
        &[
            "policy doesn't allow",
            "by policy",
            "you are not authorized to",
        ],
    ),
    (
        About::Room,
        &[
            // ImageQuotaExceeded: it names an image, and is about space.
            "out of space for image",
        ],
    ),
    (
        About::Configuration,
        &[
            "metadata items",
            "server_metadata_items",
            "invalid key_name",
            "keypair",
            "key pair",
            "security group",
            "security_group",
            "network id(s)",
            "networks format",
            "requires a subnet",
            "requires a fixedip",
            "external network",
            "instance group",
            "server group policy",
            "volume type",
            "invalid config_drive",
            "unable to automatically allocate a network",
        ],
    ),
    (About::UserData, &["user data", "user_data", "userdata"]),
    (
        About::Flavor,
        &[
            "flavor's disk",
            "flavor's memory",
            "flavors with zero disk",
            "attribute flavorref",
            "invalid flavorref",
            "pci alias",
            "pci_passthrough:alias",
            "hw:",
        ],
    ),
    (
        About::Image,
        &[
            "requested image",
            "is unacceptable",
            "is not active",
            "not authorized for image",
            "request of image",
            "disk format",
            "attribute imageref",
            "invalid imageref",
            "failed to get image",
            "in image metadata",
            "image metadata",
            "image signature",
            "hw_",
        ],
    ),
    (About::Zone, &["availability zone is not available"]),
    (
        About::Room,
        &[
            "quota",
            "over a limit",
            "over limit",
            "limitexceeded",
            "limit exceeded",
            "maximum number of ports",
            "maximum number of volumes",
            "no valid host",
            "no allocation candidates",
            "insufficient compute resources",
            "not enough",
            "no more ip addresses",
            "ipaddressgenerationfailure",
            "no fixed ip addresses available",
            "no more fixed ips",
            "no space left",
            "out of space",
        ],
    ),
];

/// So many words may stand between a thing and what is said of it: `Flavor with name 'm 1' could not be found`.
const NAME_WORDS: usize = 4;

/// What stands between a word and "could not be found", or "not found", in Nova's and Neutron's sentences: an id or a name.
fn missing(text: &str, thing: &str) -> bool {
    let Some((before, after)) = text.split_once(thing) else {
        return false;
    };
    let whole_word = before
        .chars()
        .next_back()
        .is_none_or(|c| !c.is_alphanumeric());
    let end = after.find(". ").unwrap_or(after.len());
    let sentence = after.get(..end).unwrap_or(after);
    let mut ends = ["could not be found", "not found"].into_iter();
    let name = ends.find_map(|end| sentence.split_once(end));
    // Of more words it is another sentence: `image to volume: host c-17 not found`.
    let few = name.is_some_and(|(name, _)| name.split_whitespace().count() <= NAME_WORDS);
    whole_word && few
}

/// Whether it may be an id or a quoted name, and not a word: `image 77`, and not `image cache`.
fn is_name(word: &str) -> bool {
    word.contains(|c: char| c.is_ascii_digit() || matches!(c, '\'' | '"'))
}

/// Whether a sentence describes such an item: `image 77 is damaged`.
fn is_said_of(text: &str, thing: &str) -> bool {
    text.match_indices(thing).any(|(at, _)| {
        let after = text.get(at + thing.len()..).unwrap_or_default();
        let mut words = after.split_whitespace();
        let name = words.next();
        let whole_word = text
            .get(..at)
            .and_then(|before| before.chars().next_back())
            .is_none_or(|c| !c.is_alphanumeric());
        // The image service, its cache and the like are other things.
        whole_word && name.is_some_and(is_name) && words.next() == Some("is")
    })
}

/// By its words alone.
fn by_words(text: &str) -> Option<About> {
    let text = text.to_lowercase();
    for (thing, about) in [
        ("flavor ", About::Flavor),
        ("image ", About::Image),
        ("network ", About::Configuration),
        ("subnet ", About::Configuration),
        ("group ", About::Configuration),
    ] {
        if missing(&text, thing) {
            return Some(about);
        }
    }
    let found = WORDS
        .iter()
        .find(|(_, words)| words.iter().any(|word| text.contains(word)));
    if let Some((about, _)) = found {
        return Some(*about);
    }
    [("flavor ", About::Flavor), ("image ", About::Image)]
        .into_iter()
        .find_map(|(thing, about)| is_said_of(&text, thing).then_some(about))
}

/// What the fault of a server in ERROR is about.
pub fn of_fault(text: &str) -> About {
    by_words(text).unwrap_or(About::Cloud)
}

/// What a refused request is about: its HTTP status, the words of the service, and whether it says when to ask again.
pub fn of_refusal(status: u16, text: &str, asks_for_patience: bool) -> About {
    match status {
        429 => About::Rate,
        // Cinder and older services: over a quota, or too many requests.
        413 if asks_for_patience => About::Rate,
        413 => About::Room,
        408 | 500..=599 => About::Cloud,
        401 => About::Rights,
        403 => by_words(text).unwrap_or(About::Rights),
        404 => by_words(text).unwrap_or(About::Configuration),
        _ => by_words(text).unwrap_or(About::Cloud),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Faults of servers as Nova, Placement, Neutron, Cinder and libvirt write them.
    #[test]
    fn faults_of_servers() {
        use About::{Cloud, Configuration, Flavor, Image, Room, UserData};
        for (fault, about) in [
            ("No valid host was found. ", Room),
            (
                "No valid host was found. There are not enough hosts available.",
                Room,
            ),
            (
                "No valid host was found. There are no allocation candidates.",
                Room,
            ),
            (
                "Quota exceeded for instances: Requested 1, but already used 2 of 2 instances",
                Room,
            ),
            (
                "Quota exceeded for cores, ram: Requested 8, 16384, but already used 0, 0 of 4, 8192 cores, ram",
                Room,
            ),
            (
                "Project 0123456789abcdef0123456789abcdef is over a limit for [Resource class:PCPU is over limit of 8 due to \
                 current usage 8 and delta 2]",
                Room,
            ),
            (
                "Project 0123 is over a limit for [Resource servers is over limit of 10 due to current usage 10 and delta 1, \
                 Resource class:VCPU is over limit of 20 due to current usage 20 and delta 2]",
                Room,
            ),
            ("Maximum number of ports exceeded", Room),
            (
                "Build of instance 9 aborted: VolumeLimitExceeded: Maximum number of volumes allowed (0) exceeded for quota \
                 'volumes'.",
                Room,
            ),
            (
                "Build of instance 9 aborted: VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed \
                 gigabytes quota. Requested 500G, quota is 100G and 0G has been consumed.",
                Room,
            ),
            (
                "Build of instance 9 aborted: No fixed IP addresses available for network: 5a",
                Room,
            ),
            (
                "Build of instance 9 aborted: No more IP addresses available on network 5a.",
                Room,
            ),
            (
                "Build of instance 9 aborted: No more fixed IPs for network 5a.",
                Room,
            ),
            (
                "Build of instance 9 was re-scheduled: Insufficient compute resources: Free memory 100.00 MB < requested 2048 MB.",
                Room,
            ),
            (
                "Build of instance 9 aborted: Quota exceeded or out of space for image 77 in the image service.",
                Room,
            ),
            ("Quota exceeded for resources: ['port']", Room),
            (
                "Build of instance 9 aborted: [Errno 28] No space left on device",
                Room,
            ),
            ("Build of instance 9 aborted: testbed fault", Cloud),
            (
                "Exceeded maximum number of retries. Exhausted all hosts available for retrying build failures for instance 9.",
                Cloud,
            ),
            (
                "Exceeded maximum number of retries. Exceeded max scheduling attempts 3 for instance 9. Last exception: internal \
                 error: qemu unexpectedly closed the monitor",
                Cloud,
            ),
            (
                "Build of instance 9 aborted: Failed to allocate the network(s), not rescheduling.",
                Cloud,
            ),
            ("Virtual Interface creation failed", Cloud),
            (
                "Binding failed for port 5a, please check neutron logs for more information.",
                Cloud,
            ),
            (
                "Build of instance 9 aborted: Volume 1c did not finish being created even after we waited 3 seconds or 2 attempts. And its status is creating.",
                Cloud,
            ),
            ("Host 'c-17' is not mapped to any cell", Cloud),
            (
                "Timed out waiting for a reply to message ID 5d6e8c6e",
                Cloud,
            ),
            ("MessagingTimeout", Cloud),
            ("Connection to the hypervisor is broken on host", Cloud),
            (
                "Connection to glance host http://glance failed: timed out",
                Cloud,
            ),
            ("Connection to cinder host failed: timed out", Cloud),
            (
                "libvirtError: Requested operation is not valid: cgroup CPUSET controller is not mounted",
                Cloud,
            ),
            ("Der Server wurde vom Anbieter angehalten", Cloud),
            ("", Cloud),
            (
                "Build of instance 9 aborted: Image 77 is unacceptable: Unable to convert image to raw",
                Image,
            ),
            (
                "Build of instance 9 aborted: Image 77 could not be found.",
                Image,
            ),
            (
                "Build of instance 9 aborted: Image 77 is not active.",
                Image,
            ),
            ("Disk format vmdk is not acceptable", Image),
            ("Build of instance 9 aborted: Image 77 is damaged.", Image),
            ("Flavor 7 is disabled", Flavor),
            ("Image cache is full on host c-17", Cloud),
            ("The image store is not reachable", Cloud),
            ("Flavor access is being synchronized", Cloud),
            (
                "Failed to copy image to volume on backend ceph: host c-17 not found",
                Cloud,
            ),
            (
                "Build of instance 9 aborted: the image service is not there",
                Cloud,
            ),
            (
                "Build of instance 9 aborted: Flavor's disk is too small for requested image. Flavor disk is 1 bytes, image is 2 bytes.",
                Flavor,
            ),
            ("Flavor's memory is too small for requested image.", Flavor),
            ("User data needs to be valid base 64.", UserData),
            (
                "Build of instance 9 aborted: Network 5a could not be found.",
                Configuration,
            ),
            (
                "Build of instance 9 aborted: Security group 5a not found.",
                Configuration,
            ),
        ] {
            assert_eq!(of_fault(fault), about, "{fault}");
        }
    }

    #[test]
    fn refusals_of_requests() {
        use About::{Cloud, Configuration, Flavor, Image, Rate, Rights, Room, UserData, Zone};
        for (status, text, patience, about) in [
            (
                403,
                "Quota exceeded for instances: Requested 1, but already used 2 of 2 instances",
                false,
                Room,
            ),
            (
                403,
                "Project 0123 is over a limit for [Resource class:PCPU is over limit of 8 due to current usage 8 and delta 2]",
                false,
                Room,
            ),
            (
                403,
                "Resource servers is over limit of 10 due to current usage 10 and delta 1",
                false,
                Room,
            ),
            (403, "Maximum number of ports exceeded", false, Room),
            (409, "Quota exceeded for resources: ['port'].", false, Room),
            (
                409,
                "No more IP addresses available on network 5a.",
                false,
                Room,
            ),
            (
                413,
                "VolumeLimitExceeded: Maximum number of volumes allowed (10) exceeded for quota 'volumes'.",
                false,
                Room,
            ),
            (413, "", false, Room),
            (413, "", true, Rate),
            (429, "", false, Rate),
            (
                403,
                "Only volume-backed servers are allowed for flavors with zero disk.",
                false,
                Flavor,
            ),
            (400, "Flavor 999 could not be found.", false, Flavor),
            (
                400,
                "Flavor's disk is smaller than the minimum size specified in image metadata. Flavor disk is 1 bytes, minimum size is 2 bytes.",
                false,
                Flavor,
            ),
            (400, "Can not find requested image", false, Image),
            (
                400,
                "Invalid input for field/attribute imageRef. Value: GOLD. 'GOLD' is not valid under any of the given schemas",
                false,
                Image,
            ),
            (
                400,
                "Volume is smaller than the minimum size specified in image metadata. Volume size is 1 bytes, minimum size is 2 bytes.",
                false,
                Image,
            ),
            (
                400,
                "Block Device Mapping is Invalid: failed to get image 77.",
                false,
                Image,
            ),
            (
                400,
                "Invalid input for field/attribute user_data. Value: (cut). '(cut)' is too long",
                false,
                UserData,
            ),
            (400, "User data needs to be valid base 64.", false, UserData),
            (400, "Invalid key_name provided.", false, Configuration),
            (
                400,
                "Unable to find security_group with name or id 'none'",
                false,
                Configuration,
            ),
            (
                400,
                "Network 0000 could not be found.",
                false,
                Configuration,
            ),
            (
                400,
                "Bad networks format: network uuid is not in proper format (x)",
                false,
                Configuration,
            ),
            (
                400,
                "Instance group 0000 could not be found.",
                false,
                Configuration,
            ),
            (
                400,
                "Volume type fast could not be found.",
                false,
                Configuration,
            ),
            (
                403,
                "Maximum number of metadata items exceeds 128",
                false,
                Configuration,
            ),
            (
                403,
                "Resource server_metadata_items is over limit of 128",
                false,
                Configuration,
            ),
            (
                403,
                "It is not allowed to create an interface on external network 5a",
                false,
                Configuration,
            ),
            (
                409,
                "More than one possible network found. Specify network ID(s) to select which one(s) to connect to.",
                false,
                Configuration,
            ),
            (
                400,
                "The requested availability zone is not available",
                false,
                Zone,
            ),
            (
                403,
                "Policy doesn't allow os_compute_api:servers:create to be performed.",
                false,
                Rights,
            ),
            (
                403,
                "rule:create_port is disallowed by policy",
                false,
                Rights,
            ),
            (
                401,
                "The request you have made requires authentication.",
                false,
                Rights,
            ),
            (403, "", false, Rights),
            (400, "Block Device Mapping is Invalid.", false, Cloud),
            (400, "Something that nobody has foreseen", false, Cloud),
            (
                406,
                "Version 2.999 is not supported by the API. Minimum is 2.1 and maximum is 2.100.",
                false,
                Cloud,
            ),
            (409, "", false, Cloud),
            (500, "Quota exceeded", false, Cloud),
            (503, "", true, Cloud),
        ] {
            assert_eq!(of_refusal(status, text, patience), about, "{status} {text}");
        }
    }

    #[test]
    fn only_image_flavor_and_user_data_count_against_a_kind() {
        use About::{Cloud, Configuration, Flavor, Image, Rate, Rights, Room, UserData, Zone};
        for about in [Image, Flavor, UserData] {
            assert!(about.is_of_the_kind() && !about.meets_all());
        }
        for about in [Cloud, Configuration, Rate, Rights, Room, Zone] {
            assert!(!about.is_of_the_kind());
        }
    }
}
