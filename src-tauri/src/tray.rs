//! The tray icon and its menu. On Linux the icon itself tells of no click: everything is in the menu, which is built anew
//! whenever what it shows has changed.

use std::sync::Mutex;

use livepc_panics::caught;
use livepc_protocol::{Display, JobStatus, LivePc, MachineState, Request, Snapshot};
use tauri::menu::{Menu, MenuBuilder, MenuItemBuilder, SubmenuBuilder};
use tauri::tray::TrayIconBuilder;
use tauri::{AppHandle, Manager};

use crate::agent::Agent;
use crate::border::{begun, called_for};
use crate::message::{self, Message};
use crate::window;

const ID: &str = "livepc";
/// Machines that the menu itself offers to start; the others are in one below it.
const RECENT: usize = 8;
/// Seconds that a guest may take to shut down.
const STOP_SECONDS: u64 = 120;
/// How long the desktop has to tell whether it shows icons.
#[cfg(target_os = "linux")]
const ANSWER: std::time::Duration = std::time::Duration::from_secs(2);

/// What the menu shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Model {
    status: String,
    running: Vec<Running>,
    startable: Vec<Idle>,
    more: Vec<Idle>,
    paused: bool,
}

/// A machine that a runner has.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Running {
    id: String,
    title: String,
    /// False while it starts, stops or waits for data.
    suspendable: bool,
}

/// A machine that can be started.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Idle {
    id: String,
    title: String,
    suspended: bool,
}

impl Running {
    fn of(livepc: &LivePc) -> Self {
        Self {
            id: livepc.id.clone(),
            title: livepc.title.clone(),
            suspendable: livepc.state == MachineState::Running,
        }
    }

    /// What its submenu has: ids and texts.
    fn items(&self) -> Vec<(String, &'static str)> {
        let mut items = vec![("show".into(), "Show")];
        if self.suspendable {
            items.push((format!("suspend:{}", self.id), "Suspend"));
        }
        items.push((format!("stop:{}", self.id), "Stop"));
        items
    }
}

impl Idle {
    fn of(livepc: &LivePc) -> Self {
        Self {
            id: livepc.id.clone(),
            title: livepc.title.clone(),
            suspended: livepc.state == MachineState::Suspended,
        }
    }

    /// Its item's id and text. What is suspended goes on by the same request.
    fn item(&self) -> (String, String) {
        let verb = if self.suspended { "Resume" } else { "Start" };
        (format!("start:{}", self.id), format!("{verb} {}", self.title))
    }
}

/// What the tray shows now.
#[derive(Default)]
struct Shown(Mutex<Model>);

impl Model {
    fn of(snapshot: &Snapshot) -> Self {
        let live = |livepc: &&LivePc| livepc.state.is_live();
        let mut idle: Vec<&LivePc> = snapshot
            .livepcs
            .iter()
            .filter(|livepc| !livepc.state.is_live())
            .collect();
        idle.sort_by_key(|livepc| std::cmp::Reverse(livepc.last_used));
        let recent = idle.len().min(RECENT);
        Self {
            status: status(snapshot),
            running: snapshot.livepcs.iter().filter(live).map(Running::of).collect(),
            startable: idle[..recent].iter().copied().map(Idle::of).collect(),
            more: idle[recent..].iter().copied().map(Idle::of).collect(),
            paused: snapshot.paused,
        }
    }
}

/// One line: `2 running · 1 downloading 43 %`.
fn status(snapshot: &Snapshot) -> String {
    let running = snapshot
        .livepcs
        .iter()
        .filter(|livepc| livepc.state.is_live())
        .count();
    let jobs: Vec<_> = snapshot
        .jobs
        .iter()
        .filter(|job| job.status == JobStatus::Running)
        .collect();
    let (done, total) = jobs.iter().fold((0, 0), |(done, total), job| {
        (done + job.bytes_done, total + job.bytes_total)
    });
    let mut parts = Vec::new();
    if running > 0 {
        parts.push(format!("{running} running"));
    }
    if !jobs.is_empty() {
        // Whole steps only: the menu is built anew whenever it changes.
        let percent = (done * 100).checked_div(total).unwrap_or(0);
        parts.push(format!("{} downloading {percent} %", jobs.len()));
    }
    if parts.is_empty() {
        "Nothing is running".into()
    } else {
        parts.join(" · ")
    }
}

/// Puts the icon into the tray. A desktop without one is no obstacle: the window has everything too.
pub(crate) fn create(app: &AppHandle) {
    let model = Model {
        status: "Nothing is running".into(),
        ..Model::default()
    };
    // Where the system's library for tray icons is missing, the first use of it panics.
    match caught("Making the tray", || build(app, &model)) {
        Ok(Ok(())) => drop(app.manage(Shown(Mutex::new(model)))),
        Ok(Err(error)) => tracing::warn!("there is no tray: {error}"),
        Err(panicked) => tracing::warn!("there is no tray, whose library may be missing: {panicked}"),
    }
}

fn build(app: &AppHandle, model: &Model) -> tauri::Result<()> {
    let mut tray = TrayIconBuilder::with_id(ID)
        .menu(&menu(app, model)?)
        .tooltip("LivePC")
        .on_menu_event(|app, event| {
            called_for(app, || chosen(app, event.id().as_ref()));
        });
    if let Some(icon) = app.default_window_icon() {
        tray = tray.icon(icon.clone());
    }
    tray.build(app).map(drop)
}

/// True if the tray can bring the window back.
#[cfg(not(target_os = "linux"))]
pub(crate) async fn is_there(app: &AppHandle) -> bool {
    app.tray_by_id(ID).is_some()
}

/// True if the tray can bring the window back: having an icon does not mean that anything shows it.
#[cfg(target_os = "linux")]
pub(crate) async fn is_there(app: &AppHandle) -> bool {
    if app.tray_by_id(ID).is_none() {
        return false;
    }
    match tokio::time::timeout(ANSWER, is_shown()).await {
        Ok(Ok(shown)) => shown,
        Ok(Err(error)) => {
            tracing::info!("no tray shows the icon: {error}");
            false
        }
        Err(_) => false,
    }
}

/// Whether something on this desktop shows icons.
#[cfg(target_os = "linux")]
async fn is_shown() -> zbus::Result<bool> {
    let name = "org.kde.StatusNotifierWatcher";
    let bus = zbus::Connection::session().await?;
    let watcher = zbus::Proxy::new(&bus, name, "/StatusNotifierWatcher", name).await?;
    watcher.get_property("IsStatusNotifierHostRegistered").await
}

/// Shows a new snapshot, if it changes anything in the menu.
pub(crate) fn update(app: &AppHandle, snapshot: &Snapshot) {
    let Some(shown) = app.try_state::<Shown>() else {
        return;
    };
    let model = Model::of(snapshot);
    {
        let mut shown = shown.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if *shown == model {
            return;
        }
        *shown = model.clone();
    }
    let owner = app.clone();
    // Menus belong to the main thread.
    let _ = app.run_on_main_thread(move || {
        let replaced = caught("The tray", || {
            let menu = menu(&owner, &model)?;
            owner
                .tray_by_id(ID)
                .map_or(Ok(()), |tray| tray.set_menu(Some(menu)))
        });
        match replaced {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("the tray's menu cannot be changed: {error}"),
            Err(panicked) => tracing::error!("{panicked}"),
        }
    });
}

fn menu(app: &AppHandle, model: &Model) -> tauri::Result<Menu<tauri::Wry>> {
    let item = |id: &str, text: &str| MenuItemBuilder::with_id(id, text).build(app);
    let status = MenuItemBuilder::with_id("status", &model.status)
        .enabled(false)
        .build(app)?;
    let mut menu = MenuBuilder::new(app).item(&status).separator();
    for machine in &model.running {
        let mut submenu = SubmenuBuilder::new(app, &machine.title);
        for (id, text) in machine.items() {
            submenu = submenu.item(&item(&id, text)?);
        }
        menu = menu.item(&submenu.build()?);
    }
    let start = |machine: &Idle| {
        let (id, text) = machine.item();
        item(&id, &text)
    };
    for machine in &model.startable {
        menu = menu.item(&start(machine)?);
    }
    if !model.more.is_empty() {
        let mut more = SubmenuBuilder::new(app, "More");
        for machine in &model.more {
            more = more.item(&start(machine)?);
        }
        menu = menu.item(&more.build()?);
    }
    if !model.running.is_empty() || !model.startable.is_empty() {
        menu = menu.separator();
    }
    let pause = if model.paused {
        "Resume all downloads"
    } else {
        "Pause all downloads"
    };
    let quit = if model.running.is_empty() {
        "Quit"
    } else {
        "Quit (machines keep running)"
    };
    menu.item(&item("pause", pause)?)
        .separator()
        .item(&item("open", "Open LivePC")?)
        .item(&item("quit", quit)?)
        .build()
}

/// What an item about a machine asks of the agent.
fn request(item: &str) -> Option<Request> {
    let (verb, id) = item.split_once(':')?;
    let id = id.to_owned();
    match verb {
        "start" => Some(Request::Start {
            id,
            display: Display::Window,
            serial: None,
            fill: true,
            hypervisor: None,
            cd: None,
            overcommit: false,
            desktop: None,
        }),
        "suspend" => Some(Request::Suspend { id }),
        "stop" => Some(Request::Stop {
            id,
            force: false,
            timeout: STOP_SECONDS,
        }),
        _ => None,
    }
}

fn chosen(app: &AppHandle, id: &str) {
    match request(id) {
        Some(request) => ask(app, request),
        None => match id {
            "pause" => {
                let paused = app.try_state::<Shown>().is_some_and(|shown| {
                    shown
                        .0
                        .lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner)
                        .paused
                });
                ask(app, Request::PauseAll { paused: !paused });
            }
            "show" => message::tell(app, on_machines()),
            "open" => window::show(app),
            "quit" => app.exit(0),
            _ => {}
        },
    }
}

fn on_machines() -> Message {
    Message {
        screen: Some("machines"),
        ..Message::default()
    }
}

/// Asks the agent; what fails is shown in the window.
fn ask(app: &AppHandle, request: Request) {
    let agent = app.state::<Agent>().inner().clone();
    begun(
        app,
        on_machines(),
        async move { agent.call(request).await.map(drop) },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_home_has_nothing_to_start() {
        let model = Model::of(&Snapshot::default());
        assert_eq!(model.status, "Nothing is running");
        assert!(model.running.is_empty() && model.startable.is_empty() && model.more.is_empty());
    }

    fn livepc(number: usize, state: MachineState) -> LivePc {
        let json = serde_json::json!({
            "id": format!("m{number}"), "title": format!("Machine {number}"), "summary": "", "publisher": "",
            "guest_os": "", "feed_url": "", "publisher_key": "", "fingerprint": "", "trust": "verified",
            "release_in_use": null, "label_in_use": null, "release_available": null, "label_available": null,
            "boot_ready": false, "complete": false, "has_boot_map": false, "bytes_local": 0, "bytes_total": 0,
            "boot_bytes_local": 0, "boot_bytes_total": 0, "update_bytes": null, "state": state, "problem": null,
            "stale": null, "yanked": null, "checked": null, "last_used": null, "machine_bytes": 0,
            "policy": "auto", "pinned": null, "keep_changes": false, "changes_bytes": 0, "suspended": null,
            "suspended_bytes": 0, "rollback_to": null,
        });
        serde_json::from_value(json).expect("a LivePC")
    }

    #[test]
    fn every_machine_that_does_not_run_can_be_started() {
        let mut livepcs = vec![livepc(0, MachineState::Running)];
        livepcs.extend((1..=10).map(|number| livepc(number, MachineState::Absent)));
        let model = Model::of(&Snapshot {
            livepcs,
            ..Snapshot::default()
        });
        assert_eq!(model.running.len(), 1);
        let offered: Vec<_> = model.startable.iter().chain(&model.more).collect();
        assert_eq!((offered.len(), model.startable.len()), (10, RECENT));
    }

    fn model(state: MachineState) -> Model {
        Model::of(&Snapshot {
            livepcs: vec![livepc(1, state)],
            ..Snapshot::default()
        })
    }

    /// What cannot be suspended now would only be refused.
    #[test]
    fn a_machine_is_suspended_only_while_it_runs() {
        let texts = |state| -> Vec<&str> {
            let items = model(state).running[0].items();
            items.iter().map(|(_, text)| *text).collect()
        };
        assert_eq!(texts(MachineState::Running), ["Show", "Suspend", "Stop"]);
        assert_eq!(texts(MachineState::Starting), ["Show", "Stop"]);
        assert_eq!(texts(MachineState::Stalled), ["Show", "Stop"]);
        assert_eq!(texts(MachineState::Stopping), ["Show", "Stop"]);
    }

    /// It is not running, and what goes on is not said to start.
    #[test]
    fn a_suspended_machine_is_resumed() {
        let suspended = model(MachineState::Suspended);
        assert!(suspended.running.is_empty());
        assert_eq!(suspended.status, "Nothing is running");
        assert_eq!(suspended.startable[0].item().1, "Resume Machine 1");
        assert_eq!(
            model(MachineState::Stopped).startable[0].item().1,
            "Start Machine 1"
        );
        assert_ne!(suspended, model(MachineState::Stopped), "the menu is built anew");
    }

    /// An item whose id nothing understands does nothing when it is chosen.
    #[test]
    fn every_item_about_a_machine_asks_for_what_it_says() {
        let items = model(MachineState::Running).running[0].items();
        let asked: Vec<_> = items.iter().map(|(id, _)| request(id)).collect();
        let id = || "m1".to_owned();
        assert_eq!(
            asked,
            [
                None,
                Some(Request::Suspend { id: id() }),
                Some(Request::Stop {
                    id: id(),
                    force: false,
                    timeout: STOP_SECONDS,
                }),
            ]
        );
        for state in [MachineState::Suspended, MachineState::Stopped] {
            let (item, _) = model(state).startable[0].item();
            assert!(matches!(request(&item), Some(Request::Start { id, .. }) if id == "m1"));
        }
    }
}
