//! The rules of the house as data, and what breaks them.

use super::imports::{File, Tree, is_within};
use super::source::{code_of, functions, names, types};
use std::collections::{BTreeMap, BTreeSet};

/// Each room, a folder or a file of `src/`, and what else it may use: whole rooms, or parts of them.
const ROOMS: [(&str, &str); 17] = [
    ("core", ""),
    ("values", "core"),
    ("os", "core values"),
    ("settings", "core values os/container os/socket/activation"),
    ("report", "core values os"),
    ("control", "core values report/metrics"),
    // Outside of the loop the core is seen only as a snapshot.
    ("http", "core/snapshot values os control report"),
    ("setup", "core values os settings report"),
    ("workers", "core values os settings report http/client setup/environment setup/private_directory"),
    ("helpers", "core values os settings report http/client"),
    ("supervisor", "core values os settings report control http setup workers helpers"),
    ("client", "core/snapshot core/policy core/signal values os settings http/client report"),
    ("check", "core values os settings setup report"),
    ("generate", "values settings client check"),
    ("proxy", "core/limits core/time values os http report"),
    ("app", "*"),
    ("main", "*"),
];

/// Words that have no place in some files: the rule, where it holds, where it does not, the words, and why.
const WORDS: [(&str, &str, &str, &str, &str); 4] = [
    ("os", "src/", "src/os/", "unsafe libc:: nix::", "only src/os may name this"),
    (
        "args",
        "src/",
        "-",
        "env::args env::args_os",
        "with musl std knows none under a `main` of our own; os::entry has them",
    ),
    (
        "sleep",
        "tests/",
        "tests/harness/",
        concat!("thread::", "sleep"),
        "a test waits for an event, never for a time; tests/harness knows how",
    ),
    (
        UNFINISHED,
        "",
        "-",
        concat!("TO", "DO FIX", "ME X", "XX to", "do! unimple", "mented! db", "g! #[ig", "nore"),
        "open an issue instead",
    ),
];
/// This rule holds in comments too.
const UNFINISHED: &str = "unfinished";

/// Lines of a file; the entry point has the map of the house at its head, which does not count.
const LONGEST: [(&str, usize); 3] = [("src/main.rs", 40), ("src/app.rs", 90), ("src/", 500)];
const LONGEST_FUNCTION: usize = 80;

/// All that breaks a rule, as known.txt has it, `rule file subject`, and with a line for people.
pub type Breaches = BTreeMap<String, String>;

/// `texts` are the files by their path in the repository. Gives the figures too.
pub fn breaches(texts: &BTreeMap<String, String>) -> (Breaches, String) {
    let mut found = Breaches::new();
    let tree = Tree::new(texts);
    words(texts, &mut found);
    wildcards(&tree, &mut found);
    sizes(&tree, texts, &mut found);
    let types = declared_twice(&tree, &mut found);
    let figures = [rooms(&tree, &mut found), circles(&tree, &mut found), types];
    (found, figures.join("\n"))
}

fn words(texts: &BTreeMap<String, String>, found: &mut Breaches) {
    for (rule, inside, outside, words, why) in WORDS {
        let holds = |path: &str| path.starts_with(inside) && !path.starts_with(outside);
        for (path, text) in texts.iter().filter(|(path, _)| holds(path)) {
            for (number, line) in text.lines().enumerate() {
                let seen = if rule == UNFINISHED { line } else { code_of(line) };
                for word in words.split_whitespace().filter(|word| names(seen, word)) {
                    let detail = format!("{path}:{}: {why}: {}", number + 1, line.trim());
                    found.insert(format!("{rule} {path} {word}"), detail);
                }
            }
        }
    }
}

/// A match in the core names every state and event. `(_, B) =>` does not count, nor do tests.
fn wildcards(tree: &Tree, found: &mut Breaches) {
    let is_arm = |line: &str| {
        let arms = ["_ =>", "_ if "].into_iter().flat_map(|arm| line.match_indices(arm));
        let mut before = arms.map(|(at, _)| line[..at].trim_end());
        before.any(|before| before.is_empty() || before.ends_with(['{', ',', '|', '}']))
    };
    for file in tree.files.iter().filter(|file| is_within(&file.module, "core")) {
        for line in file.lines.iter().filter(|line| is_arm(line)).map(|line| line.trim()) {
            let detail = format!("{}: a match in the core names every state and event: {line}", file.path);
            found.insert(format!("wildcard {} {line}", file.path), detail);
        }
    }
}

fn sizes(tree: &Tree, texts: &BTreeMap<String, String>, found: &mut Breaches) {
    for file in &tree.files {
        let path = file.path;
        let counts = |line: &&str| path != "src/main.rs" || !line.starts_with("//!");
        let length = texts[path].lines().filter(counts).count();
        let (_, most) = LONGEST.iter().find(|(start, _)| path.starts_with(start)).unwrap();
        if length > *most {
            found.insert(format!("long {path}"), format!("{path}: {length} lines, more than {most}"));
        }
        for (name, length) in functions(&file.lines).filter(|(_, length)| *length > LONGEST_FUNCTION) {
            let detail = format!("{path}: fn {name}: {length} lines, more than {LONGEST_FUNCTION}");
            found.insert(format!("long {path} {name}"), detail);
        }
    }
}

/// A name has one meaning; but the core's published view of a thing may be called as the thing.
fn declared_twice(tree: &Tree, found: &mut Breaches) -> String {
    let mut places = BTreeMap::<&str, Vec<&str>>::new();
    for file in &tree.files {
        types(&file.lines).for_each(|name| places.entry(name).or_default().push(&file.module));
    }
    let all = places.len();
    places.retain(|_, modules| modules.len() > 1);
    let figures = format!("types: {all} names, {} of them declared more than once", places.len());
    places.retain(|_, modules| {
        let views = modules.iter().filter(|module| is_within(module, "core/snapshot")).count();
        modules.len() > 2 || views != 1 || !modules.iter().all(|module| is_within(module, "core"))
    });
    for (name, modules) in places {
        let detail = format!("type {name}: declared in {}", modules.join(", "));
        found.insert(format!("twice {name} {}", modules.len()), detail);
    }
    figures
}

fn room(module: &str) -> &str {
    module.split('/').next().filter(|room| !room.is_empty()).unwrap_or("main")
}

fn rooms(tree: &Tree, found: &mut Breaches) -> String {
    let may_use = |own: &str| ROOMS.iter().find(|(name, _)| *name == own).map(|(_, parts)| *parts);
    for File { path, module, .. } in tree.files.iter().filter(|file| may_use(room(&file.module)).is_none()) {
        let detail = format!("{path}: the plan of the house has no room {}", room(module));
        found.insert(format!("room {path}"), detail);
    }
    let mut arrows = BTreeSet::new();
    for (file, used) in tree.uses().iter().map(|found| (&tree.files[found.from], &tree.files[found.to])) {
        let (own, other) = (room(&file.module), room(&used.module));
        let mut parts = may_use(own).unwrap_or("").split_whitespace();
        if own != other && !parts.any(|part| part == "*" || is_within(&used.module, part)) {
            let detail = format!("{}: {own} may not use {}", file.path, used.path);
            found.insert(format!("use {} {}", file.path, used.path), detail);
        }
        arrows.extend(Some((own, other)).filter(|(own, other)| own != other));
    }
    format!("rooms: {} files, {} arrows", tree.files.len(), arrows.len())
}

/// No file reaches itself. A part of a module that uses what the module itself declares is counted apart,
/// as `upward`.
fn circles(tree: &Tree, found: &mut Breaches) -> String {
    let uses = tree.uses();
    let (upward, others): (Vec<_>, Vec<_>) = uses.iter().partition(|found| tree.is_upward(found));
    let (all, others) = (tree.reached(uses.iter()), tree.reached(others.into_iter()));
    let circle = |reached: &[BTreeSet<usize>], file: usize| -> Vec<&str> {
        let both_ways = reached[file].iter().filter(|other| reached[**other].contains(&file));
        both_ways.map(|file| tree.files[*file].path).collect()
    };
    for (file, path) in tree.files.iter().map(|file| file.path).enumerate() {
        let paths = circle(&others, file);
        if !paths.is_empty() {
            found.insert(format!("circle {path}"), format!("{path}: in the circle of {}", paths.join(", ")));
        }
    }
    for up in upward.iter().filter(|found| all[found.to].contains(&found.from)) {
        let (path, above) = (tree.files[up.from].path, tree.files[up.to].path);
        let detail = format!("{path}: uses {above}, which it is a part of and which uses it");
        found.insert(format!("upward {path} {above}"), detail);
    }
    let sizes = |reached: &[BTreeSet<usize>]| {
        let circles: BTreeSet<_> = (0..reached.len()).map(|file| circle(reached, file)).collect();
        let mut sizes: Vec<_> = circles.iter().map(Vec::len).filter(|size| *size > 0).collect();
        sizes.sort_unstable_by(|one, other| other.cmp(one));
        sizes
    };
    format!("circles: {:?}; without `upward`: {:?}", sizes(&all), sizes(&others))
}
