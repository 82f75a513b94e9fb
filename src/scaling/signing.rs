//! Signatures in the metadata of servers. Every user of the project can copy `ehos_cluster`; a signature is a proof.
//!
//! Owns: the signature over pool, role, node id, lifetime, name and time of a server (`ehos_proof`), and its check.
//! Must not: read or write keys (`signing_key`), or read a clock.
//! Source: RFC 2104 (HMAC), RFC 4231 (its test vectors for SHA-256).

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::observation::{
    METADATA_CLUSTER, METADATA_LIFETIME, METADATA_NODE, METADATA_ROLE, ServerRecord,
};

/// Metadata key of the signature: seconds since the epoch, a colon, and an HMAC-SHA256 in hexadecimal.
pub const METADATA_PROOF: &str = "ehos_proof";

/// A server is created within this of its signature: it is signed right before the request, which takes less than a tick
/// (`tick_timeout`), and the clock of this machine may be set in between. A later copy is not accepted, and an earlier one
/// stands beside its original. Both ages use the clock of this machine: the age in Nova is subtracted from the time here.
pub const WINDOW: Duration = Duration::from_secs(5 * 60);

/// The block of SHA-256 in bytes.
const BLOCK: usize = 64;

/// The keys of this pool. The first signs; a signature by any of them is valid.
#[derive(Clone, Default)]
pub struct SigningKeys(Vec<SecretString>);

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKeys({})", self.0.len())
    }
}

impl SigningKeys {
    /// These keys, of which the first signs.
    pub fn new(keys: Vec<SecretString>) -> SigningKeys {
        SigningKeys(keys)
    }

    /// Whether there is none: nothing can be signed, and nothing is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the signature to the `metadata` of a server that is about to be created with this `name`. Without a key it
    /// has none.
    pub fn sign(&self, metadata: &mut BTreeMap<String, String>, name: &str, now: Timestamp) {
        // A site's own metadata never stand in for it.
        metadata.remove(METADATA_PROOF);
        if let Some(key) = self.0.first() {
            let seconds = now.as_second();
            let digest = signature(key, metadata, name, seconds);
            metadata.insert(METADATA_PROOF.to_owned(), format!("{seconds}:{digest}"));
        }
    }

    /// Whether `record` carries a signature of its own: by one of these keys, over its identity, and of the time of its
    /// create. `now` is the time at which its age was observed.
    pub fn has_signed(&self, record: &ServerRecord, now: Timestamp) -> bool {
        let proof = record.metadata.get(METADATA_PROOF);
        let Some((seconds, digest)) = proof.and_then(|proof| proof.split_once(':')) else {
            return false;
        };
        let Ok(seconds) = seconds.parse::<i64>() else {
            return false;
        };
        let created = i64::try_from(record.age.as_secs())
            .ok()
            .and_then(|age| now.as_second().checked_sub(age));
        let in_time = created.is_some_and(|created| created.abs_diff(seconds) <= WINDOW.as_secs());
        let valid = |key| {
            same(
                &signature(key, &record.metadata, &record.name, seconds),
                digest,
            )
        };
        in_time && self.0.iter().any(valid)
    }
}

/// The signature in hexadecimal. Each field is preceded by its length, so no two servers have the same text.
fn signature(
    key: &SecretString,
    metadata: &BTreeMap<String, String>,
    name: &str,
    seconds: i64,
) -> String {
    let fields = [
        METADATA_CLUSTER,
        METADATA_ROLE,
        METADATA_NODE,
        METADATA_LIFETIME,
    ];
    let mut text = format!("ehos server 1\n{seconds}\n{}:{name}\n", name.len());
    for field in fields {
        let value = metadata.get(field).map_or("", String::as_str);
        text += &format!("{field} {}:{value}\n", value.len());
    }
    let bytes = hmac(key.expose_secret().as_bytes(), text.as_bytes());
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// HMAC-SHA256 (RFC 2104).
fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let digest = Sha256::digest(key);
    let key: &[u8] = if key.len() > BLOCK { &digest } else { key };
    let padded = |pad: u8| {
        let key = key.iter().chain(std::iter::repeat(&0)).take(BLOCK);
        key.map(|byte| byte ^ pad).collect::<Vec<u8>>()
    };
    let inner = Sha256::new()
        .chain_update(padded(0x36))
        .chain_update(text)
        .finalize();
    Sha256::new()
        .chain_update(padded(0x5c))
        .chain_update(inner)
        .finalize()
        .into()
}

/// Compares in a time that does not depend on where they differ.
fn same(one: &str, other: &str) -> bool {
    let differing = one
        .bytes()
        .zip(other.bytes())
        .fold(0, |all, (a, b)| all | (a ^ b));
    one.len() == other.len() && differing == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{NodeId, ServerStatus, builder_metadata, execute_metadata};

    fn hexadecimal(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn hmac_gives_the_test_vectors_of_rfc_4231() {
        for (key, text, expected) in [
            (
                vec![0x0b; 20],
                b"Hi There".to_vec(),
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe".to_vec(),
                b"what do ya want for nothing?".to_vec(),
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                vec![0xaa; 20],
                vec![0xdd; 50],
                "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
            ),
            (
                (1..=25).collect(),
                vec![0xcd; 50],
                "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
            ),
            (
                vec![0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First".to_vec(),
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
            (
                vec![0xaa; 131],
                b"This is a test using a larger than block-size key and a larger than block-size data. The key needs to be hashed before being used by the HMAC algorithm."
                    .to_vec(),
                "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
            ),
        ] {
            assert_eq!(hexadecimal(&hmac(&key, &text)), expected);
        }
    }

    fn keys(text: &str) -> SigningKeys {
        SigningKeys::new(vec![SecretString::from(text.to_owned())])
    }

    fn server(metadata: BTreeMap<String, String>, name: &str, age: u64) -> ServerRecord {
        ServerRecord {
            id: "s-1".to_owned(),
            name: name.to_owned(),
            status: ServerStatus::Active,
            nova_status: None,
            deleting: false,
            age: Duration::from_secs(age),
            metadata,
            fault: None,
            volumes: Vec::new(),
            zone: None,
            addresses: Vec::new(),
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + seconds).unwrap()
    }

    #[test]
    fn a_server_is_signed_by_its_own_signature_alone() {
        let keys = keys("k1");
        let mut metadata = execute_metadata("pool-1", &NodeId("n1".into()), "f", "i");
        keys.sign(&mut metadata, "ehos-execute-n1", at(0));
        let own = server(metadata.clone(), "ehos-execute-n1", 3600);
        assert!(keys.has_signed(&own, at(3600)));
        // Another key, another name, another role, node or pool; none, or one that is cut or moved in time.
        assert!(!self::keys("k2").has_signed(&own, at(3600)));
        assert!(!SigningKeys::default().has_signed(&own, at(3600)));
        assert!(!keys.has_signed(&server(metadata.clone(), "ehos-execute-n2", 3600), at(3600)));
        let proof = metadata[METADATA_PROOF].clone();
        let (seconds, digest) = proof.split_once(':').unwrap();
        let later = seconds.parse::<i64>().unwrap() + 1;
        for (key, value) in [
            (METADATA_ROLE, "builder".to_owned()),
            (METADATA_NODE, "n2".to_owned()),
            (METADATA_CLUSTER, "pool-2".to_owned()),
            (METADATA_LIFETIME, "0".to_owned()),
            (METADATA_PROOF, String::new()),
            (METADATA_PROOF, "x".to_owned()),
            (METADATA_PROOF, format!("{seconds}:")),
            (METADATA_PROOF, format!("{seconds}:{}", &digest[..63])),
            (METADATA_PROOF, format!("{later}:{digest}")),
            (METADATA_PROOF, format!("{}:{digest}", i64::MAX)),
            (METADATA_PROOF, format!("{}:{digest}", i64::MIN)),
        ] {
            let mut forged = metadata.clone();
            forged.insert(key.to_owned(), value.clone());
            let forged = server(forged, "ehos-execute-n1", 3600);
            assert!(!keys.has_signed(&forged, at(3600)), "{key}={value}");
        }
    }

    #[test]
    fn a_copy_that_is_made_later_is_not_signed() {
        let keys = keys("k1");
        let node = NodeId("b-1".into());
        let mut metadata = builder_metadata("pool-1", &node, Duration::from_secs(7200));
        keys.sign(&mut metadata, "ehos-builder-b-1", at(0));
        let copy = |age| server(metadata.clone(), "ehos-builder-b-1", age);
        assert!(keys.has_signed(&copy(86_400), at(86_400)));
        assert!(keys.has_signed(&copy(86_400 - 300), at(86_400)));
        assert!(!keys.has_signed(&copy(86_400 - 301), at(86_400)));
        assert!(!keys.has_signed(&copy(86_400 + 301), at(86_400)));
        assert!(!keys.has_signed(&copy(u64::MAX), at(86_400)));
    }

    #[test]
    fn the_first_key_signs_and_every_key_is_valid() {
        let (old, new) = (keys("old"), keys("new"));
        let both = SigningKeys::new(vec![
            SecretString::from("new".to_owned()),
            SecretString::from("old".to_owned()),
        ]);
        let metadata = execute_metadata("pool-1", &NodeId("n1".into()), "f", "i");
        for (signer, valid) in [
            (&old, [true, false]),
            (&new, [false, true]),
            (&both, [false, true]),
        ] {
            let mut metadata = metadata.clone();
            signer.sign(&mut metadata, "n", at(0));
            let server = server(metadata, "n", 0);
            assert!(both.has_signed(&server, at(0)));
            assert_eq!(
                [
                    old.has_signed(&server, at(0)),
                    new.has_signed(&server, at(0))
                ],
                valid
            );
        }
        // Without a key, what a site has put there does not stay.
        let mut metadata = metadata;
        metadata.insert(METADATA_PROOF.to_owned(), "x".to_owned());
        SigningKeys::default().sign(&mut metadata, "n", at(0));
        assert!(!metadata.contains_key(METADATA_PROOF));
    }
}
