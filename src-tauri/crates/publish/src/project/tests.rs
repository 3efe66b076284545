use std::fs;

use livepc_format::machine::{Firmware, Network};

use super::*;

fn image(dir: &Path) -> PathBuf {
    let path = dir.join("disk.raw");
    fs::write(&path, [7; 1024]).unwrap();
    path
}

#[test]
fn a_new_project_names_its_source_and_loads() {
    let dir = tempfile::tempdir().unwrap();
    let source = image(dir.path());
    let folder = dir.path().join("a/b");
    let made = Project::init(&source, "Net \"Lab\"", &folder).unwrap();
    assert_eq!(
        (made.name.as_str(), made.title.as_str()),
        ("net-lab", "Net \"Lab\"")
    );
    assert_eq!(
        made.disks[0].content,
        ProjectContent::Source(source.clone()),
        "the source is named, not copied"
    );
    assert_eq!(
        fs::read_dir(&folder).unwrap().count(),
        1,
        "only livepc.toml is made"
    );
    assert_eq!(Project::load(&folder).unwrap(), made);
    let before = fs::read(folder.join(PROJECT_FILE)).unwrap();
    assert!(
        matches!(
            Project::init(&source, "other", &folder),
            Err(PublishError::ProjectExists(_))
        ),
        "a project is not overwritten"
    );
    assert_eq!(fs::read(folder.join(PROJECT_FILE)).unwrap(), before);

    let beside = Project::init(&source, "beside", dir.path()).unwrap();
    assert_eq!(beside.disks[0].content, ProjectContent::Source(source));
    let text = fs::read_to_string(dir.path().join(PROJECT_FILE)).unwrap();
    assert!(
        text.contains("source = \"disk.raw\""),
        "a source in the folder is named relative to it:\n{text}"
    );
}

#[test]
fn a_bad_source_makes_no_project() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("p");
    let missing = Project::init(&dir.path().join("none"), "x", &folder);
    assert!(matches!(missing, Err(PublishError::SourceMissing(_))));
    let source = image(dir.path());
    assert!(matches!(
        Project::init(&source, "!!", &folder),
        Err(PublishError::Name(_))
    ));
    assert!(!folder.exists(), "nothing was made");
    assert!(matches!(
        Project::load(&folder),
        Err(PublishError::ProjectMissing(_))
    ));
    Project::init(&source, "x", &folder).expect("a good one makes it");
}

const GOOD: &str = r#"
name = "lab"
[machine]
cpus = 2
memory = "256 MiB"
firmware = "uefi"
network = "none"
[[disks]]
role = "system"
source = "disk.raw"
[[disks]]
role = "user"
size = "2 GiB"
label = "data"
"#;

#[test]
fn what_a_person_writes_is_read() {
    let project = file::parse(GOOD, Path::new("/p")).unwrap();
    assert_eq!(project.title, "lab", "the name serves as title");
    assert_eq!((project.machine.cpus, project.machine.memory), (2, 256 << 20));
    assert_eq!(
        (project.machine.firmware, project.machine.network),
        (Firmware::Uefi, Network::None)
    );
    assert_eq!(
        project.disks[0].content,
        ProjectContent::Source(Path::new("/p").join("disk.raw"))
    );
    assert_eq!(
        project.disks[1].content,
        ProjectContent::User {
            size: 2 << 30,
            label: Some("data".into()),
            file_system: None,
        }
    );
}

#[test]
fn a_list_of_releases_expires_only_if_the_publisher_says_so() {
    let days = |text: &str| {
        let line = format!("expires-after = \"{text}\"\n[machine]");
        let text = GOOD.replacen("[machine]", &line, 1);
        file::parse(&text, Path::new("/p")).unwrap().expires_after
    };
    for (text, hours) in [("1 day", 24), ("90 days", 90 * 24), ("1826 days", 1826 * 24)] {
        assert_eq!(days(text), Some(SignedDuration::from_hours(hours)), "{text}");
    }
    assert_eq!(file::parse(GOOD, Path::new("/p")).unwrap().expires_after, None);

    // A publisher who publishes rarely is not surprised by a new project, and finds how to promise more.
    let dir = tempfile::tempdir().unwrap();
    let made = Project::init(&image(dir.path()), "x", dir.path()).unwrap();
    assert_eq!(made.expires_after, None);
    let path = dir.path().join(PROJECT_FILE);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("# expires-after", "expires-after", 1)).unwrap();
    assert_eq!(
        Project::load(dir.path()).unwrap().expires_after,
        Some(SignedDuration::from_hours(90 * 24))
    );
}

#[test]
fn the_address_of_the_feed_is_the_publishers_to_say() {
    let read = |line: &str| {
        let text = GOOD.replacen("[machine]", &format!("{line}\n[machine]"), 1);
        file::parse(&text, Path::new("/p")).unwrap().address
    };
    assert_eq!(read(""), None);
    for address in [
        "https://example.org/lab/feed.xml",
        "http://example.org:8080/feed.xml?of=lab",
        "file:///srv/lab/feed.xml",
    ] {
        let found = read(&format!("address = \"{address}\""));
        assert_eq!(found.map(String::from).as_deref(), Some(address));
    }

    // A new project shows how.
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(
        Project::init(&image(dir.path()), "x", dir.path())
            .unwrap()
            .address,
        None
    );
    let path = dir.path().join(PROJECT_FILE);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("# address", "address", 1)).unwrap();
    assert_eq!(
        Project::load(dir.path())
            .unwrap()
            .address
            .map(String::from)
            .as_deref(),
        Some("https://www.example.org/x/feed.xml")
    );
}

#[test]
fn mistakes_are_told_with_their_line() {
    for (from, to, line, hint) in [
        ("name = \"lab\"", "name = \"My Lab\"", Some(2), "net-lab"),
        ("name = \"lab\"", "nmae = \"lab\"", Some(2), "expected one of"),
        ("cpus = 2", "cpus = 0", Some(4), "1 to 64"),
        ("\"256 MiB\"", "\"256 MB\"", Some(5), "512 MiB"),
        ("\"256 MiB\"", "1000", Some(5), "16 MiB"),
        ("\"uefi\"", "\"efi\"", Some(6), "`bios`"),
        ("role = \"system\"", "role = \"sys\"", Some(8), "system"),
        ("source = \"disk.raw\"", "size = \"1 GiB\"", Some(8), "source"),
        ("role = \"user\"", "role = \"system\"", Some(11), "another"),
        ("size = \"2 GiB\"", "", Some(11), "either"),
        ("size = \"2 GiB\"", "size = 1000", Some(13), "512"),
        ("[[disks]]", "[[disk]]", Some(8), "disks"),
        ("name = \"lab\"", "name = ", Some(2), ""),
        ("\"data\"", "\"seventeen letters\"", Some(14), "1 to 16"),
        ("\"data\"", "\"\"", Some(14), "1 to 16"),
        (
            "\"data\"",
            "\"data\"\nfile-system = \"ext4\"",
            Some(15),
            "`fat32`",
        ),
        (
            "\"data\"",
            "\"twelve chars\"\nfile-system = \"fat32\"",
            Some(11),
            "1 to 11",
        ),
        (
            "source = \"disk.raw\"",
            "source = \"disk.raw\"\nfile-system = \"fat32\"",
            Some(8),
            "either",
        ),
        (
            "[machine]",
            "expires-after = 90\n[machine]",
            Some(3),
            "\"90 days\"",
        ),
        (
            "[machine]",
            "expires-after = \"90\"\n[machine]",
            Some(3),
            "\"90 days\"",
        ),
        (
            "[machine]",
            "expires-after = \"0 days\"\n[machine]",
            Some(3),
            "1 to 1826",
        ),
        (
            "[machine]",
            "expires-after = \"1827 days\"\n[machine]",
            Some(3),
            "1 to 1826",
        ),
        (
            "[machine]",
            "mirrors = [\"https://a.example/?b/\"]\n[machine]",
            Some(3),
            "without",
        ),
        (
            "[machine]",
            "address = \"example.org/feed.xml\"\n[machine]",
            Some(3),
            "all of it",
        ),
        (
            "[machine]",
            "address = \"ftp://example.org/feed.xml\"\n[machine]",
            Some(3),
            "https://",
        ),
        (
            "[machine]",
            "address = \"https://ada:secret@example.org/feed.xml\"\n[machine]",
            Some(3),
            "leave out the user",
        ),
        (
            "[machine]",
            "address = \"https://:secret@example.org/feed.xml\"\n[machine]",
            Some(3),
            "leave out the user",
        ),
        (
            "[machine]",
            "address = \"file://host/feed.xml\"\n[machine]",
            Some(3),
            "three slashes",
        ),
        (
            "[machine]",
            "address = \"https://example.org/lab/\"\n[machine]",
            Some(3),
            "add feed.xml",
        ),
        (
            "[machine]",
            "address = \"https://example.org/feed.xml#a\"\n[machine]",
            Some(3),
            "“#”",
        ),
        (
            "[machine]",
            "[licence]\nspdx = \"a\\nb\"\n[machine]",
            Some(4),
            "1 to 200",
        ),
        (
            "[machine]",
            format!("[licence]\ntext = \"{}\"\n[machine]", "x".repeat((256 << 10) + 1)).as_str(),
            Some(4),
            "256 KiB",
        ),
    ] {
        assert!(GOOD.contains(from));
        let (found, why) = file::parse(&GOOD.replacen(from, to, 1), Path::new("/p")).unwrap_err();
        assert_eq!(found, line, "{to}: {why}");
        assert!(why.contains(hint), "{to}: {why}");
        assert!(!why.contains("secret"), "{to}: {why}");
    }
}

#[test]
fn a_new_disk_has_the_file_system_that_is_asked_for() {
    let text = format!("{GOOD}file-system = \"fat32\"\n");
    let project = file::parse(&text, Path::new("/p")).unwrap();
    assert_eq!(
        project.disks[1].content,
        ProjectContent::User {
            size: 2 << 30,
            label: Some("data".into()),
            file_system: Some(FileSystem::Fat32),
        }
    );
}
