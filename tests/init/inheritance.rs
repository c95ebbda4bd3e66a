//! The command finds the world as we found it.

use super::BOTH_PLACES;
use crate::harness::{Launch, launch, plain_command, python};
use std::ffi::OsString;
use std::process::Stdio;

/// Through a Python that changes its own signals or descriptors first.
fn after(setup: &str) -> [OsString; 4] {
    let script = format!("import os, signal, sys\n{setup}\nos.execvp(sys.argv[1], sys.argv[1:])");
    [python(), "-IS".into(), "-c".into(), script.into()]
}

/// What a command prints when started through the same Python without us.
fn without_us(wrapper: &[OsString], command: &[&str]) -> String {
    let output =
        plain_command(&wrapper[0]).args(&wrapper[1..]).args(command).stdin(Stdio::null()).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn with_us(launch: Launch, wrapper: &[OsString]) -> String {
    let (code, out, log) = launch.through(wrapper.iter().cloned()).finish();
    assert_eq!(code, 0, "{log}");
    out
}

#[test]
fn blocked_and_ignored_signals_are_the_same_and_none_is_caught() {
    for setup in [
        "",
        "signal.signal(signal.SIGPIPE, signal.SIG_DFL)",
        "signal.pthread_sigmask(signal.SIG_BLOCK, [10, 15, 40, 64])",
        "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())",
        "for n in 1, 12, 13, 17, 20, 34, 63: signal.signal(n, signal.SIG_IGN)",
    ] {
        let wrapper = after(setup);
        let command = ["grep", "^Sig[BIC]", "/proc/self/status"];
        let expected = without_us(&wrapper, &command);
        assert_eq!(expected.lines().count(), 3, "{expected}");
        for place in BOTH_PLACES {
            let launch = place(launch(["--"].into_iter().chain(command)));
            assert_eq!(with_us(launch, &wrapper), expected, "{setup}");
        }
    }
}

#[test]
fn a_signal_that_was_blocked_or_ignored_is_passed_on_all_the_same() {
    for setup in ["signal.pthread_sigmask(signal.SIG_BLOCK, [10])", "signal.signal(10, signal.SIG_IGN)"] {
        // The command handles it whatever it inherited; a shell could not.
        let script = "import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [10])
signal.signal(10, signal.SIG_DFL)
print('ready', flush=True)
print(int(signal.sigwait([10])), flush=True)";
        let words: [OsString; 5] = ["--".into(), python(), "-IS".into(), "-c".into(), script.into()];
        let mut run = launch(words).through(after(setup)).start();
        run.wait_lines("stdout", 1);
        run.signal(10);
        assert_eq!(run.wait_exit(), 0);
        assert_eq!(run.stdout(), "ready\n10\n");
    }
}

#[test]
fn descriptors_pass_through_and_none_of_ours_is_added() {
    for setup in ["", "os.dup2(0, 7); os.dup2(0, 20)", "os.closerange(3, 100); os.dup2(1, 3)"] {
        let wrapper = after(setup);
        // ls shows the descriptor by which it looks, too: always the lowest that is free.
        let command = ["ls", "/proc/self/fd"];
        let expected = without_us(&wrapper, &command);
        for place in BOTH_PLACES {
            let launch = place(launch(["--"].into_iter().chain(command)));
            assert_eq!(with_us(launch, &wrapper), expected, "{setup}");
        }
    }
}

#[test]
fn so_do_environment_arguments_and_working_directory() {
    let script = "import os, sys; print(os.environb[b'ODD'], sys.argv[1:], os.getcwd(), os.environ['PREFORK_LOG_FORMAT'])";
    let words = ["--", "sh", "-c", r#"exec "$@""#, "sh"].map(OsString::from);
    let ours = [
        python(),
        "-IS".into(),
        "-c".into(),
        script.into(),
        "{fd}".into(),
        "".into(),
        "a b".into(),
        "--".into(),
    ];
    let launch = launch(words.into_iter().chain(ours)).env("ODD", "\u{fc} = x");
    let launch = launch.env("PREFORK_NO_PLACEHOLDERS", "true");
    let dir = launch.dir().canonicalize().unwrap();
    let (code, out, log) = launch.finish();
    assert_eq!(code, 0, "{log}");
    let odd = r"b'\xc3\xbc = x'";
    assert_eq!(out, format!("{odd} ['{{fd}}', '', 'a b', '--'] {} json\n", dir.display()));
}

#[test]
fn listen_pid_that_meant_us_means_the_command() {
    let wrapper = ["sh", "-c", r#"LISTEN_FDS=1 LISTEN_PID=$$ exec "$@""#, "sh"];
    let script = r#"[ "$LISTEN_PID" = $$ ] && [ "$LISTEN_FDS" = 1 ]"#;
    for place in BOTH_PLACES {
        assert_eq!(place(launch(["--", "sh", "-c", script])).through(wrapper).finish().0, 0);
    }
    // One that meant somebody else is left alone.
    let (code, ..) =
        launch(["--", "sh", "-c", r#"[ "$LISTEN_PID" = 4711 ]"#]).env("LISTEN_PID", "4711").finish();
    assert_eq!(code, 0);
}

#[test]
fn standard_input_reaches_the_command() {
    let wrapper = ["sh", "-c", r#"echo hello | exec "$@""#, "sh"];
    let (code, out, _) = launch(["--", "cat"]).through(wrapper).finish();
    assert_eq!((code, out.as_str()), (0, "hello\n"));
}

#[test]
fn what_only_the_command_needs_is_not_held_open_by_us() {
    let script = "
import os, signal, subprocess, sys
r, w = os.pipe()
os.set_inheritable(w, True)
command = f'exec {w}>&-; pwd; exec sleep 1000'
p = subprocess.Popen([sys.argv[1], '--', 'sh', '-c', command], stdout=subprocess.PIPE, pass_fds=[w], cwd='/usr')
os.close(w)
signal.alarm(30)
print(p.stdout.readline().decode().strip(), os.read(r, 1))
import time
while os.readlink(f'/proc/{p.pid}/cwd') != '/': time.sleep(0.01)
p.terminate()
sys.exit(p.wait())";
    let output = std::process::Command::new(python())
        .args(["-IS".as_ref(), "-c".as_ref(), script.as_ref(), crate::harness::binary().as_os_str()])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "/usr b''\n", "{output:?}");
    assert_eq!(output.status.code(), Some(143));
}
