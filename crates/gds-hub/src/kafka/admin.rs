//! Asking the cluster, and looking after its topics.
#![allow(unsafe_code)] // each block says why it is sound

use std::collections::BTreeMap;
use std::ffi::c_char;
use std::ptr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka_sys as sys;
use sys::rd_kafka_OffsetSpec_t as Spec;
use sys::rd_kafka_admin_op_t as Operation;
use sys::rd_kafka_resp_err_t as Code;

use super::errors;
use super::native::{Event, Handle, millis};
use super::partitions::{Line, PartitionList, checked, slice};
use super::text::{c_text, owned_text};
use crate::error::{Error, Result};
use crate::hub::{Lag, NewTopic, Partition, Topic, TopicPartition};

/// Between looks whether a topic that was made is known.
const KNOWN_PAUSE: Duration = Duration::from_millis(20);

/// Whether a broker answers within `timeout`; else librdkafka's number.
pub(super) fn ping(handle: &Handle, timeout: Duration) -> Result<(), i32> {
    let mut metadata = ptr::null();
    // SAFETY: the handle is alive; what is returned is ours, and destroyed once.
    unsafe {
        let code = sys::rd_kafka_metadata(handle.raw(), 0, ptr::null_mut(), &raw mut metadata, millis(timeout)) as i32;
        if code != 0 {
            return Err(code);
        }
        sys::rd_kafka_metadata_destroy(metadata);
    }
    Ok(())
}

/// All topics, or one, without offsets. A topic that does not exist is an error.
pub(super) fn described(handle: &Handle, name: Option<&str>, timeout: Duration) -> Result<Vec<Topic>> {
    let mut topics = listed(handle, name, timeout)?.into_iter().collect::<Result<Vec<_>>>()?;
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(topics)
}

/// The same, where what is wrong with one topic is no matter of the others.
pub(super) fn listed(handle: &Handle, name: Option<&str>, timeout: Duration) -> Result<Vec<Result<Topic>>> {
    let mut metadata = ptr::null();
    let only = match name {
        None => ptr::null_mut(),
        Some(name) => {
            let text = c_text(name, "the topic's name")?;
            // SAFETY: the handle is alive; the name ends in NUL and is copied.
            let topic = unsafe { sys::rd_kafka_topic_new(handle.raw(), text.as_ptr(), ptr::null_mut()) };
            if topic.is_null() {
                return Err(Error::Message(format!("{name:?} is no name of a topic").into()));
            }
            topic
        }
    };
    // SAFETY: handle and topic are alive; the topic is ours and given back once.
    let code = unsafe {
        let all = i32::from(only.is_null());
        let code = sys::rd_kafka_metadata(handle.raw(), all, only, &raw mut metadata, millis(timeout)) as i32;
        if !only.is_null() {
            sys::rd_kafka_topic_destroy(only);
        }
        code
    };
    if code != 0 {
        return Err(handle.shared().unreachable((code, &errors::text(code))));
    }
    // SAFETY: the metadata is alive until destroyed, which happens once; its arrays are as long as it says.
    unsafe {
        let topics = slice((*metadata).topics, (*metadata).topic_cnt).iter().map(|topic| topic_of(topic)).collect();
        sys::rd_kafka_metadata_destroy(metadata);
        Ok(topics)
    }
}

/// # Safety
/// The description is alive.
unsafe fn topic_of(given: &sys::rd_kafka_metadata_topic) -> Result<Topic> {
    // SAFETY: the name ends in NUL; the array is as long as it says; the number is read as one.
    let (name, partitions, code) = unsafe {
        (
            owned_text(given.topic),
            slice(given.partitions, given.partition_cnt),
            (&raw const given.err).cast::<i32>().read(),
        )
    };
    if code != 0 {
        return Err(errors::error(code, format!("topic {name:?}: {}", errors::text(code))));
    }
    let mut partitions: Vec<Partition> = partitions
        .iter()
        .map(|given| Partition {
            id: given.id,
            leader: (given.leader >= 0).then_some(given.leader),
            replicas: usize::try_from(given.replica_cnt).unwrap_or(0),
            in_sync: usize::try_from(given.isr_cnt).unwrap_or(0),
            start: 0,
            end: 0,
        })
        .collect();
    partitions.sort_by_key(|partition| partition.id);
    Ok(Topic { name, partitions })
}

/// All topics, or one, with their oldest and next offsets. A partition without a leader has none to tell: both are 0.
pub(super) fn topics(handle: &Arc<Handle>, name: Option<&str>, timeout: Duration) -> Result<Vec<Topic>> {
    let end = Instant::now() + timeout;
    let mut topics = described(handle, name, timeout)?;
    let led: Vec<TopicPartition> = topics
        .iter()
        .flat_map(|topic| {
            let name: Arc<str> = topic.name.as_str().into();
            topic.partitions.iter().filter(|one| one.leader.is_some()).map(move |one| (name.clone(), one.id))
        })
        .collect();
    let starts = offsets(handle, &led, Spec::RD_KAFKA_OFFSET_SPEC_EARLIEST, left(end))?;
    let ends = offsets(handle, &led, Spec::RD_KAFKA_OFFSET_SPEC_LATEST, left(end))?;
    for topic in &mut topics {
        let name: Arc<str> = topic.name.as_str().into();
        for partition in &mut topic.partitions {
            let place = (name.clone(), partition.id);
            partition.start = starts.get(&place).copied().unwrap_or(0);
            partition.end = ends.get(&place).copied().unwrap_or(0);
        }
    }
    Ok(topics)
}

/// The oldest or next offset of each partition that has one to tell.
pub(super) fn offsets(
    handle: &Arc<Handle>,
    places: &[TopicPartition],
    which: Spec,
    timeout: Duration,
) -> Result<BTreeMap<TopicPartition, i64>> {
    list_offsets(handle, places.iter().map(|place| (place, which as i64)), timeout)
}

/// The first offset of each partition whose record is of that time or later, in milliseconds since the epoch; -1 where
/// there is none.
pub(super) fn offsets_at(
    handle: &Arc<Handle>,
    times: &[(TopicPartition, i64)],
    timeout: Duration,
) -> Result<BTreeMap<TopicPartition, i64>> {
    list_offsets(handle, times.iter().map(|(place, time)| (place, (*time).max(0))), timeout)
}

fn list_offsets<'a>(
    handle: &Arc<Handle>,
    wanted: impl Iterator<Item = (&'a TopicPartition, i64)>,
    timeout: Duration,
) -> Result<BTreeMap<TopicPartition, i64>> {
    let lines: Vec<_> = wanted.map(|((topic, partition), which)| (&**topic, *partition, which)).collect();
    if lines.is_empty() {
        return Ok(BTreeMap::new());
    }
    // It fails as a whole when not one of them has a leader, and does not say which they are.
    let (topic, partition, _) = lines[0];
    let others = if lines.len() > 1 { format!(" and of {} others", lines.len() - 1) } else { String::new() };
    let what = format!("offsets of partition {partition} of topic {topic:?}{others}");
    let list = PartitionList::of(lines)?;
    let event = ask(handle, Operation::RD_KAFKA_ADMIN_OP_LISTOFFSETS, timeout, &what, |options, queue| {
        // SAFETY: all four are alive; the list is copied.
        unsafe { sys::rd_kafka_ListOffsets(handle.raw(), list.raw(), options, queue) }
        Ok(())
    })?;
    let mut found = BTreeMap::new();
    // SAFETY: the event is the answer asked for, alive, and its parts with it; arrays are as long as it says.
    unsafe {
        let result = sys::rd_kafka_event_ListOffsets_result(event.raw());
        let mut count = 0;
        let infos = sys::rd_kafka_ListOffsets_result_infos(result, &raw mut count);
        for info in array(infos, count) {
            let given = sys::rd_kafka_ListOffsetsResultInfo_topic_partition(*info);
            if (&raw const (*given).err).cast::<i32>().read() == 0 {
                found.insert((owned_text((*given).topic).into(), (*given).partition), (*given).offset);
            }
        }
    }
    Ok(found)
}

pub(super) fn create_topic(handle: &Arc<Handle>, topic: &NewTopic, timeout: Duration) -> Result<()> {
    let name = c_text(&topic.name, "the topic's name")?;
    let mut text = [0 as c_char; 512];
    // SAFETY: the name ends in NUL and is copied; at most the length of `text` is written, NUL included.
    let made = unsafe {
        let (text, size) = (text.as_mut_ptr(), text.len());
        sys::rd_kafka_NewTopic_new(name.as_ptr(), topic.partitions, topic.replication, text, size)
    };
    if made.is_null() {
        // SAFETY: librdkafka ended the text with NUL.
        let reason = unsafe { owned_text(text.as_ptr()) };
        return Err(Error::Message(format!("topic {:?} cannot be made: {reason}", topic.name).into()));
    }
    let made = NewTopicHandle(made);
    for (key, value) in &topic.config {
        let (key, value) = (c_text(key, "the topic's setting")?, c_text(value, "the topic's setting")?);
        // SAFETY: the topic is alive; both texts end in NUL and are copied.
        checked(
            unsafe { sys::rd_kafka_NewTopic_set_config(made.0, key.as_ptr(), value.as_ptr()) },
            "the topic's setting",
        )?;
    }
    let operation = Operation::RD_KAFKA_ADMIN_OP_CREATETOPICS;
    let event = ask(handle, operation, timeout, "making a topic", |options, queue| {
        let mut one = [made.0];
        // SAFETY: all are alive; the topic is copied.
        unsafe { sys::rd_kafka_CreateTopics(handle.raw(), one.as_mut_ptr(), 1, options, queue) }
        Ok(())
    })?;
    // SAFETY: the event is the answer asked for, alive, and its parts with it; the array is as long as it says.
    unsafe {
        let mut count = 0;
        let result = sys::rd_kafka_event_CreateTopics_result(event.raw());
        topic_results(array(sys::rd_kafka_CreateTopics_result_topics(result, &raw mut count), count), "made")
    }
}

/// Waits until a broker knows a topic that was made, with a leader for each partition. Anything else that is wrong ends
/// the wait: who may make a topic need not be allowed to look at it.
pub(super) fn wait_until_known(handle: &Handle, name: &str, timeout: Duration) {
    let coming = [Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, Code::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE];
    let end = Instant::now() + timeout;
    loop {
        let is_coming = match described(handle, Some(name), left(end)) {
            Ok(topics) => topics.iter().flat_map(|topic| &topic.partitions).any(|one| one.leader.is_none()),
            Err(error) => coming.iter().any(|code| error.code() == Some(*code as i32)),
        };
        if !is_coming || left(end).is_zero() {
            return;
        }
        thread::sleep(KNOWN_PAUSE);
    }
}

pub(super) fn delete_topic(handle: &Arc<Handle>, name: &str, timeout: Duration) -> Result<()> {
    let text = c_text(name, "the topic's name")?;
    let operation = Operation::RD_KAFKA_ADMIN_OP_DELETETOPICS;
    let event = ask(handle, operation, timeout, "removing a topic", |options, queue| {
        // SAFETY: all are alive; the name ends in NUL; the topic is copied by the call and destroyed once.
        unsafe {
            let mut one = [sys::rd_kafka_DeleteTopic_new(text.as_ptr())];
            sys::rd_kafka_DeleteTopics(handle.raw(), one.as_mut_ptr(), 1, options, queue);
            sys::rd_kafka_DeleteTopic_destroy(one[0]);
        }
        Ok(())
    })?;
    // SAFETY: the event is the answer asked for, alive, and its parts with it; the array is as long as it says.
    unsafe {
        let mut count = 0;
        let result = sys::rd_kafka_event_DeleteTopics_result(event.raw());
        topic_results(array(sys::rd_kafka_DeleteTopics_result_topics(result, &raw mut count), count), "removed")
    }
}

pub(super) fn lag(handle: &Arc<Handle>, group: &str, timeout: Duration) -> Result<Vec<Lag>> {
    let end = Instant::now() + timeout;
    let committed = committed(handle, group, timeout)?;
    // Who may not know what groups there are is told of none.
    if committed.is_empty()
        && let Ok(groups) = groups(handle, left(end))
        && !groups.iter().any(|known| known == group)
    {
        return Err(crate::hub::no_such_group(group, &groups));
    }
    let places: Vec<TopicPartition> = committed.iter().map(|line| (line.topic.clone(), line.partition)).collect();
    let ends = offsets(handle, &places, Spec::RD_KAFKA_OFFSET_SPEC_LATEST, left(end))?;
    // A partition that is gone has no end.
    let known = committed.into_iter().filter_map(|line| {
        let end = *ends.get(&(line.topic.clone(), line.partition))?;
        let (topic, partition, position) = (line.topic, line.partition, line.offset);
        Some(Lag { topic, partition, position: Some(position), end, lag: (end - position).max(0) })
    });
    let mut lags: Vec<Lag> = known.collect();
    lags.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    Ok(lags)
}

/// Every offset a group has committed.
fn committed(handle: &Arc<Handle>, group: &str, timeout: Duration) -> Result<Vec<Line>> {
    let name = c_text(group, "the group's name")?;
    let operation = Operation::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS;
    let event = ask(handle, operation, timeout, "committed offsets", |options, queue| {
        // SAFETY: all are alive; the name ends in NUL and is copied; no list means all partitions; the request is
        // copied by the call and destroyed once.
        unsafe {
            let mut one = [sys::rd_kafka_ListConsumerGroupOffsets_new(name.as_ptr(), ptr::null())];
            sys::rd_kafka_ListConsumerGroupOffsets(handle.raw(), one.as_mut_ptr(), 1, options, queue);
            sys::rd_kafka_ListConsumerGroupOffsets_destroy(one[0]);
        }
        Ok(())
    })?;
    let mut lines = Vec::new();
    // SAFETY: the event is the answer asked for, alive, and its parts with it; the array is as long as it says.
    unsafe {
        let mut count = 0;
        let result = sys::rd_kafka_event_ListConsumerGroupOffsets_result(event.raw());
        let groups = sys::rd_kafka_ListConsumerGroupOffsets_result_groups(result, &raw mut count);
        for given in array(groups, count) {
            let error = sys::rd_kafka_group_result_error(*given);
            if !error.is_null() && sys::rd_kafka_error_code(error) as i32 != 0 {
                let (code, text) =
                    (sys::rd_kafka_error_code(error) as i32, owned_text(sys::rd_kafka_error_string(error)));
                return Err(errors::error(code, format!("committed offsets of group {group:?}: {text}")));
            }
            lines.extend(super::partitions::lines(sys::rd_kafka_group_result_partitions(*given)));
        }
    }
    lines.retain(|line| line.offset >= 0 && line.code == 0);
    Ok(lines)
}

pub(super) fn groups(handle: &Arc<Handle>, timeout: Duration) -> Result<Vec<String>> {
    let operation = Operation::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPS;
    let event = ask(handle, operation, timeout, "groups", |options, queue| {
        // SAFETY: all are alive.
        unsafe { sys::rd_kafka_ListConsumerGroups(handle.raw(), options, queue) }
        Ok(())
    })?;
    // SAFETY: the event is the answer asked for, alive, and its parts with it; the arrays are as long as it says.
    unsafe {
        let (mut count, mut failed) = (0, 0);
        let result = sys::rd_kafka_event_ListConsumerGroups_result(event.raw());
        let listed = array(sys::rd_kafka_ListConsumerGroups_result_valid(result, &raw mut count), count);
        let refused = array(sys::rd_kafka_ListConsumerGroups_result_errors(result, &raw mut failed), failed);
        // Some brokers not answering is an incomplete list, which is worse than none.
        if let Some(error) = refused.first() {
            let (code, text) =
                (sys::rd_kafka_error_code(*error) as i32, owned_text(sys::rd_kafka_error_string(*error)));
            return Err(errors::error(code, format!("groups: {text}")));
        }
        let name = |group: &*const _| owned_text(sys::rd_kafka_ConsumerGroupListing_group_id(*group));
        let mut names: Vec<String> = listed.iter().map(name).collect();
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }
}

pub(super) type Options = sys::rd_kafka_AdminOptions_t;

/// Sends a request and waits for its answer.
pub(super) fn ask(
    handle: &Arc<Handle>,
    operation: Operation,
    timeout: Duration,
    what: &str,
    send: impl FnOnce(*const Options, *mut sys::rd_kafka_queue_t) -> Result<()>,
) -> Result<Event> {
    struct Guard(*mut Options);
    impl Drop for Guard {
        fn drop(&mut self) {
            // SAFETY: ours, destroyed once.
            unsafe { sys::rd_kafka_AdminOptions_destroy(self.0) }
        }
    }
    let queue = handle.queue();
    let mut text = [0 as c_char; 512];
    let time = millis(timeout).max(1);
    // SAFETY: the handle is alive; the options are ours; at most the length of `text` is written.
    let options = unsafe {
        let options = Guard(sys::rd_kafka_AdminOptions_new(handle.raw(), operation));
        sys::rd_kafka_AdminOptions_set_request_timeout(options.0, time, text.as_mut_ptr(), text.len());
        // Only making and removing topics know it, and refuse to be without: others say no, which is as well.
        sys::rd_kafka_AdminOptions_set_operation_timeout(options.0, time, text.as_mut_ptr(), text.len());
        options
    };
    send(options.0, queue.raw())?;
    // librdkafka answers by itself when the time is over; a little longer, so that its reason is the one told.
    let event = queue.poll(timeout + Duration::from_secs(1));
    let code = event.as_ref().map_or(errors::TIMED_OUT, Event::code);
    match event {
        Some(event) if code == 0 => Ok(event),
        event => {
            let text = event.map_or_else(|| errors::text(code), |event| event.text());
            let (_, reason) = handle.shared().reason((code, &text));
            Err(errors::error(code, format!("{what}: no answer from the cluster: {reason}")))
        }
    }
}

struct NewTopicHandle(*mut sys::rd_kafka_NewTopic_t);

impl Drop for NewTopicHandle {
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once.
        unsafe { sys::rd_kafka_NewTopic_destroy(self.0) }
    }
}

/// # Safety
/// The results are alive.
unsafe fn topic_results(results: &[*const sys::rd_kafka_topic_result_t], what: &str) -> Result<()> {
    for result in results {
        // SAFETY: the caller's promise; the texts end in NUL.
        let (code, name, text) = unsafe {
            (
                sys::rd_kafka_topic_result_error(*result) as i32,
                owned_text(sys::rd_kafka_topic_result_name(*result)),
                owned_text(sys::rd_kafka_topic_result_error_string(*result)),
            )
        };
        if code != 0 {
            let text = if text.is_empty() { errors::text(code) } else { text };
            return Err(errors::error(code, format!("topic {name:?} cannot be {what}: {text}")));
        }
    }
    Ok(())
}

/// An array of pointers, as results have them.
///
/// # Safety
/// `count` pointers from `start` live for `'a`.
pub(super) unsafe fn array<'a, T>(start: *mut *const T, count: usize) -> &'a [*const T] {
    // SAFETY: the caller's promise.
    unsafe { slice(start.cast_const(), i32::try_from(count).unwrap_or(0)) }
}

fn left(end: Instant) -> Duration {
    end.saturating_duration_since(Instant::now())
}
