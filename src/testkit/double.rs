//! A dumb HTTP server that plays a script: which request gets which answer. It imitates no service: what it says
//! was captured from real ones (`tests/fixtures/openstack`), or is written in the test.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

/// What happens to a request.
#[derive(Clone)]
pub enum Reply {
    /// A whole answer.
    Answer {
        status: u16,
        headers: Vec<(String, String)>,
        body: String,
    },
    /// An answer of which only so many bytes of the body come before the connection is closed.
    Cut {
        status: u16,
        body: String,
        bytes: usize,
    },
    /// A whole answer whose body is not text.
    Bytes {
        headers: Vec<(String, String)>,
        body: Vec<u8>,
    },
    /// Nothing at all, for as long as the double lives.
    Stall,
    /// The connection is reset when the request has come.
    Reset,
}

impl Reply {
    /// A captured answer.
    pub fn fixture(name: &str) -> Reply {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../tests/fixtures/openstack")
            .join(format!("{name}.json"));
        let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let exchange: Value = serde_json::from_str(&text).unwrap();
        let response = &exchange["response"];
        let headers = response["headers"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
            .filter(|(name, _)| !name.eq_ignore_ascii_case("content-length"))
            .filter(|(name, _)| !name.eq_ignore_ascii_case("connection"))
            .collect();
        Reply::Answer {
            status: u16::try_from(response["status"].as_u64().unwrap()).unwrap(),
            headers,
            body: match &response["body"] {
                Value::String(text) => text.clone(),
                Value::Null => String::new(),
                json => json.to_string(),
            },
        }
    }

    /// An answer that no service has given yet.
    pub fn status(status: u16, body: &str) -> Reply {
        Reply::Answer {
            status,
            headers: Vec::new(),
            body: body.to_owned(),
        }
    }

    /// An answer with the status 200 that a proxy has compressed, where `spoil` may change the compressed bytes.
    pub fn gzip(body: &str, spoil: impl FnOnce(&mut Vec<u8>)) -> Reply {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(body.as_bytes()).unwrap();
        let mut body = encoder.finish().unwrap();
        spoil(&mut body);
        Reply::Bytes {
            headers: vec![("Content-Encoding".to_owned(), "gzip".to_owned())],
            body,
        }
    }

    /// The same with a header set.
    pub fn with(mut self, name: &str, value: &str) -> Reply {
        if let Reply::Answer { headers, .. } = &mut self {
            headers.retain(|(old, _)| !old.eq_ignore_ascii_case(name));
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// The same with a part of the body replaced.
    pub fn replace(mut self, old: &str, new: &str) -> Reply {
        if let Reply::Answer { body, .. } = &mut self {
            assert!(body.contains(old), "{old} is not in {body}");
            *body = body.replace(old, new);
        }
        self
    }
}

/// A line of the script.
pub struct Line {
    method: &'static str,
    /// What path and query begin with.
    target: String,
    reply: Reply,
    /// How often it is good for yet.
    left: usize,
}

/// Each request of this kind gets this reply.
pub fn always(method: &'static str, target: &str, reply: Reply) -> Line {
    Line {
        method,
        target: target.to_owned(),
        reply,
        left: usize::MAX,
    }
}

/// The next request of this kind gets this reply.
pub fn once(method: &'static str, target: &str, reply: Reply) -> Line {
    Line {
        left: 1,
        ..always(method, target, reply)
    }
}

/// A request that has come.
#[derive(Debug, Clone)]
pub struct Received {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Received {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

struct Shared {
    base: String,
    script: Mutex<Vec<Line>>,
    received: Mutex<Vec<Received>>,
    arrival: Condvar,
    stalled: Mutex<Vec<TcpStream>>,
    over: AtomicBool,
    tls: Option<Arc<rustls::ServerConfig>>,
}

/// The server, until it is dropped.
pub struct Double {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Double {
    /// Plays `script` on a free port of 127.0.0.1; the first line that fits and is not used up counts.
    pub fn start(script: Vec<Line>) -> Double {
        Double::listen(script, None)
    }

    /// The same over TLS.
    pub fn start_tls(script: Vec<Line>, config: rustls::ServerConfig) -> Double {
        Double::listen(script, Some(Arc::new(config)))
    }

    fn listen(script: Vec<Line>, tls: Option<Arc<rustls::ServerConfig>>) -> Double {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let shared = Arc::new(Shared {
            base: format!("{scheme}://{address}"),
            script: Mutex::new(script),
            received: Mutex::default(),
            arrival: Condvar::new(),
            stalled: Mutex::default(),
            over: AtomicBool::new(false),
            tls,
        });
        let playing = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if playing.over.load(Ordering::SeqCst) {
                    break;
                }
                let shared = Arc::clone(&playing);
                let stream = stream.unwrap();
                // A client that hangs up is a part of many a test.
                thread::spawn(move || shared.serve(stream).ok());
            }
        });
        Double { address, shared }
    }

    /// Its address, as a URL without a path.
    pub fn url(&self) -> &str {
        &self.shared.base
    }

    /// Every request so far.
    pub fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }

    /// Plays another script from now on. What has come so far stays.
    pub fn play(&self, script: Vec<Line>) {
        *self.shared.script.lock().unwrap() = script;
    }

    /// Waits for a request with this method and this beginning of path and query, and returns it.
    pub fn wait_for(&self, method: &str, target: &str) -> Received {
        let fits = |r: &&Received| r.method == method && r.target.starts_with(target);
        let received = self.shared.received.lock().unwrap();
        let (received, _) = self
            .shared
            .arrival
            .wait_timeout_while(received, Duration::from_secs(30), |received| {
                !received.iter().any(|r| fits(&r))
            })
            .unwrap();
        let found = received.iter().find(fits).cloned();
        found.unwrap_or_else(|| panic!("no {method} {target} has come: {received:?}"))
    }

    /// The requests so far with this method and this beginning of path and query.
    pub fn count(&self, method: &str, target: &str) -> usize {
        self.received()
            .iter()
            .filter(|r| r.method == method && r.target.starts_with(target))
            .count()
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        match &self.tls {
            Some(config) => {
                let connection =
                    rustls::ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
                let mut tls = rustls::StreamOwned::new(connection, stream);
                let request = receive(&mut tls)?;
                let reply = self.reply(&request);
                self.answer(&mut tls, reply)?;
                tls.conn.send_close_notify();
                tls.flush()
            }
            None => {
                // Looked at before it is read: a connection that is closed with unread data is reset.
                let request = receive(&mut Peek::new(&stream))?;
                match self.reply(&request) {
                    Reply::Reset => Ok(()),
                    Reply::Stall => {
                        self.stalled.lock().unwrap().push(stream);
                        Ok(())
                    }
                    reply => {
                        let mut stream = stream;
                        receive(&mut stream)?;
                        self.answer(&mut stream, reply)?;
                        stream.shutdown(Shutdown::Write)
                    }
                }
            }
        }
    }

    fn reply(&self, request: &Received) -> Reply {
        let reply = self.scripted(request);
        // Who waits for the request may change the script next.
        self.received.lock().unwrap().push(request.clone());
        self.arrival.notify_all();
        reply
    }

    fn scripted(&self, request: &Received) -> Reply {
        let mut script = self.script.lock().unwrap();
        let line = script.iter_mut().find(|line| {
            line.left > 0
                && line.method == request.method
                && request.target.starts_with(&line.target)
        });
        match line {
            Some(line) => {
                line.left -= 1;
                line.reply.clone()
            }
            None => Reply::status(
                418,
                &format!("not in the script: {} {}", request.method, request.target),
            ),
        }
    }

    fn answer(&self, stream: &mut impl Write, reply: Reply) -> io::Result<()> {
        let (status, headers, body, bytes) = match reply {
            Reply::Answer {
                status,
                headers,
                body,
            } => (status, headers, body, usize::MAX),
            Reply::Cut {
                status,
                body,
                bytes,
            } => (status, Vec::new(), body, bytes),
            Reply::Bytes { headers, body } => return send(stream, 200, headers, &body, usize::MAX),
            Reply::Stall | Reply::Reset => return Ok(()),
        };
        // The captured addresses are those of the control plane's services; all of them are played here.
        let body = ["5000", "8774", "8776", "8778", "9292", "9696"]
            .iter()
            .fold(body, |body, port| {
                body.replace(&format!("http://127.0.0.1:{port}"), &self.base)
            });
        send(stream, status, headers, body.as_bytes(), bytes)
    }
}

/// Sends an answer, and of its body only so many bytes.
fn send(
    stream: &mut impl Write,
    status: u16,
    headers: Vec<(String, String)>,
    body: &[u8],
    bytes: usize,
) -> io::Result<()> {
    let mut head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("Connection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body[..bytes.min(body.len())])?;
    stream.flush()
}

/// Reads without taking away.
struct Peek<'s> {
    stream: &'s TcpStream,
    at: usize,
}

impl Peek<'_> {
    fn new(stream: &TcpStream) -> Peek<'_> {
        Peek { stream, at: 0 }
    }
}

impl Read for Peek<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut all = vec![0; self.at + into.len()];
        loop {
            let there = self.stream.peek(&mut all)?;
            if there > self.at {
                let new = &all[self.at..there];
                into[..new.len()].copy_from_slice(new);
                self.at = there;
                return Ok(new.len());
            }
            if there == 0 {
                return Ok(0);
            }
            // Peeking does not wait for more than there is.
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn receive(stream: &mut impl Read) -> io::Result<Received> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().unwrap_or_default().to_owned();
    if target.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut headers = Vec::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap();
        }
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Received {
        method,
        target,
        headers,
        body: String::from_utf8(body).unwrap(),
    })
}
