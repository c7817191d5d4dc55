//! Knowing that this process was forked.
//!
//! A forked child has one thread and a copy of everything else: of a server it holds the listening socket, but nobody
//! who accepts. So each fork counts as a new [`generation`], by which the owner of threads, tasks or connections sees
//! that they stayed behind, and sockets named to [`close_in_child`] are closed before the child runs any of its own
//! code: the port is free again when the parent lets go of it, whatever becomes of its children.
//!
//! Only forks that run the handlers of `pthread_atfork` are seen: `fork(2)`, as Python's `os.fork` and
//! `multiprocessing` use it. Starting another program needs none of this, since sockets are close-on-exec.
//! Where there is no fork, the generation is always 0.

// The two foreign calls below, and the fork in the tests; each with its proof.
#![allow(unsafe_code)]

#[cfg(unix)]
pub use unix::{ChildClose, close_in_child, generation, watch};

#[cfg(not(unix))]
pub use elsewhere::{ChildClose, close_in_child, generation, watch};

#[cfg(unix)]
mod unix {
    use std::os::fd::{AsFd, AsRawFd};
    use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicUsize, Ordering};

    use libc::c_int;

    use crate::slots;

    /// More sockets than a few servers hold at their limit of connections. A handler may not allocate or lock, which
    /// leaves a table of fixed size.
    const SLOTS: usize = 1024;

    const EMPTY: c_int = -1;

    static GENERATION: AtomicU32 = AtomicU32::new(0);
    static WATCHED: AtomicBool = AtomicBool::new(false);
    static SLOT: [AtomicI32; SLOTS] = [const { AtomicI32::new(EMPTY) }; SLOTS];
    /// No slot from here on was ever taken: spares the handler the rest of the table.
    static USED: AtomicUsize = AtomicUsize::new(0);

    // POSIX has it; the libc crate declares it for some systems only.
    unsafe extern "C" {
        fn pthread_atfork(
            prepare: Option<unsafe extern "C" fn()>,
            parent: Option<unsafe extern "C" fn()>,
            child: Option<unsafe extern "C" fn()>,
        ) -> c_int;
    }

    /// Makes [`generation`] count, from now on; does nothing when it already does.
    pub fn watch() {
        // Not a `Once`: one that was running in another thread at the time of a fork never ends in the child.
        if WATCHED.swap(true, Ordering::AcqRel) {
            return;
        }
        // SAFETY: the handlers have the type asked for, live as long as the program text, and `in_child` calls nothing
        // but what may be called between fork and exec of a process with threads (see there). A library that is unloaded takes
        // its handlers along: glibc and Apple's libc tie them to the object that registered them.
        // It fails only without memory for one entry; then forks go unseen, as they would without this module.
        let _ = unsafe { pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
    }

    extern "C" fn before() {
        slots::forking();
    }

    extern "C" fn in_parent() {
        slots::forked(false);
    }

    extern "C" fn in_child() {
        slots::forked(true);
        GENERATION.fetch_add(1, Ordering::Relaxed);
        for slot in SLOT.iter().take(USED.load(Ordering::Relaxed)) {
            let fd = slot.swap(EMPTY, Ordering::Relaxed);
            if fd != EMPTY {
                // SAFETY: close(2) is async-signal-safe. The descriptor is open and is the one that was registered:
                // its owner lives in the parent and takes it out of the table before closing it, and the copy of the
                // owner in this child does not close it (contract of `close_in_child`).
                unsafe { libc::close(fd) };
            }
        }
    }

    /// How many forks lie between the process that called [`watch`] first and this one.
    ///
    /// Store it with whatever does not survive a fork, compare before use.
    #[inline]
    pub fn generation() -> u32 {
        GENERATION.load(Ordering::Relaxed)
    }

    /// Keeps a descriptor on the list of those that a forked child closes; dropping this takes it off.
    ///
    /// In a child, dropping it does nothing: the list is empty there.
    #[derive(Debug)]
    #[must_use = "dropped at once, it takes the descriptor off the list again"]
    pub struct ChildClose {
        slot: Option<&'static AtomicI32>,
        generation: u32,
    }

    /// Has forked children close the descriptor of `socket`, while they keep everything else.
    ///
    /// Drop the guard before `socket`, so that no child closes a number that meanwhile means another file; and in a
    /// child ([`generation`] tells), forget `socket` instead of dropping it, since its number may be taken again.
    /// The list has 1024 places; beyond those, a child keeps its copy until it ends, which costs a port kept open,
    /// never correctness.
    pub fn close_in_child(socket: &impl AsFd) -> ChildClose {
        let fd = socket.as_fd().as_raw_fd();
        let generation = generation();
        let free = SLOT.iter().enumerate().find(|(_, slot)| {
            slot.load(Ordering::Relaxed) == EMPTY
                && slot.compare_exchange(EMPTY, fd, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        });
        if let Some((number, _)) = free {
            USED.fetch_max(number + 1, Ordering::Relaxed);
        }
        ChildClose { slot: free.map(|(_, slot)| slot), generation }
    }

    impl Drop for ChildClose {
        fn drop(&mut self) {
            if let Some(slot) = self.slot
                && self.generation == generation()
            {
                slot.store(EMPTY, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(not(unix))]
mod elsewhere {
    /// Does nothing where there is no fork.
    pub fn watch() {}

    /// Always 0 where there is no fork.
    pub fn generation() -> u32 {
        0
    }

    /// Nothing to close where there is no fork.
    #[derive(Debug)]
    pub struct ChildClose;

    /// Does nothing where there is no fork.
    pub fn close_in_child<T>(_: &T) -> ChildClose {
        ChildClose
    }
}

/// Forked children for tests.
#[cfg(all(feature = "testing", unix))]
pub mod testing {
    use std::io::{PipeReader, PipeWriter, Read, pipe};
    use std::os::fd::{AsRawFd, RawFd};

    use crate::sync::RwLock;

    use super::{generation, watch};

    /// Held for writing by tests that fork, for reading by those that want a port free again: a child of another test
    /// inherits every listener that happens to be off the list at that moment, which then stays for as long as it.
    pub static FORKS: RwLock<()> = RwLock::new(());

    /// A forked child that lives until this is dropped.
    pub struct Child {
        pid: libc::pid_t,
        keep: Option<PipeWriter>,
        /// The child's generation minus the parent's at the fork.
        pub generations: u8,
        /// What the function that ran in it returned.
        pub answer: bool,
    }

    impl Child {
        /// One that does nothing else.
        pub fn fork() -> Self {
            Self::fork_running(|_| true)
        }

        /// Drops a copy of `owner` in a child, where `fd` means another file by now; whether that stayed open.
        pub fn keeps_open<T>(fd: RawFd, owner: &T) -> bool {
            let child = Self::fork_running(|other| {
                // SAFETY: the child is a copy of this process of which nothing else uses `owner`: its threads are
                // not there, and the caller's frame is never returned to. The calls are async-signal-safe.
                unsafe {
                    libc::dup2(other, fd);
                    drop(std::ptr::read(owner));
                    libc::fcntl(fd, libc::F_GETFD) != -1
                }
            });
            child.answer
        }

        /// Runs `in_child`, which must do async-signal-safe things only, with a descriptor that is open there.
        ///
        /// # Panics
        /// Where the system has no further process, or the child does not answer.
        pub fn fork_running(in_child: impl FnOnce(RawFd) -> bool) -> Self {
            watch();
            let before = generation();
            let (wait, keep): (PipeReader, PipeWriter) = pipe().unwrap();
            let (mut told, tell): (PipeReader, PipeWriter) = pipe().unwrap();
            let (wait_fd, keep_fd, tell_fd) = (wait.as_raw_fd(), keep.as_raw_fd(), tell.as_raw_fd());
            // SAFETY: the child of this process with threads calls async-signal-safe functions only (close, write,
            // read, _exit, and what the callers above prove) on descriptors it inherited and on bytes of its own
            // stack, and never returns from here.
            let pid = unsafe { libc::fork() };
            if pid == 0 {
                let mut bytes = [generation().wrapping_sub(before).to_le_bytes()[0], u8::from(in_child(tell_fd))];
                // SAFETY: as above.
                unsafe {
                    libc::close(keep_fd);
                    libc::write(tell_fd, bytes.as_ptr().cast(), 2);
                    // Ends with the parent's side of the pipe.
                    libc::read(wait_fd, bytes.as_mut_ptr().cast(), 1);
                    libc::_exit(0);
                }
            }
            assert!(pid > 0, "{}", std::io::Error::last_os_error());
            drop((wait, tell));
            let mut bytes = [0; 2];
            told.read_exact(&mut bytes).unwrap();
            Self { pid, keep: Some(keep), generations: bytes[0], answer: bytes[1] != 0 }
        }
    }

    impl Drop for Child {
        fn drop(&mut self) {
            drop(self.keep.take());
            // SAFETY: waits for a child of this process that nobody else waits for; no status is asked for.
            unsafe { libc::waitpid(self.pid, std::ptr::null_mut(), 0) };
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;

    use super::testing::{Child, FORKS};
    use super::*;
    use crate::PerProcess;

    struct Counts<'a>(&'a std::cell::Cell<usize>);

    impl Drop for Counts<'_> {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }

    #[test]
    fn a_value_is_made_once_and_dropped_with_the_whole() {
        let _alone = FORKS.write(); // a fork of another test is not seen here, but its generation would be
        let drops = std::cell::Cell::new(0);
        let values = PerProcess::new();
        assert!(values.get().is_none());
        let first: *const Counts<'_> = values.get_or_init(|| Counts(&drops));
        assert!(std::ptr::eq(values.get_or_init(|| unreachable!()), first));
        assert!(values.get().is_some_and(|value| std::ptr::eq(value, first)));
        drop(values);
        assert_eq!(drops.get(), 1);
    }

    #[test]
    fn a_child_sees_no_value_of_its_parent_and_drops_none() {
        let _alone = FORKS.write();
        let drops = std::cell::Cell::new(0);
        let values = PerProcess::new();
        values.get_or_init(|| Counts(&drops));
        let child = Child::fork_running(|_| {
            let hidden = values.get().is_none();
            // SAFETY: the child is a copy of this process, and this frame is never returned to.
            drop(unsafe { std::ptr::read(&raw const values) });
            hidden && drops.get() == 0
        });
        assert!(child.answer);
        assert!(values.get().is_some());
    }

    #[test]
    fn threads_that_make_a_value_at_once_share_the_first() {
        let _alone = FORKS.read();
        let values = PerProcess::new();
        let seen: Vec<usize> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| std::ptr::from_ref(values.get_or_init(|| 0_u8)).addr())).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        assert!(seen.iter().all(|address| *address == seen[0]));
    }

    fn listen() -> (TcpListener, std::net::SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        (listener, addr)
    }

    #[test]
    fn a_child_is_the_next_generation_and_the_parent_stays() {
        let _alone = FORKS.write();
        watch();
        let before = generation();
        assert_eq!(Child::fork().generations, 1);
        assert_eq!(generation(), before);
    }

    #[test]
    fn a_port_is_free_once_the_parent_lets_go_while_the_child_lives() {
        let _alone = FORKS.write();
        let (listener, addr) = listen();
        let guard = close_in_child(&listener);
        let child = Child::fork();
        drop(guard);
        drop(listener);
        TcpListener::bind(addr).unwrap();
        drop(child);
    }

    #[test]
    fn a_descriptor_off_the_list_stays_open_in_the_child() {
        let _alone = FORKS.write();
        let (listener, addr) = listen();
        drop(close_in_child(&listener));
        let child = Child::fork();
        drop(listener);
        assert_eq!(TcpListener::bind(addr).unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
        drop(child);
    }

    #[test]
    fn dropping_a_guard_in_a_child_closes_nothing() {
        let _alone = FORKS.write();
        let (listener, _) = listen();
        let guard = close_in_child(&listener);
        assert!(Child::keeps_open(listener.as_raw_fd(), &guard));
        assert!(!Child::keeps_open(listener.as_raw_fd(), &listener), "the test would see it");
    }

    #[test]
    fn a_guard_gives_its_place_back() {
        let _alone = FORKS.write();
        let (listener, addr) = listen();
        for _ in 0..10_000 {
            drop(close_in_child(&listener));
        }
        let guard = close_in_child(&listener);
        let child = Child::fork();
        drop((guard, listener));
        TcpListener::bind(addr).unwrap();
        drop(child);
    }
}
