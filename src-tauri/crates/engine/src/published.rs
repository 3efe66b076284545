//! What a publisher's server says: feed, keys and head, fetched and verified but not yet accepted.

use livepc_format::feed::{self, Feed, Source};
use livepc_format::{Head, Keys, limits, paths};
use livepc_protocol::{Code, Problem};
use livepc_transfer::{Client, Document, Validators};
use url::Url;

use crate::problems::{of_format, of_transfer};

/// What the server says. Signatures are valid, and keys and head belong together.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    /// Not given if it has not changed.
    pub(crate) feed: Option<Feed>,
    pub(crate) head_url: Url,
    pub(crate) keys: Keys,
    pub(crate) keys_bytes: Vec<u8>,
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
        _ => {
            let path = std::path::absolute(text).map_err(|_| wrong("it is empty"))?;
            if !path.exists() {
                return Err(wrong("it has no scheme, and there is no such file"));
            }
            Url::from_file_path(path).map_err(|()| wrong("the path cannot be used"))
        }
    }
}

/// Fetches and verifies what the server says; `None` if neither feed nor head has changed since `known`.
///
/// Keys are asked for with every changed head: a revocation comes with the first head of a new epoch.
pub(crate) async fn look(
    client: &Client,
    feed_url: &Url,
    known: Option<&Known>,
) -> Result<Option<Published>, Problem> {
    let validators = known
        .filter(|known| known.head_url.is_some())
        .map(|known| &known.feed);
    let answer = client
        .document(feed_url, limits::FEED_BYTES, validators)
        .await
        .map_err(|e| of_transfer(&e))?;
    let (mut feed, feed_validators) = match answer {
        Document::NotModified => (None, validators.cloned().unwrap_or_default()),
        Document::New {
            bytes,
            validators,
            url,
        } => (Some(read(&bytes, &url)?), validators),
    };
    let head_url = match (&feed, known.and_then(|known| known.head_url.clone())) {
        (Some(feed), _) => feed.head.clone(),
        (None, Some(url)) => url,
        (None, None) => return Ok(None),
    };
    // The head's validators are those of its old address.
    let same_place = known.is_some_and(|known| known.head_url.as_ref() == Some(&head_url));
    let validators = known
        .filter(|_| same_place && feed.is_none())
        .map(|known| &known.head);
    let answer = client
        .document(&head_url, limits::HEAD_BYTES, validators)
        .await
        .map_err(|e| of_transfer(&e))?;
    let Document::New {
        bytes: head_bytes,
        validators: head_validators,
        ..
    } = answer
    else {
        return Ok(None);
    };
    let keys_bytes = fetch(client, beside(&head_url, paths::KEYS), limits::KEYS_BYTES).await?;
    let keys = Keys::open(&keys_bytes).map_err(|e| of_format(&e))?;
    let head = Head::open(&head_bytes, &keys).map_err(|e| of_format(&e))?;
    // A title of characters that nobody sees is none.
    if let Some(feed) = feed.as_mut().filter(|feed| feed.title.is_empty()) {
        feed.title.clone_from(&keys.name);
    }
    let known = Known {
        head_url: Some(head_url.clone()),
        feed: feed_validators,
        head: head_validators,
    };
    Ok(Some(Published {
        feed,
        head_url,
        keys,
        keys_bytes,
        head,
        head_bytes: head_bytes.to_vec(),
        known,
    }))
}

fn read(bytes: &[u8], url: &Url) -> Result<Feed, Problem> {
    match feed::read(bytes, url).map_err(|e| of_format(&e))? {
        Source::Feed(feed) => Ok(feed),
        Source::Catalog(_) => Err(Problem::new(
            Code::Usage,
            "This is a catalog of LivePCs, not the feed of one.",
            "Add it as a source of the Library, then subscribe to one of its LivePCs.",
        )),
    }
}

async fn fetch(client: &Client, url: Url, limit: u64) -> Result<Vec<u8>, Problem> {
    match client
        .document(&url, limit, None)
        .await
        .map_err(|e| of_transfer(&e))?
    {
        Document::New { bytes, .. } => Ok(bytes.to_vec()),
        Document::NotModified => Err(Problem::new(
            Code::Network,
            format!("{url} answered “not modified” to a first request."),
            "Try again.",
        )),
    }
}

fn beside(head: &Url, name: &str) -> Url {
    // A head's URL came out of a feed with a scheme that has paths.
    head.join(name).unwrap_or_else(|_| head.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
