//! Rules against requests.

use super::*;
use crate::s3::Action::{Delete, List, Read, Write};

fn rule(buckets: &[&str], prefixes: &[&str], actions: &[Action], grants: &[Grant]) -> Statement {
    let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    Statement::new(
        &owned(buckets),
        &owned(prefixes),
        actions.to_vec(),
        grants.to_vec(),
    )
    .unwrap()
}

fn policy(allow: Vec<Statement>, deny: Vec<Statement>) -> Policy {
    let rules = Rules { allow, deny };
    Policy {
        clients: HashMap::from([("c".into(), rules)]),
        ..Policy::default()
    }
}

fn may(policy: &Policy, right: Right, bucket: &str, target: Target<'_>) -> bool {
    let bucket = Bucket::new(bucket).unwrap();
    let access = Access {
        right,
        bucket: &bucket,
        target,
    };
    policy
        .authorize(&Principal::Client("c".into()), &[access])
        .is_ok()
}

#[test]
fn the_default_is_deny() {
    let nothing = policy(vec![], vec![]);
    let read = Right::Plain(Read);
    assert!(!may(&nothing, read, "lake", Target::Key("a")));
    let bucket = Bucket::new("lake").unwrap();
    let access = Access {
        right: read,
        bucket: &bucket,
        target: Target::Key("a"),
    };
    let everyone = policy(vec![rule(&["*"], &[], &[Read], &[])], vec![]);
    for stranger in [
        Principal::Client("d".into()),
        Principal::Anonymous,
        Principal::WebIdentity("s".into()),
    ] {
        assert!(
            everyone
                .authorize(&stranger, std::slice::from_ref(&access))
                .is_err(),
            "{stranger}"
        );
    }
}

#[test]
fn rules_name_buckets_prefixes_and_actions() {
    let policy = policy(
        vec![rule(&["lake-*"], &["hive/", "raw/*/x"], &[Read, List], &[])],
        vec![],
    );
    let read = Right::Plain(Read);
    assert!(may(&policy, read, "lake-1", Target::Key("hive/a")));
    assert!(may(&policy, read, "lake-1", Target::Key("raw/2024/xyz")));
    assert!(!may(&policy, read, "lake-1", Target::Key("hiv")));
    assert!(!may(&policy, read, "pond", Target::Key("hive/a")));
    assert!(!may(
        &policy,
        Right::Plain(Write),
        "lake-1",
        Target::Key("hive/a")
    ));
    let list = Right::Plain(List);
    assert!(may(
        &policy,
        list,
        "lake-1",
        Target::Prefix("hive/year=2024/")
    ));
    assert!(
        !may(&policy, list, "lake-1", Target::Prefix("hive")),
        "would list hive2/ too"
    );
    assert!(!may(&policy, list, "lake-1", Target::Prefix("")));
    assert!(!may(
        &policy,
        Right::Plain(Delete),
        "lake-1",
        Target::Bucket
    ));
}

#[test]
fn an_explicit_deny_wins() {
    let policy = policy(
        vec![rule(&["*"], &[], &[], &[]).everything()],
        vec![rule(&["lake"], &["secret/"], &[Read, List], &[])],
    );
    let read = Right::Plain(Read);
    assert!(!may(&policy, read, "lake", Target::Key("secret/a")));
    assert!(may(
        &policy,
        Right::Plain(Write),
        "lake",
        Target::Key("secret/a")
    ));
    assert!(may(&policy, read, "lake", Target::Key("open/a")));
    let list = Right::Plain(List);
    assert!(
        !may(&policy, list, "lake", Target::Prefix("")),
        "the listing would name secret/"
    );
    assert!(!may(&policy, list, "lake", Target::Prefix("secret/a")));
    assert!(may(&policy, list, "lake", Target::Prefix("open/")));
    assert!(
        !may(&policy, Right::Everything, "lake", Target::Key("a")),
        "who knows what it does"
    );
    assert!(!may(
        &policy,
        Right::Granted(Read, Grant::Tagging),
        "lake",
        Target::Key("secret/a")
    ));
}

#[test]
fn grants_are_given_by_name_only() {
    let plain = policy(
        vec![rule(&["*"], &[], &[Read, Write, List, Delete], &[])],
        vec![],
    );
    let tagged = policy(vec![rule(&["*"], &[], &[Read], &[Grant::Tagging])], vec![]);
    let tagging = Right::Granted(Read, Grant::Tagging);
    assert!(!may(&plain, tagging, "lake", Target::Key("a")));
    assert!(may(&tagged, tagging, "lake", Target::Key("a")));
    assert!(!may(
        &tagged,
        Right::Granted(Write, Grant::Tagging),
        "lake",
        Target::Key("a")
    ));
    assert!(!may(
        &tagged,
        Right::Granted(Read, Grant::Versions),
        "lake",
        Target::Key("a")
    ));
    assert!(!may(&plain, Right::Everything, "lake", Target::Key("a")));
}

#[test]
fn a_deny_with_grants_takes_only_those() {
    let policy = policy(
        vec![rule(&["*"], &[], &[], &[]).everything()],
        vec![rule(&["*"], &[], &[Read], &[Grant::Versions])],
    );
    assert!(may(&policy, Right::Plain(Read), "lake", Target::Key("a")));
    assert!(!may(
        &policy,
        Right::Granted(Read, Grant::Versions),
        "lake",
        Target::Key("a")
    ));
    assert!(may(
        &policy,
        Right::Granted(Read, Grant::Acl),
        "lake",
        Target::Key("a")
    ));
}

#[test]
fn a_key_needs_the_right_in_every_form_that_a_server_could_clean_it_to() {
    let narrow = policy(vec![rule(&["lake"], &["public/"], &[Read], &[])], vec![]);
    let read = Right::Plain(Read);
    assert!(may(&narrow, read, "lake", Target::Key("public/a/../b")));
    assert!(!may(
        &narrow,
        read,
        "lake",
        Target::Key("public/../private/x")
    ));
    assert!(!may(
        &narrow,
        read,
        "lake",
        Target::Key("public/../../pond/public/x")
    ));
    assert!(!may(
        &narrow,
        read,
        "lake",
        Target::Key("public/../../../x")
    ));
    let wide = policy(vec![rule(&["lake"], &[], &[Read], &[])], vec![]);
    assert!(may(&wide, read, "lake", Target::Key("a//b/./c/../d")));
    assert!(!may(&wide, read, "lake", Target::Key("../pond/x")));
    let denied = policy(
        vec![rule(&["*"], &[], &[Read], &[])],
        vec![rule(&["*"], &["secret/"], &[Read], &[])],
    );
    assert!(!may(&denied, read, "lake", Target::Key("x/../secret/a")));
    assert!(!may(&denied, read, "lake", Target::Key("/secret/a")));
    assert!(!may(&denied, read, "lake", Target::Key("secret\\a")));
    assert!(!may(&denied, read, "lake", Target::Key("x\\..\\secret\\a")));
    assert!(!may(&denied, read, "lake", Target::Key("../secret/a")));
    assert!(may(&denied, read, "lake", Target::Key("x\\a")));
}

#[test]
fn a_listed_prefix_needs_the_right_in_every_form_too() {
    let denied = policy(
        vec![rule(&["*"], &[], &[List], &[])],
        vec![rule(&["*"], &["secret/"], &[List], &[])],
    );
    let list = Right::Plain(List);
    for prefix in ["/secret/", "//se", "./secret/", "x/../secret/", "secret\\"] {
        assert!(
            !may(&denied, list, "lake", Target::Prefix(prefix)),
            "{prefix}"
        );
    }
    for prefix in ["/public/", "public/", "public//"] {
        assert!(
            may(&denied, list, "lake", Target::Prefix(prefix)),
            "{prefix}"
        );
    }
}

#[test]
fn a_denied_prefix_may_hold_escaped_characters() {
    let denied = policy(
        vec![rule(&["*"], &[], &[List], &[])],
        vec![rule(&["*"], &["a\\*b/"], &[List], &[])],
    );
    let list = Right::Plain(List);
    assert!(!may(&denied, list, "lake", Target::Prefix("a*b/c")));
    assert!(!may(&denied, list, "lake", Target::Prefix("a*")));
    assert!(may(&denied, list, "lake", Target::Prefix("b")));
}

#[test]
fn deleting_a_bucket_deletes_every_key() {
    let method = http::Method::DELETE;
    let headers = http::HeaderMap::new();
    let head = crate::s3::RequestHead {
        method: &method,
        raw_path: "/lake",
        raw_query: "",
        host: "proxy",
        headers: &headers,
    };
    let request = crate::s3::Request::classify(&head, &crate::s3::BaseDomains::default()).unwrap();
    let may_delete = |deny| {
        let policy = policy(vec![rule(&["lake"], &[], &[Delete], &[])], deny);
        let me = Principal::Client("c".into());
        policy.authorize(&me, &request.accesses()).is_ok()
    };
    assert!(may_delete(vec![]));
    assert!(may_delete(vec![rule(
        &["pond"],
        &["kept/"],
        &[Delete],
        &[]
    )]));
    assert!(!may_delete(vec![rule(
        &["lake"],
        &["kept/"],
        &[Delete],
        &[]
    )]));
}

#[test]
fn a_bucket_is_seen_with_any_right_on_it() {
    let policy = policy(vec![rule(&["lake"], &["a/"], &[Write], &[])], vec![]);
    let me = Principal::Client("c".into());
    assert!(policy.may_see(&me, &Bucket::new("lake").unwrap()));
    assert!(!policy.may_see(&me, &Bucket::new("pond").unwrap()));
    assert!(!policy.may_see(&Principal::Anonymous, &Bucket::new("lake").unwrap()));
}
