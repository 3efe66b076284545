//! What a publisher's server says: feed, keys and head, fetched and verified but not yet accepted.

use livepc_format::feed::{self, Feed, Source};
use livepc_format::{Envelope, FormatError, Head, Keys, Release, head, limits, paths};
use livepc_protocol::{Code, Problem};
use livepc_transfer::{Client, Document, Size, TransferError, Validators, shown};
use url::Url;

use crate::problems::{of_format, of_transfer};

/// What the server says. Signatures are valid, and keys and head belong together.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    /// Not given if it has not changed.
    pub(crate) feed: Option<Feed>,
    /// Where the feed is to be asked for from now on: elsewhere than before, if the server says that it has moved for ever.
    pub(crate) feed_url: Url,
    pub(crate) head_url: Url,
    pub(crate) keys: Keys,
    /// Not given if the keys that were accepted before are in force, since the server's are older.
    pub(crate) keys_bytes: Option<Vec<u8>>,
    pub(crate) head: Head,
    pub(crate) head_bytes: Vec<u8>,
    pub(crate) known: Known,
}

/// What is needed to ask whether anything has changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) head_url: Option<Url>,
    pub(crate) feed: Validators,
    pub(crate) head: Validators,
}

/// How a publisher is asked.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asking<'a> {
    /// What was accepted before; `None` at first contact.
    pub(crate) known: Option<(&'a Known, &'a Keys)>,
    /// Past all caches on the way, whatever is known.
    pub(crate) fresh: bool,
}

/// Why nothing could be had or accepted.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    pub(crate) problem: Problem,
    pub(crate) kind: Kind,
}

/// Whether asking again in a moment, past caches, may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No.
    Settled,
    /// Something else came than was asked for: a sign-in page, half a document, nothing.
    Instead,
    /// It is older than something that was accepted, as the copy of one cache may be for a while.
    Behind,
}

impl From<Problem> for Trouble {
    fn from(problem: Problem) -> Self {
        Self {
            problem,
            kind: Kind::Settled,
        }
    }
}

impl Trouble {
    fn of_transfer(error: &TransferError) -> Self {
        of_transfer(error).into()
    }

    fn of_format(error: &FormatError) -> Self {
        let instead = matches!(error, FormatError::Instead { .. });
        Self {
            problem: of_format(error),
            kind: if instead { Kind::Instead } else { Kind::Settled },
        }
    }
}

/// How large a release's manifest is.
pub(crate) fn size_of_manifest(release: &Release) -> Size {
    Size {
        limit: limits::MANIFEST_BYTES,
        signed: Some(release.manifest_bytes),
    }
}

/// Reads the address of a feed or catalog as a person gives it: a URL, or a path of this computer.
pub(crate) fn address(text: &str) -> Result<Url, Problem> {
    let text = text.trim();
    // A password may stand before the host, also where something else is wrong.
    let shown = text.rsplit_once('@').map_or(text, |(_, rest)| rest);
    let wrong = |why: &str| {
        Problem::new(
            Code::Usage,
            format!(
                "“{}” is not an address of a feed: {why}.",
                livepc_format::text::line(shown, 200)
            ),
            "It looks like https://example.org/feed.xml.",
        )
    };
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        Ok(url) if url.scheme() == "file" => Ok(url),
        // A single letter is a drive of Windows.
        Ok(url) if url.scheme().len() > 1 => Err(wrong("only http, https and file are understood")),
        Err(_) if text.contains("://") && text.contains(char::is_whitespace) => {
            Err(wrong("it has a space in it"))
        }
        Err(error) if text.contains("://") => Err(wrong(&error.to_string())),
        _ => {
            let path = std::path::absolute(text).map_err(|_| wrong("it is empty"))?;
            if !path.exists() {
                return Err(wrong("it has no scheme, and there is no such file"));
            }
            Url::from_file_path(path).map_err(|()| wrong("the path cannot be used"))
        }
    }
}

/// Fetches and verifies what the server says; `None` if neither feed nor head has changed since it was asked last.
///
/// Keys are asked for with every changed head: a revocation comes with the first head of a new epoch.
pub(crate) async fn look(
    client: &Client,
    feed_url: &Url,
    asking: Asking<'_>,
) -> Result<Option<Published>, Trouble> {
    let known = asking.known.map(|(known, _)| known);
    let (places, feed_validators) = match places(client, feed_url, asking).await? {
        Feeds::Same => {
            let Some(url) = known.and_then(|known| known.head_url.clone()) else {
                return Ok(None);
            };
            let validators = known.map(|known| known.feed.clone()).unwrap_or_default();
            (vec![(url, None, feed_url.clone())], validators)
        }
        Feeds::New { feeds, validators } => {
            let of = |(feed, kept): (Feed, Url)| (feed.head.clone(), Some(feed), kept);
            (feeds.into_iter().map(of).collect(), validators)
        }
    };
    let mut failed: Option<Trouble> = None;
    for (head_url, mut feed, feed_url) in places {
        let looked = look_at_head(client, &head_url, feed.is_none(), asking).await;
        match looked {
            Ok(None) => return Ok(None),
            Ok(Some(signed)) => {
                // A title of characters that nobody sees is none.
                if let Some(feed) = feed.as_mut().filter(|feed| feed.title.is_empty()) {
                    feed.title.clone_from(&signed.keys.name);
                }
                return Ok(Some(Published {
                    feed,
                    feed_url,
                    known: Known {
                        head_url: Some(head_url.clone()),
                        feed: feed_validators,
                        head: signed.validators,
                    },
                    head_url,
                    keys: signed.keys,
                    keys_bytes: signed.keys_bytes,
                    head: signed.head,
                    head_bytes: signed.head_bytes,
                }));
            }
            // The first place is the one that its publisher means.
            Err(trouble) => failed = failed.or(Some(trouble)),
        }
    }
    Err(failed.unwrap_or_else(|| gave_no_feed().into()))
}

/// As [`look`], at what nothing is known of yet.
pub(crate) async fn first_look(client: &Client, feed_url: &Url) -> Result<Option<Published>, Problem> {
    let looked = look(client, feed_url, Asking::default()).await;
    looked.map_err(|Trouble { mut problem, kind }| {
        let is_another_thing = kind == Kind::Instead
            || matches!(problem.code, Code::NotFound | Code::Failed)
            || feed_url.scheme() == "file";
        if let Some(feed) = feed_in(feed_url).filter(|_| is_another_thing) {
            let feed = shown(&feed);
            problem.hint = format!(
                "If this is the folder of a LivePC, its feed is at {feed}. {}",
                problem.hint
            );
        }
        problem
    })
}

/// Where a feed lies in a folder that its address may have been given instead.
fn feed_in(url: &Url) -> Option<Url> {
    let last = url.path().rsplit('/').next().unwrap_or_default();
    if last.contains('.') {
        return None;
    }
    let mut feed = url.clone();
    feed.set_query(None);
    feed.set_fragment(None);
    feed.set_path(&format!("{}/feed.xml", url.path().trim_end_matches('/')));
    Some(feed)
}

/// A server that gave neither a feed nor a reason.
pub(crate) fn gave_no_feed() -> Problem {
    Problem::new(Code::Network, "The server gave no feed.", "Try again.")
}

enum Feeds {
    Same,
    New {
        /// The feed, read as of each address that may be meant: relative addresses in it lead elsewhere from each. With the
        /// address to ask from now on, if the head is there.
        feeds: Vec<(Feed, Url)>,
        validators: Validators,
    },
}

async fn places(client: &Client, asked: &Url, asking: Asking<'_>) -> Result<Feeds, Trouble> {
    let known = asking.known.map(|(known, _)| known);
    let validators = known
        .filter(|known| known.head_url.is_some() && !asking.fresh)
        .map(|known| &known.feed);
    let ask = async |known| {
        let asking = livepc_transfer::Asking {
            known,
            fresh: asking.fresh,
        };
        let answer = client.document_as(asked, limits::FEED_BYTES, asking).await;
        answer.map_err(|error| Trouble::of_transfer(&error))
    };
    let mut answer = ask(validators).await?;
    // Whose it is at the new place is seen again before it is kept.
    if matches!(answer, Document::NotModified { moved: Some(_) }) {
        answer = ask(None).await?;
    }
    let Document::New {
        bytes,
        validators,
        url: found,
        moved,
        charset,
    } = answer
    else {
        return Ok(Feeds::Same);
    };
    let has_moved = moved.is_some();
    let feed_url = moved.unwrap_or_else(|| asked.clone());
    // A redirect may lead into a storage, where the name of a file says nothing of what lies beside it. That a head is still
    // at the old address says nothing of whose the new one is.
    let mut bases = vec![(&feed_url, &feed_url)];
    let others = [(&found, &feed_url), (asked, asked)];
    bases.extend(others.into_iter().filter(|(base, _)| **base != feed_url));
    let mut feeds: Vec<(Feed, Url)> = Vec::new();
    for (base, kept) in bases {
        let feed = read(&bytes, charset.as_deref(), base).map_err(|error| match known {
            None => at_first_contact(error),
            Some(_) => error,
        })?;
        if feeds.iter().all(|(other, _)| other.head != feed.head) {
            feeds.push((feed, kept.clone()));
        }
    }
    let known_head = known.and_then(|known| known.head_url.as_ref());
    if let Some(head_url) = known_head.filter(|_| !has_moved) {
        feeds.sort_by_key(|(feed, _)| feed.head != *head_url);
    }
    Ok(Feeds::New { feeds, validators })
}

fn read(bytes: &[u8], charset: Option<&str>, base: &Url) -> Result<Feed, Trouble> {
    match feed::read(bytes, charset, base).map_err(|error| Trouble::of_format(&error))? {
        Source::Feed(feed) => Ok(feed),
        Source::Catalog(_) => Err(Problem::new(
            Code::Usage,
            "This is a catalog of LivePCs, not the feed of one.",
            "Add it as a source of the Library, then subscribe to one of its LivePCs.",
        )
        .into()),
    }
}

/// What never was a feed is rather a wrong address than a sick network.
fn at_first_contact(trouble: Trouble) -> Trouble {
    if trouble.kind != Kind::Instead {
        return trouble;
    }
    Trouble {
        kind: Kind::Settled,
        problem: Problem {
            code: Code::Failed,
            hint: "Give the address of its feed, which often ends in .xml. If it is right, see in a browser whether the \
                   network wants you to sign in, then try again."
                .to_owned(),
            ..trouble.problem
        },
    }
}

struct Signed {
    keys: Keys,
    keys_bytes: Option<Vec<u8>>,
    head: Head,
    head_bytes: Vec<u8>,
    validators: Validators,
}

async fn look_at_head(
    client: &Client,
    head_url: &Url,
    same_feed: bool,
    asking: Asking<'_>,
) -> Result<Option<Signed>, Trouble> {
    // The head's validators are those of its old address.
    let same_place = |known: &&Known| known.head_url.as_ref() == Some(head_url);
    let known = asking.known.map(|(known, _)| known).filter(same_place);
    let answer = client
        .document_as(
            head_url,
            limits::HEAD_BYTES,
            livepc_transfer::Asking {
                known: known
                    .filter(|_| same_feed && !asking.fresh)
                    .map(|known| &known.head),
                fresh: asking.fresh,
            },
        )
        .await
        .map_err(|error| Trouble::of_transfer(&error))?;
    let Document::New {
        bytes: head_bytes,
        validators,
        ..
    } = answer
    else {
        return Ok(None);
    };
    let keys_bytes = keys_beside(client, head_url, asking.fresh).await?;
    let pinned = asking.known.map(|(_, keys)| keys);
    let (keys, head, are_older) = open(&keys_bytes, &head_bytes, pinned)?;
    Ok(Some(Signed {
        keys,
        keys_bytes: (!are_older).then_some(keys_bytes),
        head,
        head_bytes: head_bytes.to_vec(),
        validators,
    }))
}

/// Opens a head with the keys beside it; with the pinned ones, if they say all that those say and more. True if they do.
fn open(keys: &[u8], head: &[u8], pinned: Option<&Keys>) -> Result<(Keys, Head, bool), Trouble> {
    let keys = Keys::open(keys).map_err(|error| Trouble::of_format(&error))?;
    let newer = pinned.filter(|pinned| pinned.extends(&keys) && **pinned != keys);
    if let Some(pinned) = newer
        && let Ok(head) = Head::open(head, pinned)
    {
        return Ok((pinned.clone(), head, true));
    }
    match Head::open(head, &keys) {
        Ok(head) => Ok((keys, head, false)),
        Err(FormatError::Foreign { .. }) if is_of_earlier_key(head, &keys) => Err(behind(
            "The server's list of releases is signed with a key that its publisher has replaced: it is older than the keys \
             beside it.",
        )),
        Err(FormatError::BadSignature { .. }) if says_later_epoch(head, &keys) => Err(behind(
            "The server's keys are older than the list of releases beside them.",
        )),
        Err(error) => Err(Trouble::of_format(&error)),
    }
}

/// What is told of what is older than it should be: one of several caches may not have what the others have.
pub(crate) fn behind(message: impl Into<String>) -> Trouble {
    Trouble {
        problem: Problem::new(
            Code::Network,
            message,
            "Some of its copies are behind others for a while; it is asked again. What is here works.",
        ),
        kind: Kind::Behind,
    }
}

/// True if a head is as a key before the newest has signed it, in its time.
fn is_of_earlier_key(head: &[u8], keys: &Keys) -> bool {
    std::iter::successors(keys.before(), Keys::before).any(|keys| Head::open(head, &keys).is_ok())
}

/// True if a head says that it is of a later epoch than the newest of the keys. Nobody vouches for that.
fn says_later_epoch(head: &[u8], keys: &Keys) -> bool {
    #[derive(serde::Deserialize)]
    struct Says {
        epoch: u32,
    }
    let envelope = Envelope::parse("head.json", head::TYPE, head, limits::HEAD_BYTES);
    let says = envelope
        .ok()
        .and_then(|envelope| serde_json::from_str::<Says>(&envelope.payload).ok());
    says.is_some_and(|says| says.epoch > keys.epoch())
}

async fn keys_beside(client: &Client, head: &Url, fresh: bool) -> Result<Vec<u8>, Trouble> {
    // A head's URL came out of a feed with a scheme that has paths.
    let url = head.join(paths::KEYS).unwrap_or_else(|_| head.clone());
    let asking = livepc_transfer::Asking { known: None, fresh };
    let answer = client.document_as(&url, limits::KEYS_BYTES, asking).await;
    match answer.map_err(|error| Trouble::of_transfer(&error))? {
        Document::New { bytes, .. } => Ok(bytes.to_vec()),
        Document::NotModified { .. } => Err(Problem::new(
            Code::Network,
            format!(
                "{} answered “not modified” to a first request.",
                livepc_transfer::shown(&url)
            ),
            "Try again.",
        )
        .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_names_a_folder_is_told_where_its_feed_is() {
        for (given, feed) in [
            ("https://a.example/", Some("https://a.example/feed.xml")),
            ("https://a.example/lab/", Some("https://a.example/lab/feed.xml")),
            (
                "https://a.example/lab?x=1",
                Some("https://a.example/lab/feed.xml"),
            ),
            ("file:///srv/lab", Some("file:///srv/lab/feed.xml")),
            ("https://a.example/lab/feed.xml", None),
            ("https://a.example/index.html", None),
        ] {
            let url = Url::parse(given).unwrap();
            assert_eq!(feed_in(&url).map(String::from).as_deref(), feed, "{given}");
        }
    }

    #[test]
    fn addresses_as_people_give_them() {
        assert_eq!(
            address(" https://a.example/feed.xml ").unwrap().as_str(),
            "https://a.example/feed.xml"
        );
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("feed.xml");
        std::fs::write(&file, "").unwrap();
        assert_eq!(address(file.to_str().unwrap()).unwrap().scheme(), "file");
        for bad in [
            "",
            "ftp://a.example/",
            "javascript:alert(1)",
            "no such file",
            "https://",
        ] {
            assert_eq!(address(bad).unwrap_err().code, Code::Usage, "{bad:?}");
        }
        for (bad, why) in [
            ("http://host:99999/feed.xml", "invalid port number"),
            ("http://ex ample.org/", "it has a space in it"),
        ] {
            let problem = address(bad).unwrap_err();
            assert!(problem.message.contains(why), "{problem}");
        }
    }
}
