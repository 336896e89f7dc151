//! What a connection asks, as `forebay why` and the access log tell it.

use forebay_core::gateway::access_log::Facts;
use forebay_engine::gateways::requests::{Asked, Place};
use tokio::time::Instant;

use crate::clock::now_ms;
use crate::gateway::serve::LEFT_WHY;
use crate::gateway::trail::Trail;
use crate::gateway::websocket::{Reached, Session};
use crate::gateway::{going, Gateway};

/// A handshake, a message, or an end.
pub(super) struct Visit {
    began: Instant,
    what: &'static str,
    pub(super) id: String,
    /// The message's own id.
    pub(super) message: String,
    pub(super) trail: Trail,
}

impl Visit {
    pub(super) fn begin(what: &'static str, id: String) -> Self {
        Self { began: Instant::now(), what, id, message: String::new(), trail: Trail::default() }
    }
}

impl Session {
    /// Remember what the connection has asked, and write its line: with the status, and how many bytes the client was sent.
    pub(super) fn note(
        &self,
        gateway: &Gateway,
        (reached, at): (&Reached, Option<usize>),
        visit: &Visit,
        answer: (u16, usize),
    ) {
        let (status, length) = answer;
        let definition = at.map(|at| &reached.api.routes[at].definition);
        let function = definition.and_then(|definition| definition.target.function());
        let (api, stage) = (&reached.api, reached.stage().name.as_str());
        let (took, route) = (visit.began.elapsed(), definition.map_or("", |definition| &definition.key));
        let asked = Asked {
            at_ms: now_ms(),
            took,
            ids: [&visit.id, &visit.message],
            api: &api.name,
            stage,
            method: visit.what,
            place: Place::Connection(&self.id),
            route,
            function: function.unwrap_or_default(),
            status,
        };
        let way = visit.trail.take();
        if let Some(log) = &gateway.access_log {
            log.write(&Facts {
                account: &gateway.account,
                api: &api.id,
                domain: &self.host,
                method: visit.what,
                path: &self.path,
                protocol: self.request().protocol,
                route_key: route,
                stage,
                request_id: &visit.id,
                connection_id: &self.id,
                event_type: visit.what,
                source_ip: &self.source_ip,
                user_agent: self.request().header("user-agent"),
                client_cert: self.client_cert.as_deref(),
                status,
                length,
                latency_ms: took.as_millis() as u64,
                time_ms: asked.at_ms,
                error: if going::is_left() { LEFT_WHY } else { way.reason(status) },
            });
        }
        gateway.noted.note(&asked, way);
    }
}
