//! The contract of every door: what may be asked of an engine, and what is answered.
//!
//! Each operation stands on one line of the table below. A door in Rust builds a [`Request`] for `Engine::call`; the socket and Python
//! give the operation's name and its request as JSON to `Engine::request`. `docs/requests.md` is written from this folder by
//! `make docs`. Durations and times end in `_ms`: milliseconds, since 1970 where it is a moment.

pub mod account;
pub mod activity;
pub mod archive;
pub mod bus;
pub mod changes;
pub mod connection;
pub mod error;
pub mod event;
pub mod failure;
pub mod function;
pub mod gateway;
pub mod logs;
pub mod map_run;
pub mod mapping;
pub mod metrics;
pub mod notes;
#[cfg(test)]
mod page;
pub mod queue;
pub mod rest;
pub mod schema;
pub mod settings;
pub mod state_wait;
pub mod stream;
pub mod topic;
pub mod why;
pub mod workflow;

use serde::{Deserialize, Serialize};

use crate::base::error::EngineError;

/// An object with nothing in it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Empty {}

/// Every operation: what it does, its name, its request and its answer, `room.method` that carries it out, and how.
///
/// - `now`: it is carried out under the engine's lock, and refused once the store has failed.
/// - `always`: the same, but it is answered although the store has failed.
/// - `checked`: the same, and it is first seen to whether the store's file is still there.
/// - `later`: the method is given the waiter, and answers it when it has something. It refuses by itself once the store has failed.
/// - `now_read`, `always_read`, `later_read`: the same as those, after what takes long and needs nothing of the engine was done
///   outside its lock: the request's `read`.
/// - `beside`: it is a question to the metrics, which are looked at beside the engine's lock.
macro_rules! operations {
    ($then:ident) => { $then! {
        /// Create a stream, or change the retention of one that exists; its shards stay as they are.
        "stream.declare" StreamDeclare(stream::Declare) -> Empty: streams.stream_declare now;
        /// List the streams, without their shards.
        "stream.list" StreamList(Empty) -> Vec<stream::Stream>: streams.stream_list now;
        /// List the streams that hold logs, without their shards: those whose names begin with `log:`, which `stream.list` leaves out.
        "stream.list_logs" StreamListLogs(Empty) -> Vec<stream::Stream>: streams.stream_list_logs now;
        /// Describe a stream and its shards.
        "stream.describe" StreamDescribe(stream::Named) -> stream::Stream: streams.stream_describe now;
        /// Change the retention of a stream.
        "stream.alter" StreamAlter(stream::Alter) -> stream::Stream: streams.stream_alter now;
        /// Delete a stream with its records. Refused (`Conflict`) while a mapping reads it.
        "stream.delete" StreamDelete(stream::Named) -> Empty: streams.stream_delete now;
        /// Close the open shards of a stream and open others.
        "stream.reshard" StreamReshard(stream::Reshard) -> stream::Stream: streams.stream_reshard now;
        /// Close an open shard and open two, which share its keys.
        "stream.split" StreamSplit(stream::Split) -> stream::Stream: streams.stream_split now;
        /// Close two adjacent open shards and open one for the keys of both.
        "stream.merge" StreamMerge(stream::Merge) -> stream::Stream: streams.stream_merge now;
        /// Keep notes beside a stream.
        "stream.annotate" StreamAnnotate(notes::Annotate) -> stream::Stream: streams.stream_annotate now;
        /// Read records without a function.
        "stream.read" StreamRead(stream::Read) -> stream::Records: streams.stream_read now;
        /// Wait until a shard has a record at a cursor, or is closed.
        "stream.wait" StreamWait(stream::Wait) -> Empty: streams.stream_wait later;

        /// Create a mapping, or change the settings of one that exists. A mapping that an operator paused stays paused until its
        /// declaration changes.
        "mapping.declare" MappingDeclare(BySource<mapping::DeclareOnStream, mapping::DeclareOnQueue>) -> mapping::Mapping:
            rooms.mapping_declare now;
        /// List the mappings, without their progress.
        "mapping.list" MappingList(Empty) -> Vec<mapping::Mapping>: rooms.mapping_list now;
        /// Describe a mapping and its progress.
        "mapping.describe" MappingDescribe(BySource<mapping::OnStream, mapping::OnQueue>) -> mapping::Mapping:
            rooms.mapping_describe now;
        /// Stop a mapping: what runs ends, and nothing new begins.
        "mapping.pause" MappingPause(BySource<mapping::OnStream, mapping::OnQueue>) -> mapping::Mapping:
            rooms.mapping_pause now;
        /// Start a mapping that was stopped.
        "mapping.resume" MappingResume(BySource<mapping::OnStream, mapping::OnQueue>) -> mapping::Mapping:
            rooms.mapping_resume now;
        /// Change settings of a mapping.
        "mapping.update" MappingUpdate(BySource<mapping::UpdateOnStream, mapping::UpdateOnQueue>) -> mapping::Mapping:
            rooms.mapping_update now;
        /// Move a mapping to another place of its stream. Refused for a mapping on a queue.
        "mapping.seek" MappingSeek(BySource<mapping::Seek, mapping::OnQueue>) -> mapping::StreamMapping:
            rooms.mapping_seek now;
        /// Give up a batch that waits or is retried. Refused for a mapping on a queue.
        "mapping.skip" MappingSkip(BySource<mapping::Skip, mapping::OnQueue>) -> mapping::StreamMapping:
            rooms.mapping_skip now;
        /// Delete a mapping with its place in the stream.
        "mapping.delete" MappingDelete(BySource<mapping::OnStream, mapping::OnQueue>) -> Empty:
            rooms.mapping_delete now;
        /// Tell how far mappings on streams are behind. An age that is not in memory is looked up in the store.
        "lag" Lag(mapping::Which) -> Vec<mapping::Lag>: streams.lag always;

        /// Create a queue, or change the settings of one that exists.
        "queue.declare" QueueDeclare(queue::Declare) -> queue::Queue: queues.queue_declare now;
        /// List the queues.
        "queue.list" QueueList(Empty) -> Vec<queue::Queue>: queues.queue_list now;
        /// Describe a queue.
        "queue.describe" QueueDescribe(queue::Named) -> queue::Queue: queues.queue_describe now;
        /// Count the messages of a queue.
        "queue.depth" QueueDepth(queue::Named) -> queue::Depth: queues.queue_depth now;
        /// Send messages; the answer is their ids.
        "queue.send" QueueSend(queue::Send) -> Vec<String>: queues.queue_send_all later;
        /// Receive messages; each is a record of Lambda's event for SQS, with `traceContext` if it was sent with one.
        "queue.receive" QueueReceive(queue::Receive) -> Vec<Value>: queues.queue_receive later;
        /// Delete a message that was received.
        "queue.delete_message" QueueDeleteMessage(queue::DeleteMessage) -> Empty: queues.queue_delete_message now;
        /// Delete messages that were received; the answer says of each what prevented it, or `null`.
        "queue.delete_messages" QueueDeleteMessages(queue::DeleteMessages) -> Vec<Option<String>>:
            queues.queue_delete_messages now;
        /// Change how long a message that was received stays hidden.
        "queue.change_visibility" QueueChangeVisibility(queue::ChangeVisibility) -> Empty:
            queues.queue_change_visibility now;
        /// Remove all messages of a queue; the answer counts them.
        "queue.purge" QueuePurge(queue::Named) -> queue::Depth: queues.queue_purge now;
        /// Look at messages without receiving them.
        "queue.peek" QueuePeek(queue::Peek) -> queue::Peeked: queues.peek now;
        /// Move all messages of a queue to another one. Refused (`Conflict`) while an earlier move goes on.
        "queue.redrive" QueueRedrive(queue::Redrive) -> queue::Moving: queues.queue_redrive now;
        /// Move one message of a queue to another one. Refused (`Conflict`) if it is in flight or delayed, or is not the first of
        /// its group.
        "queue.redrive_message" QueueRedriveMessage(queue::RedriveMessage) -> queue::RedrivenMessage:
            queues.redrive_message later;
        /// Stop moving messages. Refused (`NotFound`) if none are moved.
        "queue.cancel_redrive" QueueCancelRedrive(queue::Named) -> queue::Moved: queues.queue_cancel_redrive now;
        /// Keep notes beside a queue.
        "queue.annotate" QueueAnnotate(notes::Annotate) -> queue::Queue: queues.queue_annotate now;
        /// Delete a queue with its messages. Refused (`Conflict`) while something that runs depends on it.
        "queue.delete" QueueDelete(queue::Named) -> queue::Deleted: rooms.queue_delete now;

        /// Create a topic, unless it exists.
        "topic.declare" TopicDeclare(topic::Declare) -> topic::Topic: topics.topic_declare now;
        /// List the topics.
        "topic.list" TopicList(Empty) -> Vec<topic::Topic>: topics.topic_list now;
        /// Describe a topic and its subscriptions.
        "topic.describe" TopicDescribe(topic::Named) -> topic::Topic: topics.topic_describe now;
        /// Subscribe a queue or a function, or change how it is subscribed.
        "topic.subscribe" TopicSubscribe(topic::Subscribe) -> topic::Topic: topics.topic_subscribe now;
        /// End a subscription.
        "topic.unsubscribe" TopicUnsubscribe(topic::Unsubscribe) -> topic::Topic: topics.topic_unsubscribe now;
        /// Publish; the answer is the message id, once everything that comes of it is durable.
        "topic.publish" TopicPublish(topic::Publish) -> String: topics.topic_publish later;
        /// Keep notes beside a topic.
        "topic.annotate" TopicAnnotate(notes::Annotate) -> topic::Topic: topics.topic_annotate now;
        /// Delete a topic with its subscriptions. Refused (`Conflict`) while it is a destination.
        "topic.delete" TopicDelete(topic::Named) -> Empty: rooms.topic_delete now;

        /// Create an event bus, or change one that exists.
        "bus.declare" BusDeclare(bus::Declare) -> bus::Bus: event_buses.bus_declare now;
        /// List the buses.
        "bus.list" BusList(Empty) -> Vec<bus::Bus>: event_buses.bus_list now;
        /// Describe a bus.
        "bus.describe" BusDescribe(bus::Named) -> bus::Bus: event_buses.bus_describe now;
        /// Delete a bus. Refused (`Conflict`) while it has rules or an archive, or a rule or a schedule hands events on to it.
        "bus.delete" BusDelete(bus::Named) -> Empty: event_buses.bus_delete now;
        /// Keep notes beside a bus.
        "bus.annotate" BusAnnotate(notes::Annotate) -> bus::Bus: event_buses.bus_annotate now;
        /// Put events on a bus; the answer says of each what became of it, once everything that comes of it is durable.
        "bus.put" BusPut(bus::Put) -> Vec<bus::EntryResult>: event_buses.bus_put later;
        /// Say whether what happens in the engine is put on the default bus as events.
        "bus.emit" BusEmit(bus::Emit) -> bus::Emit: event_buses.bus_emit now;
        /// Put something that happened outside of the engine on the default bus, if such events are wanted.
        "bus.happened" BusHappened(bus::Happened) -> Empty: event_buses.bus_happened now;
        /// Hold an event against a pattern, and tell which conditions it fails.
        "bus.test" BusTest(bus::TestPattern) -> bus::Tested: event_buses.bus_test always_read;
        /// Create a rule, or change one that exists.
        "rule.put" RulePut(bus::PutRule) -> bus::Rule: event_buses.rule_put now;
        /// List the rules of a bus.
        "rule.list" RuleList(bus::Named) -> Vec<bus::Rule>: event_buses.rule_list now;
        /// Describe a rule.
        "rule.describe" RuleDescribe(bus::RuleNamed) -> bus::Rule: event_buses.rule_describe now;
        /// Keep notes beside a rule.
        "rule.annotate" RuleAnnotate(bus::AnnotateRule) -> bus::Rule: event_buses.rule_annotate now;
        /// Let a rule route events, or stop it.
        "rule.enable" RuleEnable(bus::EnableRule) -> bus::Rule: event_buses.rule_enable now;
        /// Delete a rule with its listed failures.
        "rule.delete" RuleDelete(bus::RuleNamed) -> Empty: event_buses.rule_delete now;
        /// Create a schedule, or change one that exists.
        "schedule.put" SchedulePut(bus::PutSchedule) -> bus::Schedule: event_buses.schedule_put now;
        /// List the schedules.
        "schedule.list" ScheduleList(bus::ListSchedules) -> Vec<bus::Schedule>: event_buses.schedule_list now;
        /// Describe a schedule, with its next due times.
        "schedule.describe" ScheduleDescribe(bus::ScheduleNamed) -> bus::Schedule: event_buses.schedule_describe now;
        /// Give the target of a schedule its event now.
        "schedule.run" ScheduleRun(bus::ScheduleNamed) -> Empty: event_buses.schedule_run later;
        /// Delete a schedule.
        "schedule.delete" ScheduleDelete(bus::ScheduleNamed) -> Empty: event_buses.schedule_delete now;
        /// Create a group of schedules. Refused (`Conflict`) where there is one.
        "schedule_group.create" ScheduleGroupCreate(bus::CreateGroup) -> bus::ScheduleGroup: schedule_groups.group_create now;
        /// List the groups of schedules.
        "schedule_group.list" ScheduleGroupList(Empty) -> Vec<bus::ScheduleGroup>: schedule_groups.group_list now;
        /// Describe a group of schedules.
        "schedule_group.describe" ScheduleGroupDescribe(bus::ScheduleNamed) -> bus::ScheduleGroup: schedule_groups.group_describe now;
        /// Keep notes beside a group of schedules.
        "schedule_group.annotate" ScheduleGroupAnnotate(notes::Annotate) -> bus::ScheduleGroup: schedule_groups.group_annotate now;
        /// Delete a group with its schedules.
        "schedule_group.delete" ScheduleGroupDelete(bus::ScheduleNamed) -> Empty: schedule_groups.group_delete now;
        /// Create a connection, or change one that exists. Its secrets are in no row: they have a file of their own.
        "http_connection.put" HttpConnectionPut(connection::PutConnection) -> connection::HttpConnection: connections.connection_put now;
        /// List the connections.
        "http_connection.list" HttpConnectionList(Empty) -> Vec<connection::HttpConnection>: connections.connection_list now;
        /// Describe a connection.
        "http_connection.describe" HttpConnectionDescribe(connection::ConnectionNamed) -> connection::HttpConnection:
            connections.connection_describe now;
        /// Give the parameters of a connection with their secrets. Refused (`NotFound`) where there are none.
        "http_connection.secret" HttpConnectionSecret(connection::ConnectionNamed) -> Value: connections.connection_secret now;
        /// Tell whether the first token of a connection was given.
        "http_connection.authorized" HttpConnectionAuthorized(connection::Authorized) -> Empty: connections.connection_authorized now;
        /// Forget the secrets of a connection.
        "http_connection.deauthorize" HttpConnectionDeauthorize(connection::ConnectionNamed) -> connection::HttpConnection:
            connections.connection_deauthorize now;
        /// Delete a connection.
        "http_connection.delete" HttpConnectionDelete(connection::ConnectionNamed) -> connection::HttpConnection:
            connections.connection_delete now;
        /// Create an API destination, or change one that exists.
        "api_destination.put" ApiDestinationPut(connection::PutApiDestination) -> connection::ApiDestination: connections.destination_put now;
        /// List the API destinations that AWS's calls have made.
        "api_destination.list" ApiDestinationList(Empty) -> Vec<connection::ApiDestination>: connections.destination_list now;
        /// Describe an API destination.
        "api_destination.describe" ApiDestinationDescribe(connection::ConnectionNamed) -> connection::ApiDestination:
            connections.destination_describe now;
        /// Delete an API destination. What it is given from then on is given up.
        "api_destination.delete" ApiDestinationDelete(connection::ConnectionNamed) -> Empty: connections.destination_delete now;
        /// Create an archive, or change one that exists.
        "archive.put" ArchivePut(archive::PutArchive) -> archive::Archive: event_buses.archive_put now;
        /// List the archives of all buses.
        "archive.list" ArchiveList(Empty) -> Vec<archive::Archive>: event_buses.archive_list now;
        /// Describe an archive.
        "archive.describe" ArchiveDescribe(archive::ArchiveNamed) -> archive::Archive: event_buses.archive_describe now;
        /// Delete an archive with its events. Refused (`Conflict`) while it is replayed.
        "archive.delete" ArchiveDelete(archive::ArchiveNamed) -> Empty: event_buses.archive_delete now;
        /// Begin to give events of an archive to the rules of its bus again.
        "replay.start" ReplayStart(archive::StartReplay) -> archive::Replay: event_buses.replay_start now;
        /// List the replays.
        "replay.list" ReplayList(Empty) -> Vec<archive::Replay>: event_buses.replay_list now;
        /// Describe a replay.
        "replay.describe" ReplayDescribe(archive::ReplayNamed) -> archive::Replay: event_buses.replay_describe now;
        /// End a replay before it is complete.
        "replay.cancel" ReplayCancel(archive::ReplayNamed) -> archive::Replay: event_buses.replay_cancel now;

        /// Create a registry of schemas, or change its description.
        "registry.put" RegistryPut(schema::PutRegistry) -> schema::Registry: schemas.registry_put now;
        /// List the registries.
        "registry.list" RegistryList(Empty) -> Vec<schema::Registry>: schemas.registry_list now;
        /// Describe a registry.
        "registry.describe" RegistryDescribe(schema::RegistryNamed) -> schema::Registry: schemas.registry_describe now;
        /// Delete a registry. Refused (`Conflict`) while it has schemas, or a bus enforces it.
        "registry.delete" RegistryDelete(schema::RegistryNamed) -> Empty: event_buses.registry_delete now;
        /// Create a schema, or add a version to one that exists; what its latest version says already is no new one.
        "schema.put" SchemaPut(schema::PutSchema) -> schema::SchemaVersion: event_buses.schema_put now;
        /// List or search the schemas of a registry. A page may have fewer than its limit, and yet another one after it.
        "schema.list" SchemaList(schema::List) -> schema::Schemas: schemas.schema_list now;
        /// Describe a schema, with the content of one version.
        "schema.describe" SchemaDescribe(schema::Describe) -> schema::SchemaVersion: schemas.schema_describe now;
        /// Give a version of a schema in a form.
        "schema.export" SchemaExport(schema::Export) -> schema::SchemaVersion: schemas.schema_export now;
        /// Delete a schema with its versions. One that was discovered is learned anew.
        "schema.delete" SchemaDelete(schema::SchemaNamed) -> Empty: schemas.schema_delete now;
        /// Delete a version of a schema. Refused (`Conflict`) for its only one.
        "schema.delete_version" SchemaDeleteVersion(schema::VersionNamed) -> Empty: schemas.schema_delete_version now;

        /// Create a workflow, or change one that exists: executions keep the definition that they began with.
        "workflow.declare" WorkflowDeclare(workflow::Declare) -> workflow::Workflow: state_machines.workflow_declare now_read;
        /// Delete a workflow with its executions. Refused (`Conflict`) while any of them runs.
        "workflow.delete" WorkflowDelete(workflow::Named) -> Empty: state_machines.workflow_delete now;
        /// List the workflows, without their definitions.
        "workflow.list" WorkflowList(Empty) -> Vec<workflow::Workflow>: state_machines.workflow_list now;
        /// Describe a workflow.
        "workflow.describe" WorkflowDescribe(workflow::Revision) -> workflow::Workflow: state_machines.workflow_describe now;
        /// Keep notes beside a workflow, or remove them.
        "workflow.annotate" WorkflowAnnotate(notes::Annotate) -> workflow::Workflow: state_machines.workflow_annotate now;
        /// Find everything that is wrong with a definition.
        "workflow.validate" WorkflowValidate(workflow::Validate) -> workflow::Validated:
            state_machines.workflow_validate always_read;
        /// Keep the definition of a workflow as a version. The same definition again is the same version.
        "workflow.publish" WorkflowPublish(workflow::PublishWorkflow) -> Option<workflow::WorkflowVersion>: state_machines.workflow_publish now;
        /// List the versions and aliases of a workflow.
        "workflow.versions" WorkflowVersions(workflow::Named) -> workflow::WorkflowVersions: state_machines.workflow_versions now;
        /// Delete a version of a workflow. Refused (`Conflict`) while an alias leads to it.
        "workflow.delete_version" WorkflowDeleteVersion(workflow::DeleteWorkflowVersion) -> Empty:
            state_machines.workflow_delete_version now;
        /// Create an alias of a workflow, or let it lead elsewhere.
        "workflow.alias" WorkflowAlias(workflow::DeclareWorkflowAlias) -> Option<workflow::WorkflowAlias>: state_machines.workflow_alias now;
        /// Delete an alias of a workflow.
        "workflow.delete_alias" WorkflowDeleteAlias(workflow::DeleteWorkflowAlias) -> Empty: state_machines.workflow_delete_alias now;
        /// Take what a durable function has done. The token is good once.
        "durable.checkpoint" DurableCheckpoint(workflow::DurableCheckpoint) -> workflow::DurableCheckpointed:
            state_machines.durable_checkpoint later;
        /// Give operations of a durable execution to its function.
        "durable.operations" DurableOperations(workflow::DurableOperations) -> workflow::DurablePage:
            state_machines.durable_operations now;
        /// Give what the durable function of an execution has done, while that runs.
        "durable.describe" DurableDescribe(workflow::ExecutionNamed) -> workflow::DurablePage: state_machines.durable_describe now;
        /// Tell a callback of a durable execution its end.
        "durable.callback" DurableCallback(workflow::DurableCallback) -> Empty: state_machines.durable_callback later;
        /// Say what the app's integrations call.
        "integration.declare" IntegrationDeclare(workflow::DeclareIntegrations) -> Empty: state_machines.integration_declare now;
        /// Give the results of a distributed Map's run.
        "map_run.results" MapRunResults(map_run::MapResults) -> map_run::MapResultsPage: state_machines.map_run_results now;
        /// List the runs of an execution's distributed Maps.
        "map_run.list" MapRunList(workflow::ExecutionNamed) -> map_run::MapRuns: state_machines.map_run_list now;
        /// Describe a run of a distributed Map.
        "map_run.describe" MapRunDescribe(map_run::MapRunNamed) -> map_run::MapRun: state_machines.map_run_describe now;
        /// Start an execution. The same name and input again, while it runs, gives the same one.
        "execution.start" ExecutionStart(workflow::Start) -> workflow::Started: state_machines.execution_start later_read;
        /// Start several executions, each with a new UUID as its name.
        "execution.start_many" ExecutionStartMany(workflow::StartMany) -> Vec<workflow::Started>:
            state_machines.execution_start_many later_read;
        /// Run an execution of an Express workflow, and give its end. It is written nowhere.
        "execution.start_sync" ExecutionStartSync(workflow::Start) -> workflow::Execution:
            state_machines.execution_start_sync later_read;
        /// List the executions of a workflow, the latest first, without their inputs and outputs.
        "execution.list" ExecutionList(workflow::List) -> workflow::Executions: state_machines.execution_list now;
        /// Describe an execution.
        "execution.describe" ExecutionDescribe(workflow::ExecutionNamed) -> workflow::Execution:
            state_machines.execution_describe now;
        /// Wait for the end of an execution.
        "execution.result" ExecutionResult(workflow::ExecutionNamed) -> workflow::Execution:
            state_machines.execution_result later;
        /// Give events of an execution, in the form of `GetExecutionHistory`.
        "execution.history" ExecutionHistory(workflow::History) -> workflow::HistoryPage: state_machines.execution_history now;
        /// Stop an execution.
        "execution.stop" ExecutionStop(workflow::Stop) -> workflow::Execution: state_machines.execution_stop later;
        /// Let an execution that failed go on from where it failed. Refused (`Conflict`) if it runs, has succeeded, or ended more than
        /// 14 days ago.
        "execution.redrive" ExecutionRedrive(workflow::ExecutionNamed) -> workflow::Execution:
            state_machines.execution_redrive later;
        /// Create an activity, unless it exists.
        "activity.declare" ActivityDeclare(activity::ActivityNamed) -> activity::Activity: state_machines.activity_declare now;
        /// List the activities.
        "activity.list" ActivityList(Empty) -> Vec<activity::Activity>: state_machines.activity_list now;
        /// Describe an activity.
        "activity.describe" ActivityDescribe(activity::ActivityNamed) -> activity::Activity:
            state_machines.activity_describe now;
        /// Keep notes beside an activity, or remove them.
        "activity.annotate" ActivityAnnotate(notes::Annotate) -> activity::Activity: state_machines.activity_annotate now;
        /// Delete an activity. Tasks that wait for a worker go on waiting: they are for its workers when it is declared again.
        "activity.delete" ActivityDelete(activity::ActivityNamed) -> Empty: state_machines.activity_delete now;
        /// Give a worker the oldest task of an activity; `null` when there was none in time.
        "activity.get_task" ActivityGetTask(activity::GetActivityTask) -> Option<activity::ActivityTask>:
            state_machines.activity_get_task later;
        /// Call what a task would call, in an Express execution of its own, and give that one's end: for tests of states.
        "task.call" TaskCall(workflow::TaskCall) -> workflow::Execution: state_machines.task_call later;
        /// Tell a task that waits for its token that it has succeeded.
        "task.succeed" TaskSucceed(workflow::TaskSucceeded) -> Empty: state_machines.task_succeed later;
        /// Tell a task that waits for its token that it has failed.
        "task.fail" TaskFail(workflow::TaskFailed) -> Empty: state_machines.task_fail later;
        /// Tell a task that waits for its token that it goes on.
        "task.heartbeat" TaskHeartbeat(workflow::TaskHeartbeat) -> Empty: state_machines.task_heartbeat later;

        /// Declare an API, or change one.
        "api.declare" ApiDeclare(gateway::Declare) -> gateway::Api: api_gateways.api_declare now;
        /// List the APIs and the URLs of functions.
        "api.list" ApiList(Empty) -> Vec<gateway::Api>: api_gateways.api_list always;
        /// Describe an API.
        "api.describe" ApiDescribe(gateway::Named) -> gateway::Api: api_gateways.api_describe always;
        /// Write an HTTP API as an `OpenAPI` document.
        "api.export" ApiExport(gateway::Export) -> gateway::Exported: api_gateways.api_export always;
        /// Tell what opens the pages that the HTTP port has for whoever works on this machine: another text in each process.
        "api.token" ApiToken(Empty) -> gateway::Token: api_gateways.api_token always;
        /// Serve an API no longer.
        "api.delete" ApiDelete(gateway::Named) -> Empty: api_gateways.api_delete now;

        /// Carry out a control call of a REST API or of a function's URL, in AWS's own form.
        "rest.call" RestCall(rest::Call) -> rest::RestAnswer: rooms.rest_call now;

        /// Make, change or delete an HTTP or a WebSocket API, or have its authorisers asked anew, in the form of AWS's `apigatewayv2`.
        "http_api.call" HttpApiCall(rest::Call) -> rest::RestAnswer: rooms.http_api_call now;

        /// Send something to a client of a WebSocket API. Refused (`NotFound`) if it has gone.
        "connection.post" ConnectionPost(gateway::Post) -> Empty: api_gateways.connection_post always;
        /// Send the same to several clients of a WebSocket API.
        "connection.post_many" ConnectionPostMany(gateway::PostMany) -> gateway::Posted:
            api_gateways.connection_post_many always;
        /// Describe a connection of a WebSocket API.
        "connection.describe" ConnectionDescribe(gateway::OfConnection) -> gateway::Connection:
            api_gateways.connection_describe always;
        /// Close a connection of a WebSocket API, after what waits for its client.
        "connection.close" ConnectionClose(gateway::OfConnection) -> Empty: api_gateways.connection_close always;

        /// List the functions.
        "functions.list" FunctionList(Empty) -> Vec<function::Function>: dispatch.functions_list always;
        /// List the asynchronous events of each function, and of each version, that has some in memory.
        "events.list" EventList(Empty) -> Vec<function::Events>: events.events_list always;
        /// Have a function run on a payload later, with options; the answer is the request id, once it is durable.
        "events.invoke" EventInvoke(event::Invoke) -> String: events.event_invoke later;
        /// Tell what became of an event whose result is kept, or wait for that. Refused (`NotFound`) where nothing is kept.
        "events.result" EventResultOf(event::Which) -> event::EventResult: events.event_result later;
        /// List how many processes there are of each function, and of each version, that has them.
        "environments.list" EnvironmentList(Empty) -> Vec<function::EnvironmentCounts>:
            environments.environments_list always;
        /// Describe a function, a version or an alias.
        "function.describe" FunctionDescribe(function::Named) -> function::Described: dispatch.function_describe now;
        /// Change the limits of a function or a version.
        "function.update" FunctionUpdate(function::Update) -> function::Described: dispatch.function_update now;
        /// Change how a function or a version is invoked asynchronously, or tell it.
        "function.asynchronous" FunctionAsynchronous(function::ChangeAsynchronous) -> function::AsynchronousSettings:
            dispatch.function_asynchronous now;
        /// Forget a function with its versions and aliases, or one version or alias, until it is declared again. What was accepted
        /// still runs. Refused (`Conflict`) while a mapping reads for the function, or an alias points to the version.
        "function.delete" FunctionDelete(function::Named) -> Empty: rooms.function_delete now;
        /// Declare an alias.
        "alias.declare" AliasDeclare(function::DeclareAlias) -> function::Alias: dispatch.alias_declare now;
        /// Change an alias.
        "alias.update" AliasUpdate(function::UpdateAlias) -> function::Alias: dispatch.alias_update now;

        /// List failures.
        "failed.list" FailedList(failure::List) -> failure::Page: rooms.failed_list now;
        /// Describe a failure, with the event of an asynchronous invocation.
        "failed.get" FailedGet(failure::Named) -> failure::Failure: failures.failed_get now;
        /// Run failures again. Batches are refused (`NotFound`) when nothing that runs has their function.
        "failed.redrive" FailedRedrive(failure::Redrive) -> failure::Redriven: rooms.failed_redrive now;
        /// Tell what has become of a request, a message or a record.
        "why" Why(why::Why) -> why::Life: rooms.why now;

        /// Describe the account's limits, and what is in use.
        "account.describe" AccountDescribe(Empty) -> account::Account: rooms.account_describe always;
        /// Change the account's limits until the app starts next.
        "account.update" AccountUpdate(Changes<account::AccountSettings>) -> account::Account: rooms.account_update now;
        /// List the processes that run handlers: the owner of the store, then those that share it and help.
        "process.list" ProcessList(Empty) -> Vec<account::Process>: runners.process_list always;
        /// Tell whether the engine takes work.
        "health" Health(Empty) -> account::Health: rooms.health checked;

        /// Write the page that `/metrics` serves.
        "metrics.text" MetricsText(Empty) -> metrics::Text: metrics.text beside;
        /// List the metrics: `{name, aws_namespace?, aws_name?, kind, unit, aws_unit?, aws_scale?, labels, help, buckets,
        /// series}` each.
        "metrics.list" MetricsList(Empty) -> Value: metrics.list beside;
        /// List the series of a metric: the values of each one's labels, by name.
        "metrics.labels" MetricsLabels(metrics::Named) -> Value: metrics.labels beside;
        /// Work out a statistic of the last `period` seconds: `{value, unit}`.
        "metrics.statistic" MetricsStatistic(metrics::Statistic) -> Value: metrics.statistic beside;
        /// Work out a statistic for each period: `{points: [[start in seconds since 1970, value]], unit}`.
        "metrics.series" MetricsSeries(metrics::Statistic) -> Value: metrics.series beside;
        /// Tell what was counted outside the engine.
        "metrics.tell" MetricsTell(metrics::Tell) -> Empty: rooms.metrics_tell always;
    } };
}
pub(crate) use operations;

macro_rules! define {
    ($($(#[doc = $doc:literal])* $name:literal $variant:ident($request:ty) -> $answer:ty: $room:ident.$method:ident $how:ident;)*) => {
        /// One thing that is asked of an engine.
        #[derive(Debug)]
        pub enum Request {
            $($(#[doc = $doc])* $variant($request),)*
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
