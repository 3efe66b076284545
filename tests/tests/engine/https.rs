//! Over HTTPS: whom to trust, and several requests over one connection.

use livepc_tests::authority::Authority;
use livepc_tests::forge::disk;
use livepc_tests::home::TestHome;
use livepc_tests::nginx::Nginx;
use livepc_tests::publisher::Publisher;

#[test]
fn a_server_that_is_trusted_is_asked_over_http_2() {
    let work = tempfile::tempdir().expect("a folder");
    let publisher = Publisher::new(&disk(work.path(), "1.raw", 24, 1), "Lab");
    publisher.publish(&[]);
    let authority = Authority::new();
    let server = Nginx::serve_https(&publisher.site(), &authority);
    let feed = server.url("feed.xml");
    assert!(feed.starts_with("https://localhost:"), "{feed}");

    let mut home = TestHome::new();
    let refused = home.run(&["subscribe", &feed, "--yes"]);
    refused.refused(5, "network");
    assert!(
        refused.text.contains("certificate"),
        "it says what is wrong: {}",
        refused.text
    );
    assert_eq!(server.asked(), [], "nothing was sent to who might be anybody");

    home.done(&["agent", "stop"]);
    let trusted = authority.trusted();
    home.set_variable("SSL_CERT_FILE", trusted.to_str().expect("UTF-8"));
    home.done(&["subscribe", &feed, "--yes"]);
    home.done(&["download", "lab"]);
    home.done(&["verify", "lab"]);
    let asked = server.asked();
    let packs = asked.iter().filter(|asked| asked.path.contains("/packs/"));
    assert!(packs.clone().count() > 2, "in several requests: {asked:?}");
    assert!(packs.clone().all(|asked| asked.status == 206), "{asked:?}");
    assert!(
        asked.iter().all(|asked| asked.protocol == "HTTP/2.0"),
        "{asked:?}"
    );
}
