//! Chooses which of many listeners at one address gets a new connection: a classic BPF program
//! (`SO_ATTACH_REUSEPORT_CBPF`, socket(7)) that the kernel runs for each connection. It needs no privilege.
//!
//! The kernel keeps the listeners of a group in a list: a new one is added at the end, and when one stops, the last
//! takes its place. The program returns a position in that list; if no listener has it, the kernel chooses by a hash of
//! the connection's addresses. A new program replaces the old one at once.

use nix::errno::Errno;
use std::collections::HashSet;
use std::ffi::c_int;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};

#[derive(Clone, Debug)]
pub struct SteeringProgram(Vec<libc::sock_filter>);

/// The first two bytes of a probe's source address.
const PROBE: [u8; 2] = [127, 112];

/// The IPv4 source address from which a connection reaches the listener of this lane, live or not. Such addresses exist
/// on this machine only: packets from outside with one are dropped, unless `net.ipv4.conf.*.route_localnet` is set.
/// There is one for each of 65,536 lanes.
#[must_use]
pub fn probe_source(lane: u32) -> Ipv4Addr {
    let [_, _, high, low] = lane.to_be_bytes();
    Ipv4Addr::new(PROBE[0], PROBE[1], high, low)
}

impl SteeringProgram {
    /// Spreads connections evenly, at random, over the live lanes of `order`, the kernel's list, and sends probes to
    /// their lanes. `None` if no lane is live.
    #[must_use]
    pub fn spread(order: &[u32], live: &[u32]) -> Option<Self> {
        let live: HashSet<u32> = live.iter().copied().collect();
        let is_live: Vec<bool> = order.iter().map(|lane| live.contains(lane)).collect();
        let count = u32::try_from(is_live.iter().filter(|live| **live).count()).ok()?;
        if count == 0 {
            return None;
        }
        let mut program = lead_probes(order);
        program.push(load(libc::SKF_AD_OFF.saturating_add(libc::SKF_AD_RANDOM)));
        program.push(all(libc::BPF_ALU | libc::BPF_MOD, count));
        // From the n-th live lane to its position: adds the width of each run of others before it.
        let mut position: u32 = 0;
        for run in is_live.chunk_by(|a, b| a == b) {
            let width = u32::try_from(run.len()).ok()?;
            if run.first() == Some(&false) {
                program.push(test(libc::BPF_JGE, position, 0, 1));
                program.push(all(libc::BPF_ALU | libc::BPF_ADD, width));
            }
            position = position.saturating_add(width);
        }
        program.push(all(libc::BPF_RET | libc::BPF_A, 0));
        Some(Self(program))
    }

    /// Sends connections from one address to the listener at this position, and leaves the rest unchanged.
    #[must_use]
    pub fn with_exception(mut self, from: SocketAddr, position: u32) -> Self {
        let words = |ip: &[u8]| -> Vec<u32> {
            ip.chunks_exact(4).filter_map(|word| Some(u32::from_be_bytes(*word.first_chunk()?))).collect()
        };
        // The offsets of the source address and port in a header without options.
        let (protocol, source, at, port_at) = match from {
            SocketAddr::V4(from) => (IPV4, words(&from.ip().octets()), 12, 20),
            SocketAddr::V6(from) => (IPV6, words(&from.ip().octets()), 8, 40),
        };
        let net = |at| libc::SKF_NET_OFF.saturating_add(at);
        let mut tests = vec![(load(libc::SKF_AD_OFF.saturating_add(libc::SKF_AD_PROTOCOL)), protocol)];
        tests.extend((at..).step_by(4).zip(source).map(|(at, word)| (load(net(at)), word)));
        let port = all(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, net(port_at).cast_unsigned());
        tests.push((port, from.port().into()));
        let mut program = vec![all(libc::BPF_RET, position)];
        // From the end: each failed test skips the rest.
        for (load, value) in tests.into_iter().rev() {
            let rest = u8::try_from(program.len()).unwrap_or(u8::MAX);
            program.splice(..0, [load, test(libc::BPF_JEQ, value, 0, rest)]);
        }
        program.append(&mut self.0);
        Self(program)
    }

    /// Silently drops each request for a connection: a TCP header with SYN and without ACK. All else passes, so a
    /// client that was already answered gets in.
    #[must_use]
    pub fn drop_requests() -> Self {
        const FLAGS: u32 = 13;
        const SYN_ACK: u32 = 0x12;
        const SYN: u32 = 0x02;
        Self(vec![
            all(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, FLAGS),
            all(libc::BPF_ALU | libc::BPF_AND, SYN_ACK),
            test(libc::BPF_JEQ, SYN, 0, 1),
            all(libc::BPF_RET, 0),
            all(libc::BPF_RET, u32::MAX),
        ])
    }

    /// Attaches the program to the group of this TCP listener, which has `SO_REUSEPORT`.
    ///
    /// # Errors
    /// As setsockopt(2): `ENOPROTOOPT` if the option does not exist, `ENOMEM` if the program is too long for
    /// `net.core.optmem_max`, `EINVAL` if it is longer than 4096 instructions or the listener has no group.
    pub fn choose(&self, listener: BorrowedFd<'_>) -> io::Result<()> {
        self.attach(listener, libc::SO_ATTACH_REUSEPORT_CBPF)
    }

    /// Attaches the program as a filter of what this socket receives.
    ///
    /// # Errors
    /// As setsockopt(2): `EPERM` for a TCP socket without `CAP_NET_ADMIN`, on some kernels (6.18.44 for one).
    pub fn filter(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        self.attach(socket, libc::SO_ATTACH_FILTER)
    }

    fn attach(&self, socket: BorrowedFd<'_>, option: c_int) -> io::Result<()> {
        let len = u16::try_from(self.0.len()).map_err(|_| Errno::EINVAL)?;
        // The kernel copies the program.
        let program = libc::sock_fprog { len, filter: self.0.as_ptr().cast_mut() };
        let size = libc::socklen_t::try_from(size_of_val(&program)).unwrap_or(0);
        let value = (&raw const program).cast();
        // SAFETY: the length is that of the program, which is only read.
        let result = unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, value, size) };
        Errno::result(result)?;
        Ok(())
    }
}

/// Sends a probe to the listener of its lane; all else continues. Most lanes are at the position of their number.
fn lead_probes(order: &[u32]) -> Vec<libc::sock_filter> {
    const SOURCE: c_int = libc::SKF_NET_OFF.saturating_add(12);
    let [high, low] = PROBE;
    let prefix = u32::from_be_bytes([high, low, 0, 0]);
    let mut lead = Vec::new();
    for (position, lane) in (0..).zip(order).filter(|(position, lane)| position != *lane) {
        lead.push(test(libc::BPF_JEQ, *lane, 0, 1));
        lead.push(all(libc::BPF_RET, position));
    }
    lead.push(all(libc::BPF_RET | libc::BPF_A, 0));
    let length = u32::try_from(lead.len()).unwrap_or(u32::MAX);
    // A test can skip 255 instructions, a jump any number.
    let mut program = vec![
        // A listener on [::] gets IPv6 too.
        load(libc::SKF_AD_OFF.saturating_add(libc::SKF_AD_PROTOCOL)),
        test(libc::BPF_JEQ, IPV4, 0, 3),
        load(SOURCE),
        all(libc::BPF_ALU | libc::BPF_AND, 0xffff_0000),
        test(libc::BPF_JEQ, prefix, 1, 0),
        all(libc::BPF_JMP, length.saturating_add(2)),
        load(SOURCE),
        all(libc::BPF_ALU | libc::BPF_AND, 0xffff),
    ];
    program.append(&mut lead);
    program
}

/// `ETH_P_IP`
const IPV4: u32 = 0x0800;

/// `ETH_P_IPV6`
const IPV6: u32 = 0x86dd;

/// Loads 32 bits. `linux/filter.h` defines the negative offsets.
fn load(offset: c_int) -> libc::sock_filter {
    all(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset.cast_unsigned())
}

/// An instruction without a branch.
fn all(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: u16::try_from(code).unwrap_or(u16::MAX), jt: 0, jf: 0, k }
}

/// Compares with a number, and skips `jt` instructions if the test holds, `jf` if not.
fn test(how: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { jt, jf, ..all(libc::BPF_JMP | how, k) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    /// The kernel's limit, `BPF_MAXINSNS`.
    const LONGEST: usize = 4096;

    fn shown(program: &SteeringProgram) -> Vec<String> {
        let name = |k: u32| match k.cast_signed() {
            -0x1000 => "protocol".to_owned(),
            -0xfc8 => "random".to_owned(),
            -0xffff4 => "source".to_owned(),
            other => format!("[{other}]"),
        };
        let show = |i: &libc::sock_filter| match i.code {
            0x20 => format!("ld {}", name(i.k)),
            0x28 => format!("ldh {}", name(i.k)),
            0x30 => format!("ldb {}", name(i.k)),
            0x04 => format!("add {}", i.k),
            0x54 => format!("and {:#x}", i.k),
            0x94 => format!("mod {}", i.k),
            0x05 => format!("ja {}", i.k),
            0x15 => format!("jeq {:#x} {} {}", i.k, i.jt, i.jf),
            0x35 => format!("jge {} {} {}", i.k, i.jt, i.jf),
            0x06 => format!("ret {:#x}", i.k),
            0x16 => "ret a".to_owned(),
            other => panic!("{other:#x} is not used"),
        };
        program.0.iter().map(show).collect()
    }

    /// The program's result for a connection and a random number.
    fn run(program: &SteeringProgram, source: Option<Ipv4Addr>, random: u32) -> u32 {
        let (mut at, mut a) = (0, 0);
        loop {
            let i = program.0[at];
            at += 1;
            match i.code {
                0x20 => {
                    a = match (i.k.cast_signed(), source) {
                        (-0x1000, Some(_)) => IPV4,
                        (-0x1000, None) => 0x86dd,
                        (-0xfc8, _) => random,
                        (-0xffff4, Some(source)) => source.to_bits(),
                        (offset, _) => panic!("{offset} of such a packet is not looked at"),
                    }
                }
                0x04 => a += i.k,
                0x54 => a &= i.k,
                0x94 => a %= i.k,
                0x05 => at += i.k as usize,
                0x15 => at += usize::from(if a == i.k { i.jt } else { i.jf }),
                0x35 => at += usize::from(if a >= i.k { i.jt } else { i.jf }),
                0x06 => return i.k,
                0x16 => return a,
                other => panic!("{other:#x} is not used"),
            }
        }
    }

    #[test]
    fn small_programs_are_as_one_would_write_them() {
        let head = ["ld protocol", "jeq 0x800 0 3", "ld source", "and 0xffff0000", "jeq 0x7f700000 1 0"];
        let straight = ["ja 3", "ld source", "and 0xffff", "ret a"];
        let crossed =
            ["ja 7", "ld source", "and 0xffff", "jeq 0x2 0 1", "ret 0x0", "jeq 0x0 0 1", "ret 0x2", "ret a"];
        type Case<'a> = (&'a [u32], &'a [u32], &'a [&'a str], &'a [&'a str]);
        let cases: [Case; 7] = [
            (&[0], &[0], &straight, &["mod 1"]),
            (&[0, 1], &[1, 0], &straight, &["mod 2"]),
            (&[0, 1], &[1], &straight, &["mod 1", "jge 0 0 1", "add 1"]),
            (&[0, 1, 2], &[0, 2], &straight, &["mod 2", "jge 1 0 1", "add 1"]),
            (&[0, 1, 2, 3, 4, 5], &[3, 5], &straight, &["mod 2", "jge 0 0 1", "add 3", "jge 4 0 1", "add 1"]),
            (&[0, 1], &[0, 7], &straight, &["mod 1", "jge 1 0 1", "add 1"]),
            (&[2, 1, 0], &[0, 1], &crossed, &["mod 2", "jge 0 0 1", "add 1"]),
        ];
        for (order, live, lead, spread) in cases {
            let expected = [&head, lead, &["ld random"], spread, &["ret a"]].concat();
            assert_eq!(shown(&SteeringProgram::spread(order, live).unwrap()), expected, "{order:?} {live:?}");
        }
        let straight = shown(&SteeringProgram::spread(&[0], &[0]).unwrap());
        let except = |from: &str| {
            let all = SteeringProgram::spread(&[0], &[0]).unwrap().with_exception(from.parse().unwrap(), 7);
            let shown = shown(&all);
            assert_eq!(shown[shown.len() - straight.len()..], straight);
            shown[..shown.len() - straight.len()].join(", ")
        };
        let v4 = "ld protocol, jeq 0x800 0 5, ld source, jeq 0x7f000001 0 3, ldh [-1048556], jeq 0x50 0 1, ret 0x7";
        assert_eq!(except("127.0.0.1:80"), v4);
        let v6 = "ld protocol, jeq 0x86dd 0 11, ld [-1048568], jeq 0x0 0 9, ld source, jeq 0x0 0 7, \
                  ld [-1048560], jeq 0x0 0 5, ld [-1048556], jeq 0x1 0 3, ldh [-1048536], jeq 0x50 0 1, ret 0x7";
        assert_eq!(except("[::1]:80"), v6);
        assert!(SteeringProgram::spread(&[0, 1], &[]).is_none());
        assert!(SteeringProgram::spread(&[0, 1], &[2]).is_none());
        let drop = ["ldb [13]", "and 0x12", "jeq 0x2 0 1", "ret 0x0", "ret 0xffffffff"];
        assert_eq!(shown(&SteeringProgram::drop_requests()), drop);
    }

    #[test]
    fn each_live_lane_gets_its_share_and_each_probe_its_lane() {
        let orders: [&[u32]; 3] = [&[0, 1, 2, 3, 4, 5, 6], &[6, 1, 2, 5, 4, 3, 0], &[1, 0]];
        for order in orders {
            for chosen in 1..1_u32 << order.len() {
                let live: Vec<u32> = order.iter().copied().filter(|lane| chosen >> lane & 1 == 1).collect();
                let program = SteeringProgram::spread(order, &live).unwrap();
                for source in [None, Some(Ipv4Addr::new(127, 0, 0, 1)), Some(Ipv4Addr::new(10, 112, 0, 1))] {
                    let mut got = HashMap::new();
                    for random in 0..420 {
                        let lane = order[run(&program, source, random) as usize];
                        *got.entry(lane).or_insert(0) += 1;
                    }
                    let share = 420 / live.len();
                    assert_eq!(got, live.iter().map(|lane| (*lane, share)).collect(), "{order:?} {live:?}");
                }
                for (position, lane) in (0..).zip(order) {
                    assert_eq!(run(&program, Some(probe_source(*lane)), 0), position, "{order:?} {live:?}");
                }
            }
        }
    }

    #[test]
    fn the_worst_of_1360_lanes_fits_the_kernels_limit() {
        let lanes = 1360;
        let order: Vec<u32> = (0..lanes).rev().collect();
        let live: Vec<u32> = (0..lanes).filter(|lane| lane % 2 == 1).collect();
        let program = SteeringProgram::spread(&order, &live).unwrap();
        assert!(program.0.len() <= LONGEST, "{}", program.0.len());
        for lane in [0, 255, 256, 1359] {
            assert_eq!(run(&program, Some(probe_source(lane)), 0), lanes - 1 - lane);
        }
        for random in 0..lanes / 2 {
            let position = run(&program, None, random);
            assert_eq!(order[position as usize] % 2, 1, "the lane is live");
        }
    }

    #[test]
    fn a_probes_source_tells_its_lane() {
        assert_eq!(probe_source(0), Ipv4Addr::new(127, 112, 0, 0));
        assert_eq!(probe_source(1025), Ipv4Addr::new(127, 112, 4, 1));
    }
}
