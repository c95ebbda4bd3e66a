//! The lines of a plan.

use crate::core::Rewrites;
use crate::core::policy::StopPolicy;
use crate::core::time::Patience;
use humantime::format_duration;
use std::fmt::{self, Write};
use std::time::Duration;

#[derive(Default)]
pub(super) struct Plan(pub(super) String);

impl Plan {
    pub(super) fn say(&mut self, what: &str, how: impl fmt::Display) {
        let _never_fails = writeln!(self.0, "{what:<15} {how}");
    }
}

pub(super) fn rewrites(plan: &mut Plan, rewrites: &Rewrites) {
    for rule in rewrites.rules() {
        match rule.to {
            Some(to) => plan.say("", format_args!("{} becomes {to}", rule.from)),
            None => plan.say("", format_args!("{} is dropped", rule.from)),
        }
    }
}

pub(super) fn kill(stop: &StopPolicy) -> String {
    match stop.graceful {
        Patience::For(Duration::ZERO) => "KILL at once".to_owned(),
        Patience::For(grace) => format!("KILL after {}", format_duration(grace)),
        Patience::Forever => "nobody is killed".to_owned(),
    }
}
