//! The listeners at one TCP address, one for each lane, among which a program in the kernel chooses.

use crate::os::socket::activation;
use crate::os::socket::full_queue::FullQueue;
use crate::os::socket::listen::Listener;
use crate::os::socket::steer::SteeringProgram;
use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, RawFd};

/// The lane number of the full queue.
pub const FULL_QUEUE: u32 = u32::MAX;

/// Which listeners refuse clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefusalLevel {
    /// None.
    No,
    /// Those where clients cannot be held off.
    Unheld,
    /// All but adopted ones.
    All,
    /// All; adopted ones are left to another program.
    Left,
}

#[derive(Debug)]
pub struct Group {
    /// By lane; one element if all lanes share it.
    pub listeners: Vec<Listener>,
    pub all_share: bool,
    /// The lanes in the order of the kernel's list (see [`super::super::steer`]).
    pub order: Vec<u32>,
    /// The lanes that are not in the list: they do not listen yet, or not any more.
    idle: Vec<u32>,
    /// The number of listeners that are watched, from the first on.
    pub watched: usize,
    /// Present once clients were held off.
    pub full_queue: Option<FullQueue>,
    /// Whether the first listener is another program's, which may need it after us.
    pub adopted: bool,
}

impl Group {
    /// Makes a group of these listeners, of which those in `order` listen, in the order of the kernel's list.
    pub fn new(listeners: Vec<Listener>, all_share: bool, order: Vec<u32>, adopted: bool) -> Self {
        let known: HashSet<u32> = order.iter().copied().collect();
        let idle = (0..).zip(&listeners).map(|(lane, _)| lane).filter(|lane| !known.contains(lane)).collect();
        Self { listeners, all_share, order, idle, watched: 0, full_queue: None, adopted }
    }

    /// Adds lanes up to this number. New ones listen after [`repair`](Self::repair).
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

    /// Makes accept(2) block again on this lane: its last worker may have set `O_NONBLOCK`, which the next does not
    /// expect. A shared listener is left as the other workers need it.
    pub fn make_blocking(&self, lane: u32) -> io::Result<()> {
        self.listener(lane).filter(|_| !self.all_share).map_or(Ok(()), Listener::make_blocking)
    }

    /// Makes idle listeners listen and, if one had stopped, steers to the live lanes again. `suspects` may have
    /// stopped, in this order; those that had are added to `stopped`.
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
                    // It is not in the kernel's list any more either.
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
        // Some may have stopped for good; the others are steered to all the same.
        let steered = if have_stopped { self.steer(live) } else { Ok(()) };
        result.and(steered)
    }

    fn listener(&self, lane: u32) -> Option<&Listener> {
        self.listeners.get(usize::try_from(lane).ok()?)
    }

    /// Adds a full queue; no connection is steered to it yet.
    pub fn add_full_queue(&mut self, live: &[u32], least_fd: RawFd) -> io::Result<()> {
        if self.full_queue.is_some() {
            return Ok(());
        }
        let position = u32::try_from(self.order.len()).unwrap_or(u32::MAX);
        let lead = |from| match self.program(live) {
            Some((program, first)) => program.with_exception(from, position).choose(first.as_fd()),
            None => Ok(()),
        };
        // If it fails, the full queue was last in the kernel's list, and nothing has changed.
        let first = self.listeners.first().ok_or(io::ErrorKind::NotFound)?;
        self.full_queue = Some(FullQueue::open(first, least_fd, lead)?);
        self.order.push(FULL_QUEUE);
        Ok(())
    }

    /// Whether its listeners are still to listen at this level of refusal.
    pub fn listens_on(&self, refusal: RefusalLevel) -> bool {
        match refusal {
            RefusalLevel::No => true,
            RefusalLevel::Unheld => self.adopted || self.full_queue.is_some(),
            RefusalLevel::All => self.adopted,
            RefusalLevel::Left => false,
        }
    }

    pub fn steer(&self, live: &[u32]) -> io::Result<()> {
        // If no live lane listens, the kernel keeps its program.
        self.program(live).map_or(Ok(()), |(program, first)| program.choose(first.as_fd()))
    }

    /// The steering program, and a listener to attach it to. `None` if no live lane listens.
    pub fn program(&self, live: &[u32]) -> Option<(SteeringProgram, &Listener)> {
        let listening = |lane: &u32| self.listener(*lane);
        let live = if self.all_share && live != [FULL_QUEUE] { &[0] } else { live };
        Some((SteeringProgram::spread(&self.order, live)?, self.order.iter().find_map(listening)?))
    }
}

/// Makes a listener the first of a group, with a program; before it listens, if it is ours.
pub fn begin_group(listener: &Listener, adopted: bool, live: &[u32], least_fd: RawFd) -> io::Result<()> {
    if adopted {
        return activation::begin_group(listener, live, least_fd);
    }
    listener.allow_more(true)?;
    SteeringProgram::spread(&[0], live).map_or(Ok(()), |program| program.choose(listener.as_fd()))
}
