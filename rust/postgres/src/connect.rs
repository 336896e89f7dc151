//! Making a connection. The hosts of the URL are tried side by side, so that one which says nothing keeps no other from being tried: a
//! machine that is lost lets what is sent to it vanish, and one whose server stands still accepts connections.

use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_postgres::config::{Config, Host};
use tokio_postgres::{Client, Error};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::errors::say;
use crate::session::AGAIN;
use crate::settings::Settings;

/// How long one address may take to let us in, if the URL does not give it more time to accept a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// How long an address is tried alone before the next one is tried beside it.
const ALONE: Duration = Duration::from_millis(500);
/// The longest pause between two attempts at one address; the first is [`AGAIN`].
const AGAIN_MAX: Duration = Duration::from_secs(1);

/// What it means that the options of our sessions are refused, or do not reach the server: the server itself knows them.
pub(crate) const POOLER: &str = ". A pooler that shares the server's sessions, such as PgBouncer in its transaction mode, cannot be used. Next: give \
                      the URL of the server itself";

/// Why an address has given no connection.
pub(crate) struct Failed {
    place: String,
    text: String,
    /// It does not let us in, and will not.
    pub(crate) is_refused: bool,
}

/// A connection to the first host that takes writes and lets us in: the one that answered last begins.
pub(crate) async fn connect(settings: &Settings) -> Result<Client, Vec<Failed>> {
    let many = settings.config.get_hosts().len();
    let first = settings.answered().min(many.saturating_sub(1));
    let order = std::iter::once(first).chain((0..many).filter(|&at| at != first));
    let hosts = order.map(|at| {
        let settings = settings.clone();
        move || {
            let settings = settings.clone();
            async move { host(&settings, at).await.map(|client| (at, client)) }
        }
    });
    let (at, client) = earliest(hosts.collect()).await?;
    settings.has_answered(at);
    Ok(client)
}

/// A connection to one of the addresses that a host has.
async fn host(settings: &Settings, at: usize) -> Result<Client, Vec<Failed>> {
    let config = &settings.config;
    let (Some(host), port) = (config.get_hosts().get(at), settings.port(at)) else { return Err(Vec::new()) };
    let known = config.get_hostaddrs().get(at).copied();
    let addresses = match host {
        Host::Tcp(name) if known.is_none() => match timeout(CONNECT_WITHIN, lookup_host((name.as_str(), port))).await {
            Ok(Ok(found)) => found.map(|address| Some(address.ip())).collect(),
            Ok(Err(error)) => return Err(vec![failed(name.clone(), format!("its address is not found: {error}"))]),
            Err(_) => return Err(vec![failed(name.clone(), "its address is not found in time".into())]),
        },
        _ => vec![known],
    };
    let attempts = addresses.into_iter().map(|address| {
        let (one, tls) = (one_of(config, host, port, address), settings.tls.clone());
        let place = match (host, address) {
            (Host::Tcp(name), Some(address)) if *name != address.to_string() => format!("{name}:{port} ({address})"),
            (Host::Tcp(name), _) => format!("{name}:{port}"),
            (Host::Unix(path), _) => format!("{}:{port}", path.display()),
        };
        move || address_of(one.clone(), tls.clone(), place.clone())
    });
    earliest(attempts.collect()).await
}

fn lets_in_within(one: &Config) -> Duration {
    one.get_connect_timeout().map_or(CONNECT_WITHIN, |&accepts| CONNECT_WITHIN.max(accepts))
}

async fn address_of(one: Config, tls: MakeRustlsConnect, place: String) -> Result<Client, Vec<Failed>> {
    match timeout(lets_in_within(&one), one.connect(tls)).await {
        Ok(Ok((client, connection))) => {
            // How it ends is told to those who wait for an answer.
            tokio::spawn(async move { drop(connection.await) });
            Ok(client)
        }
        Ok(Err(error)) => Err(vec![told(place, &error)]),
        Err(_) => Err(vec![failed(place, "it does not answer".into())]),
    }
}

/// What the first of them gives that does not fail. Each begins when the one before it has failed, or has had some time alone. One that has
/// failed is tried again as long as another has not ended: a standby is promoted while the host that is lost is still waited for.
async fn earliest<T: Send + 'static, F: Future<Output = Result<T, Vec<Failed>>> + Send + 'static>(
    attempts: Vec<impl Fn() -> F>,
) -> Result<T, Vec<Failed>> {
    let mut failures: Vec<Option<Vec<Failed>>> = attempts.iter().map(|_| None).collect();
    let mut pauses = vec![AGAIN; attempts.len()];
    let mut begun = JoinSet::new();
    let mut next = 0;
    while failures.iter().any(Option::is_none) {
        if let Some(attempt) = attempts.get(next) {
            let (at, made) = (next, attempt());
            begun.spawn(async move { (at, made.await) });
            next += 1;
        }
        let wait = if next < attempts.len() { ALONE } else { CONNECT_WITHIN };
        match timeout(wait, begun.join_next()).await {
            // Those that are still under way end with the set.
            Ok(Some(Ok((_, Ok(made))))) => return Ok(made),
            Ok(Some(Ok((at, Err(why))))) => {
                if !why.iter().all(|one| one.is_refused) {
                    let (again, pause) = (attempts[at](), pauses[at]);
                    // All processes do so, with each of their connections: a server that is promoted is not to be held up by logins.
                    pauses[at] = (2 * pause).min(AGAIN_MAX);
                    begun.spawn(async move {
                        sleep(pause).await;
                        (at, again.await)
                    });
                }
                failures[at] = Some(why);
            }
            // One that panicked has said so.
            Ok(None | Some(Err(_))) => break,
            Err(_) => {}
        }
    }
    Err(failures.into_iter().flatten().flatten().collect())
}

fn failed(place: String, text: String) -> Failed {
    Failed { place, text, is_refused: false }
}

fn told(place: String, error: &Error) -> Failed {
    let code = error.code().map_or("", |code| code.code());
    // PgBouncer says the same code of what passes, such as too many clients.
    if code == "08P01" && say(error).contains("startup parameter") {
        let text = format!("{}{POOLER}", say(error));
        return Failed { place, text, is_refused: true };
    }
    // No such database, and whatever is wrong with the user or the password.
    Failed { place, text: say(error), is_refused: code == "3D000" || code.starts_with("28") }
}

/// Why there is no connection, in words.
pub(crate) fn reasons(settings: &Settings, failures: &[Failed]) -> String {
    match failures {
        [] => format!("{}: it has no address", settings.place()),
        [one] => format!("{}: {}", settings.place(), one.text),
        several => {
            let each: Vec<_> = several.iter().map(|one| format!("{}: {}", one.place, one.text)).collect();
            format!("{}: {}", settings.place(), each.join("; "))
        }
    }
}

/// The same settings for one host. There is no way to take hosts out of settings.
fn one_of(all: &Config, host: &Host, port: u16, address: Option<IpAddr>) -> Config {
    let mut one = Config::new();
    match host {
        Host::Tcp(name) => one.host(name),
        Host::Unix(path) => one.host_path(path),
    };
    if let Some(address) = address {
        one.hostaddr(address);
    }
    if let Some(user) = all.get_user() {
        one.user(user);
    }
    if let Some(password) = all.get_password() {
        one.password(password);
    }
    if let Some(name) = all.get_dbname() {
        one.dbname(name);
    }
    if let Some(options) = all.get_options() {
        one.options(options);
    }
    if let Some(name) = all.get_application_name() {
        one.application_name(name);
    }
    if let Some(&wait) = all.get_connect_timeout() {
        one.connect_timeout(wait);
    }
    if let Some(&wait) = all.get_tcp_user_timeout() {
        one.tcp_user_timeout(wait);
    }
    if let Some(interval) = all.get_keepalives_interval() {
        one.keepalives_interval(interval);
    }
    if let Some(retries) = all.get_keepalives_retries() {
        one.keepalives_retries(retries);
    }
    one.port(port).keepalives(all.get_keepalives()).keepalives_idle(all.get_keepalives_idle());
    one.ssl_mode(all.get_ssl_mode()).ssl_negotiation(all.get_ssl_negotiation());
    one.channel_binding(all.get_channel_binding()).target_session_attrs(all.get_target_session_attrs());
    one
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `connect_timeout=30` ended after 10 s.
    #[test]
    fn a_url_may_give_a_server_more_time() {
        let within = |text: &str| lets_in_within(&text.parse().unwrap());
        assert_eq!(within("postgresql://one/db"), CONNECT_WITHIN);
        assert_eq!(within("postgresql://one/db?connect_timeout=3"), CONNECT_WITHIN);
        assert_eq!(within("postgresql://one/db?connect_timeout=30"), Duration::from_secs(30));
    }
}
