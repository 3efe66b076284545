//! The proxy between this computer and a server: which one, by the program's own setting or the system's.

use std::collections::BTreeMap;

use hyper_util::client::proxy::matcher::Matcher;
use url::Url;

/// Which proxy to use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Proxy {
    /// The usual environment variables, or the system's setting.
    #[default]
    System,
    /// None.
    Direct,
    /// This one, for everything.
    Url(Url),
}

/// The kinds of proxies that can be used.
const KINDS: [&str; 6] = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"];

/// Knows the proxy for every server.
#[derive(Debug)]
pub(crate) enum Proxies {
    None,
    All(Result<Url, String>),
    System(Box<System>),
}

impl Proxies {
    pub(crate) fn new(proxy: &Proxy) -> Self {
        match proxy {
            Proxy::Direct => Self::None,
            Proxy::Url(url) => Self::All(named(url.as_str(), "the proxy setting")),
            Proxy::System => Self::System(Box::new(System::new(|name| std::env::var(name).ok()))),
        }
    }

    /// The proxy for the server of `url`; an error if there is to be one that cannot be used.
    pub(crate) fn of(&self, url: &Url) -> Result<Option<Url>, String> {
        match self {
            Self::None => Ok(None),
            Self::All(proxy) => proxy.clone().map(Some),
            Self::System(system) => system.of(url),
        }
    }
}

/// What the environment and the system say. The environment comes first, as for most programs.
#[derive(Debug)]
pub(crate) struct System {
    http: Option<Result<Url, String>>,
    https: Option<Result<Url, String>>,
    /// Each finds a proxy for all servers but those that are to be asked directly; of those with a port, the ones there.
    direct: Vec<(Option<u16>, Matcher)>,
    /// What the system says by itself.
    settings: Matcher,
}

impl System {
    /// Reads the variables of an environment.
    fn new(variable: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: [&'static str; 2]| {
            let set = names.into_iter().find_map(|name| Some((name, variable(name)?)));
            set.filter(|(_, value)| !value.trim().is_empty())
        };
        // A web server's programs get headers as variables, and so one that looks like the setting.
        let is_cgi = variable("REQUEST_METHOD").is_some();
        let of = |names| {
            let set = first(names)
                .filter(|_| !is_cgi)
                .or_else(|| first(["ALL_PROXY", "all_proxy"]));
            set.map(|(name, value)| named(&value, name))
        };
        let (settings, mut direct) = settings();
        if let Some((_, names)) = first(["NO_PROXY", "no_proxy"]) {
            direct = names;
        }
        Self {
            http: of(["HTTP_PROXY", "http_proxy"]),
            https: of(["HTTPS_PROXY", "https_proxy"]),
            direct: directly(&direct),
            settings,
        }
    }

    fn of(&self, url: &Url) -> Result<Option<Url>, String> {
        let Ok(uri) = url.as_str().parse() else {
            return Ok(None);
        };
        let port = url.port_or_known_default();
        let is_there = |at: &Option<u16>| at.is_none() || *at == port;
        if self
            .direct
            .iter()
            .any(|(at, matcher)| is_there(at) && matcher.intercept(&uri).is_none())
        {
            return Ok(None);
        }
        let set = if url.scheme() == "https" {
            &self.https
        } else {
            &self.http
        };
        match set {
            Some(proxy) => proxy.clone().map(Some),
            None => {
                let set = self.settings.intercept(&uri);
                set.map(|proxy| named(&proxy.uri().to_string(), "the system's proxy setting"))
                    .transpose()
            }
        }
    }
}

/// Names of hosts that are to be asked directly, as they are written in all the places where one can say so.
fn directly(names: &str) -> Vec<(Option<u16>, Matcher)> {
    let names = names.split([',', ';', ' ', '\t']).filter(|name| !name.is_empty());
    let mut by_port: BTreeMap<Option<u16>, Vec<String>> = BTreeMap::from([(None, Vec::new())]);
    for name in names {
        let (name, port) = with_port(name);
        let name = match name {
            // All, and not only those that have a name.
            "*" => "*,0.0.0.0/0,::/0".to_owned(),
            name => network(name).unwrap_or_else(|| name.trim_start_matches("*.").to_owned()),
        };
        by_port.entry(port).or_default().push(name);
    }
    let matcher = |names: Vec<String>| {
        Matcher::builder()
            .all("http://proxy/")
            .no(names.join(","))
            .build()
    };
    by_port
        .into_iter()
        .map(|(port, names)| (port, matcher(names)))
        .collect()
}

/// `host:443` and `[::1]:443`, of which an address without brackets has no port.
fn with_port(name: &str) -> (&str, Option<u16>) {
    let parts = name.rsplit_once(':');
    let parts = parts.filter(|(host, _)| !host.contains(':') || host.ends_with(']'));
    match parts.and_then(|(host, port)| Some((host, port.parse().ok()?))) {
        Some((host, port)) => (host.trim_matches(['[', ']']), Some(port)),
        None => (name, None),
    }
}

/// `192.168.*` as a network.
fn network(name: &str) -> Option<String> {
    let parts: Vec<&str> = name.trim_end_matches(".*").split('.').collect();
    let numbers: Option<Vec<u8>> = parts.iter().map(|part| part.parse().ok()).collect();
    let numbers = numbers.filter(|numbers| name.ends_with(".*") && numbers.len() < 4)?;
    let octet = |at: usize| numbers.get(at).copied().unwrap_or_default();
    Some(format!(
        "{}.{}.{}.{}/{}",
        octet(0),
        octet(1),
        octet(2),
        octet(3),
        8 * numbers.len()
    ))
}

/// Reads the name of a proxy as it stands in `place`.
fn named(text: &str, place: &str) -> Result<Url, String> {
    let text = text.trim();
    // The oldest kind is meant where none is said.
    let text = match text.split_once("://") {
        None => format!("http://{text}"),
        // GNOME's name: the newest kind, and names are resolved where the proxy is.
        Some((kind, rest)) if kind.eq_ignore_ascii_case("socks") => format!("socks5h://{rest}"),
        Some(_) => text.to_owned(),
    };
    let bad = |why: &str| {
        // A password may be in what cannot be read.
        let shown =
            Url::parse(&text).map_or_else(|_| String::new(), |url| format!(" {}", crate::error::shown(&url)));
        format!("{place} names a proxy that cannot be used:{shown} {why}")
    };
    let mut url = Url::parse(&text).map_err(|error| bad(&error.to_string()))?;
    if !KINDS.contains(&url.scheme()) {
        return Err(bad(
            "(LivePC knows http, https, socks4, socks4a, socks5 and socks5h)",
        ));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(bad("has no host"));
    }
    if url.scheme().starts_with("socks") && url.port().is_none() {
        url.set_port(Some(1080)).map_err(|()| bad("has no port"))?;
    }
    Ok(url)
}

/// What the system's own setting is, and which hosts it says are to be asked directly.
#[cfg(target_os = "macos")]
fn settings() -> (Matcher, String) {
    (Matcher::from_system(), String::new())
}

/// There is none but the environment.
#[cfg(not(any(windows, target_os = "macos")))]
fn settings() -> (Matcher, String) {
    (Matcher::builder().build(), String::new())
}

/// What Windows' own setting is, and which hosts it says are to be asked directly.
#[cfg(windows)]
fn settings() -> (Matcher, String) {
    const PLACE: &str = r"Software\Microsoft\Windows\CurrentVersion\Internet Settings";
    let Ok(key) = windows_registry::CURRENT_USER.open(PLACE) else {
        return (Matcher::builder().build(), String::new());
    };
    if key.get_u32("ProxyEnable").unwrap_or(0) == 0 {
        return (Matcher::builder().build(), String::new());
    }
    let server = key.get_string("ProxyServer").unwrap_or_default();
    let of = |kind| of_windows(&server, kind).unwrap_or_default();
    let matcher = Matcher::builder().http(of("http")).https(of("https")).build();
    (matcher, key.get_string("ProxyOverride").unwrap_or_default())
}

/// The proxy for one kind of server in Windows' setting: one for all, or `http=…;https=…;socks=…`.
#[cfg_attr(not(windows), allow(dead_code, reason = "it is tested everywhere"))]
fn of_windows(setting: &str, kind: &str) -> Option<String> {
    let mut entries = setting
        .split([';', ' '])
        .map(str::trim)
        .filter(|entry| !entry.is_empty());
    if !setting.contains('=') {
        return entries.next().map(str::to_owned);
    }
    let of = |kind: &str| {
        let mut named = setting
            .split([';', ' '])
            .filter_map(|entry| entry.trim().split_once('='));
        named.find_map(|(name, value)| name.eq_ignore_ascii_case(kind).then(|| value.to_owned()))
    };
    of(kind).or_else(|| {
        let socks = of("socks")?;
        let host = socks.rsplit_once("://").map_or(socks.as_str(), |(_, host)| host);
        Some(format!("socks5h://{host}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(variables: &[(&str, &str)], url: &str) -> Result<Option<String>, String> {
        let of = |name: &str| {
            let set = variables.iter().find(|(known, _)| *known == name);
            set.map(|(_, value)| (*value).to_owned())
        };
        let found = System::new(of).of(&Url::parse(url).unwrap());
        found.map(|url| url.map(String::from))
    }

    #[test]
    fn proxies_are_read_as_they_are_written() {
        for (written, read) in [
            ("http://proxy:3128", "http://proxy:3128/"),
            ("proxy.example:3128", "http://proxy.example:3128/"),
            ("http://me:pw@proxy:3128/", "http://me:pw@proxy:3128/"),
            ("socks5://127.0.0.1:1080", "socks5://127.0.0.1:1080"),
            ("socks5h://127.0.0.1:9050/", "socks5h://127.0.0.1:9050/"),
            ("socks://127.0.0.1:9050/", "socks5h://127.0.0.1:9050/"),
            ("SOCKS://[::1]:9050", "socks5h://[::1]:9050"),
            ("socks5://proxy", "socks5://proxy:1080"),
            (" socks4a://proxy:1 ", "socks4a://proxy:1"),
        ] {
            for name in ["ALL_PROXY", "all_proxy", "http_proxy", "HTTP_PROXY"] {
                let found = proxy(&[(name, written)], "http://a.example/x");
                assert_eq!(found.unwrap().as_deref(), Some(read), "{name}={written}");
            }
        }
    }

    #[test]
    fn each_kind_of_server_has_its_proxy() {
        let set = [("all_proxy", "socks://all:1"), ("https_proxy", "http://secure:2")];
        assert_eq!(
            proxy(&set, "http://a.example/").unwrap().unwrap(),
            "socks5h://all:1"
        );
        assert_eq!(
            proxy(&set, "https://a.example/").unwrap().unwrap(),
            "http://secure:2/"
        );
        assert_eq!(proxy(&[], "https://a.example/"), Ok(None));
        assert_eq!(
            proxy(&[("ALL_PROXY", "")], "https://a.example/"),
            Ok(None),
            "an empty one is none"
        );
        let cgi = [("HTTP_PROXY", "http://evil:1"), ("REQUEST_METHOD", "GET")];
        assert_eq!(proxy(&cgi, "http://a.example/"), Ok(None), "it came as a header");
    }

    #[test]
    fn hosts_that_are_to_be_asked_directly_are() {
        for names in [
            "a.example",
            "*.a.example",
            ".a.example",
            "b; a.example",
            "b a.example",
            "*",
        ] {
            let set = [("ALL_PROXY", "socks5://p:1"), ("no_proxy", names)];
            assert_eq!(proxy(&set, "https://www.a.example/x"), Ok(None), "{names}");
        }
        let set = [
            ("ALL_PROXY", "socks5://p:1"),
            ("NO_PROXY", "10.0.0.0/8,other.example"),
        ];
        assert_eq!(proxy(&set, "http://10.1.2.3/x"), Ok(None));
        let set = [("ALL_PROXY", "socks5://p:1"), ("NO_PROXY", "192.168.*")];
        assert_eq!(proxy(&set, "http://192.168.2.3/x"), Ok(None));
        assert!(proxy(&set, "http://a.example/x").unwrap().is_some());
        for url in ["http://10.1.2.3/x", "http://[fd00::1]:81/x", "http://a.example/x"] {
            let set = [("ALL_PROXY", "socks5://p:1"), ("NO_PROXY", "*")];
            assert_eq!(proxy(&set, url), Ok(None), "{url}: all are all");
        }
        for (names, direct, not) in [
            ("a.example:8080", "http://a.example:8080/", "http://a.example/"),
            ("a.example:443", "https://b.a.example/", "http://a.example/"),
            ("10.1.2.3:81", "http://10.1.2.3:81/", "http://10.1.2.3/"),
            ("[fd00::1]:81", "http://[fd00::1]:81/", "http://[fd00::1]/"),
            ("fd00::1", "http://[fd00::1]:81/", "http://[fd00::2]/"),
            ("*:81", "http://10.1.2.3:81/", "http://a.example/"),
        ] {
            let set = [("ALL_PROXY", "socks5://p:1"), ("NO_PROXY", names)];
            assert_eq!(proxy(&set, direct), Ok(None), "{names}");
            assert!(proxy(&set, not).unwrap().is_some(), "{names}: {not}");
        }
    }

    #[test]
    fn one_that_cannot_be_used_is_told_and_not_passed_by() {
        for (written, says) in [
            ("socks6://p:1", "socks6"),
            ("ftp://p:1", "ftp"),
            ("http://", "ALL_PROXY"),
            ("http://me:secret@p:99999", "ALL_PROXY"),
        ] {
            let told = proxy(&[("ALL_PROXY", written)], "http://a.example/").unwrap_err();
            assert!(
                told.contains(says) && told.contains("ALL_PROXY") && !told.contains("secret"),
                "{told}"
            );
        }
    }

    #[test]
    fn windows_names_one_for_all_or_one_for_each() {
        let of = |setting: &str, kind| of_windows(setting, kind).unwrap_or_default();
        assert_eq!(of("proxy:8080", "http"), "proxy:8080");
        assert_eq!(of("http=a:1;https=b:2", "https"), "b:2");
        assert_eq!(of("http=a:1;socks=c:3", "https"), "socks5h://c:3");
        assert_eq!(of("ftp=a:1", "http"), "");
    }
}
