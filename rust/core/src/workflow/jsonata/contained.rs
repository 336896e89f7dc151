//! A panic inside jsonata-core is the failure of one expression, and not the end of the thread that evaluates it.

use std::any::Any;
use std::cell::Cell;
use std::panic::{catch_unwind, set_hook, take_hook, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;

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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread::{self, ThreadId};

    use super::*;

    #[test]
    fn a_panic_that_is_caught_is_told_to_nobody_else() {
        static TOLD: AtomicUsize = AtomicUsize::new(0);
        assert_eq!(contain(|| 5), Ok(5));
        // Tests beside this one go on telling theirs.
        let (mine, others): (ThreadId, Hook) = (thread::current().id(), take_hook());
        set_hook(quiet(Box::new(move |panic| {
            if thread::current().id() == mine {
                TOLD.fetch_add(1, Ordering::Relaxed);
            } else {
                others(panic);
            }
        })));
        let told = |work: &dyn Fn()| {
            work();
            TOLD.swap(0, Ordering::Relaxed)
        };
        let failed = |why: &str| Err::<(), _>(format!("The evaluator of JSONata cannot evaluate this: {why}"));
        assert_eq!(told(&|| assert_eq!(contain(|| panic!("it broke")), failed("it broke"))), 0);
        assert_eq!(told(&|| assert_eq!(contain(|| panic!("{} broke", 2)), failed("2 broke"))), 0);
        let inner = || contain(|| assert_eq!(contain(|| panic!("inside")), failed("inside")));
        assert_eq!(told(&|| assert_eq!(inner(), Ok(()))), 0);
        assert_eq!(told(&|| assert!(catch_unwind(|| panic!("elsewhere")).is_err())), 1);
    }
}
