//! Documents of workflows: the input of an execution, the output of a task.

use forebay_core::workflow::machine::{Data, DataError, DATA_MAX};

use crate::base::error::EngineError;

/// Read a document; `what` names it in the refusal.
pub(crate) fn read_document(what: &str, text: &str) -> Result<Data, EngineError> {
    if text.len() > DATA_MAX {
        return Err(EngineError::TooLarge(format!("{what} has {} bytes: allowed are {DATA_MAX}", text.len())));
    }
    Data::parse(text).map_err(|error| {
        let why = match error {
            DataError::NotJson(why) => why,
            DataError::TooDeep => "it is nested too deep".into(),
        };
        EngineError::Invalid(format!("Invalid {what}: '{why}'"))
    })
}
