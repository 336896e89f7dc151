//! Step Functions: a state on its own (`TestState`).

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Instant;

use forebay_core::workflow::budget::Budget;
use forebay_core::workflow::definition::MachineType;
use forebay_core::workflow::machine::test_state::{self, Surroundings, Tested};
use forebay_core::workflow::machine::{ErrorDetails, Identity};
use forebay_engine::api::workflow::TaskCall;
use forebay_engine::api::Request;
use serde_json::{Map, Value as Json};

use crate::aws::call::{aside, Call};
use crate::aws::fault::Fault;
use crate::aws::services::states::{self, fault};
use crate::aws::services::states_executions::named;
use crate::aws::value::Value;

/// The input as the machine's code reads it: JSON with AWS's names.
fn json_of(value: &Value) -> Json {
    match value {
        Value::Null | Value::Blob(_) => Json::Null,
        Value::Bool(flag) => (*flag).into(),
        Value::Int(number) | Value::Time(number) => (*number).into(),
        Value::Double(number) => (*number).into(),
        Value::Text(text) => text.as_str().into(),
        Value::List(items) => items.iter().map(json_of).collect(),
        Value::Map(fields) => {
            Json::Object(fields.iter().map(|(name, value)| (name.to_string(), json_of(value))).collect::<Map<_, _>>())
        }
        Value::Document(json) => (**json).clone(),
    }
}

/// A task without a mock makes its call, as its state would.
async fn answer(call: &Call<'_>, resource: String, arguments: &Json) -> Result<Result<Json, ErrorDetails>, Fault> {
    let asked = TaskCall { resource, arguments: arguments.to_string() };
    let ended = call.ask(Request::TaskCall(asked)).await.map_err(fault)?;
    let text = |name: &str| ended[name].as_str().map(str::to_owned);
    Ok(match text("output") {
        Some(output) => Ok(serde_json::from_str(&output).unwrap_or_default()),
        None => Err(ErrorDetails { error: text("error"), cause: text("cause") }),
    })
}

pub(super) async fn test_state(call: &Call<'_>) -> Result<Value, Fault> {
    let request = Arc::new(json_of(&call.input));
    let role = call.input.text("roleArn").map(str::to_owned);
    let identity = Identity {
        execution_arn: states::states_arn(call, "express", "TestState:TestState").into(),
        execution_name: "TestState".into(),
        machine_arn: states::states_arn(call, "stateMachine", "TestState").into(),
        machine_name: "TestState".into(),
        role_arn: role.unwrap_or_else(|| format!("arn:aws:iam::{}:role/forebay", call.account)).into(),
        region: call.region.into(),
        machine_type: MachineType::Express,
        is_recorded: true,
        token_prefix: "0.0".into(),
    };
    let now_ms = call.now_ms() as u64;
    let seed = RandomState::new().hash_one(now_ms);
    let mut surroundings = Surroundings { identity, now_ms, seed, ..Surroundings::default() };
    loop {
        // Its expressions may take as long as those of a state may, all together.
        let (asked, around) = (Arc::clone(&request), surroundings.clone());
        let tested = aside(move || {
            let began = Instant::now();
            let clock = || began.elapsed().as_millis() as u64;
            test_state::test_state_within(&asked, &around, &Budget::trial(&clock))
        })
        .await?;
        match tested.map_err(|refused| Fault::new(refused.code, refused.message))? {
            Tested::Answer(answer) => return Ok(named("TestStateOutput", &answer)),
            Tested::Call(_, arguments) if surroundings.answer.is_none() => {
                let resource = test_state::resource_text(&request).unwrap_or_default();
                surroundings.answer = Some(answer(call, resource, &arguments).await?);
            }
            Tested::Call(..) => return Err(Fault::validation("The state calls more than once")),
        }
    }
}
