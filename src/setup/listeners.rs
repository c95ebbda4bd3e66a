//! Binding what is listened on.

use super::{refused, remedy_of};
use crate::address::Address;
use crate::config::{Config, Pool};
use crate::core::exit::code;
use crate::core::policy::PoolPolicy;
use crate::error::StartError;
use crate::handover::{Given, Output, VARIABLE};
use crate::http::{self, Access, Edge};
use crate::logging;
use crate::os::channel::{self, STDERR};
use crate::os::lanes::{Lanes, Spread};
use crate::os::listen::{self, Listener};
use crate::os::open_files;
use crate::os::signals;
use crate::os::spawn::FIRST_FD;
use crate::os::{activation, call, exchange, stderr};
use std::io;
use tracing::{info, warn};

/// Probes come one at a time; a handful may wait.
const ENDPOINT_BACKLOG: u32 = 128;

/// Binds all listeners of the pool, each with a number from `least_fd`. Where the kernel cannot steer connections, the
/// policy does without.
///
/// # Errors
/// The first that cannot be bound; or a probe is needed that cannot be steered.
pub fn lanes(
    pool: &Pool,
    policy: &mut PoolPolicy,
    least_fd: i32,
    given: Option<&Given>,
) -> Result<Lanes, StartError> {
    let spread = if pool.per_worker { Spread::PerWorker } else { Spread::Shared };
    let lanes = match given {
        Some(given) => {
            let lanes = taken_over(pool, given, spread, least_fd);
            lanes.ok_or_else(|| handover_error("its listeners are not those of --bind"))?
        }
        None => {
            if let Some(sizing) = &pool.sizing {
                logging::sized(sizing, policy.min_ready);
            }
            let most = policy.workers.saturating_add(policy.budget.surge(policy.workers));
            let adopted = adopt(pool, least_fd)?;
            let lanes = Lanes::adopt(adopted, &pool.bind, most, spread, pool.backlog, least_fd);
            let lanes = lanes.map_err(|(address, error)| not_bound("--bind", &address, &error))?;
            let given = pool.adopted.addresses.len();
            for (index, address) in lanes.addresses().enumerate() {
                let by = (index < given).then_some("LISTEN_FDS");
                info!(%address, by, "listening");
            }
            lanes
        }
    };
    if let (Some(error), false) = (lanes.fell_back(), pool.adopted.addresses.is_empty()) {
        warn!(%error, "connections to a socket that was given cannot be steered: all workers share it, and one that is replaced may lose some");
    } else if let Some(error) = lanes.fell_back() {
        warn!(%error, "this kernel cannot steer connections: all workers share a listener, and a worker that is replaced may lose some");
    }
    if policy.drain.steered && !lanes.is_steered() {
        if policy.ready.probe {
            let remedy = "use --ready auto, or a kernel from 4.5 on that allows it";
            return Err(StartError::value("--ready", "probe", "no single worker can be reached", remedy)
                .with_code(code::CANNOT_START));
        }
        without_steering(policy);
    }
    Ok(lanes)
}

/// Does without what needs a listener per worker.
pub fn without_steering(policy: &mut PoolPolicy) {
    policy.drain.steered = false;
    if policy.hang.probe.take().is_some() | policy.hang.accept_stall.take().is_some() {
        warn!("--probe and --accept-stall are ignored: they need a listener per worker");
    }
}

/// Who may connect to the health endpoint where it is a unix socket: everybody who gets to its directory, as with TCP. It
/// tells, and takes no orders.
const HEALTH_MODE: u32 = 0o666;

/// Who may connect to the control socket.
const CONTROL_MODE: u32 = 0o600;

/// Where we are asked.
#[derive(Debug)]
pub struct Endpoints {
    /// The health endpoint.
    pub health: Option<Listener>,
    /// The control socket.
    pub control: Option<Listener>,
}

impl Endpoints {
    /// Binds them, or takes them over, and serves them. Must be called inside the runtime.
    ///
    /// # Errors
    /// The first that cannot be bound.
    pub fn open(config: &Config, edge: &Edge, given: Option<&Given>) -> Result<Self, StartError> {
        let open = |option, address: &Option<Address>, mode, access, fd| -> Result<_, StartError> {
            let Some(address) = address else { return Ok(None) };
            let listener = endpoint(option, address, mode, fd)?;
            match access {
                Access::Health => info!(address = %listener.address(), "health endpoint"),
                Access::Control => info!(address = %listener.address(), "control socket"),
            }
            http::serve(&listener, edge.clone(), access).map_err(|error| refused(option, &error))?;
            Ok(Some(listener))
        };
        let health_fd = given.and_then(|given| given.health);
        let control_fd = given.and_then(|given| given.control);
        Ok(Self {
            health: open("--health", &config.health, HEALTH_MODE, Access::Health, health_fd)?,
            control: open("--control", &config.control, CONTROL_MODE, Access::Control, control_fd)?,
        })
    }

    /// All there are.
    pub fn iter(&self) -> impl Iterator<Item = &Listener> {
        self.health.iter().chain(&self.control)
    }
}

fn endpoint(option: &str, address: &Address, mode: u32, given: Option<i32>) -> Result<Listener, StartError> {
    let listener = match given {
        None => Listener::bind_for(address, ENDPOINT_BACKLOG, FIRST_FD, mode),
        Some(fd) => exchange::adopt(fd).map(|fd| Listener::take_over(fd, address)),
    };
    listener.map_err(|error| not_bound(option, address, &error))
}

/// What the program before us in this process has told, if there was one. To be asked for before anything is opened.
///
/// # Errors
/// If it is not understood.
pub fn given() -> Result<Option<Given>, StartError> {
    let Some(fd) = std::env::var_os(VARIABLE) else { return Ok(None) };
    let fd = fd.to_str().and_then(|fd| fd.parse().ok());
    let text = fd.and_then(|fd| exchange::received(fd).ok());
    let given = text.and_then(|text| Given::read(&text));
    let given = given.ok_or_else(|| handover_error("it is not understood"))?;
    signals::take_over(given.signals);
    open_files::take_over(given.files);
    // The rest of a worker's line comes first.
    let torn = |output: &Output| {
        output.waiting.iter().any(|waiting| waiting.torn && channel::are_same(waiting.stream, STDERR))
    };
    stderr::hold(given.output.as_ref().is_some_and(torn));
    info!(workers = given.pool.kept.len(), "upgraded");
    Ok(Some(given))
}

fn handover_error(problem: &str) -> StartError {
    let remedy = "leave the variable out: it is for the program that takes over at USR2";
    StartError::usage(VARIABLE, problem, remedy).with_code(code::CANNOT_START)
}

fn taken_over(pool: &Pool, given: &Given, spread: Spread, least_fd: i32) -> Option<Lanes> {
    let adopt = |(fds, order): &(Vec<i32>, Vec<u32>)| {
        let fds = fds.iter().map(|fd| exchange::adopt(*fd).ok()).collect::<Option<Vec<_>>>()?;
        Some((fds, order.clone()))
    };
    let places = given.places.iter().map(adopt).collect::<Option<Vec<_>>>()?;
    let addresses: Vec<Address> = pool.listeners().cloned().collect();
    let adopted = pool.adopted.addresses.len();
    Lanes::take_over(&addresses, adopted, places, spread, pool.backlog, least_fd)
}

/// Takes the sockets that we are given.
fn adopt(pool: &Pool, least_fd: i32) -> Result<Vec<Listener>, StartError> {
    let given = (FIRST_FD..).zip(&pool.adopted.addresses);
    let taken = given.map(|(fd, address)| activation::take(fd, address, least_fd));
    taken.collect::<io::Result<_>>().map_err(|error| refused("LISTEN_FDS", &error))
}

fn not_bound(option: &str, address: &Address, error: &io::Error) -> StartError {
    if listen::is_out_of_descriptors(error) {
        return refused(option, error);
    }
    StartError::value(option, address, error, bind_remedy(address, error)).with_code(code::CANNOT_START)
}

fn bind_remedy(address: &Address, error: &io::Error) -> &'static str {
    if call::name(error).is_some() {
        return remedy_of(error);
    }
    match (address, error.kind()) {
        (_, _) if listen::is_out_of_memory(error) => {
            "there is no memory for it: raise the limit, or try again"
        }
        (Address::Tcp(_), io::ErrorKind::AddrInUse) => "stop what listens there, or use another port",
        (Address::Tcp(_), io::ErrorKind::PermissionDenied) => {
            "use a port from 1024 up, or add the capability NET_BIND_SERVICE"
        }
        (Address::Tcp(_), io::ErrorKind::AddrNotAvailable) => {
            "use an address of this machine, 0.0.0.0 or [::]"
        }
        (Address::Tcp(_), _) => "use another address",
        (Address::Unix(_), io::ErrorKind::AddrInUse) => {
            "somebody listens there, or it is no socket: use another path"
        }
        (Address::Unix(_), io::ErrorKind::NotFound) => "create the directory first",
        (Address::Unix(_), _) => "use a path in a directory that we may write to",
    }
}
