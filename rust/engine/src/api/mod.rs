//! The contract of every door: what may be asked of an engine, and what is answered.
//!
//! Each operation stands on one line of the table below. A door in Rust builds a [`Request`] for `Engine::call`; the socket and Python
//! give the operation's name and its request as JSON to `Engine::request`. `docs/requests.md` is written from this folder by
//! `make docs`. Durations and times end in `_ms`: milliseconds, since 1970 where it is a moment.

pub mod account;
pub mod changes;
pub mod error;
pub mod failure;
pub mod function;
pub mod mapping;
pub mod metrics;
pub mod queue;
pub mod stream;
pub mod topic;
pub mod why;

use serde::{Deserialize, Serialize};

use crate::base::error::EngineError;

/// An object with nothing in it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Empty {}

/// Every operation: its name, its request and its answer, `room.method` that carries it out, and how.
///
/// - `now`: it is carried out under the engine's lock, and refused once the store has failed.
/// - `always`: the same, but it is answered although the store has failed.
/// - `checked`: the same, and it is first seen to whether the store's file is still there.
/// - `later`: the method is given the waiter, and answers it when it has something. It refuses by itself once the store has failed.
/// - `beside`: it is a question to the metrics, which are looked at beside the engine's lock.
macro_rules! operations {
    ($then:ident) => { $then! {
        "stream.declare" StreamDeclare(stream::Declare) -> stream::Stream: streams.stream_declare now;
        "stream.list" StreamList(Empty) -> Vec<stream::Stream>: streams.stream_list now;
        "stream.describe" StreamDescribe(stream::Named) -> stream::Stream: streams.stream_describe now;
        "stream.alter" StreamAlter(stream::Alter) -> stream::Stream: streams.stream_alter now;
        "stream.delete" StreamDelete(stream::Named) -> Empty: streams.stream_delete now;
        "stream.reshard" StreamReshard(stream::Reshard) -> stream::Stream: streams.stream_reshard now;
        "stream.read" StreamRead(stream::Read) -> stream::Records: streams.stream_read now;

        "mapping.declare" MappingDeclare(BySource<mapping::DeclareOnStream, mapping::DeclareOnQueue>) -> mapping::Mapping:
            rooms.mapping_declare now;
        "mapping.list" MappingList(Empty) -> Vec<mapping::Mapping>: rooms.mapping_list now;
        "mapping.describe" MappingDescribe(BySource<mapping::OnStream, mapping::OnQueue>) -> mapping::Mapping:
            rooms.mapping_describe now;
        "mapping.pause" MappingPause(BySource<mapping::OnStream, mapping::OnQueue>) -> mapping::Mapping:
            rooms.mapping_pause now;
        "mapping.resume" MappingResume(BySource<mapping::OnStream, mapping::OnQueue>) -> mapping::Mapping:
            rooms.mapping_resume now;
        "mapping.update" MappingUpdate(BySource<mapping::UpdateOnStream, mapping::UpdateOnQueue>) -> mapping::Mapping:
            rooms.mapping_update now;
        "mapping.seek" MappingSeek(BySource<mapping::Seek, mapping::OnQueue>) -> mapping::StreamMapping:
            rooms.mapping_seek now;
        "mapping.skip" MappingSkip(BySource<mapping::Skip, mapping::OnQueue>) -> mapping::StreamMapping:
            rooms.mapping_skip now;
        "mapping.delete" MappingDelete(BySource<mapping::OnStream, mapping::OnQueue>) -> Empty:
            rooms.mapping_delete now;
        "lag" Lag(mapping::Which) -> Vec<mapping::Lag>: streams.lag always;

        "queue.declare" QueueDeclare(queue::Declare) -> queue::Queue: queues.queue_declare now;
        "queue.list" QueueList(Empty) -> Vec<queue::Queue>: queues.queue_list now;
        "queue.describe" QueueDescribe(queue::Named) -> queue::Queue: queues.queue_describe now;
        "queue.depth" QueueDepth(queue::Named) -> queue::Depth: queues.queue_depth now;
        "queue.send" QueueSend(queue::Send) -> Vec<String>: queues.queue_send_all later;
        "queue.receive" QueueReceive(queue::Receive) -> Vec<Value>: queues.queue_receive later;
        "queue.delete_message" QueueDeleteMessage(queue::DeleteMessage) -> Empty: queues.queue_delete_message now;
        "queue.change_visibility" QueueChangeVisibility(queue::ChangeVisibility) -> Empty:
            queues.queue_change_visibility now;
        "queue.purge" QueuePurge(queue::Named) -> queue::Depth: queues.queue_purge now;
        "queue.peek" QueuePeek(queue::Peek) -> queue::Peeked: queues.peek now;
        "queue.redrive" QueueRedrive(queue::Redrive) -> queue::Moving: queues.queue_redrive now;
        "queue.redrive_message" QueueRedriveMessage(queue::RedriveMessage) -> queue::RedrivenMessage:
            queues.redrive_message later;
        "queue.cancel_redrive" QueueCancelRedrive(queue::Named) -> queue::Moved: queues.queue_cancel_redrive now;
        "queue.delete" QueueDelete(queue::Named) -> queue::Deleted: rooms.queue_delete now;

        "topic.declare" TopicDeclare(topic::Named) -> topic::Topic: topics.topic_declare now;
        "topic.list" TopicList(Empty) -> Vec<topic::Topic>: topics.topic_list now;
        "topic.describe" TopicDescribe(topic::Named) -> topic::Topic: topics.topic_describe now;
        "topic.subscribe" TopicSubscribe(topic::Subscribe) -> topic::Topic: topics.topic_subscribe now;
        "topic.unsubscribe" TopicUnsubscribe(topic::Unsubscribe) -> topic::Topic: topics.topic_unsubscribe now;
        "topic.publish" TopicPublish(topic::Publish) -> String: topics.topic_publish later;
        "topic.delete" TopicDelete(topic::Named) -> Empty: rooms.topic_delete now;

        "functions.list" FunctionList(Empty) -> Vec<function::Function>: dispatch.functions_list always;
        "function.describe" FunctionDescribe(function::Named) -> function::Described: dispatch.function_describe now;
        "function.update" FunctionUpdate(function::Update) -> function::Described: dispatch.function_update now;
        "alias.declare" AliasDeclare(function::DeclareAlias) -> function::Alias: dispatch.alias_declare now;
        "alias.update" AliasUpdate(function::UpdateAlias) -> function::Alias: dispatch.alias_update now;

        "failed.list" FailedList(failure::List) -> failure::Page: rooms.failed_list now;
        "failed.get" FailedGet(failure::Named) -> failure::Failure: failures.failed_get now;
        "failed.redrive" FailedRedrive(failure::Redrive) -> failure::Redriven: rooms.failed_redrive now;
        "why" Why(why::Why) -> why::Life: rooms.why now;

        "account.describe" AccountDescribe(Empty) -> account::Account: rooms.account_describe always;
        "account.update" AccountUpdate(Changes<account::AccountSettings>) -> account::Account: rooms.account_update now;
        "health" Health(Empty) -> account::Health: rooms.health checked;

        "metrics.text" MetricsText(Empty) -> metrics::Text: metrics.text beside;
        "metrics.list" MetricsList(Empty) -> Value: metrics.list beside;
        "metrics.statistic" MetricsStatistic(metrics::Statistic) -> Value: metrics.statistic beside;
        "metrics.series" MetricsSeries(metrics::Statistic) -> Value: metrics.series beside;
        "metrics.tell" MetricsTell(metrics::Tell) -> Empty: rooms.metrics_tell always;
    } };
}
pub(crate) use operations;

macro_rules! define {
    ($($name:literal $variant:ident($request:ty) -> $answer:ty: $room:ident.$method:ident $how:ident;)*) => {
        /// One thing that is asked of an engine.
        #[derive(Debug)]
        pub enum Request {
            $(#[doc = concat!("`", $name, "`")] $variant($request),)*
        }

        impl Request {
            /// Read the request of the operation of a name; a wrong field is refused by its name.
            pub fn read(name: &str, body: &[u8]) -> Result<Self, EngineError> {
                match name {
                    $($name => serde_json::from_slice(body).map(Self::$variant),)*
                    _ => return Err(EngineError::Invalid(format!("there is no verb {name:?}"))),
                }
                .map_err(|error| EngineError::Invalid(error.to_string()))
            }

            /// The operation's name.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $name,)*
                }
            }
        }
    };
}
use crate::api::changes::Changes;
use crate::api::mapping::BySource;
operations!(define);
