//! What the two lexers make of a text, by the lexical rules of the servers.
//!
//! A word is shown as it is, a quoted name as `"x"`, a text as `'x'` and with a tilde if a setting may change it, a number as
//! `#1`, a sign as `<+>`, an argument as `?%s`, a variable as it is written or, the server's own, by its name.

use super::super::token::{Kind, Token};
use super::super::{mysql, postgres};
use crate::session::mysql::Mode;

const DEFAULT: Mode = Mode { ansi_quotes: false, no_backslash_escapes: false, ignore_space: false };
const ANSI: Mode = Mode { ansi_quotes: true, ..DEFAULT };
const NO_ESCAPES: Mode = Mode { no_backslash_escapes: true, ..DEFAULT };

fn shown(token: &Token<'_>) -> String {
    let value = &*token.value;
    match token.kind {
        Kind::Word | Kind::UserVariable => value.to_owned(),
        Kind::SystemVariable => format!("@@{value}"),
        Kind::Quoted => format!("\"{value}\""),
        Kind::Text if token.plain => format!("'{value}'"),
        Kind::Text => format!("~'{value}'"),
        Kind::Number => format!("#{value}"),
        Kind::Sign => format!("<{value}>"),
        Kind::Parameter => format!("?{value}"),
    }
}

/// Show the tokens, after a look at where they stand: one after the other, and what is written is there.
fn told(text: &str, tokens: &[Token<'_>]) -> String {
    let mut end = 0;
    for token in tokens {
        assert!(token.start >= end && token.end > token.start, "{text}: {token:?}");
        assert!(text[token.start..].starts_with(token.raw) && !token.raw.is_empty(), "{text}: {token:?}");
        let is_escaped = token.raw.to_ascii_lowercase().starts_with("u&"); // it goes on with UESCAPE
        assert!(token.end == token.start + token.raw.len() || is_escaped, "{text}: {token:?}");
        end = token.end;
    }
    tokens.iter().map(shown).collect::<Vec<_>>().join(" ")
}

fn mysql_told(text: &str, mode: Mode, has_arguments: bool) -> String {
    match mysql::read(text, mode, has_arguments) {
        Ok(tokens) => told(text, &tokens),
        Err(trouble) => format!("{trouble:?}"),
    }
}

fn postgres_told(text: &str, standard_strings: bool) -> String {
    postgres::read(text, standard_strings).map_or_else(|_| "Unreadable".to_owned(), |tokens| told(text, &tokens))
}

fn same(rows: &[(&str, &str)], told: impl Fn(&str) -> String) {
    let wrong: Vec<String> = rows
        .iter()
        .filter(|(text, expected)| told(text) != *expected)
        .map(|(text, expected)| format!("{text:?}: {} and not {expected}", told(text)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn mysql_reads_words_and_comments() {
    let rows = [
        ("", ""),
        (" \t ", ""),
        ("SELECT a_1, $b, ä$Z9 FROM T", "select a_1 <,> $b <,> ä$z9 from t"),
        ("a\tb\nc\rd\u{b}e\u{c}f g", "a b c d e f g"),
        ("a\u{a0}b", "a\u{a0}b"),
        ("a#b\nc", "a c"),
        ("a #b", "a"),
        ("a -- b\nc", "a c"),
        ("a --\tb\nc", "a c"),
        ("a --\u{1}b\nc", "a c"),
        ("a --\u{7f}b\nc", "a c"),
        ("a --\nc", "a c"),
        ("aaaaaaaa --", "aaaaaaaa"),
        ("a --b\nc", "a <-> <-> b c"),
        ("aaaaaaaaaaa --b", "aaaaaaaaaaa <-> <-> b"),
        ("a --\u{a0}b", "a <-> <-> \u{a0}b"),
        ("a - - b", "a <-> <-> b"),
        ("a/*b*/c", "a c"),
        ("a/**/b/* c * / */ d", "a b d"),
        ("/*/ a */ b", "b"),
        ("a/ *b", "a </> <*> b"),
        ("a*/b", "a <*> </> b"),
        ("/* ! */ a /*M*/ b", "a b"),
        ("a /* b", "Unreadable"),
        ("1abce5", "Unreadable"),
        ("a /*!", "RunComment"),
        ("a /*!50000 b */", "RunComment"),
        ("a /*M! b */", "RunComment"),
    ];
    same(&rows, |text| mysql_told(text, DEFAULT, false));
}

#[test]
fn mysql_reads_quotes_by_its_mode() {
    let rows = [
        ("'a' b", "'a' b"),
        ("''", "''"),
        ("''''", "'''"),
        ("'a''b''' c", "'a'b'' c"),
        ("'a\"\"b'", "'a\"\"b'"),
        (r#""a""b''c" d"#, r#"'a"b''c' d"#),
        (r"'a\'b' c", r"~'a\'b' c"),
        (r"'a\\' b", r"~'a\\' b"),
        ("'é' b", "'é' b"),
        ("'a", "Unreadable"),
        (r"'a\'", "Unreadable"),
        (r"'a\", "Unreadable"),
        ("'a''", "Unreadable"),
        ("x'4D' X'4D' b'1' B'1' n'a' N'a' c", "~'4D' ~'4D' ~'1' ~'1' ~'a' ~'a' c"),
        ("x 'a'", "x 'a'"),
        ("xx'a'", "xx 'a'"),
        ("_utf8'a'", "_utf8 'a'"),
        ("`a``b` c", "\"a`b\" c"),
        ("`A b`.`é`", "\"A b\" <.> \"é\""),
        ("`a", "Unreadable"),
        ("`a``", "Unreadable"),
    ];
    same(&rows, |text| mysql_told(text, DEFAULT, false));
    let rows = [
        (r#""a""b" 'c' `d`"#, r#""a"b" 'c' "d""#),
        (r#""a\" b"#, r#""a\" b"#),
        (r#""a"#, "Unreadable"),
        (r#"@"a b" c"#, r#"@"a b" c"#),
    ];
    same(&rows, |text| mysql_told(text, ANSI, false));
    let rows = [(r"'a\' b", r"~'a\' b"), (r"'a\''", "Unreadable"), (r#""\" b"#, r"~'\' b")];
    same(&rows, |text| mysql_told(text, NO_ESCAPES, false));
}

#[test]
fn mysql_reads_variables() {
    let rows = [
        ("@a", "@a"),
        ("@a.b$c_1-1", "@a.b$c_1 <-> #1"),
        ("@é, @'a b' , @`a b` , @\"c\" d", "@é <,> @'a b' <,> @`a b` <,> @\"c\" d"),
        ("@", "@"),
        ("@ a", "@ a"),
        ("@a:=1", "@a <:=> #1"),
        ("@`a", "Unreadable"),
        ("@'a", "Unreadable"),
        ("@@A b", "@@a b"),
        ("@@Session.A_1+1", "@@session.a_1 <+> #1"),
        ("@@session . /* c */ `Last_insert_id` x", "@@session.last_insert_id x"),
        ("@@`IDENTITY`  x", "@@identity x"),
        ("@@a.b.c", "@@a.b.c"),
        ("@@`a", "Unreadable"),
        ("@@a /* b", "Unreadable"),
    ];
    same(&rows, |text| mysql_told(text, DEFAULT, false));
}

#[test]
fn mysql_reads_numbers_and_signs() {
    let rows = [
        ("1 1.5 1. .5 12.25", "#1 #1.5 #1. #.5 #12.25"),
        ("1e5 12E+5 1e-15 1.5e3 .5e3 1.e5 x", "#1e5 #12E+5 #1e-15 #1.5e3 #.5e3 #1.e5 x"),
        ("0x4D 0x4e5 0b01 0 x", "#0x4D #0x4e5 #0b01 #0 x"),
        ("1.5.25", "#1.5 #.25"),
        ("-1+2", "<-> #1 <+> #2"),
        ("1-2", "#1 <-> #2"),
        ("1e5-2", "#1e5 <-> #2"),
        ("t.1a.2e", "t <.> 1a <.> 2e"),
        ("t.5 app.1e5 t .5", "t <.> 5 app <.> 1e5 t #.5"),
        ("`t`.5", "\"t\" #.5"),
        ("a .b", "a <.> b"),
        ("a1.b2", "a1 <.> b2"),
        ("1e", "Unreadable"),
        ("1e+", "Unreadable"),
        ("1e+a", "Unreadable"),
        ("1.5e", "Unreadable"),
        ("1a", "Unreadable"),
        ("1.5a", "Unreadable"),
        (".5a", "Unreadable"),
        ("1e5a", "Unreadable"),
        ("0xg", "Unreadable"),
        ("0b2", "Unreadable"),
        ("1ä", "Unreadable"),
        ("(a){b},c;d.e?", "<(> a <)> <{> b <}> <,> c <;> d <.> e <?>"),
        ("+ - * / % = < > ! | & ^ ~ :", "<+> <-> <*> </> <%> <=> <<> <>> <!> <|> <&> <^> <~> <:>"),
        (":= <= >= <> != || && == << >>", "<:=> <<=> <>=> <<>> <!=> <||> <&&> <==> <<<> <>>>"),
        ("a:b", "a <:> b"),
        ("a<b>c", "a <<> b <>> c"),
        ("a=-1", "a <=> <-> #1"),
        ("a->>'$'", "a <-> <>>> '$'"),
        ("%s", "<%> s"),
        ("'a%%b'", "'a%%b'"),
        ("`a%%b` /* %s */", "\"a%%b\""),
        ("a[1]", "Unreadable"),
        ("\\", "Unreadable"),
        ("a\u{1}", "Unreadable"),
    ];
    same(&rows, |text| mysql_told(text, DEFAULT, false));
}

#[test]
fn mysql_has_arguments_where_they_are_what_they_are() {
    let rows = [
        ("%s,%s", "?%s <,> ?%s"),
        ("%(a b)s + %(c)s", "?%(a b)s <+> ?%(c)s"),
        ("a %% b", "a <%%> b"),
        ("a %%s", "a <%%> s"),
        ("'a%%b' \"%%%%\"", "'a%b' '%%'"),
        ("'a''%%b'", "'a'%b'"),
        ("`a%%b` `a``%%`", "\"a%b\" \"a`%\""),
        ("a /* %% */ b -- %%\n c # 5%%\n d", "a b c d"),
        ("%d", "Placeholder"),
        ("%", "Placeholder"),
        ("%(a)d", "Placeholder"),
        ("%(a)", "Placeholder"),
        ("%(a", "Placeholder"),
        ("%a)s", "Placeholder"),
        ("'%s'", "QuotedParameter"),
        ("'a%'", "QuotedParameter"),
        ("'%%%'", "QuotedParameter"),
        ("x'%s'", "QuotedParameter"),
        ("`%s`", "QuotedParameter"),
        ("`%`", "QuotedParameter"),
        ("@'%s'", "QuotedParameter"),
        ("a # %s", "QuotedParameter"),
        ("a -- %s\n", "QuotedParameter"),
        ("a -- 5%\n%", "QuotedParameter"),
        ("/* %s */", "QuotedParameter"),
        ("/*%*/", "QuotedParameter"),
        ("a -- b\n%s", "a ?%s"),
        ("/* a */%s", "?%s"),
    ];
    same(&rows, |text| mysql_told(text, DEFAULT, true));
}

#[test]
fn a_mode_of_mysql_is_what_its_words_say() {
    for (sql_mode, expected) in [
        ("", [false, false, false]),
        ("STRICT_TRANS_TABLES,NO_ZERO_DATE", [false, false, false]),
        ("ANSI_QUOTES", [true, false, false]),
        ("strict_all_tables, no_backslash_escapes", [false, true, false]),
        ("IGNORE_SPACE,", [false, false, true]),
        ("ansi", [true, false, true]),
        ("ORACLE,NO_BACKSLASH_ESCAPES", [true, true, true]),
        ("DB2", [true, false, true]),
        ("MAXDB", [true, false, true]),
        ("MSSQL", [true, false, true]),
        ("POSTGRESQL", [true, false, true]),
    ] {
        let mode = Mode::parse(sql_mode);
        assert_eq!([mode.ansi_quotes, mode.no_backslash_escapes, mode.ignore_space], expected, "{sql_mode}");
    }
}

#[test]
fn postgres_reads_words_comments_and_signs() {
    let rows = [
        ("", ""),
        ("SELECT a$b, _C, éÉ9 x1", "select a$b <,> _c <,> éÉ9 x1"),
        ("a\tb\nc\rd\u{b}e\u{c}f g\u{a0}h", "a b c d e f g\u{a0}h"),
        ("a--b\nc", "a c"),
        ("a--b\rc", "a c"),
        ("a --", "a"),
        ("a - - b", "a <-> <-> b"),
        ("a/*b/*c*/d*/e", "a e"),
        ("a/**/b /*/**/*/ c /*/*/ */*/ d", "a b c d"),
        ("a/b*c", "a </> b <*> c"),
        ("a*/b", "a <*/> b"),
        ("/* a", "Unreadable"),
        ("/*/**/", "Unreadable"),
        ("/*", "Unreadable"),
        ("(a)[1:2],c;d.e", "<(> a <)> <[> #1 <:> #2 <]> <,> c <;> d <.> e"),
        ("a::b c:=d e..f g : :h", "a <::> b c <:=> d e <..> f g <:> <:> h"),
        ("{", "Unreadable"),
        ("\\", "Unreadable"),
        ("a\u{1}", "Unreadable"),
        ("~ ! @ # ^ & | ` ? + - * / % < > =", "<~> <!> <@> <#> <^> <&> <|> <`> <?> <+> <-> <*> </> <%> <<> <>> <=>"),
        ("a<=b<>c>=d", "a <<=> b <<>> c <>=> d"),
        ("a<-1", "a <<> <-> #1"),
        ("a+-1", "a <+> <-> #1"),
        ("a=+-b", "a <=> <+> <-> b"),
        ("a*-b", "a <*> <-> b"),
        ("a->b->>c", "a <->> b <->>> c"),
        ("~- !- @+ #- ^- &- |- `- ?- %-", "<~-> <!-> <@+> <#-> <^-> <&-> <|-> <`-> <?-> <%->"),
        ("a+--b\nc", "a <+> c"),
        ("a@/*c*/b", "a <@> b"),
        ("a-/b", "a <-/> b"),
        ("a/ *b", "a </> <*> b"),
        ("a=", "a <=>"),
    ];
    same(&rows, |text| postgres_told(text, true));
}

#[test]
fn postgres_reads_numbers_and_arguments() {
    let rows = [
        ("1 1.5 1. .5 12.25", "#1 #1.5 #1. #.5 #12.25"),
        ("1e5 12E+5 1e-15 1.5e3 .5e3 1.e5 x", "#1e5 #12E+5 #1e-15 #1.5e3 #.5e3 #1.e5 x"),
        ("1..2", "#1 <..> #2"),
        ("1.5.25", "#1.5 #.25"),
        ("a.5", "a #.5"),
        ("1e", "#1 e"),
        ("1e+", "#1 e <+>"),
        ("1e+a", "#1 e <+> a"),
        ("1INTO", "#1 into"),
        ("1e5e", "#1e5 e"),
        ("1-2", "#1 <-> #2"),
        ("$1,$12 a $3b", "?$1 <,> ?$12 a ?$3 b"),
    ];
    same(&rows, |text| postgres_told(text, true));
}

#[test]
fn postgres_reads_texts() {
    let rows = [
        ("'a' b", "'a' b"),
        ("'' ''''", "'' '''"),
        ("'a''b''' c", "'a'b'' c"),
        (r"'a\' b", r"~'a\' b"),
        ("'é''é' b", "'é'é' b"),
        ("'a", "Unreadable"),
        ("'a''", "Unreadable"),
        (r"E'a\'b' e'\\' c", r"~'a\'b' ~'\\' c"),
        (r"E'a\'", "Unreadable"),
        (r"E'a\", "Unreadable"),
        (r"B'1' X'4D' b'\' x'\' N'\' n'a' c", r"~'1' ~'4D' ~'\' ~'\' ~'\' ~'a' c"),
        ("E 'a' xe'b'", "e 'a' xe 'b'"),
        ("'a'\n'b'", "'ab'"),
        ("'a' \r\t 'b''c' d", "'ab'c' d"),
        ("'a' -- c\n 'b'", "'ab'"),
        ("'a'--c\n--d\n'b' e", "'ab' e"),
        ("'a' 'b'", "'a' 'b'"),
        ("'a' -- c 'b'", "'a'"),
        ("'a'\n/* c */'b'", "'a' 'b'"),
        ("'a'\n- 'b'", "'a' <-> 'b'"),
        ("'a' -\n'b'", "'a' <-> 'b'"),
        ("'a'\nb", "'a' b"),
        ("'a'\n", "'a'"),
        ("E'a\\''\n'b\\'' c", r"~'a\'b\'' c"),
        ("$$a$$ b", "'a' b"),
        ("$$$$ b", "'' b"),
        ("$t$a$$b$t$ c", "'a$$b' c"),
        ("$ä1$x$ä1$ c", "'x' c"),
        ("$_$x$_$", "'x'"),
        (r"$$a\b$$", r"~'a\b'"),
        ("$a$b", "Unreadable"),
        ("$a", "Unreadable"),
        ("$", "Unreadable"),
        ("$a-$ $a-$", "Unreadable"),
        ("a$$ b", "a$$ b"),
        (r"u&'a\0061' U&'d!0061' UESCAPE '!' b", r"~'a\0061' ~'d!0061' b"),
        ("U&'a' UESCAPE x", "Unreadable"),
        ("U&'a", "Unreadable"),
        ("U&a U & 'b'", "u <&> a u <&> 'b'"),
    ];
    same(&rows, |text| postgres_told(text, true));
    let rows = [
        (r"'a\'b' c", r"~'a\'b' c"),
        (r"N'a\'b' c", r"~'a\'b' c"),
        (r"'\\' c", r"~'\\' c"),
        (r"'a\'", "Unreadable"),
        (r"B'\' c", r"~'\' c"),
        (r"E'\'' c", r"~'\'' c"),
    ];
    same(&rows, |text| postgres_told(text, false));
}

#[test]
fn postgres_reads_quoted_names() {
    let long = "a".repeat(63);
    let rows = [
        (r#""A b"."é" c"#, r#""A b" <.> "é" c"#),
        (r#""a""b" c"#, r#""a"b" c"#),
        (r#""a"#, "Unreadable"),
        (r#""a"""#, "Unreadable"),
        (r#"U&"d\0061t" x"#, r#""dat" x"#),
        (r#"u&"d\+000061t""#, r#""dat""#),
        (r#"U&"\\a\\""#, r#""\a\""#),
        (r#"U&"\+01F600\D83D\DE00z""#, "\"😀😀z\""),
        (r#"U&"d!0061\" UESCAPE '!' x"#, r#""da\" x"#),
        (r#"U&"d!!0061" uescape '!'"#, r#""d!0061""#),
        ("U&\"d!0061\"/*c*/UESCAPE--d\n'!'x", "\"da\" x"),
        (r#"U&"a" uescapes"#, r#""a" uescapes"#),
        (r#"U&"a" uescap"#, r#""a" uescap"#),
        (r#"U&"a" UESCAPE x"#, "Unreadable"),
        (r#"U&"a" UESCAPE '!"#, "Unreadable"),
        (r#"U&"a" /* b"#, "Unreadable"),
        (r#"U&"\D83D""#, "Unreadable"),
        (r#"U&"\00""#, "Unreadable"),
        (r#"U&"\00zz""#, "Unreadable"),
        (r#"U&"\+110000""#, "Unreadable"),
    ];
    same(&rows, |text| postgres_told(text, true));
    for (text, expected) in [
        (long.clone(), long.clone()),
        (format!("{long}b"), long.clone()),
        (format!("\"{long}b\""), format!("\"{long}\"")),
        (format!("{}é", &long[..61]), format!("{}é", &long[..61])),
        (format!("{}é", &long[..62]), "Unreadable".to_owned()),
        (format!("\"{}é\"", &long[..62]), "Unreadable".to_owned()),
    ] {
        assert_eq!(postgres_told(&text, true), expected, "a name counts to its 63rd byte");
    }
}

#[test]
fn the_first_of_many_literals_are_enough() {
    let rows = [
        ("a IN (1, 2, 3)", "a in <(> #1 <)>"),
        ("a IN (1, 'x', NULL, true, false, b)", "a in <(> #1 <,> b <)>"),
        ("a IN (b, 1, 2)", "a in <(> b <,> #1 <,> #2 <)>"),
        ("a IN (1, b, 2, 3)", "a in <(> #1 <,> b <,> #2 <,> #3 <)>"),
        ("a IN (1 2, 3)", "a in <(> #1 #2 <)>"),
        ("a IN (, 2)", "a in <(> <,> #2 <)>"),
        ("a.in (1, 2)", "a <.> in <(> #1 <,> #2 <)>"),
        ("f(1, 2)", "f <(> #1 <,> #2 <)>"),
        ("a IN (1, f(2), 3, 4)", "a in <(> #1 <,> f <(> #2 <)> <,> #3 <,> #4 <)>"),
        ("VALUES (1, 'x'), (2, NULL), (3, true) b", "values <(> #1 <,> 'x' <)> b"),
        ("VALUE (1), (2)", "value <(> #1 <)>"),
        ("t.values (1), (2)", "t <.> values <(> #1 <)> <,> <(> #2 <)>"),
        ("VALUES (a), (2), (3)", "values <(> a <)> <,> <(> #2 <)> <,> <(> #3 <)>"),
        ("VALUES (1), (a), (3), (4)", "values <(> #1 <)> <,> <(> a <)> <,> <(> #3 <)> <,> <(> #4 <)>"),
        ("VALUES (1), (f(2)), (3)", "values <(> #1 <)> <,> <(> f <(> #2 <)> <)> <,> <(> #3 <)>"),
        ("VALUES (1), (-2), (3), (-4)", "values <(> #1 <)> <,> <(> <-> #2 <)>"),
        ("VALUES (-1), (-2), (3)", "values <(> <-> #1 <)>"),
        ("VALUES (1) , b, (2)", "values <(> #1 <)> <,> b <,> <(> #2 <)>"),
        ("VALUES (1) (2)", "values <(> #1 <)> <(> #2 <)>"),
        ("VALUES (+1), (2)", "values <(> <+> #1 <)> <,> <(> #2 <)>"),
        ("a, (1), (2)", "a <,> <(> #1 <)> <,> <(> #2 <)>"),
        ("((1), (2))", "<(> <(> #1 <)> <,> <(> #2 <)> <)>"),
        ("in (1, 2)", "in <(> #1 <)>"),
        (", (1, 2)", "<,> <(> #1 <,> #2 <)>"),
    ];
    let folded = |tokens: &[Token<'_>]| tokens.iter().map(shown).collect::<Vec<_>>().join(" ");
    same(&rows, |text| folded(&postgres::read_folded(text, true).unwrap()));
    same(&rows, |text| folded(&mysql::read_folded(text, DEFAULT, false).unwrap()));
    let arguments = mysql::read_folded("a IN (%s, %s, `null`) AND b IN (1, 2)", DEFAULT, true).unwrap();
    assert_eq!(folded(&arguments), "a in <(> ?%s <,> \"null\" <)> and b in <(> #1 <)>");
}
