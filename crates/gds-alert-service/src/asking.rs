//! Asking the thread that evaluates.

use std::sync::mpsc;

use crate::error::{Error, Result};
use crate::evaluator::{Ask, Evaluator};

/// Asks the thread that evaluates, between two rounds: the state is its own.
#[derive(Clone, Debug)]
pub(crate) struct Asking(mpsc::Sender<Ask>);

impl Asking {
    /// A way to ask, and where it is heard.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Ask>) {
        let (asks, asked) = mpsc::channel();
        (Self(asks), asked)
    }

    /// Waits for the answer.
    pub(crate) fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Evaluator) -> T + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = mpsc::sync_channel(1);
        let ask: Ask = Box::new(move |evaluator| {
            // Who has given up does not want to know.
            let _ = answer.send(question(evaluator));
        });
        self.0.send(ask).map_err(|_| Error::Ended)?;
        answered.recv().map_err(|_| Error::Ended)
    }
}
