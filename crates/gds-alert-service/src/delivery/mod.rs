//! Delivery: a durable outbox, and workers for each channel, so that one that hangs delays no other.
//!
//! A channel has one worker, or several that share its alerts: the messages of one alert stay in order. What is delivered
//! is out of the outbox before the worker takes the next, so that an end of the process repeats one message of a worker
//! at most.

mod bus;
mod channel;
mod gds_notification;
mod heartbeat;
mod http;
mod mail;
mod outcome;
mod pace;
mod pagerduty;
mod settings;
mod slack;
pub(crate) mod text;
mod webhook;
mod worker;

pub use channel::Channels;
pub(crate) use heartbeat::Heartbeat;
pub use worker::Counts;
pub(crate) use worker::Dispatcher;
