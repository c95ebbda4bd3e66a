//! `cargo static`: builds the one static binary that is shipped, for musl where that target is installed and for glibc
//! elsewhere, says which, and prints where it is. What follows goes to `cargo build`, as in `cargo static --locked`.
//!
//! The bytes are the same from any folder: no path of this machine is in them.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

/// The table of frames is an unwinder's, of which panic = "abort" has none: 45 kB. The unwinder itself, which std's
/// backtraces would use, is 227 kB more: src/os/unwinder.rs is in its place.
const FLAGS: [&str; 4] = [
    "-Ctarget-feature=+crt-static",
    "-Crelocation-model=static",
    "-Clink-arg=-Wl,--no-eh-frame-hdr",
    "--cfg=prefork_no_unwinder",
];

fn rustc(args: &[&str]) -> Result<String, Box<dyn Error>> {
    let out = Command::new(env::var_os("RUSTC").unwrap_or("rustc".into())).args(args).output()?;
    let said = String::from_utf8(out.stdout)?;
    if out.status.success() {
        return Ok(said.trim().to_owned());
    }
    Err(format!("rustc {}: {}", args.join(" "), String::from_utf8_lossy(&out.stderr)).into())
}

/// For which to build.
fn target(host: &str) -> String {
    let musl = host.replace("-gnu", "-musl");
    let libraries = rustc(&["--print", "target-libdir", "--target", &musl]);
    let is_installed = libraries.is_ok_and(|libraries| Path::new(&libraries).is_dir());
    if is_installed { musl } else { host.to_owned() }
}

/// What only the linker lld can do, which comes with the toolchain: no frames, 325 kB, and functions that are the same are
/// one, 22 kB.
fn by_lld(own: &Path, host: &str) -> Result<Vec<OsString>, Box<dyn Error>> {
    let sysroot = rustc(&["--print", "sysroot"])?;
    let folder = Path::new(&sysroot).join("lib/rustlib").join(host).join("bin/gcc-ld");
    if !folder.join("ld.lld").exists() {
        eprintln!("cargo static: this toolchain has no lld: the binary is 350 kB larger");
        return Ok(Vec::new());
    }
    let with = |flag: &str, path: &Path| {
        let mut flag = OsString::from(flag);
        flag.push(path);
        flag
    };
    Ok(vec![
        with("-Clink-arg=-B", &folder),
        "-Clink-arg=-fuse-ld=lld".into(),
        "-Clink-arg=-Wl,--icf=all".into(),
        with("-Clink-arg=-Wl,-T,", &own.join("no_frames.ld")),
    ])
}

/// What the compiler calls a folder of this machine.
fn called(folder: &Path, name: &str) -> OsString {
    let mut flag = OsString::from("--remap-path-prefix=");
    flag.push(folder);
    flag.push("=");
    flag.push(name);
    flag
}

fn main() -> Result<(), Box<dyn Error>> {
    let own = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("to be run by cargo")?);
    let root = own.ancestors().nth(2).ok_or("it is not where it was")?;
    let built = root.join(env::var_os("CARGO_TARGET_DIR").unwrap_or("target".into()));
    let home = match env::var_os("CARGO_HOME") {
        Some(home) => env::current_dir()?.join(home),
        None => env::home_dir().ok_or("there is no home")?.join(".cargo"),
    };
    let host = rustc(&["--print", "host-tuple"])?;
    let target = target(&host);
    let libc = if target.contains("-musl") { "musl" } else { "glibc: the musl target is not installed" };
    eprintln!("cargo static: for {libc}");

    // The last one that fits holds.
    let folders = [called(root, ""), called(&home.join("registry/src"), ""), called(&built, "target")];
    let mut flags: Vec<OsString> = FLAGS.iter().map(OsString::from).chain(folders).collect();
    flags.extend(by_lld(&own, &host)?);
    // For tests/release_panic.sh alone.
    flags.extend(env::var_os("PREFORK_STATIC_PANICS").map(|_| "--cfg=prefork_panics".into()));
    // With --target they are kept from build scripts and procedural macros, which must stay dynamic.
    let status = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()))
        .args(["build", "--release", "--bin", "prefork-init", "--target", &target, "--target-dir"])
        .arg(&built)
        .args(env::args_os().skip(1))
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f".as_ref()))
        .current_dir(root)
        .status()?;
    if !status.success() {
        exit(status.code().unwrap_or(101));
    }
    println!("{}", built.join(target).join("release/prefork-init").display());
    Ok(())
}
