//! A real nginx that serves a folder on loopback, with a log of what it was asked.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::authority::Authority;
use crate::namespace::Namespace;

/// The server; it ends when it is dropped.
#[derive(Debug)]
pub struct Nginx {
    root: PathBuf,
    address: String,
    /// Its address, as URLs begin with it.
    site: String,
    work: TempDir,
    process: Child,
}

/// A request, as the server's log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The path.
    pub path: String,
    /// The status of the answer.
    pub status: u16,
    /// Bytes of its body.
    pub bytes: u64,
    /// The protocol and its version, as `HTTP/1.1`.
    pub protocol: String,
}

/// Where a server listens, and what it does there.
struct Listen {
    address: String,
    /// What `listen` says beside the address.
    how: &'static str,
    /// What else is said of the server.
    more: String,
    site: String,
}

impl Listen {
    fn plain(address: String) -> Self {
        Self {
            how: "",
            more: String::new(),
            site: format!("http://{address}"),
            address,
        }
    }
}

impl Nginx {
    /// Serves `root` on a free port of 127.0.0.1.
    #[must_use]
    pub fn serve(root: &Path) -> Self {
        Self::start(root, &Listen::plain(free_address()), Command::new("nginx"))
    }

    /// Serves `root` as [`Nginx::serve`] does, and as these directives say. There are zones to limit an address to a number of
    /// `connections` and to ten `requests` a second.
    #[must_use]
    pub fn serve_as(root: &Path, more: &str) -> Self {
        let listen = Listen {
            more: more.to_owned(),
            ..Listen::plain(free_address())
        };
        Self::start(root, &listen, Command::new("nginx"))
    }

    /// Serves `root` as [`Nginx::serve`] does, but only to who has a password: the file `users` has a line `USER:{PLAIN}PASSWORD`
    /// for each, and is read with each request.
    #[must_use]
    pub fn serve_privately(root: &Path, users: &Path) -> Self {
        let listen = Listen {
            more: format!("auth_basic \"labs\"; auth_basic_user_file {};", users.display()),
            ..Listen::plain(free_address())
        };
        Self::start(root, &listen, Command::new("nginx"))
    }

    /// Serves `root` over HTTPS and HTTP/2, as `localhost`.
    #[must_use]
    pub fn serve_https(root: &Path, authority: &Authority) -> Self {
        let (certificate, key) = (authority.certificate(), authority.key());
        let plain = Listen::plain(free_address());
        let listen = Listen {
            how: "ssl http2",
            site: plain.site.replace("http://127.0.0.1", "https://localhost"),
            more: format!(
                "ssl_certificate {}; ssl_certificate_key {};",
                certificate.display(),
                key.display()
            ),
            ..plain
        };
        Self::start(root, &listen, Command::new("nginx"))
    }

    /// Serves `root` from a namespace.
    #[must_use]
    pub fn serve_in(root: &Path, namespace: &Namespace) -> Self {
        let listen = Listen::plain(format!("{}:8080", namespace.address()));
        Self::start(root, &listen, namespace.command("nginx"))
    }

    fn start(root: &Path, listen: &Listen, mut program: Command) -> Self {
        let Listen {
            address,
            how,
            more,
            site,
        } = listen;
        let work = tempfile::tempdir().expect("a folder for nginx");
        let at = |name: &str| work.path().join(name).display().to_string();
        let user = if is_root() { "user root;" } else { "" };
        let config = format!(
            "{user} daemon off; worker_processes 1; pid {pid}; error_log {error} warn;
             events {{ worker_connections 256; }}
             http {{
               log_format asked '$request_uri $status $body_bytes_sent $server_protocol';
               access_log {access} asked;
               client_body_temp_path {body}; proxy_temp_path {proxy}; fastcgi_temp_path {fastcgi};
               uwsgi_temp_path {uwsgi}; scgi_temp_path {scgi};
               types {{ application/atom+xml xml; application/json json; }}
               default_type application/octet-stream;
               limit_conn_zone $binary_remote_addr zone=connections:1m;
               limit_req_zone $binary_remote_addr zone=requests:1m rate=10r/s;
               server {{ listen {address} {how}; root {root}; {more} }}
             }}",
            pid = at("pid"),
            error = at("error.log"),
            access = at("access.log"),
            body = at("body"),
            proxy = at("proxy"),
            fastcgi = at("fastcgi"),
            uwsgi = at("uwsgi"),
            scgi = at("scgi"),
            root = root.display(),
        );
        let file = work.path().join("nginx.conf");
        std::fs::write(&file, config).expect("nginx's configuration is written");
        let process = program
            .arg("-c")
            .arg(&file)
            .args(["-e", &at("error.log")])
            .stdin(Stdio::null())
            .spawn()
            .expect("nginx starts: install the package nginx-light");
        let nginx = Self {
            root: root.to_owned(),
            address: address.clone(),
            site: site.clone(),
            work,
            process,
        };
        nginx.wait();
        nginx
    }

    /// A server says nothing when it listens; only a connection tells.
    fn wait(&self) {
        let until = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(&self.address).is_err() {
            let log = std::fs::read_to_string(self.work.path().join("error.log")).unwrap_or_default();
            assert!(Instant::now() < until, "nginx does not listen: {log}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The folder that is served.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The URL of a file in the folder.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.site)
    }

    /// Where it listens.
    ///
    /// # Panics
    /// If it is in a namespace.
    #[must_use]
    pub fn address(&self) -> std::net::SocketAddr {
        self.address.parse().expect("an address and a port")
    }

    /// What was asked so far. A request is logged when its answer has ended.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        let log = std::fs::read_to_string(self.work.path().join("access.log")).unwrap_or_default();
        log.lines()
            .filter_map(|line| {
                let mut words = line.split(' ');
                let path = words.next()?.to_owned();
                Some(Asked {
                    path,
                    status: words.next()?.parse().ok()?,
                    bytes: words.next()?.parse().ok()?,
                    protocol: words.next()?.to_owned(),
                })
            })
            .collect()
    }

    /// Waits until it has answered such a request. Its log makes no event.
    #[track_caller]
    pub fn wait_for(&self, is_it: impl Fn(&Asked) -> bool) {
        let until = Instant::now() + Duration::from_secs(60);
        while !self.asked().iter().any(&is_it) {
            assert!(Instant::now() < until, "it was asked: {:?}", self.asked());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Bytes of the answers to requests for paths that have `part` in them.
    #[must_use]
    pub fn sent(&self, part: &str) -> u64 {
        self.asked()
            .iter()
            .filter(|asked| asked.path.contains(part))
            .map(|asked| asked.bytes)
            .sum()
    }

    /// Forgets what was asked.
    pub fn forget(&self) {
        let log = std::fs::File::options()
            .write(true)
            .open(self.work.path().join("access.log"));
        log.and_then(|log| log.set_len(0)).expect("the log is there");
    }
}

fn free_address() -> String {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    free.expect("a free port").to_string()
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|data| std::os::unix::fs::MetadataExt::uid(&data) == 0)
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // A quick shutdown: its worker ends with it, which a kill would not achieve.
        let _ = Command::new("kill")
            .args(["-TERM", &self.process.id().to_string()])
            .status();
        let _ = self.process.wait();
    }
}
