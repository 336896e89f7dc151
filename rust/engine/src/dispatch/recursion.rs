//! How far a chain of functions has come that a message, an event or an invocation belongs to.

use crate::base::trace::Carried;
use crate::base::trace::Origin;
use crate::dispatch::Dispatch;

impl Dispatch {
    pub(crate) fn carried<'a>(&self, origin: Origin<'a>) -> Carried<'a> {
        Carried { hops: self.hops_after(origin.parent), trace: origin.trace }
    }
}
