//! An S3 store in the process: real semantics, every request on record, and faults as a test says.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use percent_encoding::percent_decode_str;

use super::object_reads;
use super::object_writes;
use super::objects::Objects;
use super::origin::{Origin, Seen};
use super::reply::{Payload, Reply};

/// A request, taken apart.
pub(super) struct Asked<'a> {
    pub(super) seen: &'a Seen,
    pub(super) bucket: String,
    pub(super) key: String,
    query: BTreeMap<String, String>,
}

impl<'a> Asked<'a> {
    pub(super) fn of(seen: &'a Seen) -> Self {
        let (path, query) = seen.target.split_once('?').unwrap_or((&seen.target, ""));
        let path = path.trim_start_matches('/');
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let query = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        });
        Self {
            seen,
            bucket: decoded(bucket),
            key: decoded(key),
            query: query.collect(),
        }
    }

    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.seen.field(name)
    }

    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    pub(super) fn path(&self) -> String {
        format!("{}/{}", self.bucket, self.key)
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8().unwrap().into_owned()
}

/// An S3 error document in the making.
#[derive(Debug)]
pub(super) struct Refusal {
    status: u16,
    code: &'static str,
    elements: String,
    fields: Vec<(String, String)>,
}

impl Refusal {
    pub(super) fn new(status: u16, code: &'static str) -> Self {
        Self {
            status,
            code,
            elements: String::new(),
            fields: Vec::new(),
        }
    }

    pub(super) fn element(mut self, name: &str, text: &str) -> Self {
        self.elements += &format!("<{name}>{text}</{name}>");
        self
    }

    pub(super) fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    fn reply(&self) -> Reply {
        let document = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{}</Code>\
             <Message>from the origin</Message>{}</Error>",
            self.code, self.elements
        );
        let reply = Reply::new(self.status, Payload::Bytes(document.into()));
        let mut reply = reply.header("Content-Type", "application/xml");
        for (name, value) in &self.fields {
            reply = reply.header(name, value);
        }
        reply
    }
}

type Before = Arc<dyn Fn(&Seen) + Send + Sync>;
type Bend = Arc<dyn Fn(&Seen, Reply) -> Reply + Send + Sync>;

#[derive(Clone)]
struct Hooks {
    before: Before,
    bend: Bend,
}

/// The store and the listener before it.
pub(super) struct ObjectOrigin {
    pub(super) origin: Origin,
    pub(super) objects: Arc<Objects>,
    hooks: Arc<Mutex<Hooks>>,
}

impl ObjectOrigin {
    /// With the buckets `lake` and `pond`.
    pub(super) async fn start() -> Self {
        let origin = Origin::start().await;
        let objects = Arc::new(Objects::with_buckets(&["lake", "pond"]));
        let hooks = Arc::new(Mutex::new(Hooks {
            before: Arc::new(|_| ()),
            bend: Arc::new(|_, reply| reply),
        }));
        let (store, hooked) = (Arc::clone(&objects), Arc::clone(&hooks));
        origin.respond_to_whole(move |seen| {
            let hooks = hooked.lock().clone();
            (hooks.before)(seen);
            let reply = answer(&store, seen);
            (hooks.bend)(seen, reply)
        });
        Self {
            origin,
            objects,
            hooks,
        }
    }

    /// Does this before each request is answered from now on.
    pub(super) fn before(&self, before: impl Fn(&Seen) + Send + Sync + 'static) {
        self.hooks.lock().before = Arc::new(before);
    }

    /// Changes answers like this from now on.
    pub(super) fn bend(&self, bend: impl Fn(&Seen, Reply) -> Reply + Send + Sync + 'static) {
        self.hooks.lock().bend = Arc::new(bend);
    }

    /// Changes the next answers to reads of objects, one after the other; later ones are as they are.
    pub(super) fn bend_next(&self, bends: Vec<fn(Reply) -> Reply>) {
        let left = Mutex::new(std::collections::VecDeque::from(bends));
        self.bend(move |seen, reply| {
            if !is_object_read(seen) {
                return reply;
            }
            match left.lock().pop_front() {
                Some(bend) => bend(reply),
                None => reply,
            }
        });
    }

    /// Answers as it should from now on.
    pub(super) fn straighten(&self) {
        *self.hooks.lock() = Hooks {
            before: Arc::new(|_| ()),
            bend: Arc::new(|_, reply| reply),
        };
    }
}

/// Whether it is GetObject or HeadObject.
pub(super) fn is_object_read(seen: &Seen) -> bool {
    let asked = Asked::of(seen);
    matches!(seen.method.as_str(), "GET" | "HEAD") && !asked.key.is_empty()
}

fn answer(objects: &Objects, seen: &Seen) -> Reply {
    let asked = Asked::of(seen);
    let answered = if let Err(why) = &seen.signer {
        let code = match why.as_str() {
            "UnknownAccessKey" => "InvalidAccessKeyId",
            "TimeTooSkewed" => "RequestTimeTooSkewed",
            _ => "SignatureDoesNotMatch",
        };
        Err(Refusal::new(403, code))
    } else if asked.key.is_empty() {
        of_bucket(objects, &asked)
    } else {
        of_object(objects, &asked)
    };
    let reply = answered.unwrap_or_else(|refusal| refusal.reply());
    reply
        .header("Server", "ObjectOrigin")
        .header(
            "Date",
            &httpdate::fmt_http_date(std::time::SystemTime::now()),
        )
        .header("x-amz-request-id", &format!("ORIGIN{:010}", seen.number))
        .header("x-amz-id-2", "b3JpZ2lu")
}

fn of_bucket(objects: &Objects, asked: &Asked<'_>) -> Result<Reply, Refusal> {
    match asked.seen.method.as_str() {
        "GET" => object_writes::list(objects, asked),
        "POST" => object_writes::post(objects, asked),
        "HEAD" if objects.has_bucket(&asked.bucket) => Ok(Reply::status(200)),
        "HEAD" => Err(Refusal::new(404, "NoSuchBucket")),
        _ => Err(Refusal::new(405, "MethodNotAllowed")),
    }
}

fn of_object(objects: &Objects, asked: &Asked<'_>) -> Result<Reply, Refusal> {
    match asked.seen.method.as_str() {
        "GET" if asked.parameter("tagging").is_some() => {
            let document = "<Tagging><TagSet/></Tagging>";
            Ok(Reply::ok(document).header("Content-Type", "application/xml"))
        }
        "GET" if asked.parameter("acl").is_some() => {
            let document = "<AccessControlPolicy/>";
            Ok(Reply::ok(document).header("Content-Type", "application/xml"))
        }
        // Tags and the like are no bytes of the object.
        "PUT" | "DELETE"
            if asked
                .parameter("tagging")
                .or(asked.parameter("acl"))
                .is_some() =>
        {
            Ok(Reply::status(200))
        }
        "GET" | "HEAD" => object_reads::read(objects, asked),
        "PUT" => object_writes::put(objects, asked),
        "DELETE" => object_writes::delete(objects, asked),
        "POST" => object_writes::post(objects, asked),
        _ => Err(Refusal::new(405, "MethodNotAllowed")),
    }
}
