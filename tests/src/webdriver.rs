//! The desktop app with its window, driven through WebDriver as a person would drive it.

use std::fmt;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use data_encoding::BASE64;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use crate::display::Display;
use crate::home::{TestHome, built};

/// The key of an element's number in an answer, as the WebDriver standard has it.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// How long the app has for what is waited for.
const LIMIT: Duration = Duration::from_secs(120);
/// The pause before looking again.
const AGAIN: Duration = Duration::from_millis(50);

/// The app; it ends when this is dropped.
pub struct App {
    runtime: Runtime,
    address: String,
    session: String,
    process: Child,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

/// The CSS selector of what has a test's name.
#[must_use]
pub fn named(name: &str) -> String {
    format!("[data-testid=\"{name}\"]")
}

impl App {
    /// Opens the app on a display and a home.
    ///
    /// The app is `LIVEPC_DESKTOP_BIN`, or the one beside the test's own target folder; `livepc` has to lie beside it. The
    /// driver is `LIVEPC_TAURI_DRIVER`, or `tauri-driver` on PATH.
    #[track_caller]
    #[must_use]
    pub fn open(display: &Display, home: &TestHome) -> Self {
        let driver =
            std::env::var_os("LIVEPC_TAURI_DRIVER").map_or_else(|| "tauri-driver".into(), PathBuf::from);
        let (port, native_port) = (free_port(), free_port());
        let mut command = Command::new(&driver);
        display.enter(&mut command);
        command
            .args([
                "--port",
                &port.to_string(),
                "--native-port",
                &native_port.to_string(),
            ])
            .args(["--native-driver", "/usr/bin/WebKitWebDriver"])
            .env("LIVEPC_HOME", home.path())
            // It prints one for every request that comes before its own driver listens.
            .env("RUST_BACKTRACE", "0")
            .env("NO_PROXY", "*")
            .stdin(Stdio::null())
            // What the driver starts belongs to its group, and ends with it.
            .process_group(0);
        let process = command
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}; `cargo install tauri-driver --locked`", driver.display()));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let mut app = Self {
            runtime,
            address: format!("127.0.0.1:{port}"),
            session: String::new(),
            process,
        };
        app.until("the driver listens", || {
            app.send(Method::GET, "/status", None).map(drop)
        });
        let program = built("LIVEPC_DESKTOP_BIN", "livepc-desktop");
        let wanted = json!({"capabilities": {"alwaysMatch": {"tauri:options": {"application": program}}}});
        let opened = app
            .send(Method::POST, "/session", Some(&wanted))
            .expect("the app opens");
        opened["sessionId"]
            .as_str()
            .expect("a session")
            .clone_into(&mut app.session);
        app
    }

    /// Waits until what the selector names is shown.
    #[track_caller]
    pub fn wait_for(&self, selector: &str) {
        self.until(&format!("{selector} is shown"), || {
            let element = self.element(selector)?;
            let shown = self.get(&format!("element/{element}/displayed"))?;
            if shown == true {
                Ok(())
            } else {
                bail!("it is hidden")
            }
        });
    }

    /// Waits until nothing has the selector any more.
    #[track_caller]
    pub fn wait_for_none(&self, selector: &str) {
        self.until(&format!("{selector} is gone"), || match self.count(selector) {
            Ok(0) => Ok(()),
            other => bail!("there: {other:?}"),
        });
    }

    /// How many there are.
    ///
    /// # Errors
    /// If the app does not answer.
    pub fn count(&self, selector: &str) -> Result<usize> {
        let found = self.post("elements", &json!({"using": "css selector", "value": selector}))?;
        Ok(found.as_array().map_or(0, Vec::len))
    }

    /// Clicks it, as soon as it can be clicked.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        self.until(&format!("{selector} can be clicked"), || {
            let element = self.element(selector)?;
            if self.get(&format!("element/{element}/enabled"))? != true {
                bail!("it is disabled");
            }
            self.post(&format!("element/{element}/click"), &json!({}))
                .map(drop)
        });
    }

    /// Types into it, in place of what was there.
    #[track_caller]
    pub fn fill(&self, selector: &str, text: &str) {
        self.until(&format!("{selector} takes text"), || {
            let element = self.element(selector)?;
            self.post(&format!("element/{element}/clear"), &json!({}))?;
            self.post(&format!("element/{element}/value"), &json!({"text": text}))
                .map(drop)
        });
    }

    /// Its text, as soon as it shows any.
    #[track_caller]
    #[must_use]
    pub fn text(&self, selector: &str) -> String {
        self.until(&format!("{selector} has text"), || {
            let element = self.element(selector)?;
            let text = self.get(&format!("element/{element}/text"))?;
            let text = text.as_str().unwrap_or_default();
            if text.is_empty() {
                bail!("it shows none")
            } else {
                Ok(text.to_owned())
            }
        })
    }

    /// An attribute of it; empty if it has none by that name.
    #[track_caller]
    #[must_use]
    pub fn attribute(&self, selector: &str, name: &str) -> String {
        self.until(&format!("{selector} is there"), || {
            let element = self.element(selector)?;
            let value = self.get(&format!("element/{element}/attribute/{name}"))?;
            Ok(value.as_str().unwrap_or_default().to_owned())
        })
    }

    /// Runs a script in the page; it gives its result to the function that is its only argument.
    ///
    /// # Errors
    /// If the script throws, or gives nothing in time.
    pub fn run_script(&self, script: &str) -> Result<Value> {
        self.post("execute/async", &json!({"script": script, "args": []}))
    }

    /// Gives the window this size in pixels, and waits until the page has come to rest in it.
    ///
    /// # Errors
    /// If it cannot have it.
    pub fn resize(&self, width: u32, height: u32) -> Result<()> {
        self.post("window/rect", &json!({"width": width, "height": height}))?;
        // The webview tells nobody when it has painted its new size: it is given a moment.
        let script = format!(
            "const done = arguments[0];
             const rest = () => innerWidth === {width} && innerHeight === {height}
               ? Promise.all(document.getAnimations()
                   .filter((a) => a.effect.getComputedTiming().endTime !== Infinity)
                   .map((a) => a.finished.catch(() => null)))
                   .then(() => requestAnimationFrame(() => setTimeout(done, 300)))
               : requestAnimationFrame(rest);
             rest();"
        );
        self.run_script(&script).map(drop)
    }

    /// Writes what the window shows to a PNG file.
    ///
    /// # Errors
    /// If there is no picture, or the file cannot be written.
    pub fn screenshot(&self, file: &Path) -> Result<()> {
        let picture = self.get("screenshot")?;
        let text = picture.as_str().context("no picture")?;
        std::fs::write(file, BASE64.decode(text.as_bytes())?)?;
        Ok(())
    }

    /// Tries again until it succeeds: pages change under the hand that reaches for them.
    #[track_caller]
    fn until<T>(&self, what: &str, mut attempt: impl FnMut() -> Result<T>) -> T {
        let until = Instant::now() + LIMIT;
        loop {
            match attempt() {
                Ok(done) => return done,
                Err(error) if Instant::now() >= until => panic!("not within {LIMIT:?}: {what}: {error:#}"),
                Err(_) => std::thread::sleep(AGAIN),
            }
        }
    }

    fn element(&self, selector: &str) -> Result<String> {
        let found = self.post("element", &json!({"using": "css selector", "value": selector}))?;
        found[ELEMENT].as_str().map(str::to_owned).context("no element")
    }

    fn get(&self, path: &str) -> Result<Value> {
        self.send(Method::GET, &format!("/session/{}/{path}", self.session), None)
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.send(
            Method::POST,
            &format!("/session/{}/{path}", self.session),
            Some(body),
        )
    }

    /// Asks the driver; gives the answer's `value`.
    fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let exchange = self.exchange(method, path, body);
        let (ok, answer) = self
            .runtime
            .block_on(async { tokio::time::timeout(LIMIT, exchange).await })
            .with_context(|| format!("no answer to {path}"))??;
        let mut answer: Value = serde_json::from_slice(&answer).context("the answer is no JSON")?;
        let value = answer["value"].take();
        if !ok {
            bail!("{}: {}", value["error"], value["message"]);
        }
        Ok(value)
    }

    async fn exchange(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(bool, Bytes)> {
        let stream = TcpStream::connect(&self.address).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.address)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONTENT_LENGTH, body.len())
            .body(Full::new(Bytes::from(body)))?;
        let answer = sender.send_request(request).await?;
        let ok = answer.status().is_success();
        let body = answer.into_body().collect().await?.to_bytes();
        connection.abort();
        Ok((ok, body))
    }
}

impl Drop for App {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            // The app may have been ended by the test.
            let _ = self.send(Method::DELETE, &format!("/session/{}", self.session), None);
        }
        let group = format!("-{}", self.process.id());
        let _ = Command::new("kill")
            .args(["-9", "--", &group])
            .stderr(Stdio::null())
            .status();
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|socket| socket.local_addr())
        .expect("a free port")
        .port()
}
