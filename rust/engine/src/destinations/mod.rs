//! Destinations that are part of this store: what they are told is written in the commit of what it is about.

use crate::commit::target::Target;
use crate::failures::delivery::{self, InStoreDelivery};
use crate::sources::invocation::ends::{self, EndedEvent};
use crate::store::port::Table;
use std::sync::Arc;

use crate::api::topic::Publication;
use crate::base::error::EngineError;
use crate::base::ids::uuid_text;
use crate::base::trace::{kept, Carried};
use crate::commit::attachment::{AttachedRow, Attachment};
use crate::failures::invocation_record::Ended;
use crate::failures::log::FailureRow;
use crate::payload::failure_key::{FailureKey, Part};
use crate::payload::message::{Attribute, NewMessage};
use crate::sources::queue::Sender;

use crate::sources::queue::send;
use crate::topics::publish;
use crate::topics::TopicRoom;

/// What a destination is told: text, and the attributes of a dead letter; how far the chain has come that it belongs to.
pub(crate) struct Notification {
    text: String,
    attributes: Vec<Attribute>,
    /// Of a FIFO queue's message.
    group_id: Option<String>,
    hops: u32,
    trace: Option<Arc<str>>,
}

impl Notification {
    /// Of an event that has ended, in the form that the destination takes.
    pub(crate) fn of(ended: &Ended, trace: Option<&str>, key: FailureKey, payload: &[u8], target: Target<'_>) -> Self {
        let trace = kept(trace);
        if key.part != Part::DeadLetter || !matches!(target, Target::Queue(_) | Target::Topic(_)) {
            let text = ended.text(key, payload, None);
            return Self { text, attributes: Vec::new(), group_id: None, hops: ended.hops, trace };
        }
        let attribute = |(name, data_type, value): (&str, &str, String)| Attribute {
            name: name.to_owned(),
            data_type: data_type.to_owned(),
            value,
        };
        Self {
            text: String::from_utf8_lossy(payload).into_owned(),
            attributes: ended.dead_letter_attributes().into_iter().map(attribute).collect(),
            group_id: None,
            hops: ended.hops,
            trace,
        }
    }

    /// Of whatever failed.
    pub(crate) fn of_failure(
        row: &FailureRow,
        key: FailureKey,
        payload: &[u8],
        target: Target<'_>,
        now_ms: u64,
    ) -> Self {
        let trace = kept(row.trace.as_deref());
        match (&row.ended, &row.routed) {
            (Some(ended), _) => Self::of(ended, row.trace.as_deref(), key, payload, target),
            (None, Some(routed)) if Some(target) == routed.dead_letter_target() => Self {
                text: routed.event.clone(),
                attributes: routed.dead_letter_attributes(Some((row.retries(), row.age_ms(now_ms)))),
                group_id: None,
                hops: routed.hops.saturating_sub(1),
                trace,
            },
            (None, Some(routed)) => Self {
                text: String::from_utf8_lossy(payload).into_owned(),
                attributes: Vec::new(),
                group_id: routed.group_id.clone(),
                // What is told is one hop further on.
                hops: routed.hops.saturating_sub(1),
                trace,
            },
            (None, None) => {
                Self { text: row.record.to_string(), attributes: Vec::new(), group_id: None, hops: 0, trace }
            }
        }
    }
}

/// Tell a destination of this store. `rows` are written in the commit that writes what it is told: at once where that is events
/// of functions; where it is messages of queues that have no room on a full disk, later. Says whether that may be later.
pub(crate) fn tell(
    room: &mut TopicRoom<'_>,
    target: Target<'_>,
    notification: Notification,
    rows: Vec<AttachedRow>,
) -> Result<bool, EngineError> {
    match target {
        Target::Function(name) => {
            let (queue, qualifier) = room.events().event_queue(name)?;
            let payload: Arc<[u8]> = notification.text.into_bytes().into();
            let request = room.ctx.rng.uuid();
            let event =
                room.events().new_event(request, notification.hops + 1, payload, (notification.trace, qualifier));
            let events = vec![room.events().number_event(queue, event)];
            room.events().write_attachment(&Attachment { rows, events, published: None });
            Ok(false)
        }
        Target::Queue(name) => {
            let message = NewMessage {
                body: notification.text,
                attributes: notification.attributes,
                deduplication_id: notification.group_id.is_some().then(|| uuid_text(room.ctx.rng.uuid())),
                group_id: notification.group_id,
                ..NewMessage::default()
            };
            let carried = Carried { hops: notification.hops + 1, trace: notification.trace.as_deref() };
            send::queue_send(
                &mut room.queues(),
                name,
                &message,
                carried,
                Sender::Attachment(Attachment { rows, ..Attachment::default() }),
            )?;
            Ok(true)
        }
        Target::Topic(name) => {
            let Notification { text: message, attributes, hops, trace, .. } = notification;
            let publication = Publication { message, attributes, ..Publication::default() };
            publish::tell_topic(room, name, &publication, Carried { hops: hops + 1, trace: trace.as_deref() }, rows)
        }
        Target::Stream(_) | Target::Bus(_) | Target::Workflow(_) | Target::Registered => {
            Err(EngineError::NotFound("the destination is not part of this store".into()))
        }
    }
}

/// Tell the destinations of an event that has ended.
pub(crate) fn tell_of_event(room: &mut TopicRoom<'_>, mut end: EndedEvent) {
    while let Some((failure, name)) = ends::next_destination(&mut room.events(), &mut end) {
        let target = Target::of(&name);
        let trace = end.event.trace.as_deref();
        let notification = Notification::of(&end.ended, trace, failure, &end.event.payload, target);
        let rows = end.row.iter().map(|row| (Table::Event, row.clone(), None)).collect();
        let told = tell(room, target, notification, rows);
        ends::destination_told(&mut room.events(), &mut end, failure, name, &told);
    }
}

/// Tell a destination what a failure is, in the commit that removes the failure's row.
pub(crate) fn deliver_here(room: &mut TopicRoom<'_>, delivery: &InStoreDelivery) {
    let InStoreDelivery { key, row, payload } = delivery;
    let Some(name) = &row.destination else { return };
    let target = Target::of(name);
    let notification = Notification::of_failure(row, *key, payload, target, room.ctx.now.wall_ms);
    let told = tell(room, target, notification, vec![(Table::Failure, key.bytes(), None)]);
    delivery::delivered_here(&mut room.failures(), delivery, told);
}
