//! Reads a template's text: directives, references, comments, and the blanks that go with them.

use std::sync::Arc;

use super::syntax::{Expr, Macro, Macros, Node, Reference, Step};
use super::{Problem, TEMPLATE_BYTES_MAX};

/// Blocks and expressions inside each other.
const DEPTH_MAX: usize = 60;

/// What ended a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    OfText,
    ElseIf,
    Else,
    Closed,
}

pub(super) struct Parser<'t> {
    pub(super) text: &'t str,
    pub(super) at: usize,
    /// Where this text begins in the whole template: texts in quotes are read by parsers of their own.
    pub(super) offset: usize,
    pub(super) depth: usize,
    pub(super) macros: Macros,
}

/// Read a whole template.
pub(super) fn template(text: &str) -> Result<(Vec<Node>, Macros), Problem> {
    if text.len() > TEMPLATE_BYTES_MAX {
        let reason = format!("the template has {} bytes: at most {TEMPLATE_BYTES_MAX} are allowed", text.len());
        return Err(Problem { at: 0, reason });
    }
    let mut parser = Parser { text, at: 0, offset: 0, depth: 0, macros: Macros::new() };
    let nodes = parser.all()?;
    Ok((nodes, parser.macros))
}

impl Parser<'_> {
    /// The whole text; no directive may be left open or end what is not open.
    pub(super) fn all(&mut self) -> Result<Vec<Node>, Problem> {
        let (nodes, end) = self.block()?;
        match end {
            End::OfText => Ok(nodes),
            End::ElseIf => Err(self.wrong("#elseif stands without #if")),
            End::Else => Err(self.wrong("#else stands without #if")),
            End::Closed => Err(self.wrong("#end stands without a directive that it ends")),
        }
    }

    pub(super) fn wrong(&self, reason: impl Into<String>) -> Problem {
        Problem { at: self.offset + self.at, reason: reason.into() }
    }

    pub(super) fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Take a text if it stands here.
    pub(super) fn take(&mut self, text: &str) -> bool {
        let is_here = self.rest().starts_with(text);
        if is_here {
            self.at += text.len();
        }
        is_here
    }

    pub(super) fn need(&mut self, text: &str) -> Result<(), Problem> {
        if self.take(text) {
            return Ok(());
        }
        let found = self.rest().chars().next().map_or("the end".into(), |found| format!("{found:?}"));
        Err(self.wrong(format!("{text:?} is expected, not {found}")))
    }

    pub(super) fn blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    /// Count one more level; the caller gives it back.
    pub(super) fn deeper(&mut self) -> Result<(), Problem> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.wrong(format!("it nests deeper than {DEPTH_MAX} levels")));
        }
        Ok(())
    }

    pub(super) fn identifier(&mut self) -> Option<String> {
        let bytes = self.rest().as_bytes();
        if !bytes.first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_') {
            return None;
        }
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte == b'-';
        let length = bytes.iter().position(|byte| !is_part(byte)).unwrap_or(bytes.len());
        // A dash at the end is text: $stage-$name.
        let length = self.rest()[..length].trim_end_matches('-').len();
        let name = self.rest()[..length].to_owned();
        self.at += length;
        Some(name)
    }

    fn block(&mut self) -> Result<(Vec<Node>, End), Problem> {
        self.deeper()?;
        let mut nodes = Vec::new();
        loop {
            let length = self.rest().find(['$', '#', '\\']).unwrap_or(self.rest().len());
            text(&mut nodes, &self.rest()[..length]);
            self.at += length;
            match self.peek() {
                None => {
                    self.depth -= 1;
                    return Ok((nodes, End::OfText));
                }
                Some(b'\\') => self.backslashes(&mut nodes),
                Some(b'$') => match self.reference()? {
                    Some(reference) => nodes.push(Node::Reference(reference)),
                    None => {
                        self.at += 1;
                        text(&mut nodes, "$");
                    }
                },
                _ => {
                    if let Some(end) = self.hash(&mut nodes)? {
                        self.depth -= 1;
                        return Ok((nodes, end));
                    }
                }
            }
        }
    }

    /// `\$name` and `\#if` are text; of two backslashes before them one is left.
    fn backslashes(&mut self, nodes: &mut Vec<Node>) {
        let count = self.rest().len() - self.rest().trim_start_matches('\\').len();
        self.at += count;
        let begins = match self.peek() {
            Some(b'$') => begins_reference(self.rest()),
            Some(b'#') => self.word().is_some_and(|(word, _)| is_directive(word)),
            _ => false,
        };
        if !begins {
            text(nodes, &"\\".repeat(count));
            return;
        }
        text(nodes, &"\\".repeat(count / 2));
        if count % 2 == 1 {
            text(nodes, &self.text[self.at..=self.at]);
            self.at += 1;
        }
    }

    /// The word after `#`, also in braces, and how many bytes it takes with its `#`.
    fn word(&self) -> Option<(&str, usize)> {
        let rest = self.rest().strip_prefix('#')?;
        let (inner, braces) = rest.strip_prefix('{').map_or((rest, 0), |inner| (inner, 2));
        let length = inner.bytes().position(|byte| !byte.is_ascii_alphanumeric() && byte != b'_');
        let length = length.unwrap_or(inner.len());
        let is_closed = braces == 0 || inner[length..].starts_with('}');
        (length > 0 && is_closed).then(|| (&inner[..length], 1 + braces + length))
    }

    /// What `#` begins: a comment, text as it is, a directive, or nothing but itself.
    fn hash(&mut self, nodes: &mut Vec<Node>) -> Result<Option<End>, Problem> {
        let rest = self.rest();
        if rest.starts_with("##") {
            self.at += rest.find('\n').map_or(rest.len(), |found| found + 1);
            return Ok(None);
        }
        if rest.starts_with("#*") {
            let length = rest.find("*#").ok_or_else(|| self.wrong("the comment does not end with *#"))?;
            self.at += length + 2;
            return Ok(None);
        }
        if let Some(inner) = rest.strip_prefix("#[[") {
            let length = inner.find("]]#").ok_or_else(|| self.wrong("the text does not end with ]]#"))?;
            text(nodes, &inner[..length]);
            self.at += length + 6;
            return Ok(None);
        }
        let Some((word, length)) = self.word() else {
            text(nodes, "#");
            self.at += 1;
            return Ok(None);
        };
        let word = word.to_owned();
        self.directive(&word, length, nodes)
    }

    fn directive(&mut self, word: &str, length: usize, nodes: &mut Vec<Node>) -> Result<Option<End>, Problem> {
        let start = self.at;
        self.at += length;
        match word {
            "set" => {
                trim_line(nodes);
                nodes.push(self.set()?);
            }
            "if" => nodes.push(self.condition()?),
            "foreach" => nodes.push(self.foreach()?),
            "macro" => self.definition_of_macro()?,
            "define" => nodes.push(self.define()?),
            "break" => {
                nodes.push(Node::Break);
                self.empty_parentheses();
            }
            "stop" => {
                nodes.push(Node::Stop);
                self.empty_parentheses();
            }
            "elseif" => return Ok(Some(End::ElseIf)),
            "else" => {
                self.line_end();
                return Ok(Some(End::Else));
            }
            "end" => {
                self.line_end();
                return Ok(Some(End::Closed));
            }
            "include" | "parse" | "evaluate" => return Err(self.wrong(format!("#{word} is not there in API Gateway"))),
            _ => self.call(word, start, nodes),
        }
        Ok(None)
    }

    fn empty_parentheses(&mut self) {
        if self.take("()") {
            self.line_end();
        }
    }

    /// The blanks behind a directive and the end of its line belong to it.
    fn line_end(&mut self) {
        let rest = self.rest();
        let behind = rest.trim_start_matches([' ', '\t']);
        let end = ["\r\n", "\n", "\r"].iter().find(|end| behind.starts_with(**end));
        if let Some(end) = end {
            self.at += rest.len() - behind.len() + end.len();
        }
    }

    fn open(&mut self) -> Result<(), Problem> {
        self.blanks();
        self.need("(")?;
        self.blanks();
        Ok(())
    }

    fn close(&mut self) -> Result<(), Problem> {
        self.blanks();
        self.need(")")?;
        self.line_end();
        Ok(())
    }

    fn set(&mut self) -> Result<Node, Problem> {
        self.open()?;
        let target = self.reference()?.ok_or_else(|| self.wrong("#set begins with a reference"))?;
        if matches!(target.steps.last(), Some(Step::Method(..))) {
            return Err(self.wrong("#set cannot set what a method gives"));
        }
        self.blanks();
        self.need("=")?;
        let value = self.expression()?;
        self.close()?;
        Ok(Node::Set(target, value))
    }

    fn condition(&mut self) -> Result<Node, Problem> {
        let mut branches = Vec::new();
        loop {
            self.open()?;
            let condition = self.expression()?;
            self.close()?;
            let (body, end) = self.block()?;
            branches.push((condition, body));
            match end {
                End::ElseIf => {}
                End::Closed => return Ok(Node::If(branches, Vec::new())),
                End::Else => {
                    let otherwise = self.until_end("#if")?;
                    return Ok(Node::If(branches, otherwise));
                }
                End::OfText => return Err(self.wrong("#if has no #end")),
            }
        }
    }

    fn until_end(&mut self, of: &str) -> Result<Vec<Node>, Problem> {
        match self.block()? {
            (body, End::Closed) => Ok(body),
            _ => Err(self.wrong(format!("{of} has no #end"))),
        }
    }

    fn foreach(&mut self) -> Result<Node, Problem> {
        self.open()?;
        let name = self.plain("#foreach")?;
        self.blanks();
        self.need("in")?;
        let over = self.expression()?;
        self.close()?;
        let body = self.until_end("#foreach")?;
        Ok(Node::Foreach { name, over, body })
    }

    /// A reference that is a name alone.
    fn plain(&mut self, of: &str) -> Result<String, Problem> {
        match self.reference()? {
            Some(Reference { name, steps, .. }) if steps.is_empty() => Ok(name),
            _ => Err(self.wrong(format!("{of} needs the name of a variable, as $item"))),
        }
    }

    fn define(&mut self) -> Result<Node, Problem> {
        self.open()?;
        let name = self.plain("#define")?;
        self.close()?;
        let body = self.until_end("#define")?;
        Ok(Node::Define(name, body))
    }

    fn definition_of_macro(&mut self) -> Result<(), Problem> {
        self.open()?;
        let name = self.identifier().ok_or_else(|| self.wrong("#macro begins with its name"))?;
        let mut parameters = Vec::new();
        loop {
            self.blanks();
            self.take(",");
            self.blanks();
            if self.peek() == Some(b')') {
                break;
            }
            parameters.push(self.plain("#macro")?);
        }
        self.close()?;
        let body = self.until_end("#macro")?;
        self.macros.insert(name, Arc::new(Macro { parameters, body }));
        Ok(())
    }

    /// `#name(…)`. What does not read as a call is text.
    fn call(&mut self, name: &str, start: usize, nodes: &mut Vec<Node>) {
        let after = self.at;
        if self.take("(") {
            if let Ok(arguments) = self.arguments() {
                let text = self.text[start..self.at].to_owned();
                nodes.push(Node::Call { name: name.to_owned(), arguments, text });
                return;
            }
        }
        self.at = after;
        text(nodes, &self.text[start..after]);
    }

    /// A macro's arguments, apart by blanks or commas, and the parenthesis behind them.
    fn arguments(&mut self) -> Result<Vec<Expr>, Problem> {
        let depth = self.depth;
        let mut arguments = Vec::new();
        loop {
            self.blanks();
            if self.take(")") {
                return Ok(arguments);
            }
            if !arguments.is_empty() && self.take(",") {
                self.blanks();
            }
            let argument = self.primary();
            self.depth = depth;
            arguments.push(argument?);
        }
    }

    /// A reference, if one begins at this `$`.
    pub(super) fn reference(&mut self) -> Result<Option<Reference>, Problem> {
        if !begins_reference(self.rest()) {
            return Ok(None);
        }
        let start = self.at;
        self.at += 1;
        self.take("!");
        let is_formal = self.take("{");
        let at = self.offset + self.at;
        let Some(name) = self.identifier() else {
            self.at = start;
            return Ok(None);
        };
        let mut steps = Vec::new();
        while let Some(step) = self.step()? {
            steps.push(step);
        }
        if is_formal && !self.take("}") {
            self.at = start;
            return Ok(None);
        }
        Ok(Some(Reference { name, steps, at }))
    }

    fn step(&mut self) -> Result<Option<Step>, Problem> {
        let start = self.at;
        if self.take("[") {
            let depth = self.depth;
            let index = self.expression();
            self.depth = depth;
            self.blanks();
            if let (Ok(index), true) = (index, self.take("]")) {
                return Ok(Some(Step::Index(index)));
            }
            // A bracket behind a reference may be text.
            self.at = start;
            return Ok(None);
        }
        if !self.take(".") {
            return Ok(None);
        }
        let Some(name) = self.identifier() else {
            self.at = start;
            return Ok(None);
        };
        if !self.take("(") {
            return Ok(Some(Step::Field(name)));
        }
        let mut arguments = Vec::new();
        self.blanks();
        if !self.take(")") {
            loop {
                arguments.push(self.expression()?);
                self.blanks();
                if self.take(")") {
                    break;
                }
                self.need(",")?;
            }
        }
        Ok(Some(Step::Method(name, arguments)))
    }
}

/// Whether `$name`, `$!name`, `${name` or `$!{name` stands at the beginning.
fn begins_reference(rest: &str) -> bool {
    let Some(rest) = rest.strip_prefix('$') else { return false };
    let rest = rest.strip_prefix('!').unwrap_or(rest);
    let rest = rest.strip_prefix('{').unwrap_or(rest);
    rest.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
}

fn is_directive(word: &str) -> bool {
    ["set", "if", "elseif", "else", "end", "foreach", "break", "stop", "macro", "define"].contains(&word)
}

/// Add text; pieces beside each other become one.
fn text(nodes: &mut Vec<Node>, text: &str) {
    if text.is_empty() {
        return;
    }
    match nodes.last_mut() {
        Some(Node::Text(known)) => known.push_str(text),
        _ => nodes.push(Node::Text(text.to_owned())),
    }
}

/// Take away the blanks before a `#set` that begins a line. The end of a line behind a directive is already gone.
fn trim_line(nodes: &mut [Node]) {
    let (before, Some(Node::Text(text))) = (nodes.len().checked_sub(2), nodes.last_mut()) else { return };
    let length = text.trim_end_matches([' ', '\t']).len();
    if length > 0 && text[..length].ends_with(['\n', '\r']) {
        text.truncate(length);
    } else if length == 0 && before.is_none_or(|at| !matches!(nodes[at], Node::Reference(_) | Node::Call { .. })) {
        if let Some(Node::Text(text)) = nodes.last_mut() {
            text.clear();
        }
    }
}
