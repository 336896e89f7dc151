//! What is said of damage everywhere: which numbers are missing, and what to do about it, which every error that tells of some has.

use std::path::Path;

use crate::port::StoreError;

/// Numbers of commits or positions as people write them, both ends included: `3 to 9`, or `3` alone.
pub fn numbers(first: u64, last: u64) -> String {
    if first == last {
        return first.to_string();
    }
    format!("{first} to {last}")
}

/// An error with what is damaged, where, and what to do next, if it tells of damage.
pub fn advised(directory: Option<&Path>, error: StoreError) -> StoreError {
    let (StoreError::Corrupt(what), Some(directory)) = (&error, directory) else { return error };
    let store = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    let store = store.display();
    let file = if what.starts_with("the file ") { String::new() } else { format!("{store}/forebay.db: ") };
    StoreError::Corrupt(format!(
        "{file}{what}. It is kept as it is. Next: `forebay doctor --store {store}` tells all that is wrong; \
         `forebay doctor --store {store} --salvage TARGET` copies what is whole into a new store"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The advice to remove a file was taken for the name of the one that is damaged.
    #[test]
    fn the_file_that_is_damaged_is_named_once() {
        let said = |what: &str| advised(Some(Path::new("/data")), StoreError::Corrupt(what.into())).to_string();
        assert!(said("acknowledged commits are missing: 2. Whoever removes the file `acknowledged`")
            .contains("/data/forebay.db: acknowledged commits"));
        assert!(!said("the file /data/attempts is not an attempts file").contains("forebay.db"));
    }
}
