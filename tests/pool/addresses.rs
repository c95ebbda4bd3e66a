//! A reload loses nothing, whatever is listened on, and where connections cannot be steered.

use super::python::python;
use super::{BRISK, assert_stops, pool, wait_serving};
use crate::harness::load::Load;
use crate::harness::{Run, launch};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Clients of a unix socket, a connection a request, until they are told to stop; the errors.
fn unix_load(path: PathBuf, stop: &Arc<AtomicBool>) -> thread::JoinHandle<(usize, Vec<String>)> {
    let stop = Arc::clone(stop);
    let one = move || -> std::io::Result<()> {
        let mut stream = UnixStream::connect(&path)?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        if answer.starts_with("HTTP/1.1 200 OK") { Ok(()) } else { Err(std::io::Error::other(answer)) }
    };
    thread::spawn(move || {
        let (mut count, mut errors) = (0, Vec::new());
        while !stop.load(Ordering::Relaxed) {
            count += 1;
            errors.extend(one().err().map(|error| error.to_string()));
        }
        (count, errors)
    })
}

/// How to reach what is bound: `[::]` by both families.
fn ways(address: &str) -> Vec<String> {
    let Ok(bound) = address.parse::<SocketAddr>() else { return Vec::new() };
    let port = bound.port();
    match address.rsplit_once(':').unwrap().0 {
        "[::]" => vec![format!("127.0.0.1:{port}"), format!("[::1]:{port}")],
        "0.0.0.0" => vec![format!("127.0.0.1:{port}")],
        _ => vec![address.to_owned()],
    }
}

/// Reloads under load on every address; returns the run.
fn reload_under_load(options: &[&str], binds: &[&str], wrapper: &[OsString]) -> Run {
    let mut words: Vec<&str> = [&BRISK[..], &["-n", "2"], options].concat();
    binds.iter().for_each(|bind| words.extend(["-b", bind]));
    words.push("--");
    let command = python("serve_all()");
    let run = launch(words.into_iter().map(OsString::from).chain(command)).through(wrapper.to_vec()).start();
    wait_serving(&run, 2);
    let addresses: Vec<String> = (0..binds.len()).map(|index| run.address(index)).collect();
    let loads: Vec<Load> =
        addresses.iter().flat_map(|address| ways(address)).map(|way| Load::start(&way, "/", 2)).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let paths = addresses.iter().filter_map(|address| address.strip_prefix("unix:"));
    let unix: Vec<_> = paths.map(|path| unix_load(run.dir().join(path), &stop)).collect();
    assert!(!loads.is_empty());
    loads.iter().for_each(|load| load.wait_ok(20));
    run.signal(libc::SIGHUP);
    run.wait_for("reload finished");
    loads.iter().for_each(|load| load.wait_ok(20));
    stop.store(true, Ordering::Relaxed);
    for load in loads {
        let (ok, refused, lost, other) = load.stop();
        assert_eq!((refused, lost, other), (0, 0, 0), "{binds:?}: {ok} answered\n{}", run.log.text());
    }
    for clients in unix {
        let (count, errors) = clients.join().unwrap();
        assert!(count > 0 && errors.is_empty(), "{binds:?}: {errors:?} of {count}\n{}", run.log.text());
    }
    run
}

#[test]
fn a_reload_loses_nothing_on_any_kind_of_address() {
    let kinds: [&[&str]; 7] = [
        &["127.0.0.1:0"],
        &["0.0.0.0:0"],
        &["[::1]:0"],
        &["[::]:0"],
        &["127.0.0.1:0", "127.0.0.1:0", "[::1]:0"],
        &["unix:app.sock", "127.0.0.1:0"],
        &["127.0.0.1:0", "unix:app.sock", "[::]:0"],
    ];
    for binds in kinds {
        let run = reload_under_load(&[], binds, &[]);
        assert_eq!(run.log.with_message("worker draining").len(), 2, "{binds:?}");
        assert_stops(run);
    }
}

#[test]
fn a_shared_listener_is_one_for_all_and_a_reload_loses_nothing() {
    let run = reload_under_load(&["--listener", "shared"], &["127.0.0.1:0", "[::1]:0"], &[]);
    assert!(run.log.with_message("worker draining").is_empty());
    assert_stops(run);
    let script = "note('inodes', str(os.fstat(3).st_ino))\nserve()";
    for (how, listeners) in [("shared", 1), ("per-worker", 3)] {
        let run = pool(&["-n", "3", "--listener", how], python(script)).start();
        let told = run.wait_lines("inodes", 3);
        let inodes: BTreeSet<_> = told.lines().collect();
        assert_eq!(inodes.len(), listeners, "{how}: {told}");
    }
}

/// As a sandbox whose kernel has no `SO_ATTACH_REUSEPORT_CBPF`: what is started through it gets `ENOPROTOOPT`.
fn without_programs() -> Vec<OsString> {
    let script = format!(
        "
import ctypes, os, struct, sys
I = lambda code, jt, jf, k: struct.pack('HBBI', code, jt, jf, k)
program = (I(0x20, 0, 0, 0) + I(0x15, 0, 3, {number}) + I(0x20, 0, 0, {option}) + I(0x15, 0, 1, {attach})
    + I(6, 0, 0, 0x50000 | {no}) + I(6, 0, 0, 0x7fff0000))
held = ctypes.create_string_buffer(program)
filter = ctypes.create_string_buffer(struct.pack('HxxxxxxQ', 6, ctypes.addressof(held)))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, filter) == 0, os.strerror(ctypes.get_errno())
os.execvp(sys.argv[1], sys.argv[1:])",
        number = libc::SYS_setsockopt,
        option = if cfg!(target_endian = "little") { 32 } else { 36 },
        attach = libc::SO_ATTACH_REUSEPORT_CBPF,
        no = libc::ENOPROTOOPT,
    );
    [crate::harness::python()].into_iter().chain(["-I", "-S", "-c", &script].map(OsString::from)).collect()
}

#[test]
fn where_the_kernel_cannot_steer_all_share_a_listener_and_that_is_said() {
    let options = ["--accept-stall", "10s"];
    let run = reload_under_load(&options, &["127.0.0.1:0", "[::]:0", "unix:app.sock"], &without_programs());
    let warnings = run.log.with_message("this kernel cannot steer connections");
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0]["level"], "WARN");
    run.wait_for("--probe and --accept-stall are ignored");
    assert!(run.log.with_message("worker draining").is_empty());
    assert_stops(run);
    let words = ["-b", "127.0.0.1:0", "--ready", "probe", "--probe", "/", "--", "true"].map(OsString::from);
    let (code, _, log) = launch(words).through(without_programs()).finish();
    assert_eq!(code, 125, "{log}");
    assert!(log.contains("--ready 'probe': no single worker can be reached"), "{log}");
}

#[test]
fn without_the_right_to_hold_clients_off_a_shared_listener_ends_as_well() {
    let without = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"].map(OsString::from);
    let run = reload_under_load(&["--listener", "shared"], &["127.0.0.1:0"], &without);
    let (log, load) = (run.log.clone(), Load::start(&run.address(0), "/", 2));
    load.wait_ok(20);
    assert_stops(run);
    // Who came too late may be lost, but whoever was answered was answered well.
    assert_eq!(load.stop().3, 0);
    assert!(log.with_message("worker killed").is_empty());
}
