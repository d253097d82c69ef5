//! In whose name requests are signed, and callers that bring a token or nothing at all.

use std::time::Duration;

use super::call::{Call, Framed, HOST};
use super::origin::Origin;
use super::proxy::{Proxy, Setup, everything, reader, writer};
use super::reply::Reply;
use super::sigv4::{Key, date_in};

const TOKEN: &str = "token-of-a-person.abc/def+ghi";

fn own() -> Key {
    Key::new("OWNKEY", "own-secret-4")
}

/// What the token is exchanged for.
fn temporary() -> Key {
    Key::new("ASIATEMPORARY", "temporary-secret-5").with_token("temporary/session+token==")
}

fn signing() -> Key {
    Key::new("SIGNKEY", "signing-secret-6")
}

#[tokio::test]
async fn a_client_may_sign_upstream_as_itself() {
    let origin = Origin::start().await;
    origin.trust(&[Origin::key(), own()]);
    let proxy = Setup::of(&origin)
        .clients(
            "clients:\n  - {name: own, access_key_id: OWNKEY, secret_access_key_env: OWN_SECRET, origin_identity: own,\n     \
             allow: [{buckets: [lake], actions: [read, write, list, delete]}]}\n  \
             - {name: other, access_key_id: READERKEY, secret_access_key_env: READER_SECRET,\n     \
             allow: [{buckets: [lake], actions: [read]}]}\n",
        )
        .env("OWN_SECRET", &own().secret)
        .start()
        .await;
    let mut client = proxy.connect().await;
    let data = vec![1; 100_000];
    for call in [
        Call::get("/lake/a").sign(&own()),
        Call::get("/lake/a").presign(&own(), "60"),
        Call::put("/lake/a", data.clone()).sign(&own()),
        Call::new("PUT", "/lake/a").framed(&own(), &Framed::unsigned(&data)),
        Call::new("POST", "/lake?delete")
            .body("<Delete><Object><Key>a</Key></Object></Delete>")
            .sign(&own()),
    ] {
        client.call(&call).await.expect(200, "");
        assert_eq!(origin.take_one().signer.as_deref(), Ok("OWNKEY"));
    }
    client
        .call(&Call::get("/pond/a").sign(&own()))
        .await
        .expect(403, "AccessDenied");
    origin.assert_untouched("another bucket");
    client
        .call(&Call::get("/lake/a").sign(&reader()))
        .await
        .expect(200, "");
    assert_eq!(origin.take_one().signer.as_deref(), Ok("ORIGINKEY"));
}

fn exchanged() -> Reply {
    let key = temporary();
    let expiry = date_in(3600);
    let expiry = format!(
        "{}-{}-{}T{}:{}:{}Z",
        &expiry[..4],
        &expiry[4..6],
        &expiry[6..8],
        &expiry[9..11],
        &expiry[11..13],
        &expiry[13..15]
    );
    let body = format!(
        "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
         <AssumeRoleWithWebIdentityResult><SubjectFromWebIdentityToken>ada</SubjectFromWebIdentityToken>\
         <Credentials><AccessKeyId>{}</AccessKeyId><SecretAccessKey>{}</SecretAccessKey>\
         <SessionToken>{}</SessionToken><Expiration>{expiry}</Expiration></Credentials>\
         </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>",
        key.id,
        key.secret,
        key.token.unwrap()
    );
    Reply::ok(body).header("Content-Type", "text/xml")
}

fn rejected(code: &str) -> Reply {
    let body = format!(
        "<ErrorResponse><Error><Code>{code}</Code><Message>m</Message></Error></ErrorResponse>"
    );
    Reply::new(400, super::reply::Payload::Bytes(body.into()))
}

async fn start(origin: &Origin, sts: &Origin) -> Proxy {
    origin.trust(&[Origin::key(), temporary()]);
    Setup::of(origin)
        .top(&format!(
            "web_identity:\n  role_arn: arn:aws:iam::123456789012:role/analyst\n  sts_endpoint: http://{}\n  \
             signing_key: {{access_key_id: SIGNKEY, secret_access_key_env: SIGN_SECRET}}\n  \
             allow: [{{buckets: [lake], actions: [read, list, write]}}]",
            sts.address
        ))
        .env("SIGN_SECRET", &signing().secret)
        .start()
        .await
}

fn bearer(target: &str, token: &str) -> Call {
    Call::get(target).header("authorization", &format!("Bearer {token}"))
}

fn assert_discreet(proxy: &Proxy) {
    let logs = proxy.logs();
    let temporary = temporary();
    for secret in [
        TOKEN,
        &temporary.secret,
        &temporary.token.unwrap(),
        &signing().secret,
        "abc%2Fdef",
    ] {
        assert!(!logs.contains(secret), "{secret} is in the log");
    }
}

#[tokio::test]
async fn a_token_is_exchanged_once_for_all_who_bring_it() {
    let (origin, sts) = (Origin::start().await, Origin::start().await);
    sts.respond(|_| exchanged().after(Duration::from_millis(200)));
    let proxy = start(&origin, &sts).await;
    let mut clients = Vec::new();
    let with_token = signing().with_token(TOKEN);
    for number in 0..20 {
        let mut client = proxy.connect().await;
        let call = match number % 3 {
            0 => bearer("/lake/a", TOKEN),
            1 => Call::get("/lake/a").sign(&with_token),
            _ => Call::get("/lake/a").presign(&with_token, "60"),
        };
        client.send(&call.bytes()).await;
        clients.push(client);
    }
    for client in &mut clients {
        client.answer_to("GET").await.unwrap().expect(200, "");
    }
    let exchange = sts.take_one();
    assert_eq!(
        (exchange.method.as_str(), exchange.target.as_str()),
        ("POST", "/")
    );
    let form = String::from_utf8(exchange.body).unwrap();
    assert!(
        form.contains("WebIdentityToken=token%2Dof%2Da%2Dperson")
            || form.contains("WebIdentityToken=token-of-a-person"),
        "{form}"
    );
    assert!(exchange.headers.get("authorization").is_none());
    for seen in origin.take() {
        assert_eq!(seen.signer.as_deref(), Ok("ASIATEMPORARY"));
        assert!(!format!("{:?}", seen.headers).contains(TOKEN));
    }
    let put = Call::put("/lake/a", "hello").header("authorization", &format!("Bearer {TOKEN}"));
    clients[0].call(&put).await.expect(200, "");
    assert_eq!(origin.take_one().decoded, Ok(b"hello".to_vec()));
    clients[0]
        .call(&bearer("/pond/a", TOKEN))
        .await
        .expect(403, "AccessDenied");
    origin.assert_untouched("another bucket");
    sts.assert_untouched("a known token");
    assert_discreet(&proxy);
}

#[tokio::test]
async fn tokens_that_cannot_be_exchanged_let_nobody_in() {
    let (origin, sts) = (Origin::start().await, Origin::start().await);
    let proxy = start(&origin, &sts).await;
    let mut client = proxy.connect().await;
    for (reply, status, code) in [
        (rejected("InvalidIdentityToken"), 400, "InvalidToken"),
        (rejected("ExpiredTokenException"), 400, "ExpiredToken"),
        (rejected("AccessDenied"), 403, "AccessDenied"),
        (Reply::status(500), 503, "ServiceUnavailable"),
        (Reply::vanish(), 503, "ServiceUnavailable"),
        (Reply::ok("<html>"), 503, "ServiceUnavailable"),
        (
            Reply::status(302).header("Location", "http://127.0.0.1:1/"),
            503,
            "ServiceUnavailable",
        ),
    ] {
        sts.script(vec![reply]);
        client
            .call(&bearer("/lake/a", TOKEN))
            .await
            .expect(status, code);
        assert_eq!(sts.take().len(), 1, "each failure is asked again");
    }
    sts.respond(|_| exchanged());
    for call in [
        Call::get("/lake/a").sign(&signing()),
        Call::get("/lake/a").sign(&everything().with_token(TOKEN)),
    ] {
        client.call(&call).await.expect(400, "InvalidToken");
    }
    let wrong = signing().with_secret("x").with_token(TOKEN);
    client
        .call(&Call::get("/lake/a").sign(&wrong))
        .await
        .expect(403, "SignatureDoesNotMatch");
    sts.assert_untouched("no good signature, no exchange");
    origin.assert_untouched("no identity");
    client.call(&bearer("/lake/a", TOKEN)).await.expect(200, "");
    assert_eq!(origin.take_one().signer.as_deref(), Ok("ASIATEMPORARY"));
    assert_discreet(&proxy);
}

#[tokio::test]
async fn nobody_may_do_what_the_rules_give_to_nobody() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin)
        .top("anonymous: {allow: [{buckets: [lake], prefixes: [open/], actions: [read, list]}]}")
        .start()
        .await;
    let mut client = proxy.connect().await;
    for (call, status, code) in [
        (Call::get("/lake/private/a"), 403, "AccessDenied"),
        (Call::get("/pond/open/a"), 403, "AccessDenied"),
        (Call::get("/lake/open/../private/a"), 403, "AccessDenied"),
        (Call::get("/lake/open/a?versionId=1"), 403, "AccessDenied"),
        (Call::put("/lake/open/a", "x"), 403, "AccessDenied"),
        (Call::new("DELETE", "/lake/open/a"), 403, "AccessDenied"),
        (
            Call::new("POST", "/lake?delete")
                .body("<Delete><Object><Key>open/a</Key></Object></Delete>"),
            403,
            "AccessDenied",
        ),
        (Call::get("/lake"), 403, "AccessDenied"),
        (bearer("/lake/open/a", "x"), 403, "AccessDenied"),
        (
            Call::get("/lake/open/a").sign(&everything().with_secret("x")),
            403,
            "SignatureDoesNotMatch",
        ),
        (
            Call::get("/lake/open/a").sign(&writer()),
            403,
            "AccessDenied",
        ),
    ] {
        println!("{} {}", call.method, call.target);
        client.call(&call).await.expect(status, code);
        origin.assert_untouched("what nobody may do");
    }
    for call in [
        Call::get("/lake/open/a"),
        Call::get("/lake?list-type=2&prefix=open/"),
        Call::new("HEAD", "/lake"),
        Call::get("/lake/open/a").header("x-amz-date", "nonsense"),
    ] {
        client.call(&call).await.expect(200, "");
        assert_eq!(origin.take_one().signer.as_deref(), Ok("ORIGINKEY"));
    }
}

/// Signed by someone who is known, seen by nobody: no log has a secret, a token or a signature.
#[tokio::test]
async fn no_log_line_holds_a_secret() {
    let (origin, sts) = (Origin::start().await, Origin::start().await);
    sts.respond(|_| exchanged());
    let proxy = start(&origin, &sts).await;
    let key = everything();
    let session = signing().with_token(TOKEN);
    let calls = [
        Call::get("/lake/a").sign(&key),
        Call::get("/lake/a?versionId=hidden-parameter").presign(&key, "60"),
        Call::get("/lake/a").presign(&session, "60"),
        Call::get("/lake/a").sign(&key.clone().with_secret("other-secret")),
        Call::get("/lake/a").presign(&key.clone().with_secret("other-secret"), "60"),
        Call::get("/lake/a")
            .header(
                "x-amz-server-side-encryption-customer-key",
                "customer-key-7",
            )
            .sign(&key),
        Call::new("PUT", "/lake/a").framed(&key, &Framed::signed(b"hello")),
        bearer("/lake/a", TOKEN),
        Call::get("/lake/a").header("authorization", "Basic c2VjcmV0OmJhc2lj"),
        Call::get("/lake/a")
            .header("cookie", "cookie-secret")
            .header("host", HOST),
        Call::get("/lake/a?AWSAccessKeyId=x&Signature=v2-signature"),
    ];
    let mut hidden: Vec<String> = [
        TOKEN,
        "other-secret",
        "hidden-parameter",
        "customer-key-7",
        "c2VjcmV0OmJhc2lj",
        "cookie-secret",
        "v2-signature",
    ]
    .map(str::to_owned)
    .into();
    for status in [200, 503] {
        origin.respond(move |_| Reply::status(status));
        for call in &calls {
            proxy.call(call).await;
            let places = [
                call.target.as_str(),
                call.field("authorization").unwrap_or_default(),
            ];
            for place in places {
                let signature = place
                    .split("Signature=")
                    .nth(1)
                    .map(|text| text[..text.len().min(64)].to_owned());
                hidden.extend(signature.filter(|text| !text.is_empty()));
            }
        }
    }
    hidden.extend(origin.take().iter().map(|seen| {
        let value = seen.field("authorization").unwrap();
        value.rsplit('=').next().unwrap().to_owned()
    }));
    // Bytes that are no request are not shown either.
    for garbage in [
        "GET /lake/a?X-Amz-Signature=garbled HTTP/9.9\r\n\r\n",
        "garbage-secret\r\n\r\n",
    ] {
        let mut client = proxy.connect().await;
        client.send(garbage.as_bytes()).await;
        client.answer_to("GET").await;
    }
    hidden.extend(["garbage-secret".to_owned(), "garbled".to_owned()]);
    proxy.wait_until_idle().await;
    let logs = proxy.logs();
    for secret in hidden {
        let line = logs.lines().find(|line| line.contains(&secret));
        assert!(line.is_none(), "{secret} in {line:?}");
    }
    assert!(logs.contains("client=everything"), "{logs}");
    assert_discreet(&proxy);
}

/// Nothing about them changed, so nobody is asked again; with another role everybody is.
#[tokio::test]
async fn a_reload_keeps_sessions_unless_they_would_be_others() {
    let (origin, sts) = (Origin::start().await, Origin::start().await);
    sts.respond(|_| exchanged());
    let proxy = start(&origin, &sts).await;
    let mut client = proxy.connect().await;
    let call = || bearer("/lake/a", TOKEN);
    client.call(&call()).await.expect(200, "");
    sts.take_one();
    for (old, new) in [
        ("name: reader", "name: renamed"),
        ("actions: [read, list, write]}]", "actions: [read]}]"),
    ] {
        proxy.rewrite(old, new);
        assert_eq!(proxy.reload().await.0, 200);
        client.call(&call()).await.expect(200, "");
        sts.assert_untouched("a session that is kept");
    }
    proxy.rewrite("role/analyst", "role/another");
    proxy.reload_for(&["web_identity.role_arn"]).await;
    client.call(&call()).await.expect(200, "");
    let asked = String::from_utf8(sts.take_one().body).unwrap();
    assert!(asked.contains("role%2Fanother"), "{asked}");
    proxy.rewrite(
        "buckets: [lake], actions: [read]}]",
        "buckets: [pond], actions: [read]}]",
    );
    assert_eq!(proxy.reload().await.0, 200);
    client.call(&call()).await.expect(403, "AccessDenied");
}
