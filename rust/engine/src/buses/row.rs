//! Buses, rules and schedules as they are kept, and what is refused when one is declared.

use std::sync::Arc;

use forebay_core::pattern::bus::Rule as Pattern;
use forebay_core::schedule::{Dialect, Expression};
use forebay_core::template::{self, InputTexts, Path, TransformerTexts};
use serde::{Deserialize, Serialize};

use crate::api::bus::{Enforce, Input, Recipient, RuleSettings, ScheduleSettings, Target};
use crate::api::notes::Notes;
use crate::base::error::EngineError;
use crate::base::limits::{BUS_NAME_CHARACTERS_MAX, RULE_EVENT_AGE_MS_MIN, RULE_NAME_CHARACTERS_MAX, RULE_TARGETS_MAX};
use crate::buses::http_parameters::CompiledParameters;
use crate::failures::routed::RetryPolicy;

/// The bus that always exists.
pub(crate) const DEFAULT: &str = "default";
const TARGET_ID_CHARACTERS_MAX: usize = 64;
pub(super) const FIFO: &str = ".fifo";

/// A bus's row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BusRow {
    pub(crate) name: String,
    pub(crate) created_ms: u64,
    /// Whether schemas are discovered from its events.
    #[serde(default)]
    pub(crate) discovery: bool,
    /// Whose schemas its events must fit.
    #[serde(default)]
    pub(crate) enforce: Enforce,
    /// What it is for.
    #[serde(default)]
    pub(crate) description: String,
    #[serde(default, skip_serializing_if = "Notes::is_empty")]
    pub(crate) notes: Notes,
}

impl BusRow {
    pub(crate) fn new(name: &str, created_ms: u64) -> Self {
        Self {
            name: name.into(),
            created_ms,
            discovery: false,
            enforce: Enforce::default(),
            description: String::new(),
            notes: Notes::new(),
        }
    }
}

/// A rule's row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RuleRow {
    /// Owns its failures.
    pub(crate) id: u64,
    pub(crate) bus: String,
    pub(crate) name: String,
    pub(crate) created_ms: u64,
    #[serde(default, skip_serializing_if = "Notes::is_empty")]
    pub(crate) notes: Notes,
    #[serde(flatten)]
    pub(crate) settings: RuleSettings,
}

/// A schedule's row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ScheduleRow {
    pub(crate) name: String,
    pub(crate) created_ms: u64,
    /// When its settings were changed last; `None`: never, or by a release that did not keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) modified_ms: Option<u64>,
    /// Rates count from here: when it was declared, changed or enabled last.
    pub(crate) enabled_ms: u64,
    /// When it is due next; `None`: never again.
    pub(crate) next_due_ms: Option<u64>,
    /// The same, later by what was drawn from its flexible window.
    pub(crate) fires_ms: Option<u64>,
    pub(crate) missed: u64,
    #[serde(flatten)]
    pub(crate) settings: ScheduleSettings,
}

fn refuse<T>(text: impl Into<String>) -> Result<T, EngineError> {
    Err(EngineError::Invalid(text.into()))
}

/// Refuse a name that no bus can have.
pub(crate) fn check_bus_name(name: &str) -> Result<(), EngineError> {
    let is_word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/.-_".contains(&byte));
    if is_word && (1..=BUS_NAME_CHARACTERS_MAX).contains(&name.len()) {
        return Ok(());
    }
    refuse(format!(
        "name is {name:?}: a bus's name has 1 to {BUS_NAME_CHARACTERS_MAX} letters, digits, '/', '.', '-' and '_'"
    ))
}

/// Refuse a name that no rule and no schedule can have.
pub(crate) fn check_rule_name(name: &str, kind: &str) -> Result<(), EngineError> {
    let is_word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    if is_word && (1..=RULE_NAME_CHARACTERS_MAX).contains(&name.len()) {
        return Ok(());
    }
    refuse(format!(
        "name is {name:?}: a {kind}'s name has 1 to {RULE_NAME_CHARACTERS_MAX} letters, digits, '.', '-' and '_'"
    ))
}

/// Refuse the settings of a rule, JSON, that no rule can have.
pub fn check_rule(settings: &[u8]) -> Result<(), EngineError> {
    let settings: RuleSettings =
        serde_json::from_slice(settings).map_err(|error| EngineError::Invalid(error.to_string()))?;
    settings.compile("").map(drop)
}

/// What is read out of a rule's settings once.
pub(crate) struct Compiled {
    /// Which events it routes; a rule that has a schedule may route none.
    pub(crate) pattern: Option<Arc<Pattern>>,
    pub(crate) targets: Vec<CompiledTarget>,
}

/// What is read out of a target's settings once.
pub(crate) struct CompiledTarget {
    /// `rule/target`, as it is remembered of each event.
    pub(crate) name: Arc<str>,
    pub(crate) input: template::Input,
    pub(crate) partition_key: Option<Path>,
    pub(crate) http: Option<CompiledParameters>,
    pub(crate) retry: RetryPolicy,
}

impl RuleSettings {
    /// Read what stands in texts; refuse what cannot be, with AWS's words where it has some.
    pub(crate) fn compile(&self, rule: &str) -> Result<Compiled, EngineError> {
        if let Some(expression) = &self.schedule_expression {
            Expression::parse(Dialect::Rule, expression).map_err(|error| EngineError::Invalid(error.to_string()))?;
        } else if self.pattern.is_empty() {
            return refuse("Parameter(s) EventPattern or ScheduleExpression must be specified.");
        }
        let pattern = Some(&self.pattern).filter(|text| !text.is_empty());
        let pattern = pattern.map(|text| parse_pattern(text)).transpose()?;
        if self.targets.len() > RULE_TARGETS_MAX {
            return refuse("The requested resource exceeds the maximum number allowed.");
        }
        for (at, target) in self.targets.iter().enumerate() {
            if self.targets[..at].iter().any(|other| other.id == target.id) {
                return refuse(format!("targets: two have the id {:?}", target.id));
            }
        }
        let targets = self.targets.iter().map(|target| target.compile(rule)).collect::<Result<_, _>>()?;
        Ok(Compiled { pattern: pattern.map(Arc::new), targets })
    }
}

/// Read a rule's pattern; what is wrong with one is told in AWS's words, and where.
pub(crate) fn parse_pattern(text: &str) -> Result<Pattern, EngineError> {
    Pattern::parse(text).map_err(|error| EngineError::Invalid(format!("{}\n at {}", error.summary(), error.place())))
}

impl Target {
    fn compile(&self, rule: &str) -> Result<CompiledTarget, EngineError> {
        let is_word = self.id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
        if !is_word || !(1..=TARGET_ID_CHARACTERS_MAX).contains(&self.id.len()) {
            return refuse(format!(
                "target id is {:?}: allowed are 1 to {TARGET_ID_CHARACTERS_MAX} letters, digits, '.', '-' and '_'",
                self.id
            ));
        }
        if matches!(self.to, Recipient::Rule(_)) {
            return refuse(format!("target {:?}: a rule is not a target of a rule", self.id));
        }
        check_recipient(&self.to, self.group_id.as_deref())?;
        check_dead_letter_queue(self.dead_letter_queue.as_deref())
            .map_err(|error| EngineError::Invalid(format!("target {:?}: {error}", self.id)))?;
        let is_stream = matches!(self.to, Recipient::Stream(_));
        let partition_key = match self.partition_key_path.as_deref() {
            Some(_) if !is_stream => {
                return refuse(format!("target {:?}: only a stream has a partition_key_path", self.id));
            }
            Some(text) => Some(Path::parse(text).map_err(|reason| {
                EngineError::Invalid(format!("partition_key_path of target {} is {text:?}: {reason}", self.id))
            })?),
            None => None,
        };
        let http = match &self.http_parameters {
            Some(_) if !matches!(self.to, Recipient::ApiDestination(_)) => {
                return refuse(format!("target {:?}: only an API destination has http_parameters", self.id));
            }
            given => given.as_ref().map(|given| given.compile(&self.id)).transpose()?,
        };
        let (name, input) = (format!("{rule}/{}", self.id).into(), self.input.compile(&self.id)?);
        let of = format!("target {}", self.id);
        let retry = retry_policy(&of, self.maximum_retry_attempts, self.maximum_event_age_ms)?;
        Ok(CompiledTarget { name, input, partition_key, http, retry })
    }
}

/// How often, and for how long (ms), an event is given again to what `of` names.
/// <https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_RetryPolicy.html>
pub(crate) fn retry_policy(of: &str, attempts: Option<u32>, age_ms: Option<u64>) -> Result<RetryPolicy, EngineError> {
    let most = RetryPolicy::default();
    let attempts_max = attempts.unwrap_or(most.attempts_max);
    let age_max_ms = age_ms.unwrap_or(most.age_max_ms);
    if attempts_max > most.attempts_max {
        return refuse(format!(
            "maximum_retry_attempts of {of} is {attempts_max}: allowed are 0 to {}",
            most.attempts_max
        ));
    }
    if !(RULE_EVENT_AGE_MS_MIN as u64..=most.age_max_ms).contains(&age_max_ms) {
        return refuse(format!("maximum_event_age of {of} is {} s: allowed are 60 s to 86400 s", age_max_ms / 1000));
    }
    Ok(RetryPolicy { attempts_max, age_max_ms })
}

/// Refuse a message group where there can be none, and its want where there must be one. Messages of standard queues may have one, which orders
/// nothing.
pub(crate) fn check_recipient(to: &Recipient, group_id: Option<&str>) -> Result<(), EngineError> {
    match (to, group_id) {
        (Recipient::Queue(name), None) if name.ends_with(FIFO) => {
            refuse("a FIFO queue needs a group_id: its messages all go to one group")
        }
        (Recipient::Queue(_), _) | (_, None) => Ok(()),
        (_, Some(_)) => refuse("group_id: only a queue has message groups"),
    }
}

/// Refuse a FIFO queue as dead-letter queue.
pub(crate) fn check_dead_letter_queue(queue: Option<&str>) -> Result<(), EngineError> {
    match queue {
        Some(name) if name.ends_with(FIFO) => refuse("a dead-letter queue is a standard queue, no FIFO queue"),
        _ => Ok(()),
    }
}

/// Whether what goes to `to`, and else to a dead-letter queue, may come to the recipient.
pub(crate) fn gives_to(to: &Recipient, dead_letter_queue: Option<&str>, recipient: &Recipient) -> bool {
    to == recipient || matches!((dead_letter_queue, recipient), (Some(one), Recipient::Queue(queue)) if one == queue)
}

impl Input {
    fn compile(&self, target: &str) -> Result<template::Input, EngineError> {
        let transformer = self.input_transformer.as_ref();
        let texts = InputTexts {
            input: self.input.as_deref(),
            input_path: self.input_path.as_deref(),
            transformer: transformer.map(|one| TransformerTexts { paths: &one.paths, template: &one.template }),
        };
        template::Input::parse(target, &texts).map_err(|error| EngineError::Invalid(error.to_string()))
    }
}
