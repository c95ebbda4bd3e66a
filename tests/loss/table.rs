//! The counts as a table that people can read.

use super::life::Row;
use crate::harness::clients::ByModel;
use crate::harness::clients::counts::Counts;

const TITLES: ByModel<&str> = [
    "a connection a request",
    "keep-alive, 5-20 ms apart",
    "keep-alive, at once",
    "slow, in hand at that moment",
];

/// The two lines above the rows.
pub fn head() -> String {
    let models: String = TITLES.iter().map(|title| format!(" | {title:<42}")).collect();
    let columns = " |     ok   lost (reused) refused  max ms gap ms".repeat(TITLES.len());
    format!("{:<24} {:<9}{models}\n{:<24} {:<9}{columns}", "", "", "server", "case")
}

/// One row.
pub fn line(row: &Row) -> String {
    let models: String = row.counts.iter().map(|counts| format!(" | {}", cell(counts))).collect();
    let failures: Vec<_> = row.counts.iter().flat_map(|counts| &counts.failures).collect();
    let odd: u64 = row.counts.iter().map(|counts| counts.other).sum();
    let mut line = format!("{:<24} {:<9}{models}", row.server, row.phase.name());
    if !failures.is_empty() {
        line += &format!("  {failures:?}");
    }
    if odd > 0 {
        line += &format!("  {odd} wrong answers");
    }
    line
}

fn cell(counts: &Counts) -> String {
    let (slowest, gap) = (counts.slowest.as_millis(), counts.gap.as_millis());
    format!(
        "{:>6} {:>6} {:>8} {:>7} {:>7} {:>6}",
        counts.ok,
        counts.lost(),
        format!("({})", counts.lost_reused),
        counts.refused,
        slowest,
        gap
    )
}
