//! Samples on a hub of this machine, and what receivers at real sockets get.

mod api;
mod heartbeats;
mod mail;
mod receivers;
mod support;
mod survival;
mod tls;
