//! `subscribe` and `unsubscribe`.

use livepc_protocol::{Answer, Code, Preview, Problem, Request};
use serde_json::json;

use crate::output::bytes;
use crate::session::{Session, unexpected};
use crate::verbs::login;

pub(crate) async fn subscribe(
    session: &Session<'_>,
    feed_url: String,
    yes: bool,
    fingerprint: Option<String>,
) -> Result<(), Problem> {
    let client = session.client().await?;
    let confirmed = match fingerprint {
        Some(fingerprint) => fingerprint,
        None => {
            let request = Request::Preview {
                feed_url: feed_url.clone(),
            };
            let Answer::Preview { preview } = login::call(session, &client, request).await? else {
                return Err(unexpected());
            };
            if let Some(like) = preview
                .looks_like
                .as_ref()
                .filter(|_| preview.subscribed.is_none())
            {
                session.output.note(&format!(
                    "“{}” looks like “{}” ({}), which you are subscribed to, but its publisher has another key:\n  this    {}\n  \
                     yours   {}",
                    preview.title, like.title, like.id, preview.fingerprint, like.fingerprint
                ));
            }
            if preview.subscribed.is_none() && !yes {
                confirm(session, &preview).await?;
            }
            preview.fingerprint
        }
    };
    let request = Request::Subscribe {
        feed_url,
        fingerprint: confirmed,
        download: false,
    };
    let Answer::LivePc { livepc } = login::call(session, &client, request).await? else {
        return Err(unexpected());
    };
    session.output.result(&json!(livepc), || {
        format!(
            "Subscribed to “{}” as {}.\nStart it with “livepc start {}”: what a start reads is {} of {}.",
            livepc.title,
            livepc.id,
            livepc.id,
            bytes(livepc.boot_bytes_total),
            bytes(livepc.bytes_total)
        )
    });
    Ok(())
}

async fn confirm(session: &Session<'_>, preview: &Preview) -> Result<(), Problem> {
    if !session.output.can_ask() {
        return Err(Problem::new(
            Code::Usage,
            format!(
                "The publisher's key has to be confirmed; its fingerprint is {}.",
                preview.fingerprint
            ),
            format!(
                "Compare it with what the publisher says elsewhere, then add --fingerprint \"{}\".",
                preview.fingerprint
            ),
        ));
    }
    let host = if preview.host.is_empty() {
        "this computer"
    } else {
        &preview.host
    };
    let publisher = match preview.publisher.as_str() {
        "" => format!("published on {host}"),
        publisher => format!("published by {publisher} on {host}"),
    };
    let summary = match preview.summary.as_str() {
        "" => String::new(),
        summary => format!("\n  {summary}"),
    };
    session.output.note(&format!(
        "“{}”, {publisher}{summary}\n  {} to start, {} in all; {} free here\n  key {}\n\
         The key is remembered: later releases must be signed under it. Compare it with what the publisher says elsewhere.",
        preview.title,
        bytes(preview.boot_ready_bytes),
        bytes(preview.full_bytes),
        bytes(preview.free),
        preview.fingerprint
    ));
    if preview.expired {
        session
            .output
            .note("The publisher's list of releases is older than it should be: a newer one may be withheld from you.");
    }
    if session.output.ask("Subscribe?").await {
        Ok(())
    } else {
        Err(Problem::new(
            Code::Failed,
            "Not subscribed.",
            "Nothing was changed.",
        ))
    }
}

pub(crate) async fn unsubscribe(
    session: &Session<'_>,
    id: String,
    keep_data: bool,
    delete_data: bool,
) -> Result<(), Problem> {
    let client = session.client().await?;
    let Answer::Shown { livepc, .. } = client.call(Request::show_exactly(id)).await? else {
        return Err(unexpected());
    };
    if !keep_data && !delete_data {
        return Err(Problem::new(
            Code::Usage,
            format!(
                "The machine of “{}” has {} of its own.",
                livepc.title,
                bytes(livepc.machine_bytes)
            ),
            "Add --keep-data or --delete-data.",
        ));
    }
    client
        .call(Request::Unsubscribe {
            id: livepc.id.clone(),
            delete_data,
        })
        .await?;
    session.output.result(
        &json!({"id": livepc.id, "unsubscribed": true, "data_deleted": delete_data}),
        || format!("No longer subscribed to “{}”.", livepc.title),
    );
    Ok(())
}
