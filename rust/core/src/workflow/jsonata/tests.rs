//! What Step Functions add to the language and refuse of it, their texts, and hostile expressions.
#![allow(clippy::needless_pass_by_value)] // Tables of `json!` read best without a `&` each.

use std::time::{Duration, Instant};

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
    let expression =
        Expression::parse(text, "Output/v").map_err(|problem| EvaluationError::query(problem.message, ""))?;
    let variables = json!({"total": 7, "join": 1}).as_object().cloned().unwrap_or_default();
    let states = states();
    let bindings = Bindings { states: &states, variables: &variables, now_ms: 1_494_861_179_152 };
    expression.evaluate(&bindings, guards, &mut Counting(0))
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
        ("$range(1)", "T0410"),
        ("$range(1, 5, 1, 'x')", "T0410"),
        ("$uuid('seed')", "T0410"),
        ("$random(1, 2)", "T0410"),
        ("$hash(42, 'MD5')", "T0410"),
        ("$hash('a', 5)", "T0410"),
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
    for text in [
        "$states.input.items[value > 3]",
        "$states.input^(price)",
        "$states.input{name: price}",
        "$states.input.(a + b)",
        "$states.input.items ~> |$|{'x': y}|",
    ] {
        assert_eq!(refused(text), Ok(()), "{text}");
    }
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
}

#[test]
fn an_expression_may_be_shared_by_threads() {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Expression>();
    is_shared::<JsonataTemplate>();
}

/// Each of these would take gigabytes, minutes or the stack. All end soon, with an error.
#[test]
fn hostile_expressions_end_with_an_error() {
    let guards = Guards { time_ms_max: 500, ..Guards::default() };
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(20_000), close.repeat(20_000));
    for text in [
        "($f := function($x){ $f($x + 1) }; $f(1))".to_owned(),
        "($f := function($x){ 1 + $f($x + 1) }; $f(1))".to_owned(),
        "[1..99999999]".to_owned(),
        "$pad('x', 500000000)".to_owned(),
        "$pad('x', -1e300)".to_owned(),
        "'x'.$pad(500000000)".to_owned(),
        "($p := function($w){$pad('x', $w)}; $p(500000000))".to_owned(),
        "($f := function($s, $n){ $n = 0 ? $s : $f($s & $s, $n - 1) }; $f('x', 40))".to_owned(),
        "($s := $pad('x', 100000, 'x'); $replace($s, 'x', $s))".to_owned(),
        "($s := $pad('x', 100000, 'x'); $replace($s, /x/, $s))".to_owned(),
        "($s := $pad('x', 100000, 'x'); $s.$replace('x', $s))".to_owned(),
        "($s := $pad('x', 100000, 'x'); $join($map([1..1000], function($i){$s}), $s))".to_owned(),
        "($s := $pad('x', 100000, 'x'); $map([1..100000], function($i){$s & $i}))".to_owned(),
        "($f := function($a, $n){ $n = 0 ? $a : $f([$a, $a], $n - 1) }; $string($f([1], 40)))".to_owned(),
        "($f := function($a, $n){ $n = 0 ? $a : $f([$a, $a], $n - 1) }; 'x' & $f([1], 40))".to_owned(),
        "($f := function($a, $n){ $n = 0 ? $a : $f([$a, $a], $n - 1) }; $f([1], 40))".to_owned(),
        "($f := function($a, $n){ $n = 0 ? $a : $f($append($a, $a), $n - 1) }; $f([1], 40))".to_owned(),
        "$reduce([1..200000], function($a, $i){[[$a]]}, [])".to_owned(),
        "$count($distinct($map([1..800000], function($i){$i}))) ~> $string() & 1 + 'x'".to_owned(),
        "$contains($pad('a', 50000, 'a') & '!', /(a+)+$/) ? 1 + 'x' : 1 + 'x'".to_owned(),
        // Each item of one list with each of the other: the process ended for a lack of memory.
        "($a := [1..20000]; $a.($a))".to_owned(),
        "($a := [1..20000]; $count($a.$a))".to_owned(),
        "($a := {'b': [1..20000]}; $a.b.($a.b))".to_owned(),
        "[1..800000].([1..800000])".to_owned(),
        "$reduce([1..30], function($a, $i){[$a, $a]}, [1])".to_owned(),
        "$map([1..60], function($i){[1..800000]})".to_owned(),
        "$map([1..60], function($i){($l := 800000; $i > 0 ? [1..$l] : [])})".to_owned(),
        // Guarded functions under other names.
        "($p := $pad; $length($p('x', 1e15)))".to_owned(),
        "($pad := $pad; $pad('x', 1e15))".to_owned(),
        "(false ? ($pad := 1); $pad('x', 1e15))".to_owned(),
        "(false ? $pad := 1 : 2; $pad('x', 1e15))".to_owned(),
        "($f := function($pad){1}; $pad('x', 1e15))".to_owned(),
        "(function($f){$f('x', 1e15)})($pad)".to_owned(),
        "($f := {'a': $pad}; $f.a('x', 1e15))".to_owned(),
        "($f := $formatInteger; $f(1e12, 'I'))".to_owned(),
        "($s := $pad('x', 100000, 'x'); $f := $replace; $f($s, 'x', $s))".to_owned(),
        "$map([1e15], function($n){['x', $n] ~> function($l){$pad($l[0], $l[1])}})".to_owned(),
        // Forty values that share their parts are a tree of 2^40, and no clock is looked at while it is compared.
        doubled("$a = $b"),
        doubled("$a != $b"),
        doubled("$a in [$b]"),
        doubled("$distinct([$a, $b])"),
        doubled("$distinct($append([1..2000], [[$a], [$b]]))"),
        doubled("$count($a.**)"),
        doubled("$count([$a, $b].(**))"),
        doubled("$count($a.b.**.c)"),
        doubled("$count($a[**])"),
        deep("(", ")"),
        deep("[", "]"),
        deep("-", ""),
        "1".to_owned() + &"+1".repeat(40_000),
    ] {
        let started = Instant::now();
        let ended = evaluate_with(&text, &guards);
        let name = text.chars().take(90).collect::<String>();
        assert!(ended.is_err(), "{name}");
        assert!(started.elapsed() < Duration::from_secs(20), "{name}: {:?}", started.elapsed());
    }
}

/// What is done with two values that are small, and large as JSON.
fn doubled(done: &str) -> String {
    let value = "$reduce([1..40], function($v, $i){{'a': $v, 'b': $v}}, 1)";
    format!("($a := {value}; $b := {value}; {done})")
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
        let session = Session::open(&[&program], &bindings, &Guards::default(), &mut Counting(0));
        session.with_function("boom", |_| panic!("it broke")).run(&program)
    };
    let expected = Failure::Broken("The evaluator of JSONata cannot evaluate this: it broke".to_owned());
    assert_eq!([run(), run()], [Err(expected.clone()), Err(expected)]);
    check("1 + 1", json!(2));
}

const FUNCTIONS: &str = "abs append assert average base64decode base64encode boolean ceil contains count decodeUrl \
    decodeUrlComponent distinct each encodeUrl encodeUrlComponent error eval exists filter floor formatBase formatInteger \
    formatNumber fromMillis hash join keys length lookup lowercase map match max merge millis min not now number pad parse \
    parseInteger partition power random range reduce replace reverse round shuffle sift single sort split spread sqrt string \
    substring substringAfter substringBefore sum toMillis trim type uppercase uuid zip";
const ARGUMENTS: &[&str] = &[
    "$nothing",
    "null",
    "true",
    "''",
    "'x'",
    "'\u{e9}\u{1d11e}'",
    "'ABCDEFGHIJKLMNOPQRSTUVWXYZ'",
    "-1",
    "0",
    "0.5",
    "1e30",
    "-1e30",
    "9007199254740993",
    "1.7e308",
    "[]",
    "[1, 'a', null]",
    "['a', '']",
    "[1e308, 1e308]",
    "{}",
    "{'a': [1]}",
    "function($x){$x}",
    "$string",
    "/x|/",
    "/(a+)+$/",
    "$long",
    "$list",
    "'[Y0001]-[M01]'",
    "'[YI]'",
    "'[Y,*-9999999999]'",
    "'[Y,99999999]'",
    "'[f9999999]'",
    "'+9999'",
    "'A'",
    "'I;o'",
    "'Ww'",
    "'#,##0.00e0'",
    "'%%'",
    "'\u{661}'",
];

/// Each function of the language, with arguments that no caller has in mind.
#[test]
fn no_function_ends_the_process_or_takes_long_whatever_its_arguments() {
    let guards = Guards { time_ms_max: 200, ..Guards::default() };
    let mut draw = Counting(0);
    let ask = |arguments: &[&str], function: &str| {
        let text =
            format!("($long := $pad('', 20000, 'ab '); $list := [1..2000]; ${function}({}); 7)", arguments.join(", "));
        let started = Instant::now();
        // It has a value, or fails: a panic would end the test.
        let _ended = evaluate_with(&text, &guards);
        assert!(started.elapsed() < Duration::from_secs(5), "{text}: {:?}", started.elapsed());
    };
    for function in FUNCTIONS.split_whitespace() {
        ask(&[], function);
        for first in ARGUMENTS {
            ask(&[first], function);
        }
        for round in 0..700 {
            let mixed = draw.next_u64().wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let drawn = |shift: u32| ARGUMENTS[(mixed >> shift) as usize % ARGUMENTS.len()];
            let all = [drawn(10), drawn(25), drawn(40)];
            ask(&all[..if round < 400 { 2 } else { 3 }], function);
        }
    }
    check("1 + 1", json!(2));
}

/// A Roman number of a quadrillion ended the process, and one of 1e12 took 26 s and 1.9 GB.
#[test]
fn numbers_in_letters_are_bounded() {
    check("$formatInteger(1999, 'I') & $formatInteger(27, 'a')", json!("MCMXCIXaa"));
    check("1999 ~> $formatInteger('I')", json!("MCMXCIX"));
    check("$parseInteger('MCMXCIX', 'I')", json!(1999));
    for expression in ["$formatInteger(1e12, 'I')", "$formatInteger(-1e15, 'i;o')", "1e15 ~> $formatInteger('I')"] {
        let error = evaluate(expression).unwrap_err();
        assert!(error.cause.contains("memory limit exceeded"), "{expression}: {}", error.cause);
    }
    assert!(evaluate("$parseInteger('ABCDEFGHIJKLMN', 'A')").is_err());
}
