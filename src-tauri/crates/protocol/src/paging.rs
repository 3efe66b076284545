//! Answers that come in pages, so that none is larger than a message may be.

use crate::{Answer, Request};

impl Request {
    /// Lists the subscriptions, from the first.
    #[must_use]
    pub fn list() -> Self {
        Self::List { after: None }
    }

    /// Shows a subscription, with its releases from the newest.
    #[must_use]
    pub fn show(id: impl Into<String>) -> Self {
        Self::Show {
            id: id.into(),
            after: None,
            exact: false,
        }
    }

    /// As [`show`](Self::show), but by no beginning of an id: before what cannot be undone.
    #[must_use]
    pub fn show_exactly(id: impl Into<String>) -> Self {
        Self::Show {
            id: id.into(),
            after: None,
            exact: true,
        }
    }

    /// Searches the Library, from the first entry.
    #[must_use]
    pub fn search(text: impl Into<String>) -> Self {
        Self::Search {
            text: text.into(),
            after: None,
        }
    }

    /// Lists the sources, from the first.
    #[must_use]
    pub fn source_list() -> Self {
        Self::SourceList { after: None }
    }

    /// Lists who is known to which server, from the first.
    #[must_use]
    pub fn logins() -> Self {
        Self::Logins { after: None }
    }

    /// Checks a subscription, or all, from the first.
    #[must_use]
    pub fn update(id: Option<String>, check: bool) -> Self {
        Self::Update {
            id,
            check,
            after: None,
        }
    }

    /// Where the page ended that this request goes on from.
    fn after(&self) -> Option<&String> {
        match self {
            Self::Search { after, .. }
            | Self::List { after }
            | Self::SourceList { after }
            | Self::Logins { after }
            | Self::Update { after, .. } => after.as_ref(),
            _ => None,
        }
    }

    /// The request for the page behind this answer; none if it is the last one. An answer that ends where it began is.
    #[must_use]
    pub fn page_behind(&self, answer: &Answer) -> Option<Self> {
        if let (Self::Show { id, after, exact }, Answer::Shown { next, .. }) = (self, answer) {
            return (next.is_some() && next != after).then(|| Self::Show {
                id: id.clone(),
                after: *next,
                exact: *exact,
            });
        }
        let (Answer::Library { next, .. }
        | Answer::List { next, .. }
        | Answer::Sources { next, .. }
        | Answer::Logins { next, .. }
        | Answer::Updates { next, .. }) = answer
        else {
            return None;
        };
        if next.is_none() || next.as_ref() == self.after() {
            return None;
        }
        let after = next.clone();
        match (self, answer) {
            (Self::Search { text, .. }, Answer::Library { .. }) => Some(Self::Search {
                text: text.clone(),
                after,
            }),
            (Self::List { .. }, Answer::List { .. }) => Some(Self::List { after }),
            (Self::Update { id, check, .. }, Answer::Updates { .. }) => Some(Self::Update {
                id: id.clone(),
                check: *check,
                after,
            }),
            // Whatever was done with one of them, the others are only to be listed.
            (_, Answer::Sources { .. }) => Some(Self::SourceList { after }),
            (_, Answer::Logins { .. }) => Some(Self::Logins { after }),
            _ => None,
        }
    }
}

impl Answer {
    /// Adds the page behind this answer to it. A page of something else adds nothing.
    pub fn add_page(&mut self, page: Self) {
        match (self, page) {
            (
                Self::Library { entries, next, .. },
                Self::Library {
                    entries: more,
                    next: behind,
                    ..
                },
            ) => {
                entries.extend(more);
                *next = behind;
            }
            (
                Self::List { livepcs, next },
                Self::List {
                    livepcs: more,
                    next: behind,
                },
            ) => {
                livepcs.extend(more);
                *next = behind;
            }
            (
                Self::Shown { releases, next, .. },
                Self::Shown {
                    releases: more,
                    next: behind,
                    ..
                },
            ) => {
                releases.extend(more);
                *next = behind;
            }
            (
                Self::Updates { updates, next },
                Self::Updates {
                    updates: more,
                    next: behind,
                },
            ) => {
                updates.extend(more);
                *next = behind;
            }
            (
                Self::Logins { logins, next },
                Self::Logins {
                    logins: more,
                    next: behind,
                },
            ) => {
                logins.extend(more);
                *next = behind;
            }
            (
                Self::Sources { sources, next },
                Self::Sources {
                    sources: more,
                    next: behind,
                },
            ) => {
                sources.extend(more);
                *next = behind;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(next: Option<&str>) -> Answer {
        Answer::Library {
            entries: Vec::new(),
            total: 0,
            sources: Vec::new(),
            next: next.map(str::to_owned),
        }
    }

    #[test]
    fn pages_follow_each_other_until_there_is_none_or_one_that_leads_nowhere() {
        let first = Request::search("x");
        let second = first.page_behind(&page(Some("a"))).expect("there is more");
        assert_eq!(
            second,
            Request::Search {
                text: "x".into(),
                after: Some("a".into())
            }
        );
        assert_eq!(second.page_behind(&page(None)), None);
        assert_eq!(
            second.page_behind(&page(Some("a"))),
            None,
            "for ever the same page"
        );
        assert_eq!(first.page_behind(&Answer::Done), None);
    }

    /// What changes something is not done again for its second page, but for updates: there the rest is still to be checked.
    #[test]
    fn behind_a_change_the_rest_is_only_listed() {
        let next = Some("a".to_owned());
        let after = next.clone();
        let sources = Answer::Sources {
            sources: Vec::new(),
            next: next.clone(),
        };
        let logins = Answer::Logins {
            logins: Vec::new(),
            next: next.clone(),
        };
        let updates = Answer::Updates {
            updates: Vec::new(),
            next,
        };
        let url = String::new;
        for request in [
            Request::SourceAdd { url: url() },
            Request::SourceRemove { url: url() },
            Request::SourceRefresh,
            Request::source_list(),
        ] {
            let behind = request.page_behind(&sources).expect("there is more");
            assert_eq!(behind, Request::SourceList { after: after.clone() });
            assert_eq!(behind.page_behind(&sources), None, "for ever the same page");
            assert_eq!(request.page_behind(&Answer::Done), None);
        }
        for request in [Request::Logout { url: url() }, Request::logins()] {
            let behind = request.page_behind(&logins).expect("there is more");
            assert_eq!(behind, Request::Logins { after: after.clone() });
            assert_eq!(behind.page_behind(&logins), None, "for ever the same page");
        }
        let behind = Request::update(None, true)
            .page_behind(&updates)
            .expect("there is more");
        let (id, check) = (None, true);
        assert_eq!(behind, Request::Update { id, check, after });
        assert_eq!(behind.page_behind(&updates), None, "for ever the same page");
        assert_eq!(
            Request::source_list().page_behind(&updates),
            None,
            "no answer to that"
        );

        let mut whole = updates;
        whole.add_page(Answer::Updates {
            updates: Vec::new(),
            next: None,
        });
        assert_eq!(behind.page_behind(&whole), None, "the last page is the last");
    }
}
