//! What a deployment is served under, and to whom: stages, keys, plans, certificates.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Texts;

/// A name under which a deployment is served.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Stage {
    /// The first part of the path.
    pub stage_name: String,
    /// What it serves.
    pub deployment_id: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The certificate it shows to servers behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate_id: Option<String>,
    /// Whether answers may be cached.
    pub cache_cluster_enabled: bool,
    /// GB: `0.5`, `1.6`, `6.1`, `13.5`, `28.4`, `58.2`, `118` or `237`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_cluster_size: Option<String>,
    /// `NOT_AVAILABLE` or `AVAILABLE`.
    pub cache_cluster_status: String,
    /// Settings by method: `*/*`, or `{path without the first slash, its slashes as ~1}/{verb}` (`~1pets~1{id}/GET` is kept as `pets/{id}/GET`).
    pub method_settings: BTreeMap<String, MethodSetting>,
    /// Its variables.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: Texts,
    /// The version of the documentation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub documentation_version: Option<String>,
    /// What is written about each request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_log_settings: Option<AccessLogSettings>,
    /// What part of the requests goes to another deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary_settings: Option<CanarySettings>,
    /// Whether requests are traced.
    pub tracing_enabled: bool,
    /// A web ACL's ARN. It is kept and shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub web_acl_arn: Option<String>,
    /// Its tags.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: Texts,
    /// When it was made, ms since 1970.
    pub created_date: u64,
    /// When it was last changed, ms since 1970.
    pub last_updated_date: u64,
}

/// What becomes of a request that wants a fresh answer and may not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CacheControlStrategy {
    /// 403.
    #[serde(rename = "FAIL_WITH_403")]
    FailWith403,
    /// It is answered from the cache, with a `Warning` header.
    #[default]
    SucceedWithResponseHeader,
    /// It is answered from the cache.
    SucceedWithoutResponseHeader,
}

/// The settings of a method in a stage.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MethodSetting {
    /// Whether the method has metrics of its own.
    pub metrics_enabled: bool,
    /// `OFF`, `ERROR` or `INFO`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logging_level: Option<String>,
    /// Whether whole requests and answers are logged.
    pub data_trace_enabled: bool,
    /// Requests at once; -1: no limit of its own.
    pub throttling_burst_limit: i64,
    /// Requests a second; -1: no limit of its own.
    pub throttling_rate_limit: f64,
    /// Whether answers are cached, if the stage has a cache.
    pub caching_enabled: bool,
    /// How long, 0 to 3,600 s.
    pub cache_ttl_in_seconds: u32,
    /// It is kept and shown: the cache is in memory.
    pub cache_data_encrypted: bool,
    /// Whether only an authorised client may ask for a fresh answer.
    pub require_authorization_for_cache_control: bool,
    /// What the others get.
    pub unauthorized_cache_control_header_strategy: CacheControlStrategy,
}

impl Default for MethodSetting {
    fn default() -> Self {
        Self {
            metrics_enabled: false,
            logging_level: None,
            data_trace_enabled: false,
            throttling_burst_limit: 5_000,
            throttling_rate_limit: 10_000.0,
            caching_enabled: false,
            cache_ttl_in_seconds: 300,
            cache_data_encrypted: false,
            require_authorization_for_cache_control: true,
            unauthorized_cache_control_header_strategy: CacheControlStrategy::default(),
        }
    }
}

/// What is written about each request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AccessLogSettings {
    /// With `$context.…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// A log group's ARN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_arn: Option<String>,
}

/// What part of a stage's requests goes to another deployment.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CanarySettings {
    /// 0 to 100.
    pub percent_traffic: f64,
    /// Where they go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment_id: Option<String>,
    /// Variables that are others there.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub stage_variable_overrides: Texts,
    /// Whether they share the stage's cache.
    pub use_stage_cache: bool,
}

/// What names a client in usage plans.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ApiKey {
    /// Ten characters.
    pub id: String,
    /// The secret, 20 to 128 characters.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Of AWS's Marketplace. It is kept and shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<String>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether it opens anything.
    pub enabled: bool,
    /// When it was made, ms since 1970.
    pub created_date: u64,
    /// When it was last changed, ms since 1970.
    pub last_updated_date: u64,
    /// Old: `{api}/{stage}`.
    pub stage_keys: Vec<String>,
    /// Its tags.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: Texts,
}

/// What clients with a key may do.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct UsagePlan {
    /// Six characters.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The stages it opens.
    pub api_stages: Vec<ApiStage>,
    /// The limit of each key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttle: Option<Throttle>,
    /// The quota of each key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
    /// Of AWS's Marketplace. It is kept and shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product_code: Option<String>,
    /// Its tags.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: Texts,
    /// The ids of its keys. AWS shows them by a call of their own.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub keys: BTreeSet<String>,
}

/// A stage that a usage plan opens.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ApiStage {
    /// The API.
    pub api_id: String,
    /// Its stage.
    pub stage: String,
    /// Limits of each key for a method, by `{path}/{verb}`: `/pets/GET`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub throttle: BTreeMap<String, Throttle>,
}

/// A rate and a burst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Throttle {
    /// Requests at once.
    pub burst_limit: u32,
    /// Requests a second.
    pub rate_limit: f64,
}

/// How often a quota begins anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Period {
    /// At midnight UTC.
    #[default]
    Day,
    /// On Sunday.
    Week,
    /// On the first.
    Month,
}

/// How many requests a key has in a period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Quota {
    /// Requests.
    pub limit: u32,
    /// Requests that are taken from the first period.
    pub offset: u32,
    /// How often it begins anew.
    pub period: Period,
}

/// A private key, PEM. No text for people has it.
#[derive(Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct PrivateKey(pub String);

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("PrivateKey(…)")
    }
}

/// What a stage shows to servers behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClientCertificate {
    /// Six characters.
    pub client_certificate_id: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The certificate, PEM.
    pub pem_encoded_certificate: String,
    /// Its key, which no call tells.
    pub private_key: PrivateKey,
    /// When it was made, ms since 1970.
    pub created_date: u64,
    /// When it ends, ms since 1970.
    pub expiration_date: u64,
    /// Its tags.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: Texts,
}
