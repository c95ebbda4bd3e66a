//! A server that is stopped says what it says when it is stopped alone.

use super::python::APPS;
use super::{pool, with_apps};
use crate::harness::servers::server;
use crate::harness::{eventually, http, kill, plain_command};
use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

/// The words of a server, for the listener `{fd}` or a port.
struct Server {
    name: &'static str,
    words: &'static [&'static str],
    /// What tells it where to listen: as a worker, and alone.
    at: (&'static [&'static str], &'static str),
}

const NODE: &str = "
const server = require('node:http').createServer((_, response) => response.end('hello'));
process.on('SIGTERM', () => { console.log('closing'); server.close(() => console.log('closed')); });
const at = process.argv[1];
server.listen(at.startsWith('fd:') ? { fd: Number(at.slice(3)) } : { port: Number(at), host: '127.0.0.1' });
";

const SERVERS: [Server; 7] = [
    Server { name: "uvicorn", words: &["--loop", "asyncio", "apps:asgi"], at: (&["--fd", "{fd}"], "--port") },
    Server { name: "uvicorn", words: &["--loop", "uvloop", "apps:asgi"], at: (&["--fd", "{fd}"], "--port") },
    Server { name: "gunicorn", words: &["-w", "1", "--no-control-socket", "apps:wsgi"], at: (&[], "-b") },
    Server {
        name: "gunicorn",
        words: &["-w", "1", "--no-control-socket", "-k", "gthread", "--threads", "4", "apps:wsgi"],
        at: (&[], "-b"),
    },
    Server {
        name: "gunicorn",
        words: &["-w", "1", "--no-control-socket", "-k", "asgi", "apps:asgi"],
        at: (&[], "-b"),
    },
    Server {
        name: "hypercorn",
        words: &["--workers", "0", "apps:asgi"],
        at: (&["--bind", "fd://{fd}"], "--bind"),
    },
    Server { name: "node", words: &["-e", NODE], at: (&["fd:{fd}"], "") },
];

impl Server {
    fn command(&self, at: &[OsString]) -> Vec<OsString> {
        let program = if self.name == "node" { "node".into() } else { server(self.name).into() };
        let words = self.words.iter().map(OsString::from);
        std::iter::once(program).chain(words).chain(at.iter().cloned()).collect()
    }

    /// What it prints from the stop signal on, and how it ends.
    fn alone(&self) -> (Vec<String>, i32) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("apps.py"), APPS).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let at = if self.at.1 == "-b" || self.at.1 == "--bind" { address.clone() } else { port.to_string() };
        let at: Vec<OsString> =
            [self.at.1, &at].iter().filter(|word| !word.is_empty()).map(Into::into).collect();
        let words = self.command(&at);
        let out = fs::File::create(dir.path().join("out")).unwrap();
        let mut child = plain_command(&words[0])
            .args(&words[1..])
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stderr(out.try_clone().unwrap())
            .stdout(out)
            .spawn()
            .unwrap();
        eventually("an answer", || http::get(&address, "/").ok());
        let before = fs::read_to_string(dir.path().join("out")).unwrap();
        kill(child.id().cast_signed(), libc::SIGTERM);
        let status = child.wait().unwrap();
        let all = fs::read_to_string(dir.path().join("out")).unwrap();
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap());
        (normal(all[before.len()..].lines()), code)
    }

    /// The same as a worker.
    fn as_a_worker(&self) -> (Vec<String>, i32) {
        let at: Vec<OsString> = self.at.0.iter().map(Into::into).collect();
        let mut run = with_apps(pool(&["-n", "1"], self.command(&at))).start();
        run.wait_for("worker ready");
        assert_eq!(http::get(&run.address(0), "/").unwrap().status, 200);
        let said = |text: String| -> Vec<String> {
            let is_ours =
                |line: &&str| serde_json::from_str::<serde_json::Value>(line).is_ok_and(|l| l.is_object());
            text.lines().filter(|line| !is_ours(line)).map(str::to_owned).collect()
        };
        let (log, out) = (said(run.log.text()).len(), said(run.stdout()).len());
        run.signal(libc::SIGTERM);
        assert_eq!(run.wait_exit(), 0);
        let exited = run.wait_for("worker exited");
        let code = exited["exit_code"].as_i64().unwrap_or_else(|| {
            let names = [("TERM", libc::SIGTERM), ("KILL", libc::SIGKILL)];
            let signal = names.iter().find(|(name, _)| exited["signal"] == *name).unwrap().1;
            i64::from(128 + signal)
        });
        let (log, out) = (said(run.log.text()).split_off(log), said(run.stdout()).split_off(out));
        (normal(log.iter().chain(&out).map(String::as_str)), i32::try_from(code).unwrap())
    }
}

/// Lines without their numbers, which are pids and times; in order, since several processes write them.
fn normal<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    let plain = |line: &str| -> String {
        let digits = line.split(|c: char| c.is_ascii_digit()).filter(|part| !part.is_empty());
        digits.collect::<Vec<_>>().join("#")
    };
    let mut lines: Vec<String> = lines.map(plain).collect();
    lines.sort();
    lines
}

#[test]
fn a_server_that_is_stopped_says_what_it_says_alone() {
    for server in &SERVERS {
        let what = format!("{} {:?}", server.name, server.words);
        assert_eq!(server.as_a_worker(), server.alone(), "{what}");
    }
}
