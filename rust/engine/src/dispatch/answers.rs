//! What the caller of a synchronous invocation is answered.

use crate::base::error::EngineError;
use crate::base::error::Reply;
use crate::dispatch::attempts::Attempt;
use crate::dispatch::attempts::HandlerId;
use crate::dispatch::ready_list::Kind;
use crate::dispatch::Dispatch;
use crate::dispatch::DispatchRoom;

pub(crate) fn measure(room: &mut DispatchRoom<'_>, attempt: &Attempt, status: u8, duration_ns: u64) {
    let now = room.ctx.now.mono_ns;
    let function = &mut room.dispatch.functions[attempt.handler];
    while function.deadlines.front().is_some_and(|&(deadline, token)| {
        deadline > now && room.dispatch.attempts.get_mut(token).is_none_or(|other| other.deadline_ns != deadline)
    }) {
        function.deadlines.pop_front();
    }
    if attempt.job.kind() == Kind::Delivery {
        return;
    }
    function.meters.in_flight.add(-1.0);
    if attempt.timed_out {
        function.meters.overdue.add(-1.0);
    }
    function.meters.ended(status, duration_ns);
}

/// Lambda's error of an attempt that took too long: its text, and its error object.
pub(crate) fn timeout_error(dispatch: &Dispatch, handler: HandlerId, request: u128) -> (String, String) {
    let id = crate::base::ids::uuid_text(request);
    let seconds = dispatch.functions[handler].timeout_ns as f64 / 1e9;
    let text = format!("RequestId: {id} Error: Task timed out after {seconds:.2} seconds");
    let payload = serde_json::json!({"errorType": "Sandbox.Timedout", "errorMessage": text}).to_string();
    (text, payload)
}

pub(crate) fn invoke_answer(
    dispatch: &Dispatch,
    handler: HandlerId,
    request: u128,
    is_qualified: bool,
    (status, body): (u8, Option<Vec<u8>>),
) -> Result<Reply, EngineError> {
    let function = &dispatch.functions[handler];
    let version = function.version.to_string();
    match status {
        0 => {
            let json = body.unwrap_or_else(|| b"null".to_vec());
            Ok(if is_qualified { Reply::Executed { json, version } } else { Reply::Json(json) })
        }
        2 => {
            let (message, payload) = timeout_error(dispatch, handler, request);
            Err(EngineError::Function { message, payload, version })
        }
        1 => {
            let payload = body.map_or_else(|| "{}".to_owned(), |body| String::from_utf8_lossy(&body).into_owned());
            let message = error_message(&payload);
            Err(EngineError::Function { message, payload, version })
        }
        3 => Err(EngineError::Closed(format!("function {}: its handler is not in this process", function.name))),
        _ => Err(EngineError::Closed(format!(
            "function {}: this process closed the store before it ended",
            function.name
        ))),
    }
}

fn error_message(payload: &str) -> String {
    let parsed: Option<serde_json::Value> = serde_json::from_str(payload).ok();
    let field = |name: &str| parsed.as_ref()?.get(name)?.as_str().map(str::to_owned);
    match (field("errorType"), field("errorMessage")) {
        (Some(kind), Some(message)) => format!("{kind}: {message}"),
        (None, Some(message)) => message,
        _ => payload.to_owned(),
    }
}
