//! ListBuckets: what every origin lists, of that what this client may see.

use bytes::Bytes;
use http::HeaderMap;
use http::Method;
use http::StatusCode;

use super::S3Proxy;
use super::failure::Failure;
use super::settings::Settings;
use crate::auth::Verified;
use crate::s3::Bucket;
use crate::s3::BucketPage;
use crate::s3::BucketQuery;
use crate::s3::ErrorCode;
use crate::s3::ListedBucket;
use crate::s3::Request;
use crate::s3::write_bucket_list;
use crate::upstream::Origin;
use crate::upstream::Question;

/// Longest page of a bucket list: 10,000 buckets of at most 400 bytes each.
const MAX_ANSWER: usize = 4 << 20;

/// Pages read from one origin, at most.
const MAX_PAGES: usize = 100;

/// Answers the request.
pub(super) async fn answer(
    proxy: &S3Proxy,
    settings: &Settings,
    request: &Request,
    verified: &Verified,
) -> Result<String, Failure> {
    let mut visible = Vec::new();
    for served in &settings.origins {
        let listed = list(proxy, settings, &served.origin, request, verified).await?;
        visible.extend(listed.into_iter().filter(|listed| {
            Bucket::new(&listed.name).is_ok_and(|bucket| {
                let owner = settings
                    .serving(&bucket)
                    .map(|serving| &serving.origin.config.name);
                owner == Some(&served.origin.config.name)
                    && settings.policy.may_see(&verified.principal, &bucket)
            })
        }));
    }
    let query = BucketQuery {
        prefix: request.param("prefix").unwrap_or_default(),
        after: request.param("continuation-token").unwrap_or_default(),
        max_buckets: max_buckets(request)?,
    };
    Ok(write_bucket_list(
        visible,
        query,
        &verified.principal.to_string(),
    ))
}

fn max_buckets(request: &Request) -> Result<Option<usize>, Failure> {
    let Some(text) = request.param("max-buckets") else {
        return Ok(None);
    };
    match text.parse() {
        Ok(number @ 1..=10_000) => Ok(Some(number)),
        _ => Err(Failure::because(
            ErrorCode::InvalidArgument,
            "Argument max-buckets must be an integer between 1 and 10000",
        )),
    }
}

/// Every bucket of one origin.
async fn list(
    proxy: &S3Proxy,
    settings: &Settings,
    origin: &Origin,
    request: &Request,
    verified: &Verified,
) -> Result<Vec<ListedBucket>, Failure> {
    let mut question = Request {
        query: Vec::new(),
        hoisted: Vec::new(),
        ..request.clone()
    };
    let mut buckets = Vec::new();
    for _ in 0..MAX_PAGES {
        let answer = origin
            .ask(
                &proxy.fetch,
                &Question {
                    request: &question,
                    method: Method::GET,
                    headers: HeaderMap::new(),
                    body: Bytes::new(),
                    is_read: true,
                    own: settings.own_credentials(verified),
                    max_answer: MAX_ANSWER,
                },
            )
            .await?;
        let page = match answer.status {
            StatusCode::OK => BucketPage::parse(&answer.body)
                .map_err(|_| internal(origin, "an answer that is no bucket list"))?,
            StatusCode::FORBIDDEN => return Err(ErrorCode::AccessDenied.into()),
            status => return Err(internal(origin, &format!("status {status}"))),
        };
        buckets.extend(page.buckets);
        let Some(token) = page.continuation_token else {
            break;
        };
        question.query = vec![("continuation-token".to_owned(), Some(token))];
    }
    Ok(buckets)
}

fn internal(origin: &Origin, what: &str) -> Failure {
    let mut failure = Failure::new(ErrorCode::ServiceUnavailable);
    failure.internal = Some(format!("origin {} gave {what}", origin.config.name));
    failure
}
