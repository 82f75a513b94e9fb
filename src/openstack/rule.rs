//! Rules of security groups: what they let through.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A rule of a security group (`security_group_rules` of the Networking API).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Rule {
    #[serde(default, deserialize_with = "super::items::lenient")]
    pub id: String,
    /// The text of its creator: the only mark of a rule.
    #[serde(default, deserialize_with = "super::items::lenient")]
    pub description: Option<String>,
    /// `ingress` or `egress`.
    pub direction: String,
    /// `IPv4` or `IPv6`.
    pub ethertype: String,
    /// `tcp`, `udp`, a number …; `None` is any.
    pub protocol: Option<String>,
    /// First port; `None` is any.
    pub port_range_min: Option<u16>,
    /// Last port; `None` is any.
    pub port_range_max: Option<u16>,
    /// From (or to) servers of this group only.
    pub remote_group_id: Option<String>,
    /// From (or to) these addresses only.
    pub remote_ip_prefix: Option<String>,
    /// From (or to) the addresses of an address group only, which ehos does not look into.
    #[serde(default)]
    pub remote_address_group_id: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// To the servers of the group.
    Ingress,
    /// From the servers of the group.
    Egress,
}

/// Which addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Family {
    /// IPv4.
    #[serde(rename = "IPv4")]
    V4,
    /// IPv6.
    #[serde(rename = "IPv6")]
    V6,
}

/// The other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remote {
    /// Servers of the same security groups.
    Group,
    /// Whoever has an address of these.
    Prefix(Prefix),
}

/// A TCP port that is to be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traffic {
    pub direction: Direction,
    /// Over which addresses.
    pub family: Family,
    pub port: u16,
    /// By (or at) whom.
    pub remote: Remote,
}

impl Traffic {
    /// The rule of the security group `group` (its id) that lets just this through.
    pub fn rule(&self, group: &str) -> Rule {
        let (remote_group_id, remote_ip_prefix) = match &self.remote {
            Remote::Group => (Some(group.to_owned()), None),
            Remote::Prefix(prefix) => (None, Some(prefix.to_string())),
        };
        Rule {
            id: String::new(),
            description: None,
            direction: self.direction.as_str().to_owned(),
            ethertype: self.family.as_str().to_owned(),
            protocol: Some("tcp".to_owned()),
            port_range_min: Some(self.port),
            port_range_max: Some(self.port),
            remote_group_id,
            remote_ip_prefix,
            remote_address_group_id: None,
        }
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (way, word) = match self.direction {
            Direction::Ingress => ("in", "from"),
            Direction::Egress => ("out", "to"),
        };
        write!(f, "{way} tcp {} {word} ", self.port)?;
        match &self.remote {
            Remote::Group => write!(f, "the group itself ({})", self.family.as_str()),
            Remote::Prefix(prefix) => write!(f, "{prefix}"),
        }
    }
}

impl Direction {
    fn as_str(self) -> &'static str {
        match self {
            Direction::Ingress => "ingress",
            Direction::Egress => "egress",
        }
    }
}

impl Family {
    /// As the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        }
    }
}

impl Rule {
    /// Whether all of `traffic` of servers that are in the security groups `groups` (ids) may pass.
    pub fn covers(&self, traffic: &Traffic, groups: &[&str]) -> bool {
        self.may_concern(traffic) && self.covers_remote(&traffic.remote, groups)
    }

    /// Whether it lets some of such traffic through, whoever is on the other side.
    pub fn may_concern(&self, traffic: &Traffic) -> bool {
        let protocol = self.protocol.as_deref().unwrap_or("any");
        // 6 is TCP's number (IANA).
        let protocol = ["any", "tcp", "6"]
            .iter()
            .any(|known| protocol.eq_ignore_ascii_case(known));
        let port = self.port_range_min.is_none_or(|min| min <= traffic.port)
            && self.port_range_max.is_none_or(|max| max >= traffic.port);
        self.direction == traffic.direction.as_str()
            && self.ethertype == traffic.family.as_str()
            && protocol
            && port
    }

    /// Whether it is about all addresses.
    pub fn is_for_anyone(&self) -> bool {
        self.remote_group_id.is_none()
            && self.remote_address_group_id.is_none()
            && self.prefix().is_none_or(|prefix| prefix.length == 0)
    }

    fn prefix(&self) -> Option<Prefix> {
        self.remote_ip_prefix.as_deref()?.parse().ok()
    }

    fn covers_remote(&self, remote: &Remote, groups: &[&str]) -> bool {
        if self.is_for_anyone() {
            return true;
        }
        match (remote, &self.remote_group_id) {
            (Remote::Group, Some(group)) => groups.contains(&group.as_str()),
            (Remote::Prefix(wanted), None) => {
                self.prefix().is_some_and(|prefix| prefix.contains(wanted))
            }
            _ => false,
        }
    }
}

/// A block of addresses, like `10.0.0.0/8`; an address alone is a block of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// Every address of a family.
    pub fn all(family: Family) -> Prefix {
        Prefix {
            address: match family {
                Family::V4 => IpAddr::from([0; 4]),
                Family::V6 => IpAddr::from([0; 16]),
            },
            length: 0,
        }
    }

    /// This address alone.
    pub fn of(address: IpAddr) -> Prefix {
        let length = if address.is_ipv4() { 32 } else { 128 };
        Prefix { address, length }
    }

    pub fn family(&self) -> Family {
        match self.address {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        }
    }

    /// Whether every address of `other` is in it.
    pub fn contains(&self, other: &Prefix) -> bool {
        self.family() == other.family()
            && self.length <= other.length
            && self.bits() == other.bits() & self.mask()
    }

    /// Its address at the upper end of 128 bits, without those that the length leaves out.
    fn bits(&self) -> u128 {
        let bits = match self.address {
            IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
            IpAddr::V6(address) => address.to_bits(),
        };
        bits & self.mask()
    }

    fn mask(&self) -> u128 {
        u128::MAX
            .checked_shl(128 - u32::from(self.length))
            .unwrap_or(0)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Prefix, String> {
        let wrong =
            || format!("`{text}` is no block of addresses like 10.0.0.0/8 or 2001:db8::/32");
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let whole = Prefix::of(address.parse().map_err(|_| wrong())?);
        let length = match length {
            Some(length) => length.parse().map_err(|_| wrong())?,
            None => whole.length,
        };
        if length > whole.length {
            return Err(wrong());
        }
        Ok(Prefix { length, ..whole })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(family: Family, port: u16, remote: Remote) -> Traffic {
        Traffic {
            direction: Direction::Ingress,
            family,
            port,
            remote,
        }
    }

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    #[test]
    fn a_prefix_contains_what_is_narrower() {
        for (outer, inner) in [
            ("0.0.0.0/0", "10.0.0.0/8"),
            ("10.0.0.0/8", "10.1.2.3"),
            // Neutron takes and shows bits beyond the length.
            ("10.9.9.9/8", "10.1.0.0/16"),
            ("::/0", "2001:db8::/32"),
            ("2001:db8::/32", "2001:db8:1::/64"),
            ("10.0.0.0/8", "10.0.0.0/8"),
        ] {
            assert!(prefix(outer).contains(&prefix(inner)), "{outer} {inner}");
        }
        for (outer, inner) in [
            ("10.0.0.0/8", "0.0.0.0/0"),
            ("10.0.0.0/8", "11.0.0.1"),
            ("0.0.0.0/0", "::/0"),
            ("10.0.0.0/24", "10.0.1.0/24"),
            ("::/0", "10.0.0.0/8"),
        ] {
            assert!(!prefix(outer).contains(&prefix(inner)), "{outer} {inner}");
        }
    }

    #[test]
    fn what_is_no_prefix_is_said() {
        for wrong in [
            "",
            "10.0.0.0/33",
            "10.0.0.0/",
            "anywhere",
            "::/129",
            "1.2.3/8",
        ] {
            assert!(wrong.parse::<Prefix>().is_err(), "{wrong}");
        }
        assert_eq!(prefix("10.0.0.1").to_string(), "10.0.0.1/32");
        assert_eq!(Prefix::all(Family::V6).to_string(), "::/0");
    }

    #[test]
    fn a_rule_covers_what_it_makes() {
        let wanted = traffic(Family::V4, 9618, Remote::Group);
        let rule = wanted.rule("g");
        assert!(rule.covers(&wanted, &["g"]));
        assert!(!rule.covers(&wanted, &["other"]));
        assert!(!rule.covers(&traffic(Family::V4, 22, Remote::Group), &["g"]));
        assert!(!rule.covers(&traffic(Family::V6, 9618, Remote::Group), &["g"]));
        let egress = Traffic {
            direction: Direction::Egress,
            ..wanted
        };
        assert!(!rule.covers(&egress, &["g"]));
    }

    #[test]
    fn a_wider_rule_covers_too() {
        let from_group = traffic(Family::V4, 9618, Remote::Group);
        let any = Rule {
            direction: "ingress".to_owned(),
            ethertype: "IPv4".to_owned(),
            ..Rule::default()
        };
        let net = |text: &str| traffic(Family::V4, 9618, Remote::Prefix(prefix(text)));
        assert!(any.covers(&from_group, &["g"]));
        assert!(any.covers(&net("0.0.0.0/0"), &["g"]));
        let ports = Rule {
            protocol: Some("TCP".to_owned()),
            port_range_min: Some(1024),
            port_range_max: Some(65535),
            remote_ip_prefix: Some("10.0.0.0/8".to_owned()),
            ..any.clone()
        };
        assert!(ports.covers(&net("10.1.0.0/16"), &["g"]));
        assert!(!ports.covers(&net("192.168.0.0/16"), &["g"]));
        // Which addresses the group's servers have is not known here.
        assert!(!ports.covers(&from_group, &["g"]));
        assert!(!ports.covers(&traffic(Family::V4, 22, from_group.remote.clone()), &["g"]));
        let udp = Rule {
            protocol: Some("udp".to_owned()),
            ..any.clone()
        };
        assert!(!udp.covers(&from_group, &["g"]));
        let addresses = Rule {
            remote_address_group_id: Some("a".to_owned()),
            ..any
        };
        assert!(!addresses.covers(&from_group, &["g"]));
        assert!(!addresses.covers(&net("10.0.0.0/8"), &["g"]));
    }
}
