//! Readers go on while samples are written, merged, deleted and removed.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use gds_promql::matcher::Matcher;
use gds_store::{Options, Store};

use crate::support::*;

const ROUNDS: i64 = 60;

#[test]
fn readers_see_all_that_was_accepted_before_and_nothing_that_was_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::at(NOON);
    let store =
        Store::open(folder.path(), Options { merge_at: 2, flush_bytes: 1_000, retention: 2 * DAY, ..clock.options() })
            .unwrap();
    let (kept, deleted) = (series("kept", 1), series("deleted", 1));
    put(&store, &series("old", 1), NOON - DAY, 1.0);
    let (accepted, gone, over) = (AtomicI64::new(0), AtomicI64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut looks = 0;
                while !over.load(Ordering::Acquire) || looks == 0 {
                    looks += 1;
                    let (least, before) = (accepted.load(Ordering::Acquire), gone.load(Ordering::Acquire));
                    let held = of(&store, &kept);
                    assert!(i64::try_from(held.len()).unwrap() >= least, "{} held, {least} accepted", held.len());
                    assert!(held.iter().zip(0..).all(|((time, value), at)| (*time, *value) == (NOON + at, at as f64)));
                    // It was deleted before this look began.
                    assert!(of(&store, &deleted).iter().all(|(time, _)| *time >= NOON + before));
                    std::thread::yield_now();
                }
            });
        }
        for at in 0..ROUNDS {
            store.append(&[number(&kept, NOON + at, at as f64), number(&deleted, NOON + at, 1.0)]).unwrap();
            accepted.store(at + 1, Ordering::Release);
            if at % 7 == 3 {
                store.delete(&[Matcher::equal("__name__", "deleted")], 0, NOON + at).unwrap();
                gone.store(at + 1, Ordering::Release);
            }
            if at % 5 == 0 {
                store.flush().unwrap();
            }
            store.maintain().unwrap();
        }
        // The old one goes while readers look.
        clock.set(NOON + DAY + DAY / 2);
        assert!(store.maintain().unwrap().expired > 0);
        over.store(true, Ordering::Release);
    });
    assert!(all(&store).keys().all(|labels| !labels.contains("old")));
}

#[test]
fn a_query_goes_on_with_what_there_was_when_it_began() {
    use gds_promql::source::{Select, Source};

    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Options { merge_at: 2, ..options() }).unwrap();
    for instance in 0..10 {
        put(&store, &series("up", instance), NOON, 1.0);
    }
    store.flush().unwrap();
    let mut walk = store.select(&Select { matchers: &[], start: 0, end: NOON, step: 0 }).unwrap();
    let first = walk.next().unwrap().unwrap();
    assert_eq!(first.samples.floats.values, [1.0]);
    for instance in 0..10 {
        put(&store, &series("up", instance), NOON, 2.0);
    }
    store.flush().unwrap();
    assert_eq!(store.maintain().unwrap().merged, 2, "the part that is read is removed");
    assert!(walk.all(|series| series.unwrap().samples.floats.values == [1.0]));
    assert_eq!(of(&store, &series("up", 3)), [(NOON, 2.0)]);
}

#[test]
fn writers_of_many_threads_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Options { flush_bytes: 5_000, ..options() }).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for at in 0..100i64 {
                    let (own, shared) = (series("own", writer), series("shared", u32::try_from(at).unwrap() % 3));
                    let time = NOON + at * 4 + i64::from(writer);
                    store.append(&[number(&own, time, 1.0), number(&shared, time, 2.0)]).unwrap();
                    if at % 40 == 0 {
                        store.maintain().unwrap();
                    }
                }
            });
        }
    });
    let count = |store: &Store| all(store).values().map(Vec::len).sum::<usize>();
    assert_eq!(count(&store), 800);
    drop(store);
    assert_eq!(count(&open(folder.path())), 800);
}
