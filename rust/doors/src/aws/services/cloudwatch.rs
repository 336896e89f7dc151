//! CloudWatch: what is counted, and values that others put.

use std::collections::{BTreeMap, BTreeSet};

use forebay_core::histogram::Histogram;
use forebay_core::statistic::Statistic;
use forebay_engine::api::metrics;
use forebay_engine::api::Request;
use forebay_engine::base::error::EngineError;
use forebay_engine::metrics::catalogue::Description;
use forebay_engine::metrics::{Metric, CATALOGUE};
use serde_json::Value as Json;

use crate::aws::call::{unavailable, Call};
use crate::aws::fault::Fault;
use crate::aws::services::page::{page, Token};
use crate::aws::value::{Fields, Key, Value};

super::operations! {
    PutMetricData => put_metric_data,
    GetMetricData => get_metric_data,
    GetMetricStatistics => get_metric_statistics,
    ListMetrics => list_metrics,
}

/// Most data of one put. <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html>
const DATA_MAX: usize = 1_000;
/// Most different values of one datum: the same page.
const VALUES_MAX: usize = 150;
/// How far a datum's time may be from now. A value counts when it arrives.
const SKEW_MS: i64 = 120_000;
/// Most points of one answer of `GetMetricStatistics`, and of one question to the engine.
const POINTS_MAX: u64 = 1_440;
/// Most points of one answer of `GetMetricData`.
const ALL_POINTS_MAX: u64 = 100_800;
/// Metrics of a page.
const PAGE: usize = 500;

/// The names that AWS has for labels.
const DIMENSIONS: &[(&str, &str)] = &[
    ("FunctionName", "function"),
    ("StreamName", "stream"),
    ("QueueName", "queue"),
    ("TopicName", "topic"),
    ("EventBusName", "bus"),
    ("RuleName", "rule"),
    ("ApiId", "api"),
    ("Stage", "stage"),
    ("Route", "route"),
    ("StateMachineArn", "workflow"),
    ("ScheduleGroup", "group"),
    ("ProxyName", "proxy"),
    ("Service", "service"),
    ("Operation", "operation"),
];

fn invalid(text: impl Into<String>) -> Fault {
    Fault::new("InvalidParameterValueException", text)
}

fn fault(error: EngineError) -> Fault {
    match error {
        EngineError::Invalid(text) => invalid(text),
        error => unavailable(&error),
    }
}

// ---- putting

/// A datum that makes sense: its series, and its values.
struct Datum {
    labels: [String; 4],
    values: Histogram,
}

async fn put_metric_data(call: &Call<'_>) -> Result<Value, Fault> {
    let namespace = call.input.needed("Namespace");
    if namespace.starts_with("AWS/") || namespace == "Forebay" {
        return Err(invalid(format!(
            "The value {namespace} for parameter Namespace is invalid: it is the runtime's own."
        )));
    }
    if !call.input.list("EntityMetricData").is_empty() {
        return Err(invalid("EntityMetricData: forebay knows no entities; put the data as MetricData"));
    }
    let given = call.input.list("MetricData");
    if given.len() > DATA_MAX {
        let text = format!("The collection MetricData must not have a size greater than {DATA_MAX}.");
        return Err(invalid(text));
    }
    let registry = call.engine.registry();
    if !registry.is_on() {
        return Err(unavailable(&EngineError::Closed("this app keeps no metrics".into())));
    }
    let now_ms = call.now_ms();
    // All of them, or none.
    let data: Vec<Datum> = given.iter().map(|one| datum(namespace, one, now_ms)).collect::<Result<_, _>>()?;
    for datum in &data {
        let labels = datum.labels.each_ref().map(String::as_str);
        if !registry.takes(Metric::UserMetric, &labels) {
            let text = "There are too many metrics: the runtime keeps 1,000 combinations of name, dimensions and unit.";
            return Err(Fault::new("LimitExceededException", text).code("LimitExceeded"));
        }
    }
    for Datum { labels, values } in &data {
        registry.distribution(Metric::UserMetric, &labels.each_ref().map(String::as_str)).merge(values);
    }
    Ok(Value::structure())
}

fn datum(namespace: &str, given: &Value, now_ms: i64) -> Result<Datum, Fault> {
    let name = given.needed("MetricName");
    if let Some(time) = given.time("Timestamp").filter(|time| (time - now_ms).abs() > SKEW_MS) {
        let seconds = (time - now_ms) / 1000;
        return Err(invalid(format!(
            "MetricData {name}: its Timestamp is {seconds} s from now. A value counts when it arrives: at most {} s are allowed.",
            SKEW_MS / 1000
        )));
    }
    let mut values = Histogram::new();
    let mut record = |value: f64, times: f64| {
        let text = || {
            invalid(format!(
                "MetricData {name}: the value {value} cannot be kept, as only finite ones of 0 or more can."
            ))
        };
        if !(0.0..1e15).contains(&times) || times.fract() != 0.0 {
            return Err(invalid(format!("MetricData {name}: {times} is not a number of values.")));
        }
        values.record_n(value, times as u64).map_err(|_| text())
    };
    match (given.double("Value"), given.list("Values"), given.get("StatisticValues")) {
        (Some(value), [], None) => record(value, 1.0)?,
        (None, [], Some(set)) => record_set(set, &mut record)?,
        (None, list @ [_, ..], None) => {
            let counts = given.list("Counts");
            if list.len() > VALUES_MAX || !counts.is_empty() && counts.len() != list.len() {
                let text = format!("MetricData {name}: Values has at most {VALUES_MAX} items, and Counts as many.");
                return Err(invalid(text));
            }
            for (at, value) in list.iter().enumerate() {
                let times = counts.get(at).map_or(Some(1.0), Value::as_double);
                record(value.as_double().unwrap_or(f64::NAN), times.unwrap_or(f64::NAN))?;
            }
        }
        _ => {
            let text = format!("MetricData {name}: give one of Value, Values and StatisticValues.");
            return Err(Fault::new("InvalidParameterCombinationException", text));
        }
    }
    if given.int("StorageResolution").is_some_and(|seconds| ![1, 60].contains(&seconds)) {
        return Err(invalid(format!("MetricData {name}: StorageResolution must be 1 or 60.")));
    }
    let dimensions = dimensions_text(given.list("Dimensions"));
    let unit = given.text("Unit").unwrap_or("None").to_owned();
    Ok(Datum { labels: [namespace.to_owned(), name.to_owned(), dimensions, unit], values })
}

/// The least value, the greatest one, and the mean of the others: so count, sum and both ends are kept.
fn record_set(set: &Value, record: &mut impl FnMut(f64, f64) -> Result<(), Fault>) -> Result<(), Fault> {
    let part = |name: &str| set.double(name).unwrap_or(f64::NAN);
    let (count, sum, least, most) = (part("SampleCount"), part("Sum"), part("Minimum"), part("Maximum"));
    let mean = if count > 2.0 { (sum - least - most) / (count - 2.0) } else { least };
    let fits = count >= 1.0 && least <= most && (least * count..=most * count).contains(&sum);
    if !fits {
        return Err(invalid("StatisticValues: SampleCount, Sum, Minimum and Maximum do not fit together."));
    }
    if count < 2.0 {
        return record(sum, 1.0);
    }
    record(least, 1.0)?;
    record(most, 1.0)?;
    record(mean.clamp(least, most), count - 2.0)
}

/// Dimensions as the label of a series has them: JSON, in the order of their names.
fn dimensions_text(given: &[Value]) -> String {
    let sorted: BTreeMap<&str, &str> = given.iter().map(|one| (one.needed("Name"), one.needed("Value"))).collect();
    serde_json::to_string(&sorted).unwrap_or_default()
}

// ---- asking

/// A metric as the engine is asked for it.
struct Asked {
    name: &'static str,
    labels: BTreeMap<String, String>,
}

/// The runtime's own metric of a name.
fn own_metric(namespace: &str, name: &str) -> Option<&'static Description> {
    CATALOGUE.iter().find(|one| one.aws.is_some_and(|aws| aws.namespace == namespace && aws.name == name))
}

/// The metric of a name, of dimensions and in a unit; `None` if there is none of them.
fn asked(namespace: &str, name: &str, dimensions: &[Value], unit: Option<&str>) -> Option<Asked> {
    let Some(described) = own_metric(namespace, name) else {
        let text = dimensions_text(dimensions);
        let labels = [("namespace", namespace), ("name", name), ("dimensions", &text)].into_iter();
        let labels = labels.chain(unit.map(|unit| ("unit", unit)));
        let labels = labels.map(|(label, value)| (label.to_owned(), value.to_owned())).collect();
        return Some(Asked { name: Metric::UserMetric.describe().name, labels });
    };
    if described.aws.is_some_and(|aws| unit.is_some_and(|unit| unit != aws.unit)) {
        return None;
    }
    let mut labels = BTreeMap::new();
    for one in dimensions {
        let (_, label) = DIMENSIONS.iter().find(|(dimension, _)| *dimension == one.needed("Name"))?;
        let is_part = described.labels.contains(&"mapping") && ["stream", "function"].contains(label);
        if !described.labels.contains(label) && !is_part {
            return None;
        }
        let value = one.needed("Value");
        // A state machine is named by its ARN, all else by its name.
        let value = if *label == "workflow" { value.rsplit(':').next().unwrap_or(value) } else { value };
        labels.insert((*label).to_owned(), value.to_owned());
    }
    Some(Asked { name: described.aws.map_or(described.name, |aws| aws.name), labels })
}

/// The units in which values of a metric were put; `None`: the one that the runtime's own metric has, or nothing was put.
async fn units(
    call: &Call<'_>,
    namespace: &str,
    name: &str,
    dimensions: &[Value],
) -> Result<Vec<Option<String>>, Fault> {
    if own_metric(namespace, name).is_some() {
        return Ok(vec![None]);
    }
    let dimensions = dimensions_text(dimensions);
    let wanted = [("namespace", namespace), ("name", name), ("dimensions", &dimensions)];
    let mut series = labels(call, Metric::UserMetric.describe().name).await?;
    series.retain(|values| wanted.iter().all(|(label, value)| values[label] == *value));
    let units: Vec<Option<String>> = series.iter().map(|values| values["unit"].as_str().map(str::to_owned)).collect();
    Ok(if units.is_empty() { vec![None] } else { units })
}

/// A stretch of time in periods.
struct Window {
    from: u64,
    until: u64,
    period: u64,
}

impl Window {
    fn of(input: &Value, period: Option<i64>) -> Result<Self, Fault> {
        let moment = |name: &str| (input.time(name).unwrap_or_default().max(0) / 1000) as u64;
        let (from, until) = (moment("StartTime"), moment("EndTime"));
        if from >= until {
            let text = "The parameter StartTime must be less than the parameter EndTime.";
            return Err(invalid(text));
        }
        Ok(Self { from, until, period: period.unwrap_or(60).max(1) as u64 })
    }

    fn points(&self) -> u64 {
        self.until.div_ceil(self.period) - self.from / self.period
    }
}

/// The points of a statistic, oldest first, and their unit.
async fn points(
    call: &Call<'_>,
    asked: &Asked,
    statistic: &str,
    window: &Window,
) -> Result<(Vec<(u64, f64)>, Option<String>), Fault> {
    if Statistic::parse(statistic).is_none() {
        return Err(invalid(format!("The value {statistic} for parameter Stat is not supported.")));
    }
    let (mut found, mut unit) = (Vec::new(), None);
    let mut from = window.from / window.period * window.period;
    while from < window.until {
        let until = window.until.min(from + POINTS_MAX * window.period);
        let question = metrics::Statistic {
            name: asked.name.to_owned(),
            statistic: statistic.to_owned(),
            period: window.period,
            labels: asked.labels.clone(),
            since: Some(until - from),
            until: Some(until),
        };
        let given = call.ask(Request::MetricsSeries(question)).await.map_err(fault)?;
        let listed = given["points"].as_array().into_iter().flatten();
        found.extend(listed.filter_map(|point| Some((point[0].as_u64()?, point[1].as_f64()?))));
        unit = unit.or(given["unit"].as_str().map(str::to_owned));
        from = until;
    }
    Ok((found, unit))
}

async fn get_metric_statistics(call: &Call<'_>) -> Result<Value, Fault> {
    let input = &call.input;
    let (namespace, name, unit) = (input.needed("Namespace"), input.needed("MetricName"), input.text("Unit"));
    let window = Window::of(input, input.int("Period"))?;
    let plain: Vec<&str> = input.texts("Statistics").collect();
    let extended: Vec<&str> = input.texts("ExtendedStatistics").collect();
    if plain.is_empty() && extended.is_empty() {
        let text = "At least one of the parameters Statistics and ExtendedStatistics must be specified.";
        return Err(Fault::new("InvalidParameterCombinationException", text));
    }
    if window.points() > POINTS_MAX {
        let text = format!(
            "You have requested up to {} datapoints, which exceeds the limit of 1,440. You may reduce the datapoints requested by increasing Period, or decreasing the time range.",
            window.points()
        );
        return Err(Fault::new("InvalidParameterCombinationException", text));
    }
    let label = Value::structure().with("Label", name);
    let dimensions = input.list("Dimensions");
    // Values that were put in several units are told apart. A metric of the runtime's own has one.
    let units = match unit {
        Some(unit) => vec![Some(unit.to_owned())],
        None => units(call, namespace, name, dimensions).await?,
    };
    // By their time and unit: the statistics, and the extended ones.
    let mut rows: BTreeMap<(u64, String), (Fields, Fields)> = BTreeMap::new();
    for unit in units {
        let Some(asked) = asked(namespace, name, dimensions, unit.as_deref()) else { continue };
        for &statistic in plain.iter().chain(&extended) {
            let (found, own_unit) = points(call, &asked, statistic, &window).await?;
            let unit = unit.clone().or(own_unit.filter(|unit| !unit.is_empty())).unwrap_or_else(|| "None".into());
            for (start, value) in found {
                let (row, more) = rows.entry((start, unit.clone())).or_default();
                let fields = if extended.contains(&statistic) { more } else { row };
                fields.push((Key::Owned(statistic.to_owned()), Value::Double(value)));
            }
        }
    }
    let datapoint = |((start, unit), (row, more)): ((u64, String), (Fields, Fields))| {
        let more = (!more.is_empty()).then_some(Value::Map(more));
        Value::Map(row)
            .with("Timestamp", Value::Time(start as i64 * 1000))
            .with("Unit", unit)
            .with("ExtendedStatistics", more)
    };
    Ok(label.with("Datapoints", rows.into_iter().map(datapoint).collect::<Vec<Value>>()))
}

async fn get_metric_data(call: &Call<'_>) -> Result<Value, Fault> {
    let input = &call.input;
    let mut results = Vec::new();
    let mut room = ALL_POINTS_MAX;
    // An answer has all points that may be asked for: a smaller one would need another page.
    if input.int("MaxDatapoints").is_some_and(|most| most < ALL_POINTS_MAX as i64) {
        return Err(Fault::validation("MaxDatapoints: an answer has all points; leave it out, or make Period longer"));
    }
    let mut ids = BTreeSet::new();
    for query in input.list("MetricDataQueries") {
        let id = query.needed("Id");
        let is_word = id.bytes().all(|one| one.is_ascii_alphanumeric() || one == b'_');
        if !is_word || !id.starts_with(|first: char| first.is_ascii_lowercase()) {
            let text = format!("The value {id} for parameter MetricDataQueries.member.Id is not matching the expected pattern ^[a-z][a-zA-Z0-9_]*$.");
            return Err(Fault::validation(text));
        }
        if !ids.insert(id) {
            return Err(Fault::validation(format!("The MetricDataQueries have the id {id} twice: each has its own.")));
        }
        let Some(stat) = query.get("MetricStat") else {
            let text = format!("MetricDataQueries {id}: forebay works out no expressions; ask for a MetricStat");
            return Err(Fault::validation(text));
        };
        if query.flag("ReturnData") == Some(false) {
            continue;
        }
        let window = Window::of(input, stat.int("Period")).map_err(|fault| Fault::validation(fault.message))?;
        room = room.checked_sub(window.points()).ok_or_else(|| {
            Fault::validation(format!("the queries ask for more than {ALL_POINTS_MAX} points: make Period longer"))
        })?;
        let metric = stat.get("Metric").cloned().unwrap_or(Value::Null);
        let name = metric.needed("MetricName");
        let found = match asked(metric.needed("Namespace"), name, metric.list("Dimensions"), stat.text("Unit")) {
            Some(asked) => points(call, &asked, stat.needed("Stat"), &window).await,
            None => Ok((Vec::new(), None)),
        };
        let (mut found, _) = found.map_err(|fault| Fault::validation(fault.message))?;
        if input.text("ScanBy") != Some("TimestampAscending") {
            found.reverse();
        }
        let (times, values): (Vec<Value>, Vec<Value>) =
            found.into_iter().map(|(start, value)| (Value::Time(start as i64 * 1000), Value::Double(value))).unzip();
        results.push(
            Value::structure()
                .with("Id", id)
                .with("Label", query.text("Label").unwrap_or(name))
                .with("Timestamps", times)
                .with("Values", values)
                .with("StatusCode", "Complete"),
        );
    }
    Ok(Value::structure().with("MetricDataResults", results).with("Messages", Vec::<Value>::new()))
}

// ---- listing

/// A metric with its dimensions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Listed {
    namespace: String,
    name: String,
    dimensions: BTreeMap<String, String>,
    /// What a page's token names.
    key: String,
}

impl Listed {
    fn new(namespace: &str, name: &str, dimensions: BTreeMap<String, String>) -> Self {
        let key = format!("{namespace} {name} {}", serde_json::to_string(&dimensions).unwrap_or_default());
        Self { namespace: namespace.to_owned(), name: name.to_owned(), dimensions, key }
    }
}

async fn labels(call: &Call<'_>, name: &str) -> Result<Vec<Json>, Fault> {
    let given = call.ask(Request::MetricsLabels(metrics::Named { name: name.to_owned() })).await.map_err(fault)?;
    Ok(given.as_array().cloned().unwrap_or_default())
}

/// Whether a function has this name, and not a part of the runtime that delivers something, such as `api_destination:crm`.
fn is_function(name: &str) -> bool {
    !name.contains([':', '/'])
}

async fn list_metrics(call: &Call<'_>) -> Result<Value, Fault> {
    let input = &call.input;
    if let Some(option) = ["RecentlyActive", "OwningAccount"].into_iter().find(|name| input.text(name).is_some()) {
        return Err(invalid(format!("{option}: forebay lists all metrics of its one account; leave it out")));
    }
    let wanted = |asked: &str, given: &str| input.text(asked).is_none_or(|text| text == given);
    let mut listed = Vec::new();
    for described in CATALOGUE {
        let Some(aws) = described.aws else { continue };
        if !wanted("Namespace", aws.namespace) || !wanted("MetricName", aws.name) {
            continue;
        }
        for values in labels(call, described.name).await? {
            if values["function"].as_str().is_some_and(|function| !is_function(function)) {
                continue;
            }
            let dimension = |(name, label): &(&str, &str)| {
                let value = values[label].as_str().filter(|value| !value.is_empty())?;
                let arn = || format!("arn:aws:states:{}:{}:stateMachine:{value}", call.region, call.account);
                Some(((*name).to_owned(), if *label == "workflow" { arn() } else { value.to_owned() }))
            };
            listed.push(Listed::new(aws.namespace, aws.name, DIMENSIONS.iter().filter_map(dimension).collect()));
        }
    }
    for values in labels(call, Metric::UserMetric.describe().name).await? {
        let text = |label: &str| values[label].as_str().unwrap_or_default();
        if wanted("Namespace", text("namespace")) && wanted("MetricName", text("name")) {
            let dimensions = serde_json::from_str(text("dimensions")).unwrap_or_default();
            listed.push(Listed::new(text("namespace"), text("name"), dimensions));
        }
    }
    for filter in input.list("Dimensions") {
        listed.retain(|one| {
            let given = one.dimensions.get(filter.needed("Name"));
            given.is_some_and(|given| filter.text("Value").is_none_or(|value| value == given))
        });
    }
    listed.sort_by(|one, other| one.key.cmp(&other.key));
    listed.dedup();
    let from = Token::read(input.text("NextToken")).ok_or_else(|| invalid("NextToken is invalid."))?;
    let (listed, next) = page(listed, PAGE, from, |one| &one.key);
    let metric = |one: Listed| {
        let dimension =
            |(name, value)| Value::structure().with("Name", Value::Text(name)).with("Value", Value::Text(value));
        let dimensions: Vec<Value> = one.dimensions.into_iter().map(dimension).collect();
        Value::structure().with("Namespace", one.namespace).with("MetricName", one.name).with("Dimensions", dimensions)
    };
    Ok(Value::structure()
        .with("Metrics", listed.into_iter().map(metric).collect::<Vec<Value>>())
        .with("NextToken", next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_statistics_keeps_its_count_its_sum_and_both_ends() {
        let set = |count: f64, sum: f64, least: f64, most: f64| {
            Value::structure().with("SampleCount", count).with("Sum", sum).with("Minimum", least).with("Maximum", most)
        };
        let mut kept = Histogram::new();
        let mut record = |value: f64, times: f64| {
            kept.record_n(value, times as u64).unwrap();
            Ok(())
        };
        record_set(&set(5.0, 20.0, 1.0, 9.0), &mut record).unwrap();
        assert_eq!((kept.count(), kept.min(), kept.max()), (5, Some(1.0), Some(9.0)));
        assert!((kept.sum() - 20.0).abs() < 1e-9);
        for wrong in [set(0.0, 0.0, 0.0, 0.0), set(2.0, 1.0, 1.0, 2.0), set(2.0, 3.0, 2.0, 1.0)] {
            assert!(record_set(&wrong, &mut |_, _| Ok(())).is_err());
        }
    }

    #[test]
    fn dimensions_have_one_text_in_whatever_order_they_come() {
        let one = |name: &str, value: &str| Value::structure().with("Name", name).with("Value", value);
        let text = dimensions_text(&[one("b", "2"), one("a", "1")]);
        assert_eq!(text, dimensions_text(&[one("a", "1"), one("b", "2")]));
        assert_eq!(text, r#"{"a":"1","b":"2"}"#);
    }
}
