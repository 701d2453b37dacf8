//! What no single file can explain.

#[doc = include_str!("manual/orderings.md")]
pub mod orderings {}
