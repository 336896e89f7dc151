//! CloudWatch Logs: the tokens that lead on through the events of a group.

use crate::aws::fault::Fault;
use crate::aws::services::logs::invalid;
use crate::aws::services::page::Token;

/// The token that leads on from a position, or to what lies before it.
pub(super) fn token_of(is_forward: bool, position: u64) -> String {
    Token::after(&format!("{}/{position}", if is_forward { "f" } else { "b" }))
}

/// Which way a token leads, and from where.
pub(super) fn place(token: &str) -> Result<(bool, u64), Fault> {
    let wrong = || invalid("The specified nextToken is invalid.");
    let token = Token::read(Some(token)).ok_or_else(wrong)?;
    let (direction, position) = token.name().and_then(|name| name.split_once('/')).ok_or_else(wrong)?;
    let is_forward = match direction {
        "f" => true,
        "b" => false,
        _ => return Err(wrong()),
    };
    Ok((is_forward, position.parse().map_err(|_| wrong())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// They were `f/12`, which a client could write itself.
    #[test]
    fn a_token_of_events_reads_back_and_an_altered_one_is_refused() {
        for (is_forward, position) in [(true, 12), (false, 0)] {
            let token = token_of(is_forward, position);
            assert_eq!(place(&token).unwrap(), (is_forward, position));
            for wrong in [&token[1..], &format!("{token}A"), "", "f/12", &Token::after("x/12"), &Token::after("f/x")] {
                assert!(place(wrong).is_err(), "{wrong}");
            }
        }
    }
}
