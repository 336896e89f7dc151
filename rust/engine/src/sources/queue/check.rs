//! What a queue takes: the rules of one message, in AWS's words where it has some.

use crate::api::notes::is_text;
use crate::base::error::EngineError;
use crate::base::limits::{DELAY_MS_MAX, MESSAGES_OF_A_CALL_MAX};
use crate::payload::message::{Attribute, NewMessage, BODY_MAX};
use crate::sources::queue::row::QueueRow;

const ID_CHARS_MAX: usize = 128;
const ATTRIBUTES_MAX: usize = 10;
const ATTRIBUTE_NAME_MAX: usize = 256;

fn refuse<T>(text: impl Into<String>) -> Result<T, EngineError> {
    Err(EngineError::Invalid(text.into()))
}

/// Refuse what may not be sent together.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html>
pub(crate) fn check_entries(messages: &[NewMessage]) -> Result<(), EngineError> {
    if messages.len() > MESSAGES_OF_A_CALL_MAX {
        return refuse(format!(
            "Maximum number of entries per request are {MESSAGES_OF_A_CALL_MAX}. You have sent {}.",
            messages.len()
        ));
    }
    let bytes: usize = messages.iter().map(size).sum();
    if messages.len() > 1 && bytes > BODY_MAX {
        return Err(EngineError::TooLarge(format!(
            "Batch requests cannot be longer than {BODY_MAX} bytes. You have sent {bytes} bytes."
        )));
    }
    Ok(())
}

fn size(message: &NewMessage) -> usize {
    message.body.len() + message.attributes.iter().map(Attribute::size).sum::<usize>()
}

/// Refuse a message that the queue does not take.
pub(crate) fn check_message(message: &NewMessage, queue: &QueueRow) -> Result<(), EngineError> {
    check_body(&message.body, size(message) - message.body.len())?;
    check_attributes(&message.attributes)?;
    if queue.is_fifo() {
        return check_fifo(message, queue);
    }
    // AWS shares out a standard queue by its groups; here they say something of a message and order nothing.
    if let Some(group) = &message.group_id {
        check_id("MessageGroupId", group)?;
    }
    if let Some(value) = &message.deduplication_id {
        return refuse(format!(
            "Value {value} for parameter MessageDeduplicationId is invalid. Reason: The request include parameter that is not valid for this queue type."
        ));
    }
    match message.delay_ms {
        Some(delay_ms) if delay_ms > DELAY_MS_MAX => refuse(format!(
            "Value {} for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900.",
            delay_ms / 1000
        )),
        _ => Ok(()),
    }
}

fn check_fifo(message: &NewMessage, queue: &QueueRow) -> Result<(), EngineError> {
    let Some(group) = &message.group_id else {
        return refuse("The request must contain the parameter MessageGroupId.");
    };
    check_id("MessageGroupId", group)?;
    match &message.deduplication_id {
        Some(id) => check_id("MessageDeduplicationId", id)?,
        None if queue.settings.content_based_deduplication => {}
        None => {
            return refuse(
                "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly.",
            )
        }
    }
    match message.delay_ms {
        None | Some(0) => Ok(()),
        Some(delay_ms) => refuse(format!(
            "Value {} for parameter DelaySeconds is invalid. Reason: The request include parameter that is not valid for this queue type.",
            delay_ms / 1000
        )),
    }
}

/// Letters, digits and punctuation of ASCII, 1 to 128 of them.
pub(crate) fn check_id(option: &str, value: &str) -> Result<(), EngineError> {
    if value.is_empty() || value.len() > ID_CHARS_MAX || !value.bytes().all(|byte| byte.is_ascii_graphic()) {
        let shown: String = value.chars().take(ID_CHARS_MAX + 1).collect();
        return refuse(format!(
            "Value {shown} for parameter {option} is invalid. Reason: {option} can only include alphanumeric and punctuation characters. 1 to 128 in length."
        ));
    }
    Ok(())
}

/// Refuse a body that no message may have; the attributes count as well.
pub(crate) fn check_body(body: &str, attributes: usize) -> Result<(), EngineError> {
    if body.is_empty() {
        return refuse("The request must contain the parameter MessageBody.");
    }
    let bytes = body.len() + attributes;
    if bytes > BODY_MAX {
        return Err(EngineError::TooLarge(format!(
            "One or more parameters are invalid. Reason: Message must be shorter than {BODY_MAX} bytes. This one has {bytes}."
        )));
    }
    check_characters(body)
}

/// Refuse a text with characters that no message may have.
pub(crate) fn check_characters(text: &str) -> Result<(), EngineError> {
    if !is_text(text) {
        return refuse(
            "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF",
        );
    }
    Ok(())
}

/// Refuse message attributes that nobody takes.
pub(crate) fn check_attributes(attributes: &[Attribute]) -> Result<(), EngineError> {
    if attributes.len() > ATTRIBUTES_MAX {
        return refuse(format!(
            "Number of message attributes [{}] exceeds the allowed maximum [{ATTRIBUTES_MAX}].",
            attributes.len()
        ));
    }
    for (at, attribute) in attributes.iter().enumerate() {
        let name = &attribute.name;
        let is_word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
        let is_framed = name.starts_with('.') || name.ends_with('.') || name.contains("..");
        let is_ours = ["aws.", "amazon."].iter().any(|taken| name.to_ascii_lowercase().starts_with(taken));
        if name.is_empty() || name.len() > ATTRIBUTE_NAME_MAX || !is_word || is_framed || is_ours {
            return refuse(format!(
                "attributes: the name {name:?} is not allowed: 1 to 256 letters, digits, '_', '-' and '.'; no '.' at an end or beside another; not beginning with AWS. or Amazon."
            ));
        }
        if attributes[..at].iter().any(|other| other.name == *name) {
            return refuse(format!("attributes: the name {name:?} stands there twice"));
        }
        let kind = attribute.data_type.split('.').next().unwrap_or_default();
        if !["String", "Number", "Binary"].contains(&kind) || attribute.data_type.len() > ATTRIBUTE_NAME_MAX {
            return refuse(format!(
                "The message attribute '{name}' has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and String."
            ));
        }
        // A receiver that speaks XML could not read the answer.
        check_characters(&attribute.data_type)?;
        check_characters(&attribute.value)?;
        if attribute.value.is_empty() {
            return refuse(format!("The message attribute '{name}' must contain a non-empty message attribute value."));
        }
        if kind == "Number" && attribute.value.parse::<f64>().is_err() {
            return refuse(format!("Can't cast the value of message attribute '{name}' to a number."));
        }
        if attribute.bytes().is_none() {
            return refuse(format!("attributes: the value of {name:?} is not base64"));
        }
    }
    Ok(())
}

/// Say which of several messages was refused.
pub(crate) fn name_entry(error: EngineError, at: usize, of: usize) -> EngineError {
    match error {
        EngineError::Invalid(text) if of > 1 => EngineError::Invalid(format!("messages[{at}]: {text}")),
        EngineError::TooLarge(text) if of > 1 => EngineError::TooLarge(format!("messages[{at}]: {text}")),
        other => other,
    }
}
