//! A thread that looks after a store.

use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use gds_process::sync::{Condvar, Mutex};

use crate::error::Error;
use crate::store::Store;

/// Calls [`Store::maintain`] again and again, on a thread of its own, until it is dropped. That waits for a call under way.
#[derive(Debug)]
pub struct Maintainer {
    ending: Arc<Ending>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Ending {
    asked: Mutex<bool>,
    changed: Condvar,
}

impl Ending {
    /// Waits so long, or until it is asked for; whether it is.
    fn wait(&self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        let (mut asked, mut over) = (self.asked.lock(), false);
        while !*asked && !over {
            (asked, over) = self.changed.wait_until(asked, deadline);
        }
        *asked
    }
}

impl Maintainer {
    /// Starts it. `failed` is told of an error once, and again when one of another kind or a success came between.
    pub fn start(store: Arc<Store>, every: Duration, failed: impl Fn(&Error) + Send + 'static) -> io::Result<Self> {
        let ending = Arc::new(Ending::default());
        let own = Arc::clone(&ending);
        let work = move || {
            gds_process::leave_signals();
            let mut said = None;
            while !own.wait(every) {
                match store.maintain() {
                    Ok(_) => said = None,
                    Err(error) => {
                        let kind = std::mem::discriminant(&error);
                        if said.replace(kind) != Some(kind) {
                            failed(&error);
                        }
                    }
                }
            }
        };
        let thread = Builder::new().name("gds-store".into()).spawn(work)?;
        Ok(Self { ending, thread: Some(thread) })
    }
}

impl Drop for Maintainer {
    fn drop(&mut self) {
        *self.ending.asked.lock() = true;
        self.ending.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}
