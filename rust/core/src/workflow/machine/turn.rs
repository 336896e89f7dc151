//! What one fact brings about, while it is gathered.

use serde_json::Value;

use super::frame::Frame;
use super::history::Event;
use super::inspection::Inspection;
use super::Command;
use crate::workflow::budget::Budget;
use crate::workflow::definition::Definition;
use crate::workflow::query::Documents;
use crate::workflow::scope::Entropy;

/// What one fact brings about.
pub(super) struct Turn<'t> {
    pub(super) definition: &'t Definition,
    pub(super) now_ms: u64,
    pub(super) entropy: &'t mut dyn Entropy,
    pub(super) budget: &'t Budget<'t>,
    pub(super) events: Vec<Event>,
    pub(super) commands: Vec<Command>,
    /// `TestState` looks over the turn's shoulder.
    pub(super) inspection: Option<Inspection>,
}

impl<'t> Turn<'t> {
    pub(super) fn new(
        definition: &'t Definition,
        now_ms: u64,
        entropy: &'t mut dyn Entropy,
        budget: &'t Budget<'t>,
    ) -> Self {
        Self { definition, now_ms, entropy, budget, events: Vec::new(), commands: Vec::new(), inspection: None }
    }

    /// The events come first: they are part of what is written before anything is done.
    pub(super) fn into_commands(self) -> Vec<Command> {
        let mut commands = Vec::with_capacity(self.commands.len() + 1);
        if !self.events.is_empty() {
            commands.push(Command::Record(self.events));
        }
        commands.extend(self.commands);
        commands
    }

    /// What the expressions of a state are evaluated on, if they are to see its input.
    pub(super) fn documents<'v>(&self, frame: &'v Frame, context: &'v Value) -> Documents<'v>
    where
        't: 'v,
    {
        Documents::of_input(frame.input.value(), context, &frame.variables, self.now_ms, self.budget)
    }

    /// Show a document to `TestState`, if it looks.
    pub(super) fn inspect(&mut self, field: &'static str, value: &Value) {
        if let Some(inspection) = &mut self.inspection {
            inspection.note(field, value);
        }
    }
}
