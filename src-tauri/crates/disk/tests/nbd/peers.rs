//! The tools that people attach NBD disks with: libnbd's `nbdinfo` and `nbdcopy`, QEMU's `qemu-img` and `qemu-io`. They
//! must be installed: a test that skipped itself without them would prove nothing.
#![cfg(target_os = "linux")] // macOS has no packages of all of them.

use std::{process::Output, sync::Arc};

use livepc_disk::{
    nbd::{Exports, Listen, Server, Visibility},
    raw_file::RawFile,
};
use serde_json::Value;
use tokio::process::Command;

use crate::device::*;

/// A server of [`sparse_file`] at a socket and at a loopback port.
struct Served {
    file: tempfile::NamedTempFile,
    directory: tempfile::TempDir,
    servers: [Server; 2],
}

impl Served {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = sparse_file();
        let exports = || {
            let device = Arc::new(RawFile::open(file.path()).unwrap());
            let mut exports = Exports::single(device.clone());
            exports
                .add("system disk", device.clone(), Visibility::Listed)
                .unwrap();
            exports.add("hidden", device, Visibility::Hidden).unwrap();
            exports
        };
        let socket = Listen::Unix(directory.path().join("run/disk.sock"));
        let servers = [
            Server::start(&socket, exports()).await.unwrap(),
            Server::start(&Listen::Loopback, exports()).await.unwrap(),
        ];
        Self {
            file,
            directory,
            servers,
        }
    }

    fn uris(&self, export: &str) -> [String; 2] {
        self.servers.each_ref().map(|server| server.address().uri(export))
    }

    async fn end(self) {
        for server in self.servers {
            server.shutdown().await;
        }
    }
}

async fn output(tool: &str, arguments: &[&str]) -> Output {
    let ran = Command::new(tool).args(arguments).kill_on_drop(true).output();
    let ran = tokio::time::timeout(crate::client::PATIENCE * 3, ran)
        .await
        .expect("the tool ends in time");
    ran.unwrap_or_else(|error| panic!("{tool} must be installed for this test: {error}"))
}

async fn run(tool: &str, arguments: &[&str]) -> String {
    let output = output(tool, arguments).await;
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {arguments:?}: {words}");
    String::from_utf8(output.stdout).unwrap()
}

async fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&run("nbdinfo", arguments).await).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nbdinfo_describes_the_export() {
    let served = Served::new().await;
    for uri in served.uris("system disk") {
        let info = json(&["--json", &uri]).await;
        assert_eq!(info["protocol"], "newstyle-fixed", "{info}");
        assert_eq!(info["structured"], true, "{info}");
        let export = &info["exports"][0];
        assert_eq!(export["export-name"], "system disk", "{export}");
        assert_eq!(export["export-size"], SIZE, "{export}");
        assert_eq!(
            export["contexts"],
            serde_json::json!(["base:allocation"]),
            "{export}"
        );
        for (ability, has) in [
            ("is_read_only", true),
            ("can_multi_conn", true),
            ("can_df", true),
            ("can_cache", true),
            ("can_flush", true),
            ("can_trim", false),
            ("can_zero", false),
            ("can_fua", false),
        ] {
            assert_eq!(export[ability], has, "{ability} in {export}");
        }
        let sizes =
            ["block_size_minimum", "block_size_preferred", "block_size_maximum"].map(|key| &export[key]);
        assert_eq!(sizes, [1, 4096, 32 << 20], "{export}");
    }
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nbdinfo_lists_what_is_not_hidden() {
    let served = Served::new().await;
    for uri in served.uris("") {
        let info = json(&["--list", "--json", &uri]).await;
        let exports = info["exports"].as_array().unwrap();
        let names: Vec<_> = exports
            .iter()
            .map(|export| export["export-name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["", "system disk"]);
    }
    for uri in served.uris("hidden") {
        assert_eq!(
            run("nbdinfo", &["--size", &uri]).await.trim(),
            SIZE.to_string(),
            "who knows it may have it"
        );
    }
    for uri in served.uris("guessed") {
        assert!(
            !output("nbdinfo", &["--size", &uri]).await.status.success(),
            "there is no such export"
        );
    }
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nbdinfo_maps_the_holes() {
    let served = Served::new().await;
    for uri in served.uris("") {
        let map = json(&["--map", "--json", &uri]).await;
        let holes: Vec<(u64, u64)> = map
            .as_array()
            .unwrap()
            .iter()
            .filter(|run| run["type"] == 3)
            .map(|run| (run["offset"].as_u64().unwrap(), run["length"].as_u64().unwrap()))
            .collect();
        assert_eq!(holes, HOLES, "{map}");
        let covered: u64 = map
            .as_array()
            .unwrap()
            .iter()
            .map(|run| run["length"].as_u64().unwrap())
            .sum();
        assert_eq!(covered, SIZE);
    }
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nbdcopy_copies_every_byte() {
    let served = Served::new().await;
    let copy = served.directory.path().join("copy.img");
    for uri in served.uris("") {
        run("nbdcopy", &[&uri, copy.to_str().unwrap()]).await;
        assert!(
            std::fs::read(&copy).unwrap() == image(),
            "the copy from {uri} differs"
        );
        std::fs::remove_file(&copy).unwrap();
    }
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn qemu_img_finds_no_difference() {
    let served = Served::new().await;
    let file = served.file.path().to_str().unwrap();
    for uri in served.uris("system disk") {
        // QEMU rounds a disk up to whole sectors, and here it is one already.
        let said = run(
            "qemu-img",
            &["compare", "-s", "-f", "raw", "-F", "raw", file, &uri],
        )
        .await;
        assert!(said.contains("identical"), "{said}");
    }
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn qemu_io_reads_anything_anywhere() {
    let served = Served::new().await;
    for uri in served.uris("") {
        let mut commands = Vec::new();
        // Within pages, at no alignment: from byte 1 of a page, or its last three.
        for page in (20..250).step_by(13).chain([520, 700, 1279]) {
            let at = page * 4096;
            commands.push(format!("read -P {} {} 4095", page_byte(page), at + 1));
            commands.push(format!("read -P {} {} 3", page_byte(page), at + 4093));
        }
        for (hole, len) in HOLES {
            commands.push(format!("read -P 0 {hole} {len}"));
            commands.push(format!("read -P 0 {} {}", hole + 1, len - 3));
        }
        // Several under way at a time, on one connection.
        for page in 600..660 {
            commands.push(format!("aio_read -q -P {} {} 4096", page_byte(page), page * 4096));
        }
        commands.push("aio_flush".to_owned());
        let mut arguments = vec!["-r", "-f", "raw"];
        for command in &commands {
            arguments.extend(["-c", command]);
        }
        arguments.push(&uri);
        let said = run("qemu-io", &arguments).await;
        assert!(!said.contains("failed"), "{said}");

        let past = format!("read {} 1024", SIZE - 512);
        let refused = output("qemu-io", &["-r", "-f", "raw", "-c", &past, &uri]).await;
        let said =
            String::from_utf8_lossy(&refused.stdout).into_owned() + &String::from_utf8_lossy(&refused.stderr);
        assert!(said.contains("failed"), "a read past the end must fail: {said}");
        let write = output("qemu-io", &["-f", "raw", "-c", "write 0 512", &uri]).await;
        assert!(!write.status.success(), "the export cannot be opened for writing");
    }
    served.end().await;
}
