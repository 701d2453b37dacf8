//! `event_flatstore:rotate`: has a file closed and its successor opened.

use super::answer::Answer;
use super::commands::Context;
use super::failure::Failure;
use super::recipe::Arguments;
use crate::transport::RotateError;

/// `evi_flat_rotate`. When it is answered, lines go to the successor.
pub(super) fn rotate(context: &Context, arguments: &Arguments) -> Result<Answer, Failure> {
    let path = arguments.required_text("path_to_file")?;
    match context.handle.rotate_flatstore(&path) {
        Ok(()) => Ok(Answer::Ok),
        Err(RotateError::Unknown(_)) => Err(Failure::command(400, "File not found")),
        Err(RotateError::Failed(why)) => Err(Failure::because(500, "Cannot Rotate File", why)),
    }
}
