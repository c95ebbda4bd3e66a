//! Chooses between the two modes.

use crate::settings::options::{Only, Options, Source};
use crate::settings::placeholders::{Command, FD};
use crate::settings::servers;
use crate::settings::surroundings::Surroundings;
use crate::values::style::Style;
use tracing::warn;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AskedMode {
    Pool,
    Init,
    /// One command, though variables or the file ask for a pool: those are meant for another command.
    Once,
}

/// A pool is asked for by `--workers`, by `--bind`, or by `{fd}` in the command.
pub(crate) fn asked(options: &Options, surroundings: &Surroundings, command: &Command) -> AskedMode {
    // Under another init's name, `{fd}` is ordinary text.
    if options.defaults.style == Style::Ours && command.mentions(FD) {
        return AskedMode::Pool;
    }
    if options.pool.workers.is_none() && options.pool.bind.is_empty() {
        return AskedMode::Init;
    }
    if is_for_another(options, surroundings, command) { AskedMode::Once } else { AskedMode::Pool }
}

/// Whether the pool's settings are meant for an image's usual command, and a user at a terminal has given another one:
/// `docker run -it IMAGE bash`.
fn is_for_another(options: &Options, surroundings: &Surroundings, command: &Command) -> bool {
    let by_flag =
        options.given.iter().any(|given| given.only == Some(Only::Pool) && given.source == Source::Flag);
    // Only a file gives the field `command`, and that is the pool's command.
    let usual = options.is_given("command");
    let words =
        || command.as_given().iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>();
    !by_flag
        && !usual
        && surroundings.activation.is_none()
        && !command.has_placeholders()
        && (surroundings.terminal)()
        && !servers::may_take_listener(&words())
}

/// Logs why the settings of a pool are ignored.
pub(crate) fn log_no_pool(options: &Options) {
    let of_pool = options.given.iter().filter(|given| ["workers", "bind"].contains(&given.field.as_str()));
    let names = of_pool.map(|given| match &given.source {
        Source::Variable(name) => name.clone(),
        Source::File(path) => format!("{path}: {}", given.flag.trim_start_matches('-')),
        Source::Flag => given.flag.clone(),
    });
    let ignored = names.collect::<Vec<_>>().join(", ");
    warn!(
        ignored,
        "no pool: stdin is a terminal, and the command takes no listener, so it runs once; --workers or --bind on the \
         command line makes a pool of it"
    );
}

#[cfg(test)]
mod tests {
    use super::super::activation;
    use super::*;
    use crate::core::Mode;
    use crate::settings;
    use crate::settings::layers::{Parsed, read};
    use crate::settings::options::GivenOption;
    use std::ffi::OsString;

    /// Whether a command line becomes a pool; `by` is the source of `--workers`, and spaces separate words.
    fn is_pool(line: &str, by: &Source, terminal: bool) -> bool {
        let words = ["prefork-init", "-n", "2", "-b", ":8000"].map(str::to_owned).into_iter();
        let words = words.chain(line.split(' ').map(|word| word.replace('~', " ")));
        let mut options = match read(words.map(OsString::from)) {
            Ok(Parsed::Asks(options)) => options,
            other => panic!("{line}: {other:?}"),
        };
        for given in
            options.given.iter_mut().filter(|given| ["workers", "bind"].contains(&given.field.as_str()))
        {
            given.source = by.clone();
        }
        let surroundings =
            Surroundings { terminal: if terminal { || true } else { || false }, ..Surroundings::default() };
        let config =
            settings::resolve(*options, &surroundings).unwrap_or_else(|error| panic!("{line}: {error}"));
        matches!(config.mode, Mode::Pool(_))
    }

    fn variable() -> Source {
        Source::Variable("PREFORK_WORKERS".into())
    }

    #[test]
    fn a_command_without_listener_runs_once_at_a_terminal() {
        for line in [
            "bash",
            "/bin/bash -l",
            "sh -c ls",
            "/busybox/sh",
            "ls -l",
            "/usr/bin/env",
            "python3",
            "/venv/bin/python3 manage.py shell",
            "npm test",
            "node",
            "node --version",
            "node -e 1",
            "uvicorn app:app --port 8000",
            "/docker-entrypoint.sh bash",
        ] {
            assert!(!is_pool(line, &variable(), true), "{line}");
            assert!(!is_pool(line, &Source::File("/f".into()), true), "{line}");
            assert!(is_pool(line, &variable(), false), "{line}");
            assert!(is_pool(line, &Source::Flag, true), "{line}");
        }
    }

    #[test]
    fn a_command_that_takes_a_listener_is_a_pool_at_a_terminal_too() {
        for line in [
            "uvicorn app:app --fd {fd}",
            "uvicorn app:app --fd 3",
            "gunicorn app:app",
            "sh -c exec~gunicorn~app:app",
            "hypercorn -b fd://3 app:app",
            "bash -c {worker_id}",
            "node server.js",
            "java -jar app.jar",
            "puma",
            "bundle exec puma",
            "/app/server",
            "./server --port 80",
            "/entrypoint.sh",
            "/entrypoint.sh gunicorn app:app",
            "--max-age 1h bash",
        ] {
            assert!(is_pool(line, &variable(), true), "{line}");
        }
    }

    #[test]
    fn sockets_that_are_given_and_a_command_of_the_file_are_meant() {
        let Ok(Parsed::Asks(mut options)) = read(["prefork-init", "-n", "2", "bash"].map(OsString::from))
        else {
            panic!("not read")
        };
        options.given.iter_mut().for_each(|given| given.source = variable());
        let command = Command::new(options.command.clone(), true);
        let surroundings = || Surroundings { terminal: || true, ..Surroundings::default() };
        assert_eq!(asked(&options, &surroundings(), &command), AskedMode::Once);
        let activation = Some(activation::ListenVariables::default());
        assert_eq!(
            asked(&options, &Surroundings { activation, ..surroundings() }, &command),
            AskedMode::Pool
        );
        let (field, flag) = ("command".to_owned(), "COMMAND".to_owned());
        options.given.push(GivenOption { field, flag, source: Source::File("/f".into()), only: None });
        assert_eq!(asked(&options, &surroundings(), &command), AskedMode::Pool);
    }
}
