//! Events as data: their names, their parameters, and what is known of them at the start.
//!
//! | module | noun |
//! |---|---|
//! | `name` | [`EventName`], checked once and then shared |
//! | `value` | [`Value`], one parameter's value |
//! | `params` | [`Params`], what a raise writes its parameters to |
//! | `notification` | [`Notification`], an event that was read, with its parameters |
//! | [`catalogue`] | the events that OpenSIPS and its modules raise |
//! | `draft` | a payload that is being written |
//! | `json` | strings and numbers of the payload, written by hand: a raise waits for them |

pub mod catalogue;
mod draft;
mod json;
mod name;
mod notification;
mod params;
mod value;

pub use name::{EventName, NameError};
pub use notification::{Notification, Param};
pub use params::Params;
pub use value::Value;

pub(crate) use draft::Draft;
pub(crate) use json::string as json_string;
