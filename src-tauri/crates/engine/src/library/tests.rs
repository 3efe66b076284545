//! Sources that fail, move, and are large.

use super::*;

/// A catalog of the greatest size, twice: together more than a message may have.
#[test]
fn large_catalogs_come_in_pages_that_have_every_entry_once() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&folder.path().join("state.db")).unwrap();
    let text = "about ".repeat(6000);
    for catalog in ["a", "b"] {
        let url = Url::parse(&format!("https://{catalog}.example/catalog.xml")).unwrap();
        let entries: Vec<CatalogEntry> = (0..500)
            .map(|n| CatalogEntry {
                title: format!("Lab {}", n % 7),
                summary: if n == 5 {
                    "the Needle".into()
                } else {
                    String::new()
                },
                description: text.clone(),
                publisher: String::new(),
                feed: url.join(&format!("{n}.xml")).unwrap(),
                thumbnail: None,
                categories: Vec::new(),
                guest_os: None,
                updated: None,
                boot_ready_bytes: None,
                full_bytes: None,
            })
            .collect();
        let add = |t: &rusqlite::Transaction<'_>| {
            t.execute(
                "INSERT INTO source (url, place, title) VALUES (?1, (SELECT COUNT(*) FROM source), '')",
                [url.as_str()],
            )?;
            let read = Read {
                url: url.clone(),
                title: String::new(),
                entries: entries.clone(),
                validators: Validators::default(),
            };
            keep(t, &read, Timestamp::UNIX_EPOCH)
        };
        database.change(add).unwrap();
    }
    let (mut pages, mut feeds, mut after) = (0, Vec::new(), None);
    loop {
        let found = search(&database, "", after.as_deref()).unwrap();
        assert_eq!(found.total, 1000);
        let bytes = serde_json::to_vec(&found.entries).unwrap().len();
        assert!(bytes < livepc_protocol::MAX_MESSAGE as usize / 2, "{bytes}");
        pages += 1;
        feeds.extend(
            found
                .entries
                .into_iter()
                .map(|entry| (entry.title, entry.feed_url)),
        );
        after = found.next;
        if after.is_none() {
            break;
        }
    }
    assert!(pages > 8, "{pages}");
    assert!(feeds.is_sorted(), "by title");
    feeds.dedup();
    assert_eq!(feeds.len(), 1000);
    let needles = search(&database, "needle lab", None).unwrap();
    assert_eq!((needles.entries.len(), needles.next), (2, None));
}

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn library(names: &[&str]) -> (tempfile::TempDir, Database) {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&folder.path().join("state.db")).unwrap();
    for (place, name) in names.iter().enumerate() {
        let sql = "INSERT INTO source (url, place, title) VALUES (?1, ?2, ?1)";
        database.run(sql, params![at(name).as_str(), place]).unwrap();
    }
    (folder, database)
}

fn at(name: &str) -> Url {
    format!("https://example.org/{name}").parse().unwrap()
}

fn catalog(url: &Url, entries: usize) -> Read {
    let entry = |number: usize| CatalogEntry {
        title: format!("LivePC {number}"),
        summary: String::new(),
        description: String::new(),
        publisher: String::new(),
        feed: url.join(&format!("{number}.xml")).unwrap(),
        thumbnail: None,
        categories: vec![],
        guest_os: None,
        updated: None,
        boot_ready_bytes: None,
        full_bytes: None,
    };
    Read {
        url: url.clone(),
        title: "A catalog".to_owned(),
        entries: (0..entries).map(entry).collect(),
        validators: Validators::default(),
    }
}

/// Asks all sources; what each gives is told by its name.
async fn refresh(database: &Database) -> bool {
    let patience = Duration::from_millis(200);
    refresh_with(database, NOW, patience, |url, _| async move {
        match url.path() {
            "/panics" => panic!("a mistake"),
            "/hangs" => std::future::pending().await,
            "/fails" => Err(not_found("It is gone.", "Ask.")),
            "/same" => Ok(None),
            "/moved" => Ok(Some(catalog(&at("good"), 1))),
            _ => Ok(Some(catalog(&url, 2))),
        }
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn each_source_fails_for_itself() {
    let (_folder, database) = library(&["panics", "hangs", "fails", "same", "good"]);
    let sql = "INSERT INTO source (url, place, title) VALUES ('no address', 9, '')";
    database.run(sql, []).unwrap();
    assert!(refresh(&database).await);
    let told: Vec<_> = sources(&database)
        .unwrap()
        .into_iter()
        .map(|source| (source.entries, source.problem.map(|problem| problem.message)))
        .collect();
    let says = |place: usize, what: &str| told[place].1.as_ref().is_some_and(|text| text.contains(what));
    assert!(says(0, "a mistake"), "{told:?}");
    assert!(says(1, "did not answer"), "{told:?}");
    assert!(says(2, "gone"), "{told:?}");
    assert_eq!((&told[3], &told[4]), (&(0, None), &(2, None)));
    assert!(says(5, "address"), "{told:?}");
}

#[tokio::test]
async fn a_source_takes_its_new_address_and_the_place_of_what_is_there() {
    let (_folder, database) = library(&["moved", "other"]);
    refresh(&database).await;
    let moved = &sources(&database).unwrap()[0];
    assert_eq!((moved.url.as_str(), moved.entries), (at("good").as_str(), 1));
    assert_eq!(moved.moved_from.as_deref(), Some(at("moved").as_str()));

    let (_folder, database) = library(&["moved", "good"]);
    refresh(&database).await;
    let left = sources(&database).unwrap();
    assert_eq!(left.len(), 1, "both are one now");
    assert_eq!(
        (left[0].url.as_str(), left[0].moved_from.as_deref()),
        (at("good").as_str(), None)
    );
}
