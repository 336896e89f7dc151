//! Directives, references and expressions, as Velocity's user guide has them.

use serde_json::json;

use super::super::{Globals, Input, Params, RenderError, Template};
use super::{check, context, render};

/// Templates that are refused, whether they are read or rendered, with the reason.
fn refused(cases: &[(&str, &str)]) {
    for (template, words) in cases {
        let error = render(template);
        assert!(error.starts_with("error: line ") && error.contains(words), "{template}: {error}");
    }
}

#[test]
fn operators_bind_as_in_velocity() {
    check(&[
        ("#set($x = 1 + 2 * 3)$x #set($x = (1 + 2) * 3)$x #set($x = 8 - 2 - 1)$x #set($x = 8 / 2 / 2)$x", "7 9 5 2"),
        ("#set($x = 7 % 4 * 2)$x #set($x = 2 * 7 % 4)$x #set($x = 1 + 2 == 3)$x", "6 2 true"),
        ("#set($x = 1 < 2 == true)$x #set($x = 1 == 1 && 2 != 3)$x", "true true"),
        ("#set($x = true || false && false)$x #set($x = (true || false) && false)$x", "true false"),
        ("#set($x = !true || true)$x #set($x = !(true || true))$x #set($x = not true)$x", "true false false"),
        ("#set($x = !!true)$x #set($x = not not false)$x #set($x = ! $nothing)$x", "true false true"),
        ("#if(1 < 2)a#end#if(2 < 1)b#end#if(1 < 1)c#end#if(1 lt 2)d#end#if(1 lt 1)e#end", "ad"),
        ("#if(1 > 2)a#end#if(2 > 1)b#end#if(1 > 1)c#end#if(2 gt 1)d#end#if(1 gt 1)e#end", "bd"),
        ("#if(1 <= 2)a#end#if(2 <= 1)b#end#if(1 <= 1)c#end#if(1 le 0)d#end#if(1 le 1)e#end", "ace"),
        ("#if(1 >= 2)a#end#if(2 >= 1)b#end#if(1 >= 1)c#end#if(1 ge 2)d#end#if(1 ge 1)e#end", "bce"),
        ("#if(1 == 1)a#end#if(1 eq 2)b#end#if(1 != 1)c#end#if(1 ne 2)d#end#if(1.5 < 2)e#end#if(1.5 > 2)f#end", "ade"),
        ("#if('a' < 'b')a#end#if($nothing < 1)b#end#if(1 > $nothing)c#end", ""),
        ("#if('')a#end#if(0)b#end#if([])c#end#if({})d#end#if(false)e#end#if($nothing)f#end", "abcd"),
        ("#if(true&&true)a#end#if(true||false)b#end#if(1==1)c#end#if(1!=2)d#end#if(3-1==2)e#end", "abcde"),
        ("#if(false || false)a#end#if(false || true)b#end#if(false or false)c#end", "b"),
        ("#set($orb = 1)#if($orb or$orb)a#end#if(true and(true))b#end", "ab"),
        ("#set($or_b = 5)#set($x = true)#set($y = $or_b)$y", "5"),
    ]);
    refused(&[
        ("#if(1 eq1)#end", "\")\" is expected"),
        ("#if(true or_ true)#end", "\")\" is expected"),
        ("#if(notx)#end", "a value is expected, not \"notx)#end\""),
        ("#if(not_ true)#end", "a value is expected"),
        ("#if(truex)#end", "a value is expected, not \"truex)#end\""),
        ("#if(false_)#end", "a value is expected"),
        ("#if(!= 1)#end", "a value is expected, not \"!= 1)#end\""),
        ("#if(", "a value is expected, not the end"),
        ("#set($x = $)", "the reference has no name"),
        ("#set($x = (1)", "\")\" is expected, not the end"),
    ]);
    // A conjunction does not look at its right side in vain.
    check(&[("#if(false && $input.path('$.name').none())a#end#if(true || $input.path('$.name').none())b#end", "b")]);
}

#[test]
fn numbers_are_read_and_reckoned() {
    check(&[
        ("#set($x = 1.5e3)$x #set($x = 1e2)$x #set($x = 2E-1)$x #set($x = 1e+2)$x", "1500.0 100.0 0.2 100.0"),
        (
            "#set($x = -5)$x #set($x = - 5)$x #set($x = -$x)$x #set($x = -1.5)$x #set($x = -(-1.5))$x",
            "-5 -5 5 -1.5 1.5",
        ),
        ("#set($x = -'a')[$x] #set($x = [1..3])$x #set($x = [-1..1])$x", "[] [1, 2, 3] [-1, 0, 1]"),
        ("#set($x = 99999999999999999999)$x #set($x = 12.25)$x #set($x = 3.0)$x", "1.0E20 12.25 3.0"),
        (
            "#set($x = 7.5 + 2)$x #set($x = 7.5 - 2)$x #set($x = 7.5 * 2)$x #set($x = 7.5 / 2)$x #set($x = 7.5 % 2)$x",
            "9.5 5.5 15.0 3.75 1.5",
        ),
        ("#set($x = 1 % 0)[$x] #set($x = 1.0 / 0)[$x] #set($x = 1.0 % 0)[$x] #set($x = 1 - 'a')[$x]", "[] [] [] []"),
        ("#set($x = -7 / 2)$x #set($x = -7 % 4)$x #set($x = 1 / 0)[$x] #set($x = [3..1])$x", "-3 -3 [] [3, 2, 1]"),
        // Whole numbers are exact, where a double could not tell them apart.
        ("#if(9007199254740993 > 9007199254740992)a#end#if(9007199254740993 == 9007199254740992)b#end", "a"),
        ("#set($l = ['a', 'b', 'c'])$l.get(1.0)", "b"),
        (
            "#set($x = 9223372036854775807 + 1)$x #set($x = 9223372036854775807 * 2)$x",
            "9.223372036854776E18 1.8446744073709552E19",
        ),
        ("#set($x = -9223372036854775807 - 1)$x #set($x = -$x)$x", "-9223372036854775808 9.223372036854776E18"),
        ("#set($x = 1.0e308 * 10)$x #set($y = -$x)$y #set($x = $x - $x)$x", "Infinity -Infinity NaN"),
        (
            "#set($x = 0.001)$x #set($x = 0.0001)$x #set($x = 9999999.5)$x #set($x = 12345678.9)$x #set($x = 0.0)$x",
            "0.001 1.0E-4 9999999.5 1.23456789E7 0.0",
        ),
        ("#set($x = -0.5)$x #set($x = -12345678.5)$x #set($x = 3 + 'a' + 4)$x", "-0.5 -1.23456785E7 3a4"),
    ]);
    refused(&[
        ("#set($x = -", "- is not a number"),
        ("#set($x = 1e)", "\")\" is expected, not 'e'"),
        ("#set($x = 1.)", "\")\" is expected, not '.'"),
        ("#set($x = 1.x)", "\")\" is expected, not '.'"),
        ("#set($x = 1e+)", "\")\" is expected, not 'e'"),
    ]);
}

#[test]
fn a_place_in_a_list_is_a_whole_number() {
    for (at, expected) in [("1", true), ("'1'", true), ("1.0", true), ("1.5", false), ("'b'", false)] {
        let told = render(&format!("#set($l = ['a', 'b'])$l.get({at})"));
        assert_eq!(told == "b", expected, "{at}: {told}");
    }
}

#[test]
fn a_loop_that_is_left_nests_no_deeper() {
    assert_eq!(render(&("#foreach($x in [1])#if(true)#break#end#end".repeat(300) + "!")), "!");
}

#[test]
fn lists_and_maps_are_written_and_changed() {
    check(&[
        ("#set($x = [])$x.size()$x #set($x = [ ])$x #set($x = [ 1 , 'a', [2] ])$x", "0[] [] [1, a, [2]]"),
        ("#set($x = {})$x #set($x = { })$x #set($x = { 'a' : 1 , b : 2, 3: 'c' })$x", "{} {} {a=1, b=2, 3=c}"),
        ("#set($x = ['a'..2])[$x] #set($x = [1 .. 2 ])$x #set($x = [2..2])$x", "[] [1, 2] [2]"),
        ("#set($x = [1..10000])$x.size()", "10000"),
        ("#set($l = [1, 2])#set($l[-1] = 9)$l $l[-2] $l['1'] [$l[2]] [$l[-3]]", "[1, 9] 1 9 [] []"),
        ("#set($l = [1, 2])#set($l[0] = 7)$l $l.length $l.empty #set($l = [])$l.empty", "[7, 2] 2 false true"),
        ("#set($s = 'x')$s.empty$s.length #set($s = '')$s.empty", "false true"),
        ("#set($m = {'a': {'b': [1]}})#set($m.a.b[0] = 2)$m.a.b[0]$m['a'].b $m.none.b", "2[2] "),
        ("#set($nothing.a.b = 1)[$nothing]#set($m = {})#set($m.a = $nothing)$m", "[]{a=null}"),
        ("#set($m = {'a': 1})#foreach($e in $m.entrySet())$e.key$e.value$e.other #end $m.entrySet()", "a1  [a=1]"),
        ("#if([1, 2] == [1, 2])a#end#if([1] == [2])b#end#if({'a': 1} == {'a': 1})c#end#if({'a': 1} == {})d#end", "ac"),
        ("#set($l = [1])#if($l == $l)a#end#if($l == $nothing)b#end#if($nothing == {})c#end#if($l == '[1]')d#end", "ad"),
        ("#if(true == true)a#end#if(true == false)b#end#if('true' == true)c#end#if(2 == 3)d#end#if(1.5 == 1.5)e#end#if(1.5 == 2)f#end", "ace"),
        ("#set($m = {})#set($m.m = $m)#if($m == $m)same#end", "same"),
        ("#set($l = $input.path('$.tags'))#set($x = $l.addAll([1.5, true, $nothing, {'a': [1]}]))$l", r#"["a","b",1.5,true,null,{"a":[1]}]"#),
        ("#set($m = {'k': 1})#set($l = $input.path('$.tags'))#foreach($e in $m.entrySet())$!l.add($e) #end$l", r#"true ["a","b",{"k":1}]"#),
    ]);
    refused(&[
        ("#set($x = [1 2])", "\",\" is expected, not '2'"),
        ("#set($x = [1..10001])", "the range has 10001 numbers: at most 10000 are allowed"),
        ("#set($x = {'a' 1})", "\":\" is expected, not '1'"),
        ("#set($x = {'a': 1 'b': 2})", "\",\" is expected, not '\\''"),
        ("#set($l = [1, 2])#set($l[2] = 9)", "the list has no such place: it has 2"),
        ("#set($l = [1, 2])#set($l[-3] = 9)", "the list has no such place: it has 2"),
        ("#set($s = 'x')#set($s.a = 9)", "#set cannot set a part of a string"),
        ("#set($s = 1)#set($s.a = 9)", "#set cannot set a part of a number"),
        ("#set($s = true)#set($s.a = 9)", "#set cannot set a part of a boolean"),
        ("#set($input.a = 9)", "#set cannot set a part of $input"),
        ("#define($b)x#end#set($b.a = 9)", "#set cannot set a part of a block"),
        ("#define($b)x#end$b.length()", "a block has no method length with 0 arguments"),
    ]);
}

#[test]
fn references_end_where_their_name_ends() {
    check(&[
        ("$!{context.stage}- ${context.stage}x ${context.stage ${5} $!5", "dev- devx ${context.stage ${5} $!5"),
        ("#set($_x = 1)$_x #set($a-b = 2)$a-b #set($a = 3)$a-$a $a_$a.", "1 2 3-3 3."),
        ("$context.stage.length( ) $context.stage[0 $context.stage. $context.stage.5", "3 dev[0 dev. dev.5"),
        ("$context['stage'] $context[ 'stage' ] $context.stage.substring( 0 , 1 )", "dev dev d"),
        (
            r"\\\$context.stage \\\\$context.stage \$! \$5 \\#if(true)x#end \#fff",
            r"\$context.stage \\dev \$! \$5 \x \#fff",
        ),
        (r"\#end \#foreach \#{if} \\#{else", r"#end #foreach #{if} \\#{else"),
        ("$input.path( '$.name' )$input.path('$.tags')[ 0 ]", "Anna"),
        ("#set($x = \"a $context.stage #if(1 == 2)b#{else}c#end\")$x", "a dev c"),
        (
            "#set($x = \"costs 5$ #1\")$x #set($x = 'a''b')$x #set($x = '')[$x]#set($x = \"\")[$x]",
            "costs 5$ #1 a'b [][]",
        ),
    ]);
    refused(&[
        ("#foreach($a.b in [1])#end", "#foreach needs the name of a variable, as $item"),
        ("#foreach(a in [1])#end", "#foreach needs the name of a variable, as $item"),
        ("#define($a.b)#end", "#define needs the name of a variable, as $item"),
        ("#macro(m x)#end", "#macro needs the name of a variable, as $item"),
        ("#macro($m)#end", "#macro begins with its name"),
        ("#set($a.b() = 1)", "#set cannot set what a method gives"),
        ("#set($x = \"#if(true)\")", "#if has no #end"),
        ("#set($x = \"#end\")", "#end stands without a directive that it ends"),
        ("#if(true)#else#elseif(true)#end", "#if has no #end"),
        ("#elseif(true)", "#elseif stands without #if"),
        ("#foreach($a in [1])#else#end", "#foreach has no #end"),
        ("#[[x", "the text does not end with ]]#"),
        ("#include('x')", "#include is not there in API Gateway"),
        ("#evaluate('x')", "#evaluate is not there in API Gateway"),
        ("$a.b(1 2)", "\",\" is expected, not '2'"),
    ]);
}

#[test]
fn a_fault_is_told_with_its_line() {
    for (template, line) in [
        ("a\n$context.stage.none()\n", 2),
        ("\n\n$context.stage.length($input.path('$.name')\n.none())", 4),
        ("#set($x = \"\n\n$context.stage.none()\")", 3),
        ("#set($x = 1)\n\n\n#set($x.a = 1)", 4),
        ("\n#set($x = \"a\n#end\")", 3),
    ] {
        let error = render(template);
        assert!(error.starts_with(&format!("error: line {line}: ")), "{template}: {error}");
    }
}

#[test]
fn directives_take_their_lines_with_them() {
    check(&[
        ("#if(true) \t\r\nx#end\t\ny", "xy"),
        ("#if(true)\rx#end \ry#if(true) z#end w", "xy z w"),
        ("#{if}(true)x#{else}y#{end}z #{if(true)", "xz #{if(true)"),
        ("#if(false)x#else\ny#end\nz", "yz"),
        ("a  #set($a = 1)b|$context.stage #set($a = 1)c", "a  b|dev c"),
        (" \t#set($a = 1)x", "x"),
        ("#if(true)\n#end\n  #set($a = 1)\nx", "x"),
        ("#set($a = 1) #set($b = 2)x", "x"),
        ("#macro(m)q#end#m() #set($a = 1)x", "q x"),
        ("x\r\n \t #set($a = 1)y", "x\r\ny"),
        ("#foreach($i in [1, 2])$i#break()\n#end!a#stop()\nb", "1!a"),
        ("#foreach($i in [1, 2])$i#break\n#end!", "1!"),
        ("#[[a]]#b#*c*#d##e\nf##g", "abdf"),
        ("#_x #a_b #5a #{a}b #{}", "#_x #a_b #5a #{a}b #{}"),
        ("#if ( true )x#end#foreach ( $i in [1] )$i#end#set ( $a = 5 )$a", "x15"),
    ]);
}

#[test]
fn blocks_macros_and_loops_end_where_they_should() {
    check(&[
        ("#macro(m, $a, $b)[$a$b]#end#m(1, 2)#m(1 2)#m('x')#m(1 2 3)#m()#m( \"a\" , 'b' )", "[12][12][x][12][][ab]"),
        ("#macro(m $a)[$a]#end#m(,)#m(", "#m(,)#m("),
        ("#macro(m $a)[$a]#end#m([1, 2])#m({'a': 1})#m(true)#m(-1)", "[[1, 2]][{a=1}][true][-1]"),
        ("#macro(m)a#stop#end#m()b", "a"),
        ("#macro(m)a#break z#end#foreach($i in [1, 2])#m()b#end", "abab"),
        ("#foreach($i in [1, 2])$i#stop#end x", "1"),
        ("#foreach($i in [1, 2])#foreach($j in [1, 2])$j#break#end$i#end", "1112"),
        ("#foreach($i in [1, 2])$velocityHasNext#end[$velocityHasNext$velocityCount$foreach.index$i]", "truefalse[]"),
        ("#foreach($i in [1..1000])#end done", " done"),
        ("#set($x = 0)#foreach($i in [1..3])#set($x = $x + $i)#end$x", "6"),
        ("#define($b)$x#end#set($x = 1)$b#set($x = 2)$b", "12"),
        ("#define($b)a#stop z#end[$b]!", "[a]!"),
    ]);
    // What was deep is given back: many beside each other are no nesting.
    for one in [
        "#if(!(true))#end",
        "#set($x = -$x)",
        "#set($x = [(1), [2], {'a': (3)}])",
        "#foreach($i in [1])#end",
        "#m(\"$x\")",
        "#define($b)#end$b",
        "$context.stage.substring(0)[0",
        "#m(",
        "#if(false)#else#end",
        "#macro(m $a)#end#m(!)",
        "$x[(1",
        "#m((1 2)",
    ] {
        let many = one.repeat(150);
        assert!(!render(&many).starts_with("error"), "{one}: {}", render(&many));
    }
    let nested = |count: usize| "#if(true)".repeat(count) + "x" + &"#end".repeat(count);
    assert_eq!(render(&nested(59)), "x");
    refused(&[(&nested(60), "it nests deeper than 60 levels")]);
    for (open, close) in [("(", ")"), ("[", "]"), ("!", ""), ("- ", ""), ("{'a': ", "}")] {
        let deep = |count: usize| format!("#set($x = {}true{})", open.repeat(count), close.repeat(count));
        assert_eq!(render(&deep(25)), "", "{open}");
        refused(&[(&deep(100), "it nests deeper than 60 levels")]);
    }
    let recursive = |count: usize| format!("#macro(m $n)#if($n > 0)#set($k = $n - 1)#m($k)#end#end#m({count})x");
    assert_eq!(render(&recursive(48)), "x");
    refused(&[(&recursive(49), "it nests deeper than 100 levels")]);
    let chain = |count: usize| format!("#if(false)#set($x = 1{})#end", " + 1".repeat(count));
    assert_eq!(render(&chain(200)), "");
    refused(&[(&chain(201), "the expression has more than 200 operators of one kind")]);
}

#[test]
fn a_brief_rendering_pays_for_its_patterns() {
    let brief = |template: &str| {
        let template = Template::parse(template).unwrap();
        let input = Input { body: "", params: &Params::default() };
        template.render(Globals { input, context: &mut context(), stage_variables: &[] }, false)
    };
    let letters = |count: u8| {
        let one = |at| format!("$s.matches('{}')", char::from(b'a' + at));
        "#set($s = 'a')".to_owned() + &(0..count).map(one).collect::<String>()
    };
    // A pattern is about 64 KiB of the 512; one that was compiled before is nothing.
    assert!(brief(&letters(6)).is_ok());
    assert_eq!(brief(&letters(7)), Err(RenderError::Long));
    assert!(brief(&("#set($s = 'a')".to_owned() + &"$s.matches('a')$s.matches('b')".repeat(20))).is_ok());
    // What is written is 2 KiB a byte.
    let long = |count: usize| format!("#set($s = 'a')$s.split('{}').size()", "a".repeat(count));
    assert_eq!(brief(&long(200)), Ok("1".to_owned()));
    assert_eq!(brief(&long(250)), Err(RenderError::Long));
    assert_eq!(Err(RenderError::Long), brief("#foreach($i in [1..1000])#set($x = $i + 1 + 1)#end"));
    assert_eq!(json!(RenderError::Long.to_string()), json!("the template takes long"));
}
