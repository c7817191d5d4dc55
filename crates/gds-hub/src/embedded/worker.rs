//! A thread for what takes its time, such as a compaction. It is there while there is something to do.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use gds_process::sync::Mutex;
use gds_process::{fork, leave_signals};

/// Something to be done, unless what it is given says that it is to stop.
type Job = Box<dyn FnOnce(&AtomicBool) + Send>;

/// Does one thing after the other.
pub(super) struct Worker {
    queue: Arc<JobQueue>,
    generation: u32,
}

#[derive(Default)]
struct JobQueue {
    jobs: Mutex<Jobs>,
    stopped: AtomicBool,
}

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    /// There is one that looks for more before it ends.
    is_running: bool,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

impl Worker {
    pub(super) fn new() -> Self {
        Self { queue: Arc::default(), generation: fork::generation() }
    }

    /// Has `job` done; false when that cannot be, now or ever.
    pub(super) fn submit(&self, job: impl FnOnce(&AtomicBool) + Send + 'static) -> bool {
        let mut jobs = self.queue.jobs.lock();
        if self.queue.stopped.load(Ordering::Relaxed) {
            return false;
        }
        if !jobs.is_running {
            let queue = self.queue.clone();
            let work = move || {
                leave_signals();
                queue.work();
            };
            let Ok(thread) = thread::Builder::new().name("gds-hub-compact".to_owned()).spawn(work) else {
                return false;
            };
            jobs.is_running = true;
            jobs.thread = Some(thread);
        }
        jobs.waiting.push_back(Box::new(job));
        true
    }

    /// Has what is under way stop, and waits for that. In a forked child there is nothing to wait for.
    pub(super) fn stop(&self) {
        if self.generation != fork::generation() {
            return;
        }
        let thread = {
            let mut jobs = self.queue.jobs.lock();
            self.queue.stopped.store(true, Ordering::Relaxed);
            jobs.waiting.clear();
            jobs.thread.take()
        };
        if let Some(thread) = thread {
            let _ = thread.join(); // one that panicked has ended too
        }
    }
}

impl JobQueue {
    fn work(&self) {
        loop {
            let job = {
                let mut jobs = self.jobs.lock();
                let job = jobs.waiting.pop_front();
                jobs.is_running = job.is_some();
                job
            };
            let Some(job) = job else { return };
            job(&self.stopped);
        }
    }
}
