//! The services, and the operations of each.

mod apigateway;
mod apigatewayv2;
mod cloudwatch;
pub(super) mod connections;
mod events;
mod events_archives;
mod events_connections;
mod events_tags;
mod kinesis;
mod kinesis_consumers;
mod kinesis_iterator;
mod kinesis_streams;
pub mod kinesis_subscription;
mod lambda;
mod lambda_aliases;
mod lambda_configurations;
mod lambda_logs;
mod lambda_mappings;
mod lambda_settings;
mod lambda_states;
mod lambda_urls;
mod logs;
mod logs_filter;
mod logs_moments;
mod logs_tokens;
mod members;
mod page;
mod rds;
pub mod remembered;
mod scheduler;
mod scheduler_groups;
mod schemas;
mod secrets;
mod sns;
mod sqs;
mod sqs_attributes;
mod sqs_messages;
mod sqs_permissions;
mod stacks;
mod states;
mod states_activities;
mod states_executions;
mod states_logging;
mod states_test;
mod states_versions;
mod sts;

use std::sync::OnceLock;

use crate::aws::call::{Call, Outcome};
use crate::aws::model::Model;

/// Carries out an operation of a service.
type CarryOut = for<'c> fn(&'c Call<'c>, &'c str) -> Outcome<'c>;

/// One service.
pub struct Service {
    /// The name that requests are signed for. The two versions of API Gateway have one.
    pub name: &'static str,
    /// Whether a method of an API reaches it. What belongs to stacks is for clients alone: who deploys, and functions.
    pub is_for_methods: bool,
    table: &'static str,
    model: OnceLock<&'static Model>,
    /// The operations that are carried out.
    pub operations: &'static [&'static str],
    /// Carry out an operation.
    pub call: CarryOut,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Service {
    const fn new(
        name: &'static str,
        table: &'static str,
        (operations, call): (&'static [&'static str], CarryOut),
    ) -> Self {
        Self { name, is_for_methods: true, table, model: OnceLock::new(), operations, call }
    }

    const fn for_clients(
        name: &'static str,
        table: &'static str,
        (operations, call): (&'static [&'static str], CarryOut),
    ) -> Self {
        Self { name, is_for_methods: false, table, model: OnceLock::new(), operations, call }
    }

    /// Its tables, read when they are first needed.
    ///
    /// # Panics
    /// If a table is broken, which a test of every table rules out.
    pub fn model(&self) -> &'static Model {
        self.model.get_or_init(|| Model::read(self.table).unwrap_or_else(|error| panic!("a table is broken: {error}")))
    }
}

/// Each operation's name and the function that carries it out.
macro_rules! operations {
    ($($name:ident => $function:path,)*) => {
        /// The operations that are carried out.
        pub(super) const OPERATIONS: &[&str] = &[$(stringify!($name)),*];

        /// Carry out an operation. Each has a box of its own size: thousands of long polls may wait in theirs.
        pub(super) fn call<'c>(call: &'c $crate::aws::call::Call<'c>, operation: &'c str) -> $crate::aws::call::Outcome<'c> {
            match operation {
                $(stringify!($name) => {
                    Box::pin(async move { $function(call).await.map($crate::aws::call::Output::from) })
                })*
                // The tables have the operations of this list, as a test makes sure.
                _ => Box::pin(async move {
                    Err($crate::aws::fault::Fault::new("NotImplemented", operation).status(501))
                }),
            }
        }
    };
}
use operations;

/// An array of so many services as there are lines.
macro_rules! services {
    ($($service:expr,)*) => {
        /// All services. The first one answers what is for none.
        pub static SERVICES: [Service; [$(stringify!($service)),*].len()] = [$($service),*];
    };
}

services! {
    Service::new("sqs", include_str!("../models/sqs.json"), (sqs::OPERATIONS, sqs::call)),
    Service::new("kinesis", include_str!("../models/kinesis.json"), (kinesis::OPERATIONS, kinesis::call)),
    Service::new("sns", include_str!("../models/sns.json"), (sns::OPERATIONS, sns::call)),
    Service::new("lambda", include_str!("../models/lambda.json"), (lambda::OPERATIONS, lambda::call)),
    Service::new("sts", include_str!("../models/sts.json"), (sts::OPERATIONS, sts::call)),
    Service::new("events", include_str!("../models/events.json"), (events::OPERATIONS, events::call)),
    Service::new("scheduler", include_str!("../models/scheduler.json"), (scheduler::OPERATIONS, scheduler::call)),
    Service::new("states", include_str!("../models/stepfunctions.json"), (states::OPERATIONS, states::call)),
    Service::new("monitoring", include_str!("../models/cloudwatch.json"), (cloudwatch::OPERATIONS, cloudwatch::call)),
    Service::new("schemas", include_str!("../models/schemas.json"), (schemas::OPERATIONS, schemas::call)),
    Service::new("logs", include_str!("../models/logs.json"), (logs::OPERATIONS, logs::call)),
    Service::for_clients("secretsmanager", include_str!("../models/secretsmanager.json"), (secrets::OPERATIONS, secrets::call)),
    Service::new("apigateway", include_str!("../models/apigateway.json"), (apigateway::OPERATIONS, apigateway::call)),
    Service::new("execute-api", include_str!("../models/apigatewaymanagementapi.json"), (connections::OPERATIONS, connections::call)),
    Service::for_clients("cloudformation", include_str!("../models/cloudformation.json"), (stacks::CLOUDFORMATION, stacks::cloudformation)),
    Service::for_clients("s3", include_str!("../models/s3.json"), (stacks::S3, stacks::s3)),
    Service::for_clients("ssm", include_str!("../models/ssm.json"), (stacks::SSM, stacks::ssm)),
    Service::new("apigateway", include_str!("../models/apigatewayv2.json"), (apigatewayv2::OPERATIONS, apigatewayv2::call)),
    Service::for_clients("cloudcontrolapi", include_str!("../models/cloudcontrol.json"), (stacks::RESOURCES, stacks::resources)),
    Service::new("rds", include_str!("../models/rds.json"), (rds::OPERATIONS, rds::call)),
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/aws-operations.md");
    const HEAD: &str = "\
# Operations of AWS's wire API

`make docs` writes this page from `rust/doors/src/aws/services`. [Use it from any AWS SDK](aws.md) says how to reach them, and what differs.
An operation that is not served is answered with status 501 and the code `NotImplemented`. In brackets stands the name that requests are
signed for, which `forebay aws keys create --service` takes. One that is refused is known, and refused whatever it asks: the error says who
does that here.
";

    /// A service as people call it.
    fn title(model: &Model) -> String {
        let name = match (model.signing_name, model.api_version) {
            ("apigateway", "2015-07-09") => "API Gateway, REST APIs",
            ("apigateway", _) => "API Gateway, HTTP and WebSocket APIs",
            ("cloudcontrolapi", _) => "Cloud Control",
            ("cloudformation", _) => "CloudFormation",
            ("events", _) => "EventBridge",
            ("execute-api", _) => "API Gateway Management API",
            ("kinesis", _) => "Kinesis",
            ("lambda", _) => "Lambda",
            ("logs", _) => "CloudWatch Logs",
            ("monitoring", _) => "CloudWatch",
            ("rds", _) => "RDS",
            ("s3", _) => "S3",
            ("scheduler", _) => "EventBridge Scheduler",
            ("schemas", _) => "EventBridge Schemas",
            ("secretsmanager", _) => "Secrets Manager",
            ("sns", _) => "SNS",
            ("sqs", _) => "SQS",
            ("ssm", _) => "Systems Manager Parameter Store",
            ("states", _) => "Step Functions",
            ("sts", _) => "STS",
            (name, _) => panic!("{name} has no title"),
        };
        format!("{name} (`{}`)", model.signing_name)
    }

    /// `FOREBAY_WRITE_DOCS=1` writes the page, which is what `make docs` does.
    #[test]
    fn the_page_lists_what_is_served() {
        let mut page = HEAD.to_owned();
        for service in &SERVICES {
            let model = service.model();
            let refused = if service.name == "rds" { rds::REFUSED } else { &[] };
            assert!(refused.iter().all(|name| service.operations.contains(name)), "{service:?}");
            let mut served = service.operations.to_vec();
            served.retain(|name| !refused.contains(name));
            served.sort_unstable();
            let listed = |names: &[&str]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let _ = write!(page, "\n## {}\n\nServed: {}.\n", title(model), listed(&served));
            if !refused.is_empty() {
                let _ = write!(page, "\nRefused: {}.\n", listed(refused));
            }
            if !model.others.is_empty() {
                let _ = write!(page, "\nNot served: {}.\n", listed(&model.others));
            }
        }
        if std::env::var_os("FOREBAY_WRITE_DOCS").is_some() {
            std::fs::write(PAGE, &page).unwrap();
        }
        let mut headings: Vec<&str> = page.lines().filter(|line| line.starts_with("## ")).collect();
        headings.sort_unstable();
        headings.dedup();
        assert_eq!(headings.len(), SERVICES.len(), "each service has a heading of its own");
        assert!(
            std::fs::read_to_string(PAGE).unwrap_or_default() == page,
            "docs/aws-operations.md is not current: `make docs`"
        );
    }

    #[test]
    fn every_table_is_read_and_has_the_operations_that_are_carried_out() {
        for service in &SERVICES {
            let model = service.model();
            assert_eq!(model.signing_name, service.name);
            let mut tabled: Vec<&str> = model.operations.iter().map(|operation| operation.name).collect();
            let mut carried_out = service.operations.to_vec();
            tabled.sort_unstable();
            carried_out.sort_unstable();
            assert_eq!(tabled, carried_out, "{service:?}");
        }
    }
}
