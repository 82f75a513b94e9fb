//! The way to a cloud, on which a fault can lie in wait: one port for each service, which passes every request on to
//! the real service, and does something else with those that a fault is for.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// What becomes of a request.
#[derive(Clone)]
pub enum What {
    /// The service does not get it, and this is the answer.
    Answer(u16, &'static str),
    /// It waits for so long, then it is passed on.
    Late(Duration),
    /// It is passed on, and its answer waits for so long.
    LateAnswer(Duration),
    /// It is passed on, and the connection is closed in place of an answer.
    CutAnswer,
    /// This is done, then it is passed on: a fault at a certain moment of a tick.
    First(Arc<dyn Fn() + Send + Sync>),
    /// It is passed on with this added to its query.
    AlsoAsk(&'static str),
}

/// Which requests, and what becomes of them.
#[derive(Clone)]
pub struct Fault {
    /// The method, or none for all.
    pub method: &'static str,
    /// What the path and query have in them, or none for all.
    pub path: &'static str,
    /// So many pass before the first that it is for.
    pub after: usize,
    /// It is for so many.
    pub times: usize,
    /// What.
    pub what: What,
}

impl Fault {
    /// For every such request.
    pub fn each(method: &'static str, path: &'static str, what: What) -> Fault {
        Fault {
            method,
            path,
            after: 0,
            times: usize::MAX,
            what,
        }
    }

    /// For the first such request.
    pub fn once(method: &'static str, path: &'static str, what: What) -> Fault {
        Fault {
            times: 1,
            ..Fault::each(method, path, what)
        }
    }
}

/// The services of a cloud by the ports that they have on the testbed.
pub const KEYSTONE: u16 = 5000;
pub const NOVA: u16 = 8774;
pub const GLANCE: u16 = 9292;
pub const NEUTRON: u16 = 9696;
const CINDER: u16 = 8776;

/// One service, reached by a port of this machine.
struct Door {
    real: SocketAddr,
    here: SocketAddr,
    open: Mutex<Option<Arc<AtomicBool>>>,
}

/// The way to one cloud. It is gone when this is dropped.
pub struct Proxy {
    shared: Arc<Shared>,
}

struct Shared {
    doors: Vec<Door>,
    faults: Mutex<Vec<Fault>>,
    seen: Mutex<Vec<String>>,
}

impl Proxy {
    /// A way to the services at this address.
    pub fn to(address: &str) -> Proxy {
        let doors = [KEYSTONE, NOVA, GLANCE, NEUTRON, CINDER].map(|port| {
            // A port that is free now; it is bound again when the door opens.
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            Door {
                real: format!("{address}:{port}").parse().unwrap(),
                here: free.local_addr().unwrap(),
                open: Mutex::new(None),
            }
        });
        let proxy = Proxy {
            shared: Arc::new(Shared {
                doors: Vec::from(doors),
                faults: Mutex::default(),
                seen: Mutex::default(),
            }),
        };
        for index in 0..proxy.shared.doors.len() {
            proxy.open(index);
        }
        proxy
    }

    /// `auth_url` of this way.
    pub fn auth_url(&self) -> String {
        format!("http://{}/v3", self.shared.doors[0].here)
    }

    /// From now on these and no others.
    pub fn set(&self, faults: &[Fault]) {
        *lock(&self.shared.faults) = faults.to_vec();
    }

    /// The requests since the last call of this, as `POST /v2.1/servers`.
    pub fn seen(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.shared.seen))
    }

    /// No process listens on the port of this service any more: connections are refused.
    pub fn close(&self, service: u16) {
        let door = &self.shared.doors[self.index(service)];
        if let Some(open) = lock(&door.open).take() {
            open.store(false, Ordering::SeqCst);
            // Out of accept().
            let _ = TcpStream::connect(door.here);
        }
        while TcpStream::connect(door.here).is_ok() {
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// It listens again.
    pub fn reopen(&self, service: u16) {
        self.open(self.index(service));
    }

    fn index(&self, service: u16) -> usize {
        let doors = &self.shared.doors;
        let found = doors.iter().position(|door| door.real.port() == service);
        found.unwrap_or_else(|| panic!("no service {service}"))
    }

    fn open(&self, index: usize) {
        let door = &self.shared.doors[index];
        let mut open = lock(&door.open);
        if open.is_some() {
            return;
        }
        let flag = Arc::new(AtomicBool::new(true));
        *open = Some(Arc::clone(&flag));
        let listener = TcpListener::bind(door.here).unwrap();
        let shared = Arc::clone(&self.shared);
        thread::spawn(move || {
            for client in listener.incoming() {
                if !flag.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(client), shared) = (client, Arc::clone(&shared)) else {
                    continue;
                };
                thread::spawn(move || {
                    // Whoever has gone away meanwhile needs no answer.
                    let _ = shared.serve(&client, index);
                    let _ = client.shutdown(Shutdown::Both);
                });
            }
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        for door in &self.shared.doors {
            if let Some(open) = lock(&door.open).take() {
                open.store(false, Ordering::SeqCst);
                let _ = TcpStream::connect(door.here);
            }
        }
    }
}

impl Shared {
    fn serve(&self, mut client: &TcpStream, index: usize) -> io::Result<()> {
        let Some((head, body)) = read_request(client)? else {
            return Ok(());
        };
        let (first, rest) = head.split_once("\r\n").unwrap_or((&head, ""));
        let mut words = first.split(' ');
        let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        lock(&self.seen).push(format!("{method} {path}"));
        let mut path = path.to_owned();
        let mut cut = false;
        let mut late = Duration::ZERO;
        for what in self.due(method, &path) {
            match what {
                What::Answer(status, text) => {
                    let answer = format!(
                        "HTTP/1.1 {status} Fault\r\nContent-Type: application/json\r\n\
                         Content-Length: {}\r\nConnection: close\r\n\r\n{text}",
                        text.len()
                    );
                    return client.write_all(answer.as_bytes());
                }
                What::Late(time) => thread::sleep(time),
                What::LateAnswer(time) => late = time,
                What::CutAnswer => cut = true,
                What::First(work) => work(),
                What::AlsoAsk(query) => {
                    path += if path.contains('?') { "&" } else { "?" };
                    path += query;
                }
            }
        }

        let real = self.doors[index].real;
        // Version 1.0: an answer in one piece, which ends with its connection.
        let mut request = format!("{method} {path} HTTP/1.0\r\nHost: {real}\r\n");
        for line in rest.lines().filter(|line| !line.is_empty()) {
            let name = line.split(':').next().unwrap_or("").to_ascii_lowercase();
            if !["host", "connection", "accept-encoding"].contains(&name.as_str()) {
                request += &format!("{line}\r\n");
            }
        }
        let mut server = TcpStream::connect(real)?;
        server.write_all(format!("{request}\r\n").as_bytes())?;
        server.write_all(&body)?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer)?;
        thread::sleep(late);
        if cut {
            return Ok(());
        }
        client.write_all(&self.through_the_doors(&answer))
    }

    /// What is to be done with this request.
    fn due(&self, method: &str, path: &str) -> Vec<What> {
        let mut due = Vec::new();
        for fault in lock(&self.faults).iter_mut() {
            let meant = (fault.method.is_empty() || fault.method == method)
                && path.contains(fault.path)
                && fault.times > 0;
            if meant && fault.after > 0 {
                fault.after -= 1;
            } else if meant {
                fault.times -= 1;
                due.push(fault.what.clone());
            }
        }
        due
    }

    /// The answer, with the addresses of the services replaced by ours: the catalog, links.
    fn through_the_doors(&self, answer: &[u8]) -> Vec<u8> {
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
        let Some(end) = end else {
            return answer.to_vec();
        };
        let head = String::from_utf8_lossy(&answer[..end]);
        let mut body = String::from_utf8_lossy(&answer[end + 4..]).into_owned();
        for door in &self.doors {
            body = body.replace(
                &format!("http://{}", door.real),
                &format!("http://{}", door.here),
            );
        }
        let mut out = String::new();
        for (number, line) in head.lines().enumerate() {
            let name = line.split(':').next().unwrap_or("").to_ascii_lowercase();
            if number == 0 {
                out += &format!("{}\r\n", line.replacen("HTTP/1.0", "HTTP/1.1", 1));
            } else if !["content-length", "connection", "transfer-encoding"]
                .contains(&name.as_str())
            {
                out += &format!("{line}\r\n");
            }
        }
        out += &format!(
            "Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        out.into_bytes()
    }
}

/// The head of a request without its empty line, and its body; none when nothing came.
fn read_request(mut client: &TcpStream) -> io::Result<Option<(String, Vec<u8>)>> {
    client.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        match client.read(&mut part)? {
            0 => return Ok(None),
            read => bytes.extend_from_slice(&part[..read]),
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    });
    let mut body = bytes.split_off(end + 4);
    while body.len() < length.unwrap_or(0) {
        match client.read(&mut part)? {
            0 => return Ok(None),
            read => body.extend_from_slice(&part[..read]),
        }
    }
    Ok(Some((head, body)))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
