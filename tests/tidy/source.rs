//! What the rules see of a Rust file. rustfmt makes it easy: an item ends at the first line with the indent of its start.

/// A line without its comment. A `//` in an address, `http://`, is none.
pub fn code_of(line: &str) -> &str {
    let comment = line.match_indices("//").find(|(at, _)| !line[..*at].ends_with(':'));
    comment.map_or(line, |(at, _)| &line[..at])
}

/// The lines without comments and without what is compiled for tests alone; and the modules among the latter that are
/// files of their own.
pub fn without_tests(text: &str) -> (Vec<&str>, Vec<&str>) {
    let lines: Vec<_> = text.lines().map(code_of).collect();
    let (mut kept, mut test_files, mut rest) = (Vec::new(), Vec::new(), &lines[..]);
    while let Some((line, after)) = rest.split_first() {
        let is_test = line.trim() == "#[cfg(test)]";
        let (item, others) = after.split_at(if is_test { item_length(after) } else { 0 });
        test_files.extend(item.iter().filter_map(|line| Some(line.strip_suffix(';')?.split_once("mod ")?.1)));
        kept.push(if is_test { "" } else { line });
        rest = others;
    }
    (kept, test_files)
}

/// How many lines the item has that begins here, attributes too.
fn item_length(lines: &[&str]) -> usize {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let is_before = |line: &&&str| line.trim().is_empty() || line.trim_start().starts_with("#[");
    let first = lines.iter().take_while(is_before).count();
    let Some(line) = lines.get(first).filter(|line| !line.trim_end().ends_with([';', '}', ','])) else {
        return lines.len().min(first + 1);
    };
    let is_end = |end: &&str| end.trim_start().starts_with('}') || end.trim_end().ends_with(';');
    let rest = lines[first + 1..].iter().position(|end| indent(end) == indent(line) && is_end(end));
    rest.map_or(lines.len(), |rest| first + rest + 2)
}

/// Each function with its number of lines, from `fn` to its closing brace.
pub fn functions<'a>(lines: &'a [&str]) -> impl Iterator<Item = (&'a str, usize)> {
    let name = |line: &'a str| {
        let (before, after) = line.split_once("fn ")?;
        (before.is_empty() || before.ends_with(' ')).then(|| name_at(after))
    };
    lines.iter().enumerate().filter_map(move |(at, line)| Some((name(line)?, item_length(&lines[at..]))))
}

/// The types and traits of a module. What is indented belongs to something else.
pub fn types<'a>(lines: &'a [&str]) -> impl Iterator<Item = &'a str> {
    let public = |line: &'a str| match line.strip_prefix("pub") {
        Some(scope) if scope.starts_with('(') => scope.split_once(") ").map_or(line, |(_, item)| item),
        Some(item) => item.trim_start(),
        None => line,
    };
    let kinds = ["struct ", "enum ", "union ", "trait ", "unsafe trait ", "type "];
    lines
        .iter()
        .filter_map(move |line| kinds.iter().find_map(|kind| public(line).strip_prefix(kind)).map(name_at))
}

fn name_at(code: &str) -> &str {
    &code[..code.find(|c| !is_part(c)).unwrap_or(code.len())]
}

fn is_part(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether `word` stands in `text` by itself, not as a part of a longer name.
pub fn names(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + word.len()..]);
        let runs_on_before = word.starts_with(is_part) && before.ends_with(is_part);
        let runs_on_after = word.ends_with(is_part) && after.starts_with(is_part);
        !runs_on_before && !runs_on_after
    })
}

/// A path in the code, `a/b` for `a::b`, and in a `use` the name that it gets here.
pub struct Path {
    pub path: String,
    pub name: Option<String>,
}

/// All paths of two segments and more, and one for each leaf of a `use`.
pub fn paths(code: &str) -> Vec<Path> {
    let (mut found, mut rest) = (Vec::new(), code);
    while let Some(start) = rest.find(is_part) {
        let before = &code[..code.len() - rest.len() + start];
        let is_part_or_scope = before.ends_with("::") || before.ends_with("(in ");
        let length = rest[start..].find(|c| !is_part(c) && c != ':').unwrap_or(rest.len() - start);
        let (word, after) = rest[start..].split_at(length);
        rest = after;
        if word == "use" && !after.trim_start().starts_with('<') {
            let (tree, after) = after.split_once(';').unwrap_or((after, ""));
            leaves("", tree, &mut found);
            rest = after;
        } else if word.contains("::") && !is_part_or_scope {
            found.push(Path { path: join("", word), name: None });
        }
    }
    found
}

/// `a::{b, c as d}` is `a/b`, and `a/c` with the name `d`.
fn leaves(before: &str, tree: &str, found: &mut Vec<Path>) {
    if let Some((path, group)) = tree.split_once('{') {
        let mut depth = 0;
        let is_comma = |c: char| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            c == ',' && depth == 0
        };
        let trees = group[..group.rfind('}').unwrap_or(group.len())].split(is_comma);
        return trees
            .filter(|tree| !tree.trim().is_empty())
            .for_each(|tree| leaves(&join(before, path), tree, found));
    }
    let (path, alias) = tree.split_once(" as ").unwrap_or((tree, ""));
    let path = join(before, path.trim()).trim_end_matches("/self").to_string();
    let name =
        [alias, &path].into_iter().find(|name| !name.is_empty()).and_then(|name| name.rsplit('/').next());
    found.push(Path { name: name.map(String::from), path });
}

/// `a/b` and `c::d` are `a/b/c/d`.
pub fn join(before: &str, path: &str) -> String {
    let parts = before.split('/').chain(path.trim().split("::"));
    parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}
