//! What is known of a program before it runs.

use std::collections::BTreeSet;

use super::engine::Program;
use super::rewrite::{BUILT, CONCATENATE, CONTEXT, IS_BOUNDED, KEY, STEP};

#[track_caller]
fn program(text: &str) -> Program {
    Program::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// What only looks at its input needs no thread of its own: most expressions are evaluated where they are.
#[test]
fn a_program_that_makes_nothing_that_it_looks_at_is_not_watched() {
    for text in [
        "'a'",
        "null",
        "()",
        "$x",
        "($x)",
        "-$x",
        "$x + 1",
        "$x & 'a'",
        "$states.input.a.b[0]",
        "$states.input.*",
        "$x.*.a",
        "$x.a[b = $y].c[]",
        "$x ? 1 : 2",
        "$x ? 1",
        "$x ? [$x] : {}",
        "$x ?: [$y]",
        "$x ?? [$y]",
        "{'a': $x, 'b': {'c': [$x]}}",
        "{$x: $y}",
        "[$x, [$y]]",
        "[1..$x, [$y]]",
        "$count([1, 'a', true, null, 2..$x])",
        "$x in ['a', 'b']",
        "$sum($x.a)",
        "$uppercase($substring($x, 1))",
        "$append($x, 1)",
        "$keys($x.a)",
        "$x.a.{'b': c}",
        "$x.a.[b, c]",
    ] {
        assert!(!program(text).facts.is_watched, "{text}");
    }
}

/// What a program makes may share parts: forty values are a tree of 2^40.
#[test]
fn a_program_that_looks_at_what_it_made_is_watched() {
    for text in [
        // It binds.
        "$a := 1",
        "($a := 1; $a)",
        "(1; $x)",
        "$x@$a.b",
        "$x#$i.b",
        "function($x){1}",
        "$map($x, $string)",
        "$x ~> $count",
        "$x ~> |a|{}|",
        "$x^(a)",
        "$x{a: b}",
        "$x.**",
        // What it makes is looked at, with a list, an object or a function around.
        "$count([$x])",
        "$count([1, $x])",
        "$count([1..$x, [$y]])",
        "$string({'a': $x})",
        "$count($keys($x))",
        "$count($x ? [$y] : 0)",
        "$count($x ? 0 : [$y])",
        "$count($x ?: [$y])",
        "$count($x.[a])",
        "{[$x]: 1}",
        "[$x] = $y",
        "$y = [$x]",
        "-[$x]",
        "[$x] ? 1 : 2",
        "[$x] ?: 1",
        "[$x].a",
        "$x.[a].b",
        "$x.[a][0]",
        "$x.(a).b",
        "$x.a[[b]]",
        // A function that is not known, anywhere.
        "$f(1)",
        "-$f(1)",
        "$f(1) + 1",
        "1 + $f(1)",
        "$sum($f(1))",
        "$append(1, $f(1))",
        "[$f(1)]",
        "[1, $f(1)]",
        "[[$f(1)], 1]",
        "$count([1..$f(1)])",
        "$count([$f(1)..1])",
        "{'a': $f(1)}",
        "{$f(1): 1}",
        "($f(1))",
        "$f(1) ? 1 : 2",
        "1 ? $f(1) : 2",
        "1 ? 2 : $f(1)",
        "$f(1) ?? 1",
        "1 ?? $f(1)",
        "$x.$f(1)",
        "$f(1).a",
        "$x.a[$f(1)]",
        "$x.a[$f(1)].b",
    ] {
        assert!(program(text).facts.is_watched, "{text}");
    }
}

/// No more than this is made ready for an evaluation.
#[test]
fn a_program_says_what_it_reads_of_the_state() {
    for (text, variables, fields, reads_whole) in [
        ("$states.input.a", &["states"][..], &["input"][..], false),
        ("$states.input.a = $states.result", &["states"], &["input", "result"], false),
        ("$states.input[$states.context.a = b]", &["states"], &["context", "input"], false),
        ("$states", &["states"], &[], true),
        ("$states[0].input", &["states"], &[], true),
        ("$states.*", &["states"], &[], true),
        ("$states.input & $string($states)", &["states", "string"], &["input"], true),
        ("$a.b + $c[$d]", &["a", "c", "d"], &[], false),
        ("$a.states.input", &["a"], &[], false),
        ("-$a ? $b : $c", &["a", "b", "c"], &[], false),
        ("$a^($b)", &["a", "b"], &[], false),
        ("|$a|{'k': $b}, $c|", &["a", "b", "c"], &[], false),
        ("$a{$b: $c}", &["a", "b", "c"], &[], false),
        ("(function($x){$a})($b)", &["a", "b"], &[], false),
        ("{$a: $b} ~> $c", &["a", "b", "c"], &[], false),
    ] {
        let facts = program(text).facts;
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(facts.variables, names(variables), "{text}");
        assert_eq!(facts.states_fields, names(fields), "{text}");
        assert_eq!(facts.reads_whole_states, reads_whole, "{text}");
    }
}

#[test]
fn a_program_has_the_guards_that_it_needs_and_no_others() {
    for (text, guards) in [
        ("$a.b[c = 1]", &[][..]),
        ("$a.(b).(c.d).$", &[]),
        ("$f(1) + (function($x){$x})(1)", &[]),
        ("{'k': $a}", &[]),
        ("$a & 'x'", &[CONCATENATE]),
        ("{$a: 1}", &[KEY]),
        ("$a{b: 1}", &[KEY]),
        ("[1..$a]", &[STEP]),
        ("$a.$b", &[STEP]),
        ("$a.*", &[IS_BOUNDED]),
        ("$a.(*)", &[IS_BOUNDED, STEP]),
        ("$a.**", &[IS_BOUNDED]),
        ("$a.b.%", &[IS_BOUNDED]),
        ("$f($string)", &[]),
        ("$replace($a, 'b', 'c')", &[BUILT]),
        ("($f := $replace)", &[BUILT]),
        ("($s := $string; $s(1))", &[CONTEXT]),
        ("($s := $string; ($s)(1))", &[CONTEXT]),
    ] {
        assert_eq!(program(text).facts.guards, guards.iter().copied().collect(), "{text}");
    }
}
