//! The demo behind `cargo xtask demo`: a publisher, a web server and a subscriber on this computer.
//!
//! `livepc-demo --headless` does the whole job through the command line and ends with the guest's own READY line;
//! `livepc-demo` opens the app with the sample Library, and publishes release 2 when the machine is READY for the first
//! time. Everything lies in a temporary folder that is gone afterwards, and what was started ends with it.

use std::io::Write as _;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use livepc_tests::guest::{self, wait_for};
use livepc_tests::home::{TestHome, built};
use livepc_tests::origin::Origin;
use livepc_tests::publisher::Publisher;

const BOOT: Duration = Duration::from_secs(180);
/// How long a guest that is READY may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often the demo looks whether the app is still open.
const LOOK: Duration = Duration::from_millis(500);
/// What is published, and the id that it gets.
const NAME: &str = "Sample guest";
const ID: &str = "sample-guest";
const SUMMARY: &str = "A small Debian system that boots in seconds and answers on its serial port.";
const PUBLISHER: &str = "The LivePC project";

/// The exit code of a program that was told to end.
const INTERRUPTED: i32 = 130;

#[tokio::main]
async fn main() {
    let headless = std::env::args().any(|arg| arg == "--headless");
    let work = tempfile::tempdir().expect("a folder for the demo");
    tempfile::env::override_temp_dir(work.path()).expect("nothing made a temporary folder yet");
    let demo = Arc::new(Demo::default());
    let shown = {
        let demo = demo.clone();
        tokio::task::spawn_blocking(move || {
            if headless {
                demo.by_command_line();
            } else {
                demo.in_the_app();
            }
        })
    };
    let code = tokio::select! {
        done = shown => i32::from(done.is_err()),
        () = told_to_end() => {
            complain("Ending all that was started.");
            INTERRUPTED
        }
    };
    demo.end();
    if let Err(error) = work.close() {
        complain(&format!("Not everything of the demo could be removed: {error}"));
    }
    // What an interrupted demonstration still waits for would keep the program from ending.
    std::process::exit(code)
}

/// Waits for Ctrl-C, for the terminal to be closed, or for whatever else asks it to end.
#[cfg(unix)]
async fn told_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).expect("signals can be noticed");
    let mut hangup = signal(SignalKind::hangup()).expect("signals can be noticed");
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}

/// Waits for Ctrl-C.
#[cfg(windows)]
async fn told_to_end() {
    let _ = tokio::signal::ctrl_c().await;
}

/// Says it on a terminal that may be gone.
fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

struct Demo {
    begun: Instant,
    home: TestHome,
    app: Mutex<Option<Child>>,
    published: OnceLock<(Publisher, Origin)>,
}

impl Default for Demo {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            home: TestHome::new(),
            app: Mutex::default(),
            published: OnceLock::new(),
        }
    }
}

impl Demo {
    fn published(&self) -> &(Publisher, Origin) {
        self.published.get_or_init(|| {
            say(
                self.begun,
                "publishing release 1 of the sample guest, and recording its start",
            );
            let publisher = Publisher::new(&guest::disk(1), NAME);
            publisher.describe(SUMMARY, PUBLISHER);
            let published =
                publisher.publish(&["--label", "1.0", "--record-boot", "--boot-until", "LIVEPC READY"]);
            say(
                self.begun,
                &format!(
                    "published: {} for a new subscriber, {} of them to start",
                    size(&published["bytes_new_subscriber"]),
                    size(&published["bytes_boot_ready"])
                ),
            );
            let server = Origin::start(publisher.site()).unwrap_or_else(|e| panic!("no server: {e}"));
            publisher.list_in_catalog(&format!("{}feed.xml", server.url()));
            (publisher, server)
        })
    }

    /// Ends all that was started.
    fn end(&self) {
        if let Some(mut app) = self.app().take() {
            let _ = app.kill();
            let _ = app.wait();
        }
        // In order first, so that the hypervisor ends with its runner; the machine may not be there at all.
        let _ = self.home.run(&["stop", ID, "--force"]);
        let publisher = self.published.get().map(|(publisher, _)| &publisher.home);
        for home in publisher.into_iter().chain([&self.home]) {
            home.kill_all();
        }
    }

    fn app(&self) -> MutexGuard<'_, Option<Child>> {
        self.app.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn app_runs(&self) -> bool {
        self.app()
            .as_mut()
            .is_some_and(|app| matches!(app.try_wait(), Ok(None)))
    }

    fn catalog(&self) -> String {
        format!("{}catalog.xml", self.published().1.url())
    }

    fn publish_second(&self) -> serde_json::Value {
        let (publisher, _) = self.published();
        publisher.project(&guest::disk(2), NAME);
        publisher.describe(SUMMARY, PUBLISHER);
        publisher.publish(&["--label", "2.0", "--changelog", "Newer translations and fonts."])
    }

    fn by_command_line(&self) {
        let (home, begun) = (&self.home, self.begun);
        let (_, server) = self.published();
        // An ordinary line: 50 Mbit/s.
        server.set_bytes_per_second(Some(50_000_000 / 8));
        home.done(&["source", "add", &self.catalog()]);
        let found = home.done(&["search", "sample"]);
        let feed = found["entries"][0]["feed_url"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        say(
            begun,
            &format!(
                "the Library has “{}”",
                found["entries"][0]["title"].as_str().unwrap_or("?")
            ),
        );
        home.done(&["subscribe", &feed, "--yes"]);
        say(begun, "subscribed; starting it over a line of 50 Mbit/s");
        let ready = self.start("first");
        let listed = home.listed();
        say(
            begun,
            &format!(
                "“{ready}” with {} of {} here",
                size(&listed["bytes_local"]),
                size(&listed["bytes_total"])
            ),
        );

        let second = self.publish_second();
        say(
            begun,
            &format!(
                "published release 2: {} for who has release 1",
                size(&second["bytes_from"]["1"])
            ),
        );
        home.done(&["download", ID, "--release", "1"]);
        say(begun, "release 1 is complete, while the machine runs");
        let before = server.log().sent("/packs/");
        home.done(&["update", ID]);
        let fetched = server.log().sent("/packs/") - before;
        say(
            begun,
            &format!("release 2 has arrived: {:.1} MB of packs", fetched as f64 / 1e6),
        );
        home.done(&["stop", ID]);
        let ready = self.start("second");
        say(
            begun,
            &format!("the next start uses release {}", home.listed()["release_in_use"]),
        );
        home.done(&["stop", ID]);
        println!("{ready}");
    }

    /// Starts the machine; gives the guest's READY line.
    fn start(&self, name: &str) -> String {
        let serial = self.home.path().join(format!("serial-{name}.log"));
        let file = serial.display().to_string();
        self.home
            .done(&["start", ID, "--display", "none", "--serial", &file]);
        let said = wait_for(&serial, "LIVEPC READY", BOOT);
        said.lines()
            .find(|line| line.contains("LIVEPC READY"))
            .unwrap_or_default()
            .trim()
            .to_owned()
    }

    fn in_the_app(&self) {
        self.home.done(&["source", "add", &self.catalog()]);
        let app = Command::new(built("LIVEPC_DESKTOP_BIN", "livepc-desktop"))
            .env("LIVEPC_HOME", self.home.path())
            .spawn()
            .unwrap_or_else(|e| panic!("the app does not start: {e}"));
        *self.app() = Some(app);
        say(
            self.begun,
            "the app is open: subscribe to the sample guest, then start it",
        );
        self.wait_for_ready();
        if self.app_runs() {
            let second = self.publish_second();
            say(
                self.begun,
                &format!(
                    "published release 2: {} for who has release 1",
                    size(&second["bytes_from"]["1"])
                ),
            );
            say(
                self.begun,
                "check for updates in My LivePCs; the next start uses it",
            );
        }
        while self.app_runs() {
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until the guest is READY, or the app is closed.
    #[cfg(unix)]
    fn wait_for_ready(&self) {
        let Ok(folder) = self.home.home().machine_sockets(ID) else {
            return;
        };
        let console = folder.join("console");
        while self.app_runs() {
            // The guest may be READY already, and says it only once: it is asked, again and again, since one that still
            // starts does not listen. Who stops it before it answers may start it again.
            let answer = guest::Console::try_open(&console, PATIENCE);
            if let Ok(answer) = answer.and_then(|mut console| console.try_ask("label", "LABEL")) {
                say(self.begun, &format!("the guest is READY ({answer})"));
                return;
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until the guest executes, or the app is closed: there is no console to ask it on.
    #[cfg(windows)]
    fn wait_for_ready(&self) {
        while self.app_runs() {
            let list = self.home.done(&["list"]);
            if list["livepcs"][0]["state"] == "running" {
                return;
            }
            std::thread::sleep(LOOK);
        }
    }
}

fn say(begun: Instant, text: &str) {
    println!("{:6.1} s  {text}", begun.elapsed().as_secs_f64());
}

fn size(bytes: &serde_json::Value) -> String {
    format!("{:.1} MB", bytes.as_f64().unwrap_or(0.0) / 1e6)
}
