//! Parses and checks the head of a request. Bodies are never read.

use std::fmt;

/// What the head of a request may have in all.
pub const HEAD_BYTES: usize = 8 * 1024;

/// Header lines in it.
const HEADERS: usize = 64;

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Head {
    /// Only the head of the answer is wanted.
    pub head_only: bool,
    /// The path as it was sent, without the query.
    pub path: String,
    /// What stands behind the `?`.
    pub query: String,
    /// The host that it is for; none in HTTP/1.0.
    pub host: Option<String>,
    pub if_none_match: Option<String>,
    pub authorization: Option<String>,
    pub cookies: Option<String>,
}

/// Why a request gets no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It is no HTTP.
    Malformed,
    /// HTTP/1.1 without a host, or with several.
    NoHost,
    /// It is for a name that is not ours.
    OtherHost,
    /// It would change something.
    Method,
    /// It brings a body.
    Body,
    /// More than [`HEAD_BYTES`], or too many lines.
    TooLong,
    /// It did not come in time.
    TooLate,
}

impl Refused {
    /// The status of the answer.
    pub fn status(self) -> u16 {
        match self {
            Refused::Malformed | Refused::NoHost => 400,
            Refused::Method => 405,
            Refused::TooLate => 408,
            Refused::Body => 413,
            Refused::OtherHost => 421,
            Refused::TooLong => 431,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Malformed => f.write_str("not an HTTP request"),
            Refused::NoHost => f.write_str("a request must name one host"),
            Refused::OtherHost => f.write_str(
                "unknown host name of this page; to serve it under that name, start `ehos frontend --host NAME`",
            ),
            Refused::Method => f.write_str("only GET and HEAD are allowed"),
            Refused::Body => f.write_str("a request must have no body"),
            Refused::TooLong => write!(f, "a request has at most {HEAD_BYTES} bytes and {HEADERS} header lines"),
            Refused::TooLate => f.write_str("the request took too long"),
        }
    }
}

/// Reads a head; none while its end is not there yet.
///
/// # Errors
/// When it will get no answer, whatever follows.
pub fn parse(bytes: &[u8]) -> Result<Option<Head>, Refused> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length > HEAD_BYTES => {
            return Err(Refused::TooLong);
        }
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) if bytes.len() >= HEAD_BYTES => {
            return Err(Refused::TooLong);
        }
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Refused::TooLong),
        Err(_) => return Err(Refused::Malformed),
    }
    let lines = |name: &str| -> Vec<String> {
        let lines = request.headers.iter();
        let lines = lines.filter(|line| line.name.eq_ignore_ascii_case(name));
        let text = |line: &httparse::Header<'_>| String::from_utf8_lossy(line.value).into_owned();
        lines.map(text).collect()
    };
    let given = |name: &str| Some(lines(name).join(",")).filter(|text| !text.is_empty());
    let method = request.method.unwrap_or_default();
    let hosts = lines("host");
    if hosts.len() > 1 || (hosts.is_empty() && request.version == Some(1)) {
        return Err(Refused::NoHost);
    }
    if !["GET", "HEAD"].contains(&method) {
        return Err(Refused::Method);
    }
    let has_length = given("content-length").is_some_and(|length| length != "0");
    if has_length || given("transfer-encoding").is_some() {
        return Err(Refused::Body);
    }
    let target = request.path.unwrap_or_default();
    // No client asks a web server as if it were a proxy.
    if !target.starts_with('/') {
        return Err(Refused::Malformed);
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Ok(Some(Head {
        head_only: method == "HEAD",
        path: path.to_owned(),
        query: query.to_owned(),
        host: hosts.into_iter().next(),
        if_none_match: given("if-none-match"),
        authorization: given("authorization"),
        cookies: given("cookie"),
    }))
}

impl Head {
    /// The value of a parameter of the query, with what is written as `%XX` put back.
    ///
    /// # Errors
    /// When it is given twice, or cannot be read.
    pub fn parameter(&self, name: &str) -> Result<Option<String>, String> {
        let mut found = None;
        for pair in self.query.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if key != name {
                continue;
            }
            let value = decoded(value).ok_or_else(|| format!("{name} cannot be read"))?;
            if found.replace(value).is_some() {
                return Err(format!("{name} occurs twice"));
            }
        }
        Ok(found)
    }
}

/// Puts back what is written as `%XX`; none when it is not text then.
pub fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok()?;
        // `from_str_radix` takes a sign too.
        if !digits.chars().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(text: &str) -> Result<Option<Head>, Refused> {
        parse(text.replace('\n', "\r\n").as_bytes())
    }

    #[test]
    fn what_is_asked_for() {
        let head = get(
            "GET /api/series?range=1h HTTP/1.1\nHost: localhost:5000\nIf-None-Match: \"a\"\n\n",
        );
        assert_eq!(
            head.unwrap().unwrap(),
            Head {
                head_only: false,
                path: "/api/series".to_owned(),
                query: "range=1h".to_owned(),
                host: Some("localhost:5000".to_owned()),
                if_none_match: Some("\"a\"".to_owned()),
                ..Head::default()
            }
        );
        let head = get("HEAD / HTTP/1.0\n\n").unwrap().unwrap();
        assert!(head.head_only);
        assert_eq!(head.host, None);
    }

    #[test]
    fn what_is_refused() {
        for (text, why) in [
            ("GET / HTTP/1.1\n\n", Refused::NoHost),
            ("GET / HTTP/1.1\nHost: a\nHost: a\n\n", Refused::NoHost),
            ("POST / HTTP/1.1\nHost: a\n\n", Refused::Method),
            ("OPTIONS * HTTP/1.1\nHost: a\n\n", Refused::Method),
            ("GET * HTTP/1.1\nHost: a\n\n", Refused::Malformed),
            ("GET a:1 HTTP/1.1\nHost: a\n\n", Refused::Malformed),
            // Only a proxy is asked like this.
            ("GET http://a/ HTTP/1.1\nHost: a\n\n", Refused::Malformed),
            (
                "GET / HTTP/1.1\nHost: a\nContent-Length: 1\n\n",
                Refused::Body,
            ),
            (
                "GET / HTTP/1.1\nHost: a\nContent-Length: 0\nContent-Length: 5\n\n",
                Refused::Body,
            ),
            (
                "GET / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n",
                Refused::Body,
            ),
            ("GET / HTTP/2.7\nHost: a\n\n", Refused::Malformed),
            ("GET / HTTP/1.1\nHo st: a\n\n", Refused::Malformed),
            ("\u{16}\u{3}\u{1}", Refused::Malformed),
        ] {
            assert_eq!(get(text), Err(why), "{text}");
        }
        let many = "a: b\n".repeat(65);
        assert_eq!(
            get(&format!("GET / HTTP/1.1\n{many}\n")),
            Err(Refused::TooLong)
        );
        let long = "a".repeat(HEAD_BYTES);
        assert_eq!(get(&format!("GET /{long}")), Err(Refused::TooLong));
        assert_eq!(
            get(&format!("GET /{long} HTTP/1.1\nHost: a\n\n")),
            Err(Refused::TooLong)
        );
        assert_eq!(get("GET / HTTP/1.1\nHost: a\n"), Ok(None));
        assert_eq!(get(""), Ok(None));
    }

    #[test]
    fn parameters() {
        let of = |query: &str, name: &str| {
            let query = query.to_owned();
            Head {
                query,
                ..Head::default()
            }
            .parameter(name)
        };
        assert_eq!(of("range=1h&x", "range"), Ok(Some("1h".to_owned())));
        assert_eq!(
            of("before=2026-01-01T00%3A00%3A00Z", "before"),
            Ok(Some("2026-01-01T00:00:00Z".to_owned()))
        );
        assert_eq!(of("", "range"), Ok(None));
        assert_eq!(of("x", "x"), Ok(Some(String::new())));
        for broken in ["x=%", "x=%4", "x=%zz", "x=%+1", "x=%ff", "x=1&x=1"] {
            assert!(of(broken, "x").is_err(), "{broken}");
        }
    }
}
