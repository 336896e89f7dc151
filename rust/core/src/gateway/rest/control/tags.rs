//! Tags of APIs, stages, keys, plans and certificates, by their ARNs.

use std::sync::Arc;

use serde_json::{json, Value};

use crate::gateway::rest::control::fault::{Fault, Outcome};
use crate::gateway::rest::control::params::Params;
use crate::gateway::rest::control::{Control, Row};
use crate::gateway::rest::model::Texts;

/// Most tags of one thing.
const TAGS_MAX: usize = 50;

/// The tags of what an ARN names (`arn:aws:apigateway:{region}::/restapis/{id}/stages/{name}`), and its row.
fn tags<'a>(control: &'a mut Control<'_>, params: Params) -> Outcome<(&'a mut Texts, Row)> {
    let arn = params.named("resourceArn")?;
    let path = arn.splitn(6, ':').nth(5).unwrap_or_default();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (account, wrong) = (&mut *control.account, || Fault::missing(format!("Invalid resource ARN specified: {arn}")));
    let found = match parts.as_slice() {
        ["restapis", id] => account.apis.get_mut(*id).map(|one| (&mut Arc::make_mut(one).tags, Row::Api((*id).into()))),
        ["restapis", id, "stages", name] => {
            let key = ((*id).to_owned(), (*name).to_owned());
            account.stages.get_mut(&key).map(|one| (&mut one.tags, Row::Stage(key.0, key.1)))
        }
        ["apikeys", id] => account.keys.get_mut(*id).map(|one| (&mut one.tags, Row::Key((*id).into()))),
        ["usageplans", id] => account.plans.get_mut(*id).map(|one| (&mut one.tags, Row::Plan((*id).into()))),
        ["clientcertificates", id] => {
            account.certificates.get_mut(*id).map(|one| (&mut one.tags, Row::Certificate((*id).into())))
        }
        _ => return Err(Fault::bad(format!("Invalid resource ARN specified: {arn}"))),
    };
    found.ok_or_else(wrong)
}

pub(super) fn get_tags(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    Ok(json!({"tags": tags(control, params)?.0}))
}

pub(super) fn tag_resource(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let wanted = params.texts("tags")?;
    let (tags, row) = tags(control, params)?;
    let new = wanted.keys().filter(|key| !tags.contains_key(*key)).count();
    if tags.len() + new > TAGS_MAX {
        return Err(Fault::limit(format!("Maximum number of tags reached: {TAGS_MAX}")));
    }
    tags.extend(wanted);
    control.changed.insert(row);
    Ok(json!({}))
}

pub(super) fn untag_resource(control: &mut Control<'_>, params: Params) -> Outcome<Value> {
    let (tags, row) = tags(control, params)?;
    for key in params.list("tagKeys")? {
        tags.remove(&key);
    }
    control.changed.insert(row);
    Ok(json!({}))
}
