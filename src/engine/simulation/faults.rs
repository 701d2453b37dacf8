//! What the simulated kernel can do wrong, and how often it does.

use std::io;

use rustix::io::Errno;

use super::random::Random;

/// A call that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// Opening or connecting a socket.
    Open,
    /// `sendmmsg`.
    Send,
    /// A buffer for the kernel to cut.
    Cut,
}

/// Everything that can go wrong in one call, by number: an errno, or fewer datagrams taken.
pub(super) const FAULTS: &[Fault] = &[
    Fault::Errno(Errno::AGAIN),
    Fault::Errno(Errno::NOBUFS),
    Fault::Errno(Errno::CONNREFUSED),
    Fault::Errno(Errno::MSGSIZE),
    Fault::Errno(Errno::PERM),
    Fault::Errno(Errno::NETUNREACH),
    Fault::Errno(Errno::HOSTUNREACH),
    Fault::Errno(Errno::NETDOWN),
    Fault::Errno(Errno::INTR),
    Fault::Errno(Errno::NOMEM),
    Fault::Errno(Errno::PIPE),
    Fault::Errno(Errno::CONNRESET),
    Fault::Errno(Errno::NOTCONN),
    Fault::Errno(Errno::IO),
    Fault::Partial,
    // Of an open only.
    Fault::Errno(Errno::MFILE),
    Fault::Errno(Errno::NFILE),
    Fault::Errno(Errno::ACCESS),
    Fault::Errno(Errno::NOENT),
    // Of a buffer to cut only.
    Fault::Errno(Errno::INVAL),
    Fault::Errno(Errno::OPNOTSUPP),
    Fault::Errno(Errno::NOPROTOOPT),
];

/// The faults that any call can have are the first of [`FAULTS`].
const ANY: usize = 15;
const OPEN: std::ops::Range<usize> = 15..19;
const CUT: std::ops::Range<usize> = 19..22;

/// One way to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Errno(Errno),
    /// The kernel takes fewer datagrams than it is given.
    Partial,
}

impl Fault {
    pub(super) fn error(self) -> io::Error {
        match self {
            Self::Errno(errno) => errno.into(),
            Self::Partial => unreachable!("a short count is no error"),
        }
    }
}

/// How often calls fail, and how.
#[derive(Debug, Default)]
pub(super) struct Weather {
    /// One call in so many fails; none if 0.
    pub(super) one_in: usize,
    /// If set, every failure is this one.
    pub(super) only: Option<usize>,
}

impl Weather {
    /// Some other weather: fair, mixed, or a storm of one kind.
    pub(super) fn change(random: &mut Random) -> Self {
        let one_in = random.pick(&[0, 0, 30, 10, 4, 2, 1]);
        let only = random.one_in(2).then(|| random.below(FAULTS.len()));
        Self { one_in, only }
    }

    /// The number of the fault that this call has, if it has one.
    pub(super) fn strike(&self, call: Call, random: &mut Random) -> Option<usize> {
        if !random.one_in(self.one_in) {
            return None;
        }
        let own = match call {
            Call::Open => OPEN,
            Call::Cut => CUT,
            Call::Send => 0..0,
        };
        let number = match self.only {
            Some(only) => only,
            None => match random.below(ANY + own.len()) {
                any if any < ANY => any,
                other => own.start + (other - ANY),
            },
        };
        let possible = number < ANY || own.contains(&number);
        // Only a batch can be taken in part.
        let short = FAULTS[number] == Fault::Partial && call != Call::Send;
        (possible && !short).then_some(number)
    }
}
