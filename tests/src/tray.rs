//! The desktop's tray: the app's icon registers here, and its menu is read and chosen from over D-Bus.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use zbus::message::Header;
use zbus::names::OwnedUniqueName;
use zbus::zvariant::{OwnedObjectPath, OwnedValue, Value};
use zbus::{Connection, Proxy};

use crate::display::Display;

/// An entry as `GetLayout` gives it: its number, properties and children (com.canonical.dbusmenu).
type Item = (i32, HashMap<String, OwnedValue>, Vec<OwnedValue>);

const NAME: &str = "org.kde.StatusNotifierWatcher";
const AT: &str = "/StatusNotifierWatcher";
const ITEM: &str = "org.kde.StatusNotifierItem";
const MENU: &str = "com.canonical.dbusmenu";
/// How long the app has for what is waited for.
const LIMIT: Duration = Duration::from_secs(60);

/// A tray without a picture.
#[derive(Debug)]
pub struct Tray {
    runtime: Runtime,
    bus: Connection,
    registered: Receiver<(OwnedUniqueName, String)>,
}

/// An icon in the tray.
#[derive(Clone, Debug)]
pub struct Icon {
    owner: OwnedUniqueName,
    menu: OwnedObjectPath,
    /// The process that it belongs to.
    pub process: u32,
}

/// An entry of a menu.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    id: i32,
    /// What it says; empty for a separator.
    pub label: String,
    /// Whether it can be chosen.
    pub enabled: bool,
    /// What it opens.
    pub entries: Vec<Entry>,
}

struct Watcher(Sender<(OwnedUniqueName, String)>);

#[zbus::interface(name = "org.kde.StatusNotifierWatcher")]
impl Watcher {
    fn register_status_notifier_item(&self, service: &str, #[zbus(header)] header: Header<'_>) {
        if let Some(sender) = header.sender() {
            // A tray that is not asked for icons any more needs none.
            let _ = self.0.send((sender.to_owned().into(), service.to_owned()));
        }
    }

    fn register_status_notifier_host(&self, _service: &str) {}

    #[zbus(property)]
    fn registered_status_notifier_items(&self) -> Vec<String> {
        Vec::new()
    }

    #[zbus(property)]
    fn is_status_notifier_host_registered(&self) -> bool {
        true
    }

    #[zbus(property)]
    fn protocol_version(&self) -> i32 {
        0
    }
}

impl Tray {
    /// Puts a tray on the display's bus: before the app starts, which looks for one only once.
    #[must_use]
    pub fn on(display: &Display) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let (sender, registered) = channel();
        let bus = runtime
            .block_on(async {
                zbus::connection::Builder::address(display.bus_address())?
                    .serve_at(AT, Watcher(sender))?
                    .name(NAME)?
                    .build()
                    .await
            })
            .expect("a tray on the bus");
        Self {
            runtime,
            bus,
            registered,
        }
    }

    /// Waits for the next icon.
    #[track_caller]
    #[must_use]
    pub fn icon(&self) -> Icon {
        let (owner, service) = self
            .registered
            .recv_timeout(LIMIT)
            .expect("the app puts an icon into the tray");
        let path = if service.starts_with('/') {
            service
        } else {
            "/StatusNotifierItem".to_owned()
        };
        let asked = self.runtime.block_on(async {
            let item = Proxy::new(&self.bus, owner.clone(), path, ITEM).await?;
            let menu: OwnedObjectPath = item.get_property("Menu").await?;
            let bus = zbus::fdo::DBusProxy::new(&self.bus).await?;
            let process = bus.get_connection_unix_process_id(owner.clone().into()).await?;
            Ok::<_, zbus::Error>((menu, process))
        });
        let (menu, process) = asked.expect("the icon tells of its menu");
        Icon { owner, menu, process }
    }

    /// The entries of an icon's menu.
    ///
    /// # Errors
    /// If the icon is gone.
    pub fn menu(&self, icon: &Icon) -> zbus::Result<Vec<Entry>> {
        self.runtime.block_on(async {
            let menu = Proxy::new(&self.bus, icon.owner.clone(), icon.menu.clone(), MENU).await?;
            let _: bool = menu.call("AboutToShow", &0).await?;
            let (_, (_, _, children)): (u32, Item) =
                menu.call("GetLayout", &(0, -1, Vec::<String>::new())).await?;
            Ok(children.iter().filter_map(|child| entry(child)).collect())
        })
    }

    /// Waits until an icon's menu is as `is` says; gives it.
    #[track_caller]
    pub fn wait_for_menu(&self, icon: &Icon, what: &str, is: impl Fn(&[Entry]) -> bool) -> Vec<Entry> {
        let until = Instant::now() + LIMIT;
        loop {
            let menu = self.menu(icon).expect("the icon has a menu");
            if is(&menu) {
                return menu;
            }
            assert!(
                Instant::now() < until,
                "{what}: within {LIMIT:?} the menu had only {menu:#?}"
            );
            // An app that builds its menu anew may tell of the change before the new entries can be read.
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Chooses an entry by its labels from the top; waits until it is there.
    #[track_caller]
    pub fn choose(&self, icon: &Icon, labels: &[&str]) {
        let what = format!("{labels:?} can be chosen");
        let menu = self.wait_for_menu(icon, &what, |menu| find(menu, labels).is_some_and(|e| e.enabled));
        let id = find(&menu, labels).map(|entry| entry.id).expect("it was there");
        let chosen = self.runtime.block_on(async {
            let menu = Proxy::new(&self.bus, icon.owner.clone(), icon.menu.clone(), MENU).await?;
            menu.call::<_, _, ()>("Event", &(id, "clicked", Value::from(0_i32), 0_u32))
                .await
        });
        chosen.expect("the entry is chosen");
    }

    /// Waits until the icon's process has ended.
    #[track_caller]
    pub fn wait_for_end(&self, icon: &Icon) {
        let until = Instant::now() + LIMIT;
        while is_alive(icon.process) {
            assert!(Instant::now() < until, "the app still runs after {LIMIT:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The entry with these labels, from the top of a menu.
#[must_use]
pub fn find<'a>(menu: &'a [Entry], labels: &[&str]) -> Option<&'a Entry> {
    let (first, rest) = labels.split_first()?;
    let entry = menu.iter().find(|entry| entry.label == *first)?;
    if rest.is_empty() {
        Some(entry)
    } else {
        find(&entry.entries, rest)
    }
}

/// An entry out of `(ia{sv}av)`: number, properties, entries below.
fn entry(value: &Value<'_>) -> Option<Entry> {
    let fields = match value {
        Value::Value(inner) => return entry(inner),
        Value::Structure(structure) => structure.fields(),
        _ => return None,
    };
    let [Value::I32(id), Value::Dict(properties), Value::Array(children)] = fields else {
        return None;
    };
    let label: Option<String> = properties.get(&"label").ok().flatten();
    let enabled: Option<bool> = properties.get(&"enabled").ok().flatten();
    Some(Entry {
        id: *id,
        // An underscore marks the letter that chooses the entry, and stands for itself when doubled.
        label: label
            .unwrap_or_default()
            .replace("__", "\0")
            .replace('_', "")
            .replace('\0', "_"),
        enabled: enabled.unwrap_or(true),
        entries: children.iter().filter_map(entry).collect(),
    })
}

/// False also for a process that has ended and that its parent has not asked about.
fn is_alive(process: u32) -> bool {
    let stat = std::fs::read_to_string(PathBuf::from(format!("/proc/{process}/stat"))).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
