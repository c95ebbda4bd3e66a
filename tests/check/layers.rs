//! Default, file, variable, flag: the later one wins, for every option that there is.

use super::{check, file, option_names, report, setting, texts, variable_of};
use crate::docs::{help, options};
use serde_json::{Value, json};

/// Three valid values for what is not one of a few words: by the option's long name, or else by its value's name.
const SAMPLES: [(&str, [&str; 3]); 22] = [
    ("ready-check", ["http://127.0.0.1:1/", "unix:/two:/ready", "exec:true"]),
    ("forward-signal", ["USR1", "WINCH", "RTMIN"]),
    ("ready", ["notify", "delay:1s", "delay:2s"]),
    ("remap-exit-code", ["1=2", "1=3", "1=4"]),
    ("N", ["2", "3", "4"]),
    ("N|P%", ["2", "3", "50%"]),
    ("D", ["11s", "12s", "13s"]),
    ("J", ["1", "2", "3%"]),
    ("SIZE", ["600M", "700M", "800M"]),
    ("PERCENT", ["70%", "80%", "90"]),
    ("SIGNAL", ["USR1", "QUIT", "INT"]),
    ("FROM=TO", ["HUP=USR1", "HUP=USR2", "HUP=0"]),
    ("CODE", ["1", "2", "3"]),
    ("ADDR", ["127.0.0.1:1", "[::1]:2", "unix:/three"]),
    ("PATH", ["/one", "/two", "/three"]),
    ("DIR", ["/", "/tmp", "/usr"]),
    ("CMD", ["true one", "true two", "true three"]),
    ("USER[:GROUP]", ["root", "0", "root:root"]),
    ("GROUP", ["root", "0", "daemon"]),
    ("MASK", ["022", "027", "77"]),
    ("MODE", ["660", "600", "777"]),
    ("FILE", ["/one", "/two", "/three"]),
];

/// What an option needs beside it to be valid.
const BESIDE: [(&str, &str); 23] = [
    ("bind-mode", "--bind=unix:/three"),
    ("bind-group", "--bind=unix:/three"),
    ("ready-check-interval", "--ready-check=exec:true --health=127.0.0.1:0"),
    ("ready-check-timeout", "--ready-check=exec:true --health=127.0.0.1:0"),
    ("before-timeout", "--before=true"),
    ("forward-signal", "--workers=8"),
    ("worker-output", "--workers=8"),
    ("memory-reserve", "--worker-memory=100M"),
    ("ready-check", "--health=127.0.0.1:0"),
    ("max-requests", "--count-requests=scoreboard"),
    ("max-requests-jitter", "--max-requests=100"),
    ("count-requests", "--max-requests=100"),
    ("max-age-jitter", "--max-age=1h"),
    ("max-memory-jitter", "--max-memory=1G"),
    ("memory-samples", "--max-memory=1G"),
    ("memory-measure", "--max-memory=1G"),
    ("probe-interval", "--probe=/health --bind=127.0.0.1:0"),
    ("probe-timeout", "--probe=/health --bind=127.0.0.1:0"),
    ("probe-failures", "--probe=/health --bind=127.0.0.1:0"),
    ("abort-signal", "--watchdog=1s"),
    ("abort-time", "--watchdog=1s"),
    ("probe", "--bind=127.0.0.1:0"),
    ("accept-stall", "--bind=127.0.0.1:0"),
];

/// Help headings of what init mode alone has a use for, and of what both have.
const WITHOUT_POOL: [&str; 7] =
    ["Before and beside", "Init", "Signals", "Process", "Logging", "Configuration", "Endpoint"];

/// An option: what the help says of it, and which kind of value `check --json` has for it.
struct Opt {
    long: String,
    heading: String,
    /// What the help calls its value; empty for what has none.
    value: String,
    words: Vec<String>,
    default: Option<String>,
    kind: Kind,
}

#[derive(PartialEq)]
enum Kind {
    Switch,
    List,
    One,
}

/// All but those that are for no file.
fn all_options() -> Vec<Opt> {
    let (help, usual) = (options::sections(&help(&[])), report(&["true"], &[]));
    let of_name = |long: String| {
        let entries =
            help.iter().flat_map(|(heading, entries)| entries.iter().map(move |one| (heading, one)));
        let flag = format!("--{long}");
        let own = entries.filter_map(|(heading, entry)| {
            let (name, value) = entry.names.last()?.split_once(' ').unwrap_or((entry.names.last()?, ""));
            (name == flag).then_some((heading, entry, value))
        });
        let [(heading, entry, value)] = own.collect::<Vec<_>>()[..] else {
            panic!("{flag} is not in the help, or twice")
        };
        assert_eq!(entry.variable, format!("`{}`", variable_of(&long)));
        let kind = match setting(&usual, &long).0 {
            Value::Bool(_) => Kind::Switch,
            Value::Array(_) => Kind::List,
            _ => Kind::One,
        };
        let (words, default) = (entry.words.clone(), entry.value.clone());
        Opt { long, heading: heading.clone(), value: value.to_owned(), words, default, kind }
    };
    let names = option_names();
    let in_help = help.iter().flat_map(|(_, entries)| entries).count();
    assert_eq!(in_help, names.len(), "the help has other options");
    names.into_iter().filter(|name| !["config", "explain"].contains(&name.as_str())).map(of_name).collect()
}

/// Three values, of which each differs from the next; on and off for what has none.
fn samples(option: &Opt) -> [String; 3] {
    let Opt { long, value, words, kind, .. } = option;
    if *kind == Kind::Switch {
        return ["true", "false", "true"].map(str::to_owned);
    }
    if let [one, other, ..] = &words[..] {
        return [one, other, one].map(Clone::clone);
    }
    let of = |key: &str| SAMPLES.iter().find(|(known, _)| *known == key);
    let (_, samples) = of(long).or_else(|| of(value)).unwrap_or_else(|| {
        panic!(
            "--{long} <{value}> has no samples: add three valid values for \"{long}\" or \"{value}\" to SAMPLES"
        )
    });
    samples.map(str::to_owned)
}

/// As it stands in a file.
fn toml(option: &Opt, text: &str) -> String {
    let bare = option.kind == Kind::Switch
        || text.parse::<i64>().is_ok() && !text.starts_with('0') && text.len() < 3;
    let value = if bare { text.to_owned() } else { format!("{text:?}") };
    if option.kind == Kind::List { format!("[{value}]") } else { value }
}

/// As `check --json` has it.
fn expected(option: &Opt, text: &str) -> Value {
    match option.kind {
        Kind::Switch => json!(text == "true"),
        Kind::List => json!([text]),
        Kind::One => json!(text),
    }
}

/// The other words of a command line in which the option is valid.
fn beside(option: &Opt) -> Vec<String> {
    let Opt { long, heading, .. } = option;
    let mut words: Vec<String> = Vec::new();
    if long == "bind" {
        words.push("--workers=8".into());
    } else if long == "workers" {
        words.push("--bind=127.0.0.1:0".into());
    } else if !WITHOUT_POOL.contains(&heading.as_str()) {
        words.push("--workers=8".into());
    }
    let (_, flags) = BESIDE.iter().find(|(known, _)| *known == long).unwrap_or(&("", ""));
    words.extend(flags.split_whitespace().map(str::to_owned));
    words
}

/// What is run: a limit of requests is passed on where there may be one.
fn command(long: &str) -> Vec<String> {
    let words: &[&str] = match long {
        "pause" => &[],
        "max-requests-jitter" | "count-requests" => &["--", "true", "{max_requests}"],
        _ => &["--", "true"],
    };
    words.iter().map(ToString::to_string).collect()
}

/// What `check` has to say of this option on this command line.
fn seen(long: &str, words: &[String], variables: &[(&str, &str)]) -> (Value, String, Option<String>) {
    let words: Vec<String> = ["--json".to_owned()].into_iter().chain(words.to_vec()).collect();
    let output = check(&words, variables);
    let (out, err) = texts(&output);
    assert_eq!(
        output.status.code(),
        Some(0),
        "--{long}: {words:?} {variables:?} is not valid: {err}\
         If it needs another option, add that to BESIDE; if the value is wrong for it, add \"{long}\" to SAMPLES."
    );
    setting(&serde_json::from_str(&out).unwrap(), long)
}

#[test]
fn every_option_is_taken_from_the_last_layer_that_has_it() {
    let all = all_options();
    for option in &all {
        let long = option.long.as_str();
        let variable = variable_of(long);
        let variable = variable.as_str();
        let [in_file, in_variable, in_flag] = samples(option);
        let (_dir, path) = file(&format!("{long} = {}\n", toml(option, &in_file)));
        let (beside, command) = (beside(option), command(long));
        let words = |flags: &[String]| [flags, &beside, &command].concat();
        let by_config = [format!("--config={path}")];
        let flag = match option.kind {
            Kind::Switch => format!("--{long}"),
            Kind::List | Kind::One => format!("--{long}={in_flag}"),
        };

        if long != "pause" {
            let (value, layer, source) = seen(long, &words(&[]), &[]);
            assert_eq!((layer.as_str(), source), ("default", None), "--{long}");
            if let Some(default) = &option.default {
                assert_eq!(value, expected(option, default), "--{long}");
            }
        }
        let (value, layer, source) = seen(long, &words(&by_config), &[]);
        assert_eq!(
            (value, layer.as_str(), source),
            (expected(option, &in_file), "file", Some(path)),
            "--{long}"
        );

        // Off is off, and then no command is missing.
        let off = if long == "pause" {
            vec![by_config[0].clone(), "--".into(), "true".into()]
        } else {
            words(&by_config)
        };
        let (value, layer, source) = seen(long, &off, &[(variable, &in_variable)]);
        let wanted = (expected(option, &in_variable), "environment", Some(variable.to_owned()));
        assert_eq!((value, layer.as_str(), source), wanted, "--{long}");

        let (value, layer, source) =
            seen(long, &words(&[by_config[0].clone(), flag]), &[(variable, &in_variable)]);
        assert_eq!((value, layer.as_str(), source), (expected(option, &in_flag), "flag", None), "--{long}");

        // An empty variable is none.
        let (value, layer, _) = seen(long, &words(&by_config), &[(variable, "")]);
        assert_eq!((value, layer.as_str()), (expected(option, &in_file), "file"), "--{long}");
    }
    assert!(all.len() >= 50, "only {} options were seen", all.len());
}

#[test]
fn a_flag_names_another_file_than_the_variable() {
    let (_one, usual) = file("workers = 2\n");
    let (_other, special) = file("workers = 3\n");
    let variables = [("PREFORK_CONFIG", usual.as_str())];
    let with_variable = report(&["true"], &variables);
    assert_eq!(setting(&with_variable, "workers"), (json!("2"), "file".into(), Some(usual.clone())));
    let config = (json!(usual), "environment".into(), Some("PREFORK_CONFIG".into()));
    assert_eq!(setting(&with_variable, "config"), config);
    let with_flag = report(&["--config", &special, "true"], &variables);
    assert_eq!(setting(&with_flag, "workers"), (json!("3"), "file".into(), Some(special.clone())));
    assert_eq!(setting(&with_flag, "config"), (json!(special), "flag".into(), None));
    // And an empty variable names none.
    assert_eq!(setting(&report(&["true"], &[("PREFORK_CONFIG", "")]), "config").1, "default");
}

#[test]
fn the_command_of_the_file_is_taken_where_the_command_line_has_none() {
    let (_dir, path) = file("command = [\"true\", \"of file\"]\n");
    let of_file = setting(&report(&["--config", &path], &[]), "command");
    assert_eq!(of_file, (json!(["true", "of file"]), "file".into(), Some(path.clone())));
    let of_line = setting(&report(&["--config", &path, "--", "true"], &[]), "command");
    assert_eq!(of_line, (json!(["true"]), "flag".into(), None));
    // Who says --pause does not want the usual command.
    let none = setting(&report(&["--config", &path, "--pause"], &[]), "command");
    assert_eq!(none, (json!([]), "default".into(), None));
}

#[test]
fn web_concurrency_and_port_come_after_all_layers() {
    let (_dir, path) = file("workers = 2\n");
    let variables = [("WEB_CONCURRENCY", "3"), ("PORT", "8123")];
    let with_file = report(&["--config", &path, "true"], &variables);
    assert_eq!(setting(&with_file, "workers"), (json!("2"), "file".into(), Some(path)));
    let port = (json!(["0.0.0.0:8123"]), "environment".into(), Some("PORT".into()));
    assert_eq!(setting(&with_file, "bind"), port);
    let without = report(&["-b", ":8000", "true"], &variables);
    assert_eq!(
        setting(&without, "workers"),
        (json!("3"), "environment".into(), Some("WEB_CONCURRENCY".into()))
    );
    assert_eq!(setting(&without, "bind"), (json!([":8000"]), "flag".into(), None));
    // Without a pool they are nobody's.
    assert_eq!(setting(&report(&["true"], &variables), "workers"), (Value::Null, "default".into(), None));
}

#[test]
fn the_variables_are_left_to_the_innermost_of_us() {
    let (_dir, path) = file("workers = 2\n");
    let found = report(&["--", "true"], &[("PREFORK_CONFIG", &path)]);
    assert_eq!(found["mode"], "pool");
    let us = crate::harness::binary();
    let found = report(&["--", us.to_str().unwrap()], &[("PREFORK_CONFIG", &path), ("PREFORK_WORKERS", "3")]);
    assert_eq!(found["mode"], "init");
}
