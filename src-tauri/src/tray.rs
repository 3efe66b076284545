//! The tray icon and its menu. On Linux the icon itself tells of no click: everything is in the menu, which is built anew
//! whenever what it shows has changed.

use std::sync::Mutex;

use livepc_protocol::{Display, JobStatus, LivePc, MachineState, Request, Snapshot};
use tauri::menu::{Menu, MenuBuilder, MenuItemBuilder, SubmenuBuilder};
use tauri::tray::TrayIconBuilder;
use tauri::{AppHandle, Manager};

use crate::agent::Agent;
use crate::window;

const ID: &str = "livepc";
/// Machines that the menu offers to start.
const RECENT: usize = 8;
/// Seconds that a guest may take to shut down.
const STOP_SECONDS: u64 = 120;

/// What the menu shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Model {
    status: String,
    running: Vec<(String, String)>,
    startable: Vec<(String, String)>,
    paused: bool,
}

/// What the tray shows now.
#[derive(Default)]
struct Shown(Mutex<Model>);

impl Model {
    fn of(snapshot: &Snapshot) -> Self {
        let name = |livepc: &LivePc| (livepc.id.clone(), livepc.title.clone());
        let live = |livepc: &&LivePc| livepc.state.is_live();
        let mut idle: Vec<&LivePc> = snapshot
            .livepcs
            .iter()
            .filter(|livepc| !livepc.state.is_live() && livepc.state != MachineState::Absent)
            .collect();
        idle.sort_by_key(|livepc| std::cmp::Reverse(livepc.last_used));
        Self {
            status: status(snapshot),
            running: snapshot.livepcs.iter().filter(live).map(name).collect(),
            startable: idle.into_iter().take(RECENT).map(name).collect(),
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
    let built = menu(app, &model).and_then(|menu| {
        let mut tray = TrayIconBuilder::with_id(ID)
            .menu(&menu)
            .tooltip("LivePC")
            .on_menu_event(|app, event| {
                chosen(app, event.id().as_ref());
            });
        if let Some(icon) = app.default_window_icon() {
            tray = tray.icon(icon.clone());
        }
        tray.build(app)
    });
    match built {
        Ok(_) => drop(app.manage(Shown(Mutex::new(model)))),
        Err(error) => tracing::warn!("there is no tray: {error}"),
    }
}

/// True if the tray can bring the window back.
pub(crate) fn is_there(app: &AppHandle) -> bool {
    app.tray_by_id(ID).is_some()
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
        let replaced = menu(&owner, &model).and_then(|menu| {
            owner
                .tray_by_id(ID)
                .map_or(Ok(()), |tray| tray.set_menu(Some(menu)))
        });
        if let Err(error) = replaced {
            tracing::warn!("the tray's menu cannot be changed: {error}");
        }
    });
}

fn menu(app: &AppHandle, model: &Model) -> tauri::Result<Menu<tauri::Wry>> {
    let item = |id: &str, text: &str| MenuItemBuilder::with_id(id, text).build(app);
    let status = MenuItemBuilder::with_id("status", &model.status)
        .enabled(false)
        .build(app)?;
    let mut menu = MenuBuilder::new(app).item(&status).separator();
    for (id, title) in &model.running {
        let machine = SubmenuBuilder::new(app, title)
            .item(&item("show", "Show")?)
            .item(&item(&format!("stop:{id}"), "Stop")?)
            .build()?;
        menu = menu.item(&machine);
    }
    for (id, title) in &model.startable {
        menu = menu.item(&item(&format!("start:{id}"), &format!("Start {title}"))?);
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

fn chosen(app: &AppHandle, id: &str) {
    match id.split_once(':') {
        Some(("start", id)) => {
            ask(
                app,
                Request::Start {
                    id: id.into(),
                    display: Display::Window,
                    serial: None,
                    fill: true,
                },
            );
        }
        Some(("stop", id)) => ask(
            app,
            Request::Stop {
                id: id.into(),
                force: false,
                timeout: STOP_SECONDS,
            },
        ),
        _ => match id {
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
            "show" => window::navigate(app, "machines"),
            "open" => window::show(app),
            "quit" => app.exit(0),
            _ => {}
        },
    }
}

/// Asks the agent; what fails is shown with the machine, and in the window.
fn ask(app: &AppHandle, request: Request) {
    let agent = app.state::<Agent>().inner().clone();
    let app = app.clone();
    tauri::async_runtime::spawn(async move {
        if let Err(problem) = agent.call(request).await {
            tracing::warn!("from the tray: {problem}");
            window::navigate(&app, "machines");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_home_has_nothing_to_start() {
        let model = Model::of(&Snapshot::default());
        assert_eq!(model.status, "Nothing is running");
        assert!(model.running.is_empty() && model.startable.is_empty());
    }
}
