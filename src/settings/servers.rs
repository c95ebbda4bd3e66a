//! Finds the server in a command line: behind `env`, `python -m`, `poetry run`, a shell, and the like.

use super::script;
use std::path::Path;

/// The servers that have rules of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ServerKind {
    Uvicorn,
    Gunicorn,
    Hypercorn,
    Granian,
    FastApi,
    Nginx,
    PhpFpm,
    Apache,
    Uwsgi,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub kind: ServerKind,
    /// The name in the command line, without its directory.
    pub name: String,
    /// The words after its name.
    pub args: Vec<String>,
}

/// A command line, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Invocation {
    /// The program that stays between us and the server: a shell or a package's runner.
    pub between: Option<Between>,
    /// The server, if it is a known one.
    pub server: Option<Server>,
    /// The words after all programs that are known to start others.
    comes_to: Vec<String>,
}

/// A program that stays between us and the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Between {
    /// A shell that does not use `exec`.
    Shell(String),
    /// npm and the like, which start a shell.
    Runner(String),
    /// uv, which forwards the usual signals but stays.
    Uv,
}

impl Between {
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Shell(name) | Self::Runner(name) => name,
            Self::Uv => "uv run",
        }
    }
}

/// The most wrappers around a server.
const DEEPEST: usize = 16;

/// Options of `uv run` and `env` that take the next word.
const TAKE_A_WORD: [&str; 14] = [
    "--with",
    "--with-requirements",
    "--python",
    "-p",
    "--extra",
    "--group",
    "--env-file",
    "--project",
    "--directory",
    "--package",
    "--index",
    "-u",
    "-C",
    "--chdir",
];

impl Invocation {
    /// Skips programs that are known to start others.
    #[must_use]
    pub fn of(command: &[String]) -> Self {
        let mut words = command.to_vec();
        let mut between = None;
        let mut comes_to = Vec::new();
        for _ in 0..DEEPEST {
            words = after_assignments(words);
            let Some((first, rest)) = words.split_first() else { break };
            comes_to.clone_from(&words);
            let name = basename(first);
            let rest = rest.to_vec();
            let second = rest.first().map(String::as_str);
            words = match name {
                "env" | "nice" | "nohup" | "opentelemetry-instrument" | "ddtrace-run" => after_options(rest),
                "gosu" | "su-exec" => rest.into_iter().skip(1).collect(),
                "newrelic-admin" if second == Some("run-program") => rest.into_iter().skip(1).collect(),
                "bundle" if second == Some("exec") => rest.into_iter().skip(1).collect(),
                "poetry" | "pipenv" | "pdm" if second == Some("run") => {
                    after_options(rest.into_iter().skip(1).collect())
                }
                "uv" if second == Some("run") => {
                    between.get_or_insert(Between::Uv);
                    after_options(rest.into_iter().skip(1).collect())
                }
                "npm" | "yarn" | "pnpm" | "npx" | "bunx" => {
                    between.get_or_insert(Between::Runner(name.to_owned()));
                    break;
                }
                _ if is_shell(name) => {
                    let Some(last) = script_of(&rest).and_then(script::last_command) else { break };
                    if !last.replaces_shell {
                        between.get_or_insert(Between::Shell(name.to_owned()));
                    }
                    last.words
                }
                _ if is_python(name) => match module(&rest) {
                    Some(words) => words,
                    None => break,
                },
                _ => return Self { between, server: server(name, rest), comes_to },
            };
        }
        Self { between, server: None, comes_to }
    }
}

/// The directories of tools in systems and images.
const OF_SYSTEM: [&str; 7] =
    ["/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/busybox"];

/// Programs that may take a socket: puma by `LISTEN_FDS`, and runtimes of an application's own code.
const MAY_TAKE: [&str; 7] = ["puma", "node", "nodejs", "deno", "bun", "java", "dotnet"];

/// First arguments with which a runtime runs no application.
const RUN_NONE: [&str; 8] = ["-e", "-p", "-i", "-v", "-version", "--version", "--eval", "--help"];

/// Whether a command may take a listener, judged by its words: a server that is known to, a runtime with an
/// application, or a program of the user's own; not a shell, a tool, or an interpreter alone.
#[must_use]
pub fn may_take_listener(command: &[String]) -> bool {
    let mut program = Invocation::of(command);
    for _ in 0..DEEPEST {
        // An image's entry point executes its arguments.
        let args =
            program.comes_to.split_first().filter(|(first, args)| first.ends_with(".sh") && !args.is_empty());
        let Some((_, args)) = args else { break };
        program = Invocation::of(args);
    }
    if let Some(server) = &program.server {
        return server.takes_listener() == Some(true);
    }
    let Some((first, args)) = program.comes_to.split_first() else { return false };
    let name = basename(first);
    if MAY_TAKE.contains(&name) {
        return name == "puma" || args.first().is_some_and(|arg| !RUN_NONE.contains(&arg.as_str()));
    }
    let directory = first.rsplit_once('/').map(|(directory, _)| directory);
    let is_own = directory.is_some_and(|directory| !OF_SYSTEM.contains(&directory));
    is_own && !is_shell(name) && !is_python(name)
}

fn server(name: &str, args: Vec<String>) -> Option<Server> {
    let kind = match name {
        "uvicorn" => ServerKind::Uvicorn,
        "gunicorn" => ServerKind::Gunicorn,
        "hypercorn" => ServerKind::Hypercorn,
        "granian" => ServerKind::Granian,
        "fastapi" => ServerKind::FastApi,
        "nginx" => ServerKind::Nginx,
        "apache2" | "httpd" | "httpd-foreground" | "apache2-foreground" => ServerKind::Apache,
        "uwsgi" => ServerKind::Uwsgi,
        _ if name.starts_with("php-fpm") => ServerKind::PhpFpm,
        _ => return None,
    };
    Some(Server { kind, name: name.to_owned(), args })
}

impl ServerKind {
    /// The option for the server's own wait for its requests at the stop signal, and its default in seconds; `None` as
    /// a default is no limit. From gunicorn 27.0.1, hypercorn 0.18.0, uvicorn 0.54.0.
    #[must_use]
    pub fn grace(self) -> Option<(&'static str, Option<u64>)> {
        match self {
            Self::Gunicorn => Some(("--graceful-timeout", Some(30))),
            Self::Hypercorn => Some(("--graceful-timeout", Some(3))),
            Self::Uvicorn => Some(("--timeout-graceful-shutdown", None)),
            Self::Granian | Self::FastApi | Self::Nginx | Self::PhpFpm | Self::Apache | Self::Uwsgi => None,
        }
    }
}

/// Servers' options for the address.
pub const BIND: [&str; 2] = ["--bind", "-b"];

impl Server {
    /// Whether it takes an inherited listener; `None` if unknown.
    #[must_use]
    pub fn takes_listener(&self) -> Option<bool> {
        match self.kind {
            ServerKind::Uvicorn => Some(self.has(&["--fd"])),
            ServerKind::Gunicorn => Some(!self.has(&BIND)),
            ServerKind::Hypercorn => Some(self.mentions("fd://")),
            ServerKind::Granian | ServerKind::FastApi => Some(false),
            ServerKind::Nginx | ServerKind::PhpFpm | ServerKind::Apache | ServerKind::Uwsgi => None,
        }
    }

    /// Whether it reads a file of its own, which may contain any setting.
    #[must_use]
    pub fn names_file(&self) -> bool {
        matches!(self.kind, ServerKind::Gunicorn | ServerKind::Hypercorn) && self.has(&["--config", "-c"])
    }

    /// The value of the last option with one of these names: `--workers 4`, `--workers=4`, `-w 4`, `-w4`.
    #[must_use]
    pub fn value(&self, names: &[&str]) -> Option<&str> {
        let mut found = None;
        let mut args = self.args.iter().map(String::as_str).peekable();
        while let Some(arg) = args.next() {
            if names.contains(&arg) {
                found = args.peek().copied().or(found);
            } else if let Some(value) = names.iter().find_map(|name| attached(name, arg)) {
                found = Some(value);
            }
        }
        found
    }

    /// Whether one of these options is given, with or without a value.
    #[must_use]
    pub fn has(&self, names: &[&str]) -> bool {
        self.args.iter().any(|arg| {
            names.contains(&arg.as_str()) || names.iter().any(|name| attached(name, arg).is_some())
        })
    }

    /// The option's value, if it is a number.
    #[must_use]
    pub fn number(&self, names: &[&str]) -> Option<u64> {
        self.value(names)?.parse().ok()
    }

    /// Whether any argument contains this text.
    #[must_use]
    pub fn mentions(&self, text: &str) -> bool {
        self.args.iter().any(|arg| arg.contains(text))
    }
}

/// The value in `--name=value` or `-nvalue`.
fn attached<'a>(name: &str, arg: &'a str) -> Option<&'a str> {
    let rest = arg.strip_prefix(name)?;
    match name.starts_with("--") {
        true => rest.strip_prefix('='),
        false => (!rest.is_empty()).then_some(rest),
    }
}

fn basename(word: &str) -> &str {
    Path::new(word).file_name().and_then(|name| name.to_str()).unwrap_or(word)
}

fn is_shell(name: &str) -> bool {
    ["sh", "bash", "dash", "ash", "zsh", "ksh"].contains(&name)
}

fn is_python(name: &str) -> bool {
    let version = name.strip_prefix("python").or_else(|| name.strip_prefix("pypy"));
    version.is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || c == '.'))
}

/// The words after `-m`.
fn module(args: &[String]) -> Option<Vec<String>> {
    let mut args = args.iter();
    loop {
        match args.next()?.as_str() {
            "-m" => return Some(args.cloned().collect()),
            "-X" | "-W" => drop(args.next()),
            option if option.starts_with('-') => {}
            _ => return None,
        }
    }
}

/// The script of `sh -c script`, `-ec`, `-lc`, `-o pipefail -c`.
fn script_of(args: &[String]) -> Option<&str> {
    let is_c = |arg: &String| arg.starts_with('-') && !arg.starts_with("--") && arg.contains('c');
    let at = args.iter().position(is_c)?;
    args.iter().skip(at).map(String::as_str).find(|arg| !arg.starts_with('-'))
}

fn after_assignments(words: Vec<String>) -> Vec<String> {
    words.into_iter().skip_while(|word| script::is_assignment(word)).collect()
}

fn after_options(words: Vec<String>) -> Vec<String> {
    let mut words = words.into_iter().peekable();
    while let Some(option) = words.next_if(|word| word.starts_with('-')) {
        if option == "--" {
            break;
        }
        // `nice -n 5`
        let takes_number = option == "-n" && words.peek().is_some_and(|word| word.parse::<i32>().is_ok());
        if takes_number || TAKE_A_WORD.contains(&option.as_str()) {
            words.next();
        }
    }
    words.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(line: &str) -> Invocation {
        Invocation::of(&line.split(' ').map(|word| word.replace('~', " ")).collect::<Vec<_>>())
    }

    #[test]
    fn servers_are_found_behind_what_starts_them() {
        for (line, name, args) in [
            ("uvicorn app:app --fd 3", "uvicorn", "app:app --fd 3"),
            ("/opt/venv/bin/gunicorn -w 1", "gunicorn", "-w 1"),
            ("python -m uvicorn app:app", "uvicorn", "app:app"),
            ("python3.12 -u -X dev -m hypercorn x", "hypercorn", "x"),
            ("env -i -u HOME A=B C= uvicorn x", "uvicorn", "x"),
            ("poetry run -- uvicorn x", "uvicorn", "x"),
            ("uv run --frozen --with httptools uvicorn x", "uvicorn", "x"),
            ("uv run python -m uvicorn x", "uvicorn", "x"),
            ("nice -n 5 nginx -g y", "nginx", "-g y"),
            ("gosu www php-fpm8.2 -F", "php-fpm8.2", "-F"),
            ("opentelemetry-instrument uvicorn x", "uvicorn", "x"),
            ("newrelic-admin run-program gunicorn x", "gunicorn", "x"),
            ("sh -c exec~uvicorn~x", "uvicorn", "x"),
            ("bash -o pipefail -ec cd~/app~&&~A=B~uvicorn~x", "uvicorn", "x"),
        ] {
            let server = look(line).server.unwrap_or_else(|| panic!("{line}"));
            assert_eq!((server.name.as_str(), server.args.join(" ").as_str()), (name, args), "{line}");
        }
        for line in
            ["python app.py -m uvicorn", "node server.js", "uv pip uvicorn", "sh script.sh", "A=B", "sh -c"]
        {
            assert_eq!(look(line).server, None, "{line}");
        }
        assert_eq!(Invocation::of(&[]), Invocation::default());
    }

    #[test]
    fn who_stays_between_is_found() {
        let name = |line| look(line).between.map(|between| between.name().to_owned());
        assert_eq!(name("sh -c uvicorn~x").as_deref(), Some("sh"));
        assert_eq!(name("/bin/bash -lc cd~/app;~./server").as_deref(), Some("bash"));
        assert_eq!(name("npm start").as_deref(), Some("npm"));
        assert_eq!(name("uv run uvicorn x").as_deref(), Some("uv run"));
        for line in
            ["sh -c exec~uvicorn~x", "sh -c cd~/app~&&~exec~./server", "sh script.sh", "poetry run uvicorn"]
        {
            assert_eq!(name(line), None, "{line}");
        }
    }

    #[test]
    fn options_are_read_in_all_their_forms() {
        let server =
            look("gunicorn -w4 --bind=:80 --max-requests 100 --reload --workers 2 --preload").server.unwrap();
        assert_eq!(server.value(&["-w"]), Some("4"));
        assert_eq!(server.number(&["-w", "--workers"]), Some(2));
        assert_eq!(server.value(&["-b", "--bind"]), Some(":80"));
        assert!(server.has(&["--reload"]) && server.has(&["--bind"]) && !server.has(&["--max-request"]));
        assert_eq!((server.value(&["--preload"]), server.number(&["--bind"])), (None, None));
    }
}
