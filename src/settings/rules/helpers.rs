//! The programs that run before and beside the command.

use crate::core::Monotonic;
use crate::core::time::Patience;
use crate::settings::given::useless;
use crate::settings::options::Options;
use crate::values::command_line::Words;
use crate::values::error::StartError;
use crate::values::ready_target::ReadyTarget;
use std::time::Duration;

#[derive(Clone, Debug, Default)]
pub struct HelperSettings {
    /// Commands to run first, one after the other.
    pub before: Vec<Words>,
    /// The time limit for all of `before`, without time in which we were suspended; `None` is no limit.
    pub before_by: Option<Monotonic>,
    /// The deadline of the whole run, in real time.
    pub deadline: Option<Monotonic>,
    /// The command to run at each transition.
    pub on_event: Option<Words>,
    pub check: Option<ReadyCheck>,
}

/// How to ask the application whether it is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyCheck {
    pub target: ReadyTarget,
    /// The pause after an answer, or its absence.
    pub interval: Duration,
    /// The longest wait for an answer.
    pub timeout: Duration,
}

impl HelperSettings {
    /// All commands, each with its option.
    pub fn commands(&self) -> impl Iterator<Item = (&'static str, &Words)> {
        let of_check = self.check.as_ref().and_then(|check| match &check.target {
            ReadyTarget::Exec(words) => Some(("--ready-check", words)),
            ReadyTarget::Http { .. } | ReadyTarget::Unix { .. } => None,
        });
        let before = self.before.iter().map(|words| ("--before", words));
        before.chain(self.on_event.iter().map(|words| ("--on-event", words))).chain(of_check)
    }
}

pub(crate) fn resolve(options: &Options) -> Result<HelperSettings, StartError> {
    let (around, checks) = (&options.around, &options.checks);
    if around.before.is_empty() {
        useless(&options.given, &["before_timeout"], "there is nothing to wait for", "add --before CMD")?;
    }
    match (&checks.ready_check, &options.endpoint.health) {
        (None, _) => {
            let names = ["ready_check_interval", "ready_check_timeout"];
            useless(&options.given, &names, "nothing is checked", "add --ready-check HOW")?;
        }
        (Some(_), None) => {
            let problem = "there is no endpoint that could tell of it";
            useless(&options.given, &["ready_check"], problem, "add --health ADDR")?;
        }
        (Some(_), Some(_)) => {}
    }
    let before_by = match around.before_timeout {
        Patience::For(Duration::ZERO) => {
            let remedy = "use some time, or infinity";
            return Err(StartError::value("--before-timeout", 0, "nothing is done at once", remedy));
        }
        patience => patience.deadline(Monotonic::default()),
    };
    let check = checks.ready_check.as_ref().map(|target| ReadyCheck {
        target: target.clone(),
        interval: checks.ready_check_interval,
        timeout: checks.ready_check_timeout,
    });
    Ok(HelperSettings {
        before: around.before.clone(),
        before_by,
        deadline: options.stopping.deadline.map(Monotonic),
        on_event: around.on_event.clone(),
        check,
    })
}
