//! The man page, man(7): prefork-init.1.

use super::tables::{EXIT_CODES, OF_WORKERS, SIGNALS};
use super::{first_line, takes_value, value_name};
use clap::{Arg, ArgAction, Command};
use std::fmt::Write;

/// What others say by variables.
const OF_OTHERS: [(&str, &str); 3] = [
    ("WEB_CONCURRENCY", "How many workers, if --workers does not say so."),
    ("PORT", "Where to listen, if --bind does not say so."),
    ("NO_COLOR", "If it is not empty, log lines have no colours on a terminal."),
];

/// For those who read the source.
const LONGEST_LINE: usize = 80;

const SEE_ALSO: &str = "signal(7), pid_namespaces(7), cgroups(7), sd_listen_fds(3), sd_notify(3)";

/// The whole page of a command that is built.
pub fn page(command: &Command) -> String {
    let mut page = Page::default();
    let name = command.get_name();
    let version = command.get_version().unwrap_or_default();
    page.line(&format!(".TH {} 1 \"\" \"{name} {version}\" \"User Commands\"", name.to_uppercase()));
    page.section("NAME");
    page.text(&format!("{name} - {}", first_line(command.get_about())));
    synopsis(&mut page, command);
    page.section("DESCRIPTION");
    let about = command.get_long_about().map(ToString::to_string).unwrap_or_default();
    // The first paragraph is the name's.
    page.paragraphs(about.split("\n\n").skip(1));
    for argument in command.get_positionals() {
        page.line(".TP");
        page.line(&format!("\\fI{}\\fR", escaped(&value_name(argument))));
        page.explain(&help(argument));
    }
    let closing = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    page.section("OPTIONS");
    page.text("Each can be given by a variable, too, as told with it. An option wins over its variable.");
    // How values are written.
    let hints = closing.lines().filter(|line| line.starts_with("Durations: "));
    page.paragraphs(hints);
    options(&mut page, command);
    subcommands(&mut page, command);
    page.section("SIGNALS");
    for (signal, init, pool) in SIGNALS {
        page.item(signal, &format!("One command: {init}. A pool: {pool}."));
    }
    page.section("EXIT STATUS");
    for (code, meaning) in EXIT_CODES {
        page.item(code, &format!("{}.", capital(meaning)));
    }
    page.text("What the codes of a subcommand mean is told with it.");
    page.section("ENVIRONMENT");
    page.text("Beside the variables of the options:");
    for (name, meaning) in OF_OTHERS {
        page.item(name, meaning);
    }
    page.subsection("Of the workers");
    page.text(
        "Their environment is ours, without WEB_CONCURRENCY and the variables of the options, and with:",
    );
    for (name, meaning) in OF_WORKERS {
        page.item(name, &format!("{}.", capital(meaning)));
    }
    examples(&mut page, &closing);
    page.section("SEE ALSO");
    page.text(SEE_ALSO);
    page.0
}

fn synopsis(page: &mut Page, command: &Command) {
    page.section("SYNOPSIS");
    let mut usage = |of: &Command| {
        let usage = of.clone().render_usage().to_string();
        let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage).replace(['<', '>'], "");
        let (name, rest) = usage.split_once(' ').unwrap_or((&usage, ""));
        page.line(".PP");
        page.line(&format!(".B {}", escaped(name)));
        page.text(rest);
    };
    usage(command);
    for sub in visible(command) {
        usage(sub);
    }
}

/// The headings in the order of their first option; what has none comes last.
fn options(page: &mut Page, command: &Command) {
    let mut headings = Vec::new();
    for arg in options_of(command) {
        let heading = arg.get_help_heading();
        if heading.is_some() && !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    headings.push(None);
    for heading in headings {
        page.subsection(heading.unwrap_or("Other"));
        for arg in options_of(command).filter(|arg| arg.get_help_heading() == heading) {
            option(page, arg);
        }
    }
}

fn option(page: &mut Page, arg: &Arg) {
    let shorts = arg.get_short_and_visible_aliases().unwrap_or_default();
    let shorts = shorts.into_iter().map(|short| format!("-{short}"));
    let long = arg.get_long().map(|long| format!("--{long}"));
    let names: Vec<String> = shorts.chain(long).map(|name| format!("\\fB{}\\fR", escaped(&name))).collect();
    let value =
        if takes_value(arg) { format!(" \\fI{}\\fR", escaped(&value_name(arg))) } else { String::new() };
    page.line(".TP");
    page.line(&format!("{}{value}", names.join(", ")));
    page.explain(&help(arg));
    choices(page, arg);
    let default: Vec<_> = arg.get_default_values().iter().map(|value| value.display().to_string()).collect();
    let default =
        (takes_value(arg) && !default.is_empty()).then(|| format!("Default: {}.", default.join(",")));
    let variable = arg.get_env().map(|name| format!("Variable: {}.", name.display()));
    let facts: Vec<String> = default.into_iter().chain(variable).collect();
    if !facts.is_empty() {
        page.line(".IP");
        page.text(&facts.join(" "));
    }
}

/// The values there are, with what they mean.
fn choices(page: &mut Page, arg: &Arg) {
    let values = if takes_value(arg) { arg.get_possible_values() } else { Vec::new() };
    let values: Vec<_> = values.iter().filter(|value| !value.is_hide_set()).collect();
    if values.iter().all(|value| value.get_help().is_none()) {
        let names: Vec<&str> = values.iter().map(|value| value.get_name()).collect();
        if !names.is_empty() {
            page.line(".IP");
            page.text(&format!("One of {}.", names.join(", ")));
        }
        return;
    }
    page.line(".RS");
    for value in values {
        page.item(value.get_name(), &format!("{}.", first_line(value.get_help())));
    }
    page.line(".RE");
}

fn subcommands(page: &mut Page, command: &Command) {
    if visible(command).next().is_none() {
        return;
    }
    page.section("SUBCOMMANDS");
    page.text(
        "Only the first word of all can be one: behind -- or an option it is a command to run. Each tells of itself \
         with --help.",
    );
    for sub in visible(command) {
        page.subsection(sub.get_name());
        page.paragraphs(about(sub).split("\n\n"));
        subcommand(page, command, sub);
    }
}

/// What there is behind one, but for what it does; `above` are the options of which the page has told, or is about to.
fn subcommand(page: &mut Page, above: &Command, sub: &Command) {
    for argument in sub.get_positionals().filter(|arg| !arg.is_trailing_var_arg_set()) {
        page.line(".TP");
        page.line(&format!("\\fI{}\\fR", escaped(&value_name(argument))));
        page.explain(&help(argument));
        choices(page, argument);
    }
    let (known, own): (Vec<_>, Vec<_>) = options_of(sub).partition(|arg| is_known(above, arg));
    for arg in own.into_iter().filter(|arg| !asks_for_help(arg)) {
        option(page, arg);
    }
    if known.iter().any(|arg| arg.get_env().is_some()) {
        page.line(".PP");
        page.text("It takes the options above, too.");
    }
    for order in visible(sub) {
        let arguments = order.get_positionals().map(|arg| format!(" \\fI{}\\fR", escaped(&value_name(arg))));
        page.line(".TP");
        page.line(&format!("\\fB{}\\fR{}", escaped(order.get_name()), arguments.collect::<String>()));
        page.explain(&about(order));
        page.line(".RS");
        subcommand(page, sub, order);
        page.line(".RE");
    }
    if let Some(closing) = sub.get_after_help() {
        page.paragraphs(closing.to_string().split("\n\n"));
    }
}

fn about(sub: &Command) -> String {
    with_stop(sub.get_long_about().or(sub.get_about()).map(ToString::to_string).unwrap_or_default())
}

/// Whether it is the option above of that name, and not one that means something else: that has another variable, or
/// none.
fn is_known(above: &Command, arg: &Arg) -> bool {
    options_of(above).filter(|known| known.get_long() == arg.get_long()).any(|known| {
        (known.get_env().is_some() && known.get_env() == arg.get_env())
            || (known.is_global_set() && known.get_id() == arg.get_id())
    })
}

fn asks_for_help(arg: &Arg) -> bool {
    matches!(
        arg.get_action(),
        ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version
    )
}

fn examples(page: &mut Page, closing: &str) {
    let Some(examples) = closing.split("\n\n").find_map(|text| text.strip_prefix("Examples:\n")) else {
        return;
    };
    page.section("EXAMPLES");
    page.line(".nf");
    for line in examples.lines() {
        page.line(&escaped(line.strip_prefix("  ").unwrap_or(line)));
    }
    page.line(".fi");
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|sub| !sub.is_hide_set())
}

fn options_of(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| !arg.is_positional() && !arg.is_hide_set())
}

/// The whole help of an option.
fn help(arg: &Arg) -> String {
    with_stop(arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default())
}

/// clap cuts the full stop off some texts.
fn with_stop(text: String) -> String {
    match text.chars().last() {
        Some(c) if c.is_alphanumeric() || matches!(c, ']' | ')' | '"') => format!("{text}."),
        _ => text,
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn line(&mut self, line: &str) {
        let last = self.0.lines().next_back().unwrap_or_default();
        // A section begins a paragraph by itself.
        if line == ".PP" && [".SH", ".SS"].iter().any(|section| last.starts_with(section)) {
            return;
        }
        self.0.push_str(line);
        self.0.push('\n');
    }

    fn section(&mut self, name: &str) {
        self.line(&format!(".SH {}", escaped(name)));
    }

    fn subsection(&mut self, name: &str) {
        self.line(&format!(".SS {}", escaped(name)));
    }

    /// What options are called in a text is bold, as man-pages(7) has it.
    fn text(&mut self, text: &str) {
        let words = text.split_ascii_whitespace().map(|word| {
            let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-';
            let end = word.find(|c| !is_part(c)).unwrap_or(word.len());
            match word.split_at(end) {
                (option, rest) if option.starts_with("--") && option.len() > 2 => {
                    format!("\\fB{}\\fR{}", escaped(option), escaped(rest))
                }
                _ => escaped(word),
            }
        });
        let mut line = String::new();
        for word in words {
            if !line.is_empty() && line.len().saturating_add(word.len()) >= LONGEST_LINE {
                self.line(&line);
                line.clear();
            }
            // At the beginning of a line these two are not text.
            match (line.is_empty(), word.starts_with(['.', '\''])) {
                (true, true) => line.push_str("\\&"),
                (true, false) => {}
                (false, _) => line.push(' '),
            }
            line.push_str(&word);
        }
        self.line(&line);
    }

    /// Behind a term: what it means, in one paragraph or more.
    fn explain(&mut self, text: &str) {
        for (index, paragraph) in text.split("\n\n").enumerate() {
            if index > 0 {
                self.line(".IP");
            }
            self.text(paragraph);
        }
    }

    fn paragraphs<'a>(&mut self, paragraphs: impl IntoIterator<Item = &'a str>) {
        for paragraph in paragraphs {
            self.line(".PP");
            // What is set in is an example.
            match paragraph.strip_prefix("  ") {
                Some(example) => {
                    [".nf", &escaped(example), ".fi"].into_iter().for_each(|line| self.line(line))
                }
                None => self.text(paragraph),
            }
        }
    }

    /// A term and its meaning.
    fn item(&mut self, term: &str, meaning: &str) {
        self.line(".TP");
        self.line(&format!("\\fB{}\\fR", escaped(term)));
        self.text(meaning);
    }
}

/// Characters that roff takes for something else.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\e"),
            '-' => out.push_str("\\-"),
            '\'' => out.push_str("\\(aq"),
            '"' => out.push_str("\\(dq"),
            '`' => out.push_str("\\(ga"),
            '^' => out.push_str("\\(ha"),
            '~' => out.push_str("\\(ti"),
            c if c.is_ascii() => out.push(c),
            c => {
                let _ = write!(out, "\\[u{:04X}]", u32::from(c));
            }
        }
    }
    out
}
