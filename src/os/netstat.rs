//! What the kernel counts about listeners, in our network namespace.

use std::fs;

/// Connections that a full accept queue has cost, of all TCP listeners of the namespace since it was made: in a container
/// mostly our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// `ListenOverflows`: the queue was full.
    pub overflows: u64,
    /// `ListenDrops`: dropped for whatever reason, these among them.
    pub drops: u64,
}

/// Reads `/proc/self/net/netstat`; `None` where there is none.
#[must_use]
pub fn listening() -> Option<Listening> {
    parse(&fs::read_to_string("/proc/self/net/netstat").ok()?)
}

/// Lines come in pairs, names and values: `TcpExt: SyncookiesSent ...` and `TcpExt: 0 ...`.
fn parse(text: &str) -> Option<Listening> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let value = |wanted: &str| {
        let pairs = names.split_ascii_whitespace().zip(values.split_ascii_whitespace());
        pairs.into_iter().find(|(name, _)| *name == wanted)?.1.parse().ok()
    };
    Some(Listening { overflows: value("ListenOverflows")?, drops: value("ListenDrops")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_pairs_of_lines_are_understood() {
        let text =
            "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 7 12 15\nIpExt: X\nIpExt: 1\n";
        assert_eq!(parse(text), Some(Listening { overflows: 12, drops: 15 }));
        assert_eq!(parse("TcpExt: ListenOverflows\nTcpExt: 1\n"), None);
        assert_eq!(parse(""), None);
        assert!(listening().is_some(), "this kernel tells nothing");
    }
}
