//! What rooms must be asked about each other before something is deleted.

use crate::api::bus::Recipient;
use crate::api::function::{FunctionLimits, Named};
use crate::api::Empty;
use crate::base::error::EngineError;
use crate::commit::done::Done;
use crate::commit::target::Target;
use crate::dispatch::limits;
use crate::dispatch::versions::{self, split_version};
use crate::runtime::rooms::Rooms;
use crate::sources::queue::delete;
use crate::sources::queue::QueueId;
use forebay_core::alias::Version;

/// Refuse to delete a queue that something that runs depends on.
pub(crate) fn check_queue_unused(rooms: &Rooms, id: QueueId) -> Result<(), EngineError> {
    delete::check_unread(&rooms.queues, id)?;
    let name = delete::name_of(&rooms.queues, id);
    let refuse = |text: String| Err(EngineError::Conflict(format!("queue {name:?} {text}")));
    if let Some(topic) = rooms.topics.topics_of_queue(name).next() {
        return refuse(format!("is subscribed to topic {topic:?}: take that subscription back first"));
    }
    if let Some(user) = rooms.buses.target_of(&Recipient::Queue(name.to_owned())) {
        return refuse(format!("is a target of {user}: take it back first"));
    }
    if let Some(function) = told_by(rooms, Target::Queue(name)) {
        return refuse(format!("is a destination of function {function:?}, which runs"));
    }
    delete::check_unmoved(&rooms.queues, id)
}

/// Refuse to delete a topic that something that runs publishes to.
pub(crate) fn check_topic_unused(rooms: &Rooms, name: &str) -> Result<(), EngineError> {
    rooms.topics.topic(name)?;
    if let Some(user) = rooms.buses.target_of(&Recipient::Topic(name.to_owned())) {
        return Err(EngineError::Conflict(format!("topic {name:?} is a target of {user}: take it back first")));
    }
    match told_by(rooms, Target::Topic(name)) {
        Some(function) => {
            Err(EngineError::Conflict(format!("topic {name:?} is a destination of function {function:?}, which runs")))
        }
        None => Ok(()),
    }
}

/// A function that runs and has this destination, itself or by a mapping.
pub(crate) fn told_by<'a>(rooms: &'a Rooms, target: Target<'_>) -> Option<&'a str> {
    let is_it = |name: &str| Target::of(name) == target;
    let mut declared = rooms.dispatch.function_names.values().map(|&handler| &rooms.dispatch.functions[handler]);
    let function = declared.find(|function| function.asynchronous.destinations().any(is_it));
    let by_mapping = || {
        let mut mappings = rooms.streams.mappings.values().filter(|mapping| mapping.handler.is_some());
        mappings.find(|mapping| mapping.row.settings.on_failure.as_deref().is_some_and(is_it))
    };
    function.map(|function| function.name.as_str()).or_else(|| by_mapping().map(|one| one.row.function.as_str()))
}

/// Take the names of a function away, or that of one version or alias. Slots stay for what was accepted.
pub(crate) fn function_delete(rooms: &mut Rooms, named: Named) -> Result<Done, EngineError> {
    let (function, version) = split_version(&named.name);
    let handlers = match version {
        None => {
            versions::alias_delete(&mut rooms.dispatch(), &named.name)?;
            vec![]
        }
        Some(version) => {
            let handler = versions::version_handler(&rooms.dispatch, function, version);
            let handler = handler.ok_or_else(|| versions::no_version(&rooms.dispatch(), &named.name))?;
            if version == Version::Latest {
                check_function_unread(rooms, function)?;
                versions::forget_aliases(&mut rooms.dispatch, function);
                versions::handlers_of(&rooms.dispatch, function)
            } else {
                versions::check_no_alias(&rooms.dispatch, handler)?;
                vec![handler]
            }
        }
    };
    for handler in handlers {
        limits::limit_function(&mut rooms.dispatch(), handler, FunctionLimits::default())?;
        let qualified = rooms.dispatch.functions[handler].qualified();
        rooms.dispatch.function_names.remove(&qualified);
    }
    rooms.conduct();
    Ok(Done::at_once(Empty {}))
}

fn check_function_unread(rooms: &Rooms, name: &str) -> Result<(), EngineError> {
    let of_streams = rooms.streams.mappings.values().map(|mapping| (&mapping.row.stream, &mapping.row.function));
    let of_queues = rooms.queues.mappings.values().map(|mapping| (&mapping.row.queue, &mapping.row.function));
    match of_streams.chain(of_queues).find(|(_, function)| *function == name) {
        Some((source, _)) => {
            Err(EngineError::Conflict(format!("function {name:?} reads {source:?}: delete that mapping first")))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::runtime::test_engine::{queue, TestEngine};

    fn with_versions() -> TestEngine {
        let engine = TestEngine::new();
        for name in ["price", "price:1", "price:2", "other"] {
            engine.register(json!({"kind": "function", "name": name, "isolation": "task"}));
        }
        engine.json("alias.declare", &json!({"function": "price", "name": "live", "version": "2"}));
        engine
    }

    fn names(engine: &TestEngine) -> Vec<String> {
        let listed = engine.json("functions.list", &json!({}));
        listed.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    }

    fn refused(engine: &TestEngine, name: &str) -> String {
        engine.asked("function.delete", &json!({"name": name})).unwrap_err().to_string()
    }

    #[test]
    fn a_function_goes_with_its_versions_and_aliases_and_its_name_is_free() {
        let engine = with_versions();
        engine.json("function.delete", &json!({"name": "price"}));
        assert_eq!(names(&engine), ["other"]);
        assert!(refused(&engine, "price").contains("there is no function"));
        engine.register(json!({"kind": "function", "name": "price", "isolation": "task"}));
        let described = engine.json("function.describe", &json!({"name": "price"}));
        assert_eq!((&described["versions"], &described["aliases"]), (&json!([]), &json!([])));
    }

    #[test]
    fn a_version_stays_while_an_alias_points_to_it() {
        let engine = with_versions();
        assert!(refused(&engine, "price:2").contains("is pointed to by alias"));
        engine.json("function.delete", &json!({"name": "price:1"}));
        engine.json("function.delete", &json!({"name": "price:live"}));
        engine.json("function.delete", &json!({"name": "price:2"}));
        assert!(refused(&engine, "price:2").contains("Function not found"));
        assert_eq!(engine.json("function.describe", &json!({"name": "price"}))["versions"], json!([]));
    }

    #[test]
    fn a_function_stays_while_a_mapping_reads_for_it() {
        let engine = with_versions();
        let _queue = engine.ask("queue.declare", &queue("orders"));
        let row = json!({
            "queue": "orders", "function": "price", "batch_size": 10, "maximum_batching_window_ms": 0,
            "report_batch_item_failures": false, "filters": [], "strict_lambda": false, "enabled": true,
        });
        let _durable = engine.ask("mapping.declare", &row);
        assert!(refused(&engine, "price").contains("delete that mapping first"));
        engine.json("function.delete", &json!({"name": "other"}));
    }

    #[test]
    fn an_api_is_served_until_it_is_deleted() {
        let engine = with_versions();
        let routes = json!([{"key": "GET /", "target": {"function": "price"}}]);
        engine.json("api.declare", &json!({"definition": {"name": "shop", "routes": routes}}));
        engine.json("api.delete", &json!({"name": "shop"}));
        assert_eq!(engine.json("api.list", &json!({})), json!([]));
        assert!(engine
            .asked("api.delete", &json!({"name": "shop"}))
            .unwrap_err()
            .to_string()
            .contains("there is no API"));
    }
}
