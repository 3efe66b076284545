//! `config`.

use livepc_protocol::{Answer, Problem, Request};
use serde_json::{Map, Value, json};

use crate::args::ConfigVerb;
use crate::session::{Session, unexpected};

pub(crate) async fn run(session: &Session<'_>, verb: ConfigVerb) -> Result<(), Problem> {
    let names = match &verb {
        ConfigVerb::Get { name: None } => livepc_engine::config::names()
            .into_iter()
            .map(str::to_owned)
            .collect(),
        ConfigVerb::Get { name: Some(name) } | ConfigVerb::Set { name, .. } => vec![name.clone()],
    };
    let client = session.client().await?;
    let mut settings = Map::new();
    for name in names {
        let request = match &verb {
            ConfigVerb::Set { value, .. } => Request::ConfigSet {
                name,
                value: value.clone(),
            },
            ConfigVerb::Get { .. } => Request::ConfigGet { name },
        };
        let Answer::Setting { name, value } = client.call(request).await? else {
            return Err(unexpected());
        };
        settings.insert(name, Value::String(value));
    }
    session.output.result(&json!({"settings": settings}), || {
        let lines = settings
            .iter()
            .map(|(name, value)| format!("{name} = {}", value.as_str().unwrap_or_default()));
        lines.collect::<Vec<_>>().join("\n")
    });
    Ok(())
}
