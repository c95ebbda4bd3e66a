//! Takes datagrams that may carry descriptors from the queue of one socket, in order.

use super::passed::{self, Fate, Head};
use std::cell::RefCell;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use crate::core::Pid;

/// A datagram and its sender, as the kernel vouches for it (`SCM_CREDENTIALS`, unix(7)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// The sending process in our PID namespace; 0 if it is not visible.
    pub sender: Pid,
    /// Its user.
    pub uid: u32,
    pub text: Vec<u8>,
}

/// Takes datagrams from a socket that shows their senders (`SO_PASSCRED`). One that carries descriptors is returned at
/// once, and a child removes it from the queue; until the child has ended, the socket is held: no later datagram is
/// taken.
#[derive(Debug, Default)]
pub struct Taker(RefCell<TakerState>);

#[derive(Debug, Default)]
struct TakerState {
    /// The first datagram in the queue, if it was returned but not removed yet.
    told: Option<Datagram>,
    /// The child that removes it; `None` if none could be started.
    child: Option<Fate>,
    /// Whether the kernel refuses descriptors to their senders meanwhile.
    refuses: bool,
}

impl Taker {
    /// Whether the socket is held: then waiting for it is useless. The end of a child changes this, and otherwise
    /// [`passed::retry_at`] says when to ask again.
    #[must_use]
    pub fn is_held(&self) -> bool {
        let mut state = self.0.borrow_mut();
        match state.child.as_ref().map(Fate::is_done) {
            Some(None) => return true,
            Some(Some(true)) => (state.told, state.child) = (None, None),
            // It was killed, perhaps before it had taken anything.
            Some(Some(false)) => state.child = None,
            None => {}
        }
        state.told.is_some() && !passed::may_start()
    }

    /// Takes the next datagram, cut to `longest` bytes.
    ///
    /// # Errors
    /// As recvmsg(2): `WouldBlock` if none waits; `ResourceBusy` if the socket is held.
    pub fn take(&self, fd: BorrowedFd<'_>, longest: usize) -> io::Result<Datagram> {
        let held = || io::Error::from(io::ErrorKind::ResourceBusy);
        // Twice: the first may have been returned before, and is then only removed.
        for _ in 0..2 {
            if self.is_held() {
                return Err(held());
            }
            let mut text = vec![0; longest];
            let Head { length, sender, carries } = passed::peek(fd, &mut text, true)?;
            text.truncate(length);
            let (sender, uid) = sender.unwrap_or((Pid(0), u32::MAX));
            let datagram = Datagram { sender, uid, text };
            let is_news = self.0.borrow().told.as_ref() != Some(&datagram);
            if carries {
                self.have_taken(fd, &datagram);
            } else {
                passed::take(fd, &mut [0])?;
                self.0.borrow_mut().told = None;
            }
            if is_news {
                return Ok(datagram);
            }
        }
        Err(held())
    }

    fn have_taken(&self, fd: BorrowedFd<'_>, datagram: &Datagram) {
        let mut state = self.0.borrow_mut();
        state.told = Some(datagram.clone());
        state.child = passed::consume(fd);
        let refuse = state.child.is_none();
        if refuse != state.refuses {
            // On an older kernel they wait in the queue.
            let _waits = passed::refuse(fd, refuse);
            state.refuses = refuse;
        }
    }

    /// Closes the socket. The datagrams in its queue are lost.
    pub fn let_go(&self, socket: OwnedFd) {
        let state = self.0.take();
        match state.child {
            // The child may be taking a message: after a look of ours, we might hold it last.
            Some(child) if child.is_done().is_none() => passed::let_go_unread(socket),
            Some(_) | None => passed::let_go(socket),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::exit::Exit;
    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg, setsockopt, sockopt};
    use std::io::{IoSlice, Read};
    use std::os::fd::{AsFd, AsRawFd};
    use std::os::unix::net::UnixDatagram;
    use std::time::{Duration, Instant};

    const LIMIT: Duration = Duration::from_secs(20);

    fn pair() -> (UnixDatagram, UnixDatagram) {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        setsockopt(&ours, sockopt::PassCred, &true).unwrap();
        ours.set_nonblocking(true).unwrap();
        (ours, theirs)
    }

    fn send(to: &UnixDatagram, text: &str, along: &[i32]) -> nix::Result<usize> {
        let rights = [ControlMessage::ScmRights(along)];
        let rights = rights.get(..usize::from(!along.is_empty())).unwrap();
        sendmsg::<()>(to.as_raw_fd(), &[IoSlice::new(text.as_bytes())], rights, MsgFlags::empty(), None)
    }

    /// Does the loop's part: reaps one of the children.
    fn reap_one() {
        let begin = Instant::now();
        loop {
            for pid in passed::running() {
                let mut status = 0;
                // SAFETY: there is room for the answer.
                if unsafe { libc::waitpid(pid.0, &raw mut status, libc::WNOHANG) } == pid.0 {
                    let code = if status == 0 { Exit::Code(0) } else { Exit::Code(1) };
                    assert!(passed::ended(pid, code));
                    return;
                }
            }
            assert!(begin.elapsed() < LIMIT, "no child ends");
            std::thread::yield_now();
        }
    }

    fn descriptors() -> usize {
        std::fs::read_dir("/proc/self/fd").unwrap().count()
    }

    /// One test for all: children belong to the process, which all tests share.
    #[test]
    fn what_is_passed_is_told_in_order_and_taken_by_children_of_which_there_are_few() {
        let (ours, theirs) = pair();
        let taker = Taker::default();
        let take = || taker.take(ours.as_fd(), 100).map(|datagram| String::from_utf8(datagram.text).unwrap());
        let (mut reader, writer) = io::pipe().unwrap();
        send(&theirs, "one", &[]).unwrap();
        send(&theirs, "two", &[writer.as_raw_fd(); 200]).unwrap();
        send(&theirs, "three", &[]).unwrap();
        drop(writer);
        assert_eq!(take().unwrap(), "one");
        let before = descriptors();
        assert_eq!(take().unwrap(), "two");
        assert!(taker.is_held());
        assert_eq!(take().unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        // Once the child has ended, no process has the writer.
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
        reap_one();
        assert!(!taker.is_held());
        assert_eq!(take().unwrap(), "three");
        assert_eq!(take().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(descriptors() < before + 150, "two hundred were passed; other tests open some");

        // A child that failed may have taken nothing: the datagram is not returned twice, and another child takes it.
        send(&theirs, "four", &[0]).unwrap();
        send(&theirs, "four", &[0]).unwrap();
        assert_eq!(take().unwrap(), "four");
        let pid = passed::running().pop().unwrap();
        let mut status = 0;
        // SAFETY: there is room for the answer.
        unsafe { libc::waitpid(pid.0, &raw mut status, 0) };
        assert!(passed::ended(pid, Exit::Code(1)));
        assert!(!taker.is_held());
        assert_eq!(take().unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        reap_one();
        assert_eq!(take().unwrap_err().kind(), io::ErrorKind::WouldBlock);

        // Beyond the most children, the kernel refuses descriptors, or they wait.
        let others: Vec<_> = (0..=passed::MOST).map(|_| (pair(), Taker::default())).collect();
        for ((ours, theirs), taker) in &others {
            send(theirs, "x", &[0]).unwrap();
            assert_eq!(taker.take(ours.as_fd(), 9).unwrap().text, b"x", "told at once");
        }
        assert_eq!(passed::running().len(), passed::MOST);
        let ((ours, theirs), taker) = others.last().unwrap();
        assert!(taker.is_held());
        assert_eq!(send(theirs, "y", &[0]).is_err(), passed::are_refused(ours));
        reap_one();
        assert!(!taker.is_held());
        // Now a child can be started; the datagram was returned already.
        assert_eq!(taker.take(ours.as_fd(), 9).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        assert!(!passed::are_refused(ours));
        for _ in 0..passed::MOST {
            reap_one();
        }
        assert!(!taker.is_held());

        // Closed with a message in the queue, whether a child can be started or not.
        let (mut reader, writer) = io::pipe().unwrap();
        for ((ours, theirs), taker) in others {
            send(&theirs, "z", &[writer.as_raw_fd()]).unwrap();
            taker.let_go(ours.into());
        }
        drop(writer);
        for _ in 0..=passed::MOST {
            reap_one();
            // One after the other: a child must not hold a copy of the next socket.
            passed::tend();
        }
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
        assert_eq!(passed::running(), []);
    }
}
