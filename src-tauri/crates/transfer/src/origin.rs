//! Where a LivePC is published: one folder, and its mirrors.

use url::Url;

/// The folders that have a LivePC's files, the preferred one first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    bases: Vec<Url>,
}

impl Origin {
    /// The folder of `head` (the URL of a `head.json`), then the head's mirrors.
    ///
    /// A mirror that is weaker than the head's own URL is left out: a local folder unless the head is local,
    /// and plain HTTP if the head came over HTTPS.
    #[must_use]
    pub fn of_head(head: &Url, mirrors: &[Url]) -> Self {
        // "." resolves against every URL that has a path; others have no folder, and are used as they are.
        let first = head.join(".").unwrap_or_else(|_| head.clone());
        let fits = |mirror: &&Url| {
            let fits = match mirror.scheme() {
                "https" => true,
                "http" => first.scheme() != "https",
                "file" => first.scheme() == "file",
                _ => false,
            };
            if !fits {
                tracing::warn!(mirror = %crate::error::shown(mirror), "a mirror that is weaker than its head is not used");
            }
            fits
        };
        let mirrors: Vec<Url> = mirrors.iter().filter(fits).cloned().collect();
        Self::new(std::iter::once(first).chain(mirrors))
    }

    /// These folders; each is taken as a folder, whether or not it ends in `/`.
    #[must_use]
    pub fn new(bases: impl IntoIterator<Item = Url>) -> Self {
        let mut folders: Vec<Url> = Vec::new();
        for base in bases {
            let mut base = crate::login::without_login(&base);
            if !base.path().ends_with('/') {
                base.set_path(&format!("{}/", base.path()));
            }
            base.set_query(None);
            base.set_fragment(None);
            if !folders.contains(&base) {
                folders.push(base);
            }
        }
        Self { bases: folders }
    }

    /// The folders, each with `/` at its end.
    #[must_use]
    pub fn bases(&self) -> &[Url] {
        &self.bases
    }

    /// Where the file at `path` (relative, one of [`livepc_format::paths`]) lies in each folder.
    pub fn urls<'a>(&'a self, path: &'a str) -> impl Iterator<Item = Url> + 'a {
        self.bases.iter().map(move |base| join(base, path))
    }
}

/// The file at `path` in the folder `base`.
pub(crate) fn join(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path()));
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn the_heads_folder_comes_first() {
        let origin = Origin::of_head(
            &url("https://a.example/lab/head.json?x=1"),
            &[url("https://b.example/lab"), url("https://a.example/lab/")],
        );
        let urls: Vec<String> = origin.urls("packs/1.pack").map(String::from).collect();
        assert_eq!(
            urls,
            [
                "https://a.example/lab/packs/1.pack",
                "https://b.example/lab/packs/1.pack"
            ],
            "in order, each once"
        );
    }

    #[test]
    fn mirrors_never_weaken_the_first() {
        let mirrors = [
            url("http://b.example/"),
            url("file:///etc/"),
            url("ftp://c.example/"),
        ];
        assert_eq!(
            Origin::of_head(&url("https://a.example/head.json"), &mirrors)
                .bases()
                .len(),
            1
        );
        assert_eq!(
            Origin::of_head(&url("http://a.example/head.json"), &mirrors)
                .bases()
                .len(),
            2
        );
        assert_eq!(
            Origin::of_head(&url("file:///srv/head.json"), &mirrors)
                .bases()
                .len(),
            3
        );
    }
}
