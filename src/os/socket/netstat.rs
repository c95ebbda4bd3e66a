//! The kernel's counters of our network namespace.

use std::fs;

/// Connections lost to full accept queues, of all TCP listeners of the namespace since it was made: in a container
/// usually our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// `ListenOverflows`: the queue was full.
    pub overflows: u64,
    /// `ListenDrops`: dropped for any reason, with those above.
    pub drops: u64,
}

/// Reads `/proc/self/net/netstat`; `None` if it is missing or lacks them.
#[must_use]
pub fn listening() -> Option<Listening> {
    parse(&fs::read_to_string("/proc/self/net/netstat").ok()?)
}

fn parse(text: &str) -> Option<Listening> {
    Some(Listening {
        overflows: value(text, "TcpExt", "ListenOverflows")?,
        drops: value(text, "TcpExt", "ListenDrops")?,
    })
}

/// The value in a pair of lines, names and values: `TcpExt: SyncookiesSent ...` and `TcpExt: 0 ...`.
fn value(text: &str, group: &str, wanted: &str) -> Option<u64> {
    let of_group = |line| str::strip_prefix(line, group)?.strip_prefix(':');
    let mut lines = text.lines().filter_map(of_group);
    let (names, values) = (lines.next()?, lines.next()?);
    let pairs = names.split_ascii_whitespace().zip(values.split_ascii_whitespace());
    pairs.into_iter().find(|(name, _)| *name == wanted)?.1.parse().ok()
}

/// How often processes of the network namespace have tried to reach a peer: TCP connections begun, UDP datagrams sent,
/// and packets without a route. It only grows. `None` if the kernel does not show it.
#[must_use]
pub fn outgoing() -> Option<u64> {
    let version_6 = fs::read_to_string("/proc/self/net/snmp6").unwrap_or_default();
    outgoing_in(&fs::read_to_string("/proc/self/net/snmp").ok()?, &version_6)
}

/// `version_6` has one name and value a line.
fn outgoing_in(text: &str, version_6: &str) -> Option<u64> {
    let counted = [("Tcp", "ActiveOpens"), ("Udp", "OutDatagrams"), ("Ip", "OutNoRoutes")];
    let sum = counted.iter().map(|(group, name)| value(text, group, name)).sum::<Option<u64>>()?;
    let of_6 = |line: &str| {
        let (name, value) = line.split_once(char::is_whitespace)?;
        ["Udp6OutDatagrams", "Ip6OutNoRoutes"].contains(&name).then(|| value.trim().parse::<u64>().ok())?
    };
    Some(version_6.lines().filter_map(of_6).fold(sum, u64::saturating_add))
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

    #[test]
    fn what_was_sent_is_summed_up() {
        let text = "Ip: Forwarding OutNoRoutes\nIp: 1 2\nTcp: MaxConn ActiveOpens\nTcp: -1 30\n\
                    Udp: InDatagrams OutDatagrams\nUdp: 7 400\nUdpLite: OutDatagrams\nUdpLite: 5\n";
        let version_6 =
            "Ip6OutNoRoutes                  \t5000\nUdp6OutDatagrams\t60000\nUdp6InDatagrams\t9\n";
        assert_eq!(outgoing_in(text, ""), Some(432));
        assert_eq!(outgoing_in(text, version_6), Some(65_432));
        assert_eq!(outgoing_in("Tcp: MaxConn\nTcp: -1\n", version_6), None);
        let before = outgoing().unwrap();
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(b"?", socket.local_addr().unwrap()).unwrap();
        assert!(outgoing().unwrap() > before);
    }
}
