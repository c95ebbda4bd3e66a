//! As whom, where, and under which limits the command runs: what gosu, su-exec and setpriv are used for.

use super::BOTH_PLACES;
use crate::harness::{Launch, launch, status_line};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// Another user can be become only as root.
fn need_root() {
    // SAFETY: takes nothing and cannot fail.
    assert_eq!(unsafe { libc::geteuid() }, 0, "these tests need root: run tests/run.sh as root");
}

fn with<'a>(options: &[&'a str], script: &'a str) -> Launch {
    let launch = launch(options.iter().copied().chain(["--", "sh", "-c", script]));
    fs::set_permissions(launch.dir(), fs::Permissions::from_mode(0o777)).unwrap();
    launch
}

#[test]
fn the_command_runs_as_the_user_with_the_users_groups_and_home() {
    need_root();
    // Whoever is in a group of Debian's is in /etc/group; `www-data` and `nobody` are everywhere.
    let script = "id -u; id -g; id -G; echo $HOME $USER $LOGNAME";
    for place in BOTH_PLACES {
        for (options, expected) in [
            (&["--user", "www-data"][..], "33\n33\n33\n/var/www www-data www-data\n"),
            (&["--user", "33"], "33\n33\n33\n/var/www www-data www-data\n"),
            (&["--user", "www-data:adm"], "33\n4\n4\n/var/www www-data www-data\n"),
            (&["--user", "www-data", "--group", "4"], "33\n4\n4\n/var/www www-data www-data\n"),
            (&["--user", "1234:1235"], "1234\n1235\n1235\n/\n"),
            (&["--group", "adm"], "0\n4\n4\n"),
        ] {
            let (code, out, log) = place(with(options, script)).finish();
            assert_eq!(code, 0, "{log}");
            assert!(out.starts_with(expected), "{options:?}: {out}");
        }
    }
}

#[test]
fn a_user_who_cannot_be_is_an_error_before_anything_is_started() {
    need_root();
    for (options, named) in [
        (&["--user", "nobody-of-that-name"][..], "--user 'nobody-of-that-name': not in /etc/passwd"),
        (&["--user", "4711"], "--user '4711': not in /etc/passwd, so its group is not known: add the group"),
        (&["--user", "www-data:no-group"], "--group 'no-group': not in /etc/group"),
        (&["--group", "no-group"], "--group 'no-group': not in /etc/group"),
        (&["--chdir", "/no/such/dir"], "--chdir '/no/such/dir': not found"),
        (&["--chdir", "/etc/passwd"], "--chdir '/etc/passwd': it is not a directory"),
    ] {
        let (code, out, log) = with(options, "echo ran").finish();
        assert_eq!((code, out.as_str()), (125, ""), "{options:?}: {log}");
        assert!(log.starts_with(&format!("prefork-init: {named}")) && log.lines().count() == 1, "{log}");
    }
    // As somebody who may not: the same user is no change, another is refused.
    let unprivileged = ["setpriv", "--reuid=33", "--regid=33", "--clear-groups"];
    // The binary's own directory may be closed to others.
    let copy = tempfile::tempdir().unwrap();
    let path = copy.path().join("prefork-init");
    crate::harness::install(&crate::harness::binary(), &path);
    fs::set_permissions(copy.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let run = |user: &str| {
        let launch = with(&["--user", user], "id -u").program(&path).through(unprivileged);
        launch.finish()
    };
    assert_eq!(run("www-data").0, 0);
    let (code, _, log) = run("nobody");
    assert_eq!(code, 125);
    assert!(log.contains("--user 'nobody': we may not change to it: start as root"), "{log}");
}

#[test]
fn mask_directory_oom_score_and_privileges_are_the_commands_own() {
    need_root();
    let script = "umask; pwd; cat /proc/self/oom_score_adj; grep NoNewPrivs /proc/self/status | cut -f 2";
    let options = ["--umask", "027", "--chdir", "/usr", "--oom-score-adj", "321", "--no-new-privs"];
    for place in BOTH_PLACES {
        for user in [&[][..], &["--user", "www-data"]] {
            let options: Vec<&str> = options.iter().chain(user).copied().collect();
            let (code, out, log) = place(with(&options, script)).finish();
            assert_eq!((code, out.as_str()), (0, "0027\n/usr\n321\n1\n"), "{log}");
        }
    }
    // Ours stay as they were.
    let run = with(&options, "echo ready; exec sleep 1000").start();
    run.wait_lines("stdout", 1);
    assert_eq!(fs::read_to_string(format!("/proc/{}/oom_score_adj", run.pid)).unwrap().trim(), "0");
    assert_eq!(status_line(run.pid, "NoNewPrivs").unwrap(), "0");
}

#[test]
fn a_directory_that_only_the_user_may_enter_will_do() {
    need_root();
    let launch = with(&["--user", "www-data", "--chdir", "own"], "pwd");
    let own = launch.dir().join("own");
    fs::create_dir(&own).unwrap();
    std::os::unix::fs::chown(&own, Some(33), Some(33)).unwrap();
    fs::set_permissions(&own, fs::Permissions::from_mode(0o700)).unwrap();
    // Root without the right to pass over permissions, as in a container without capabilities.
    let launch = launch.through(["setpriv", "--bounding-set=-dac_override,-dac_read_search"]);
    let (code, out, log) = launch.finish();
    assert_eq!(code, 0, "{log}");
    assert!(out.trim().ends_with("/own"), "{out}");
}

#[test]
fn we_keep_the_rights_we_need_for_another_user_and_no_others_and_the_command_has_none() {
    need_root();
    let script = "grep -E '^Cap(Prm|Eff|Inh|Amb)' /proc/self/status | cut -f 2 | sort -u
                  trap 'exit 5' TERM; echo ready; while :; do sleep 0.01; done";
    let mut run = with(&["--user", "www-data"], script).start();
    let out = run.wait_lines("stdout", 2);
    assert_eq!(out, "0000000000000000\nready\n");
    // KILL, SETGID, SETUID, SYS_PTRACE.
    let ours = u64::from_str_radix(&status_line(run.pid, "CapPrm").unwrap(), 16).unwrap();
    let all = u64::from_str_radix(&status_line(std::process::id() as i32, "CapPrm").unwrap(), 16).unwrap();
    assert_eq!(ours, all & ((1 << 5) | (1 << 6) | (1 << 7) | (1 << 19)));
    // It can still be signalled.
    run.signal(15);
    assert_eq!(run.wait_exit(), 5);
}

#[test]
fn a_pool_binds_first_and_sees_its_workers_of_another_user_get_ready() {
    need_root();
    // Where everybody may execute it.
    let copy = tempfile::tempdir().unwrap();
    let worker = copy.path().join("worker");
    crate::harness::install(&crate::harness::example("worker"), &worker);
    fs::set_permissions(copy.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let words = ["-n", "2", "-b", "127.0.0.1:0", "--user", "www-data", "--"].map(OsString::from);
    let words: Vec<OsString> = words.into_iter().chain([worker.into()]).collect();
    // Where we may not trace others, as in a container: we look with the workers' own eyes.
    let without_ptrace = ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace", "--"];
    for through in [&[][..], &without_ptrace[..]] {
        let launch = launch(words.clone());
        let mut run =
            if through.is_empty() { launch } else { launch.through(through.iter().copied()) }.start();
        run.log.wait_count("worker ready", 2);
        assert!(run.log.with_message("worker ready").iter().all(|line| line["by"] == "accept"));
        assert_eq!(crate::harness::http::get(&run.address(0), "/").unwrap().status, 200);
        let uid = |pid| status_line(run.outer_pid(pid), "Uid").unwrap();
        assert_eq!(uid(run.log.with_message("worker ready")[0]["pid"].as_i64().unwrap()), "33\t33\t33\t33");
        // Its replacement is the same user.
        let pid = run.log.with_message("worker ready")[0]["pid"].as_i64().unwrap();
        crate::harness::kill(run.outer_pid(pid), 9);
        run.log.wait_count("worker ready", 3);
        run.signal(15);
        assert_eq!(run.wait_exit(), 0);
    }
}

#[test]
fn a_root_command_keeps_its_rights_and_another_users_has_none_whatever_we_inherited() {
    need_root();
    // One that stays root under no_new_privs would not get them back by its exec.
    let script = "grep CapEff /proc/self/status | cut -f 2";
    let all = status_line(std::process::id() as i32, "CapEff").unwrap();
    for options in [&["--group", "adm", "--no-new-privs"][..], &["--user", "root:adm", "--no-new-privs"]] {
        assert_eq!(with(options, script).finish().1.trim(), all, "{options:?}");
    }
    // From one ordinary user to another the kernel takes nothing away.
    let ambient =
        ["setpriv", "--reuid=33", "--regid=33", "--clear-groups", "--inh-caps=+setuid,+setgid,+kill"];
    let ambient = ambient.into_iter().chain(["--ambient-caps=+setuid,+setgid,+kill"]);
    let copy = tempfile::tempdir().unwrap();
    let path = copy.path().join("prefork-init");
    crate::harness::install(&crate::harness::binary(), &path);
    fs::set_permissions(copy.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let script = "id -u; grep -E '^Cap(Prm|Eff|Inh|Amb)' /proc/self/status | cut -f 2 | sort -u";
    let (code, out, log) = with(&["--user", "1234:1234"], script).program(&path).through(ambient).finish();
    assert_eq!((code, out.as_str()), (0, "1234\n0000000000000000\n"), "{log}");
}

#[test]
fn signals_are_spared_and_a_parents_death_is_told_with_another_user_too() {
    need_root();
    // A shell cannot wait for signals without handling them; timeout(1) of coreutils does neither with USR1.
    // A child that is still a copy of the shell would have the shell's handler.
    let script =
        "trap 'echo usr1 >>got' USR1; sh -c 'echo ready; exec sleep 1000' & while :; do wait $!; done";
    let mut run = with(&["--user", "www-data", "--unhandled", "drop"], script).start();
    run.wait_lines("stdout", 1);
    let before = run.others().len();
    run.signal(10);
    run.wait_lines("got", 1);
    assert_eq!(run.others().len(), before, "sleep does not know USR1");
    run.signal(15);
    assert_eq!(run.wait_exit(), 143);

    // In a pool, whose looks at the workers change our own ids for a moment.
    let copy = tempfile::tempdir().unwrap();
    let worker = copy.path().join("worker");
    crate::harness::install(&crate::harness::example("worker"), &worker);
    fs::set_permissions(copy.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let below =
        ["sh", "-c", r#""$@" & echo $! >middle; exec sleep 1000"#, "sh", "sh", "-c", r#""$@"; exit 1"#, "sh"];
    let words = ["-n", "1", "-b", "127.0.0.1:0", "--user", "www-data", "--parent-death-signal", "TERM", "--"];
    let words = words.into_iter().map(OsString::from).chain([worker.into()]);
    let run = launch(words).through(below).start();
    run.wait_for("worker ready");
    let middle: i64 = run.wait_lines("middle", 1).trim().parse().unwrap();
    crate::harness::kill(run.outer_pid(middle), 9);
    run.wait_for("pool stopped");
}

#[test]
fn the_path_of_a_socket_in_the_users_directory_is_removed() {
    need_root();
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(dir.path(), Some(33), Some(33)).unwrap();
    let socket = dir.path().join("socket");
    let bind = format!("unix:{}", socket.display());
    let words =
        ["-n", "1", "-b", &bind, "--user", "www-data", "--ready", "delay:10ms", "--", "sleep", "1000"];
    let mut run = launch(words).start();
    run.wait_for("worker ready");
    assert!(socket.exists());
    run.signal(15);
    assert_eq!(run.wait_exit(), 0);
    assert!(!socket.exists());
}
