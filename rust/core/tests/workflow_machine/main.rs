//! The workflow machine against what AWS recorded (`<repo>/../shared/cases`), and promises of its own.

#[cfg(test)]
mod activities;
#[cfg(test)]
mod budgets;
#[cfg(test)]
mod cases;
#[cfg(test)]
mod compare;
#[cfg(test)]
mod definitions;
#[cfg(test)]
mod executions;
#[cfg(test)]
mod given_up;
#[cfg(test)]
mod map_runs;
#[cfg(test)]
mod passing_on;
#[cfg(test)]
mod promises;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod results;
#[cfg(test)]
mod runs;
#[cfg(test)]
mod tasks;
#[cfg(test)]
mod test_state;
#[cfg(test)]
mod turns;
#[cfg(test)]
mod variables;
#[cfg(test)]
mod world;
