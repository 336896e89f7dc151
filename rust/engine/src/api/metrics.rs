//! Metrics: what is asked of them, and what is answered. What is answered on statistics and lists is the metrics' own JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::metrics::exports::Told;
use crate::metrics::query::Question;

/// Ask for a statistic of a metric.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Statistic {
    /// A metric's name in CloudWatch (the answer is then in CloudWatch's unit) or in Prometheus.
    pub name: String,
    /// A statistic as CloudWatch names it.
    pub statistic: String,
    /// Seconds that one number covers.
    pub period: u64,
    /// Only series with these label values; of a mapping's metric also `stream` and `function`.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// For a series: how many seconds to look back; without it, an hour.
    #[serde(default)]
    pub since: Option<u64>,
    /// For a series: the second before which it ends, since 1970; without it, now. `since` counts from there.
    #[serde(default)]
    pub until: Option<u64>,
}

/// Names a metric.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// A metric's name in CloudWatch or in Prometheus.
    pub name: String,
}

impl From<Statistic> for Question {
    fn from(asked: Statistic) -> Self {
        let Statistic { name, statistic, period, labels, since, until } = asked;
        Self { name, statistic, period, labels, since, until }
    }
}

/// What is counted outside the engine. A source that is silent for longer than it said is gone, and its levels with it.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Tell {
    /// What is told.
    #[cfg_attr(test, schemars(with = "tests::Shape"))]
    pub told: Told,
}

/// The page that `/metrics` serves.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Text {
    /// The Prometheus exposition.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is counted outside the engine, as it is written.
    #[derive(Serialize, schemars::JsonSchema)]
    pub(super) struct Shape {
        /// Names the source; another one than all others.
        source: String,
        /// Seconds for which it counts as there; without it, until it says otherwise.
        keep: Option<f64>,
        /// Each a metric by its name in Prometheus, label values in the catalogue's order, and a counter's growth, a gauge's level or a
        /// distribution's new values (a histogram's bytes, base64).
        samples: Vec<(String, Vec<String>, Number)>,
    }

    #[derive(Serialize, schemars::JsonSchema)]
    #[serde(untagged)]
    enum Number {
        Plain(f64),
        Values(String),
    }

    #[test]
    fn what_is_told_has_the_shape_that_is_written_down() {
        let samples = vec![
            ("a".to_owned(), vec!["b".to_owned()], Number::Plain(1.0)),
            ("c".to_owned(), vec![], Number::Values("d".to_owned())),
        ];
        let shape = Shape { source: "s".into(), keep: Some(1.0), samples };
        serde_json::from_value::<Tell>(serde_json::to_value(shape).unwrap()).unwrap();
    }
}
