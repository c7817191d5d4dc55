//! What threads see of each other's cells, in every order that the memory model allows: also on processors that show
//! writes in another order than they were made.

use loom::sync::atomic::{AtomicU64, fence};
use loom::sync::{Arc, Mutex};

use std::sync::atomic::Ordering;

use crate::cells::{self, Word};
use crate::exemplar;
use crate::lifetime;
use crate::snapshot::{Exemplar, TraceContext};

impl Word for AtomicU64 {
    fn load(&self, order: Ordering) -> u64 {
        self.load(order)
    }

    fn store(&self, value: u64, order: Ordering) {
        self.store(value, order);
    }

    fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
        self.fetch_add(value, order)
    }

    fn compare_exchange(&self, current: u64, new: u64, ok: Ordering, not: Ordering) -> Result<u64, u64> {
        self.compare_exchange(current, new, ok, not)
    }

    fn fence(order: Ordering) {
        fence(order);
    }
}

/// Every order with at most so many switches between threads that nobody asked for, which is where faults are found; all
/// of them take many minutes.
fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut orders = loom::model::Builder::new();
    orders.preemption_bound = Some(2);
    orders.check(model);
}

fn row(len: usize) -> Arc<Vec<AtomicU64>> {
    Arc::new((0..len).map(|_| AtomicU64::new(0)).collect())
}

#[test]
fn a_snapshot_that_says_so_holds_whole_observations() {
    check(|| {
        let cells = row(cells::distribution_len(0));
        let writers: Vec<_> = (0..2)
            .map(|_| {
                let cells = Arc::clone(&cells);
                loom::thread::spawn(move || cells::observe(&cells, &[], 1.0))
            })
            .collect();
        let mut seen = Vec::new();
        if cells::try_read_distribution(&cells, &mut seen) {
            let (sum, count) = (f64::from_bits(seen[0]), seen[1]);
            assert_eq!(sum.to_bits(), (count as f64).to_bits(), "sum {sum} of {count} observations of 1");
        }
        for writer in writers {
            writer.join().expect("no panic");
        }
        assert!(cells::try_read_distribution(&cells, &mut seen), "nobody is writing");
        assert_eq!(seen, [2.0_f64.to_bits(), 2]);
    });
}

#[test]
fn an_exemplar_is_never_a_mixture() {
    let exemplar = |fill: u8| Exemplar {
        trace: TraceContext { trace_id: [fill; 16], span_id: [fill; 8] },
        value: f64::from(fill),
        nanos: u64::from(fill),
        bucket: 0,
    };
    check(move || {
        let cells = row(exemplar::cells_len(1));
        let writers: Vec<_> = [1, 2]
            .map(|fill| {
                let cells = Arc::clone(&cells);
                loom::thread::spawn(move || exemplar::store(&cells, &exemplar(fill)))
            })
            .into();
        if let Some(seen) = exemplar::load(&cells, 0) {
            assert_eq!(seen, exemplar(seen.trace.span_id[0]));
        }
        for writer in writers {
            writer.join().expect("no panic");
        }
        assert!(exemplar::load(&cells, 0).is_some());
    });
}

#[derive(Default)]
struct Expiring {
    updated: AtomicU64,
    mark: AtomicU64,
    lock: Mutex<()>,
}

#[test]
fn a_series_stays_for_who_updates_it_if_and_only_if_it_does_for_who_expires_it() {
    check(|| {
        let series = Arc::new(Expiring::default());
        let updating = {
            let series = Arc::clone(&series);
            loom::thread::spawn(move || {
                lifetime::touch(&series.updated, 1);
                lifetime::stays(&series.mark, || drop(series.lock.lock().expect("no panic")))
            })
        };
        let leaves = {
            let _settling = series.lock.lock().expect("no panic");
            lifetime::leaves(&series.updated, &series.mark, 1)
        };
        let stays = updating.join().expect("no panic");
        assert_eq!(stays, !leaves, "the update is lost, or made twice");
    });
}
