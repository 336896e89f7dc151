//! Step Functions: where a state machine's events are logged.

use serde_json::Value as Json;

use crate::aws::call::Call;
use crate::aws::fault::Fault;
use crate::aws::value::Value;

/// `LoggingConfiguration`.
pub(super) struct Logging {
    pub(super) level: String,
    pub(super) with_data: bool,
    pub(super) group: Option<String>,
}

impl Logging {
    pub(super) fn read(call: &Call<'_>, given: &Value) -> Result<Self, Fault> {
        let invalid =
            |why: &str| Fault::new("InvalidLoggingConfiguration", format!("Invalid Logging Configuration: {why}"));
        let level = given.text("level").unwrap_or("OFF").to_owned();
        let destinations = given.list("destinations");
        if destinations.len() > 1 || destinations.is_empty() && level != "OFF" {
            return Err(invalid("Must specify exactly one Log Destination."));
        }
        let group = destinations.first().map(|destination| {
            let arn = destination.get("cloudWatchLogsLogGroup").and_then(|group| group.text("logGroupArn"));
            let prefix = format!("arn:aws:logs:{}:{}:log-group:", call.region, call.account);
            let name = arn.and_then(|arn| arn.strip_prefix(&prefix)).map(|name| name.trim_end_matches(":*").to_owned());
            name.filter(|name| !name.is_empty()).ok_or_else(|| invalid("Must specify exactly one Log Destination."))
        });
        let with_data = given.flag("includeExecutionData").unwrap_or(false);
        Ok(Self { level, with_data, group: group.transpose()? })
    }

    /// As a machine has it; of none, nothing is logged.
    pub(super) fn of(machine: &Json) -> Self {
        Self {
            level: machine["log_level"].as_str().unwrap_or("OFF").to_owned(),
            with_data: machine["include_execution_data"].as_bool().unwrap_or(false),
            group: machine["log_group"].as_str().map(str::to_owned),
        }
    }
}

/// A machine's `LoggingConfiguration`.
pub(super) fn described_logging(machine: &Json) -> Value {
    let Logging { level, with_data, group } = Logging::of(machine);
    let account_of = |arn: &str| arn.splitn(6, ':').skip(3).take(2).collect::<Vec<_>>().join(":");
    let place = account_of(machine["arn"].as_str().unwrap_or_default());
    let destinations = group.map(|group| {
        let arn = Value::structure().with("logGroupArn", format!("arn:aws:logs:{place}:log-group:{group}:*"));
        vec![Value::structure().with("cloudWatchLogsLogGroup", arn)]
    });
    Value::structure()
        .with("level", level)
        .with("includeExecutionData", with_data)
        .with("destinations", destinations.map_or(Value::Null, Value::List))
}
