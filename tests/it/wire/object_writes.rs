//! How S3 answers whatever changes objects, and lists them.

use std::fmt::Write;
use std::sync::Arc;

use quick_xml::escape::{escape, unescape};

use super::content::Content;
use super::object_origin::{Asked, Refusal};
use super::objects::{Given, Objects, Version};
use super::reply::Reply;

/// Fields of a write that are kept with the object.
const KEPT_FIELDS: &[&str] = &[
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
];

fn given(asked: &Asked<'_>) -> Given {
    let headers = asked.seen.headers.iter();
    let kept = headers.filter(|(name, value)| {
        let name = name.as_str();
        let is_framing = name == "content-encoding" && value.as_bytes() == b"aws-chunked";
        !is_framing && (KEPT_FIELDS.contains(&name) || name.starts_with("x-amz-meta-"))
    });
    let fields = kept.map(|(name, value)| {
        let value = value.to_str().unwrap_or_default();
        (name.as_str().to_owned(), value.to_owned())
    });
    let md5 = asked.field("x-amz-server-side-encryption-customer-key-md5");
    Given {
        fields: fields.collect(),
        customer_key_md5: md5.map(str::to_owned),
        parts: 0,
    }
}

/// The body as it was meant; a write whose body is not right changes nothing.
fn body(asked: &Asked<'_>) -> Result<Vec<u8>, Refusal> {
    let decoded = asked.seen.decoded.clone();
    decoded.map_err(|_| Refusal::new(400, "XAmzContentSHA256Mismatch"))
}

fn check_conditions(objects: &Objects, asked: &Asked<'_>) -> Result<(), Refusal> {
    let current = objects.current(&asked.path());
    let failed = Refusal::new(412, "PreconditionFailed");
    if asked.field("if-none-match") == Some("*") && current.is_some() {
        return Err(failed);
    }
    match (asked.field("if-match"), current) {
        (Some(_), None) => Err(Refusal::new(404, "NoSuchKey")),
        (Some(etag), Some(current)) if etag != current.etag => Err(failed),
        _ => Ok(()),
    }
}

fn written(version: &Version) -> Reply {
    let reply = Reply::status(200).header("ETag", &version.etag);
    match &version.version_id {
        Some(id) => reply.header("x-amz-version-id", id),
        None => reply,
    }
}

pub(super) fn put(objects: &Objects, asked: &Asked<'_>) -> Result<Reply, Refusal> {
    if !objects.has_bucket(&asked.bucket) {
        return Err(Refusal::new(404, "NoSuchBucket"));
    }
    let body = body(asked)?;
    if let Some(id) = asked.parameter("uploadId") {
        let number = asked.parameter("partNumber").unwrap_or_default();
        let number = number
            .parse()
            .map_err(|_| Refusal::new(400, "InvalidArgument"))?;
        let etag = objects.put_part(id, number, body);
        let etag = etag.ok_or(Refusal::new(404, "NoSuchUpload"))?;
        return Ok(Reply::status(200).header("ETag", &etag));
    }
    check_conditions(objects, asked)?;
    if let Some(source) = asked.field("x-amz-copy-source") {
        return copy(objects, asked, source);
    }
    let version = objects.write(&asked.path(), Content::Given(body), given(asked));
    Ok(written(&version))
}

fn copy(objects: &Objects, asked: &Asked<'_>, source: &str) -> Result<Reply, Refusal> {
    let source = percent_encoding::percent_decode_str(source.trim_start_matches('/'));
    let source = source.decode_utf8().unwrap().into_owned();
    let source = objects
        .current(&source)
        .ok_or(Refusal::new(404, "NoSuchKey"))?;
    let given = match asked.field("x-amz-metadata-directive") {
        Some("REPLACE") => given(asked),
        _ => Given {
            fields: source.fields.clone(),
            ..Given::default()
        },
    };
    let version = objects.write(&asked.path(), (*source.content).clone(), given);
    let document = format!(
        "<CopyObjectResult><LastModified>{}</LastModified><ETag>{}</ETag></CopyObjectResult>",
        timestamp(&version),
        escape(version.etag.as_str())
    );
    Ok(Reply::ok(document).header("Content-Type", "application/xml"))
}

pub(super) fn delete(objects: &Objects, asked: &Asked<'_>) -> Result<Reply, Refusal> {
    match asked.parameter("uploadId") {
        Some(id) => {
            objects
                .end_upload(id)
                .ok_or(Refusal::new(404, "NoSuchUpload"))?;
        }
        None => objects.remove(&asked.path()),
    }
    Ok(Reply::status(204))
}

pub(super) fn post(objects: &Objects, asked: &Asked<'_>) -> Result<Reply, Refusal> {
    if asked.parameter("uploads").is_some() {
        let id = objects.begin_upload(&asked.path(), given(asked));
        let document = format!(
            "<InitiateMultipartUploadResult><Bucket>{}</Bucket><Key>{}</Key><UploadId>{id}</UploadId>\
             </InitiateMultipartUploadResult>",
            asked.bucket,
            escape(asked.key.as_str())
        );
        return Ok(Reply::ok(document).header("Content-Type", "application/xml"));
    }
    if let Some(id) = asked.parameter("uploadId") {
        let upload = objects
            .end_upload(id)
            .ok_or(Refusal::new(404, "NoSuchUpload"))?;
        let given = Given {
            parts: upload.parts.len(),
            ..upload.given
        };
        let bytes: Vec<u8> = upload.parts.into_values().flatten().collect();
        let path = format!("{}/{}", upload.bucket, upload.key);
        let version = objects.write(&path, Content::Given(bytes), given);
        let document = format!(
            "<CompleteMultipartUploadResult><ETag>{}</ETag></CompleteMultipartUploadResult>",
            escape(version.etag.as_str())
        );
        return Ok(Reply::ok(document).header("Content-Type", "application/xml"));
    }
    if asked.parameter("delete").is_some() {
        return delete_many(objects, asked);
    }
    Err(Refusal::new(405, "MethodNotAllowed"))
}

fn delete_many(objects: &Objects, asked: &Asked<'_>) -> Result<Reply, Refusal> {
    let document = String::from_utf8(body(asked)?).unwrap();
    let mut answer = String::from("<DeleteResult>");
    for rest in document.split("<Key>").skip(1) {
        let key = rest.split("</Key>").next().unwrap();
        objects.remove(&format!("{}/{}", asked.bucket, unescape(key).unwrap()));
        write!(answer, "<Deleted><Key>{key}</Key></Deleted>").unwrap();
    }
    answer += "</DeleteResult>";
    Ok(Reply::ok(answer).header("Content-Type", "application/xml"))
}

/// ListObjectsV2 with prefix, page size and continuation.
pub(super) fn list(objects: &Objects, asked: &Asked<'_>) -> Result<Reply, Refusal> {
    if !objects.has_bucket(&asked.bucket) {
        return Err(Refusal::new(404, "NoSuchBucket"));
    }
    let prefix = asked.parameter("prefix").unwrap_or_default();
    let after = asked
        .parameter("continuation-token")
        .or(asked.parameter("start-after"));
    let most = asked
        .parameter("max-keys")
        .map_or(1000, |most| most.parse().unwrap_or(1000));
    let listed = objects.listed(&asked.bucket, prefix);
    let mut listed = listed
        .iter()
        .filter(|(key, _)| after.is_none_or(|after| key.as_str() > after));
    let page: Vec<&(String, Arc<Version>)> = listed.by_ref().take(most).collect();
    let is_truncated = listed.next().is_some();
    let is_encoded = asked.parameter("encoding-type") == Some("url");
    let name = |key: &str| {
        if is_encoded {
            super::sigv4::encode_query(key).replace("%2F", "/")
        } else {
            escape(key).into_owned()
        }
    };
    let mut document = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>{}</Name>\
         <Prefix>{}</Prefix><KeyCount>{}</KeyCount><MaxKeys>{most}</MaxKeys>\
         <IsTruncated>{is_truncated}</IsTruncated>",
        asked.bucket,
        name(prefix),
        page.len()
    );
    if is_encoded {
        document += "<EncodingType>url</EncodingType>";
    }
    if let Some((key, _)) = page.last().filter(|_| is_truncated) {
        let token = escape(key.as_str());
        write!(
            document,
            "<NextContinuationToken>{token}</NextContinuationToken>"
        )
        .unwrap();
    }
    for (key, version) in page {
        write!(
            document,
            "<Contents><Key>{}</Key><LastModified>{}</LastModified><ETag>{}</ETag><Size>{}</Size>\
             <StorageClass>STANDARD</StorageClass></Contents>",
            name(key),
            timestamp(version),
            escape(version.etag.as_str()),
            version.size()
        )
        .unwrap();
    }
    document += "</ListBucketResult>";
    Ok(Reply::ok(document).header("Content-Type", "application/xml"))
}

fn timestamp(version: &Version) -> String {
    humantime::format_rfc3339_millis(version.modified).to_string()
}
