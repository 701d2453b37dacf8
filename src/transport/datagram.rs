//! What the errors of a datagram socket mean.

use std::io;

use rustix::io::Errno;

use crate::stats::{Outcome, Reason};

/// What a failed send means for the datagram.
pub(super) fn failed(error: &io::Error) -> Outcome {
    Outcome::Dropped(reason(error), error.raw_os_error().unwrap_or(0))
}

/// The reason for which a datagram was dropped after this error.
pub(super) fn reason(error: &io::Error) -> Reason {
    match Errno::from_io_error(error) {
        Some(Errno::MSGSIZE) => Reason::TooBig,
        Some(Errno::CONNREFUSED | Errno::CONNRESET | Errno::PIPE | Errno::NOTCONN) => {
            Reason::Refused
        }
        Some(
            Errno::NOENT
            | Errno::NETUNREACH
            | Errno::HOSTUNREACH
            | Errno::NETDOWN
            | Errno::TIMEDOUT,
        ) => Reason::Unreachable,
        _ => Reason::Other,
    }
}

/// Whether the send can be tried again when there is room.
pub(super) fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// Whether this kernel or this path does not cut buffers (UDP GSO). A segment that is larger than
/// the path's MTU is EINVAL before Linux 6.14 and EMSGSIZE since: sent by itself it may be
/// fragmented.
pub(super) fn cannot_cut(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(
        errno,
        Some(Errno::INVAL | Errno::IO | Errno::MSGSIZE | Errno::NOPROTOOPT | Errno::OPNOTSUPP)
    )
}
