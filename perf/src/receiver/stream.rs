//! TCP receivers: one connection to each listener, a message a line.

use std::io::{self, ErrorKind, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::count::Count;
use super::protocol::Places;

/// Bytes taken in one call.
const ROOM: usize = 64 << 10;

/// Listeners, each with a number.
#[derive(Debug)]
pub(super) struct Listeners(Vec<TcpListener>);

impl Listeners {
    pub(super) fn bind(count: usize) -> io::Result<(Self, Places)> {
        let (mut listeners, mut places) = (Vec::new(), Places::default());
        for _ in 0..count {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            listener.set_nonblocking(true)?;
            places.tcp.push(listener.local_addr()?);
            listeners.push(listener);
        }
        Ok((Self(listeners), places))
    }

    /// Receives for ever.
    pub(super) fn receive(&self, count: &Count) -> io::Result<()> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let readable = |token| EpollEvent::new(EpollFlags::EPOLLIN, token);
        for (number, listener) in (0..).zip(&self.0) {
            epoll.add(listener, readable(number))?;
        }
        // The connection to a listener has its number, counted from here.
        let first = self.0.len();
        let mut streams: Vec<Option<TcpStream>> = self.0.iter().map(|_| None).collect();
        let mut ready = vec![EpollEvent::empty(); 2 * first];
        let mut room = vec![0; ROOM];
        loop {
            let events = match epoll.wait(&mut ready, EpollTimeout::NONE) {
                Err(Errno::EINTR) => 0,
                events => events?,
            };
            for event in &ready[..events] {
                let token = event.data() as usize;
                if let Some(listener) = self.0.get(token) {
                    let (stream, _) = listener.accept()?;
                    stream.set_nonblocking(true)?;
                    epoll.add(stream.as_fd(), readable((first + token) as u64))?;
                    streams[token] = Some(stream);
                } else if let Some(stream) = &mut streams[token - first]
                    && !read(stream, &mut room, token - first, count)?
                {
                    streams[token - first] = None;
                }
            }
        }
    }
}

/// Takes what is there, once; false at its end.
fn read(stream: &mut TcpStream, room: &mut [u8], number: usize, count: &Count) -> io::Result<bool> {
    match stream.read(room) {
        Ok(0) => Ok(false),
        Ok(length) => {
            let lines = room[..length].iter().filter(|byte| **byte == b'\n').count();
            count.add(number, lines as u64, length as u64);
            Ok(true)
        }
        Err(error) if [ErrorKind::WouldBlock, ErrorKind::Interrupted].contains(&error.kind()) => {
            Ok(true)
        }
        Err(error) => Err(error),
    }
}
