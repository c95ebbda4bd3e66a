//! What workers report over their notify sockets: one socket for each worker, and which senders are believed there.
//!
//! A worker's socket is in a directory that only its user reaches, so the socket identifies the sender. Workers that
//! start as root may change to any user, so every process that knows the random name may write to their sockets; and
//! every process of the network namespace reaches an abstract socket. In these cases a sender is looked up in /proc,
//! and counts if it descends from the worker. Only a few are looked up at a time, because a sender may be far down in
//! the tree of processes.

use super::share::TimeShare;
use crate::core::{Event, Pid};
use crate::os::private_directory::{DirectoryLocation, NAME, PrivateDirectory, Users};
use crate::os::process::handover::{self, Notify};
use crate::os::process::spawn::Identity;
use crate::os::process::{exec, privileges, proc};
use crate::os::socket::listen;
use crate::os::worker::notify_socket::{Datagram, NotifySocket};
use crate::os::worker::notify_sockets::{MOST_AT_ONCE, NotifySockets};
use crate::setup::private_directory::private_directory;
use crate::workers::notify;
use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::task::{Context, Poll};
use tracing::{debug, warn};

/// The number of datagrams of one worker that are taken before other work.
const MOST_OF_ONE: usize = 4;

/// The number of senders that are looked up in /proc before other work.
const MOST_LOOKED_UP: usize = 8;

/// The senders whose datagrams count without a look in /proc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Believed {
    /// Every process that reaches the socket.
    All,
    /// The supervisor's own user, and root.
    OursAndRoot,
    /// None: every sender is looked up.
    Descendants,
}

pub struct Notices {
    sockets: NotifySockets,
    workers: HashMap<u64, Speaker>,
    /// Workers with a datagram whose sender has to be looked up, the longest waiting first.
    held: VecDeque<u64>,
    directories: Vec<PrivateDirectory>,
    /// The directory for new sockets; `None` if they are abstract.
    here: Option<DirectoryLocation>,
    users: Users,
    own_uid: u32,
}

/// The owner of a socket.
struct Speaker {
    /// `None` before the worker runs.
    pid: Option<Pid>,
    believed: Believed,
    /// A datagram whose sender has to be looked up.
    held: Option<Datagram>,
}

impl Notices {
    /// Finds a directory that workers with this identity can reach. Must be called inside the runtime.
    ///
    /// # Errors
    /// If the kernel provides no epoll, or if a descriptor of the handover is missing.
    pub fn new(identity: Option<&Identity>, given: Option<&Notify>) -> io::Result<Self> {
        let (own_uid, _) = privileges::own_ids();
        let mut notices = Self {
            sockets: NotifySockets::new()?,
            workers: HashMap::new(),
            held: VecDeque::new(),
            directories: Vec::new(),
            here: None,
            users: users(identity, own_uid),
            own_uid,
        };
        if let Some(given) = given {
            notices.take_over(given)?;
        }
        let mut places = notices.directories.iter().rev().map(PrivateDirectory::place);
        notices.here = places.find(|place| place.owner() == notices.users.owner()).cloned();
        if notices.here.is_none() {
            notices.find_place();
        }
        Ok(notices)
    }

    /// Opens the socket of a worker that is about to be spawned, and returns the address for its environment.
    ///
    /// # Errors
    /// As socket(2), bind(2) and epoll_ctl(2).
    pub fn open(&mut self, id: u64) -> io::Result<OsString> {
        let socket = match self.open_here() {
            // The directory was removed, its file system is full, or its user has spoilt it.
            Err(error) if self.here.is_some() && is_of_place(&error) => {
                debug!(%error, "notify sockets need another place");
                self.find_place();
                self.open_here()?
            }
            opened => opened?,
        };
        let address = socket.address().to_owned();
        let believed = believed(&self.users, socket.place());
        self.sockets.add(id, socket)?;
        self.workers.insert(id, Speaker { pid: None, believed, held: None });
        Ok(address)
    }

    fn open_here(&self) -> io::Result<NotifySocket> {
        match &self.here {
            Some(place) => NotifySocket::open(place, mode(&self.users)),
            None => NotifySocket::open_abstract(),
        }
    }

    pub fn has_spawned(&mut self, id: u64, pid: Pid) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.pid = Some(pid);
        }
    }

    pub fn forget(&mut self, id: u64) {
        self.sockets.retire(id);
        self.workers.remove(&id);
    }

    /// A child has ended: datagrams at its socket do not count any more.
    pub fn has_ended(&mut self, pid: Pid) {
        let ended = self.workers.iter().find(|(_, worker)| worker.pid == Some(pid)).map(|(id, _)| *id);
        if let Some(id) = ended {
            self.forget(id);
        }
    }

    /// Ready when [`take`](Self::take) has something to return.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        // The sockets are polled in any case, because that registers the waker.
        let is_ready = self.sockets.poll_ready(cx).is_ready();
        if is_ready || !self.held.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// The events that have come in: a few datagrams of each worker in turn.
    pub fn take(&mut self) -> Vec<Event> {
        let share = TimeShare::begin();
        let mut events = Vec::new();
        let mut may_look_up = MOST_LOOKED_UP;
        while may_look_up > 0
            && let Some(id) = self.held.pop_front()
        {
            if let Some(worker) = self.workers.get_mut(&id)
                && let Some(datagram) = worker.held.take()
            {
                may_look_up = may_look_up.saturating_sub(1);
                events.extend(worker.looked_up(&datagram));
            }
        }
        let mut waiting = self.sockets.waiting();
        let mut left = MOST_AT_ONCE;
        for _ in 0..MOST_OF_ONE {
            waiting.retain(|id| {
                left > 0 && !share.is_over() && self.take_one(*id, &mut left, &mut may_look_up, &mut events)
            });
        }
        events
    }

    /// Takes one datagram of a worker. Returns whether there may be another.
    fn take_one(
        &mut self,
        id: u64,
        left: &mut usize,
        may_look_up: &mut usize,
        events: &mut Vec<Event>,
    ) -> bool {
        let Some(worker) = self.workers.get_mut(&id) else { return false };
        if worker.held.is_some() {
            return false;
        }
        let Some(datagram) = self.sockets.take(id) else { return false };
        *left = left.saturating_sub(1);
        if worker.believed.at_once(datagram.uid, self.own_uid) {
            events.extend(worker.said(&datagram));
        } else if let Some(fewer) = may_look_up.checked_sub(1) {
            *may_look_up = fewer;
            events.extend(worker.looked_up(&datagram));
        } else {
            worker.held = Some(datagram);
            self.held.push_back(id);
        }
        true
    }

    // Directories

    /// The directories that the panic hook has to remove.
    pub fn places(&self) -> Vec<DirectoryLocation> {
        self.directories.iter().map(|directory| directory.place().clone()).collect()
    }

    fn find_place(&mut self) {
        let mode = mode(&self.users);
        let works = |directory: &PrivateDirectory| {
            let socket = NotifySocket::open(directory.place(), mode)?;
            let heard = socket.try_out();
            socket.retire();
            heard
        };
        let directory = private_directory(&self.users, NAME, works);
        self.here = directory.as_ref().map(|directory| directory.place().clone());
        match &self.here {
            Some(place) => debug!(directory = %place.path().display(), "notify sockets"),
            None => warn!(
                "notify sockets have abstract names, since neither $XDG_RUNTIME_DIR, /run, /dev/shm nor /tmp will do: \
                 every process of the network namespace can write to them, and counts if it descends from the \
                 worker; mount a tmpfs at /run to keep others out"
            ),
        }
        // Removes the directories without a socket, each time a new one is found.
        let in_use = |known: &PrivateDirectory| {
            self.sockets.iter().any(|(_, socket)| socket.place() == Some(known.place()))
        };
        self.directories.retain(in_use);
        self.directories.extend(directory);
    }

    // Handover

    /// The state for the next program, and the descriptors that belong to it.
    pub fn hand_over(&self) -> (Notify, Vec<BorrowedFd<'_>>) {
        let directories = self.directories.iter().map(|directory| {
            let place = directory.place();
            let (owner, path) = (place.owner(), place.path().into());
            handover::Directory { lock: directory.lock().as_raw_fd(), owner, path }
        });
        let sockets = self.sockets.iter().filter_map(|(id, socket)| {
            let worker = self.workers.get(&id)?;
            let directory = socket
                .place()
                .and_then(|place| self.directories.iter().position(|directory| directory.place() == place));
            Some(handover::NotifySocketRecord {
                fd: socket.as_fd().as_raw_fd(),
                id,
                pid: worker.pid?,
                directory,
                believed: worker.believed.number(),
                address: socket.address().to_owned(),
            })
        });
        let given = Notify { directories: directories.collect(), sockets: sockets.collect() };
        let locks = self.directories.iter().map(PrivateDirectory::lock);
        (given, locks.chain(self.sockets.iter().map(|(_, socket)| socket.as_fd())).collect())
    }

    fn take_over(&mut self, given: &Notify) -> io::Result<()> {
        for directory in &given.directories {
            let place = DirectoryLocation::new((&directory.path).into(), directory.owner);
            let lock = exec::adopt(directory.lock)?;
            self.directories.push(PrivateDirectory::take_over(place, lock));
        }
        for socket in &given.sockets {
            let place = socket.directory.and_then(|index| self.directories.get(index));
            let place = place.map(|directory| directory.place().clone());
            let believed = Believed::from_number(socket.believed).ok_or(io::ErrorKind::InvalidData)?;
            let fd = exec::adopt(socket.fd)?;
            let taken = NotifySocket::take_over(fd, socket.address.clone(), place);
            self.sockets.add(socket.id, taken)?;
            self.workers.insert(socket.id, Speaker { pid: Some(socket.pid), believed, held: None });
        }
        Ok(())
    }
}

impl Speaker {
    fn said(&self, datagram: &Datagram) -> Vec<Event> {
        self.pid.map(|pid| notify::events(pid, &datagram.text)).unwrap_or_default()
    }

    fn looked_up(&self, datagram: &Datagram) -> Vec<Event> {
        // If /proc does not tell, the worker itself is known by its pid.
        let speaker = proc::child_above(datagram.sender).unwrap_or(datagram.sender);
        let is_its_own = self.pid == Some(speaker);
        if is_its_own { self.said(datagram) } else { Vec::new() }
    }
}

impl Believed {
    fn at_once(self, uid: u32, own_uid: u32) -> bool {
        match self {
            Self::All => true,
            Self::OursAndRoot => uid == 0 || uid == own_uid,
            Self::Descendants => false,
        }
    }

    /// The number in the handover.
    fn number(self) -> u8 {
        match self {
            Self::All => 0,
            Self::OursAndRoot => 1,
            Self::Descendants => 2,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        [Self::All, Self::OursAndRoot, Self::Descendants].into_iter().find(|known| known.number() == number)
    }
}

/// Whether another directory may help: not if descriptors or memory are short.
fn is_of_place(error: &io::Error) -> bool {
    !listen::is_out_of_descriptors(error) && !listen::is_out_of_memory(error)
}

/// The processes that have to reach a worker's socket.
fn users(identity: Option<&Identity>, own_uid: u32) -> Users {
    match identity {
        // Root can become any other user.
        Some(identity) if identity.uid == 0 => Users::Any,
        None if own_uid == 0 => Users::Any,
        Some(identity) => Users::One(identity.clone()),
        None => Users::Ours,
    }
}

fn mode(users: &Users) -> u32 {
    match users {
        Users::Ours | Users::One(_) => 0o600,
        Users::Any => 0o666,
    }
}

fn believed(users: &Users, place: Option<&DirectoryLocation>) -> Believed {
    match (place, users) {
        (None, _) => Believed::Descendants,
        (Some(_), Users::Any) => Believed::OursAndRoot,
        (Some(_), Users::Ours | Users::One(_)) => Believed::All,
    }
}
