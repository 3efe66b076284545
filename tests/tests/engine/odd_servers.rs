//! Real servers that were set up in odd ways, and proxies of the environment. What else there is of the kind plays in the tests of
//! the transfer crate, where a server says byte for byte what a test wants.

use std::path::Path;
use std::process::Command;

use livepc_tests::forge::disk;
use livepc_tests::home::TestHome;
use livepc_tests::nginx::Nginx;
use livepc_tests::publisher::Publisher;
use livepc_tests::socks::Socks;

/// A LivePC of some megabytes that cannot be compressed; gives the folder to serve.
fn publish(work: &Path) -> (Publisher, std::path::PathBuf) {
    let publisher = Publisher::new(&disk(work, "1.raw", 24, 1), "Lab");
    publisher.publish(&[]);
    let site = publisher.site();
    (publisher, site)
}

fn packs(site: &Path) -> Vec<std::path::PathBuf> {
    let packs = std::fs::read_dir(site.join("packs")).expect("packs are published");
    packs.map(|entry| entry.expect("a pack").path()).collect()
}

#[test]
fn servers_that_were_set_up_in_odd_ways_are_used() {
    let work = tempfile::tempdir().expect("a folder");
    let (_publisher, site) = publish(work.path());
    let bytes: u64 = packs(&site)
        .iter()
        .map(|pack| pack.metadata().expect("a pack").len())
        .sum();
    let compressed = work.path().join("compressed");
    let copied = Command::new("cp").arg("-r").arg(&site).arg(&compressed).status();
    assert!(copied.expect("cp runs").success());
    for pack in packs(&compressed) {
        let done = Command::new("gzip").arg(&pack).status();
        assert!(done.expect("gzip runs").success());
    }
    let kinds = [
        ("no ranges", &site, "max_ranges 0;"),
        (
            "gzip for all and everybody",
            &site,
            "max_ranges 0; gzip on; gzip_types *; gzip_min_length 1; gzip_http_version 1.0; gzip_proxied any;",
        ),
        (
            "packs that lie there compressed",
            &compressed,
            "gzip_static always;",
        ),
        (
            "what S3 keeps of an upload",
            &site,
            "add_header Content-Encoding aws-chunked;",
        ),
        (
            "a connection for each request",
            &site,
            "keepalive_timeout 0; chunked_transfer_encoding off;",
        ),
        (
            "a signed address for each request",
            &site,
            "location /packs/ { if ($arg_signature = \"\") { return 302 $scheme://$http_host$uri?signature=$request_id; } }",
        ),
        (
            "no tags and no dates",
            &site,
            "etag off; add_header Last-Modified \"\";",
        ),
        (
            "one connection for each address",
            &site,
            "limit_conn connections 1; limit_rate 8m;",
        ),
        (
            "two connections for each address",
            &site,
            "limit_conn connections 2; limit_conn_status 429; limit_rate 8m;",
        ),
        (
            "ten requests a second",
            &site,
            "limit_req zone=requests burst=3 nodelay;",
        ),
    ];
    for (name, root, more) in kinds {
        let server = Nginx::serve_as(root, more);
        let home = TestHome::new();
        home.done(&["subscribe", &server.url("feed.xml"), "--yes"]);
        home.done(&["download", "lab"]);
        home.done(&["verify", "lab"]);
        let sent = server.sent("/packs/");
        assert!(
            sent <= bytes + bytes / 4 + 100_000,
            "{name}: {sent} bytes for packs of {bytes}: {:?}",
            server.asked()
        );
    }
}

/// As at the edge of a network of caches: the new list is there, and what it names is not, for a moment.
#[test]
fn what_a_list_names_may_come_a_little_later() {
    let work = tempfile::tempdir().expect("a folder");
    let (publisher, site) = publish(work.path());
    let server = Nginx::serve(&site);
    let home = TestHome::new();
    home.done(&["subscribe", &server.url("feed.xml"), "--yes"]);
    home.done(&["download", "lab"]);
    for (release, folder) in [(2, "manifests"), (3, "index"), (4, "packs")] {
        let files = || {
            let files = std::fs::read_dir(site.join(folder)).expect("it is there");
            files.map(|file| file.expect("a file").path()).collect::<Vec<_>>()
        };
        let before = files();
        publisher.project(&disk(work.path(), &format!("{release}.raw"), 24, release), "Lab");
        publisher.publish(&[]);
        let new: Vec<_> = files()
            .into_iter()
            .filter(|file| !before.contains(file))
            .collect();
        assert!(!new.is_empty(), "{folder}: the release has some of its own");
        let away = tempfile::tempdir_in(work.path()).expect("a folder");
        let place = |file: &Path| away.path().join(file.file_name().expect("a name"));
        for file in &new {
            std::fs::rename(file, place(file)).expect("it is taken away");
        }
        std::thread::scope(|scope| {
            let update = scope.spawn(|| home.run(&["update", "lab"]));
            server.wait_for(|asked| asked.status == 404 && asked.path.contains(folder));
            for file in &new {
                std::fs::rename(place(file), file).expect("it is there again");
            }
            let updated = update.join().expect("no panic").done();
            assert_eq!(updated["updates"][0]["to"], release, "{updated}");
        });
        home.done(&["verify", "lab"]);
    }
}

#[test]
fn a_proxy_of_the_environment_is_used_and_named_when_it_is_gone() {
    let work = tempfile::tempdir().expect("a folder");
    let (_publisher, site) = publish(work.path());
    let server = Nginx::serve(&site);
    let socks = Socks::to(server.address(), None).expect("a port");
    // As GNOME writes it into the environment of its programs.
    let proxy = format!("socks://{}/", socks.address());
    let mut home = TestHome::new();
    home.set_variable("NO_PROXY", "localhost,127.0.0.0/8,::1");
    home.set_variable("ALL_PROXY", &proxy);
    home.set_variable("all_proxy", &proxy);
    home.done(&["subscribe", "http://labs.invalid/feed.xml", "--yes"]);
    home.done(&["download", "lab"]);
    home.done(&["verify", "lab"]);
    let asked = socks.asked();
    assert!(
        !asked.is_empty() && asked.iter().all(|host| host == "labs.invalid:80"),
        "{asked:?}"
    );

    let mut home = TestHome::new();
    home.set_variable("NO_PROXY", "localhost");
    home.set_variable("ALL_PROXY", "socks://127.0.0.1:9/");
    let refused = home.run(&["subscribe", "http://labs.invalid/feed.xml", "--yes"]);
    refused.refused(5, "network");
    assert!(
        refused.text.contains("the proxy socks5h://127.0.0.1:9"),
        "it says who does not answer: {}",
        refused.text
    );
}
