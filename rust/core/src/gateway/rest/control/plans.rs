//! Usage plans: what clients with a key may do.

use std::collections::BTreeMap;

use serde_json::{json, Value};

use crate::gateway::rest::control::fault::{Fault, Outcome};
use crate::gateway::rest::control::keys::no_key;
use crate::gateway::rest::control::params::{Params, Patch};
use crate::gateway::rest::control::{page, without, Control, Row};
use crate::gateway::rest::model::{shown, ApiKey, ApiStage, Period, Quota, Throttle, UsagePlan};
use crate::gateway::rest::plans::{Client, DAYS_KEPT, DAY_MS};

/// Most usage plans of an account.
const PLANS_MAX: usize = 300;
const PATHS: &[&str] = &[
    "/name",
    "/description",
    "/productCode",
    "/apiStages",
    "/throttle/burstLimit",
    "/throttle/rateLimit",
    "/quota/limit",
    "/quota/offset",
    "/quota/period",
];

fn no_plan() -> Fault {
    Fault::missing("Invalid Usage Plan ID specified")
}

fn no_stage(api: &str, stage: &str) -> Fault {
    Fault::missing(format!("API Stage not found: {api}:{stage}"))
}

fn shown_plan(plan: &UsagePlan) -> Value {
    without(shown(plan), &["keys"])
}

fn throttle_of(params: Params) -> Outcome<Throttle> {
    let rate = params.0.get("rateLimit").and_then(Value::as_f64).unwrap_or_default();
    let burst = params.number("burstLimit")?.unwrap_or_default();
    match u32::try_from(burst) {
        Ok(burst_limit) if rate >= 0.0 => Ok(Throttle { burst_limit, rate_limit: rate }),
        _ => Err(Fault::bad("Usage Plan throttle rate and burst limits must not be negative")),
    }
}

fn period_of(text: &str) -> Outcome<Period> {
    Ok(match text {
        "DAY" => Period::Day,
        "WEEK" => Period::Week,
        "MONTH" => Period::Month,
        _ => return Err(Fault::bad("Usage Plan quota must specify a period of DAY, WEEK or MONTH")),
    })
}

fn check_quota(quota: Quota) -> Outcome<()> {
    let longest = match quota.period {
        Period::Day => 1,
        Period::Week => 7,
        Period::Month => 28,
    };
    if quota.limit == 0 {
        return Err(Fault::bad("Usage Plan quota limit must be greater than 0"));
    }
    if quota.offset >= longest {
        return Err(Fault::bad(format!("Usage Plan quota offset must be between 0 and {}", longest - 1)));
    }
    Ok(())
}

/// The day of a date, since 1970.
fn day_of(text: &str) -> Outcome<u64> {
    let wrong = || Fault::bad(format!("Invalid date: {text}. A date is written as YYYY-MM-DD"));
    let date: jiff::civil::Date = text.parse().map_err(|_| wrong())?;
    let start = jiff::tz::Offset::UTC.to_timestamp(date.at(0, 0, 0, 0)).map_err(|_| wrong())?;
    let ms = u64::try_from(start.as_millisecond()).map_err(|_| wrong())?;
    // Other forms of a date are read, too.
    (date.to_string() == text).then_some(ms / DAY_MS).ok_or_else(wrong)
}

/// The date of a moment.
fn date_of(ms: u64) -> String {
    let at = jiff::Timestamp::from_millisecond(ms as i64).unwrap_or_default();
    jiff::tz::Offset::UTC.to_datetime(at).date().to_string()
}

fn shown_plan_key(key: &ApiKey) -> Value {
    without(
        json!({"id": key.id, "type": "API_KEY", "value": key.value, "name": key.name}),
        if key.name.is_none() { &["name"] } else { &[] },
    )
}

fn plan<'a>(control: &'a Control<'_>, params: Params) -> Outcome<&'a UsagePlan> {
    control.account.plans.get(params.named("usagePlanId")?).ok_or_else(no_plan)
}

fn keep_plan(control: &mut Control<'_>, plan: UsagePlan) {
    control.changed.insert(Row::Plan(plan.id.clone()));
    control.account.plans.insert(plan.id.clone(), plan);
}

fn check_stage(control: &Control<'_>, api: &str, stage: &str) -> Outcome<()> {
    if control.account.stages.contains_key(&(api.to_owned(), stage.to_owned())) {
        return Ok(());
    }
    Err(no_stage(api, stage))
}

fn api_stages(control: &Control<'_>, params: Params) -> Outcome<Vec<ApiStage>> {
    let list = params.0.get("apiStages").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let read = |one: &Value| {
        let Some(members) = one.as_object() else { return Err(no_stage("null", "null")) };
        let of = Params(members);
        let (api, stage) = (of.named("apiId")?, of.named("stage")?);
        check_stage(control, api, stage)?;
        let mut throttle = BTreeMap::new();
        if let Some(limits) = of.inner("throttle")? {
            for method in limits.0.keys() {
                if let Some(limit) = limits.inner(method)? {
                    throttle.insert(method.clone(), throttle_of(limit)?);
                }
            }
        }
        Ok(ApiStage { api_id: api.to_owned(), stage: stage.to_owned(), throttle })
    };
    list.iter().map(read).collect()
}

pub(super) fn create_usage_plan(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    if params.named("name")?.is_empty() {
        return Err(Fault::bad("Usage Plan name cannot be blank"));
    }
    if control.account.plans.len() >= PLANS_MAX {
        return Err(Fault::limit(format!("Maximum number of usage plans for this account reached: {PLANS_MAX}")));
    }
    let throttle = params.inner("throttle")?.map(throttle_of).transpose()?;
    let quota = match params.inner("quota")? {
        Some(of) => {
            let whole = |name| Ok(u32::try_from(of.number(name)?.unwrap_or_default()).unwrap_or_default());
            let quota =
                Quota { limit: whole("limit")?, offset: whole("offset")?, period: period_of(of.named("period")?)? };
            check_quota(quota)?;
            Some(quota)
        }
        None => None,
    };
    let plan = UsagePlan {
        id: control.id(6),
        name: params.named("name")?.to_owned(),
        description: params.filled("description")?,
        api_stages: api_stages(control, params)?,
        throttle,
        quota,
        tags: params.texts("tags")?,
        ..UsagePlan::default()
    };
    let answer = shown_plan(&plan);
    keep_plan(control, plan);
    Ok(answer)
}

pub(super) fn get_usage_plan(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    Ok(shown_plan(plan(control, params)?))
}

pub(super) fn get_usage_plans(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let key = params.filled("keyId")?;
    let fits = |plan: &&UsagePlan| key.as_ref().is_none_or(|key| plan.keys.contains(key));
    let list = control.account.plans.values().filter(fits);
    page(params, list.map(|plan| (plan.id.as_str(), plan)), shown_plan)
}

pub(super) fn update_usage_plan(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let mut plan = plan(control, params)?.clone();
    for patch in params.patches()? {
        change_plan(control, &mut plan, &patch)?;
    }
    if let Some(quota) = plan.quota {
        check_quota(quota)?;
    }
    let answer = shown_plan(&plan);
    keep_plan(control, plan);
    Ok(answer)
}

pub(super) fn delete_usage_plan(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let plan = plan(control, params)?;
    if !plan.api_stages.is_empty() {
        return Err(Fault::bad(format!(
            "Cannot delete Usage Plan {} because it has associated API stages: remove them first",
            plan.id
        )));
    }
    let id = plan.id.clone();
    control.account.plans.remove(&id);
    control.changed.insert(Row::Plan(id));
    Ok(json!({}))
}

pub(super) fn get_usage(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let plan = plan(control, params)?;
    let (start, end) = (params.named("startDate")?, params.named("endDate")?);
    let (from, to) = (day_of(start)?, day_of(end)?);
    if from > to {
        return Err(Fault::bad("The start date must not be after the end date"));
    }
    if to - from > DAYS_KEPT {
        return Err(Fault::bad(format!("The interval has {} days: at most {DAYS_KEPT} are shown", to - from)));
    }
    let wanted = params.filled("keyId")?;
    let keys = plan.keys.iter().filter(|id| wanted.as_ref().is_none_or(|wanted| wanted == *id));
    let keys = keys.filter_map(|id| control.account.keys.get(id));
    let usage = |key: &ApiKey| json!([key.id, control.facts.usage.by_day(Client { key, plan }, from..=to)]);
    let mut answer = page(params, keys.map(|key| (key.id.as_str(), key)), usage)?;
    let items = answer["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
    let by_key = items.into_iter().filter_map(|mut one| Some((one[0].as_str()?.to_owned(), one[1].take())));
    answer["items"] = Value::Object(by_key.collect());
    for (name, value) in [("usagePlanId", plan.id.as_str()), ("startDate", start), ("endDate", end)] {
        answer[name] = json!(value);
    }
    Ok(answer)
}

pub(super) fn update_usage(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let plan = plan(control, params)?;
    let id = params.named("keyId")?;
    let key = control.account.keys.get(id).filter(|key| plan.keys.contains(&key.id)).ok_or_else(no_key)?;
    let client = Client { key, plan };
    let (mut usage, mut changed, now_ms) = (control.facts.usage.clone(), None, control.facts.now_ms);
    for patch in params.patches()? {
        if (patch.op.as_str(), patch.path.as_deref()) != ("replace", Some("/remaining")) {
            return Err(patch.unsupported(&["/remaining"]));
        }
        let wrong = || Fault::bad(format!("Invalid value '{}' for /remaining", patch.text()));
        let left = patch.text().parse().map_err(|_| wrong())?;
        let no_quota = || Fault::bad(format!("Usage Plan {} has no quota", plan.id));
        let grant = usage.grant(client, left, now_ms).ok_or_else(no_quota)?;
        usage.allow(&grant);
        changed = Some(grant);
    }
    let (today, date) = (now_ms / DAY_MS, date_of(now_ms));
    let answer = json!({
        "usagePlanId": plan.id,
        "startDate": date,
        "endDate": date,
        "items": {id: usage.by_day(client, today..=today)},
    });
    control.changed.extend(changed.map(Row::Usage));
    Ok(answer)
}

pub(super) fn create_usage_plan_key(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let mut plan = plan(control, params)?.clone();
    let key = control.account.keys.get(params.named("keyId")?).ok_or_else(no_key)?.clone();
    if params.named("keyType")? != "API_KEY" {
        return Err(Fault::bad("Usage plan key type must be API_KEY"));
    }
    if !plan.keys.insert(key.id.clone()) {
        return Err(Fault::conflict(format!("Usage plan {} already has the API key {}", plan.id, key.id)));
    }
    check_key(control, &plan, &key.id)?;
    keep_plan(control, plan);
    Ok(shown_plan_key(&key))
}

pub(super) fn get_usage_plan_key(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let plan = plan(control, params)?;
    let id = params.named("keyId")?;
    let key = control.account.keys.get(id).filter(|_| plan.keys.contains(id));
    key.map(shown_plan_key).ok_or_else(no_key)
}

pub(super) fn get_usage_plan_keys(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let name = params.filled("nameQuery")?;
    let fits = |key: &&ApiKey| {
        name.as_ref().is_none_or(|wanted| key.name.iter().any(|name| name.starts_with(wanted.as_str())))
    };
    let keys = plan(control, params)?.keys.iter().filter_map(|id| control.account.keys.get(id)).filter(fits);
    page(params, keys.map(|key| (key.id.as_str(), key)), shown_plan_key)
}

pub(super) fn delete_usage_plan_key(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let mut plan = plan(control, params)?.clone();
    if !plan.keys.remove(params.named("keyId")?) {
        return Err(no_key());
    }
    keep_plan(control, plan);
    Ok(json!({}))
}

/// A key may be in several plans, but only in one of them for a stage.
fn check_key(control: &Control<'_>, plan: &UsagePlan, key: &str) -> Outcome<()> {
    let same_stage = |other: &&UsagePlan| {
        let shares =
            |stage: &ApiStage| plan.api_stages.iter().any(|own| own.api_id == stage.api_id && own.stage == stage.stage);
        other.id != plan.id && other.keys.contains(key) && other.api_stages.iter().any(shares)
    };
    control.account.plans.values().find(same_stage).map_or(Ok(()), |other| {
        Err(Fault::conflict(format!(
            "API key {key} is already in usage plan {}, which has a stage of usage plan {}",
            other.id, plan.id
        )))
    })
}

fn change_plan(control: &Control<'_>, plan: &mut UsagePlan, patch: &Patch) -> Outcome<()> {
    let path = patch.path.as_deref().unwrap_or_default();
    if path == "/apiStages" {
        let (api, stage) = patch.text().split_once(':').unwrap_or((patch.text(), ""));
        let known = plan.api_stages.iter().position(|one| one.api_id == api && one.stage == stage);
        match (patch.op.as_str(), known) {
            ("add", None) => {
                check_stage(control, api, stage)?;
                plan.api_stages.push(ApiStage { api_id: api.into(), stage: stage.into(), throttle: BTreeMap::new() });
                plan.keys.iter().try_for_each(|key| check_key(control, plan, key))?;
            }
            ("add", Some(_)) => {
                return Err(Fault::conflict(format!("API Stage {api}:{stage} is already part of the Usage Plan")));
            }
            ("remove", Some(place)) => {
                plan.api_stages.remove(place);
            }
            ("remove", None) => return Err(no_stage(api, stage)),
            _ => return Err(patch.unsupported(PATHS)),
        }
        return Ok(());
    }
    if let Some(rest) = path.strip_prefix("/apiStages/") {
        return change_method(plan, patch, rest);
    }
    if patch.op == "remove" {
        match path {
            "/throttle" => plan.throttle = None,
            "/quota" => plan.quota = None,
            "/description" => plan.description = None,
            "/productCode" => plan.product_code = None,
            _ => return Err(patch.unsupported(PATHS)),
        }
        return Ok(());
    }
    let whole = || patch.text().parse().map_err(|_| Fault::bad(format!("Invalid value '{}' for {path}", patch.text())));
    match path {
        "/name" if patch.text().is_empty() => return Err(Fault::bad("Usage Plan name cannot be blank")),
        "/name" => patch.text().clone_into(&mut plan.name),
        "/description" => plan.description = patch.filled(),
        "/productCode" => plan.product_code = patch.filled(),
        "/throttle/burstLimit" => plan.throttle.get_or_insert_default().burst_limit = whole()?,
        "/throttle/rateLimit" => plan.throttle.get_or_insert_default().rate_limit = rate(patch)?,
        "/quota/limit" => plan.quota.get_or_insert_default().limit = whole()?,
        "/quota/offset" => plan.quota.get_or_insert_default().offset = whole()?,
        "/quota/period" => plan.quota.get_or_insert_default().period = period_of(patch.text())?,
        _ => return Err(patch.unsupported(PATHS)),
    }
    Ok(())
}

fn rate(patch: &Patch) -> Outcome<f64> {
    let rate = patch.text().parse().ok().filter(|rate: &f64| rate.is_finite() && *rate >= 0.0);
    rate.ok_or_else(|| Fault::bad(format!("Invalid value '{}' for {}", patch.text(), patch.at())))
}

/// Change the limit of a method: `{api}:{stage}/throttle/~1pets~1GET/rateLimit`, the last two parts left out where it goes.
fn change_method(plan: &mut UsagePlan, patch: &Patch, rest: &str) -> Outcome<()> {
    let mut parts = rest.split('/');
    let (api, stage) = parts.next().and_then(|of| of.split_once(':')).ok_or_else(|| patch.unsupported(PATHS))?;
    let place = plan.api_stages.iter_mut().find(|one| one.api_id == api && one.stage == stage);
    let of = place.ok_or_else(|| no_stage(api, stage))?;
    if parts.next() != Some("throttle") {
        return Err(patch.unsupported(PATHS));
    }
    let method = parts.next().map(|text| text.replace("~1", "/").replace("~0", "~"));
    match (patch.op.as_str(), method, parts.next()) {
        ("remove", None, _) => of.throttle.clear(),
        ("remove", Some(method), None) => {
            of.throttle.remove(&method);
        }
        ("add" | "replace", Some(method), Some("burstLimit")) => {
            let limit = patch
                .text()
                .parse()
                .map_err(|_| Fault::bad(format!("Invalid value '{}' for burstLimit", patch.text())))?;
            of.throttle.entry(method).or_default().burst_limit = limit;
        }
        ("add" | "replace", Some(method), Some("rateLimit")) => {
            of.throttle.entry(method).or_default().rate_limit = rate(patch)?;
        }
        _ => return Err(patch.unsupported(PATHS)),
    }
    Ok(())
}
