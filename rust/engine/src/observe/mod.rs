//! What is counted, remembered and told to an operator.

pub(crate) mod history;
pub(crate) mod meters;
pub(crate) mod operator_events;
