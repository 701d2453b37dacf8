//! Names and parameters of events, and the events known at the start.
