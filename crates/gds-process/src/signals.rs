//! Leaving signals to the threads of the program.

/// Has the operating system deliver signals to other threads than this one.
///
/// Python acts on a signal when the thread that got it wakes the main thread; where a thread of ours gets it, a main
/// thread that waits in the kernel sleeps on, and Ctrl-C is lost. Faults of this thread itself stay deliverable.
#[cfg(unix)]
#[allow(unsafe_code)]
pub fn leave_signals() {
    // SAFETY: plain calls on a set of this stack frame; the mask changed is that of this thread only.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigfillset(&raw mut set);
        for fault in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGABRT] {
            libc::sigdelset(&raw mut set, fault);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
    }
}

/// Does nothing where there are no such signals.
#[cfg(not(unix))]
pub fn leave_signals() {}
