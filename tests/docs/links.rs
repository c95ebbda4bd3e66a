//! Every link to a file of the repository, and to a heading in it, leads somewhere.

use super::{blocks, pages, read, repository};
use std::path::Path;

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(text: &str) -> Vec<String> {
    blocks::outside_of_blocks(text).filter(|line| line.starts_with('#')).map(anchor).collect()
}

/// Where the links of a page lead; nothing within code is one.
fn targets(text: &str) -> Vec<String> {
    let text: Vec<&str> = blocks::outside_of_blocks(text).collect();
    let text: String = text.join("\n").split('`').step_by(2).collect();
    let targets = text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap().to_owned());
    targets.collect()
}

#[test]
fn every_link_leads_somewhere() {
    let (mut checked, mut broken) = (0, Vec::new());
    let others = ["CHANGELOG.md", "tests/compat/differences.md"].map(|path| (path.to_owned(), read(path)));
    for (page, text) in pages().into_iter().chain(others) {
        for target in targets(&text).into_iter().filter(|target| !target.starts_with("https://")) {
            let (path, heading) = target.split_once('#').unwrap_or((&target, ""));
            let directory = Path::new(&page).parent().unwrap().to_str().unwrap();
            let path = if path.is_empty() { page.clone() } else { format!("{directory}/{path}") };
            let path = path.trim_start_matches('/');
            let there = repository(path).exists();
            let has_heading =
                heading.is_empty() || there && anchors(&read(path)).contains(&heading.to_owned());
            broken.extend((!there || !has_heading).then(|| format!("{page}: {target}")));
            checked += 1;
        }
    }
    assert!(checked > 100 && broken.is_empty(), "{checked} links, of which these lead nowhere: {broken:#?}");
}

#[test]
fn anchors_and_targets_are_those_of_github() {
    assert_eq!(anchor("## What if `none` gets ready?"), "what-if-none-gets-ready");
    assert_eq!(anchor("## `--count-requests notify`"), "--count-requests-notify");
    assert_eq!(anchors("# A\n```sh\n# b\n```\n"), ["a"]);
    assert_eq!(targets("[a](b.md) `[c](d)` and\n```sh\n[e](f)\n```\n[g](#h)"), ["b.md", "#h"]);
}
