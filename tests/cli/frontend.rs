//! `ehos frontend` as browsers, programs and those who mean harm meet it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::Site;

/// Longer than any answer takes here.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that is at work.
pub struct Server {
    child: Child,
    address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    fn read(stream: &mut TcpStream) -> Reply {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("no answer: {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Reply {
            status,
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

impl Server {
    pub fn start(site: &Site, more: &[&str]) -> Server {
        Server::asking(site, &[&["--no-token"], more].concat())
    }

    /// One that asks for a token.
    pub fn asking(site: &Site, more: &[&str]) -> Server {
        let state = site.state();
        let words = [
            &[
                testkit::program!(),
                "frontend",
                "--listen",
                "127.0.0.1:0",
                "--state-dir",
                state.to_str().unwrap(),
            ],
            more,
        ];
        let mut child = site
            .words(&words.concat())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line
            .trim()
            .strip_prefix("listening on http://")
            .unwrap()
            .parse()
            .unwrap();
        Server { child, address }
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).unwrap()
    }

    /// What these bytes get.
    fn send(&self, bytes: &str) -> Reply {
        let mut stream = self.connect();
        // It may be refused before all of it was sent.
        let _ = stream.write_all(bytes.as_bytes());
        Reply::read(&mut stream)
    }

    pub fn get(&self, target: &str) -> Reply {
        self.send(&format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    }
}

/// A simulated site after some ticks.
pub fn site(ticks: usize) -> Site {
    let site = Site::simulated();
    for _ in 0..ticks {
        site.tick(&[]).exits(0);
    }
    site
}

#[test]
fn every_route() {
    let site = site(12);
    let server = Server::start(&site, &[]);
    for (path, content_type, word) in [
        (
            "/metrics",
            "text/plain; version=0.0.4; charset=utf-8",
            "\nehos_last_success_timestamp_seconds ",
        ),
        ("/", "text/html; charset=utf-8", "<title>ehos"),
        ("/page.css", "text/css; charset=utf-8", "{"),
        ("/page.js", "text/javascript; charset=utf-8", "api/page"),
        ("/icon.svg", "image/svg+xml", "<svg"),
        (
            "/api/status",
            "application/json; charset=utf-8",
            "\"nodes\":",
        ),
        (
            "/api/series?range=1h",
            "application/json; charset=utf-8",
            "\"range\":\"1h\"",
        ),
        (
            "/api/series",
            "application/json; charset=utf-8",
            "\"range\":\"24h\"",
        ),
        (
            "/api/decisions",
            "application/json; charset=utf-8",
            "\"decisions\":[{",
        ),
        (
            "/healthz",
            "text/plain; charset=utf-8",
            "ok, the last tick was 0 s ago\n",
        ),
    ] {
        let reply = server.get(path);
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        assert_eq!(reply.header("content-type"), Some(content_type));
        assert!(reply.body.contains(word), "{path}: {reply:?}");
        for (name, value) in [
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Cross-Origin-Opener-Policy", "same-origin"),
            ("Connection", "close"),
        ] {
            assert_eq!(reply.header(name), Some(value), "{path}");
        }
        let policy = reply.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'; "),
            "{policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(reply.header("date").unwrap().ends_with(" GMT"));
        assert_eq!(reply.header("server"), None);
        assert_eq!(
            reply.header("content-length"),
            Some(reply.body.len().to_string().as_str())
        );

        let head = server.send(&format!("HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
        assert_eq!(
            head.header("content-length"),
            reply.header("content-length")
        );
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
            let reply = server.send(&format!(
                "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx"
            ));
            assert_eq!(reply.status, 405, "{method} {path}");
            assert_eq!(reply.header("allow"), Some("GET, HEAD"));
        }
    }
    let status = server.get("/api/status");
    let last = std::fs::read_to_string(site.state().join("history/last.json")).unwrap();
    assert_eq!(status.body, last);
    let tag = status.header("etag").unwrap();
    let ask =
        format!("GET /api/status HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: {tag}\r\n\r\n");
    let same = server.send(&ask);
    assert_eq!((same.status, same.body.as_str()), (304, ""));
    assert_eq!(same.header("content-length"), None);
    // While it is at work it sees each tick.
    site.tick(&[]).exits(0);
    let next = server.send(&ask);
    assert_eq!(next.status, 200);
    assert_ne!(next.json()["at"], status.json()["at"]);

    let decisions = server.get("/api/decisions?limit=1000").json();
    let one = &decisions["decisions"][0];
    let (name, id) = (one["name"].as_str().unwrap(), one["node"].as_str().unwrap());
    for name in [name, id] {
        let node = server.get(&format!("/api/node/{name}")).json();
        let events = node["events"].as_array().unwrap();
        assert_eq!(events[0]["decision"], "create");
        assert_eq!(events[0]["result"], "done");
        assert_eq!(events.last().unwrap()["text"], one["text"]);
    }
    let before = one["at"].as_str().unwrap();
    let older = server
        .get(&format!("/api/decisions?before={before}&limit=1"))
        .json();
    assert!(older["decisions"][0]["at"].as_str().unwrap() < before);
}

#[test]
fn what_is_not_there() {
    let site = site(1);
    let server = Server::start(&site, &[]);
    for path in [
        "/nothing",
        "/index.html",
        "/page.css/",
        "//",
        "/../../../../etc/passwd",
        "/..%2f..%2fetc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/page.css/../../history/last.json",
        "/history/last.json",
        "/\\..\\..\\etc\\passwd",
    ] {
        let reply = server.get(path);
        assert_eq!(reply.status, 404, "{path}: {reply:?}");
        assert!(!reply.body.contains("root:"), "{path}");
    }
    for path in [
        "/api/",
        "/api/none",
        "/api/node/none",
        "/api/life/none",
        "/api/life/",
        "/api/life/..%2f..%2f..%2fetc%2fpasswd",
        "/api/node/",
        "/api/node/..%2f..%2f..%2fetc%2fpasswd",
        "/api/node/a/b",
    ] {
        let reply = server.get(path);
        assert_eq!(reply.status, 404, "{path}: {reply:?}");
        assert!(reply.json()["error"].is_string());
    }
    for path in [
        "/api/series?range=1y",
        "/api/series?range=",
        "/api/series?range=1h&range=1h",
        "/api/decisions?limit=0",
        "/api/decisions?limit=1001",
        "/api/decisions?limit=-1",
        "/api/decisions?before=yesterday",
        "/api/node/%",
        "/api/node/%ff",
    ] {
        let reply = server.get(path);
        assert_eq!(reply.status, 400, "{path}: {reply:?}");
        assert!(reply.json()["error"].is_string());
    }
}

#[test]
fn what_is_no_request_for_us() {
    let site = site(1);
    let server = Server::start(&site, &["--host", "pool.example.org"]);
    let with = |head: &str| server.send(&head.replace('\n', "\r\n")).status;
    for (head, status) in [
        ("GET / HTTP/1.0\n\n", 200),
        ("GET / HTTP/1.1\nHost: 127.0.0.1:5000\n\n", 200),
        ("GET / HTTP/1.1\nHost: pool.example.org\n\n", 200),
        ("GET / HTTP/1.1\nHost: evil.example.org\n\n", 421),
        // Only a proxy is asked like this.
        (
            "GET http://evil.example.org/ HTTP/1.1\nHost: localhost\n\n",
            400,
        ),
        (
            "GET http://localhost/etc/passwd HTTP/1.1\nHost: localhost\n\n",
            400,
        ),
        ("GET / HTTP/1.1\n\n", 400),
        ("GET / HTTP/1.1\nHost: localhost\nHost: localhost\n\n", 400),
        ("GET\n\n", 400),
        ("GET / HTTP/3.0\nHost: localhost\n\n", 400),
        ("\u{16}\u{3}\u{1}\u{2}\u{0}", 400),
        (
            "GET / HTTP/1.1\nHost: localhost\nContent-Length: 3\n\nabc",
            413,
        ),
        (
            "GET / HTTP/1.1\nHost: localhost\nTransfer-Encoding: chunked\n\n0\n\n",
            413,
        ),
        (
            "GET / HTTP/1.1\nHost: localhost\nContent-Length: 0\n\n",
            200,
        ),
        // The first of two is answered; the connection is closed then, and whoever sends two asks again.
        (
            "GET / HTTP/1.1\nHost: localhost\n\nGET /none HTTP/1.1\nHost: localhost\n\n",
            200,
        ),
    ] {
        assert_eq!(with(head), status, "{head:?}");
    }
    let long = format!(
        "GET / HTTP/1.1\nHost: localhost\nCookie: {}\n\n",
        "a".repeat(9 * 1024)
    );
    assert_eq!(with(&long), 431);
    let long = format!("GET /{}", "a".repeat(1024 * 1024));
    assert_eq!(with(&long), 431);
    // It has said all that it will, and reads on.
    let mut half = server.connect();
    half.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    half.shutdown(Shutdown::Write).unwrap();
    assert_eq!(Reply::read(&mut half).status, 200);
    let mut half = server.connect();
    half.write_all(b"GET /healthz HT").unwrap();
    half.shutdown(Shutdown::Write).unwrap();
    assert_eq!(Reply::read(&mut half).status, 400);
    // Byte by byte, but in time.
    let mut slow = server.connect();
    slow.set_nodelay(true).unwrap();
    for byte in b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" {
        slow.write_all(&[*byte]).unwrap();
    }
    assert_eq!(Reply::read(&mut slow).status, 200);
}

#[test]
fn two_hundred_slow_clients_keep_nobody_from_the_page() {
    let site = site(3);
    let server = Server::start(&site, &[]);
    let mut slow: Vec<TcpStream> = Vec::new();
    for number in 0..200 {
        let mut stream = server.connect();
        // Some say nothing, some only half, some do not take what they asked for.
        let said = match number % 3 {
            0 => "",
            1 => "GET / HTTP/1.1\r\nHost:",
            _ => "GET /page.js HTTP/1.1\r\nHost: localhost\r\n\r\n",
        };
        let _ = stream.write_all(said.as_bytes());
        slow.push(stream);
        if number % 20 == 0 {
            let began = Instant::now();
            assert_eq!(server.get("/healthz").status, 200);
            assert!(
                began.elapsed() < Duration::from_secs(3),
                "{number}: {:?}",
                began.elapsed()
            );
        }
    }
    let began = Instant::now();
    assert_eq!(server.get("/").status, 200);
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    let threads = std::fs::read_dir(format!("/proc/{}/task", server.child.id())).unwrap();
    assert!(threads.count() <= 70);
    // Ticks do not notice.
    site.tick(&[]).exits(0);
    drop(slow);
    assert_eq!(server.get("/api/series?range=30d").status, 200);
}

#[test]
fn a_byte_a_second_does_not_hold_on() {
    let site = site(1);
    let server = Server::start(&site, &[]);
    let began = Instant::now();
    let mut stream = server.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nX: ").unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let mut answer = [0; 64];
    let read = loop {
        match stream.read(&mut answer) {
            Ok(read) => break read,
            Err(_) => stream.write_all(b"x").unwrap(),
        }
        assert!(began.elapsed() < Duration::from_secs(15));
    };
    let answer = String::from_utf8_lossy(&answer[..read]);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(began.elapsed() >= Duration::from_secs(9));
}

#[test]
fn many_ask_while_ticks_write() {
    let site = site(2);
    let server = Server::start(&site, &[]);
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..8)
            .map(|number| {
                let server = &server;
                scope.spawn(move || {
                    for _ in 0..30 {
                        let path = [
                            "/api/status",
                            "/api/series?range=24h",
                            "/api/decisions",
                            "/healthz",
                        ][number % 4];
                        let reply = server.get(path);
                        assert_eq!(reply.status, 200, "{reply:?}");
                        if number % 4 != 3 {
                            reply.json();
                        }
                    }
                })
            })
            .collect();
        for _ in 0..10 {
            site.tick(&[]).exits(0);
        }
        for one in asking {
            one.join().unwrap();
        }
    });
    let series = server.get("/api/series?range=24h").json();
    assert_eq!(series["totals"]["ticks"], 15);
}

#[test]
fn before_the_first_tick_and_with_a_history_that_cannot_be_read() {
    let site = Site::simulated();
    let server = Server::start(&site, &[]);
    assert_eq!(server.get("/").status, 200);
    assert_eq!(server.get("/api/status").body, "null");
    assert_eq!(
        server.get("/api/decisions").json()["decisions"],
        serde_json::json!([])
    );
    assert_eq!(server.get("/api/series").json()["totals"]["ticks"], 0);
    let health = server.get("/healthz");
    assert_eq!(
        (health.status, health.body.as_str()),
        (503, "no tick yet\n")
    );
    site.tick(&[]).exits(0);
    assert_eq!(server.get("/healthz").status, 200);
    site.write("state/history/last.json", "{\"version\":");
    let reply = server.get("/api/status");
    assert_eq!(reply.status, 503);
    let error = reply.json()["error"].as_str().unwrap().to_owned();
    assert!(
        error.starts_with("the history cannot be read: last.json: damaged: "),
        "{error}"
    );
    // What is long ago does not depend on the last tick.
    for (path, status) in [
        ("/api/series", 200),
        ("/api/decisions", 200),
        ("/api/node/x", 404),
    ] {
        assert_eq!(server.get(path).status, status, "{path}");
    }
    assert_eq!(server.get("/healthz").status, 503);
    // A real site whose ticks have stopped.
    site.write(
        "state/history/last.json",
        "{\"at\": \"2026-01-01T00:00:00Z\"}",
    );
    let health = server.get("/healthz");
    assert_eq!(health.status, 503);
    assert!(health.body.starts_with("the last tick was "), "{health:?}");
    // Its clock was ahead, or this one is behind: how old it is nobody knows.
    site.write(
        "state/history/last.json",
        "{\"at\": \"2126-01-01T00:00:00Z\"}",
    );
    let health = server.get("/healthz");
    assert_eq!(health.status, 503, "{health:?}");
    assert!(health.body.contains("ahead"), "{health:?}");
}

#[test]
fn a_day_that_cannot_be_read_is_named_and_the_others_are_shown() {
    let site = Site::simulated();
    site.tick(&[]).exits(0);
    site.tick(&[]).exits(0);
    let server = Server::start(&site, &[]);
    let decisions = |server: &Server| server.get("/api/decisions").json();
    let whole = decisions(&server)["decisions"].as_array().unwrap().len();
    let node = decisions(&server)["decisions"][0]["node"].clone();
    let day = fs::read_dir(site.state().join("history"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .find(|name| name.ends_with(".jsonl"))
        .unwrap();
    let date: jiff::civil::Date = day.trim_end_matches(".jsonl").parse().unwrap();
    // A folder in the place of a file: an error for root too.
    let odd = format!("{}.jsonl", date.yesterday().unwrap());
    fs::create_dir(site.state().join("history").join(&odd)).unwrap();
    let node = format!("/api/node/{}", node.as_str().unwrap());
    for path in ["/api/series?range=24h", "/api/decisions?limit=999", &node] {
        let reply = server.get(path);
        assert_eq!(reply.status, 200, "{path}");
        assert_eq!(reply.json()["unread"][0]["file"], odd.as_str(), "{path}");
    }
    assert!(whole > 0);
    assert_eq!(
        decisions(&server)["decisions"].as_array().unwrap().len(),
        whole
    );
    assert_eq!(server.get("/api/series").json()["totals"]["ticks"], 2);
    fs::remove_dir(site.state().join("history").join(&odd)).unwrap();
    let series = server.get("/api/series?range=24h").json();
    assert_eq!(series["unread"], serde_json::json!([]));
}

#[test]
fn a_port_that_is_taken_and_one_that_all_can_reach() {
    let site = site(1);
    let server = Server::start(&site, &[]);
    let address = server.address.to_string();
    let state = site.state();
    let state = state.to_str().unwrap();
    site.run(&["frontend", "--listen", &address, "--state-dir", state])
        .exits(1)
        .warns("cannot listen on 127.0.0.1:")
        .warns("give another port with --listen");
    site.run(&["frontend", "--listen", "192.0.2.1:0", "--state-dir", state])
        .exits(1)
        .warns("give an address of this machine");
    let mut open = site
        .words(&[
            testkit::program!(),
            "frontend",
            "--listen",
            "0.0.0.0:0",
            "--no-token",
            "--state-dir",
            state,
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(open.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    open.kill().unwrap();
    let said = open.wait_with_output().unwrap().stderr;
    let said = String::from_utf8(said).unwrap();
    assert!(line.starts_with("listening on http://0.0.0.0:"), "{line}");
    assert!(said.contains("without a login"), "{said}");
}

#[test]
fn the_state_is_where_the_configuration_says() {
    let site = Site::simulated().over("daemon:\n  state_dir: elsewhere\n");
    let config = site.config();
    let config = config.to_str().unwrap();
    site.run(&["tick", "--config", config]).exits(0);
    let run = site.run(&["frontend", "--config", config, "--once", "-"]);
    run.exits(0).says("\"program\":").warns_nothing();
    let history = site.path().join("elsewhere/history");
    site.run(&[
        "frontend",
        "--history",
        history.to_str().unwrap(),
        "--once",
        "-",
    ])
    .exits(0)
    .says("\"program\":");
    site.run(&["frontend", "--state-dir", "nowhere", "--once", "-"])
        .exits(0)
        .warns(": no history: ")
        .says("\"tick\":null");
}

#[test]
fn the_page_as_one_file() {
    let site = site(12);
    let state = site.state();
    let once = |file: &str| {
        site.run(&[
            "frontend",
            "--state-dir",
            state.to_str().unwrap(),
            "--once",
            file,
        ])
    };
    once("page.html").exits(0).is_silent();
    let path = site.path().join("page.html");
    let html = std::fs::read_to_string(&path).unwrap();
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o644);
    assert!(html.contains("script-src 'sha256-"));
    let (_, data) = html.split_once("id=\"data\">").unwrap();
    let data: Value = serde_json::from_str(data.split_once("</script>").unwrap().0).unwrap();
    assert_eq!(data["page"]["tick"]["simulated"], true);
    assert_eq!(data["series"]["1h"]["totals"]["ticks"], 15);
    assert!(
        !data["decisions"]["decisions"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    once("none/page.html")
        .exits(1)
        .warns("none/page.html: cannot be written");
    once("-").exits(0).says("</html>");
}

/// Every answer, for what is documented.
pub fn answers() -> Vec<(&'static str, Value)> {
    let site = site(12);
    let server = Server::start(&site, &[]);
    let decisions = server.get("/api/decisions").json();
    let node = decisions["decisions"][0]["node"]
        .as_str()
        .unwrap()
        .to_owned();
    vec![
        ("ehos frontend: /api/page", server.get("/api/page").json()),
        (
            "ehos frontend: /api/series",
            server.get("/api/series?range=1h").json(),
        ),
        ("ehos frontend: /api/decisions", decisions),
        (
            "ehos frontend: /api/node/NAME",
            server.get(&format!("/api/node/{node}")).json(),
        ),
    ]
}

/// The token of the site's page.
fn token(site: &Site) -> String {
    let file = site.state().join("frontend.token");
    std::fs::read_to_string(file).unwrap().trim().to_owned()
}

#[test]
fn who_has_no_token_sees_nothing_of_the_pool() {
    let site = site(2);
    let server = Server::asking(&site, &[]);
    let token = token(&site);
    let with = |target: &str, header: &str| {
        server.send(&format!(
            "GET {target} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n"
        ))
    };
    for target in [
        "/",
        "/api/status",
        "/api/series",
        "/api/decisions",
        "/api/node/x",
        "/metrics",
        "/else",
    ] {
        for header in [
            String::new(),
            "Authorization: Bearer wrong\r\n".to_owned(),
            format!("Authorization: Basic {token}\r\n"),
            "Cookie: ehos_token=wrong\r\n".to_owned(),
        ] {
            let reply = with(target, &header);
            assert_eq!(reply.status, 401, "{target} {header}");
            assert!(reply.body.contains("ehos frontend --url"), "{reply:?}");
            assert_eq!(
                reply.header("WWW-Authenticate"),
                Some("Bearer realm=\"ehos\"")
            );
        }
        assert_eq!(server.get(&format!("{target}?token=wrong")).status, 401);
        for header in [
            format!("Authorization: Bearer {token}\r\n"),
            format!("Cookie: a=b; ehos_token={token}\r\n"),
        ] {
            assert_ne!(with(target, &header).status, 401, "{target}");
        }
    }
    // What is in the program, and how old the last tick is.
    for target in ["/healthz", "/page.css", "/page.js", "/icon.svg"] {
        assert_eq!(server.get(target).status, 200, "{target}");
    }
    let reply = server.get(&format!("/?token={token}"));
    assert_eq!((reply.status, reply.header("Location")), (303, Some("./")));
    let cookie = reply.header("Set-Cookie").unwrap();
    assert!(
        cookie.starts_with(&format!("ehos_token={token}; HttpOnly; SameSite=Lax")),
        "{cookie}"
    );
    // A name that is not ours comes first: no other site gets the cookie set.
    let other = format!("GET /?token={token} HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    assert_eq!(server.send(&other).status, 421);
}

#[test]
fn the_address_with_the_token_is_printed_for_who_may_read_it() {
    let site = site(1);
    let state = site.state();
    let state = state.to_str().unwrap();
    let run = site.run(&["frontend", "--url", "--state-dir", state]);
    let token = token(&site);
    run.exits(0)
        .says(&format!("http://127.0.0.1:5000/?token={token}\n"))
        .warns_nothing();
    use std::os::unix::fs::PermissionsExt;
    let file = site.state().join("frontend.token");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    site.write("given", "a-token-of-the-site-1\n");
    site.run(&[
        "frontend",
        "--url",
        "--state-dir",
        state,
        "--token-file",
        "given",
    ])
    .exits(0)
    .says("/?token=a-token-of-the-site-1\n");
    // A file that others can read, one that is none, and no place for one.
    std::fs::set_permissions(
        site.path().join("given"),
        std::fs::Permissions::from_mode(0o644),
    )
    .unwrap();
    site.run(&[
        "frontend",
        "--state-dir",
        state,
        "--token-file",
        "given",
        "--listen",
        "127.0.0.1:0",
    ])
    .exits(1)
    .warns("every user of this machine can read it");
    site.run(&[
        "frontend",
        "--state-dir",
        "nowhere",
        "--listen",
        "127.0.0.1:0",
    ])
    .exits(1)
    .warns("run a tick, which creates it")
    .warns("--no-token");
}

#[test]
fn the_token_of_the_unit_comes_as_a_credential() {
    let site = site(1);
    site.write("credentials/frontend.token", "a-token-of-the-unit-1\n");
    let folder = site.path().join("credentials");
    let site = site.set("CREDENTIALS_DIRECTORY", folder.to_str().unwrap());
    let state = site.state();
    site.run(&["frontend", "--url", "--state-dir", state.to_str().unwrap()])
        .exits(0)
        .says("/?token=a-token-of-the-unit-1\n");
}
