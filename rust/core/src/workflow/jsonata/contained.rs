//! A panic inside jsonata-core is the failure of one expression, and not the end of the thread that evaluates it.

use std::any::Any;
use std::cell::Cell;
use std::panic::{catch_unwind, set_hook, take_hook, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;

#[cfg(test)]
mod tests;

thread_local! {
    /// A panic of this thread is caught, and told as the expression's failure.
    static IS_CONTAINED: Cell<bool> = const { Cell::new(false) };
}

static QUIET: Once = Once::new();

/// Do what may panic; an error has the panic's message. Nothing is written to stderr, where Rust tells of panics otherwise.
///
/// What the work was given must not be used after a panic.
pub(super) fn contain<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    QUIET.call_once(|| set_hook(quiet(take_hook())));
    let outer = IS_CONTAINED.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    IS_CONTAINED.set(outer);
    done.map_err(|panic| message(panic.as_ref()))
}

type Hook = Box<dyn Fn(&PanicHookInfo<'_>) + Send + Sync>;

/// What tells of panics that are not caught here.
fn quiet(others: Hook) -> Hook {
    Box::new(move |panic| {
        if !IS_CONTAINED.try_with(Cell::get).unwrap_or_default() {
            others(panic);
        }
    })
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("The evaluator of JSONata cannot evaluate this: {}", text.unwrap_or("it gave no reason"))
}
