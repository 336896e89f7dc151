//! Chains of functions, buses and executions that set one another off: each step is a hop, and a chain of too many is stopped.
//! <https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html>

/// So many hops a chain may have.
pub const HOPS_MAX: u32 = 16;

/// Whether a function may run behind so many hops.
pub const fn may_run(hops: u32) -> bool {
    hops < HOPS_MAX
}

/// Whether an event or an execution is taken that has so many hops before it. The last such event's function is not run: the event ends
/// with a record. What that record sets off is one hop too far.
pub const fn is_within(hops: u32) -> bool {
    hops <= HOPS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seventeenth_function_of_a_chain_is_not_run_and_what_its_record_sets_off_is_not_taken() {
        assert_eq!([0, 15, 16, 17].map(may_run), [true, true, false, false]);
        assert_eq!([0, 15, 16, 17].map(is_within), [true, true, true, false]);
    }
}
