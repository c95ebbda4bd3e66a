//! The listeners at one TCP address, one for each lane, among which the kernel is told to choose.

use crate::os::socket::activation;
use crate::os::socket::full_queue::FullQueue;
use crate::os::socket::listen::Listener;
use crate::os::socket::steer::SteeringProgram;
use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, RawFd};

/// The number of the full queue among the lanes.
pub const FULL_QUEUE: u32 = u32::MAX;

/// How much is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefusalLevel {
    /// Nothing.
    No,
    /// What cannot be held off.
    Unheld,
    /// All but what another program gave us.
    All,
    /// All, and that is left to another program.
    Left,
}

/// The listeners at one TCP address.
#[derive(Debug)]
pub struct Group {
    /// By lane; a single one if all lanes have the same.
    pub listeners: Vec<Listener>,
    pub all_share: bool,
    /// The lanes in the order of the kernel's list (see [`super::super::steer`]).
    pub order: Vec<u32>,
    /// Those that are not in it: they do not listen yet, or cannot any more.
    idle: Vec<u32>,
    /// How many listeners are watched, from the first on.
    pub watched: usize,
    /// There if clients were held off.
    pub full_queue: Option<FullQueue>,
    /// The first one is another program's, which may have use for it after us.
    pub adopted: bool,
}

impl Group {
    /// Of these listeners, which are in this order in the kernel's list.
    pub fn new(listeners: Vec<Listener>, all_share: bool, order: Vec<u32>, adopted: bool) -> Self {
        let known: HashSet<u32> = order.iter().copied().collect();
        let idle = (0..).zip(&listeners).map(|(lane, _)| lane).filter(|lane| !known.contains(lane)).collect();
        Self { listeners, all_share, order, idle, watched: 0, full_queue: None, adopted }
    }

    /// Adds lanes up to this number. The new ones do not listen before [`repair`](Self::repair).
    pub fn extend(&mut self, lanes: u32, least_fd: RawFd) -> io::Result<()> {
        let there = u32::try_from(self.listeners.len()).unwrap_or(u32::MAX);
        let lanes = if self.all_share { 1 } else { lanes };
        for lane in there..lanes {
            let first = self.listeners.first().ok_or(io::ErrorKind::NotFound)?;
            let more = first.bind_more(least_fd)?;
            if self.adopted {
                activation::copy_options(first, &more);
            }
            self.listeners.push(more);
            self.idle.push(lane);
        }
        Ok(())
    }

    /// A worker that had this lane before may have had accept(2) not wait, of which the next one knows nothing. What all
    /// share is as the others want it.
    pub fn make_blocking(&self, lane: u32) -> io::Result<()> {
        self.listener(lane).filter(|_| !self.all_share).map_or(Ok(()), Listener::make_blocking)
    }

    /// Has all listen that do not, and those steer to the live ones as before of which some had stopped. `suspects` may
    /// have, the first one first. Returns those that had.
    pub fn repair(
        &mut self,
        suspects: &[u32],
        live: &[u32],
        backlog: u32,
        stopped: &mut Vec<u32>,
    ) -> io::Result<()> {
        let mut result = Ok(());
        let there = self.order.len();
        for lane in suspects {
            match self.listener(*lane).map(Listener::is_listening) {
                Some(Ok(false)) => {
                    // The kernel's list has lost it too.
                    if let Some(position) = self.order.iter().position(|other| other == lane) {
                        self.idle.push(self.order.swap_remove(position));
                        stopped.push(*lane);
                    }
                }
                Some(Err(error)) => result = result.and(Err(error)),
                Some(Ok(true)) | None => {}
            }
        }
        let have_stopped = self.order.len() < there;
        for lane in std::mem::take(&mut self.idle) {
            match self.listener(lane).map(|listener| listener.listen(backlog)) {
                Some(Ok(())) => self.order.push(lane),
                Some(Err(error)) => {
                    self.idle.push(lane);
                    result = result.and(Err(error));
                }
                None => {}
            }
        }
        // Some may have stopped for good, but the others are to be steered to all the same.
        let steered = if have_stopped { self.steer(live) } else { Ok(()) };
        result.and(steered)
    }

    fn listener(&self, lane: u32) -> Option<&Listener> {
        self.listeners.get(usize::try_from(lane).ok()?)
    }

    /// Adds a full queue to the listeners; no connection is steered to it yet.
    pub fn add_full_queue(&mut self, live: &[u32], least_fd: RawFd) -> io::Result<()> {
        if self.full_queue.is_some() {
            return Ok(());
        }
        let position = u32::try_from(self.order.len()).unwrap_or(u32::MAX);
        let lead = |from| match self.program(live) {
            Some((program, first)) => program.with_exception(from, position).choose(first.as_fd()),
            None => Ok(()),
        };
        // If it fails it was the last in the kernel's list, and nothing has changed.
        let first = self.listeners.first().ok_or(io::ErrorKind::NotFound)?;
        self.full_queue = Some(FullQueue::open(first, least_fd, lead)?);
        self.order.push(FULL_QUEUE);
        Ok(())
    }

    /// Whether its listeners are to listen, though so much is refused.
    pub fn listens_on(&self, refusal: RefusalLevel) -> bool {
        match refusal {
            RefusalLevel::No => true,
            RefusalLevel::Unheld => self.adopted || self.full_queue.is_some(),
            RefusalLevel::All => self.adopted,
            RefusalLevel::Left => false,
        }
    }

    pub fn steer(&self, live: &[u32]) -> io::Result<()> {
        // No lane is live, or listens: the kernel goes on as it did.
        self.program(live).map_or(Ok(()), |(program, first)| program.choose(first.as_fd()))
    }

    /// The program, and one of those that it is for.
    pub fn program(&self, live: &[u32]) -> Option<(SteeringProgram, &Listener)> {
        let listening = |lane: &u32| self.listener(*lane);
        let live = if self.all_share && live != [FULL_QUEUE] { &[0] } else { live };
        Some((SteeringProgram::spread(&self.order, live)?, self.order.iter().find_map(listening)?))
    }
}

/// Has a listener begin a group, with a program; before it listens, if it is ours.
pub fn begin_group(listener: &Listener, adopted: bool, live: &[u32], least_fd: RawFd) -> io::Result<()> {
    if adopted {
        return activation::begin_group(listener, live, least_fd);
    }
    listener.allow_more(true)?;
    SteeringProgram::spread(&[0], live).map_or(Ok(()), |program| program.choose(listener.as_fd()))
}
