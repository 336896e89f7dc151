//! What a state that has nothing to do with its input leaves of it.

use forebay_core::workflow::definition::MachineType;
use forebay_core::workflow::machine::{Data, Execution, Fact, Outcome};
use serde_json::json;

use crate::promises::{bring, definition, identity, START_MS};

/// A large input was written and read once more by each state that had nothing to do with it.
#[test]
fn states_that_pass_their_input_on_share_it() {
    let pass = json!({"Type": "Pass", "Next": "Without"});
    let without = json!({"Type": "Pass", "ResultPath": null, "Next": "Wait"});
    let wait = json!({"Type": "Wait", "Seconds": 0, "Next": "Choice"});
    let choice = json!({"Type": "Choice", "Choices": [{"Variable": "$.a", "IsPresent": true, "Next": "End"}]});
    let states = json!({"Pass": pass, "Without": without, "Wait": wait, "Choice": choice, "End": {"Type": "Succeed"}});
    let machine = definition(&json!({"StartAt": "Pass", "States": states}));
    let input = Data::parse(r#"{"a":  [1.50, 12345678901234567890123]}"#).unwrap();
    let mut execution = Execution::new(&machine, identity(MachineType::Standard), input.clone(), START_MS);
    bring(&mut execution, &machine, Fact::Start, START_MS).unwrap();
    let Some(Outcome::Succeeded(output)) = execution.outcome() else { panic!("{:?}", execution.outcome()) };
    assert!(std::ptr::eq(output.text().as_str(), input.text().as_str()), "{:?}", output.text());
}
