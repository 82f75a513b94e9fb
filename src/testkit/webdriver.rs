//! A browser that is driven through W3C WebDriver, by Debian's chromedriver: just what the tests here need of it.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;
use ureq::Agent;

const DRIVER: &str = "/usr/bin/chromedriver";

/// How long is waited for something to be so.
const PATIENCE: Duration = Duration::from_secs(30);

/// A headless browser with a profile of its own.
pub struct Browser {
    driver: Child,
    profile: TempDir,
    agent: Agent,
    /// Address of the session.
    session: String,
}

impl Browser {
    /// None, said aloud, where there is no chromedriver. In CI there has to be one.
    pub fn start() -> Option<Browser> {
        if !Path::new(DRIVER).exists() {
            assert!(
                std::env::var_os("CI").is_none(),
                "{DRIVER} is not there (Debian package chromium-driver)"
            );
            println!("skipped: {DRIVER} (Debian package chromium-driver) is not installed");
            return None;
        }
        let mut driver = Command::new(DRIVER)
            .arg("--port=0")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = said
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                line.split_once("successfully on port ")
                    .map(|(_, port)| port.trim_end_matches('.').to_owned())
            })
            .expect("chromedriver says its port");
        // A full pipe would hold it up.
        thread::spawn(move || said.for_each(drop));
        let profile = tempfile::tempdir().unwrap();
        let agent: Agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(120)))
            .build()
            .into();
        let mut browser = Browser {
            driver,
            profile,
            agent,
            session: format!("http://127.0.0.1:{port}/session"),
        };
        // On a loaded machine Chromium has not answered its driver for a minute, once in some hundred starts.
        let session = browser
            .begun("first")
            .or_else(|_| browser.begun("second"))
            .unwrap_or_else(|error| panic!("no session: {error}"));
        let id = session["sessionId"].as_str().unwrap().to_owned();
        browser.session = format!("{}/{id}", browser.session);
        Some(browser)
    }

    /// A session with a profile of that name, or what the driver says of it.
    fn begun(&self, profile: &str) -> Result<Value, Value> {
        let profile = self.profile.path().join(profile);
        let profile = format!("--user-data-dir={}", profile.display());
        self.asked(
            "",
            &json!({"capabilities": {"alwaysMatch": {
                "browserName": "chrome",
                "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
                "goog:chromeOptions": {"args": [
                    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                    "--disable-background-networking", "--disable-component-update", "--disable-sync",
                    "--disable-dev-shm-usage", "--window-size=1440,900", profile,
                ]},
            }}}),
        )
    }

    fn post(&self, command: &str, body: &Value) -> Value {
        self.asked(command, body)
            .unwrap_or_else(|error| panic!("{command} {body}: {error}"))
    }

    /// The driver's answer, or the error that it names.
    fn asked(&self, command: &str, body: &Value) -> Result<Value, Value> {
        let answer = self
            .agent
            .post(format!("{}{command}", self.session))
            .send_json(body);
        let answer: Value = answer.unwrap().body_mut().read_json().unwrap();
        let value = answer["value"].clone();
        match value.get("error") {
            None => Ok(value),
            Some(_) => Err(value),
        }
    }

    /// Opens a page.
    pub fn open(&self, address: &str) {
        self.post("/url", &json!({"url": address}));
    }

    /// What the body of a function says in the page.
    pub fn js(&self, body: &str) -> Value {
        self.post("/execute/sync", &json!({"script": body, "args": []}))
    }

    /// The text of an element as it is seen.
    pub fn text(&self, selector: &str) -> String {
        let text = self.js(&format!(
            "return document.querySelector({}).innerText",
            json!(selector)
        ));
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until an expression is true of the page.
    pub fn wait(&self, expression: &str) {
        let until = Instant::now() + PATIENCE;
        while self.js(&format!("return Boolean({expression})")) != json!(true) {
            assert!(
                Instant::now() < until,
                "not so in {PATIENCE:?}: {expression}\n{}",
                self.text("body")
            );
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Presses keys, one after the other.
    pub fn press(&self, keys: &[char]) {
        let actions: Vec<Value> = keys
            .iter()
            .flat_map(|key| {
                ["keyDown", "keyUp"].map(|kind| json!({"type": kind, "value": key.to_string()}))
            })
            .collect();
        self.post(
            "/actions",
            &json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]}),
        );
    }

    /// Clicks where an element is.
    pub fn click(&self, selector: &str) {
        let element = self.post(
            "/element",
            &json!({"using": "css selector", "value": selector}),
        );
        let id = element.as_object().unwrap().values().next().unwrap();
        self.post(
            &format!("/element/{}/click", id.as_str().unwrap()),
            &json!({}),
        );
    }

    /// A command of the DevTools protocol.
    pub fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.post(
            "/goog/cdp/execute",
            &json!({"cmd": command, "params": parameters}),
        )
    }

    /// The size of what is seen.
    pub fn size(&self, width: u32, height: u32) {
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            &json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}),
        );
    }

    /// The colours that the system likes.
    pub fn prefers(&self, scheme: &str) {
        self.devtools(
            "Emulation.setEmulatedMedia",
            &json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]}),
        );
    }

    /// The whole page as PNG.
    pub fn picture(&self) -> Vec<u8> {
        let whole = json!({"format": "png", "captureBeyondViewport": true});
        let shot = self.devtools("Page.captureScreenshot", &whole);
        STANDARD.decode(shot["data"].as_str().unwrap()).unwrap()
    }

    /// What the console says since it was last asked.
    pub fn console(&self) -> Vec<String> {
        let entries = self.post("/se/log", &json!({"type": "browser"}));
        let entries = entries.as_array().unwrap().iter();
        entries.map(|entry| entry["message"].to_string()).collect()
    }

    /// The addresses that pages have asked for since it was last asked.
    pub fn asked_for(&self) -> Vec<String> {
        let entries = self.post("/se/log", &json!({"type": "performance"}));
        let mut addresses = Vec::new();
        for entry in entries.as_array().unwrap() {
            let message: Value = serde_json::from_str(entry["message"].as_str().unwrap()).unwrap();
            let message = &message["message"];
            if message["method"] == "Network.requestWillBeSent" {
                let address = message["params"]["request"]["url"].as_str().unwrap();
                // The browser's own pages, and what is asked of nobody.
                if !address.starts_with("chrome:") && !address.starts_with("data:") {
                    addresses.push(address.to_owned());
                }
            }
        }
        addresses
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser ends with its session; what does not is in the driver's group.
        let _ = self.agent.delete(&self.session).call();
        if let Ok(id) = i32::try_from(self.driver.id())
            && let Some(group) = Pid::from_raw(id)
        {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.driver.wait();
    }
}
