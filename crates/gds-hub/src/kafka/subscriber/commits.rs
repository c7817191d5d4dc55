//! Commits: one is under way at a time, and what came since goes with the next.

use std::time::{Duration, Instant};

use rdkafka_sys as sys;

use super::KafkaSubscriber;
use crate::error::{Error, Result};
use crate::kafka::callbacks::LogLevel;
use crate::kafka::errors::{self, error};
use crate::kafka::{assign, partitions::PartitionList};

const FENCED: i32 = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID as i32;
/// Between tries of a commit that failed and that nobody waits for.
const COMMIT_PAUSE: Duration = Duration::from_secs(1);

impl KafkaSubscriber {
    /// Takes the answer to the commit under way, if it has come or comes within `timeout`. One partition that is
    /// refused, such as one of a topic that was deleted, does not cost the others theirs.
    pub(in crate::kafka) fn answered(&mut self, timeout: Duration) -> Result<()> {
        if self.committing.is_none() {
            return Ok(());
        }
        let Some(event) = self.answers.poll(timeout) else {
            return if timeout.is_zero() { Ok(()) } else { Err(error(errors::TIMED_OUT, "no answer to the commit")) };
        };
        let mut kept = self.committing.take().unwrap_or_default();
        let code = event.code();
        let refused: Vec<_> = event.partitions().into_iter().filter(|line| line.code != 0).collect();
        if code != 0 && refused.is_empty() {
            self.next_try = Some(Instant::now() + COMMIT_PAUSE);
            return Err(self.explained(code, format!("the commit failed: {}", errors::text(code))));
        }
        for line in &refused {
            kept.remove(&(line.topic.clone(), line.partition));
        }
        self.client.shared().rebalance.lock().kept(&kept);
        let Some(first) = refused.first() else {
            self.next_try = None;
            self.complaint.clear();
            return Ok(());
        };
        self.next_try = Some(Instant::now() + COMMIT_PAUSE);
        let (topic, partition, text) = (&first.topic, first.partition, errors::text(first.code));
        let message = format!("the commit of partition {partition} of topic {topic:?} failed: {text}");
        Err(self.explained(first.code, message))
    }

    /// An error of librdkafka, with what can be done about it.
    pub(super) fn explained(&self, code: i32, message: String) -> Error {
        match &self.instance {
            Some(instance) if code == FENCED => errors::fatal(
                code,
                &format!(
                    "another member of the group has the group_instance_id {instance:?} too, and took the place of this \
                     one: give each member an id of its own"
                ),
            ),
            _ => error(code, message),
        }
    }

    /// Sends what is not committed yet, unless a commit is under way.
    pub(in crate::kafka) fn send_commit(&mut self) -> Result<()> {
        if self.committing.is_some() {
            return Ok(());
        }
        let pending = self.client.shared().rebalance.lock().pending.clone();
        if pending.is_empty() {
            return Ok(());
        }
        let lines = pending.iter().map(|((topic, partition), offset)| (&**topic, *partition, *offset));
        assign::commit(self.client.handle(), &PartitionList::of(lines)?, &self.answers)?;
        self.committing = Some(pending);
        Ok(())
    }

    /// Commits nobody waits for: sent again when they failed, told to the log.
    pub(super) fn commit_on(&mut self) {
        let sent = self.answered(Duration::ZERO).and_then(|()| {
            let due = self.next_try.is_none_or(|next| Instant::now() >= next);
            if due { self.send_commit() } else { Ok(()) }
        });
        if let Err(error) = sent {
            self.next_try = Some(Instant::now() + COMMIT_PAUSE);
            if self.complaint != error.message() {
                self.client.log(LogLevel::Warning, "COMMIT", error.message());
                error.message().clone_into(&mut self.complaint);
            }
        }
    }

    /// Commits what is not committed yet, and waits for the answer.
    pub(super) fn commit_all(&mut self, timeout: Duration) -> Result<()> {
        let end = Instant::now() + timeout;
        let left = || end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        // One that is under way says nothing about what was added since; its failure is overtaken.
        if self.committing.is_some() {
            let _ = self.answered(left());
        }
        if self.committing.is_some() {
            return Err(error(errors::TIMED_OUT, "no answer to the commit"));
        }
        self.send_commit()?;
        self.answered(left())
    }
}
