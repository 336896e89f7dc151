//! The methods of strings, lists, maps and numbers, as Java's documentation has them.

use serde_json::Map;

use super::super::RenderError;
use super::{check, context, render, try_render};

fn check_strings(cases: &[(&str, &str)]) {
    for (call, expected) in cases {
        let (text, method) = call[1..].split_once("'.").unwrap();
        assert_eq!(render(&format!("#set($s = '{text}')$s.{method}")), *expected, "{call}");
    }
}

#[test]
fn strings_have_javas_methods() {
    check_strings(&[
        ("'Hello'.length()", "5"),
        ("''.isEmpty()", "true"),
        ("' '.isEmpty()", "false"),
        ("' '.isBlank()", "true"),
        ("' a'.isBlank()", "false"),
        ("'Hello'.contains('ell')", "true"),
        ("'Hello'.contains('elo')", "false"),
        ("'Hello'.startsWith('He')", "true"),
        ("'Hello'.startsWith('lo')", "false"),
        ("'Hello'.endsWith('lo')", "true"),
        ("'Hello'.endsWith('He')", "false"),
        ("'Hello'.equals('Hello')", "true"),
        ("'Hello'.equals('hello')", "false"),
        ("'Hello'.equalsIgnoreCase('hELLO')", "true"),
        ("'Hello'.equalsIgnoreCase('hell')", "false"),
        ("'Hello'.indexOf('l')", "2"),
        ("'Hello'.indexOf('x')", "-1"),
        ("'Hello'.lastIndexOf('l')", "3"),
        ("'Hello'.lastIndexOf('x')", "-1"),
        ("'a'.compareTo('c')", "-2"),
        ("'abc'.compareTo('ab')", "1"),
        ("'ab'.compareTo('abcd')", "-2"),
        ("'abc'.compareTo('abc')", "0"),
        ("'B'.compareTo('a')", "-31"),
        ("'B'.compareToIgnoreCase('a')", "1"),
        ("'AB'.compareToIgnoreCase('ab')", "0"),
        ("'hello'.hashCode()", "99162322"),
        ("''.hashCode()", "0"),
        ("' a '.trim()", "a"),
        ("' a '.strip()", "a"),
        ("'\u{a0}a\u{1f}'.trim()", "\u{a0}a"),
        ("'\u{a0}a\u{2003}'.strip()", "\u{a0}a"),
        ("' a '.toString()", " a "),
        ("'aB'.toLowerCase()", "ab"),
        ("'aB'.toUpperCase()", "AB"),
        ("'a'.concat('b')", "ab"),
        ("'Hello'.substring(1)", "ello"),
        ("'Hello'.substring(5)", ""),
        ("'Hello'.substring(1, 3)", "el"),
        ("'Hello'.substring(2, 2)", ""),
        ("'Hello'.subSequence(1, 5)", "ello"),
        ("'Hello'.charAt(4)", "o"),
        ("'Hello'.replace('l', 'L')", "HeLLo"),
        ("'ab'.replace('', '-')", "-a-b-"),
        ("'a.b'.replaceAll('.', '-')", "---"),
        ("'a.b'.replaceFirst('.', '-')", "-.b"),
        ("'ab'.replaceAll('(a)(b)', '$2$1$0')", "baab"),
        ("'ab'.replaceAll('b', '\\$1')", "a$1"),
        ("'ab'.replaceAll('b', '\\\\x')", "a\\x"),
        ("'ab'.replaceAll('b', '\\x')", "ax"),
        ("'ab'.repeat(3)", "ababab"),
        ("'ab'.repeat(0)", ""),
        ("'abc'.matches('a.c')", "true"),
        ("'abcd'.matches('a.c')", "false"),
        ("'abcd'.matches('x|abcd')", "true"),
    ]);
}

#[test]
fn what_java_refuses_or_lacks_is_taken_where_it_can_only_mean_one_thing() {
    check_strings(&[
        ("'ab'.replaceAll('b', '5$')", "a5$"),
        ("'ab'.replaceAll('b', '$x')", "a$x"),
        ("'x'.parseInt('-12')", "-12"),
        ("'x'.parseLong('12')", "12"),
        ("'x'.parseDouble(' 1.5 ')", "1.5"),
        ("'x'.parseFloat('2')", "2.0"),
        ("'x'.parseBoolean('TRUE')", "true"),
        ("'x'.parseBoolean('yes')", "false"),
        ("'x'.valueOf('y')", "y"),
        ("'12'.intValue()", "12"),
        ("'12'.longValue()", "12"),
        ("'1.5'.doubleValue()", "1.5"),
        ("'1.5'.floatValue()", "1.5"),
        ("'x'.parseInt('1.5')", "error: line 1: For input string: \"1.5\""),
        ("'x'.parseInt('y')", "error: line 1: For input string: \"y\""),
        ("'x'.parseDouble('y')", "error: line 1: For input string: \"y\""),
        ("'x'.parseInt('1', '2')", "error: line 1: a string has no method parseInt with 2 arguments"),
        ("'x'.parseInt()", "error: line 1: a string has no method parseInt with 0 arguments"),
        ("'x'.parseBoolean()", "error: line 1: a string has no method parseBoolean with 0 arguments"),
        ("'x'.valueOf()", "error: line 1: a string has no method valueOf with 0 arguments"),
    ]);
}

#[test]
fn places_in_strings_are_counted_in_units_of_utf_16() {
    check_strings(&[
        ("'üb'.indexOf('b')", "1"),
        ("'\u{1F600}b'.indexOf('b')", "2"),
        ("'\u{1F600}b'.length()", "3"),
        ("'\u{1F600}b'.substring(2)", "b"),
        ("'\u{1F600}b'.charAt(2)", "b"),
        ("'ü\u{1F600}b'.substring(1, 3)", "\u{1F600}"),
        ("'\u{1F600}'.hashCode()", "1772899"),
    ]);
}

#[test]
fn what_a_string_cannot_do_is_an_error_of_the_template() {
    check_strings(&[
        ("'Hello'.substring(6)", "error: line 1: String index out of range: 6 to 5 of 5"),
        ("'Hello'.substring(-1)", "error: line 1: String index out of range: -1 to 5 of 5"),
        ("'Hello'.substring(3, 2)", "error: line 1: String index out of range: 3 to 2 of 5"),
        ("'Hello'.substring(0, 6)", "error: line 1: String index out of range: 0 to 6 of 5"),
        ("'Hello'.charAt(5)", "error: line 1: String index out of range: 5 to 6 of 5"),
        ("'a'.repeat(-1)", "error: line 1: repeat takes no negative count"),
        ("'y'.intValue()", "error: line 1: For input string: \"y\""),
        ("'x'.intValue('1')", "error: line 1: a string has no method intValue with 1 argument"),
        ("'x'.trim('x')", "error: line 1: a string has no method trim with 1 argument"),
        ("'x'.charAt('y')", "error: line 1: a string has no method charAt with 1 argument"),
        ("'x'.length(1)", "error: line 1: a string has no method length with 1 argument"),
    ]);
}

/// The examples of `java.lang.String.split`, and its rules for empty texts.
#[test]
fn a_split_is_javas() {
    for (text, arguments, expected) in [
        ("boo:and:foo", "':', 2", "[boo, and:foo]"),
        ("boo:and:foo", "':', 5", "[boo, and, foo]"),
        ("boo:and:foo", "':', -2", "[boo, and, foo]"),
        ("boo:and:foo", "'o', 5", "[b, , :and:f, , ]"),
        ("boo:and:foo", "'o', -2", "[b, , :and:f, , ]"),
        ("boo:and:foo", "'o', 0", "[b, , :and:f]"),
        ("boo:and:foo", "'o'", "[b, , :and:f]"),
        ("boo:and:foo", "':', 1", "[boo:and:foo]"),
        ("boo:and:foo", "'[:o]+'", "[b, and, f]"),
        ("abc", "''", "[a, b, c]"),
        (",a", "','", "[, a]"),
        (",", "','", "[]"),
        ("", "','", "[]"),
        ("abc", "'x'", "[abc]"),
    ] {
        assert_eq!(render(&format!("#set($s = '{text}')$s.split({arguments})")), expected, "{text}: {arguments}");
    }
    assert_eq!(render("#set($s = '')$s.split(',').size()"), "1");
    assert_eq!(render("#set($s = ',')$s.split(',').size()"), "0");
}

#[test]
fn lists_have_javas_methods() {
    for (call, expected) in [
        ("size()", "3 [a, b, a]"),
        ("length()", "3 [a, b, a]"),
        ("isEmpty()", "false [a, b, a]"),
        ("get(2)", "a [a, b, a]"),
        ("add('c')", "true [a, b, a, c]"),
        ("add(0, 'c')", " [c, a, b, a]"),
        ("add(3, 'c')", " [a, b, a, c]"),
        ("addAll(['x', 1])", "true [a, b, a, x, 1]"),
        ("set(1, 'c')", "b [a, c, a]"),
        ("remove(0)", "a [b, a]"),
        ("remove(2)", "a [a, b]"),
        ("clear()", " []"),
        ("contains('b')", "true [a, b, a]"),
        ("contains('c')", "false [a, b, a]"),
        ("indexOf('a')", "0 [a, b, a]"),
        ("indexOf('b')", "1 [a, b, a]"),
        ("indexOf('c')", "-1 [a, b, a]"),
        ("lastIndexOf('a')", "2 [a, b, a]"),
        ("lastIndexOf('b')", "1 [a, b, a]"),
        ("lastIndexOf('c')", "-1 [a, b, a]"),
        ("subList(1, 3)", "[b, a] [a, b, a]"),
        ("subList(1, 1)", "[] [a, b, a]"),
        ("subList(0, 1)", "[a] [a, b, a]"),
        ("toString()", "[a, b, a] [a, b, a]"),
        ("equals(['a', 'b', 'a'])", "true [a, b, a]"),
        ("equals(['a', 'b'])", "false [a, b, a]"),
        ("get(3)", "error: line 1: Index out of range: Size: 3"),
        ("get(-1)", "error: line 1: Index out of range: Size: 3"),
        ("get('x')", "error: line 1: Index out of range: Size: 3"),
        ("add(4, 'c')", "error: line 1: Index out of range: Size: 3"),
        ("set(3, 'c')", "error: line 1: Index out of range: Size: 3"),
        ("remove(3)", "error: line 1: Index out of range: Size: 3"),
        ("subList(1, 4)", "error: line 1: Index out of range: Size: 3"),
        ("subList(4, 4)", "error: line 1: Index out of range: Size: 3"),
        ("subList(2, 1)", "error: line 1: subList goes from 2 to 1"),
        ("addAll('x')", "error: line 1: a list has no method addAll with 1 argument"),
    ] {
        assert_eq!(render(&format!("#set($l = ['a', 'b', 'a'])$l.{call} $l")), expected, "{call}");
    }
    check(&[("#set($l = [])$l.isEmpty()", "true")]);
}

#[test]
fn maps_have_javas_methods() {
    for (call, expected) in [
        ("size()", "2 {a=1, b=2}"),
        ("isEmpty()", "false {a=1, b=2}"),
        ("get('a')", "1 {a=1, b=2}"),
        ("get('c')", " {a=1, b=2}"),
        ("getOrDefault('a', 9)", "1 {a=1, b=2}"),
        ("getOrDefault('c', 9)", "9 {a=1, b=2}"),
        ("put('a', 3)", "1 {a=3, b=2}"),
        ("put('c', 3)", " {a=1, b=2, c=3}"),
        ("putIfAbsent('a', 3)", "1 {a=1, b=2}"),
        ("putIfAbsent('c', 3)", " {a=1, b=2, c=3}"),
        ("putAll({'a': 5, 'c': 6})", " {a=5, b=2, c=6}"),
        ("remove('a')", "1 {b=2}"),
        ("remove('c')", " {a=1, b=2}"),
        ("clear()", " {}"),
        ("containsKey('a')", "true {a=1, b=2}"),
        ("containsKey('c')", "false {a=1, b=2}"),
        ("containsValue(1)", "true {a=1, b=2}"),
        ("containsValue(2)", "true {a=1, b=2}"),
        ("containsValue(3)", "false {a=1, b=2}"),
        ("keySet()", "[a, b] {a=1, b=2}"),
        ("values()", "[1, 2] {a=1, b=2}"),
        ("entrySet()", "[a=1, b=2] {a=1, b=2}"),
        ("entrySet().get(0).getValue()", "1 {a=1, b=2}"),
        ("entrySet().get(0).getKey()", "a {a=1, b=2}"),
        ("entrySet().get(1).toString()", "b=2 {a=1, b=2}"),
        ("toString()", "{a=1, b=2} {a=1, b=2}"),
        ("equals({'a': 1, 'b': 2})", "true {a=1, b=2}"),
        ("equals({})", "false {a=1, b=2}"),
        ("putAll('x')", "error: line 1: a map has no method putAll with 1 argument"),
        ("entrySet().get(0).size()", "error: line 1: an entry has no method size with 0 arguments"),
    ] {
        assert_eq!(render(&format!("#set($m = {{'a': 1, 'b': 2}})$m.{call} $m")), expected, "{call}");
    }
    check(&[("#set($m = {})$m.isEmpty()", "true")]);
}

#[test]
fn numbers_have_javas_methods() {
    for (number, call, expected) in [
        ("3", "intValue()", "3"),
        ("3", "longValue()", "3"),
        ("3.7", "intValue()", "3"),
        ("3.7", "longValue()", "3"),
        ("3", "doubleValue()", "3.0"),
        ("3.5", "floatValue()", "3.5"),
        ("true", "booleanValue()", "true"),
        ("false", "booleanValue()", "false"),
        ("3", "compareTo(4)", "-1"),
        ("3", "compareTo(3.0)", "0"),
        ("4.5", "compareTo(3)", "1"),
        ("0", "max(1, 2)", "2"),
        ("0", "max(2, 1)", "2"),
        ("0", "min(1, 2)", "1"),
        ("0", "min(2, 1)", "1"),
        ("0", "toString(12)", "12"),
        ("0", "valueOf(12)", "12"),
        ("12", "toString()", "12"),
        ("12", "equals(12)", "true"),
        ("12", "equals(13)", "false"),
        ("0", "parseInt('12')", "12"),
        ("0", "parseLong('12')", "12"),
        ("0", "parseDouble('1.5')", "1.5"),
        ("0", "parseFloat('1.5')", "1.5"),
        ("true", "parseBoolean('true')", "true"),
        ("0", "valueOf('12')", "12"),
        ("0.0", "valueOf('12')", "12.0"),
        ("0", "toString('x')", "x"),
        ("3", "compareTo('x')", "error: line 1: compareTo compares numbers"),
        ("0", "max('x', 1)", "error: line 1: a number has no method max with 2 arguments"),
        ("3", "booleanValue()", "error: line 1: a number has no method booleanValue with 0 arguments"),
        ("true", "intValue()", "error: line 1: a boolean has no method intValue with 0 arguments"),
    ] {
        assert_eq!(render(&format!("#set($n = {number})$n.{call}")), expected, "{number}.{call}");
    }
}

#[test]
fn input_and_utilities_answer_for_what_they_are_given() {
    check(&[
        ("$input.params('ID') $input.params('X-TOKEN') $input.params('Q')", "of the header secret "),
        ("$input.json('$.none.at.all') $input.path('$.none.at.all')|", r#""" |"#),
        ("$input.json('$..id') $input.json('$.price')", "[1,2] 1.5"),
        ("$util.urlEncode('a b&c=d/e*f~g-h_i.j') $util.urlDecode('a+b%26')", "a+b%26c%3Dd%2Fe*f%7Eg-h_i.j a b&"),
        ("$util.base64Decode(' YQ== ') $util.base64Encode('ü')", "a w7w="),
        ("$util.parseJson('[1, {\"a\": null}]')[1].size()", "1"),
    ]);
    for (template, words) in [
        ("$input.path('none')", "error: line 1"),
        ("$input.path('$$.a')", "does not begin with $"),
        ("$input.path('$a')", "does not begin with $"),
        ("$input.path('$.a', 1)", "$input has no method path with 2 arguments"),
        ("$input.path()", "$input has no method path with 0 arguments"),
        ("$input.none('x')", "$input has no method none with 1 argument"),
        ("$util.none('x')", "$util has no method none with 1 argument"),
        ("$util.urlEncode()", "$util has no method urlEncode with 0 arguments"),
        ("$util.base64Decode('!')", "$util.base64Decode was given no base64"),
    ] {
        let error = render(template);
        assert!(error.starts_with("error: line 1: ") && error.contains(words), "{template}: {error}");
    }
    let body = r#"{"t": "\n\r\t\b\f\u0001\u007f\u0080\u001f ~\"'/\\\ud83d\ude00"}"#;
    let escaped = r"\n\r\t\b\f\u0001".to_owned() + "\u{7f}" + r#"\u0080\u001F ~\"\'\/\\\uD83D\uDE00"#;
    assert_eq!(try_render("$util.escapeJavaScript($input.path('$.t'))", body, &mut Map::new()), Ok(escaped));
    assert_eq!(try_render("$input.path('$.a')", "{", &mut context()), Err(RenderError::NoJson));
    assert_eq!(
        try_render("$input.path('$.a')", r#"{"a": 12345678901234567890}"#, &mut context()),
        Ok("1.2345678901234567E19".into())
    );
    assert_eq!(RenderError::NoJson.to_string(), "Invalid JSON in request body");
}

#[test]
fn what_a_method_builds_is_counted_before_it_is_built() {
    for (template, is_allowed) in [
        ("#set($s = 'x')#set($s = $s.repeat(100000))#set($t = 'y')#set($t = $t.repeat(10000))#set($r = $s.replace('x', $t))", false),
        ("#set($s = 'x')#set($s = $s.repeat(100000))#set($t = 'y')#set($t = $t.repeat(10000))#set($r = $s.replace('z', $t))", true),
        ("#set($s = 'x')#set($s = $s.repeat(100000))#set($t = 'y')#set($t = $t.repeat(10000))#set($r = $s.replaceAll('x', $t))", false),
        ("#set($s = 'x')#set($s = $s.repeat(1000000))#foreach($i in [1..200])#set($n = $s.length())#end", false),
        ("#set($s = 'x')#set($s = $s.repeat(1000000))#foreach($i in [1..20])#set($n = $s.length())#end", true),
        ("#set($s = 'x')#set($s = $s.repeat(1000000))#foreach($i in [1..100])#set($n = $s.concat('y'))#end", false),
        ("#set($l = [1..10000])#foreach($i in [1..1000])#set($n = $l.contains(0))#end", false),
        ("#set($l = [1..10000])#foreach($i in [1..1000])#set($n = $l.subList(0, 9000))#end", false),
        ("#set($l = [1..10000])#foreach($i in [1..1000])#set($n = $l.subList(9000, 9100))#end", true),
        ("#set($l = [1..10000])#foreach($i in [1..1000])#set($n = $l.add(0, 1))#end", true),
        ("#set($l = [1..10000])#foreach($i in [1..1000])#foreach($j in [1..4])#set($n = $l.remove(0))$l.add($n)#end#end", false),
        ("#set($m = {})#foreach($i in [1..1000])$!m.put($i, 1)#end#foreach($i in [1..1000])#set($n = $m.keySet())#end", false),
        ("#set($m = {})#foreach($i in [1..1000])$!m.put($i, 1)#end#foreach($i in [1..1000])#set($n = $m.get('a'))#end", true),
    ] {
        let found = render(template);
        assert_eq!(!found.starts_with("error"), is_allowed, "{template}: {found:.200}");
    }
}

/// A path with a wildcard may look at the whole body, a plain one goes to its place.
#[test]
fn a_body_is_looked_through_as_often_as_it_is_paid_for() {
    let body = format!(r#"{{"a": 1, "b": "{}"}}"#, "x".repeat(1_000_000));
    let read = |path: &str| format!("#foreach($i in [1..200])#set($x = $input.path('{path}'))#end$x");
    assert_eq!(try_render(&read("$.a"), &body, &mut Map::new()), Ok("1".into()));
    let error = try_render(&read("$..a"), &body, &mut Map::new()).unwrap_err().to_string();
    assert!(error.contains("MiB of text"), "{error}");
}
