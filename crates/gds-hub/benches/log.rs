//! What the log costs: entries of 200 bytes, appended one at a time and in batches, and read.
#![allow(missing_docs)] // what criterion's macros define

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gds_hub::log::{Log, LogOptions};

const ENTRY: [u8; 200] = [7; 200];
const BATCH: usize = 100;
const READ: u64 = 100_000;

fn open(dir: &tempfile::TempDir) -> Log {
    Log::open(dir.path(), LogOptions::default()).expect("opened").0
}

fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("log/append");
    for batch in [1, BATCH] {
        let dir = tempfile::tempdir().expect("a folder");
        let mut log = open(&dir);
        let entries = vec![&ENTRY[..]; batch];
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_function(format!("{batch}"), |bencher| {
            bencher.iter(|| {
                log.append(black_box(&entries).iter().copied()).expect("appended");
                // As a spool does, and so that the disk is not what is measured.
                if log.bytes() > 256 << 20 {
                    log.trim_to(log.next_offset()).expect("trimmed");
                }
            });
        });
        let appended = log.next_offset();
        assert!(appended > 0 && appended.is_multiple_of(batch as u64), "{appended}");
    }
}

fn read(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a folder");
    let mut log = open(&dir);
    log.append((0..READ).map(|_| &ENTRY[..])).expect("appended");
    let mut group = criterion.benchmark_group("log/read");
    group.throughput(Throughput::Elements(READ));
    group.bench_function("all", |bencher| {
        bencher.iter(|| {
            let (mut reader, mut bytes) = (log.reader(0), 0);
            reader.next_batch(u64::MAX, usize::MAX, |entry| bytes += black_box(entry.payload).len()).expect("read");
            assert_eq!(bytes, 200 * usize::try_from(READ).expect("small"));
        });
    });
}

criterion_group!(benches, append, read);
criterion_main!(benches);
