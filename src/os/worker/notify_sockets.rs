//! All workers' notify sockets behind one epoll(7) set.

use super::epoll_set::EpollSet;
use super::notify_socket::{Datagram, NotifySocket};
use nix::sys::epoll::{EpollEvent, EpollFlags};
use std::collections::HashMap;
use std::io;
use std::task::{Context, Poll};

/// The most sockets that [`NotifySockets::waiting`] returns at once.
pub const MOST_AT_ONCE: usize = 64;

/// The sockets, each by a number.
pub struct NotifySockets {
    set: EpollSet,
    sockets: HashMap<u64, NotifySocket>,
    /// Those that are held ([`NotifySocket::is_held`]) and therefore not waited for.
    held: Vec<u64>,
}

impl NotifySockets {
    /// Makes an empty collection. Must be called inside the runtime.
    ///
    /// # Errors
    /// As epoll_create1(2) and epoll_ctl(2).
    pub fn new() -> io::Result<Self> {
        Ok(Self { set: EpollSet::new()?, sockets: HashMap::new(), held: Vec::new() })
    }

    /// Adds a socket, and drops the one that had the number.
    ///
    /// # Errors
    /// As epoll_ctl(2).
    pub fn add(&mut self, id: u64, socket: NotifySocket) -> io::Result<()> {
        self.retire(id);
        if let Err(error) = self.set.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, id)) {
            socket.retire();
            return Err(error);
        }
        self.sockets.insert(id, socket);
        Ok(())
    }

    pub fn retire(&mut self, id: u64) {
        self.held.retain(|held| *held != id);
        if let Some(socket) = self.sockets.remove(&id) {
            let _gone = self.set.delete(&socket);
            socket.retire();
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (u64, &NotifySocket)> {
        self.sockets.iter().map(|(id, socket)| (*id, socket))
    }

    /// Ready when a datagram may wait.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let is_ready = self.set.poll_ready(cx);
        if self.held.iter().any(|id| !self.is_held(*id)) { Poll::Ready(()) } else { is_ready }
    }

    /// The numbers of sockets where a datagram waits, some at a time; epoll(7) returns them in turn. Only after it has
    /// returned none does [`poll_ready`](Self::poll_ready) wait.
    #[must_use]
    pub fn waiting(&mut self) -> Vec<u64> {
        self.wait_again();
        let mut events = [EpollEvent::empty(); MOST_AT_ONCE];
        let count = self.set.take(&mut events);
        events.iter().take(count).map(EpollEvent::data).collect()
    }

    /// Takes one datagram that waits at this socket.
    #[must_use]
    pub fn take(&mut self, id: u64) -> Option<Datagram> {
        let socket = self.sockets.get(&id)?;
        let datagram = socket.take();
        if socket.is_held() && self.set.change(socket, EpollEvent::new(EpollFlags::empty(), id)).is_ok() {
            self.held.push(id);
        }
        datagram
    }

    fn is_held(&self, id: u64) -> bool {
        self.sockets.get(&id).is_some_and(NotifySocket::is_held)
    }

    /// Waits again for those that are not held any more.
    fn wait_again(&mut self) {
        let Self { set, sockets, held } = self;
        held.retain(|id| match sockets.get(id) {
            // The socket is in the set, so no error is expected.
            Some(socket) => {
                socket.is_held() || set.change(socket, EpollEvent::new(EpollFlags::EPOLLIN, *id)).is_err()
            }
            None => false,
        });
    }
}
