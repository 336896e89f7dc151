//! Jayway's dialect on a document: values, lists, misses with their texts, and hostile paths.

use proptest::prelude::*;
use serde_json::{json, Map, Value};

use super::*;

fn document() -> Value {
    json!({
        "name": "ship", "n": null, "count": 0,
        "delivery-partner": "UQS",
        "items": [
            {"id": 1, "price": 10, "tags": ["a", "b"], "gift": false},
            {"id": 2, "price": 25.5, "tags": ["b"], "note": "Fragile"},
            {"id": 3, "price": 40, "tags": []},
        ],
        "limit": 20,
        "deep": {"a": {"id": 7}, "b": [{"id": 8}]},
    })
}

fn select_in(document: &Value, path: &str) -> Result<Value, PathError> {
    let variables = json!({"total": {"sum": 5}}).as_object().cloned().unwrap_or_default();
    let context = json!({"Execution": {"Id": "arn"}});
    Path::parse(path)?.select(&Scope { input: document, context: &context, variables: &variables, visits: None })
}

fn select(path: &str) -> Result<Value, PathError> {
    select_in(&document(), path)
}

#[track_caller]
fn check(path: &str, expected: Value) {
    assert_eq!(select(path), Ok(expected), "{path}");
}

#[test]
fn a_definite_path_gives_the_value() {
    check("$", document());
    check("$.name", json!("ship"));
    check("$.n", json!(null));
    check("$['name']", json!("ship"));
    check("$[\"name\"]", json!("ship"));
    check("$.delivery-partner", json!("UQS"));
    check("$.items[0].price", json!(10));
    check("$.items[-1].id", json!(3));
    check("$['items'][1]['note']", json!("Fragile"));
    check("$['name','count']", json!({"name": "ship", "count": 0}));
    check("$$.Execution.Id", json!("arn"));
    check("$$", json!({"Execution": {"Id": "arn"}}));
    check("$total", json!({"sum": 5}));
    check("$total.sum", json!(5));
}

#[test]
fn any_other_path_gives_a_list() {
    check("$.items[*].id", json!([1, 2, 3]));
    check("$.items[0,2].id", json!([1, 3]));
    check("$.items[1:].id", json!([2, 3]));
    check("$.items[:1].id", json!([1]));
    check("$.items[-1:].id", json!([3]));
    check("$.items[5:9]", json!([]));
    check("$.items[*].note", json!(["Fragile"]));
    check("$.deep.*.id", json!([7]));
    check("$..id", json!([1, 2, 3, 7, 8]));
    check("$.deep..id", json!([7, 8]));
    check("$.items[0:2].id", json!([1, 2]));
    check("$.items[*].tags[0]", json!(["a", "b"]));
    check("$.deep['a','b'].id", json!([7]));
    check("$.items[*]['id','gift']", json!([{"id": 1, "gift": false}, {"id": 2}, {"id": 3}]));
}

#[test]
fn a_list_of_something_missing_is_empty_as_on_aws() {
    for path in
        ["$.none[*]", "$.none.items[1:]", "$.none.items[:1]", "$.none.items[1:5].value", "$.name[*]", "$.none[?(@.a)]"]
    {
        check(path, json!([]));
    }
    assert_eq!(select_in(&json!({}), "$[*]"), Ok(json!([])));
}

#[test]
fn filters_compare_what_is_of_one_type() {
    check("$.items[?(@.price > 20)].id", json!([2, 3]));
    check("$.items[?(@.price >= 25.5 && @.id != 3)].id", json!([2]));
    check("$.items[?(@.id == 1 || @.id == 3)].id", json!([1, 3]));
    check("$.items[?(@.id == '1')].id", json!([]));
    check("$.items[?(@.price == 10.0)].id", json!([1]));
    check("$.items[?(@.price in [10.0, 40.0])].id", json!([1, 3]));
    check("$.items[?(@.note < 'G')].id", json!([2]));
    check("$.items[?(@.note >= 'G')].id", json!([]));
    check("$.items[?(@.price < $.limit)].id", json!([1]));
    check("$.items[?(@.gift)].id", json!([1]));
    check("$.items[?(!@.note)].id", json!([1, 3]));
    check("$.items[?(!(@.id in [1, 2]))].id", json!([3]));
    check("$.items[?(@.id nin [1, 2])].id", json!([3]));
    check("$.items[?(@.note in ['Fragile', \"x\"])].id", json!([2]));
    check("$.items[?(@.note =~ /fra.*/i)].id", json!([2]));
    check("$.items[?(@.note =~ /Fra/)].id", json!([]));
    check("$.items[?(@.tags.length() > 1)].id", json!([1]));
    check("$.items[?(@.tags[0] == 'b')].id", json!([2]));
    check("$.items[?('b' in @.tags)].id", json!([1, 2]));
    check("$.items[?(@.nothing != 1)].id", json!([1, 2, 3]));
    check("$..[?(@.id > 6)].id", json!([7, 8]));
    check("$.deep.a[?(@.id == 7)].id", json!([7]));
}

#[test]
fn functions_end_a_path() {
    check("$.items.length()", json!(3));
    check("$.items[*].price.sum()", json!(75.5));
    check("$.items[*].id.min()", json!(1.0));
    check("$.items[*].id.max()", json!(3.0));
    check("$.items[*].id.avg()", json!(2.0));
    check("$.items[0,1].id.stddev()", json!(0.5));
    check("$.deep.keys()", json!(["a", "b"]));
    check("$.deep.length()", json!(2));
    check("$.name.length()", json!(null));
    check("$.items[*].id.sum(4, $.limit)", json!(30.0));
    check("$.items[*].id.max($.items[*].price)", json!(40.0));
    check("$.items[0].tags.concat('-', $.name)", json!("ab-ship"));
    check("$.items[0].tags.append(\"c\")", json!(["a", "b", "c"]));
}

#[test]
fn a_miss_is_told_in_jayways_words() {
    let detail = |path: &str| select(path).unwrap_err().to_string();
    assert_eq!(detail("$.x"), "Invalid path '$.x' : No results for path: $['x']");
    assert_eq!(detail("$$.x"), "Invalid path '$$.x' : No results for path: $['x']");
    assert_eq!(detail("$.items[9]"), "Invalid path '$.items[9]' : No results for path: $['items'][9]");
    assert_eq!(detail("$.x.y"), "Invalid path '$.x.y' : Missing property in path $['x']");
    assert_eq!(
        detail("$.count[0]"),
        "Invalid path '$.count[0]' : Filter: [0] can only be applied to arrays. Current context is: 0"
    );
    assert_eq!(detail("$.n[0]"), "Invalid path '$.n[0]' : The path $['n'] is null");
    for step in ["['x']", "['x','y']"] {
        let told = format!("Expected to find an object with property {step} in path $['name'] but found a string");
        assert!(detail(&format!("$.name{step}")).ends_with(&told), "{step}");
    }
    assert_eq!(select("$none").unwrap_err().kind, PathErrorKind::Missing);
    assert_eq!(
        select("$.x").unwrap_err().of_field("a.$", &json!({"b": 1})).cause,
        r#"The JSONPath '$.x' specified for the field 'a.$' could not be found in the input '{"b":1}'"#
    );
}

#[test]
fn what_is_no_path_is_refused() {
    for path in [
        "",
        "name",
        "$.",
        "$..",
        "$.a b",
        "$[(@.length-1)]",
        "$.a[",
        "$.a['b",
        "$.a[1",
        "$[?(@.a",
        "$[?(@.a ==)]",
        "$[?(1)]",
        "$[?(@.a =~ 'x')]",
        "$[?(@.a =~ /(/)]",
        "$[?(@.a size 1)]",
        "$.a.unknown()",
        "$.length().a",
        "$[::2]",
        "$[:]",
        "$[1:2:3]",
        "$a-b",
        "$1",
        "$[]",
        "@.a",
    ] {
        let refused = Path::parse(path);
        assert_eq!(refused.map_err(|error| error.kind).err(), Some(PathErrorKind::Syntax), "{path}");
    }
}

/// Jayway evaluates scripts; it is told that they are not.
#[test]
fn a_script_in_brackets_is_refused_as_one() {
    let error = Path::parse("$.a[(@.length-1)]").unwrap_err();
    assert_eq!(error.detail, "Script expressions such as [(@.length-1)] are not supported");
}

#[test]
fn paths_and_their_filters_have_bounds() {
    let long = |length: usize| Path::parse(&format!("$.{}", "a".repeat(length - 2))).map(|_| ());
    assert_eq!(long(10_000), Ok(()));
    for length in [10_001, 10_002] {
        assert_eq!(long(length).unwrap_err().detail, "A path has at most 10000 characters");
    }
    // The filter, the parentheses and the path inside.
    let nested = |depth: usize| Path::parse(&format!("$[?({}@.a{})]", "(".repeat(depth - 2), ")".repeat(depth - 2)));
    assert!(nested(16).is_ok());
    assert_eq!(nested(17).unwrap_err().detail, "Filters nest at most 16 levels deep");
    // What follows one another is not inside one another.
    assert!(Path::parse(&format!("$.a{}", "[?(@.b)]".repeat(40))).is_ok());
}

/// What ends a name in a filter is part of one elsewhere.
#[test]
fn a_name_after_a_dot_ends_before_what_follows_it() {
    let document = json!({"a=b": 1, "a,b": 2, "a|b": 3, "l": [{"a": 4}, {"a": 5}]});
    for (path, expected) in
        [("$.a=b", json!(1)), ("$.a,b", json!(2)), ("$.a|b", json!(3)), ("$.l[?(@.a==4||@.a==6)].a", json!([4]))]
    {
        assert_eq!(select_in(&document, path), Ok(expected), "{path}");
    }
}

/// It matches the whole text. Its flags are those of Java that Jayway takes.
#[test]
fn a_regular_expression_has_escapes_and_flags() {
    let document = json!({"l": ["a/b", "a\\", "ab", "AB", "a\nb"]});
    for (pattern, matched) in [
        (r"/a\/b/", json!(["a/b"])),
        (r"/a\\/", json!(["a\\"])),
        ("/ab/", json!(["ab"])),
        ("/ab/i", json!(["ab", "AB"])),
        ("/a b/x", json!(["ab"])),
        ("/a.b/", json!(["a/b"])),
        ("/a.b/s", json!(["a/b", "a\nb"])),
        (r"/^a$\n^b$/", json!([])),
        (r"/^a$\n^b$/m", json!(["a\nb"])),
        ("/ab/u", json!(["ab"])),
    ] {
        assert_eq!(select_in(&document, &format!("$.l[?(@ =~ {pattern})]")), Ok(matched), "{pattern}");
    }
    let told = "The flag 'g' of a regular expression is none of i, m, s, u, x";
    assert_eq!(Path::parse("$.l[?(@ =~ /a/g)]").unwrap_err().detail, told);
}

#[test]
fn a_backslash_in_a_quoted_name_escapes_the_quote_and_itself_only() {
    let document = json!({"Test\\\"\"Name\"": 1, "it's": 2, "a\\b": 3});
    assert_eq!(select_in(&document, "$['Test\\\"\"Name\"']"), Ok(json!(1)));
    assert_eq!(select_in(&document, r"$['it\'s']"), Ok(json!(2)));
    assert_eq!(select_in(&document, r"$['a\\b']"), Ok(json!(3)));
}

#[test]
fn whether_a_path_is_definite_is_known_without_a_document() {
    let is_definite = |path: &str| Path::parse(path).map(|path| path.is_definite());
    assert_eq!(is_definite("$.a[0]['b']"), Ok(true));
    assert_eq!(is_definite("$.a[*].sum()"), Ok(true));
    for path in ["$.a[*]", "$..a", "$[0,1]", "$[0:1]", "$[?(@.a)]", "$.a.*"] {
        assert_eq!(is_definite(path), Ok(false), "{path}");
    }
}

#[test]
fn a_path_tells_what_stands_in_its_way() {
    let input = json!({"a": [null, true, 5, "x", [1], {"b": {}}]});
    for (path, told) in [
        ("$.a[0].b", "null"),
        ("$.a[1].b", "a boolean"),
        ("$.a[2].b", "a number"),
        ("$.a[3].b", "a string"),
        ("$.a[4].b", "an array"),
    ] {
        let error = select_in(&input, path).unwrap_err().to_string();
        let place = path.trim_end_matches(".b").replace(".a", "['a']");
        let told = format!("Expected to find an object with property ['b'] in path {place} but found {told}");
        assert!(error.contains(&told), "{error}");
    }
}

#[test]
fn what_a_path_reads_is_known_without_a_document() {
    for (path, variable, is_of_context) in
        [("$.a", None, false), ("$order.id", Some("order"), false), ("$$.Task.Token", None, true)]
    {
        let path = Path::parse(path).unwrap();
        assert_eq!((path.variable(), path.is_of_context()), (variable, is_of_context), "{}", path.text());
    }
}

#[test]
fn hostile_paths_end_with_an_error() {
    let mut wide = json!([]);
    for _ in 0..6 {
        wide = Value::Array(vec![wide; 5]);
    }
    let error = select_in(&wide, "$..*..*..*..[?(@..*)]..*").unwrap_err();
    assert_eq!(error.kind, PathErrorKind::TooLarge);

    let mut deep = json!("x".repeat(300_000));
    for _ in 0..90 {
        deep = json!([deep]);
    }
    assert_eq!(select_in(&deep, "$..*").unwrap_err().kind, PathErrorKind::TooLarge);

    let numbers: Vec<u32> = (0..20_000).collect();
    let each_in_all = select_in(&json!({"a": numbers}), "$.a[?(@ in $.a)]").unwrap_err();
    assert_eq!(each_in_all.kind, PathErrorKind::TooLarge);

    for path in [
        format!("$[?({}@.a{})]", "(".repeat(50_000), ")".repeat(50_000)),
        format!("$[?({}@.a)]", "!".repeat(5_000)),
        "$[?(@.a".repeat(1_000),
        format!("$[?(@.a in {})]", "[".repeat(5_000)),
        format!("$.{}", "a.".repeat(50_000)),
        "$[?(@.a =~ /a{1000}{1000}{1000}/)]".to_owned(),
    ] {
        assert_eq!(Path::parse(&path).map_err(|error| error.kind).err(), Some(PathErrorKind::Syntax));
    }
}

#[test]
fn a_comparison_looks_at_no_more_than_is_left() {
    let list = json!([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    // The list and its items are ten values.
    for (visited, is_done) in [(1_999_980, true), (1_999_990, true), (1_999_991, false), (1_999_999, false)] {
        assert_eq!(walk::Walk::new(&Value::Null, visited).visit_both(&list, &list).is_ok(), is_done, "{visited}");
    }
}

/// A value is one visit and each part of it, too; a text one more for each 64 bytes that are compared, or 8 that are searched.
#[test]
fn visits_are_counted_one_by_one() {
    let visits = |look: &dyn Fn(&mut walk::Walk<'_>)| {
        let mut walk = walk::Walk::new(&Value::Null, 0);
        look(&mut walk);
        walk.visits()
    };
    for (value, expected) in [
        (json!(1), 1),
        (json!({"a": 1, "b": [1, 2]}), 5),
        (json!("x".repeat(63)), 1),
        (json!("x".repeat(640)), 11),
        (json!([1, "x".repeat(768)]), 15),
    ] {
        assert_eq!(visits(&|walk| walk.visit_both(&value, &value).unwrap()), expected, "{value}");
    }
    assert_eq!(visits(&|walk| walk.visit_text(&"x".repeat(807)).unwrap()), 100);
    let of_path = |path: &str, input: &Value| {
        let (visits, variables) = (Cell::new(0), Map::new());
        let scope = Scope { input, context: &Value::Null, variables: &variables, visits: Some(&visits) };
        Path::parse(path).unwrap().select(&scope).unwrap();
        visits.get()
    };
    assert_eq!(of_path("$[*]", &json!([1, 2, 3])), 4);
    assert_eq!(of_path("$[*][*]", &json!([[1, 2], [3]])), 8, "each is left, and each found is looked at");
}

#[test]
fn a_path_that_looks_at_too_much_is_told_from_several() {
    let visit = |before, visits| walk::Walk::new(&Value::Null, before).visit(visits);
    assert_eq!((visit(0, 2_000_000), visit(1, 1_999_999)), (Ok(()), Ok(())));
    assert!(matches!(visit(0, 2_000_001), Err(walk::Stop::TooLarge(_))));
    assert!(matches!(visit(1, 2_000_000), Err(walk::Stop::TogetherTooLarge(_))));
    assert!(matches!(visit(1, 2_000_001), Err(walk::Stop::TooLarge(_))));
}

/// 16 MiB as they lie in memory: names are values, and have their own bytes.
#[test]
fn a_path_selects_so_many_bytes() {
    let keys = |bytes: usize| {
        let name = |letter: char| String::from(letter).repeat(bytes - size_of::<Value>());
        let document = Value::Object(['a', 'b'].map(|letter| (name(letter), Value::Null)).into_iter().collect());
        select_in(&document, "$.keys()").map(|_| ()).map_err(|error| error.kind)
    };
    assert_eq!(keys(SELECTED_BYTES_MAX / 2), Ok(()));
    assert_eq!(keys(SELECTED_BYTES_MAX / 2 + 1), Err(PathErrorKind::TooLarge));
}

/// The cause named the path that came last as invalid, which looked at a tenth of what is allowed.
#[test]
fn paths_that_visit_too_much_together_are_not_blamed_alone() {
    let (input, visits) = (json!({"i": vec![1; 100_000]}), Cell::new(0));
    let variables = Map::new();
    let scope = Scope { input: &input, context: &Value::Null, variables: &variables, visits: Some(&visits) };
    let path = Path::parse("$.i[?(@ == 5)]").unwrap();
    let refused = (0..100).find_map(|_| path.select(&scope).err()).unwrap();
    let cause = refused.evaluation();
    assert_eq!(cause.error, "States.DataLimitExceeded");
    assert_eq!(
        refused.to_string(),
        "The paths of the state look at more than 2000000 values together; the last of them is '$.i[?(@ == 5)]'"
    );
}

/// 20,000 items took 3 to 11 s under the engine's lock: what functions and comparisons look at, and copies of `['a','b']`, were not counted.
#[test]
fn what_a_filter_looks_at_is_counted() {
    let items: Vec<Value> = (0..20_000).map(|n| json!({"n": n, "l": vec![n; 200]})).collect();
    let numbers: Vec<u32> = (0..20_000).collect();
    let document = json!({"i": numbers, "o": items, "t": "x".repeat(200_000), "u": "x".repeat(200_000)});
    for path in [
        "$.i[?($.i == $.i)]",
        "$.i[?($.t == $.u)]",
        "$.i[?($.t =~ /y/)]",
        "$.o[?(@['l','n'] == 1)]",
        "$.o[?(@.l.sum() > 1)]",
        "$.o[?(@.l.append(1) == 1)]",
        "$.o[?(@.l == $.i[0:200])]",
    ] {
        let refused = select_in(&document, path);
        assert_eq!(refused.map(|_| ()).map_err(|error| error.kind), Err(PathErrorKind::TooLarge), "{path}");
    }
}

#[test]
fn what_a_filter_reads_from_the_root_is_found_once() {
    let numbers: Vec<u32> = (0..100_000).collect();
    let document = json!({"i": numbers, "few": {"a": 1, "b": 2}});
    let above = select_in(&document, "$.i[?(@ > $.i.avg())]").unwrap();
    assert_eq!(above.as_array().map(Vec::len), Some(50_000));
    assert_eq!(select_in(&document, "$.i[?($['few','i'] == 1)]"), Ok(json!([])));
    assert_eq!(select_in(&document, "$.i[?(@ == $.few.a || @ == $.few.b || @ == $.nothing)]"), Ok(json!([1, 2])));
}

#[test]
fn a_reference_path_makes_the_objects_on_its_way() {
    let write = |path: &str, into: Value| ReferencePath::parse(path)?.write(into, json!(1));
    assert_eq!(write("$", json!({"a": 0})), Ok(json!(1)));
    assert_eq!(write("$.a", json!({"a": 0, "b": 2})), Ok(json!({"a": 1, "b": 2})));
    assert_eq!(write("$.a.b['c']", json!({})), Ok(json!({"a": {"b": {"c": 1}}})));
    assert_eq!(write("$.a[1].b", json!({"a": [0, {}]})), Ok(json!({"a": [0, {"b": 1}]})));
    for (path, into) in [
        ("$.a", json!("text")),
        ("$.a", json!([])),
        ("$.a.b", json!({"a": 1})),
        ("$.a.b", json!({"a": null})),
        ("$.a[1]", json!({"a": [0]})),
        ("$.a[2]", json!({"a": [0]})),
        ("$.a[0]", json!({})),
    ] {
        let error = write(path, into.clone()).unwrap_err();
        assert_eq!(error.to_string(), format!("Unable to apply ReferencePath {path} to input {into}"));
        assert_eq!(error.evaluation().error, "States.ResultPathMatchFailure");
    }
    for path in
        ["$.a[*]", "$..a", "$.a[-1]", "$$.a", "$name", "$.a.length()", "$['a','b']", &format!("${}", ".a".repeat(101))]
    {
        assert!(ReferencePath::parse(path).is_err(), "{path}");
    }
}

/// 100 levels, of which the path makes as many as it has steps.
#[test]
fn a_reference_path_and_what_it_writes_nest_100_deep() {
    let path = |steps: usize| ReferencePath::parse(&format!("${}", ".a".repeat(steps)));
    let nested = |depth: usize| (0..depth).fold(json!(1), |inner, _| json!([inner]));
    assert!(path(101).is_err());
    for steps in [1, 2, 99, 100] {
        let path = path(steps).unwrap();
        assert!(path.write(json!({}), nested(100 - steps)).is_ok(), "{steps}");
        let refused = path.write(json!({}), nested(101 - steps)).unwrap_err();
        assert_eq!(refused.kind, PathErrorKind::TooLarge, "{steps}");
    }
}

#[test]
fn a_reference_path_cannot_nest_without_end() {
    let path = ReferencePath::parse("$.a").unwrap();
    let mut value = json!(0);
    let refused = (0..1_000).find_map(|_| {
        let written = path.write(json!({}), value.clone());
        match written {
            Ok(next) => {
                value = next;
                None
            }
            Err(error) => Some(error.kind),
        }
    });
    assert_eq!(refused, Some(PathErrorKind::TooLarge));
}

fn names() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("[^\\x00]{1,6}", 1..6)
}

proptest! {
    #[test]
    fn what_is_written_is_selected(names in names(), value in any::<i64>()) {
        let quoted = |name: &String| format!("['{}']", name.replace('\\', r"\\").replace('\'', r"\'"));
        let text = format!("${}", names.iter().map(quoted).collect::<String>());
        let written = ReferencePath::parse(&text).unwrap().write(json!({}), json!(value)).unwrap();
        let variables = Map::new();
        let selected = Path::parse(&text).unwrap().select(&Scope { input: &written, context: &Value::Null, variables: &variables, visits: None });
        prop_assert_eq!(selected, Ok(json!(value)));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\$[$@.?()\\[\\]'\"*:,0-9a-c =<>!&|/~\\\\]{0,40}") {
        if let Ok(path) = Path::parse(&text) {
            let variables = Map::new();
            let _ = path.select(&Scope { input: &document(), context: &Value::Null, variables: &variables, visits: None });
        }
    }
}
