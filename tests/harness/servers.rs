//! The real servers from PyPI, installed by tests/run.sh with the versions that examples/ pins.

use std::path::PathBuf;

/// A program of the test environment (`uvicorn`, `gunicorn`, `python`); says loudly if it is missing.
pub fn server(name: &str) -> PathBuf {
    let venv = std::env::var_os("PREFORK_TEST_VENV")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/venv"), PathBuf::from);
    let program = venv.join("bin").join(name);
    assert!(program.exists(), "{} is missing: run tests/run.sh, which installs it", program.display());
    program
}
