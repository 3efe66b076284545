//! What clients and the agent say to each other when they are of different versions, or have much to say.

use std::fmt::Write as _;

use livepc_protocol::{Home, MAX_MESSAGE, Stream};
use livepc_tests::home::TestHome;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, ReadHalf, WriteHalf};

/// A client that says what it likes.
struct Raw {
    read: BufReader<ReadHalf<Stream>>,
    write: WriteHalf<Stream>,
}

impl Raw {
    /// Connects to the agent of a home, and greets as the first clients did.
    async fn connect(home: &TestHome) -> Self {
        let _ = home.done(&["source", "list"]);
        let agent = Home::open(home.path()).expect("a home").agent_whereabouts();
        let (read, write) = tokio::io::split(agent.connect().await.expect("the agent listens"));
        let mut raw = Self {
            read: BufReader::new(read),
            write,
        };
        let greeted = raw
            .ask(&json!({"type": "hello", "protocol": 1, "client": "cli 0.1.0", "keep": true}))
            .await;
        assert_eq!(
            (&greeted["type"], &greeted["protocol"]),
            (&json!("hello"), &json!(1))
        );
        raw
    }

    /// Says a line; gives the next one that is said.
    async fn ask(&mut self, line: &Value) -> Value {
        let line = format!("{line}\n");
        self.write.write_all(line.as_bytes()).await.expect("it is taken");
        let mut said = String::new();
        self.read
            .read_line(&mut said)
            .await
            .expect("the connection goes on");
        serde_json::from_str(&said).expect("JSON")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_another_version_gets_answers_and_refusals_over_one_connection() {
    let home = TestHome::new();
    let mut raw = Raw::connect(&home).await;
    let unknown = json!({"type": "ask", "call": 1, "request": {"verb": "of-tomorrow", "a": [1]}});
    let refused = raw.ask(&unknown).await;
    assert_eq!(
        (&refused["type"], &refused["call"]),
        (&json!("refused"), &json!(1)),
        "{refused}"
    );
    assert_eq!(refused["problem"]["code"], "update-livepc", "{refused}");
    let long = "x".repeat(MAX_MESSAGE as usize);
    let refused = raw
        .ask(&json!({"type": "ask", "call": 2, "request": {"verb": "search", "text": long}}))
        .await;
    assert_eq!(refused["type"], "refused");
    let request = json!({"verb": "list", "of": "tomorrow"});
    let listed = raw
        .ask(&json!({"type": "ask", "call": 3, "request": request, "later": true}))
        .await;
    assert_eq!(
        listed["answer"],
        json!({"answer": "list", "livepcs": []}),
        "{listed}"
    );
}

/// Two catalogs, each about as large as one may be: what they have together is more than one message may have.
#[test]
fn two_large_catalogs_are_searched_to_the_end() {
    let work = tempfile::tempdir().expect("a folder");
    let home = TestHome::new();
    let text = "about ".repeat(3300);
    for name in ["a", "b"] {
        let mut catalog = format!(
            "<?xml version=\"1.0\"?><feed xmlns=\"http://www.w3.org/2005/Atom\"><title>{name}</title>"
        );
        for number in 0..1000 {
            write!(
                catalog,
                "<entry><title>Lab {number}</title><content>{text}</content>\
                 <link rel=\"alternate\" type=\"application/atom+xml\" href=\"{name}{number}/feed.xml\"/></entry>"
            )
            .expect("text");
        }
        catalog.push_str("</feed>");
        let file = work.path().join(format!("{name}.xml"));
        std::fs::write(&file, catalog).expect("a file");
        let _ = home.done(&["source", "add", file.to_str().expect("UTF-8")]);
    }
    let found = home.done(&["search"]);
    assert_eq!(found["total"], 2000);
    let entries = found["entries"].as_array().expect("entries");
    assert!(
        serde_json::to_vec(entries).expect("JSON").len() as u64 > MAX_MESSAGE,
        "a test of nothing else"
    );
    let mut feeds: Vec<_> = entries
        .iter()
        .map(|entry| entry["feed_url"].to_string())
        .collect();
    feeds.sort();
    feeds.dedup();
    assert_eq!((entries.len(), feeds.len()), (2000, 2000));
    let some = home.done(&["search", "lab 999"]);
    assert_eq!(some["entries"].as_array().map(Vec::len), Some(2), "one of each");
}
