//! Disk images as tools make them: what is no raw disk is named, what looks cut off is told, and the firmware is guessed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use livepc_tests::forge::{Site, disk};
use livepc_tests::home::{Ran, TestHome};
use livepc_tests::publisher::Publisher;
use serde_json::Value;
use tempfile::TempDir;

const MIB: u64 = 1 << 20;

struct Bench {
    work: TempDir,
    home: TestHome,
}

impl Bench {
    fn new() -> Self {
        let bench = Self {
            work: tempfile::tempdir().expect("a folder"),
            home: TestHome::new(),
        };
        bench.home.done(&["key", "new", "--no-password"]);
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    /// Makes a project of an image, in a folder of that name.
    fn init(&self, image: &str, more: &[&str]) -> Ran {
        let (source, dir) = (
            text(&self.path(image)),
            text(&self.path(&format!("project-{image}"))),
        );
        let args = [
            &["project", "init", &source, "--name", image, "--dir", &dir],
            more,
        ]
        .concat();
        self.home.run(&args)
    }

    fn publish(&self, image: &str) -> Ran {
        let (project, site) = (
            text(&self.path(&format!("project-{image}"))),
            text(&self.path(&format!("site-{image}"))),
        );
        self.home.run(&["publish", &project, "--to", &site])
    }

    /// An image of so many bytes, with a table that `sfdisk` makes.
    fn table(&self, image: &str, bytes: u64, script: &str) {
        self.blank(image, bytes);
        let mut sfdisk = Command::new("sfdisk")
            .args(["-q", &text(&self.path(image))])
            .stdin(Stdio::piped())
            .spawn()
            .expect("sfdisk starts");
        let mut stdin = sfdisk.stdin.take().expect("its input");
        std::io::Write::write_all(&mut stdin, script.as_bytes()).expect("it reads");
        drop(stdin);
        assert!(sfdisk.wait().expect("it ends").success(), "{script}");
    }

    fn blank(&self, image: &str, bytes: u64) {
        std::fs::File::create(self.path(image))
            .and_then(|file| file.set_len(bytes))
            .expect("a file");
    }

    fn cut(&self, image: &str, bytes: u64) {
        std::fs::File::options()
            .write(true)
            .open(self.path(image))
            .and_then(|file| file.set_len(bytes))
            .expect("it is cut");
    }

    fn firmware(&self, image: &str) -> String {
        let _ = self.init(image, &[]).done();
        let file = self.path(&format!("project-{image}")).join("livepc.toml");
        let text = std::fs::read_to_string(file).expect("the project");
        let line = text.lines().find(|line| line.starts_with("firmware = "));
        line.and_then(|line| line.split('"').nth(1))
            .expect("a word")
            .to_owned()
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn run(program: &str, args: &[&str]) {
    let ran = Command::new(program).args(args).output();
    let ran = ran.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(ran.status.success(), "{program} {args:?}: {ran:?}");
}

/// A machine made of a file that is no disk starts nowhere, and nobody who fetches it can tell why.
#[test]
fn what_tools_make_of_a_disk_is_named_and_not_published() {
    let bench = Bench::new();
    let raw = text(&disk(bench.work.path(), "d.raw", 2, 1));
    for (name, format, options) in [
        ("qcow2", "qcow2", ""),
        ("VMDK", "vmdk", ""),
        ("VMDK", "vmdk", "subformat=monolithicFlat"),
        ("VMDK", "vmdk", "subformat=streamOptimized"),
        ("VDI", "vdi", ""),
        ("VHDX", "vhdx", ""),
        ("VHD", "vpc", ""),
        ("VHD", "vpc", "subformat=fixed,force_size=on"),
        ("QED", "qed", ""),
        ("Parallels", "parallels", ""),
    ] {
        let image = text(&bench.path("image"));
        let mut args = vec!["convert", "-O", format];
        if !options.is_empty() {
            args.extend(["-o", options]);
        }
        args.extend([raw.as_str(), image.as_str()]);
        run("qemu-img", &args);
        let refused = bench.init("image", &[]);
        refused.refused(2, "usage");
        assert!(
            refused.text.contains(&format!("a {name} image")),
            "{}",
            refused.text
        );
        assert!(refused.text.contains("qemu-img convert"), "{}", refused.text);
    }
    for (name, advice, command) in [
        ("gzip", "gunzip -k", "gzip -kc d.raw > image"),
        ("xz", "unxz -k", "xz -kc d.raw > image"),
        ("tar or OVA", "tar -xf", "tar -cf image d.raw"),
    ] {
        let made = format!("cd '{}' && {command}", bench.work.path().display());
        run("sh", &["-c", &made]);
        let refused = bench.init("image", &[]);
        refused.refused(2, "usage");
        assert!(
            refused.text.contains(name) && refused.text.contains(advice),
            "{}",
            refused.text
        );
    }
}

#[test]
fn a_file_that_becomes_something_else_is_refused_unless_its_publisher_insists() {
    let bench = Bench::new();
    let raw = disk(bench.work.path(), "d", 2, 1);
    let _ = bench.init("d", &[]).done();
    let _ = bench.publish("d").done();
    let other = text(&bench.path("other"));
    run("qemu-img", &["convert", "-O", "qcow2", &text(&raw), &other]);
    std::fs::rename(&other, &raw).expect("it takes its place");
    bench.cut("d", MIB * 4);
    let refused = bench.publish("d");
    refused.refused(2, "usage");
    assert!(refused.text.contains("qcow2"), "{}", refused.text);

    std::fs::copy(&raw, bench.path("insist")).expect("a copy");
    let _ = bench.init("insist", &["--as", "raw"]).done();
    assert_eq!(bench.publish("insist").done()["changed"], true);
}

/// A copy that broke off is found by its publisher, not by all subscribers.
#[test]
fn an_image_that_is_cut_off_is_told_and_a_whole_one_is_not() {
    let bench = Bench::new();
    bench.table("gpt", 64 * MIB, "label: gpt\nstart=2048,size=100000\n");
    bench.table("dos", 64 * MIB, "label: dos\nstart=2048,size=100000,type=83\n");
    bench.blank("ext4", 64 * MIB);
    run("mkfs.ext4", &["-q", "-F", &text(&bench.path("ext4"))]);
    bench.blank("vfat", 64 * MIB);
    run("mkfs.vfat", &[&text(&bench.path("vfat"))]);
    for image in ["gpt", "dos", "ext4", "vfat"] {
        let cut = format!("{image}-cut");
        std::fs::copy(bench.path(image), bench.path(&cut)).expect("a copy");
        bench.cut(&cut, 20 * MIB);
        let warnings = |ran: Ran| ran.done()["warnings"].as_array().expect("a list").clone();
        assert_eq!(
            warnings(bench.init(image, &[])),
            Vec::<Value>::new(),
            "{image} is whole"
        );
        for told in [bench.init(&cut, &[]), bench.publish(&cut)] {
            let told = warnings(told);
            let first = told.first().and_then(Value::as_str).unwrap_or_default();
            assert!(
                first.contains("cut off") && first.contains("20971520"),
                "{told:?}"
            );
        }
    }
}

#[test]
fn the_firmware_is_guessed_of_tables_that_sfdisk_makes() {
    let bench = Bench::new();
    for (name, script, firmware) in [
        ("uefi", "label: gpt\nsize=8192,type=U\nsize=20480\n", "uefi"),
        (
            "both",
            "label: gpt\nsize=2048,type=21686148-6449-6E6F-744E-656564454649\nsize=8192,type=U\nsize=20480\n",
            "bios",
        ),
        (
            "legacy",
            "label: gpt\nsize=8192,type=U\nsize=20480,attrs=LegacyBIOSBootable\n",
            "bios",
        ),
        ("gpt", "label: gpt\nsize=20480\n", "bios"),
        ("dos", "label: dos\nsize=20480,type=83,bootable\n", "bios"),
        (
            "dos-uefi",
            "label: dos\nsize=8192,type=ef\nsize=20480,type=83\n",
            "uefi",
        ),
        (
            "dos-both",
            "label: dos\nsize=8192,type=ef\nsize=20480,type=83,bootable\n",
            "bios",
        ),
        (
            "hybrid",
            "label: dos\nstart=1,size=2047,type=ee\nsize=8192,type=ef\nsize=20480,type=7,bootable\n",
            "bios",
        ),
    ] {
        bench.table(name, 32 * MIB, script);
        assert_eq!(bench.firmware(name), firmware, "{name}");
    }
}

/// A boot map of a machine that did not start says that nothing has to be fetched.
#[test]
fn a_start_that_was_none_is_a_failure_and_leaves_no_boot_map() {
    let work = tempfile::tempdir().expect("a folder");
    let publisher = Publisher::new(&disk(work.path(), "1.raw", 2, 1), "Lab");
    let file = publisher.project_folder().join("livepc.toml");
    let bios = std::fs::read_to_string(&file).expect("the project");
    let uefi = bios.replace("firmware = \"bios\"", "firmware = \"uefi\"");
    for project in [uefi, bios] {
        std::fs::write(&file, project).expect("the project is written");
        let refused = publisher.try_publish(&["--record-boot"]);
        refused.refused(1, "failed");
        // Whether UEFI's shell is there before nothing was read for long is a matter of speed.
        assert!(refused.text.contains("did not start"), "{}", refused.text);
        let head = Site::of(&publisher).head();
        assert!(head.releases[0].boot_map.is_none(), "{head:?}");
    }
}
