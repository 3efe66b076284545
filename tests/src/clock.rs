//! The system's clock, as the processes of a test see it: libfaketime stands between them. What only ever goes on, and pauses
//! are measured by, goes on.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::home::TestHome;

/// A clock that can be set.
#[derive(Debug)]
pub struct Clock {
    file: PathBuf,
    _work: TempDir,
}

impl Clock {
    /// Has the processes that a home starts from now on look at a clock that is right, until it is set. They are where the
    /// time is UTC.
    #[must_use]
    pub fn of(home: &mut TestHome) -> Self {
        let work = tempfile::tempdir().expect("a folder for the clock");
        let clock = Self {
            file: work.path().join("clock"),
            _work: work,
        };
        clock.set_ahead(0);
        let library = std::fs::read_dir("/usr/lib").expect("libraries").flatten();
        let library = library.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
        let library = library.into_iter().find(|file| file.exists());
        let library = library
            .expect("install the package libfaketime")
            .display()
            .to_string();
        for (name, value) in [
            ("LD_PRELOAD", library.as_str()),
            ("FAKETIME_TIMESTAMP_FILE", clock.file.to_str().expect("UTF-8")),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("DONT_FAKE_MONOTONIC", "1"),
            ("TZ", "UTC"),
        ] {
            home.set_variable(name, value);
        }
        clock
    }

    /// Sets it so many seconds ahead of what is right, or back.
    pub fn set_ahead(&self, seconds: i64) {
        let next = self.file.with_extension("next");
        // Whoever looks sees the one or the other.
        std::fs::write(&next, format!("{seconds:+}")).expect("the clock is written");
        std::fs::rename(&next, &self.file).expect("the clock is set");
    }
}
