//! What stands beside the store's file, judged without being changed: whether all of it was acknowledged (`acknowledged`), and what
//! was in flight (`attempts`). The reserve and the lock hold nothing that anybody reads.

use std::io;
use std::path::Path;

use forebay_store::attempt_journal::{torn_off, Ailments, BETWEEN_LOOKS, LOOKS, WITHOUT_SLOTS};
use forebay_store::damage_advice::numbers;
use forebay_store::directory::Directory;
use forebay_store::sqlite::witness::{Testimony, Witness};

use crate::survey::Damage;

/// What stands beside the file. Looked at first: the owner may commit meanwhile, and must not look as if it had lost something.
pub(crate) struct Beside {
    witness: Result<Testimony, String>,
    attempts: Vec<String>,
}

impl Beside {
    pub(crate) fn look(dir: &Path) -> Self {
        let dir = Directory::at(dir);
        Self { witness: witness(&dir.file("acknowledged")), attempts: attempts(&dir.file("attempts")) }
    }

    /// Tell what is wrong there, beside a store that holds so many commits (`None`: it is not known).
    pub(crate) fn tell(&self, commits: Option<u64>, found: &mut Damage) {
        match (&self.witness, commits) {
            (Ok(testimony), Some(commits)) => {
                let seen = testimony.seen();
                if commits < seen {
                    found.tell(&format!("acknowledged commits are missing: {}", numbers(commits + 1, seen)));
                }
                if let Some(ailment) = testimony.ailment(commits) {
                    found.tell(&format!("{ailment}; a start begins it anew"));
                }
            }
            (Ok(_), None) => {}
            (Err(text), _) => found.tell(&format!("{text}; no app starts with it")),
        }
        for ailment in &self.attempts {
            found.tell(ailment);
        }
    }
}

/// What the witness says; an error of a file that cannot be read is told as damage.
fn witness(file: &Path) -> Result<Testimony, String> {
    let look = || Witness::look(file).map_err(|error| format!("the file acknowledged cannot be read: {error}"));
    let mut found = look()?;
    for _ in 1..LOOKS {
        if !matches!(found, Testimony::Nothing(_)) {
            break;
        }
        std::thread::sleep(BETWEEN_LOOKS);
        found = look()?;
    }
    Ok(found)
}

/// What is wrong with the attempts file, and what follows. A store that was copied without it, or salvaged, has none.
fn attempts(file: &Path) -> Vec<String> {
    let mut ailments = match look_at_attempts(file) {
        Ok(found) => found,
        Err(error) => return vec![format!("the file attempts cannot be read: {error}; no app starts with it")],
    };
    for _ in 1..LOOKS {
        if ailments == Ailments::default() {
            return Vec::new();
        }
        std::thread::sleep(BETWEEN_LOOKS);
        // What is damaged stays as it is; what is just being written does not.
        let Ok(again) = look_at_attempts(file) else { break };
        ailments.damaged.retain(|slot| again.damaged.binary_search(slot).is_ok());
        ailments.torn = ailments.torn.and(again.torn);
        ailments.refused = ailments.refused.and(again.refused);
    }
    told(&ailments)
}

fn look_at_attempts(file: &Path) -> io::Result<Ailments> {
    match Ailments::look(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Ailments::default()),
        found => found,
    }
}

fn told(ailments: &Ailments) -> Vec<String> {
    let mut told = Vec::new();
    if let Some(why) = &ailments.refused {
        told.push(format!(
            "the file attempts is not an attempts file: {why}; no app starts with it, and without it {WITHOUT_SLOTS}"
        ));
    }
    let slots = ailments.damaged.len();
    if slots > 0 {
        told.push(format!(
            "{slots} of the slots of the file attempts cannot be read; a start clears them: {WITHOUT_SLOTS}"
        ));
    }
    if let Some(bytes) = ailments.torn {
        told.push(torn_off(bytes));
    }
    told
}
