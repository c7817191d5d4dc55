//! Rules for alerts, and the engine that evaluates them.
//!
//! A [rules file](rules) says what is looked at, in [expressions](expression) and conditions; [`engine::Engine::step`] takes
//! [what happens](event) and gives [what is to be done](effect). Everything around it, where samples come from, where state
//! is kept and how notifications are delivered, is the caller's.
//!
//! ```
//! use std::sync::Arc;
//!
//! use gds_alerting::effect::{Effect, State};
//! use gds_alerting::engine::Engine;
//! use gds_alerting::event::Event;
//! use gds_alerting::rules::Rules;
//! use gds_alerting::sample::Sample;
//!
//! let rules = Rules::parse(
//!     r#"
//! version: 1
//! rules:
//!   - id: cpu_high
//!     metric: cpu_usage
//!     threshold: {op: ">", value: 85}
//! "#,
//! )?;
//! let mut engine = Engine::new(Arc::new(rules));
//! let mut effects = Vec::new();
//! let sample = Sample { metric: "cpu_usage".into(), instance_id: "db-1".into(), value: 90.0, ..Sample::default() };
//! engine.step(&Event::Sample(sample), 1_000, &mut effects);
//! let Effect::Transition(fired) = &effects[0] else { unreachable!("nothing else happens") };
//! assert_eq!((fired.key.as_str(), fired.to), ("cpu_high:db-1:cpu_usage", State::Firing));
//! # Ok::<(), gds_alerting::problem::Problems>(())
//! ```

pub mod case;
pub mod check;
mod condition;
pub mod decimal;
pub mod duration;
pub mod effect;
pub mod engine;
pub mod event;
pub mod expression;
pub mod matcher;
mod nearest;
pub mod problem;
pub mod replay;
pub mod rules;
pub mod sample;
pub mod schedule;
mod series;
pub mod template;
mod yaml;
