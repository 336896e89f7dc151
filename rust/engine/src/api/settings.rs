//! The settings with which a process opens its end of a store.

use serde::Deserialize;

use crate::base::limits::AccountSettings;
use crate::base::token::Token;

/// What `Engine(settings)` is given.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Settings {
    /// The app's name.
    pub app: String,
    /// The directory of the store, or `:memory:`.
    pub store: String,
    /// The app that the store must be of. Without it (a command) it may be anybody's, and is not given a name.
    #[serde(default)]
    pub store_app: Option<String>,
    /// AWS region of its ARNs.
    pub region: String,
    /// AWS account of its ARNs.
    pub account: String,
    /// `power-loss`, `process-crash` or `memory`: what an acknowledged event survives.
    pub durability: String,
    /// Whether this process owns the store: `elect` (the first comer does), true (it does, or fails) or false (it is a client).
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Option<serde_json::Value>"))]
    pub serve: Serve,
    /// Time moves only when it is told to.
    #[serde(default)]
    pub manual: bool,
    /// Where a manual monotonic clock begins.
    #[serde(default)]
    pub mono_ns: u64,
    /// Where a manual wall clock begins.
    #[serde(default)]
    pub wall_ms: u64,
    /// The chance of a manual clock.
    #[serde(default)]
    pub entropy: u64,
    /// The account's limits.
    #[serde(default)]
    pub limits: AccountSettings,
    /// Address that metrics are served at.
    #[serde(default)]
    pub metrics_host: Option<String>,
    /// Port that metrics are served at; 0 or absent: not.
    #[serde(default)]
    pub metrics_port: Option<u16>,
    /// What a scraper must give; without it only this machine may scrape.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub metrics_token: Option<Token>,
    /// Address that APIs are served at.
    #[serde(default)]
    pub http_host: Option<String>,
    /// Port that APIs are served at; 0 or absent: not.
    #[serde(default)]
    pub http_port: Option<u16>,
    /// Ports behind which one API is alone.
    #[serde(default)]
    pub http_api_ports: Vec<ApiPort>,
    /// File of the certificate that the APIs are served with, PEM.
    #[serde(default)]
    pub http_certificate: Option<String>,
    /// File of its key, PEM.
    #[serde(default)]
    pub http_key: Option<String>,
    /// File of the authorities that sign the certificates of clients, PEM; absent: no client needs one.
    #[serde(default)]
    pub http_truststore: Option<String>,
    /// Addresses that are believed what they say of where a request comes from.
    #[serde(default)]
    pub http_trusted_proxies: Vec<String>,
    /// File that requests of APIs are logged to; `-`: standard output.
    #[serde(default)]
    pub http_access_log: Option<String>,
    /// `common`, `json`, or a template of AWS's.
    #[serde(default)]
    pub http_access_log_format: Option<String>,
    /// Whether other machines may reach the APIs without TLS.
    #[serde(default)]
    pub http_plain: bool,
    /// The issuers of user pools' tokens, by the pools' ids, where they are not Cognito's own.
    #[serde(default)]
    pub http_user_pools: std::collections::BTreeMap<String, String>,
    /// Own the store though another program holds one of these ports, and listen there once it is free.
    #[serde(default)]
    pub ports_late: bool,
    /// Address that AWS's wire API is served at.
    #[serde(default)]
    pub aws_host: Option<String>,
    /// Port that AWS's wire API is served at; 0 or absent: not.
    #[serde(default)]
    pub aws_port: Option<u16>,
    /// The file that gets a line of each request to AWS's wire API; `-`: standard error.
    #[serde(default)]
    pub aws_access_log: Option<String>,
    /// Whether anything is counted; false to measure what counting costs.
    #[serde(default = "yes")]
    pub metrics: bool,
}

fn yes() -> bool {
    true
}

/// A port behind which one API is alone.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ApiPort {
    /// Of an HTTP or a WebSocket API: its id. Of a REST API: its name.
    pub api: String,
    /// Its name.
    pub name: String,
    /// Whether it is a REST API.
    #[serde(default)]
    pub is_rest: bool,
    /// The port.
    pub port: u16,
    /// The authorities of its clients' certificates, PEM; absent: those of all ports.
    #[serde(default)]
    pub truststore: Option<String>,
}

/// Whether this process owns the store.
#[derive(Clone, Debug, Default)]
pub enum Serve {
    /// The first comer owns it, the others are clients.
    #[default]
    Elect,
    /// Own it, or fail.
    Own,
    /// Be a client of whoever owns it.
    Client,
}

impl<'de> Deserialize<'de> for Serve {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Given {
            Flag(bool),
            Word(String),
        }
        match Given::deserialize(deserializer)? {
            Given::Flag(true) => Ok(Self::Own),
            Given::Flag(false) => Ok(Self::Client),
            Given::Word(word) if word == "elect" => Ok(Self::Elect),
            Given::Word(word) => {
                Err(serde::de::Error::custom(format!("serve is {word:?}: allowed are \"elect\", true, false")))
            }
        }
    }
}
