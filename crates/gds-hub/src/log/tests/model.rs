//! Any order of appending, trimming, crashing and failing, against a list in memory.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<Vec<u8>>),
    /// Writing fails after so many bytes.
    FailToAppend(Vec<Vec<u8>>, usize),
    Sync,
    Trim(Index),
    Expire(usize),
    Read(Index, usize),
    /// The process ends and all it wrote is there.
    Kill {
        torn: Vec<u8>,
    },
    /// Of what was not synced anything may be there.
    PowerCut(Tail, Index),
}

#[derive(Clone, Debug)]
enum Tail {
    Cut,
    Zeros,
    Garbage(u8),
}

fn payloads() -> impl Strategy<Value = Vec<Vec<u8>>> {
    vec(vec(any::<u8>(), 0..60), 0..6)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => payloads().prop_map(Step::Append),
        1 => (payloads(), 0..200_usize).prop_map(|(payloads, room)| Step::FailToAppend(payloads, room)),
        1 => Just(Step::Sync),
        1 => any::<Index>().prop_map(Step::Trim),
        1 => (0..3_000_usize).prop_map(Step::Expire),
        3 => (any::<Index>(), 0..500_usize).prop_map(|(from, bytes)| Step::Read(from, bytes)),
        1 => vec(any::<u8>(), 0..40).prop_map(|torn| Step::Kill { torn }),
        1 => (prop_oneof![Just(Tail::Cut), Just(Tail::Zeros), any::<u8>().prop_map(Tail::Garbage)], any::<Index>())
            .prop_map(|(tail, from)| Step::PowerCut(tail, from)),
    ];
    vec(step, 1..60)
}

/// What ought to be there.
#[derive(Default)]
struct Model {
    entries: BTreeMap<u64, Vec<u8>>,
    next: u64,
    /// Offsets below were synced, and so were these bytes of each file.
    synced: u64,
    synced_bytes: BTreeMap<PathBuf, u64>,
}

pub(super) fn files(dir: &Path) -> BTreeMap<PathBuf, u64> {
    let paths = std::fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("a file").path());
    paths.map(|path| (path.clone(), std::fs::metadata(&path).expect("a file").len())).collect()
}

fn last(dir: &Path) -> Option<PathBuf> {
    files(dir).into_keys().next_back()
}

/// Does to the files what a power cut may do to bytes that were not synced.
fn mutilate(dir: &Path, synced: &BTreeMap<PathBuf, u64>, tail: &Tail, from: Index) {
    for (path, length) in files(dir) {
        let kept = synced.get(&path).copied().unwrap_or(0);
        if kept >= length {
            continue;
        }
        let kept = kept + from.index(usize::try_from(length - kept).expect("small")) as u64;
        let file = File::options().write(true).open(&path).expect("a segment");
        let rest = usize::try_from(length - kept).expect("small");
        match tail {
            Tail::Cut => file.set_len(kept).expect("cut"),
            Tail::Zeros => file.write_all_at(&vec![0; rest], kept).expect("written"),
            Tail::Garbage(seed) => {
                // Never what was there.
                let mut bytes = std::fs::read(&path).expect("read").split_off(usize::try_from(kept).expect("small"));
                for byte in &mut bytes {
                    *byte ^= seed | 1;
                }
                file.write_all_at(&bytes, kept).expect("written");
            }
        }
    }
}

fn check(log: &Log, model: &Model) {
    let (seen, progress) = contents(log, 0);
    let first = log.first_offset();
    assert_eq!(seen, model.entries.iter().map(|(offset, payload)| (*offset, payload.clone())).collect::<Vec<_>>());
    assert_eq!(log.next_offset(), model.next);
    assert_eq!(progress.trimmed, first);
    assert_eq!((progress.entries + progress.damaged, progress.compacted), (model.next - first, 0));
    assert_eq!(log.bytes(), files(log.path()).values().sum::<u64>());
}

fn run(steps: Vec<Step>, segment_bytes: u64) {
    let dir = folder();
    let options = LogOptions { segment_bytes, ..SMALL };
    let (mut log, _) = open(dir.path(), options);
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Append(payloads) => {
                let range = log.append(payloads.iter().map(Vec::as_slice)).expect("appended");
                assert_eq!(range, model.next..model.next + payloads.len() as u64);
                model.entries.extend(range.clone().zip(payloads));
                model.next = range.end;
            }
            Step::FailToAppend(payloads, room) => {
                faults::leave_room(room);
                let appended = log.append(payloads.iter().map(Vec::as_slice));
                faults::leave_room(usize::MAX);
                if let Ok(range) = appended {
                    model.entries.extend(range.clone().zip(payloads));
                    model.next = range.end;
                }
            }
            Step::Sync => {
                log.sync().expect("synced");
                (model.synced, model.synced_bytes) = (model.next, files(dir.path()));
            }
            Step::Trim(to) => {
                let to = to.index(usize::try_from(model.next).expect("small") + 1) as u64;
                let before = log.first_offset();
                let trimmed = log.trim_to(to).expect("trimmed");
                let first = log.first_offset();
                assert!(trimmed == first - before && first <= to.max(before));
                model.entries = model.entries.split_off(&first);
            }
            Step::Expire(bytes) => {
                log.expire(None, Some(bytes as u64)).expect("expired");
                model.entries = model.entries.split_off(&log.first_offset());
            }
            Step::Read(from, bytes) => {
                let from = from.index(usize::try_from(model.next).expect("small") + 2) as u64;
                let mut reader = log.reader(from);
                let mut seen = Vec::new();
                while reader.position() < model.next {
                    let before = reader.position();
                    let each = |entry: Entry<'_>| seen.push((entry.offset, entry.payload.to_vec()));
                    reader.next_batch(u64::MAX, bytes, each).expect("read");
                    assert!(reader.position() > before);
                }
                let expected = model.entries.range(from..).map(|(offset, payload)| (*offset, payload.clone()));
                assert_eq!(seen, expected.collect::<Vec<_>>());
            }
            Step::Kill { torn } => {
                drop(log);
                // The first bytes of a write that was under way.
                if let Some(path) = last(dir.path()) {
                    let length = std::fs::metadata(&path).expect("a file").len();
                    let mut frame = Vec::new();
                    frame::write(&mut frame, model.next, 0, &[9; 40]);
                    frame.truncate(torn.len());
                    File::options()
                        .write(true)
                        .open(&path)
                        .expect("a file")
                        .write_all_at(&frame, length)
                        .expect("torn");
                }
                log = open(dir.path(), options).0;
            }
            Step::PowerCut(tail, from) => {
                drop(log);
                mutilate(dir.path(), &model.synced_bytes, &tail, from);
                let recovered;
                (log, recovered) = open(dir.path(), LogOptions { verify: true, ..options });
                let (seen, progress) = contents(&log, 0);
                assert_eq!((recovered.entries, recovered.lost), (progress.entries, progress.damaged));
                let seen: BTreeMap<_, _> = seen.into_iter().collect();
                assert!(seen.iter().all(|(offset, payload)| model.entries.get(offset) == Some(payload)), "rubbish");
                assert!(model.entries.range(..model.synced).all(|(offset, _)| seen.contains_key(offset)), "synced");
                (model.entries, model.next) = (seen, log.next_offset());
                model.synced_bytes.retain(|path, _| path.exists());
            }
        }
        check(&log, &model);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_log_is_a_list_that_survives(steps in steps(), segment_bytes in 40..2_000_u64) {
        run(steps, segment_bytes);
    }
}
