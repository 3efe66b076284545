//! `livepc://` links: the only thing that one can do is to ask whether to subscribe.

use tauri::AppHandle;
use url::Url;

use crate::message::{self, Message};

/// Opens what a link asks for; anything but a sound question is ignored.
pub(crate) fn open(app: &AppHandle, link: &Url) {
    match feed_of(link) {
        Some(feed) => {
            let message = Message {
                feed: Some(feed.into()),
                ..Message::default()
            };
            message::tell(app, message);
        }
        None => tracing::warn!("a link was ignored: it does not ask to subscribe to a feed"),
    }
}

/// The feed of `livepc://subscribe?feed=https://…`, with nothing else in the link.
fn feed_of(link: &Url) -> Option<Url> {
    if link.scheme() != "livepc" || link.host_str() != Some("subscribe") || !matches!(link.path(), "" | "/") {
        return None;
    }
    let mut pairs = link.query_pairs();
    let (Some((name, value)), None, None) = (pairs.next(), pairs.next(), link.fragment()) else {
        return None;
    };
    let feed = Url::parse(&value).ok()?;
    let plain = feed.username().is_empty() && feed.password().is_none() && value.len() <= 2000;
    (name == "feed" && feed.scheme() == "https" && feed.has_host() && plain).then_some(feed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(link: &str) -> Option<String> {
        feed_of(&Url::parse(link).unwrap()).map(String::from)
    }

    #[test]
    fn a_link_can_only_ask_to_subscribe() {
        let good = "livepc://subscribe?feed=https://a.example/feed.xml";
        assert_eq!(feed(good).as_deref(), Some("https://a.example/feed.xml"));
        for bad in [
            "livepc://start?id=lab",
            "livepc://subscribe?feed=http://a.example/feed.xml",
            "livepc://subscribe?feed=file:///etc/passwd",
            "livepc://subscribe?feed=javascript:alert(1)",
            "livepc://subscribe?feed=https://joe:pw@a.example/feed.xml",
            "livepc://subscribe?feed=https://a.example/feed.xml&yes=1",
            "livepc://subscribe/start?feed=https://a.example/feed.xml",
            "livepc://subscribe",
            "https://subscribe?feed=https://a.example/feed.xml",
        ] {
            assert_eq!(feed(bad), None, "{bad}");
        }
    }
}
