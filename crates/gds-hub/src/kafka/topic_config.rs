//! The settings of topics.
#![allow(unsafe_code)] // each block says why it is sound

use std::collections::BTreeMap;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use rdkafka_sys as sys;
use sys::rd_kafka_AlterConfigOpType_t as Change;
use sys::rd_kafka_ResourceType_t as Kind;
use sys::rd_kafka_admin_op_t as Operation;

use super::admin::{array, ask};
use super::errors;
use super::native::Handle;
use super::partitions::checked_error;
use super::text::{c_text, owned_text};
use crate::error::{Error, Result};

/// Changes settings of a topic; those without a value go back to the cluster's own.
pub(super) fn alter(
    handle: &Arc<Handle>,
    name: &str,
    changes: &BTreeMap<String, Option<String>>,
    timeout: Duration,
) -> Result<()> {
    const WHAT: &str = "the topic's setting";
    let resource = Resource::of(name)?;
    for (key, value) in changes {
        let key = c_text(key, WHAT)?;
        let value = value.as_deref().map(|value| c_text(value, WHAT)).transpose()?;
        let (change, value) = match &value {
            Some(value) => (Change::RD_KAFKA_ALTER_CONFIG_OP_TYPE_SET, value.as_ptr()),
            None => (Change::RD_KAFKA_ALTER_CONFIG_OP_TYPE_DELETE, ptr::null()),
        };
        // SAFETY: the resource is alive; both texts end in NUL, or are null, and are copied; the error returned is ours.
        let added =
            unsafe { sys::rd_kafka_ConfigResource_add_incremental_config(resource.0, key.as_ptr(), change, value) };
        // SAFETY: as returned just before.
        unsafe { checked_error(added, WHAT)? };
    }
    let operation = Operation::RD_KAFKA_ADMIN_OP_INCREMENTALALTERCONFIGS;
    let event = ask(handle, operation, timeout, "changing a topic", |options, queue| {
        let mut one = [resource.0];
        // SAFETY: all are alive; the resource is copied.
        unsafe { sys::rd_kafka_IncrementalAlterConfigs(handle.raw(), one.as_mut_ptr(), 1, options, queue) }
        Ok(())
    })?;
    // SAFETY: the event is the answer asked for, alive, and its parts with it; the array is as long as it says.
    unsafe {
        let mut count = 0;
        let result = sys::rd_kafka_event_IncrementalAlterConfigs_result(event.raw());
        let resources = sys::rd_kafka_IncrementalAlterConfigs_result_resources(result, &raw mut count);
        array(resources, count).iter().try_for_each(|resource| check(*resource, "changed"))
    }
}

/// The settings of a topic as they are.
pub(super) fn of(handle: &Arc<Handle>, name: &str, timeout: Duration) -> Result<BTreeMap<String, String>> {
    let resource = Resource::of(name)?;
    let operation = Operation::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS;
    let event = ask(handle, operation, timeout, "the settings of a topic", |options, queue| {
        let mut one = [resource.0];
        // SAFETY: all are alive; the resource is copied.
        unsafe { sys::rd_kafka_DescribeConfigs(handle.raw(), one.as_mut_ptr(), 1, options, queue) }
        Ok(())
    })?;
    let mut found = BTreeMap::new();
    // SAFETY: the event is the answer asked for, alive, and its parts with it; arrays are as long as it says.
    unsafe {
        let mut count = 0;
        let result = sys::rd_kafka_event_DescribeConfigs_result(event.raw());
        let resources = sys::rd_kafka_DescribeConfigs_result_resources(result, &raw mut count);
        for resource in array(resources, count) {
            check(*resource, "described")?;
            let mut count = 0;
            let entries = sys::rd_kafka_ConfigResource_configs(*resource, &raw mut count);
            for entry in array(entries, count) {
                let name = owned_text(sys::rd_kafka_ConfigEntry_name(*entry));
                found.insert(name, owned_text(sys::rd_kafka_ConfigEntry_value(*entry)));
            }
        }
    }
    Ok(found)
}

/// # Safety
/// The resource is alive.
unsafe fn check(resource: *const sys::rd_kafka_ConfigResource_t, what: &str) -> Result<()> {
    // SAFETY: the caller's promise; the texts end in NUL.
    let (code, name, text) = unsafe {
        (
            sys::rd_kafka_ConfigResource_error(resource) as i32,
            owned_text(sys::rd_kafka_ConfigResource_name(resource)),
            owned_text(sys::rd_kafka_ConfigResource_error_string(resource)),
        )
    };
    if code == 0 {
        return Ok(());
    }
    let text = if text.is_empty() { errors::text(code) } else { text };
    Err(errors::error(code, format!("topic {name:?} cannot be {what}: {text}")))
}

/// What is asked about.
struct Resource(*mut sys::rd_kafka_ConfigResource_t);

impl Resource {
    fn of(topic: &str) -> Result<Self> {
        let name = c_text(topic, "the topic's name")?;
        // SAFETY: the name ends in NUL and is copied; what is returned is ours.
        let made = unsafe { sys::rd_kafka_ConfigResource_new(Kind::RD_KAFKA_RESOURCE_TOPIC, name.as_ptr()) };
        if made.is_null() {
            return Err(Error::Message(format!("{topic:?} is no name of a topic").into()));
        }
        Ok(Self(made))
    }
}

impl Drop for Resource {
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once.
        unsafe { sys::rd_kafka_ConfigResource_destroy(self.0) }
    }
}
