//! What histories must come to if the rules are to mean anything.

use prefork_core::action::{Ask, Forward, ListenerAction, Recipients, Target, TerminalAction, WorkerAction};
use prefork_core::event::{ChildChange, Found, PoolFact, Request, WorkerFact};
use prefork_core::exit::{Exit, Reason};
use prefork_core::note::{InitNote, PoolNote, ReadyBy, ReloadNote, SignalNote, WorkerNote};
use prefork_core::policy::{InitPolicy, Job, Orphans, PoolPolicy, Scope};
use prefork_core::{Action, Core, Event, Mode, Note, Patience, Signal};
use std::time::Duration;

/// A step of a history under this mode.
pub struct Step<'a> {
    pub mode: &'a Mode,
    pub event: Event,
    pub actions: &'a [Action],
    /// After the step.
    pub core: &'a Core,
}

pub type Corner = (String, Box<dyn Fn(&Step<'_>) -> bool>);

/// Whether there is such an action, and whether such a thing is told.
macro_rules! did {
    ($step:ident, $($action:tt)+) => { $step.actions.iter().any(|action| matches!(action, $($action)+)) };
}
#[rustfmt::skip]
macro_rules! told {
    ($step:ident, $($note:tt)+) => { $step.actions.iter().any(|a| matches!(a, Action::Note(note) if matches!(note, $($note)+))) };
}

impl Step<'_> {
    fn signal(&self) -> Option<Signal> {
        if let Event::Signalled(received) = self.event { Some(received.signal) } else { None }
    }

    fn terminal_sends(&self, signal: Signal) -> bool {
        matches!(self.event, Event::Signalled(received) if received.signal == signal && received.is_from_terminal())
    }

    fn exits(&self, with: u8) -> bool {
        did!(self, Action::Exit(code) if *code == with)
    }

    fn found(&self) -> Option<Found> {
        if let Event::Worker { fact: WorkerFact::AcceptingSeen { found, .. }, .. } = self.event {
            Some(found)
        } else {
            None
        }
    }

    fn due(&self, why: Reason) -> bool {
        told!(self, Note::Worker(_, WorkerNote::Due { reason, .. }) if *reason == why)
    }

    fn exited(&self, why: Reason) -> bool {
        told!(self, Note::Worker(_, WorkerNote::Exited { reason, .. }) if *reason == why)
    }

    fn forwards(&self, signal: Signal) -> bool {
        did!(self, Action::Forward(Forward { received, .. }) if received.signal == signal)
    }

    fn does_nothing(&self) -> bool {
        self.actions
            .iter()
            .all(|action| matches!(action, Action::Note(Note::Signal(SignalNote::Received(_)))))
    }
}

/// Of pools and of inits: one a line.
#[rustfmt::skip]
pub fn all() -> Vec<Corner> {
    let pool = |what: &str, is_it: fn(&PoolPolicy, &Step<'_>) -> bool| -> Corner {
        let is_it = move |s: &Step<'_>| matches!(s.mode, Mode::Pool(policy) if is_it(policy, s));
        (what.into(), Box::new(is_it))
    };
    let init = |what: &str, is_it: fn(&InitPolicy, &Step<'_>) -> bool| -> Corner {
        let is_it = move |s: &Step<'_>| matches!(s.mode, Mode::Init(policy) if is_it(policy, s));
        (what.into(), Box::new(is_it))
    };
    let mut corners = vec![
        pool("no graceful timeout", |p, s| p.stop.graceful == Patience::Forever && s.exits(0)),
        pool("a graceful timeout of zero", |p, s| p.stop.graceful == Patience::For(Duration::ZERO) && s.exits(0)),
        pool("a crash loop", |_, s| told!(s, Note::Pool(PoolNote::GaveUp { .. })) && s.exits(3)),
        pool("a run that takes too long", |_, s| told!(s, Note::Init(InitNote::DeadlinePassed { .. })) && told!(s, Note::Pool(PoolNote::ShutdownStarted { .. }))),
        pool("the code of such a run", |_, s| told!(s, Note::Pool(PoolNote::Stopped)) && s.exits(124)),
        pool("a command that cannot be started", |_, s| matches!(s.event, Event::Spawned { result: Err(_), .. }) && s.exits(126)),
        pool("a failure while others run", |_, s| told!(s, Note::Init(InitNote::SpawnFailed { .. })) && told!(s, Note::Pool(PoolNote::RespawnDelayed { .. }))),
        pool("the first readiness", |_, s| told!(s, Note::Pool(PoolNote::Ready { .. }))),
        pool("a worker that cannot be seen", |_, s| told!(s, Note::Worker(_, WorkerNote::Unobservable))),
        pool("lateness", |_, s| did!(s, Action::Worker { act: WorkerAction::ExplainLateness { .. }, .. })),
        pool("counting", |_, s| did!(s, Action::Worker { act: WorkerAction::CheckCounting, .. })),
        pool("a worker that is busy", |_, s| told!(s, Note::Worker(_, WorkerNote::Busy { surge: None, .. }))),
        pool("one that holds others up", |_, s| told!(s, Note::Worker(_, WorkerNote::Busy { surge: Some(_), .. }))),
        pool("what all have in hand", |_, s| matches!(s.event, Event::Pool(PoolFact::ConnectionsSeen { found: Some(_), .. }))),
        pool("a kernel that shows nothing", |_, s| matches!(s.event, Event::Worker { fact: WorkerFact::ConnectionsSeen { found: None, .. }, .. })),
        pool("a configuration that is refused", |_, s| told!(s, Note::Reload(_, ReloadNote::Refused))),
        pool("the second stop", |_, s| told!(s, Note::Pool(PoolNote::ShutdownHurried { .. }))),
        pool("a kill", |_, s| told!(s, Note::Worker(_, WorkerNote::Killed { .. }))),
        pool("the kill of everything", |_, s| told!(s, Note::Init(InitNote::KillingAll))),
        pool("the kill of what one left", |_, s| did!(s, Action::Signal { to: Recipients::Leftovers(_), .. })),
        pool("orphans", |_, s| matches!(s.event, Event::Reaped { children_left: true }) && told!(s, Note::Init(InitNote::StoppingOrphans))),
        pool("a signal for nothing", |_, s| told!(s, Note::Signal(SignalNote::Ignored { .. }))),
        pool("a signal that is dropped", |_, s| told!(s, Note::Signal(SignalNote::Dropped { .. }))),
        pool("a HUP that stops", |_, s| s.signal() == Some(Signal::HUP) && told!(s, Note::Pool(PoolNote::ShutdownStarted { .. }))),
        pool("a TERM that does not", |_, s| s.signal() == Some(Signal::TERM) && told!(s, Note::Signal(SignalNote::Ignored { signal: Signal::HUP }))),
        pool("a signal passed on", |_, s| did!(s, Action::Signal { to: Recipients::Takers(_), signal: Signal::USR1 })),
        pool("one passed on to several", |_, s| s.actions.iter().filter(|a| matches!(a, Action::Signal { to: Recipients::Takers(_), .. })).count() > 1),
        pool("one passed on to none", |_, s| told!(s, Note::Signal(SignalNote::Forwarded { .. })) && !did!(s, Action::Signal { to: Recipients::Takers(_), .. })),
        pool("a queue that wakes", |_, s| matches!(s.event, Event::Worker { fact: WorkerFact::QueueWoke, .. }) && s.does_nothing()),
        pool("a pause", |_, s| s.found() == Some(Found::Absent) && told!(s, Note::Worker(_, WorkerNote::StoppedAccepting)) && did!(s, Action::Listeners(ListenerAction::Steer { .. }))),
        pool("one that left", |_, s| s.found() == Some(Found::Left) && s.due(Reason::Stop)),
        pool("one that stays away", |_, s| s.found() == Some(Found::Absent) && s.due(Reason::Stop)),
        pool("one that is back", |_, s| told!(s, Note::Worker(_, WorkerNote::AcceptsAgain)) && did!(s, Action::Listeners(ListenerAction::Steer { .. }))),
        pool("a successor that is not needed", |_, s| s.found() == Some(Found::Accepts) && told!(s, Note::Worker(_, WorkerNote::Stopping { reason: Reason::Scale, .. }))),
        pool("one that left and was stopped by another", |p, s| p.drain.shares && s.exited(Reason::Stop) && told!(s, Note::Worker(_, WorkerNote::Exited { exit: Exit::Signal { signal: Signal::TERM, .. }, .. }))),
        pool("one that left and shares nothing", |p, s| !p.drain.shares && s.found() == Some(Found::Left) && s.due(Reason::Stop)),
        pool("a recycle", |_, s| matches!(s.event, Event::Requested(Request::Recycle { .. })) && s.due(Reason::Asked)),
        pool("a recycle of none", |_, s| matches!(s.event, Event::Requested(Request::Recycle { .. })) && s.does_nothing()),
        pool("many more workers", |_, s| told!(s, Note::Pool(PoolNote::Scaled { workers: 9, from: 1 }))),
        pool("all but one worker less", |_, s| s.event == Event::Requested(Request::Scale { workers: 1 }) && told!(s, Note::Pool(PoolNote::Scaled { .. }))),
        pool("a reload that is asked for", |_, s| s.event == Event::Requested(Request::Reload) && told!(s, Note::Reload(_, ReloadNote::Started))),
        pool("a stop that is asked for", |_, s| s.event == Event::Requested(Request::Stop) && told!(s, Note::Pool(PoolNote::ShutdownStarted { .. }))),
        init("a command that runs too long", |p, s| s.event == Event::DeadlinePassed && !p.pause && did!(s, Action::Forward(_))),
        init("a pause that lasts too long", |p, s| s.event == Event::DeadlinePassed && p.pause && did!(s, Action::Ask(Ask::Reap))),
        init("the code of what takes too long", |p, s| p.deadline.is_some() && s.exits(124)),
        init("the scope of a process", |p, s| p.scope == Scope::Process && did!(s, Action::Forward(Forward { to: Target::Process(_), .. }))),
        init("the scope of a group", |p, s| p.rewrites.rules().is_empty() && did!(s, Action::Forward(Forward { to: Target::Group(_), .. }))),
        init("no group of its own", |p, s| p.job == Job::Shared && did!(s, Action::Forward(Forward { to: Target::Process(_), .. }))),
        init("a value", |_, s| did!(s, Action::Forward(Forward { received, .. }) if received.value == 0xDEAD_BEEF)),
        init("a dropped TERM", |_, s| told!(s, Note::Signal(SignalNote::Dropped { signal: Signal::TERM }))),
        init("a TERM that was a HUP", |_, s| s.signal() == Some(Signal::HUP) && s.forwards(Signal::TERM)),
        init("one that is to see the signal", |_, s| s.signal().is_some() && did!(s, Action::ContinueStopped(_))),
        init("a signal for what is left", |_, s| s.signal().is_some() && did!(s, Action::Signal { to: Recipients::Everyone, .. })),
        init("Ctrl-C, heard already", |p, s| p.job == Job::Shared && s.terminal_sends(Signal::INT) && s.does_nothing()),
        init("a HUP of the kernel", |p, s| p.job == Job::Shared && s.signal() == Some(Signal::HUP) && s.forwards(Signal::HUP)),
        init("the unaware spared", |_, s| did!(s, Action::Forward(Forward { spare_unaware: true, .. }))),
        init("TERM spares none", |p, s| p.spare_unaware && s.forwards(Signal::TERM)),
        init("another stop signal", |p, s| p.stop.signal == Signal::USR1 && did!(s, Action::Forward(Forward { asks: true, .. }))),
        init("a terminal given up", |_, s| told!(s, Note::Init(InitNote::TerminalGivenUp))),
        init("a HUP of that", |_, s| told!(s, Note::Signal(SignalNote::HandOffIgnored { signal: Signal::HUP }))),
        init("a CONT of that", |_, s| told!(s, Note::Signal(SignalNote::HandOffIgnored { signal: Signal::CONT }))),
        init("another HUP", |p, s| p.gave_terminal_up && s.forwards(Signal::HUP)),
        init("a job that stops", |p, s| p.job == Job::OfShell && did!(s, Action::Terminal(TerminalAction::StopSelf { job: true }))),
        init("Ctrl-Z undone", |p, s| p.job == Job::Ours && matches!(s.event, Event::Child { change: ChildChange::Stopped { signal: Signal::TSTP, .. }, .. }) && did!(s, Action::ContinueStopped(_))),
        init("a read in the background", |p, s| p.job == Job::Ours && matches!(s.event, Event::Child { change: ChildChange::Stopped { signal: Signal::TTIN, .. }, .. }) && s.does_nothing()),
        init("a stop of no job", |p, s| p.job == Job::Apart && matches!(s.event, Event::Child { change: ChildChange::Stopped { .. }, .. }) && s.does_nothing()),
        init("we stop ourselves", |_, s| s.forwards(Signal::TSTP) && did!(s, Action::Terminal(TerminalAction::StopSelf { job: false }))),
        init("a job that goes on", |p, s| p.job == Job::OfShell && s.forwards(Signal::CONT) && did!(s, Action::Terminal(TerminalAction::Lend { .. }))),
        init("the terminal back", |_, s| told!(s, Note::Init(InitNote::CommandExited { .. })) && did!(s, Action::Terminal(TerminalAction::TakeBack { .. }))),
        init("a signal for orphans", |p, s| matches!(p.orphans, Orphans::Signal(_)) && did!(s, Action::Signal { to: Recipients::Group(_), signal: Signal::USR1 })),
        init("no group to signal", |p, s| p.job == Job::Shared && told!(s, Note::Init(InitNote::OrphansLeft { signal: None, .. }))),
        init("orphans left alone", |p, s| p.orphans == Orphans::Leave && told!(s, Note::Init(InitNote::OrphansLeft { .. }))),
        init("loud reaping", |_, s| told!(s, Note::Init(InitNote::OrphanReaped { warn: true, .. }))),
        init("a kill by name", |p, s| p.job == Job::Shared && did!(s, Action::Signal { to: Recipients::Process(_), signal: Signal::KILL })),
        init("orphans asked", |p, s| !p.pause && did!(s, Action::Signal { to: Recipients::Orphans { .. }, .. })),
        init("a code that becomes another", |_, s| s.exits(77)),
        init("a code of a start failure", |_, s| matches!(s.event, Event::Spawned { result: Err(_), .. }) && s.exits(66)),
        init("what a command has that is killed", |_, s| s.exits(137)),
        init("a pause that ends", |p, s| p.pause && s.signal().is_some() && did!(s, Action::Ask(Ask::Reap))),
        init("a pause that goes on", |p, s| p.pause && s.signal().is_some() && s.does_nothing()),
        init("orphans of a pause", |p, s| p.pause && did!(s, Action::Signal { to: Recipients::Orphans { .. }, .. })),
        init("a stop that is asked for, too", |_, s| s.event == Event::Requested(Request::Stop) && did!(s, Action::Forward(_))),
    ];
    for why in [Reason::Crash, Reason::BootError, Reason::BootTimeout, Reason::MaxRequests, Reason::MaxAge, Reason::Stop, Reason::Asked] {
        corners.push((format!("an end by {why:?}"), Box::new(move |s| s.exited(why))));
    }
    for by in [ReadyBy::Accepting, ReadyBy::Notified, ReadyBy::Probed, ReadyBy::Uptime] {
        let is_it = move |s: &Step<'_>| told!(s, Note::Worker(_, WorkerNote::Ready { by: sign, .. }) if *sign == by);
        corners.push((format!("readiness by {by:?}"), Box::new(is_it)));
    }
    corners
}
