//! What the model in `tests/log.rs` cannot reach: single faults, and disks that fail.

use std::os::unix::fs::FileExt;

use super::*;
use tempfile::TempDir;

/// A disk with room for some bytes more.
pub(super) mod faults {
    use std::cell::{Cell, RefCell};
    use std::fs::File;
    use std::io;
    use std::os::unix::fs::FileExt;

    type Look = Box<dyn FnMut(&'static str) -> io::Result<()>>;

    thread_local! {
        static ROOM: Cell<usize> = const { Cell::new(usize::MAX) };
        static LOOK: RefCell<Option<Look>> = const { RefCell::new(None) };
    }

    /// From now on this thread calls `look` before each step of a compaction, which fails if that says so.
    pub(in super::super) fn at_each_step(look: impl FnMut(&'static str) -> io::Result<()> + 'static) {
        LOOK.set(Some(Box::new(look)));
    }

    pub(in super::super) fn reached(step: &'static str) -> io::Result<()> {
        LOOK.with_borrow_mut(|look| look.as_mut().map_or(Ok(()), |look| look(step)))
    }

    /// From now on only `bytes` can be written by this thread.
    pub(in super::super) fn leave_room(bytes: usize) {
        ROOM.set(bytes);
    }

    pub(in super::super) fn write_all_at(file: &File, bytes: &[u8], position: u64) -> io::Result<()> {
        let room = ROOM.get();
        if bytes.len() <= room {
            ROOM.set(room - if room == usize::MAX { 0 } else { bytes.len() });
            return file.write_all_at(bytes, position);
        }
        ROOM.set(0);
        file.write_all_at(&bytes[..room], position)?;
        Err(io::ErrorKind::StorageFull.into())
    }
}

mod compaction;
mod model;

pub(super) const SMALL: LogOptions = LogOptions { segment_bytes: 256, max_bytes: None, verify: false };

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

pub(super) fn open(dir: &Path, options: LogOptions) -> (Log, Recovered) {
    Log::open(dir, options).expect("opened")
}

fn append(log: &mut Log, payloads: &[&[u8]]) -> Range<u64> {
    log.append(payloads.iter().copied()).expect("appended")
}

#[test]
fn a_segment_ends_by_the_age_of_its_first_entry() {
    let dir = folder();
    let (mut log, _) = open(dir.path(), LogOptions::default());
    log.end_segment_begun_before(i64::MAX).expect("there is none");
    for time_ms in [1_000, 5_000] {
        log.append_at(time_ms, [&b"v"[..]]).expect("appended");
    }
    log.end_segment_begun_before(1_000).expect("nothing to be done");
    assert_eq!(log.compactable(), (0, 0));
    drop(log);
    let (mut log, _) = open(dir.path(), LogOptions::default());
    log.end_segment_begun_before(1_001).expect("ended");
    let (_, ended) = log.compactable();
    log.end_segment_begun_before(i64::MAX).expect("nothing was written since");
    assert!(ended > 0 && log.compactable() == (0, ended), "{:?}", log.compactable());
    assert_eq!(contents(&log, 0).0.len(), 2);
}

/// Ten entries of 100 bytes in each of some segments, and their paths.
fn filled(dir: &Path, segments: u64) -> (Log, Vec<PathBuf>) {
    let (mut log, _) = open(dir, LogOptions { segment_bytes: 1_200, ..SMALL });
    for number in 0..segments * 10 {
        append(&mut log, &[&[u8::try_from(number).expect("few"); 100]]);
    }
    let paths: Vec<_> = (0..segments).map(|number| segment::path_of(dir, number * 10)).collect();
    assert!(paths.iter().all(|path| path.exists()));
    (log, paths)
}

/// All that is there, and what is not.
pub(super) fn contents(log: &Log, from: u64) -> (Vec<(u64, Vec<u8>)>, Progress) {
    let mut seen = Vec::new();
    let each = |entry: Entry<'_>| seen.push((entry.offset, entry.payload.to_vec()));
    let progress = log.reader(from).next_batch(u64::MAX, usize::MAX, each).expect("read");
    (seen, progress)
}

fn offsets(log: &Log) -> (Vec<u64>, Progress) {
    let (seen, progress) = contents(log, 0);
    (seen.into_iter().map(|(offset, _)| offset).collect(), progress)
}

fn flip(path: &Path, position: u64) {
    let file = File::options().read(true).write(true).open(path).expect("a segment");
    let mut byte = [0];
    file.read_exact_at(&mut byte, position).expect("a byte");
    file.write_all_at(&[!byte[0]], position).expect("written");
}

#[test]
fn offsets_are_dense_and_go_on_after_opening_again() {
    let dir = folder();
    let (mut log, recovered) = open(dir.path(), SMALL);
    assert_eq!(recovered, Recovered::default());
    assert_eq!((append(&mut log, &[b"a", b""]), append(&mut log, &[]), append(&mut log, &[b"c"])), (0..2, 2..2, 2..3));
    drop(log);
    let (mut log, recovered) = open(dir.path(), SMALL);
    assert_eq!(recovered, Recovered { entries: 3, ..Recovered::default() });
    assert_eq!(append(&mut log, &[b"d"]), 3..4);
    let expected: [(u64, Vec<u8>); 4] = [(0, b"a".into()), (1, vec![]), (2, b"c".into()), (3, b"d".into())];
    assert_eq!(contents(&log, 0).0, expected);
}

#[test]
fn entries_keep_their_times() {
    let dir = folder();
    let (mut log, _) = open(dir.path(), SMALL);
    log.append_at(17, [&b"a"[..]]).expect("appended");
    log.append_at(-4, [&b"b"[..]]).expect("appended");
    let mut times = Vec::new();
    log.reader(0).next_batch(9, 9, |entry| times.push(entry.time_ms)).expect("read");
    assert_eq!(times, [17, -4]);
}

#[test]
fn a_reader_goes_on_where_it_was_with_what_is_appended_meanwhile() {
    let dir = folder();
    let (mut log, _) = open(dir.path(), SMALL);
    let mut reader = log.reader(0);
    let mut seen = Vec::new();
    for number in 0..100_u64 {
        append(&mut log, &[&number.to_le_bytes(), &[7; 30]]);
        let read = reader.next_batch(u64::MAX, usize::MAX, |entry| seen.push(entry.offset)).expect("read");
        assert_eq!(read, Progress { entries: 2, ..Progress::default() });
    }
    assert_eq!(seen, (0..200).collect::<Vec<u64>>());
    assert_eq!(reader.next_batch(u64::MAX, 1, |_| unreachable!()).expect("read"), Progress::default());
}

#[test]
fn a_batch_ends_at_the_offset_and_at_the_bytes_asked_for() {
    let dir = folder();
    let (log, _) = filled(dir.path(), 3);
    let mut reader = log.reader(3);
    let mut read = |up_to, bytes| reader.next_batch(up_to, bytes, |_| ()).expect("read").entries;
    assert_eq!(
        [read(7, usize::MAX), read(7, usize::MAX), read(30, 0), read(30, 101), read(99, 2_000)],
        [4, 0, 1, 2, 20]
    );
}

#[test]
fn a_reader_begins_anywhere_and_seeks() {
    let dir = folder();
    let (mut log, _) = open(dir.path(), LogOptions { segment_bytes: 1 << 20, ..SMALL });
    for number in 0..2_000_u64 {
        append(&mut log, &[&number.to_le_bytes(), &[1; 90]]); // far more than between two places of the index
    }
    drop(log);
    let (log, _) = open(dir.path(), SMALL);
    let mut reader = log.reader(0);
    for offset in [3_998, 0, 1_000, 1_001, 2_500, 17] {
        reader.seek(offset);
        let mut first = None;
        reader.next_batch(u64::MAX, 1, |entry| first = Some(entry.offset)).expect("read");
        assert_eq!((first, reader.position()), (Some(offset), offset + 1));
    }
}

#[test]
fn trimming_removes_whole_segments_and_readers_go_on_behind() {
    let dir = folder();
    let (mut log, paths) = filled(dir.path(), 4);
    let (bytes, mut reader) = (log.bytes(), log.reader(5));
    assert_eq!((log.trim_to(9).expect("trimmed"), log.trim_to(29).expect("trimmed")), (0, 20));
    assert_eq!(paths.iter().map(|path| path.exists()).collect::<Vec<_>>(), [false, false, true, true]);
    assert_eq!((log.first_offset(), log.next_offset(), log.bytes()), (20, 40, bytes / 2));
    let progress = reader.next_batch(u64::MAX, usize::MAX, |_| ()).expect("read");
    assert_eq!(progress, Progress { entries: 20, trimmed: 15, damaged: 0, compacted: 0 });
    drop(log);
    let (log, recovered) = open(dir.path(), SMALL);
    assert_eq!((recovered.entries, log.first_offset(), log.bytes()), (20, 20, bytes / 2));
}

#[test]
fn a_log_trimmed_to_its_end_takes_next_to_nothing_and_keeps_counting() {
    let dir = folder();
    let (mut log, _) = filled(dir.path(), 2);
    assert_eq!(log.trim_to(u64::MAX).expect("trimmed"), 20);
    assert_eq!((log.bytes(), log.first_offset()), (HEADER, 20));
    drop(log);
    let (mut log, _) = open(dir.path(), SMALL);
    assert_eq!(append(&mut log, &[b"x"]), 20..21);
}

#[test]
fn what_is_old_goes_and_what_is_too_much_goes() {
    let dir = folder();
    let (mut log, _) = open(dir.path(), LogOptions { segment_bytes: 400, ..SMALL });
    for time in 0..10 {
        log.append_at(time * 1_000, [&[0; 300][..]]).expect("appended");
    }
    assert_eq!(log.expire(Some(3_000), None).expect("expired"), 3);
    assert_eq!(log.expire(None, Some(3 * 348)).expect("expired"), 4);
    assert_eq!((log.first_offset(), log.bytes()), (7, 3 * 348));
    drop(log);
    let (mut log, _) = open(dir.path(), SMALL);
    assert_eq!(log.expire(Some(9_000), Some(u64::MAX)).expect("expired"), 2);
    assert_eq!(log.expire(Some(9_001), None).expect("expired"), 1, "the segment that is written to, too");
    assert_eq!((log.first_offset(), log.next_offset()), (10, 10));
}

#[test]
fn a_full_log_says_so_and_takes_more_once_trimmed() {
    let dir = folder();
    let (mut log, _) = open(dir.path(), LogOptions { max_bytes: Some(4_000), ..LogOptions::default() });
    let full = loop {
        if let Err(error) = log.append([&[0; 100][..]]) {
            break error;
        }
    };
    assert!(matches!(full, Error::Full(_)) && full.retriable(), "{full}");
    assert!(full.message().contains("of 4000 bytes"), "{full}");
    assert!((3_800..=4_000).contains(&log.bytes()), "{}", log.bytes());
    log.trim_to(log.next_offset() / 2).expect("trimmed");
    append(&mut log, &[&[0; 100]]);
    let never = log.append([&[0; 4_000][..]]).expect_err("more than there will ever be room for");
    assert!(matches!(never, Error::Full(_)) && !never.retriable(), "{never}");
}

#[test]
fn damage_in_the_middle_loses_the_rest_of_its_segment_only() {
    let dir = folder();
    let (log, paths) = filled(dir.path(), 3);
    flip(&paths[1], HEADER + 4 * 116 + 50);
    let expected: Vec<_> = (0..14).chain(20..30).collect();
    let lost = Progress { entries: 24, trimmed: 0, damaged: 6, compacted: 0 };
    assert_eq!(offsets(&log), (expected.clone(), lost));
    drop(log);
    for (verify, known) in [(false, 0), (true, 6)] {
        let (log, recovered) = open(dir.path(), LogOptions { verify, ..SMALL });
        assert_eq!(recovered, Recovered { entries: 30 - known, torn_bytes: 0, lost: known });
        assert_eq!(offsets(&log), (expected.clone(), lost));
        assert_eq!(log.reader(17).next_batch(20, 1, |_| ()).expect("read").damaged, 3);
    }
}

#[test]
fn damage_where_it_is_written_to_is_passed_over_and_the_rest_is_cut_off_later() {
    let dir = folder();
    let options = LogOptions::default();
    let (mut log, _) = open(dir.path(), options);
    append(&mut log, &[&[1; 100][..]; 10]);
    flip(&segment::path_of(dir.path(), 0), HEADER + 4 * 116);
    let mut reader = log.reader(0);
    let read = reader.next_batch(u64::MAX, usize::MAX, |_| ()).expect("read");
    assert_eq!(read, Progress { entries: 4, trimmed: 0, damaged: 6, compacted: 0 });
    append(&mut log, &[b"next"]);
    let mut seen = Vec::new();
    reader.next_batch(u64::MAX, usize::MAX, |entry| seen.extend_from_slice(entry.payload)).expect("read");
    assert_eq!(seen, b"next");
    drop((log, reader));
    let (_, recovered) = open(dir.path(), options);
    assert_eq!(recovered, Recovered { entries: 4, torn_bytes: 6 * 116 + 20, lost: 0 });
}

#[test]
fn a_damaged_header_costs_its_segment_and_no_offset_is_given_twice() {
    let dir = folder();
    let (log, paths) = filled(dir.path(), 3);
    drop(log);
    flip(&paths[0], 3);
    flip(&paths[2], 25);
    let (mut log, recovered) = open(dir.path(), SMALL);
    assert_eq!((recovered.entries, recovered.lost, log.next_offset()), (10, 10, 20));
    assert_eq!(append(&mut log, &[b"x"]), 20..21);
    assert_eq!(
        offsets(&log),
        ((10..21).collect::<Vec<u64>>(), Progress { entries: 11, trimmed: 0, damaged: 10, compacted: 0 })
    );
}

#[test]
fn a_segment_that_somebody_took_away_is_counted_as_lost() {
    let dir = folder();
    let (log, paths) = filled(dir.path(), 3);
    std::fs::remove_file(&paths[1]).expect("removed");
    let lost = Progress { entries: 20, trimmed: 0, damaged: 10, compacted: 0 };
    assert_eq!(offsets(&log).1, lost);
    drop(log);
    assert_eq!(offsets(&open(dir.path(), SMALL).0).1, lost);
}

#[test]
fn a_later_version_is_refused_and_left_alone() {
    let dir = folder();
    let (log, paths) = filled(dir.path(), 1);
    drop(log);
    let mut bytes = std::fs::read(&paths[0]).expect("read");
    bytes[7] = 3;
    let sum = crc32fast::hash(&bytes[..24]).to_le_bytes();
    bytes[24..28].copy_from_slice(&sum);
    std::fs::write(&paths[0], &bytes).expect("written");
    let error = Log::open(dir.path(), SMALL).expect_err("another format");
    assert!(matches!(error, Error::Storage(_)) && error.message().contains("in format 3"), "{error}");
    assert_eq!(std::fs::read(&paths[0]).expect("read"), bytes);
}

#[test]
fn other_files_are_left_alone() {
    let dir = folder();
    for name in ["notes.txt", "1.log", "0000000000000000000x.log"] {
        std::fs::write(dir.path().join(name), b"mine").expect("written");
    }
    let (mut log, recovered) = open(dir.path(), SMALL);
    assert_eq!(recovered, Recovered::default());
    append(&mut log, &[b"x"]);
    log.trim_to(1).expect("trimmed");
    assert_eq!(std::fs::read(dir.path().join("1.log")).expect("still there"), b"mine");
}

#[test]
fn offsets_can_be_left_out() {
    let dir = folder();
    let (mut log, _) = open(dir.path(), SMALL);
    append(&mut log, &[b"a"]);
    log.skip_to(1).expect("nothing to do");
    log.skip_to(50).expect("skipped");
    assert_eq!(append(&mut log, &[b"b"]), 50..51);
    drop(log);
    let (log, _) = open(dir.path(), SMALL);
    assert_eq!(offsets(&log), (vec![0, 50], Progress { entries: 2, trimmed: 0, damaged: 49, compacted: 0 }));
}

#[test]
fn a_write_that_fails_leaves_nothing_and_the_next_one_works() {
    let dir = folder();
    let (mut log, _) = open(dir.path(), LogOptions::default());
    append(&mut log, &[b"before"]);
    let length = || std::fs::metadata(segment::path_of(dir.path(), 0)).expect("there").len();
    let before = (length(), log.bytes(), log.next_offset());
    for room in [0, 5, 16, 30] {
        faults::leave_room(room);
        let error = log.append([&[1; 8][..], &[2; 100]]).expect_err("no room");
        faults::leave_room(usize::MAX);
        assert!(matches!(error, Error::Storage(_)) && error.retriable(), "{error}");
        assert!(error.message().contains("free space") && error.message().contains(".log"), "{error}");
        assert_eq!((length(), log.bytes(), log.next_offset()), before);
    }
    append(&mut log, &[b"after"]);
    assert_eq!(offsets(&log).0, [0, 1]);
    drop(log);
    assert_eq!(open(dir.path(), SMALL).1, Recovered { entries: 2, ..Recovered::default() });
}

#[test]
fn a_segment_that_cannot_be_begun_is_begun_later() {
    let dir = folder();
    let (mut log, _) = filled(dir.path(), 1);
    faults::leave_room(10);
    log.append([&[1; 100][..]]).expect_err("no room for a header");
    assert!(!segment::path_of(dir.path(), 10).exists());
    faults::leave_room(usize::MAX);
    assert_eq!(append(&mut log, &[b"x"]), 10..11);
    assert_eq!(offsets(&log).0, (0..11).collect::<Vec<u64>>());
}

#[test]
fn an_entry_larger_than_a_piece_is_read_and_its_memory_given_back() {
    let dir = folder();
    let (mut log, _) = open(dir.path(), SMALL);
    let big = vec![3; 1 << 20];
    append(&mut log, &[b"a", &big, b"b"]);
    let (seen, _) = contents(&log, 0);
    assert!(seen[1].1 == big && seen[2].1 == b"b");
}

#[test]
fn a_full_disk_is_worth_another_try_when_it_shows_at_a_write_and_not_when_it_shows_at_a_sync() {
    for (kind, remedy) in
        [(io::ErrorKind::StorageFull, "free space on its disk"), (io::ErrorKind::Other, "disk is sound")]
    {
        let dir = folder();
        let (mut log, _) = open(dir.path(), LogOptions::default());
        append(&mut log, &[b"a"]);
        faults::leave_room(5);
        let error = log.append([&b"b"[..]]).expect_err("no room");
        faults::leave_room(usize::MAX);
        assert!(error.retriable() && !error.fatal(), "{error}");
        log.sync().expect("what is there is not concerned");
        append(&mut log, &[b"b"]);
        private::synced::call_first(move || Err(kind.into()));
        let error = log.sync().expect_err("not on the disk");
        private::synced::call_first(|| Ok(()));
        assert!(error.fatal() && !error.retriable(), "{error}");
        let says = ["cannot sync", ".log", remedy, "and open it anew: what the disk has of it is not known"];
        assert!(says.iter().all(|says| error.message().contains(says)), "{error}");
        assert_eq!(log.sync().expect_err("the system has forgotten what it could not write"), error);
        append(&mut log, &[b"c"]); // it survives the end of the process, as before
        drop(log);
        let (mut log, _) = open(dir.path(), LogOptions::default());
        assert_eq!(offsets(&log).0, [0, 1, 2]);
        log.sync().expect("a new one looks for itself");
    }
}

#[test]
fn names_of_segments_that_an_earlier_process_made_are_synced_too() {
    let dir = folder();
    let (mut log, _) = open(dir.path(), SMALL);
    append(&mut log, &[b"a"]);
    drop(log);
    let (mut log, _) = open(dir.path(), SMALL);
    private::synced::take();
    log.sync().expect("synced");
    assert_eq!(private::synced::take(), [dir.path()]);
}
