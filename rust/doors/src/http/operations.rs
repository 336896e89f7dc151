//! What an operator asks a runtime: its metrics, whether it lives, whether it is ready.

use std::sync::Arc;

use serde_json::json;

use crate::http::{Answer, Request, Routes};
use forebay_engine::metrics::{exposition, Format, Registry};

/// Says why the runtime is not ready; empty when it is. Called for each `/readyz`.
pub type Health = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// `/metrics`, which takes the token where there is one, and `/healthz` and `/readyz`, which do not.
pub struct Operations {
    registry: Arc<Registry>,
    health: Health,
}

impl Operations {
    /// Show this registry and this health.
    pub fn new(registry: Arc<Registry>, health: Health) -> Self {
        Self { registry, health }
    }

    /// Whoever has no token learns whether, and not why: a probe needs no more.
    fn ready(&self, admitted: bool) -> Answer {
        let reasons = (self.health)();
        match (reasons.is_empty(), admitted) {
            (true, _) => Answer::json(200, &json!({"status": "ready"})),
            (false, true) => Answer::json(503, &json!({"status": "not ready", "reasons": reasons})),
            (false, false) => Answer::json(503, &json!({"status": "not ready"})),
        }
    }
}

impl Routes for Operations {
    fn answer(&self, request: Request<'_>) -> Option<Answer> {
        match request.path {
            "/metrics" if !request.admitted => {
                Some(Answer::json(401, &json!({"error": "give the token: Authorization: Bearer <token>"})))
            }
            "/metrics" => {
                let format = Format::negotiate(request.accept);
                let page = exposition::render(&self.registry, format);
                Some(Answer { status: 200, content_type: format.content_type(), body: page.into_bytes() })
            }
            "/healthz" => Some(Answer::json(200, &json!({"status": "alive"}))),
            "/readyz" => Some(self.ready(request.admitted)),
            _ => None,
        }
    }
}
