//! Names: of rooms, and of requests as Lambda shows them.

/// Names a room whose work the runtime brings it: its timers, its attempts, its part of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RoomId(pub(crate) u8);

/// A request id as Lambda shows it.
pub fn uuid_text(id: u128) -> String {
    // By hand: every attempt has one, and formatting its parts costs more than the attempt's own book-keeping.
    let mut text = String::with_capacity(36);
    for (at, byte) in id.to_be_bytes().into_iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
    }
    text
}

/// The request id that a text shows.
pub fn parse_uuid(text: &str) -> Option<u128> {
    u128::from_str_radix(&text.replace('-', ""), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    #[test]
    fn request_ids_are_version_4_uuids_and_differ() {
        let mut rng = Rng::new(7);
        let first = uuid_text(rng.uuid());
        assert_eq!(uuid_text(0x0123_4567_89ab_4def_8123_4567_89ab_cdef), "01234567-89ab-4def-8123-456789abcdef");
        assert_eq!(first.len(), 36);
        assert_eq!(&first[14..15], "4");
        assert!("89ab".contains(&first[19..20]));
        assert_ne!(first, uuid_text(rng.uuid()));
        let id = rng.uuid();
        assert_eq!((parse_uuid(&uuid_text(id)), parse_uuid("none")), (Some(id), None));
    }
}
