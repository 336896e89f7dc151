//! Pages of a list, and the tokens that lead from one to the next. A token names the last item that was given: nothing is kept for it.

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::Engine as _;

/// Begins every token, in front of a sum of what follows.
const VERSION: u8 = 1;

/// Where a page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token(Option<String>);

impl Token {
    /// Read a token; without one, the list's beginning. `None`: it is none of ours, or was altered.
    pub(super) fn read(text: Option<&str>) -> Option<Self> {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Some(Self(None)) };
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (head, name) = bytes.split_at_checked(5)?;
        let is_ours = head[0] == VERSION && head[1..] == crc32fast::hash(name).to_be_bytes();
        String::from_utf8(name.to_vec()).ok().filter(|_| is_ours).map(|name| Self(Some(name)))
    }

    /// Write a token that leads on from an item.
    pub(super) fn after(name: &str) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend(crc32fast::hash(name.as_bytes()).to_be_bytes());
        bytes.extend(name.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The item after which it leads on.
    pub(super) fn name(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

/// A page of at most `most` items out of a list that is sorted by `name`, and the token of the next page.
pub(super) fn page<T>(sorted: Vec<T>, most: usize, from: Token, name: impl Fn(&T) -> &str) -> (Vec<T>, Option<String>) {
    let mut items: Vec<T> = match from.0 {
        Some(last) => sorted.into_iter().filter(|item| name(item) > last.as_str()).collect(),
        None => sorted,
    };
    let has_more = items.len() > most;
    items.truncate(most);
    let next = items.last().filter(|_| has_more).map(|item| Token::after(name(item)));
    (items, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_without_gap_or_repetition() {
        let names = ["a", "b", "c", "d", "e"];
        let (mut seen, mut token) = (Vec::new(), None);
        loop {
            let from = Token::read(token.as_deref()).unwrap();
            let (items, next) = page(names.to_vec(), 2, from, |name| name);
            seen.extend(items);
            token = next;
            if token.is_none() {
                break;
            }
        }
        assert_eq!(seen, names);
    }

    #[test]
    fn an_altered_token_is_refused() {
        let token = Token::after("orders");
        assert_eq!(Token::read(Some(&token)), Some(Token(Some("orders".into()))));
        for wrong in ["x", &token[1..], &format!("{token}A"), "AAAAAAAA"] {
            assert_eq!(Token::read(Some(wrong)), None, "{wrong}");
        }
    }
}
