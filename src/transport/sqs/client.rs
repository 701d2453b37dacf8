//! The SDK's client of one queue: its credentials, its endpoint, its way through the policy.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::Region;
use aws_config::SdkConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns, ResolveDnsError};

use super::grammar::Text;
use crate::transport::policy::Gate;
use crate::transport::resolve::Lookups;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(2);
/// How long a request may take, with its answer.
const ATTEMPT: Duration = Duration::from_secs(10);
/// What the SDK signs for where nobody names a region: local servers do not mind.
const REGION: &str = "us-east-1";

/// An address that the policy forbids.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Forbidden(String);

/// Where the environment says that SQS is, in the place of the queue's URL.
pub(super) fn endpoint() -> Option<String> {
    ["AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|url| !url.is_empty()))
}

fn region(text: &Text) -> Region {
    let told = text.region().map(str::to_owned);
    let of_environment = || {
        ["AWS_REGION", "AWS_DEFAULT_REGION"]
            .iter()
            .find_map(|name| std::env::var(name).ok().filter(|region| !region.is_empty()))
    };
    let region = told.or_else(of_environment);
    Region::new(region.unwrap_or_else(|| REGION.to_owned()))
}

fn tls() -> Provider {
    Provider::Rustls(CryptoMode::Ring)
}

/// What clients of a queue share. Their credentials are found by the SDK's usual chain, when they
/// are needed.
pub(super) async fn settings(text: &Text) -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_attempt_timeout(ATTEMPT)
        .build();
    aws_config::defaults(BehaviorVersion::latest())
        .region(region(text))
        // Whom credentials are asked for is not where events go.
        .http_client(Builder::new().tls_provider(tls()).build_https())
        .timeout_config(timeouts)
        .load()
        .await
}

/// Makes a client, with connections of its own.
pub(super) fn make(
    settings: &SdkConfig,
    text: &Text,
    gate: &Arc<Gate>,
    lookups: &Lookups,
) -> Client {
    let resolver = Allowed {
        gate: Arc::clone(gate),
        lookups: lookups.clone(),
    };
    let http = Builder::new().tls_provider(tls());
    let config = aws_sdk_sqs::config::Builder::from(settings)
        .endpoint_url(endpoint().unwrap_or_else(|| text.endpoint().to_owned()))
        .http_client(http.build_with_resolver(resolver))
        // What is tried again, and when, is ours to say.
        .retry_config(RetryConfig::disabled());
    Client::from_conf(config.build())
}

/// Finds addresses, and asks the policy about each: at every connection, since a name server can
/// change its mind.
#[derive(Clone, Debug)]
struct Allowed {
    gate: Arc<Gate>,
    lookups: Lookups,
}

impl ResolveDns for Allowed {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        DnsFuture::new(async move {
            let (tell, told) = tokio::sync::oneshot::channel();
            // The port is not asked about; any but 0 will do.
            let started = self
                .lookups
                .start(name, 443, |found| drop(tell.send(found)));
            started.map_err(ResolveDnsError::new)?;
            let found = told.await.map_err(ResolveDnsError::new)?;
            let addresses = found.map_err(ResolveDnsError::new)?;
            let allowed = self.gate.current().check_all(&addresses);
            allowed.map_err(|why| ResolveDnsError::new(Forbidden(why)))?;
            Ok(addresses
                .iter()
                .map(|address| address.ip())
                .collect::<Vec<IpAddr>>())
        })
    }
}
