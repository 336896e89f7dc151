//! What a rule refuses, and what it says of an event.

use super::{test_event, EventError, Failure, Rule, TestError};

fn refused(pattern: &str) -> Option<String> {
    Rule::parse(pattern).err().map(|error| error.reason)
}

/// The words are those of event-ruler, which reads JSON with Jackson.
#[test]
fn json_that_is_none_is_refused_with_the_words_of_aws() {
    let value = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')";
    let token = |word: &str| format!("Unrecognized token '{word}': was expecting {value}");
    let in_number = |found: &str, missing: &str| format!("Unexpected character ({found}) in numeric value: {missing}");
    let no_digit = "expected digit (0-9) to follow minus sign, for valid numeric value";
    let zeros = "Invalid numeric value: Leading zeroes not allowed".to_owned();
    let unescaped = "has to be escaped using backslash to be included in string value";
    let unfinished_escape = "Unexpected end-of-input in character escape sequence".to_owned();
    let no_hex = "expected a hex-digit for character escape sequence";
    for (pattern, reason) in [
        (r#"{"a":[-x]}"#, in_number("'x' (code 120)", no_digit)),
        (r#"{"a":[1.]}"#, in_number("']' (code 93)", "Decimal point not followed by a digit")),
        (r#"{"a":[1e+x]}"#, in_number("'x' (code 120)", "Exponent indicator not followed by a digit")),
        (r#"{"a":[01]}"#, zeros.clone()),
        (r#"{"a":[-00]}"#, zeros),
        (r#"{"a":[nul_l]}"#, token("nul_l")),
        (r#"{"a":[$x]}"#, token("$x")),
        (r#"{"a":[nué1 2]}"#, token("nué1")),
        (r#"{"a":[;]}"#, format!("Unexpected character (';' (code 59)): expected a valid value {value}")),
        (r#"{"a":[,1]}"#, format!("Unexpected character (',' (code 44)): expected a valid value {value}")),
        (
            r#"{,"a":[1]}"#,
            "Unexpected character (',' (code 44)): was expecting double-quote to start field name".to_owned(),
        ),
        ("{\"a\":[\"x\ny\"]}", format!("Illegal unquoted character ((CTRL-CHAR, code 10)): {unescaped}")),
        (r#"{"a":["\x"]}"#, "Unrecognized character escape 'x' (code 120)".to_owned()),
        (r#"{"a":["\€"]}"#, "Unrecognized character escape '€' (code 8364 / 0x20ac)".to_owned()),
        (r#"{"a":["\u00zz"]}"#, format!("Unexpected character ('z' (code 122)): {no_hex}")),
        (r#"{"a":["\"#, unfinished_escape.clone()),
        (r#"{"a\u00"#, unfinished_escape),
        (r#"{"a":["x"#, "Unexpected end-of-input: was expecting closing quote for a string value".to_owned()),
    ] {
        assert_eq!(refused(pattern), Some(reason), "{pattern}");
    }
}

#[test]
fn a_condition_that_is_none_is_refused_with_the_words_of_aws() {
    let too_few = "There must have at least 2 Objects in $or relationship.";
    for (pattern, reason) in [
        (r#"{"$or":[]}"#, too_few),
        (r#"{"$or":[{"a":[1]}]}"#, too_few),
        (r#"{"a":[{"anything-but":{"prefix":[]}}]}"#, "Empty arrays are not allowed"),
        (r#"{"a":[{"anything-but":{"prefix":["x",1]}}]}"#, "prefix/suffix match pattern must be a string"),
        (r#"{"a":[{"anything-but":{"wildcard":[1]}}]}"#, "wildcard match pattern must be a string"),
        (r#"{"a":[{"numeric":[{}]}]}"#, "Invalid member in numeric match: {"),
        (r#"{"a":[{"numeric":[[]]}]}"#, "Invalid member in numeric match: ["),
        (r#"{"a":[{"numeric":[]}]}"#, "Invalid member in numeric match: ]"),
        (r#"{"a":[{"numeric":[true]}]}"#, "Invalid member in numeric match: true"),
        (r#"{"a":[{"numeric":[">",1,20]}]}"#, "Bad value in numeric range: 20"),
    ] {
        assert_eq!(refused(pattern).as_deref(), Some(reason), "{pattern}");
    }
}

/// After the first character of a text, after a word or number, after the value of a name.
#[test]
fn an_error_stands_where_aws_has_read_to() {
    for (pattern, column) in [
        (r#"{"a":"xyz"}"#, 7),
        (r#"{"a":123}"#, 9),
        (r#"{"a":[nul]}"#, 10),
        (r#"{"a":[{"numeric":[true]}]}"#, 23),
        (r#"{"$or":[{"prefix":"ab"},{"b":[1]}]}"#, 20),
        (r#"{"$or":[{"prefix": 12},{"b":[1]}]}"#, 22),
        (r#"{"$or":[{"prefix":true},{"b":[1]}]}"#, 23),
    ] {
        assert_eq!(Rule::parse(pattern).unwrap_err().position, Some((1, column)), "{pattern}");
    }
}

#[test]
fn a_condition_is_met_by_what_event_ruler_says_meets_it() {
    for (condition, value, is_met) in [
        (r#"{"wildcard":"a\\*b"}"#, r#""a*b""#, true),
        (r#"{"wildcard":"a\\*b"}"#, r#""axb""#, false),
        (r#""::ffff:a00:1""#, r#""10.0.0.1""#, true),
        (r#""10.0.0.1""#, r#""010.00.0.1""#, true),
        (r#""10.0.0.1""#, r#""+10.0.0.1""#, false),
        (r#""::1""#, r#""0:0:0:0:0:0:0:1""#, true),
        ("true", "true", true),
        ("true", r#""true""#, false),
        ("null", "false", false),
        ("300", "3.0e2", true),
        ("0", "[1, 0.0]", true),
    ] {
        let rule = Rule::parse(&format!(r#"{{"a":[{condition}]}}"#)).unwrap();
        assert_eq!(rule.matches(&format!(r#"{{"a":{value}}}"#)), Ok(is_met), "{condition} and {value}");
    }
}

fn failure(conditions: &str, event: &str) -> Failure {
    let rule = Rule::parse(&format!(r#"{{"a":[{conditions}]}}"#)).unwrap();
    rule.report(event).unwrap().failures.remove(0)
}

#[test]
fn a_failure_says_in_words_what_is_wanted() {
    for (condition, words) in [
        (r#""x""#, r#""x""#),
        ("null", "null"),
        ("3.50", "3.5"),
        (r#""10.0.0.1""#, "the address 10.0.0.1"),
        (r#"{"cidr":"10.0.0.0/8"}"#, "an address of 10.0.0.0/8"),
        (r#"{"numeric":["=",5]}"#, "the number 5"),
        (r#"{"numeric":[">=",5,"<",7.5]}"#, "a number >= 5 and < 7.5"),
        (r#"{"numeric":[">",5,"<=",6]}"#, "a number > 5 and <= 6"),
        (r#"{"numeric":["<",5]}"#, "a number < 5"),
        (r#"{"suffix":"s"}"#, r#"a text that ends with "s""#),
        (r#"{"wildcard":"a*b"}"#, r#"a text like "a*b""#),
        (r#"{"equals-ignore-case":"s"}"#, r#""s" in any case"#),
        (r#"{"prefix":{"equals-ignore-case":"s"}}"#, r#"a text that begins with "s" in any case"#),
        (r#"{"suffix":{"equals-ignore-case":"s"}}"#, r#"a text that ends with "s" in any case"#),
        (r#"{"exists":true}"#, "any value"),
    ] {
        let expected = format!("a is absent; the rule wants {words}");
        assert_eq!(failure(condition, "{}").reason, expected, "{condition}");
    }
    let other = failure(r#"{"anything-but":["x","y"]}"#, r#"{"a":"x"}"#).reason;
    assert_eq!(other, r#"a is "x"; the rule wants a value that is not "x", nor "y""#);
}

#[test]
fn a_failure_shows_the_conditions_as_they_are_written_and_the_first_values() {
    let conditions = "  \"y\" ,\n\t{ \"prefix\" : \"p\" },5.0";
    for (values, shown) in [
        ("null", "null"),
        (r#"["x", 1.50, true]"#, r#""x", 1.50, true"#),
        ("[1,2,3,4,6]", "1, 2, 3, 4, 6"),
        ("[1,2,3,4,6,7]", "1, 2, 3, 4, 6, and 1 more"),
        ("[1,2,3,4,6,[7,8]]", "1, 2, 3, 4, 6, and 2 more"),
    ] {
        let failure = failure(conditions, &format!(r#"{{"a":{values}}}"#));
        assert_eq!(failure.condition, r#"["y", { "prefix" : "p" }, 5.0]"#);
        assert_eq!((failure.path.as_str(), failure.value.as_str()), ("a", shown));
    }
    let long = "é".repeat(201);
    assert_eq!(failure("1", &format!(r#"{{"a":"{long}"}}"#)).value, format!("\"{}\"…", "é".repeat(200)));
}

#[test]
fn an_event_to_test_must_have_its_envelope() {
    let envelope = ["id", "account", "source", "time", "region", "detail-type"];
    let event = |left_out: Option<&str>| {
        let fields = envelope.iter().filter(|name| Some(**name) != left_out).map(|name| format!(r#""{name}":"x""#));
        format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
    };
    let refused = |event: &str| match test_event(r#"{"id":["x"]}"#, event) {
        Ok(report) => Ok(report.matches),
        Err(TestError::Event(error)) => Err(error),
        Err(TestError::Pattern(error)) => panic!("{error}"),
    };
    assert_eq!(refused(&event(None)), Ok(true));
    for missing in envelope {
        let error = EventError { reason: format!("it has no \"{missing}\"") };
        assert_eq!(refused(&event(Some(missing))), Err(error), "without {missing}");
    }
    for (event, reason) in [("[]", "it is not an object"), ("{", "it is not JSON")] {
        let error = refused(event).unwrap_err();
        assert_eq!((error.reason.as_str(), error.to_string().as_str()), (reason, "Parameter Event is not valid."));
    }
}

/// The elements of ten arrays could be put together in 10^20 ways.
#[test]
fn a_field_that_no_value_meets_is_told_before_elements_are_put_together() {
    let element = format!("[{}]", [r#"{"x":1}"#; 100].join(","));
    let fields = |what: &str| (0..10).map(|number| format!(r#""f{number}":{what}"#)).collect::<Vec<_>>().join(",");
    let rule = Rule::parse(&format!(r#"{{{},"z":[2]}}"#, fields(r#"{"x":[1]}"#))).unwrap();
    let event = format!(r#"{{{},"z":1}}"#, fields(&element));
    assert_eq!(rule.matches(&event), Ok(false));
    let paths: Vec<String> = rule.report(&event).unwrap().failures.into_iter().map(|failure| failure.path).collect();
    assert_eq!(paths, ["z"]);
}
