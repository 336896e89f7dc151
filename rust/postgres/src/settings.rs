//! Where the server is, whose store it holds, and what a commit must survive.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs as _, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forebay_store::port::{Durability, StoreError};
use tokio_postgres::config::{Config, Host, LoadBalanceHosts, SslMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::door::Door;
use crate::schema::STEPS;
use crate::tls::{self, Trust};

/// PostgreSQL cuts longer names silently.
const NAME_BYTES_MAX: usize = 63;
/// What is in the name of no schema of ours.
const NO_NAME: [char; 5] = ['\0', '$', '\'', '"', '\\'];
/// What the name of a schema begins with that the URL does not name.
pub(crate) const SCHEMA_BEGINS: &str = "forebay_";
/// How long one address may take to accept a connection, where the URL does not say otherwise.
const CONNECT: Duration = Duration::from_secs(3);
/// How long bytes may wait for the other end's kernel before the connection is taken for dead.
const UNHEARD: Duration = Duration::from_secs(5);
/// Options of each session, which the URL's own options override. A statement ends by itself before `session::ANSWER_WITHIN`; one that
/// waits for another's lock ends soon, and is sent again; the server notices within a second that we are gone, and within 6 s that the
/// way to us is: else each cut would leave it connections for hours, until it had no free one. The first one is ours: by that the server
/// says that it has the others.
const OPTIONS: &str =
    "-c forebay.session=1 -c statement_timeout=30s -c lock_timeout=2s -c idle_in_transaction_session_timeout=5s \
                       -c client_connection_check_interval=1s -c tcp_keepalives_idle=3 -c tcp_keepalives_interval=1 \
                       -c tcp_keepalives_count=3 -c tcp_user_timeout=5s";

/// A server, the app whose store it holds, and how much a commit must survive.
#[derive(Clone)]
pub struct Settings {
    pub(crate) config: Config,
    pub(crate) tls: MakeRustlsConnect,
    pub(crate) app: String,
    pub(crate) schema: String,
    pub(crate) durability: Durability,
    /// This process among those that share the store.
    member: String,
    /// The epoch with which it has taken the store as a member.
    pub(crate) epoch: Option<u64>,
    /// How a store of each format becomes one of the next.
    pub(crate) steps: &'static [&'static str],
    place: String,
    /// Which of the hosts has let somebody in last: all that have these settings begin with it.
    answered: Arc<AtomicUsize>,
    /// What this process has said of how it is reached.
    pub(crate) door: Arc<Mutex<Option<Door>>>,
}

impl std::fmt::Debug for Settings {
    /// Without the password.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Settings")
            .field("place", &self.place)
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// Read a URL such as `postgresql://user:password@host1,host2/database?sslmode=verify-full`.
    ///
    /// `schema` names the schema of the store; without it that is `forebay_` and the app. Of several hosts the one that takes writes is used. `sslmode` may be `disable`, `prefer`, `require`, `verify-ca` or
    /// `verify-full`, and `sslrootcert` names a file of certificates in PEM. [`StoreError::Refused`] says what is wrong with the URL.
    pub fn new(url: &str, app: &str, durability: Durability) -> Result<Self, StoreError> {
        if !is_url(url) {
            return refused("a store on PostgreSQL is given as a URL: postgresql://user:password@host:port/database");
        }
        let Own { url, trust, schema: named } = take_own(url)?;
        let schema = named.unwrap_or_else(|| format!("{SCHEMA_BEGINS}{app}"));
        if app.is_empty() || schema.is_empty() || schema.len() > NAME_BYTES_MAX || schema.contains(NO_NAME) {
            return refused(&format!(
                "the schema of app {app:?} on PostgreSQL would be {schema:?}: the app's name must have 1 to {} bytes, and no quote, $ or \
                 backslash. Next: give another store_app=, or name the schema in the store's URL (?schema=)",
                NAME_BYTES_MAX - SCHEMA_BEGINS.len()
            ));
        }
        let mut config: Config = url.parse().map_err(|error| {
            StoreError::Refused(format!("the URL of the store is not understood: {}", crate::errors::say(&error)))
        })?;
        if config.get_hosts().is_empty() {
            return refused("the URL of the store names no host: postgresql://user:password@host:port/database");
        }
        let (hosts, addresses) = (config.get_hosts().len(), config.get_hostaddrs().len());
        if ![0, hosts].contains(&addresses) || ![0, 1, hosts].contains(&config.get_ports().len()) {
            return refused("the URL of the store must name as many ports and hostaddr as hosts, or one port, or none");
        }
        if config.get_load_balance_hosts() != LoadBalanceHosts::Disable {
            return refused(
                "load_balance_hosts in the URL of the store: the host that takes writes is used, whatever their order. Next: leave it out",
            );
        }
        config.ssl_mode(trust.mode());
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(UNHEARD);
        }
        if config.get_keepalives_interval().is_none() {
            let second = Duration::from_secs(1);
            config.keepalives(true).keepalives_idle(3 * second).keepalives_interval(second).keepalives_retries(3);
        }
        if config.get_application_name().is_none() {
            config.application_name(format!("forebay {app}"));
        }
        let options = config.get_options().map_or_else(|| OPTIONS.to_owned(), |own| format!("{OPTIONS} {own}"));
        config.options(options);
        let place = place(&config);
        let member = format!("process {}", std::process::id());
        Ok(Self {
            tls: tls::connector(&trust)?,
            config,
            app: app.into(),
            schema,
            durability,
            member,
            epoch: None,
            steps: STEPS,
            place,
            answered: Arc::default(),
            door: Arc::default(),
        })
    }

    /// Which of the hosts is tried first.
    pub(crate) fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// A host has let us in.
    pub(crate) fn has_answered(&self, at: usize) {
        self.answered.store(at, Ordering::Relaxed);
    }

    /// The port of a host.
    pub(crate) fn port(&self, at: usize) -> u16 {
        port(&self.config, at)
    }

    /// Where it is, in words for people: hosts and database, without user and password.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The address of this machine that the server is reached from; `None`: the server is reached through a file.
    pub fn own_address(&self) -> std::io::Result<Option<IpAddr>> {
        let mut failed = None;
        for (at, host) in self.config.get_hosts().iter().enumerate() {
            let Host::Tcp(name) = host else { continue };
            match toward(name, self.port(at)) {
                Ok(address) => return Ok(Some(address)),
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(None), Err)
    }

    /// The app whose store it is.
    pub fn app(&self) -> &str {
        &self.app
    }

    /// Where the store is, in words for people: its schema, too.
    pub fn place_of_store(&self) -> String {
        format!("{} (schema {})", self.place, self.schema)
    }

    /// Whether the URL names no schema.
    pub(crate) fn has_schema_of_app(&self) -> bool {
        self.schema == format!("{SCHEMA_BEGINS}{}", self.app)
    }

    /// The store of another app, or in another schema.
    #[must_use]
    pub(crate) fn of(self, app: &str, schema: &str) -> Self {
        Self { app: app.into(), schema: schema.into(), ..self }
    }

    /// Give this process a name, which no other process may ever have.
    #[must_use]
    pub fn named(self, member: &str) -> Self {
        Self { member: member.into(), door: Arc::default(), ..self }
    }

    /// Open the store as the member that has taken it with this epoch ([`Event::Taken`](crate::Event)). Else it is taken when it is
    /// opened, from whoever has it.
    #[must_use]
    pub fn taken(self, epoch: u64) -> Self {
        Self { epoch: Some(epoch), ..self }
    }

    /// Understand formats after those of this release, as a later one will. Each step makes a store of one format one of the next: statements
    /// of PL/pgSQL, in which `@` stands for the store's schema.
    #[must_use]
    pub fn with_steps(self, steps: &'static [&'static str]) -> Self {
        Self { steps, ..self }
    }

    /// The newest format that is understood.
    pub fn format(&self) -> u32 {
        1 + self.steps.len() as u32
    }

    /// What the head of the store calls this process.
    pub fn member(&self) -> &str {
        &self.member
    }

    /// The schema's name as SQL has it.
    pub fn quoted_schema(&self) -> String {
        format!("\"{}\"", self.schema)
    }
}

/// The address from which another one is reached. Nothing is sent.
fn toward(name: &str, port: u16) -> std::io::Result<IpAddr> {
    let mut failed = std::io::Error::other(format!("{name} has no address"));
    for to in (name, port).to_socket_addrs()? {
        let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let found = UdpSocket::bind((any, 0)).and_then(|socket| socket.connect(to).and_then(|()| socket.local_addr()));
        match found {
            Ok(found) => return Ok(found.ip()),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn refused<T>(text: &str) -> Result<T, StoreError> {
    Err(StoreError::Refused(text.into()))
}

/// Whether a store is given as a URL of this crate, and not as a directory.
pub fn is_url(store: &str) -> bool {
    store.starts_with("postgresql://") || store.starts_with("postgres://")
}

/// What of a URL is for us, and the rest of it.
struct Own {
    url: String,
    trust: Trust,
    schema: Option<String>,
}

/// Take `schema` out of the URL, and `sslmode` and `sslrootcert`: the client knows less of them than libpq does.
fn take_own(url: &str) -> Result<Own, StoreError> {
    let Some((before, query)) = url.split_once('?') else {
        return Ok(Own { url: url.into(), trust: Trust::Prefer, schema: None });
    };
    let (mut mode, mut roots, mut schema, mut rest) = ("prefer", None, None, Vec::new());
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("sslmode", value)) => mode = value,
            Some(("sslrootcert", value)) => roots = Some(decoded(value)?),
            Some(("schema", value)) => schema = Some(decoded(value)?),
            _ => rest.push(pair),
        }
    }
    let trust = match (mode, roots) {
        ("disable", _) => Trust::Disable,
        ("prefer", None) => Trust::Prefer,
        ("require", None) => Trust::Require,
        // As libpq does: whoever names certificates wants them to be looked at.
        ("prefer" | "require" | "verify-ca", roots) => Trust::Issuer(roots),
        ("verify-full", roots) => Trust::Full(roots),
        (other, _) => {
            return refused(&format!(
            "sslmode is {other:?} in the store's URL: allowed are disable, prefer, require, verify-ca and verify-full"
        ))
        }
    };
    let query = if rest.is_empty() { String::new() } else { format!("?{}", rest.join("&")) };
    Ok(Own { url: format!("{before}{query}"), trust, schema })
}

/// A value of a URL without its percent signs.
fn decoded(value: &str) -> Result<String, StoreError> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = rest.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match digits.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) => bytes.push(byte),
            None => return refused("the store's URL has a % without two hexadecimal digits"),
        }
        rest = &rest[2..];
    }
    String::from_utf8(bytes).or_else(|_| refused("a value in the store's URL is not text in UTF-8"))
}

fn port(config: &Config, at: usize) -> u16 {
    let ports = config.get_ports();
    ports.get(at).or(ports.first()).copied().unwrap_or(5432)
}

fn place(config: &Config) -> String {
    let hosts = config.get_hosts().iter().enumerate().map(|(at, host)| {
        let port = port(config, at);
        match host {
            Host::Tcp(name) => format!("{name}:{port}"),
            Host::Unix(path) => format!("{}:{port}", path.display()),
        }
    });
    let hosts: Vec<_> = hosts.collect();
    // Without a name of a database the server takes the user's.
    format!("postgresql://{}/{}", hosts.join(","), config.get_dbname().or(config.get_user()).unwrap_or_default())
}

impl Trust {
    /// What the client is to do about TLS; the certificates are looked at in `tls.rs`.
    fn mode(&self) -> SslMode {
        match self {
            Self::Disable => SslMode::Disable,
            Self::Prefer => SslMode::Prefer,
            Self::Require | Self::Issuer(_) | Self::Full(_) => SslMode::Require,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str) -> Result<Settings, String> {
        Settings::new(url, "shop", Durability::PowerLoss).map_err(|error| error.to_string())
    }

    #[test]
    fn the_primary_of_several_hosts_is_asked_for_and_a_dead_connection_is_noticed() {
        let settings = settings("postgresql://me:secret@one:5433,two:5434/db?options=-clock_timeout%3D9s").unwrap();
        let config = &settings.config;
        assert_eq!(config.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
        assert_eq!(config.get_tcp_user_timeout(), Some(&UNHEARD));
        assert_eq!(config.get_keepalives_idle(), Duration::from_secs(3));
        assert_eq!(config.get_options(), Some(format!("{OPTIONS} -clock_timeout=9s").as_str()), "the later one holds");
        assert_eq!(settings.place(), "postgresql://one:5433,two:5434/db");
        assert!(!format!("{settings:?}").contains("secret"));
        assert_eq!(settings.quoted_schema(), "\"forebay_shop\"");
        let named =
            super::Settings::new("postgresql://one/db?schema=my%20shop&sslmode=disable", "shop", Durability::PowerLoss);
        assert_eq!(named.unwrap().quoted_schema(), "\"my shop\"");
    }

    #[test]
    fn the_url_says_what_is_to_be_trusted() {
        let modes = [
            ("", SslMode::Prefer),
            ("?sslmode=disable", SslMode::Disable),
            ("?sslmode=require&application_name=x", SslMode::Require),
            ("?sslmode=verify-full", SslMode::Require),
        ];
        for (query, mode) in modes {
            let settings = settings(&format!("postgresql://one/db{query}")).unwrap();
            assert_eq!(settings.config.get_ssl_mode(), mode, "{query}");
        }
        let refused = settings("postgresql://one/db?sslmode=verify").unwrap_err();
        assert!(refused.contains("allowed are disable, prefer, require, verify-ca and verify-full"), "{refused}");
        let refused = settings("postgresql://one/db?sslmode=verify-full&sslrootcert=%2Fno%2Fsuch.pem").unwrap_err();
        assert!(refused.contains("/no/such.pem"), "{refused}");
    }

    #[test]
    fn a_url_that_cannot_be_used_is_refused_in_words_without_the_password() {
        for url in
            ["./data", "postgresql:///db", "postgresql://me:secret@one:port/db", "postgresql://me:secret@one/db?x=1"]
        {
            let refused = settings(url).unwrap_err();
            assert!(!refused.contains("secret") && refused.len() > 40, "{url}: {refused}");
        }
        let balanced = settings("postgresql://me:secret@one,two/db?load_balance_hosts=random").unwrap_err();
        assert!(balanced.contains("load_balance_hosts") && balanced.contains("leave it out"), "{balanced}");
        let long = Settings::new("postgresql://one/db", &"a".repeat(56), Durability::PowerLoss).unwrap_err();
        assert!(long.to_string().contains("1 to 55 bytes"), "{long}");
    }
}
