//! What an evaluation builds is counted, to the byte.

use serde_json::json;

use super::*;
use crate::workflow::machine::driver::Seed;

/// On `$l` of three numbers, `$o` of a list and a text, and `$s` of forty letters.
fn evaluate(text: &str, guards: &Guards) -> Result<Value, EvaluationError> {
    let template = JsonataTemplate::parse(&json!(format!("{{%{text}%}}")), "Output").unwrap();
    let variables = json!({"l": [1, 2, 3], "o": {"p": [{"q": [1, 2]}, {"q": [3]}], "t": "abcd"}, "s": "x".repeat(40)});
    let bindings = Bindings { states: &json!({}), variables: variables.as_object().unwrap(), now_ms: 0 };
    template.evaluate(&bindings, guards, &mut Seed(0), &|| false)
}

/// Guards that are wide but for the bytes.
fn few(value_bytes_max: usize, built_bytes_max: usize) -> Guards {
    Guards { time_ms_max: 20_000, value_bytes_max, built_bytes_max, ..Guards::default() }
}

#[track_caller]
fn check_built(text: &str, bytes: usize) {
    let enough = evaluate(text, &few(10_000, bytes));
    assert!(enough.is_ok(), "{text}: {enough:?}");
    if let Some(less) = bytes.checked_sub(1) {
        let refused = evaluate(text, &few(10_000, less));
        assert!(refused.as_ref().is_err_and(|error| error.is_limit), "{text}: {refused:?}");
    }
}

#[test]
fn all_that_an_evaluation_joins_is_counted_wherever_it_stands() {
    for (text, bytes) in [
        ("$o.t", 0),
        ("'ab' & 'cd'", 4),
        ("'ab' & 'cd' & 'e'", 4 + 5),
        ("'a' & 'b' & [1] & null", 2 + 5 + 9),
        ("-$length('ab' & 'cd')", 4),
        ("1 + $length('ab' & 'cd')", 4),
        ("(function($x){$x})('ab' & 'cd')", 4),
        ("(function($x){'ab' & $x})('cd')", 4),
        ("('ab' & 'cd')", 4),
        ("['ab' & 'cd', 1]", 4),
        ("{'k': 'ab' & 'cd'}", 4),
        ("{'ab' & 'cd': 1}", 4),
        ("$o{'ab' & 'cd': 1}", 4),
        ("$o{'k': 'ab' & 'cd'}", 4),
        ("('ab' & 'cd'){'k': 1}", 4),
        ("('ab' & 'cd') ? 1 : 2", 4),
        ("1 ? 'ab' & 'cd' : 2", 4),
        ("0 ? 1 : 'ab' & 'cd'", 4),
        ("('ab' & 'cd')^($)", 4),
        ("$o ~> |$|{'k': 'ab' & 'cd'}|", 4),
        ("$o ~> |$|{}, ['ab' & 'cd']|", 4),
        ("$o ~> |$[t = 'ab' & 'cd']|{}|", 4),
        ("$l['ab' & 'c' & $ = 'abc1']", 3 * (3 + 4)),
        ("$l.('ab' & $)", 3 * 3),
        ("[2, 1]^('ab' & $)", 2 * 3),
        ("$join(['ab', 'cd'], '--')", 4 + 2 * 2),
        // A character may take four.
        ("$pad('x', 50)", 4 * 50),
        ("$pad('x', -50)", 4 * 50),
        // A thousand is one letter.
        ("$formatInteger(3999, 'I')", 3),
        ("$replace($s, 'x', 'yy')", 80),
        ("$replace($s, 'x', 'yy', 3)", 43),
        ("$replace($s, /x/, '$0$0')", 80),
        ("$s.$replace('x', 'yy')", 80),
        ("$s.$replace(/x/, 'yy')", 80),
        ("$replace($s, /x/, function($m){'ab'})", 40 + 80),
        ("$s.$replace(/x/, function($m){'ab'})", 40 + 80),
        ("($r := $replace; $r($s, /x/, function($m){'ab'}, 2))", 40 + 4),
    ] {
        check_built(text, bytes);
    }
}

#[test]
fn items_that_an_evaluation_makes_are_counted() {
    let item = size_of::<jsonata_core::value::JValue>();
    for (text, items) in [
        ("[1..9]", 9),
        ("[1..9, 1..9]", 18),
        // A step that gives a list for each item.
        ("$l.$l", 9),
        ("$l.($l)", 9),
        ("$l.(1; $l)", 9),
        ("$l.($l.$)", 9),
        ("$l.(true ? $l : 0)", 9),
        ("$l.([$, 1])", 6),
        ("$l.$append($, $l)", 12),
        ("$l.((function(){$l})())", 9),
        // One that only reads.
        ("$l.$", 0),
        ("$l[$ > 1]", 0),
        ("$l.{'k': $}", 0),
        ("$o.p.q", 0),
        ("$o.(p)", 0),
        ("$o.(p.q)", 0),
        // A list that a function gives.
        ("$map($l, function($i){[$i, $i]})", 6),
        ("$map($l, function($i){(1; [$i])})", 3),
        ("$map($l, function($i){$i > 1 ? [$i] : [$i, $i]})", 4),
        ("$map($l, function($i){$i > 1 ? [$i]})", 2),
        ("$map($l, function($i){$i})", 0),
    ] {
        check_built(text, items * item);
    }
}

#[test]
fn one_text_has_no_more_bytes_than_a_value_may() {
    for (text, bytes) in [
        ("$length('12345' & '678901')", 11),
        ("$length($join(['12345', '678901'], ''))", 11),
        ("$length($pad('', 50, '\u{1d11e}'))", 200),
        ("$length($replace($s, 'x', $s))", 40 + 40 * 40),
        ("$length($s.$replace('x', $s))", 40 + 40 * 40),
        ("$length($s.$replace(/x/, $s))", 40 + 40 * 40),
        ("$length($replace($s, /x/, '$0$0'))", 40 + 40 * 4 + 2 * 40),
        ("$length($replace($s, /x/, '$0$0', 2.5))", 40 + 3 * 4 + 2 * 40),
        ("$length($replace($s, 'x', '$$'))", 40 + 40 * 2 + 2 * 40),
        ("$length($replace($s, 'x', $s, 3))", 40 + 3 * 40),
        ("$length($s.$replace('x', $s, 3))", 40 + 3 * 40),
        ("$length($s.$replace(/x/, $s, 3))", 40 + 3 * 40),
        ("$length($replace($s, 'y', $s))", 40),
    ] {
        let enough = evaluate(text, &few(bytes, 10_000));
        assert!(enough.is_ok(), "{text}: {enough:?}");
        let refused = evaluate(text, &few(bytes - 1, 10_000));
        assert!(refused.as_ref().is_err_and(|error| error.is_limit), "{text}: {refused:?}");
    }
}

/// A function may find any text at each place: `$1` may stand for a whole value.
#[test]
fn what_a_matcher_of_its_own_finds_is_taken_for_the_most_that_it_may_be() {
    let found = "function($t){{'match': 'x', 'start': 0, 'end': 1, 'groups': ['ab'], 'next': function(){null}}}";
    for (replacement, bytes) in [("'yy'", 3 * (2 + 2)), ("'$1'", 3 * (2 + 2 + 1_000)), ("function($m){'y'}", 3 * 2 + 1)]
    {
        let text = format!("$length($replace('xx', {found}, {replacement}))");
        let enough = evaluate(&text, &few(1_000, bytes));
        assert!(enough.is_ok(), "{text}: {enough:?}");
        let refused = evaluate(&text, &few(1_000, bytes - 1));
        assert!(refused.as_ref().is_err_and(|error| error.is_limit), "{text}: {refused:?}");
    }
}

/// Texts of some thousands of letters were refused, and what a function gave for each match was not counted.
#[test]
fn a_function_replaces_matches_in_a_text_of_any_length() {
    let text = "$length($replace($pad('x', 10000, 'x'), /x/, function($m){'yy'}))";
    assert_eq!(evaluate(text, &Guards::default()), Ok(json!(20_000)));
    let bomb = "($t := $pad('x', 10000, 'x'); $length($replace($t, /x/, function($m){$t})))";
    assert!(evaluate(bomb, &Guards::default()).is_err_and(|error| error.is_limit));
    let empty = "$replace($pad('x', 10000, 'x'), '', $pad('x', 1000, 'x'))";
    assert!(evaluate(empty, &Guards::default()).is_err());
}

/// It has little time: nothing in it may be as large as elsewhere.
#[test]
fn an_evaluation_on_which_others_wait_is_short() {
    let short = Guards { time_ms_max: 20_000, ..Guards::short() };
    let whole = Guards { time_ms_max: 20_000, ..Guards::default() };
    for text in [
        "$count([1..20001])",
        "($t := $pad('x', 100000); [1..11].($t))",
        "$length($pad('x', 150000)) + $length($pad('x', 150000))",
    ] {
        assert!(evaluate(text, &whole).is_ok(), "{text}");
        let refused = evaluate(text, &short);
        assert!(refused.as_ref().is_err_and(|error| error.is_limit), "{text}: {refused:?}");
    }
    assert_eq!(evaluate("$count([1..20000])", &short), Ok(json!(20_000)));
    assert_eq!((short.stuck_max, whole.stuck_max), (1, 2), "the second place is for one on which nobody waits");
}
