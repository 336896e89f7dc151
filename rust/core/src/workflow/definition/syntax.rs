//! Whether a text is a path, an intrinsic function, an expression, a time.

use super::variables;
use crate::workflow::intrinsic::Intrinsic;
use crate::workflow::jsonata::{expression_in, Expression};
use crate::workflow::path::{Path, ReferencePath};
use crate::workflow::scope::Problem;
use crate::workflow::timestamp::Timestamp;

pub(super) fn is_path(text: &str) -> bool {
    Path::parse(text).is_ok()
}

/// Names and indices only, of the input, the context object or a variable.
pub(super) fn is_reference_path(text: &str) -> bool {
    ReferencePath::parse(text).is_ok() || Path::parse(text).is_ok_and(|path| path.is_definite())
}

pub(super) fn is_intrinsic(text: &str) -> bool {
    text.starts_with("States.") && Intrinsic::parse(text).is_ok()
}

pub(super) fn is_timestamp(text: &str) -> bool {
    Timestamp::parse(text).is_some()
}

/// Whether a text of a JSONata state is an expression: `{% … %}`, and nothing around it.
pub(super) fn is_expression(text: &str) -> bool {
    expression_in(text).is_some()
}

/// Whether a text of a JSONata state begins or ends as an expression does. AWS refuses one that does only one of both, and as recorded takes
/// one with blanks around it for a text.
pub(super) fn has_marks(text: &str) -> bool {
    text.starts_with("{%") || text.ends_with("%}")
}

/// Whether an expression reads a field of `$states`.
pub(super) fn reads_of_states(text: &str, field: &str) -> bool {
    expression_in(text).is_some_and(|program| variables::reads_of_states(program, field))
}

/// Whether an expression can be read.
pub(super) fn check_expression(text: &str) -> Result<(), Problem> {
    Expression::parse(expression_in(text).unwrap_or(text), "").map(|_| ())
}
