//! The token of the page: every client with the token may see the pool.
//!
//! Owns: `frontend.token` in the state directory, created once, readable by its user only; the check of a request.
//! Must not: log a token.
//! Source: RFC 6750 (bearer tokens), RFC 6265 (cookies).

use std::fs::Permissions;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::request::Head;
use system::own_file;

/// The name of the file in the state directory, and of the credential of the unit.
pub const FILE: &str = "frontend.token";

/// The cookie that the page gets for its address with the token in it.
pub const COOKIE: &str = "ehos_token";

/// The bytes of a token.
const BYTES: usize = 24;

/// No token is shorter.
const MIN_LENGTH: usize = 16;

/// The token of the page.
#[derive(Debug, Clone)]
pub struct Token(SecretString);

/// How a request shows that it may be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// By a header: a bearer token, or the cookie.
    Header,
    /// By its address: the cookie is to follow.
    Address,
    Nothing,
}

impl Token {
    /// A new one.
    ///
    /// # Errors
    /// When the system gives no random number.
    pub fn random() -> io::Result<Token> {
        let mut bytes = [0; BYTES];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Token(SecretString::from(text)))
    }

    /// The one in a file.
    ///
    /// # Errors
    /// When it cannot be read, every user of the machine can read it, or no token is in it.
    pub fn read(path: &Path) -> io::Result<Token> {
        let file = own_file::open(path)?;
        if file.metadata()?.permissions().mode() & 0o007 != 0 {
            return Err(io::Error::other(
                "every user of this machine can read it; run chmod 600, or remove it",
            ));
        }
        let mut text = String::new();
        file.take(4096).read_to_string(&mut text)?;
        let token = text.trim();
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
        if token.len() < MIN_LENGTH || !token.chars().all(is_plain) {
            return Err(io::Error::other(
                "contains no token of at least 16 letters or digits; correct it, or remove it",
            ));
        }
        Ok(Token(SecretString::from(token.to_owned())))
    }

    /// The one of a state directory, made where there is none.
    ///
    /// # Errors
    /// As [`Token::read`], and when it cannot be written.
    pub fn kept(directory: &Path) -> io::Result<Token> {
        let path = directory.join(FILE);
        match Token::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => return found,
        }
        let token = Token::random()?;
        let mut new = tempfile::Builder::new()
            .prefix(tick::state_directory::new_file::PAGE_TOKEN)
            .permissions(Permissions::from_mode(0o600))
            .tempfile_in(directory)?;
        writeln!(new, "{}", token.0.expose_secret())?;
        new.as_file().sync_all()?;
        match new.persist_noclobber(&path) {
            Ok(_) => Ok(token),
            // Another process was quicker.
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Token::read(&path),
            Err(error) => Err(error.error),
        }
    }

    /// The token itself, for who asks for the address with it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// How a request shows the token.
    pub fn shown_by(&self, head: &Head) -> Shown {
        let bearer = head.authorization.as_deref();
        let bearer = bearer.and_then(|value| value.split_once(' '));
        let bearer = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let cookies = head
            .cookies
            .as_deref()
            .unwrap_or_default()
            .split([';', ',']);
        let mut cookies = cookies.filter_map(|pair| pair.trim().split_once('='));
        if bearer.is_some_and(|(_, token)| self.is(token.trim()))
            || cookies.any(|(name, value)| name == COOKIE && self.is(value))
        {
            return Shown::Header;
        }
        match head.parameter("token") {
            Ok(Some(token)) if self.is(&token) => Shown::Address,
            _ => Shown::Nothing,
        }
    }

    /// Digests are compared: the time says nothing about the token.
    fn is(&self, token: &str) -> bool {
        Sha256::digest(token) == Sha256::digest(self.0.expose_secret())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_for_its_user_alone() {
        let folder = tempfile::tempdir().unwrap();
        let token = Token::kept(folder.path()).unwrap();
        assert_eq!(Token::kept(folder.path()).unwrap().expose(), token.expose());
        let path = folder.path().join(FILE);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!((mode & 0o777, token.expose().len()), (0o600, 48));
        assert_ne!(Token::random().unwrap().expose(), token.expose());
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert!(Token::kept(folder.path()).is_err());
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        for text in [
            "",
            "short\n",
            "a b c d e f g h i j k l m n\n",
            "\u{e4}aaaaaaaaaaaaaaaaaaaa\n",
        ] {
            std::fs::write(&path, text).unwrap();
            assert!(Token::kept(folder.path()).is_err(), "{text:?}");
        }
        assert!(!format!("{token:?}").contains(token.expose()));
    }

    #[test]
    fn a_request_shows_it_in_a_header_or_in_its_address() {
        let token = Token(SecretString::from("0123456789abcdef".to_owned()));
        let head = |authorization: &str, cookies: &str, query: &str| Head {
            authorization: Some(authorization.to_owned()),
            cookies: Some(cookies.to_owned()),
            query: query.to_owned(),
            ..Head::default()
        };
        for (request, shown) in [
            (head("Bearer 0123456789abcdef", "", ""), Shown::Header),
            (head("bearer 0123456789abcdef", "", ""), Shown::Header),
            (
                head("", "a=b; ehos_token=0123456789abcdef", ""),
                Shown::Header,
            ),
            (
                head("", "", "range=1h&token=0123456789abcdef"),
                Shown::Address,
            ),
            (head("", "", ""), Shown::Nothing),
            (head("Basic 0123456789abcdef", "", ""), Shown::Nothing),
            (head("0123456789abcdef", "", ""), Shown::Nothing),
            (
                head("Bearer 0123456789abcde", "ehos_token=", "token="),
                Shown::Nothing,
            ),
            (head("", "ehos_token=0123456789abcdef0", ""), Shown::Nothing),
            (head("", "other=0123456789abcdef", ""), Shown::Nothing),
            (
                head("", "", "token=0123456789abcdef&token=0123456789abcdef"),
                Shown::Nothing,
            ),
        ] {
            assert_eq!(token.shown_by(&request), shown, "{request:?}");
        }
        assert_eq!(token.shown_by(&Head::default()), Shown::Nothing);
    }
}
