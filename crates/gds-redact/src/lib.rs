//! Takes secrets out of text, in linear time.
