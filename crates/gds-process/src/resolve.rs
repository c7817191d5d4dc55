//! Looking up the addresses of host names, so that a fork does not break it in the child.
//!
//! The C library's `getaddrinfo` asks the kernel for this machine's addresses, and glibc holds a lock meanwhile that it
//! does not mend in a forked child: forked at that moment, the child would wait for ever in its first look-up, also in
//! one of the program's own. So a look-up passes the [gate].
//!
//! With `AI_ADDRCONFIG` the kernel is asked first, in well under a millisecond, and the name servers after that, with no
//! such lock: a look-up older than [`YOUNG`] is not waited for, however long they take to answer.

// The foreign call; with its proof.
#![allow(unsafe_code)]

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use dns_lookup::{AddrInfoHints, SockType};

use crate::gate;

/// A look-up of this age does not hold the lock any more. A hundred times what it takes on a machine at rest.
const YOUNG: Duration = Duration::from_millis(50);

/// The addresses of `host`, as the C library has them: of the kinds that this machine has itself.
///
/// # Errors
/// What the C library says; that takes as long as the name servers do.
pub fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let hints = AddrInfoHints { flags: ADDRCONFIG, socktype: SockType::Stream.into(), ..AddrInfoHints::default() };
    let _gate = gate::pass(YOUNG);
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
    let _gate = gate::pass(YOUNG);
    // SAFETY: as above.
    unsafe { libc::getaddrinfo(node, service, &raw const wanted, found) }
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
}
