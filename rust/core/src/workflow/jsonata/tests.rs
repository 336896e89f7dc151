//! What Step Functions add to the language and refuse of it, their texts, and hostile expressions.
#![allow(clippy::needless_pass_by_value)] // Tables of `json!` read best without a `&` each.

use jsonata_core::evaluator::CancelToken;
use serde_json::json;

use super::*;
use crate::workflow::scope::QUERY_EVALUATION_ERROR;

struct Counting(u64);

impl Entropy for Counting {
    fn next_u64(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

fn states() -> Value {
    json!({"input": {"n": 5, "list": [1, 2, 3], "name": "Ada", "none": null}, "context": {"State": {"Name": "S"}}})
}

fn evaluate_with(text: &str, guards: &Guards) -> Result<Option<Value>, EvaluationError> {
    let template = JsonataTemplate::parse(&json!(format!("{{%{text}%}}")), "Output/v")
        .map_err(|problem| EvaluationError::query(problem.message, ""))?;
    let variables = json!({"total": 7}).as_object().cloned().unwrap_or_default();
    let states = states();
    let bindings = Bindings { states: &states, variables: &variables, now_ms: 1_494_861_179_152 };
    match template.evaluate(&bindings, guards, &mut Counting(0), &|| false) {
        Err(error) if error.cause.ends_with("returned nothing (undefined).") => Ok(None),
        done => done.map(Some),
    }
}

fn evaluate(text: &str) -> Result<Option<Value>, EvaluationError> {
    evaluate_with(text, &Guards { time_ms_max: 20_000, ..Guards::default() })
}

#[track_caller]
fn check(text: &str, expected: Value) {
    assert_eq!(evaluate(text), Ok(Some(expected)), "{text}");
}

#[track_caller]
fn check_undefined(text: &str) {
    assert_eq!(evaluate(text), Ok(None), "{text}");
}

#[track_caller]
fn check_fails(text: &str, what: &str) {
    let error = evaluate(text).unwrap_err();
    assert_eq!(
        (error.error.as_str(), error.cause.as_str(), error.location.as_deref()),
        (
            QUERY_EVALUATION_ERROR,
            format!("The JSONata expression '{text}' specified for the field 'Output/v' {what}").as_str(),
            Some("Output/v")
        )
    );
}

#[test]
fn values_of_the_state_and_variables_are_read() {
    check("$states.input.n + $total", json!(12));
    check("$states.input.list[$ > 1]", json!([2, 3]));
    check("$states.context.State.Name", json!("S"));
    check("$states", states());
    check("$states.input.none", json!(null));
    check("'Hello ' & $states.input.name & '!'", json!("Hello Ada!"));
    check("$variable := 1", json!(1));
    check("{'k': $states.input.absent, 'n': 1}", json!({"n": 1}));
    check_undefined("$states.input.absent");
    check_undefined("$doesNotExist");
    check("$states.input.name.$pad(5, '-')", json!("Ada--"));
    check("$states.input.name.$replace('A', 'a')", json!("ada"));
    check("['x', 'y'] ~> $join('+')", json!("x+y"));
    check("$map([1, 2], $string)", json!(["1", "2"]));
    check("($f := function($s){$s & '!'}; $f('a'))", json!("a!"));
    check("$replace('abc', /b/, function($m){$m.match & $m.match})", json!("abbc"));
    check("($string := function($x){'mine'}; $string(1))", json!("mine"));
}

#[test]
fn numbers_come_out_as_integers_where_they_are() {
    check("12.0", json!(12));
    check("1/4", json!(0.25));
    check("$parse('-0')", json!(0));
    check("9007199254740992", json!(9_007_199_254_740_992_i64));
    check("1e20", json!(1e20));
    check("$string(1e20)", json!("100000000000000000000"));
}

#[test]
fn the_six_functions_of_step_functions_are_there() {
    check("$partition([1,2,3,4,5], 2)", json!([[1, 2], [3, 4], [5]]));
    check("$partition([0], 3)", json!([[0]]));
    check("$partition([1,2,3,4,5], 2.9)", json!([[1, 2], [3, 4], [5]]));
    check("$partition([1,2])", json!([[1, 2]]));
    check("$range(0, 10, 3)", json!([0, 3, 6, 9]));
    check("$range(1, 9, 9)", json!(1));
    check("[$range(3, 3, 1), $range(3, 3, -1)]", json!([3, 3]));
    check("$range(-1.7, 2, 1)", json!([-1, 0, 1, 2]));
    check("$range(10, 0, -2)", json!([10, 8, 6, 4, 2, 0]));
    check("$count($range(1, 360145, 1))", json!(360_145));
    check("$count($range(-9223372036854775808, 9223372036854775807, 9223372036854775807))", json!(3));
    check("$hash('Hello', 'MD5')", json!("8b1a9953c4611296a827abf8c47804d7"));
    check("$hash('ñ', 'MD5')", json!("94e9342ecbb1458b6043ecd3bfcbc192"));
    check("$random(42)", json!(0.727_563_680_032_868_1));
    check("$random(0.9) = $random(0)", json!(true));
    check("$random() = $random()", json!(false));
    check("$uuid() = $uuid()", json!(false));
    check("$contains($uuid(), /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)", json!(true));
    check("$parse('{\"b\":1,\"a\":[1.5]}')", json!({"b": 1, "a": [1.5]}));
    check("$map(['{\"a\":1}', '{\"a\":2}'], $parse).a", json!([1, 2]));
    check("['{\"a\":1}', '{\"a\":2}'] ~> $map($parse) ~> $count()", json!(2));
    for text in [
        "$partition([], 2)",
        "$partition([1], 0)",
        "$partition([1], -0.5)",
        "$range(5, 1, 1)",
        "$range(1, 5, 0)",
        "$range(1, 5, -1)",
        "$range(1, 5)",
        "$hash('a')",
        "$parse()",
    ] {
        check_undefined(text);
    }
}

#[test]
fn the_clock_and_chance_are_the_machines() {
    check("$millis()", json!(1_494_861_179_152_i64));
    check("$now()", json!("2017-05-15T15:12:59.152Z"));
    check("$now('[Y]/[M01]')", json!("2017/05"));
    check("$now('[H01][z]', '+0200')", json!("17GMT+02:00"));
    for text in ["$uuid() & $random()", "$shuffle([1, 2, 3, 4, 5, 6])"] {
        assert_eq!(evaluate(text), evaluate(text), "{text}");
    }
    check("$sort($shuffle([3, 1, 2]))", json!([1, 2, 3]));
    // Each order comes as often as others do.
    let often = "$map([1..600], function($i){$join($shuffle(['a', 'b', 'c']))}){$: $count($)}";
    let Ok(Some(Value::Object(orders))) = evaluate(often) else { panic!("no orders") };
    assert_eq!(orders.len(), 6, "{orders:?}");
    assert!(orders.values().all(|count| (60..140).contains(&count.as_u64().unwrap())), "{orders:?}");
}

#[test]
fn failures_have_awss_texts() {
    check_fails(
        "$range('0',4,1)",
        "threw an error during evaluation. T0410: Argument 1 of function \"range\" does not match function signature",
    );
    check_fails(
        "$range(1, 360146, 1)",
        "threw an error during evaluation: Expression evaluation memory limit exceeded: Check for excessive memory usage",
    );
    check_fails("$eval('1+1')", "threw an error during evaluation. T1006: Attempted to invoke a non-function");
    check_fails("$fn := function($x){$x}", "returned an unsupported result type.");
    for (text, code) in [
        ("$range()", "T0410: Argument 1"),
        ("$range(1)", "T0410: Argument 2"),
        ("$range(1, 5, 1, 'x')", "T0410"),
        ("$uuid('seed')", "T0410"),
        ("$random(1, 2)", "T0410"),
        ("$hash(42, 'MD5')", "T0410: Argument 1 of"),
        ("$hash('a', 5)", "T0410: Argument 2 of"),
        ("$hash('a', 'MD5', 1)", "T0410: Argument 3 of"),
        ("$parse('1', 2)", "T0410: Argument 2 of"),
        ("$hash('Hello', 'md5')", "D3137"),
        ("$parse(null)", "T0410"),
        ("$parse('')", "D3137: Invalid JSON"),
        ("$parse('1e400')", "D3137: Invalid JSON"),
        ("$partition([1,2,3], -1)", "D3137: Second argument must be zero or greater"),
        ("$partition(null, 2)", "T0412"),
        ("1 + {}", "T2002: The right side of the"),
        ("$sum(['a'])", "T0412"),
        ("$split('a', 'b', -1)", "D3020"),
        ("$now(1)", "T0410"),
        ("$now('a', 'b', 'c')", "T0410"),
    ] {
        let cause = evaluate(text).unwrap_err().cause;
        assert!(cause.contains(&format!("threw an error during evaluation. {code}")), "{cause}");
    }
}

#[test]
fn a_value_of_another_type_is_told_with_its_type() {
    let expression = Expression::parse("1", "Items").unwrap();
    assert_eq!(
        expression.unexpected("array", &json!({"foo": "bar"})).cause,
        "The JSONata expression '1' specified for the field 'Items' returned an unexpected result type. Expected 'array', \
         but was 'object' for value: {\"foo\":\"bar\"}"
    );
}

#[test]
fn what_has_no_context_is_refused() {
    let refused =
        |text: &str| Expression::parse(text, "Output").map(|_| ()).map_err(|problem| (problem.code, problem.message));
    let unsupported = |what: &str| {
        Err((
            "UNSUPPORTED_JSONATA_EXPRESSION",
            format!(
                "Reference to '{what}' {}",
                if what == "$$" { "is not supported." } else { "at the top level is not supported." }
            ),
        ))
    };
    assert_eq!(refused("phone"), unsupported("phone"));
    assert_eq!(refused("phone.number"), unsupported("phone"));
    assert_eq!(refused("1 + phone"), unsupported("phone"));
    assert_eq!(refused("$map($states.input.a, function($x){ b })"), unsupported("b"));
    assert_eq!(refused("{'a': b}"), unsupported("b"));
    assert_eq!(refused("$$.a"), unsupported("$$"));
    for text in ["-b", "b ? 1 : 2", "true ? b : 1", "true ? 1 : b", "b^($)", "(b)", "b{'a': 1}", "{b: 1}", "[1, b]"] {
        assert_eq!(refused(text), unsupported("b"), "{text}");
    }
    for text in [
        "$states.input.items[value > 3]",
        "$states.input^(price)",
        "$states.input{name: price}",
        "$states.input.(a + b)",
        "$states.input.items ~> |$|{'x': y}|",
    ] {
        assert_eq!(refused(text), Ok(()), "{text}");
    }
    let long = |chars: usize| format!("'{}'", "\u{e9}".repeat(chars - 2));
    assert_eq!(refused(&long(EXPRESSION_CHARS_MAX)), Ok(()));
    let too_long = "An expression has at most 100000 characters".to_owned();
    assert_eq!(refused(&long(EXPRESSION_CHARS_MAX + 1)), Err(("INVALID_JSONATA_EXPRESSION", too_long)));
    let (code, message) = refused("a[1,2)").unwrap_err();
    assert_eq!(code, "INVALID_JSONATA_EXPRESSION");
    assert!(message.starts_with('S'), "{message}");
}

#[test]
fn templates_hold_expressions_in_any_place() {
    let evaluate = |template: Value| {
        let variables = Map::new();
        let states = states();
        let bindings = Bindings { states: &states, variables: &variables, now_ms: 0 };
        JsonataTemplate::parse(&template, "Output")?
            .evaluate(&bindings, &Guards::default(), &mut Counting(0), &|| false)
            .map_err(|error| Problem { code: "", place: error.location.unwrap_or_default(), message: error.cause })
    };
    assert_eq!(evaluate(json!("{% $states.input.n %}")), Ok(json!(5)));
    assert_eq!(evaluate(json!("{%$states.input.n%}")), Ok(json!(5)));
    let template =
        json!({"b": ["{% $states.input.name %}", " {% $states.input.name %}", "$.x", null, 1.0], "a": "{% null %}"});
    let expected = json!({"b": ["Ada", " {% $states.input.name %}", "$.x", null, 1.0], "a": null});
    assert_eq!(evaluate(template).map(|value| value.to_string()), Ok(expected.to_string()));
    let undefined = evaluate(json!({"a": {"b": [[1, "{% $states.input.absent %}"]]}})).unwrap_err();
    assert_eq!(undefined.place, "Output/a/b[0][1]");
    assert_eq!(
        undefined.message,
        "The JSONata expression '$states.input.absent' specified for the field 'Output/a/b[0][1]' returned nothing (undefined)."
    );
    let refused = evaluate(json!({"a": [1, "{% b %}"]})).unwrap_err();
    assert_eq!((refused.code, refused.place.as_str()), ("UNSUPPORTED_JSONATA_EXPRESSION", "/a[1]"));
    assert_eq!(evaluate(json!({"x{%": "{% 1"})), Ok(json!({"x{%": "{% 1"})));

    // Without an expression in it there is nothing to evaluate.
    let literal = |template: Value| JsonataTemplate::parse(&template, "Output").unwrap().literal().cloned();
    for value in [json!(1), json!("$.x"), json!([1, {"a": ["{% 1"]}])] {
        assert_eq!(literal(value.clone()), Some(value));
    }
    assert_eq!(literal(json!([1, {"a": ["{% 1 %}"]}])), None);
}

/// The whole field is too deep, and not what one of its expressions gives.
#[test]
fn a_field_nests_as_deep_as_a_value_may() {
    let field = |depth: usize| {
        let template = (0..depth).fold(json!("{% [[[1]]] %}"), |inner, _| json!([inner]));
        let bindings = Bindings { states: &json!({}), variables: &Map::new(), now_ms: 0 };
        let template = JsonataTemplate::parse(&template, "Output").unwrap();
        template.evaluate(&bindings, &Guards::default(), &mut Counting(0), &|| false)
    };
    assert!(field(NESTING_MAX - 3).is_ok());
    let error = field(NESTING_MAX - 2).unwrap_err();
    assert_eq!((error.cause.as_str(), error.location), ("The field's value nests deeper than 100 levels", None));
}

#[test]
fn an_expression_may_be_shared_by_threads() {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Expression>();
    is_shared::<JsonataTemplate>();
}

#[test]
fn guarded_functions_are_values_like_others() {
    check("$map([1, 'a', [2]], $string)", json!(["1", "a", "[2]"]));
    check("[1, 2] ~> $map($string) ~> $join('-')", json!("1-2"));
    check("['a', 'b'] ~> $join", json!("ab"));
    check("($f := $trim ~> $string; $f(' x '))", json!("x"));
    check("($p := $pad; [$p('x', 3), $p('x', -3, '-')])", json!(["x  ", "--x"]));
    check("($r := $replace; [$r('aba', 'a', 'c'), $r('aba', 'a', 'c', 1)])", json!(["cbc", "cba"]));
    check("($j := $join; [$j(['a', 'b']), $j(['a', 'b'], '-')])", json!(["ab", "a-b"]));
    check("$reduce([['a', 'b'], '-'], $join)", json!("a-b"));
    check("$map([[1, 1], [2]], $distinct)", json!([[1], [2]]));
    check("($f := $formatInteger; $f(12, 'I'))", json!("XII"));
    check("$type($pad)", json!("function"));
    check("[$exists($string), $string($string) = '']", json!([true, true]));
    // It takes two, and one from a function that it is given to. As a value it took one.
    check("($s := $string; $s({'a': 1}, true))", json!("{\n  \"a\": 1\n}"));
    check("$each({'a': 1, 'b': 2}, $string)", json!(["1", "2"]));
    check("$each({'I': 5}, $formatInteger)", json!("V"));
    check("($p := $pad(?, 3, '-'); $p('x'))", json!("x--"));
    check("($p := $pad; $q := $p(?, 3); $q('x'))", json!("x  "));
    check("['{\"a\":1}', '2'] ~> $map($parse)", json!([{"a": 1}, 2]));
}

/// One with a guard was given its arguments alone when it was called by a variable: `[1, 2].($f())` was nothing.
#[test]
fn a_function_in_a_variable_takes_the_context_for_what_is_left_out() {
    check("($f := $string; [1, 2].($f()))", json!(["1", "2"]));
    check("($f := $string; [1, 2].$f())", json!(["1", "2"]));
    check("($f := $length; ['a', 'bb'].($f()))", json!([1, 2]));
    check("($p := $pad; ['a', 'b'].($p(3, '-')))", json!(["a--", "b--"]));
    check("($r := $replace; ['aba', 'b'].$r('b', '!'))", json!(["a!a", "!"]));
    check("($f := $formatInteger; [4, 9].$f('I'))", json!(["IV", "IX"]));
    check("(false ? $string := 5 : 0; [1, 2].$string())", json!(["1", "2"]));
    check("[1, 2].(($string)())", json!(["1", "2"]));
    check("($f := $string; [1].($f([2, 3].($f()))))", json!("[\"2\",\"3\"]"));
    check("($f := $string; [1].($f([2].($f(3))) & $f()))", json!("31"));
    check("($f := $string; [7].{'a': $f(), 'b': 5 ~> $f()})", json!({"a": "7", "b": "5"}));
    check("($f := $string; $g := $f(?); [1].($g(3)))", json!("3"));
    check("($s := $string; $f := function($n){$n = 0 ? $s($n) : $f($n - 1)}; $f(5000))", json!("0"));
    check_undefined("($f := $string; $f())");
    check_fails(
        "($f := $string; $g := 5; [1].($g()))",
        "threw an error during evaluation. T1006: Attempted to invoke a non-function",
    );
}

/// Each expression of a field gave its own functions, so that a replacement that calls `$string` found none after another expression
/// that calls `$replace` too.
#[test]
fn a_function_finds_what_it_calls_whatever_else_the_field_has() {
    let template = json!({
        "a": "{% $replace('x', /x/, function($m){ $string(1) & 'a' }) %}",
        "b": "{% $replace('x', /x/, 'y') %}",
        "c": "{% 'x' ~> $replace(/x/, function($m){ $pad('z', 2, '-') & $parse('1') }) %}",
    });
    let (states, variables) = (states(), Map::new());
    let bindings = Bindings { states: &states, variables: &variables, now_ms: 0 };
    let template = JsonataTemplate::parse(&template, "Output").unwrap();
    let value = template.evaluate(&bindings, &Guards::default(), &mut Counting(0), &|| false);
    assert_eq!(value, Ok(json!({"a": "1a", "b": "y", "c": "z-1"})));
}

#[test]
fn a_program_may_give_the_names_of_guarded_functions_to_its_own() {
    check("($string := 5; $string + 1)", json!(6));
    check("($string := $string(5); $string & '!')", json!("5!"));
    check("($join := function($n){$n = 0 ? 0 : $n + $join($n - 1)}; $join(4))", json!(10));
    check("($a := function(){$pad(1)}; $pad := function($x){$x + 1}; $a())", json!(2));
    check("(function($pad){$pad + 1})(1) & $pad('x', 3)", json!("2x  "));
    check("(($pad := 2; $pad) + 1) & $pad('x', 3)", json!("3x  "));
    check("($replace := {'a': 1}; $replace.a)", json!(1));
    check("($join := [3, 4]; $join[1])", json!(4));
}

/// Guarded functions were renamed where the program did not seem to bind their names. What it bound by `@` or `#`, later, or not at
/// all, and what the workflow had bound, was the function then.
#[test]
fn names_of_guarded_functions_are_whoevers_they_are() {
    check("{'l': [{'id': 1}, {'id': 2}]}.l@$join.{'x': $join.id}", json!([{"x": 1}, {"x": 2}]));
    check("{'l': ['a', 'b']}.l#$pad.{'x': $pad}", json!([{"x": 0}, {"x": 1}]));
    check(
        "($d := {'l': [{'i': 1, 'n': 'a'}], 'b': [{'i': 1, 't': 'T'}]}; $d.l@$string.$d.b@$join[$string.i = $join.i].($string.n & $join.t))",
        json!("aT"),
    );
    check(
        "($p := $map([['a', 'b'], ['c']], function($i){$join($i, '-')}); $join := $join($p, ','); $join)",
        json!("a-b,c"),
    );
    check("($t := $map([1, 2], function($x){$string($x)}); $string := $t[0]; $string)", json!("1"));
    check("(false ? $string := 5 : 0; $string(3))", json!("3"));
    check("($f := function($x){$string($x)}; $a := $f(1); $string := 7; $a & $string)", json!("17"));
    check("($x := ($string := 3; $string); $x & $string([1]))", json!("3[1]"));
    check_fails(
        "($join := 5; $join(['a']))",
        "threw an error during evaluation. T1006: Attempted to invoke a non-function",
    );
    for name in ["string", "join", "pad", "replace", "distinct", "formatInteger", "parseInteger", "fromMillis", "map"] {
        let variables = json!({ name: {"k": [1]} }).as_object().cloned().unwrap();
        let bindings = Bindings { states: &json!({}), variables: &variables, now_ms: 0 };
        let evaluate = |text: &str| {
            let template = JsonataTemplate::parse(&json!(text), "Output").unwrap();
            template.evaluate(&bindings, &Guards::default(), &mut Counting(0), &|| false)
        };
        assert_eq!(evaluate(&format!("{{% ${name} %}}")), Ok(json!({"k": [1]})), "{name}");
        assert_eq!(evaluate(&format!("{{% ${name}.k[0] + 1 %}}")), Ok(json!(2)), "{name}");
        assert_eq!(evaluate(&format!("{{% (function(${name}){{${name}}})(3) %}}")), Ok(json!(3)), "{name}");
        let error = evaluate(&format!("{{% ${name}('a', 'b') %}}")).unwrap_err();
        assert!(error.cause.ends_with("T1006: Attempted to invoke a non-function"), "{error:?}");
    }
}

#[test]
fn comparing_and_descending_give_what_they_gave() {
    check(
        "($a := {'x': [1]}; $b := {'x': [1]}; [$a = $b, $a != $b, $a in [$b], $a.y = $b.y])",
        json!([true, false, false, false]),
    );
    check("($a := [{'b': {'c': 1}}, {'b': [{'c': 2}, {'c': 3}]}]; $a.**.c)", json!([1, 2, 3]));
    check("($a := {'b': {'c': 1}}; $a.(**).c)", json!(1));
    check("($a := {'b': {'c': 1}}; $map([$a, $a], function($x){$count($x.**)}))", json!([3, 3]));
    check("($a := [[[1], 2]]; $a.**)", json!([1, 2]));
    check("($a := {'b': null}; $count($a.**))", json!(2));
}

#[test]
fn lists_of_functions_are_what_they_were() {
    check("$map([1, 2], function($i){[$i]})", json!([[1], [2]]));
    check("$map([1, 2], function($i){[]})", json!([[], []]));
    check("($f := function(){[1, 2]}; 0 ~> $f()[0])", json!(1));
    check("($f := function(){[1]}; {'a': $f(), 'b': $f()[], 'c': $f().($ + 1)})", json!({"a": [1], "b": [1], "c": 2}));
    check("($f := function(){true ? [[1]] : []}; [$f(), $f()])", json!([[1], [1]]));
    check("$reduce([1..3], function($a, $i){[$a, $i]}, [])", json!([1, 2, 3]));
    check("$count($map([1..400000], function($i){[$i, $i]}))", json!(400_000));
}

#[test]
fn what_aws_accepts_is_accepted() {
    check(&("1".to_owned() + &"+1".repeat(99)), json!(100));
    check(&format!("{}1{}", "(".repeat(99), ")".repeat(99)), json!(1));
    check("($f := function($x){ $x <= 0 ? 0 : 1 + $f($x-1) }; $f(31))", json!(31));
    check("[1..800000] ~> $count()", json!(800_000));
    check("($a := [1..800]; $count($a.($a)))", json!(640_000));
    check("($a := [1, 2]; [$a.(['x', $])])", json!(["x", 1, "x", 2]));
    check("[[1, 2].[$, 3]]", json!([[1, 3], [2, 3]]));
    check("($f := function($s, $n){ $n = 0 ? $s : $f($s & $s, $n - 1) }; $length($f('x', 22)))", json!(4_194_304));
    check("$count($distinct($map([1..20000], function($i){$i % 5000})))", json!(5_000));
    check("$distinct([1, 1, 'a', 'a', {'x': 1}, {'x': 1}])", json!([1, "a", {"x": 1}]));
}

#[test]
fn a_value_of_any_depth_ends_with_an_error_also_when_there_is_time() {
    let guards = Guards { time_ms_max: 20_000, ..Guards::default() };
    assert!(evaluate_with("$reduce([1..200000], function($a, $i){[[$a]]}, [])", &guards).is_err());
}

/// `$substring` of 1e30 characters overflowed inside jsonata-core. The panic ended the engine's thread for good, and again at each restart.
#[test]
fn a_panic_of_the_evaluator_is_the_failure_of_its_expression() {
    let program = Program::parse("$boom(1)").unwrap();
    let (states, variables) = (states(), Map::new());
    let bindings = Bindings { states: &states, variables: &variables, now_ms: 0 };
    let run = || {
        let programs = [&program];
        let draws = Draws::new(&programs, &mut Counting(0));
        let session = Session::open(&programs, &bindings, &Guards::default(), draws, CancelToken::new());
        session.with_function("boom", |_| panic!("it broke")).run(&program)
    };
    let expected = Failure::Broken("The evaluator of JSONata cannot evaluate this: it broke".to_owned());
    assert_eq!([run(), run()], [Err(expected.clone()), Err(expected)]);
    check("1 + 1", json!(2));
}

/// A Roman number of a quadrillion ended the process, and one of 1e12 took 26 s and 1.9 GB.
#[test]
fn numbers_in_letters_are_bounded() {
    check("$formatInteger(1999, 'I') & $formatInteger(27, 'a')", json!("MCMXCIXaa"));
    check("1999 ~> $formatInteger('I')", json!("MCMXCIX"));
    check("$parseInteger('MCMXCIX', 'I')", json!(1999));
    check("$parseInteger('AAAAAAAAAAAAA', 'A') > 95428956661682176", json!(true));
    check("('aaaaaaaaaaaaa').$parseInteger('a') > 95428956661682176", json!(true));
    for expression in ["$formatInteger(1e12, 'I')", "$formatInteger(-1e15, 'i;o')", "1e15 ~> $formatInteger('I')"] {
        let error = evaluate(expression).unwrap_err();
        assert!(error.cause.contains("memory limit exceeded"), "{expression}: {}", error.cause);
    }
    for expression in ["$parseInteger('ABCDEFGHIJKLMN', 'A')", "('abcdefghijklmn').$parseInteger('a')"] {
        let error = evaluate(expression).unwrap_err();
        assert!(error.cause.ends_with("D3137: A number of more than 13 letters is too large"), "{}", error.cause);
    }
}

/// A width in a picture of an input was as many zeros, the process ended for a lack of memory, and again at each restart.
#[test]
fn pictures_are_bounded() {
    check("$fromMillis(0, '[Y0001,4-4]/[M01] [H01]')", json!("1970/01 00"));
    check("$fromMillis(0, 'from, 12345 on: [Y]')", json!("from, 12345 on: 1970"));
    check("$length($fromMillis(0, '[H01,100-100]'))", json!(100));
    check("$length($fromMillis(0, $pad('', 1000, 'x')))", json!(1000));
    check("$toMillis('1970-01-02', '[Y0001]-[M01]-[D01]')", json!(86_400_000));
    check("'1970-01-02T00:00:00Z' ~> $toMillis()", json!(86_400_000));
    check("$formatNumber(12.5, '#0.00')", json!("12.50"));
    check("(12.5).$formatNumber('#0.00')", json!("12.50"));
    let long = "$pad('', 1001, '0')";
    for expression in [
        "$fromMillis(0, '[H01,999999999999]')".to_owned(),
        "$fromMillis(0, '[H01,*-400000000]')".to_owned(),
        "$fromMillis(0, '[H01,4 0 0 0 0 0 0 0 0]')".to_owned(),
        "$fromMillis(0, '[f,2000000000]')".to_owned(),
        "$now('[H01,2000000000]')".to_owned(),
        "(0).$fromMillis('[Y]x[f,999999999999]')".to_owned(),
        "($f := $fromMillis; $f(0, '[f,999999999999]'))".to_owned(),
        "$map([0], function($m){$fromMillis($m, '[f,999999999999]')})".to_owned(),
        "$toMillis('1', '[Y,1000000000]')".to_owned(),
        format!("$formatNumber(1, {long})"),
        format!("$formatInteger(1, {long})"),
        format!("$parseInteger('1', {long})"),
        format!("$fromMillis(0, {long})"),
        format!("$now({long})"),
        format!("$toMillis('1', {long})"),
    ] {
        let error = evaluate(&expression).unwrap_err();
        assert!(error.cause.contains("memory limit exceeded"), "{expression}: {}", error.cause);
    }
}

/// A value of a thousand parts that all are one: what takes it apart writes out each of them.
#[test]
fn what_is_taken_apart_is_measured_before() {
    let doubled = |text: &str| {
        format!("($a := $reduce([1..10], function($a, $i){{[[$a], [$a]]}}, [1]); $b := {{'b': $a}}; {text})")
    };
    let few = Guards { value_bytes_max: 1_000, time_ms_max: 20_000, ..Guards::default() };
    for text in [
        "$count($a.**)",
        "$count($b.**)",
        "$count([$a, $b].(**))",
        "$count($a[**])",
        "$count($b.*)",
        "$count($b.(*))",
        "$count([$b].(*.x))",
        "$count($b.b.%)",
        "($c := {'b': $a, 's': 1}; $count($c.s.%))",
        "$count($distinct([$a, $b]))",
    ] {
        assert!(evaluate(&doubled(text)).is_ok(), "{text}");
        let refused = evaluate_with(&doubled(text), &few);
        assert!(refused.as_ref().is_err_and(|failure| failure.is_limit), "{text}: {refused:?}");
    }
    // An error would have it as a text.
    for text in ["{$a: 1}", "$b{$a: 1}"] {
        assert!(evaluate(&doubled(text)).is_err_and(|failure| failure.cause.contains("T1003")), "{text}");
        assert!(evaluate_with(&doubled(text), &few).is_err_and(|failure| failure.is_limit), "{text}");
    }
    // Few that are small are compared with each other, however many bytes all of them are.
    let letters = "$count($distinct($map([1..600], function($i){'abcdefghij'})))";
    assert_eq!(evaluate_with(letters, &few), Ok(Some(json!(1))));
}
