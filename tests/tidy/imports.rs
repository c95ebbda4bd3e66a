//! Which file uses which: the paths of its code, followed through re-exports to the file that has the item.

use super::source::{Path, join, paths, without_tests};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Re-exports of re-exports.
const DEEPEST: usize = 8;

/// A file of `src/`.
pub struct File<'a> {
    pub path: &'a str,
    /// `os/socket` for `src/os/socket/mod.rs`; empty for the root.
    pub module: String,
    /// Without comments and tests; nothing where all of it is for tests.
    pub lines: Vec<&'a str>,
    paths: Vec<Path>,
}

pub struct Tree<'a> {
    pub files: Vec<File<'a>>,
    by_module: HashMap<String, usize>,
}

/// A file, and the one it uses.
#[derive(Clone, Copy)]
pub struct Use {
    pub from: usize,
    pub to: usize,
    /// Whether it only gives the module itself a name here.
    is_name: bool,
}

impl<'a> Tree<'a> {
    pub fn new(texts: &'a BTreeMap<String, String>) -> Self {
        let (mut files, mut tests) = (Vec::new(), Vec::new());
        for (path, text) in texts.iter().filter(|(path, _)| path.starts_with("src/")) {
            let parts = path["src/".len()..].trim_end_matches(".rs").split('/');
            let module =
                parts.filter(|part| !["mod", "lib", "main"].contains(part)).collect::<Vec<_>>().join("/");
            let (lines, test_files) = without_tests(text);
            tests.extend(test_files.iter().map(|name| join(&module, name)));
            files.push(File { path, module, paths: paths(&lines.join("\n")), lines });
        }
        for file in files.iter_mut().filter(|file| tests.iter().any(|test| is_within(&file.module, test))) {
            (file.lines, file.paths) = (Vec::new(), Vec::new());
        }
        let by_module = files.iter().enumerate().map(|(index, file)| (file.module.clone(), index)).collect();
        Self { files, by_module }
    }

    pub fn uses(&self) -> Vec<Use> {
        let of_path = |from: usize, path: &Path| {
            let (to, rest) = self.owner(&self.absolute(from, &self.files[from].module, &path.path, 0)?, 0)?;
            Some(Use { from, to, is_name: path.name.is_some() && rest.is_empty() })
        };
        let of_file = |from: usize| self.files[from].paths.iter().filter_map(move |path| of_path(from, path));
        (0..self.files.len()).flat_map(of_file).filter(|found| found.from != found.to).collect()
    }

    /// A path that is written in a file, from the root; unless it leads to another crate.
    fn absolute(&self, file: usize, here: &str, path: &str, depth: usize) -> Option<String> {
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        let above = here.rsplit_once('/').map_or("", |(above, _)| above);
        match first {
            "crate" if is_within(here, "core") => Some(join("core", rest)),
            "prefork_core" => Some(join("core", rest)),
            "crate" => Some(rest.to_string()),
            "self" => Some(join(here, rest)),
            "super" if rest.starts_with("super") => self.absolute(file, above, rest, depth),
            "super" => Some(join(above, rest)),
            name if self.by_module.contains_key(&join(here, name)) => Some(join(here, path)),
            name => {
                let import = self.import(file, name).filter(|_| depth < DEEPEST)?;
                Some(join(&self.absolute(file, here, &import.path, depth + 1)?, rest))
            }
        }
    }

    /// The file that has the item, and what of the path is behind its module.
    fn owner(&self, path: &str, depth: usize) -> Option<(usize, String)> {
        let modules = std::iter::successors(Some(path), |path| match path.rsplit_once('/') {
            Some((above, _)) => Some(above),
            None => Some("").filter(|root| root != path),
        });
        let (module, file) =
            modules.filter_map(|module| Some((module, *self.by_module.get(module)?))).next()?;
        let rest = path[module.len()..].trim_start_matches('/');
        let (name, behind) = rest.split_once('/').unwrap_or((rest, ""));
        match self.import(file, name).filter(|_| depth < DEEPEST) {
            None => Some((file, rest.to_string())),
            Some(import) => {
                let path = self.absolute(file, &self.files[file].module, &import.path, 0)?;
                self.owner(&join(&path, behind), depth + 1)
            }
        }
    }

    fn import(&self, file: usize, name: &str) -> Option<&Path> {
        self.files[file].paths.iter().find(|path| path.name.as_deref() == Some(name))
    }

    /// Whether the module of a use is inside of the one it uses.
    pub fn is_upward(&self, found: &Use) -> bool {
        is_within(&self.files[found.from].module, &self.files[found.to].module)
    }

    /// Of each file, all that it reaches through these uses.
    pub fn reached<'u>(&self, uses: impl Iterator<Item = &'u Use>) -> Vec<BTreeSet<usize>> {
        let mut next = vec![BTreeSet::new(); self.files.len()];
        uses.filter(|found| !found.is_name).for_each(|found| _ = next[found.from].insert(found.to));
        let from = |file: usize| {
            let (mut seen, mut open) = (BTreeSet::new(), vec![file]);
            while let Some(file) = open.pop() {
                open.extend(next[file].iter().filter(|file| seen.insert(**file)));
            }
            seen
        };
        (0..next.len()).map(from).collect()
    }
}

/// Whether a module is `other`, or inside of it.
pub fn is_within(module: &str, other: &str) -> bool {
    other.is_empty()
        || module.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
