//! `check [OPTIONS] [--] COMMAND`: our own options, and four more.

use super::rules;
use crate::settings::given::{Only, Source};
use crate::settings::layers::{self, Layered, Parsed};
use crate::settings::options::{Options, only};
use crate::values::error::StartError;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Arg, ArgAction, Args, Command, CommandFactory, FromArgMatches};
use std::ffi::{OsStr, OsString};

pub(crate) const NAME: &str = "check";

const ABOUT: &str = "\
Check a configuration and a command line, and start nothing.

Prints what is set, each with the layer that it came from (file, environment, flag), and what an experienced reviewer
would say of it; --all prints the defaults too. Run it where the command will run, so that it sees the same CPUs and the same memory:

  docker run --rm --entrypoint prefork-init IMAGE check --deny all -- uvicorn app:app --fd {fd}

Exit codes: 0 valid, 1 there is a warning that --deny names, 2 invalid, 125 to 127 as the start would end.";

#[derive(Debug)]
pub struct CheckRequest {
    pub options: Options,
    /// Every option in the order of the help.
    pub settings: Vec<Setting>,
    /// Print one JSON object.
    pub json: bool,
    /// Print also the settings that are not set.
    pub all: bool,
    /// Ids of warnings that count as errors; `all` stands for every one.
    pub deny: Vec<String>,
}

/// An option and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its long name; `command` for the command.
    pub name: String,
    /// Its group in the help.
    pub heading: String,
    pub value: Value,
    /// The layer that set it; `None` for the default.
    pub source: Option<Source>,
    /// The only mode that uses it; `None` if both do.
    pub only: Option<Only>,
}

/// A setting's value, as the user would write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    None,
    Is(bool),
    One(String),
    /// The values of an option that takes several.
    Many(Vec<String>),
}

#[derive(Debug, Args)]
struct CheckOptions {
    /// Print one JSON object: settings (name, value, layer, source) and warnings (id, reason, remedy, denied).
    #[arg(long, help_heading = "Check")]
    json: bool,

    /// End with 1 if there is this warning, or any with all; repeat it, or separate by commas, for more.
    #[arg(
        long,
        value_name = "ID",
        help_heading = "Check",
        value_delimiter = ',',
        hide_possible_values = true
    )]
    #[arg(value_parser = ids())]
    deny: Vec<String>,

    /// Print all settings, those too that are not set.
    #[arg(long, help_heading = "Check")]
    all: bool,

    /// List the ids of all warnings, and what each is about.
    #[arg(long, help_heading = "Check")]
    list: bool,
}

fn ids() -> Id {
    Id(PossibleValuesParser::new(rules::all().map(|rule| rule.id).chain(["all"])))
}

/// The id of a warning, with optional blanks, as after a comma.
#[derive(Clone)]
struct Id(PossibleValuesParser);

impl TypedValueParser for Id {
    type Value = String;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, id: &OsStr) -> Result<String, clap::Error> {
        self.0.parse_ref(command, arg, id.to_str().map_or(id, |id| id.trim().as_ref()))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        self.0.possible_values()
    }
}

fn command() -> Command {
    let command = CheckOptions::augment_args(Options::command());
    let command = command.about(None).long_about(None).before_help(ABOUT).after_help(None);
    command
        .override_usage("prefork-init check [OPTIONS] [--all] [--json] [--deny ID|all] [--] COMMAND [ARG...]")
}

#[cfg(feature = "generate")]
pub(crate) fn definition() -> Command {
    let (first, _) = ABOUT.split_once('\n').unwrap_or((ABOUT, ""));
    command().name(NAME).about(first).long_about(ABOUT).before_help(None)
}

/// Reads the command line; the first of `args` is our name, the second `check`.
pub(crate) fn read(args: &[OsString]) -> Result<Parsed<CheckRequest>, StartError> {
    let words: Vec<OsString> = args.iter().take(1).chain(args.iter().skip(2)).cloned().collect();
    let layered = match layers::parse(command, &words)? {
        Parsed::Asks(layered) => layered,
        Parsed::Print { text, to_stderr, code } => return Ok(Parsed::Print { text, to_stderr, code }),
    };
    let asked = CheckOptions::from_arg_matches(&layered.matches)
        .map_err(|error| StartError::usage(NAME, error, "see prefork-init check --help"))?;
    if asked.list {
        return Ok(Parsed::text(list()));
    }
    let settings = settings(&layered);
    let CheckOptions { json, deny, all, list: _ } = asked;
    Ok(Parsed::Asks(CheckRequest { options: layered.options, settings, json, all, deny }))
}

fn list() -> String {
    let width = rules::all().map(|rule| rule.id.len()).max().unwrap_or(0);
    rules::all().map(|rule| format!("{:<width$}  {}\n", rule.id, rule.about)).collect()
}

/// The command, then every option that has a variable, and so more than one layer.
fn settings(layered: &Layered) -> Vec<Setting> {
    let Layered { options, command, .. } = layered;
    let source_of = |field: &str| {
        options.given.iter().find(|given| given.field == field).map(|given| given.source.clone())
    };
    let words = options.command.iter().map(|word| word.to_string_lossy().into_owned());
    let by_flag = (!options.command.is_empty()).then_some(Source::Flag);
    let mut settings = vec![Setting {
        name: "command".to_owned(),
        heading: "Command".to_owned(),
        value: Value::Many(words.collect()),
        source: source_of("command").or(by_flag),
        only: None,
    }];
    // `layers::parse` may have removed the variables of `command`.
    let own = Options::command();
    let is_own =
        |arg: &&Arg| own.get_arguments().any(|own| own.get_id() == arg.get_id() && own.get_env().is_some());
    settings.extend(command.get_arguments().filter(is_own).filter_map(|arg| {
        Some(Setting {
            name: arg.get_long()?.to_owned(),
            heading: arg.get_help_heading().unwrap_or_default().to_owned(),
            value: value(arg, layered),
            source: source_of(arg.get_id().as_str()),
            only: only(arg),
        })
    }));
    settings
}

fn value(arg: &Arg, layered: &Layered) -> Value {
    let raw = layered.matches.get_raw(arg.get_id().as_str());
    let mut texts = raw.into_iter().flatten().map(|text| text.to_string_lossy().into_owned());
    match arg.get_action() {
        ArgAction::SetTrue => {
            let is = texts
                .next()
                .is_some_and(|text| crate::settings::options::boolean(text.as_ref()) == Some(true));
            Value::Is(is)
        }
        ArgAction::Append => Value::Many(texts.map(|text| text.trim().to_owned()).collect()),
        _ => texts.next_back().or_else(|| default_in_words(arg)).map_or(Value::None, Value::One),
    }
}

/// A default that clap does not know, since it depends on our name or mode: from the text of the help.
fn default_in_words(arg: &Arg) -> Option<String> {
    let help = arg.get_help()?.to_string();
    let (_, default) = help.split_once("[default: ")?;
    let (default, _) = default.split_once(']')?;
    (!default.contains('$')).then(|| default.to_owned())
}
