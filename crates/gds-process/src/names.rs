//! Looking up the addresses of host names, so that a fork does not break it in the child.
//!
//! The C library's `getaddrinfo` asks the kernel for this machine's addresses, and glibc holds a lock meanwhile that it
//! does not mend in a forked child: forked at that moment, the child would wait for ever in its first look-up, also in
//! one of the program's own. The threads of a library must not bring that upon a program. So a look-up passes a gate
//! here, which a fork closes, and a fork waits for look-ups that have just begun.
//!
//! With `AI_ADDRCONFIG` the kernel is asked first, in well under a millisecond, and the name servers after that, with no
//! such lock: a look-up older than [`YOUNG`] is not waited for, however long they take to answer.

// The foreign call; with its proof.
#![allow(unsafe_code)]

use std::io;
use std::net::{IpAddr, SocketAddr};

use dns_lookup::{AddrInfoHints, SockType};

#[cfg(unix)]
pub(crate) use gate::{forked, forking};

/// The addresses of `host`, as the C library has them: of the kinds that this machine has itself.
///
/// # Errors
/// What the C library says; that takes as long as the name servers do.
pub fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let hints = AddrInfoHints { flags: ADDRCONFIG, socktype: SockType::Stream.into(), ..AddrInfoHints::default() };
    let _gate = gate::pass();
    let found = dns_lookup::getaddrinfo(Some(host), None, Some(hints)).map_err(io::Error::from)?;
    found.map(|found| found.map(|found| SocketAddr::new(found.sockaddr.ip(), port))).collect()
}

#[cfg(unix)]
const ADDRCONFIG: i32 = libc::AI_ADDRCONFIG;
#[cfg(not(unix))]
const ADDRCONFIG: i32 = 0;

/// The C library's `getaddrinfo`, for libraries in C that let theirs be replaced.
///
/// Addresses in digits are not looked up, and take no lock.
///
/// # Safety
/// As for `getaddrinfo`: the texts are null or end in NUL, `hints` is null or valid, `found` may be written to.
#[cfg(unix)]
pub unsafe fn getaddrinfo(
    node: *const libc::c_char,
    service: *const libc::c_char,
    hints: *const libc::addrinfo,
    found: *mut *mut libc::addrinfo,
) -> libc::c_int {
    // SAFETY: plain numbers and null pointers, for which zeros are valid.
    let mut wanted: libc::addrinfo = unsafe { std::mem::zeroed() };
    if !hints.is_null() {
        // SAFETY: not null, so valid; what is read are numbers.
        let hints = unsafe { &*hints };
        wanted.ai_family = hints.ai_family;
        wanted.ai_socktype = hints.ai_socktype;
        wanted.ai_protocol = hints.ai_protocol;
        wanted.ai_flags = hints.ai_flags;
    }
    let flags = wanted.ai_flags;
    // What this machine has itself matters for names only.
    wanted.ai_flags = flags & !libc::AI_ADDRCONFIG | libc::AI_NUMERICHOST;
    // SAFETY: the caller's promise; the hints are ours and valid.
    let result = unsafe { libc::getaddrinfo(node, service, &raw const wanted, found) };
    if result != libc::EAI_NONAME {
        return result;
    }
    wanted.ai_flags = flags | libc::AI_ADDRCONFIG;
    let _gate = gate::pass();
    // SAFETY: as above.
    unsafe { libc::getaddrinfo(node, service, &raw const wanted, found) }
}

#[cfg(unix)]
mod gate {
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
    use std::time::Duration;

    use rustix::time::{ClockId, clock_gettime};

    /// A look-up of this age does not hold the lock any more. A hundred times what it takes on a machine at rest.
    pub(super) const YOUNG: Duration = Duration::from_millis(50);

    const PAUSE: Duration = Duration::from_micros(100);

    /// Look-ups at the same time; further ones wait. A handler of forks may not allocate or lock, so a table.
    const PLACES: usize = 256;

    const FREE: u64 = 0;

    /// Forks under way.
    static FORKING: AtomicUsize = AtomicUsize::new(0);
    /// Since when each look-up is under way, in nanoseconds of the monotonic clock.
    static SINCE: [AtomicU64; PLACES] = [const { AtomicU64::new(FREE) }; PLACES];

    /// A look-up under way.
    pub(super) struct Passed(&'static AtomicU64);

    impl Drop for Passed {
        fn drop(&mut self) {
            self.0.store(FREE, Ordering::SeqCst);
        }
    }

    /// Waits until no fork is under way.
    pub(super) fn pass() -> Passed {
        crate::fork::watch();
        loop {
            if FORKING.load(Ordering::SeqCst) == 0
                && let Some(place) = take_place()
            {
                // Either this look sees the fork, or the fork, which looks at the places later, sees this look-up.
                if FORKING.load(Ordering::SeqCst) == 0 {
                    return place;
                }
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn take_place() -> Option<Passed> {
        let now = now();
        let free =
            SINCE.iter().find(|place| place.compare_exchange(FREE, now, Ordering::SeqCst, Ordering::SeqCst).is_ok());
        free.map(Passed)
    }

    /// Before a fork: closes the gate, and waits for those who passed it just now.
    pub(crate) fn forking() {
        FORKING.fetch_add(1, Ordering::SeqCst);
        for place in &SINCE {
            while is_young(place.load(Ordering::SeqCst)) {
                std::thread::sleep(PAUSE);
            }
        }
    }

    /// After it: opens the gate, in the child for a process without look-ups.
    pub(crate) fn forked(in_child: bool) {
        if in_child {
            for place in &SINCE {
                place.store(FREE, Ordering::SeqCst);
            }
            FORKING.store(0, Ordering::SeqCst);
        } else {
            FORKING.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn is_young(since: u64) -> bool {
        since != FREE && u128::from(now().saturating_sub(since)) < YOUNG.as_nanos()
    }

    fn now() -> u64 {
        let now = clock_gettime(ClockId::Monotonic);
        let nanos = i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec);
        u64::try_from(nanos).unwrap_or(1).max(1)
    }
}

#[cfg(not(unix))]
mod gate {
    /// There are no forks.
    pub(super) fn pass() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_digits_is_itself() {
        assert_eq!(resolve("192.0.2.1", 9092).unwrap(), ["192.0.2.1:9092".parse().unwrap()]);
        assert_eq!(resolve("2001:db8::1", 1).unwrap(), ["[2001:db8::1]:1".parse().unwrap()]);
    }

    #[test]
    fn localhost_is_this_machine_and_a_name_that_is_none_is_an_error() {
        let found = resolve("localhost", 80).unwrap();
        assert!(!found.is_empty() && found.iter().all(|found| found.ip().is_loopback() && found.port() == 80));
        resolve("no such name", 80).unwrap_err();
    }

    #[cfg(unix)]
    #[test]
    fn a_fork_waits_for_young_look_ups_only_and_lets_no_other_begin() {
        use std::sync::mpsc;
        use std::time::{Duration, Instant};

        let _alone = crate::fork::testing::FORKS.write();
        let (told, tell) = mpsc::channel();
        let began = Instant::now();
        let never_ends = gate::pass();
        forking();
        assert!(began.elapsed() >= gate::YOUNG, "the fork did not wait for a look-up that had just begun");
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let place = gate::pass();
                told.send(()).unwrap();
                drop(place);
            });
            tell.recv_timeout(Duration::from_millis(20)).expect_err("a look-up began during a fork");
            // A second fork at the same time waits for none of them.
            forking();
            forked(false);
            tell.recv_timeout(Duration::from_millis(20)).expect_err("a look-up began during a fork");
            forked(false);
            tell.recv_timeout(Duration::from_secs(60)).expect("the gate is open again");
        });
        drop(never_ends);
    }

    #[cfg(unix)]
    #[test]
    fn a_child_looks_names_up_whatever_its_parent_was_looking_up() {
        let _alone = crate::fork::testing::FORKS.write();
        let _place = gate::pass();
        let child = crate::fork::testing::Child::fork_running(|_| {
            drop(gate::pass()); // waits for no one
            true
        });
        assert!(child.answer);
    }
}
