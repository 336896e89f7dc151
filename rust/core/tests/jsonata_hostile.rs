//! Programs of JSONata that would take all memory or all time. A process of their own: some leave a thread behind.

use std::time::{Duration, Instant};

use forebay_core::workflow::jsonata::{Bindings, Guards, JsonataTemplate};
use forebay_core::workflow::scope::{Entropy, EvaluationError};
use serde_json::{json, Map, Value};

struct Counting(u64);

impl Entropy for Counting {
    fn next_u64(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

fn evaluate_with(text: &str, guards: &Guards) -> Result<Value, EvaluationError> {
    let template = JsonataTemplate::parse(&json!(format!("{{%{text}%}}")), "Output");
    let template = template.map_err(|problem| EvaluationError::query(problem.message, ""))?;
    let bindings = Bindings { states: &json!({}), variables: &Map::new(), now_ms: 0 };
    template.evaluate(&bindings, guards, &mut Counting(0), &|| false)
}

/// Those that were left behind are not looked at here.
fn guards(time_ms_max: u64) -> Guards {
    Guards { time_ms_max, stuck_max: usize::MAX, ..Guards::default() }
}

/// Each of these would take gigabytes, minutes or the stack. All end soon, with an error.
#[test]
fn hostile_expressions_end_with_an_error() {
    let guards = guards(500);
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
        "($s := $pad('x', 100000, 'x'); $s.$replace(/x/, $s))".to_owned(),
        "($s := $pad('x', 100000, 'x'); $replace($s, /x/, function($m){$s}))".to_owned(),
        "$replace($pad('', 1000000, 'x'), /.+/, $pad('', 4000, '$0'), 0.5)".to_owned(),
        matched("$replace($s, function(){$n(0, 100000)}, '')"),
        matched("$replace($s, function(){$n(0, 100000)}, function($m){''})"),
        matched("$replace('x', function(){$n(0, 0)}, $pad('', 4000, '$1'))"),
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
        // Forty values that share their parts are a tree of 2^40.
        doubled("$distinct([$a, $b])"),
        doubled("$distinct($append([1..2000], [[$a], [$b]]))"),
        doubled("$count($a.**)"),
        doubled("$count([$a, $b].(**))"),
        doubled("$count($a.b.**.c)"),
        doubled("$count($a[**])"),
        // These took memory until the process ended, also when nobody waited for them any more.
        doubled("$count($a.*.*)"),
        doubled("$each({'k': [[$a], [$b]]}, function($v){$v.*})"),
        doubled("{'l': $reduce([1..40], function($v, $i){[[$v], [$v]]}, 1)}.*"),
        doubled("[$a, $b].a.%.b.a"),
        doubled("{$a: 1}"),
        doubled("$a{a: 1}"),
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

/// What is done with a matcher of its own, which finds a long text again and again, and goes back for it.
fn matched(done: &str) -> String {
    let next = "{'match': '', 'start': $a, 'end': $b, 'groups': [$s], 'next': function(){$n($b, $a)}}";
    format!("($s := $pad('x', 100000, 'x'); $n := function($a, $b){{{next}}}; {done})")
}

/// What is done with two values that are small, and large as JSON.
fn doubled(done: &str) -> String {
    let value = "$reduce([1..40], function($v, $i){{'a': $v, 'b': $v}}, 1)";
    format!("($a := {value}; $b := {value}; {done})")
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
    let guards = guards(200);
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
    assert_eq!(evaluate_with("1 + 1", &guards), Ok(json!(2)));
}
