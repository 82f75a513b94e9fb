//! Accepts connections, reads one request of each, writes the answer and closes the connection. Each has a thread.
//!
//! At the limit of connections, the one that has waited longest for its client is closed, so that idle clients cannot block
//! others. A head has at most 8 KiB and 10 s, an answer 30 s; 64 connections in parallel. Small HTTP libraries with threads
//! have neither timeouts nor such a limit.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use jiff::Timestamp;
use log::{debug, info, warn};

use super::answer::{Answer, status_name};
use super::host::Hosts;
use super::request::{self, HEAD_BYTES, Head, Refused};
use super::routes::Router;
use system::deadline::Deadline;

/// Connections at once.
const CONNECTIONS: usize = 64;
/// How long a request may take to come, from its first byte to its last.
const READING: Duration = Duration::from_secs(10);
/// How long an answer may take to be taken.
const WRITING: Duration = Duration::from_secs(30);
/// The wait for a client to close the connection after its answer: with unread bytes, the kernel would reset the connection
/// and discard the answer.
const CLOSING: Duration = Duration::from_secs(1);
/// What is read of what a client sends after its request.
const REST_BYTES: usize = 4 * 1024 * 1024;
/// Of a thread.
const STACK_BYTES: usize = 512 * 1024;
/// After a connection could not be taken, for want of files or memory.
const PAUSE: Duration = Duration::from_millis(100);

/// The headers of every answer. The page loads nothing of another host, and no page of another host can read or frame it.
const HEADERS: &str = "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n\
    X-Content-Type-Options: nosniff\r\n\
    X-Frame-Options: DENY\r\n\
    Referrer-Policy: no-referrer\r\n\
    Cross-Origin-Resource-Policy: same-origin\r\n\
    Cross-Origin-Opener-Policy: same-origin\r\n\
    Permissions-Policy: camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()\r\n\
    Cache-Control: no-cache\r\n\
    Vary: Host\r\n\
    Connection: close\r\n";

/// Binds the port.
///
/// # Errors
/// The port cannot be bound; the error contains the remedy.
pub fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).map_err(|error| {
        let remedy = match error.kind() {
            ErrorKind::AddrInUse => {
                "stop the program that uses this port (perhaps ehos-frontend.service), or give another port with --listen"
            }
            ErrorKind::AddrNotAvailable => {
                "give an address of this machine with --listen, or 127.0.0.1"
            }
            ErrorKind::PermissionDenied => {
                "only root can use ports below 1024; give a higher one with --listen, and put a web server in front"
            }
            _ => "give another address with --listen",
        };
        anyhow!("cannot listen on {address}: {error}; {remedy}")
    })
}

/// Serves `site` to those who ask for one of `hosts`; ends with the process.
pub fn serve(listener: &TcpListener, hosts: Hosts, site: Router) -> ! {
    let (site, hosts, open) = (Arc::new(site), Arc::new(hosts), Arc::new(Open::default()));
    let warmed = Arc::clone(&site);
    thread::spawn(move || warmed.warm());
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::ConnectionAborted | ErrorKind::Interrupted
                ) =>
            {
                continue;
            }
            Err(error) => {
                warn!("connection not accepted: {error}");
                thread::sleep(PAUSE);
                continue;
            }
        };
        let Ok(stream) = open.take(stream) else {
            continue;
        };
        let (site, hosts) = (Arc::clone(&site), Arc::clone(&hosts));
        let started = thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn(move || stream.answer(&hosts, &site));
        // Without a thread it is closed.
        if let Err(error) = started {
            warn!("connection not served: {error}");
            thread::sleep(PAUSE);
        }
    }
}

/// The connections that there are.
#[derive(Default)]
struct Open {
    all: Mutex<All>,
    closed: Condvar,
}

#[derive(Default)]
struct All {
    last: u64,
    /// By number: the oldest first.
    waiting: BTreeMap<u64, Arc<TcpStream>>,
    /// Those that wait for their clients, and those for which an answer is made.
    count: usize,
}

impl Open {
    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one, when there is room for it: made by hanging up on the one that waits longest, or waited for.
    fn take(self: &Arc<Open>, stream: TcpStream) -> io::Result<Connection> {
        let mut all = self.all();
        while all.count >= CONNECTIONS {
            if let Some((_, oldest)) = all.waiting.pop_first() {
                debug!("waiting connection closed: limit of {CONNECTIONS} connections reached");
                // Its thread wakes up and ends.
                let _ = oldest.shutdown(Shutdown::Both);
            }
            all = self
                .closed
                .wait(all)
                .unwrap_or_else(PoisonError::into_inner);
        }
        all.last += 1;
        all.count += 1;
        let connection = Connection {
            number: all.last,
            stream: Arc::new(stream),
            open: Arc::clone(self),
        };
        all.waiting
            .insert(connection.number, Arc::clone(&connection.stream));
        Ok(connection)
    }
}

/// A connection, as long as it is open.
struct Connection {
    number: u64,
    stream: Arc<TcpStream>,
    open: Arc<Open>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut all = self.open.all();
        all.waiting.remove(&self.number);
        all.count -= 1;
        self.open.closed.notify_all();
    }
}

impl Connection {
    /// Whether the connection waits for its client; one that does not is never closed early.
    fn waits(&self, waits: bool) {
        let mut all = self.open.all();
        if waits {
            all.waiting.insert(self.number, Arc::clone(&self.stream));
        } else {
            all.waiting.remove(&self.number);
        }
    }

    fn answer(self, hosts: &Hosts, site: &Router) {
        let began = Instant::now();
        let head = match self.head() {
            Ok(Some(head)) => head,
            // Nothing was asked.
            Ok(None) | Err(_) => return,
        };
        self.waits(false);
        let (head, answer) = match head {
            Ok(head) if !hosts.include(head.host.as_deref()) => (head, refusal(Refused::OtherHost)),
            Ok(head) => {
                let answer = site.answer(&head);
                (head, answer)
            }
            Err(refused) => (Head::default(), refusal(refused)),
        };
        info!(
            "{} {:?}: {} in {} ms",
            if head.head_only { "HEAD" } else { "GET" },
            head.path,
            answer.status,
            began.elapsed().as_millis()
        );
        self.waits(true);
        if let Err(error) = self.send(&head, &answer) {
            debug!("answer not delivered: {error}");
        }
    }

    /// The head of the request; none when the client leaves without a word.
    fn head(&self) -> io::Result<Option<Result<Head, Refused>>> {
        let deadline = Deadline::within(READING);
        let mut bytes = Vec::with_capacity(1024);
        loop {
            let mut part = [0; 2048];
            let room = (HEAD_BYTES + 1).saturating_sub(bytes.len()).min(part.len());
            let part = part.get_mut(..room).unwrap_or_default();
            self.stream.set_read_timeout(Some(left(deadline)))?;
            let read = match (&*self.stream).read(part) {
                Ok(0) if bytes.is_empty() => return Ok(None),
                // Half of it, and no more will come.
                Ok(0) => return Ok(Some(Err(Refused::Malformed))),
                Ok(read) => read,
                Err(error) if is_timeout(&error) && bytes.is_empty() => return Ok(None),
                Err(error) if is_timeout(&error) => return Ok(Some(Err(Refused::TooLate))),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            bytes.extend_from_slice(part.get(..read).unwrap_or_default());
            match request::parse(&bytes) {
                Ok(None) if deadline.passed() => return Ok(Some(Err(Refused::TooLate))),
                Ok(None) => {}
                Ok(Some(head)) => return Ok(Some(Ok(head))),
                Err(refused) => return Ok(Some(Err(refused))),
            }
        }
    }

    fn send(&self, head: &Head, answer: &Answer) -> io::Result<()> {
        let known = answer.is_known(head.if_none_match.as_deref());
        let status = if known { 304 } else { answer.status };
        let mut text = format!(
            "HTTP/1.1 {status} {}\r\nDate: {}\r\n{HEADERS}",
            status_name(status),
            Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT")
        );
        if let Some(etag) = &answer.etag {
            text += &format!("ETag: {etag}\r\n");
        }
        text += &answer.head;
        if status == 405 {
            text += "Allow: GET, HEAD\r\n";
        }
        if status != 304 {
            let length = answer.body.len();
            text += &format!(
                "Content-Type: {}\r\nContent-Length: {length}\r\n",
                answer.content_type
            );
        }
        text += "\r\n";
        let mut bytes = text.into_bytes();
        if !head.head_only && status != 304 {
            bytes.extend_from_slice(&answer.body);
        }
        self.write(&bytes)?;
        self.close()
    }

    fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        let deadline = Deadline::within(WRITING);
        while !bytes.is_empty() {
            self.stream.set_write_timeout(Some(left(deadline)))?;
            match (&*self.stream).write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if deadline.passed() && !bytes.is_empty() {
                return Err(ErrorKind::TimedOut.into());
            }
        }
        Ok(())
    }

    /// Says that this is all, and lets the client hear it.
    fn close(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)?;
        let deadline = Deadline::within(CLOSING);
        let (mut rest, mut part) = (0, [0; 2048]);
        while rest < REST_BYTES && !deadline.passed() {
            self.stream.set_read_timeout(Some(left(deadline)))?;
            match (&*self.stream).read(&mut part)? {
                0 => break,
                read => rest += read,
            }
        }
        Ok(())
    }
}

/// The timeout of a socket; zero would mean none.
fn left(deadline: Deadline) -> Duration {
    deadline.left().max(Duration::from_millis(1))
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn refusal(refused: Refused) -> Answer {
    Answer::text(refused.status(), &refused.to_string())
}
