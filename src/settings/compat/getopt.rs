//! getopt_long(3) as far as the original inits use it: bundled short options, long ones that may be abbreviated, and
//! the first word that is no option ends them. Not clap, which neither abbreviates nor keeps the options' order, and
//! has other messages.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

#[derive(Clone, Copy, Debug)]
pub struct KnownOption {
    pub short: u8,
    /// Empty if it has none.
    pub long: &'static str,
    pub takes_argument: bool,
}

/// The next item on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// An option's letter and its argument.
    Option(u8, OsString),
    /// An error in the words of getopt(3), without the program's name.
    Wrong(String),
    /// The remaining words.
    Command(Vec<OsString>),
}

/// The unread part of a command line.
#[derive(Debug)]
pub struct Getopt<'a> {
    known: &'a [KnownOption],
    rest: std::slice::Iter<'a, OsString>,
    /// The rest of a bundle of short options.
    bundle: &'a [u8],
}

impl<'a> Getopt<'a> {
    /// Skips the program's name.
    #[must_use]
    pub fn new(known: &'a [KnownOption], args: &'a [OsString]) -> Self {
        Self { known, rest: args.get(1..).unwrap_or_default().iter(), bundle: &[] }
    }

    /// Reads one option.
    pub fn next(&mut self) -> Next {
        if let Some((letter, rest)) = self.bundle.split_first() {
            return self.short(*letter, rest);
        }
        let before = self.rest.clone();
        let Some(word) = self.rest.next() else { return Next::Command(Vec::new()) };
        let bytes = word.as_bytes();
        match bytes {
            b"--" => Next::Command(self.rest.as_slice().to_vec()),
            [b'-', b'-', long @ ..] if self.known.iter().any(|known| !known.long.is_empty()) => {
                self.long(long)
            }
            [b'-', letter, rest @ ..] => self.short(*letter, rest),
            _ => Next::Command(before.as_slice().to_vec()),
        }
    }

    fn short(&mut self, letter: u8, rest: &'a [u8]) -> Next {
        self.bundle = &[];
        let shown = OsStr::from_bytes(&[letter]).display().to_string();
        let Some(known) = self.known.iter().find(|known| known.short == letter) else {
            return Next::Wrong(format!("invalid option -- '{shown}'"));
        };
        if !known.takes_argument {
            self.bundle = rest;
            return Next::Option(letter, OsString::new());
        }
        if !rest.is_empty() {
            return Next::Option(letter, OsString::from_vec(rest.to_vec()));
        }
        match self.rest.next() {
            Some(argument) => Next::Option(letter, argument.clone()),
            None => Next::Wrong(format!("option requires an argument -- '{shown}'")),
        }
    }

    fn long(&mut self, word: &[u8]) -> Next {
        let (name, argument) = match word.iter().position(|byte| *byte == b'=') {
            Some(at) => (word.get(..at).unwrap_or_default(), word.get(at.saturating_add(1)..)),
            None => (word, None),
        };
        let begins = |known: &&KnownOption| !known.long.is_empty() && known.long.as_bytes().starts_with(name);
        let candidates: Vec<&KnownOption> = self.known.iter().filter(begins).collect();
        let exact = candidates.iter().find(|known| known.long.as_bytes() == name);
        let shown = OsStr::from_bytes(name).display().to_string();
        let known = match (exact, candidates.as_slice()) {
            (Some(known), _) | (None, [known]) => *known,
            (None, []) => {
                let whole = OsStr::from_bytes(word).display();
                return Next::Wrong(format!("unrecognized option '--{whole}'"));
            }
            (None, several) => {
                let names: Vec<String> = several.iter().map(|known| format!("'--{}'", known.long)).collect();
                let names = names.join(" ");
                return Next::Wrong(format!("option '--{shown}' is ambiguous; possibilities: {names}"));
            }
        };
        let argument = argument.map(|argument| OsString::from_vec(argument.to_vec()));
        match (known.takes_argument, argument) {
            (true, Some(argument)) => Next::Option(known.short, argument),
            (true, None) => match self.rest.next() {
                Some(argument) => Next::Option(known.short, argument.clone()),
                None => Next::Wrong(format!("option '--{}' requires an argument", known.long)),
            },
            (false, None) => Next::Option(known.short, OsString::new()),
            (false, Some(_)) => Next::Wrong(format!("option '--{}' doesn't allow an argument", known.long)),
        }
    }
}
