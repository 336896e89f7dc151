//! RDS: the database proxies of the app. They are declared in its code: what can change while they run changes, the rest is refused.
//!
//! The app's own process has them. It answers through a function that it declares with the first proxy that is attached to it.

use std::sync::Arc;

use forebay_engine::base::error::{EngineError, Reply};
use serde_json::{json, Value as Json};

use crate::ask::answer;
use crate::aws::call::{unavailable, Call};
use crate::aws::fault::Fault;
use crate::aws::services::page::{page, Token};
use crate::aws::value::Value;

super::operations! {
    CreateDBProxy => create_db_proxy,
    CreateDBProxyEndpoint => create_db_proxy_endpoint,
    DeleteDBProxy => delete_db_proxy,
    DeleteDBProxyEndpoint => no_endpoint,
    DeregisterDBProxyTargets => change_targets,
    DescribeDBProxies => describe_db_proxies,
    DescribeDBProxyEndpoints => describe_db_proxy_endpoints,
    DescribeDBProxyTargetGroups => describe_db_proxy_target_groups,
    DescribeDBProxyTargets => describe_db_proxy_targets,
    ListTagsForResource => list_tags_for_resource,
    ModifyDBProxy => modify_db_proxy,
    ModifyDBProxyEndpoint => no_endpoint,
    ModifyDBProxyTargetGroup => modify_db_proxy_target_group,
    RegisterDBProxyTargets => change_targets,
}

/// Those that no client carries out, whatever it asks: the app's code does.
#[cfg(test)]
pub(super) const REFUSED: &[&str] = &[
    "CreateDBProxy",
    "CreateDBProxyEndpoint",
    "DeleteDBProxy",
    "DeleteDBProxyEndpoint",
    "DeregisterDBProxyTargets",
    "ModifyDBProxyEndpoint",
    "RegisterDBProxyTargets",
];
/// The function that answers, as Python declares it.
const FUNCTION: &str = "forebay-dbproxies";
/// The one target group of a proxy.
const GROUP: &str = "default";
/// Items of a page for which nothing is said, and the most of them.
const PAGE: i64 = 100;

fn unknown(name: &str) -> Fault {
    Fault::new("DBProxyNotFoundFault", format!("DBProxy {name} not found.")).status(404)
}

/// What only the app's code can do.
fn in_code(text: &str) -> Fault {
    let text = format!("{text}: the app's code declares it, with forebay.DBProxy");
    Fault::new("InvalidDBProxyStateFault", text)
}

/// Ask the app for its proxies, after a change if there is one.
async fn proxies(call: &Call<'_>, change: &Json) -> Result<Vec<Json>, Fault> {
    let asked: Arc<[u8]> = json!({ "change": change }).to_string().into_bytes().into();
    let told = answer(|waiter| {
        call.engine.invoke(FUNCTION, asked, None, waiter);
    });
    let told = match told.await {
        Ok(Reply::Json(json) | Reply::Executed { json, .. }) => serde_json::from_slice(&json).unwrap_or_default(),
        // No proxy is attached, so that nothing answers for one.
        Err(EngineError::NotFound(_)) => json!({ "unknown": change["name"], "proxies": [] }),
        Err(error) => return Err(unavailable(&error)),
        Ok(_) => Json::Null,
    };
    if let Some(text) = told["refused"].as_str() {
        return Err(Fault::new("InvalidParameterValue", text));
    }
    if let Some(name) = told["unknown"].as_str() {
        return Err(unknown(name));
    }
    Ok(told["proxies"].as_array().cloned().unwrap_or_default())
}

/// The proxy that the input names.
async fn proxy(call: &Call<'_>) -> Result<Json, Fault> {
    let name = call.input.needed("DBProxyName");
    let found = proxies(call, &Json::Null).await?.into_iter().find(|one| one["name"] == name);
    found.ok_or_else(|| unknown(name))
}

/// The proxy that the input names, and its group if it is the one that there is.
async fn group(call: &Call<'_>) -> Result<Json, Fault> {
    let proxy = proxy(call).await?;
    match call.input.text("TargetGroupName") {
        None | Some(GROUP) => Ok(proxy),
        Some(other) => {
            let text = format!("DBProxy {} has no target group {other}: it has {GROUP}.", text(&proxy, "name"));
            Err(Fault::new("DBProxyTargetGroupNotFoundFault", text).status(404))
        }
    }
}

fn text<'j>(json: &'j Json, name: &str) -> &'j str {
    json[name].as_str().unwrap_or_default()
}

fn arn(call: &Call<'_>, kind: &str, name: &str) -> String {
    format!("arn:aws:rds:{}:{}:{kind}:{name}", call.region, call.account)
}

fn moment(proxy: &Json, name: &str) -> Option<Value> {
    proxy[name].as_i64().map(Value::Time)
}

/// A page of what is listed.
fn paged(call: &Call<'_>, mut items: Vec<Json>, name: &str) -> Result<(Vec<Json>, Option<String>), Fault> {
    items.sort_by_key(|one| text(one, name).to_owned());
    let from = Token::read(call.input.text("Marker")).ok_or_else(|| {
        Fault::new("InvalidParameterValue", "Marker: it is none that an earlier answer of this operation gave")
    })?;
    let most = call.input.int("MaxRecords").unwrap_or(PAGE).clamp(1, PAGE) as usize;
    Ok(page(items, most, from, |one| text(one, name)))
}

fn described(call: &Call<'_>, proxy: &Json) -> Value {
    let name = text(proxy, "name");
    let users = proxy["users"].as_array().into_iter().flatten().filter_map(Json::as_str);
    let auth = users.map(|user| {
        Value::structure().with("UserName", user).with("AuthScheme", "SECRETS").with("IAMAuth", "DISABLED")
    });
    Value::structure()
        .with("DBProxyName", name)
        .with("DBProxyArn", arn(call, "db-proxy", name))
        .with("Status", "available")
        .with("EngineFamily", text(proxy, "engine_family"))
        .with("DefaultAuthScheme", "NONE")
        .with("Auth", Value::List(auth.collect()))
        .with("RequireTLS", proxy["require_tls"].as_bool())
        .with("IdleClientTimeout", proxy["idle_client_timeout"].as_i64())
        .with("DebugLogging", false)
        .with("CreatedDate", moment(proxy, "created_ms"))
        .with("UpdatedDate", moment(proxy, "updated_ms"))
}

fn described_group(call: &Call<'_>, proxy: &Json) -> Value {
    let (name, pool) = (text(proxy, "name"), &proxy["pool"]);
    let filters = pool["SessionPinningFilters"].as_array().into_iter().flatten().filter_map(Json::as_str);
    let config = Value::structure()
        .with("MaxConnectionsPercent", pool["MaxConnectionsPercent"].as_i64())
        .with("MaxIdleConnectionsPercent", pool["MaxIdleConnectionsPercent"].as_i64())
        .with("ConnectionBorrowTimeout", pool["ConnectionBorrowTimeout"].as_i64())
        .with("SessionPinningFilters", Value::List(filters.map(Value::from).collect()))
        .with("InitQuery", pool["InitQuery"].as_str());
    Value::structure()
        .with("DBProxyName", name)
        .with("TargetGroupName", GROUP)
        .with("TargetGroupArn", arn(call, "target-group", &format!("{name}:{GROUP}")))
        .with("IsDefault", true)
        .with("Status", "available")
        .with("ConnectionPoolConfig", config)
        .with("CreatedDate", moment(proxy, "created_ms"))
        .with("UpdatedDate", moment(proxy, "updated_ms"))
}

fn described_target(target: &Json) -> Value {
    let state = text(target, "state");
    let health = Value::structure()
        .with("State", state)
        .with("Reason", (state == "UNAVAILABLE").then_some("CONNECTION_FAILED"))
        .with("Description", target["reason"].as_str());
    Value::structure()
        .with("Endpoint", text(target, "host"))
        .with("RdsResourceId", text(target, "host"))
        .with("Port", target["port"].as_i64())
        .with("Type", "RDS_INSTANCE")
        .with("Role", text(target, "role"))
        .with("TargetHealth", health)
}

async fn describe_db_proxies(call: &Call<'_>) -> Result<Value, Fault> {
    let found = match call.input.text("DBProxyName") {
        Some(_) => vec![proxy(call).await?],
        None => proxies(call, &Json::Null).await?,
    };
    let (found, next) = paged(call, found, "name")?;
    let list: Vec<Value> = found.iter().map(|one| described(call, one)).collect();
    Ok(Value::structure().with("DBProxies", list).with("Marker", next))
}

async fn describe_db_proxy_target_groups(call: &Call<'_>) -> Result<Value, Fault> {
    let group = described_group(call, &group(call).await?);
    Ok(Value::structure().with("TargetGroups", vec![group]))
}

async fn describe_db_proxy_targets(call: &Call<'_>) -> Result<Value, Fault> {
    let mut proxy = group(call).await?;
    let mut targets = std::mem::take(&mut proxy["targets"]).as_array().cloned().unwrap_or_default();
    for target in &mut targets {
        target["place"] = format!("{}:{}", text(target, "host"), target["port"]).into();
    }
    let (targets, next) = paged(call, targets, "place")?;
    let list: Vec<Value> = targets.iter().map(described_target).collect();
    Ok(Value::structure().with("Targets", list).with("Marker", next))
}

async fn describe_db_proxy_endpoints(call: &Call<'_>) -> Result<Value, Fault> {
    if call.input.text("DBProxyEndpointName").is_some() {
        return no_endpoint(call).await;
    }
    if call.input.text("DBProxyName").is_some() {
        proxy(call).await?;
    }
    Ok(Value::structure().with("DBProxyEndpoints", Vec::<Value>::new()))
}

async fn list_tags_for_resource(call: &Call<'_>) -> Result<Value, Fault> {
    let given = call.input.needed("ResourceName");
    let found = proxies(call, &Json::Null).await?;
    let names = |proxy: &Json| {
        let name = text(proxy, "name");
        given == arn(call, "db-proxy", name) || given == arn(call, "target-group", &format!("{name}:{GROUP}"))
    };
    if !found.iter().any(names) {
        return Err(unknown(given));
    }
    Ok(Value::structure().with("TagList", Vec::<Value>::new()))
}

/// A member that says something else than what is so already.
fn differs<T: PartialEq + Copy>(asked: Option<T>, now: Option<T>) -> bool {
    asked.is_some() && asked != now
}

async fn modify_db_proxy(call: &Call<'_>) -> Result<Value, Fault> {
    let (input, now) = (&call.input, proxy(call).await?);
    let name = text(&now, "name");
    let fixed = [
        ("NewDBProxyName", differs(input.text("NewDBProxyName"), Some(name))),
        ("DefaultAuthScheme", differs(input.text("DefaultAuthScheme"), Some("NONE"))),
        ("Auth", input.get("Auth").is_some()),
        ("RequireTLS", differs(input.flag("RequireTLS"), now["require_tls"].as_bool())),
        ("DebugLogging", differs(input.flag("DebugLogging"), Some(false))),
        ("RoleArn", input.get("RoleArn").is_some()),
        ("SecurityGroups", input.get("SecurityGroups").is_some()),
    ];
    refuse(&fixed)?;
    let changed = match input.int("IdleClientTimeout") {
        Some(seconds) => changed(call, name, &json!({ "idle_client_timeout": seconds })).await?,
        None => now.clone(),
    };
    Ok(Value::structure().with("DBProxy", described(call, &changed)))
}

async fn modify_db_proxy_target_group(call: &Call<'_>) -> Result<Value, Fault> {
    let now = group(call).await?;
    let (name, pool) = (text(&now, "name"), &now["pool"]);
    let nothing = Value::structure();
    let asked = call.input.get("ConnectionPoolConfig").unwrap_or(&nothing);
    let filters: Vec<&str> = asked.texts("SessionPinningFilters").collect();
    let fixed = [
        ("NewName", differs(call.input.text("NewName"), Some(GROUP))),
        ("MaxConnectionsPercent", differs(asked.int("MaxConnectionsPercent"), pool["MaxConnectionsPercent"].as_i64())),
        (
            "MaxIdleConnectionsPercent",
            differs(asked.int("MaxIdleConnectionsPercent"), pool["MaxIdleConnectionsPercent"].as_i64()),
        ),
        (
            "SessionPinningFilters",
            asked.get("SessionPinningFilters").is_some() && pool["SessionPinningFilters"] != json!(filters),
        ),
        ("InitQuery", differs(asked.text("InitQuery"), pool["InitQuery"].as_str())),
    ];
    refuse(&fixed)?;
    let changed = match asked.int("ConnectionBorrowTimeout") {
        Some(seconds) => changed(call, name, &json!({ "connection_borrow_timeout": seconds })).await?,
        None => now.clone(),
    };
    Ok(Value::structure().with("DBProxyTargetGroup", described_group(call, &changed)))
}

/// Refuse what differs from what is so and cannot change while the proxy runs.
fn refuse(members: &[(&str, bool)]) -> Result<(), Fault> {
    let named: Vec<&str> = members.iter().filter(|(_, differs)| *differs).map(|(name, _)| *name).collect();
    if named.is_empty() {
        return Ok(());
    }
    Err(in_code(&format!("{} cannot change while the proxy runs", named.join(", "))))
}

/// Change limits of a proxy; give what it is then.
async fn changed(call: &Call<'_>, name: &str, limits: &Json) -> Result<Json, Fault> {
    let found = proxies(call, &json!({ "name": name, "limits": limits })).await?;
    found.into_iter().find(|one| one["name"] == name).ok_or_else(|| unknown(name))
}

async fn create_db_proxy(call: &Call<'_>) -> Result<Value, Fault> {
    let name = call.input.needed("DBProxyName");
    if proxies(call, &Json::Null).await?.iter().any(|one| one["name"] == name) {
        return Err(Fault::new("DBProxyAlreadyExistsFault", format!("DBProxy {name} already exists.")));
    }
    Err(not_made("a proxy", "attach a forebay.DBProxy to the app"))
}

async fn create_db_proxy_endpoint(call: &Call<'_>) -> Result<Value, Fault> {
    proxy(call).await?;
    Err(not_made("an endpoint of a proxy", "functions use the proxy in their own process"))
}

fn not_made(what: &str, instead: &str) -> Fault {
    Fault::new("NotImplemented", format!("forebay makes {what} for no client: {instead}")).status(501)
}

async fn delete_db_proxy(call: &Call<'_>) -> Result<Value, Fault> {
    let name = proxy(call).await?["name"].as_str().unwrap_or_default().to_owned();
    Err(in_code(&format!("DBProxy {name} cannot be deleted while the app runs")))
}

async fn change_targets(call: &Call<'_>) -> Result<Value, Fault> {
    let proxy = group(call).await?;
    Err(in_code(&format!("the targets of DBProxy {} are fixed while the app runs", text(&proxy, "name"))))
}

#[allow(clippy::unused_async)] // each operation is one that is awaited
async fn no_endpoint(call: &Call<'_>) -> Result<Value, Fault> {
    let name = call.input.needed("DBProxyEndpointName");
    Err(Fault::new("DBProxyEndpointNotFoundFault", format!("DBProxyEndpoint {name} not found.")).status(404))
}
