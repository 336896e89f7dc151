//! The variables that the states of a definition read, as `DescribeStateMachine` tells them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

type Object = Map<String, Value>;
type References = BTreeMap<String, BTreeSet<String>>;

/// Fields of a state that hold states of their own.
const FLOWS: [&str; 3] = ["Branches", "ItemProcessor", "Iterator"];

/// The names of the variables that each state reads, by the states' names. States that read none are left out.
pub fn variable_references(definition: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut found = References::new();
    if let Ok(Value::Object(machine)) = serde_json::from_str(definition) {
        of_flow(&machine, false, &mut found);
    }
    found.retain(|_, names| !names.is_empty());
    found
}

fn is_jsonata(of: &Object, inherited: bool) -> bool {
    of.get("QueryLanguage").and_then(Value::as_str).map_or(inherited, |language| language == "JSONata")
}

fn of_flow(flow: &Object, inherited: bool, found: &mut References) {
    let inherited = is_jsonata(flow, inherited);
    for (name, state) in flow.get("States").and_then(Value::as_object).into_iter().flatten() {
        let Some(state) = state.as_object() else { continue };
        let jsonata = is_jsonata(state, inherited);
        let names = found.entry(name.clone()).or_default();
        for (field, value) in state.iter().filter(|(field, _)| !FLOWS.contains(&field.as_str())) {
            of_field(field, value, jsonata, names);
        }
        let flows = state.get("Branches").and_then(Value::as_array).into_iter().flatten();
        let processors = FLOWS[1..].iter().filter_map(|field| state.get(*field));
        for inner in flows.chain(processors).filter_map(Value::as_object) {
            of_flow(inner, inherited, found);
        }
    }
}

fn of_field(field: &str, value: &Value, jsonata: bool, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(field, value)| of_field(field, value, jsonata, names)),
        Value::Array(items) => items.iter().for_each(|item| of_field(field, item, jsonata, names)),
        Value::String(text) if jsonata => {
            let program = text.trim().strip_prefix("{%").and_then(|text| text.strip_suffix("%}"));
            names.extend(program.map(of_program).unwrap_or_default());
        }
        Value::String(text) if field.ends_with(".$") || field.ends_with("Path") || field == "Variable" => {
            names.extend(of_path(text));
        }
        _ => {}
    }
}

/// The variables of a path or of an intrinsic function's call. `$` alone is the input, `$$` the context object.
fn of_path(text: &str) -> BTreeSet<String> {
    let words = words(text, &['\'']);
    words.into_iter().filter(|word| word.before != Some('$')).map(|word| word.name).collect()
}

/// The variables of a JSONata program that it does not bind itself.
fn of_program(program: &str) -> BTreeSet<String> {
    let words = words(program, &['\'', '"', '`']);
    let bound: BTreeSet<String> = words
        .iter()
        .filter(|word| word.after.starts_with(":=") || word.is_parameter)
        .map(|word| word.name.clone())
        .collect();
    let read = words.into_iter().filter(|word| !word.after.starts_with('(') && word.name != "states");
    read.map(|word| word.name).filter(|name| !bound.contains(name)).collect()
}

/// Whether a JSONata program reads a field of `$states` by its name.
pub(super) fn reads_of_states(program: &str, field: &str) -> bool {
    let reads = |word: &Word<'_>| {
        let name = word.after.strip_prefix('.')?.trim_start().strip_prefix(field)?;
        let ends = !name.starts_with(|one: char| one.is_alphanumeric() || one == '_');
        (word.name == "states" && word.before != Some('$') && ends).then_some(())
    };
    words(program, &['\'', '"', '`']).iter().any(|word| reads(word).is_some())
}

/// A name behind a `$`.
struct Word<'t> {
    name: String,
    before: Option<char>,
    /// The text behind it and behind blanks.
    after: &'t str,
    /// It stands between the parentheses of a `function`.
    is_parameter: bool,
}

/// The names behind dollars that stand in no text; `quotes` begin and end texts.
fn words<'t>(text: &'t str, quotes: &[char]) -> Vec<Word<'t>> {
    let (mut found, mut before, mut quote, mut skipped) = (Vec::new(), None, None, false);
    let mut parameters = false;
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match quote {
            Some(_) if skipped => skipped = false,
            Some(_) if character == '\\' => skipped = true,
            Some(begun) if character == begun => quote = None,
            None if quotes.contains(&character) => quote = Some(character),
            // A comment of JSONata.
            None if text[at..].starts_with("/*") => {
                let inside = at + "/*".len();
                let end = text[inside..].find("*/").map_or(text.len(), |length| inside + length + "*/".len());
                while characters.next_if(|(next, _)| *next < end).is_some() {}
            }
            None if character == '(' => {
                let head = text[..at].trim_end();
                parameters = head.ends_with("function") || head.ends_with('λ');
            }
            None if character == ')' => parameters = false,
            None if character == '$' => {
                let begin = at + 1;
                let mut end = begin;
                while let Some((next, one)) =
                    characters.peek().copied().filter(|(_, one)| one.is_alphanumeric() || *one == '_')
                {
                    end = next + one.len_utf8();
                    characters.next();
                }
                if end > begin {
                    let after = text[end..].trim_start();
                    found.push(Word { name: text[begin..end].to_owned(), before, after, is_parameter: parameters });
                }
            }
            _ => {}
        }
        before = Some(character);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(definition: &Value) -> Vec<(String, Vec<String>)> {
        let found = variable_references(&definition.to_string());
        found.into_iter().map(|(state, names)| (state, names.into_iter().collect())).collect()
    }

    fn pair(state: &str, names: &[&str]) -> (String, Vec<String>) {
        (state.to_owned(), names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn paths_and_intrinsic_functions_read_variables() {
        let machine = serde_json::json!({"StartAt": "A", "States": {
            "A": {"Type": "Pass", "Assign": {"x.$": "$.x", "id.$": "$$.Execution.Id"}, "Next": "B"},
            "B": {"Type": "Pass", "Parameters": {"y.$": "States.Format('{} $no {}', $x, $place.street)"}, "Next": "C"},
            "C": {"Type": "Choice", "Choices": [{"Variable": "$x", "IsPresent": true, "Next": "D"}]},
            "D": {"Type": "Map", "MaxConcurrencyPath": "$most", "End": true, "ItemProcessor": {"StartAt": "E", "States": {
                "E": {"Type": "Wait", "SecondsPath": "$x", "End": true}}}},
        }});
        assert_eq!(
            read(&machine),
            [pair("B", &["place", "x"]), pair("C", &["x"]), pair("D", &["most"]), pair("E", &["x"])]
        );
    }

    #[test]
    fn programs_read_what_they_do_not_bind() {
        let machine = serde_json::json!({"QueryLanguage": "JSONata", "StartAt": "A", "States": {
            "A": {"Type": "Pass", "End": true, "Output": {
                "a": "{% $states.input.b & $total & '$no' %}",
                "b": "{% ($y := 2; $sum($map($items, function($v) { $v + $y }))) %}",
                "c": "$plain",
            }},
        }});
        assert_eq!(read(&machine), [pair("A", &["items", "total"])]);
    }

    /// The names of a program that it reads, and those of a payload template of JSONPath.
    #[test]
    fn what_is_quoted_bound_or_no_expression_is_not_read() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        for (program, read) in [
            (r"'it\'s $no' & $a", &["a"][..]),
            (r"'\\' & $a & '$no'", &["a"]),
            (r#"$a & "\"$no" & `$no`"#, &["a"]),
            ("$map($l, function($v){ $v * $a })", &["a", "l"]),
            ("$map($l, λ($v){ $v * $a })", &["a", "l"]),
            ("($x := 1; $x + $a)", &["a"]),
            ("2 /* $no */* $a", &["a"]),
            ("2 /*/ $no */ + $a", &["a"]),
            ("/**/$a", &["a"]),
            ("$a /* $no", &["a"]),
            ("$sum($a) + $states.input.b", &["a"]),
        ] {
            assert_eq!(of_program(program), names(read), "{program}");
        }
        let machine = serde_json::json!({"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true,
            "Parameters": {"a": "$no", "b.$": "$a", "c": [{"d.$": "States.Format('{}', $b)"}]}}}});
        assert_eq!(read(&machine), [pair("A", &["a", "b"])]);
    }

    #[test]
    fn a_field_of_states_is_read_by_its_name() {
        for (program, is_read) in [
            ("$states.result", true),
            ("$states . result.a", true),
            ("$a.result", false),
            ("$states.results", false),
            ("$states.result_1", false),
            ("$states.input.result", false),
            ("$$states.result", false),
            ("'$states.result'", false),
        ] {
            assert_eq!(reads_of_states(program, "result"), is_read, "{program}");
        }
    }
}
