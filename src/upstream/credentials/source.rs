//! The sources of the AWS SDK, with our time limits and our one crypto provider.
//!
//! The SDK's providers are built anew for each load, which is rare: they remember a profile file,
//! or that it was broken, forever.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::BehaviorVersion;
use aws_config::Region;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::web_identity_token::StaticConfiguration;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_credential_types::Credentials as AwsCredentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::http::SharedHttpClient;

use super::CredentialsError;
use super::LoadCredentials;
use crate::s3::Credentials;
use crate::s3::Secret;

/// One attempt at a token service; two fit into a load.
const ATTEMPT: Duration = Duration::from_millis(2200);
const ATTEMPTS: u32 = 2;
const CONNECT: Duration = Duration::from_millis(1500);
/// Instance metadata is one hop away. Where there is none, nothing answers, and start-up waits for
/// this long, once for connecting and once for reading at worst.
const IMDS: Duration = Duration::from_secs(1);

/// A named profile of the AWS configuration files.
pub(super) fn profile(name: &str, region: &str) -> impl LoadCredentials + use<> {
    Profile {
        name: name.to_owned(),
        sdk: Sdk::new(region),
    }
}

/// Environment, profile, web identity, container, instance metadata.
pub(super) fn default_chain(region: &str) -> impl LoadCredentials + use<> {
    Chain {
        sdk: Sdk::new(region),
        http: Builder::new().build_http(),
    }
}

/// A token file exchanged at the token service of the region.
pub(super) fn web_identity(
    role_arn: &str,
    token_file: &Path,
    session_name: &str,
    region: &str,
) -> impl LoadCredentials + use<> {
    WebIdentity {
        configuration: StaticConfiguration {
            web_identity_token_file: token_file.to_owned(),
            role_arn: role_arn.to_owned(),
            session_name: session_name.to_owned(),
        },
        sdk: Sdk::new(region),
    }
}

/// What every provider of the SDK is given.
struct Sdk {
    region: Region,
    https: SharedHttpClient,
}

impl Sdk {
    fn new(region: &str) -> Self {
        let tls = Provider::Rustls(CryptoMode::Ring);
        Self {
            region: Region::new(region.to_owned()),
            https: Builder::new().tls_provider(tls).build_https(),
        }
    }

    /// Anew for each load: it holds the profile files once they are read, or that they were broken.
    fn config(&self) -> ProviderConfig {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .operation_attempt_timeout(ATTEMPT)
            .build();
        ProviderConfig::without_region()
            .with_behavior_version(Some(BehaviorVersion::latest()))
            .with_region(Some(self.region.clone()))
            .with_http_client(self.https.clone())
            .with_retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .with_timeout_config(timeouts)
    }
}

struct Profile {
    name: String,
    sdk: Sdk,
}

#[async_trait]
impl LoadCredentials for Profile {
    async fn load(&self) -> Result<Credentials, CredentialsError> {
        let provider = ProfileFileCredentialsProvider::builder()
            .configure(&self.sdk.config())
            .profile_name(&self.name)
            .build();
        ask(&provider).await
    }
}

struct Chain {
    sdk: Sdk,
    /// Instance metadata speaks plain text; a machine without certificate authorities can ask it.
    http: SharedHttpClient,
}

#[async_trait]
impl LoadCredentials for Chain {
    async fn load(&self) -> Result<Credentials, CredentialsError> {
        let config = self.sdk.config();
        let imds = aws_config::imds::Client::builder()
            .configure(&config.clone().with_http_client(self.http.clone()))
            .max_attempts(ATTEMPTS)
            .connect_timeout(IMDS)
            .read_timeout(IMDS)
            .build();
        let chain = DefaultCredentialsChain::builder()
            .configure(config)
            .region(self.sdk.region.clone())
            .imds_client(imds)
            .build()
            .await;
        ask(&chain).await
    }
}

struct WebIdentity {
    configuration: StaticConfiguration,
    sdk: Sdk,
}

#[async_trait]
impl LoadCredentials for WebIdentity {
    async fn load(&self) -> Result<Credentials, CredentialsError> {
        let provider = WebIdentityTokenCredentialsProvider::builder()
            .configure(&self.sdk.config())
            .static_configuration(self.configuration.clone())
            .build();
        ask(&provider).await
    }
}

async fn ask(provider: &impl ProvideCredentials) -> Result<Credentials, CredentialsError> {
    Ok(from_sdk(&provider.provide_credentials().await?))
}

fn from_sdk(credentials: &AwsCredentials) -> Credentials {
    Credentials {
        access_key_id: credentials.access_key_id().into(),
        secret_access_key: Secret::new(credentials.secret_access_key()),
        session_token: credentials.session_token().map(Secret::new),
        expires_at: credentials.expiry(),
    }
}
