//! Which fields each object of a definition has, and what their values may be.

use super::QueryLanguage;
use crate::workflow::query::SECONDS_MAX;

/// What a field's value may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Any,
    Text,
    /// A text that an expression may stand for in JSONata.
    TextOrExpression,
    Bool,
    Object,
    /// An object, or in JSONata an expression.
    ObjectOrExpression,
    List,
    FullList,
    /// A list, or in JSONata an expression.
    ListOrExpression,
    /// Bounds; an expression may stand for it in JSONata.
    Integer(Range),
    Number(Range),
    /// The same where no expression may stand for it: nothing is evaluated there.
    PlainInteger(Range),
    PlainNumber(Range),
    Enum(&'static [&'static str]),
    Path,
    NullablePath,
    ReferencePath,
    NullableReferencePath,
    ReferencePathOrFunction,
    Timestamp,
    Resource,
    /// A payload template.
    Template,
}

/// Bounds of a number, both allowed themselves unless `is_exclusive` says that the lower one is not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Range {
    pub(super) least: i64,
    pub(super) most: i64,
    pub(super) is_exclusive: bool,
}

const fn from(least: i64, most: i64) -> Range {
    Range { least, most, is_exclusive: false }
}

const fn above(least: i64, most: i64) -> Range {
    Range { least, most, is_exclusive: true }
}

type Field = (&'static str, Kind);

/// An object's fields.
#[derive(Clone, Debug, Default)]
pub(super) struct Schema {
    pub(super) fields: Vec<Field>,
    pub(super) required: Vec<&'static str>,
    /// Of each group exactly one must be there.
    pub(super) one_of: Vec<&'static [&'static str]>,
    /// Of each group one at most may be there.
    pub(super) at_most_one: Vec<&'static [&'static str]>,
}

/// Most seconds of `MaxDelaySeconds`: 366 days.
const DELAY_MAX: i64 = 31_622_400;
/// Most items that a reader reads.
const ITEMS_MAX: i64 = 100_000_000;

pub(super) const STATE_TYPES: &[&str] = &["Task", "Wait", "Pass", "Succeed", "Fail", "Choice", "Parallel", "Map"];
pub(super) const LANGUAGES: &[&str] = &["JSONPath", "JSONata"];

impl Schema {
    fn of(fields: &[Field]) -> Self {
        Self { fields: fields.to_vec(), ..Self::default() }
    }

    fn with(mut self, fields: &[Field]) -> Self {
        self.fields.extend_from_slice(fields);
        self
    }

    fn required(mut self, fields: &[&'static str]) -> Self {
        self.required.extend_from_slice(fields);
        self
    }

    fn one_of(mut self, group: &'static [&'static str]) -> Self {
        self.one_of.push(group);
        self
    }

    fn at_most_one(mut self, group: &'static [&'static str]) -> Self {
        self.at_most_one.push(group);
        self
    }
}

/// A whole machine.
pub(super) fn machine() -> Schema {
    Schema::of(&[
        ("Comment", Kind::Text),
        ("States", Kind::Object),
        ("StartAt", Kind::Text),
        ("Version", Kind::Enum(&["1.0"])),
        ("TimeoutSeconds", Kind::PlainInteger(above(0, SECONDS_MAX))),
        ("QueryLanguage", Kind::Enum(LANGUAGES)),
        ("ProcessorConfig", Kind::Object),
    ])
    .required(&["States", "StartAt"])
}

/// A branch, or a Map state's processor.
pub(super) fn flow(is_processor: bool) -> Schema {
    let fields: &[Field] = &[("Comment", Kind::Text), ("States", Kind::Object), ("StartAt", Kind::Text)];
    let schema = Schema::of(fields).required(&["States", "StartAt"]);
    if is_processor {
        schema.with(&[("ProcessorConfig", Kind::Object)])
    } else {
        schema
    }
}

const MODES: &[&str] = &["INLINE", "DISTRIBUTED"];
const EXECUTION_TYPES: &[&str] = &["STANDARD", "EXPRESS"];

pub(super) fn processor_config() -> Schema {
    Schema::of(&[("Mode", Kind::Enum(MODES)), ("ExecutionType", Kind::Enum(EXECUTION_TYPES))])
}

/// What every state has.
fn common() -> Schema {
    Schema::of(&[("Type", Kind::Enum(STATE_TYPES)), ("Comment", Kind::Text), ("QueryLanguage", Kind::Enum(LANGUAGES))])
        .required(&["Type"])
}

const NEXT: &[Field] = &[("Next", Kind::Text), ("End", Kind::Bool)];
const IO_PATHS: &[Field] = &[("InputPath", Kind::NullablePath), ("OutputPath", Kind::NullablePath)];
const ASSIGN: &[Field] = &[("Assign", Kind::Template)];
const OUTPUT: &[Field] = &[("Output", Kind::Any)];
const PARAMETERS: &[Field] = &[("Parameters", Kind::Template)];
const RESULT: &[Field] = &[("ResultSelector", Kind::Template), ("ResultPath", Kind::NullableReferencePath)];
const FAILURES: &[Field] = &[("Retry", Kind::List), ("Catch", Kind::List)];

/// A state's fields. statelint allows two fields that AWS refuses.
pub(super) fn state(kind: &str, language: QueryLanguage, is_lint: bool) -> Schema {
    match language {
        QueryLanguage::JsonPath => json_path_state(kind, is_lint),
        QueryLanguage::Jsonata => jsonata_state(kind),
    }
}

fn json_path_state(kind: &str, is_lint: bool) -> Schema {
    let schema = common();
    match kind {
        "Task" => schema
            .with(NEXT)
            .with(IO_PATHS)
            .with(ASSIGN)
            .with(PARAMETERS)
            .with(RESULT)
            .with(FAILURES)
            .with(&task_fields())
            .with(&[
                ("TimeoutSecondsPath", Kind::ReferencePath),
                ("HeartbeatSecondsPath", Kind::ReferencePath),
                ("Credentials", Kind::Object),
            ])
            .required(&["Resource"])
            .at_most_one(&["TimeoutSeconds", "TimeoutSecondsPath"])
            .at_most_one(&["HeartbeatSeconds", "HeartbeatSecondsPath"]),
        "Pass" => schema
            .with(NEXT)
            .with(IO_PATHS)
            .with(ASSIGN)
            .with(PARAMETERS)
            .with(&[("Result", Kind::Any), ("ResultPath", Kind::NullableReferencePath)]),
        "Wait" => schema
            .with(NEXT)
            .with(IO_PATHS)
            .with(ASSIGN)
            .with(&[
                ("Seconds", Kind::Integer(from(0, SECONDS_MAX))),
                ("Timestamp", Kind::Timestamp),
                ("SecondsPath", Kind::ReferencePath),
                ("TimestampPath", Kind::ReferencePath),
            ])
            .one_of(&["Seconds", "SecondsPath", "Timestamp", "TimestampPath"]),
        "Choice" => schema
            .with(IO_PATHS)
            .with(ASSIGN)
            .with(&[("Choices", Kind::FullList), ("Default", Kind::Text)])
            .required(&["Choices"]),
        "Succeed" => schema.with(IO_PATHS).with(&[("End", Kind::Bool)]),
        "Fail" => schema
            .with(&[
                ("Error", Kind::Text),
                ("Cause", Kind::Text),
                ("ErrorPath", Kind::ReferencePathOrFunction),
                ("CausePath", Kind::ReferencePathOrFunction),
                ("End", Kind::Bool),
            ])
            .at_most_one(&["Cause", "CausePath"])
            .at_most_one(&["Error", "ErrorPath"]),
        "Parallel" => with_lint_timeout(schema, is_lint)
            .with(NEXT)
            .with(IO_PATHS)
            .with(ASSIGN)
            .with(PARAMETERS)
            .with(RESULT)
            .with(FAILURES)
            .with(&[("Branches", Kind::FullList)])
            .required(&["Branches"]),
        _ => json_path_map(with_lint_timeout(schema, is_lint)),
    }
}

fn json_path_map(schema: Schema) -> Schema {
    schema
        .with(NEXT)
        .with(IO_PATHS)
        .with(ASSIGN)
        .with(PARAMETERS)
        .with(RESULT)
        .with(FAILURES)
        .with(&map_fields())
        .with(&[
            ("ItemsPath", Kind::Path),
            ("MaxConcurrencyPath", Kind::ReferencePath),
            ("ToleratedFailureCountPath", Kind::ReferencePath),
            ("ToleratedFailurePercentagePath", Kind::ReferencePath),
        ])
        .one_of(&["Iterator", "ItemProcessor"])
        .at_most_one(&["Parameters", "ItemSelector"])
        .at_most_one(&["MaxConcurrency", "MaxConcurrencyPath"])
        .at_most_one(&["ToleratedFailureCount", "ToleratedFailureCountPath"])
        .at_most_one(&["ToleratedFailurePercentage", "ToleratedFailurePercentagePath"])
}

fn jsonata_state(kind: &str) -> Schema {
    let schema = common();
    match kind {
        "Task" => schema
            .with(NEXT)
            .with(ASSIGN)
            .with(OUTPUT)
            .with(FAILURES)
            .with(&task_fields())
            .with(&[("Arguments", Kind::ObjectOrExpression), ("Credentials", Kind::Object)])
            .required(&["Resource"]),
        "Pass" => schema.with(NEXT).with(ASSIGN).with(OUTPUT),
        "Wait" => schema
            .with(NEXT)
            .with(ASSIGN)
            .with(OUTPUT)
            .with(&[("Seconds", Kind::Integer(from(0, SECONDS_MAX))), ("Timestamp", Kind::Timestamp)])
            .one_of(&["Seconds", "Timestamp"]),
        "Choice" => schema
            .with(ASSIGN)
            .with(OUTPUT)
            .with(&[("Choices", Kind::FullList), ("Default", Kind::Text)])
            .required(&["Choices"]),
        "Succeed" => schema.with(OUTPUT).with(&[("End", Kind::Bool)]),
        "Fail" => {
            schema.with(&[("Error", Kind::TextOrExpression), ("Cause", Kind::TextOrExpression), ("End", Kind::Bool)])
        }
        "Parallel" => schema
            .with(NEXT)
            .with(ASSIGN)
            .with(OUTPUT)
            .with(FAILURES)
            .with(&[("Branches", Kind::FullList), ("Arguments", Kind::ObjectOrExpression)])
            .required(&["Branches"]),
        _ => schema
            .with(NEXT)
            .with(ASSIGN)
            .with(OUTPUT)
            .with(FAILURES)
            .with(&map_fields())
            .with(&[("Items", Kind::ListOrExpression)])
            .one_of(&["Iterator", "ItemProcessor"]),
    }
}

fn with_lint_timeout(schema: Schema, is_lint: bool) -> Schema {
    if is_lint {
        schema.with(&[("TimeoutSeconds", Kind::Integer(above(0, SECONDS_MAX)))])
    } else {
        schema
    }
}

fn task_fields() -> [Field; 3] {
    [
        ("Resource", Kind::Resource),
        ("TimeoutSeconds", Kind::Integer(above(0, SECONDS_MAX))),
        ("HeartbeatSeconds", Kind::Integer(above(0, SECONDS_MAX))),
    ]
}

fn map_fields() -> [Field; 10] {
    [
        ("ItemProcessor", Kind::Object),
        ("Iterator", Kind::Object),
        ("ItemSelector", Kind::Template),
        ("MaxConcurrency", Kind::Integer(from(0, i64::MAX))),
        ("ItemReader", Kind::Object),
        ("ItemBatcher", Kind::Object),
        ("ResultWriter", Kind::Object),
        ("ToleratedFailureCount", Kind::Integer(from(0, i64::MAX))),
        ("ToleratedFailurePercentage", Kind::Number(from(0, 100))),
        ("Label", Kind::Text),
    ]
}

pub(super) fn retrier() -> Schema {
    Schema::of(&[
        ("Comment", Kind::Text),
        ("ErrorEquals", Kind::FullList),
        ("IntervalSeconds", Kind::PlainInteger(above(0, SECONDS_MAX))),
        ("MaxAttempts", Kind::PlainInteger(from(0, SECONDS_MAX))),
        ("BackoffRate", Kind::PlainNumber(from(1, i64::MAX))),
        ("MaxDelaySeconds", Kind::PlainInteger(above(0, DELAY_MAX))),
        ("JitterStrategy", Kind::Enum(&["FULL", "NONE"])),
    ])
    .required(&["ErrorEquals"])
}

pub(super) fn catcher(language: QueryLanguage) -> Schema {
    let schema = Schema::of(&[("Comment", Kind::Text), ("ErrorEquals", Kind::FullList), ("Next", Kind::Text)])
        .with(ASSIGN)
        .required(&["ErrorEquals", "Next"]);
    match language {
        QueryLanguage::JsonPath => schema.with(&[("ResultPath", Kind::NullableReferencePath)]),
        QueryLanguage::Jsonata => schema.with(OUTPUT),
    }
}

const RESOURCE: Field = ("Resource", Kind::Text);

pub(super) fn item_reader(language: QueryLanguage) -> Schema {
    Schema::of(&[RESOURCE, ("ReaderConfig", Kind::Object), arguments(language)]).required(&["Resource"])
}

pub(super) fn result_writer(language: QueryLanguage) -> Schema {
    Schema::of(&[RESOURCE, ("WriterConfig", Kind::Object), arguments(language)])
}

fn arguments(language: QueryLanguage) -> Field {
    match language {
        QueryLanguage::JsonPath => ("Parameters", Kind::Template),
        QueryLanguage::Jsonata => ("Arguments", Kind::ObjectOrExpression),
    }
}

const INPUT_TYPES: &[&str] = &["CSV", "JSON", "JSONL", "PARQUET", "MANIFEST"];
const DELIMITERS: &[&str] = &["COMMA", "PIPE", "SEMICOLON", "SPACE", "TAB"];

pub(super) fn reader_config(language: QueryLanguage) -> Schema {
    let schema = Schema::of(&[
        ("InputType", Kind::Enum(INPUT_TYPES)),
        ("CSVHeaderLocation", Kind::Enum(&["FIRST_ROW", "GIVEN"])),
        ("CSVHeaders", Kind::FullList),
        ("CSVDelimiter", Kind::Enum(DELIMITERS)),
        ("Transformation", Kind::Enum(&["NONE", "LOAD_AND_FLATTEN"])),
        ("ItemsPointer", Kind::Text),
        ("ManifestType", Kind::Enum(&["ATHENA_DATA", "S3_INVENTORY"])),
        ("ExpectedBucketOwner", Kind::TextOrExpression),
        ("MaxItems", Kind::Integer(from(0, ITEMS_MAX))),
    ]);
    match language {
        QueryLanguage::JsonPath => {
            schema.with(&[("MaxItemsPath", Kind::ReferencePath)]).at_most_one(&["MaxItems", "MaxItemsPath"])
        }
        QueryLanguage::Jsonata => schema,
    }
}

pub(super) fn writer_config() -> Schema {
    Schema::of(&[
        ("OutputType", Kind::Enum(&["JSON", "JSONL"])),
        ("Transformation", Kind::Enum(&["NONE", "COMPACT", "FLATTEN"])),
    ])
}

pub(super) fn item_batcher(language: QueryLanguage) -> Schema {
    let schema = Schema::of(&[
        ("BatchInput", Kind::Template),
        ("MaxItemsPerBatch", Kind::Integer(above(0, ITEMS_MAX))),
        ("MaxInputBytesPerBatch", Kind::Integer(above(0, 262_144))),
    ]);
    match language {
        QueryLanguage::JsonPath => schema
            .with(&[("MaxItemsPerBatchPath", Kind::ReferencePath), ("MaxInputBytesPerBatchPath", Kind::ReferencePath)])
            .at_most_one(&["MaxItemsPerBatch", "MaxItemsPerBatchPath"])
            .at_most_one(&["MaxInputBytesPerBatch", "MaxInputBytesPerBatchPath"]),
        QueryLanguage::Jsonata => schema,
    }
}

/// A rule of a Choice state; `is_top` is one of `Choices` itself.
pub(super) fn choice_rule(language: QueryLanguage, is_top: bool) -> Schema {
    let mut schema = Schema::of(&[("Comment", Kind::Text)]);
    if language == QueryLanguage::Jsonata {
        return schema
            .with(&[("Condition", Kind::Any), ("Next", Kind::Text)])
            .with(ASSIGN)
            .with(OUTPUT)
            .required(&["Condition", "Next"]);
    }
    if is_top {
        schema = schema.with(&[("Next", Kind::Text)]).with(ASSIGN).with(OUTPUT).required(&["Next"]);
    }
    schema.with(&[("Variable", Kind::Path)]).with(&comparisons()).one_of(COMBINATORS_AND_COMPARISONS)
}

fn comparisons() -> Vec<Field> {
    COMBINATORS_AND_COMPARISONS.iter().map(|name| (*name, comparison(name))).collect()
}

fn comparison(name: &str) -> Kind {
    match name {
        "And" | "Or" => Kind::FullList,
        "Not" => Kind::Object,
        _ if name.ends_with("Path") => Kind::ReferencePath,
        _ if name.starts_with("Is") || name.starts_with("Boolean") => Kind::Bool,
        _ if name.starts_with("String") => Kind::Text,
        _ if name.starts_with("Timestamp") => Kind::Timestamp,
        _ => Kind::Number(from(i64::MIN, i64::MAX)),
    }
}

#[rustfmt::skip]
pub(super) const COMBINATORS_AND_COMPARISONS: &[&str] = &[
    "And", "Or", "Not",
    "StringEquals", "StringEqualsPath", "StringLessThan", "StringLessThanPath", "StringGreaterThan", "StringGreaterThanPath",
    "StringLessThanEquals", "StringLessThanEqualsPath", "StringGreaterThanEquals", "StringGreaterThanEqualsPath", "StringMatches",
    "NumericEquals", "NumericEqualsPath", "NumericLessThan", "NumericLessThanPath", "NumericGreaterThan", "NumericGreaterThanPath",
    "NumericLessThanEquals", "NumericLessThanEqualsPath", "NumericGreaterThanEquals", "NumericGreaterThanEqualsPath",
    "BooleanEquals", "BooleanEqualsPath",
    "TimestampEquals", "TimestampEqualsPath", "TimestampLessThan", "TimestampLessThanPath", "TimestampGreaterThan",
    "TimestampGreaterThanPath", "TimestampLessThanEquals", "TimestampLessThanEqualsPath", "TimestampGreaterThanEquals",
    "TimestampGreaterThanEqualsPath",
    "IsNull", "IsPresent", "IsNumeric", "IsString", "IsBoolean", "IsTimestamp",
];
