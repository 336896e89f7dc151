//! Builds a machine out of a definition that was checked: names become indices, texts become parsed expressions.

use serde_json::{Map, Value};

use super::check::{language, list, PROCESSORS};
use super::problem::{Fault, Problem};
use super::resource::Resource;
use super::{
    Batcher, Body, Catcher, Choice, ChoiceTarget, Definition, Delimiter, Distributed, FailBody, FlowIndex, InputType,
    Io, Items, JsonataIo, MachineType, MapBody, PathField, PathIo, QueryLanguage, Reader, ReaderFormat, ResultPath,
    Retrier, State, StateIndex, StateKind, Task, Transformation, Until, Writer, WriterFormat,
};
use crate::workflow::choice::ChoiceRule;
use crate::workflow::jsonata::JsonataTemplate;
use crate::workflow::path::{Path, ReferencePath};
use crate::workflow::query::{Choices, Operand, Payload};
use crate::workflow::template::{FieldExpression, Template};

type Object = Map<String, Value>;
type Built<T> = Result<T, Problem>;

/// Build a machine. What parsing refuses beyond the check is told as a problem, too.
pub(super) fn definition(machine: &Object) -> Result<Definition, Vec<Problem>> {
    let language = language(machine, QueryLanguage::JsonPath);
    let mut builder = Builder { states: Vec::new(), starts: Vec::new() };
    builder.flow("", machine, language).map_err(|problem| vec![problem])?;
    let states = builder.states.into_iter().flatten().collect();
    let timeout_seconds = machine.get("TimeoutSeconds").and_then(Value::as_u64);
    Ok(Definition { states, starts: builder.starts, timeout_seconds })
}

struct Builder {
    states: Vec<Option<State>>,
    starts: Vec<StateIndex>,
}

/// A state while it is built: its fields, its place, and where its neighbours are.
struct Site<'a> {
    place: String,
    fields: &'a Object,
    language: QueryLanguage,
    /// The states of the same flow: the first one's index and their names in order.
    first: u32,
    names: &'a [&'a String],
}

impl Builder {
    fn flow(&mut self, place: &str, flow: &Object, language: QueryLanguage) -> Built<FlowIndex> {
        let nothing = Object::new();
        let states = flow.get("States").and_then(Value::as_object).unwrap_or(&nothing);
        let names: Vec<&String> = states.keys().collect();
        let first = self.states.len() as u32;
        self.states.resize_with(self.states.len() + names.len(), || None);
        let start = flow.get("StartAt").and_then(Value::as_str).unwrap_or_default();
        let number = FlowIndex(self.starts.len() as u32);
        self.starts.push(target(&names, first, start, place)?);
        for (offset, (name, state)) in states.iter().enumerate() {
            let place = format!("{place}/States/{name}");
            let Some(fields) = state.as_object() else { continue };
            let language = super::check::language(fields, language);
            let site = Site { place, fields, language, first, names: &names };
            self.states[first as usize + offset] = Some(self.state(name, &site)?);
        }
        Ok(number)
    }

    fn state(&mut self, name: &str, site: &Site<'_>) -> Built<State> {
        let kind = kind_of(site.text("Type").unwrap_or_default());
        let next = site.text("Next").map(|next| site.target(next)).transpose()?;
        Ok(State {
            name: name.into(),
            kind,
            body: self.body(site, kind)?,
            next,
            io: site.io()?,
            assign: site.payload("Assign")?,
            retry: list(site.fields, "Retry").iter().map(retrier).collect(),
            catch: site.catchers()?,
            reads_context: reads_context(site),
        })
    }

    fn body(&mut self, site: &Site<'_>, kind: StateKind) -> Built<Body> {
        Ok(match kind {
            StateKind::Pass => Body::Pass { result: site.fields.get("Result").cloned() },
            StateKind::Task => Body::Task(Box::new(site.task()?)),
            StateKind::Choice => Body::Choice(Box::new(site.choice()?)),
            StateKind::Wait => Body::Wait(site.until()?),
            StateKind::Succeed => Body::Succeed,
            StateKind::Fail => {
                let (error, cause) = (site.text_operand("Error")?, site.text_operand("Cause")?);
                Body::Fail(Box::new(FailBody { error, cause }))
            }
            StateKind::Parallel => {
                let branches = list(site.fields, "Branches").iter().enumerate();
                let mut flows = Vec::new();
                for (index, branch) in branches {
                    let Some(branch) = branch.as_object() else { continue };
                    flows.push(self.flow(&format!("{}/Branches[{index}]", site.place), branch, site.language)?);
                }
                Body::Parallel(flows)
            }
            StateKind::Map => Body::Map(Box::new(self.map(site)?)),
        })
    }

    fn map(&mut self, site: &Site<'_>) -> Built<MapBody> {
        let found = PROCESSORS.iter().find_map(|name| Some((*name, site.object(name)?)));
        let Some((name, processor)) = found else {
            return Err(site.problem("", Fault::RequiredOneOf(PROCESSORS.to_vec())));
        };
        let flow = self.flow(&format!("{}/{name}", site.place), processor, site.language)?;
        let config = processor.get("ProcessorConfig").and_then(Value::as_object);
        let option = |name: &str| config.and_then(|config| config.get(name)).and_then(Value::as_str);
        let distributed = match option("Mode") {
            Some("DISTRIBUTED") => Some(site.distributed(option("ExecutionType"))?),
            _ => None,
        };
        let selector = if site.fields.contains_key("ItemSelector") { "ItemSelector" } else { "Parameters" };
        Ok(MapBody {
            flow,
            is_path: site.language == QueryLanguage::JsonPath,
            items: site.items()?,
            selector: site.payload(selector)?,
            concurrency: site.operand(site.fields, "MaxConcurrency")?,
            tolerated_count: site.operand(site.fields, "ToleratedFailureCount")?,
            tolerated_percentage: site.operand(site.fields, "ToleratedFailurePercentage")?,
            distributed,
        })
    }
}

impl<'a> Site<'a> {
    fn text(&self, name: &str) -> Option<&'a str> {
        self.fields.get(name).and_then(Value::as_str)
    }

    fn object(&self, name: &str) -> Option<&'a Object> {
        self.fields.get(name).and_then(Value::as_object)
    }

    fn problem(&self, field: &str, fault: Fault) -> Problem {
        let location = if field.is_empty() { self.place.clone() } else { format!("{}/{field}", self.place) };
        Problem { fault, location }
    }

    fn target(&self, name: &str) -> Built<StateIndex> {
        target(self.names, self.first, name, &self.place)
    }

    /// A payload template in the state's language.
    fn payload(&self, name: &str) -> Built<Option<Payload>> {
        self.payload_of(self.fields, name, name)
    }

    /// The same of another object of the state; failures name it as `field`.
    fn payload_of(&self, fields: &Object, name: &str, field: &str) -> Built<Option<Payload>> {
        let Some(value) = fields.get(name) else { return Ok(None) };
        match self.language {
            QueryLanguage::JsonPath => Template::parse(value)
                .map(|template| Some(Payload::JsonPath(template)))
                .map_err(|_| self.problem(field, Fault::NotTemplate(name.to_owned()))),
            QueryLanguage::Jsonata => self.jsonata(value, field).map(|template| Some(Payload::Jsonata(template))),
        }
    }

    fn jsonata(&self, value: &Value, field: &str) -> Built<JsonataTemplate> {
        JsonataTemplate::parse(value, field).map_err(|problem| {
            self.problem(&format!("{field}{}", problem.place), Fault::Expression(problem.code, problem.message))
        })
    }

    fn path(&self, name: &str) -> Built<PathField> {
        match self.fields.get(name) {
            None => Ok(PathField::Whole),
            Some(Value::Null) => Ok(PathField::Nothing),
            Some(value) if value == "$" => Ok(PathField::Whole),
            Some(value) => self.parse_path(value, name).map(PathField::At),
        }
    }

    fn parse_path(&self, value: &Value, field: &str) -> Built<Path> {
        let text = value.as_str().unwrap_or_default();
        Path::parse(text).map_err(|_| self.problem(field, Fault::NotPath(text.to_owned(), "a JSONPath")))
    }

    fn result_path(&self, fields: &Object, field: &str) -> Built<ResultPath> {
        match fields.get("ResultPath") {
            None => Ok(ResultPath::Replace),
            Some(Value::Null) => Ok(ResultPath::Discard),
            Some(value) if value == "$" => Ok(ResultPath::Replace),
            Some(value) => {
                let text = value.as_str().unwrap_or_default();
                let wrong = |_| self.problem(field, Fault::NotPath(text.to_owned(), "a Reference Path"));
                ReferencePath::parse(text).map(ResultPath::At).map_err(wrong)
            }
        }
    }

    fn io(&self) -> Built<Io> {
        Ok(match self.language {
            QueryLanguage::JsonPath => Io::JsonPath(Box::new(PathIo {
                input: self.path("InputPath")?,
                parameters: self.payload("Parameters")?,
                selector: self.payload("ResultSelector")?,
                result: self.result_path(self.fields, "ResultPath")?,
                output: self.path("OutputPath")?,
            })),
            QueryLanguage::Jsonata => Io::Jsonata(Box::new(JsonataIo {
                arguments: self.payload("Arguments")?,
                output: self.payload("Output")?,
            })),
        })
    }

    /// `NAME`, or `NAMEPath` in JSONPath.
    fn operand(&self, fields: &Object, name: &str) -> Built<Option<Operand>> {
        if let Some(path) = fields.get(&format!("{name}Path")).filter(|_| self.language == QueryLanguage::JsonPath) {
            return self.parse_path(path, &format!("{name}Path")).map(|path| Some(Operand::Path(path)));
        }
        match fields.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if self.language == QueryLanguage::Jsonata => {
                self.jsonata(&text.as_str().into(), name).map(|template| Some(Operand::Jsonata(template)))
            }
            Some(value) => Ok(Some(Operand::Literal(value.clone()))),
        }
    }

    /// `Error` and `Cause`: a text, a path or an intrinsic function, an expression.
    fn text_operand(&self, name: &str) -> Built<Option<Operand>> {
        let field = format!("{name}Path");
        if let Some(text) = self.text(&field).filter(|_| self.language == QueryLanguage::JsonPath) {
            let wrong = |_| self.problem(&field, Fault::NotPath(text.to_owned(), "a JSONPath"));
            return FieldExpression::parse(text, &field).map(|field| Some(Operand::Field(field))).map_err(wrong);
        }
        self.operand(self.fields, name)
    }

    fn task(&self) -> Built<Task> {
        let text = self.text("Resource").unwrap_or_default();
        let wrong = || self.problem("Resource", Fault::NotResource(text.to_owned()));
        Ok(Task {
            resource: Resource::parse(text).ok_or_else(wrong)?,
            timeout: self.operand(self.fields, "TimeoutSeconds")?,
            heartbeat: self.operand(self.fields, "HeartbeatSeconds")?,
            credentials: self.payload("Credentials")?,
        })
    }

    fn until(&self) -> Built<Until> {
        if let Some(seconds) = self.operand(self.fields, "Seconds")? {
            return Ok(Until::Seconds(seconds));
        }
        match self.operand(self.fields, "Timestamp")? {
            Some(timestamp) => Ok(Until::Timestamp(timestamp)),
            None => Err(self.problem("", Fault::RequiredOneOf(vec!["Seconds", "Timestamp"]))),
        }
    }

    fn choice(&self) -> Built<Choice> {
        let rules = list(self.fields, "Choices");
        let mut targets = Vec::with_capacity(rules.len());
        for (index, rule) in rules.iter().enumerate() {
            let nothing = Object::new();
            let fields = rule.as_object().unwrap_or(&nothing);
            let field = |name: &str| format!("Choices[{index}]/{name}");
            targets.push(ChoiceTarget {
                next: self.target(rule.get("Next").and_then(Value::as_str).unwrap_or_default())?,
                output: self.payload_of(fields, "Output", &field("Output"))?,
                assign: self.payload_of(fields, "Assign", &field("Assign"))?,
            });
        }
        let default = self.text("Default").map(|name| self.target(name)).transpose()?;
        Ok(Choice { rules: self.rules(rules)?, targets, default })
    }

    fn rules(&self, rules: &[Value]) -> Built<Choices> {
        match self.language {
            QueryLanguage::JsonPath => {
                let rules = rules.iter().enumerate().map(|(index, rule)| {
                    let place = format!("Choices[{index}]");
                    ChoiceRule::parse(rule).map_err(|problem| {
                        self.problem(
                            &format!("{place}{}", problem.place),
                            Fault::Expression(problem.code, problem.message),
                        )
                    })
                });
                rules.collect::<Built<_>>().map(Choices::JsonPath)
            }
            QueryLanguage::Jsonata => {
                let conditions = rules.iter().enumerate().map(|(index, rule)| {
                    let condition = rule.get("Condition").unwrap_or(&Value::Null);
                    self.jsonata(condition, &format!("Choices[{index}]/Condition"))
                });
                conditions.collect::<Built<_>>().map(Choices::Jsonata)
            }
        }
    }

    fn catchers(&self) -> Built<Vec<Catcher>> {
        let mut catchers = Vec::new();
        for (index, element) in list(self.fields, "Catch").iter().enumerate() {
            let Some(fields) = element.as_object() else { continue };
            let field = |name: &str| format!("Catch[{index}]/{name}");
            catchers.push(Catcher {
                errors: error_names(element),
                next: self.target(element.get("Next").and_then(Value::as_str).unwrap_or_default())?,
                result: self.result_path(fields, &field("ResultPath"))?,
                output: match self.language {
                    QueryLanguage::JsonPath => None,
                    QueryLanguage::Jsonata => self.payload_of(fields, "Output", &field("Output"))?,
                },
                assign: self.payload_of(fields, "Assign", &field("Assign"))?,
            });
        }
        Ok(catchers)
    }

    fn items(&self) -> Built<Option<Items>> {
        match self.language {
            QueryLanguage::JsonPath => match self.fields.get("ItemsPath") {
                Some(path) => self.parse_path(path, "ItemsPath").map(|path| Some(Items::Path(path))),
                None => Ok(None),
            },
            QueryLanguage::Jsonata => Ok(self.payload("Items")?.map(Items::Jsonata)),
        }
    }

    fn distributed(&self, execution_type: Option<&str>) -> Built<Distributed> {
        let execution_type = match execution_type {
            Some("EXPRESS") => MachineType::Express,
            _ => MachineType::Standard,
        };
        Ok(Distributed {
            execution_type,
            label: self.text("Label").map(ToOwned::to_owned),
            reader: self.object("ItemReader").map(|reader| self.reader(reader)).transpose()?,
            batcher: self.object("ItemBatcher").map(|batcher| self.batcher(batcher)).transpose()?,
            writer: self.object("ResultWriter").map(|writer| self.writer(writer)).transpose()?,
        })
    }

    /// `Parameters` or `Arguments` of a reader or a writer.
    fn part_arguments(&self, part: &Object, name: &str) -> Built<Option<Payload>> {
        let arguments = match self.language {
            QueryLanguage::JsonPath => "Parameters",
            QueryLanguage::Jsonata => "Arguments",
        };
        self.payload_of(part, arguments, &format!("{name}/{arguments}"))
    }

    fn reader(&self, reader: &Object) -> Built<Reader> {
        let nothing = Object::new();
        let config = reader.get("ReaderConfig").and_then(Value::as_object).unwrap_or(&nothing);
        Ok(Reader {
            resource: reader.get("Resource").and_then(Value::as_str).unwrap_or_default().to_owned(),
            arguments: self.part_arguments(reader, "ItemReader")?,
            max_items: self.operand(config, "MaxItems")?,
            format: reader_format(config),
        })
    }

    fn batcher(&self, batcher: &Object) -> Built<Batcher> {
        Ok(Batcher {
            input: self.payload_of(batcher, "BatchInput", "ItemBatcher/BatchInput")?,
            items: self.operand(batcher, "MaxItemsPerBatch")?,
            bytes: self.operand(batcher, "MaxInputBytesPerBatch")?,
        })
    }

    fn writer(&self, writer: &Object) -> Built<Writer> {
        let config = writer.get("WriterConfig").and_then(Value::as_object);
        let option = |name: &str| config.and_then(|config| config.get(name)).and_then(Value::as_str);
        Ok(Writer {
            resource: writer.get("Resource").and_then(Value::as_str).unwrap_or_default().to_owned(),
            arguments: self.part_arguments(writer, "ResultWriter")?,
            format: WriterFormat {
                is_lines: option("OutputType") == Some("JSONL"),
                transformation: match option("Transformation") {
                    Some("COMPACT") => Transformation::Compact,
                    Some("FLATTEN") => Transformation::Flatten,
                    _ => Transformation::None,
                },
            },
        })
    }
}

fn target(names: &[&String], first: u32, name: &str, place: &str) -> Built<StateIndex> {
    let offset = names.iter().position(|each| *each == name);
    let problem = || Problem { fault: Fault::NoTarget(name.to_owned()), location: place.to_owned() };
    offset.map(|offset| StateIndex(first + offset as u32)).ok_or_else(problem)
}

fn kind_of(name: &str) -> StateKind {
    match name {
        "Pass" => StateKind::Pass,
        "Task" => StateKind::Task,
        "Choice" => StateKind::Choice,
        "Wait" => StateKind::Wait,
        "Succeed" => StateKind::Succeed,
        "Fail" => StateKind::Fail,
        "Parallel" => StateKind::Parallel,
        _ => StateKind::Map,
    }
}

fn error_names(element: &Value) -> Vec<String> {
    let names = element.get("ErrorEquals").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    names.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect()
}

fn retrier(element: &Value) -> Retrier {
    let number = |name: &str| element.get(name).and_then(Value::as_u64);
    Retrier {
        errors: error_names(element),
        interval_seconds: number("IntervalSeconds").unwrap_or(1),
        attempts: number("MaxAttempts").map_or(3, |attempts| u32::try_from(attempts).unwrap_or(u32::MAX)),
        backoff_rate: element.get("BackoffRate").and_then(Value::as_f64).unwrap_or(2.0),
        delay_max_seconds: number("MaxDelaySeconds"),
        has_jitter: element.get("JitterStrategy").and_then(Value::as_str) == Some("FULL"),
    }
}

pub(super) fn reader_format(config: &Object) -> ReaderFormat {
    let text = |name: &str| config.get(name).and_then(Value::as_str);
    let input_type = match text("InputType") {
        Some("CSV") => Some(InputType::Csv),
        Some("JSON") => Some(InputType::Json),
        Some("JSONL") => Some(InputType::Jsonl),
        Some("PARQUET") => Some(InputType::Parquet),
        Some("MANIFEST") => Some(InputType::Manifest),
        _ => None,
    };
    let delimiter = match text("CSVDelimiter") {
        Some("PIPE") => Delimiter::Pipe,
        Some("SEMICOLON") => Delimiter::Semicolon,
        Some("SPACE") => Delimiter::Space,
        Some("TAB") => Delimiter::Tab,
        _ => Delimiter::Comma,
    };
    let is_given = text("CSVHeaderLocation") == Some("GIVEN");
    let headers = is_given.then(|| {
        let names = config.get("CSVHeaders").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        names.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect()
    });
    ReaderFormat { input_type, headers, delimiter, pointer: text("ItemsPointer").map(ToOwned::to_owned) }
}

/// Whether an expression of the state may read the context object. It is better built in vain than missed.
fn reads_context(site: &Site<'_>) -> bool {
    let mut fields = site.fields.clone();
    // What stands inside has states of its own.
    for inner in ["Branches", "ItemProcessor", "Iterator"] {
        fields.remove(inner);
    }
    let text = Value::Object(fields).to_string();
    match site.language {
        QueryLanguage::JsonPath => text.contains("$$"),
        QueryLanguage::Jsonata => {
            let known = ["$states.input", "$states.result", "$states.errorOutput"];
            known.iter().fold(text, |text, name| text.replace(name, "")).contains("$states")
        }
    }
}
