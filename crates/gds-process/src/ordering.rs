//! What threads see of each other's [`PerProcess`](crate::PerProcess), in every order that the memory model
//! allows.

use std::marker::PhantomData;
use std::ptr::null_mut;

use loom::cell::UnsafeCell;
use loom::sync::Arc;

mod atomics {
    pub(super) use loom::sync::atomic::AtomicPtr;
}

#[allow(dead_code, unreachable_pub, clippy::duplicate_mod)] // written for the crate, of which the model uses a part
#[path = "per_process.rs"]
mod per_process;

use per_process::PerProcess;

/// Complains when it is read by a thread that need not see it written.
struct Watched(UnsafeCell<usize>);

// Its readers are what the model is about.
#[allow(unsafe_code)]
// SAFETY: written before it is shared, and read from then on; loom fails the test where that is not so.
unsafe impl Sync for Watched {}

impl Watched {
    fn read(&self) -> usize {
        #[allow(unsafe_code)]
        // SAFETY: as above.
        self.0.with(|value| unsafe { *value })
    }
}

#[test]
fn threads_that_make_a_value_at_once_share_the_first_and_see_it_whole() {
    loom::model(|| {
        let values = Arc::new(PerProcess { first: atomics::AtomicPtr::new(null_mut()), shared: PhantomData });
        let threads: Vec<_> = (1..3)
            .map(|number| {
                let values = Arc::clone(&values);
                loom::thread::spawn(move || values.get_or_init(|| Watched(UnsafeCell::new(number))).read())
            })
            .collect();
        let seen = values.get().map(Watched::read);
        let kept: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        assert_eq!(kept[0], kept[1]);
        assert!(seen.is_none_or(|seen| seen == kept[0]));
    });
}
