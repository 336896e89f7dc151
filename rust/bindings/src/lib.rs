//! `forebay._core`: the stairwell between Python and the engine. A list, and little else.

mod alias;
mod arguments;
mod batch;
mod doctor;
mod engine;
mod environment;
mod errors;
mod event;
mod fifo_batcher;
mod gateway;
mod histogram;
mod json;
mod limits;
mod member;
mod messages;
mod pattern;
mod schedule;
mod schema;
mod session;
mod token_bucket;
mod workflow;

use pyo3::prelude::*;

// A quarter of what a state of a workflow takes was the system's allocator, and a connection that waits took a quarter more memory.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[pymodule]
mod _core {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::alias::check_alias;
    #[pymodule_export]
    use crate::batch::{Batch, Record};
    #[pymodule_export]
    use crate::doctor::{backup_store, examine_store, salvage_store};
    #[pymodule_export]
    use crate::engine::Engine;
    #[pymodule_export]
    use crate::environment::{end_with_parent, metrics_catalogue};
    #[pymodule_export]
    use crate::fifo_batcher::{FifoBatch, FifoBatcher};
    #[pymodule_export]
    use crate::gateway::{check_api, read_openapi};
    #[pymodule_export]
    use crate::histogram::Histogram;
    #[pymodule_export]
    use crate::json::{loads_text, non_finite};
    #[pymodule_export]
    use crate::limits::check_limits;
    #[pymodule_export]
    use crate::member::{drain_on_server, look_at_server, migrate_store, move_on_server, unmark_store, Member};
    #[pymodule_export]
    use crate::messages::{messages, Message};
    #[pymodule_export]
    use crate::pattern::{
        check_event_rule, check_filter_policy, check_filters, check_queue_filters, test_event_pattern,
    };
    #[pymodule_export]
    use crate::schedule::upcoming;
    #[pymodule_export]
    use crate::schema::{check_schema, compare_schemas, infer_schema, misfit};
    #[pymodule_export]
    use crate::session::{split_statements, StatementJudge};
    #[pymodule_export]
    use crate::token_bucket::TokenBucket;
    #[pymodule_export]
    use crate::workflow::{play_workflow, read_items, test_state};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        module.add("debug_build", cfg!(debug_assertions))?;
        module.add("failpoints", cfg!(feature = "failpoints"))?;
        module.add("limits", crate::limits::limits(module.py())?)?;
        module.add("rates", crate::limits::rates(module.py())?)?;
        module.add("wire_services", crate::gateway::wire_services(module.py())?)
    }
}
