//! Transitions of a definition: targets that are missing, states that nothing leads to, machines without an end.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::check::{list, Dialect, PROCESSORS};
use super::problem::{Fault, Problem};

type Object = Map<String, Value>;

/// The problems of all flows of a machine.
pub(super) fn check(machine: &Object, dialect: Dialect) -> Vec<Problem> {
    let mut walk = Walk { dialect, names: HashMap::new(), labels: HashSet::new(), problems: Vec::new() };
    walk.flow("", machine);
    walk.problems
}

struct Walk {
    dialect: Dialect,
    /// Where each name of a state stands.
    names: HashMap<String, String>,
    labels: HashSet<String>,
    problems: Vec<Problem>,
}

/// A transition: where it is written, and its target.
struct Transition<'a> {
    place: String,
    target: &'a str,
}

impl Walk {
    fn add(&mut self, location: impl Into<String>, fault: Fault) {
        self.problems.push(Problem { fault, location: location.into() });
    }

    fn flow(&mut self, place: &str, flow: &Object) {
        let Some(states) = flow.get("States").and_then(Value::as_object) else { return };
        let start = flow.get("StartAt").and_then(Value::as_str);
        let mut reached = HashSet::new();
        if let Some(start) = start {
            self.target(&Transition { place: format!("{place}/StartAt"), target: start }, states, &mut reached);
        }
        let mut has_end = false;
        for (name, state) in states {
            let Some(state) = state.as_object() else { continue };
            let at = format!("{place}/States/{name}");
            if let Some(first) = self.names.insert(name.clone(), at.clone()) {
                let location = if self.dialect == Dialect::Lint { first } else { at.clone() };
                self.add(location, Fault::Duplicate(name.clone()));
            }
            for transition in transitions(&at, state) {
                // A state that leads to itself alone is not reached by that.
                if transition.target != name {
                    self.target(&transition, states, &mut reached);
                }
            }
            has_end |= is_terminal(state);
        }
        self.unreached(place, states, &reached, has_end);
        for (name, state) in states {
            if let Some(state) = state.as_object() {
                self.inside(&format!("{place}/States/{name}"), state);
            }
        }
    }

    fn target<'a>(&mut self, transition: &Transition<'a>, states: &Object, reached: &mut HashSet<&'a str>) {
        if states.contains_key(transition.target) {
            reached.insert(transition.target);
        } else {
            self.add(transition.place.as_str(), Fault::NoTarget(transition.target.to_owned()));
        }
    }

    /// A machine without an end is reported as that alone, as AWS does; statelint reports both.
    fn unreached(&mut self, place: &str, states: &Object, reached: &HashSet<&str>, has_end: bool) {
        let is_lint = self.dialect == Dialect::Lint;
        if has_end || is_lint {
            for name in states.keys().filter(|name| !reached.contains(name.as_str())) {
                self.add(format!("{place}/States/{name}"), Fault::Unreachable(name.clone()));
            }
        }
        if !has_end && !states.is_empty() {
            let location = if is_lint { format!("{place}/States") } else { String::new() };
            self.add(location, Fault::NoEnd);
        }
    }

    fn inside(&mut self, place: &str, state: &Object) {
        if let Some(label) = state.get("Label").and_then(Value::as_str) {
            if !self.labels.insert(label.to_owned()) {
                self.add(format!("{place}/Label"), Fault::DuplicateLabel(label.to_owned()));
            }
        }
        for name in PROCESSORS {
            if let Some(flow) = state.get(*name).and_then(Value::as_object) {
                self.flow(&format!("{place}/{name}"), flow);
            }
        }
        for (index, branch) in list(state, "Branches").iter().enumerate() {
            if let Some(branch) = branch.as_object() {
                self.flow(&format!("{place}/Branches[{index}]"), branch);
            }
        }
    }
}

/// A state's transitions in the order in which they are written.
fn transitions<'a>(place: &str, state: &'a Object) -> Vec<Transition<'a>> {
    let mut found = Vec::new();
    let mut add = |place: String, target: Option<&'a Value>| {
        if let Some(target) = target.and_then(Value::as_str) {
            found.push(Transition { place, target });
        }
    };
    add(format!("{place}/Next"), state.get("Next"));
    for name in ["Choices", "Catch"] {
        for (index, element) in list(state, name).iter().enumerate() {
            add(format!("{place}/{name}[{index}]/Next"), element.get("Next"));
        }
    }
    add(format!("{place}/Default"), state.get("Default"));
    found
}

fn is_terminal(state: &Object) -> bool {
    matches!(state.get("Type").and_then(Value::as_str), Some("Succeed" | "Fail"))
        || state.get("End") == Some(&Value::Bool(true))
}
