//! Binds the pool's listeners and the supervisor's endpoints, or takes them over.

use super::refused;
use crate::core::exit::code;
use crate::core::policy::PoolPolicy;
use crate::os::call;
use crate::os::call::remedy_of;
use crate::os::container::capacity::Quota;
use crate::os::process::exec;
use crate::os::process::handover::{Output, ProgramHandover, VARIABLE};
use crate::os::process::open_files;
use crate::os::process::privileges::{self, CHOWN};
use crate::os::process::sign::{self, PresenceSign};
use crate::os::signals;
use crate::os::socket::activation;
use crate::os::socket::lanes::{Lanes, Spread};
use crate::os::socket::listen::{self, Listener};
use crate::os::socket::occupant::{self, Occupant};
use crate::os::socket::rights::{self, Rights};
use crate::os::stdio::channel::{self, STDERR};
use crate::os::stdio::stderr;
use crate::os::users;
use crate::settings::rules::sizing::Sizing;
use crate::settings::{PoolSettings, Settings};
use crate::values::FIRST_FD;
use crate::values::address::Address;
use crate::values::error::StartError;
use std::io;
use std::os::fd::OwnedFd;
use tracing::{debug, info, warn};

/// Probes come one at a time; a few may wait.
const ENDPOINT_BACKLOG: u32 = 128;

/// Binds all listeners of the pool, with descriptors from `least_fd`. If the kernel cannot steer connections, adapts
/// the policy.
///
/// # Errors
/// The first address that cannot be bound; or a required probe that cannot be steered.
pub fn lanes(
    pool: &PoolSettings,
    policy: &mut PoolPolicy,
    least_fd: i32,
    given: Option<&ProgramHandover>,
) -> Result<Lanes, StartError> {
    let spread = if pool.per_worker { Spread::PerWorker } else { Spread::Shared };
    let lanes = match given {
        Some(given) => {
            let lanes = taken_over(pool, given, spread, least_fd);
            lanes.ok_or_else(|| handover_error("its listeners are not those of --bind"))?
        }
        None => {
            if let Some(sizing) = &pool.sizing {
                log_size(sizing, policy.min_ready);
            }
            let most = policy.workers.saturating_add(policy.budget.surge(policy.workers));
            let rights = rights_of_bind(pool)?;
            let adopted = adopt(pool, least_fd)?;
            let lanes = Lanes::adopt(adopted, &pool.bind, rights, most, spread, pool.backlog, least_fd);
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

/// Drops the rules that need a listener per worker.
pub fn without_steering(policy: &mut PoolPolicy) {
    policy.drain.steered = false;
    if policy.hang.probe.take().is_some() | policy.hang.accept_stall.take().is_some() {
        warn!("--probe and --accept-stall are ignored: they need a listener per worker");
    }
}

/// Logs the origin of the number of workers, and its problems.
fn log_size(sizing: &Sizing, min_ready: u32) {
    let Sizing { capacity, worker_memory, .. } = sizing;
    info!(
        workers = sizing.workers(),
        cpus = capacity.cpus(),
        processors = capacity.processors,
        cpu_quota_millis = capacity.quota.map(Quota::millis),
        memory_limit = capacity.memory_limit,
        worker_memory,
        "workers: {sizing}"
    );
    for warning in sizing.warnings(min_ready) {
        warn!("--workers auto: {warning}");
    }
}

/// Which users may connect to unix sockets of `--bind`.
///
/// # Errors
/// If the group does not exist, or we may not give it a file.
fn rights_of_bind(pool: &PoolSettings) -> Result<Rights, StartError> {
    let has_file = pool.bind.iter().any(|address| matches!(address, Address::Unix(_)));
    let Some(name) = pool.bind_group.as_ref().filter(|_| has_file) else {
        return Ok(Rights { mode: pool.bind_mode, group: None });
    };
    let group = users::find_group("--bind-group", name)?;
    let is_ours = privileges::own_groups().contains(&group);
    if is_ours || privileges::have(&[CHOWN]) {
        return Ok(Rights { mode: pool.bind_mode, group: Some(group) });
    }
    let problem = "we are not in it, and may not give it a file";
    Err(StartError::value("--bind-group", name, problem, REMEDY_OF_GROUP).with_code(code::CANNOT_START))
}

const REMEDY_OF_GROUP: &str = "name a group of our user, or start as root, with the capability CHOWN";

/// The endpoints at which the supervisor is asked.
#[derive(Debug)]
pub struct Endpoints {
    pub health: Option<Listener>,
    pub control: Option<Listener>,
    /// Lets `status` and `ctl` find us for as long as it is open.
    _sign: Option<OwnedFd>,
}

impl Endpoints {
    /// Binds them, or takes them over.
    ///
    /// # Errors
    /// The first address that cannot be bound.
    pub fn open(settings: &Settings, given: Option<&ProgramHandover>) -> Result<Self, StartError> {
        let open = |option, address: &Option<Address>, rights, fd| -> Result<_, StartError> {
            address.as_ref().map(|address| endpoint(option, address, rights, fd)).transpose()
        };
        // It answers questions and takes no orders.
        let health_fd = given.and_then(|given| given.health);
        let health = open("--health", &settings.endpoint.health, Rights::EVERYBODY, health_fd)?;
        if let Some(health) = &health {
            info!(address = %health.address(), "health endpoint");
        }
        let control = open(
            "--control",
            &settings.endpoint.control,
            Rights::OURS,
            given.and_then(|given| given.control),
        )?;
        if let Some(control) = &control {
            info!(address = %control.address(), "control socket");
        }
        let is_pool = settings.pool().is_some();
        let told = (is_pool || health.is_some() || control.is_some()).then(|| {
            let place =
                |listener: &Option<Listener>| listener.as_ref().map(|listener| listener.address().clone());
            sign::hold_up(&PresenceSign { is_pool, control: place(&control), health: place(&health) })
        });
        let sign = told.and_then(|held| {
            held.inspect_err(|error| debug!(%error, "status and ctl cannot find us by themselves")).ok()
        });
        Ok(Self { health, control, _sign: sign })
    }

    pub fn iter(&self) -> impl Iterator<Item = &Listener> {
        self.health.iter().chain(&self.control)
    }
}

fn endpoint(
    option: &str,
    address: &Address,
    rights: Rights,
    given: Option<i32>,
) -> Result<Listener, StartError> {
    let listener = match given {
        None => Listener::endpoint(address, ENDPOINT_BACKLOG, FIRST_FD, rights),
        Some(fd) => exec::adopt(fd).map(|fd| Listener::take_over(fd, address)),
    };
    listener.map_err(|error| not_bound(option, address, &error))
}

/// The handover of the previous program in this process, if there was one. To be called before anything is opened.
///
/// # Errors
/// If it is not understood.
pub fn given() -> Result<Option<ProgramHandover>, StartError> {
    let Some(fd) = std::env::var_os(VARIABLE) else { return Ok(None) };
    let fd = fd.to_str().and_then(|fd| fd.parse().ok());
    let text = fd.and_then(|fd| exec::received(fd).ok());
    let given = text.and_then(|text| ProgramHandover::read(&text));
    let given = given.ok_or_else(|| handover_error("it is not understood"))?;
    signals::take_over(given.signals);
    open_files::take_over(given.files);
    // If stderr ends within a worker's line, the rest of that comes before our log lines.
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

fn taken_over(pool: &PoolSettings, given: &ProgramHandover, spread: Spread, least_fd: i32) -> Option<Lanes> {
    let adopt = |(fds, order): &(Vec<i32>, Vec<u32>)| {
        let fds = fds.iter().map(|fd| exec::adopt(*fd).ok()).collect::<Option<Vec<_>>>()?;
        Some((fds, order.clone()))
    };
    let places = given.places.iter().map(adopt).collect::<Option<Vec<_>>>()?;
    let addresses: Vec<Address> = pool.listeners().cloned().collect();
    let adopted = pool.adopted.addresses.len();
    Lanes::take_over(&addresses, adopted, places, spread, pool.backlog, least_fd)
}

/// Moves the inherited sockets to their final descriptors.
fn adopt(pool: &PoolSettings, least_fd: i32) -> Result<Vec<Listener>, StartError> {
    let given = (FIRST_FD..).zip(&pool.adopted.addresses);
    let taken = given.map(|(fd, address)| activation::take(fd, address, least_fd));
    taken.collect::<io::Result<_>>().map_err(|error| refused("LISTEN_FDS", &error))
}

fn not_bound(option: &str, address: &Address, error: &io::Error) -> StartError {
    if listen::is_out_of_descriptors(error) {
        return refused(option, error);
    }
    if matches!(address, Address::Unix(_)) && rights::is_of_group(error) {
        return StartError::usage("--bind-group", error, REMEDY_OF_GROUP).with_code(code::CANNOT_START);
    }
    let in_use = (error.kind() == io::ErrorKind::AddrInUse).then(|| in_use(address, error)).flatten();
    let (problem, remedy) =
        in_use.unwrap_or_else(|| (error.to_string(), bind_remedy(address, error).to_owned()));
    StartError::value(option, address, problem, remedy).with_code(code::CANNOT_START)
}

/// The most processes that are named.
const MOST_OCCUPANTS: usize = 4;

/// The processes that occupy the address, with a remedy; `None` if none is visible. A server that was started through a
/// shell outlives a supervisor that is killed, and keeps the port.
fn in_use(address: &Address, error: &io::Error) -> Option<(String, String)> {
    let occupants = occupant::of(address);
    let other = match address {
        Address::Tcp(_) => "use another port",
        Address::Unix(_) => "use another path",
    };
    let own = std::process::id().to_string();
    if occupants.iter().any(|occupant| occupant.pid.to_string() == own) {
        return Some((format!("{error}: by another listener of ours"), other.to_owned()));
    }
    let (pids, named): (Vec<String>, Vec<String>) = occupants
        .iter()
        .take(MOST_OCCUPANTS)
        .map(|Occupant { pid, name }| (pid.to_string(), format!("pid {pid} ({name})")))
        .unzip();
    if pids.is_empty() {
        return None;
    }
    let more = if occupants.len() > MOST_OCCUPANTS { " and others" } else { "" };
    let problem = format!("{error}: by {}{more}", named.join(", "));
    Some((problem, format!("stop it, with kill {}, or {other}", pids.join(" "))))
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
