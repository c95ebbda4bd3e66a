//! The end of the listeners: refused, or left to the next program that gets them.
//!
//! The kernel keeps the listeners of a group in a list, and the steering program returns a position in it. When a
//! listener stops, the last one takes its place: until a new program is attached, connections go to a lane that was not
//! chosen, and are lost there when it stops in turn. So all listeners that are to stop are made deaf first.

use super::group::{FULL_QUEUE, Group, RefusalLevel};
use super::{Binding, Lanes};
use crate::os::socket::activation;
use crate::os::socket::full_queue::FullQueue;
use crate::os::socket::listen::Listener;
use crate::values::address::Address;

impl Lanes {
    /// Refuses new clients, at once and for good, at the listeners where connections cannot be held off.
    pub fn refuse_unheld(&mut self) {
        self.refusal = self.refusal.max(RefusalLevel::Unheld);
        for place in &self.places {
            match place {
                Binding::Adopted(_) => {}
                Binding::Group(group) if group.full_queue.is_some() => {}
                Binding::Group(group) if group.adopted => {
                    let _as_before = group.steer(&[0]);
                }
                Binding::One(listener) => refuse(std::slice::from_ref(listener)),
                Binding::Group(group) => refuse(&group.listeners),
            }
        }
    }

    /// Refuses all new clients at once and for good. Connections in a TCP queue are reset. At an adopted listener
    /// nothing is refused: a client waits before a full queue, or else in the listener's own queue.
    pub fn refuse(&mut self) {
        self.refuse_unheld();
        self.refusal = self.refusal.max(RefusalLevel::All);
        for place in &self.places {
            if let Binding::Group(group) = place
                && let (false, Some(full_queue)) = (group.adopted, &group.full_queue)
            {
                group.deafen(&group.listeners);
                refuse(&group.listeners);
                refuse(std::slice::from_ref(full_queue.listener()));
            }
        }
    }

    /// Leaves adopted listeners to the next program that gets them: new clients wait in their queues. To be called when
    /// no worker is left.
    pub fn leave(&mut self) {
        self.refuse();
        self.refusal = RefusalLevel::Left;
        for place in &mut self.places {
            if let Binding::Group(group) = place
                && group.adopted
            {
                group.leave();
            }
        }
    }
}

/// A listener that a worker has shut down already refuses.
fn refuse(listeners: &[Listener]) {
    for listener in listeners {
        let _already = listener.refuse();
    }
}

impl Group {
    fn deafen(&self, listeners: &[Listener]) {
        for listener in listeners {
            if let Address::Tcp(address) = listener.address() {
                let _some_may_be_lost = activation::deafen(listener, *address);
            }
        }
    }

    /// Stops all listeners but the first.
    fn leave(&mut self) {
        let _as_before = self.steer(&[0]);
        self.deafen(self.listeners.get(1..).unwrap_or_default());
        // From the end of the kernel's list, so that the others keep their places. Those before the first listener come
        // last: the first moves to the place of each.
        while let Some(at) = self.order.iter().rposition(|lane| *lane != 0) {
            let lane = self.order.swap_remove(at);
            let listener = match lane {
                FULL_QUEUE => self.full_queue.as_ref().map(FullQueue::listener),
                lane => usize::try_from(lane).ok().and_then(|lane| self.listeners.get(lane)),
            };
            refuse(listener.map(std::slice::from_ref).unwrap_or_default());
            if self.order.get(at) == Some(&0) {
                let _as_before = self.steer(&[0]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Spread;
    use super::*;
    use crate::os::socket::rights::Rights;
    use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrStorage, sockopt};
    use std::io;
    use std::net::{SocketAddr, TcpListener};
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    const LANES: u32 = 6;
    const BACKLOG: u32 = 1024;
    const LEAST_FD: i32 = 40;
    const ROUNDS: u32 = 60;
    /// The limit for all rounds. On a busy machine the kernel may delay the end of a handshake, which is what the drain
    /// time is for; a listener that is closed too early loses a hundred.
    const MOST_LOST: usize = 5;

    /// Clients that request connections one after the other, without waiting.
    struct Clients(Arc<AtomicBool>, thread::JoinHandle<Vec<OwnedFd>>);

    impl Clients {
        fn of(address: SocketAddr) -> Self {
            let stop = Arc::new(AtomicBool::new(false));
            let stopped = Arc::clone(&stop);
            let come = move || {
                let mut clients = Vec::new();
                while !stopped.load(Ordering::Relaxed) && clients.len() < 700 {
                    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
                    let client = socket::socket(AddressFamily::Inet, SockType::Stream, flags, None).unwrap();
                    let _under_way = socket::connect(client.as_raw_fd(), &SockaddrStorage::from(address));
                    clients.push(client);
                }
                clients
            };
            Self(stop, thread::spawn(come))
        }

        /// How many were accepted and then reset.
        fn lost(self) -> usize {
            self.0.store(true, Ordering::Relaxed);
            let clients = self.1.join().unwrap();
            let errors =
                clients.iter().map(|client| socket::getsockopt(client, sockopt::SocketError).unwrap());
            errors.filter(|error| ![0, libc::ECONNREFUSED].contains(error)).count()
        }
    }

    fn lanes_of(adopted: Vec<Listener>, bind: &[Address]) -> Lanes {
        Lanes::adopt(adopted, bind, Rights::EVERYBODY, LANES, Spread::PerWorker, BACKLOG, LEAST_FD).unwrap()
    }

    #[test]
    fn nobody_gets_to_a_listener_that_is_about_to_be_refused() {
        let mut lost = 0;
        for _ in 0..ROUNDS {
            let any = [Address::Tcp("127.0.0.1:0".parse().unwrap())];
            let mut lanes = lanes_of(Vec::new(), &any);
            let Some(&Address::Tcp(address)) = lanes.addresses().next() else { panic!("no address") };
            lanes.hold_off().unwrap();
            let clients = Clients::of(address);
            lanes.refuse_unheld();
            thread::yield_now();
            lanes.refuse();
            lost += clients.lost();
        }
        assert!(lost <= MOST_LOST, "{lost}");
    }

    /// The adopted listener comes first in the kernel's list in one half of the rounds, last in the other.
    #[test]
    fn nobody_gets_to_a_listener_that_the_next_program_does_not_get() {
        // A port that the kernel chose would be lost by shutdown(2).
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let theirs = TcpListener::bind(address).unwrap();
        theirs.set_nonblocking(true).unwrap();
        let mut lost = 0;
        for round in 0..ROUNDS {
            let ours = || OwnedFd::from(theirs.try_clone().unwrap());
            let mut lanes = loop {
                let adopted = vec![Listener::adopt(ours(), &Address::Tcp(address))];
                // A child that another test forks holds the previous listeners until it executes.
                let lanes = lanes_of(adopted, &[]);
                if lanes.fell_back().is_none() {
                    break lanes;
                }
            };
            if round % 2 == 1 {
                socket::shutdown(theirs.as_raw_fd(), socket::Shutdown::Read).unwrap();
                lanes.restore(0).unwrap();
            }
            lanes.steer(&[0, 1, 2, 3]).unwrap();
            lanes.hold_off().unwrap();
            let clients = Clients::of(address);
            thread::yield_now();
            lanes.leave();
            drop(lanes);
            // A client that comes now is let in, and may wait.
            let late = std::net::TcpStream::connect(address).unwrap();
            lost += clients.lost();
            let local = late.local_addr().unwrap();
            let is_it = |peer: io::Result<(std::net::TcpStream, SocketAddr)>| peer.unwrap().1 == local;
            while !is_it(theirs.accept()) {}
        }
        assert!(lost <= MOST_LOST, "{lost}");
    }
}
