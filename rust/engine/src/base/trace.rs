//! Trace contexts: what a tracer says of where something was put, sent or asked for, carried to whoever handles it.
//!
//! A context is the text of W3C's `traceparent`, and below it that of `tracestate` where there is one. Nothing here reads it.
//! <https://www.w3.org/TR/trace-context/>

use std::sync::Arc;

use crate::base::error::EngineError;

/// Most bytes of a context: a `traceparent` has 55, a `tracestate` that is carried on 512.
const TRACE_MAX: usize = 1_024;
/// Most contexts that a batch is handed out with: as many links as OpenTelemetry lets a span have.
const TRACES_MAX: usize = 128;

/// Refuse what no header of HTTP could have carried.
pub(crate) fn check_trace(trace: Option<&str>) -> Result<(), EngineError> {
    let Some(trace) = trace else { return Ok(()) };
    let is_text = trace.bytes().all(|byte| matches!(byte, b'\n' | b' '..=b'~'));
    if trace.is_empty() || trace.len() > TRACE_MAX || !is_text {
        return Err(EngineError::Invalid(format!(
            "the trace context has {} bytes: allowed are 1 to {TRACE_MAX} of visible ASCII",
            trace.len()
        )));
    }
    Ok(())
}

/// Out of what work an event is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Origin<'a> {
    /// The request whose handler asks.
    pub parent: Option<u128>,
    /// Trace context.
    pub trace: Option<&'a str>,
}

/// What is kept of that with whatever is begotten.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Carried<'a> {
    /// Functions that the chain has gone through.
    pub(crate) hops: u32,
    pub(crate) trace: Option<&'a str>,
}

pub(crate) fn gather<'a>(traces: impl Iterator<Item = &'a str>, found: &mut Vec<&'a str>) {
    for trace in traces {
        // Nearly always the same as the one before it.
        if found.last() != Some(&trace) && !found.contains(&trace) {
            found.push(trace);
            if found.len() == TRACES_MAX {
                return;
            }
        }
    }
}

/// A context to be kept.
pub(crate) fn kept(trace: Option<&str>) -> Option<Arc<str>> {
    trace.map(Into::into)
}

/// A context in the form of X-Ray, which the Lambda Runtime API has; `None` if it is none of W3C's.
/// <https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader>
pub(crate) fn x_ray(trace: &str) -> Option<String> {
    let parent = trace.lines().next()?;
    let mut parts = parent.split('-').skip(1);
    let (id, span, flags) = (parts.next()?, parts.next()?, parts.next()?);
    let (time, unique) = id.split_at_checked(8)?;
    let is_sampled = u8::from_str_radix(flags, 16).ok()? & 1;
    Some(format!("Root=1-{time}-{unique};Parent={span};Sampled={is_sampled}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_visible_text_of_a_bounded_length() {
        let most = "x".repeat(TRACE_MAX);
        for good in [None, Some("00-1-2-01"), Some("a\nb=c d"), Some(most.as_str())] {
            assert!(check_trace(good).is_ok(), "{good:?}");
        }
        let long = "x".repeat(TRACE_MAX + 1);
        for bad in ["", "a\tb", "\u{e9}", "a\rb", long.as_str()] {
            assert!(check_trace(Some(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_context_is_written_as_x_ray_writes_it() {
        let trace = "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01\na=b";
        let expected = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
        assert_eq!(x_ray(trace).as_deref(), Some(expected));
        assert_eq!(x_ray("nonsense"), None);
    }

    #[test]
    fn each_context_is_gathered_once_in_its_order_up_to_the_bound() {
        let mut found = Vec::new();
        gather(["b", "b", "a", "b"].into_iter(), &mut found);
        assert_eq!(found, ["b", "a"]);
        let many: Vec<String> = (0..200).map(|number| number.to_string()).collect();
        let mut found = Vec::new();
        gather(many.iter().map(String::as_str), &mut found);
        assert_eq!(found.len(), TRACES_MAX);
    }
}
