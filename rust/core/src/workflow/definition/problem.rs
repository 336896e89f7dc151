//! What is wrong with a definition: each fault once, in AWS's words and in those of statelint.

use core::fmt;

/// One problem of a definition, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub fault: Fault,
    /// Where: `/States/NAME/Field`. Empty where AWS names no place.
    pub location: String,
}

/// What may be wrong with a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The text is not JSON; what the reader said.
    NotJson(String),
    /// The text is empty.
    Missing,
    /// Fields that must be there and are not, in the schema's order.
    Required(Vec<String>),
    /// One of several fields must be there.
    RequiredOneOf(Vec<&'static str>),
    /// Only one of several fields may be there.
    OnlyOneOf(Vec<&'static str>),
    /// A field that this object does not have.
    Unsupported(String),
    /// A field's value is of another type; the type wanted, as "a String".
    WrongType(String, &'static str),
    /// A value that is none of the allowed ones.
    NotAllowed(String, &'static [&'static str]),
    /// A number below or above its bounds.
    OutOfRange(Bound),
    /// A list or an object without elements.
    Empty,
    /// A text that is not a path, no reference path, no intrinsic function: what it should be.
    NotPath(String, &'static str),
    /// A field of a payload template that ends in `.$` and holds no path and no intrinsic function.
    NotTemplate(String),
    /// A value that is not a timestamp of RFC 3339.
    NotTimestamp(String),
    /// A resource that names no function, activity or service.
    NotResource(String),
    /// `States.ALL` beside other names, or not in the last element.
    AllNotAlone,
    /// The name of a state has more than 80 characters, or none.
    StateName(String),
    /// The same name twice.
    Duplicate(String),
    /// The same label twice.
    DuplicateLabel(String),
    /// A name that no variable can have.
    VariableName(String),
    /// The name of a variable that every state has.
    ReservedVariable(String),
    /// A label with more characters than so many, or with none.
    Label(usize),
    /// A heartbeat that may come after its task has timed out.
    LateHeartbeat,
    /// A transition to a state that is not there.
    NoTarget(String),
    /// A state that no transition leads to.
    Unreachable(String),
    /// No state ends the machine.
    NoEnd,
    /// A JSONPath state inside a machine in JSONata.
    PathInJsonata,
    /// An Express machine with something only Standard has, in AWS's words.
    ExpressOnly(String),
    /// Rules of a Choice state inside one another beyond the bound.
    TooDeep(usize),
    /// A text of a JSONata state that is badly begun or ended as an expression.
    NotMarked,
    /// A field of `$states` that there is not in the place of the expression.
    NotGiven(&'static str),
    /// What a parser of expressions says: AWS's code and message.
    Expression(&'static str, String),
}

/// The bound a number breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The value, as it is written.
    pub value: String,
    /// Smallest or greatest allowed value.
    pub limit: i64,
    /// Whether `limit` is the greatest.
    pub is_upper: bool,
    /// Whether `limit` itself is not allowed.
    pub is_exclusive: bool,
    /// Whether the value must be a whole number.
    pub is_whole: bool,
}

impl Fault {
    /// AWS's code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotJson(_) => "INVALID_JSON_DESCRIPTION",
            Self::Missing => "MISSING_DESCRIPTION",
            Self::StateName(_) => "INVALID_STATE_NAME",
            Self::Duplicate(_) => "DUPLICATE_STATE_NAME",
            Self::DuplicateLabel(_) => "DUPLICATE_LABEL_NAME",
            Self::NoTarget(_) | Self::Unreachable(_) => "MISSING_TRANSITION_TARGET",
            Self::NoEnd => "MISSING_END_STATE",
            Self::TooDeep(_) => "TOO_DEEPLY_NESTED",
            Self::NotMarked | Self::NotGiven(_) => "INVALID_JSONATA_EXPRESSION",
            Self::Expression(code, _) => code,
            _ => "SCHEMA_VALIDATION_FAILED",
        }
    }

    /// AWS's message.
    pub fn message(&self) -> String {
        match self {
            Self::NotJson(why) => format!("Invalid JSON description: {why}"),
            Self::Missing => "The state machine definition is empty".into(),
            Self::Required(fields) => format!("These fields are required: [{}]", fields.join(", ")),
            Self::RequiredOneOf(fields) => format!("Exactly one of these fields is required: [{}]", fields.join(", ")),
            Self::OnlyOneOf(fields) => {
                format!("There should only be one of the following fields: [{}]", fields.join(", "))
            }
            Self::Unsupported(field) => format!("Field '{field}' is not supported"),
            Self::WrongType(_, expected) => format!("Expected value of type {}", type_name(expected)),
            Self::NotAllowed(field, values) => {
                format!("The field '{field}' should have one of these values: [{}]", values.join(", "))
            }
            Self::OutOfRange(bound) => bound.message(),
            Self::Empty => "Value cannot be empty".into(),
            Self::NotPath(_, "a Reference Path") => "Value is not a Reference Path".into(),
            Self::NotPath(_, _) => "Value must be a valid JSONPath.".into(),
            Self::NotTemplate(field) => {
                format!("The value for the field '{field}' must be a valid JSONPath or a valid intrinsic function call")
            }
            Self::NotTimestamp(_) => "String does not match RFC3339 timestamp".into(),
            Self::NotResource(_) => "Value is not a valid resource ARN".into(),
            Self::AllNotAlone => "States.ALL must appear alone and at end of list".into(),
            Self::StateName(name) => format!("State name '{name}' must have 1 to 80 characters"),
            Self::Duplicate(name) => format!("Duplicate state name: {name}"),
            Self::DuplicateLabel(name) => format!("Duplicate label name: {name}"),
            Self::VariableName(name) => {
                format!(
                    "Variable name '{name}' must have 1 to 80 characters, a letter first, then letters, digits and _"
                )
            }
            Self::ReservedVariable(name) => format!("Variable name '{name}' is reserved"),
            Self::Label(most) => format!("Label must have 1 to {most} characters"),
            Self::LateHeartbeat => "HeartbeatSeconds must be smaller than TimeoutSeconds".into(),
            // AWS writes "Next" for a target of StartAt, Default and Catch, too.
            Self::NoTarget(name) => format!("Missing 'Next' target: {name}"),
            Self::Unreachable(name) => format!("State \"{name}\" is not reachable."),
            Self::NoEnd => "Workflow has no terminal state".into(),
            Self::PathInJsonata => {
                "'QueryLanguage' can not be 'JSONPath' if set to 'JSONata' for whole state machine".into()
            }
            Self::ExpressOnly(what) => format!("Express state machine does not support {what}"),
            Self::TooDeep(most) => format!("Choice rules nest at most {most} levels deep"),
            Self::NotMarked => "An expression begins with '{%' and ends with '%}', without blanks around them".into(),
            Self::NotGiven("result") => {
                "'$states.result' is there in 'Output' and 'Assign' of a Task, a Parallel and a Map state only".into()
            }
            Self::NotGiven(name) => format!("'$states.{name}' is there in 'Output' and 'Assign' of a catcher only"),
            Self::Expression(_, message) => message.clone(),
        }
    }

    /// statelint's message, about the place `at`.
    fn lint(&self, at: &str) -> String {
        match self {
            Self::Required(fields) => format!("{at} does not have required field \"{}\"", fields.join("\", \"")),
            Self::RequiredOneOf(fields) => format!("{at} does not have required field from [{}]", quoted(fields)),
            Self::OnlyOneOf(fields) => format!("{at} may have only one of [{}]", quoted(fields)),
            Self::Unsupported(field) => format!("Field \"{field}\" not allowed in {at}"),
            Self::WrongType(value, expected) => {
                let (parent, field) = at.rsplit_once('.').unwrap_or(("State Machine", at));
                format!("Field \"{field}\" of {parent} is {value} but should be {expected}")
            }
            Self::NotAllowed(_, values) => format!("{at} is not one of the allowed values [{}]", quoted(values)),
            Self::OutOfRange(bound) => bound.lint(at),
            Self::Empty => format!("{at} is empty, non-empty required"),
            Self::NotPath(value, expected) => format!("{at} is \"{value}\" but should be {expected}"),
            Self::NotTemplate(field) => {
                format!("Field \"{field}\" at \"{at}\" is not a JSONPath or intrinsic function expression")
            }
            Self::NotResource(value) => format!("{at} is \"{value}\" but should be A URI"),
            Self::NotTimestamp(value) => format!("{at} is {value} but should be an RFC3339 timestamp"),
            Self::AllNotAlone => format!("{at}: States.ALL can only appear in the last element, and by itself."),
            Self::Duplicate(name) => format!("State \"{name}\", defined at {at}, is also defined elsewhere"),
            Self::NoTarget(name) => format!("No state found named \"{name}\", referenced at {at}"),
            Self::Unreachable(_) => format!("No transition found to state {at}"),
            Self::NoEnd => format!("No terminal state found in machine at {at}"),
            _ => format!("{at}: {}", self.message()),
        }
    }
}

impl Bound {
    fn message(&self) -> String {
        let word = if self.is_upper { "Maximum" } else { "Minimum" };
        // An exclusive bound is one of a whole number.
        let limit = self.limit + i64::from(self.is_exclusive);
        let fraction = if self.is_whole { "" } else { ".0" };
        format!("{word} value is {limit}{fraction}")
    }

    fn lint(&self, at: &str) -> String {
        let Self { value, limit, is_upper, is_exclusive, .. } = self;
        let word = match (is_upper, is_exclusive) {
            (true, true) => "ceiling",
            (true, false) => "maximum",
            (false, true) => "floor",
            (false, false) => "minimum",
        };
        format!("{at} is {value}, but allowed {word} is {limit}")
    }
}

impl Problem {
    /// The problem in statelint's words, with its place as statelint writes it: `State Machine.States.A.Retry[0]`.
    pub fn lint(&self) -> String {
        let at = match self.location.as_str() {
            "" | "/" => "State Machine".to_owned(),
            place => format!("State Machine{}", place.replace('/', ".")),
        };
        self.fault.lint(&at)
    }
}

impl fmt::Display for Problem {
    /// As in the message of `InvalidDefinition`. Before the place of `.waitForTaskToken` AWS writes two blanks.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.fault.code(), self.fault.message())?;
        if self.location.is_empty() {
            return Ok(());
        }
        write!(formatter, " at {}", self.location)
    }
}

/// The message of `InvalidDefinition` for all problems; `None` if there are none.
pub fn invalid_definition(problems: &[Problem]) -> Option<String> {
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    (!told.is_empty()).then(|| format!("Invalid State Machine Definition: '{}'", told.join(", ")))
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
}

fn type_name(expected: &str) -> &str {
    expected.rsplit(' ').next().unwrap_or(expected)
}
