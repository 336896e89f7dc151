//! One publication and everything it becomes.

use std::sync::Arc;

use forebay_core::chain;
use forebay_core::pattern::policy::{Attribute as Seen, Policy};

use crate::api::topic::Publication;
use crate::base::error::{EngineError, Reply, Waiter};
use crate::base::ids::uuid_text;
use crate::base::trace::{check_trace, kept, Carried, Origin};
use crate::commit::attachment::{AttachedRow, Attachment};
use crate::dispatch::functions;
use crate::observe::history::publications::{Fate, Published};
use crate::payload::endpoint::Endpoint;
use crate::payload::event::Accepted;
use crate::payload::message::{Attribute, NewMessage};
use crate::sources::queue::send;
use crate::sources::queue::{check_attributes, check_characters, check_id, Outgoing, QueueId};
use crate::topics::envelope::Envelope;
use crate::topics::row::SubscriptionRow;
use crate::topics::TopicRoom;

/// Most bytes of a publication, its attributes included.
/// <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>
const PUBLICATION_BYTES_MAX: usize = 262_144;
const SUBJECT_CHARS_MAX: usize = 100;

/// What a publication becomes.
struct Copies {
    messages: Vec<(QueueId, Outgoing)>,
    events: Vec<Accepted>,
    published: Published,
}

impl Publication {
    fn size(&self) -> usize {
        let attributes = self.attributes.iter().map(Attribute::size);
        let texts = [Some(&self.message), self.for_queues.as_ref(), self.for_functions.as_ref()];
        texts.into_iter().flatten().map(String::len).sum::<usize>() + attributes.sum::<usize>()
    }

    /// Refuse what cannot be published; where AWS has a text for it, in its words.
    fn check(&self) -> Result<(), EngineError> {
        if self.message.is_empty() {
            return Err(EngineError::Invalid("Invalid parameter: Empty message".into()));
        }
        let bytes = self.size();
        if bytes > PUBLICATION_BYTES_MAX {
            return Err(EngineError::TooLarge(format!(
                "Invalid parameter: Message too long: {bytes} bytes with its attributes, allowed are {PUBLICATION_BYTES_MAX}"
            )));
        }
        for text in [Some(&self.message), self.for_queues.as_ref()].into_iter().flatten() {
            check_characters(text)?;
        }
        check_attributes(&self.attributes)?;
        if let Some(group) = &self.group_id {
            check_id("MessageGroupId", group)?;
        }
        match &self.subject {
            Some(subject) if !is_subject(subject) => Err(EngineError::Invalid(format!(
                "Invalid parameter: Subject: allowed are 1 to {SUBJECT_CHARS_MAX} characters of printable ASCII that do not begin with a space"
            ))),
            _ => Ok(()),
        }
    }
}

fn is_subject(text: &str) -> bool {
    let is_printable = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    is_printable && !text.starts_with(' ') && (1..=SUBJECT_CHARS_MAX).contains(&text.len())
}

/// Publish; the waiter is answered with the message's id when everything that it becomes is durable.
pub(crate) fn publish(
    room: &mut TopicRoom<'_>,
    topic: &str,
    publication: &Publication,
    origin: Origin<'_>,
    waiter: Waiter,
) {
    let carried = functions::carried(room.dispatch, origin);
    let accepted = room.ctx.check_room().and_then(|()| {
        check_trace(origin.trace)?;
        copies(room, topic, publication, carried)
    });
    match accepted {
        Ok(copies) => {
            let id = format!("\"{}\"", uuid_text(copies.published.id)).into_bytes();
            accept_copies(room, copies);
            room.ctx.commit.pending.waiters.push((waiter, Reply::Added(id)));
            room.ctx.commit.pending.urgent = true;
        }
        Err(error) => room.ctx.answer(waiter, Err(error)),
    }
}

/// Publish as a part of something else that is put; it is refused together with that. Gives the id.
pub(crate) fn publish_part(
    room: &mut TopicRoom<'_>,
    topic: &str,
    publication: &Publication,
    carried: Carried<'_>,
) -> Result<u128, EngineError> {
    let copies = copies(room, topic, publication, carried)?;
    let id = copies.published.id;
    accept_copies(room, copies);
    Ok(id)
}

fn accept_copies(room: &mut TopicRoom<'_>, copies: Copies) {
    // Remembered when it is durable: what a full disk refuses was not published.
    room.ctx.commit.pending.published.push(copies.published);
    for (queue, outgoing) in copies.messages {
        send::queue_outgoing(&mut room.queues(), queue, outgoing);
    }
    room.ctx.commit.pending.bytes += copies.events.iter().map(Accepted::bytes).sum::<usize>();
    room.events.accepted.extend(copies.events);
}

/// Publish by the engine's own doing. `rows` are written in the commit that writes everything that the publication becomes: at
/// once, or, where a queue has no room on a full disk, later. Says whether that may be later.
pub(crate) fn tell_topic(
    room: &mut TopicRoom<'_>,
    topic: &str,
    publication: &Publication,
    carried: Carried<'_>,
    rows: Vec<AttachedRow>,
) -> Result<bool, EngineError> {
    if !room.topics.topic(topic)?.row.subscriptions.iter().any(|one| is_open(one, carried.hops)) {
        // Told to nobody it would be gone.
        return Err(EngineError::Invalid(format!("topic {topic:?} has no subscription that this may go to")));
    }
    let copies = copies(room, topic, publication, carried)?;
    if copies.messages.is_empty() && copies.events.is_empty() {
        return Err(EngineError::Invalid(format!(
            "the filter policies of topic {topic:?} let this through to no subscription that it may go to"
        )));
    }
    let bound = Attachment { rows, events: copies.events, published: None };
    let mut messages = copies.messages.into_iter();
    match messages.next() {
        None => {
            room.ctx.observe.history.publications.note(copies.published);
            room.events().write_attachment(&bound);
            Ok(false)
        }
        Some((queue, first)) => {
            // They wait for room together, so what is bound to one of them is bound to all.
            let bound = Attachment { published: Some(Box::new(copies.published)), ..bound };
            send::queue_outgoing(&mut room.queues(), queue, first.bound_to(bound));
            for (queue, outgoing) in messages {
                send::queue_outgoing(&mut room.queues(), queue, outgoing.bound_to(Attachment::default()));
            }
            room.ctx.commit.pending.urgent = true;
            Ok(true)
        }
    }
}

/// Make every copy, and change nothing before each of them is known to be taken.
fn copies(
    room: &mut TopicRoom<'_>,
    topic: &str,
    publication: &Publication,
    carried: Carried<'_>,
) -> Result<Copies, EngineError> {
    publication.check()?;
    let entry = room.topics.topic(topic)?;
    let (meters, name, endpoints) = (entry.meters.clone(), entry.name.clone(), entry.endpoints.clone());
    let seen: Vec<Seen<'_>> = publication.attributes.iter().map(seen).collect();
    let passes =
        |policy: &Option<Policy>| policy.as_ref().is_none_or(|policy| policy.passes(&publication.message, &seen));
    let pairs = entry.row.subscriptions.iter().zip(&entry.policies).enumerate();
    let matched: Vec<(usize, SubscriptionRow)> =
        pairs.filter(|(_, (_, policy))| passes(policy)).map(|(at, (one, _))| (at, one.clone())).collect();
    let mut fates = vec![Fate::FilteredOut; endpoints.len()];
    let topic_arn = room.ctx.topic_arn(topic);
    let (id, at_ms) = (room.ctx.rng.uuid(), room.ctx.now.wall_ms);
    let envelope = Envelope { topic_arn: &topic_arn, id, published_ms: at_ms, publication };
    let (mut messages, mut payloads, mut events) = (Vec::new(), Vec::new(), Vec::new());
    for (at, subscription) in &matched {
        match &subscription.settings.endpoint {
            Endpoint::Queue(queue) => {
                let outgoing =
                    copy_for_queue(room, queue, &envelope, subscription.settings.raw_message_delivery, carried)?;
                fates[*at] = Fate::Became(outgoing.1.id());
                messages.push(outgoing);
            }
            Endpoint::Function(function) if is_open(subscription, carried.hops) => {
                let payload: Arc<[u8]> = envelope.event(&subscription.id).into_bytes().into();
                payloads.push((*at, room.events().event_queue(function)?.0, payload));
            }
            // The chain was stopped: nothing of it goes to a function.
            Endpoint::Function(_) => fates[*at] = Fate::Stopped,
        }
    }
    for (at, queue, payload) in payloads {
        let request = room.ctx.rng.uuid();
        fates[at] = Fate::Became(request);
        let event = room.events().new_event(request, carried.hops, payload, (kept(carried.trace), None));
        events.push(room.events().number_event(queue, event));
    }
    meters.published.increment();
    meters.size.record(publication.size() as f64);
    meters.delivered.add((messages.len() + events.len()) as u64);
    meters.filtered_out.add((endpoints.len() - matched.len()) as u64);
    let published = Published { at_ms, id, topic: name, endpoints, fates: fates.into() };
    Ok(Copies { messages, events, published })
}

fn copy_for_queue(
    room: &mut TopicRoom<'_>,
    name: &str,
    envelope: &Envelope<'_>,
    raw: bool,
    carried: Carried<'_>,
) -> Result<(QueueId, Outgoing), EngineError> {
    let given = envelope.publication;
    let group_id = given.group_id.clone();
    let message = if raw {
        let attributes = given.attributes.clone();
        NewMessage { body: envelope.queue_text().to_owned(), attributes, group_id, ..NewMessage::default() }
    } else {
        NewMessage { body: envelope.body(), group_id, ..NewMessage::default() }
    };
    let queue = room.queues.queue_id(name)?;
    Ok((queue, send::accept_part(&mut room.queues(), queue, &message, carried)?))
}

/// Whether anything of a chain that has come so far may go there. One that was stopped goes on in no function, not even as a
/// record of its end.
fn is_open(subscription: &SubscriptionRow, hops: u32) -> bool {
    chain::is_within(hops) || matches!(subscription.settings.endpoint, Endpoint::Queue(_))
}

fn seen(attribute: &Attribute) -> Seen<'_> {
    Seen { name: &attribute.name, data_type: &attribute.data_type, value: &attribute.value }
}
