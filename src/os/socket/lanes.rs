//! Lanes: to steer connections takes a listener for each worker, and a choice of those that get any.
//!
//! A lane is a number from 0; one worker at a time has it. A TCP address has a listener for each lane, all of them held
//! here to the end, so a queue outlives its worker. A unix socket has one for all lanes, as has every address if
//! connections are not to be steered or cannot be.

mod end;
mod group;
mod own;

use super::listen::{Listener, SocketId};
use super::shut_watch::ShutSet;
use super::steer::SteeringProgram;
use crate::os::process::spawn::duplicate_above;
use crate::os::socket::rights::Rights;
use crate::values::address::Address;
use group::{FULL_QUEUE, Group, RefusalLevel, begin_group};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

/// How connections get to workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// Each has its own listener, and the kernel chooses one that is live.
    PerWorker,
    /// All have one listener, and the first to accept gets the connection.
    Shared,
}

/// All listeners of a pool.
#[derive(Debug)]
pub struct Lanes {
    places: Vec<Binding>,
    /// Those that connections go to.
    live: Vec<u32>,
    backlog: u32,
    least_fd: RawFd,
    /// Descriptors for the full queues, kept for when there may be no others.
    reserve: Vec<OwnedFd>,
    /// Tells of listeners that a worker has shut down; without it, any may have been.
    shut: Option<ShutSet>,
    /// Lanes of which one was, and which [`Lanes::mend_shut`] has not returned yet.
    mended: Vec<u32>,
    /// What is to be refused.
    refusal: RefusalLevel,
    fell_back: Option<io::Error>,
}

/// An address.
#[derive(Debug)]
enum Binding {
    One(Listener),
    /// Another program's.
    Adopted(Listener),
    Group(Group),
}

/// A listener, its two clients, and a socket that is open for a moment while those are made.
const DESCRIPTORS_OF_A_FULL_QUEUE: usize = 4;

impl Lanes {
    /// Binds every address, for this many lanes, and listens. The files of unix sockets that are bound have these
    /// rights. Until the first [`Lanes::steer`] connections go to lane 0. Where the kernel cannot steer, addresses have
    /// one listener (see [`Lanes::fell_back`]). Descriptors are numbered from `least_fd`.
    ///
    /// Adopted listeners come before those. They are never shut down: a connection that waits in one at the end, or
    /// comes later, waits for the next process that gets it.
    ///
    /// # Errors
    /// The address, and what socket(2), bind(2) or listen(2) says: `EADDRINUSE` if any process listens there, even with
    /// `SO_REUSEPORT` and as our own user.
    pub fn adopt(
        adopted: Vec<Listener>,
        addresses: &[Address],
        rights: Rights,
        lanes: u32,
        spread: Spread,
        backlog: u32,
        least_fd: RawFd,
    ) -> Result<Self, (Address, io::Error)> {
        let mut all = Self::with(Vec::new(), backlog, least_fd);
        for listener in adopted {
            let address = listener.address().clone();
            all.add(listener, true, lanes, spread).map_err(|error| (address, error))?;
        }
        for address in addresses {
            // While it is by itself, another listener at the address is noticed.
            let bound = Listener::bind(address, least_fd, rights);
            let added = bound.and_then(|listener| all.add(listener, false, lanes, spread));
            added.map_err(|error| (address.clone(), error))?;
        }
        Ok(all)
    }

    fn with(places: Vec<Binding>, backlog: u32, least_fd: RawFd) -> Self {
        let reserve = Vec::new();
        let (shut, mended) = (ShutSet::new().ok(), Vec::new());
        Self {
            places,
            live: vec![0],
            backlog,
            least_fd,
            reserve,
            shut,
            mended,
            refusal: RefusalLevel::No,
            fell_back: None,
        }
    }

    /// What another program needs to take these listeners over in this process: for each address the listeners by lane,
    /// and the lanes in the kernel's order; no order where all lanes have the same one.
    pub fn hand_over(&self) -> impl Iterator<Item = (Vec<BorrowedFd<'_>>, &[u32])> {
        self.places.iter().map(|place| match place {
            Binding::One(listener) | Binding::Adopted(listener) => (vec![listener.as_fd()], &[][..]),
            Binding::Group(group) => (group.listeners.iter().map(AsFd::as_fd).collect(), &group.order[..]),
        })
    }

    /// The listeners that another program of ours bound in this process, as [`hand_over`](Self::hand_over) told; at the
    /// first so many addresses it had adopted them. `None` if it does not fit together.
    #[must_use]
    pub fn take_over(
        addresses: &[Address],
        adopted: usize,
        given: Vec<(Vec<OwnedFd>, Vec<u32>)>,
        spread: Spread,
        backlog: u32,
        least_fd: RawFd,
    ) -> Option<Self> {
        if addresses.len() != given.len() {
            return None;
        }
        let place = |adopted: bool, address: &Address, fds: Vec<OwnedFd>, order: Vec<u32>| {
            let take = if adopted { Listener::adopt } else { Listener::take_over };
            let mut listeners: Vec<Listener> = fds.into_iter().map(|fd| take(fd, address)).collect();
            if order.is_empty() {
                let one = listeners.pop().filter(|_| listeners.is_empty());
                return one.map(if adopted { Binding::Adopted } else { Binding::One });
            }
            matches!(listeners.first()?.address(), Address::Tcp(_)).then_some(())?;
            let known = |lane: &u32| usize::try_from(*lane).is_ok_and(|lane| lane < listeners.len());
            order.iter().all(known).then_some(())?;
            let all_share = spread == Spread::Shared && listeners.len() == 1;
            Some(Binding::Group(Group::new(listeners, all_share, order, adopted)))
        };
        let places = addresses.iter().zip(given).enumerate();
        let places = places.map(|(at, (address, (fds, order)))| place(at < adopted, address, fds, order));
        let mut all = Self::with(places.collect::<Option<_>>()?, backlog, least_fd);
        // There was one before: it was closed with the other program.
        let _as_many_as_can_be = all.keep_reserve();
        all.watch_all();
        Some(all)
    }

    /// A full queue takes three descriptors, at the very end, when there may be none left.
    fn keep_reserve(&mut self) -> io::Result<()> {
        let groups = self.places.iter().filter(|place| matches!(place, Binding::Group(_))).count();
        while self.reserve.len() < groups.saturating_mul(DESCRIPTORS_OF_A_FULL_QUEUE) {
            let Some(any) = self.places.iter().find_map(|place| place.listener(0)) else { return Ok(()) };
            self.reserve.push(duplicate_above(any.as_fd(), self.least_fd)?);
        }
        Ok(())
    }

    fn add(&mut self, listener: Listener, adopted: bool, lanes: u32, spread: Spread) -> io::Result<()> {
        let alone = if adopted { Binding::Adopted } else { Binding::One };
        let all_share = spread == Spread::Shared;
        let mut place = match listener.address() {
            // One that all share is in a group too: so clients can be held off by a full queue.
            Address::Tcp(_) => match begin_group(&listener, adopted, &self.live, self.least_fd) {
                Ok(()) => {
                    let listeners = vec![listener];
                    Binding::Group(Group::new(listeners, all_share, Vec::new(), adopted))
                }
                Err(error) => {
                    if !adopted {
                        listener.allow_more(false)?;
                    }
                    if !all_share {
                        self.fell_back.get_or_insert(error);
                    }
                    alone(listener)
                }
            },
            Address::Unix(_) => alone(listener),
        };
        match &mut place {
            Binding::One(listener) | Binding::Adopted(listener) => listener.listen(self.backlog)?,
            Binding::Group(group) => {
                group.extend(lanes.max(1), self.least_fd)?;
                group.repair(&[], &self.live, self.backlog, &mut Vec::new())?;
            }
        }
        self.places.push(place);
        self.watch_all();
        self.keep_reserve()
    }

    /// Why the kernel cannot steer, if it was asked to.
    #[must_use]
    pub fn fell_back(&self) -> Option<&io::Error> {
        self.fell_back.as_ref()
    }

    /// Where it listens; with the ports that the kernel chose if port 0 was asked for.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.places.iter().filter_map(|place| Some(place.listener(0)?.address()))
    }

    /// Whether a connection to any of the addresses is steered.
    #[must_use]
    pub fn is_steered(&self) -> bool {
        self.places.iter().any(|place| matches!(place, Binding::Group(group) if !group.all_share))
    }

    /// Makes sure that there is this lane, and all before it. It gets no connections before it is steered to.
    ///
    /// # Errors
    /// As socket(2), bind(2) and listen(2): `EMFILE`, or `EACCES` for a port below 1024 if the right to it was given
    /// up. What there was stays as it was.
    pub fn open(&mut self, lane: u32) -> io::Result<()> {
        let least_fd = self.least_fd;
        let lanes = lane.saturating_add(1);
        self.each_group(|group, _| group.extend(lanes, least_fd))?;
        self.watch_all();
        self.mend()?;
        // The worker that had it is gone.
        self.mended.retain(|other| *other != lane);
        self.each_group(|group, _| group.make_blocking(lane))
    }

    /// The listeners that the worker of this lane gets, one per address, in the order of the addresses. None if the
    /// lane was not opened.
    #[must_use]
    pub fn fds(&self, lane: u32) -> Vec<BorrowedFd<'_>> {
        self.listeners(lane).into_iter().map(AsFd::as_fd).collect()
    }

    /// As others' view of their descriptors names the listeners of this lane.
    #[must_use]
    pub fn ids(&self, lane: u32) -> Vec<SocketId> {
        self.listeners(lane).into_iter().filter_map(|listener| listener.id().ok()).collect()
    }

    fn listeners(&self, lane: u32) -> Vec<&Listener> {
        self.places.iter().map(|place| place.listener(lane)).collect::<Option<_>>().unwrap_or_default()
    }

    /// Sends new connections to the live lanes only, as many to each, from now on; what waits in the queue of another
    /// stays there. If none of them is open, connections go where they did. Listeners that a worker has shut down
    /// listen again.
    ///
    /// # Errors
    /// As setsockopt(2) and listen(2), the first; other addresses are steered all the same.
    pub fn steer(&mut self, live: &[u32]) -> io::Result<()> {
        if self.refusal != RefusalLevel::No {
            return Ok(());
        }
        if live.iter().any(|lane| self.is_open(*lane)) {
            self.live = live.to_vec();
        }
        let mended = self.mend();
        self.each_group(|group, live| group.steer(live)).and(mended)
    }

    /// To be called when a worker is ready, and when one has ended. Workers change how many connections may wait
    /// (listen(2)), and some end with shutdown(2), which ends the listening for all that have the socket: both is put
    /// right. What waited for one that was shut down is lost. A unix socket that was shut down stays so.
    ///
    /// # Errors
    /// As listen(2) and setsockopt(2), the first.
    pub fn restore(&mut self, lane: u32) -> io::Result<()> {
        // First, or a listener that was shut down would listen, and its new place in the list would go unnoticed.
        let result = self.mend();
        if self.refusal != RefusalLevel::No {
            return result;
        }
        let listeners = self.listeners(lane).into_iter();
        first_error(listeners.map(|listener| listener.listen(self.backlog)).chain([result]))
    }

    /// What wakes the loop when a worker has shut a listener down; `None` where the kernel gave us no epoll(7).
    #[must_use]
    pub fn shut_set(&self) -> Option<&ShutSet> {
        self.shut.as_ref()
    }

    /// Lanes of which a worker has shut a listener down for everybody since this was asked last; none of ours once all
    /// are refused. They listen again, if they can.
    ///
    /// # Errors
    /// As [`restore`](Self::restore), beside the lanes.
    pub fn mend_shut(&mut self) -> (Vec<u32>, io::Result<()>) {
        let result = self.mend();
        (std::mem::take(&mut self.mended), result)
    }

    /// Whether [`mend_shut`](Self::mend_shut) has something to tell that was found on another occasion.
    #[must_use]
    pub fn has_mended(&self) -> bool {
        !self.mended.is_empty()
    }

    /// Watches the listeners that are not watched yet.
    fn watch_all(&mut self) {
        let Some(shut) = &self.shut else { return };
        let mut watched = Ok(());
        for (number, place) in (0u32..).zip(&mut self.places) {
            let Binding::Group(group) = place else { continue };
            for (lane, listener) in (0u32..).zip(&group.listeners).skip(group.watched) {
                let name = u64::from(number) << 32 | u64::from(lane);
                watched = watched.and(shut.watch(listener.as_fd(), name));
            }
            group.watched = group.listeners.len();
        }
        // One that is not watched must be asked each time, and so all are.
        if watched.is_err() {
            self.shut = None;
        }
    }

    /// Has all listen that do not, and are to.
    fn mend(&mut self) -> io::Result<()> {
        let shut = self.shut.as_ref().map(ShutSet::take);
        let Self { places, live, backlog, refusal, mended, .. } = self;
        first_error((0u32..).zip(places).map(|(number, place)| {
            let Binding::Group(group) = place else { return Ok(()) };
            if !group.listens_on(*refusal) {
                return Ok(());
            }
            let suspects: Vec<u32> = match &shut {
                Some(shut) => {
                    let of_it = shut.iter().filter(|name| **name >> 32 == u64::from(number));
                    of_it.filter_map(|name| u32::try_from(*name & u64::from(u32::MAX)).ok()).collect()
                }
                None => (0..).zip(&group.listeners).map(|(lane, _)| lane).collect(),
            };
            group.repair(&suspects, live, *backlog, mended)
        }))
    }

    /// How many connections wait for the worker of this lane. Those that wait for any worker are counted too; those
    /// whose client has been answered and has not confirmed it yet are not.
    ///
    /// # Errors
    /// As getsockopt(2) and sock_diag(7).
    pub fn queue(&self, lane: u32) -> io::Result<u32> {
        let mut sum: u32 = 0;
        for listener in self.listeners(lane) {
            sum = sum.saturating_add(listener.queue()?);
        }
        Ok(sum)
    }

    /// How many connections wait in the listeners that are this lane's alone, and how many may; `None` if it has none.
    #[must_use]
    pub fn own_queue(&self, lane: u32) -> Option<Queue> {
        Queue::of(
            self.places.iter().filter(|place| !place.is_shared()).filter_map(|place| place.listener(lane)),
        )
    }

    /// The same of those that all lanes share.
    #[must_use]
    pub fn shared_queue(&self) -> Option<Queue> {
        Queue::of(self.places.iter().filter(|place| place.is_shared()).filter_map(|place| place.listener(0)))
    }

    /// Answers no request for a TCP connection, until connections are steered again, so that the queues get empty: a
    /// client that asks now asks again after a second. One that was answered gets in, and a probe too. Unix sockets
    /// have no such thing: their clients wait in the queue.
    ///
    /// # Errors
    /// The first; all are tried. As `FullQueue::open`, which needs a few descriptors. Where the kernel cannot steer, as
    /// [`SteeringProgram::filter`]: mostly `CAP_NET_ADMIN` is needed, and steering does not undo it.
    pub fn hold_off(&mut self) -> io::Result<()> {
        self.reserve.clear();
        let drop = SteeringProgram::drop_requests();
        let shared = first_error(self.places.iter().map(|place| match place {
            Binding::One(one) if matches!(one.address(), Address::Tcp(_)) => drop.filter(one.as_fd()),
            // The filter would stay when we are gone, and lets no client in.
            Binding::One(_) | Binding::Adopted(_) | Binding::Group(_) => Ok(()),
        }));
        let least_fd = self.least_fd;
        let mended = self.mend();
        let steered = self.each_group(|group, live| {
            let closed = group.add_full_queue(live, least_fd);
            closed.and_then(|()| group.steer(&[FULL_QUEUE]))
        });
        let steered = steered.and(mended);
        self.live = vec![FULL_QUEUE];
        shared.and(steered)
    }

    fn is_open(&self, lane: u32) -> bool {
        self.places.iter().all(|place| place.listener(lane).is_some())
    }

    fn each_group(&mut self, act: impl Fn(&mut Group, &[u32]) -> io::Result<()>) -> io::Result<()> {
        let refusal = self.refusal;
        let groups = self.places.iter_mut().filter_map(|place| match place {
            Binding::One(_) | Binding::Adopted(_) => None,
            Binding::Group(group) => group.listens_on(refusal).then_some(group),
        });
        first_error(groups.map(|group| act(group, &self.live)))
    }
}

/// All is done, whatever came of the first.
fn first_error(results: impl Iterator<Item = io::Result<()>>) -> io::Result<()> {
    let mut first = Ok(());
    for result in results {
        first = first.and(result);
    }
    first
}

/// Connections that wait to be accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// How many do.
    pub length: u32,
    /// How many may: more are turned away.
    pub limit: u32,
}

impl Queue {
    /// Of several listeners together; what the kernel does not tell is left out.
    fn of<'a>(listeners: impl Iterator<Item = &'a Listener>) -> Option<Self> {
        let each =
            listeners.filter_map(|listener| Some((listener.queue().ok()?, listener.queue_limit().ok()?)));
        each.fold(None, |sum: Option<Self>, (length, limit)| {
            let sum = sum.unwrap_or_default();
            Some(Self { length: sum.length.saturating_add(length), limit: sum.limit.saturating_add(limit) })
        })
    }
}

impl Binding {
    fn is_shared(&self) -> bool {
        match self {
            Self::One(_) | Self::Adopted(_) => true,
            Self::Group(group) => group.all_share,
        }
    }

    fn listener(&self, lane: u32) -> Option<&Listener> {
        match self {
            Self::One(listener) | Self::Adopted(listener) => Some(listener),
            Self::Group(group) if group.all_share => group.listeners.first(),
            Self::Group(group) => group.listeners.get(usize::try_from(lane).ok()?),
        }
    }
}

#[cfg(test)]
mod tests;
