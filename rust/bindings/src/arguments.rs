//! Arguments of the engine's calls, out of Python's objects.

use forebay_engine::base::error::EngineError;
use forebay_engine::payload::message::{Attribute, NewMessage};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

use crate::errors::exception;

/// Messages out of `(body, group, deduplication id, delay in ms, attributes)`, each attribute `(name, type, value)`.
pub(crate) fn new_messages(given: &Bound<'_, PyList>) -> PyResult<Vec<NewMessage>> {
    given.iter().map(|one| new_message(&one)).collect()
}

type Texts = (Option<String>, Option<String>, Option<u64>, Vec<(String, String, String)>);

fn new_message(given: &Bound<'_, PyAny>) -> PyResult<NewMessage> {
    let body = text_of(&given.get_item(0)?, "body")?.to_owned();
    let texts: PyResult<Texts> = (|| {
        Ok((
            given.get_item(1)?.extract()?,
            given.get_item(2)?.extract()?,
            given.get_item(3)?.extract()?,
            given.get_item(4)?.extract()?,
        ))
    })();
    let (group_id, deduplication_id, delay_ms, attributes) =
        texts.map_err(|_| refused(given, "a message", "not made of text without lone surrogates"))?;
    let attributes =
        attributes.into_iter().map(|(name, data_type, value)| Attribute { name, data_type, value }).collect();
    Ok(NewMessage { body, group_id, deduplication_id, delay_ms, attributes })
}

/// Data as bytes: `bytes` as they are, `str` as UTF-8.
pub(crate) fn bytes_of<'a>(data: &'a Bound<'_, PyAny>) -> PyResult<&'a [u8]> {
    if let Ok(bytes) = data.cast::<PyBytes>() {
        return Ok(bytes.as_bytes());
    }
    match data.cast::<PyString>() {
        Ok(text) => text.to_str().map(str::as_bytes).map_err(|_| refused(data, "data", "text with a lone surrogate")),
        Err(_) => {
            let kind = data.get_type().name().map_or_else(|_| "?".to_owned(), |name| name.to_string());
            Err(refused(data, "data", &format!("{kind}: allowed are bytes and str")))
        }
    }
}

pub(crate) fn text_of<'a>(text: &'a Bound<'_, PyAny>, what: &str) -> PyResult<&'a str> {
    let Ok(string) = text.cast::<PyString>() else {
        let kind = text.get_type().name().map_or_else(|_| "?".to_owned(), |name| name.to_string());
        return Err(refused(text, what, &format!("{kind}: it must be a str")));
    };
    string.to_str().map_err(|_| refused(text, what, "text with a lone surrogate"))
}

fn refused(value: &Bound<'_, PyAny>, what: &str, why: &str) -> PyErr {
    exception(value.py(), &EngineError::Invalid(format!("{what} is {why}")))
}

/// `(data, partition key)` pairs, borrowed from their objects.
pub(crate) struct Pairs<'py>(Vec<(Bound<'py, PyAny>, Bound<'py, PyAny>)>);

impl<'py> Pairs<'py> {
    pub(crate) fn of(records: &Bound<'py, PyAny>) -> PyResult<Self> {
        let mut pairs = Vec::with_capacity(records.len().unwrap_or(0));
        for item in records.try_iter()? {
            let item = item?;
            let Ok(pair) = item.cast::<PyTuple>() else {
                return Err(refused(&item, "a record", "no (data, partition_key) tuple"));
            };
            if pair.len() != 2 {
                return Err(refused(&item, "a record", "no (data, partition_key) tuple"));
            }
            pairs.push((pair.get_item(0)?, pair.get_item(1)?));
        }
        Ok(Self(pairs))
    }

    pub(crate) fn slices(&self) -> PyResult<Vec<(&str, &[u8])>> {
        self.0.iter().map(|(data, key)| Ok((text_of(key, "partition_key")?, bytes_of(data)?))).collect()
    }
}
