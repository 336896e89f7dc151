//! What templates render to.

use proptest::prelude::*;
use serde_json::{json, Map, Value as Json};

use super::{Globals, Input, Params, RenderError, Template};

mod language;
mod methods;

const BODY: &str = r#"{"name":"Ann","age":7,"price":1.5,"tags":["a","b"],"address":{"city":"Bern","zip":null},"items":[{"id":1},{"id":2}],"url":"http://x.example.com/y"}"#;

fn params() -> Params<'static> {
    Params {
        path: vec![("id".into(), "42".into())],
        query: vec![("q".into(), "first".into()), ("q".into(), "last".into())],
        headers: vec![("X-Token".into(), "secret".into()), ("id".into(), "of the header".into())],
    }
}

fn try_render(template: &str, body: &str, context: &mut Map<String, Json>) -> Result<String, RenderError> {
    let template = Template::parse(template).map_err(RenderError::Template)?;
    let params = params();
    let stage_variables = [("env".to_owned(), "prod".to_owned())];
    let input = Input { body, params: &params };
    template.render(Globals { input, context, stage_variables: &stage_variables }, true)
}

fn context() -> Map<String, Json> {
    let context = json!({
        "stage": "dev",
        "identity": {"sourceIp": "10.0.0.1"},
        "requestOverride": {"header": {}, "path": {}, "querystring": {}},
        "responseOverride": {"header": {}},
    });
    match context {
        Json::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn render(template: &str) -> String {
    match try_render(template, BODY, &mut context()) {
        Ok(text) => text,
        Err(error) => format!("error: {error}"),
    }
}

fn check(cases: &[(&str, &str)]) {
    for (template, expected) in cases {
        assert_eq!(render(template), *expected, "{template}");
    }
}

#[test]
fn references_read_and_what_is_not_there_is_nothing() {
    check(&[
        ("$input.path('$.name')!", "Ann!"),
        ("${input.path('$.name')}s $!{input.path('$.name')}", "Anns Ann"),
        ("a $nothing b $!nothing c ${nothing} $nothing.at.all.size()", "a  b  c  "),
        ("$stageVariables.env $stageVariables.missing$context.stage $context.identity.sourceIp", "prod dev 10.0.0.1"),
        ("5$ $5 $$ ${ $", "5$ $5 $$ ${ $"),
        ("$input.path('$.name').", "Ann."),
        ("$input.path('$')[\"name\"] $input.path('$.tags')[1] $input.path('$.tags')[9]", "Ann b "),
        ("$input.path('$.items')[0].id", "1"),
        (r"\$input \\$context.stage \#if \n", r"$input \dev #if \n"),
        ("$context.stage[x]", "dev[x]"),
    ]);
}

#[test]
fn comments_and_plain_text() {
    check(&[
        ("a## gone\nb", "ab"),
        ("a#* gone\n *#b", "ab"),
        ("#[[$context.stage #if]]#", "$context.stage #if"),
        ("#fff #1 # a#b {\"c\": \"#d\"}", "#fff #1 # a#b {\"c\": \"#d\"}"),
        ("#unknown($context.stage)", "#unknown($context.stage)"),
    ]);
}

#[test]
fn set_if_and_their_blanks() {
    check(&[
        ("#set($a = 1)\n#set( $b = $a + 2 )\n$b", "3"),
        ("x\n  #set($a = 1)\ny", "x\ny"),
        ("#if(true)\nyes\n#else\nno\n#end\nend", "yes\nend"),
        ("#if($nothing)1#elseif(1 == 2)2#{else}3#end", "3"),
        ("#if($context.stage == \"dev\" && !$nothing)1#end", "1"),
        ("#if($context.stage eq 'dev' and not $nothing or false)1#end", "1"),
        ("#if($nothing == $null)1#end#if($nothing == '')2#end#if($nothing != '')3#end", "12"),
        ("#if(1 == 1.0)1#end#if(\"1\" == 1)2#end#if(2 > 1)3#end#if('a' > 1)4#end#if(1 le 1)5#end", "1235"),
        ("#set($m = {\"a\": 1, b: {\"c\": [1, 'x']}})$m.b.c[1] $m", "x {a=1, b={c=[1, x]}}"),
        ("#set($m = {})#set($m.k = 5)#set($m['l'] = 6)$m.k$m.l$m", "56{k=5, l=6}"),
        ("#set($l = [1, 2])#set($l[1] = 9)$l", "[1, 9]"),
        ("#set($x = 7 / 2)$x #set($x = 7.0 / 2)$x #set($x = 7 % 4)$x #set($x = 1 / 0)[$x]", "3 3.5 3 []"),
        ("#set($x = -3 * -(2))$x #set($x = 2 -1)$x #set($x = 'a' + 1)$x", "6 1 a1"),
        ("#set($x = \"$context.stage-${context.stage}s\")$x", "dev-devs"),
        ("#set($x = '$context.stage')$x", "$context.stage"),
        ("#set($x = \"#if(true)y#end\")$x", "y"),
        ("#set($x = \"a\"\"b\")$x", "a\"b"),
        ("#set($x = 10000000.0)$x #set($x = 0.00012)$x #set($x = 100.0)$x", "1.0E7 1.2E-4 100.0"),
    ]);
}

#[test]
fn foreach_counts_and_gives_its_names_back() {
    check(&[
        ("#foreach($i in [1..3])$i#if($foreach.hasNext),#end#end", "1,2,3"),
        ("#foreach($i in [3..1])$foreach.index$foreach.count$velocityCount #end", "011 122 233 "),
        ("#foreach($t in $input.path('$.tags'))$t$foreach.first$foreach.last #end", "atruefalse bfalsetrue "),
        ("#foreach($v in {'a': 1, 'b': 2})$v#end", "12"),
        (
            "#foreach($e in $input.path('$.address').entrySet())$e.key=$e.value;$e.getKey() #end",
            "city=Bern;city zip=;zip ",
        ),
        ("#set($i = 'kept')#foreach($i in [1])#end$i$foreach.index", "kept"),
        ("#foreach($i in [1..5])#if($i == 3)#break#end$i#end!", "12!"),
        ("a#stop b", "a"),
        ("#foreach($i in [1, 2])#foreach($j in [1, 2])$foreach.parent.index$foreach.index #end#end", "00 01 10 11 "),
        ("#foreach($i in $nothing)x#end#foreach($i in 'text')x#end", ""),
    ]);
}

#[test]
fn macros_and_definitions() {
    check(&[
        (
            "#macro(greet $name $mark)Hello $name$mark#end#greet('Ann' '!') #greet(\"Bob\", '?')",
            "Hello Ann! Hello Bob?",
        ),
        ("#define($block)stage $context.stage#end$block $block", "stage dev stage dev"),
        ("#set($name = 1)#macro(m $name)$name#end#m(2)$name", "21"),
    ]);
}

#[test]
fn methods_of_java() {
    check(&[
        ("#set($s = 'Hello World')$s.length() $s.substring(6) $s.substring(0, 5) $s.indexOf('o') $s.lastIndexOf('o')", "11 World Hello 4 7"),
        ("#set($s = ' aXbXc ')$s.trim().split('X').size() $s.trim().replaceAll('X', '-') $s.trim().replaceFirst('X', '')", "3 a-b-c abXc"),
        ("#set($s = 'ab12')$s.matches('[a-z]+\\d+') $s.matches('b') $s.contains('b1') $s.toUpperCase() $s.charAt(0)", "true false true AB12 a"),
        ("#set($s = 'a1b2')$s.replaceAll('([a-z])(\\d)', '$2$1')", "1a2b"),
        ("#set($s = 'a,b,,')#foreach($p in $s.split(','))[$p]#end $s.split(',', -1).size()", "[a][b] 4"),
        ("#set($Integer = 0)#set($n = $Integer.parseInt('41'))#set($n = $n + 1)$n $Integer.valueOf('7')", "42 7"),
        ("#set($l = [])$l.add(1)#set($x = $l.add('b'))$l.size() $l.contains('b') $l.isEmpty() $l.get(1) $l.indexOf('b')", "true2 true false b 1"),
        ("#set($m = {})$!m.put('a', 1)$m.size() $m.containsKey('a') $m.keySet() $m.values() $m.get('a') $m.getOrDefault('z', 9)", "1 true [a] [1] 1 9"),
        ("#set($d = 1.5)$d.intValue() $d.toString().length() #set($t = true)$t.toString()", "1 3 true"),
        ("'ü'.length()", "'ü'.length()"),
        ("#set($s = 'aüc')$s.length()$s.substring(1, 2)", "3ü"),
    ]);
}

#[test]
fn what_is_no_method_reaches_nothing() {
    check(&[
        ("$input.path('$.name').class.forName('x')", ""),
        ("$input.class $context.class $util.class.classLoader", "  "),
        ("$input.path('$.name').getClass()", "error: line 1: a string has no method getClass with 0 arguments"),
        ("\n$util.getClass()", "error: line 2: $util has no method getClass with 0 arguments"),
        ("$input.path('$.tags').forEach('x')", "error: line 1: a list has no method forEach with 1 argument"),
    ]);
}

#[test]
fn json_lists_are_json_and_maps_are_javas() {
    check(&[
        ("$input.path('$.address')", "{city=Bern, zip=null}"),
        ("$input.path('$.items')", r#"[{"id":1},{"id":2}]"#),
        ("$input.json('$.tags') $input.json('$.name') $input.json('$.missing')", r#"["a","b"] "Ann" """#),
        ("$input.json('$.address')", r#"{"city":"Bern","zip":null}"#),
        ("$input.path('$.items[*].id')", "[1,2]"),
        ("$input.path('$.items').size() $input.path('$.price') $input.path('$.age')", "2 1.5 7"),
        ("#set($b = $input.path('$.address'))#set($b.city = 'Rome')$b.city $input.path('$.address.city')", "Rome Bern"),
    ]);
    assert_eq!(try_render("$input.body $input.json('$') $input.body.x", "", &mut context()), Ok("{} {} ".into()));
    assert_eq!(try_render("$input.body", "<xml/>", &mut context()), Ok("<xml/>".into()));
    assert_eq!(try_render("$input.json('$')", "<xml/>", &mut context()), Err(RenderError::NoJson));
}

#[test]
fn parameters_of_path_query_and_headers() {
    check(&[
        (
            "$input.params('id') $input.params('q') $input.params('x-token') [$input.params('none')]",
            "42 last secret []",
        ),
        (
            "$input.params().path.id $input.params().querystring.q $input.params().header.get('X-Token')",
            "42 last secret",
        ),
        ("#foreach($p in $input.params().keySet())$p #end", "path querystring header "),
    ]);
}

#[test]
fn utilities() {
    check(&[
        ("$util.base64Encode('a b') $util.base64Decode('YSBi')", "YSBi a b"),
        ("$util.urlEncode('a b/ü*~') $util.urlDecode('a+b%2F')", "a+b%2F%C3%BC*%7E a b/"),
        ("$util.escapeJavaScript(\"it's \"\"ü\"\" / \\\")", r#"it\'s \"\u00FC\" \/ \\"#),
        ("$util.parseJson('{\"a\": [1]}').a[0]", "1"),
        ("$util.escapeJavaScript($input.json('$.name')).replaceAll(\"\\\\'\", \"'\")", r#"\"Ann\""#),
    ]);
    assert!(render("$util.parseJson('x')").starts_with("error: line 1: $util.parseJson was given no JSON"));
}

#[test]
fn overrides_are_written_back_and_seen_by_the_next_template() {
    let mut context = context();
    let template = "#set($n = 'foo')#set($context.requestOverride.querystring[$n] = 'bar')\
        $context.requestOverride.header.put('a', 'b')#set($context['requestOverride'].path['p'] = 1)\
        #set($context.responseOverride.status = 444)#set($context.responseOverride.custom = 'x')#set($context.stage = 'y')";
    assert_eq!(try_render(template, "", &mut context), Ok(String::new()));
    assert_eq!(
        context["requestOverride"],
        json!({"header": {"a": "b"}, "path": {"p": 1}, "querystring": {"foo": "bar"}})
    );
    assert_eq!(context["responseOverride"], json!({"header": {}, "status": 444, "custom": "x"}));
    assert_eq!(context["stage"], "dev");
    let seen =
        try_render("$context.responseOverride.status $context.requestOverride.querystring.foo", "", &mut context);
    assert_eq!(seen, Ok("444 bar".into()));
}

#[test]
fn a_template_that_does_not_read_is_told_with_its_line() {
    for (template, line, words) in [
        ("a\n#if(true)", 2, "#if has no #end"),
        ("#end", 1, "#end stands without"),
        ("#else", 1, "#else stands without"),
        ("\n\n#set($a 1)", 3, "\"=\" is expected"),
        ("#set(a = 1)", 1, "#set begins with a reference"),
        ("#foreach($a of $b)#end", 1, "\"in\" is expected"),
        ("#parse('x')", 1, "is not there"),
        ("#*", 1, "does not end"),
        ("#set($a = 'x)", 1, "no closing quote"),
        ("$a.b(1", 1, "\",\" is expected, not the end"),
    ] {
        let error = Template::parse(template).unwrap_err();
        assert!(error.starts_with(&format!("line {line}: ")) && error.contains(words), "{template}: {error}");
    }
    let long = "x".repeat(super::TEMPLATE_BYTES_MAX + 1);
    assert!(Template::parse(&long).unwrap_err().contains("at most 307200 are allowed"));
    let deep = "#if(true)".repeat(100) + &"#end".repeat(100);
    assert!(Template::parse(&deep).unwrap_err().contains("nests deeper than"));
}

#[test]
fn what_a_template_uses_up_is_bounded() {
    let doubling = "#set($a = 'xxxxxxxxxxxxxxxx')".to_owned() + &"#set($a = \"$a$a\")".repeat(40) + "$a";
    let nested = "#foreach($a in [1..1000])#foreach($b in [1..1000])#foreach($c in [1..1000])$c#end#end#end";
    let itself = "#set($m = {})#set($m.m = $m)$m";
    let endless = "#macro(m)#m()#end#m()";
    let block = "#define($b)$b$b#end$b";
    let written = "#foreach($a in [1..1000])#foreach($b in [1..1000])".to_owned() + &"x".repeat(1_000) + "#end#end";
    for (template, words) in [
        (&doubling[..], "renders to more than"),
        (nested, "more than 1000000 steps"),
        (itself, "nests deeper"),
        (endless, "nests deeper"),
        (block, "nests deeper"),
        (&written[..], "renders to more than"),
        ("#foreach($a in [1..1001])#end", "at most 1000 are allowed"),
        ("#set($a = [1..100000000])", "at most 10000 are allowed"),
        ("#set($a = 'x')$a.repeat(2000000000)", "MiB of text"),
        ("#set($a = 'x')$a.matches('(a{1000}){1000}')", "cannot be used"),
        ("#set($a = 'x')$a.split('(')", "cannot be used"),
        // A body of 5 KB stopped all APIs for 4 s: each call compiled its pattern, and nothing was charged for it.
        ("#foreach($a in [1..1000])$a.toString().matches(\"$a|\\w{1,20}\")#end", "MiB of text"),
        ("#set($a = 'x')$a.split($a.repeat(4097))", "more than 4096 bytes"),
        ("#set($l = [1])#foreach($a in [1..60])#set($x = $l.addAll($l))#end", "steps"),
    ] {
        let error = render(template);
        assert!(error.starts_with("error: line") && error.contains(words), "{template:.80}: {error:.200}");
    }
}

#[test]
fn a_pattern_is_paid_for_once() {
    let many = "#foreach($a in [1..1000])#set($b = $a.toString().matches('\\w{1,20}'))#end$b";
    assert_eq!(render(many), "true");
    let several = "#foreach($a in [1..1000])#set($b = $a.toString().split(\"[,;]$a\"))#end$b.size()";
    assert_eq!(render(several), "1");
}

const PIECES: &[&str] = &[
    "#set($a = ",
    ")",
    "#if(",
    "#elseif(",
    "#else",
    "#end",
    "#foreach($a in ",
    "#macro(m $a)",
    "#m(",
    "#define($b)",
    "#break",
    "#stop",
    "$a",
    "$b",
    "${a}",
    "$!a",
    ".size()",
    ".length()",
    "[0]",
    "['k']",
    ".put('k', $a)",
    ".add($a)",
    ".addAll($a)",
    "$input.path('$..*')",
    "$input.json('$')",
    "$input.params()",
    "$util.parseJson(",
    "$context",
    "\"",
    "'",
    "\"$a$a\"",
    "[1..9]",
    "{'k': $a}",
    "[$a, $a]",
    " == ",
    " + ",
    " - ",
    " * ",
    " / ",
    " && ",
    " || ",
    "!",
    "1",
    "1.5",
    "true",
    ",",
    "\\",
    "#*",
    "*#",
    "##",
    "\n",
    " ",
    "#[[",
    "]]#",
    "(",
    "]",
    "}",
    "{",
    ".split('')",
    ".replaceAll('a*', '$0$0')",
    ".substring(1)",
    ".entrySet()",
    "é",
    "\u{1F600}",
];

/// Pieces that make templates which mean something.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![8 => proptest::sample::select(PIECES).prop_map(str::to_owned), 1 => ".{0,6}"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]
    #[test]
    fn no_text_makes_it_panic_or_run_away(pieces in prop::collection::vec(piece(), 0..40), body in "|[a-z]|\\{\"a\":\\[1,\\{\\}\\]\\}") {
        let text = pieces.concat();
        if let Ok(found) = try_render(&text, &body, &mut context()) {
            prop_assert!(found.len() <= super::OUTPUT_BYTES_MAX);
        }
    }
}
