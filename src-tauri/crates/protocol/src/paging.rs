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

    /// The request for the page behind this answer; none if it is the last one. An answer that ends where it began is.
    #[must_use]
    pub fn page_behind(&self, answer: &Answer) -> Option<Self> {
        match (self, answer) {
            (Self::Search { text, after }, Answer::Library { next, .. })
                if next.is_some() && next != after =>
            {
                Some(Self::Search {
                    text: text.clone(),
                    after: next.clone(),
                })
            }
            (Self::List { after }, Answer::List { next, .. }) if next.is_some() && next != after => {
                Some(Self::List { after: next.clone() })
            }
            (Self::Show { id, after, exact }, Answer::Shown { next, .. })
                if next.is_some() && next != after =>
            {
                Some(Self::Show {
                    id: id.clone(),
                    after: *next,
                    exact: *exact,
                })
            }
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
}
