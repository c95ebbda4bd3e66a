//! The arithmetic and the tables of `benches/race`, which compares with others: its own tests.

use std::path::Path;
use std::process::Command;

#[test]
fn the_race_reckons_and_writes_as_it_should() {
    let benches = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches");
    let mut tests = Command::new("python3");
    tests.args(["-B", "-m", "unittest", "race.tests"]).current_dir(benches);
    let output = tests.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("Ran 0 tests"), "{said}");
}
