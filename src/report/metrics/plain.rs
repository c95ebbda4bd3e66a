//! Prometheus' own text format, 0.0.4, for scrapers that know nothing newer.

/// Turns OpenMetrics text into it. There the suffix of a counter or an info belongs to the family's name, an info is a
/// gauge, and units and the end are not told.
#[must_use]
pub fn of(open_metrics: &str) -> String {
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
    #[test]
    fn names_kinds_and_comments_are_those_of_the_older_format() {
        let open = "# HELP a_cpu_seconds All of it.\n# TYPE a_cpu_seconds counter\n# UNIT a_cpu_seconds seconds\n\
                    a_cpu_seconds_total 1.5\n# HELP a_build B.\n# TYPE a_build info\na_build_info{v=\"1\"} 1\n\
                    # HELP a_x X.\n# TYPE a_x gauge\na_x 2\n# EOF\n";
        let plain = "# HELP a_cpu_seconds_total All of it.\n# TYPE a_cpu_seconds_total counter\n\
                     a_cpu_seconds_total 1.5\n# HELP a_build_info B.\n# TYPE a_build_info gauge\n\
                     a_build_info{v=\"1\"} 1\n# HELP a_x X.\n# TYPE a_x gauge\na_x 2\n";
        assert_eq!(super::of(open), plain);
    }
}
