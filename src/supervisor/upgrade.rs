//! USR2: the program that is now in the supervisor's place takes this process over, with its workers and listeners.

use super::Supervisor;
use crate::core::event::{Answer, SpawnFailure};
use crate::core::{Event, Handover};
use crate::os::entry;
use crate::os::process::exec;
use crate::os::process::handover::{FORMAT, Output, ProgramHandover, VARIABLE};
use crate::os::process::open_files;
use crate::os::signals;
use crate::settings::options::Endpoint;
use crate::settings::rules::activation::VARIABLE as LISTEN;
use crate::settings::{PoolSettings, Settings};
use crate::setup;
use crate::values::address::Address;
use crate::values::error::StartError;
use crate::values::ready_target::CheckState;
use crate::values::variables::HANDOVER_TERMS;
use crate::workers::Workers;
use crate::workers::output::Relay;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;
use tracing::{error, warn};

/// How long the next program may take to read the command line and answer. The loop waits meanwhile.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// `ENOENT` (errno(3)); the same on every Linux architecture.
const NOT_FOUND: i32 = 2;

/// With workers from a handover, a missing program (the command or a hook) must not end the supervisor: it is logged,
/// and each start of the program is tried.
pub(super) fn only_a_program(given: &Option<ProgramHandover>, error: StartError) -> Result<(), StartError> {
    if given.is_none() {
        return Err(error);
    }
    error!(%error, "a program is missing: the workers that run are kept, and each start of it is tried");
    Ok(())
}

/// With workers from a handover, an error that concerns the start of more workers must not end the supervisor: it is
/// logged, and each start fails.
pub(super) fn only_new_workers(
    given: &Option<ProgramHandover>,
    error: StartError,
) -> Result<SpawnFailure, StartError> {
    if given.is_none() {
        return Err(error);
    }
    error!(%error, "no worker can be started: those that run are kept");
    Ok(SpawnFailure { step: "find what to start", errno: NOT_FOUND, code: error.code() })
}

/// The answer of a program that is asked by [`HANDOVER_TERMS`] whether it could take over.
///
/// # Errors
/// As at the start, for example a missing command or an unknown user; also if the settings make no pool.
pub fn answer(settings: &Settings) -> Result<String, StartError> {
    if settings.pool().is_none() {
        return Err(StartError::usage("workers, bind", "this would be no pool any more", "start anew"));
    }
    setup::preflight(settings)?;
    Ok(terms(settings))
}

/// The format, and a line for each socket: both programs must have the same terms.
fn terms(settings: &Settings) -> String {
    let mut lines = vec![format!("handover {FORMAT}")];
    if let Some(pool) = settings.pool() {
        let PoolSettings { adopted, bind, bind_mode, bind_group, .. } = pool;
        let group = bind_group.as_deref().unwrap_or("-");
        let spread = if pool.policy.drain.steered { "each" } else { "shared" };
        lines.extend(adopted.addresses.iter().map(|address| format!("listen {address} {spread} given")));
        lines.extend(bind.iter().map(|address| match address {
            Address::Tcp(_) => format!("listen {address} {spread}"),
            Address::Unix(_) => format!("listen {address} {spread} {bind_mode:o} {group}"),
        }));
    }
    let Endpoint { health, control } = &settings.endpoint;
    lines.extend(health.iter().map(|address| format!("health {address}")));
    lines.extend(control.iter().map(|address| format!("control {address}")));
    lines.join("\n") + "\n"
}

impl Supervisor {
    /// Returns only if the upgrade failed: then everything is as before.
    // Not inlined: its frame would be part of every turn.
    #[inline(never)]
    pub(super) fn upgrade(&self, workers: Option<&Workers>, mut pool: Handover) -> Event {
        // The next program treats helpers as leftovers, and kills them at the same time.
        pool.leftovers.extend(self.helpers.runner.all().filter(|(_, kill_at)| kill_at.is_some()));
        let waiting = self.helpers.hooks.waiting();
        if waiting > 0 {
            warn!(count = waiting, "events wait for hooks: they are dropped by the upgrade");
        }
        let remedy = match (&self.program, workers) {
            (Ok(program), Some(workers)) => match self.exchange(program, workers, pool) {
                Ok(remedy) => remedy.to_owned(),
                Err(error) => error.to_string(),
            },
            (Err(error), _) => error.to_string(),
            (_, None) => "there is no pool".to_owned(),
        };
        let program = self.program.as_deref().map(|program| program.display().to_string()).ok();
        error!(program, reason = remedy, "upgrade failed");
        Event::Answered(Answer::UpgradeFailed)
    }

    fn exchange(&self, program: &Path, workers: &Workers, pool: Handover) -> io::Result<&'static str> {
        let args = entry::args();
        // A program that could not go on must not be executed, because PID 1 cannot go back. A program that does not
        // know the second variable prints a plan for people, and starts nothing either.
        let listen = workers.adopted.to_hand_over();
        let given_some = !workers.adopted.addresses.is_empty();
        let variables = [("PREFORK_EXPLAIN", "true"), (HANDOVER_TERMS, "true"), (LISTEN, listen.as_str())];
        let variables = variables.get(..if given_some { 3 } else { 2 }).unwrap_or_default();
        let answer = exec::ask(program, &args, variables, ANSWER_WITHIN);
        self.clock.worked();
        let Some(answer) = answer? else {
            return Ok("the new program does not accept our command line; try it with --explain");
        };
        let terms = terms(&self.in_force.start);
        if !answer.starts_with("handover ") {
            return Ok("the new program is of an earlier build, or none of ours: start anew");
        }
        if answer.lines().next() != terms.lines().next() {
            return Ok(
                "the new program cannot take over: it knows another handover format, as --explain tells; start anew, or \
                 upgrade to one that has ours",
            );
        }
        if answer != terms {
            return Ok("the configuration says to listen elsewhere now, which takes a restart");
        }
        let places: Vec<(Vec<BorrowedFd<'_>>, &[u32])> = workers.lanes.hand_over().collect();
        let numbers = |fds: &[BorrowedFd<'_>]| fds.iter().map(AsRawFd::as_raw_fd).collect();
        let scoreboard = workers.scoreboard_fd();
        let output = workers.output.as_ref().map(Relay::hand_over);
        let output = output.map(|(output, bytes)| Ok::<_, io::Error>((output, exec::put_down(&bytes)?)));
        let output = output.transpose()?;
        let (notify, notify_fds) = workers.notices.hand_over();
        let given = ProgramHandover {
            pool,
            signals: signals::given(),
            files: open_files::given(),
            notify,
            scoreboard: scoreboard.map(|(fd, lines)| (fd.as_raw_fd(), lines)),
            health: self.endpoints.health.as_ref().map(|listener| listener.as_fd().as_raw_fd()),
            control: self.endpoints.control.as_ref().map(|listener| listener.as_fd().as_raw_fd()),
            check_passes: self.helpers.checker.as_ref().is_some_and(|it| *it.state() == CheckState::Passes),
            output: output.as_ref().map(|(output, fd)| Output { bytes: fd.as_raw_fd(), ..output.clone() }),
            places: places.iter().map(|(fds, order)| (numbers(fds), order.to_vec())).collect(),
        };
        let text = exec::put_down(given.write().as_bytes())?;
        let mut keep: Vec<BorrowedFd<'_>> = places.into_iter().flat_map(|(fds, _)| fds).collect();
        keep.extend(notify_fds);
        keep.push(text.as_fd());
        keep.extend(output.as_ref().map(|(_, fd)| fd.as_fd()));
        keep.extend(workers.output.iter().flat_map(Relay::fds));
        keep.extend(scoreboard.map(|(fd, _)| fd));
        keep.extend(self.endpoints.iter().map(AsFd::as_fd));
        let mut env: Vec<(OsString, OsString)> =
            std::env::vars_os().filter(|(name, _)| name != VARIABLE && name != LISTEN).collect();
        env.extend(given_some.then(|| (LISTEN.into(), listen.into())));
        env.push((VARIABLE.into(), text.as_raw_fd().to_string().into()));
        Err(exec::exchange(program, &args, &env, &keep))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings;
    use crate::settings::layers::{Parsed, read};
    use crate::settings::rules::activation::ListenVariables;
    use crate::settings::surroundings::Surroundings;

    #[test]
    fn all_that_both_programs_must_have_in_common_is_in_the_terms() {
        let terms_of = |line: &str, activation: Option<ListenVariables>| {
            let words = ["prefork-init"].into_iter().chain(line.split(' ')).map(OsString::from);
            let Ok(Parsed::Asks(options)) = read(words) else { panic!("{line}") };
            let surroundings = Surroundings { activation, ..Surroundings::default() };
            terms(&settings::resolve(*options, &surroundings).unwrap())
        };
        let given = || Some(ListenVariables::handed_over("127.0.0.1:80\nunix:@a", ""));
        for (line, activation, lines) in [
            ("-n 2 x", None, ""),
            ("-n 2 -b :80,[::]:81 x", None, "listen 0.0.0.0:80 each\nlisten [::]:81 each\n"),
            ("-n 2 -b :80 --listener shared x", None, "listen 0.0.0.0:80 shared\n"),
            ("-b unix:/s x", None, "listen unix:/s shared 666 -\n"),
            ("-b unix:/s --bind-mode 60 --bind-group web x", None, "listen unix:/s shared 60 web\n"),
            ("-n 2 x", given(), "listen 127.0.0.1:80 each given\nlisten unix:@a each given\n"),
            ("-n 2 --health :9 --control /c x", None, "health 0.0.0.0:9\ncontrol unix:/c\n"),
        ] {
            assert_eq!(terms_of(line, activation), format!("handover 4\n{lines}"), "{line}");
        }
    }
}
