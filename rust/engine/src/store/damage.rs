//! What to do about damage: said here, and handed on with every error that tells of some.

use std::path::Path;

use crate::port::StoreError;

/// An error with what is damaged, where, and what to do next, if it tells of damage.
pub(crate) fn advised(directory: Option<&Path>, error: StoreError) -> StoreError {
    let (StoreError::Corrupt(what), Some(directory)) = (&error, directory) else { return error };
    let store = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    let store = store.display();
    let file = if what.contains("the file ") { String::new() } else { format!("{store}/forebay.db: ") };
    StoreError::Corrupt(format!(
        "{file}{what}. It is kept as it is. Next: `forebay doctor --store {store}` tells all that is wrong; \
         `forebay doctor --store {store} --salvage TARGET` copies what is whole into a new store"
    ))
}
