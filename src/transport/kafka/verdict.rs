//! What librdkafka's word on a record means for the event.

use rdkafka::error::RDKafkaErrorCode as Code;

use crate::stats::{Outcome, Reason};

/// What becomes of an event whose record was not confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The client has come to its end: another one shall try.
    Again,
    /// It is dropped, and the destination is down.
    Down(Reason),
    /// It is dropped, and another one may fare better.
    Dropped(Reason),
}

impl Verdict {
    pub(super) fn of(code: Code) -> Self {
        match code {
            Code::Fatal | Code::Fenced | Code::PurgeQueue | Code::PurgeInflight => Self::Again,
            Code::MessageTimedOut | Code::OperationTimedOut | Code::RequestTimedOut => {
                Self::Down(Reason::Expired)
            }
            Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge => {
                Self::Dropped(Reason::TooBig)
            }
            Code::UnknownTopic
            | Code::UnknownPartition
            | Code::UnknownTopicOrPartition
            | Code::InvalidTopic
            | Code::TopicAuthorizationFailed => Self::Down(Reason::Rejected),
            Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::ClusterAuthorizationFailed => Self::Down(Reason::Refused),
            Code::BrokerTransportFailure | Code::AllBrokersDown | Code::Resolve => {
                Self::Down(Reason::Unreachable)
            }
            _ => Self::Dropped(Reason::Rejected),
        }
    }

    /// The outcome of an event that is not tried again.
    pub(super) fn outcome(self) -> Outcome {
        match self {
            Self::Again => Outcome::Dropped(Reason::Other, 0),
            Self::Down(reason) | Self::Dropped(reason) => Outcome::Dropped(reason, 0),
        }
    }
}
