//! The parts that all JSON is made of, appended to a buffer: [text](mod@text) and [numbers](number). What they are put
//! together to, objects and lists, is written by who has them.

pub mod number;
pub mod text;
