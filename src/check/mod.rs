//! `prefork-init check`: the resolved settings, each with the layer that it came from, and an experienced reviewer's
//! remarks. Starts, binds and changes nothing.

mod case;
mod certain;
mod installed;
pub mod options;
pub mod plan;
mod plan_lines;
mod plan_pool;
mod print;
mod rule;
mod rules;
mod server_rules;
#[cfg(test)]
mod tests;

use crate::report::log;
use crate::settings::given::{GivenOption, Source, name_of};
use crate::settings::surroundings::Surroundings;
use crate::settings::{self, Settings};
use crate::setup;
use crate::values::error::StartError;
use case::{Case, Context, Warning};
use options::{CheckRequest, Setting, Value};
use std::ffi::OsString;

/// The certain problems of a pool that is about to start.
#[must_use]
pub fn certain(config: &Settings, given: &[GivenOption]) -> Vec<Warning> {
    if config.pool().is_none() {
        return Vec::new();
    }
    certain::warnings(&Case::new(config, given, None, &Context::of_servers(config)))
}

/// Checks, prints, and returns the exit code: 1 if a warning is denied.
///
/// # Errors
/// As the start would: one line for the first thing that is wrong.
pub fn run(asked: CheckRequest) -> Result<u8, StartError> {
    let given = asked.options.given.clone();
    examine(asked, &given).map_err(|error| error.by_name(|flag| name_of(flag, &given)))
}

fn examine(asked: CheckRequest, given: &[GivenOption]) -> Result<u8, StartError> {
    let CheckRequest { mut options, mut settings, json, all, deny } = asked;
    let unknown = std::mem::take(&mut options.unknown);
    let surroundings = setup::surroundings();
    let termination_grace = options.stopping.termination_grace;
    let config = settings::resolve(options, &surroundings)?;
    let account = setup::preflight(&config)?;
    let mut around = Context::look(&surroundings, &config);
    around.unknown = unknown;
    around.command_is_root = account.map_or(around.command_is_root, |account| account.identity.uid == 0);
    resolve(&mut settings, &config, &surroundings);
    let warnings = rules::warnings(&Case::new(&config, given, termination_grace, &around));
    let report =
        print::Report { config: &config, settings: &settings, warnings: &warnings, all, deny: &deny };
    log::print(&if json { report.json() } else { report.text() }, false);
    Ok(u8::from(warnings.iter().any(|warning| report.is_denied(warning))))
}

/// Adds the values that a pool takes from other programs' variables where no option is given.
fn resolve(settings: &mut [Setting], config: &Settings, surroundings: &Surroundings) {
    let Some(pool) = config.pool() else { return };
    let mut take = |name: &str, value: Value, from: (&str, &Option<OsString>)| {
        let setting = settings.iter_mut().find(|setting| setting.name == name && setting.source.is_none());
        if let Some(setting) = setting {
            setting.value = value;
            setting.source = from.1.as_ref().map(|_| Source::Variable(from.0.to_owned()));
        }
    };
    let workers = Value::One(pool.policy.workers.to_string());
    take("workers", workers, ("WEB_CONCURRENCY", &surroundings.web_concurrency));
    let bind = Value::Many(pool.bind.iter().map(ToString::to_string).collect());
    take("bind", bind, ("PORT", &surroundings.port));
    if pool.sizing.is_some()
        && let Some(setting) = settings.iter_mut().find(|setting| setting.name == "workers")
    {
        setting.value = Value::One(format!("{} (auto)", pool.policy.workers));
    }
}
