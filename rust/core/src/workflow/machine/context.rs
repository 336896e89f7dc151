//! Who an execution is, and the context object (`$$`, `$states.context`) that its expressions read.

use serde::{Deserialize, Serialize};
use serde_json::{json, Map, Value};

use super::frame::{Frame, Item};
use super::time::iso;
use super::Text;
use super::{Child, Execution, Turn};
use crate::workflow::definition::{MachineType, StateKind};

/// Who an execution is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The execution's ARN.
    pub execution_arn: Text,
    /// Its name.
    pub execution_name: Text,
    /// The machine's ARN.
    pub machine_arn: Text,
    /// Its name.
    pub machine_name: Text,
    /// The role it runs with.
    pub role_arn: Text,
    /// The region that its history names.
    pub region: Text,
    /// Standard or Express.
    pub machine_type: MachineType,
    /// Whether its events are kept; they are counted in any case.
    pub is_recorded: bool,
    /// What its task tokens begin with, so that the engine finds the execution.
    pub token_prefix: Text,
}

impl Identity {
    /// Who a child execution of a distributed Map is. Its name is its index; the engine may give it another.
    pub(super) fn child(&self, run_arn: &str, child: &Child) -> Self {
        let kind = match child.machine_type {
            MachineType::Standard => "execution",
            MachineType::Express => "express",
        };
        let execution_arn = format!("{}:{}", run_arn.replacen(":mapRun:", &format!(":{kind}:"), 1), child.index);
        Self {
            execution_arn: execution_arn.into(),
            execution_name: child.index.to_string().into(),
            machine_type: child.machine_type,
            ..self.clone()
        }
    }

    /// The ARN of a run of a distributed Map: `…:mapRun:MACHINE/LABEL:ID`.
    pub(super) fn run_arn(&self, label: &str, id: &str) -> String {
        let machine = self.machine_arn.replacen(":stateMachine:", ":mapRun:", 1);
        format!("{machine}/{label}:{id}")
    }
}

/// The context object of a frame, or `null` where its state cannot ask for it.
pub(super) fn context(execution: &Execution, turn: &Turn<'_>, frame: &Frame, token: Option<&str>) -> Value {
    context_of_item(execution, turn, frame, token, frame.item.as_ref())
}

/// The same, for an item that has no frame yet.
pub(super) fn context_of_item(
    execution: &Execution,
    turn: &Turn<'_>,
    frame: &Frame,
    token: Option<&str>,
    item: Option<&Item>,
) -> Value {
    let state = turn.definition.state(frame.state);
    if !state.reads_context {
        return Value::Null;
    }
    if let Some(context) = turn.inspection.as_ref().and_then(|inspection| inspection.context.as_ref()) {
        return context.clone();
    }
    let identity = &execution.identity;
    let mut about = Map::new();
    about.insert("Id".into(), identity.execution_arn.as_str().into());
    about.insert("Input".into(), execution.input.value().clone());
    about.insert("StartTime".into(), iso(execution.started_ms).into());
    about.insert("Name".into(), identity.execution_name.as_str().into());
    about.insert("RoleArn".into(), identity.role_arn.as_str().into());
    if identity.machine_type == MachineType::Standard {
        about.insert("RedriveCount".into(), execution.redrive_count.into());
        if execution.redrive_count > 0 {
            about.insert("RedriveTime".into(), iso(execution.redriven_ms).into());
        }
    }
    let mut context = Map::new();
    context.insert("Execution".into(), about.into());
    context.insert("StateMachine".into(), json!({"Id": identity.machine_arn, "Name": identity.machine_name}));
    let mut entered = json!({"Name": state.name, "EnteredTime": iso(frame.entered_ms)});
    // States that cannot be retried have no count.
    if matches!(state.kind, StateKind::Task | StateKind::Parallel | StateKind::Map) {
        entered["RetryCount"] = frame.retry_count.into();
    }
    context.insert("State".into(), entered);
    if let Some(item) = item {
        context.insert("Map".into(), json!({"Item": item.context()}));
    }
    if let Some(token) = token {
        context.insert("Task".into(), json!({"Token": token}));
    }
    Value::Object(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `arn:aws:states:REGION:ACCOUNT:execution:MACHINE/LABEL:NAME`, as AWS names the children of a run.
    #[test]
    fn a_child_is_named_by_its_run_its_type_and_its_index() {
        let parent = Identity {
            machine_arn: "arn:aws:states:r:1:stateMachine:m".into(),
            execution_arn: "arn:aws:states:r:1:execution:m:e".into(),
            execution_name: "e".into(),
            role_arn: "role".into(),
            is_recorded: true,
            ..Identity::default()
        };
        let run = parent.run_arn("Label", "id");
        assert_eq!(run, "arn:aws:states:r:1:mapRun:m/Label:id");
        for (machine_type, arn) in [
            (MachineType::Standard, "arn:aws:states:r:1:execution:m/Label:id:7"),
            (MachineType::Express, "arn:aws:states:r:1:express:m/Label:id:7"),
        ] {
            let child = parent.child(&run, &Child { index: 7, input: None, machine_type });
            let expected =
                Identity { execution_arn: arn.into(), execution_name: "7".into(), machine_type, ..parent.clone() };
            assert_eq!(child, expected);
        }
    }
}
