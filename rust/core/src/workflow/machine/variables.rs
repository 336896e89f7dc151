//! Variables of frames. Many iterations have those of one Map state: they are kept once, in memory and in a state that is written.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::frame::{Frame, FrameId};

/// Variables by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Variables {
    all: Arc<Map<String, Value>>,
    /// They are those of the parent, which assigns none while it has children.
    is_of_parent: bool,
}

impl Variables {
    pub(super) fn new(all: Map<String, Value>) -> Self {
        Self { all: Arc::new(all), is_of_parent: false }
    }

    /// What a child begins with.
    pub(super) fn for_child(&self) -> Self {
        Self { all: self.all.clone(), is_of_parent: true }
    }

    /// Those of a frame that was written without any.
    pub(super) fn of_parent() -> Self {
        Self { is_of_parent: true, ..Self::default() }
    }

    pub(super) fn is_of_parent(&self) -> bool {
        self.is_of_parent
    }

    /// What may be changed: from here on they are the frame's own.
    pub(super) fn own(&mut self) -> &mut Map<String, Value> {
        self.is_of_parent = false;
        Arc::make_mut(&mut self.all)
    }
}

impl Deref for Variables {
    type Target = Map<String, Value>;

    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

impl Serialize for Variables {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.all.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Variables {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Map::deserialize(from).map(Self::new)
    }
}

/// Read frames. One without variables has those of its parent, whose number is smaller. Rows of earlier releases have them in each frame.
pub(super) fn read_frames<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<FrameId, Frame>, D::Error> {
    let mut frames = BTreeMap::<FrameId, Frame>::deserialize(from)?;
    let mut read = BTreeMap::<FrameId, Variables>::new();
    for (id, frame) in &mut frames {
        let parent = frame.parent.and_then(|parent| read.get(&parent));
        if let Some(parent) = parent.filter(|parent| frame.variables.is_of_parent || frame.variables.all == parent.all)
        {
            frame.variables = parent.for_child();
        }
        read.insert(*id, frame.variables.clone());
    }
    Ok(frames)
}
