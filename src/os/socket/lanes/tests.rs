//! Tests against the kernel: what matters here is undocumented.

use super::super::steer::probe_source;
use super::*;
use nix::sys::socket::{
    self, AddressFamily, Backlog, Shutdown, SockFlag, SockType, SockaddrIn, SockaddrStorage, sockopt,
};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

const BACKLOG: u32 = 1024;
const LEAST_FD: RawFd = 40;

fn bind(addresses: &[&str], count: u32, spread: Spread) -> Result<Lanes, (Address, io::Error)> {
    let addresses: Vec<_> = addresses.iter().map(|text| Address::parse(text).unwrap()).collect();
    Lanes::adopt(Vec::new(), &addresses, Rights::EVERYBODY, count, spread, BACKLOG, LEAST_FD)
}

fn steered(address: &str, count: u32) -> (Lanes, SocketAddr) {
    let lanes = bind(&[address], count, Spread::PerWorker).unwrap();
    assert!(lanes.is_steered() && lanes.fell_back().is_none(), "{:?}", lanes.fell_back());
    let mut address = tcp(lanes.addresses().next().unwrap());
    if address.ip().is_unspecified() {
        // Of the two families, the less obvious.
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    (lanes, address)
}

fn tcp(address: &Address) -> SocketAddr {
    let Address::Tcp(address) = address else { panic!("{address}") };
    *address
}

fn until<T>(what: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = poll() {
            return found;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "not within 20 s: {what}");
    }
}

/// The queues of the first lanes, once they contain this number of connections.
fn queues(lanes: &Lanes, count: u32, expected: u32) -> Vec<u32> {
    until("all are in a queue", || {
        let queues: Vec<_> = (0..count).map(|lane| lanes.queue(lane).unwrap()).collect();
        (queues.iter().sum::<u32>() == expected).then_some(queues)
    })
}

/// The only lane with a connection, which is accepted.
fn landed(lanes: &Lanes, count: u32) -> u32 {
    let queues = queues(lanes, count, 1);
    let lane = queues.iter().position(|waiting| *waiting == 1).unwrap();
    let lane = u32::try_from(lane).unwrap();
    drop(accept(lanes, lane));
    lane
}

fn listener(lanes: &Lanes, lane: u32) -> TcpListener {
    lanes.fds(lane)[0].try_clone_to_owned().unwrap().into()
}

fn accept(lanes: &Lanes, lane: u32) -> TcpStream {
    listener(lanes, lane).accept().unwrap().0
}

fn connect_from(source: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let client = stream(AddressFamily::Inet);
    socket::bind(client.as_raw_fd(), &SockaddrIn::from(std::net::SocketAddrV4::new(source, 0))).unwrap();
    socket::connect(client.as_raw_fd(), &SockaddrStorage::from(to)).unwrap();
    client.into()
}

fn stream(family: AddressFamily) -> OwnedFd {
    socket::socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap()
}

/// A listener of another program that allows others at its address.
fn stranger(address: SocketAddr) -> TcpListener {
    let fd = stream(AddressFamily::Inet);
    socket::setsockopt(&fd, sockopt::ReusePort, &true).unwrap();
    socket::bind(fd.as_raw_fd(), &SockaddrStorage::from(address)).unwrap();
    socket::listen(&fd, Backlog::new(64).unwrap()).unwrap();
    fd.into()
}

/// Shuts a listener down, as a worker can.
fn shut(lanes: &Lanes, lane: u32) {
    socket::shutdown(lanes.fds(lane)[0].as_raw_fd(), Shutdown::Read).unwrap();
}

/// Steers to each lane alone and, over IPv4, sends a probe to each.
fn assert_each_is_reached(lanes: &mut Lanes, address: SocketAddr, count: u32) {
    for lane in 0..count {
        lanes.steer(&[lane]).unwrap();
        let _client = TcpStream::connect(address).unwrap();
        assert_eq!(landed(lanes, count), lane, "steered to");
        if address.is_ipv4() {
            let other = (lane + 1) % count;
            let _probe = connect_from(probe_source(other), address);
            assert_eq!(landed(lanes, count), other, "probed");
        }
    }
}

#[test]
fn live_lanes_get_even_shares_and_others_nothing() {
    let (v4, v6) = ("127.0.0.1", "::1");
    for (bound, client) in [("127.0.0.1:0", v4), ("[::1]:0", v6), ("[::]:0", v4), ("[::]:0", v6)] {
        let (mut lanes, address) = steered(bound, 4);
        let address = SocketAddr::new(client.parse().unwrap(), address.port());
        lanes.steer(&[0, 1, 3]).unwrap();
        for _ in 0..600 {
            drop(TcpStream::connect(address).unwrap());
        }
        let queues = queues(&lanes, 4, 600);
        assert_eq!(queues[2], 0, "{bound} from {client}");
        // 200 each; the standard deviation is 11.5, and five of it come by chance once in a million runs.
        for lane in [0, 1, 3] {
            assert!(queues[lane].abs_diff(200) <= 58, "{bound} from {client}: {queues:?}");
        }
    }
}

#[test]
fn before_it_is_steered_the_first_lane_gets_all() {
    let (mut lanes, address) = steered("127.0.0.1:0", 3);
    let _clients: Vec<_> = (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
    assert_eq!(queues(&lanes, 3, 20), [20, 0, 0]);
    lanes.steer(&[1]).unwrap();
    // No live lane that exists: nothing changes.
    lanes.steer(&[]).unwrap();
    lanes.steer(&[3]).unwrap();
    let _clients: Vec<_> = (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
    assert_eq!(queues(&lanes, 3, 40), [20, 20, 0]);
}

#[test]
fn steering_away_takes_effect_at_once_and_keeps_what_waits() {
    let (mut lanes, address) = steered("[::]:0", 3);
    let mut clients = Vec::new();
    for round in 1..=50 {
        for lane in [2, 0, 1] {
            lanes.steer(&[lane]).unwrap();
            clients.push(TcpStream::connect(address).unwrap());
        }
        assert_eq!(queues(&lanes, 3, round * 3), [round; 3]);
    }
    lanes.steer(&[0]).unwrap();
    clients.last_mut().unwrap().write_all(b"still here").unwrap();
    (0..49).for_each(|_| drop(accept(&lanes, 1)));
    let mut last = accept(&lanes, 1);
    let mut heard = [0; 10];
    last.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"still here");
}

#[test]
fn lanes_that_are_opened_later_get_connections_once_steered_to() {
    let (mut lanes, address) = steered("127.0.0.1:0", 2);
    lanes.steer(&[0, 1]).unwrap();
    assert!(lanes.fds(3).is_empty());
    lanes.open(3).unwrap();
    lanes.open(1).unwrap();
    assert!(lanes.fds(3)[0].as_raw_fd() >= LEAST_FD);
    assert!(lanes.fds(4).is_empty());
    let _clients: Vec<_> = (0..40).map(|_| TcpStream::connect(address).unwrap()).collect();
    assert_eq!(queues(&lanes, 4, 40)[2..], [0, 0]);
    for lane in 0..2 {
        while lanes.queue(lane).unwrap() > 0 {
            drop(accept(&lanes, lane));
        }
    }
    assert_each_is_reached(&mut lanes, address, 4);
}

#[test]
fn whoever_is_on_the_port_already_is_noticed() {
    let there = stranger("127.0.0.1:0".parse().unwrap());
    let address = there.local_addr().unwrap().to_string();
    for spread in [Spread::PerWorker, Spread::Shared] {
        for address in
            [&address, &address.replace("127.0.0.1", "0.0.0.0"), &address.replace("127.0.0.1", "[::]")]
        {
            let (which, error) = bind(&[address], 2, spread).unwrap_err();
            assert_eq!((which.to_string(), error.kind()), (address.clone(), ErrorKind::AddrInUse));
        }
    }
}

#[test]
fn whoever_comes_to_the_port_later_gets_nothing() {
    let (mut lanes, address) = steered("127.0.0.1:0", 2);
    lanes.steer(&[0, 1]).unwrap();
    let stranger = stranger(address);
    let _clients: Vec<_> = (0..200).map(|_| TcpStream::connect(address).unwrap()).collect();
    queues(&lanes, 2, 200);
    stranger.set_nonblocking(true).unwrap();
    assert_eq!(stranger.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    // Another supervisor cannot bind it either.
    let second = bind(&[&address.to_string()], 2, Spread::PerWorker).unwrap_err();
    assert_eq!(second.1.kind(), ErrorKind::AddrInUse);
}

#[test]
fn a_listener_that_a_worker_shut_down_listens_again_and_all_are_found() {
    let (mut lanes, address) = steered("[::]:0", 5);
    for lane in [0, 2, 1, 3, 3, 4, 0, 2] {
        lanes.steer(&[0, 1, 2, 3, 4]).unwrap();
        shut(&lanes, lane);
        assert_eq!(lanes.queue(lane).unwrap(), 0);
        lanes.restore(lane).unwrap();
        let _clients: Vec<_> = (0..10).map(|_| TcpStream::connect(address).unwrap()).collect();
        let waiting = queues(&lanes, 5, 10);
        for (lane, waiting) in (0..).zip(waiting) {
            (0..waiting).for_each(|_| drop(accept(&lanes, lane)));
        }
        assert_each_is_reached(&mut lanes, address, 5);
    }
}

#[test]
fn steering_and_opening_notice_what_was_shut_down() {
    let (mut lanes, address) = steered("127.0.0.1:0", 4);
    shut(&lanes, 1);
    assert_each_is_reached(&mut lanes, address, 4);
    lanes.steer(&[3]).unwrap();
    shut(&lanes, 0);
    lanes.open(4).unwrap();
    let _client = TcpStream::connect(address).unwrap();
    assert_eq!(landed(&lanes, 5), 3, "as before");
    assert_each_is_reached(&mut lanes, address, 5);
}

#[test]
fn several_that_were_shut_down_at_once_come_back() {
    let (mut lanes, address) = steered("127.0.0.1:0", 5);
    lanes.steer(&[2]).unwrap();
    [1, 4].iter().for_each(|lane| shut(&lanes, *lane));
    lanes.restore(4).unwrap();
    let _client = TcpStream::connect(address).unwrap();
    assert_eq!(landed(&lanes, 5), 2);
    assert_each_is_reached(&mut lanes, address, 5);
}

#[test]
fn where_all_were_shut_down_the_program_comes_back_too() {
    for count in [1, 3] {
        let (mut lanes, address) = steered("127.0.0.1:0", count);
        let last = count - 1;
        lanes.steer(&[last]).unwrap();
        (0..count).for_each(|lane| shut(&lanes, lane));
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        lanes.restore(0).unwrap();
        let _clients: Vec<_> = (0..10).map(|_| TcpStream::connect(address).unwrap()).collect();
        assert_eq!(queues(&lanes, count, 10)[last as usize], 10);
    }
}

#[test]
fn the_length_of_a_queue_that_a_worker_changed_is_restored() {
    let directory = tempfile::tempdir().unwrap();
    let unix = format!("unix:{}/s", directory.path().display());
    for (spread, address) in
        [(Spread::PerWorker, "127.0.0.1:0"), (Spread::Shared, "127.0.0.1:0"), (Spread::PerWorker, &unix)]
    {
        let mut lanes = bind(&[address], 1, spread).unwrap();
        socket::listen(&lanes.fds(0)[0], Backlog::new(1).unwrap()).unwrap();
        lanes.restore(0).unwrap();
        let mut clients: Vec<OwnedFd> = Vec::new();
        for _ in 0..20 {
            clients.push(match lanes.addresses().next().unwrap() {
                Address::Tcp(address) => {
                    TcpStream::connect_timeout(address, Duration::from_secs(5)).unwrap().into()
                }
                Address::Unix(path) => UnixStream::connect(path).unwrap().into(),
            });
        }
        assert_eq!(queues(&lanes, 1, 20), [20]);
    }
}

#[test]
fn held_off_clients_get_no_answer_and_those_in_the_queue_get_theirs() {
    for (address, spread) in [
        ("127.0.0.1:0", Spread::PerWorker),
        ("[::1]:0", Spread::PerWorker),
        ("[::]:0", Spread::PerWorker),
        ("127.0.0.1:0", Spread::Shared),
    ] {
        let mut lanes = bind(&[address], 2, spread).unwrap();
        let bound = tcp(lanes.addresses().next().unwrap());
        let mut early = TcpStream::connect(bound).unwrap();
        until("it is in the queue", || (lanes.queue(0).unwrap() == 1).then_some(()));
        lanes.hold_off().unwrap();
        let late = TcpStream::connect_timeout(&bound, Duration::from_millis(200));
        assert_eq!(late.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(lanes.queue(0).unwrap(), 1);
        early.write_all(b"ping").unwrap();
        let mut served = accept(&lanes, 0);
        let mut heard = [0; 4];
        served.read_exact(&mut heard).unwrap();
        served.write_all(b"pong").unwrap();
        early.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"pong");
        lanes.hold_off().unwrap();
    }
}

#[test]
fn nobody_is_lost_while_the_door_closes_and_it_opens_again() {
    for address in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
        let (mut lanes, address) = steered(address, 2);
        lanes.steer(&[0, 1]).unwrap();
        shut(&lanes, 1);
        let mut clients: Vec<_> = (0..50).map(|_| connecting(address)).collect();
        lanes.hold_off().unwrap();
        clients.extend((0..50).map(|_| connecting(address)));
        let answered = queues(&lanes, 2, 50);
        // The full queue does not disturb the repair of the others.
        shut(&lanes, 0);
        lanes.restore(0).unwrap();
        clients.extend((0..50).map(|_| connecting(address)));
        assert_eq!(queues(&lanes, 2, answered[1]), [0, answered[1]]);
        lanes.steer(&[0]).unwrap();
        // The clients that were held off try again.
        assert_eq!(queues(&lanes, 2, 100 + answered[1]), [100, answered[1]]);
        (0..answered[1]).for_each(|_| drop(accept(&lanes, 1)));
        (0..100).for_each(|_| drop(accept(&lanes, 0)));
        assert_each_is_reached(&mut lanes, address, 2);
    }
}

/// A client that requests a connection, without waiting.
fn connecting(address: SocketAddr) -> OwnedFd {
    let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let client = socket::socket(family, SockType::Stream, flags, None).unwrap();
    let result = socket::connect(client.as_raw_fd(), &SockaddrStorage::from(address));
    assert!(matches!(result, Ok(()) | Err(nix::errno::Errno::EINPROGRESS)), "{result:?}");
    client
}

#[test]
fn refused_is_at_once_and_for_good() {
    let directory = tempfile::tempdir().unwrap();
    let unix = directory.path().join("s");
    let addresses = ["127.0.0.1:0", "[::]:0", &format!("unix:{}", unix.display())];
    for spread in [Spread::PerWorker, Spread::Shared] {
        let mut lanes = bind(&addresses, 3, spread).unwrap();
        lanes.steer(&[0, 1, 2]).unwrap();
        lanes.hold_off().unwrap();
        lanes.refuse();
        for again in [false, true] {
            for address in lanes.addresses() {
                let result = match address {
                    Address::Tcp(address) => TcpStream::connect(address).map(|_| ()),
                    Address::Unix(path) => UnixStream::connect(path).map(|_| ()),
                };
                let kind = result.unwrap_err().kind();
                assert_eq!(kind, ErrorKind::ConnectionRefused, "{address} again: {again}");
            }
            lanes.restore(0).unwrap();
            lanes.steer(&[1]).unwrap();
            lanes.open(2).unwrap();
            assert_eq!(lanes.queue(0).unwrap(), 0);
        }
    }
}

#[test]
fn a_probe_reaches_its_lane_whether_or_not_it_is_live() {
    for bound in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
        let (mut lanes, address) = steered(bound, 300);
        lanes.steer(&[1, 3]).unwrap();
        for lane in [0, 1, 2, 255, 256, 299] {
            let _probe = connect_from(probe_source(lane), address);
            assert_eq!(landed(&lanes, 300), lane, "{bound}");
        }
    }
}

#[test]
fn a_thousand_lanes_are_steered() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: there is room for the answer; only the soft limit changes.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        limit.rlim_cur = limit.rlim_cur.max(limit.rlim_max.min(4000));
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
    }
    let (mut lanes, address) = steered("127.0.0.1:0", 1025);
    // The longest program: every other lane is live, and a worker has moved the last one to the front.
    shut(&lanes, 0);
    lanes.restore(0).unwrap();
    let live: Vec<u32> = (0..1025).filter(|lane| lane % 2 == 0).collect();
    lanes.steer(&live).unwrap();
    let _clients: Vec<_> = (0..300).map(|_| TcpStream::connect(address).unwrap()).collect();
    let waiting = queues(&lanes, 1025, 300);
    assert!(waiting.iter().skip(1).step_by(2).all(|waiting| *waiting == 0), "{waiting:?}");
    for lane in [0, 1, 777, 1024] {
        let before = lanes.queue(lane).unwrap();
        let _probe = connect_from(probe_source(lane), address);
        until("the probe is there", || (lanes.queue(lane).unwrap() == before + 1).then_some(()));
    }
}

#[test]
fn a_unix_socket_is_the_same_in_each_lane_and_its_queue_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    let mut lanes =
        bind(&["127.0.0.1:0", &format!("unix:{}", path.display())], 2, Spread::PerWorker).unwrap();
    lanes.steer(&[1]).unwrap();
    let (first, second) = (lanes.ids(0), lanes.ids(1));
    assert_eq!((first.len(), second.len()), (2, 2));
    assert!(first[0] != second[0] && first[1] == second[1], "{first:?} {second:?}");
    assert!(lanes.fds(0).iter().chain(&lanes.fds(1)).all(|fd| fd.as_raw_fd() >= LEAST_FD));
    let _local: Vec<_> = (0..3).map(|_| UnixStream::connect(&path).unwrap()).collect();
    let _remote = TcpStream::connect(tcp(lanes.addresses().next().unwrap())).unwrap();
    assert_eq!(queues(&lanes, 2, 3 + 3 + 1), [3, 4], "those of the unix socket wait for either");
    drop(lanes);
    assert!(!path.exists(), "the socket's file is removed");
}

#[test]
fn shared_is_one_listener_per_address_for_all() {
    let mut lanes = bind(&["127.0.0.1:0", "[::1]:0"], 3, Spread::Shared).unwrap();
    assert!(!lanes.is_steered() && lanes.fell_back().is_none());
    lanes.open(7).unwrap();
    lanes.steer(&[2]).unwrap();
    assert_eq!(lanes.ids(0), lanes.ids(7));
    assert_eq!(lanes.fds(0).len(), 2);
    let _client = TcpStream::connect(tcp(lanes.addresses().nth(1).unwrap())).unwrap();
    assert_eq!(queues(&lanes, 2, 2), [1, 1]);
    // A worker's shutdown(2) is repaired here too.
    shut(&lanes, 0);
    lanes.restore(5).unwrap();
    let _client = TcpStream::connect(tcp(lanes.addresses().next().unwrap())).unwrap();
    assert_eq!(queues(&lanes, 1, 2), [2]);
}

#[test]
fn where_the_kernel_does_not_steer_all_share_one() {
    // A thread's filter ends with it.
    std::thread::spawn(|| {
        refuse_programs();
        let mut lanes = bind(&["127.0.0.1:0", "[::1]:0"], 3, Spread::PerWorker).unwrap();
        assert!(!lanes.is_steered());
        assert_eq!(lanes.fell_back().unwrap().raw_os_error(), Some(libc::ENOPROTOOPT));
        lanes.steer(&[2]).unwrap();
        assert_eq!(lanes.ids(0), lanes.ids(2));
        let address = tcp(lanes.addresses().next().unwrap());
        let _client = TcpStream::connect(address).unwrap();
        assert_eq!(queues(&lanes, 1, 1), [1]);
        // A single listener allows no other at its address.
        let second = bind(&[&address.to_string()], 1, Spread::Shared).unwrap_err();
        assert_eq!(second.1.kind(), ErrorKind::AddrInUse);
        let more = lanes.places[0].listener(0).unwrap().bind_more(LEAST_FD).unwrap_err();
        assert_eq!(more.kind(), ErrorKind::AddrInUse);
    })
    .join()
    .unwrap();
}

/// A sandbox for this thread (seccomp(2)) whose kernel lacks `SO_ATTACH_REUSEPORT_CBPF`.
fn refuse_programs() {
    let i = |code: u32, jt, jf, k| libc::sock_filter { code: u16::try_from(code).unwrap(), jt, jf, k };
    let number = |number: i64| u32::try_from(number).unwrap();
    let (load, is) = (libc::BPF_LD | libc::BPF_ABS, libc::BPF_JMP | libc::BPF_JEQ);
    // The offsets in struct seccomp_data: 0 is the call's number, this is the low half of its third argument.
    let option = if cfg!(target_endian = "little") { 32 } else { 36 };
    let no = libc::SECCOMP_RET_ERRNO | number(libc::ENOPROTOOPT.into());
    let mut program = [
        i(load, 0, 0, 0),
        i(is, 0, 3, number(libc::SYS_setsockopt)),
        i(load, 0, 0, option),
        i(is, 0, 1, number(libc::SO_ATTACH_REUSEPORT_CBPF.into())),
        i(libc::BPF_RET, 0, 0, no),
        i(libc::BPF_RET, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: 6, filter: program.as_mut_ptr() };
    // SAFETY: the length is that of the program.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter), 0);
    }
}
