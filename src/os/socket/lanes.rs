//! Lanes: the listeners between which connections are steered.
//!
//! A lane is a number from 0; one worker at a time has it. A TCP address has a listener for each lane, and the
//! supervisor keeps all of them open to the end, so a queue outlives its worker. A unix socket has one listener for all
//! lanes, and so has every address if connections are not to be steered or cannot be.

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

/// How connections are spread over the workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// Each worker has its own listener, and the kernel chooses one that is live.
    PerWorker,
    /// All workers have one listener, and the first to accept gets the connection.
    Shared,
}

#[derive(Debug)]
pub struct Lanes {
    places: Vec<Binding>,
    /// The lanes that get connections.
    live: Vec<u32>,
    backlog: u32,
    least_fd: RawFd,
    /// Reserved descriptors for the full queues, for when no others can be opened.
    reserve: Vec<OwnedFd>,
    /// Reports listeners that a worker has shut down; if `None`, any may have been.
    shut: Option<ShutSet>,
    /// Lanes with such a listener that [`Lanes::mend_shut`] has not returned yet.
    mended: Vec<u32>,
    refusal: RefusalLevel,
    fell_back: Option<io::Error>,
}

#[derive(Debug)]
enum Binding {
    One(Listener),
    /// Bound by another program.
    Adopted(Listener),
    Group(Group),
}

/// A listener, its two clients, and a socket that is open for a moment while those are made.
const DESCRIPTORS_OF_A_FULL_QUEUE: usize = 4;

impl Lanes {
    /// Binds every address for this number of lanes, and listens. The files of unix sockets get these rights. Until the
    /// first [`Lanes::steer`], connections go to lane 0. Where the kernel cannot steer, addresses have one listener
    /// (see [`Lanes::fell_back`]). Descriptors are numbered from `least_fd`.
    ///
    /// Adopted listeners come first. They are never shut down: connections that wait at the end, or come later, are for
    /// the next process that gets the listener.
    ///
    /// # Errors
    /// The address, and the error of socket(2), bind(2) or listen(2): `EADDRINUSE` if any process listens there, even
    /// with `SO_REUSEPORT` and as our own user.
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
            // Bound alone, without SO_REUSEPORT, so that another listener at the address is noticed.
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

    /// All that our next program in this process needs: for each address the listeners by lane, and the lanes in the
    /// kernel's order, which is empty where all lanes share one listener.
    pub fn hand_over(&self) -> impl Iterator<Item = (Vec<BorrowedFd<'_>>, &[u32])> {
        self.places.iter().map(|place| match place {
            Binding::One(listener) | Binding::Adopted(listener) => (vec![listener.as_fd()], &[][..]),
            Binding::Group(group) => (group.listeners.iter().map(AsFd::as_fd).collect(), &group.order[..]),
        })
    }

    /// Takes over the listeners that our previous program handed over by [`hand_over`](Self::hand_over); it had adopted
    /// those of the first `adopted` addresses. `None` if the parts do not fit together.
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
        // The previous program had a reserve too: it was closed at its exec.
        let _as_many_as_can_be = all.keep_reserve();
        all.watch_all();
        Some(all)
    }

    /// Reserves the descriptors of the full queues: they are opened at the very end, when no others may be left.
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
            // A shared listener is a group too, so that a full queue can hold clients off.
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

    /// Why the kernel cannot steer; `None` if it can, or was not asked to.
    #[must_use]
    pub fn fell_back(&self) -> Option<&io::Error> {
        self.fell_back.as_ref()
    }

    /// The addresses, with the ports that the kernel chose for port 0.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.places.iter().filter_map(|place| Some(place.listener(0)?.address()))
    }

    #[must_use]
    pub fn is_steered(&self) -> bool {
        self.places.iter().any(|place| matches!(place, Binding::Group(group) if !group.all_share))
    }

    /// Makes this lane and all before it. A new lane gets no connections before it is steered to.
    ///
    /// # Errors
    /// As socket(2), bind(2) and listen(2): `EMFILE`, or `EACCES` for a port below 1024 without the capability. The
    /// lanes that existed are unchanged.
    pub fn open(&mut self, lane: u32) -> io::Result<()> {
        let least_fd = self.least_fd;
        let lanes = lane.saturating_add(1);
        self.each_group(|group, _| group.extend(lanes, least_fd))?;
        self.watch_all();
        self.mend()?;
        // The worker that shut it down is gone.
        self.mended.retain(|other| *other != lane);
        self.each_group(|group, _| group.make_blocking(lane))
    }

    /// The listeners for the worker of this lane, one per address, in the order of the addresses; empty if the lane was
    /// not opened.
    #[must_use]
    pub fn fds(&self, lane: u32) -> Vec<BorrowedFd<'_>> {
        self.listeners(lane).into_iter().map(AsFd::as_fd).collect()
    }

    /// The listeners of this lane, as /proc shows them.
    #[must_use]
    pub fn ids(&self, lane: u32) -> Vec<SocketId> {
        self.listeners(lane).into_iter().filter_map(|listener| listener.id().ok()).collect()
    }

    fn listeners(&self, lane: u32) -> Vec<&Listener> {
        self.places.iter().map(|place| place.listener(lane)).collect::<Option<_>>().unwrap_or_default()
    }

    /// Steers new connections to the live lanes in equal parts; those in other queues stay there. If none of the live
    /// lanes is open, nothing changes. Also repairs listeners that a worker has shut down.
    ///
    /// # Errors
    /// As setsockopt(2) and listen(2), the first of several; the other addresses are steered all the same.
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

    /// Repairs the listeners of a lane; to be called when its worker is ready and when it has ended. Workers change the
    /// backlog (listen(2)), and some end with shutdown(2), which stops the socket listening for all holders.
    /// Connections that waited in a listener that was shut down are lost. A unix socket cannot be repaired after
    /// shutdown(2).
    ///
    /// # Errors
    /// As listen(2) and setsockopt(2), the first of several.
    pub fn restore(&mut self, lane: u32) -> io::Result<()> {
        // Before listen(2): that would revive a listener that was shut down, and its new place in the list would be
        // missed.
        let result = self.mend();
        if self.refusal != RefusalLevel::No {
            return result;
        }
        let listeners = self.listeners(lane).into_iter();
        first_error(listeners.map(|listener| listener.listen(self.backlog)).chain([result]))
    }

    /// The set that wakes the loop when a worker shuts a listener down; `None` without epoll(7).
    #[must_use]
    pub fn shut_set(&self) -> Option<&ShutSet> {
        self.shut.as_ref()
    }

    /// Repairs listeners, and returns the lanes of which a worker has shut one down since the last call; no lane of
    /// ours once all are refused.
    ///
    /// # Errors
    /// As [`restore`](Self::restore); the lanes are returned too.
    pub fn mend_shut(&mut self) -> (Vec<u32>, io::Result<()>) {
        let result = self.mend();
        (std::mem::take(&mut self.mended), result)
    }

    /// Whether an earlier repair found lanes that [`mend_shut`](Self::mend_shut) has not returned yet.
    #[must_use]
    pub fn has_mended(&self) -> bool {
        !self.mended.is_empty()
    }

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
        // If one cannot be watched, all are checked at each repair instead.
        if watched.is_err() {
            self.shut = None;
        }
    }

    /// Makes all listeners listen again that should.
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

    /// The number of connections that wait for the worker of this lane, with those that wait for any worker. A
    /// connection whose handshake the client has not completed does not count.
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

    /// The queue of the listeners that only this lane has; `None` if it has none.
    #[must_use]
    pub fn own_queue(&self, lane: u32) -> Option<Queue> {
        Queue::of(
            self.places.iter().filter(|place| !place.is_shared()).filter_map(|place| place.listener(lane)),
        )
    }

    /// The queue of the listeners that all lanes share; `None` if there are none.
    #[must_use]
    pub fn shared_queue(&self) -> Option<Queue> {
        Queue::of(self.places.iter().filter(|place| place.is_shared()).filter_map(|place| place.listener(0)))
    }

    /// Answers no request for a TCP connection until the next steering, so that the queues become empty: such a client
    /// tries again after a second. A client that was already answered gets in, and so does a probe. Clients of unix
    /// sockets cannot be held off, and wait in the queue.
    ///
    /// # Errors
    /// The first of several; all addresses are tried. As `FullQueue::open`, which needs a few descriptors. Where the
    /// kernel cannot steer, as [`SteeringProgram::filter`]: it mostly needs `CAP_NET_ADMIN`, and steering does not undo
    /// it.
    pub fn hold_off(&mut self) -> io::Result<()> {
        self.reserve.clear();
        let drop = SteeringProgram::drop_requests();
        let shared = first_error(self.places.iter().map(|place| match place {
            Binding::One(one) if matches!(one.address(), Address::Tcp(_)) => drop.filter(one.as_fd()),
            // On an adopted listener the filter would outlive us, and let no client in.
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

/// The first error, after all results were produced.
fn first_error(results: impl Iterator<Item = io::Result<()>>) -> io::Result<()> {
    let mut first = Ok(());
    for result in results {
        first = first.and(result);
    }
    first
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// The number of connections.
    pub length: u32,
    /// The most that can wait: further ones are turned away.
    pub limit: u32,
}

impl Queue {
    /// The sum over several listeners; those that the kernel does not show are left out. `None` without any.
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
