//! Where an owner listens for other machines.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};

use forebay_engine::base::error::EngineError;
use forebay_engine::store::port::StoreError;
use forebay_postgres::Settings;
use rustix::net::{bind, socket_with, sockopt, AddressFamily, SocketFlags, SocketType};

/// What other machines are to connect to, if not the address from which this machine reaches the database.
const ADDRESS: &str = "FOREBAY_CLUSTER_ADDRESS";
/// Where to listen, if not there.
const BIND: &str = "FOREBAY_CLUSTER_BIND";
/// Do not listen.
const OFF: &str = "off";

/// Where an owner listens, and what others are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where to listen; port 0: any.
    pub bind: SocketAddr,
    /// The host's name or address for others.
    pub host: String,
    /// The port for others, if not the one that is listened at.
    pub port: Option<u16>,
}

impl Place {
    /// As the environment says it; `None`: nowhere.
    pub(crate) fn of(settings: &Settings) -> Result<Option<Self>, EngineError> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let refused = |name: &str, value: &str, error: &dyn std::fmt::Display| {
            EngineError::Invalid(format!(
                "{name}={value}: {error}. It is a host or address of this machine, with or without a port: 10.0.0.5:7410; \
                 {ADDRESS}={OFF} lets no other machine in"
            ))
        };
        let address = variable(ADDRESS);
        if address.as_deref() == Some(OFF) {
            return Ok(None);
        }
        let Some(address) = address else {
            let own = settings.own_address().map_err(|error| {
                let text = format!("no address of this machine leads to {}: {error}", settings.place());
                EngineError::Store(StoreError::Unavailable(text))
            })?;
            return match (own, variable(BIND)) {
                (Some(own), None) => Ok(Some(Self { bind: (own, 0).into(), host: own.to_string(), port: None })),
                (own, Some(bind)) => {
                    let at = resolved(&bind).map_err(|error| refused(BIND, &bind, &error))?;
                    let host = own.filter(|_| at.ip().is_unspecified()).unwrap_or(at.ip());
                    Ok(Some(Self { bind: at, host: host.to_string(), port: None }))
                }
                (None, None) => Ok(None),
            };
        };
        let (host, port) = split(&address).map_err(|error| refused(ADDRESS, &address, &error))?;
        let (name, bind) = variable(BIND).map_or((ADDRESS, address.clone()), |bind| (BIND, bind));
        let bind_at = resolved(&bind).map_err(|error| refused(name, &bind, &error))?;
        Ok(Some(Self { bind: bind_at, host: host.to_owned(), port }))
    }

    /// Refuse an address at which this machine cannot listen. The port may be another process's until it ends.
    pub(crate) fn check(place: Option<Self>) -> Result<(), EngineError> {
        let Some(at) = place.map(|place| place.bind) else { return Ok(()) };
        match bound(at) {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => Err(EngineError::Invalid(format!(
                "this machine cannot listen at {at} for other machines: {error}. Next: {BIND} names an address of its own, or 0.0.0.0; {ADDRESS} \
                 what others are to connect to; {ADDRESS}={OFF} lets no other machine in"
            ))),
            _ => Ok(()),
        }
    }

    /// What others are told, when it is listened there.
    pub(super) fn told(&self, at: SocketAddr) -> String {
        let port = self.port.filter(|&port| port != 0).unwrap_or(at.port());
        match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V6(_)) => format!("[{}]:{port}", self.host),
            _ => format!("{}:{port}", self.host),
        }
    }
}

/// Have an address for a moment. Without listening: an owner that begins to listen there just now is not kept from it.
fn bound(at: SocketAddr) -> io::Result<()> {
    let family = if at.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    Ok(bind(&socket, &at)?)
}

/// Host, and port if there is one.
fn split(text: &str) -> io::Result<(&str, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None if text.parse::<IpAddr>().is_ok() => (text, None),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() {
        return Err(io::Error::other("there is no host"));
    }
    let port =
        port.map(|port| port.parse().map_err(|_| io::Error::other(format!("{port:?} is not a port")))).transpose()?;
    Ok((host, port))
}

fn resolved(text: &str) -> io::Result<SocketAddr> {
    let (host, port) = split(text)?;
    let mut found = (host, port.unwrap_or(0)).to_socket_addrs()?;
    found.next().ok_or_else(|| io::Error::other("it has no address"))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_host_is_read_with_and_without_a_port() {
        let cases = [
            ("10.0.0.5", Some(("10.0.0.5", None))),
            ("10.0.0.5:7410", Some(("10.0.0.5", Some(7410)))),
            ("db.example:1", Some(("db.example", Some(1)))),
            ("::1", Some(("::1", None))),
            ("[::1]:7410", Some(("::1", Some(7410)))),
            ("[::1]", Some(("::1", None))),
            (":7410", None),
            ("host:port", None),
            ("host:99999", None),
        ];
        for (text, expected) in cases {
            assert_eq!(split(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn an_address_of_another_machine_is_refused_and_a_port_in_use_is_not() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = |at: SocketAddr| Some(Place { bind: at, host: "shop-1".into(), port: None });
        Place::check(place(held.local_addr().unwrap())).unwrap();
        Place::check(None).unwrap();
        let refused = Place::check(place("192.0.2.1:7410".parse().unwrap())).unwrap_err().to_string();
        assert!(refused.contains("cannot listen at 192.0.2.1") && refused.contains(BIND), "{refused}");
    }

    #[test]
    fn others_are_told_the_port_that_is_listened_at_unless_another_is_given() {
        let at = "127.0.0.1:5000".parse().unwrap();
        let place = |host: &str, port| Place { bind: at, host: host.into(), port };
        assert_eq!(place("shop-1", None).told(at), "shop-1:5000");
        assert_eq!(place("shop-1", Some(0)).told(at), "shop-1:5000");
        assert_eq!(place("shop-1", Some(7410)).told(at), "shop-1:7410");
        assert_eq!(place("::1", None).told(at), "[::1]:5000");
    }
}
