//! A page of metrics as text: OpenMetrics 1.0, and Prometheus' own older format, made of it.

use super::tally::Histogram;
use std::fmt::{Display, Write};
use std::time::Duration;

/// What a family is of. A counter's samples end in `_total`, an info's in `_info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// As it is.
    Gauge,
    /// Always 1; what it says is in its label.
    Info,
}

impl MetricKind {
    fn name_and_suffix(self) -> (&'static str, &'static str) {
        match self {
            Self::Counter => ("counter", "_total"),
            Self::Gauge => ("gauge", ""),
            Self::Info => ("info", "_info"),
        }
    }
}

/// A page that is being written. A family's name ends in its unit, if it has one. What is in labels needs no escapes: numbers
/// and names of ours.
#[derive(Debug, Default)]
pub struct Exposition(String);

impl Exposition {
    /// A family of one.
    pub fn one(&mut self, name: &str, kind: MetricKind, help: &str, value: impl Display) {
        let (kind, suffix) = kind.name_and_suffix();
        self.family(name, kind, help);
        self.line(format_args!("{name}{suffix} {value}"));
    }

    /// The same, if it can be had.
    pub fn maybe(&mut self, name: &str, kind: MetricKind, help: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.one(name, kind, help, value);
        }
    }

    /// A family of several, told apart by a label.
    pub fn each<L: Display, V: Display>(
        &mut self,
        name: &str,
        kind: MetricKind,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (L, V)>,
    ) {
        let (kind, suffix) = kind.name_and_suffix();
        self.family(name, kind, help);
        for (of, value) in values {
            self.line(format_args!("{name}{suffix}{{{label}=\"{of}\"}} {value}"));
        }
    }

    /// Spans, in buckets.
    pub fn histogram(&mut self, name: &str, help: &str, spans: &Histogram) {
        self.family(name, "histogram", help);
        self.line(format_args!("{name}_sum {:?}\n{name}_count {}", spans.sum(), spans.count()));
        let mut below = 0u64;
        for (bound, count) in spans.buckets() {
            below = below.saturating_add(count);
            let bound = if bound.is_finite() { format!("{bound:?}") } else { "+Inf".to_owned() };
            self.line(format_args!("{name}_bucket{{le=\"{bound}\"}} {below}"));
        }
    }

    /// The whole page, as `application/openmetrics-text; version=1.0.0`.
    #[must_use]
    pub fn end(mut self) -> String {
        self.line(format_args!("# EOF"));
        self.0
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
        if let Some((_, unit @ ("seconds" | "bytes"))) = name.rsplit_once('_') {
            self.line(format_args!("# UNIT {name} {unit}"));
        }
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        let _never_fails = writeln!(self.0, "{line}");
    }
}

/// A span as a value.
#[must_use]
pub fn seconds(span: Duration) -> impl Display {
    format!("{:?}", span.as_secs_f64())
}

/// Turns OpenMetrics text into `text/plain; version=0.0.4`. There the suffix of a counter or an info belongs to the
/// family's name, an info is a gauge, and units and the end are not told.
#[must_use]
pub fn plain(open_metrics: &str) -> String {
    let mut plain = String::with_capacity(open_metrics.len());
    let mut help = "";
    for line in open_metrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", kind),
                "info" => ("_info", "gauge"),
                _ => ("", kind),
            };
            plain.push_str(&format!("# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n"));
        } else if !line.starts_with('#') {
            plain.push_str(line);
            plain.push('\n');
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_written_as_open_metrics_has_it_and_as_the_older_format() {
        let mut spans = Histogram::new(&[0.5, 1.0]);
        spans.observe(Duration::from_millis(250));
        spans.observe(Duration::from_millis(1250));
        let mut page = Exposition::default();
        page.each("a_build", MetricKind::Info, "Of whom.", "version", [("1.2", 1)]);
        page.each("a_exits", MetricKind::Counter, "Exits.", "reason", [("crash", 2), ("oom", 0)]);
        page.one("a_cpu_seconds", MetricKind::Counter, "Time.", seconds(Duration::from_secs(2)));
        page.one("a_memory_bytes", MetricKind::Gauge, "Memory.", 7);
        page.maybe("a_nothing", MetricKind::Gauge, "None.", None::<u64>);
        page.histogram("a_ready_seconds", "Spans.", &spans);
        let page = page.end();
        let expected = "\
# HELP a_build Of whom.
# TYPE a_build info
a_build_info{version=\"1.2\"} 1
# HELP a_exits Exits.
# TYPE a_exits counter
a_exits_total{reason=\"crash\"} 2
a_exits_total{reason=\"oom\"} 0
# HELP a_cpu_seconds Time.
# TYPE a_cpu_seconds counter
# UNIT a_cpu_seconds seconds
a_cpu_seconds_total 2.0
# HELP a_memory_bytes Memory.
# TYPE a_memory_bytes gauge
# UNIT a_memory_bytes bytes
a_memory_bytes 7
# HELP a_ready_seconds Spans.
# TYPE a_ready_seconds histogram
# UNIT a_ready_seconds seconds
a_ready_seconds_sum 1.5
a_ready_seconds_count 2
a_ready_seconds_bucket{le=\"0.5\"} 1
a_ready_seconds_bucket{le=\"1.0\"} 1
a_ready_seconds_bucket{le=\"+Inf\"} 2
# EOF
";
        assert_eq!(page, expected);
        let older = "\
# HELP a_build_info Of whom.
# TYPE a_build_info gauge
a_build_info{version=\"1.2\"} 1
# HELP a_exits_total Exits.
# TYPE a_exits_total counter
a_exits_total{reason=\"crash\"} 2
a_exits_total{reason=\"oom\"} 0
# HELP a_cpu_seconds_total Time.
# TYPE a_cpu_seconds_total counter
a_cpu_seconds_total 2.0
# HELP a_memory_bytes Memory.
# TYPE a_memory_bytes gauge
a_memory_bytes 7
# HELP a_ready_seconds Spans.
# TYPE a_ready_seconds histogram
a_ready_seconds_sum 1.5
a_ready_seconds_count 2
a_ready_seconds_bucket{le=\"0.5\"} 1
a_ready_seconds_bucket{le=\"1.0\"} 1
a_ready_seconds_bucket{le=\"+Inf\"} 2
";
        assert_eq!(plain(&page), older);
    }
}
