//! Asking one publisher for news, and following one who moves.

use std::sync::Arc;
use std::time::Duration;

use livepc_format::feed::Feed;
use livepc_protocol::{Code, Problem};
use url::Url;

use super::core::Core;
use crate::address::{self, may_move};
use crate::published::{self, Asking, Kind, Published, Trouble};
use crate::subscription::{self, Subscription};

/// The pauses before a publisher is asked again, past caches, whose answer may be one for the moment.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];

impl Core {
    /// Asks one publisher, and accepts or refuses what it says.
    pub(super) async fn check_feed(self: &Arc<Self>, subscription: &Subscription) -> Result<(), Problem> {
        let id = &subscription.id;
        let mut pauses = PAUSES.iter();
        let mut fresh = false;
        let result = loop {
            match self.ask_publisher(subscription, fresh).await {
                Err(trouble) if trouble.kind != Kind::Settled => {
                    let Some(pause) = pauses.next() else {
                        break Err(address::judge(&self.database, id, trouble, (self.now)())?);
                    };
                    tracing::info!(id, "asked again in a moment: {}", trouble.problem.message);
                    tokio::time::sleep(*pause).await;
                    fresh = true;
                }
                Err(trouble) => break Err(trouble.problem),
                Ok(()) => break Ok(()),
            }
        };
        if let Err(problem) = &result {
            tracing::warn!(id, code = ?problem.code, "{}", problem.message);
            subscription::refused(&self.database, id, problem)?;
        }
        self.cancel_what_was_taken_back(id);
        self.touch();
        result
    }

    async fn ask_publisher(
        self: &Arc<Self>,
        subscription: &Subscription,
        fresh: bool,
    ) -> Result<(), Trouble> {
        let looked = self.look(subscription, &subscription.feed_url, true, fresh).await;
        let published = match looked {
            Ok(Some(published)) => published,
            Ok(None) => {
                return Ok(subscription::unchanged(
                    &self.database,
                    &subscription.id,
                    (self.now)(),
                )?);
            }
            Err(trouble) => return self.ask_elsewhere(subscription, trouble).await,
        };
        subscription::accept(&self.database, &subscription.id, &published, (self.now)())?;
        if let Some(to) = published
            .feed
            .as_ref()
            .and_then(|feed| newly_announced(subscription, feed))
        {
            self.follow_to(subscription, &published.feed_url, to).await;
        }
        Ok(())
    }

    async fn look(
        &self,
        subscription: &Subscription,
        url: &Url,
        same_place: bool,
        fresh: bool,
    ) -> Result<Option<Published>, Trouble> {
        let nothing = published::Known::default();
        let known = if same_place { &subscription.known } else { &nothing };
        let asking = Asking {
            known: Some((known, &subscription.keys)),
            fresh,
        };
        published::look(&self.client, url, asking).await
    }

    /// Goes to the new address that a feed tells, if the same publisher has the same LivePC there.
    pub(super) async fn follow_to(self: &Arc<Self>, subscription: &Subscription, from: &Url, to: &Url) {
        if to == from || !may_move(from, to) {
            return;
        }
        if let Err(trouble) = self.move_to(subscription, to).await {
            let (id, to) = (&subscription.id, livepc_transfer::shown(to));
            tracing::warn!(
                id,
                to,
                "the feed says that it has moved, which is not followed: {}",
                trouble.problem
            );
        }
    }

    async fn move_to(self: &Arc<Self>, subscription: &Subscription, to: &Url) -> Result<(), Trouble> {
        let looked = self.look(subscription, to, false, false).await?;
        let published = looked.ok_or_else(published::gave_no_feed)?;
        subscription::accept(&self.database, &subscription.id, &published, (self.now)()).map(drop)
    }

    /// Where a feed cannot be had, its publisher may be where it has said that its place is.
    async fn ask_elsewhere(
        self: &Arc<Self>,
        subscription: &Subscription,
        trouble: Trouble,
    ) -> Result<(), Trouble> {
        let gone = matches!(trouble.problem.code, Code::NotFound | Code::Network | Code::Login);
        let told = subscription.announced.as_ref();
        let told = told.filter(|to| **to != subscription.feed_url && may_move(&subscription.feed_url, to));
        if let (true, Some(to)) = (gone, told)
            && self.move_to(subscription, to).await.is_ok()
        {
            return Ok(());
        }
        Err(trouble)
    }
}

/// The address that a feed tells since it was read last. One that it has always told is that of the original, of which this
/// may be a copy that somebody has chosen.
fn newly_announced<'a>(subscription: &Subscription, feed: &'a Feed) -> Option<&'a Url> {
    let is_new = |url: &&Url| subscription.announced.as_ref() != Some(*url);
    feed.moved_to
        .as_ref()
        .or_else(|| feed.address.as_ref().filter(is_new))
}
