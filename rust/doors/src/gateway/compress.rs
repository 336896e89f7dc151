//! Answers of REST APIs that are compressed: with gzip, where the client takes it.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use flate2::write::GzEncoder;
use flate2::Compression;
use forebay_core::gateway::answer::Answer;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::aside::Aside;
use crate::gateway::body::room_for;
use crate::gateway::head::Head;

/// Bytes that are compressed on the thread of the gateway.
const COMPRESSED_HERE_MAX: usize = 64 * 1024;

/// How long an answer waits for a place at which it is compressed; it goes out as it is then.
const PATIENCE: Duration = Duration::from_secs(1);

/// KiB of answers that are compressed or wait for it. Those that wait for their templates have a room of their own: their integrations
/// have done their work, and without room such an answer is lost.
const ROOM_KIB: usize = 64 << 10;

/// Where large answers are compressed.
pub(super) struct Compressing {
    places: Aside,
    room: Arc<Semaphore>,
}

impl Compressing {
    pub(super) fn new() -> Self {
        Self { places: Aside::new(0), room: Arc::new(Semaphore::new(ROOM_KIB)) }
    }
}

/// An answer as the API compresses it: with gzip, from so many bytes on, where the client takes it.
pub(super) async fn compressed(mut answer: Answer, least: Option<u32>, head: &Head<'_>, by: &Compressing) -> Answer {
    let accepts = head
        .headers
        .iter()
        .any(|(name, value)| name.eq_ignore_ascii_case("accept-encoding") && value.split(',').any(takes_gzip));
    let is_coded = answer.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-encoding"));
    let is_large = least.is_some_and(|least| answer.body.len() >= least as usize);
    if is_coded || !is_large || answer.body.is_empty() {
        return answer;
    }
    // A cache on the way has to keep both.
    answer.headers.push(("Vary".into(), "Accept-Encoding".into()));
    if !accepts {
        return answer;
    }
    if answer.body.len() <= COMPRESSED_HERE_MAX {
        return gzipped(answer);
    }
    // All other requests would wait for it.
    let Some(_room) = room_for(answer.body.len(), &by.room) else { return answer };
    match timeout(PATIENCE, by.places.place_in_any_case()).await {
        Ok(Some(place)) => {
            let told = place.run(move || gzipped(answer)).await;
            told.unwrap_or_else(|_| Answer::message(500, "Internal server error"))
        }
        Ok(None) | Err(_) => answer,
    }
}

fn gzipped(mut answer: Answer) -> Answer {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // Writing to memory does not fail.
    if let Ok(body) = encoder.write_all(&answer.body).and_then(|()| encoder.finish()) {
        answer.body = body;
        answer.headers.push(("Content-Encoding".into(), "gzip".into()));
    }
    answer
}

/// Whether a member of `Accept-Encoding` takes gzip: `gzip;q=0` does not.
fn takes_gzip(member: &str) -> bool {
    let (coding, parameters) = member.split_once(';').unwrap_or((member, "q=1"));
    let weight = parameters.trim().strip_prefix(['q', 'Q']).and_then(|rest| rest.trim().strip_prefix('='));
    coding.trim().eq_ignore_ascii_case("gzip")
        && weight.and_then(|weight| weight.trim().parse::<f32>().ok()).is_some_and(|weight| weight > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_says_whether_it_takes_gzip() {
        for (member, expected) in [
            ("gzip", true),
            (" GZIP ; q=0.5", true),
            ("gzip;q=1", true),
            ("gzip;q=0", false),
            ("gzip; q=0.000", false),
            ("gzip;q=", false),
            ("gzipped", false),
            ("br", false),
        ] {
            assert_eq!(takes_gzip(member), expected, "{member}");
        }
    }
}
