//! Each function on what AWS recorded, the texts of failures, and hostile calls.
#![allow(clippy::needless_pass_by_value)] // Tables of `json!` read best without a `&` each.

use proptest::prelude::*;
use serde_json::{json, Map};

use super::*;
use crate::workflow::scope::DATA_LIMIT_EXCEEDED;

/// Numbers in their order, so that a test knows what is drawn.
struct Counting(u64);

impl Entropy for Counting {
    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0
    }
}

fn evaluate(text: &str, input: Value) -> Result<Value, EvaluationError> {
    let context = json!({"Execution": {"Name": "run-7"}});
    let variables: Map<String, Value> = [("template".to_owned(), json!("It's {}!"))].into_iter().collect();
    let intrinsic = Intrinsic::parse(text).map_err(|problem| EvaluationError::runtime(problem.message))?;
    intrinsic.evaluate(
        &Scope { input: &input, context: &context, variables: &variables, visits: None },
        &mut Counting(1),
        &mut 0,
    )
}

#[track_caller]
fn check(text: &str, expected: Value) {
    let input = json!({"a": [1, 2, 3, 4, 5], "t": "text", "o": {"Arg1": 1, "Arg2": []}, "n": null, "f": 1.1});
    assert_eq!(evaluate(text, input), Ok(expected), "{text}");
}

#[track_caller]
fn check_fails(text: &str, detail: &str) {
    let cause = format!("The function '{text}' had the following error: {detail}");
    assert_eq!(evaluate(text, json!({"a": [1], "t": "x"})), Err(EvaluationError::runtime(cause)));
}

#[test]
fn texts_are_formatted_as_java_writes_values() {
    check("States.Format('a {} b {}.', $.f, $.n)", json!("a 1.1 b null."));
    check("States.Format('{}', $.o)", json!("{Arg1=1, Arg2=[]}"));
    check("States.Format('{}', States.Array('x', 1, true))", json!("[x, 1, true]"));
    check("States.Format($template, $.t)", json!("It's text!"));
    check(r"States.Format('it\'s \{\} and {} \\ \{', 'x')", json!(r"it's {} and x \ {"));
    check("States.Format('plain')", json!("plain"));
    check(r"States.Format('{}', 'a\{b')", json!("a{b"));
    check(r"States.Array('a\{b', '\\')", json!(["a{b", r"\"]));
    check("States.Format( '{}-{}' ,$$.Execution.Name , 1.50 )", json!("run-7-1.5"));
}

#[test]
fn arrays_are_made_cut_and_searched() {
    check("States.Array()", json!([]));
    check("States.Array($.n, 'x', -1)", json!([null, "x", -1]));
    check("States.ArrayPartition($.a, 2)", json!([[1, 2], [3, 4], [5]]));
    check("States.ArrayPartition($.a, 2.6)", json!([[1, 2], [3, 4], [5]]));
    check("States.ArrayPartition(States.Array(), 3)", json!([]));
    check("States.ArrayContains($.a, 5)", json!(true));
    check("States.ArrayContains(States.Array($.o), $.o)", json!(true));
    check("States.ArrayRange(0, 10, 3)", json!([0, 3, 6, 9]));
    check("States.ArrayRange(1.6, 1.4, 1)", json!([1]));
    check("States.ArrayRange(5.4, -0.6, -2.4)", json!([5, 3, 1]));
    check("States.ArrayRange(5, 1, 1)", json!([]));
    check("States.ArrayRange(3, 3, -1)", json!([3]));
    check("States.ArrayRange(3, 3, 1)", json!([3]));
    check("States.ArrayRange(5, 4, 9)", json!([]));
    check("States.ArrayRange(4, 5, -9)", json!([]));
    check("States.ArrayRange(9223372036854775807, -9223372036854775808, 1)", json!([]));
    let (least, most) = (i64::MIN, i64::MAX);
    check(&format!("States.ArrayRange({least}, {most}, {most})"), json!([least, -1, most - 1]));
    check("States.ArrayLength(States.ArrayRange(1, 1000, 1))", json!(1000));
    check("States.ArrayGetItem($.a, 4)", json!(5));
    check("States.ArrayGetItem(States.StringSplit($$.Execution.Name, '-'), 0)", json!("run"));
    check("States.ArrayUnique(States.Array(1, 1, 1.0, 'a', 'a', $.n, $.n))", json!([1, 1.0, "a", null]));
    check("States.ArrayLength($.a[?(@ > 3)])", json!(2));
    check("States.ArrayLength($['a'][0,1])", json!(2));
}

#[test]
fn objects_are_alike_whatever_the_order_of_their_fields() {
    let input = json!({"l": [{"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1}]});
    assert_eq!(evaluate("States.ArrayUnique($.l)", input), Ok(json!([{"a": 1, "b": 2}, {"a": 1}])));
}

#[test]
fn texts_are_split_coded_and_hashed() {
    check("States.StringSplit(', , ,', ',')", json!([" ", " "]));
    check("States.StringSplit('split on T and \nnew line', 'T\n')", json!(["split on ", " and ", "new line"]));
    check("States.Base64Encode('Data to encode')", json!("RGF0YSB0byBlbmNvZGU="));
    check("States.Base64Decode('SGVsbG8gV29ybGQ=')", json!("Hello World"));
    check("States.Hash('input data', 'MD5')", json!("812f45842bc6d66ee14572ce20db8e86"));
    check("States.Hash('input data', 'SHA-1')", json!("aaff4a450a104cd177d28d18d74485e8cae074b7"));
    check(
        "States.Hash('input data', 'SHA-256')",
        json!("b4a697a057313163aee33cd8d40c66e9f0f177e00cac2de32475ffff6169c3e3"),
    );
}

#[test]
fn json_is_read_written_and_merged() {
    check("States.StringToJson(' ')", json!(null));
    check("States.StringToJson('{\"b\":1.10,\"a\":[]}')", json!({"b": 1.1, "a": []}));
    check("States.StringToJson('9007199254740993')", json!(9_007_199_254_740_993_i64));
    check("States.JsonToString($.o)", json!(r#"{"Arg1":1,"Arg2":[]}"#));
    check("States.JsonToString('x')", json!("\"x\""));
    check(
        "States.JsonMerge($.o, States.StringToJson('{\"Arg1\":2,\"z\":0}'), false)",
        json!({"Arg1": 2, "Arg2": [], "z": 0}),
    );
}

#[test]
fn numbers_are_rounded_before_they_are_added() {
    for (left, right, sum) in [
        ("-1.5", "-1.51", -3),
        ("1.49", "0", 1),
        ("1.5", "0", 2),
        ("-0.5", "0.5", 1),
        ("-2.5", "0", -2),
        ("111", "-1", 110),
    ] {
        check(&format!("States.MathAdd({left}, {right})"), json!(sum));
    }
}

#[test]
fn what_is_drawn_comes_from_the_entropy_or_the_seed() {
    let drawn = evaluate("States.MathRandom(-5, 5)", json!({})).unwrap();
    assert!((-5..5).contains(&drawn.as_i64().unwrap()));
    let seeded = evaluate("States.MathRandom(1, 1000, 42)", json!({})).unwrap();
    assert_eq!(evaluate("States.MathRandom(1, 1000, 42)", json!({})), Ok(seeded));
    let uuid = evaluate("States.UUID()", json!({})).unwrap();
    let uuid = uuid.as_str().unwrap();
    assert_eq!((uuid.len(), &uuid[14..15]), (36, "4"));
    assert!(matches!(&uuid[19..20], "8" | "9" | "a" | "b"));
    assert_eq!(evaluate("States.UUID()", json!({})), Ok(json!(uuid)));
}

#[test]
fn a_failure_names_the_whole_expression() {
    check_fails(
        "States.Format('{}', $.nope)",
        r#"The JsonPath argument for the field '$.nope' could not be found in the input '{"a":[1],"t":"x"}'"#,
    );
    check_fails("States.Array(States.MathAdd($.t, 1))", "Invalid arguments in States.MathAdd");
    check_fails(
        "States.Format('{}{}', 1)",
        "Invalid arguments in States.Format: number of arguments do not match the occurrences of {}.",
    );
    check_fails(
        "States.Format('{}', 1, 2)",
        "Invalid arguments in States.Format: number of arguments do not match the occurrences of {}.",
    );
    check_fails("States.Format('{ }', 1)", "Invalid template in States.Format: matching '}' not found for '{'.");
    check_fails("States.Format('}', 1)", "Invalid template in States.Format: matching '{' not found for '}'.");
    for (function, arguments) in [
        ("ArrayPartition", "$.a, 0.6"),
        ("ArrayPartition", "$.t, 1"),
        ("ArrayRange", "1, 1001, 1"),
        ("ArrayRange", "1, 5, 0.49"),
        ("ArrayRange", "5, 5, 0"),
        ("ArrayRange", "9223372036854775808, 9223372036854775807, 1"),
        ("ArrayRange", "-9223372036854775808, 9223372036854775807, 1"),
        ("ArrayGetItem", "$.a, 1"),
        ("ArrayGetItem", "$.a, -1"),
        ("ArrayLength", "$.t"),
        ("ArrayUnique", "1"),
        ("Base64Decode", "'%'"),
        ("Hash", "'x', 'md5'"),
        ("Hash", "1, 'MD5'"),
        ("JsonMerge", "1, 2, false"),
        ("MathAdd", "2147483647, 1"),
        ("MathAdd", "1e300, 1"),
        ("MathRandom", "1.4, 1.6"),
        ("MathRandom", "1, 10, null"),
        ("StringSplit", "1, ','"),
        ("StringToJson", "'{'"),
        ("StringToJson", "$.a"),
    ] {
        check_fails(&format!("States.{function}({arguments})"), &format!("Invalid arguments in States.{function}"));
    }
}

#[test]
fn what_is_no_call_is_refused() {
    for text in [
        "",
        "States.Format",
        "States.Format(",
        "States.Format('a'",
        "States.Format('a) ",
        "States.Nothing()",
        "States.UUID(1)",
        "States.Array(1,)",
        "States.Array(,1)",
        "States.Array(1 2)",
        "States.Array(x)",
        "States.Array($.a",
        "States.Array($.a b)",
        "States.Array()x",
        r#"States.StringToJson('{"text":"An \"escaped\" quote"}')"#,
        r"States.Array('\n')",
        "$.a",
        "States.ArrayRange(1, 5)",
        "States.Array(\"a\")",
        "States.Array('a\\",
    ] {
        assert!(Intrinsic::parse(text).is_err(), "{text}");
    }
}

#[test]
fn hostile_calls_are_refused() {
    let nested = |depth: usize| format!("{}{}", "States.Array(".repeat(depth), ")".repeat(depth));
    assert!(Intrinsic::parse(&nested(10)).is_ok());
    assert!(Intrinsic::parse(&nested(11)).is_err());
    assert!(Intrinsic::parse(&nested(100_000)).is_err());
    let long = json!({"t": "x".repeat(10_001), "l": vec![1.5; 100_000], "deep": "[".repeat(5_000)});
    assert!(evaluate("States.Base64Encode($.t)", long.clone()).is_err());
    assert!(evaluate("States.Hash($.t, 'MD5')", long.clone()).is_err());
    assert!(evaluate("States.StringToJson($.deep)", long.clone()).is_err());
    let started = std::time::Instant::now();
    assert_eq!(evaluate("States.ArrayUnique($.l)", long), Ok(json!([1.5])));
    assert!(started.elapsed().as_secs() < 5);
    let texts = json!({"t": "x".repeat(200_000), "d": "abc".repeat(60_000)});
    assert_eq!(evaluate("States.StringSplit($.t, $.d)", texts.clone()), Ok(json!([texts["t"]])));
    assert!(started.elapsed().as_secs() < 10);
    let many = format!("States.Format('{}'{})", "{}".repeat(2_000), ", $.t".repeat(2_000));
    let refused = evaluate(&many, json!({"t": "x".repeat(200_000)})).unwrap_err();
    assert_eq!(refused.error, DATA_LIMIT_EXCEEDED);
}

fn json_values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e15..1e15).prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::vec((".{0,5}", inner), 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_as_json_reads_as_it_was(value in json_values()) {
        prop_assert_eq!(evaluate("States.StringToJson(States.JsonToString($))", value.clone()), Ok(value));
    }

    #[test]
    fn base64_reads_as_it_was(text in ".{0,200}") {
        let there_and_back = evaluate("States.Base64Decode(States.Base64Encode($))", json!(text));
        prop_assert_eq!(there_and_back, Ok(json!(text)));
    }

    #[test]
    fn two_values_share_a_canonical_text_if_they_are_equal(left in json_values(), right in json_values()) {
        use crate::workflow::value::canonical;
        prop_assert_eq!(canonical(&left) == canonical(&right), left == right);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "States\\.(Format|Array|Hash)\\(['$.{}\\\\a(),\\[\\] é1-]{0,30}") {
        let _ = evaluate(&text, json!({"a": 1}));
    }
}

/// 200 arguments of one list took 1.4 GB and 11 s: only what the outermost call gave was counted.
#[test]
fn arguments_are_counted_before_they_are_copied() {
    let input = json!({"i": vec![0; 100_000]});
    let many = format!("States.ArrayLength(States.Array({}))", vec!["$.i"; 200].join(", "));
    let error = evaluate(&many, input.clone()).unwrap_err();
    assert_eq!((error.error.as_str(), error.is_limit), (DATA_LIMIT_EXCEEDED, false));
    assert_eq!(evaluate("States.ArrayLength(States.Array($.i, $.i))", input), Ok(json!(2)));
}

#[test]
fn a_path_that_looks_at_too_much_is_not_told_as_one_that_is_missing() {
    let numbers: Vec<u32> = (0..20_000).collect();
    let failure = evaluate("States.ArrayLength($.a[?(@ in $.a)])", json!({"a": numbers})).unwrap_err();
    assert_eq!(failure.error, DATA_LIMIT_EXCEEDED);
    let missing = evaluate("States.ArrayLength($.b)", json!({"a": 1})).unwrap_err();
    assert!(missing.cause.ends_with("field '$.b' could not be found in the input '{\"a\":1}'"), "{}", missing.cause);
}

#[test]
fn a_call_says_how_many_arguments_its_function_takes() {
    for (text, told) in [
        ("States.UUID(1)", "States.UUID takes 0 arguments, not 1"),
        ("States.MathAdd(1)", "States.MathAdd takes 2 arguments, not 1"),
        ("States.MathRandom(1)", "States.MathRandom takes 2 to 3 arguments, not 1"),
        ("States.MathRandom(1, 2, 3, 4)", "States.MathRandom takes 2 to 3 arguments, not 4"),
        ("States.Format()", "States.Format takes at least 1 arguments, not 0"),
    ] {
        let problem = Intrinsic::parse(text).unwrap_err();
        assert!(problem.message.contains(told), "{}", problem.message);
    }
}

/// An argument ends before a comma or a parenthesis, but not inside brackets and the quotes in them.
#[test]
fn a_path_among_arguments_has_brackets_and_quotes_of_its_own() {
    let input = json!({"it's": 1, "it'),s": 2, "a),b]": 3, "l": [{"k": "),"}, {"k": 5}]});
    for (text, expected) in [
        ("States.Array($.it's, 9)", json!([1, 9])),
        (r"States.Array($['it\'),s'], 9)", json!([2, 9])),
        ("States.Array($['a),b]'], 9)", json!([3, 9])),
        (r#"States.Array($["a),b]"], 9)"#, json!([3, 9])),
        ("States.Array($.l[?(@.k == '),')], 9)", json!([[{"k": "),"}], 9])),
        ("States.Array($.l[1].k ,9)", json!([5, 9])),
    ] {
        assert_eq!(evaluate(text, input.clone()), Ok(expected), "{text}");
    }
}

#[test]
fn a_result_nests_as_deep_as_a_workflows_values_may() {
    let nested = |depth: usize| (0..depth).fold(json!(1), |inner, _| json!([inner]));
    for text in ["States.Array($)", "States.StringToJson(States.Format('[{}]', States.JsonToString($)))"] {
        assert_eq!(evaluate(text, nested(99)), Ok(nested(100)), "{text}");
        assert!(evaluate(text, nested(100)).unwrap_err().cause.contains("Invalid arguments in States."), "{text}");
    }
}

#[test]
fn a_text_is_formatted_up_to_so_many_bytes() {
    let fill = |value: &str, bytes_max| format::fill("a{}", &[json!(value)], bytes_max);
    assert_eq!(fill("bc", 3).ok().as_deref(), Some("abc"));
    for longer in ["bcd", "bcde"] {
        assert!(matches!(fill(longer, 3), Err(format::Unfit::TooLong)));
    }
    let mut built = BUILT_BYTES_MAX - size_of::<Value>();
    assert!(count_built(&json!(null), &mut built).is_ok());
    assert!(count_built(&json!(null), &mut built).is_err());
}

/// At least the first number, and less than the second.
#[test]
fn a_number_is_drawn_from_its_whole_range() {
    struct Always(u64);
    impl Entropy for Always {
        fn next_u64(&mut self) -> u64 {
            self.0
        }
    }
    for (entropy, from_five, widest) in [(0, -5, i32::MIN), (1 << 63, 0, -1), (u64::MAX, 4, i32::MAX - 1)] {
        let drawn = |text: &str| {
            let scope = Scope { input: &json!({}), context: &json!({}), variables: &Map::new(), visits: None };
            Intrinsic::parse(text).unwrap().evaluate(&scope, &mut Always(entropy), &mut 0)
        };
        assert_eq!(drawn("States.MathRandom(-5, 5)"), Ok(json!(from_five)));
        assert_eq!(drawn(&format!("States.MathRandom({}, {})", i32::MIN, i32::MAX)), Ok(json!(widest)));
    }
}
