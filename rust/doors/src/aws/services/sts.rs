//! STS: who asks.

use crate::aws::call::Call;
use crate::aws::fault::Fault;
use crate::aws::value::Value;

super::operations! {
    GetCallerIdentity => get_caller_identity,
}

#[allow(clippy::unused_async)] // each operation is one that is awaited
async fn get_caller_identity(call: &Call<'_>) -> Result<Value, Fault> {
    Ok(Value::structure()
        .with("UserId", call.key_id.as_str())
        .with("Account", call.account)
        .with("Arn", format!("arn:aws:iam::{}:user/{}", call.account, call.key_id)))
}
