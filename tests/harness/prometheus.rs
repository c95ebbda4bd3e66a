//! A page of metrics, as Prometheus' own parsers read it.

use super::servers::server;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Reads a page from stdin by the parser for its kind, and prints what it understood.
const PARSE: &str = r#"
import json, sys
if sys.argv[1] == "open":
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
else:
    from prometheus_client.parser import text_string_to_metric_families as parse
print(json.dumps([
    {"name": f.name, "type": f.type, "unit": f.unit, "help": f.documentation,
     "samples": [[s.name, s.labels, s.value] for s in f.samples]}
    for f in parse(sys.stdin.read())]))
"#;

/// What a scrape got.
pub struct Page {
    pub content_type: String,
    pub text: String,
    /// Name, type, unit, help, samples.
    pub families: Vec<Value>,
}

/// Scrapes a page; `accept` may be empty.
pub fn scrape(address: &str, path: &str, accept: &str) -> Page {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let accept = if accept.is_empty() { String::new() } else { format!("Accept: {accept}\r\n") };
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{accept}\r\n").as_bytes())
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let content_type = head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap().to_owned();
    let kind = if content_type.starts_with("application/openmetrics-text") { "open" } else { "plain" };
    let families = parse(kind, text);
    Page { content_type, text: text.to_owned(), families }
}

/// All metrics, in the newer of the two formats: it tells units too.
pub fn metrics(address: &str) -> Page {
    scrape(address, "/metrics", "application/openmetrics-text")
}

fn parse(kind: &str, text: &str) -> Vec<Value> {
    let mut parser = Command::new(server("python"))
        .args(["-c", PARSE, kind])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    parser.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let done = parser.wait_with_output().unwrap();
    assert!(done.status.success(), "{}\n{text}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

impl Page {
    /// Every sample: name, labels, value.
    pub fn samples(&self) -> Vec<(String, BTreeMap<String, String>, f64)> {
        let samples = self.families.iter().flat_map(|family| family["samples"].as_array().unwrap());
        let of = |sample: &Value| {
            let labels = sample[1].as_object().unwrap().iter();
            let labels =
                labels.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect();
            (sample[0].as_str().unwrap().to_owned(), labels, sample[2].as_f64().unwrap())
        };
        samples.map(of).collect()
    }

    /// The names of the samples.
    pub fn names(&self) -> BTreeSet<String> {
        self.samples().into_iter().map(|(name, ..)| name).collect()
    }

    /// Every series: name and labels.
    pub fn series(&self) -> BTreeSet<String> {
        self.samples().into_iter().map(|(name, labels, _)| format!("{name}{labels:?}")).collect()
    }

    /// A sample's value, if it is there. A label of `""` stands for none.
    pub fn find(&self, name: &str, label: (&str, &str)) -> Option<f64> {
        let is_it = |labels: &BTreeMap<String, String>| match label.0 {
            "" => labels.is_empty(),
            key => labels.get(key).is_some_and(|value| value == label.1),
        };
        self.samples()
            .into_iter()
            .find(|(known, labels, _)| known == name && is_it(labels))
            .map(|found| found.2)
    }

    /// The value of a sample without labels.
    pub fn value(&self, name: &str) -> f64 {
        self.find(name, ("", "")).unwrap_or_else(|| panic!("no {name}:\n{}", self.text))
    }

    /// The value of a sample with this label.
    pub fn of(&self, name: &str, label: &str, value: &str) -> f64 {
        let found = self.find(name, (label, value));
        found.unwrap_or_else(|| panic!("no {name} of {label} {value}:\n{}", self.text))
    }

    /// The values of all samples of this name, by this label, but for zeros.
    pub fn by(&self, name: &str, label: &str) -> BTreeMap<String, u64> {
        let of = |(known, mut labels, value): (String, BTreeMap<String, String>, f64)| {
            (known == name && value != 0.0).then(|| (labels.remove(label).unwrap(), value as u64))
        };
        self.samples().into_iter().filter_map(of).collect()
    }
}
