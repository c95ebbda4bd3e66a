//! The output of `check`.

use super::case::Warning;
use super::options::{Setting, Value};
use crate::settings::Settings;
use crate::settings::given::{Only, Source};
use crate::values::json::{Object, list, quoted};
use crate::values::printable::page;
use std::fmt::Write;

/// All that is printed.
#[derive(Debug)]
pub struct Report<'a> {
    pub config: &'a Settings,
    pub settings: &'a [Setting],
    /// Whether settings are shown that are not set.
    pub all: bool,
    pub warnings: &'a [Warning],
    /// The ids of warnings that count as errors.
    pub deny: &'a [String],
}

impl Report<'_> {
    /// Whether a warning makes the check fail.
    #[must_use]
    pub fn is_denied(&self, warning: &Warning) -> bool {
        self.deny.iter().any(|id| id == "all" || id == warning.id)
    }

    fn mode(&self) -> (&'static str, Only) {
        if self.config.pool().is_some() { ("pool", Only::Pool) } else { ("init", Only::Init) }
    }

    /// For people: the set settings, or all that the mode uses, in columns, and the warnings.
    #[must_use]
    pub fn text(&self) -> String {
        let (mode, only) = self.mode();
        let is_used = |setting: &Setting| self.all && setting.only.is_none_or(|needs| needs == only);
        let used = |setting: &&Setting| setting.source.is_some() || is_used(setting);
        let settings: Vec<&Setting> = self.settings.iter().filter(used).collect();
        let names = settings.iter().map(|setting| setting.name.chars().count()).max().unwrap_or(0);
        let values = settings.iter().map(|setting| shown(&setting.value).chars().count());
        // One long value should not push all columns to the right.
        let values = values.filter(|width| *width <= WIDEST).max().unwrap_or(0);
        let mut text = format!("mode: {mode}\n");
        let mut heading = "";
        for setting in settings {
            if setting.heading != heading {
                heading = &setting.heading;
                let _never_fails = writeln!(text, "\n{heading}");
            }
            let (layer, source) = layer(setting.source.as_ref());
            let line = format!(
                "  {:<names$}  {:<values$}  {layer} {}",
                setting.name,
                shown(&setting.value),
                source.unwrap_or_default()
            );
            let _never_fails = writeln!(text, "{}", line.trim_end());
        }
        if !self.all {
            text.push_str("\nAll other settings have their defaults, which --all shows.\n");
        }
        for warning in self.warnings {
            let kind = if self.is_denied(warning) { "denied" } else { "warning" };
            let Warning { id, reason, remedy } = warning;
            let _never_fails = write!(text, "\n{kind}: {id}: {reason}\n  {remedy}\n");
        }
        let denied = self.warnings.iter().filter(|warning| self.is_denied(warning)).count();
        let _never_fails = match (self.warnings.len(), denied) {
            (0, _) => writeln!(text, "\nvalid, no warnings"),
            (count, 0) => writeln!(text, "\nvalid, warnings: {count}"),
            (count, denied) => writeln!(text, "\nvalid, warnings: {count}, denied: {denied}"),
        };
        // A value must not look like a line of ours, nor move the cursor.
        page(&text)
    }

    /// For programs: one object.
    #[must_use]
    pub fn json(&self) -> String {
        let settings = self.settings.iter().map(|setting| {
            let (layer, source) = layer(setting.source.as_ref());
            let value = match &setting.value {
                Value::None => None,
                Value::Is(is) => Some(is.to_string()),
                Value::One(text) => Some(quoted(text)),
                Value::Many(texts) => Some(list(texts.iter().map(|text| quoted(text)))),
            };
            let object = Object::new().text("name", &setting.name).maybe("value", value);
            object.text("layer", layer).maybe("source", source.map(quoted)).end()
        });
        let warnings = self.warnings.iter().map(|warning| {
            let Warning { id, reason, remedy } = warning;
            let object = Object::new().text("id", id).text("reason", reason).text("remedy", remedy);
            object.with("denied", self.is_denied(warning)).end()
        });
        let object = Object::new().text("mode", self.mode().0);
        object.with("settings", list(settings)).with("warnings", list(warnings)).end() + "\n"
    }
}

/// The widest column of values, in characters.
const WIDEST: usize = 40;

fn shown(value: &Value) -> String {
    let text = match value {
        Value::None => return "-".to_owned(),
        Value::Is(true) => return "on".to_owned(),
        Value::Is(false) => return "off".to_owned(),
        Value::One(text) => text.clone(),
        Value::Many(texts) if texts.is_empty() => return "-".to_owned(),
        Value::Many(texts) => texts.join(" "),
    };
    text.replace('\n', "\u{fffd}")
}

/// The name of the layer, and its file or variable.
fn layer(source: Option<&Source>) -> (&'static str, Option<&str>) {
    match source {
        None => ("default", None),
        Some(Source::File(path)) => ("file", Some(path)),
        Some(Source::Variable(name)) => ("environment", Some(name)),
        Some(Source::Flag) => ("flag", None),
    }
}
