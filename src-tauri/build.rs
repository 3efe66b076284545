//! Embeds the built UI, and allows the app's window its commands.

fn main() {
    let ui = std::path::Path::new("../ui/dist/index.html");
    assert!(
        ui.is_file(),
        "the UI is not built: run `npm --prefix ui ci && npm --prefix ui run build`"
    );
    println!("cargo:rerun-if-changed=../ui/dist");
    let manifest = tauri_build::AppManifest::new().commands(&[
        "call",
        "choose_cd",
        "choose_place",
        "dismiss_notice",
        "notes",
        "suggest_place",
        "take_message",
    ]);
    let attributes = tauri_build::Attributes::new().app_manifest(manifest);
    if let Err(error) = tauri_build::try_build(attributes) {
        panic!("the app's description cannot be used: {error:#}");
    }
}
