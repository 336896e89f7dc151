//! A panic that is caught is told to nobody.

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
