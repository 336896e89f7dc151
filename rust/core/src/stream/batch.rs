//! How many records at the front of a lane make a batch.

use super::lane::{Lane, PendingRecord};
use super::protocol::Settings;

/// Number of records of the next batch: as many as `batch_size` and `batch_bytes_max` allow, at least the first one, and
/// none from the first on that does not `belong`.
pub(super) fn cut(lane: &Lane, settings: &Settings, belongs: impl Fn(&PendingRecord) -> bool) -> usize {
    let mut bytes = 0;
    let mut count = 0;
    for record in lane.pending.iter().take(settings.batch_size as usize) {
        bytes += u64::from(record.bytes);
        if count > 0 && (bytes > settings.batch_bytes_max || !belongs(record)) {
            break;
        }
        count += 1;
    }
    count
}

/// Whether a batch has no reason to wait for more records.
pub(super) fn is_full(lane: &Lane, settings: &Settings) -> bool {
    lane.pending.len() >= settings.batch_size as usize || lane.bytes >= settings.batch_bytes_max
}
