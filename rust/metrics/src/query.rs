//! Questions to the metric store, in the words of CloudWatch or of Prometheus.

use std::collections::BTreeMap;

use forebay_core::statistic::{nearest, Statistic, EXAMPLES};
use serde::Deserialize;
use serde_json::{json, Value};

use crate::catalogue::{Description, Metric, METRICS};
use crate::points::{Points, SeriesId};
use crate::registry::Registry;

/// Most points of one answer, as in CloudWatch.
const DATAPOINTS_MAX: u64 = 1_440;
/// Longest period: as long as anything is kept.
const PERIOD_MAX: u64 = 455 * 86_400;
const HOUR: u64 = 3_600;

/// One question. A refused one says why in words.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// A metric's name in CloudWatch (the answer is then in CloudWatch's unit) or in Prometheus.
    pub name: String,
    /// A statistic as CloudWatch names it.
    pub statistic: String,
    /// Seconds that one number covers.
    pub period: u64,
    /// Only series with these label values.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// For [`series`]: how many seconds to look back.
    #[serde(default)]
    pub since: Option<u64>,
    /// For [`series`]: the second before which it ends, since 1970; without it, now. `since` counts from there.
    #[serde(default)]
    pub until: Option<u64>,
}

/// A question that makes sense.
struct Understood {
    statistic: Statistic,
    scale: f64,
    unit: &'static str,
    ids: Vec<SeriesId>,
}

/// The statistic of the last `period` seconds up to now: `{value?, unit}`.
pub fn statistic(points: &mut Points, registry: &Registry, question: &Question) -> Result<Value, String> {
    points.settle(registry);
    let understood = question.understand(points)?;
    let now = points.now();
    let values = points.pool(&understood.ids, now.saturating_sub(question.period), now + 1);
    Ok(json!({"value": understood.statistic.of(&values, understood.scale), "unit": understood.unit}))
}

/// A number for each period that has values: `{points: [[start, value]], unit}`, start in seconds since 1970.
pub fn series(points: &mut Points, registry: &Registry, question: &Question) -> Result<Value, String> {
    points.settle(registry);
    let understood = question.understand(points)?;
    let period = question.period;
    let end = question.until.map_or(points.now(), |until| until.saturating_sub(1).min(points.now()));
    let asked = question.until.unwrap_or_else(|| points.now());
    let first = asked.saturating_sub(question.since.unwrap_or(HOUR)) / period;
    let last = (end / period).max(first);
    if last - first > DATAPOINTS_MAX {
        return Err(format!(
            "You have requested up to {} datapoints, which exceeds the limit of 1,440. You may reduce the datapoints requested by \
             increasing Period, or decreasing the time range.",
            last - first
        ));
    }
    let reach = points.reach(period);
    let points: Vec<(u64, f64)> = (first.max(reach / period).min(last)..=last)
        .filter_map(|number| {
            let start = number * period;
            let values = points.pool(&understood.ids, start.max(reach), start + period);
            Some((start, understood.statistic.of(&values, understood.scale)?))
        })
        .collect();
    Ok(json!({"points": points, "unit": understood.unit}))
}

/// The series of a metric: the label values of each, by their names.
pub fn labels(points: &mut Points, registry: &Registry, name: &str) -> Result<Value, String> {
    points.settle(registry);
    let (metric, _) = find(name)?;
    let names = metric.describe().labels;
    let row = |values: &[Box<str>]| -> Value {
        names.iter().zip(values).map(|(name, value)| ((*name).to_owned(), Value::from(&**value))).collect()
    };
    Ok(points.series(metric).map(|(_, values)| row(values)).collect())
}

/// The catalogue, with the number of series that each metric has.
pub fn list(points: &mut Points, registry: &Registry) -> Value {
    points.settle(registry);
    let counted = |&metric: &Metric| {
        let mut row = describe(metric);
        row["series"] = points.series(metric).count().into();
        row
    };
    METRICS.iter().map(counted).collect()
}

/// The catalogue.
pub fn catalogue() -> Value {
    METRICS.iter().copied().map(describe).collect()
}

fn describe(metric: Metric) -> Value {
    let described = metric.describe();
    json!({
        "name": described.name,
        "aws_namespace": described.aws.map(|aws| aws.namespace),
        "aws_name": described.aws.map(|aws| aws.name),
        "kind": described.kind.as_str(),
        "unit": described.unit.as_str(),
        "aws_unit": described.aws.map(|aws| aws.unit),
        "aws_scale": described.aws.map(|aws| aws.scale),
        "labels": described.labels,
        "help": described.help,
        "buckets": described.buckets,
    })
}

impl Question {
    fn understand(&self, points: &Points) -> Result<Understood, String> {
        let (metric, in_aws) = find(&self.name)?;
        let described = metric.describe();
        let statistic = Statistic::parse(&self.statistic).ok_or_else(|| {
            let instead =
                meant(&self.statistic, EXAMPLES.iter().copied(), &format!("there are {}", EXAMPLES.join(", ")));
            format!("there is no statistic {:?}: {instead}", self.statistic)
        })?;
        check_period(self.period)?;
        let filters = self.filters(described)?;
        let ids =
            points.series(metric).filter(|(_, values)| filters.iter().all(|one| one.lets(values))).map(|(id, _)| id);
        let aws = described.aws.filter(|_| in_aws);
        Ok(Understood {
            statistic,
            scale: aws.map_or(1.0, |aws| aws.scale),
            unit: aws.map_or(described.unit.as_str(), |aws| aws.unit),
            ids: ids.collect(),
        })
    }

    /// A mapping's label is `stream/function`: either part may be asked for alone.
    fn filters<'a>(&'a self, described: &Description) -> Result<Vec<Filter<'a>>, String> {
        let at = |name: &str| described.labels.iter().position(|label| *label == name);
        let filter = |(name, value): (&'a String, &'a String)| match (at(name), at("mapping"), name.as_str()) {
            (Some(label), _, _) => Ok(Filter { label, part: Part::Whole, value }),
            (None, Some(label), "stream") => Ok(Filter { label, part: Part::Stream, value }),
            (None, Some(label), "function") => Ok(Filter { label, part: Part::Function, value }),
            _ if described.labels.is_empty() => {
                Err(format!("{} has no labels, so none named {name:?}", described.name))
            }
            _ => Err(format!("{} has no label {name:?}: it has {}", described.name, described.labels.join(", "))),
        };
        self.labels.iter().map(filter).collect()
    }
}

struct Filter<'a> {
    label: usize,
    part: Part,
    value: &'a str,
}

#[derive(Clone, Copy)]
enum Part {
    Whole,
    Stream,
    Function,
}

impl Filter<'_> {
    fn lets(&self, values: &[Box<str>]) -> bool {
        let whole = &*values[self.label];
        let shown = match self.part {
            Part::Whole => Some(whole),
            Part::Stream => whole.split_once('/').map(|(stream, _)| stream),
            Part::Function => whole.split_once('/').map(|(_, function)| function),
        };
        shown == Some(self.value)
    }
}

/// The metric of a name, and whether the name is CloudWatch's.
fn find(name: &str) -> Result<(Metric, bool), String> {
    let mut known = METRICS.iter().flat_map(|&metric| {
        let described = metric.describe();
        let aws = described.aws.map(|aws| (aws.name, metric, true));
        [Some((described.name, metric, false)), aws].into_iter().flatten()
    });
    if let Some((_, metric, in_aws)) = known.clone().find(|(other, _, _)| *other == name) {
        return Ok((metric, in_aws));
    }
    let names = known.by_ref().map(|(name, _, _)| name);
    Err(format!("there is no metric {name:?}: {}", meant(name, names, "`forebay metrics list` names what there is")))
}

fn meant<'a>(word: &str, words: impl IntoIterator<Item = &'a str>, otherwise: &str) -> String {
    match nearest(word, words).as_slice() {
        [] => otherwise.into(),
        near => format!("did you mean {}?", near.join(" or ")),
    }
}

fn check_period(period: u64) -> Result<(), String> {
    const SHORT: [u64; 5] = [1, 5, 10, 20, 30];
    if SHORT.contains(&period) || (period > 0 && period.is_multiple_of(60) && period <= PERIOD_MAX) {
        return Ok(());
    }
    let below = if period < 60 { SHORT.into_iter().rfind(|short| *short < period) } else { Some(period / 60 * 60) };
    let above = SHORT.into_iter().find(|short| *short > period).unwrap_or((period / 60 + 1) * 60);
    let near = match below {
        _ if period > PERIOD_MAX => PERIOD_MAX.to_string(),
        None => above.to_string(),
        Some(below) => format!("{below} or {above}"),
    };
    Err(format!("period={period}: allowed are 1, 5, 10, 20, 30 and multiples of 60 seconds up to 455 days; try {near}"))
}

#[cfg(test)]
mod tests;
