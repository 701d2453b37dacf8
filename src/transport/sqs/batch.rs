//! What goes into one request, and what its answer means.

use std::borrow::Cow;
use std::error::Error;

use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::operation::send_message_batch::{SendMessageBatchError, SendMessageBatchOutput};
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, MessageAttributeValue, SendMessageBatchRequestEntry,
};

use super::client::Forbidden;
use crate::event::Value;
use crate::origin::HEADER;
use crate::stats::{Outcome, Reason};
use crate::wire::parse;

/// Most messages in one request.
pub(super) const MESSAGES: usize = 10;
/// Most bytes of the messages of one request: what every server takes. One may be larger.
pub(super) const BYTES: usize = 256 * 1024;
/// Longest group and deduplication ids.
const ID_BYTES: usize = 128;

/// An event ready to be sent.
#[derive(Debug)]
pub(super) struct Message<'a> {
    pub(super) payload: &'a [u8],
    pub(super) path: &'a str,
    /// For a FIFO queue: the group, and what no other message has.
    pub(super) fifo: Option<(&'a str, &'a str)>,
}

/// Bytes that a message takes of [`BYTES`].
pub(super) fn size(payload: &[u8], path: &str) -> usize {
    let text = std::str::from_utf8(payload).map(body);
    text.map_or(0, |text| text.len()) + HEADER.len() + "String".len() + path.len()
}

impl Message<'_> {
    /// The entry of that number. `None` if the payload is no text, which does not happen.
    pub(super) fn entry(&self, number: usize) -> Option<SendMessageBatchRequestEntry> {
        let path = MessageAttributeValue::builder()
            .data_type("String")
            .string_value(self.path)
            .build()
            .ok()?;
        let mut entry = SendMessageBatchRequestEntry::builder()
            .id(number.to_string())
            .message_body(body(std::str::from_utf8(self.payload).ok()?))
            .message_attributes(HEADER, path);
        if let Some((group, unique)) = self.fifo {
            entry = entry
                .message_group_id(group)
                .message_deduplication_id(unique);
        }
        entry.build().ok()
    }
}

/// The JSON text. Two characters that it may hold and SQS does not take are written as JSON
/// escapes, which mean the same.
fn body(text: &str) -> Cow<'_, str> {
    if !text.contains(['\u{fffe}', '\u{ffff}']) {
        return Cow::Borrowed(text);
    }
    let escaped = text.replace('\u{fffe}', "\\ufffe");
    Cow::Owned(escaped.replace('\u{ffff}', "\\uffff"))
}

/// The group of an event: the value of that parameter, else the event's name.
pub(super) fn group_of(payload: &[u8], parameter: Option<&str>) -> String {
    let Ok(notification) = parse::jsonrpc(payload) else {
        return "bellwire".to_owned();
    };
    let value = parameter.and_then(|name| match notification.get(name)? {
        Value::Str(text) => Some(text.to_string()),
        Value::Int(number) => Some(number.to_string()),
        Value::Uint(number) => Some(number.to_string()),
        _ => None,
    });
    let value = value.filter(|value| !value.is_empty());
    let group = value.unwrap_or_else(|| notification.method.to_string());
    // What it may not hold is left out; the whole stays apart from others by its sum.
    let plain: String = group.chars().filter(char::is_ascii_graphic).collect();
    match plain == group && plain.len() <= ID_BYTES {
        true => plain,
        false => format!(
            "{}:{:016x}",
            &plain[..plain.len().min(100)],
            sum(group.as_bytes())
        ),
    }
}

/// A number for some bytes, the same in every process (FNV-1a).
fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// What becomes of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Delivered,
    /// Shall be sent again; if it must not, it counts so.
    Again(Reason, String),
    /// It is not wanted, and others may be.
    Rejected(Reason, String),
    /// The request as a whole is not wanted: a smaller one may be.
    Smaller(Reason, String),
    /// None is wanted as things are.
    Down(Reason, String),
}

impl Verdict {
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Self::Delivered => Outcome::Delivered,
            Self::Again(reason, _)
            | Self::Rejected(reason, _)
            | Self::Smaller(reason, _)
            | Self::Down(reason, _) => Outcome::Dropped(*reason, 0),
        }
    }
}

/// What an answer says of each of so many entries.
pub(super) fn verdicts(answer: &SendMessageBatchOutput, count: usize) -> Vec<Verdict> {
    // One that the answer does not mention may have arrived, or not.
    let missing = || Verdict::Again(Reason::Unanswered, "no word of a message".to_owned());
    let mut verdicts: Vec<_> = std::iter::repeat_with(missing).take(count).collect();
    let place = |id: &str| id.parse::<usize>().ok().filter(|place| *place < count);
    for entry in answer.successful() {
        if let Some(place) = place(entry.id()) {
            verdicts[place] = Verdict::Delivered;
        }
    }
    for entry in answer.failed() {
        if let Some(place) = place(entry.id()) {
            verdicts[place] = of_entry(entry);
        }
    }
    verdicts
}

fn of_entry(entry: &BatchResultErrorEntry) -> Verdict {
    let text = shown(&format!(
        "{}: {}",
        entry.code(),
        entry.message().unwrap_or_default()
    ));
    match (entry.sender_fault(), entry.code()) {
        (true, code) if is_throttling(code) => Verdict::Again(Reason::Rejected, text),
        (true, code) if code.contains("TooLong") => Verdict::Rejected(Reason::TooBig, text),
        (true, _) => Verdict::Rejected(Reason::Rejected, text),
        (false, _) => Verdict::Again(Reason::Rejected, text),
    }
}

/// What it means for all entries that there was no answer, or an error.
pub(super) fn failed(error: &SdkError<SendMessageBatchError>) -> Verdict {
    let text = shown(&causes(error));
    if is_forbidden(error) {
        return Verdict::Down(Reason::Policy, text);
    }
    match error {
        SdkError::ServiceError(service) => {
            let service = service.err();
            let code = service.code().unwrap_or("an error without a code");
            let text = shown(&format!(
                "{code}: {}",
                service.message().unwrap_or_default()
            ));
            of_service(service, code, text)
        }
        SdkError::TimeoutError(_) | SdkError::ResponseError(_) => {
            Verdict::Again(Reason::Unanswered, text)
        }
        SdkError::DispatchFailure(failure) if failure.is_other() => {
            // No connection was tried: there are no credentials, for instance.
            Verdict::Again(Reason::Refused, text)
        }
        SdkError::DispatchFailure(_) => Verdict::Again(Reason::Unreachable, text),
        _ => Verdict::Again(Reason::Other, text),
    }
}

fn of_service(error: &SendMessageBatchError, code: &str, text: String) -> Verdict {
    if error.is_queue_does_not_exist() || code.contains("NonExistentQueue") {
        return Verdict::Down(Reason::Rejected, text);
    }
    if error.is_batch_request_too_long() || code.contains("BatchRequestTooLong") {
        return Verdict::Smaller(Reason::TooBig, text);
    }
    // What one message has that SQS does not take: it will be the same the next time.
    let is_message = [
        "InvalidParameter",
        "MissingParameter",
        "InvalidMessage",
        "UnsupportedOp",
    ];
    if is_message.iter().any(|part| code.contains(part)) {
        return Verdict::Smaller(Reason::Rejected, text);
    }
    let is_login = [
        "AccessDenied",
        "InvalidClientTokenId",
        "Signature",
        "ExpiredToken",
        "Security",
    ]
    .iter()
    .any(|part| code.contains(part));
    match is_login {
        true => Verdict::Again(Reason::Refused, text),
        false => Verdict::Again(Reason::Rejected, text),
    }
}

fn is_throttling(code: &str) -> bool {
    code.contains("Throttl") || code.contains("OverLimit")
}

/// All that an error says, outermost first.
fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

fn is_forbidden(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(cause) = next {
        if cause.is::<Forbidden>() {
            return true;
        }
        next = cause.source();
    }
    false
}

/// A text of the other side as it may stand in a listing.
fn shown(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(300).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_sqs_refuses_are_escaped() {
        assert!(matches!(body("{\"a\":\"é😀\"}"), Cow::Borrowed(_)));
        assert_eq!(body("\"\u{fffe}x\u{ffff}\""), "\"\\ufffex\\uffff\"");
    }

    #[test]
    fn a_group_is_a_parameter_or_the_event() {
        let params = r#"{"callid":"a@h","n":4,"b":"x y","l":"%"}"#.replace('%', &"y".repeat(200));
        let payload = format!(r#"{{"jsonrpc":"2.0","method":"E_X","params":{params}}}"#);
        let group = |name| group_of(payload.as_bytes(), name);
        assert_eq!(group(None), "E_X");
        assert_eq!(group(Some("callid")), "a@h");
        assert_eq!(group(Some("n")), "4");
        assert_eq!(group(Some("none")), "E_X");
        assert!(group(Some("b")).starts_with("xy:"));
        let cut = group(Some("l"));
        assert!(cut.starts_with("yyy") && cut.len() <= ID_BYTES, "{cut}");
    }
}
