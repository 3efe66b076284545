//! The real app on a screen nobody looks at: its window through WebDriver, its tray over D-Bus, a real guest.
//!
//! `LIVEPC_SHOTS` names a folder that gets pictures of the window.
#![cfg(target_os = "linux")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use livepc_protocol::Home;
use livepc_tests::display::Display;
use livepc_tests::forge::disk;
use livepc_tests::guest::{self, Console};
use livepc_tests::home::{TestHome, built, kill};
use livepc_tests::nginx::Nginx;
use livepc_tests::older_agent::{self, OlderAgent};
use livepc_tests::origin::Origin;
use livepc_tests::publisher::Publisher;
use livepc_tests::tray::{Tray, find};
use livepc_tests::webdriver::{App, named};
use serde_json::json;

const TITLE: &str = "Sample guest";
const ID: &str = "sample-guest";
/// The title of the app's window.
const WINDOW: &str = "LivePC";
/// Bytes per second of a slow line, 20 Mbit/s: slower computers too have the machine running before its disk is here.
const LINE: u64 = 20_000_000 / 8;
/// How long a machine has to start or to stop.
const MACHINE: Duration = Duration::from_secs(180);

/// A publisher with one LivePC in a catalog, and a subscriber's desktop.
struct Scene {
    publisher: Publisher,
    origin: Origin,
    display: Display,
    home: TestHome,
}

impl Scene {
    fn new() -> Self {
        Self::with(|_| ())
    }

    /// A scene whose publisher has said `more` about the LivePC.
    fn with(more: impl FnOnce(&Publisher)) -> Self {
        let publisher = Publisher::new(&guest::disk(1), TITLE);
        more(&publisher);
        publisher.describe("A small Debian system.", "The LivePC project");
        publisher.publish(&["--label", "1.0", "--record-boot", "--boot-until", "LIVEPC READY"]);
        let origin = Origin::start(publisher.site()).expect("a server");
        publisher.list_in_catalog(&format!("{}feed.xml", origin.url()));
        // What the publisher's own program asked for.
        origin.log().clear();
        Self {
            publisher,
            origin,
            display: Display::new(),
            home: TestHome::new(),
        }
    }

    /// Gives the app the catalog, as a person does.
    fn add_source(&self, app: &App) {
        app.click(&named("add-source"));
        app.fill(&named("source-url"), &format!("{}catalog.xml", self.origin.url()));
        app.click(&named("source-confirm"));
        app.wait_for(&named("card"));
    }

    /// Waits until the bar of the only job has moved twice.
    #[track_caller]
    fn wait_for_progress(&self, app: &App) {
        let bar = format!("{} [role=\"progressbar\"]", named("job-row"));
        let mut seen = Vec::new();
        let until = Instant::now() + MACHINE;
        while seen.len() < 3 {
            assert!(Instant::now() < until, "the bar stands still at {seen:?}");
            let now: f64 = app.attribute(&bar, "aria-valuenow").parse().expect("a number");
            if seen.last().is_none_or(|last| now > *last) {
                seen.push(now);
            }
        }
    }

    /// Closes the window, which goes into the tray and leaves the machine running, and opens the app once more, which
    /// shows that window again.
    #[track_caller]
    fn close_and_open_again(&self) {
        self.display.close(WINDOW).expect("the window is there");
        wait_for_window(&self.display, WINDOW, false);
        assert_eq!(self.home.listed()["state"], "running", "machines go on");
        let mut again = Command::new(built("LIVEPC_DESKTOP_BIN", "livepc-desktop"));
        self.display.enter(&mut again);
        let ended = again.env("LIVEPC_HOME", self.home.path()).status();
        assert!(
            ended.expect("it starts").success(),
            "a second app leaves all to the first"
        );
        wait_for_window(&self.display, WINDOW, true);
    }

    /// Waits until the only subscription is in this state.
    #[track_caller]
    fn wait_for_state(&self, state: &str) {
        let until = Instant::now() + MACHINE;
        loop {
            let listed = self.home.listed();
            if listed["state"] == state {
                return;
            }
            assert_ne!(listed["state"], "failed", "{listed}");
            assert!(Instant::now() < until, "not {state} within {MACHINE:?}: {listed}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

#[track_caller]
fn wait_for_window(display: &Display, title: &str, shown: bool) {
    let until = Instant::now() + MACHINE;
    while display.shows(title) != shown {
        assert!(
            Instant::now() < until,
            "the window “{title}” does not change to {shown}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The state button, in a state.
fn button(state: &str) -> String {
    format!("{}[data-state=\"{state}\"]", named("state-button"))
}

/// Pictures of the window in both sizes, where they are wanted.
fn picture(app: &App, name: &str) {
    let Some(folder) = std::env::var_os("LIVEPC_SHOTS").map(PathBuf::from) else {
        return;
    };
    for (width, height) in [(900, 600), (1280, 800)] {
        let file = folder.join(format!("{name}-{width}x{height}.png"));
        app.resize(width, height).expect("the window has that size");
        app.screenshot(&file).expect("a picture");
    }
}

#[test]
fn a_person_finds_subscribes_starts_stops_and_quits() {
    let scene = Scene::new();
    let tray = Tray::on(&scene.display);
    let app = App::open(&scene.display, &scene.home);
    let icon = tray.icon();
    let menu = tray.menu(&icon).expect("a menu");
    assert!(
        find(&menu, &["Nothing is running"]).is_some_and(|status| !status.enabled),
        "the first line tells what runs, and is no command: {menu:#?}"
    );

    scene.add_source(&app);
    app.fill(&named("search"), "no such thing");
    app.wait_for_none(&named("card"));
    app.fill(&named("search"), "sample");
    app.wait_for(&named("card"));
    picture(&app, "light-library");
    assert!(
        scene.origin.log().of("/keys.json").is_empty(),
        "a publisher is not asked before somebody wants to subscribe"
    );

    app.click(&button("subscribe"));
    let shown = app.text(&named("fingerprint"));
    let own = scene.publisher.home.done(&["key", "show"])["fingerprint"].clone();
    let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
    assert_eq!(
        letters(&shown).to_lowercase(),
        letters(own.as_str().unwrap_or_default()).to_lowercase(),
        "a person compares it with what the publisher tells"
    );
    picture(&app, "light-confirmation");
    assert_eq!(
        scene.origin.log().sent("/packs/"),
        0,
        "nothing is fetched before the yes"
    );
    // A slow line: the download can be watched, and the machine starts before it is over.
    scene.origin.set_bytes_per_second(Some(LINE));
    app.click(&named("confirm-subscribe"));
    app.click(&named("nav-activity"));
    app.wait_for(&named("job-row"));
    scene.wait_for_progress(&app);
    picture(&app, "light-activity");

    app.click(&named("nav-machines"));
    app.wait_for(&format!("{}[data-id=\"{ID}\"]", named("machine-row")));
    app.click(&button("start"));
    scene.wait_for_state("running");
    let sockets = scene.home.home().machine_sockets(ID).expect("the folder");
    let mut console = Console::open(&sockets.join("console"));
    let _ = console.hear("LIVEPC READY");
    let label = console.ask("label", "LABEL");
    assert!(label.starts_with("LABEL"), "the guest itself answers: {label}");
    app.wait_for(&button("running"));
    picture(&app, "light-running");
    let listed = scene.home.listed();
    assert_eq!(
        listed["complete"], false,
        "the machine runs while its disk arrives: {listed}"
    );
    scene.close_and_open_again();

    tray.choose(&icon, &[TITLE, "Stop"]);
    scene.wait_for_state("stopped");
    tray.wait_for_menu(&icon, "the machine can be started again", |menu| {
        find(menu, &[&format!("Start {TITLE}")]).is_some()
    });
    app.wait_for(&button("start"));
    tray.choose(&icon, &["Quit"]);
    tray.wait_for_end(&icon);
}

#[test]
fn without_the_origin_the_library_stays() {
    let mut scene = Scene::new();
    scene.display.set_dark(true);
    let app = App::open(&scene.display, &scene.home);
    scene.add_source(&app);
    picture(&app, "dark-library");

    scene.origin.stop();
    app.click(&button("subscribe"));
    app.wait_for(&named("error"));
    app.wait_for(&named("copy-details"));
    picture(&app, "dark-unreachable");
    drop(app);

    // A desktop of its own: on the same one, an app that is still ending would be asked to show its window.
    scene.display = Display::new();
    scene.display.set_dark(true);
    let app = App::open(&scene.display, &scene.home);
    app.wait_for(&named("card"));
    for screen in ["machines", "activity", "settings", "library"] {
        app.click(&named(&format!("nav-{screen}")));
        app.wait_for(&format!(
            "{}[aria-current=\"page\"]",
            named(&format!("nav-{screen}"))
        ));
        picture(&app, &format!("dark-offline-{screen}"));
    }
    app.wait_for(&named("card"));
}

#[test]
fn a_person_makes_a_disk_larger_and_exports_it() {
    let scene = Scene::with(|publisher| publisher.own_disk("user", "64 MiB", ""));
    let feed = format!("{}feed.xml", scene.origin.url());
    scene.home.done(&["subscribe", &feed, "--yes"]);
    let app = App::open(&scene.display, &scene.home);
    app.click(&named("nav-machines"));
    let row = format!("{}[data-id=\"{ID}\"]", named("machine-row"));
    let choose = |item: &str| {
        app.click(&format!("{row} [aria-haspopup=menu]"));
        app.click(&format!("{row} [data-item=\"{item}\"]"));
    };
    choose("Make a disk larger…");
    app.fill(&named("grow-size"), "0.1");
    app.click(&named("confirm-grow"));
    app.wait_for_none(&named("confirm-grow"));
    let own = scene.home.home().machine(ID).join("user.raw");
    let size = own.metadata().expect("the first start would have made it").len();
    assert_eq!(size, 100_000_256, "whole sectors of what was asked for");
    std::fs::write(&own, vec![7; 1 << 20]).expect("a file of ours on it");

    choose("Start with a CD…");
    app.click(&named("cd-image-choose"));
    wait_for_window(&scene.display, "Choose a CD", true);
    scene.display.close("Choose a CD").expect("the system's dialog");
    wait_for_window(&scene.display, "Choose a CD", false);
    app.click("dialog header button");
    app.wait_for_none(&named("confirm-cd"));

    let out = tempfile::tempdir().expect("a folder");
    for (source, format, name) in [("own-user", "raw", "own.raw"), ("published", "qcow2", "1.qcow2")] {
        choose("Export…");
        app.click(&format!("input[name=what][value={source}]"));
        app.click(&format!("input[name=format][value={format}]"));
        picture(&app, &format!("light-export-{source}"));
        let place = out.path().join(name);
        app.fill(&named("export-place"), place.to_str().expect("UTF-8"));
        app.click(&named("confirm-export"));
        app.wait_for_none(&named("confirm-export"));
        let until = Instant::now() + MACHINE;
        // A file appears when it is whole.
        while !place.exists() {
            assert!(Instant::now() < until, "no {name}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    app.click(&named("nav-activity"));
    app.wait_for(&format!("{}[data-status=done]", named("job-row")));
    picture(&app, "light-export-done");
    let exported = std::fs::read(out.path().join("own.raw")).expect("the export");
    assert!(
        exported == std::fs::read(&own).expect("the disk"),
        "the disk is what it was"
    );
    let source = guest::disk(1);
    let compared = Command::new("qemu-img")
        .args(["compare", "-f", "raw", "-F", "qcow2"])
        .args([&source, &out.path().join("1.qcow2")])
        .status();
    assert!(compared.expect("qemu-img runs").success(), "what was published");
}

#[test]
fn a_person_signs_in_to_a_server_and_out_again() {
    let work = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(work.path(), std::fs::Permissions::from_mode(0o755))
        .expect("the server reads it");
    let users = work.path().join("users");
    std::fs::write(&users, "ada:{PLAIN}lovelace\n").expect("it is written");
    let publisher = Publisher::new(&disk(work.path(), "1.raw", 1, 1), TITLE);
    publisher.describe("A small disk.", "The LivePC project");
    publisher.publish(&[]);
    let server = Nginx::serve_privately(&publisher.site(), &users);
    let (display, home) = (Display::new(), TestHome::new());
    let app = App::open(&display, &home);
    app.click(&named("add-source"));
    app.fill(&named("source-url"), &server.url("feed.xml"));
    app.click(&named("source-confirm"));
    app.click(&named("sign-in"));
    let sign_in = |password: &str| {
        app.fill(&named("sign-in-user"), "ada");
        app.fill(&named("sign-in-password"), password);
        app.click(&named("sign-in-confirm"));
    };
    sign_in("byron");
    app.wait_for("[data-testid=error][data-code=login] + *, form + .problem [data-code=login]");
    assert_eq!(home.done(&["login", "--list"])["logins"], json!([]));
    sign_in("lovelace");
    app.wait_for(&named("card"));
    app.wait_for_none(&named("source-url"));
    assert_eq!(home.done(&["login", "--list"])["logins"][0]["user"], "ada");
    picture(&app, "signed-in");
    app.click(&named("nav-settings"));
    app.click("[aria-label^='Sign out of']");
    app.wait_for_none("[aria-label^='Sign out of']");
    assert_eq!(home.done(&["login", "--list"])["logins"], json!([]));
}

#[test]
fn a_machine_outlives_an_app_that_is_killed() {
    let scene = Scene::new();
    let feed = format!("{}feed.xml", scene.origin.url());
    // Its agent serves the app too, though it knows no desktop: the app's machines are shown where the app is.
    scene.home.done(&["subscribe", &feed, "--yes"]);
    let app = App::open(&scene.display, &scene.home);
    app.click(&named("nav-machines"));
    app.click(&button("start"));
    scene.wait_for_state("running");
    let sockets = scene.home.home().machine_sockets(ID).expect("the folder");
    let mut console = Console::open(&sockets.join("console"));
    let _ = console.hear("LIVEPC READY");
    app.wait_for(&button("running"));
    let apps = scene.home.apps();
    assert_eq!(apps.len(), 1, "one app");
    kill(apps[0]);
    drop(app);
    let label = console.ask("label", "LABEL");
    assert!(label.starts_with("LABEL"), "the guest runs on: {label}");

    // The machine's window stays where it is, whichever desktop the app is on.
    let elsewhere = Display::new();
    let app = App::open(&elsewhere, &scene.home);
    app.click(&named("nav-machines"));
    app.wait_for(&button("running"));
    scene.home.done(&["stop", ID]);
    app.wait_for(&button("start"));
}

/// An icon that nothing shows could not bring the window back.
#[test]
fn without_a_tray_the_closed_window_ends_the_app() {
    let (display, home) = (Display::new(), TestHome::new());
    let mut app = Command::new(built("LIVEPC_DESKTOP_BIN", "livepc-desktop"));
    display.enter(&mut app);
    let mut app = app.env("LIVEPC_HOME", home.path()).spawn().expect("it starts");
    wait_for_window(&display, WINDOW, true);
    display.close(WINDOW).expect("the window is there");
    let until = Instant::now() + MACHINE;
    let ended = loop {
        if let Some(ended) = app.try_wait().expect("the app") {
            break ended;
        }
        if Instant::now() > until {
            let _ = app.kill();
            panic!("the app has no window, and goes on");
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(ended.success(), "{ended}");
}

/// The line about an older agent goes by itself: the app does not keep it from ending.
#[test]
fn an_older_agent_is_told_until_a_newer_one_takes_over() {
    let (display, home) = (Display::new(), TestHome::new());
    let older = OlderAgent::serve(&home.home());
    let app = App::open(&display, &home);
    let told = app.text(&named("older-agent"));
    assert!(told.contains(older_agent::VERSION), "{told}");
    picture(&app, "light-older-agent");
    let until = Instant::now() + MACHINE;
    while older.guests() > 0 {
        assert!(Instant::now() < until, "the app keeps it from ending: {older:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(older);
    app.wait_for_none(&named("older-agent"));
    assert!(home.has_agent(), "a newer one was started in its place");
}

/// Who only has the app must learn of it too, also if the app was open at that time; and nobody is told twice.
#[test]
fn a_state_that_was_made_again_is_told_until_somebody_has_read_it() {
    let (display, home) = (Display::new(), TestHome::new());
    let app = App::open(&display, &home);
    app.wait_for(&named("add-source"));
    assert_eq!(app.count(&named("state-notice")).expect("a number"), 0);
    let notice = home.path().join(Home::NOTICE);

    let agents = home.processes("agent");
    assert_eq!(agents.len(), 1, "one agent");
    // So that it does not write meanwhile what is damaged here.
    let stopped = Command::new("kill")
        .args(["-STOP", &agents[0].to_string()])
        .status();
    assert!(stopped.expect("kill runs").success());
    let database = home.home().database();
    for file in [database.with_extension("db-wal"), database] {
        std::fs::write(file, "no database".repeat(1000)).expect("it is damaged");
    }
    kill(agents[0]);
    app.wait_for(&named("state-notice"));
    picture(&app, "light-state-notice");
    // A driver passes over text that is cut off after some lines.
    let told =
        app.run_script("arguments[0](document.querySelector('[data-testid=state-notice]').textContent)");
    let told = told.expect("its text").to_string();
    assert!(
        told.contains("state.db") && told.contains("was damaged"),
        "{told}"
    );
    assert!(notice.exists(), "until it was read");
    app.click(&format!("{} [aria-label=\"Dismiss\"]", named("state-notice")));
    app.wait_for_none(&named("state-notice"));
    assert!(!notice.exists(), "the command line does not tell it again");
}

#[test]
fn the_page_runs_nothing_that_was_not_built_into_it() {
    let (display, home) = (Display::new(), TestHome::new());
    let app = App::open(&display, &home);
    app.wait_for(&named("add-source"));
    // The browser itself tells which policy an inline script is refused by.
    let refused = app.run_script(
        "const done = arguments[0];
         addEventListener('securitypolicyviolation', (e) => done([e.originalPolicy, window.broken === true]), { once: true });
         const script = document.createElement('script');
         script.textContent = 'window.broken = true';
         document.body.append(script);",
    );
    let refused = refused.expect("an inline script is refused");
    let policy = refused[0].as_str().expect("the policy");
    assert!(
        policy.contains("default-src 'self'"),
        "the app's own policy applies: {policy}"
    );
    assert!(!policy.contains("unsafe-"), "nothing unsafe is allowed: {policy}");
    assert_eq!(refused[1], false, "the script must not have run");
}
