//! `key`: the publisher's keys, and their password.

use std::io::Read as _;

use livepc_protocol::{Code, Problem};
use livepc_publish::{KeyFolder, PublicKeys};
use serde_json::{Value, json};

use crate::args::publisher::KeyVerb;
use crate::output::typed;
use crate::session::Session;
use crate::verbs::publish::of_publish;

/// Bytes that are read of a file with a password.
const PASSWORD_FILE: u64 = 64 * 1024;

pub(crate) async fn run(session: &Session<'_>, verb: KeyVerb) -> Result<(), Problem> {
    let keys = KeyFolder::new(session.home.keys());
    match verb {
        KeyVerb::New { no_password } => {
            let password = if no_password {
                None
            } else {
                Some(new_password(session).await?)
            };
            let public = keys.create(password.as_deref()).map_err(|e| of_publish(&e))?;
            tell(session, &public);
        }
        KeyVerb::Rotate { no_password } => rotate(session, &keys, no_password).await?,
        KeyVerb::Show => tell(session, &keys.public().map_err(|e| of_publish(&e))?),
    }
    Ok(())
}

fn tell(session: &Session<'_>, public: &PublicKeys) {
    session.output.result(&object(session, public), || {
        format!(
            "{}\nThe keys are in {}. Keep the root key offline: it is needed for the first release of a LivePC, and to \
             replace a signing key.",
            describe(public),
            session.home.keys().display()
        )
    });
}

fn object(session: &Session<'_>, public: &PublicKeys) -> Value {
    json!({
        "root_key": public.root,
        "fingerprint": public.root.fingerprint().to_string(),
        "signing_key": public.signing,
        "folder": session.home.keys().display().to_string(),
    })
}

fn describe(public: &PublicKeys) -> String {
    format!(
        "fingerprint  {}\nroot key     {}\nsigning key  {}",
        public.root.fingerprint(),
        public.root,
        public.signing
    )
}

/// Replaces the signing key. The new one gets the root key's password, if that has one: a publication that needs both asks
/// once.
async fn rotate(session: &Session<'_>, keys: &KeyFolder, no_password: bool) -> Result<(), Problem> {
    let of_root = if keys.root_needs_password().map_err(|e| of_publish(&e))? {
        Some(known_password(session, "Password of your root key: ").await?)
    } else {
        None
    };
    let of_new = match &of_root {
        _ if no_password => None,
        Some(password) => Some(password.clone()),
        None => Some(new_password(session).await?),
    };
    let rotated = keys
        .rotate(of_root.as_deref(), of_new.as_deref(), jiff::Timestamp::now())
        .map_err(|e| of_publish(&e))?;
    let mut object = object(session, &rotated.keys);
    object["kept"] = json!(rotated.kept.as_ref().map(|path| path.display().to_string()));
    session.output.result(&object, || {
        let kept = match &rotated.kept {
            Some(path) => format!("The signing key before is kept at {}.", path.display()),
            None => "There was no signing key before.".into(),
        };
        format!(
            "{}\n{kept}\nNow publish each of your LivePCs, with --renew if there is no new release, and then take the root \
             key away again: subscribers learn of the new key there, and trust the old one until then.",
            describe(&rotated.keys)
        )
    });
    Ok(())
}

/// The password that opens the keys, if they have one.
pub(crate) async fn password(session: &Session<'_>, keys: &KeyFolder) -> Result<Option<String>, Problem> {
    if !keys.needs_password().map_err(|e| of_publish(&e))? {
        return Ok(None);
    }
    known_password(session, "Password of your keys: ").await.map(Some)
}

async fn known_password(session: &Session<'_>, prompt: &'static str) -> Result<String, Problem> {
    match from_file()? {
        Some(password) => Ok(password),
        None => ask(session, prompt).await,
    }
}

async fn new_password(session: &Session<'_>) -> Result<String, Problem> {
    if let Some(password) = from_file()? {
        return Ok(password);
    }
    let password = ask(session, "A password for your keys: ").await?;
    if password.is_empty() {
        return Err(Problem::new(
            Code::Usage,
            "The password is empty.",
            "For keys without one, add --no-password.",
        ));
    }
    if ask(session, "The same again: ").await? != password {
        return Err(Problem::new(
            Code::Usage,
            "The two passwords differ.",
            "Nothing was made; try again.",
        ));
    }
    Ok(password)
}

fn from_file() -> Result<Option<String>, Problem> {
    let Some(file) = std::env::var_os("LIVEPC_KEY_PASSWORD_FILE").filter(|file| !file.is_empty()) else {
        return Ok(None);
    };
    // It may be a pipe: whoever names one wants it waited for.
    let read = || {
        let mut text = String::new();
        std::fs::File::open(&file)?
            .take(PASSWORD_FILE)
            .read_to_string(&mut text)?;
        Ok::<_, std::io::Error>(text)
    };
    let text = read().map_err(|e| {
        Problem::io(
            &format!("The password cannot be read from {}", file.to_string_lossy()),
            &e,
        )
    })?;
    Ok(Some(text.lines().next().unwrap_or_default().to_owned()))
}

async fn ask(session: &Session<'_>, prompt: &'static str) -> Result<String, Problem> {
    if !session.output.can_ask() {
        return Err(Problem::new(
            Code::Usage,
            "The keys' password is needed, and nobody can be asked.",
            "Put it into a file that only you can read, and name that in LIVEPC_KEY_PASSWORD_FILE.",
        ));
    }
    let asked = typed(move || rpassword::prompt_password(prompt)).await;
    asked.map_err(|e| Problem::io("The password cannot be read", &e))
}
