//! The control plane of REST APIs in a test, held against what is true of every call.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::script::Plane;
use crate::gateway::rest::control::fault::Fault;
use crate::gateway::rest::control::members::MEMBERS;
use crate::gateway::rest::control::{call, Account, Answer, Facts, Made, PrivateKey, Row, OPERATIONS};
use crate::gateway::rest::plans::Usage;

pub(super) const ACCOUNT: &str = "111122223333";
pub(super) const REGION: &str = "us-east-1";
/// 2026-01-01T00:00:00Z.
pub(super) const START_MS: u64 = 1_767_225_600_000;

/// What is kept, and how many calls there were.
#[derive(Default)]
pub(super) struct Rest {
    pub(super) account: Account,
    pub(super) usage: Usage,
    pub(super) api_id: Option<&'static str>,
    /// Rows that the last call changed.
    pub(super) changed: Vec<Row>,
    /// The HTTP status of the last answer.
    pub(super) status: u16,
    pub(super) names: BTreeMap<String, Value>,
    pub(super) calls: u32,
    /// Seconds since [`START_MS`]: one passes with each row.
    pub(super) seconds: u64,
    /// Whether the clock stands still.
    pub(super) is_frozen: bool,
}

impl Rest {
    /// Make a call.
    pub(super) fn call(&mut self, operation: &str, members: &Map<String, Value>) -> Result<Answer, Fault> {
        self.calls += 1;
        let key = PrivateKey("-----BEGIN PRIVATE KEY-----".into());
        let made =
            Made { certificate: "-----BEGIN CERTIFICATE-----".into(), key, ends_ms: START_MS + 365 * 86_400_000 };
        let mut seed = [0; 32];
        seed[..4].copy_from_slice(&self.calls.to_be_bytes());
        let facts = Facts {
            now_ms: START_MS + self.seconds * 1_000,
            account: ACCOUNT,
            region: REGION,
            seed,
            usage: &self.usage,
            api_id: self.api_id,
            certificate: Some(&made),
        };
        let before = self.account.clone();
        match call(&mut self.account, &facts, operation, members) {
            Ok((answer, rows)) => {
                for row in changes(&before, &self.account) {
                    assert!(rows.contains(&row), "{operation} {members:?} does not say that it changed {row:?}");
                }
                self.changed = rows.into_iter().collect();
                for row in &self.changed {
                    if let Row::Usage(grant) = row {
                        self.usage.allow(grant);
                    }
                }
                Ok(answer)
            }
            Err(fault) => {
                assert!(changes(&before, &self.account).is_empty(), "{operation} was refused, and changed something");
                Err(fault)
            }
        }
    }

    /// What is so after every call of a kind.
    fn look_again(&mut self, operation: &str, members: &Map<String, Value>, answer: &Value) {
        let verb = operation.chars().skip(1).position(char::is_uppercase).map_or(0, |at| at + 1);
        let (verb, of) = operation.split_at(verb);
        let get = format!("Get{of}");
        if !["Update", "Put", "Delete"].contains(&verb) || !OPERATIONS.contains(&get.as_str()) || of == "Usage" {
            return;
        }
        let has = members_of(&get);
        let asked = members.iter().filter(|(name, _)| has.contains(&name.as_str()));
        let mut asked: Map<String, Value> = asked.map(|(name, value)| (name.clone(), value.clone())).collect();
        if operation == "UpdateResource" {
            asked.remove("embed");
        }
        let now = self.call(&get, &asked);
        match now {
            Err(fault) => assert!(verb == "Delete" && fault.status == 404, "{operation} {members:?}: {fault:?}"),
            Ok(now) if verb == "Delete" => {
                assert!(of == "GatewayResponse" && now.body["defaultResponse"] == true, "{operation} {members:?}");
            }
            Ok(now) => {
                let mut told = answer.clone();
                if let Some(told) = told.as_object_mut() {
                    told.remove("warnings");
                }
                assert_eq!(now.body, told, "{operation} {members:?} is not shown as it answered");
            }
        }
    }
}

impl Plane for Rest {
    fn ask(&mut self, operation: &str, members: &Map<String, Value>) -> Result<Value, Fault> {
        self.seconds += u64::from(!self.is_frozen);
        let Answer { status, body } = self.call(operation, members)?;
        let changed = self.changed.clone();
        self.look_again(operation, members, &body);
        (self.changed, self.status) = (changed, status);
        Ok(body)
    }

    fn takes(&self, operation: &str, member: &str) -> bool {
        members_of(operation).contains(&member)
    }

    fn names(&mut self) -> &mut BTreeMap<String, Value> {
        &mut self.names
    }
}

fn members_of(operation: &str) -> Vec<&'static str> {
    let found = MEMBERS.iter().find(|(name, _)| *name == operation);
    found.map(|(_, names)| names.split_whitespace().collect()).unwrap_or_default()
}

/// What is not in one account as it is in the other.
fn changes(before: &Account, after: &Account) -> Vec<Row> {
    fn of<K: Ord + Clone, V: PartialEq>(
        before: &BTreeMap<K, V>,
        after: &BTreeMap<K, V>,
        row: impl Fn(K) -> Row,
    ) -> Vec<Row> {
        let keys = before.keys().chain(after.keys()).filter(|key| before.get(*key) != after.get(*key));
        keys.map(|key| row(key.clone())).collect()
    }
    let is_same = |id: &&String| {
        let (before, after) = (before.apis.get(*id), after.apis.get(*id));
        before.zip(after).is_some_and(|(one, other)| Arc::ptr_eq(one, other) || one == other)
    };
    let apis = before.apis.keys().chain(after.apis.keys()).filter(|id| !is_same(id));
    let mut rows: Vec<Row> = apis.map(|id| Row::Api(id.clone())).collect();
    rows.extend(of(&before.deployments, &after.deployments, |(api, id)| Row::Deployment(api, id)));
    rows.extend(of(&before.stages, &after.stages, |(api, name)| Row::Stage(api, name)));
    rows.extend(of(&before.keys, &after.keys, Row::Key));
    rows.extend(of(&before.plans, &after.plans, Row::Plan));
    rows.extend(of(&before.certificates, &after.certificates, Row::Certificate));
    rows
}
