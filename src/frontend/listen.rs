//! Takes connections, reads a request of each, writes the answer and closes it. A thread for each; when there are as many
//! as there may be, the one that has been waiting longest for its client has to go, so that those who say at once what
//! they want get it however many others say nothing.
//!
//! A head has 8 KiB and 10 s, an answer 30 s; 64 connections at once. The small libraries that
//! serve HTTP with threads have neither time-outs nor such a bound.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use log::{debug, info, warn};

use super::answer::Answer;
use super::host::Hosts;
use super::request::{self, Head, Refused};
use super::routes::Router;
use system::deadline::Deadline;

/// Connections at once.
const CONNECTIONS: usize = 64;
/// How long a request may take to come, from its first byte to its last.
const READING: Duration = Duration::from_secs(10);
/// How long an answer may take to be taken.
const WRITING: Duration = Duration::from_secs(30);
/// How long a client may take to close the connection after its answer.
const CLOSING: Duration = Duration::from_secs(1);
/// What is read of what a client sends after its request.
const REST_BYTES: u64 = 4 * 1024 * 1024;
/// After a connection could not be taken, for want of files or memory.
const PAUSE: Duration = Duration::from_millis(100);

/// What every answer says besides itself. Nothing of another host is loaded, and no page of another host can read this one
/// or have it in a frame.
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

/// Takes the port.
///
/// # Errors
/// When it cannot be had, and what to do.
pub fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).map_err(|error| {
        let remedy = match error.kind() {
            ErrorKind::AddrInUse => {
                "another program has this port, perhaps ehos-frontend.service; give another port with --listen"
            }
            ErrorKind::AddrNotAvailable => {
                "this machine does not have this address; give an address of this machine with --listen, or 127.0.0.1"
            }
            ErrorKind::PermissionDenied => {
                "ports below 1024 are root's; give a higher one with --listen, and put a web server in front"
            }
            _ => "give another address with --listen",
        };
        anyhow!("cannot listen on {address}: {error}: {remedy}")
    })
}

/// Serves `site` to those who ask for one of `hosts`; ends with the process.
pub fn serve(listener: &TcpListener, hosts: Hosts, site: Router) -> ! {
    let (site, hosts, open) = (Arc::new(site), Arc::new(hosts), Arc::new(Open::default()));
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
            Err(error) => {
                warn!("a connection could not be taken: {error}");
                thread::sleep(PAUSE);
                continue;
            }
        };
        let stream = open.take(stream);
        let (site, hosts) = (Arc::clone(&site), Arc::clone(&hosts));
        let started = thread::Builder::new().spawn(move || stream.answer(&hosts, &site));
        // Without a thread it is closed.
        if let Err(error) = started {
            warn!("a connection could not be served: {error}");
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
    fn take(self: &Arc<Open>, stream: TcpStream) -> Connection {
        let mut all = self.all();
        while all.count >= CONNECTIONS {
            if let Some((_, oldest)) = all.waiting.pop_first() {
                debug!("a connection that waits is closed: there are {CONNECTIONS}");
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
        connection
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
    /// It waits for its client, or does not: then nobody hangs up on it.
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
        let Some(head) = self.head() else {
            return;
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
        if let Err(error) = self.send(&answer.bytes(&head, HEADERS)) {
            debug!("answer not delivered: {error}");
        }
    }

    /// The head of the request; none of a client that says nothing.
    fn head(&self) -> Option<Result<Head, Refused>> {
        let mut stream = Timed::within(&self.stream, READING);
        let mut bytes = Vec::with_capacity(1024);
        let mut part = [0; 2048];
        loop {
            let read = match stream.read(&mut part) {
                Ok(0) | Err(_) if bytes.is_empty() => return None,
                // Half of it, and no more will come.
                Ok(0) => return Some(Err(Refused::Malformed)),
                Ok(read) => read,
                Err(error) if is_timeout(&error) => return Some(Err(Refused::TooLate)),
                Err(_) => return None,
            };
            bytes.extend_from_slice(part.get(..read).unwrap_or_default());
            if let Some(head) = request::parse(&bytes).transpose() {
                return Some(head);
            }
        }
    }

    /// Sends an answer, and waits until the client has closed the connection: with bytes that nobody has read, the kernel
    /// would take the answer back.
    fn send(&self, answer: &[u8]) -> io::Result<()> {
        Timed::within(&self.stream, WRITING).write_all(answer)?;
        self.stream.shutdown(Shutdown::Write)?;
        let rest = Timed::within(&self.stream, CLOSING);
        io::copy(&mut rest.take(REST_BYTES), &mut io::sink())?;
        Ok(())
    }
}

/// A stream until a deadline.
struct Timed<'a> {
    stream: &'a TcpStream,
    deadline: Deadline,
}

impl Timed<'_> {
    fn within(stream: &TcpStream, time: Duration) -> Timed<'_> {
        let deadline = Deadline::within(time);
        Timed { stream, deadline }
    }

    /// No time at all would be for ever.
    fn left(&self) -> io::Result<Option<Duration>> {
        match self.deadline.left() {
            Duration::ZERO => Err(ErrorKind::TimedOut.into()),
            left => Ok(Some(left)),
        }
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(bytes)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn refusal(refused: Refused) -> Answer {
    let answer = Answer::text(refused.status(), &refused.to_string());
    match refused {
        Refused::Method => answer.with_head("Allow: GET, HEAD\r\n"),
        _ => answer,
    }
}
