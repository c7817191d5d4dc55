//! The embedded hub as its clients see it.
#![allow(missing_docs)]

#[path = "embedded/clients.rs"]
mod clients;
#[path = "embedded/compaction.rs"]
mod compaction;
#[path = "embedded/groups.rs"]
mod groups;
#[path = "embedded/killed.rs"]
mod killed;
#[path = "embedded/model.rs"]
mod model;
#[path = "embedded/owner.rs"]
mod owner;
#[path = "embedded/served.rs"]
mod served;
#[path = "embedded/support.rs"]
mod support;
#[path = "embedded/takeover.rs"]
mod takeover;
#[path = "embedded/topics.rs"]
mod topics;
