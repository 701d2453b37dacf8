//! One request and its answer, a datagram each.

use std::fs::{self, Permissions};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FileType, Mode, OFlags};

use super::Trouble;
use crate::rundir;

/// Longest answer a datagram can bring: a UNIX one is bounded by the sender's buffer.
const DATAGRAM_BYTES: usize = 1024 * 1024;

/// Asks the daemon whose socket is at `path`.
pub(super) fn ask_unix(path: &Path, request: &[u8], limit: Duration) -> Result<Vec<u8>, Trouble> {
    // Before anything is created: is anybody there?
    UnixDatagram::unbound()?.connect(path)?;
    let own = Named::bind(path)?;
    own.socket.connect(path)?;
    own.socket.set_write_timeout(Some(limit))?;
    own.socket.set_read_timeout(Some(limit))?;
    own.socket.send(request).map_err(too_long)?;
    let mut answer = vec![0; DATAGRAM_BYTES];
    let length = own.socket.recv(&mut answer)?;
    answer.truncate(length);
    Ok(answer)
}

/// Asks the daemon at a host and port.
pub(super) fn ask_udp(address: &str, request: &[u8], limit: Duration) -> Result<Vec<u8>, Trouble> {
    let resolved = address
        .to_socket_addrs()
        .map_err(|error| Trouble::Other(error.to_string()))?;
    let mut trouble = Trouble::Other("the name has no address".into());
    for target in resolved {
        match ask_address(target, request, limit) {
            // `localhost` can mean ::1, where nobody listens, before it means 127.0.0.1.
            Err(Trouble::Nobody(error)) => trouble = Trouble::Nobody(error),
            outcome => return outcome,
        }
    }
    Err(trouble)
}

fn ask_address(target: SocketAddr, request: &[u8], limit: Duration) -> Result<Vec<u8>, Trouble> {
    let any = match target {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(target)?;
    socket.set_read_timeout(Some(limit))?;
    socket.send(request).map_err(too_long)?;
    let mut answer = vec![0; DATAGRAM_BYTES];
    let length = socket.recv(&mut answer)?;
    answer.truncate(length);
    Ok(answer)
}

fn too_long(error: io::Error) -> Trouble {
    match error
        .raw_os_error()
        .map(rustix::io::Errno::from_raw_os_error)
    {
        Some(rustix::io::Errno::MSGSIZE) => Trouble::Other(
            "the request is too long for a datagram; --mi http://… takes more".into(),
        ),
        _ => error.into(),
    }
}

/// A socket with a name of its own, which the answer needs, for as long as it lives.
struct Named {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Named {
    /// Binds beside the daemon's socket, where the daemon surely can reach it; where we may not
    /// write, in our own run directory.
    fn bind(daemon: &Path) -> Result<Self, Trouble> {
        let beside = daemon.parent().filter(|dir| !dir.as_os_str().is_empty());
        if let Ok(named) = Self::bind_in(beside.unwrap_or(Path::new("."))) {
            return Ok(named);
        }
        let own = rundir::path();
        rundir::prepare(&own).map_err(|failure| Trouble::Other(failure.to_string()))?;
        Self::bind_in(&own).map_err(|error| {
            Trouble::Other(format!(
                "a socket for the answer in {}: {error}",
                own.display()
            ))
        })
    }

    fn bind_in(dir: &Path) -> io::Result<Self> {
        let path = dir.join(format!("client-{}.sock", std::process::id()));
        // What an earlier process of the same number left behind.
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let named = Self {
            socket: UnixDatagram::bind(&path)?,
            path,
        };
        // The daemon may run as another user; who cannot reach the directory cannot write here.
        let_anybody_write(&named.path)?;
        Ok(named)
    }
}

/// Sets the mode of a socket of ours, and of nothing else: the directory can be another user's,
/// who may have put something in its place by now.
fn let_anybody_write(path: &Path) -> io::Result<()> {
    let file = rustix::fs::open(
        path,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let stat = rustix::fs::fstat(&file)?;
    let is_socket = FileType::from_raw_mode(stat.st_mode) == FileType::Socket;
    if !is_socket || stat.st_nlink != 1 {
        return Err(io::Error::other("somebody replaced the socket"));
    }
    // A handle without rights cannot be changed itself, but leads to its file and no other.
    let held = format!("/proc/self/fd/{}", file.as_raw_fd());
    fs::set_permissions(held, Permissions::from_mode(0o666))
}

impl Drop for Named {
    fn drop(&mut self) {
        rundir::remove(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[test]
    fn a_unix_exchange_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mi.sock");
        let daemon = UnixDatagram::bind(&path).unwrap();
        let answering = thread::spawn(move || {
            let mut request = [0; 64];
            let (length, from) = daemon.recv_from(&mut request).unwrap();
            request[..length].reverse();
            daemon
                .send_to(&request[..length], from.as_pathname().unwrap())
                .unwrap();
        });
        assert_eq!(ask_unix(&path, b"abc", LIMIT).unwrap(), b"cba");
        answering.join().unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn only_the_own_socket_is_opened_to_others() {
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let dir = tempfile::tempdir().unwrap();
        let secret = dir.path().join("secret");
        fs::write(&secret, "").unwrap();
        fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&secret, &link).unwrap();
        assert!(let_anybody_write(&link).is_err());
        assert!(let_anybody_write(&secret).is_err());
        assert_eq!(mode(&secret), 0o600);

        let path = dir.path().join("socket");
        let _socket = UnixDatagram::bind(&path).unwrap();
        let_anybody_write(&path).unwrap();
        assert_eq!(mode(&path), 0o666);
        let other = dir.path().join("other");
        fs::hard_link(&path, &other).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert!(let_anybody_write(&other).is_err());
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn nobody_there_and_nobody_answering_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mi.sock");
        assert!(matches!(
            ask_unix(&path, b"x", LIMIT),
            Err(Trouble::Nobody(_))
        ));
        let silent = UnixDatagram::bind(&path).unwrap();
        let short = Duration::from_millis(20);
        assert!(matches!(ask_unix(&path, b"x", short), Err(Trouble::Late)));
        drop(silent);
        assert!(matches!(
            ask_unix(&path, b"x", LIMIT),
            Err(Trouble::Nobody(_))
        ));

        // At an address where no other test takes the port that is given up.
        let silent = UdpSocket::bind("127.77.1.9:0").unwrap();
        let address = silent.local_addr().unwrap().to_string();
        assert!(matches!(ask_udp(&address, b"x", short), Err(Trouble::Late)));
        drop(silent);
        assert!(matches!(
            ask_udp(&address, b"x", LIMIT),
            Err(Trouble::Nobody(_))
        ));
    }
}
