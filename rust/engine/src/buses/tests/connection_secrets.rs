//! The secrets of connections outlive the process, in one file that only its user may read.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{json, Value};

use super::resources::{connect, destination, told, PASSWORD};
use super::shop;
use crate::base::error::EngineError;
use crate::runtime::test_engine::TestEngine;
use crate::store::port::StoreError;

const FILE: &str = "connection-secrets.json";

fn opened_in(directory: &Path) -> TestEngine {
    let engine = shop(&json!([]));
    engine.engine.opened(Some(directory), None, &[]);
    engine
}

/// The process dies, and another one starts in the same directory.
fn started_in(engine: TestEngine, directory: &Path) -> TestEngine {
    let engine = engine.try_reopened().unwrap();
    engine.engine.opened(Some(directory), None, &[]);
    engine.engine.start().unwrap();
    engine
}

fn described(engine: &TestEngine) -> Value {
    engine.json("http_connection.describe", &json!({"name": "c"}))
}

fn basic(password: &str) -> Value {
    json!({"BasicAuthParameters": {"Username": "u", "Password": password}})
}

#[test]
fn a_connection_is_authorized_again_after_a_start() {
    let directory = tempfile::tempdir().unwrap();
    let engine = opened_in(directory.path());
    let made = connect(&engine, "BASIC", &basic(PASSWORD));
    destination(&engine);
    let mode = fs::metadata(directory.path().join(FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let engine = started_in(engine, directory.path());
    let again = described(&engine);
    assert_eq!((&again["state"], &again["arn"], &again["reason"]), (&json!("AUTHORIZED"), &made["arn"], &json!(null)));
    assert_eq!(engine.json("http_connection.secret", &json!({"name": "c"})), basic(PASSWORD));
    assert_eq!(told(&engine, "api destination")["parameters"], basic(PASSWORD));
    // Another secret takes its place, and none is left of one that was taken away.
    connect(&engine, "BASIC", &basic("other"));
    let text = fs::read_to_string(directory.path().join(FILE)).unwrap();
    assert!(text.contains("other") && !text.contains(PASSWORD), "{text}");
    engine.json("http_connection.deauthorize", &json!({"name": "c"}));
    assert!(!fs::read_to_string(directory.path().join(FILE)).unwrap().contains("other"));
    let engine = started_in(engine, directory.path());
    assert_eq!(described(&engine)["state"], "DEAUTHORIZED");
    connect(&engine, "BASIC", &basic("third"));
    engine.json("http_connection.delete", &json!({"name": "c"}));
    assert!(!fs::read_to_string(directory.path().join(FILE)).unwrap().contains("third"));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing else is left");
}

#[test]
fn one_that_had_a_token_asks_for_the_next_when_it_needs_it_and_any_other_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let engine = opened_in(directory.path());
    let parameters = json!({"OAuthParameters": {"ClientParameters": {"ClientID": "i", "ClientSecret": PASSWORD}}});
    connect(&engine, "OAUTH_CLIENT_CREDENTIALS", &parameters);
    let engine = started_in(engine, directory.path());
    assert_eq!(described(&engine)["state"], "AUTHORIZING");
    let asked = told(&engine, "connection");
    assert_eq!(asked["parameters"], parameters);
    let answer = json!({"name": "c", "revision": asked["revision"], "error": null});
    engine.json("http_connection.authorized", &answer);
    let engine = started_in(engine, directory.path());
    assert_eq!(described(&engine)["state"], "AUTHORIZED");
    assert_eq!(told(&engine, "connection"), Value::Null);
}

#[test]
fn a_secret_that_cannot_be_written_is_refused_with_its_connection() {
    let directory = tempfile::tempdir().unwrap();
    let engine = opened_in(directory.path());
    connect(&engine, "BASIC", &basic(PASSWORD));
    fs::create_dir(directory.path().join("connection-secrets.new")).unwrap();
    let authorization = json!({"kind": "BASIC", "parameters": basic("other"), "shown": {}});
    for name in ["c", "d"] {
        let refused = engine.asked("http_connection.put", &json!({"name": name, "authorization": authorization}));
        let Err(EngineError::Store(StoreError::Refused(text))) = refused else { panic!("{refused:?}") };
        assert!(text.contains(FILE) && !text.contains("other"), "{text}");
    }
    assert_eq!(engine.json("http_connection.secret", &json!({"name": "c"})), basic(PASSWORD));
    assert!(engine.asked("http_connection.describe", &json!({"name": "d"})).is_err());
}

#[test]
fn a_file_that_cannot_be_read_keeps_no_app_from_its_start() {
    let directory = tempfile::tempdir().unwrap();
    let engine = opened_in(directory.path());
    connect(&engine, "BASIC", &basic(PASSWORD));
    fs::write(directory.path().join(FILE), "{").unwrap();
    let engine = started_in(engine, directory.path());
    assert!(told(&engine, "damaged")["text"].as_str().unwrap().contains("cannot be read"));
    assert_eq!(described(&engine)["state"], "DEAUTHORIZED");
    connect(&engine, "BASIC", &basic(PASSWORD));
    assert_eq!(described(&started_in(engine, directory.path()))["state"], "AUTHORIZED");
}
