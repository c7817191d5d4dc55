//! Compaction: what stays and what goes, and what a process that ends in the middle of it leaves.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::AtomicBool;

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
static GOES_ON: AtomicBool = AtomicBool::new(false);

/// A key and a value; without a value it is a tombstone.
fn keyed(key: u8, value: Option<&[u8]>) -> Vec<u8> {
    let mut payload = vec![key, u8::from(value.is_some())];
    payload.extend_from_slice(value.unwrap_or_default());
    payload
}

fn role_of(payload: &[u8]) -> Role<'_> {
    match payload {
        [] => Role::Dropped,
        [_] => Role::Kept,
        [_, 0, ..] => Role::Tombstone(&payload[..1]),
        _ => Role::Last(&payload[..1]),
    }
}

fn put(log: &mut Log, key: u8, value: Option<&[u8]>) -> u64 {
    append(log, &[&keyed(key, value)]).start
}

/// Goes through with it, and tells how many files there were.
fn try_compact(log: &mut Log, now_ms: i64) -> Result<usize> {
    let mut compaction = log.compaction(role_of, now_ms, DAY_MS);
    let mut files = 0;
    loop {
        compaction.sync()?;
        log.remove_replaced()?;
        let Some(made) = compaction.next(&GOES_ON)? else { return Ok(files) };
        assert!(log.replace(made)?);
        files += 1;
    }
}

fn compact_at(log: &mut Log, now_ms: i64) -> usize {
    try_compact(log, now_ms).expect("compacted")
}

fn files(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("a file").file_name());
    let mut names: Vec<_> = entries.map(|name| name.into_string().expect("text")).collect();
    names.sort();
    names
}

/// Rounds of the same ten keys, each in a segment of its own, and one that is written to.
fn rounds(dir: &Path, count: u8) -> Log {
    let (mut log, _) = open(dir, LogOptions::default());
    for round in 0..count {
        for key in 0..10 {
            put(&mut log, key, Some(&[round; 30]));
        }
        log.begin_segment().expect("begun");
    }
    put(&mut log, 0, Some(b"young"));
    log
}

#[test]
fn the_last_entry_of_each_key_stays_at_its_offset() {
    let dir = folder();
    let mut log = rounds(dir.path(), 3);
    let before = contents(&log, 0).0;
    let bytes = log.bytes();
    assert_eq!(log.compactable(), (0, bytes - HEADER - 23));
    assert_eq!(compact_at(&mut log, 0), 1);
    // Of key 0 a younger one is in the segment that is written to, which is not looked at.
    let kept = LogOptions { verify: true, ..SMALL };
    for round in 0..2 {
        let (seen, progress) = contents(&log, 0);
        assert_eq!(seen, before[20..]);
        assert_eq!(progress, Progress { entries: 11, trimmed: 0, damaged: 0, compacted: 20 });
        assert_eq!(files(dir.path()), ["00000000000000000000.log", "00000000000000000030.log"]);
        assert_eq!((log.first_offset(), log.next_offset()), (0, 31));
        assert!(log.bytes() < bytes / 2 && log.compactable().1 == 0, "{round}: {}", log.bytes());
        let on_disk: u64 =
            files(dir.path()).iter().map(|name| dir.path().join(name).metadata().expect("there").len()).sum();
        assert_eq!(log.bytes(), on_disk);
        drop(log);
        let recovered;
        (log, recovered) = open(dir.path(), kept);
        assert_eq!(recovered, Recovered { entries: 11, ..Recovered::default() });
    }
    assert_eq!(put(&mut log, 3, Some(b"next")), 31);
    assert_eq!(compact_at(&mut log, 0), 0, "there is nothing new");
}

#[test]
fn a_reader_begins_in_a_gap_and_behind_it() {
    let dir = folder();
    let mut log = rounds(dir.path(), 3);
    compact_at(&mut log, 0);
    for from in 0..=31 {
        let (seen, progress) = contents(&log, from);
        assert_eq!(seen.first().map(|(offset, _)| *offset), (from < 31).then_some(from.max(20)));
        assert_eq!((progress.entries + progress.compacted, progress.damaged), (31 - from, 0));
    }
    let mut reader = log.reader(0);
    assert_eq!(reader.next_batch(5, usize::MAX, |_| unreachable!()).expect("read").compacted, 20);
    assert_eq!(reader.position(), 20, "what is passed over may end behind what was asked for");
}

#[test]
fn a_reader_that_has_a_file_open_goes_on_in_it() {
    let dir = folder();
    let mut log = rounds(dir.path(), 3);
    let before = contents(&log, 0).0;
    let mut reader = log.reader(0);
    let mut seen = Vec::new();
    reader.next_batch(4, usize::MAX, |entry| seen.push((entry.offset, entry.payload.to_vec()))).expect("read");
    compact_at(&mut log, 0);
    let rest = |entry: Entry<'_>| seen.push((entry.offset, entry.payload.to_vec()));
    let progress = reader.next_batch(u64::MAX, usize::MAX, rest).expect("read");
    assert_eq!((progress.damaged, progress.compacted), (0, 10), "of the file after the one that it had open");
    assert_eq!(seen, [&before[..10], &before[20..]].concat());
}

#[test]
fn what_is_appended_meanwhile_is_there_and_compacted_another_time() {
    let dir = folder();
    let mut log = rounds(dir.path(), 3);
    let mut compaction = log.compaction(role_of, 0, DAY_MS);
    put(&mut log, 1, Some(b"meanwhile"));
    log.begin_segment().expect("begun");
    put(&mut log, 2, Some(b"meanwhile"));
    let made = compaction.next(&GOES_ON).expect("made").expect("one");
    put(&mut log, 3, Some(b"meanwhile"));
    assert!(log.replace(made).expect("replaced") && compaction.next(&GOES_ON).expect("made").is_none());
    log.remove_replaced().expect("removed");
    assert_eq!(offsets(&log).0, (20..34).collect::<Vec<_>>());
    compact_at(&mut log, 0);
    assert_eq!(offsets(&log).0, (22..34).collect::<Vec<_>>(), "of two keys a younger one came");
}

#[test]
fn those_who_read_meanwhile_miss_nothing_that_stays() {
    const KEYS: u8 = 20;
    let dir = folder();
    let (mut log, _) = open(dir.path(), LogOptions { segment_bytes: 2_000, ..SMALL });
    put(&mut log, 0, Some(b"first"));
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let mut reader = log.reader(0);
                let ended = &ended;
                scope.spawn(move || {
                    let (mut passes, mut last) = (0, BTreeMap::new());
                    loop {
                        let over = ended.load(Ordering::Acquire);
                        reader.seek(0);
                        let mut next = 0;
                        last.clear();
                        let each = |entry: Entry<'_>| {
                            assert!(entry.offset >= next && matches!(role_of(entry.payload), Role::Last(_)));
                            next = entry.offset + 1;
                            last.insert(entry.payload[0], entry.offset);
                        };
                        let progress = reader.next_batch(u64::MAX, usize::MAX, each).expect("read");
                        assert_eq!((progress.damaged, progress.trimmed), (0, 0));
                        passes += 1;
                        if over {
                            return (passes, last);
                        }
                    }
                })
            })
            .collect();
        let mut expected = BTreeMap::new();
        for round in 0..60_u8 {
            for key in 0..KEYS {
                expected.insert(key, put(&mut log, key, Some(&[round; 40])));
            }
            compact_at(&mut log, 0);
        }
        ended.store(true, Ordering::Release);
        for reader in readers {
            let (passes, last) = reader.join().expect("no panic");
            assert!(passes > 0 && last == expected, "{last:?}");
        }
    });
}

#[test]
fn a_tombstone_takes_away_what_was_before_and_goes_later() {
    let dir = folder();
    let (mut log, _) = open(dir.path(), LogOptions::default());
    put(&mut log, 1, Some(b"value"));
    let tombstone = put(&mut log, 1, None);
    let other = put(&mut log, 2, Some(b"value"));
    let fill = |log: &mut Log| {
        log.begin_segment().expect("begun");
        put(log, 3, Some(b"v"));
    };
    fill(&mut log);
    let there = |log: &Log| offsets(log).0.contains(&tombstone);
    // However old it is when it is compacted first: whoever has read the value before is to see it.
    let first = now_ms() + 10 * DAY_MS;
    compact_at(&mut log, first);
    assert_eq!(offsets(&log).0, [tombstone, other, other + 1]);
    for after in [HOUR_MS, DAY_MS] {
        fill(&mut log);
        compact_at(&mut log, first + after);
        assert!(there(&log), "{after} ms later");
        drop(log);
        (log, _) = open(dir.path(), LogOptions::default());
    }
    fill(&mut log);
    compact_at(&mut log, first + DAY_MS + 1);
    assert!(!there(&log));
    assert_eq!(offsets(&log).0, [other, log.next_offset() - 2, log.next_offset() - 1]);
}

#[test]
fn what_has_no_key_goes_and_what_cannot_be_told_stays() {
    let dir = folder();
    let (mut log, _) = open(dir.path(), LogOptions::default());
    append(&mut log, &[b"", b"?", &keyed(1, Some(b"v")), b"", b"?"]);
    log.begin_segment().expect("begun");
    append(&mut log, &[b""]);
    compact_at(&mut log, 0);
    assert_eq!(offsets(&log).0, [1, 2, 4, 5]);
}

#[test]
fn what_was_damaged_stays_lost_and_counted() {
    let dir = folder();
    let log = rounds(dir.path(), 3);
    flip(&segment::path_of(dir.path(), 10), HEADER + 4 * 48 + 20);
    flip(&segment::path_of(dir.path(), 20), 3);
    let lost = offsets(&log).1.damaged;
    drop(log);
    let (mut log, _) = open(dir.path(), SMALL);
    compact_at(&mut log, 0);
    let (seen, progress) = offsets(&log);
    assert_eq!((lost, progress.damaged), (6, 16), "a header that is not whole is noticed only when it is read");
    assert_eq!(seen, [4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 30]);
    drop(log);
    let (log, recovered) = open(dir.path(), LogOptions { verify: true, ..SMALL });
    assert_eq!((recovered.entries, recovered.lost), (11, 16));
    assert_eq!(offsets(&log), (seen, progress));
}

#[test]
fn with_more_keys_than_there_is_room_for_it_goes_on_another_time() {
    let dir = folder();
    let mut log = rounds(dir.path(), 4);
    for left in [31, 21, 11] {
        let mut compaction = log.compaction(role_of, 0, DAY_MS);
        compaction.keys_bytes = 1; // a segment, then
        while let Some(made) = compaction.next(&GOES_ON).expect("made") {
            assert!(log.replace(made).expect("replaced"));
        }
        log.remove_replaced().expect("removed");
        if log.compactable().1 > 0 {
            assert!(offsets(&log).0.len() >= left, "{left}");
        }
    }
    compact_at(&mut log, 0);
    assert_eq!(offsets(&log).0, (30..41).collect::<Vec<_>>());
}

#[test]
fn what_is_trimmed_meanwhile_stays_away() {
    let dir = folder();
    let mut log = rounds(dir.path(), 3);
    let mut compaction = log.compaction(role_of, 0, DAY_MS);
    let made = compaction.next(&GOES_ON).expect("made").expect("one");
    log.trim_to(10).expect("trimmed");
    assert!(!log.replace(made).expect("no error"), "it would bring back what is gone");
    let mut compaction = log.compaction(role_of, 0, DAY_MS);
    log.trim_to(20).expect("trimmed");
    assert!(compaction.next(&GOES_ON).expect("no error").is_none());
    assert!(log.compaction(role_of, 0, DAY_MS).next(&AtomicBool::new(true)).expect("no error").is_none());
    assert_eq!(files(dir.path()), ["00000000000000000020.log", "00000000000000000030.log"]);
    assert_eq!(offsets(&log).0, (20..31).collect::<Vec<_>>());
}

#[test]
fn a_segment_that_others_were_put_into_stays_until_they_are_gone() {
    let dir = folder();
    let mut log = rounds(dir.path(), 3);
    let mut compaction = log.compaction(role_of, 0, DAY_MS);
    let made = compaction.next(&GOES_ON).expect("made").expect("one");
    assert!(log.replace(made).expect("replaced"));
    assert_eq!((log.trim_to(30).expect("not yet"), log.first_offset()), (0, 0));
    log.remove_replaced().expect("removed");
    assert_eq!((log.trim_to(30).expect("trimmed"), log.first_offset()), (30, 30));
}

/// What a compaction does to files.
const STEPS: [&str; 7] =
    ["sync what is read", "begin", "write", "write the header", "replace", "sync the folder", "remove"];

#[test]
fn a_process_that_ends_at_any_step_leaves_what_was_or_what_is_to_be() {
    let (dir, copies) = (folder(), folder());
    let mut log = rounds(dir.path(), 4);
    put(&mut log, 9, None);
    log.begin_segment().expect("begun");
    put(&mut log, 7, Some(b"young"));
    compact_at(&mut log, 0);
    put(&mut log, 8, Some(b"young"));
    log.begin_segment().expect("begun");
    put(&mut log, 7, Some(b"younger"));
    let before = contents(&log, 0).0;
    let steps = Rc::new(RefCell::new(Vec::new()));
    let (from, to, seen) = (dir.path().to_owned(), copies.path().to_owned(), steps.clone());
    faults::at_each_step(move |step| {
        let copy = to.join(seen.borrow().len().to_string());
        std::fs::create_dir(&copy).expect("made");
        for name in files(&from) {
            std::fs::copy(from.join(&name), copy.join(&name)).expect("copied");
        }
        seen.borrow_mut().push(step);
        Ok(())
    });
    compact_at(&mut log, 2 * DAY_MS);
    faults::at_each_step(|_| Ok(()));
    let after = contents(&log, 0).0;
    assert!(after.len() < before.len());
    let steps = steps.borrow();
    for step in STEPS {
        assert!(steps.contains(&step), "{step}: {steps:?}");
    }
    let (mut old, mut new) = (0, 0);
    for (number, step) in steps.iter().enumerate() {
        let copy = copies.path().join(number.to_string());
        let (mut log, _) = open(&copy, LogOptions { verify: true, ..LogOptions::default() });
        let (seen, progress) = contents(&log, 0);
        assert_eq!(progress.damaged, 0, "{step}");
        assert!(seen == before || seen == after, "{step}: {seen:?}");
        *(if seen == before { &mut old } else { &mut new }) += 1;
        assert!(files(&copy).iter().all(|name| segment::base_of(Path::new(name)).is_some()), "{step}");
        compact_at(&mut log, 2 * DAY_MS);
        assert_eq!(contents(&log, 0).0, after, "{step}");
    }
    assert!(old > 0 && new > 0, "{old} {new}");
}

#[test]
fn a_step_that_fails_leaves_what_was_or_what_is_to_be_and_the_next_compaction_goes_on() {
    for failing in STEPS {
        let dir = folder();
        let mut log = rounds(dir.path(), 4);
        let before = contents(&log, 0).0;
        let mut fails = true;
        faults::at_each_step(move |step| {
            if step == failing && std::mem::take(&mut fails) { Err(io::ErrorKind::Other.into()) } else { Ok(()) }
        });
        let error = try_compact(&mut log, 0).expect_err(failing);
        let (seen, progress) = contents(&log, 0);
        assert!(seen == before || (seen.len() == 11 && before.ends_with(&seen)), "{failing}: {seen:?}");
        assert_eq!(progress.damaged, 0, "{failing}");
        assert_eq!(error.fatal(), failing.starts_with("sync"), "{failing}: {error}");
        if error.fatal() {
            log.keep_sync_error(&error);
            assert_eq!(log.sync().expect_err("the system tells it once"), error);
            drop(log);
            (log, _) = open(dir.path(), LogOptions::default());
        }
        compact_at(&mut log, 0);
        faults::at_each_step(|_| Ok(()));
        assert_eq!(contents(&log, 0).0, before[30..], "{failing}");
        assert_eq!(files(dir.path()).len(), 2, "{failing}");
    }
}

#[test]
fn a_disk_that_is_full_leaves_all_as_it_was() {
    let dir = folder();
    let mut log = rounds(dir.path(), 3);
    let (before, bytes, names) = (contents(&log, 0), log.bytes(), files(dir.path()));
    for room in [0, 40, 500] {
        faults::leave_room(room);
        let error = log.compaction(role_of, 0, DAY_MS).next(&GOES_ON).expect_err("no room");
        faults::leave_room(usize::MAX);
        assert!(error.retriable() && error.message().contains("free space"), "{error}");
        assert_eq!((contents(&log, 0), log.bytes(), files(dir.path())), (before.clone(), bytes, names.clone()));
    }
    private::synced::call_first(|| Err(io::ErrorKind::StorageFull.into()));
    log.compaction(role_of, 0, DAY_MS)
        .next(&GOES_ON)
        .expect_err("what takes the place of others is on the disk before");
    private::synced::call_first(|| Ok(()));
    assert_eq!((contents(&log, 0), files(dir.path())), (before, names));
    compact_at(&mut log, 0);
    assert_eq!(offsets(&log).0, (20..31).collect::<Vec<_>>());
}

#[test]
fn a_log_whose_last_file_was_compacted_goes_on_behind_it() {
    let dir = folder();
    let mut log = rounds(dir.path(), 2);
    compact_at(&mut log, 0);
    drop(log);
    std::fs::remove_file(segment::path_of(dir.path(), 20)).expect("taken away");
    let (mut log, recovered) = open(dir.path(), SMALL);
    assert_eq!((recovered.entries, log.next_offset()), (10, 20));
    assert_eq!(put(&mut log, 1, Some(b"v")), 20);
    assert_eq!(offsets(&log).0, (10..21).collect::<Vec<_>>());
}

#[test]
fn a_version_before_refuses_what_was_compacted() {
    let dir = folder();
    let mut log = rounds(dir.path(), 2);
    compact_at(&mut log, 0);
    let bytes = std::fs::read(segment::path_of(dir.path(), 0)).expect("read");
    // What it looks at: the version, and the checksum of what is before it.
    assert_eq!((bytes[7], &bytes[24..28]), (2, &crc32fast::hash(&bytes[..24]).to_le_bytes()[..]));
}

#[derive(Clone, Debug)]
enum Step {
    Publish {
        key: u8,
        value: Option<Vec<u8>>,
    },
    Roll,
    /// So many files of it; the process ends after that, when there are more.
    Compact {
        files: usize,
    },
    Wait {
        hours: i64,
    },
    Trim(Index),
    Reopen,
    Read(Index, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (0..8_u8, of(vec(any::<u8>(), 0..40))).prop_map(|(key, value)| Step::Publish { key, value }),
        2 => Just(Step::Roll),
        3 => (0..4_usize).prop_map(|files| Step::Compact { files }),
        1 => (0..40_i64).prop_map(|hours| Step::Wait { hours }),
        1 => any::<Index>().prop_map(Step::Trim),
        1 => Just(Step::Reopen),
        2 => (any::<Index>(), 0..200_usize).prop_map(|(from, bytes)| Step::Read(from, bytes)),
    ];
    vec(step, 1..120)
}

/// All that was ever published and not trimmed, and when.
type Model = BTreeMap<u64, (u8, Vec<u8>, i64)>;

/// What is there is what was published, in order, and of each key the last one is there.
fn check(log: &Log, model: &Model, now_ms: i64) {
    let (seen, progress) = contents(log, 0);
    assert!(seen.is_sorted_by_key(|(offset, _)| *offset));
    assert!(seen.iter().all(|(offset, payload)| model[offset].1 == *payload));
    assert_eq!(progress.damaged, 0);
    assert_eq!(progress.entries + progress.compacted, log.next_offset() - log.first_offset());
    let last: BTreeMap<u8, u64> = model.iter().map(|(offset, (key, ..))| (*key, *offset)).collect();
    let last_seen: BTreeMap<u8, u64> = seen.iter().map(|(offset, payload)| (payload[0], *offset)).collect();
    for (key, offset) in last {
        let (_, payload, published_ms) = &model[&offset];
        let may_be_gone = payload[1] == 0 && now_ms - published_ms > DAY_MS;
        match last_seen.get(&key) {
            None => assert!(may_be_gone, "key {key}"),
            seen => assert_eq!(seen, Some(&offset), "key {key}"),
        }
    }
    assert_eq!(log.bytes(), super::model::files(log.path()).values().sum::<u64>());
}

fn run(steps: Vec<Step>, segment_bytes: u64) {
    let dir = folder();
    let options = LogOptions { segment_bytes, ..SMALL };
    let (mut log, _) = open(dir.path(), options);
    let (mut model, mut now_ms) = (Model::new(), 0);
    for step in steps {
        match step {
            Step::Publish { key, value } => {
                let payload = keyed(key, value.as_deref());
                let offset = log.append_at(now_ms, [&*payload]).expect("appended").start;
                model.insert(offset, (key, payload, now_ms));
            }
            Step::Roll => log.begin_segment().expect("begun"),
            Step::Compact { files } => {
                let mut compaction = log.compaction(role_of, now_ms, DAY_MS);
                for _ in 0..files {
                    let Some(made) = compaction.next(&GOES_ON).expect("made") else { break };
                    assert!(log.replace(made).expect("replaced"));
                    log.remove_replaced().expect("removed");
                }
            }
            Step::Wait { hours } => now_ms += hours * HOUR_MS,
            Step::Trim(to) => {
                log.trim_to(to.index(usize::try_from(log.next_offset()).expect("small") + 1) as u64).expect("trimmed");
                model = model.split_off(&log.first_offset());
            }
            Step::Reopen => {
                drop(log);
                (log, _) = open(dir.path(), options);
            }
            Step::Read(from, bytes) => {
                let next = log.next_offset();
                let from = from.index(usize::try_from(next).expect("small") + 1) as u64;
                let mut reader = log.reader(from);
                let mut seen = Vec::new();
                while reader.position() < next {
                    let before = reader.position();
                    let each = |entry: Entry<'_>| seen.push((entry.offset, entry.payload.to_vec()));
                    reader.next_batch(u64::MAX, bytes, each).expect("read");
                    assert!(reader.position() > before);
                }
                let all = contents(&log, 0).0;
                assert_eq!(seen, all.into_iter().filter(|(offset, _)| *offset >= from).collect::<Vec<_>>());
            }
        }
        check(&log, &model, now_ms);
    }
    log.begin_segment().expect("begun");
    compact_at(&mut log, now_ms);
    check(&log, &model, now_ms);
    let keys: Vec<_> = contents(&log, 0).0.into_iter().map(|(_, payload)| payload[0]).collect();
    let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
    assert_eq!(keys.len(), distinct.len(), "one of each");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn of_each_key_the_last_entry_is_there_whatever_happens(steps in steps(), segment_bytes in 60..2_000_u64) {
        run(steps, segment_bytes);
    }
}
