//! The store as its users see it.

mod backup;
mod damage;
mod faulty;
mod format;
mod killed;
mod maintainer;
mod model;
mod readers;
mod scripts;
mod support;
mod uses;
