//! Everything that takes bytes from outside, as targets for bytes that nobody wrote on purpose.
//!
//! A target may refuse what it is given; it must neither panic nor take long, and what it accepts must keep the promises that
//! stand in it. `tests/corpora.rs` gives each of them its seeds, the inputs in `corpus/`, and changes of both; `make deep ARGS=fuzz`
//! lets libFuzzer look for inputs that reach new branches.
#![forbid(unsafe_code)]
// Tests, which stand here because a fuzzer and the test run share them.
#![allow(clippy::unwrap_used)]

mod filters;
mod gateway;
mod http;
mod requests;
mod sockets;
mod stores;
mod tables;
mod test_engine;
mod wire;

/// One door.
#[derive(Clone, Copy)]
pub struct Target {
    /// Also names its folder in `corpus/`.
    pub name: &'static str,
    /// Take an input; tell whether it made any sense. Panics where a promise is broken.
    pub takes: fn(&[u8]) -> bool,
    /// Inputs that make sense, to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "assignments", takes: sockets::assignments, seeds: sockets::assignments_seeds },
    Target { name: "attempts", takes: stores::attempts, seeds: stores::attempts_seeds },
    Target { name: "aws-bodies", takes: wire::bodies, seeds: wire::bodies_seeds },
    Target { name: "aws-frames", takes: wire::frames, seeds: wire::frames_seeds },
    Target { name: "aws-rest", takes: wire::rest, seeds: wire::rest_seeds },
    Target { name: "aws-signatures", takes: wire::signatures, seeds: wire::signatures_seeds },
    Target { name: "batches", takes: sockets::batches, seeds: sockets::batches_seeds },
    Target { name: "chunks", takes: stores::chunks, seeds: stores::chunks_seeds },
    Target { name: "environments", takes: sockets::environments, seeds: sockets::environments_seeds },
    Target { name: "filters", takes: filters::filters, seeds: filters::filters_seeds },
    Target { name: "frames", takes: sockets::frames, seeds: sockets::frames_seeds },
    Target { name: "gateway-heads", takes: gateway::heads, seeds: gateway::heads_seeds },
    Target { name: "gateway-messages", takes: gateway::messages, seeds: gateway::messages_seeds },
    Target { name: "histograms", takes: stores::histograms, seeds: stores::histograms_seeds },
    Target { name: "http2", takes: http::http2, seeds: http::http2_seeds },
    Target { name: "json", takes: filters::json, seeds: filters::json_seeds },
    Target { name: "jwt", takes: gateway::jwt, seeds: gateway::jwt_seeds },
    Target { name: "metrics-page", takes: http::metrics_page, seeds: http::metrics_page_seeds },
    Target { name: "output", takes: sockets::output, seeds: sockets::output_seeds },
    Target { name: "policies", takes: filters::policies, seeds: filters::policies_seeds },
    Target { name: "recovery", takes: requests::recovery, seeds: requests::recovery_seeds },
    Target { name: "requests", takes: requests::requests, seeds: requests::requests_seeds },
    Target { name: "routes", takes: gateway::routes, seeds: gateway::routes_seeds },
    Target { name: "rows", takes: stores::rows, seeds: stores::rows_seeds },
    Target { name: "runtime-api", takes: http::runtime_api, seeds: http::runtime_api_seeds },
    Target { name: "tables", takes: tables::tables, seeds: tables::tables_seeds },
    Target { name: "templates", takes: gateway::templates, seeds: gateway::templates_seeds },
    Target { name: "texts", takes: sockets::texts, seeds: sockets::texts_seeds },
];

/// The target of a name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|target| target.name == name).copied()
}
