//! Events as they are kept: documents that several of them have stand there once, and all of it is compressed.
//!
//! What a state ends with is what the next one begins with, and arguments repeat from step to step: written out, a history
//! has each document several times.

use std::sync::LazyLock;

use hashbrown::HashMap;

use super::history::{CallPhase, Event, EventKind};
use super::Text;

/// Begins what is packed. Histories of earlier releases are JSON, which begins with a bracket.
const PACKED: u8 = 1;
/// Most bytes of packed events once they are unpacked. More than that is kept as JSON.
const BODY_MAX: usize = 512 << 20;

/// The first numbers as texts: few steps have more documents.
static NUMBERS: LazyLock<Vec<Text>> =
    LazyLock::new(|| (0..64).map(|number: usize| number.to_string().into()).collect());

impl EventKind {
    /// The documents of an event.
    fn texts_mut(&mut self) -> Vec<&mut Text> {
        match self {
            Self::ExecutionStarted { input: text, .. }
            | Self::ExecutionSucceeded(text)
            | Self::StateEntered(_, _, text)
            | Self::Call(_, CallPhase::Submitted(text) | CallPhase::Succeeded(text)) => vec![text],
            Self::Call(_, CallPhase::Scheduled(scheduled)) => vec![&mut scheduled.parameters],
            Self::StateExited { output, assigned, .. } => {
                std::iter::once(output).chain(assigned.iter_mut().map(|(_, text)| text)).collect()
            }
            _ => Vec::new(),
        }
    }
}

impl Event {
    /// Make it what is kept of it, without its documents where they are not asked for; gives about how many bytes it has.
    pub fn keep(&mut self, with_data: bool) -> usize {
        let texts = self.kind.texts_mut().into_iter().map(|text| {
            if !with_data {
                *text = Text::default();
            }
            text.as_str().len()
        });
        let documents: usize = texts.sum();
        size_of::<Self>() + documents + self.kind.error_bytes()
    }
}

/// Pack events; each of their documents is replaced by its number.
pub fn pack(events: Vec<Event>) -> Vec<u8> {
    pack_within(events, BODY_MAX)
}

fn pack_within(mut events: Vec<Event>, body_max: usize) -> Vec<u8> {
    let mut texts: Vec<Text> = Vec::new();
    // Documents may be long: the hash is a fast one.
    let mut numbers: HashMap<Text, usize> = HashMap::new();
    for text in events.iter_mut().flat_map(|event| event.kind.texts_mut()) {
        let number = *numbers.entry(text.clone()).or_insert_with(|| {
            texts.push(text.clone());
            texts.len() - 1
        });
        *text = NUMBERS.get(number).cloned().unwrap_or_else(|| number.to_string().into());
    }
    let json = serde_json::to_vec(&events).unwrap_or_default();
    let parts: Vec<&[u8]> = std::iter::once(&*json).chain(texts.iter().map(|text| text.as_str().as_bytes())).collect();
    let lengths: Vec<[u8; 4]> = parts.iter().map(|part| (part.len() as u32).to_le_bytes()).collect();
    let body = lengths.iter().zip(parts).flat_map(|(length, part)| [&length[..], part]).collect::<Vec<_>>().concat();
    if body.len() > body_max {
        for text in events.iter_mut().flat_map(|event| event.kind.texts_mut()) {
            *text = text.as_str().parse().ok().and_then(|number: usize| texts.get(number).cloned()).unwrap_or_default();
        }
        return serde_json::to_vec(&events).unwrap_or_default();
    }
    let mut packed = vec![PACKED];
    packed.extend(lz4_flex::compress_prepend_size(&body));
    packed
}

/// Read what was packed, also by earlier releases. `None`: it is damaged.
pub fn unpack(bytes: &[u8]) -> Option<Vec<Event>> {
    unpack_within(bytes, BODY_MAX)
}

fn unpack_within(bytes: &[u8], body_max: usize) -> Option<Vec<Event>> {
    let Some((&PACKED, packed)) = bytes.split_first() else { return serde_json::from_slice(bytes).ok() };
    let size = u32::from_le_bytes(*packed.first_chunk()?) as usize;
    if size > body_max {
        return None;
    }
    let body = lz4_flex::decompress_size_prepended(packed).ok()?;
    let mut rest = body.as_slice();
    let mut next = || {
        let (size, more) = rest.split_first_chunk::<4>()?;
        let (part, more) = more.split_at_checked(u32::from_le_bytes(*size) as usize)?;
        rest = more;
        Some(part)
    };
    let mut events: Vec<Event> = serde_json::from_slice(next()?).ok()?;
    let mut texts = Vec::new();
    while let Some(part) = next() {
        texts.push(Text::from(std::str::from_utf8(part).ok()?));
    }
    for text in events.iter_mut().flat_map(|event| event.kind.texts_mut()) {
        *text = texts.get(text.as_str().parse::<usize>().ok()?)?.clone();
    }
    Some(events)
}

#[cfg(test)]
mod tests {
    use super::super::history::{CallKind, ErrorDetails, Scheduled};
    use super::*;
    use crate::workflow::definition::StateKind;

    fn events() -> Vec<Event> {
        let order: Text = format!("{{\"order\":\"{}\"}}", "o-1 ".repeat(200)).into();
        let call = CallKind::Service { service: "sqs".into(), action: "sendMessage".into() };
        let scheduled = Scheduled {
            parameters: order.clone(),
            region: "local".into(),
            timeout_seconds: None,
            heartbeat_seconds: Some(3),
            role_arn: None,
        };
        let assigned = vec![("a".to_owned(), Text::from("1")), ("b".to_owned(), order.clone())];
        let kinds = [
            EventKind::ExecutionStarted { input: order.clone(), role_arn: "r".into() },
            EventKind::StateEntered(StateKind::Task, "One".into(), order.clone()),
            EventKind::Call(call.clone(), CallPhase::Scheduled(Box::new(scheduled))),
            EventKind::Call(call, CallPhase::Succeeded("2".into())),
            EventKind::StateExited { kind: StateKind::Task, name: "One".into(), output: order.clone(), assigned },
            EventKind::ExecutionFailed(ErrorDetails::new("E", None)),
            EventKind::ExecutionSucceeded(order),
        ];
        let event = |(at, kind)| Event { id: at + 1, previous: at, at_ms: 7, kind };
        (0..).zip(kinds).map(event).collect()
    }

    #[test]
    fn what_is_packed_is_read_again_and_takes_less_room() {
        let packed = pack(events());
        assert_eq!(unpack(&packed), Some(events()));
        assert!(packed.len() * 5 < serde_json::to_vec(&events()).unwrap().len());
        assert_eq!(unpack(&pack(Vec::new())), Some(Vec::new()));
    }

    /// What is kept for each execution is counted, so that the histories of many have a bound together.
    #[test]
    fn an_event_counts_its_documents_and_what_it_failed_with() {
        let details = || ErrorDetails::new("Error", Some("cause!!".into()));
        let function = CallKind::Function("arn".into());
        let call = |phase: CallPhase| EventKind::Call(function.clone(), phase);
        let failed = EventKind::EvaluationFailed {
            error: "Error".into(),
            cause: "cause!!".into(),
            location: None,
            state: "S".into(),
        };
        for (kind, bytes) in [
            (EventKind::ExecutionFailed(details()), 12),
            (EventKind::ExecutionAborted(ErrorDetails::new("Error", None)), 5),
            (EventKind::ExecutionTimedOut(ErrorDetails::default()), 0),
            (EventKind::MapRunFailed(details()), 12),
            (call(CallPhase::Failed(details())), 12),
            (call(CallPhase::StartFailed(details())), 12),
            (call(CallPhase::SubmitFailed(details())), 12),
            (call(CallPhase::TimedOut(details())), 12),
            (call(CallPhase::Succeeded("12345678".into())), 8),
            (failed, 12),
            (EventKind::MapRunSucceeded, 0),
        ] {
            let mut event = Event { id: 1, previous: 0, at_ms: 7, kind };
            assert_eq!(event.keep(true), size_of::<Event>() + bytes, "{event:?}");
        }
    }

    #[test]
    fn a_history_that_is_too_long_to_pack_is_kept_as_json() {
        let size = |packed: &[u8]| u32::from_le_bytes(*packed[1..].first_chunk().unwrap()) as usize;
        let packed = pack(events());
        let most = size(&packed);
        assert_eq!(pack_within(events(), most), packed);
        assert_eq!(pack_within(events(), most + 1), packed);
        assert_eq!(pack_within(events(), most - 1), serde_json::to_vec(&events()).unwrap());
        for (body_max, is_read) in [(most - 1, false), (most, true), (most + 1, true)] {
            assert_eq!(unpack_within(&packed, body_max).is_some(), is_read);
        }
    }

    /// A history that is kept or told without data has none of it.
    #[test]
    fn an_event_that_is_kept_without_its_documents_has_none() {
        for event in events() {
            let (mut with, mut without) = (event.clone(), event.clone());
            let (all, rest) = (with.keep(true), without.keep(false));
            assert_eq!(with, event);
            assert!(!format!("{without:?}").contains("o-1"), "{without:?}");
            let is_failure = matches!(event.kind, EventKind::ExecutionFailed(_));
            assert_eq!(rest < all, !is_failure, "{event:?}");
        }
    }

    #[test]
    fn histories_of_earlier_releases_are_read() {
        assert_eq!(unpack(&serde_json::to_vec(&events()).unwrap()), Some(events()));
    }

    #[test]
    fn damage_is_told_whatever_it_is() {
        let packed = pack(events());
        for end in 0..packed.len() {
            assert_eq!(unpack(&packed[..end]), None, "cut at {end}");
        }
        assert_eq!(unpack(&[PACKED, 255, 255, 255, 255, 0]), None);
        for at in 0..packed.len() {
            let mut damaged = packed.clone();
            damaged[at] ^= 0x55;
            // It may still be something, but never a panic.
            let _something = unpack(&damaged);
        }
    }
}
