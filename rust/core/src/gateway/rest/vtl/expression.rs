//! Reads the expressions of directives and arguments.

use super::parse::Parser;
use super::syntax::{Expr, Macros, Node, Operator};
use super::Problem;

/// Operators of one strength, the weakest first; a word needs an end behind it.
const LEVELS: [&[(&str, Operator)]; 6] = [
    &[("||", Operator::Or), ("or", Operator::Or)],
    &[("&&", Operator::And), ("and", Operator::And)],
    &[("==", Operator::Equal), ("eq", Operator::Equal), ("!=", Operator::Unequal), ("ne", Operator::Unequal)],
    &[
        ("<=", Operator::LessOrEqual),
        (">=", Operator::GreaterOrEqual),
        ("<", Operator::Less),
        (">", Operator::Greater),
        ("le", Operator::LessOrEqual),
        ("ge", Operator::GreaterOrEqual),
        ("lt", Operator::Less),
        ("gt", Operator::Greater),
    ],
    &[("+", Operator::Add), ("-", Operator::Subtract)],
    &[("*", Operator::Multiply), ("/", Operator::Divide), ("%", Operator::Remainder)],
];

impl Parser<'_> {
    /// An expression, with the blanks before it.
    pub(super) fn expression(&mut self) -> Result<Expr, Problem> {
        self.deeper()?;
        let found = self.level(0)?;
        self.depth -= 1;
        Ok(found)
    }

    fn level(&mut self, level: usize) -> Result<Expr, Problem> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.level(level + 1)?;
        let mut count = 0;
        while let Some(operator) = self.operator(operators) {
            // A chain becomes a tree as deep as it is long.
            count += 1;
            if count > 200 {
                return Err(self.wrong("the expression has more than 200 operators of one kind"));
            }
            let right = self.level(level + 1)?;
            left = Expr::Binary(operator, Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    fn operator(&mut self, operators: &[(&str, Operator)]) -> Option<Operator> {
        self.blanks();
        let rest = self.rest();
        let (word, operator) = operators.iter().find(|(word, _)| {
            let is_word = word.bytes().all(|byte| byte.is_ascii_alphabetic());
            rest.strip_prefix(word).is_some_and(|behind| {
                !is_word || !behind.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            })
        })?;
        self.at += word.len();
        Some(*operator)
    }

    fn unary(&mut self) -> Result<Expr, Problem> {
        self.blanks();
        let is_not = (self.rest().starts_with('!') && !self.rest().starts_with("!=") && self.take("!"))
            || (self.word_is("not") && self.take("not"));
        if is_not {
            self.deeper()?;
            let inner = self.unary()?;
            self.depth -= 1;
            return Ok(Expr::Not(Box::new(inner)));
        }
        self.primary()
    }

    fn word_is(&self, word: &str) -> bool {
        self.rest().strip_prefix(word).is_some_and(|behind| {
            !behind.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        })
    }

    /// A literal, a reference, or an expression in parentheses.
    pub(super) fn primary(&mut self) -> Result<Expr, Problem> {
        self.blanks();
        match self.peek() {
            Some(b'$') => match self.reference()? {
                Some(reference) => Ok(Expr::Reference(reference)),
                None => Err(self.wrong("the reference has no name")),
            },
            Some(b'"') => self.quoted(),
            Some(b'\'') => Ok(Expr::Text(self.quotes('\'')?.0)),
            Some(b'(') => {
                self.at += 1;
                let inner = self.expression()?;
                self.blanks();
                self.need(")")?;
                Ok(inner)
            }
            Some(b'[') => self.list(),
            Some(b'{') => self.map(),
            Some(b'-') if self.rest().as_bytes().get(1).is_some_and(|byte| !byte.is_ascii_digit()) => {
                self.at += 1;
                self.deeper()?;
                let inner = self.primary()?;
                self.depth -= 1;
                Ok(Expr::Minus(Box::new(inner)))
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ if self.word_is("true") => {
                self.at += 4;
                Ok(Expr::Flag(true))
            }
            _ if self.word_is("false") => {
                self.at += 5;
                Ok(Expr::Flag(false))
            }
            Some(_) => {
                let found: String = self.rest().chars().take(20).collect();
                Err(self.wrong(format!("a value is expected, not {found:?}")))
            }
            None => Err(self.wrong("a value is expected, not the end")),
        }
    }

    fn number(&mut self) -> Result<Expr, Problem> {
        let bytes = self.rest().as_bytes();
        let digits = |from: usize| from + bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let whole = digits(usize::from(bytes[0] == b'-'));
        let mut end = whole;
        // Two dots make a range.
        if bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
            end = digits(end + 1);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = end + 1 + usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            if bytes.get(sign).is_some_and(u8::is_ascii_digit) {
                end = digits(sign);
            }
        }
        let text = self.rest()[..end].to_owned();
        let number = if end == whole { text.parse().ok().map(Expr::Whole) } else { None };
        let number = number.or_else(|| text.parse().ok().map(Expr::Float));
        let number = number.ok_or_else(|| self.wrong(format!("{text} is not a number")))?;
        self.at += end;
        Ok(number)
    }

    /// A text in quotes, and where its first character stands. Two quotes are one; a backslash is itself.
    fn quotes(&mut self, quote: char) -> Result<(String, usize), Problem> {
        self.at += 1;
        let start = self.at;
        let mut text = String::new();
        loop {
            let length = self.rest().find(quote).ok_or_else(|| self.wrong("the text has no closing quote"))?;
            text.push_str(&self.rest()[..length]);
            self.at += length + 1;
            if self.peek() != Some(quote as u8) {
                return Ok((text, start));
            }
            text.push(quote);
            self.at += 1;
        }
    }

    fn quoted(&mut self) -> Result<Expr, Problem> {
        let (text, start) = self.quotes('"')?;
        if !text.contains(['$', '#']) {
            return Ok(Expr::Text(text));
        }
        let offset = self.offset + start;
        let mut inner = Parser { text: &text, at: 0, offset, depth: self.depth, macros: Macros::new() };
        let nodes = inner.all()?;
        Ok(match &nodes[..] {
            [Node::Text(text)] => Expr::Text(text.clone()),
            _ => Expr::Rendered(nodes),
        })
    }

    fn list(&mut self) -> Result<Expr, Problem> {
        self.at += 1;
        self.blanks();
        if self.take("]") {
            return Ok(Expr::List(Vec::new()));
        }
        let first = self.expression()?;
        self.blanks();
        if self.take("..") {
            let last = self.expression()?;
            self.blanks();
            self.need("]")?;
            return Ok(Expr::Range(Box::new(first), Box::new(last)));
        }
        let mut items = vec![first];
        loop {
            self.blanks();
            if self.take("]") {
                return Ok(Expr::List(items));
            }
            self.need(",")?;
            items.push(self.expression()?);
        }
    }

    fn map(&mut self) -> Result<Expr, Problem> {
        self.at += 1;
        let mut pairs = Vec::new();
        self.blanks();
        if self.take("}") {
            return Ok(Expr::Map(pairs));
        }
        loop {
            self.blanks();
            // A name without quotes is a text.
            let name = self.identifier().map(Expr::Text);
            let key = name.map_or_else(|| self.expression(), Ok)?;
            self.blanks();
            self.need(":")?;
            let value = self.expression()?;
            pairs.push((key, value));
            self.blanks();
            if self.take("}") {
                return Ok(Expr::Map(pairs));
            }
            self.need(",")?;
        }
    }
}
