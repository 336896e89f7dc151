//! What stands behind a method of a REST API is asked: a function, another server, or a service of this process.

use std::time::{Duration, Instant};

use forebay_core::gateway::answer::Answer;
use forebay_core::gateway::rest::answering::Ended;
use forebay_core::gateway::rest::cache;
use forebay_core::gateway::rest::failure::{Failure, ResponseType};
use forebay_core::gateway::rest::log::Log;
use forebay_core::gateway::rest::pipeline::{Command, Exchange, Next, Outcome};
use forebay_engine::base::error::{EngineError, Reply};
use forebay_engine::base::trace::Origin;
use forebay_engine::gateways::requests::Step;
use tokio::time::timeout;

use crate::aside::Place;
use crate::ask;
use crate::aws::inside;
use crate::gateway::body::room_for;
use crate::gateway::proxy::Manner;
use crate::gateway::rest::Reached;
use crate::gateway::trail::Question;
use crate::gateway::Gateway;

/// Why a request is turned away, for an operator.
const NO_ROOM: &str = "64 MiB of answers wait for long templates, so this one was thrown away";
const TOO_LONG: &str = "the answer waited 29 s for a long template and was thrown away";
/// How long the answer of an integration waits for its template: as long as an integration may take on AWS.
const ANSWER_WAIT: Duration = Duration::from_secs(29);
const BUSY: &str = "too many requests wait for long templates and models";

impl Reached<'_> {
    /// The request on its way through the method.
    pub(super) fn exchange(&self, log: Log) -> Exchange<'_> {
        Exchange::new(self.served, self.route, self.request, self.arrival, log)
    }

    /// Hold a request against what its method demands; the key of its answer in the cache of the stage.
    pub(super) async fn checked(
        &self,
        gateway: &Gateway,
        exchange: &mut Exchange<'_>,
    ) -> Result<Option<cache::Key>, Failure> {
        let check = |exchange: &mut Exchange<'_>| exchange.validate().map(|()| exchange.cache_key());
        if exchange.is_long() {
            let place = self.place(gateway).await?;
            aside(place, exchange, check).await?
        } else {
            check(exchange)
        }
    }

    /// A place for what takes long; the failure of a request for which there is none.
    async fn place(&self, gateway: &Gateway) -> Result<Place, Failure> {
        gateway.rest.long.place().await.ok_or_else(|| {
            self.trail.turned_away(BUSY);
            Failure::new(ResponseType::Throttled)
        })
    }

    /// What is next for a request.
    async fn begin(&self, gateway: &Gateway, exchange: &mut Exchange<'_>) -> Result<Next, Failure> {
        match exchange.begin()? {
            Next::Aside => {
                let place = self.place(gateway).await?;
                aside(place, exchange, begun).await?
            }
            next => Ok(next),
        }
    }

    /// What a request is answered after its integration. It is not refused any more: the integration has done its work.
    async fn end(gateway: &Gateway, exchange: &mut Exchange<'_>, outcome: Outcome) -> Result<Answer, Failure> {
        let mut ended = exchange.end(outcome)?;
        if let Ended::Aside(outcome) = ended {
            let room = room_for(outcome.bytes(), &gateway.rest.answers);
            let _room = room.ok_or_else(|| given_up().remark(NO_ROOM))?;
            let place = timeout(ANSWER_WAIT, gateway.rest.long.place_in_any_case()).await;
            let place = place.map_err(|_| given_up().remark(TOO_LONG))?.ok_or_else(given_up)?;
            ended = aside(place, exchange, |exchange| exchange.end(outcome)).await??;
        }
        match ended {
            Ended::Answer(answer) => Ok(answer),
            Ended::Aside(_) => Err(given_up()),
        }
    }

    /// Run a request through its method; the answer and the log.
    pub(super) async fn run(&self, gateway: &Gateway, mut exchange: Exchange<'_>) -> (Answer, Log) {
        let ended = match self.begin(gateway, &mut exchange).await {
            Ok(Next::Answer(answer)) => {
                self.trail.reached("answered by the method itself", "integration", "mock", None);
                Ok(answer)
            }
            Ok(Next::Aside) => Err(given_up()),
            Ok(Next::Call(command, within_ms)) => {
                let began = Instant::now();
                let outcome = self.carry_out(gateway, command, Duration::from_millis(within_ms.into())).await;
                self.trail.integrated(began);
                Self::end(gateway, &mut exchange, outcome).await
            }
            Err(failure) => Err(failure),
        };
        let answer = ended.unwrap_or_else(|failure| {
            self.trail.fails(&failure);
            // What a client has sent is no fault of the app.
            if let Some(remark) = failure.remark.as_ref().filter(|_| failure.response_type.status() >= 500) {
                let text = format!("{} {}: {remark}", self.request.method, self.route.resource_path);
                self.engine.remark_on_api(&self.served.api.name, &text);
            }
            exchange.failed(&failure)
        });
        (answer, std::mem::take(&mut exchange.log))
    }

    /// Why no function is run: a test is made with a key that runs none itself.
    pub(super) fn no_function(&self) -> Option<String> {
        inside::refusal(self.services, "lambda", "InvokeFunction")
    }

    async fn carry_out(&self, gateway: &Gateway, command: Command, within: Duration) -> Outcome {
        let (engine, trail) = (self.engine, self.trail);
        if let (Command::Invoke { .. }, Some(text)) = (&command, self.no_function()) {
            return Outcome::Refused(text);
        }
        match command {
            Command::Invoke { function, payload, is_event: true } => {
                let accepted =
                    ask::answer(|waiter| engine.invoke_async(&function, &payload, Origin::default(), waiter));
                match accepted.await {
                    Ok(reply) => {
                        let request = if let Reply::Request(id) = reply { Some(id) } else { None };
                        trail.step(Step {
                            what: "accepted",
                            function: Some(function.into()),
                            request,
                            ..Step::default()
                        });
                        Outcome::Accepted
                    }
                    Err(error) => Outcome::Refused(error.to_string()),
                }
            }
            Command::Invoke { function, payload, is_event: false } => {
                let question = Question { function: &function, authorizer: None, trace: None, is_told: true };
                match trail.ask(engine, question, payload.into(), within).await {
                    Some(Ok(Reply::Json(json) | Reply::Executed { json, .. })) => {
                        Outcome::Function { json, is_error: false }
                    }
                    Some(Err(EngineError::Function { payload, .. })) => {
                        Outcome::Function { json: payload.into_bytes(), is_error: true }
                    }
                    Some(Ok(_)) => Outcome::Refused(format!("function {function} gave no answer")),
                    Some(Err(error)) => Outcome::Refused(format!("function {function}: {error}")),
                    None => Outcome::TimedOut,
                }
            }
            Command::Http(call) => {
                let manner = match manner(self) {
                    Ok(manner) => manner,
                    Err(text) => return Outcome::Unreachable(text),
                };
                let target = (call.url.as_str(), gateway.home(engine, &call.url), &manner);
                let asked = gateway.outside.send(&call.method, target, &call.headers, call.body);
                let told = timeout(within, asked).await;
                // What stands in a query string may be secret.
                let url = call.url.split('?').next().unwrap_or_default();
                trail.reached("handed on", "to", url, status(&told));
                match told {
                    Ok(Ok(answer)) => Outcome::Http(answer),
                    Ok(Err(text)) => Outcome::Unreachable(text),
                    Err(_) => Outcome::TimedOut,
                }
            }
            Command::Service(service, call) => {
                let Some(engine) = gateway.engine.upgrade() else {
                    return Outcome::Refused("the app has stopped".into());
                };
                let id = self.arrival.request_id;
                let told = timeout(within, gateway.inside.ask(&engine, (id, self.services), &service, &call)).await;
                trail.reached("asked a service", "service", &service.name, status(&told));
                match told {
                    Ok(Ok(answer)) => Outcome::Http(answer),
                    Ok(Err(text)) => Outcome::Refused(text),
                    Err(_) => Outcome::TimedOut,
                }
            }
        }
    }
}

/// The status that came in time.
fn status<E, L>(told: &Result<Result<Answer, E>, L>) -> Option<u16> {
    told.as_ref().ok()?.as_ref().ok().map(|answer| answer.status)
}

/// Work on a request at leisure, beside the thread of all others.
async fn aside<T: Send + 'static>(
    place: Place,
    exchange: &mut Exchange<'_>,
    work: impl FnOnce(&mut Exchange<'_>) -> T + Send + 'static,
) -> Result<T, Failure> {
    let taken = exchange.aside();
    let (told, state) = place.run(move || taken.with(work)).await.map_err(|_| given_up())?;
    exchange.resume(state);
    Ok(told)
}

fn begun(exchange: &mut Exchange<'_>) -> Result<Next, Failure> {
    exchange.begin()
}

/// What worked on a request has failed itself.
fn given_up() -> Failure {
    Failure::new(ResponseType::Default5xx)
}

/// How the server behind a method is met: with the certificate of the stage, by the settings of the integration.
fn manner(reached: &Reached<'_>) -> Result<Manner, String> {
    let integration = reached.route.method.integration.as_ref();
    let tls = integration.and_then(|integration| integration.tls_config).unwrap_or_default();
    let shown = match &reached.stage.client_certificate_id {
        None => None,
        // Without it the server would be met as by a stranger.
        Some(id) => Some(reached.kept.account.certificates.get(id).ok_or("the stage's client certificate is gone")?),
    };
    Ok(Manner {
        shown: shown.map(|one| (one.pem_encoded_certificate.clone(), one.private_key.0.clone())),
        is_unverified: tls.insecure_skip_verification,
    })
}
