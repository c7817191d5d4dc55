//! Locks and atomics of what is tried under a model checker: those of every day, or with the feature `shuttle` those of a model checker
//! that tries the orders in which threads may come.

pub(crate) use imp::{AtomicBool, AtomicU64, AtomicUsize, Condvar, Mutex, MutexGuard, Ordering, fence};

#[cfg(not(feature = "shuttle"))]
mod imp {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};

    pub(crate) use gds_process::sync::{Condvar, Mutex, MutexGuard};
}

#[cfg(feature = "shuttle")]
mod imp {
    use std::ops::{Deref, DerefMut};
    use std::time::{Duration, Instant};

    pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};

    /// As that of every day.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

    pub(crate) struct MutexGuard<'a, T> {
        mutex: &'a Mutex<T>,
        guard: Option<shuttle::sync::MutexGuard<'a, T>>,
    }

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            MutexGuard { mutex: self, guard: Some(self.0.lock().expect("no panic")) }
        }

        pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            self.0.try_lock().ok().map(|guard| MutexGuard { mutex: self, guard: Some(guard) })
        }
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            self.guard.as_ref().expect("held")
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.guard.as_mut().expect("held")
        }
    }

    /// The model has no time: a wait with a bound is over when others have had their turn, rung or not.
    #[derive(Debug, Default)]
    pub(crate) struct Condvar;

    #[allow(clippy::unused_self)] // as that of every day
    impl Condvar {
        pub(crate) fn notify_all(&self) {}

        pub(crate) fn wait_for<'a, T>(&self, mut guard: MutexGuard<'a, T>, _: Duration) -> (MutexGuard<'a, T>, bool) {
            drop(guard.guard.take());
            shuttle::thread::yield_now();
            guard.guard = Some(guard.mutex.0.lock().expect("no panic"));
            (guard, true)
        }

        pub(crate) fn wait_until<'a, T>(&self, guard: MutexGuard<'a, T>, _: Instant) -> (MutexGuard<'a, T>, bool) {
            self.wait_for(guard, Duration::ZERO)
        }
    }
}
