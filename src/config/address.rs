//! Addresses that may have a user and a password in them.

use std::fmt::Write as _;

use super::origins::MASK;
use system::http_client::percent_encoded;

/// The address without what nobody may see.
pub(super) fn shown(url: &str) -> String {
    let Some(parts) = Parts::of(url) else {
        return MASK.to_owned();
    };
    let mut shown = format!("{}://", parts.scheme);
    if parts.user.is_some() {
        shown.push_str(MASK);
        shown.push('@');
    }
    shown.push_str(parts.host);
    shown.push_str(parts.path);
    for (index, (name, value)) in parts.query.iter().enumerate() {
        let value = if SECRET_PARAMETERS.contains(name) {
            MASK
        } else {
            value
        };
        shown.push(if index == 0 { '?' } else { '&' });
        // Writing to a string cannot fail.
        _ = write!(shown, "{name}={value}");
    }
    shown
}

/// Whether the address has a user, or a user and a password, before its host (RFC 3986, 3.2.1).
pub(super) fn has_user(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#'])
        .next()
        .is_some_and(|host| host.contains('@'))
}

/// Of a query, what says who writes.
const SECRET_PARAMETERS: [&str; 2] = ["u", "p"];

/// A URL, taken apart.
pub(super) struct Parts<'u> {
    scheme: &'u str,
    /// What stands before the `@`.
    user: Option<&'u str>,
    host: &'u str,
    pub(super) path: &'u str,
    query: Vec<(&'u str, &'u str)>,
}

impl<'u> Parts<'u> {
    pub(super) fn of(url: &'u str) -> Option<Parts<'u>> {
        let (scheme, rest) = url.split_once("://")?;
        if !["http", "https"].contains(&scheme) || url.contains(char::is_whitespace) {
            return None;
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        (!host.is_empty()).then(|| Parts {
            scheme,
            user,
            host,
            path: path.trim_end_matches('/'),
            query: pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .collect(),
        })
    }

    pub(super) fn parameter(&self, name: &str) -> Option<&'u str> {
        let found = self.query.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| *value)
    }

    /// User and password that stand in it.
    pub(super) fn login(&self) -> Option<(String, String)> {
        if let Some(user) = self.user {
            let (name, password) = user.split_once(':').unwrap_or((user, ""));
            return Some((decoded(name), decoded(password)));
        }
        let password = self.parameter("p")?;
        let name = self.parameter("u").unwrap_or_default();
        Some((decoded(name), decoded(password)))
    }

    /// The address with this path and these parameters besides its own, without a login.
    pub(super) fn address(&self, path: &str, more: &[(&str, &str)]) -> String {
        let mut address = format!("{}://{}{path}", self.scheme, self.host);
        let own = self.query.iter();
        let own = own.filter(|(name, _)| !SECRET_PARAMETERS.contains(name));
        let own = own.map(|(name, value)| format!("{name}={value}"));
        let more = more
            .iter()
            .map(|(name, value)| format!("{name}={}", percent_encoded(value)));
        for (index, pair) in own.chain(more).enumerate() {
            address.push(if index == 0 { '?' } else { '&' });
            address.push_str(&pair);
        }
        address
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..2).filter(|_| first == b'%');
        let code = code.and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_of_an_address_is_shown() {
        for (url, shown) in [
            ("http://h:8086/write?db=ehos", "http://h:8086/write?db=ehos"),
            ("http://u:hush@h:8086/", "http://***@h:8086"),
            ("https://u:hu@sh@h/write?db=x", "https://***@h/write?db=x"),
            (
                "http://h/write?db=x&u=me&p=hush",
                "http://h/write?db=x&u=***&p=***",
            ),
            ("hush", "***"),
            ("ftp://u:hush@h", "***"),
        ] {
            assert_eq!(super::shown(url), shown);
        }
    }

    #[test]
    fn an_address_keeps_its_parameters_and_loses_its_login() {
        let parts = Parts::of("http://u%40x:p%3Aw@h:1/base/?rp=a%20b&u=no&p=no").unwrap();
        assert_eq!(parts.login(), Some(("u@x".to_owned(), "p:w".to_owned())));
        assert_eq!(
            parts.address("/base/write", &[("db", "my db")]),
            "http://h:1/base/write?rp=a%20b&db=my%20db"
        );
        let parts = Parts::of("http://h/write?u=me&p=%7e%").unwrap();
        assert_eq!(parts.login(), Some(("me".to_owned(), "~%".to_owned())));
    }
}
