//! The metrics page, in the three formats that Prometheus reads.
//!
//! Text 0.0.4: <https://prometheus.io/docs/instrumenting/exposition_formats/>; OpenMetrics 1.0 and 2.0:
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/>, <https://prometheus.io/docs/specs/om/open_metrics_spec_2_0/>.

use std::fmt::Write;

use forebay_core::histogram::{Histogram, Percent, MIN};

use crate::catalogue::{Description, Kind, Unit, METRICS};
use crate::registry::{Numbers, Registry, Series};

/// What the percentile gauges show, of the running minute and the one before.
const PERCENTILES: [(&str, f64); 5] = [("50", 50.0), ("90", 90.0), ("95", 95.0), ("99", 99.0), ("99.9", 99.9)];
/// Most native buckets of one series; beyond, neighbours are merged, which halves the resolution.
const NATIVE_BUCKETS_MAX: usize = 1_000;

/// How the page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus's own text format, 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics1,
    /// OpenMetrics 2.0: histograms with native buckets beside the classic ones.
    OpenMetrics2,
}

impl Format {
    /// The format a scraper likes best by its `Accept` header; text where it names none that is known.
    pub fn negotiate(accept: &str) -> Self {
        let mut best = (Self::Text, 0.0);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            let (mut version, mut weight) = ("", 1.0);
            for parameter in parts {
                match parameter.split_once('=') {
                    Some(("version", value)) => version = value.trim_matches('"'),
                    Some(("q", value)) => weight = value.parse().unwrap_or(0.0),
                    _ => {}
                }
            }
            let format = match (kind, version) {
                ("application/openmetrics-text", version) if version.starts_with("2.") => Self::OpenMetrics2,
                ("application/openmetrics-text", _) => Self::OpenMetrics1,
                ("text/plain" | "text/*" | "*/*", _) => Self::Text,
                _ => continue,
            };
            if weight > best.1 {
                best = (format, weight);
            }
        }
        best.0
    }

    /// The page's `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics1 => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::OpenMetrics2 => "application/openmetrics-text; version=2.0.0; charset=utf-8",
        }
    }
}

/// Every series of a registry as a page. Handles are gathered first, so that nobody who counts waits for the writing.
pub fn render(registry: &Registry, format: Format) -> String {
    let families: Vec<_> = METRICS.iter().map(|&metric| (metric.describe(), registry.gather(metric))).collect();
    let mut page = Page { format, text: String::with_capacity(64 * 1024) };
    for (described, series) in families.iter().filter(|(_, series)| !series.is_empty()) {
        page.family(described, series);
        if described.kind == Kind::Distribution {
            page.percentiles(described, series);
        }
    }
    if format != Format::Text {
        page.text.push_str("# EOF\n");
    }
    page.text
}

struct Page {
    format: Format,
    text: String,
}

impl Page {
    fn family(&mut self, described: &Description, series: &[Series]) {
        self.head(described.name, described, described.kind, described.help);
        for one in series {
            let labels = &*one.labels.text;
            match &one.numbers {
                Numbers::Counter(counter) => self.sample(described.name, labels, counter.get()),
                Numbers::Gauge(gauge) => self.sample(described.name, labels, gauge.get()),
                Numbers::Info => self.sample(described.name, labels, 1),
                Numbers::Distribution(distribution) => self.histogram(described, labels, &distribution.total()),
            }
        }
    }

    /// Percentiles as a gauge of their own, for those who read classic buckets; a series without recent values is left out. The label
    /// is not called `quantile`, which Prometheus keeps for summaries.
    fn percentiles(&mut self, described: &Description, series: &[Series]) {
        let unit = if described.unit == Unit::Count { String::new() } else { format!("_{}", described.unit.as_str()) };
        let name = format!("{}_percentile{unit}", described.name.trim_end_matches(unit.as_str()));
        let help = format!("Percentiles of {} over the last one to two minutes.", described.name);
        let mut headed = false;
        for one in series {
            let Numbers::Distribution(distribution) = &one.numbers else { continue };
            let recent = distribution.recent();
            let comma = if one.labels.text.is_empty() { "" } else { "," };
            for (name_of, percent) in PERCENTILES {
                let Some(value) = Percent::new(percent).ok().and_then(|percent| recent.percentile(percent)) else {
                    break;
                };
                if !std::mem::replace(&mut headed, true) {
                    self.head(&name, described, Kind::Gauge, &help);
                }
                self.sample(&name, &format!("{}{comma}percentile=\"{name_of}\"", one.labels.text), value);
            }
        }
    }

    /// OpenMetrics 1.0 names a family without its suffix.
    fn head(&mut self, name: &str, described: &Description, kind: Kind, help: &str) {
        let name = match (self.format, kind) {
            (Format::OpenMetrics1, Kind::Counter) => name.trim_end_matches("_total"),
            (Format::OpenMetrics1, Kind::Info) => name.trim_end_matches("_info"),
            _ => name,
        };
        let kind = match (self.format, kind) {
            (Format::Text, Kind::Info) => "gauge",
            (_, kind) => kind.as_str(),
        };
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
        if self.format != Format::Text && described.unit != Unit::Count {
            self.line(format_args!("# UNIT {name} {}", described.unit.as_str()));
        }
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        if labels.is_empty() {
            self.line(format_args!("{name} {value}"));
        } else {
            self.line(format_args!("{name}{{{labels}}} {value}"));
        }
    }

    fn histogram(&mut self, described: &Description, labels: &str, values: &Histogram) {
        let name = described.name;
        let cumulative = values.cumulative(described.buckets);
        if self.format == Format::OpenMetrics2 {
            let composite = composite(values, described.buckets, &cumulative);
            return self.sample(name, labels, composite);
        }
        let comma = if labels.is_empty() { "" } else { "," };
        for (bound, count) in described.buckets.iter().zip(cumulative) {
            self.line(format_args!("{name}_bucket{{{labels}{comma}le=\"{bound:?}\"}} {count}"));
        }
        self.line(format_args!("{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {}", values.count()));
        self.sample(&format!("{name}_sum"), labels, values.sum());
        self.sample(&format!("{name}_count"), labels, values.count());
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.text.write_fmt(line);
        self.text.push('\n');
    }
}

/// OpenMetrics 2.0's one value of a histogram: native buckets of the finest schema that fits, then the classic ones.
fn composite(values: &Histogram, bounds: &[f64], cumulative: &[u64]) -> String {
    let (schema, buckets) = native_buckets(values);
    let mut text = format!(
        "{{count:{},sum:{:?},schema:{schema},zero_threshold:{MIN:?},zero_count:{}",
        values.count(),
        values.sum(),
        values.zero() + values.below(),
    );
    if !buckets.is_empty() {
        let counts: Vec<_> = buckets.iter().map(|(_, count)| count.to_string()).collect();
        let spans: Vec<_> = spans(&buckets).iter().map(|(offset, length)| format!("{offset}:{length}")).collect();
        let _ = write!(text, ",positive_spans:[{}],positive_buckets:[{}]", spans.join(","), counts.join(","));
    }
    text.push_str(",bucket:[");
    for (bound, count) in bounds.iter().zip(cumulative) {
        let _ = write!(text, "{bound:?}:{count},");
    }
    let _ = write!(text, "+Inf:{}]}}", values.count());
    text
}

fn native_buckets(values: &Histogram) -> (i8, Vec<(i32, u64)>) {
    let mut buckets = values.schema_8();
    if let Some(greatest) = values.max().filter(|_| values.above() > 0) {
        buckets.push(((greatest.log2() * 256.0).ceil() as i32, values.above()));
    }
    let mut schema = 8;
    while buckets.len() > NATIVE_BUCKETS_MAX {
        schema -= 1;
        let mut merged: Vec<(i32, u64)> = Vec::with_capacity(buckets.len());
        for (k, count) in buckets {
            let k = k.div_euclid(2) + k.rem_euclid(2);
            match merged.last_mut() {
                Some(last) if last.0 == k => last.1 += count,
                _ => merged.push((k, count)),
            }
        }
        buckets = merged;
    }
    (schema, buckets)
}

/// Runs of neighbouring buckets: the first offset counts from bucket 0, a further one from the end of the run before.
fn spans(buckets: &[(i32, u64)]) -> Vec<(i32, u32)> {
    let mut spans: Vec<(i32, u32)> = Vec::new();
    let mut next = 0;
    for &(k, _) in buckets {
        match spans.last_mut() {
            Some(last) if k == next => last.1 += 1,
            _ => spans.push((k - next, 1)),
        }
        next = k + 1;
    }
    spans
}
