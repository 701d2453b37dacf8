//! The payload formats: how events look outside.
//!
//! | module | noun |
//! |---|---|
//! | [`jsonrpc`] | the JSON-RPC notification of OpenSIPS 3.1 and later: what a raise encodes |
//! | [`text`] | the text datagram of OpenSIPS 1.7 to 3.0, made from a notification that was read |
//! | [`request`] | the notification as `tcp:` subscribers want it: with a method, with an id |
//! | [`reply`] | what they answer, read as it comes |
//! | [`flat`] | the line of a flat file |
//! | [`xml`] | the body of an XML-RPC call |
//! | [`parse`] | the first two, read |

pub mod flat;
pub mod jsonrpc;
pub mod parse;
pub mod reply;
pub mod request;
pub mod text;
pub mod xml;
