//! What the doors share with the engine of gateways and of AWS's wire API.

use std::sync::Arc;

use crate::gateways::calls::Calls;
use crate::gateways::connections::Connections;
use crate::gateways::requests::Requests;
use crate::gateways::rest::ServedRest;
use crate::gateways::Served;
use crate::runtime::engine::Engine;

impl Engine {
    /// The APIs that are served.
    pub fn apis(&self) -> Arc<Served> {
        self.shared.lock().state.gateways.served.clone()
    }

    /// The REST APIs, as the gateway sees them.
    pub fn rest_apis(&self) -> Arc<ServedRest> {
        self.shared.lock().state.rest_apis.served.clone()
    }

    /// The open connections of WebSocket APIs.
    pub fn connections(&self) -> Arc<Connections> {
        self.shared.lock().state.gateways.connections.clone()
    }

    /// The newest requests to APIs.
    pub fn api_requests(&self) -> Arc<Requests> {
        self.shared.lock().state.gateways.requests.clone()
    }

    /// The newest requests of AWS's wire API.
    pub fn calls(&self) -> Arc<Calls> {
        self.shared.lock().state.gateways.calls.clone()
    }
}
