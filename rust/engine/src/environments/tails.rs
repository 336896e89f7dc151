//! The last of what invocations write, for whoever asks for it with the invocation (`LogType` of Lambda's `Invoke`).

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes that are kept of one invocation.
/// <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html#lambda-Invoke-response-LogResult>
pub const TAIL_BYTES: usize = 4096;

/// What is known of one invocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The last of its lines.
    pub text: Vec<u8>,
    /// The memory that it may have and the most that it had, bytes, where it had a process of its own.
    pub memory: Option<(u64, u64)>,
}

/// The invocations whose lines are wanted.
#[derive(Debug, Default)]
pub struct Tails {
    count: AtomicUsize,
    wanted: Mutex<HashMap<u128, Written>>,
}

impl Tails {
    /// Keep what an invocation writes from now on.
    pub(crate) fn of(self: &Arc<Self>, request: u128) -> Tail {
        self.lock().insert(request, Written::default());
        self.count.fetch_add(1, Ordering::Release);
        Tail { request, tails: Arc::clone(self) }
    }

    /// Whether the lines of any invocation are wanted.
    pub fn any(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    /// Take what an invocation has written, if somebody wants it.
    pub fn add(&self, request: u128, text: &[u8]) {
        if !self.any() {
            return;
        }
        if let Some(written) = self.lock().get_mut(&request) {
            written.text.extend_from_slice(&text[text.len().saturating_sub(TAIL_BYTES)..]);
            let over = written.text.len().saturating_sub(TAIL_BYTES);
            written.text.drain(..over);
        }
    }

    /// Take how much memory an invocation may have, and has had at most, bytes.
    pub(crate) fn measured(&self, request: u128, limit: u64, peak: u64) {
        if let Some(written) = self.lock().get_mut(&request) {
            written.memory = Some((limit, peak));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u128, Written>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lines of one invocation. They are forgotten with it.
#[derive(Debug)]
pub struct Tail {
    /// The invocation's id.
    pub request: u128,
    tails: Arc<Tails>,
}

impl Tail {
    /// What was written so far.
    pub fn written(&self) -> Written {
        self.tails.lock().get(&self.request).cloned().unwrap_or_default()
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.tails.lock().remove(&self.request);
        self.tails.count.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bytes_of_an_invocation_are_kept_until_it_is_forgotten() {
        let tails = Arc::<Tails>::default();
        tails.add(1, b"nobody asked\n");
        let (one, other) = (tails.of(1), tails.of(2));
        assert!(tails.any());
        tails.add(1, b"first\n");
        tails.add(1, &[b'x'; TAIL_BYTES]);
        tails.add(1, b"last\n");
        tails.add(2, b"other\n");
        tails.measured(2, 128, 40);
        assert_eq!(one.written().text, [&[b'x'; TAIL_BYTES - 5][..], b"last\n"].concat());
        assert_eq!(other.written(), Written { text: b"other\n".to_vec(), memory: Some((128, 40)) });
        drop((one, other));
        assert!(!tails.any() && tails.lock().is_empty());
    }
}
