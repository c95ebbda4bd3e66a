//! Every example is run by some test: this fails for one that none is known for.

use std::collections::BTreeMap;
use std::fs;

#[test]
fn every_example_has_a_test() {
    // Example, and the file whose tests run it.
    let tested: BTreeMap<&str, &str> = BTreeMap::from([
        ("demo.sh", "tests/demo.sh"),
        ("prefork.toml", "tests/check/verdict.rs"),
        ("fastapi_app", "tests/pool/serving.rs"),
        ("kubernetes.yaml", "tests/check/verdict.rs"),
        ("systemd", "tests/manager/systemd.rs"),
        ("grafana-dashboard.json", "tests/pool/metrics.rs"),
        ("prometheus-alerts.yaml", "tests/pool/metrics.rs"),
        ("scoreboard.py", "tests/pool/scoreboard.rs"),
        ("worker.rs", "tests/pool/serving.rs"),
    ]);
    let root = env!("CARGO_MANIFEST_DIR");
    for entry in fs::read_dir(format!("{root}/examples")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let test = tested.get(name.as_str()).unwrap_or_else(|| panic!("examples/{name} is run by no test"));
        let text = fs::read_to_string(format!("{root}/{test}")).unwrap();
        let stem = name.split('.').next().unwrap();
        assert!(text.contains(stem), "{test} does not mention {stem}");
    }
}
