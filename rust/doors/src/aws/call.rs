//! One call of an operation: its input, and the engine that is asked.

use std::any::Any;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, OnceLock};

use forebay_engine::api::Request;
use forebay_engine::base::error::{Answer, EngineError, Reply};
use forebay_engine::runtime::engine::Engine;
use http::{HeaderName, HeaderValue};
use serde_json::Value as Json;
use tokio::sync::oneshot;

use crate::aside::Aside;
use crate::ask::{ask, begin, gone};
use crate::aws::checksums::Sent;
use crate::aws::fault::Fault;
use crate::aws::keys::Key;
use crate::aws::services::kinesis_subscription::Subscriptions;
use crate::aws::services::remembered::Remembered;
use crate::aws::value::Value;
use crate::clock::now_ms;
use crate::gateway::Gateway;
use crate::http::listener::Body;

/// What an operation gives.
pub enum Output {
    /// Its output.
    Value(Value),
    /// Its output, and the bytes that are the body.
    Object(Value, Body),
    /// An event stream, and a header that goes before it.
    Stream(Body, Option<(HeaderName, HeaderValue)>),
}

impl From<Value> for Output {
    fn from(value: Value) -> Self {
        Self::Value(value)
    }
}

/// What an operation comes to.
pub type Outcome<'c> = Pin<Box<dyn Future<Output = Result<Output, Fault>> + Send + 'c>>;

/// One call.
pub struct Call<'d> {
    /// What is asked.
    pub engine: &'d Arc<Engine>,
    /// The subscriptions to shards.
    pub subscriptions: &'d Arc<Subscriptions>,
    /// What is remembered of earlier requests.
    pub remembered: &'d Remembered,
    /// Region of every ARN.
    pub region: &'d str,
    /// Account of every ARN.
    pub account: &'d str,
    /// The store's directory.
    pub store: Option<&'d Path>,
    /// What to tell somebody who has no key and is not the user of the app, where that is refused.
    pub stranger: Option<&'static str>,
    /// The input.
    pub input: Value,
    /// The checksums of what S3 is to keep, or of the list of what it is to delete.
    pub(super) sums: Sent,
    /// What stands in the path before the part that names the operation.
    pub before: String,
    /// How the caller names this server: `http://127.0.0.1:4566`.
    pub origin: String,
    /// It came by a presigned URL: whoever was given that is not who signed it.
    pub is_presigned: bool,
    /// The id of the key that signed.
    pub key_id: String,
    /// That key; none where there are no keys, or where the call comes from a method.
    pub key: Option<Arc<Key>>,
    /// Gives what runs a method for a test; not where the call comes from a method.
    pub(crate) tester: Option<&'d (dyn Fn() -> Arc<Gateway> + Send + Sync)>,
    /// The id of what the engine accepted, where that has one of its own: the answer bears it.
    pub own_id: OnceLock<u128>,
}

impl Call<'_> {
    /// Have the answer bear the id of what the engine accepted. One operation accepts one thing.
    pub fn name(&self, id: Option<u128>) {
        if let Some(id) = id {
            let _ = self.own_id.set(id);
        }
    }

    /// Ask the engine; the answer is JSON.
    pub async fn ask(&self, request: Request) -> Result<Json, EngineError> {
        json_of(ask(self.engine, request).await)
    }

    /// Ask the engine now, and await the answer later.
    pub fn begin(&self, request: Request) -> oneshot::Receiver<Answer> {
        begin(|waiter| self.engine.call(request, waiter))
    }

    /// Ask the engine for what takes long to read.
    pub async fn ask_aside(&self, request: Request) -> Result<Result<Json, EngineError>, Fault> {
        let engine = self.engine.clone();
        let asked = aside(move || begin(|waiter| engine.call(request, waiter))).await?;
        Ok(ended(asked).await)
    }

    /// Say in the log what a client has deleted: what reads or writes it stands still until the app starts again.
    pub fn tell_deleted(&self, what: &str) {
        let (key, end) = (&self.key_id, "if the app's code declares it, it is there again after the next start");
        self.engine.remark_on_api("", &format!("a client of AWS's API (key {key}) has deleted {what}; {end}"));
    }

    /// Milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        now_ms() as i64
    }
}

/// So many requests wait for what takes long.
const WAITING_MAX: usize = 16;
static ASIDE: LazyLock<Aside> = LazyLock::new(|| Aside::new(WAITING_MAX));

/// Work something out that takes long. The door has one thread for all connections.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
    let place = ASIDE.place().await;
    let place = place.ok_or_else(|| Fault::new("ThrottlingException", "Rate exceeded").status(400))?;
    place.run(work).await.map_err(|error| Fault::new("ServiceUnavailable", error.to_string()).status(503))
}

/// An answer that came as it is.
pub fn typed_of<T: Any>(answer: &Reply) -> Result<&T, EngineError> {
    answer.typed().ok_or_else(otherwise)
}

/// The error of an answer of another type than was asked for.
pub fn otherwise() -> EngineError {
    EngineError::Closed("the app answered otherwise than it was asked".into())
}

/// An answer that is JSON.
pub fn json_of(answer: Answer) -> Result<Json, EngineError> {
    match answer? {
        Reply::Json(json) | Reply::Added(json) | Reply::Executed { json, .. } => {
            Ok(serde_json::from_slice(&json).unwrap_or_default())
        }
        Reply::Numbers(numbers) => Ok(numbers.into()),
        Reply::Assignments(_) => Ok(Json::Null),
        Reply::Typed(typed) => Ok(serde_json::from_slice(&typed.0.json()).unwrap_or_default()),
        Reply::Request(id) => Ok(forebay_engine::base::ids::uuid_text(id).into()),
    }
}

/// The answer to something that was begun.
pub async fn ended(receiver: oneshot::Receiver<Answer>) -> Result<Json, EngineError> {
    json_of(receiver.await.unwrap_or_else(|_| Err(gone())))
}

/// What all services say alike of a failure that is none of the caller's.
pub fn unavailable(error: &EngineError) -> Fault {
    Fault::new("ServiceUnavailable", error.to_string()).status(503)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::{aside, ASIDE};

    /// A client that hung up gave its place to the next one, and its work went on: hundreds ran at once.
    #[tokio::test]
    async fn what_is_worked_out_keeps_its_place_when_its_client_leaves() {
        let (began, begun) = mpsc::channel();
        let (go_on, goes_on) = mpsc::channel::<()>();
        let client = tokio::spawn(aside(move || {
            began.send(()).ok();
            goes_on.recv().ok();
        }));
        tokio::task::spawn_blocking(move || begun.recv_timeout(Duration::from_secs(60))).await.unwrap().unwrap();
        client.abort();
        assert!(client.await.unwrap_err().is_cancelled());
        assert_eq!(ASIDE.at_once.available_permits(), 1);
        drop(go_on);
        let _whole = ASIDE.at_once.acquire_many(2).await.unwrap();
    }
}
