//! A few lines that say what a configuration amounts to. No secrets.

use std::fmt;

use super::CacheConfig;
use super::ClientSource;
use super::Config;
use super::values;
use crate::cache::CacheMode;
use crate::s3::Principal;
use crate::upstream::CredentialSource;
use crate::upstream::OriginConfig;

/// What `--test` prints.
pub struct Summary<'a>(pub(super) &'a Config);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = self.0;
        for warning in &config.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        for listener in &config.listen {
            writeln!(f, "  listen   {listener}")?;
        }
        match &config.admin {
            Some(admin) => {
                let token = if admin.token.is_some() {
                    ", with a token"
                } else {
                    ""
                };
                writeln!(f, "  admin    {}{token}", admin.listen)?;
            }
            None => writeln!(f, "  admin    off")?,
        }
        for origin in &config.origins {
            write_origin(f, origin)?;
        }
        if let ClientSource::SameAsOrigin { name } = &config.client_source {
            writeln!(f, "  client   {name}, the holder of the origin's key pair")?;
        }
        for client in &config.auth.clients {
            let Some(rules) = config.rules.get(&Principal::Client(client.name.clone())) else {
                continue;
            };
            let (allow, deny) = (rules.allow.len(), rules.deny.len());
            let (name, key) = (&client.name, &client.credentials.access_key_id);
            writeln!(
                f,
                "  client   {name}, key {key}, {allow} allow, {deny} deny"
            )?;
        }
        if let Some(rules) = config.rules.get(&Principal::Anonymous) {
            let (allow, deny) = (rules.allow.len(), rules.deny.len());
            writeln!(f, "  client   anonymous, {allow} allow, {deny} deny")?;
        }
        if let Some(policy) = &config.web_identity {
            let (allow, deny) = (policy.rules.allow.len(), policy.rules.deny.len());
            writeln!(
                f,
                "  client   holders of web identity tokens, {allow} allow, {deny} deny"
            )?;
        }
        write_cache(f, &config.cache)
    }
}

fn write_cache(f: &mut fmt::Formatter<'_>, cache: &CacheConfig) -> fmt::Result {
    let mode = match cache.mode {
        CacheMode::On => "",
        CacheMode::Off => return writeln!(f, "  cache    off"),
        CacheMode::Verify => ", only to compare",
    };
    let store = &cache.store;
    let memory = values::show_size(store.memory);
    write!(f, "  cache    {memory} of memory")?;
    if let Some(dir) = &store.dir {
        let size = store.disk.map_or("disk".to_owned(), values::show_size);
        write!(f, ", {size} in {}", dir.display())?;
    }
    let block_size = values::show_size(store.block_size.bytes());
    write!(f, ", blocks of {block_size}")?;
    match cache.rules.specs().len() {
        0 => writeln!(f, "{mode}"),
        rules => writeln!(f, ", {rules} rules{mode}"),
    }
}

fn write_origin(f: &mut fmt::Formatter<'_>, origin: &OriginConfig) -> fmt::Result {
    let scheme = if origin.endpoint.is_tls {
        "https"
    } else {
        "http"
    };
    let credentials = match &origin.credentials {
        CredentialSource::Static(pair) => format!("key {}", pair.access_key_id),
        CredentialSource::Profile(profile) => format!("profile {profile}"),
        CredentialSource::DefaultChain => "default credential chain".to_owned(),
        CredentialSource::WebIdentity { role_arn, .. } => format!("role {role_arn}"),
        CredentialSource::Anonymous => "unsigned".to_owned(),
    };
    writeln!(
        f,
        "  origin   {}, {scheme}://{}, region {}, {credentials}",
        origin.name,
        origin.endpoint.authority(),
        origin.region
    )
}
