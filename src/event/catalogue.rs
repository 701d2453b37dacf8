//! The events known at the start.
