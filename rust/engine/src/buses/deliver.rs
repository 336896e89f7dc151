//! What a target is given of an event, and what becomes of an event that it does not take.

use std::sync::Arc;

use forebay_core::chain::{self, HOPS_MAX};
use forebay_core::template::FILLED_BYTES_MAX;
use serde_json::json;

use crate::api::bus::Recipient;
use crate::api::topic::Publication;
use crate::base::error::EngineError;
use crate::base::ids::uuid_text;
use crate::base::trace::{kept, Carried};
use crate::buses::http_parameters::CompiledParameters;
use crate::buses::participant::Undelivered;
use crate::buses::put::{self, OnBus};
use crate::buses::row::FIFO;
use crate::buses::schemas;
use crate::buses::BusRoom;
use crate::failures::delivery::delivery_given_up;
use crate::failures::log::FailureRow;
use crate::failures::routed::{error_code, RetryPolicy, RoutedFailure};
use crate::observe::history::routes::Fate;
use crate::observe::operator_events::OperatorEvent;
use crate::payload::failure_key::{FailureKey, Part};
use crate::payload::message::NewMessage;
use crate::sources::invocation::check_payload;
use crate::sources::queue::send;
use crate::topics::publish;

/// An event on its way to one target of a rule, or of a schedule.
#[derive(Clone, Copy)]
pub(crate) struct Delivery<'a> {
    /// Owns the failure, if it becomes one; and which of its targets this is.
    pub(crate) owner: (u64, u32),
    pub(crate) owner_arn: &'a str,
    pub(crate) to: &'a Recipient,
    pub(crate) group_id: Option<&'a str>,
    /// Of a record.
    pub(crate) partition_key: &'a str,
    pub(crate) dead_letter_queue: Option<&'a str>,
    pub(crate) retry: RetryPolicy,
    pub(crate) event: OnBus<'a>,
    /// Of an API destination.
    pub(crate) http: Option<&'a CompiledParameters>,
    /// What the target is given of the event.
    pub(crate) input: &'a str,
}

/// What became of it.
pub(crate) struct Delivered {
    pub(crate) fate: Fate,
    pub(crate) is_dead_lettered: bool,
}

/// Give a target what it is to have of an event. What it does not take goes to the dead-letter queue, or is listed.
pub(crate) fn deliver(room: &mut BusRoom<'_>, delivery: Delivery<'_>) -> Delivered {
    match give(room, delivery) {
        Ok(fate) => Delivered { fate, is_dead_lettered: false },
        Err(error) => {
            let is_dead_lettered = not_taken(room, delivery, &error);
            Delivered { fate: Fate::NotTaken(error.to_string()), is_dead_lettered }
        }
    }
}

pub(super) fn give(room: &mut BusRoom<'_>, delivery: Delivery<'_>) -> Result<Fate, EngineError> {
    let Delivery { event, input, .. } = delivery;
    let carried = event.carried;
    if input.len() > FILLED_BYTES_MAX {
        return Err(EngineError::TooLarge(format!(
            "the target's input has more than {} MiB, which no target takes",
            FILLED_BYTES_MAX >> 20
        )));
    }
    let Some(left) = event.left.get().checked_sub(1) else {
        return Err(EngineError::Invalid("the event went to as many targets as one event may".into()));
    };
    event.left.set(left);
    match delivery.to {
        Recipient::Function(name) => invoke(room, name, input, carried),
        Recipient::Queue(name) => {
            // A replayed event is a message of its own, although it has its id.
            let replay = event.replay.map(|name| format!("-{name}")).unwrap_or_default();
            let id = || format!("{}-{}-{}{replay}", uuid_text(event.id), delivery.owner.0, delivery.owner.1);
            let message = NewMessage {
                body: input.to_owned(),
                group_id: delivery.group_id.map(str::to_owned),
                deduplication_id: name.ends_with(FIFO).then(id),
                ..NewMessage::default()
            };
            let queue = room.queues.queue_id(name)?;
            let outgoing = send::accept_part(&mut room.queues(), queue, &message, carried)?;
            let id = outgoing.id();
            send::queue_outgoing(&mut room.queues(), queue, outgoing);
            Ok(Fate::Became(id))
        }
        Recipient::Topic(name) => {
            let publication = Publication { message: input.to_owned(), ..Publication::default() };
            publish::publish_part(&mut room.topics(), name, &publication, carried).map(Fate::Became)
        }
        Recipient::Stream(name) => {
            let record = [(delivery.partition_key, input.as_bytes())];
            let numbers =
                crate::sources::stream::put::accept_all(&mut room.streams(), name, record.into_iter(), carried.trace)?;
            Ok(Fate::Put(numbers.first().copied().unwrap_or_default()))
        }
        Recipient::Bus(name) => {
            room.buses.bus(name)?;
            check_hops(carried)?;
            if !input.trim_start().starts_with('{') {
                return Err(EngineError::Invalid(
                    "a bus takes a JSON object: the target's input makes something else of the event".into(),
                ));
            }
            schemas::check_fits(room, name, None, input)?;
            let carried = Carried { hops: carried.hops + 1, ..carried };
            put::route(room, name, OnBus { carried, text: input, size: input.len(), entry: None, ..event }, None);
            Ok(Fate::HandedOn(name.clone()))
        }
        Recipient::Rule(name) => Err(EngineError::Invalid(format!("rule {name:?} is not a target"))),
        Recipient::Workflow(name) => room.ctx.start_execution(name, input, carried.hops).map(Fate::Became),
        Recipient::ApiDestination(_) => {
            send_later(room, delivery);
            Ok(Fate::Waits)
        }
    }
}

/// Invoke a function asynchronously.
pub(crate) fn invoke(
    room: &mut BusRoom<'_>,
    function: &str,
    payload: &str,
    carried: Carried<'_>,
) -> Result<Fate, EngineError> {
    check_hops(carried)?;
    check_payload(payload.as_bytes())?;
    let (queue, qualifier) = room.events().event_queue(function)?;
    let request = room.ctx.rng.uuid();
    let payload: Arc<[u8]> = payload.as_bytes().into();
    let event = room.events().new_event(request, carried.hops, payload, (kept(carried.trace), qualifier));
    let accepted = room.events().number_event(queue, event);
    room.ctx.commit.pending.bytes += accepted.bytes();
    room.events.accepted.push(accepted);
    Ok(Fate::Became(request))
}

/// A target did not take an event. One that has no room now is tried again for a day. Says whether a dead-letter queue has it.
fn not_taken(room: &mut BusRoom<'_>, delivery: Delivery<'_>, error: &EngineError) -> bool {
    let Delivery { event, input, .. } = delivery;
    let failure = RoutedFailure {
        error_code: error_code(error).to_owned(),
        error_message: error.to_string(),
        ..routed(room, delivery)
    };
    let is_busy = matches!(error, EngineError::TooMany { .. }) && delivery.retry.attempts_max > 0;
    if !is_busy && dead_letter(room, &failure, event.carried) {
        return true;
    }
    let key = new_key(room, delivery);
    room.ctx.commit.pending.bytes += event.text.len() + input.len();
    if let (true, Some(owner)) = (is_busy, room.failures.owners.get(&key.mapping)) {
        owner.meters.throttled();
    }
    let row = FailureRow {
        destination: is_busy.then(|| failure.target.clone()),
        undelivered_to: (!is_busy).then(|| failure.target.clone()),
        delivery_attempts: 1,
        last_error: Some(failure.error_message.clone()),
        ..FailureRow::of_event(failure, event.id, event.carried.trace, room.ctx.now.wall_ms)
    };
    if let (None, Some((owner, _))) = (&row.destination, room.failures.failed_of(key)) {
        let owner = owner.to_owned();
        let mut fields =
            json!({"id": key.text(), "destinations": [row.undelivered_to], "tries": row.delivery_attempts});
        let hops = event.carried.hops + 1;
        room.ctx.happen(|| delivery_given_up(&owner, &fields, &row, hops));
        fields["routed"] = true.into();
        room.ctx.notice(OperatorEvent::Undelivered, &owner, fields);
    }
    room.buses.undelivered.push(Undelivered { key, row, payload: input.as_bytes().into() });
    false
}

/// An event for an API destination is a row until the destination has confirmed it: it is sent when the row is durable.
fn send_later(room: &mut BusRoom<'_>, delivery: Delivery<'_>) {
    let Delivery { event, input, http, .. } = delivery;
    let http = Some(http.map(|http| http.of(event.text)).unwrap_or_default());
    let routed = RoutedFailure { http, ..routed(room, delivery) };
    let key = new_key(room, delivery);
    let destination = Some(routed.target.clone());
    let row = FailureRow::of_event(routed, event.id, event.carried.trace, room.ctx.now.wall_ms);
    room.ctx.commit.pending.bytes += event.text.len() + input.len();
    let row = FailureRow { destination, ..row };
    room.buses.undelivered.push(Undelivered { key, row, payload: input.as_bytes().into() });
}

fn new_key(room: &mut BusRoom<'_>, delivery: Delivery<'_>) -> FailureKey {
    let first = room.events().take_number();
    FailureKey { mapping: delivery.owner.0, shard: delivery.owner.1, first, part: Part::Whole }
}

fn routed(room: &BusRoom<'_>, delivery: Delivery<'_>) -> RoutedFailure {
    RoutedFailure {
        target: delivery.to.name(),
        group_id: delivery.group_id.map(str::to_owned),
        dead_letter_queue: delivery.dead_letter_queue.map(str::to_owned),
        rule_arn: delivery.owner_arn.to_owned(),
        target_arn: recipient_arn(room, delivery.to),
        error_code: String::new(),
        error_message: String::new(),
        partition_key: matches!(delivery.to, Recipient::Stream(_)).then(|| delivery.partition_key.to_owned()),
        http: None,
        is_final: false,
        event: delivery.event.text.to_owned(),
        hops: delivery.event.carried.hops,
        retry: delivery.retry,
    }
}

/// Send an event to the dead-letter queue of its rule; false if there is none that takes it.
fn dead_letter(room: &mut BusRoom<'_>, failure: &RoutedFailure, carried: Carried<'_>) -> bool {
    let Some(queue) = failure.dead_letter_queue.as_deref().and_then(|name| room.queues.queue_id(name).ok()) else {
        return false;
    };
    let message = NewMessage {
        body: failure.event.clone(),
        attributes: failure.dead_letter_attributes(None),
        ..NewMessage::default()
    };
    match send::accept_part(&mut room.queues(), queue, &message, carried) {
        Ok(outgoing) => {
            send::queue_outgoing(&mut room.queues(), queue, outgoing);
            true
        }
        Err(_) => false,
    }
}

fn recipient_arn(room: &BusRoom<'_>, to: &Recipient) -> String {
    match to {
        Recipient::Function(name) => room.ctx.function_arn(name),
        Recipient::Queue(name) => room.ctx.queue_arn(name),
        Recipient::Topic(name) => room.ctx.topic_arn(name),
        Recipient::Stream(name) => room.ctx.stream_arn(name),
        Recipient::Bus(name) => room.ctx.bus_arn(name),
        Recipient::Rule(name) => room.ctx.rule_arn(None, name),
        Recipient::Workflow(name) => room.ctx.workflow_arn(name),
        Recipient::ApiDestination(name) => room.ctx.api_destination_arn(name),
    }
}

impl Recipient {
    /// As a destination is named.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Function(name) => format!("function:{name}"),
            Self::Queue(name) => format!("queue:{name}"),
            Self::Topic(name) => format!("topic:{name}"),
            Self::Stream(name) => format!("stream:{name}"),
            Self::Bus(name) => format!("bus:{name}"),
            Self::Rule(name) => format!("rule:{name}"),
            Self::Workflow(name) => format!("workflow:{name}"),
            Self::ApiDestination(name) => format!("api_destination:{name}"),
        }
    }
}

/// Refuse to go on with a chain that has come as far as one may.
fn check_hops(carried: Carried<'_>) -> Result<(), EngineError> {
    if chain::is_within(carried.hops) {
        return Ok(());
    }
    Err(EngineError::Invalid(format!("the event's chain went through more than {HOPS_MAX} functions and buses")))
}
