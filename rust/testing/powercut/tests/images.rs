//! The power goes at any moment of a store's life: the file opens, and holds what was acknowledged, whole.
//!
//! `make deep` builds more images than the ordinary run.
#![allow(clippy::unwrap_used)]

#[path = "../../../store/tests/common/mod.rs"]
mod common;

use std::fs::File;
use std::path::Path;

use common::{append, content, count, quick_dir, remove, seed, set, trim, Content};
use forebay_powercut::disk::{Disk, Event};
use forebay_powercut::image::{lay, Moment, Random};
use forebay_store::memory::MemoryStore;
use forebay_store::port::{BlockingStore as _, Durability, Store as _, Table, Write};
use forebay_store::sqlite::SqliteStore;

const IMAGES: u64 = 2_000;
const IMAGES_OF_A_LIFE: u64 = 100;
const COMMITS: u64 = 40;
const SHARDS: [u32; 3] = [0, 1, 2];
const WITNESS: &str = "acknowledged";
const RESERVE_BYTES: u64 = 4 << 20;

/// What a store did and what it held after each commit.
struct Life {
    events: Vec<Event>,
    contents: Vec<Content>,
}

fn writes(number: u64, next: &mut [u64; 3], random: &mut Random) -> Vec<Write> {
    let mut writes = vec![set(Table::Meta, b"number", &number.to_be_bytes())];
    for _ in 0..=random.below(3) {
        let shard = random.below(3) as usize;
        let key = [b'k', random.below(20) as u8];
        match random.below(8) {
            0..=3 => {
                let count = 1 + [3, 300, 6_000][random.below(3) as usize] * (1 + random.below(9)) / 9;
                writes.push(append(shard as u32, next[shard], count));
                next[shard] += count;
            }
            4 => writes.push(trim(shard as u32, next[shard] / 2)),
            5 => writes.push(set(Table::Failure, &key, &vec![number as u8; random.below(9_000) as usize])),
            6 => writes.push(set(Table::Checkpoint, &key, &number.to_be_bytes())),
            _ => writes.push(remove(Table::Failure, &key)),
        }
    }
    writes
}

/// Commits of all sizes, room given back, restarts in order: every way in which the store writes.
fn live(seed: u64, durability: Durability) -> Life {
    let dir = quick_dir();
    set_room_aside(dir.path());
    let disk = Disk::at(dir.path());
    disk.record();
    let mut random = Random(seed);
    let mut model = MemoryStore::new();
    let mut contents = vec![content(&model, &SHARDS).unwrap()];
    let mut next = [0; 3];
    let mut store = SqliteStore::open(dir.path(), durability).unwrap();
    disk.look_beside(WITNESS);
    for number in 1..=COMMITS {
        let writes = writes(number, &mut next, &mut random);
        store.commit(&writes).unwrap();
        disk.look_beside(WITNESS);
        disk.mark(number);
        model.commit(&writes).unwrap();
        contents.push(content(&model, &SHARDS).unwrap());
        match random.below(12) {
            0 => drop(store.give_back().unwrap()),
            1 => {
                drop(store);
                store = SqliteStore::open(dir.path(), durability).unwrap();
                disk.look_beside(WITNESS);
            }
            _ => {}
        }
    }
    drop(store);
    Life { events: disk.events(), contents }
}

/// The reserve, without its bytes: they would be most of the work, and the operating system writes them, not SQLite.
fn set_room_aside(dir: &Path) {
    File::create(dir.join("reserve")).unwrap().set_len(RESERVE_BYTES).unwrap();
}

/// Number of the last commit found, which must be whole.
fn found(dir: &Path, life: &Life, durability: Durability, what: &str) -> u64 {
    set_room_aside(dir);
    let mut store = SqliteStore::open(dir, durability).unwrap_or_else(|error| panic!("{what}: {error}"));
    let number = store.reader().unwrap().get(Table::Meta, b"number").unwrap();
    let number = number.map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().unwrap()));
    let held = content(&store, &SHARDS).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(held == life.contents[number as usize], "{what}: commit {number} is there in part");
    store.commit(&[set(Table::Meta, b"number", b"it goes on")]).unwrap_or_else(|error| panic!("{what}: {error}"));
    number
}

/// Cut the power at many moments; gives how often the commit under way was there, how often not, and what was lost at most.
fn survives(durability: Durability) {
    let (images, first) = (count(IMAGES), seed(0));
    let (mut under_way_kept, mut lost_most, mut built) = (0, 0, 0);
    for seed in first..first + images.div_ceil(IMAGES_OF_A_LIFE) {
        let life = live(seed, durability);
        let mut random = Random(seed ^ 0xc07);
        let mut cuts: Vec<u64> = (0..IMAGES_OF_A_LIFE).map(|_| random.below(life.events.len() as u64 + 1)).collect();
        cuts.sort_unstable();
        let mut moment = Moment::first(&life.events);
        for at in cuts {
            moment.advance(at as usize);
            let dir = quick_dir();
            lay(&moment.cut(&mut random), dir.path()).unwrap();
            let what = format!("{durability:?}, seed {seed}, cut before event {at} of {}", life.events.len());
            let number = found(dir.path(), &life, durability, &what);
            assert!(number <= moment.mark + 1, "{what}: commit {number} was never begun");
            if durability == Durability::PowerLoss {
                assert!(number >= moment.mark, "{what}: {} was acknowledged, {number} is the last one", moment.mark);
            }
            under_way_kept += u64::from(number > moment.mark);
            lost_most = lost_most.max(moment.mark.saturating_sub(number));
            built += 1;
        }
    }
    println!(
        "figures {{\"images_{durability:?}\": {built}, \"newest_commits_lost_{durability:?}_most\": {lost_most}}}"
    );
    // Without syncs the end of a commit is on the disk by luck alone: in 500 images it may be there in none.
    let may_be_none = durability == Durability::ProcessCrash;
    assert!(under_way_kept > 0 || may_be_none, "no cut fell between a commit's sync and its acknowledgement");
    assert_eq!(lost_most > 0, durability == Durability::ProcessCrash, "what was not synced is lost in some image");
}

#[test]
fn a_power_cut_loses_nothing_acknowledged() {
    survives(Durability::PowerLoss);
}

#[test]
fn without_syncs_a_power_cut_loses_the_newest_commits_and_damages_nothing() {
    survives(Durability::ProcessCrash);
}

#[test]
fn a_disk_that_lies_about_its_syncs_is_found_out() {
    let life = live(1, Durability::PowerLoss);
    let lies: Vec<Event> = life.events.iter().filter(|event| !matches!(event, Event::Sync { .. })).cloned().collect();
    let mut moment = Moment::first(&lies);
    moment.advance(lies.len());
    let mut random = Random(1);
    let sound = (0..50).filter(|_| {
        let dir = quick_dir();
        lay(&moment.cut(&mut random), dir.path()).unwrap();
        let opened = SqliteStore::open(dir.path(), Durability::PowerLoss);
        opened.is_ok_and(|store| content(&store, &SHARDS).is_ok_and(|held| held == life.contents[COMMITS as usize]))
    });
    assert!(sound.count() < 25, "the images would show a lost acknowledgement");
}
