//! Where requests go: `origins`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::path::PathBuf;

use super::clients::unique;
use super::conflict::Conflict;
use super::conflict::FileFault;
use super::environment::Environment;
use super::error::Findings;
use super::error::Place;
use super::files;
use super::secret;
use super::section::Section;
use super::values;
use crate::s3::Credentials;
use crate::upstream::Addressing;
use crate::upstream::BucketGlobs;
use crate::upstream::CredentialSource;
use crate::upstream::Endpoint;
use crate::upstream::OriginConfig;
use crate::upstream::Timeouts;
use crate::upstream::check_ca_file;

/// Reads `origins`. An origin without an endpoint that can be used is left out: that is an error
/// already.
pub(super) fn read(
    root: &Section<'_>,
    environment: &Environment,
    findings: &mut Findings,
) -> Vec<OriginConfig> {
    let sections = root.sections("origins");
    let mut names: HashMap<String, Place> = HashMap::new();
    let mut covered: Option<String> = None;
    let mut origins = Vec::new();
    for section in &sections {
        let name = section.text("name");
        unique(
            &mut names,
            "the name",
            &name,
            section.place("name"),
            findings,
        );
        if let Some(first) = &covered {
            let text =
                format_args!("gets no request: origin `{first}` before it takes every bucket");
            findings.warn(section.here(), text);
        } else if section.texts("buckets").iter().any(|glob| glob == "*") {
            covered = Some(name);
        }
        origins.extend(origin(section, environment, findings));
    }
    if root.has("origins") && root.is_empty_list("origins") {
        findings.error(root.place("origins"), Conflict::NoOrigin);
    }
    origins
}

fn origin(
    section: &Section<'_>,
    environment: &Environment,
    findings: &mut Findings,
) -> Option<OriginConfig> {
    let ca_file = section.maybe_text("ca_file").map(PathBuf::from);
    if let Some(file) = &ca_file {
        check_authorities(file, &section.place("ca_file"), findings);
    }
    let credentials = credentials(section, environment, findings);
    let endpoint = values::endpoint(&section.text("endpoint"))?;
    let server_name = section.maybe_text("server_name");
    check_tls(section, &endpoint, server_name.as_deref(), findings);
    let timeouts = section.section("timeouts");
    Some(OriginConfig {
        name: section.text("name").into(),
        region: section
            .maybe_text("region")
            .unwrap_or_else(|| region(&endpoint.host, environment)),
        endpoint,
        addressing: match section.text("addressing").as_str() {
            "virtual" => Addressing::VirtualHosted,
            _ => Addressing::Path,
        },
        ca_file,
        server_name,
        credentials: credentials.unwrap_or(CredentialSource::DefaultChain),
        buckets: buckets(&section.texts("buckets")),
        trailing_checksums: section.flag("trailing_checksums"),
        timeouts: Timeouts {
            connect: timeouts.duration("connect"),
            read: timeouts.duration("read"),
            write: timeouts.duration("write"),
            total: timeouts.duration("total"),
        },
        max_retries: section.count("max_retries").try_into().unwrap_or_default(),
        idle_timeout: section.duration("idle_timeout"),
    })
}

/// Notes when a file of certificate authorities cannot be used.
fn check_authorities(file: &Path, place: &Place, findings: &mut Findings) {
    let Some(bytes) = files::check_pem(file, "CERTIFICATE", place, findings) else {
        return;
    };
    findings.contents(file, &bytes);
    if let Err(error) = check_ca_file(file) {
        let (path, why) = (file.to_owned(), FileFault::Unusable(error.reason));
        findings.error(place.clone(), Conflict::File { path, why });
    }
}

/// Pingora checks no certificate at all when it has no name to check it against.
fn check_tls(
    section: &Section<'_>,
    endpoint: &Endpoint,
    server_name: Option<&str>,
    findings: &mut Findings,
) {
    let is_ip = |host: &str| host.parse::<IpAddr>().is_ok();
    if endpoint.is_tls && server_name.map_or(is_ip(&endpoint.host), is_ip) {
        let key = if server_name.is_some() {
            "server_name"
        } else {
            "endpoint"
        };
        findings.error(section.place(key), Conflict::NoServerName);
    }
    for key in ["server_name", "ca_file"] {
        if !endpoint.is_tls && section.has(key) {
            findings.warn(&section.place(key), "has no effect on an http endpoint");
        }
    }
}

fn credentials(
    section: &Section<'_>,
    environment: &Environment,
    findings: &mut Findings,
) -> Option<CredentialSource> {
    let Some(given) = section.maybe_section("credentials") else {
        return match section.text("credentials").as_str() {
            "anonymous" => Some(CredentialSource::Anonymous),
            "env" => from_environment(&section.place("credentials"), environment, findings),
            _ => Some(CredentialSource::DefaultChain),
        };
    };
    if let Some(pair) = given.maybe_section("static") {
        return secret::key_pair(&pair, environment, findings).map(CredentialSource::Static);
    }
    if let Some(token) = given.maybe_section("web_identity") {
        let token_file = PathBuf::from(token.text("token_file"));
        return Some(CredentialSource::WebIdentity {
            role_arn: token.text("role_arn"),
            session_name: token.text("session_name"),
            token_file,
        });
    }
    given.maybe_text("profile").map(CredentialSource::Profile)
}

fn from_environment(
    place: &Place,
    environment: &Environment,
    findings: &mut Findings,
) -> Option<CredentialSource> {
    let mut variable = |name: &str| {
        secret::from_variable(name, environment)
            .map_err(|error| findings.error(place.clone(), Conflict::Secret(error)))
            .ok()
    };
    let id = variable("AWS_ACCESS_KEY_ID");
    let secret_access_key = variable("AWS_SECRET_ACCESS_KEY");
    let token = "AWS_SESSION_TOKEN";
    let session_token = environment.get(token).and_then(|_| variable(token));
    Some(CredentialSource::Static(Credentials {
        session_token,
        ..Credentials::fixed(id?.expose(), secret_access_key?)
    }))
}

/// The region that an origin's requests are signed for when the file does not say it. A regional
/// AWS host takes no other one than its own; for every other host the environment knows.
fn region(host: &str, environment: &Environment) -> String {
    aws_region(host)
        .map(str::to_owned)
        .or_else(|| environment.get("AWS_REGION"))
        .or_else(|| environment.get("AWS_DEFAULT_REGION"))
        .unwrap_or_else(|| "us-east-1".to_owned())
}

/// The region in `s3.<region>.amazonaws.com` and its dual-stack and FIPS forms:
/// <https://docs.aws.amazon.com/general/latest/gr/s3.html>.
fn aws_region(host: &str) -> Option<&str> {
    let rest = host
        .strip_suffix(".amazonaws.com")
        .or_else(|| host.strip_suffix(".amazonaws.com.cn"))?;
    let rest = rest
        .strip_prefix("s3-fips.")
        .or_else(|| rest.strip_prefix("s3."))?;
    let region = rest.strip_prefix("dualstack.").unwrap_or(rest);
    (!region.is_empty() && !region.contains('.')).then_some(region)
}

fn buckets(patterns: &[String]) -> BucketGlobs {
    // What is no glob has been noted.
    let globs = patterns.iter();
    let globs = globs.filter_map(|pattern| values::bucket_glob(pattern));
    BucketGlobs::new(globs.collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_knows_its_region_best() {
        let environment = Environment::fixed([("AWS_REGION", "eu-north-1")]);
        assert_eq!(
            region("s3.eu-west-1.amazonaws.com", &environment),
            "eu-west-1"
        );
        assert_eq!(
            region("s3.dualstack.eu-west-1.amazonaws.com", &environment),
            "eu-west-1"
        );
        assert_eq!(
            region("s3-fips.us-gov-west-1.amazonaws.com", &environment),
            "us-gov-west-1"
        );
        assert_eq!(
            region("s3.cn-north-1.amazonaws.com.cn", &environment),
            "cn-north-1"
        );
        assert_eq!(region("s3.amazonaws.com", &environment), "eu-north-1");
        assert_eq!(region("minio.internal", &environment), "eu-north-1");
        let old = Environment::fixed([("AWS_DEFAULT_REGION", "eu-south-1")]);
        assert_eq!(region("minio.internal", &old), "eu-south-1");
        assert_eq!(
            region("minio.internal", &Environment::fixed([])),
            "us-east-1"
        );
    }
}
