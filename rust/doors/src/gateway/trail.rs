//! What happens to a request on the way to its answer, for `forebay why`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use forebay_core::gateway::rest::failure::Failure;
use forebay_engine::base::error::{Answer, EngineError};
use forebay_engine::gateways::requests::{Step, Way};
use forebay_engine::runtime::engine::Engine;
use tokio::time::timeout;

use crate::ask;

/// Most characters of a reason.
const WHY_MAX: usize = 500;

/// The way of one request.
#[derive(Debug, Default)]
pub(super) struct Trail(Mutex<Way>);

/// A function that is asked, and what for.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) function: &'a str,
    /// The authoriser that asks; `None`: it stands behind the route.
    pub(super) authorizer: Option<&'a str>,
    /// What a tracer says of the request.
    pub(super) trace: Option<&'a str>,
    /// Whether the success of a function behind the route is told as a step: where nothing else says which function it was.
    pub(super) is_told: bool,
}

impl Trail {
    /// What is known of the way.
    pub(super) fn take(&self) -> Way {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Way> {
        // It is whole after every step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something has happened.
    pub(super) fn step(&self, step: Step) {
        self.lock().steps.push(step);
    }

    /// Something has happened, and why.
    pub(super) fn tell(&self, what: &'static str, why: &str) {
        self.step(Step { what, why: Some(cut(why)), ..Step::default() });
    }

    /// What has answered, by its kind, or what was reached, and the status that it gave.
    pub(super) fn reached(&self, what: &'static str, kind: &'static str, name: &str, status: Option<u16>) {
        self.step(Step { what, reached: Some((kind, cut(name))), status, ..Step::default() });
    }

    /// No function has run, and why.
    pub(super) fn turned_away(&self, why: &str) {
        self.tell("turned away", why);
    }

    /// An authoriser has said no, and why.
    pub(super) fn not_let_in(&self, authorizer: &str, why: &str) {
        self.step(Step {
            what: "turned away",
            authorizer: Some(authorizer.into()),
            why: Some(cut(why)),
            ..Step::default()
        });
    }

    /// The function of an authoriser has said no.
    pub(super) fn says_no(&self, authorizer: &str) {
        self.not_let_in(authorizer, &format!("the function of authorizer {authorizer} says no"));
    }

    /// A REST API answers itself; nothing is told where it was told closer to the reason.
    pub(super) fn fails(&self, failure: &Failure) {
        let mut way = self.lock();
        if way.steps.iter().any(|step| step.what == "turned away") {
            return;
        }
        let parts = [Some(failure.response_type.name()), failure.message.as_deref(), failure.remark.as_deref()];
        let why: Vec<&str> = parts.into_iter().flatten().collect();
        let what = if way.integration.is_some() { "failed" } else { "turned away" };
        way.steps.push(Step { what, why: Some(cut(&why.join(": "))), ..Step::default() });
    }

    /// Whether a function that was asked did not begin.
    pub(super) fn is_not_reached(&self) -> bool {
        self.lock().steps.iter().any(|step| step.what == "not reached")
    }

    /// How long what stands behind the route took, from `began` until now.
    pub(super) fn integrated(&self, began: Instant) -> Duration {
        let took = began.elapsed();
        self.lock().integration = Some(took);
        took
    }

    /// The cache of a stage was looked at: whether it had the answer.
    pub(super) fn looked_in_cache(&self, had_it: bool) {
        self.lock().cached = Some(had_it);
    }

    /// Ask a function, and await its answer; `None`: it took longer than `within`.
    pub(super) async fn ask(
        &self,
        engine: &Engine,
        question: Question<'_>,
        payload: Arc<[u8]>,
        within: Duration,
    ) -> Option<Answer> {
        let mut request = None;
        let asked = ask::begin(|waiter| request = engine.invoke(question.function, payload, question.trace, waiter));
        let answer = match timeout(within, asked).await {
            Ok(answer) => Some(answer.unwrap_or_else(|_| Err(ask::gone()))),
            Err(_) => None,
        };
        self.asked(question, request, answer.as_ref(), within);
        answer
    }

    fn asked(&self, question: Question<'_>, request: Option<u128>, answer: Option<&Answer>, within: Duration) {
        let (what, why) = match answer {
            Some(Ok(_)) if question.authorizer.is_some() => ("asked", None),
            Some(Ok(_)) => ("handled", None),
            Some(Err(error @ (EngineError::Function { .. } | EngineError::TooLarge(_)))) => {
                ("failed", Some(cut(&error.to_string())))
            }
            Some(Err(EngineError::TooMany { message, reason, .. })) => {
                ("not reached", Some(cut(&format!("{message} ({reason})"))))
            }
            Some(Err(error)) => ("not reached", Some(cut(&error.to_string()))),
            None => ("not waited for", Some(format!("it took longer than {} s", within.as_secs_f64()).into())),
        };
        let mut way = self.lock();
        if question.authorizer.is_none() {
            way.attempt = request;
            way.attempt_at = way.steps.len();
            // A function that answers is told by the route.
            if what == "handled" && !question.is_told {
                return;
            }
        }
        let (function, authorizer) = (Some(question.function.into()), question.authorizer.map(Into::into));
        way.steps.push(Step { what, authorizer, function, request, why, ..Step::default() });
    }
}

/// A text for people, cut where it is long.
fn cut(text: &str) -> Box<str> {
    match text.char_indices().nth(WHY_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}
