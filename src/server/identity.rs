//! A start without a file: the one client is whoever holds the origin's own key pair.

use crate::auth::ClientConfig;
use crate::config::ClientSource;
use crate::config::Config;
use crate::upstream::CredentialSource;
use crate::upstream::OriginCredentials;

use super::ServerError;

/// Finds the clients' key pair where the configuration names none. Without credentials of any kind
/// the origin is asked anonymously and everyone may do everything, which only this machine may be
/// able to use.
pub(super) fn complete(config: &mut Config) -> Result<(), ServerError> {
    let ClientSource::SameAsOrigin { name } = config.client_source.clone() else {
        return Ok(());
    };
    let Some(origin) = config.origins.first_mut() else {
        return Ok(());
    };
    let source = OriginCredentials::new(&origin.credentials, &origin.region);
    // This runtime ends before the server may fork.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ServerError::Runtime)?;
    let found = runtime.block_on(source.current());
    drop(source);
    runtime.shutdown_background();
    match found {
        Ok(Some(credentials)) => {
            if credentials.expires_at.is_some() {
                log::warn!(
                    "the credentials are temporary: clients have to sign with the pair {} that was \
                     found at start, and this process has to be restarted, or its file reloaded, when it expires",
                    credentials.access_key_id
                );
            }
            config.auth.clients.push(ClientConfig { name, credentials });
            Ok(())
        }
        Ok(None) => anonymous(config),
        Err(error) if error.is_no_credentials() => anonymous(config),
        Err(error) => Err(ServerError::Credentials(error)),
    }
}

fn anonymous(config: &mut Config) -> Result<(), ServerError> {
    if !config.is_local_only() {
        return Err(ServerError::AnonymousInPublic);
    }
    log::warn!(
        "no AWS credentials were found: the origin is asked anonymously, and every process of this \
         machine may use the proxy unsigned"
    );
    for origin in &mut config.origins {
        origin.credentials = CredentialSource::Anonymous;
    }
    config.allow_anonymous_everything();
    Ok(())
}
