//! Who may call and what they may do: `clients`, `anonymous`, `web_identity`, `auth`.

use std::collections::HashMap;
use std::sync::Arc;

use super::ClientSource;
use super::WebIdentityPolicy;
use super::conflict::Conflict;
use super::environment::Environment;
use super::error::Findings;
use super::error::Place;
use super::secret;
use super::section::Section;
use super::values;
use crate::auth::AuthConfig;
use crate::auth::ClientConfig;
use crate::auth::WebIdentityConfig;
use crate::policy::Action;
use crate::policy::Grant;
use crate::policy::Rules;
use crate::policy::Statement;
use crate::s3::Principal;
use crate::upstream::CredentialSource;
use crate::upstream::OriginConfig;
use crate::upstream::OriginIdentity;

/// What the only client is called when none is named.
const ONLY_CLIENT: &str = "default";

const ACTIONS: [(&str, Action); 4] = [
    ("read", Action::Read),
    ("list", Action::List),
    ("write", Action::Write),
    ("delete", Action::Delete),
];

const GRANTS: [(&str, Grant); 5] = [
    ("versions", Grant::Versions),
    ("tagging", Grant::Tagging),
    ("acl", Grant::Acl),
    ("retention", Grant::Retention),
    ("bucket-config", Grant::BucketConfig),
];

/// Everything about callers.
pub(super) struct Clients {
    pub(super) auth: AuthConfig,
    pub(super) source: ClientSource,
    pub(super) rules: HashMap<Principal, Rules>,
    pub(super) origin_identity: HashMap<Principal, OriginIdentity>,
    pub(super) web_identity: Option<WebIdentityPolicy>,
}

/// Reads the sections about callers. `origins` are the ones that were well formed.
pub(super) fn read(
    root: &Section<'_>,
    origins: &[OriginConfig],
    environment: &Environment,
    findings: &mut Findings,
) -> Clients {
    let mut reader = Reader {
        origins,
        environment,
        findings,
        access_keys: HashMap::new(),
        rules: HashMap::new(),
        origin_identity: HashMap::new(),
    };
    let clients = reader.clients(root);
    let anonymous = root.maybe_section("anonymous");
    if let Some(section) = &anonymous {
        let rules = reader.rules(section);
        reader.add(Principal::Anonymous, rules, OriginIdentity::Origin);
    }
    let web_identity = root.maybe_section("web_identity");
    let web_identity_config = web_identity
        .as_ref()
        .map(|section| reader.web_identity(section));
    let web_identity = web_identity.as_ref().map(|section| WebIdentityPolicy {
        rules: reader.rules(section),
        origin_identity: origin_identity(section),
        sts_endpoint: section
            .maybe_text("sts_endpoint")
            .and_then(|url| values::endpoint(&url)),
    });
    let source = reader.source(root);
    let auth = root.section("auth");
    let regions = auth.texts("regions");
    Clients {
        auth: AuthConfig {
            clients,
            regions: (auth.maybe_text("regions").as_deref() != Some("any")).then_some(regions),
            unsigned_payload: auth.flag("unsigned_payload"),
            max_skew: auth.duration("max_skew"),
            anonymous: anonymous.is_some(),
            web_identity: web_identity_config,
        },
        source,
        rules: reader.rules,
        origin_identity: reader.origin_identity,
        web_identity,
    }
}

struct Reader<'a> {
    origins: &'a [OriginConfig],
    environment: &'a Environment,
    findings: &'a mut Findings,
    access_keys: HashMap<String, Place>,
    rules: HashMap<Principal, Rules>,
    origin_identity: HashMap<Principal, OriginIdentity>,
}

impl Reader<'_> {
    fn clients(&mut self, root: &Section<'_>) -> Vec<ClientConfig> {
        let mut names: HashMap<String, Place> = HashMap::new();
        let mut clients = Vec::new();
        for section in root.sections("clients") {
            let name = section.text("name");
            let place = section.place("name");
            unique(&mut names, "the name", &name, place, self.findings);
            self.claim_access_key(&section);
            let name: Arc<str> = name.into();
            let rules = self.rules(&section);
            if rules.allow.is_empty() {
                self.findings
                    .warn(section.here(), "has no `allow` rule and may do nothing");
            }
            let principal = Principal::Client(Arc::clone(&name));
            self.add(principal, rules, origin_identity(&section));
            if let Some(credentials) = secret::key_pair(&section, self.environment, self.findings) {
                clients.push(ClientConfig { name, credentials });
            }
        }
        clients
    }

    fn web_identity(&mut self, section: &Section<'_>) -> WebIdentityConfig {
        let signing_key = section.maybe_section("signing_key");
        if let Some(key) = &signing_key {
            self.claim_access_key(key);
        }
        WebIdentityConfig {
            role_arn: section.text("role_arn"),
            session_name: section.text("session_name"),
            duration: section.maybe_duration("duration"),
            signing_credentials: signing_key
                .and_then(|key| secret::key_pair(&key, self.environment, self.findings)),
            refresh_before: section.duration("refresh_before"),
            max_entries: section.count("max_entries"),
        }
    }

    /// Where the clients' key pairs come from. Without any caller in the file it is the key pair of
    /// the only origin, which may then do everything: it could do so at the origin itself.
    fn source(&mut self, root: &Section<'_>) -> ClientSource {
        let is_configured = ["clients", "anonymous", "web_identity"]
            .iter()
            .any(|key| root.has(key));
        let has_callers = !root.sections("clients").is_empty()
            || root.has("anonymous")
            || root.has("web_identity");
        if has_callers {
            return ClientSource::Configured;
        }
        let has_key_pair = match self.origins {
            [origin] => !matches!(origin.credentials, CredentialSource::Anonymous),
            // The only one was not well formed, which has been noted.
            [] => true,
            _ => false,
        };
        if is_configured || !has_key_pair {
            self.findings
                .error(root.place("clients"), Conflict::NoClients);
            return ClientSource::Configured;
        }
        let name: Arc<str> = ONLY_CLIENT.into();
        let principal = Principal::Client(Arc::clone(&name));
        self.add(principal, everything(), OriginIdentity::Origin);
        ClientSource::SameAsOrigin { name }
    }

    fn add(&mut self, principal: Principal, rules: Rules, identity: OriginIdentity) {
        self.rules.insert(principal.clone(), rules);
        self.origin_identity.insert(principal, identity);
    }

    fn claim_access_key(&mut self, section: &Section<'_>) {
        if let Some(key) = section.maybe_text("access_key_id") {
            let place = section.place("access_key_id");
            unique(
                &mut self.access_keys,
                "the access key id",
                &key,
                place,
                self.findings,
            );
        }
    }

    fn rules(&mut self, section: &Section<'_>) -> Rules {
        let allow = section.sections("allow");
        for rule in &allow {
            self.warn_of_unserved_buckets(rule);
        }
        let mut statements = |rules: Vec<Section<'_>>| {
            rules
                .iter()
                .filter_map(|rule| statement(rule, self.findings))
                .collect()
        };
        Rules {
            allow: statements(allow),
            deny: statements(section.sections("deny")),
        }
    }

    fn warn_of_unserved_buckets(&mut self, rule: &Section<'_>) {
        let is_served = |bucket: &String| self.origins.iter().any(|o| o.buckets.is_match(bucket));
        for bucket in rule.texts("buckets") {
            if values::is_literal(&bucket) && !self.origins.is_empty() && !is_served(&bucket) {
                let place = rule.place("buckets");
                self.findings.warn(
                    &place,
                    format_args!("no origin serves the bucket `{bucket}`"),
                );
            }
        }
    }
}

/// Rules that allow everything.
pub(super) fn everything() -> Rules {
    let actions = ACTIONS.map(|(_, action)| action).to_vec();
    let grants = GRANTS.map(|(_, grant)| grant).to_vec();
    let statement = Statement::new(&["*".to_owned()], &[], actions, grants)
        .expect("`*` is a glob")
        .everything();
    Rules {
        allow: vec![statement],
        deny: Vec::new(),
    }
}

fn origin_identity(section: &Section<'_>) -> OriginIdentity {
    match section.text("origin_identity").as_str() {
        "own" => OriginIdentity::Own,
        _ => OriginIdentity::Origin,
    }
}

fn statement(rule: &Section<'_>, findings: &mut Findings) -> Option<Statement> {
    for key in ["buckets", "actions"] {
        if rule.has(key) && rule.is_empty_list(key) {
            findings.error(rule.place(key), Conflict::MatchesNothing);
        }
    }
    let words = rule.texts("actions");
    let is_everything = words.iter().any(|word| word == "*");
    let grants = rule.texts("grants");
    let statement = Statement::new(
        &rule.texts("buckets"),
        &rule.texts("prefixes"),
        chosen(&ACTIONS, &words, is_everything),
        chosen(&GRANTS, &grants, is_everything),
    )
    .ok()?;
    Some(if is_everything {
        statement.everything()
    } else {
        statement
    })
}

fn chosen<T: Copy>(all: &[(&str, T)], words: &[String], is_everything: bool) -> Vec<T> {
    all.iter()
        .filter(|(name, _)| is_everything || words.iter().any(|word| word == name))
        .map(|(_, value)| *value)
        .collect()
}

/// Notes a value that an earlier place has.
pub(super) fn unique(
    seen: &mut HashMap<String, Place>,
    what: &'static str,
    value: &str,
    place: Place,
    findings: &mut Findings,
) {
    if value.is_empty() {
        return;
    }
    match seen.get(value) {
        Some(first) => {
            let value = value.to_owned();
            let first = first.clone();
            findings.error(place, Conflict::Taken { value, what, first });
        }
        None => {
            seen.insert(value.to_owned(), place);
        }
    }
}
