//! What every verb prints with `--json` is what `JSON.md` of the command line says.
//!
//! The examples there are the outputs of this scenario, with what differs from run to run replaced. After a change that
//! is meant, `LIVEPC_WRITE_DOCS=1` puts the new outputs there.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use livepc_tests::forge::disk;
use livepc_tests::home::TestHome;
use livepc_tests::nginx::Nginx;
use livepc_tests::publisher::Publisher;
use serde_json::{Value, json};

/// The document, and what the verbs have said so far.
struct Document {
    file: PathBuf,
    text: String,
    /// What differs from run to run, and what stands for it.
    names: Vec<(String, String)>,
    wrong: Vec<String>,
}

impl Document {
    fn open() -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src-tauri/crates/cli/JSON.md");
        Self {
            text: std::fs::read_to_string(&file).expect("JSON.md"),
            file,
            names: Vec::new(),
            wrong: Vec::new(),
        }
    }

    /// From now on `actual` is shown as `shown`.
    fn name(&mut self, actual: impl Into<String>, shown: &str) {
        self.names.push((actual.into(), shown.to_owned()));
    }

    /// Under the heading for `command`, the first block must be `said`.
    fn check(&mut self, command: &str, said: &Value) {
        let shown = format!("{:#}\n", self.settled("", said));
        let heading = format!("`{command}`\n");
        let Some(place) = self.text.find(&heading) else {
            self.wrong.push(format!(
                "there is no heading for `{command}`, which says\n{shown}"
            ));
            return;
        };
        let start = self.text[place..].find("```json\n").expect("a block") + place + "```json\n".len();
        let end = self.text[start..].find("```\n").expect("its end") + start;
        if self.text[start..end] != shown {
            self.wrong.push(format!("`{command}` says\n{shown}"));
            self.text.replace_range(start..end, &shown);
        }
    }

    /// A value without what differs from run to run.
    fn settled(&self, key: &str, value: &Value) -> Value {
        match value {
            Value::Object(fields) => fields
                .iter()
                .map(|(key, value)| (key.clone(), self.settled(key, value)))
                .collect(),
            Value::Array(values) => values.iter().map(|value| self.settled(key, value)).collect(),
            Value::Null => Value::Null,
            _ => match key {
                "publisher_key" | "root_key" | "signing_key" => json!("RWQ…"),
                "fingerprint" => json!("0011 2233 4455 6677 8899 aabb ccdd eeff"),
                "livepc" if value.is_string() => json!("00112233445566778899aabbccddeeff"),
                "created" | "checked" | "last_used" | "started" | "ended" => json!("2026-11-22T10:00:00Z"),
                "expires" => json!("2027-02-20T10:00:00Z"),
                "free" => json!(100_000_000_000_u64),
                "bytes_per_second" | "machine_bytes" | "changes_bytes" => json!(0),
                // Blocks on the disk depend on its file system.
                "store_bytes_private" if value != 0 => json!(5_000_000),
                // Times are written as short as they can be.
                "bytes_written" => json!(2_107_200),
                _ => match value.as_str() {
                    Some(text) => json!(self.names.iter().fold(text.to_owned(), |text, (actual, shown)| {
                        text.replace(actual, shown)
                    })),
                    None => value.clone(),
                },
            },
        }
    }

    fn finish(self) {
        if std::env::var_os("LIVEPC_WRITE_DOCS").is_some() {
            std::fs::write(&self.file, &self.text).expect("JSON.md is written");
        }
        assert!(
            self.wrong.is_empty(),
            "JSON.md is not what the program does; LIVEPC_WRITE_DOCS=1 mends it: {}",
            self.wrong.join("\n")
        );
    }
}

#[test]
fn json_is_what_is_documented() {
    let mut document = Document::open();
    let work = tempfile::tempdir().expect("a folder");
    let source = disk(work.path(), "lab.raw", 2, 1);
    let publisher = Publisher::new(&source, "Net Lab");
    document.name(
        publisher.home.path().display().to_string(),
        "/home/ada/.local/share/livepc",
    );
    document.name(publisher.project_folder().display().to_string(), "net-lab");
    document.check("livepc key show", &publisher.home.done(&["key", "show"]));
    let again = work.path().join("net-lab").display().to_string();
    document.name(again.clone(), "net-lab");
    let init = [
        "project",
        "init",
        source.to_str().expect("UTF-8"),
        "--name",
        "Net Lab",
        "--dir",
        &again,
    ];
    document.check(
        "livepc project init lab.raw --name \"Net Lab\" --dir net-lab",
        &publisher.home.done(&init),
    );
    publisher.describe("Three routers and a firewall.", "Ada");
    document.check(
        "livepc publish net-lab --to site --label 1.0",
        &publisher.publish(&["--label", "1.0"]),
    );
    let server = Nginx::serve(&publisher.site());
    let feed = server.url("feed.xml");
    document.name(server.url(""), "https://example.org/net-lab/");
    publisher.list_in_catalog(&feed);
    let catalog = publisher.site().join("catalog.xml").display().to_string();
    document.check(
        "livepc catalog list catalog.xml",
        &publisher.home.done(&["catalog", "list", &catalog]),
    );

    let home = TestHome::new();
    document.name(home.path().display().to_string(), "/home/bob/.local/share/livepc");
    let catalog = server.url("catalog.xml");
    document.check("livepc source add URL", &home.done(&["source", "add", &catalog]));
    document.check("livepc search lab", &home.done(&["search", "lab"]));
    document.check(
        "livepc subscribe FEED_URL --yes",
        &home.done(&["subscribe", &feed, "--yes"]),
    );
    let users = work.path().join("users");
    std::fs::write(&users, "bob:{PLAIN}secret\n").expect("it is written");
    std::fs::set_permissions(work.path(), Permissions::from_mode(0o755)).expect("the server reads it");
    let private = Nginx::serve_privately(&publisher.site(), &users);
    document.name(
        private.url("").trim_end_matches('/').to_owned(),
        "https://example.org",
    );
    let feed = private.url("feed.xml");
    let login = ["login", &feed, "--user", "bob", "--password-stdin"];
    document.check(
        "livepc login FEED_URL --user bob --password-stdin",
        &home.run_with(&login, "secret\n").done(),
    );
    document.check(
        "livepc logout https://example.org",
        &home.done(&["logout", &feed]),
    );
    document.check("livepc list", &home.done(&["list"]));
    let downloaded = home.run(&["download", "net-lab"]);
    let progress = downloaded
        .said
        .iter()
        .rfind(|line| line["type"] == "progress")
        .cloned();
    document.check("progress", &progress.expect("a download tells how far it is"));
    document.check("livepc download net-lab", &downloaded.done());
    document.check("livepc show net-lab", &home.done(&["show", "net-lab"]));
    publisher.project(&disk(work.path(), "lab-2.raw", 2, 2), "Net Lab");
    publisher.describe("Three routers and a firewall.", "Ada");
    publisher.publish(&["--label", "2.0", "--changelog", "A fourth router."]);
    document.check("livepc update net-lab", &home.done(&["update", "net-lab"]));
    document.check(
        "livepc start net-lab",
        &home.done(&["start", "net-lab", "--display", "none", "--no-fill"]),
    );
    document.check("livepc status net-lab", &home.done(&["status", "net-lab"]));
    document.check("livepc stop net-lab", &home.done(&["stop", "net-lab", "--force"]));
    let verified = home.done(&["verify", "net-lab", "--repair"]);
    document.check("livepc verify net-lab --repair", &verified);
    document.check("livepc pause --off", &home.done(&["pause", "--off"]));
    document.check("livepc prune --dry-run", &home.done(&["prune", "--dry-run"]));
    let raw = work.path().join("out.raw").display().to_string();
    document.name(work.path().display().to_string(), "/tmp");
    document.check(
        "livepc export net-lab /tmp/out.raw",
        &home.done(&["export", "net-lab", &raw]),
    );
    let refused = home.run(&["export", "net-lab", &raw]);
    refused.refused(2, "usage");
    document.check("error", &refused.said[0]);
    let setting = "download.max-bytes-per-second";
    document.check(
        "livepc config set download.max-bytes-per-second 1000000",
        &home.done(&["config", "set", setting, "1000000"]),
    );
    let mut doctor = home.done(&["doctor"]);
    let findings = doctor["findings"].as_array_mut().expect("findings");
    findings.retain(|finding| finding["id"] == "home");
    document.check("livepc doctor", &doctor);
    let logs = home.done(&["logs"]);
    assert!(
        logs["lines"].as_array().is_some_and(|lines| !lines.is_empty()),
        "{logs}"
    );
    document.check(
        "livepc unsubscribe net-lab --delete-data",
        &home.done(&["unsubscribe", "net-lab", "--delete-data"]),
    );
    document.check("livepc agent stop", &home.done(&["agent", "stop"]));
    let drive = work.path().join("livepc").display().to_string();
    let mut moved = home.done(&["store", "move", &drive]);
    moved["bytes"] = json!(5_000_000);
    document.check("livepc store move /tmp/livepc", &moved);
    publisher.expire_after("90 days");
    document.check(
        "livepc publish net-lab --to site --renew",
        &publisher.publish(&["--renew"]),
    );
    let rotated = publisher.home.done(&["key", "rotate", "--no-password"]);
    let kept = Path::new(rotated["kept"].as_str().expect("a path")).file_name();
    document.name(
        kept.and_then(|name| name.to_str()).expect("a name"),
        "signing-until-20261122T100000Z.key",
    );
    document.check("livepc key rotate --no-password", &rotated);
    document.finish();
}
