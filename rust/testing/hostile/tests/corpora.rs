//! Every target takes its seeds, the inputs that were found worth keeping, and changes of both: whole ones changed at random, pieces
//! glued together. It may refuse them, and must neither panic nor take long.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::{Duration, Instant};

use forebay_hostile::{Target, TARGETS};

/// What each target is given, and no longer than so many seconds.
const CHANGED: u64 = 20_000;
const SECONDS: u64 = 2;
/// No input may take longer, whatever else the machine does.
const SLOWEST: Duration = Duration::from_secs(1);

/// A small generator of numbers, so that a failure can be repeated from its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % limit
    }
}

/// Change, cut, repeat, glue.
fn changed(corpus: &[Vec<u8>], seed: u64) -> Vec<u8> {
    let mut random = Random(seed ^ 0x9e37_79b9_7f4a_7c15);
    random.below(1);
    let mut bytes = corpus[random.below(corpus.len())].clone();
    for _ in 0..random.below(6) {
        let at = random.below(bytes.len() + 1);
        let odd = [0, 1, 0x7f, 0x80, 0xff, b'"', b'{', b'[', b'\\', b'0'][random.below(10)];
        match random.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at] = odd,
            2 => bytes.insert(at, odd),
            3 => bytes.truncate(at),
            4 => {
                let piece = bytes[..at].to_vec();
                bytes.extend(piece);
            }
            5 => {
                let other = &corpus[random.below(corpus.len())];
                bytes.truncate(at);
                bytes.extend_from_slice(&other[random.below(other.len() + 1)..]);
            }
            _ => {
                let word = [0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX][random.below(5)];
                for (place, byte) in bytes.iter_mut().skip(at).take(4).zip(u32::to_le_bytes(word)) {
                    *place = byte;
                }
            }
        }
    }
    bytes.truncate(1 << 16);
    bytes
}

/// Give an input; tell whether it made sense.
fn give(target: &Target, bytes: &[u8], which: &str) -> bool {
    let begun = Instant::now();
    let ended = std::panic::catch_unwind(|| (target.takes)(bytes));
    let name = target.name;
    let understood = ended.unwrap_or_else(|_| panic!("{name}: {which}: {:?}", String::from_utf8_lossy(bytes)));
    assert!(begun.elapsed() < SLOWEST, "{name}: {which} took {:?}", begun.elapsed());
    understood
}

fn kept(target: &Target) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let Ok(files) = std::fs::read_dir(folder) else { return Vec::new() };
    let named =
        |file: std::fs::DirEntry| (file.file_name().into_string().unwrap(), std::fs::read(file.path()).unwrap());
    files.map(|file| named(file.unwrap())).collect()
}

fn try_target(target: &Target) {
    let mut corpus = (target.seeds)();
    let understood = corpus.iter().filter(|bytes| give(target, bytes, "a seed")).count();
    assert!(understood > 0, "{}: none of its seeds makes sense any more", target.name);
    for (name, bytes) in kept(target) {
        give(target, &bytes, &name);
        corpus.push(bytes);
    }
    let until = Instant::now() + Duration::from_secs(SECONDS);
    for seed in (0..CHANGED).take_while(|_| Instant::now() < until) {
        give(target, &changed(&corpus, seed), &format!("change {seed}"));
    }
}

/// A test for each target, so that they run beside one another.
macro_rules! targets {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                try_target(&forebay_hostile::target(&stringify!($name).replace('_', "-")).unwrap());
            }
        )*

        #[test]
        fn no_target_is_forgotten() {
            let tried = [$(stringify!($name).replace('_', "-")),*];
            assert!(TARGETS.iter().map(|target| target.name).eq(tried.iter().map(String::as_str)));
        }
    };
}

targets! {
    assignments attempts aws_bodies aws_frames aws_rest aws_signatures batches chunks environments filters frames gateway_heads gateway_messages histograms http2 json jwt metrics_page output policies recovery requests
    routes rows runtime_api tables templates texts
}
