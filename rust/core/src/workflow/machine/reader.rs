//! Reads the items of a distributed Map out of a file's bytes.

use std::fmt;

use serde::de::{Deserializer as _, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::history::ErrorDetails;
use super::map_run::ITEM_READER_FAILED;
use crate::workflow::definition::{Delimiter, InputType, ReaderFormat};
use crate::workflow::value::{is_deeper_than, NESTING_MAX};

/// Most bytes of a file that is read as a whole.
pub const FILE_MAX: usize = 64 << 20;

/// The items of a file, at most `items_max` of them.
pub fn items(format: &ReaderFormat, file: &[u8], items_max: Option<u64>) -> Result<Vec<Value>, ErrorDetails> {
    if file.len() > FILE_MAX {
        return Err(failed(format!("The file has {} bytes; at most {FILE_MAX} are read", file.len())));
    }
    let most = items_max.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
    let items = match format.input_type {
        Some(InputType::Csv) => rows(format, file, most)?,
        Some(InputType::Jsonl) => lines(file, most)?,
        Some(InputType::Json) | None => array(format, file, most)?,
        Some(InputType::Parquet | InputType::Manifest) => {
            return Err(failed("This reader reads files of CSV, JSON and JSONL".into()));
        }
    };
    match items.iter().position(|item| is_deeper_than(item, NESTING_MAX)) {
        Some(index) => Err(failed(format!("Item {index} nests deeper than {NESTING_MAX} levels"))),
        None => Ok(items),
    }
}

fn failed(cause: String) -> ErrorDetails {
    ErrorDetails::new(ITEM_READER_FAILED, Some(cause))
}

fn array(format: &ReaderFormat, file: &[u8], most: usize) -> Result<Vec<Value>, ErrorDetails> {
    let wrong = |error: serde_json::Error| failed(format!("Unable to parse JSON: {error}"));
    if format.pointer.is_none() && file.trim_ascii_start().starts_with(b"[") {
        // What stands behind the last item is not read, as with rows and lines.
        let mut first = First { items: Vec::new(), most };
        let mut reader = serde_json::Deserializer::from_slice(file);
        let read = reader.deserialize_seq(&mut first).and_then(|()| reader.end());
        return if first.items.len() < most { read.map(|()| first.items).map_err(wrong) } else { Ok(first.items) };
    }
    let value: Value = serde_json::from_slice(file).map_err(wrong)?;
    let found = match &format.pointer {
        None => Some(value),
        Some(pointer) => value.pointer(pointer).cloned(),
    };
    match found {
        Some(Value::Array(mut items)) => {
            items.truncate(most);
            Ok(items)
        }
        _ => Err(failed("Attempting to map over non-iterable node.".into())),
    }
}

/// The first items of a list.
struct First {
    items: Vec<Value>,
    most: usize,
}

impl<'de> Visitor<'de> for &mut First {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while self.items.len() < self.most {
            let Some(item) = list.next_element()? else { break };
            self.items.push(item);
        }
        Ok(())
    }
}

fn lines(file: &[u8], most: usize) -> Result<Vec<Value>, ErrorDetails> {
    let lines = file.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.trim_ascii().is_empty());
    lines
        .take(most)
        .map(|(number, line)| {
            serde_json::from_slice(line)
                .map_err(|error| failed(format!("Unable to parse line {}: {error}", number + 1)))
        })
        .collect()
}

/// Each row is an object by the columns' names; what stands behind the last name is left out.
fn rows(format: &ReaderFormat, file: &[u8], most: usize) -> Result<Vec<Value>, ErrorDetails> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(format.delimiter.byte())
        .from_reader(file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file));
    let mut records = reader.records().map(|row| row.map_err(|error| failed(format!("Unable to parse CSV: {error}"))));
    let headers: Vec<String> = match &format.headers {
        Some(given) => given.clone(),
        None => match records.next() {
            Some(row) => row?.iter().map(ToOwned::to_owned).collect(),
            None => return Ok(Vec::new()),
        },
    };
    let row = |row: csv::StringRecord| {
        let columns = headers.iter().enumerate();
        let fields = columns.map(|(index, name)| (name.clone(), row.get(index).unwrap_or_default().into()));
        Value::Object(fields.collect::<Map<_, _>>())
    };
    records.take(most).map(|record| record.map(row)).collect()
}

impl Delimiter {
    fn byte(self) -> u8 {
        match self {
            Self::Comma => b',',
            Self::Pipe => b'|',
            Self::Semicolon => b';',
            Self::Space => b' ',
            Self::Tab => b'\t',
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn csv(headers: Option<&[&str]>) -> ReaderFormat {
        let headers = headers.map(|names| names.iter().map(ToString::to_string).collect());
        ReaderFormat { input_type: Some(InputType::Csv), headers, ..ReaderFormat::default() }
    }

    #[test]
    fn rows_are_objects_by_the_first_row() {
        let found = items(&csv(None), b"a,b\n1,\"x,y\"\n2\n", None).unwrap();
        assert_eq!(found, [json!({"a": "1", "b": "x,y"}), json!({"a": "2", "b": ""})]);
    }

    #[test]
    fn columns_behind_the_last_name_are_left_out() {
        assert_eq!(items(&csv(Some(&["H1"])), b"1,2,3\n", None).unwrap(), [json!({"H1": "1"})]);
    }

    #[test]
    fn a_document_without_a_list_is_refused_in_awss_words() {
        let format = ReaderFormat { input_type: Some(InputType::Json), ..ReaderFormat::default() };
        let error = items(&format, br#"{"a": [1]}"#, None).unwrap_err();
        assert_eq!(error.cause.as_deref(), Some("Attempting to map over non-iterable node."));
        let inside = ReaderFormat { pointer: Some("/a".into()), ..format };
        assert_eq!(items(&inside, br#"{"a": [1, 2]}"#, Some(1)).unwrap(), [json!(1)]);
    }

    /// A file of 49 MiB of which ten items were wanted was read to its end: 3.5 s.
    #[test]
    fn the_most_items_end_the_reading_of_a_list() {
        let format = ReaderFormat { input_type: Some(InputType::Json), ..ReaderFormat::default() };
        assert_eq!(items(&format, b" [1, 2, {not json", Some(2)).unwrap(), [json!(1), json!(2)]);
        for (file, most) in [(&b"[1, 2, {not json"[..], 3), (b"[1, 2] 3", 3), (b"[1, 2", 3), (b"[1,]", 2)] {
            let cause = items(&format, file, Some(most)).unwrap_err().cause.unwrap();
            assert!(cause.starts_with("Unable to parse JSON: "), "{cause}");
        }
        assert_eq!(items(&format, b"[1, 2]\n", None).unwrap(), [json!(1), json!(2)]);
        assert_eq!(items(&format, b"[]", Some(2)).unwrap(), Vec::<Value>::new());
    }

    #[test]
    fn a_file_has_a_bound() {
        let mut file = b"[1,".to_vec();
        file.resize(FILE_MAX, b' ');
        assert_eq!(items(&ReaderFormat::default(), &file, Some(1)).unwrap(), [json!(1)]);
        file.push(b' ');
        let cause = items(&ReaderFormat::default(), &file, Some(1)).unwrap_err().cause;
        assert_eq!(cause.as_deref(), Some("The file has 67108865 bytes; at most 67108864 are read"));
    }

    #[test]
    fn no_format_brings_more_than_the_most_items() {
        let format = |input_type| ReaderFormat { input_type: Some(input_type), ..ReaderFormat::default() };
        let pointer = ReaderFormat { pointer: Some("/a".into()), ..ReaderFormat::default() };
        for (format, file) in [
            (ReaderFormat::default(), &b"[1,2,3]"[..]),
            (pointer, br#"{"a":[1,2,3]}"#),
            (format(InputType::Jsonl), b"1\n2\n3\n"),
            (csv(None), b"a\n1\n2\n3\n"),
        ] {
            for (most, count) in [(None, 3), (Some(4), 3), (Some(3), 3), (Some(2), 2), (Some(0), 0)] {
                assert_eq!(items(&format, file, most).unwrap().len(), count, "{format:?} {most:?}");
            }
        }
    }

    #[test]
    fn lines_are_documents() {
        let format = ReaderFormat { input_type: Some(InputType::Jsonl), ..ReaderFormat::default() };
        assert_eq!(items(&format, b"1\n\n{\"a\":2}\n", None).unwrap(), [json!(1), json!({"a": 2})]);
        assert!(items(&format, b"1\n{\n", None).unwrap_err().cause.unwrap().contains("line 2"));
    }
}
