//! What a known client may do: everything else is refused before the origin hears of it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};

use super::call::Call;
use super::origin::Origin;
use super::proxy::{Setup, everything, reader, writer};
use super::reply::Reply;
use super::sigv4::Key;

/// Clients with grants, beside the plain ones.
const GRANTED: &str = "\
clients:
  - {name: everything, access_key_id: EVERYTHINGKEY, secret_access_key_env: EVERYTHING_SECRET,
     allow: [{buckets: ['*'], actions: ['*']}]}
  - {name: writer, access_key_id: WRITERKEY, secret_access_key_env: WRITER_SECRET,
     allow: [{buckets: [lake], actions: [read, list, write, delete]}, {buckets: [pond], actions: [write]}]}
  - {name: granted, access_key_id: READERKEY, secret_access_key_env: READER_SECRET,
     allow: [{buckets: [lake], actions: [read, list, write, delete],
              grants: [versions, tagging, acl, retention, bucket-config]}]}
";

async fn denied(setup: Setup, origin: &Origin, calls: Vec<(Key, Call)>) {
    let proxy = setup.start().await;
    let mut client = proxy.connect().await;
    for (key, call) in calls {
        let name = format!("{} {} by {}", call.method, call.target, key.id);
        println!("{name}");
        let is_head = call.method == "HEAD";
        let answer = client.call(&call.sign(&key)).await;
        answer.expect(403, if is_head { "" } else { "AccessDenied" });
        origin.assert_untouched(&name);
    }
    let good = Call::get("/lake/public/a").sign(&everything());
    client.call(&good).await.expect(200, "");
}

#[tokio::test]
async fn rules_bound_buckets_prefixes_and_actions() {
    let origin = Origin::start().await;
    let get = Call::get;
    let call = |method, target| Call::new(method, target);
    let calls = vec![
        (reader(), get("/pond/public/a")),
        (reader(), get("/lake/private/a")),
        (reader(), get("/lake/publi")),
        (reader(), get("/lake/Public/a")),
        (reader(), call("HEAD", "/lake/private/a")),
        (reader(), call("HEAD", "/pond")),
        (reader(), Call::put("/lake/public/a", "x")),
        (reader(), call("DELETE", "/lake/public/a")),
        (reader(), call("POST", "/lake/public/a?uploads")),
        (
            reader(),
            call("PUT", "/lake/public/a?partNumber=1&uploadId=u"),
        ),
        (reader(), get("/lake")),
        (reader(), get("/lake?list-type=2")),
        (reader(), get("/lake?list-type=2&prefix=publi")),
        (reader(), get("/lake?list-type=2&prefix=private/")),
        (reader(), get("/lake?prefix=")),
        (reader(), call("PUT", "/lake")),
        (reader(), call("DELETE", "/lake")),
        (writer(), get("/lake/public/a")),
        (writer(), get("/lake/in/locked/a")),
        (writer(), Call::put("/lake/in/locked/a", "x")),
        (writer(), get("/lake?prefix=in/")),
        (writer(), get("/lake?prefix=in/locked/b")),
        (writer(), call("PUT", "/lake")),
    ];
    denied(Setup::of(&origin), &origin, calls).await;
}

#[tokio::test]
async fn what_the_rules_allow_goes_through() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).start().await;
    let mut client = proxy.connect().await;
    for (key, call) in [
        (reader(), Call::get("/lake/public/a")),
        (reader(), Call::new("HEAD", "/lake/public/a")),
        (reader(), Call::get("/lake?list-type=2&prefix=public/x")),
        (reader(), Call::get("/lake/?prefix=public/&delimiter=/")),
        (reader(), Call::new("HEAD", "/lake")),
        (reader(), Call::get("/lake?location")),
        (writer(), Call::put("/lake/in/a", "x")),
        (writer(), Call::get("/lake/in/a")),
        (writer(), Call::get("/lake?list-type=2&prefix=in/open/")),
        (writer(), Call::new("DELETE", "/lake/in/a")),
        (
            writer(),
            Call::new("POST", "/lake/in/a?uploads").header("content-length", "0"),
        ),
        (
            writer(),
            Call::put("/lake/in/a?partNumber=1&uploadId=u", "x"),
        ),
        (
            writer(),
            Call::put("/lake/in/a", "x").header("x-amz-acl", "private"),
        ),
        (everything(), Call::get("/lake/a?unheard-of")),
    ] {
        println!("{} {}", call.method, call.target);
        client.call(&call.sign(&key)).await.expect(200, "");
        assert_eq!(origin.take_one().signer.as_deref(), Ok("ORIGINKEY"));
    }
}

#[tokio::test]
async fn rights_beyond_plain_objects_need_their_grant() {
    let origin = Origin::start().await;
    let put = || Call::put("/lake/a", "x");
    let calls = || {
        vec![
            Call::get("/lake/a?versionId=1"),
            Call::new("DELETE", "/lake/a?versionId=1"),
            Call::get("/lake?versions"),
            Call::get("/lake/a?tagging"),
            Call::put("/lake/a?tagging", "<x/>"),
            Call::get("/lake/a?acl"),
            Call::put("/lake/a?acl", "<x/>"),
            Call::get("/lake?acl"),
            Call::get("/lake/a?retention"),
            Call::put("/lake/a?legal-hold", "<x/>"),
            Call::get("/lake?policy"),
            Call::put("/lake?policy", "{}"),
            Call::get("/lake?lifecycle"),
            put().header("x-amz-acl", "public-read"),
            put().header(
                "x-amz-grant-read",
                "uri=http://acs.amazonaws.com/groups/global/AllUsers",
            ),
            put().header("x-amz-tagging", "a=b"),
            put().header("x-amz-object-lock-mode", "GOVERNANCE"),
            Call::new("DELETE", "/lake/a").header("x-amz-bypass-governance-retention", "true"),
        ]
    };
    let refused = calls().into_iter().map(|call| (writer(), call)).collect();
    denied(Setup::of(&origin).clients(GRANTED), &origin, refused).await;
    origin.take();
    let proxy = Setup::of(&origin).clients(GRANTED).start().await;
    let mut client = proxy.connect().await;
    for call in calls() {
        println!("{} {}", call.method, call.target);
        client.call(&call.sign(&reader())).await.expect(200, "");
        assert!(origin.take_one().signer.is_ok());
    }
}

/// A presigned URL may carry fields in its query: they need the same rights as in the header.
#[tokio::test]
async fn hoisted_fields_need_their_rights() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).clients(GRANTED).start().await;
    let mut client = proxy.connect().await;
    let copy = |source: &str| format!("/lake/a?x-amz-copy-source={source}");
    for target in [
        "/lake/a?x-amz-acl=public-read",
        "/lake/a?X-Amz-Acl=public-read",
        "/lake/a?x-amz-tagging=a%3Db",
        "/lake/a?x-amz-grant-full-control=x",
        &copy("%2Fpond%2Fsecret"),
        &copy("other/secret"),
        "/lake/a?%78-amz-acl=public-read",
    ] {
        let call = Call::new("PUT", target).header("content-length", "0");
        client
            .call(&call.presign(&writer(), "60"))
            .await
            .expect(403, "AccessDenied");
        origin.assert_untouched(target);
    }
    let both = Call::new("PUT", &copy("lake/b"))
        .header("x-amz-copy-source", "lake/c")
        .header("content-length", "0");
    client
        .call(&both.presign(&writer(), "60"))
        .await
        .expect(400, "InvalidRequest");
    let twice = Call::new("PUT", "/lake/a?x-amz-acl=private&x-amz-acl=public-read");
    client
        .call(&twice.header("content-length", "0").presign(&writer(), "60"))
        .await
        .expect(400, "InvalidRequest");
    origin.assert_untouched("ambiguous fields");
    let good = Call::new("PUT", &copy("lake/b%2520c")).header("content-length", "0");
    client
        .call(&good.presign(&writer(), "60"))
        .await
        .expect(200, "");
    let seen = origin.take_one();
    assert_eq!(seen.target, "/lake/a");
    assert_eq!(seen.field("x-amz-copy-source"), Some("lake/b%20c"));
}

#[tokio::test]
async fn a_copy_needs_the_right_to_read_its_source() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).clients(GRANTED).start().await;
    let mut client = proxy.connect().await;
    let copy = |target: &str, source: &str| {
        let call = Call::new("PUT", target).header("content-length", "0");
        call.header("x-amz-copy-source", source)
    };
    for (call, status, code) in [
        (copy("/lake/a", "/pond/secret"), 403, "AccessDenied"),
        (copy("/lake/a", "pond/secret"), 403, "AccessDenied"),
        (copy("/lake/a", "pond%2Fsecret"), 403, "AccessDenied"),
        (copy("/lake/a", "/lake/../pond/secret"), 403, "AccessDenied"),
        (copy("/lake/a", "/lake/b?versionId=1"), 403, "AccessDenied"),
        (
            copy("/lake/a?partNumber=1&uploadId=u", "/pond/secret"),
            403,
            "AccessDenied",
        ),
        (copy("/other/a", "/lake/b"), 403, "AccessDenied"),
        (
            copy("/lake/a", "arn:aws:s3:eu-west-1:1:accesspoint/x/object/y"),
            400,
            "InvalidArgument",
        ),
        (
            copy("/lake/a", "/lake/b?versionId=1&x=y"),
            400,
            "InvalidArgument",
        ),
        (copy("/lake/a", "lake"), 400, "InvalidArgument"),
        (copy("/lake/a", ""), 400, "InvalidArgument"),
    ] {
        println!("{:?}", call.field("x-amz-copy-source"));
        client
            .call(&call.sign(&writer()))
            .await
            .expect(status, code);
        origin.assert_untouched("a copy");
    }
    let two = copy("/lake/a", "lake/b").header("x-amz-copy-source", "pond/c");
    assert!(matches!(
        client.call(&two.sign(&writer())).await.status,
        400 | 403
    ));
    client
        .call(&copy("/pond/a", "/lake/b%20c").sign(&writer()))
        .await
        .expect(200, "");
    assert_eq!(
        origin.take_one().field("x-amz-copy-source"),
        Some("lake/b%20c")
    );
}

fn delete(body: &str) -> Call {
    Call::new("POST", "/lake?delete").body(body)
}

fn object(key: &str) -> String {
    format!("<Object><Key>{key}</Key></Object>")
}

#[tokio::test]
async fn no_key_slips_through_a_batch_delete() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).start().await;
    let mut client = proxy.connect().await;
    let all = |objects: &str| format!("<Delete>{objects}</Delete>");
    let allowed = object("in/a");
    let many = all(&allowed.repeat(1001));
    let dtd = format!(
        "<!DOCTYPE Delete [<!ENTITY k \"private/x\">]>{}",
        all(&object("&k;"))
    );
    let md5 = |body: &str| STANDARD.encode(Md5::digest(body));
    let good = all(&allowed);
    for (name, call, status, code) in [
        (
            "denied among allowed",
            delete(&all(&(object("in/a")
                + &object("private/x")
                + &object("in/b")))),
            403,
            "AccessDenied",
        ),
        (
            "explicit deny",
            delete(&all(&object("in/locked/a"))),
            403,
            "AccessDenied",
        ),
        (
            "dots",
            delete(&all(&object("in/../private/x"))),
            403,
            "AccessDenied",
        ),
        (
            "CDATA",
            delete(&all(&object("<![CDATA[private/x]]>"))),
            403,
            "AccessDenied",
        ),
        (
            "split by CDATA",
            delete(&all(&object("in/<![CDATA[locked]]>/a"))),
            403,
            "AccessDenied",
        ),
        (
            "split by a comment",
            delete(&all(&object("in/lo<!-- -->cked/a"))),
            403,
            "AccessDenied",
        ),
        (
            "character reference",
            delete(&all(&object("in/&#108;ocked/a"))),
            403,
            "AccessDenied",
        ),
        (
            "version",
            delete(&all(
                "<Object><Key>in/a</Key><VersionId>1</VersionId></Object>",
            )),
            403,
            "AccessDenied",
        ),
        (
            "two keys",
            delete(&all("<Object><Key>in/a</Key><Key>private/x</Key></Object>")),
            400,
            "MalformedXML",
        ),
        ("entity", delete(&all(&object("&k;"))), 400, "MalformedXML"),
        ("DTD", delete(&dtd), 400, "MalformedXML"),
        ("too many", delete(&many), 400, "MalformedXML"),
        ("none", delete(&all("")), 400, "MalformedXML"),
        (
            "empty",
            Call::new("POST", "/lake?delete").header("content-length", "0"),
            400,
            "MalformedXML",
        ),
        (
            "cut",
            delete("<Delete><Object><Key>in/a</Key></Object>"),
            400,
            "MalformedXML",
        ),
        (
            "two documents",
            delete(&(good.clone() + &good)),
            400,
            "MalformedXML",
        ),
        (
            "nested",
            delete(&all(&format!("<Object>{allowed}</Object>"))),
            400,
            "MalformedXML",
        ),
        (
            "key in a key",
            delete(&all("<Object><Key>in/a<Key>private/x</Key></Key></Object>")),
            400,
            "MalformedXML",
        ),
        (
            "wrong MD5",
            delete(&good).header("content-md5", &md5("x")),
            400,
            "BadDigest",
        ),
        (
            "no MD5",
            delete(&good).header("content-md5", "x"),
            400,
            "InvalidDigest",
        ),
    ] {
        println!("{name}");
        client
            .call(&call.sign(&writer()))
            .await
            .expect(status, code);
        origin.assert_untouched(name);
    }
    let denied = delete(&good).sign(&reader());
    client.call(&denied).await.expect(403, "AccessDenied");
    let mut spoiled = delete(&good).sign(&writer());
    spoiled.body = all(&object("in/b")).into_bytes();
    client
        .call(&spoiled)
        .await
        .expect(400, "XAmzContentSHA256Mismatch");
    origin.assert_untouched("another body");
}

/// The origin gets a document of the proxy's own, with nothing in it that was not judged.
#[tokio::test]
async fn a_batch_delete_is_written_anew() {
    let origin = Origin::start().await;
    let result = "<DeleteResult><Deleted><Key>in/a</Key></Deleted></DeleteResult>";
    origin.respond(move |_| Reply::ok(result).header("Content-Type", "application/xml"));
    let proxy = Setup::of(&origin).start().await;
    let body = "<?xml version='1.0'?><x:Delete xmlns:x='y'><!-- c --><x:Object><x:Key>in/<![CDATA[a]]></x:Key></x:Object>\
                <Quiet>true</Quiet></x:Delete>";
    let md5 = STANDARD.encode(Md5::digest(body));
    let call = delete(body)
        .header("content-md5", &md5)
        .header("x-amz-meta-a", "b");
    let answer = proxy.call(&call.sign(&writer())).await.expect(200, "");
    assert_eq!(answer.text(), result);
    let seen = origin.take_one();
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("POST", "/lake?delete")
    );
    let text = String::from_utf8(seen.body.clone()).unwrap();
    assert!(
        text.contains("<Object><Key>in/a</Key></Object><Quiet>true</Quiet></Delete>"),
        "{text}"
    );
    assert_eq!(
        seen.field("content-md5"),
        Some(STANDARD.encode(Md5::digest(&text)).as_str())
    );
    assert_eq!(seen.decoded, Ok(text.into_bytes()));
}

#[tokio::test]
async fn methods_and_sub_resources_that_are_not_spoken_are_refused() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin).start().await;
    let mut client = proxy.connect().await;
    let key = everything();
    for (method, target, status, code) in [
        ("OPTIONS", "/lake/a", 405, "MethodNotAllowed"),
        ("TRACE", "/lake/a", 405, "MethodNotAllowed"),
        ("PATCH", "/lake/a", 405, "MethodNotAllowed"),
        ("PROPFIND", "/lake/a", 405, "MethodNotAllowed"),
        ("PUT", "/", 405, "MethodNotAllowed"),
        ("GET", "/lake?session", 501, "NotImplemented"),
    ] {
        println!("{method} {target}");
        client
            .call(&Call::new(method, target).sign(&key))
            .await
            .expect(status, code);
        origin.assert_untouched(target);
    }
    let body = Call::get("/lake/a").body("x").sign(&key);
    client.call(&body).await.expect(400, "InvalidRequest");
    for target in [
        "/lake/in/a?unheard-of",
        "/lake/in/a?torrent",
        "/lake?unheard-of=1",
    ] {
        let answer = client.call(&Call::get(target).sign(&writer())).await;
        answer.expect(403, "AccessDenied");
    }
    origin.assert_untouched("unknown sub-resources");
}
