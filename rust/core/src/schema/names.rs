//! Names: of schemas and their components, and what in an event is data that looks like a name.

/// A text's pieces, each with a capital, joined; what is not a letter or digit parts them, and at the end becomes `_`.
pub fn pascal_case(text: &str) -> String {
    let mut name = String::new();
    let mut begins = true;
    for character in text.chars() {
        if !character.is_ascii_alphanumeric() {
            begins = true;
            continue;
        }
        name.push(if begins { character.to_ascii_uppercase() } else { character });
        begins = false;
    }
    if begins && !name.is_empty() {
        name.push('_');
    }
    name
}

/// What a discovered schema is called in its registry: `aws.s3@AWSAPICallViaCloudTrail`. A character of the source that no
/// schema's name can have becomes `-` (as in the names of AWS's partners: `aws.partner-zendesk.com@…`).
pub fn schema_name(source: &str, detail_type: &str) -> String {
    let known = |character: char| if is_name_character(character) { character } else { '-' };
    let source: String = source.chars().map(known).collect();
    format!("{source}@{}", title(detail_type))
}

/// Whether a registry's schema can have the character in its name.
/// <https://docs.aws.amazon.com/eventbridge/latest/schema-reference/v1-registries-name-registryname-schemas-name-schemaname.html>
pub fn is_name_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || "._-@".contains(character)
}

/// The title of a schema, which is the name of its detail's component, too.
pub(super) fn title(detail_type: &str) -> String {
    or(pascal_case(detail_type), "Event")
}

/// A component's name from a key.
pub(super) fn component(key: &str) -> String {
    or(pascal_case(key), "Object")
}

fn or(name: String, other: &str) -> String {
    if name.is_empty() {
        other.to_owned()
    } else {
        name
    }
}

/// Before a key that is a word of `OpenAPI`'s, the property's name gets this (as AWS does).
pub(super) const WORD_PREFIX: &str = "x-amazon-open-api-schema-";
const WORDS: [&str; 8] =
    ["deprecated", "discriminator", "example", "externalDocs", "nullable", "readOnly", "writeOnly", "xml"];

/// The name of the property for a key.
pub(super) fn property(key: &str) -> String {
    if WORDS.contains(&key) {
        format!("{WORD_PREFIX}{key}")
    } else {
        key.to_owned()
    }
}

/// Whether a key is a UUID, with hyphens or without: that is data, and each event would have another.
pub(super) fn is_data(key: &[u8]) -> bool {
    match key.len() {
        32 => key.iter().all(u8::is_ascii_hexdigit) && key.iter().any(u8::is_ascii_digit),
        36 => key.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        }),
        _ => false,
    }
}

/// Whether a text is a date and time of ISO 8601 with its zone: `2026-01-31T23:59:59.123Z`, `…+01:00`.
pub(super) fn is_date_time(text: &[u8]) -> bool {
    let Some((local, rest)) = text.split_at_checked(19) else { return false };
    let number = |from: usize, length: usize| {
        let digits = &local[from..from + length];
        let value = |value: u16, digit: &u8| value * 10 + u16::from(digit - b'0');
        digits.iter().all(u8::is_ascii_digit).then(|| digits.iter().fold(0, value))
    };
    let within = |from, first, last| number(from, 2).is_some_and(|value| (first..=last).contains(&value));
    local[4] == b'-'
        && local[7] == b'-'
        && matches!(local[10], b'T' | b't')
        && local[13] == b':'
        && local[16] == b':'
        && number(0, 4).is_some()
        && within(5, 1, 12)
        && within(8, 1, 31)
        && within(11, 0, 23)
        && within(14, 0, 59)
        && within(17, 0, 60)
        && is_zone(rest)
}

/// What stands behind the seconds: a fraction, if any, and the zone.
fn is_zone(text: &[u8]) -> bool {
    let zone = match text.strip_prefix(b".") {
        Some(fraction) => {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits == 0 {
                return false;
            }
            &fraction[digits..]
        }
        None => text,
    };
    match zone {
        [b'Z' | b'z'] => true,
        [b'+' | b'-', a, b, b':', c, d] => [a, b, c, d].into_iter().all(u8::is_ascii_digit),
        _ => false,
    }
}
