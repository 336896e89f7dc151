use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use forebay_engine::base::token::Token;

use crate::http::*;
use forebay_engine::metrics::{Metric, Registry};

fn loopback() -> Address {
    Address { host: "127.0.0.1".into(), port: 0, token: None }
}

fn operations() -> (Arc<Registry>, Arc<AtomicBool>, Server) {
    let registry = Arc::new(Registry::new());
    let broken = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&broken);
    let health: Health = Arc::new(move || {
        seen.load(Ordering::Relaxed).then(|| "the disk under the store is full".to_string()).into_iter().collect()
    });
    let server = Server::start(&loopback(), Operations::new(Arc::clone(&registry), health)).unwrap();
    (registry, broken, server)
}

fn exchange(server: &Server, request: &str) -> String {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn get(server: &Server, path: &str) -> String {
    exchange(server, &format!("GET {path} HTTP/1.1\r\nHost: localhost:1\r\n\r\n"))
}

#[test]
fn metrics_are_served_in_the_format_asked_for() {
    let (registry, _, server) = operations();
    registry.counter(Metric::RecordsPut, &["flights"]).add(42);
    let answer = get(&server, "/metrics?x=1");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert!(answer.contains("\nforebay_records_put_total{stream=\"flights\"} 42\n"));
    let request =
        "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/openmetrics-text;version=1.0.0\r\n\r\n";
    assert!(exchange(&server, request).ends_with("# EOF\n"));
}

#[test]
fn readiness_turns_red_with_the_reasons_while_life_stays_green() {
    let (_, broken, server) = operations();
    assert!(get(&server, "/readyz").ends_with(r#"{"status":"ready"}"#));
    broken.store(true, Ordering::Relaxed);
    let answer = get(&server, "/readyz");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.ends_with(r#"{"status":"not ready","reasons":["the disk under the store is full"]}"#));
    assert!(get(&server, "/healthz").starts_with("HTTP/1.1 200 "));
}

#[test]
fn requests_that_are_not_served_get_their_status() {
    let (_, _, server) = operations();
    let long = "x".repeat(20_000);
    for (request, status) in [
        ("GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n".to_string(), 404),
        ("POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".into(), 405),
        ("GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello".into(), 413),
        ("GET /metrics HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(), 413),
        ("GET /metrics HTTP/1.1\r\nHost: rebound.example:9464\r\n\r\n".into(), 421),
        ("GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: rebound.example\r\n\r\n".into(), 400),
        ("GET /healthz HTTP/1.1\r\nHost: [::1]:9464\r\n\r\n".into(), 200),
        ("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:9464\r\n\r\n".into(), 200),
        (format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: {long}\r\n\r\n"), 431),
        ("nonsense\r\n\r\n".into(), 400),
    ] {
        let answer = exchange(&server, &request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}\n{answer}");
    }
}

#[test]
fn head_has_no_body() {
    let (_, _, server) = operations();
    let answer = exchange(&server, "HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"), "{answer}");
    assert!(answer.contains("content-length: 18\r\n"));
}

#[test]
fn silent_connections_up_to_the_bound_do_not_keep_others_out_for_ever() {
    let (_, _, server) = operations();
    let silent: Vec<_> = (0..127).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    assert!(get(&server, "/healthz").starts_with("HTTP/1.1 200 "), "the 128th is served");
    drop(silent);
    assert!(get(&server, "/healthz").starts_with("HTTP/1.1 200 "));
}

#[test]
fn an_address_that_other_machines_reach_takes_a_token() {
    let (registry, health): (_, Health) = (Arc::new(Registry::new()), Arc::new(Vec::new));
    let everywhere = |token| {
        let address = Address { host: "0.0.0.0".into(), port: 0, token };
        Server::start(&address, Operations::new(Arc::clone(&registry), Arc::clone(&health)))
    };
    assert!(matches!(everywhere(None), Err(StartError::NotLoopback(_))));
    assert_ne!(everywhere(Some("a word for this test".to_owned().into())).unwrap().address().port(), 0);
}

#[test]
fn with_a_token_metrics_and_reasons_are_for_those_who_give_it() {
    let registry = Arc::new(Registry::new());
    let address = Address { token: Some("s3cret-of-this-test".to_owned().into()), ..loopback() };
    let health: Health = Arc::new(|| vec!["the disk under the store is full".to_owned()]);
    let server = Server::start(&address, Operations::new(registry, health)).unwrap();
    let ask =
        |path: &str, lines: &str| exchange(&server, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n"));
    for wrong in [
        "",
        "Authorization: Bearer s3cret-of-this-tes\r\n",
        "Authorization: Bearer s3cret-of-this-test2\r\n",
        "Authorization: Bearer\r\n",
        "Authorization: Basic s3cret-of-this-test\r\n",
        "Authorization: s3cret-of-this-test\r\n",
    ] {
        let answer = ask("/metrics", wrong);
        assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains("www-authenticate: Bearer\r\n"), "{answer}");
        assert!(!answer.contains("forebay_"), "{answer}");
        assert!(ask("/readyz", wrong).ends_with(r#"{"status":"not ready"}"#));
        assert!(ask("/healthz", wrong).starts_with("HTTP/1.1 200 "));
        assert!(ask("/nothing", wrong).starts_with("HTTP/1.1 404 "));
    }
    for right in ["Authorization: Bearer s3cret-of-this-test\r\n", "authorization: bearer  s3cret-of-this-test\r\n"] {
        assert!(ask("/metrics", right).starts_with("HTTP/1.1 200 "));
        assert!(ask("/readyz", right).contains("the disk under the store is full"));
    }
}

#[test]
fn a_token_is_not_shown() {
    assert_eq!(format!("{:?}", Token::from("s3cret".to_owned())), "Token");
}

#[test]
fn a_port_in_use_is_an_error_that_names_it() {
    let (registry, _, server) = operations();
    let taken = Address { port: server.address().port(), ..loopback() };
    let error = Server::start(&taken, Operations::new(registry, Arc::new(Vec::new))).unwrap_err();
    assert!(error.to_string().starts_with(&format!("cannot listen on {}: ", server.address())), "{error}");
}

#[test]
fn a_stopped_server_frees_its_port() {
    let (registry, _, mut server) = operations();
    let waiting = TcpStream::connect(server.address()).unwrap();
    server.stop();
    drop(waiting);
    assert!(TcpStream::connect(server.address()).is_err());
    drop(registry);
}
