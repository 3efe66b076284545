//! Servers that ask who one is: signing in and out, where the password is, and who gets to see it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use livepc_tests::forge::disk;
use livepc_tests::guest;
use livepc_tests::home::{Ran, TestHome};
use livepc_tests::keyring::Keyring;
use livepc_tests::lab::Lab;
use livepc_tests::nginx::Nginx;
use livepc_tests::origin::{Fault, Origin, Rule};
use livepc_tests::publisher::Publisher;
use serde_json::json;
use tempfile::TempDir;
use url::Url;

const PASSWORD: &str = "Zwei Zebras, \u{20ac} 7%";
const OTHER: &str = "another-password";

/// A LivePC on a server that only Ada may read.
struct Private {
    work: TempDir,
    _publisher: Publisher,
    server: Nginx,
    home: TestHome,
}

impl Private {
    fn new(home: TestHome) -> Self {
        let work = tempfile::tempdir().expect("a folder");
        let source = disk(work.path(), "1.raw", 3, 1);
        Self::of(&source, work, home)
    }

    fn of(source: &Path, work: TempDir, home: TestHome) -> Self {
        let publisher = Publisher::new(source, "Lab");
        publisher.publish(&[]);
        let users = work.path().join("users");
        let server = Nginx::serve_privately(&publisher.site(), &users);
        // The server's own user reads it.
        std::fs::set_permissions(work.path(), std::fs::Permissions::from_mode(0o755))
            .expect("the folder is open");
        let private = Self {
            work,
            _publisher: publisher,
            server,
            home,
        };
        private.let_in(PASSWORD);
        private
    }

    /// From now on Ada has this password.
    fn let_in(&self, password: &str) {
        std::fs::write(
            self.work.path().join("users"),
            format!("ada:{{PLAIN}}{password}\n"),
        )
        .expect("it is written");
    }

    fn feed(&self) -> String {
        self.server.url("feed.xml")
    }

    fn server(&self) -> String {
        Url::parse(&self.feed())
            .expect("a URL")
            .origin()
            .ascii_serialization()
    }

    fn login(&self, password: &str) -> Ran {
        let args = ["login", &self.feed(), "--user", "ada", "--password-stdin"];
        self.home.run_with(&args, &format!("{password}\n"))
    }

    #[track_caller]
    fn signs_in(&self, password: &str) {
        let ran = self.login(password);
        assert_eq!(ran.code, 0, "{}", ran.text);
    }
}

/// The files below a folder that have one of these texts.
fn files_with(folder: &Path, texts: &[String]) -> Vec<String> {
    let any = texts
        .iter()
        .map(|text| regex::escape(text))
        .collect::<Vec<_>>()
        .join("|");
    let any = regex::bytes::Regex::new(&any).expect("an expression");
    let (mut folders, mut found) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.is_file() && any.is_match(&std::fs::read(&path).unwrap_or_default()) {
                found.push(path.file_name().expect("a name").to_string_lossy().into_owned());
            }
        }
    }
    found
}

/// How a password may be written: as it is, in URLs, in HTTP and in JSON.
fn spellings(password: &str) -> Vec<String> {
    let mut url = Url::parse("https://a.example/").expect("a URL");
    url.set_password(Some(password)).expect("it takes one");
    let of_url = url.password().unwrap_or_default().to_owned();
    let of_http = data_encoding::BASE64.encode(format!("ada:{password}").as_bytes());
    let of_json = serde_json::to_string(password)
        .expect("JSON")
        .trim_matches('"')
        .to_owned();
    vec![password.to_owned(), of_url, of_http, of_json]
}

#[test]
fn a_private_feed_is_subscribed_to_after_signing_in() {
    let lab = Private::new(TestHome::new());
    let refused = lab.home.run(&["subscribe", &lab.feed(), "--yes"]);
    refused.refused(8, "login");
    assert!(
        refused.text.contains(&format!("livepc login {}", lab.feed())),
        "{}",
        refused.text
    );

    let wrong = lab.login("guessed");
    wrong.refused(8, "login");
    assert!(wrong.text.contains("does not accept"), "{}", wrong.text);
    assert_eq!(
        lab.home.done(&["login", "--list"])["logins"],
        json!([]),
        "what is wrong is not kept"
    );

    let file = lab.home.home().passwords();
    let logins = lab.login(PASSWORD).done();
    let expected = json!([{"server": lab.server(), "user": "ada", "file": file}]);
    assert_eq!(logins["logins"], expected, "there is no keyring on this bus");
    lab.home.done(&["subscribe", &lab.feed(), "--yes"]);
    lab.home.done(&["download", "lab"]);

    assert_eq!(
        file.metadata().expect("the file").permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(
        files_with(lab.home.path(), &spellings(PASSWORD)),
        ["passwords.json"],
        "and nowhere else"
    );
    lab.home.done(&["agent", "stop"]);
    assert_eq!(
        lab.home.done(&["update", "lab", "--check"])["updates"][0]["problem"],
        json!(null),
        "another agent knows it"
    );

    assert_eq!(lab.home.done(&["logout", &lab.server()])["logins"], json!([]));
    assert!(!file.exists(), "nobody remembers it");
    lab.home.run(&["update", "lab", "--check"]).refused(8, "login");
    let problem = || lab.home.done(&["show", "lab"])["livepc"]["problem"].clone();
    assert_eq!(problem()["sign_in"], lab.feed().as_str());
    lab.home.run(&["logout", &lab.server()]).refused(3, "not-found");
    lab.signs_in(PASSWORD);
    assert_eq!(problem(), json!(null), "it is mended at once");
}

#[test]
fn a_download_that_failed_for_want_of_a_password_goes_on_after_signing_in() {
    let lab = Private::new(TestHome::new());
    lab.signs_in(PASSWORD);
    lab.home.done(&["subscribe", &lab.feed(), "--yes"]);
    lab.let_in(OTHER);
    let failed = lab.home.run(&["download", "lab"]);
    failed.refused(8, "login");
    lab.signs_in(OTHER);
    lab.home.until("complete", |livepc| {
        livepc["bytes_local"] == livepc["bytes_total"]
    });
}

#[test]
fn a_password_in_an_address_is_taken_out_of_it() {
    let lab = Private::new(TestHome::new());
    let mut url = Url::parse(&lab.feed()).expect("a URL");
    url.set_username("ada").expect("it takes one");
    url.set_password(Some(PASSWORD)).expect("it takes one");
    let subscribed = lab.home.done(&["subscribe", url.as_str(), "--yes"]);
    assert_eq!(subscribed["feed_url"], lab.feed().as_str());
    lab.home.done(&["download", "lab"]);
    assert_eq!(
        files_with(lab.home.path(), &spellings(PASSWORD)),
        ["passwords.json"]
    );
    let sources = lab.home.done(&["source", "add", url.as_str()]);
    assert_eq!(sources["sources"][0]["url"], lab.feed().as_str());
}

/// The publisher changes the password while a machine runs: it waits, says for what, and goes on.
#[test]
fn a_machine_goes_on_after_signing_in() {
    let work = tempfile::tempdir().expect("a folder");
    let lab = Private::of(&guest::disk(1), work, TestHome::new());
    lab.signs_in(PASSWORD);
    lab.home.done(&["subscribe", &lab.feed(), "--yes"]);
    let (serial, mut console) = guest::start(&lab.home, "lab", "serial.log", &["--no-fill"]);
    lab.let_in(OTHER);
    let file = guest::unread_files(1).swap_remove(0);
    console.tell(&format!("sha256 {}", file["path"].as_str().expect("a path")));
    lab.home.until("stalled", |listed| listed["state"] == "stalled");
    let problem = lab.home.done(&["show", "lab"])["livepc"]["problem"].clone();
    assert_eq!(problem["code"], "login", "{problem}");
    let at = problem["sign_in"].as_str().expect("where to sign in");
    assert!(at.starts_with(&lab.server()), "{problem}");
    lab.signs_in(OTHER);
    console.has_read(&file);
    lab.home.until("running", |listed| listed["state"] == "running");
    let said = std::fs::read_to_string(serial).expect("the serial log");
    assert!(!said.contains("I/O error"), "the guest saw none: {said}");
    lab.home.done(&["stop", "lab"]);
}

#[test]
fn a_private_feed_goes_into_a_catalog_without_its_password() {
    let lab = Private::new(TestHome::new());
    let catalog = lab.work.path().join("catalog.xml");
    let file = catalog.to_str().expect("UTF-8");
    lab.home.done(&["catalog", "init", file, "--title", "Labs"]);
    let add = |feed: &str| lab.home.run(&["catalog", "add", file, "--feed", feed]);
    add(&lab.feed()).refused(8, "login");
    let mut url = Url::parse(&lab.feed()).expect("a URL");
    url.set_username("ada").expect("it takes one");
    url.set_password(Some(PASSWORD)).expect("it takes one");
    let added = add(url.as_str());
    assert_eq!(added.code, 0, "{}", added.text);
    let written = std::fs::read_to_string(&catalog).expect("the catalog");
    assert!(written.contains(&lab.feed()), "{written}");
    assert!(
        spellings(PASSWORD).iter().all(|text| !written.contains(text)),
        "{written}"
    );
}

#[test]
fn a_password_goes_to_no_other_server() {
    let lab = Lab::subscribed(3);
    let mirror = Origin::start(lab.publisher.site()).expect("the mirror starts");
    let at = Url::parse(&mirror.url()).expect("a URL");
    lab.relist(|head| head.mirrors.push(at));
    let asks = Fault::Asks {
        scheme: "Basic realm=\"labs\"",
    };
    lab.server.fail(Rule::always("feed.xml", asks));
    let args = ["login", &lab.feed(), "--user", "ada", "--password-stdin"];
    let signed_in = lab.home.run_with(&args, "secret");
    assert_eq!(signed_in.code, 0, "{}", signed_in.text);
    lab.server.fail(Rule::always(
        "packs/",
        Fault::Status {
            code: 503,
            retry_after: None,
        },
    ));
    lab.home.done(&["download", "lab"]);
    let sent = |server: &Origin, path: &str| -> Vec<bool> {
        let asked = server
            .log()
            .entries()
            .into_iter()
            .filter(|entry| entry.path.contains(path));
        asked
            .map(|entry| !entry.header("authorization").is_empty())
            .collect()
    };
    let there = sent(&lab.server, "packs/");
    assert!(
        !there.is_empty() && there.iter().all(|with| *with),
        "the server that it is for gets it: {there:?}"
    );
    let elsewhere = sent(&mirror, "");
    assert!(
        !elsewhere.is_empty() && elsewhere.iter().all(|with| !*with),
        "no other one does: {elsewhere:?}"
    );
}

#[test]
fn a_keyring_keeps_the_password() {
    let keyring = Keyring::new();
    let mut home = TestHome::new();
    home.set_variable("DBUS_SESSION_BUS_ADDRESS", keyring.address());
    let lab = Private::new(home);
    let logins = lab.login(PASSWORD).done();
    assert_eq!(
        logins["logins"],
        json!([{"server": lab.server(), "user": "ada", "file": null}])
    );
    lab.home.done(&["agent", "stop"]);
    lab.home.done(&["subscribe", &lab.feed(), "--yes"]);
    lab.home.done(&["download", "lab"]);
    assert_eq!(
        files_with(lab.home.path(), &spellings(PASSWORD)),
        Vec::<String>::new()
    );

    // The agent that comes next finds no keyring: what is here works, and what to do is said.
    lab.home.done(&["agent", "stop"]);
    drop(keyring);
    lab.home.run(&["update", "lab", "--check"]).refused(8, "login");
    lab.signs_in(PASSWORD);
    assert!(
        lab.home.home().passwords().exists(),
        "where there is none, a file has it"
    );
    lab.home.done(&["update", "lab", "--check"]);
}

#[test]
fn passwords_never_travel_in_the_clear() {
    let home = TestHome::new();
    for (url, user, why) in [
        ("http://192.0.2.1/feed.xml", "ada", "could be read on its way"),
        (
            "http://ada:pw@192.0.2.1/feed.xml",
            "ada",
            "could be read on its way",
        ),
        ("file:///srv/feed.xml", "ada", "ask for no password"),
        ("https://192.0.2.1/feed.xml", "a:da", "cannot be sent"),
        ("https://192.0.2.1/feed.xml", "", "cannot be sent"),
    ] {
        let ran = home.run_with(&["login", url, "--user", user, "--password-stdin"], "pw\n");
        ran.refused(2, "usage");
        assert!(ran.text.contains(why), "{url}: {}", ran.text);
    }
    let ran = home.run(&["subscribe", "http://ada:pw@192.0.2.1/feed.xml", "--yes"]);
    ran.refused(2, "usage");
    assert!(!ran.text.contains(":pw"), "{}", ran.text);
}
