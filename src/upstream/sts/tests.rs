//! Requests and answers of the token service.

use proptest::prelude::*;

use super::*;

/// The example of AWS's reference, with its line breaks inside of values removed.
const AWS: &str = r#"<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleWithWebIdentityResult>
    <SubjectFromWebIdentityToken>amzn1.account.AF6RHO7KZU5XRVQJGXK6HB56KR2A</SubjectFromWebIdentityToken>
    <Audience>client.5498841531868486423.1548@apps.example.com</Audience>
    <AssumedRoleUser>
      <Arn>arn:aws:sts::123456789012:assumed-role/FederatedWebIdentityRole/app1</Arn>
      <AssumedRoleId>AROACLKWSDQRAOEXAMPLE:app1</AssumedRoleId>
    </AssumedRoleUser>
    <Credentials>
      <SessionToken>AQoDYXdzEE0a8ANXXXXXXXXNO1ewxE5TijQyp+IEXAMPLE</SessionToken>
      <SecretAccessKey>wJalrXUtnFEMI/K7MDENG/bPxRfiCYzEXAMPLEKEY</SecretAccessKey>
      <Expiration>2014-10-24T23:00:23Z</Expiration>
      <AccessKeyId>ASgeIAIOSFODNN7EXAMPLE</AccessKeyId>
    </Credentials>
    <SourceIdentity>SourceIdentityValue</SourceIdentity>
    <Provider>www.amazon.com</Provider>
  </AssumeRoleWithWebIdentityResult>
  <ResponseMetadata>
    <RequestId>ad4156e9-bce1-11e2-82e6-6b6efEXAMPLE</RequestId>
  </ResponseMetadata>
</AssumeRoleWithWebIdentityResponse>
"#;

fn refusal(code: &str) -> String {
    format!(
        r#"<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error>
        <Type>Sender</Type><Code>{code}</Code><Message>no</Message></Error>
        <RequestId>1</RequestId></ErrorResponse>"#
    )
}

fn parse_ok(body: &str) -> Result<AssumedRole, StsError> {
    parse_response(StatusCode::OK, body.as_bytes())
}

fn error(status: u16, body: &str) -> StsError {
    let status = StatusCode::from_u16(status).unwrap();
    let Err(error) = parse_response(status, body.as_bytes()) else {
        panic!("{body} is an error");
    };
    error
}

fn malformed(body: &str) -> Option<&'static str> {
    match parse_ok(body) {
        Err(StsError::Malformed(field)) => Some(field),
        _ => None,
    }
}

#[test]
fn a_request_is_a_form() {
    let body = request_body(
        "arn:aws:iam::1:role/a b",
        "s3proxy",
        &Secret::new("ey.J+/=&x~"),
        Some(Duration::from_mins(15)),
    );
    let expected = "Action=AssumeRoleWithWebIdentity&Version=2011-06-15\
        &RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fa%20b&RoleSessionName=s3proxy\
        &DurationSeconds=900&WebIdentityToken=ey.J%2B%2F%3D%26x~";
    assert_eq!(body.as_str(), expected);
}

#[test]
fn the_body_is_never_copied_while_it_grows() {
    let token = Secret::new("/".repeat(20_000));
    let body = request_body(
        &"ä".repeat(500),
        &"=".repeat(64),
        &token,
        Some(Duration::MAX),
    );
    let parameters = 3 * 20_000 + 3 * (1000 + 64) + 160;
    assert!(body.len() <= parameters && body.capacity() >= parameters);
    assert!(!body.contains("&Duration=") && body.contains("&DurationSeconds=18446744073709551615"));
}

#[test]
fn reads_the_answer_of_aws() {
    let role = parse_ok(AWS).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(role.subject, "amzn1.account.AF6RHO7KZU5XRVQJGXK6HB56KR2A");
    let credentials = role.credentials;
    assert_eq!(&*credentials.access_key_id, "ASgeIAIOSFODNN7EXAMPLE");
    assert!(
        credentials
            .secret_access_key
            .expose()
            .ends_with("EXAMPLEKEY")
    );
    let token = credentials.session_token.unwrap();
    assert_eq!(
        token.expose(),
        "AQoDYXdzEE0a8ANXXXXXXXXNO1ewxE5TijQyp+IEXAMPLE"
    );
    let expires_at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_414_191_623);
    assert_eq!(credentials.expires_at, Some(expires_at));
}

#[test]
fn prefixes_whitespace_cdata_and_references_change_nothing() {
    let prefixed = AWS
        .replace("</", "</sts:")
        .replace('<', "<sts:")
        .replace("<sts:/sts:", "</sts:")
        .replace("xmlns=", "xmlns:sts=")
        .replace("2014-10-24T23:00:23Z", "\n\t2014-10-24T23:00:23.000Z ")
        .replace("wJalr", "<![CDATA[wJ]]>&#97;<!-- a comment -->lr")
        .replace("amzn1.", "a&amp;b|");
    let document = format!("\u{feff}<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n{prefixed}");
    let role = parse_ok(&document).unwrap_or_else(|error| panic!("{error}"));
    let secret = role.credentials.secret_access_key;
    assert_eq!(secret.expose(), "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzEXAMPLEKEY");
    assert!(role.subject.starts_with("a&b|account"));
}

#[test]
fn a_success_without_its_fields_is_malformed() {
    for (from, to, field) in [
        ("AccessKeyId>", "Id>", "AccessKeyId"),
        ("SecretAccessKey>", "Key>", "SecretAccessKey"),
        ("SessionToken>", "Token>", "SessionToken"),
        ("ASgeIA", "AS geIA", "AccessKeyId"),
        ("AQoDY", "AQo&#13;&#10;DY", "SessionToken"),
        ("amzn1", "a&#9;b", "SubjectFromWebIdentityToken"),
        ("2014-10-24T23", "2014-13-24T23", "Expiration"),
        ("2014-10-24T23:00:23Z", "soon", "Expiration"),
        ("<Credentials>", "<Credentials><Deeper>", "XML"),
        (
            "AssumeRoleWithWebIdentityRes",
            "AssumeRoleRes",
            "AccessKeyId",
        ),
        ("amzn1", "&who;", "XML"),
        (
            "<AssumeRoleWithWebIdentityResponse ",
            "<!DOCTYPE a><AssumeRoleWithWebIdentityResponse ",
            "XML",
        ),
    ] {
        assert_eq!(
            malformed(&AWS.replace(from, to)),
            Some(field),
            "{from} -> {to}"
        );
    }
    assert_eq!(malformed(""), Some("AccessKeyId"));
    let deep = "<a>".repeat(MAX_DEPTH + 1);
    assert_eq!(malformed(&deep), Some("XML"));
    let large = AWS.replace("AQoDY", &"A".repeat(MAX_RESPONSE_BYTES));
    assert_eq!(malformed(&large), Some("XML"));
    assert!(parse_response(StatusCode::OK, b"\xff\xfe<").is_err());
}

#[test]
fn a_token_without_a_subject_has_an_empty_one() {
    let role = parse_ok(&AWS.replace("SubjectFromWebIdentityToken", "Sub"));
    assert!(role.is_ok_and(|role| role.subject.is_empty()));
}

#[test]
fn refused_tokens_are_told_from_a_service_that_is_unavailable() {
    for (status, code) in [
        (400, "InvalidIdentityToken"),
        (400, "ExpiredTokenException"),
        (403, "AccessDenied"),
        (403, "IDPRejectedClaim"),
    ] {
        let error = error(status, &refusal(code));
        assert_eq!(error, StsError::Rejected { code: code.into() });
        assert!(!error.is_retryable());
    }
    let s3_like = "<Error><Code>AccessDenied</Code></Error>";
    assert!(matches!(error(403, s3_like), StsError::Rejected { .. }));
    for (status, body, code, is_retryable) in [
        (
            400,
            refusal("IDPCommunicationError"),
            Some("IDPCommunicationError"),
            true,
        ),
        (
            400,
            refusal("RegionDisabledException"),
            Some("RegionDisabledException"),
            false,
        ),
        (503, refusal("AccessDenied"), Some("AccessDenied"), true),
        (502, "<html><body>Bad Gateway</html>".into(), None, true),
        (429, String::new(), None, true),
        (403, refusal("a secret of some kind"), None, false),
        (302, String::new(), None, false),
    ] {
        let error = error(status, &body);
        let StsError::Unavailable { code: told, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(told.as_deref(), code);
        assert_eq!(error.is_retryable(), is_retryable, "{error}");
    }
    // Cut short behind its code.
    let cut = refusal("AccessDenied").replace("</Error>", "");
    assert!(matches!(error(403, &cut), StsError::Rejected { .. }));
}

proptest! {
    #[test]
    fn junk_never_panics(status in 100_u16..1000, body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_response(StatusCode::from_u16(status).unwrap(), &body);
    }

    #[test]
    fn a_damaged_answer_never_panics(at in 0..AWS.len(), with in "[<>&;/!\\[\\]\"'a-z#\u{0}\u{e4}]{0,6}", cut in 0_usize..20) {
        let end = (at + cut).min(AWS.len());
        let body = [&AWS.as_bytes()[..at], with.as_bytes(), &AWS.as_bytes()[end..]].concat();
        for status in [StatusCode::OK, StatusCode::FORBIDDEN] {
            let _ = parse_response(status, &body);
        }
    }

    #[test]
    fn a_form_round_trips(token in "\\PC{0,40}", name in "\\PC{0,20}") {
        let body = request_body("arn", &name, &Secret::new(token.as_str()), None);
        let decoded: Vec<(String, String)> = body
            .split('&')
            .map(|pair| pair.split_once('=').unwrap())
            .map(|(key, value)| {
                let value = percent_encoding::percent_decode_str(value).decode_utf8().unwrap();
                (key.to_owned(), value.into_owned())
            })
            .collect();
        prop_assert_eq!(&decoded[3], &("RoleSessionName".to_owned(), name));
        prop_assert_eq!(&decoded[4], &("WebIdentityToken".to_owned(), token));
    }
}
