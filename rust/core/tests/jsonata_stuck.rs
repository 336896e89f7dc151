//! Evaluations that do not end are left behind. A process of their own: nothing else has its turn while two of them go on.

use std::time::{Duration, Instant};

use forebay_core::workflow::jsonata::{Bindings, Guards, JsonataTemplate};
use forebay_core::workflow::scope::Entropy;
use serde_json::{json, Map, Value};

struct Zero;

impl Entropy for Zero {
    fn next_u64(&mut self) -> u64 {
        0
    }
}

/// The value, or how the cause ends.
fn evaluate(template: &Value, guards: &Guards) -> Result<Value, String> {
    let bindings = Bindings { states: &json!({"input": {"n": 5}}), variables: &Map::new(), now_ms: 0 };
    let begun = Instant::now();
    let done =
        JsonataTemplate::parse(template, "Output")
            .expect("a template")
            .evaluate(&bindings, guards, &mut Zero, &|| false);
    assert!(begun.elapsed() < Duration::from_secs(10), "{template}: {:?}", begun.elapsed());
    done.map_err(|error| {
        assert!(error.is_limit, "{error:?}");
        error.cause.split_once(" specified for the field ").expect("a field").1.to_owned()
    })
}

/// Values that share their parts: small, and a tree of 2^`levels`.
fn doubled(levels: u32, done: &str) -> Value {
    let lists = format!("$reduce([1..{levels}], function($v, $i){{[[$v], [$v]]}}, 0)");
    json!(format!("{{%($a := {lists}; $b := {lists}; {done})%}}"))
}

/// Guards stood before comparing and four other ways to walk a value. Any other held the engine's lock for ever, and again at each start.
#[test]
fn what_does_not_end_is_left_behind_and_holds_nobody_up() {
    let guards = Guards { time_ms_max: 100, ..Guards::default() };
    let late = "threw an error during evaluation: Expression evaluation timeout: Check for infinite loop";
    let crowded = "threw an error during evaluation: Two expressions that took too long are still being evaluated, so this one is not begun";
    let small = json!("{%($a := $states.input.n; $a + 1)%}");
    assert_eq!(evaluate(&small, &guards), Ok(json!(6)));

    // One that ends counts no more.
    assert_eq!(evaluate(&doubled(24, "$a = $b"), &guards), Err(format!("'Output' {late}")));
    assert_eq!(evaluate(&small, &guards), Ok(json!(6)));
    assert_eq!(evaluate(&small, &Guards { time_ms_max: 100, ..Guards::short() }), Err(format!("'Output' {crowded}")));
    let begun = Instant::now();
    while evaluate(&small, &Guards { time_ms_max: 100, ..Guards::short() }).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it counts although it has ended");
        std::thread::sleep(Duration::from_millis(20));
    }

    // All of a field have their time together.
    let many: Vec<Value> = (0..200).map(|_| doubled(18, "$a = $b")).collect();
    let begun = Instant::now();
    evaluate(&json!(many), &guards).expect_err("each took little, and all took more than they may");
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    while evaluate(&small, &Guards { time_ms_max: 100, ..Guards::short() }).is_err() {
        std::thread::sleep(Duration::from_millis(20));
    }

    // The expression is named that did not end.
    let second = json!({"x": small, "y": doubled(60, "$a ? 1 : 2"), "z": "{%1%}"});
    assert_eq!(evaluate(&second, &guards), Err(format!("'Output/y' {late}")));
    assert_eq!(evaluate(&small, &guards), Ok(json!(6)));
    assert_eq!(evaluate(&doubled(60, "[1, 2][$a]"), &guards), Err(format!("'Output' {late}")));
    assert_eq!(evaluate(&small, &guards), Err(format!("'Output' {crowded}")));
    // What looks at nothing but its input cannot become one.
    assert_eq!(evaluate(&json!({"s": "{%$states.input.n + 1%}"}), &guards), Ok(json!({"s": 6})));
}
