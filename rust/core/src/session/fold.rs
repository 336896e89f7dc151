//! Leaves out of a long list what says no more of a session than what stands before it.
//!
//! A statement may have a million rows, and a token for each value would take longer to store than to read. Of the rows of a
//! `VALUES` and the items of an `IN` that are literals, the first are enough.

use super::token::{Kind, Token};

/// What list a text is in while it is read.
#[derive(Clone, Copy, Debug)]
enum List {
    /// The items of an `IN`.
    Items,
    /// A row of a `VALUES`; one that says nothing more is left out at its end, with the comma before it.
    Row { open: usize, is_left_out: bool },
}

/// Folds the tokens of one text while they are read.
#[derive(Debug, Default)]
pub(crate) struct Fold {
    list: Option<List>,
    /// Tokens up to the end of the last row of literals; 0 when there is none.
    row_end: usize,
    /// A row with a minus was kept: PostgreSQL may run a function for it.
    has_minus: bool,
}

impl Fold {
    /// Take the next token.
    pub(crate) fn push<'t>(&mut self, tokens: &mut Vec<Token<'t>>, token: Token<'t>) {
        tokens.push(token);
        let last = tokens.len() - 1;
        if tokens[last].is_sign("(") {
            self.list = self.opened(tokens);
            return;
        }
        let Some(list) = self.list else { return };
        let (is_comma, is_value) = (tokens[last].is_sign(","), is_literal(&tokens[last]));
        self.list = match list {
            List::Items if is_value => {
                if tokens[last - 1].is_sign(",") && is_literal(&tokens[last - 2]) {
                    tokens.truncate(last - 1);
                }
                Some(list)
            }
            List::Row { open, is_left_out } if tokens[last].is_sign(")") => {
                if is_left_out {
                    tokens.truncate(open - 1);
                }
                self.row_end = tokens.len();
                None
            }
            List::Row { open, is_left_out } if tokens[last].is_sign("-") => {
                let is_left_out = is_left_out && self.has_minus;
                self.has_minus = true;
                Some(List::Row { open, is_left_out })
            }
            _ if is_comma || is_value => Some(list),
            _ => None,
        };
    }

    /// The list that the last token opens.
    fn opened(&self, tokens: &[Token<'_>]) -> Option<List> {
        let (open, before) = tokens.split_last().map(|(_, before)| (before.len(), before))?;
        let (word, before) = before.split_last()?;
        if word.is_sign(",") && self.row_end > 0 && self.row_end == before.len() {
            return Some(List::Row { open, is_left_out: true });
        }
        if before.last().is_some_and(|point| point.is_sign(".")) {
            return None; // it is a name
        }
        if word.is("values") || word.is("value") {
            return Some(List::Row { open, is_left_out: false });
        }
        word.is("in").then_some(List::Items)
    }
}

fn is_literal(token: &Token<'_>) -> bool {
    match token.kind {
        Kind::Text | Kind::Number | Kind::Parameter => true,
        Kind::Word => matches!(&*token.value, "null" | "true" | "false"),
        _ => false,
    }
}
