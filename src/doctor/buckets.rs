//! One bucket: is it there, and does the origin let us do what the rules let clients do?

use bytes::Bytes;
use http::HeaderMap;
use http::HeaderValue;
use http::Method;
use http::StatusCode;
use http::header;

use super::Report;
use super::named::Named;
use super::origin::MAX_ANSWER;
use super::origin::error_code;
use super::origin::list_buckets;
use super::origin::rejection;
use super::origin::takes_credentials;
use crate::policy::Action;
use crate::s3::Key;
use crate::s3::Operation;
use crate::s3::Request;
use crate::s3::listed_objects;
use crate::upstream::Answer;
use crate::upstream::Fetch;
use crate::upstream::Origin;
use crate::upstream::Question;
use crate::upstream::UpstreamError;
use crate::upstream::jitter;

/// What is written.
const WRITTEN: &[u8] = b"written by `s3proxy doctor --write`; it may be deleted\n";

/// Asks one origin about one bucket.
struct Asking<'a> {
    origin: &'a Origin,
    fetch: &'a Fetch,
    named: &'a Named,
    subject: String,
}

/// Tries what is allowed in one bucket.
pub(super) async fn examine(
    origin: &Origin,
    fetch: &Fetch,
    named: &Named,
    may_write: bool,
    report: &mut Report,
) {
    let subject = match &named.own {
        Some((client, _)) => format!("bucket {} as {client}", named.bucket.as_str()),
        None => format!("bucket {}", named.bucket.as_str()),
    };
    let asking = Asking {
        origin,
        fetch,
        named,
        subject,
    };
    if let Some((_, own)) = &named.own {
        let asked = list_buckets(origin, fetch, Some(own)).await;
        if !takes_credentials(asked, own, &asking.subject, report) {
            return;
        }
    }
    if !asking.is_there(report).await {
        return;
    }
    let key = asking.list(report).await;
    if named.actions.contains(&Action::Read) {
        asking.read(key, report).await;
    }
    if named.actions.contains(&Action::Write) {
        if may_write {
            asking.write(report).await;
        } else {
            let found = "writing was not tried";
            report.ok(&asking.subject, format!("{found} (`doctor --write` does)"));
        }
    }
}

impl Asking<'_> {
    async fn is_there(&self, report: &mut Report) -> bool {
        let head = self.request(Operation::HeadBucket, None);
        match self.ask(&head, Method::HEAD, &[], Bytes::new()).await {
            Ok(answer) if answer.status == StatusCode::NOT_FOUND => {
                report.problem(
                    &self.subject,
                    format!(
                        "there is no such bucket at origin {}",
                        self.origin.config.name
                    ),
                    "create it, or correct its name in the configuration",
                );
                false
            }
            Ok(answer) if answer.status.is_server_error() => {
                let said = format!("HeadBucket is answered {}", answer.status);
                report.problem(&self.subject, said, "see that the store is well");
                false
            }
            // A refusal says nothing yet: rights on the bucket and on its objects are different ones.
            Ok(_) => true,
            Err(error) => {
                let advice = "see that the store is well, and that `region` of the origin is right";
                report.problem(&self.subject, error.to_string(), advice);
                false
            }
        }
    }

    /// Lists, and gives a key to read. Failing is a problem where the rules let clients list.
    async fn list(&self, report: &mut Report) -> Option<Key> {
        let is_allowed = self.named.actions.contains(&Action::List);
        let mut request = self.request(Operation::ListObjectsV2, None);
        request.query = vec![
            ("list-type".to_owned(), Some("2".to_owned())),
            ("max-keys".to_owned(), Some("10".to_owned())),
            ("prefix".to_owned(), Some(self.named.prefix.clone())),
        ];
        match self.ask(&request, Method::GET, &[], Bytes::new()).await {
            Ok(answer) if answer.status == StatusCode::OK => {
                if is_allowed {
                    report.ok(&self.subject, "can be listed");
                }
                let objects = listed_objects(&answer.body).into_iter();
                let mut readable = objects.filter(|object| object.size > 0);
                readable.next().map(|object| object.key)
            }
            Ok(answer) if is_allowed => {
                self.refused("listed", "s3:ListBucket", &answer, report);
                None
            }
            Err(error) if is_allowed => {
                let advice = "see that the store is well";
                report.problem(&self.subject, format!("cannot be listed: {error}"), advice);
                None
            }
            Ok(_) | Err(_) => None,
        }
    }

    async fn read(&self, key: Option<Key>, report: &mut Report) {
        let Some(key) = key else {
            let found = "reading could not be tried: no object with bytes is known there";
            report.ok(&self.subject, found);
            return;
        };
        let request = self.request(Operation::GetObject, Some(key));
        let range = [(header::RANGE, HeaderValue::from_static("bytes=0-0"))];
        match self.ask(&request, Method::GET, &range, Bytes::new()).await {
            Ok(answer) if answer.status == StatusCode::PARTIAL_CONTENT => {
                report.ok(&self.subject, "an object can be read");
            }
            // It honours no ranges, and the object is not small.
            Err(UpstreamError::AnswerTooLong(_)) => self.no_ranges(report),
            Ok(answer) if answer.status == StatusCode::OK => self.no_ranges(report),
            Ok(answer) => self.refused("read", "s3:GetObject", &answer, report),
            Err(error) => {
                let advice = "see that the store is well";
                report.problem(&self.subject, format!("cannot be read: {error}"), advice);
            }
        }
    }

    fn no_ranges(&self, report: &mut Report) {
        let found = "an object can be read, but the store answers a range with all of it";
        report.warning(
            &self.subject,
            found,
            "a store without ranges makes the cache read too much",
        );
    }

    /// Writes an object and deletes it again, whatever became of it.
    async fn write(&self, report: &mut Report) {
        // Unlike any other name, so that nothing is replaced.
        let name = format!(
            "{}.s3proxy-doctor-{}-{:08x}",
            self.named.prefix,
            std::process::id(),
            (jitter() * f64::from(u32::MAX)).to_bits() >> 20
        );
        let Ok(key) = Key::new(&name) else {
            return;
        };
        let put = self.request(Operation::PutObject, Some(key.clone()));
        let body = Bytes::from_static(WRITTEN);
        match self.ask(&put, Method::PUT, &[], body).await {
            Ok(answer) if answer.status.is_success() => {
                report.ok(&self.subject, "an object can be written");
            }
            Ok(answer) => {
                self.refused("written", "s3:PutObject", &answer, report);
                return;
            }
            Err(error) => {
                let advice = format!("see that the store is well; delete {name} if it is there");
                report.problem(&self.subject, format!("cannot be written: {error}"), advice);
            }
        }
        let delete = self.request(Operation::DeleteObject, Some(key));
        match self.ask(&delete, Method::DELETE, &[], Bytes::new()).await {
            Ok(answer) if answer.status.is_success() => {
                report.ok(&self.subject, "the object was deleted again");
            }
            outcome => {
                let why = match outcome {
                    Ok(answer) => answer.status.to_string(),
                    Err(error) => error.to_string(),
                };
                let said = format!("the object {name} could not be deleted again: {why}");
                report.warning(&self.subject, said, "delete it by hand");
            }
        }
    }

    fn refused(&self, done: &str, right: &str, answer: &Answer, report: &mut Report) {
        let code = error_code(&answer.body).unwrap_or_default();
        if let Some((what, advice)) = rejection(&code) {
            report.problem(&self.subject, what, advice);
            return;
        }
        let advice = if answer.status == StatusCode::FORBIDDEN {
            format!("give the key the right {right} there, or take it from the clients' rules")
        } else {
            "see what the store says to it".to_owned()
        };
        let said = format!("cannot be {done}: {} {code}", answer.status);
        report.problem(&self.subject, said.trim_end(), advice);
    }

    fn request(&self, operation: Operation, key: Option<Key>) -> Request {
        Request::own(operation, Some(self.named.bucket.clone()), key)
    }

    async fn ask(
        &self,
        request: &Request,
        method: Method,
        fields: &[(header::HeaderName, HeaderValue)],
        body: Bytes,
    ) -> Result<Answer, UpstreamError> {
        let question = Question {
            request,
            is_read: matches!(method, Method::GET | Method::HEAD),
            method,
            headers: fields.iter().cloned().collect::<HeaderMap>(),
            body,
            own: self.named.own.as_ref().map(|(_, credentials)| credentials),
            max_answer: MAX_ANSWER,
        };
        self.origin.ask(self.fetch, &question).await
    }
}
