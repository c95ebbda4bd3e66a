//! `--explain`: what would be done, in words.

use crate::cli::ProcessGroup;
use crate::config::{Config, Placing};
use crate::core::policy::{InitPolicy, Job, Orphans, PoolPolicy, Scope, StopPolicy};
use crate::core::time::Patience;
use crate::core::{Mode, Rewrites, Signal};
use crate::error::StartError;
use crate::os::{pid1, terminal};
use crate::setup;
use std::fmt::{self, Write};
use std::time::Duration;

/// The plan, a line each for who gets which signal, what happens at the end, and which limits apply, here and now.
///
/// # Errors
/// As the start would: a command that is not there, a user who is not known.
pub fn plan(config: &Config) -> Result<String, StartError> {
    let account = setup::account(&config.process)?;
    let mut plan = Plan::default();
    plan.say("command", command(config));
    match &config.mode {
        Mode::Init(policy) => init(&mut plan, config, policy),
        Mode::Pool(policy) => pool(&mut plan, config, policy),
    }
    let reaps = if pid1::is_pid1() {
        "all that lose their parent: we are PID 1".to_owned()
    } else if config.subreaper == crate::cli::Subreaper::Auto {
        "descendants that lose their parent: we become a subreaper, since we are not PID 1".to_owned()
    } else {
        "our own children: we are not PID 1, and no subreaper".to_owned()
    };
    plan.say("reaps", reaps);
    if let Some(signal) = config.parent_death_signal {
        plan.say("parent's death", format_args!("we get {signal}"));
    }
    if let Some(account) = account {
        let identity = &account.identity;
        plan.say(
            "runs as",
            format_args!("uid {}, gid {}, groups {:?}", identity.uid, identity.gid, identity.groups),
        );
    }
    if let Some(directory) = &config.process.chdir {
        plan.say("directory", directory.display());
    }
    if let Some(umask) = config.process.umask {
        plan.say("umask", format_args!("{umask:03o}"));
    }
    if let Some(score) = config.process.oom_score_adj {
        plan.say("OOM score", score);
    }
    if config.process.no_new_privs {
        plan.say("privileges", "no new ones");
    }
    plan.say("health", config.health.as_ref().map_or("no endpoint".to_owned(), ToString::to_string));
    Ok(plan.0)
}

#[derive(Default)]
struct Plan(String);

impl Plan {
    fn say(&mut self, what: &str, how: impl fmt::Display) {
        let _never_fails = writeln!(self.0, "{what:<15} {how}");
    }
}

fn command(config: &Config) -> String {
    let words: Vec<String> =
        config.command.as_given().iter().map(|word| word.display().to_string()).collect();
    if words.is_empty() { "none: reap, and wait for TERM or INT".to_owned() } else { words.join(" ") }
}

fn init(plan: &mut Plan, config: &Config, policy: &InitPolicy) {
    plan.say("mode", "init: one command, run once");
    plan.say("place", place(config));
    let whom = match policy.scope {
        Scope::Group if policy.job != Job::Shared => "the command's process group",
        Scope::Group | Scope::Process => "the command alone",
    };
    plan.say("signals", format_args!("1 to 64 but CHLD go to {whom}"));
    rewrites(plan, &policy.rewrites);
    if policy.spare_unaware {
        plan.say("", "kept from who does not handle them: HUP, USR1, USR2, ALRM and the like");
    }
    let clock = match policy.rewrites.of(Signal::TERM) {
        Some(signal) if signal != Signal::TERM => format!("TERM (as {signal})"),
        Some(_) => "TERM".to_owned(),
        None => format!("{}", policy.stop.signal),
    };
    plan.say("at the stop", format_args!("{clock} starts the clock: {}", kill(&policy.stop)));
    let rest = match policy.orphans {
        Orphans::Wait => format!(
            "who is left gets {} and CONT, and is waited for: {}",
            policy.stop.signal,
            kill(&policy.stop)
        ),
        Orphans::Signal => match policy.rewrites.of(Signal::TERM) {
            Some(signal) => format!("its process group gets {signal}, and we end at once"),
            None => "we end at once".to_owned(),
        },
        Orphans::Leave => "we end at once".to_owned(),
    };
    plan.say("at its end", rest);
    plan.say("exit code", "the command's own, 128+n if signal n ended it");
    for (from, to) in &policy.remaps {
        plan.say("", format_args!("{from} becomes {to}"));
    }
}

fn place(config: &Config) -> &'static str {
    match config.placing {
        Placing::WithOurTerminal => "a session of its own, with our terminal if we have one",
        Placing::As(ProcessGroup::Session) => "a session of its own, without a terminal",
        Placing::As(ProcessGroup::None) => "our own process group: the terminal's keys reach it without us",
        Placing::As(ProcessGroup::Auto | ProcessGroup::Group) => match terminal::Terminal::controlling() {
            Some(found) if found.is_ours_to_lend() => {
                "a process group of its own, in the foreground of our terminal"
            }
            Some(_) => "a process group of its own; our terminal stays with whom it is",
            None if config.placing == Placing::As(ProcessGroup::Group) => "a process group of its own",
            None => "a session of its own: no terminal controls ours",
        },
    }
}

fn pool(plan: &mut Plan, config: &Config, policy: &PoolPolicy) {
    plan.say("mode", format_args!("pool: {} workers, {} must be ready", policy.workers, policy.min_ready));
    for (fd, address) in (crate::os::spawn::FIRST_FD..).zip(&config.bind) {
        plan.say("listener", format_args!("{address}, descriptor {fd} of each worker"));
    }
    plan.say(
        "signals",
        "TERM, INT and QUIT stop the pool; a second hurries, a third kills; others are logged",
    );
    rewrites(plan, &policy.rewrites);
    plan.say(
        "at the stop",
        format_args!(
            "not ready; after {} each worker gets {}; {}",
            time(policy.drain_delay),
            policy.stop.signal,
            kill(&policy.stop)
        ),
    );
    if let Some(limit) = &policy.recycle.max_requests {
        plan.say(
            "recycled",
            format_args!("after {} to {} requests", limit.base, limit.base.saturating_add(limit.jitter)),
        );
    }
    if let Some(limit) = &policy.recycle.max_age {
        plan.say(
            "recycled",
            format_args!(
                "at an age of {} to {}",
                time(limit.base),
                time(limit.base.saturating_add(limit.jitter))
            ),
        );
    }
    let restarts = policy.respawn.max_restarts.map_or("never given up".to_owned(), |most| {
        format!(
            "given up, with code 3, after more than {most} restarts of a slot in {}",
            time(policy.respawn.window)
        )
    });
    plan.say("crashes", format_args!("replaced; {restarts}"));
    plan.say("exit code", "0 after an ordered stop, 3 when a crash loop is given up");
}

fn rewrites(plan: &mut Plan, rewrites: &Rewrites) {
    for rule in rewrites.rules() {
        match rule.to {
            Some(to) => plan.say("", format_args!("{} becomes {to}", rule.from)),
            None => plan.say("", format_args!("{} is dropped", rule.from)),
        }
    }
}

fn kill(stop: &StopPolicy) -> String {
    match stop.graceful {
        Patience::For(Duration::ZERO) => "KILL at once".to_owned(),
        Patience::For(grace) => format!("KILL after {}", time(grace)),
        Patience::Forever => "nobody is killed".to_owned(),
    }
}

fn time(span: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(span)
}
