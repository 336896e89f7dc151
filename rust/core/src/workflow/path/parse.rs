//! From a path's text to its steps. It is read once, when the definition is.

use regex::RegexBuilder;
use serde_json::Value;

use super::filter::{ItemPath, Operand, Operator, Test};
use super::function::{Argument, Call, Function};
use super::walk::Step;
use super::{Path, PathError, PathErrorKind, Root, PATH_CHARS_MAX};

/// Tests and paths inside one another.
const NESTING_MAX: usize = 16;
/// Bytes of a compiled regular expression.
const PATTERN_BYTES_MAX: usize = 1 << 20;

type Parsed<T> = Result<T, String>;

pub(super) fn path(text: &str) -> Result<Path, PathError> {
    let refuse = |detail: String| PathError { path: text.to_owned(), kind: PathErrorKind::Syntax, detail };
    if text.len() > PATH_CHARS_MAX {
        return Err(PathError {
            path: text.chars().take(100).collect(),
            kind: PathErrorKind::Syntax,
            detail: format!("A path has at most {PATH_CHARS_MAX} characters"),
        });
    }
    let mut reader = Reader { text, at: 0, depth: 0 };
    let root = reader.root().map_err(refuse)?;
    let (steps, call) = reader.steps().map_err(refuse)?;
    match reader.peek() {
        None => Ok(Path { text: text.to_owned(), root, steps, call }),
        Some(' ') => Err(refuse(format!(
            "Use bracket notation ['my prop'] if your property contains blank characters. position: {}",
            reader.at
        ))),
        Some(other) => Err(refuse(format!("Unexpected '{other}' at position {}", reader.at))),
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    /// How many tests the reader is inside of.
    depth: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn eat(&mut self, expected: &str) -> bool {
        let is_there = self.rest().starts_with(expected);
        if is_there {
            self.at += expected.len();
        }
        is_there
    }

    fn expect(&mut self, expected: &str) -> Parsed<()> {
        if self.eat(expected) {
            return Ok(());
        }
        Err(format!("Expected '{expected}' at position {}", self.at))
    }

    fn skip_blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    /// Take characters as long as they are wanted.
    fn take(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let length = self.rest().find(|each| !wanted(each)).unwrap_or(self.rest().len());
        let taken = self.rest()[..length].to_owned();
        self.at += length;
        taken
    }

    fn root(&mut self) -> Parsed<Root> {
        if !self.eat("$") {
            return Err("A path starts with '$'".to_owned());
        }
        if self.eat("$") {
            return Ok(Root::Context);
        }
        let name = self.take(|each| !matches!(each, '.' | '[' | '(' | ' '));
        if name.is_empty() {
            return Ok(Root::Input);
        }
        let is_name = name.chars().all(|each| each.is_alphanumeric() || each == '_')
            && name.chars().next().is_some_and(|first| first.is_alphabetic() || first == '_');
        if !is_name {
            return Err(format!("'{name}' is not a name of a variable"));
        }
        Ok(Root::Variable(name))
    }

    fn steps(&mut self) -> Parsed<(Vec<Step>, Option<Call>)> {
        let mut steps = Vec::new();
        loop {
            if self.eat("..") {
                steps.push(Step::Descend);
                if self.peek() != Some('[') {
                    steps.push(self.dotted()?);
                }
            } else if self.eat(".") {
                if let Some(call) = self.call()? {
                    return Ok((steps, Some(call)));
                }
                steps.push(self.dotted()?);
            } else if self.eat("[") {
                steps.push(self.bracketed()?);
            } else {
                return Ok((steps, None));
            }
        }
    }

    /// `name` or `*` after a dot.
    fn dotted(&mut self) -> Parsed<Step> {
        if self.eat("*") {
            return Ok(Step::Wildcard);
        }
        let is_inside_test = self.depth > 0;
        let name = self.take(|each| match each {
            '.' | '[' | '(' | ' ' => false,
            ')' | '=' | '!' | '<' | '>' | '&' | '|' | '~' | ',' | ']' | '\t' | '\n' => !is_inside_test,
            _ => true,
        });
        if name.is_empty() {
            return Err("Path must not end with a '.' or '..'".to_owned());
        }
        if self.peek() == Some('(') {
            return Err(format!("Function with name: {name} does not exist, or is not at the path's end"));
        }
        Ok(Step::Name(name))
    }

    /// `length()` and the like, if that is what stands here.
    fn call(&mut self) -> Parsed<Option<Call>> {
        let start = self.at;
        let name = self.take(|each| each.is_ascii_alphabetic());
        if self.peek() != Some('(') {
            self.at = start;
            return Ok(None);
        }
        let function = Function::named(&name).ok_or_else(|| format!("Function with name: {name} does not exist"))?;
        self.at += 1;
        let mut arguments = Vec::new();
        loop {
            self.skip_blanks();
            if self.eat(")") {
                return Ok(Some(Call { function, arguments }));
            }
            if !arguments.is_empty() {
                self.expect(",")?;
                self.skip_blanks();
            }
            arguments.push(match self.peek() {
                Some('$' | '@') => Argument::Path(self.item_path()?),
                _ => Argument::Literal(self.literal()?),
            });
        }
    }

    /// What stands between `[` and `]`.
    fn bracketed(&mut self) -> Parsed<Step> {
        self.skip_blanks();
        let step = match self.peek() {
            Some('\'' | '"') => self.names()?,
            Some('*') => {
                self.at += 1;
                Step::Wildcard
            }
            Some('?') => {
                self.at += 1;
                self.skip_blanks();
                self.expect("(")?;
                let test = self.nested(Self::any)?;
                self.skip_blanks();
                self.expect(")")?;
                Step::Filter(test)
            }
            Some('(') => return Err("Script expressions such as [(@.length-1)] are not supported".to_owned()),
            _ => self.indices()?,
        };
        self.skip_blanks();
        self.expect("]")?;
        Ok(step)
    }

    fn names(&mut self) -> Parsed<Step> {
        let mut names = vec![self.quoted()?];
        loop {
            self.skip_blanks();
            if !self.eat(",") {
                break;
            }
            self.skip_blanks();
            names.push(self.quoted()?);
        }
        match <[String; 1]>::try_from(names) {
            Ok([name]) => Ok(Step::Name(name)),
            Err(names) => Ok(Step::Names(names)),
        }
    }

    fn indices(&mut self) -> Parsed<Step> {
        let start = self.at;
        let text = self.take(|each| each.is_ascii_digit() || matches!(each, '-' | ':' | ',' | ' '));
        let refuse = || format!("Could not parse token starting at position {start}");
        let number = |part: &str| part.trim().parse::<i64>().map_err(|_| refuse());
        if let Some((from, to)) = text.split_once(':') {
            let place = |part: &str| if part.trim().is_empty() { Ok(None) } else { number(part).map(Some) };
            return match (place(from)?, place(to)?) {
                (None, None) => Err(refuse()),
                (from, to) => Ok(Step::Slice(from, to)),
            };
        }
        let indices = text.split(',').map(number).collect::<Parsed<Vec<_>>>()?;
        match indices.as_slice() {
            [index] => Ok(Step::Index(*index)),
            _ => Ok(Step::Indices(indices)),
        }
    }

    /// A text in quotes. A backslash escapes the quote and itself; before anything else it is an ordinary character.
    fn quoted(&mut self) -> Parsed<String> {
        let quote = self.peek().filter(|each| matches!(each, '\'' | '"'));
        let quote = quote.ok_or_else(|| format!("Expected a quoted name at position {}", self.at))?;
        let mut text = String::new();
        let mut characters = self.rest().char_indices().skip(1).peekable();
        while let Some((offset, each)) = characters.next() {
            if each == quote {
                self.at += offset + 1;
                return Ok(text);
            }
            let escaped = characters.peek().map(|(_, next)| *next).filter(|next| *next == quote || *next == '\\');
            match escaped {
                Some(escaped) if each == '\\' => {
                    text.push(escaped);
                    characters.next();
                }
                _ => text.push(each),
            }
        }
        Err(format!("The quote at position {} is not closed", self.at))
    }

    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth == NESTING_MAX {
            return Err(format!("Filters nest at most {NESTING_MAX} levels deep"));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    fn any(&mut self) -> Parsed<Test> {
        self.several("||", Self::all, Test::Any)
    }

    fn all(&mut self) -> Parsed<Test> {
        self.several("&&", Self::single, Test::All)
    }

    fn several(
        &mut self,
        between: &str,
        read: fn(&mut Self) -> Parsed<Test>,
        join: fn(Vec<Test>) -> Test,
    ) -> Parsed<Test> {
        let first = read(self)?;
        let mut tests = vec![first];
        loop {
            self.skip_blanks();
            if !self.eat(between) {
                break;
            }
            tests.push(read(self)?);
        }
        Ok(match <[Test; 1]>::try_from(tests) {
            Ok([test]) => test,
            Err(tests) => join(tests),
        })
    }

    fn single(&mut self) -> Parsed<Test> {
        self.skip_blanks();
        if self.peek() == Some('!') {
            self.at += 1;
            return Ok(Test::Not(Box::new(self.nested(Self::single)?)));
        }
        if self.eat("(") {
            let test = self.nested(Self::any)?;
            self.skip_blanks();
            self.expect(")")?;
            return Ok(test);
        }
        let left = self.operand()?;
        self.skip_blanks();
        let Some(operator) = self.operator()? else {
            return match left {
                Operand::Path(path) => Ok(Test::Exists(path)),
                Operand::Literal(_) | Operand::Pattern(_) => {
                    Err(format!("Expected a comparison at position {}", self.at))
                }
            };
        };
        self.skip_blanks();
        let right = self.operand()?;
        if (operator == Operator::Matches) != matches!(right, Operand::Pattern(_)) {
            return Err("A regular expression stands to the right of =~ only".to_owned());
        }
        Ok(Test::Compare(left, operator, right))
    }

    fn operator(&mut self) -> Parsed<Option<Operator>> {
        const OPERATORS: [(&str, Operator); 9] = [
            ("==", Operator::Equal),
            ("!=", Operator::NotEqual),
            ("<=", Operator::LessOrEqual),
            (">=", Operator::GreaterOrEqual),
            ("<", Operator::Less),
            (">", Operator::Greater),
            ("=~", Operator::Matches),
            ("in ", Operator::In),
            ("nin ", Operator::NotIn),
        ];
        if matches!(self.peek(), None | Some(')' | '&' | '|')) {
            return Ok(None);
        }
        let found = OPERATORS.iter().find(|(text, _)| self.eat(text));
        found
            .map(|(_, operator)| Some(*operator))
            .ok_or_else(|| format!("Expected one of == != < <= > >= =~ in nin at position {}", self.at))
    }

    fn operand(&mut self) -> Parsed<Operand> {
        match self.peek() {
            Some('$' | '@') => self.item_path().map(Operand::Path),
            Some('/') => self.pattern().map(Operand::Pattern),
            _ => self.literal().map(Operand::Literal),
        }
    }

    fn item_path(&mut self) -> Parsed<ItemPath> {
        let is_of_root = self.eat("$");
        if !is_of_root {
            self.expect("@")?;
        }
        let (steps, call) = self.nested(Self::steps)?;
        Ok(ItemPath { is_of_root, steps, call })
    }

    fn pattern(&mut self) -> Parsed<regex::Regex> {
        self.at += 1;
        let mut is_escaped = false;
        let end = self.rest().find(|each| {
            let is_end = each == '/' && !is_escaped;
            is_escaped = each == '\\' && !is_escaped;
            is_end
        });
        let end = end.ok_or("The regular expression is not closed with a '/'")?;
        let source = format!(r"\A(?:{})\z", &self.rest()[..end]);
        self.at += end + 1;
        let flags = self.take(|each| each.is_ascii_alphabetic());
        let mut builder = RegexBuilder::new(&source);
        builder.size_limit(PATTERN_BYTES_MAX);
        for flag in flags.chars() {
            match flag {
                'i' => builder.case_insensitive(true),
                'm' => builder.multi_line(true),
                's' => builder.dot_matches_new_line(true),
                'x' => builder.ignore_whitespace(true),
                'u' => &mut builder,
                _ => return Err(format!("The flag '{flag}' of a regular expression is none of i, m, s, u, x")),
            };
        }
        builder.build().map_err(|error| format!("The regular expression cannot be read: {error}"))
    }

    /// A JSON value, or a text in single quotes; a list may have such texts, too.
    fn literal(&mut self) -> Parsed<Value> {
        match self.peek() {
            Some('\'' | '"') => self.quoted().map(Value::String),
            Some('[') => {
                self.at += 1;
                let mut items = Vec::new();
                loop {
                    self.skip_blanks();
                    if self.eat("]") {
                        return Ok(Value::Array(items));
                    }
                    if !items.is_empty() {
                        self.expect(",")?;
                        self.skip_blanks();
                    }
                    items.push(self.nested(Self::literal)?);
                }
            }
            _ => {
                let start = self.at;
                let word = self.take(|each| each.is_ascii_alphanumeric() || matches!(each, '.' | '-' | '+'));
                serde_json::from_str(&word).map_err(|_| format!("Expected a value at position {start}"))
            }
        }
    }
}
