//! Counting: by a name, and by size.

use std::time::Duration;

/// How often each of a few things has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally<K>(Vec<(K, u64)>);

impl<K: Copy + PartialEq> Tally<K> {
    /// Begins with these, at zero: a counter that appears with its first event has no rate for it.
    #[must_use]
    pub fn of(known: &[K]) -> Self {
        Self(known.iter().map(|key| (*key, 0)).collect())
    }

    /// One more.
    pub fn add(&mut self, key: K) {
        match self.0.iter_mut().find(|(known, _)| *known == key) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => self.0.push((key, 1)),
        }
    }

    /// Each, and how often.
    pub fn each(&self) -> impl Iterator<Item = (K, u64)> {
        self.0.iter().copied()
    }
}

/// How many times took how long.
#[derive(Clone, Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// By bucket, and last those beyond all bounds.
    counts: Vec<u64>,
    sum: f64,
}

impl Histogram {
    /// With these upper bounds in seconds, in ascending order.
    #[must_use]
    pub fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len().saturating_add(1)], sum: 0.0 }
    }

    /// One more.
    pub fn observe(&mut self, span: Duration) {
        let seconds = span.as_secs_f64();
        let bucket = self.bounds.iter().position(|bound| seconds <= *bound).unwrap_or(self.bounds.len());
        if let Some(count) = self.counts.get_mut(bucket) {
            *count = count.saturating_add(1);
        }
        self.sum += seconds;
    }

    /// Seconds together.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// How many were observed.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Each bucket's upper bound, and how many are in it and in no lower one.
    #[must_use]
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        bounds.zip(self.counts.iter().copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket_and_nothing_is_lost_beyond_the_last() {
        let mut histogram = Histogram::new(&[0.1, 1.0]);
        for millis in [50, 100, 101, 1000, 1001, 60_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        assert_eq!(histogram.buckets(), [(0.1, 2), (1.0, 2), (f64::INFINITY, 2)]);
        assert_eq!((histogram.count(), histogram.sum().round()), (6, 62.0));
    }

    #[test]
    fn known_names_begin_at_zero_and_others_when_they_come() {
        let mut tally = Tally::of(&["a", "b"]);
        tally.add("b");
        tally.add("c");
        tally.add("c");
        assert_eq!(tally.each().collect::<Vec<_>>(), [("a", 0), ("b", 1), ("c", 2)]);
    }
}
