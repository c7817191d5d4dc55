//! Samples on a hub of this machine, and what receivers at real sockets get.

#![allow(clippy::all, clippy::pedantic, unused_must_use)]

mod api;
mod mail;
mod receivers;
mod support;
mod survival;
