//! A page of metrics, family by family, as OpenMetrics text (the encoding is prometheus-client's).

use super::tally::Histogram;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeCounterValue, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::{Registry, Unit};
use std::fmt;

/// What kind of family, and in which unit, if it has one: the unit ends the name, and `_total` or `_info` follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Only grows, seconds.
    CounterSeconds,
    /// As it is.
    Gauge,
    /// As it is, bytes.
    GaugeBytes,
    /// As it is, seconds.
    GaugeSeconds,
    /// Spans, seconds.
    HistogramSeconds,
    /// Always 1; what it says is in its label.
    Info,
}

/// A value.
#[derive(Clone, Debug)]
pub enum Value {
    /// A whole number.
    Whole(u64),
    /// Any other.
    Real(f64),
    /// Many.
    Spans(Histogram),
}

/// The metrics of one moment.
#[derive(Debug, Default)]
pub struct Sheet(Vec<Family>);

#[derive(Debug)]
struct Family {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    /// The label's name, if there is one.
    label: Option<&'static str>,
    /// The label's value, and the metric's.
    values: Vec<(String, Value)>,
}

impl Sheet {
    /// A family of one.
    pub fn one(&mut self, name: &'static str, kind: Kind, help: &'static str, value: impl Into<Value>) {
        self.0.push(Family { name, kind, help, label: None, values: vec![(String::new(), value.into())] });
    }

    /// The same, if it can be had.
    pub fn maybe(
        &mut self,
        name: &'static str,
        kind: Kind,
        help: &'static str,
        value: Option<impl Into<Value>>,
    ) {
        if let Some(value) = value {
            self.one(name, kind, help, value);
        }
    }

    /// A family of several, told apart by a label.
    pub fn each<L: ToString, V: Into<Value>>(
        &mut self,
        name: &'static str,
        kind: Kind,
        help: &'static str,
        label: &'static str,
        values: impl IntoIterator<Item = (L, V)>,
    ) {
        let values = values.into_iter().map(|(of, value)| (of.to_string(), value.into())).collect();
        self.0.push(Family { name, kind, help, label: Some(label), values });
    }

    /// As text.
    #[must_use]
    pub fn write(self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut page = String::new();
        // Writing to a string does not fail.
        let _never_fails = text::encode(&mut page, &registry);
        page
    }
}

impl Collector for Sheet {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in &self.0 {
            let unit = family.kind.unit();
            let kind = family.kind.metric_type();
            let mut metric = encoder.encode_descriptor(family.name, family.help, unit.as_ref(), kind)?;
            for (of, value) in &family.values {
                match family.label {
                    Some(label) if family.kind == Kind::Info => {
                        metric.encode_info(&[(label, of.as_str())])?
                    }
                    Some(label) => {
                        let labels = [(label, of.as_str())];
                        value.encode(family.kind, &mut metric.encode_family(&labels)?)?;
                    }
                    None => value.encode(family.kind, &mut metric)?,
                }
            }
        }
        Ok(())
    }
}

impl Kind {
    fn unit(self) -> Option<Unit> {
        match self {
            Self::Counter | Self::Gauge | Self::Info => None,
            Self::GaugeBytes => Some(Unit::Bytes),
            Self::CounterSeconds | Self::GaugeSeconds | Self::HistogramSeconds => Some(Unit::Seconds),
        }
    }

    fn metric_type(self) -> MetricType {
        match self {
            Self::Counter | Self::CounterSeconds => MetricType::Counter,
            Self::Gauge | Self::GaugeBytes | Self::GaugeSeconds => MetricType::Gauge,
            Self::HistogramSeconds => MetricType::Histogram,
            Self::Info => MetricType::Info,
        }
    }
}

impl Value {
    fn encode(&self, kind: Kind, metric: &mut MetricEncoder<'_>) -> fmt::Result {
        let counts = matches!(kind, Kind::Counter | Kind::CounterSeconds);
        match self {
            Self::Whole(value) if counts => encode_counter(metric, value),
            Self::Whole(value) => metric.encode_gauge(value),
            Self::Real(value) if counts => encode_counter(metric, value),
            Self::Real(value) => metric.encode_gauge(value),
            Self::Spans(spans) => {
                metric.encode_histogram::<NoLabelSet>(spans.sum(), spans.count(), &spans.buckets(), None)
            }
        }
    }
}

fn encode_counter(metric: &mut MetricEncoder<'_>, value: &impl EncodeCounterValue) -> fmt::Result {
    metric.encode_counter(value, None::<&Exemplar<NoLabelSet, f64>>)
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Whole(value.into())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Whole(value.into())
    }
}

impl From<std::time::Duration> for Value {
    fn from(value: std::time::Duration) -> Self {
        Self::Real(value.as_secs_f64())
    }
}

impl From<&Histogram> for Value {
    fn from(value: &Histogram) -> Self {
        Self::Spans(value.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn each_kind_is_written_as_open_metrics_has_it() {
        let mut spans = Histogram::new(&[0.5]);
        spans.observe(Duration::from_millis(250));
        let mut sheet = Sheet::default();
        sheet.each("a_build", Kind::Info, "Of whom.", "version", [("1.2", 1u64)]);
        sheet.each("a_exits", Kind::Counter, "Exits.", "reason", [("crash", 2u64), ("oom", 0)]);
        sheet.one("a_cpu", Kind::CounterSeconds, "Time.", Duration::from_millis(1500));
        sheet.one("a_memory", Kind::GaugeBytes, "Memory.", 7u64);
        sheet.maybe("a_nothing", Kind::Gauge, "None.", None::<u64>);
        sheet.one("a_ready", Kind::HistogramSeconds, "Spans.", &spans);
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
a_cpu_seconds_total 1.5
# HELP a_memory_bytes Memory.
# TYPE a_memory_bytes gauge
# UNIT a_memory_bytes bytes
a_memory_bytes 7
# HELP a_ready_seconds Spans.
# TYPE a_ready_seconds histogram
# UNIT a_ready_seconds seconds
a_ready_seconds_sum 0.25
a_ready_seconds_count 1
a_ready_seconds_bucket{le=\"0.5\"} 1
a_ready_seconds_bucket{le=\"+Inf\"} 1
# EOF
";
        assert_eq!(sheet.write(), expected);
    }
}
