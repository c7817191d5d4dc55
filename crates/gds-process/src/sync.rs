//! Locks that keep nothing outside of themselves, so that a forked child can use those that were free.
//!
//! parking_lot's, for one, share a table of those who wait, with locks of its own: forked while any thread of the program
//! waits for anything, a child finds the table locked for good, and hangs at the first lock of its own that two threads
//! want. The standard library's have no such table. These are theirs, but for poison: what a thread that panicked
//! has left is seen by the others, as each room's own checks allow for.

use std::sync::{self, PoisonError, TryLockError};
use std::time::{Duration, Instant};

pub use std::sync::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};

/// As [`std::sync::Mutex`], without poison.
#[derive(Debug, Default)]
pub struct Mutex<T: ?Sized>(sync::Mutex<T>);

impl<T> Mutex<T> {
    /// A free lock around `value`.
    pub const fn new(value: T) -> Self {
        Self(sync::Mutex::new(value))
    }

    /// The value, of a lock that nobody shares any more.
    pub fn into_inner(self) -> T {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits for it, however long.
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// None while another has it.
    #[inline]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// The value, where nobody else can have it.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As [`std::sync::RwLock`], without poison.
#[derive(Debug, Default)]
pub struct RwLock<T: ?Sized>(sync::RwLock<T>);

impl<T> RwLock<T> {
    /// A free lock around `value`.
    pub const fn new(value: T) -> Self {
        Self(sync::RwLock::new(value))
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Waits until nobody writes, and keeps those who want to from it.
    #[inline]
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody else has it.
    #[inline]
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As [`std::sync::Condvar`], without poison.
#[derive(Debug, Default)]
pub struct Condvar(sync::Condvar);

impl Condvar {
    /// Nobody waits.
    pub const fn new() -> Self {
        Self(sync::Condvar::new())
    }

    /// Wakes one of those who wait.
    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    /// Wakes all who wait.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }

    /// Lets go of the lock until it is woken, also for no reason.
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.0.wait(guard).unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`wait`](Self::wait), but not longer than `timeout`; whether that is over.
    pub fn wait_for<'a, T>(&self, guard: MutexGuard<'a, T>, timeout: Duration) -> (MutexGuard<'a, T>, bool) {
        let (guard, result) = self.0.wait_timeout(guard, timeout).unwrap_or_else(PoisonError::into_inner);
        (guard, result.timed_out())
    }

    /// As [`wait`](Self::wait), but not beyond `deadline`; whether that is over.
    pub fn wait_until<'a, T>(&self, guard: MutexGuard<'a, T>, deadline: Instant) -> (MutexGuard<'a, T>, bool) {
        self.wait_for(guard, deadline.saturating_duration_since(Instant::now()))
    }
}

/// A [`Mutex`] that can be waited for with a bound.
#[derive(Debug, Default)]
pub struct TimedMutex<T> {
    /// None while somebody has it.
    value: Mutex<Option<T>>,
    free: Condvar,
}

impl<T> TimedMutex<T> {
    /// A free lock around `value`.
    pub const fn new(value: T) -> Self {
        Self { value: Mutex::new(Some(value)), free: Condvar::new() }
    }

    /// Waits for it, however long.
    pub fn lock(&self) -> TimedMutexGuard<'_, T> {
        let mut place = self.value.lock();
        loop {
            if let Some(guard) = self.take(&mut place) {
                return guard;
            }
            place = self.free.wait(place);
        }
    }

    /// None while another has it.
    pub fn try_lock(&self) -> Option<TimedMutexGuard<'_, T>> {
        self.take(&mut self.value.lock())
    }

    /// None when another still has it after `timeout`.
    pub fn try_lock_for(&self, timeout: Duration) -> Option<TimedMutexGuard<'_, T>> {
        self.try_lock_until(Instant::now() + timeout)
    }

    /// None when another still has it at `deadline`.
    pub fn try_lock_until(&self, deadline: Instant) -> Option<TimedMutexGuard<'_, T>> {
        let mut place = self.value.lock();
        let mut is_over = false;
        loop {
            let guard = self.take(&mut place);
            if guard.is_some() || is_over {
                return guard;
            }
            (place, is_over) = self.free.wait_until(place, deadline);
        }
    }

    fn take(&self, place: &mut Option<T>) -> Option<TimedMutexGuard<'_, T>> {
        place.take().map(|value| TimedMutexGuard { mutex: self, value: Some(value) })
    }
}

/// The value of a [`TimedMutex`], until this is dropped.
#[derive(Debug)]
pub struct TimedMutexGuard<'a, T> {
    mutex: &'a TimedMutex<T>,
    /// None only while it is put back.
    value: Option<T>,
}

impl<T> std::ops::Deref for TimedMutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("a guard has the value until it is dropped")
    }
}

impl<T> std::ops::DerefMut for TimedMutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("a guard has the value until it is dropped")
    }
}

impl<T> Drop for TimedMutexGuard<'_, T> {
    fn drop(&mut self) {
        *self.mutex.value.lock() = self.value.take();
        self.mutex.free.notify_one();
    }
}

#[cfg(test)]
#[allow(unsafe_code)] // one call, with its proof
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;
    use std::thread;

    use super::*;
    #[cfg(unix)]
    use crate::fork::testing::{Child, FORKS};

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn what_a_thread_that_panicked_has_left_is_seen() {
        let (mutex, lock) = (Mutex::new(1), RwLock::new(1));
        let _ = catch_unwind(AssertUnwindSafe(|| {
            let (mut one, mut other) = (mutex.lock(), lock.write());
            (*one, *other) = (2, 2);
            panic!("while it has both");
        }));
        assert_eq!((*mutex.lock(), *lock.read()), (2, 2));
        assert_eq!(*mutex.try_lock().unwrap(), 2);
        assert_eq!(mutex.into_inner(), 2);
    }

    #[test]
    fn a_timed_lock_is_had_by_one_and_waited_for_with_a_bound() {
        let mutex = TimedMutex::new(0);
        let held = mutex.try_lock().unwrap();
        assert!(mutex.try_lock().is_none());
        assert!(mutex.try_lock_for(Duration::from_millis(5)).is_none());
        thread::scope(|scope| {
            let (asked, asks) = mpsc::channel();
            let waits = scope.spawn({
                let mutex = &mutex;
                move || {
                    asked.send(()).unwrap();
                    *mutex.lock() += 1;
                }
            });
            asks.recv().unwrap();
            drop(held);
            waits.join().unwrap();
        });
        assert_eq!(*mutex.try_lock().unwrap(), 1);
    }

    #[test]
    fn a_timed_lock_comes_back_from_a_panic() {
        let mutex = TimedMutex::new(1);
        let _ = catch_unwind(AssertUnwindSafe(|| {
            *mutex.try_lock().unwrap() = 2;
            let _held = mutex.try_lock().unwrap();
            panic!("while it has it");
        }));
        assert_eq!(*mutex.try_lock().unwrap(), 2);
    }

    #[test]
    fn many_threads_take_turns_at_a_timed_lock() {
        let mutex = TimedMutex::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        *mutex.try_lock_for(LONG).expect("each has it for a moment") += 1;
                    }
                });
            }
        });
        assert_eq!(*mutex.try_lock().unwrap(), 8_000);
    }

    /// Two threads that hand a number to each other, over and over.
    #[cfg(unix)]
    fn hand_over(rounds: u32, stop: &AtomicBool) {
        let (number, changed) = (Mutex::new(0_u32), Condvar::new());
        thread::scope(|scope| {
            for mine in 0..2 {
                let (number, changed) = (&number, &changed);
                scope.spawn(move || {
                    let mut held = number.lock();
                    while *held < rounds && !stop.load(Ordering::Relaxed) {
                        if *held % 2 == mine {
                            *held += 1;
                            changed.notify_all();
                        } else {
                            held = changed.wait_for(held, Duration::from_millis(1)).0;
                        }
                    }
                });
            }
        });
    }

    /// Ends the others, also when the test fails.
    #[cfg(unix)]
    struct Stops<'a>(&'a AtomicBool);

    #[cfg(unix)]
    impl Drop for Stops<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_child_forked_while_threads_wait_can_wait_itself() {
        let _alone = FORKS.write();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| hand_over(u32::MAX, &stop));
            }
            let _stops = Stops(&stop);
            for _ in 0..300 {
                let child = Child::fork_running(|_| {
                    // SAFETY: async-signal-safe. A child that hangs is ended, and its parent sees that.
                    unsafe { libc::alarm(30) };
                    hand_over(20, &AtomicBool::new(false));
                    true
                });
                assert!(child.answer);
            }
        });
    }
}
