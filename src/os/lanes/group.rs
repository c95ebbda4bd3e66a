//! The listeners at one TCP address, one for each lane, among which the kernel is told to choose.

use super::first_error;
use crate::os::activation;
use crate::os::door::Door;
use crate::os::listen::Listener;
use crate::os::steer::Program;
use std::io;
use std::os::fd::{AsFd, RawFd};

/// The closed door's number among the lanes.
pub const DOOR: u32 = u32::MAX;

/// The listeners at one TCP address.
#[derive(Debug)]
pub struct Group {
    /// By lane; a single one if all lanes have the same.
    pub listeners: Vec<Listener>,
    pub all_share: bool,
    /// The lanes in the order of the kernel's list (see [`super::steer`]).
    pub order: Vec<u32>,
    /// There if clients were held off.
    pub door: Option<Door>,
    /// The first one is somebody else's, who may have use for it after us.
    pub adopted: bool,
}

impl Group {
    /// Adds lanes until there are so many.
    pub fn extend(&mut self, lanes: u32, live: &[u32], backlog: u32, least_fd: RawFd) -> io::Result<()> {
        let there = u32::try_from(self.listeners.len()).unwrap_or(u32::MAX);
        let lanes = if self.all_share { 1 } else { lanes };
        for _ in there..lanes {
            let first = self.listeners.first().ok_or(io::ErrorKind::NotFound)?;
            let more = first.bind_more(least_fd)?;
            if self.adopted {
                activation::copy_options(first, &more);
            }
            self.listeners.push(more);
        }
        self.repair(live, backlog)
    }

    /// A worker that had this lane before may have had accept(2) not wait, of which the next one knows nothing. What all
    /// share is as the others want it.
    pub fn make_blocking(&self, lane: u32) -> io::Result<()> {
        let listener = usize::try_from(lane).ok().and_then(|lane| self.listeners.get(lane));
        listener.filter(|_| !self.all_share).map_or(Ok(()), Listener::make_blocking)
    }

    /// Has all listen that do not, and those steer to the live ones as before of which some had stopped. Which of
    /// several stopped first is not to be known: the lowest lane is supposed to.
    pub fn repair(&mut self, live: &[u32], backlog: u32) -> io::Result<()> {
        let there = self.order.len();
        for (lane, listener) in (0..).zip(&self.listeners) {
            if !listener.is_listening()? {
                // The kernel's list has lost it too.
                let position = self.order.iter().position(|other| *other == lane);
                position.map(|position| self.order.swap_remove(position));
            }
        }
        let stopped = self.order.len() < there;
        let order = &mut self.order;
        let listened = first_error((0..).zip(&self.listeners).map(|(lane, listener)| {
            if !order.contains(&lane) {
                listener.listen(backlog)?;
                order.push(lane);
            }
            Ok(())
        }));
        // Some may have stopped for good, but the others are to be steered to all the same.
        let steered = if stopped { self.steer(live) } else { Ok(()) };
        listened.and(steered)
    }

    /// Has a closed door among the listeners, to which nobody is steered.
    pub fn close_door(&mut self, live: &[u32], least_fd: RawFd) -> io::Result<()> {
        if self.door.is_some() {
            return Ok(());
        }
        let position = u32::try_from(self.order.len()).unwrap_or(u32::MAX);
        let lead = |from| match self.program(live) {
            Some((program, first)) => program.with_exception(from, position).choose(first.as_fd()),
            None => Ok(()),
        };
        // If it fails it was the last in the kernel's list, and nothing has changed.
        let first = self.listeners.first().ok_or(io::ErrorKind::NotFound)?;
        self.door = Some(Door::close(first, least_fd, lead)?);
        self.order.push(DOOR);
        Ok(())
    }

    pub fn steer(&self, live: &[u32]) -> io::Result<()> {
        // Nobody is live, or listens: the kernel goes on as it did.
        self.program(live).map_or(Ok(()), |(program, first)| program.choose(first.as_fd()))
    }

    /// The program, and one of those that it is for.
    pub fn program(&self, live: &[u32]) -> Option<(Program, &Listener)> {
        let listening = |lane: &u32| self.listeners.get(usize::try_from(*lane).ok()?);
        let live = if self.all_share && live != [DOOR] { &[0] } else { live };
        Some((Program::spread(&self.order, live)?, self.order.iter().find_map(listening)?))
    }
}

/// Has a listener begin a group, with a program; before it listens, if it is ours.
pub fn begin_group(listener: &Listener, adopted: bool, live: &[u32], least_fd: RawFd) -> io::Result<()> {
    if adopted {
        return activation::begin_group(listener, live, least_fd);
    }
    listener.allow_more(true)?;
    Program::spread(&[0], live).map_or(Ok(()), |program| program.choose(listener.as_fd()))
}
