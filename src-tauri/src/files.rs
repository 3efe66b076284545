//! Files and places that a person chooses in the system's own dialogs. The page learns the path that was chosen, nothing else
//! of the file system.

use std::path::{Path, PathBuf};

use livepc_protocol::Problem;
use tauri::{AppHandle, Manager, WebviewWindow};
use tauri_plugin_dialog::{DialogExt, FileDialogBuilder, FilePath};
use tokio::sync::oneshot;

use crate::border::answered;

/// Lets a person choose the image of a CD; nothing if the dialog was cancelled.
#[tauri::command]
pub(crate) async fn choose_cd(
    app: AppHandle,
    window: WebviewWindow,
    title: String,
) -> Result<Option<PathBuf>, Problem> {
    answered(async {
        let dialog = begin(&app, &window, title).add_filter("ISO", &["iso", "ISO"]);
        Ok(chosen(|done| dialog.pick_file(done)).await)
    })
    .await
}

/// Lets a person choose where something goes, beginning with `place`; nothing if the dialog was cancelled. The dialog has
/// asked whether what is there is replaced.
#[tauri::command]
pub(crate) async fn choose_place(
    app: AppHandle,
    window: WebviewWindow,
    title: String,
    place: PathBuf,
) -> Result<Option<PathBuf>, Problem> {
    answered(async {
        let mut dialog = begin(&app, &window, title);
        if let Some(folder) = place.parent().filter(|folder| folder.is_dir()) {
            dialog = dialog.set_directory(folder);
        }
        if let Some(name) = place.file_name().and_then(|name| name.to_str()) {
            dialog = dialog.set_file_name(name);
        }
        Ok(chosen(|done| dialog.save_file(done)).await)
    })
    .await
}

/// Where a file of this name goes if nobody says otherwise.
#[tauri::command]
pub(crate) fn suggest_place(app: AppHandle, name: &str) -> Option<PathBuf> {
    let folder = app.path().document_dir().ok().filter(|folder| folder.is_dir());
    let folder = folder.or_else(|| app.path().home_dir().ok())?;
    is_name(name).then(|| folder.join(name))
}

/// Whether a text is a name in a folder, and leads nowhere else.
fn is_name(name: &str) -> bool {
    Path::new(name).file_name().is_some_and(|own| own == name)
}

fn begin(app: &AppHandle, window: &WebviewWindow, title: String) -> FileDialogBuilder<tauri::Wry> {
    app.dialog().file().set_parent(window).set_title(title)
}

/// What was chosen in a dialog that tells it to what it is given.
async fn chosen(open: impl FnOnce(Box<dyn FnOnce(Option<FilePath>) + Send>)) -> Option<PathBuf> {
    let (sender, path) = oneshot::channel();
    open(Box::new(move |path| {
        // Who asked may be gone.
        let _ = sender.send(path);
    }));
    path.await.ok().flatten()?.into_path().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_are_suggested() {
        assert!(is_name("net-lab.qcow2"));
        for bad in ["", ".", "..", "a/b", "/etc/passwd", "../x", "a/"] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
