//! A headless Chromium, driven as W3C WebDriver says, and the DevTools protocol where WebDriver has no word for it.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use ureq::Agent;

/// What a page is given to show something.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// What the driver is given to answer.
const ANSWER: Duration = Duration::from_secs(60);

pub const TAB: &str = "\u{E004}";
pub const ENTER: &str = "\u{E007}";
pub const ESCAPE: &str = "\u{E00C}";

/// Whether both programs are here. Not being here is a failure where `LYNCPIN_REQUIRE_PARTS` says so.
pub fn is_here() -> bool {
    let missing: Vec<&str> = [("chromium", "chromium"), ("chromedriver", "chromium-driver")]
        .into_iter()
        .filter(|(program, _)| !Path::new("/usr/bin").join(program).exists())
        .map(|(_, package)| package)
        .collect();
    if missing.is_empty() {
        return true;
    }
    let missing = missing.join(" ");
    let required = std::env::var_os("LYNCPIN_REQUIRE_PARTS").is_some();
    assert!(!required, "a browser is required and not installed: apt-get install {missing}");
    eprintln!("\n*** NOT TESTED: there is no browser (apt-get install {missing}) ***\n");
    false
}

/// One browser with one page; it ends with the last of its clones.
#[derive(Clone)]
pub struct Browser(Arc<Running>);

struct Running {
    driver: Child,
    agent: Agent,
    base: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        // Err: it has ended. The driver ends the browser with the session.
        let _ = self.agent.delete(&self.base).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

impl Running {
    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let url = format!("{}{path}", self.base);
        let answer = match method {
            "GET" => self.agent.get(&url).call(),
            _ => self.agent.post(&url).send_json(body),
        };
        let mut answer = answer.unwrap_or_else(|why| panic!("the driver does not answer {path}: {why}"));
        let value: Value = answer.body_mut().with_config().limit(64 << 20).read_json().expect("JSON");
        assert!(answer.status().is_success(), "{path}: {}", value["value"]["message"]);
        value["value"].clone()
    }
}

impl Browser {
    pub async fn start() -> Self {
        tokio::task::spawn_blocking(Self::launch).await.expect("the browser starts")
    }

    fn launch() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("/usr/bin/chromedriver");
        command.arg(format!("--port={port}")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let driver = command.spawn().unwrap();
        let config = Agent::config_builder().timeout_global(Some(ANSWER)).http_status_as_error(false).proxy(None);
        let agent: Agent = config.build().into();
        let mut running = Running { driver, agent, base: format!("http://127.0.0.1:{port}") };
        let began = Instant::now();
        while running.agent.get(format!("{}/status", running.base)).call().is_err() {
            assert!(began.elapsed() < PATIENCE, "the driver does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        // Root may not have the browser's own sandbox.
        let arguments =
            ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "binary": "/usr/bin/chromium", "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        } } });
        let session = running.ask("POST", "/session", &wanted);
        running.base += &format!("/session/{}", session["sessionId"].as_str().expect("a session"));
        Self(Arc::new(running))
    }

    async fn ask(&self, method: &'static str, path: &str, body: Value) -> Value {
        let (running, path) = (self.0.clone(), path.to_owned());
        tokio::task::spawn_blocking(move || running.ask(method, &path, &body)).await.expect("an answer")
    }

    pub async fn open(&self, url: &str) {
        self.ask("POST", "/url", json!({ "url": url })).await;
    }

    /// What a function body yields in the page.
    pub async fn run(&self, script: &str) -> Value {
        self.ask("POST", "/execute/sync", json!({ "script": script, "args": [] })).await
    }

    /// What an expression is in the page.
    pub async fn is(&self, expression: &str) -> Value {
        self.run(&format!("return {expression};")).await
    }

    /// The text that stands in the first element of a selector, as a person sees it.
    pub async fn text(&self, selector: &str) -> String {
        let found = self.is(&format!("document.querySelector({selector:?})?.innerText ?? ''")).await;
        found.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until a text stands there, and yields all of it.
    pub async fn until_text(&self, selector: &str, words: &str) -> String {
        let began = Instant::now();
        loop {
            let text = self.text(selector).await;
            if text.contains(words) {
                return text;
            }
            let page = || self.text("body");
            if began.elapsed() > PATIENCE {
                panic!("{selector} does not say {words:?} but {text:?}; the page:\n{}", page().await);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until an expression is true in the page.
    pub async fn until(&self, expression: &str) {
        let began = Instant::now();
        while self.is(&format!("Boolean({expression})")).await != true {
            assert!(began.elapsed() < PATIENCE, "never true: {expression}; the page:\n{}", self.text("body").await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Presses keys one after the other, as a hand does.
    pub async fn press(&self, keys: &[&str]) {
        let presses: Vec<Value> = keys
            .iter()
            .flat_map(|key| [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })])
            .collect();
        self.ask("POST", "/actions", json!({ "actions": [{ "type": "key", "id": "keys", "actions": presses }] })).await;
    }

    pub async fn type_in(&self, text: &str) {
        let letters: Vec<String> = text.chars().map(String::from).collect();
        self.press(&letters.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }

    /// A word of the DevTools protocol.
    pub async fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.ask("POST", "/goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await
    }

    pub async fn prefer(&self, feature: &str, value: &str) {
        let features = json!({ "features": [{ "name": feature, "value": value }] });
        self.devtools("Emulation.setEmulatedMedia", features).await;
    }

    pub async fn resize(&self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.devtools("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// What the console complained of since it was asked last.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.ask("POST", "/se/log", json!({ "type": "browser" })).await;
        let lines = log.as_array().cloned().unwrap_or_default();
        let grave = lines.iter().filter(|line| line["level"] == "SEVERE" || line["level"] == "WARNING");
        grave.filter_map(|line| line["message"].as_str().map(str::to_owned)).collect()
    }

    /// Every address the page asked for since it was asked last.
    pub async fn requests(&self) -> Vec<String> {
        let log = self.ask("POST", "/se/log", json!({ "type": "performance" })).await;
        let url_of = |line: &Value| {
            let message: Value = serde_json::from_str(line["message"].as_str()?).ok()?;
            let message = &message["message"];
            let is_sent = message["method"] == "Network.requestWillBeSent";
            is_sent.then(|| message["params"]["request"]["url"].as_str().unwrap_or_default().to_owned())
        };
        log.as_array().cloned().unwrap_or_default().iter().filter_map(url_of).collect()
    }

    /// Kept for a person to look at, if LYNCPIN_SCREENSHOTS names a folder: on a desk and a phone, light and dark.
    pub async fn pictures(&self, name: &str) {
        let Some(folder) = std::env::var_os("LYNCPIN_SCREENSHOTS") else { return };
        for (device, width, height) in [("desk", 1280, 1000), ("phone", 360, 1560)] {
            for scheme in ["light", "dark"] {
                self.prefer("prefers-color-scheme", scheme).await;
                self.resize(width, height).await;
                tokio::time::sleep(Duration::from_millis(500)).await;
                let taken = self.devtools("Page.captureScreenshot", json!({ "format": "png" })).await;
                let png = STANDARD.decode(taken["data"].as_str().expect("a picture")).expect("base64");
                std::fs::write(Path::new(&folder).join(format!("{name}-{device}-{scheme}.png")), png).unwrap();
            }
        }
        self.resize(1280, 1000).await;
    }
}
