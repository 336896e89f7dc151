//! API keys: what names a client in usage plans.

use serde_json::{json, Value};

use crate::gateway::rest::control::fault::{Fault, Outcome};
use crate::gateway::rest::control::params::{Params, Patch};
use crate::gateway::rest::control::{page, seconds, without, Control, Row};
use crate::gateway::rest::model::{shown, ApiKey};

/// Most keys of an account.
const KEYS_MAX: usize = 10_000;
const NAME_MAX: usize = 1_024;
const VALUE_MIN: usize = 20;
const VALUE_MAX: usize = 128;
const PATHS: &[&str] = &["/name", "/description", "/enabled", "/customerId", "/stages"];

pub(super) fn no_key() -> Fault {
    Fault::missing("Invalid API Key identifier specified")
}

fn shown_key(key: &ApiKey, with_value: bool) -> Value {
    let shape = seconds(shown(key));
    if with_value {
        shape
    } else {
        without(shape, &["value"])
    }
}

fn check_name(name: Option<&String>) -> Outcome<()> {
    match name {
        Some(name) if name.chars().count() > NAME_MAX => {
            Err(Fault::bad(format!("Invalid API Key name, can be at most {NAME_MAX} characters.")))
        }
        _ => Ok(()),
    }
}

/// Read rows of CSV: values may stand in quotes, in which two quotes are one.
fn rows_of(text: &str) -> Outcome<Vec<Vec<String>>> {
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).trim(csv::Trim::All).from_reader(text.as_bytes());
    let wrong = |error| Fault::bad(format!("Failed to parse the API keys: {error}"));
    reader.records().map(|row| Ok(row.map_err(wrong)?.iter().map(str::to_owned).collect())).collect()
}

fn new_key(control: &mut Control<'_>, value: Option<String>) -> Outcome<ApiKey> {
    if let Some(value) = &value {
        if value.chars().count() < VALUE_MIN {
            return Err(Fault::bad(format!("API Key value should be at least {VALUE_MIN} characters")));
        }
        if value.chars().count() > VALUE_MAX {
            return Err(Fault::bad(format!("API Key value exceeds maximum size of {VALUE_MAX} characters")));
        }
        if control.account.keys.values().any(|known| known.value == *value) {
            return Err(Fault::conflict("API Key already exists"));
        }
    }
    if control.account.keys.len() >= KEYS_MAX {
        return Err(Fault::limit(format!("Maximum number of API keys for this account reached: {KEYS_MAX}")));
    }
    // Lists begin with the latest.
    let latest = control.account.keys.values().map(|key| key.created_date).max().unwrap_or_default();
    let created = control.facts.now_ms.max(latest + 1);
    Ok(ApiKey {
        id: control.id(10),
        value: value.unwrap_or_else(|| control.secret()),
        created_date: created,
        last_updated_date: created,
        ..ApiKey::default()
    })
}

fn keep_key(control: &mut Control<'_>, key: ApiKey) {
    control.changed.insert(Row::Key(key.id.clone()));
    control.account.keys.insert(key.id.clone(), key);
}

fn key<'a>(control: &'a Control<'_>, params: Params) -> Outcome<&'a ApiKey> {
    control.account.keys.get(params.named("apiKey")?).ok_or_else(no_key)
}

pub(super) fn create_api_key(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let name = params.filled("name")?;
    check_name(name.as_ref())?;
    let stage_keys = match params.0.get("stageKeys").and_then(Value::as_array) {
        Some(list) => list
            .iter()
            .map(|one| {
                let part = |name: &str| one.get(name).and_then(Value::as_str).unwrap_or_default();
                format!("{}/{}", part("restApiId"), part("stageName"))
            })
            .collect(),
        None => Vec::new(),
    };
    let key = ApiKey {
        name,
        customer_id: params.filled("customerId")?,
        description: params.filled("description")?,
        enabled: params.flag("enabled")?.unwrap_or(false),
        stage_keys,
        tags: params.texts("tags")?,
        ..new_key(control, params.filled("value")?)?
    };
    let answer = shown_key(&key, true);
    keep_key(control, key);
    Ok(answer)
}

pub(super) fn get_api_key(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let key = key(control, params)?;
    let mut shape = shown_key(key, params.flag("includeValue")?.unwrap_or(false));
    shape["tags"] = json!(key.tags);
    Ok(shape)
}

pub(super) fn get_api_keys(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let with_values = params.flag("includeValues")?.unwrap_or(false);
    let (name, customer) = (params.filled("nameQuery")?, params.filled("customerId")?);
    let fits = |key: &&ApiKey| {
        name.as_ref().is_none_or(|wanted| key.name.iter().any(|name| name.starts_with(wanted.as_str())))
            && (customer.is_none() || key.customer_id == customer)
    };
    let mut list: Vec<&ApiKey> = control.account.keys.values().filter(fits).collect();
    list.sort_by_key(|key| std::cmp::Reverse(key.created_date));
    page(params, list.into_iter().map(|key| (key.id.as_str(), key)), |key| shown_key(key, with_values))
}

pub(super) fn update_api_key(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let mut key = key(control, params)?.clone();
    for patch in params.patches()? {
        change(&mut key, &patch)?;
    }
    check_name(key.name.as_ref())?;
    key.last_updated_date = control.facts.now_ms.max(key.created_date);
    let mut answer = shown_key(&key, false);
    answer["tags"] = json!(key.tags);
    keep_key(control, key);
    Ok(answer)
}

pub(super) fn delete_api_key(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let id = key(control, params)?.id.clone();
    control.account.keys.remove(&id);
    let plans: Vec<String> =
        control.account.plans.values().filter(|plan| plan.keys.contains(&id)).map(|plan| plan.id.clone()).collect();
    for plan in plans {
        if let Some(plan) = control.account.plans.get_mut(&plan) {
            plan.keys.remove(&id);
        }
        control.changed.insert(Row::Plan(plan));
    }
    control.changed.insert(Row::Key(id));
    Ok(json!({}))
}

/// Read keys from CSV: a row of names (`name`, `key`, `description`, `enabled`, `usageplanIds`), then a row for each key.
pub(super) fn import_api_keys(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let text = params.named("body")?;
    let fail = params.flag("failOnWarnings")?.unwrap_or(false);
    let mut rows = rows_of(text)?.into_iter();
    let names: Vec<String> = rows.next().unwrap_or_default().iter().map(|name| name.to_ascii_lowercase()).collect();
    let place = |name: &str| names.iter().position(|known| known == name);
    let (Some(name_at), Some(key_at)) = (place("name"), place("key")) else {
        return Err(Fault::bad("The first row of the API key file must name the columns, 'name' and 'key' among them"));
    };
    let (before, changed) = (control.account.clone(), control.changed.clone());
    let (mut ids, mut warnings) = (Vec::new(), Vec::new());
    for (number, row) in rows.enumerate() {
        let cell = |at: Option<usize>| at.and_then(|at| row.get(at)).filter(|text| !text.is_empty());
        let made = new_key(control, Some(cell(Some(key_at)).cloned().unwrap_or_default())).map(|key| ApiKey {
            name: cell(Some(name_at)).cloned(),
            description: cell(place("description")).cloned(),
            enabled: cell(place("enabled")).is_none_or(|text| text.eq_ignore_ascii_case("true")),
            ..key
        });
        match made {
            Ok(key) => {
                ids.push(key.id.clone());
                for plan in cell(place("usageplanids")).map(String::as_str).unwrap_or_default().split(',') {
                    match control.account.plans.get_mut(plan.trim()) {
                        Some(of) => {
                            of.keys.insert(key.id.clone());
                            control.changed.insert(Row::Plan(of.id.clone()));
                        }
                        None if plan.trim().is_empty() => {}
                        None => {
                            warnings.push(format!("row {}: there is no usage plan {}", number + 2, plan.trim()));
                        }
                    }
                }
                keep_key(control, key);
            }
            Err(fault) => warnings.push(format!("row {}: {}", number + 2, fault.message)),
        }
    }
    if fail && !warnings.is_empty() {
        (*control.account, control.changed) = (before, changed);
        return Err(Fault::bad(format!("Warnings found during import: {}", warnings.join("; "))));
    }
    Ok(json!({"ids": ids, "warnings": warnings}))
}

fn change(key: &mut ApiKey, patch: &Patch) -> Outcome<()> {
    if patch.path.as_deref() == Some("/stages") && ["add", "remove"].contains(&patch.op.as_str()) {
        key.stage_keys.retain(|known| known != patch.text());
        if patch.op == "add" {
            key.stage_keys.push(patch.text().to_owned());
        }
        return Ok(());
    }
    if patch.op != "replace" {
        return Err(patch.unsupported(PATHS));
    }
    match patch.path.as_deref().unwrap_or_default() {
        "/name" => key.name = patch.filled(),
        "/description" => key.description = patch.filled(),
        "/customerId" => key.customer_id = patch.filled(),
        "/enabled" => key.enabled = patch.truth(),
        _ => return Err(patch.unsupported(PATHS)),
    }
    Ok(())
}
