//! Datagram sockets that listen: what the management interface and the ingest share.
//!
//! A UNIX socket is a file: it gets its mode before it gets its name, replaces a stale one only
//! when nobody answers there, and is removed when the listener is dropped, if it is still its own.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::net::ToSocketAddrs;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::os::fd::RawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::FileType;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use socket2::Domain;
use socket2::SockAddr;
use socket2::Socket;
use socket2::Type;

use crate::limits;

/// How to listen.
#[derive(Clone, Debug)]
pub(crate) struct ListenOptions {
    /// Permissions of a UNIX socket.
    pub(crate) mode: u32,
    /// Whether UDP may listen on addresses that other hosts reach.
    pub(crate) remote: bool,
    /// Size of the kernel's receive queue that is asked for, in bytes.
    pub(crate) receive_buffer: Option<usize>,
}

/// Why a socket does not listen: what is wrong with it, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("listening on {place:?}: {problem}")]
pub(crate) struct ListenError {
    pub(crate) place: String,
    pub(crate) problem: String,
}

impl ListenError {
    fn new(place: impl fmt::Display, problem: impl Into<String>) -> Self {
        Self {
            place: place.to_string(),
            problem: problem.into(),
        }
    }
}

/// A bound datagram socket that never blocks.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: Bound,
    name: String,
}

#[derive(Debug)]
enum Bound {
    Udp(UdpSocket),
    /// The file goes before the socket is closed: until then nobody can take it for stale.
    Unix(OwnFile, UnixDatagram),
}

/// Who sent a datagram.
#[derive(Clone, Debug)]
pub(crate) enum Peer {
    Udp(SocketAddr),
    Unix(net::SocketAddr),
}

impl PartialEq for Peer {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Udp(one), Self::Udp(other)) => one == other,
            (Self::Unix(one), Self::Unix(other)) => {
                one.as_pathname() == other.as_pathname()
                    && one.as_abstract_name() == other.as_abstract_name()
            }
            _ => false,
        }
    }
}

impl Peer {
    /// Whether it can be answered: a UNIX socket without a name cannot.
    pub(crate) fn is_named(&self) -> bool {
        match self {
            Self::Udp(_) => true,
            Self::Unix(address) => !address.is_unnamed(),
        }
    }
}

impl Listener {
    /// Binds `udp:<host>:<port>`, `unix:<path>`, or a bare absolute path. Port 0 takes any free
    /// one.
    pub(crate) fn bind(text: &str, options: &ListenOptions) -> Result<Self, ListenError> {
        let bound = if let Some(address) = text.strip_prefix("udp:") {
            Bound::Udp(bind_udp(address, options).map_err(|why| ListenError::new(text, why))?)
        } else if let Some(path) = text
            .strip_prefix("unix:")
            .or(text.strip_prefix('/').map(|_| text))
        {
            let (socket, file) =
                bind_unix(Path::new(path), options).map_err(|why| ListenError::new(text, why))?;
            Bound::Unix(file, socket)
        } else {
            let right = "expected udp:<host>:<port> or unix:<path>";
            return Err(ListenError::new(text, right));
        };
        let name = match &bound {
            Bound::Udp(socket) => match socket.local_addr() {
                Ok(address) => format!("udp:{address}"),
                Err(error) => return Err(ListenError::new(text, error.to_string())),
            },
            Bound::Unix(file, _) => format!("unix:{}", file.path.display()),
        };
        Ok(Self {
            socket: bound,
            name,
        })
    }

    /// What it is bound to, as a socket string with the true port.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Takes one datagram; `WouldBlock` when there is none. One that is longer than `buffer` is
    /// cut.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Peer)> {
        match &self.socket {
            Bound::Udp(socket) => socket
                .recv_from(buffer)
                .map(|(length, from)| (length, Peer::Udp(from))),
            Bound::Unix(_, socket) => socket
                .recv_from(buffer)
                .map(|(length, from)| (length, Peer::Unix(from))),
        }
    }

    /// Sends one datagram, whole or not at all; `WouldBlock` when the peer's queue is full.
    pub(crate) fn send(&self, payload: &[u8], to: &Peer) -> io::Result<()> {
        match (&self.socket, to) {
            (Bound::Udp(socket), Peer::Udp(address)) => socket.send_to(payload, address),
            (Bound::Unix(_, socket), Peer::Unix(address)) => socket.send_to_addr(payload, address),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
        .map(|_| ())
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Bound::Udp(socket) => socket.as_fd(),
            Bound::Unix(_, socket) => socket.as_fd(),
        }
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

fn bind_udp(text: &str, options: &ListenOptions) -> Result<UdpSocket, String> {
    let address = resolve(text)?;
    if !options.remote && !address.ip().is_loopback() {
        return Err(format!(
            "{} can be reached from other hosts and nothing asks who they are: use 127.0.0.1 or \
             [::1], or allow remote senders in the configuration",
            address.ip()
        ));
    }
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::DGRAM, None).map_err(|e| e.to_string())?;
    prepare(&socket, options)?;
    socket
        .bind(&address.into())
        .map_err(|error| format!("cannot bind: {error}"))?;
    Ok(socket.into())
}

fn resolve(text: &str) -> Result<SocketAddr, String> {
    let right = "expected udp:<host>:<port>, such as udp:127.0.0.1:8080 or udp:[::1]:8080";
    let (host, port) = text.rsplit_once(':').ok_or(right)?;
    let port: u16 = port
        .parse()
        .map_err(|_| format!("{port:?} is no port; {right}"))?;
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    if host.is_empty() {
        return Err(right.into());
    }
    let mut found = (host, port)
        .to_socket_addrs()
        .map_err(|error| format!("cannot resolve {host:?}: {error}"))?;
    found
        .next()
        .ok_or_else(|| format!("{host:?} has no address"))
}

/// Sets what a socket must have before it is bound.
fn prepare(socket: &Socket, options: &ListenOptions) -> Result<(), String> {
    socket
        .set_nonblocking(true)
        .map_err(|error| error.to_string())?;
    if let Some(bytes) = options.receive_buffer {
        // Beyond `net.core.rmem_max` only a privileged process gets; the kernel cuts for others.
        let forced =
            nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::RcvBufForce, &bytes);
        if forced.is_err() {
            socket
                .set_recv_buffer_size(bytes)
                .map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

fn bind_unix(path: &Path, options: &ListenOptions) -> Result<(UnixDatagram, OwnFile), String> {
    let length = path.as_os_str().len();
    if !path.is_absolute() || length > limits::UNIX_PATH_BYTES {
        return Err(format!(
            "expected an absolute path of at most {} bytes, got {length}",
            limits::UNIX_PATH_BYTES
        ));
    }
    check_directory(path)?;
    remove_stale_socket(path)?;
    let socket = Socket::new(Domain::UNIX, Type::DGRAM, None).map_err(|e| e.to_string())?;
    prepare(&socket, options)?;
    // Linux gives the file the mode of the socket, less the umask: nobody can come in between.
    let mode = Mode::from_raw_mode(options.mode & 0o777);
    rustix::fs::fchmod(&socket, mode).map_err(|error| error.to_string())?;
    let address = SockAddr::unix(path).map_err(|error| error.to_string())?;
    socket
        .bind(&address)
        .map_err(|error| format!("cannot bind: {error}"))?;
    let file = OwnFile::of(path).map_err(|error| format!("vanished: {error}"))?;
    restore_mode(&file, mode)?;
    Ok((UnixDatagram::from(OwnedFd::from(socket)), file))
}

/// Gives a file of ours what the umask took from its mode. The directory can be another user's,
/// who may have put something else in its place by now: that is never touched.
fn restore_mode(file: &OwnFile, mode: Mode) -> Result<(), String> {
    let failed = |error: rustix::io::Errno| format!("cannot set its mode: {error}");
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let held = rustix::fs::open(&file.path, flags, Mode::empty()).map_err(failed)?;
    let stat = rustix::fs::fstat(&held).map_err(failed)?;
    let is_socket = FileType::from_raw_mode(stat.st_mode) == FileType::Socket;
    if !is_socket || stat.st_nlink != 1 || !file.is(stat.st_dev, stat.st_ino) {
        return Err("somebody replaced it while it was made".into());
    }
    if Mode::from_raw_mode(stat.st_mode) == mode {
        return Ok(());
    }
    // A handle without rights cannot be changed itself, but leads to its file and no other.
    rustix::fs::chmod(format!("/proc/self/fd/{}", held.as_raw_fd()), mode).map_err(failed)
}

/// Removes a socket that nobody serves; anything else in its place is an error.
fn remove_stale_socket(path: &Path) -> Result<(), String> {
    let metadata = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.to_string()),
        Ok(metadata) => metadata,
    };
    if !metadata.file_type().is_socket() {
        return Err("something that is no socket is there: remove it or use another path".into());
    }
    let probe = UnixDatagram::unbound().map_err(|error| error.to_string())?;
    match probe.connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
        // A stream socket answers with EPROTOTYPE: it is served as well.
        _ => return Err("another process serves this socket: stop it or use another path".into()),
    }
    std::fs::remove_file(path).map_err(|error| format!("cannot remove the stale one: {error}"))
}

/// Refuses directories in which any user could replace our files.
pub(crate) fn check_directory(path: &Path) -> Result<(), String> {
    let directory = path.parent().ok_or("expected the path of a file")?;
    let metadata = std::fs::metadata(directory)
        .map_err(|error| format!("directory {}: {error}", directory.display()))?;
    if metadata.mode() & 0o002 != 0 && metadata.mode() & 0o1000 == 0 {
        return Err(format!(
            "any user may replace files in {}: use a directory of your own, or set its sticky bit",
            directory.display()
        ));
    }
    Ok(())
}

/// A file that was made here, and that is removed on drop if it is still the same one.
#[derive(Debug)]
pub(crate) struct OwnFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl OwnFile {
    /// The file at `path`, not followed if it is a link.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let metadata = std::fs::symlink_metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }

    /// Whether it is the file of that device and number.
    pub(crate) fn is(&self, device: u64, inode: u64) -> bool {
        (self.device, self.inode) == (device, inode)
    }

    /// Whether the path still names this file.
    pub(crate) fn is_there(&self) -> bool {
        std::fs::symlink_metadata(&self.path).is_ok_and(|found| self.is(found.dev(), found.ino()))
    }
}

impl Drop for OwnFile {
    fn drop(&mut self) {
        if self.is_there()
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove");
        }
    }
}

#[cfg(test)]
mod tests;
