//! The demo behind `cargo xtask demo`: a publisher, a web server and a subscriber on this computer.
//!
//! `livepc-demo --headless` does the whole job through the command line and ends with the guest's own READY line;
//! `livepc-demo` opens the app with the sample Library, and publishes release 2 when the machine is READY for the first
//! time. Everything lies in a temporary folder that is gone afterwards, and what was started ends with it.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use livepc_tests::guest::{self, wait_for};
use livepc_tests::home::{TestHome, built};
use livepc_tests::origin::Origin;
use livepc_tests::publisher::Publisher;

const BOOT: Duration = Duration::from_secs(180);

fn main() {
    let headless = std::env::args().any(|arg| arg == "--headless");
    let demo = Demo::prepare();
    if headless {
        demo.by_command_line();
    } else {
        demo.in_the_app();
    }
}

struct Demo {
    begun: Instant,
    publisher: Publisher,
    server: Origin,
    home: TestHome,
}

impl Demo {
    fn prepare() -> Self {
        let begun = Instant::now();
        say(
            begun,
            "publishing release 1 of the sample guest, and recording its start",
        );
        let publisher = Publisher::new(&guest::disk(1), "Sample guest");
        publisher.describe(
            "A small Debian system that boots in seconds and answers on its serial port.",
            "The LivePC project",
        );
        let published =
            publisher.publish(&["--label", "1.0", "--record-boot", "--boot-until", "LIVEPC READY"]);
        say(
            begun,
            &format!(
                "published: {} for a new subscriber, {} of them to start",
                size(&published["bytes_new_subscriber"]),
                size(&published["bytes_boot_ready"])
            ),
        );
        let server = Origin::start(publisher.site()).unwrap_or_else(|e| panic!("no server: {e}"));
        publisher.list_in_catalog(&format!("{}feed.xml", server.url()));
        Self {
            begun,
            publisher,
            server,
            home: TestHome::new(),
        }
    }

    fn catalog(&self) -> String {
        format!("{}catalog.xml", self.server.url())
    }

    fn publish_second(&self) -> serde_json::Value {
        self.publisher.project(&guest::disk(2), "Sample guest");
        self.publisher.describe(
            "A small Debian system that boots in seconds and answers on its serial port.",
            "The LivePC project",
        );
        self.publisher
            .publish(&["--label", "2.0", "--changelog", "Newer translations and fonts."])
    }

    fn by_command_line(&self) {
        let (home, begun) = (&self.home, self.begun);
        // An ordinary line: 50 Mbit/s.
        self.server.set_bytes_per_second(Some(50_000_000 / 8));
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
        home.done(&["download", "sample-guest", "--release", "1"]);
        say(begun, "release 1 is complete, while the machine runs");
        let before = self.server.log().sent("/packs/");
        home.done(&["update", "sample-guest"]);
        let fetched = self.server.log().sent("/packs/") - before;
        say(
            begun,
            &format!("release 2 has arrived: {:.1} MB of packs", fetched as f64 / 1e6),
        );
        home.done(&["stop", "sample-guest"]);
        let ready = self.start("second");
        say(
            begun,
            &format!("the next start uses release {}", home.listed()["release_in_use"]),
        );
        home.done(&["stop", "sample-guest"]);
        println!("{ready}");
    }

    /// Starts the machine; gives the guest's READY line.
    fn start(&self, name: &str) -> String {
        let serial = self.home.path().join(format!("serial-{name}.log"));
        let file = serial.display().to_string();
        self.home
            .done(&["start", "sample-guest", "--display", "none", "--serial", &file]);
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
        let mut app = App(app);
        say(
            self.begun,
            "the app is open: subscribe to the sample guest, then start it",
        );
        self.wait_for_ready(&mut app);
        if app.runs() {
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
        let _ = app.0.wait();
    }

    /// Waits until the guest is READY, or the app is closed.
    #[cfg(unix)]
    fn wait_for_ready(&self, app: &mut App) {
        let Ok(folder) = self.home.home().machine_sockets("sample-guest") else {
            return;
        };
        let console = folder.join("console");
        while app.runs() {
            if std::os::unix::net::UnixStream::connect(&console).is_ok() {
                // The guest may be READY already, and says it only once: it is asked.
                let answer = guest::Console::open(&console).ask("label", "LABEL");
                say(self.begun, &format!("the guest is READY ({answer})"));
                return;
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// Waits until the guest executes, or the app is closed: there is no console to ask it on.
    #[cfg(windows)]
    fn wait_for_ready(&self, app: &mut App) {
        while app.runs() {
            let list = self.home.done(&["list"]);
            if list["livepcs"][0]["state"] == "running" {
                return;
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}

/// The app; it is closed when the demo ends.
struct App(Child);

impl App {
    fn runs(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn say(begun: Instant, text: &str) {
    println!("{:6.1} s  {text}", begun.elapsed().as_secs_f64());
}

fn size(bytes: &serde_json::Value) -> String {
    format!("{:.1} MB", bytes.as_f64().unwrap_or(0.0) / 1e6)
}
