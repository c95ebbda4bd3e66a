//! `--explain`: what the settings would do, in words.

use super::plan_lines::{Plan, kill, rewrites};
use super::plan_pool;
use crate::core::policy::{InitPolicy, Job, Orphans, Scope};
use crate::core::{Mode, Signal};
use crate::os::process::pid1;
use crate::os::process::spawn::Placement;
use crate::os::stdio::terminal::{self, Terminal};
use crate::settings::defaults::Placing;
use crate::settings::options::{Endpoint, Subreaper};
use crate::settings::{HelperSettings, InitSettings, Settings};
use crate::setup;
use crate::values::error::StartError;
use humantime::format_duration as time;

/// The plan, in lines: which process gets which signal, what happens at the end, which limits apply, here and now.
///
/// # Errors
/// As the start would: a command that does not exist, an unknown user.
pub fn plan(settings: &Settings) -> Result<String, StartError> {
    let account = setup::preflight(settings)?;
    let mut plan = Plan::default();
    plan.say("command", command(settings));
    match &settings.mode {
        Mode::Init(init) if init.policy.pause => pause(&mut plan, &init.policy),
        Mode::Init(init) => one_command(&mut plan, settings, init),
        Mode::Pool(pool) => plan_pool::plan(&mut plan, pool),
    }
    let reaps = if pid1::is_pid1() {
        "all that lose their parent: we are PID 1".to_owned()
    } else if settings.subreaper == Subreaper::Auto {
        "descendants that lose their parent: we become a subreaper, since we are not PID 1".to_owned()
    } else {
        "our own children: we are not PID 1, and no subreaper".to_owned()
    };
    plan.say("reaps", reaps);
    if let Some(signal) = settings.parent_death_signal {
        let along = if signal == Signal::KILL { ", and so does the command" } else { "" };
        plan.say("parent's death", format_args!("we get {signal}{along}"));
    }
    if let Some(account) = account {
        let identity = &account.identity;
        plan.say(
            "runs as",
            format_args!("uid {}, gid {}, groups {:?}", identity.uid, identity.gid, identity.groups),
        );
    }
    if let Some(directory) = &settings.process.chdir {
        plan.say("directory", directory.display());
    }
    if let Some(umask) = settings.process.umask {
        plan.say("umask", format_args!("{umask:03o}"));
    }
    if let Some(score) = settings.process.oom_score_adj {
        plan.say("OOM score", score);
    }
    if settings.process.no_new_privs {
        plan.say("privileges", "no new ones");
    }
    helpers(&mut plan, &settings.helpers);
    let Endpoint { health, control } = &settings.endpoint;
    plan.say("health", health.as_ref().map_or("no endpoint".to_owned(), ToString::to_string));
    plan.say("control", control.as_ref().map_or("no socket".to_owned(), ToString::to_string));
    Ok(plan.0)
}

fn helpers(plan: &mut Plan, helpers: &HelperSettings) {
    for words in &helpers.before {
        plan.say("before", format_args!("{words}"));
    }
    if let Some(by) = helpers.before_by {
        plan.say("", format_args!("all of it within {}", time(by.0)));
    }
    if let Some(words) = &helpers.on_event {
        plan.say("at each event", words);
    }
    if let Some(by) = helpers.deadline {
        plan.say("deadline", format_args!("stopped as at TERM after {}, code 124", time(by.0)));
    }
    if let Some(check) = &helpers.check {
        plan.say("ready check", format_args!("{}, every {}", check.target, time(check.interval)));
    }
}

fn command(settings: &Settings) -> String {
    let words: Vec<String> =
        settings.command.as_given().iter().map(|word| word.display().to_string()).collect();
    if words.is_empty() { "none: reap, and wait for TERM or INT".to_owned() } else { words.join(" ") }
}

fn pause(plan: &mut Plan, policy: &InitPolicy) {
    plan.say("mode", "pause: no command");
    let stop = signals(|came| {
        let sent = policy.rewrites.of(came);
        sent.is_some_and(|sent| policy.asks_to_stop(sent) || sent == Signal::INT)
    });
    plan.say("signals", format_args!("{stop} end it, the others do nothing"));
    let who = format_args!(
        "what is left gets {} and CONT, and is waited for: {}",
        policy.stop.signal,
        kill(&policy.stop)
    );
    plan.say("at the stop", who);
    plan.say("exit code", policy.remapped(0));
}

fn one_command(plan: &mut Plan, settings: &Settings, InitSettings { policy, placing }: &InitSettings) {
    plan.say("mode", "init: one command, run once");
    let (place, shared) = place(*placing);
    plan.say("place", place);
    let whom = match policy.scope {
        Scope::Group if !shared => "the command's process group",
        Scope::Group | Scope::Process => "the command alone",
    };
    plan.say("signals", format_args!("1 to 64 but CHLD go to {whom}"));
    rewrites(plan, &policy.rewrites);
    if policy.spare_unaware {
        plan.say("", "kept from commands that do not handle them: HUP, USR1, USR2, ALRM and the like");
    }
    let starts = signals(|came| policy.rewrites.of(came).is_some_and(|sent| policy.asks_to_stop(sent)));
    plan.say(
        "at the stop",
        match starts.as_str() {
            "" => "no signal starts the clock".to_owned(),
            starts => format!("{starts} starts the clock: {}", kill(&policy.stop)),
        },
    );
    let own =
        if settings.subreaper == Subreaper::Never && !pid1::is_pid1() { " of our own children" } else { "" };
    plan.say(
        "at its end",
        match policy.orphans {
            Orphans::Wait => format!(
                "what is left{own} gets {} and CONT, and is waited for: {}",
                policy.stop.signal,
                kill(&policy.stop)
            ),
            Orphans::Signal(Some(signal)) if !shared => {
                format!("its process group gets {signal}, and we end at once")
            }
            Orphans::Signal(_) | Orphans::Leave => "we end at once".to_owned(),
        },
    );
    plan.say("exit code", "the command's own, 128+n if signal n ended it");
    for (from, to) in (0..=u8::MAX).map(|code| (code, policy.remapped(code))).filter(|(from, to)| from != to)
    {
        plan.say("", format_args!("{from} becomes {to}"));
    }
}

/// The names of the signals for which this holds, without those that cannot be caught.
fn signals(holds: impl Fn(Signal) -> bool) -> String {
    let all = (1..=64).filter_map(Signal::from_number);
    let caught = all.filter(|signal| ![Signal::KILL, Signal::STOP, Signal::CHLD].contains(signal));
    let names: Vec<String> =
        caught.filter(|signal| holds(*signal)).map(|signal| signal.to_string()).collect();
    names.join(", ")
}

/// Where the command runs, and whether in our own group.
fn place(placing: Placing) -> (&'static str, bool) {
    // Handled here: `setup::place` would change our terminal.
    if placing == Placing::WithOurTerminal {
        let has_terminal = terminal::leads_session() && Terminal::controlling().is_some();
        let place =
            if has_terminal { "a session of its own, with our terminal" } else { "a session of its own" };
        return (place, false);
    }
    let place = setup::place(placing);
    let words = match (place.placement, place.job) {
        (Placement::Shared, _) => "our own process group: the terminal's keys reach it without us",
        (Placement::Group(Some(_)), _) => "a process group of its own, in the foreground of our terminal",
        (Placement::Group(None), Job::Ours | Job::OfShell) => {
            "a process group of its own; our terminal stays with whom it is"
        }
        (Placement::Group(None), Job::Apart | Job::Shared) => "a process group of its own",
        (Placement::Session | Placement::SessionWithTerminal(_), _) => {
            "a session of its own, without a terminal"
        }
    };
    (words, place.placement == Placement::Shared)
}
