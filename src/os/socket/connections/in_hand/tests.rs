use super::*;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::sleep;
use std::time::Instant;

fn inode(socket: &impl AsRawFd) -> u64 {
    inode_of(&fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap()).unwrap()
}

fn own() -> Pid {
    Pid(i32::try_from(std::process::id()).unwrap())
}

/// Looks until the connection satisfies the condition.
fn until(address: &Address, socket: &impl AsRawFd, wanted: impl Fn(&Connection) -> bool) -> Connection {
    let (begin, inode) = (Instant::now(), inode(socket));
    loop {
        let found = connections(std::slice::from_ref(address)).unwrap()[&inode];
        if wanted(&found) {
            return found;
        }
        assert!(begin.elapsed().as_secs() < 20, "{found:?}");
    }
}

/// Several ticks of any kernel.
const TICKS: Duration = Duration::from_millis(40);

#[test]
fn the_kernel_remembers_what_came_last() {
    for host in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(host).unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap());
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        sleep(TICKS);
        let new = until(&address, &server, |_| true);
        let Tcp { received_ago, sent_ago, received, .. } = new.tcp.unwrap();
        assert_eq!((received, new.unread, new.unsent), (0, 0, 0));
        assert_eq!(received_ago, sent_ago, "both since it was established");
        assert!(sent_ago >= TICKS / 2, "{new:?}");

        client.write_all(b"request").unwrap();
        let tcp = until(&address, &server, |found| found.unread == 7).tcp.unwrap();
        assert!(tcp.received_ago < tcp.sent_ago && tcp.received == 7, "{tcp:?}");
        assert_eq!(tcp.packets_out, 0);
        server.read_exact(&mut [0; 7]).unwrap();
        sleep(TICKS);
        let tcp = until(&address, &server, |found| found.unread == 0).tcp.unwrap();
        assert!(tcp.received_ago < tcp.sent_ago, "read, and not answered: {tcp:?}");

        server.write_all(b"answer").unwrap();
        let tcp = until(&address, &server, |found| found.unsent == 0).tcp.unwrap();
        assert!(tcp.sent_ago < tcp.received_ago, "{tcp:?}");
        assert_eq!(tcp.packets_out, 1);
        client.shutdown(Shutdown::Write).unwrap();
        sleep(TICKS);
        assert_eq!(until(&address, &server, |_| true).unread, 0, "the end is no request");
        client.shutdown(Shutdown::Both).unwrap();
    }
}

#[test]
fn an_answer_that_nobody_reads_is_not_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap());
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    server.set_nonblocking(true).unwrap();
    while server.write(&[0; 65_536]).is_ok() {}
    assert!(until(&address, &server, |_| true).unsent > 0);
    drop(client);
}

#[test]
fn of_a_unix_socket_the_bytes_that_wait_are_known() {
    let dir = std::env::temp_dir().join(format!("prefork-init in hand {}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let path = dir.join("a.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let mut client = UnixStream::connect(&path).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let seen = || until(&Address::Unix(path.clone()), &server, |_| true);
    assert_eq!((seen().unread, seen().unsent, seen().tcp), (0, 0, None));
    client.write_all(b"abc").unwrap();
    assert_eq!(seen().unread, 3);
    (&server).read_exact(&mut [0; 3]).unwrap();
    server.write_all(b"de").unwrap();
    let seen = until(&Address::Unix(path.clone()), &server, |_| true);
    assert!(seen.unread == 0 && seen.unsent > 0, "{seen:?}");
    fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn a_worker_is_known_by_its_descriptors_and_those_of_its_descendants() {
    let (one, other) = UnixStream::pair().unwrap();
    let pair = HashSet::from([inode(&one), inode(&other)]);
    let wanted: HashSet<u64> = pair.iter().copied().chain([1]).collect();
    assert_eq!(owned(own(), &wanted).unwrap(), pair);
    // The shell's standard input is our end of the pair.
    let mut child = std::process::Command::new("sh")
        .args(["-c", "sleep 1000 & wait"])
        .stdin(std::os::fd::OwnedFd::from(one))
        .spawn()
        .unwrap();
    let pid = Pid(i32::try_from(child.id()).unwrap());
    let begin = Instant::now();
    // The shell gives its background job /dev/null, so this finds its own descriptor.
    while owned(pid, &wanted).unwrap().is_empty() {
        assert!(begin.elapsed().as_secs() < 20);
    }
    for pid in proc::children(pid) {
        let _gone = crate::os::process::send::to_process(pid, crate::core::Signal::KILL);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(owned(Pid(i32::MAX), &wanted).unwrap(), HashSet::new(), "nobody has nothing");
}

/// A zombie's /proc directory belongs to root (proc(5)).
#[test]
fn a_worker_that_has_ended_has_none_and_is_no_reason_to_look_at_nobody() {
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let pid = Pid(i32::try_from(child.id()).unwrap());
    let begin = Instant::now();
    while proc::state(pid) != Some('Z') {
        assert!(begin.elapsed().as_secs() < 20, "it does not end");
    }
    let found = crate::os::process::privileges::acting_as(65534, 65534, || owned(pid, &HashSet::from([1])));
    assert_eq!(found.unwrap(), HashSet::new());
    child.wait().unwrap();
}
