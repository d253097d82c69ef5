//! The operations of the S3 API: one table says how each is recognised and what it takes to be
//! allowed.
//!
//! Names and parameters follow
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html>.

use std::sync::LazyLock;

use http::Method;

/// What a request does, as rules name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Object bytes and object meta.
    Read,
    /// Names of objects, uploads and buckets.
    List,
    /// Creates or replaces.
    Write,
    /// Removes.
    Delete,
}

/// Rights beyond plain objects. A rule gives one only by naming it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Grant {
    /// `versionId`, and listing versions.
    Versions,
    /// Object and bucket tags.
    Tagging,
    /// Access control lists and canned ACLs other than `private`.
    Acl,
    /// Object Lock: retention, legal hold, governance bypass.
    Retention,
    /// Bucket configuration: policy, lifecycle, CORS, encryption, versioning and the like.
    BucketConfig,
}

/// What an operation acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The service itself: `GET /`.
    Service,
    /// A bucket.
    Bucket,
    /// An object.
    Object,
}

/// What a principal needs for an operation, apart from the bucket and key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Right {
    /// Any allow rule on the bucket: asking whether it exists and where.
    Visible,
    /// This action.
    Plain(Action),
    /// This action and this grant.
    Granted(Action, Grant),
    /// A rule that allows everything on the whole bucket.
    Everything,
}

/// What an operation changes of what reading objects shows: bytes or fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Changes {
    /// Nothing. An upload that is not complete changes nothing yet.
    Nothing,
    /// The object that it is about.
    Object,
    /// The objects that its body names.
    Named,
    /// Any object of the bucket. Most bucket configuration shows in no object, but is changed so
    /// rarely that telling apart which does would not pay.
    Bucket,
}

use Action::{Delete, List, Read, Write};
use Grant::{Acl, BucketConfig, Retention, Tagging, Versions};
use Right::{Everything, Granted, Plain, Visible};

/// Parameters that belong to reading an object. `response-*` change fields of the answer, not bytes.
const READ: &[&str] = &[
    "partNumber",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "versionId",
];
const LIST_V1: &[&str] = &["delimiter", "encoding-type", "marker", "max-keys", "prefix"];
const LIST_V2: &[&str] = &[
    "continuation-token",
    "delimiter",
    "encoding-type",
    "fetch-owner",
    "list-type",
    "max-keys",
    "prefix",
    "start-after",
];
const LIST_VERSIONS: &[&str] = &[
    "delimiter",
    "encoding-type",
    "key-marker",
    "max-keys",
    "prefix",
    "version-id-marker",
    "versions",
];
const LIST_UPLOADS: &[&str] = &[
    "delimiter",
    "encoding-type",
    "key-marker",
    "max-uploads",
    "prefix",
    "upload-id-marker",
    "uploads",
];
const LIST_BUCKETS: &[&str] = &[
    "bucket-region",
    "continuation-token",
    "max-buckets",
    "prefix",
];
const VERSION: &[&str] = &["versionId"];
const PART: &[&str] = &["partNumber", "uploadId"];
const LIST_PARTS: &[&str] = &["max-parts", "part-number-marker", "uploadId"];
const ATTRIBUTES: &[&str] = &["max-parts", "part-number-marker", "versionId"];
const SELECT: &[&str] = &["select-type"];
const CONFIG_ID: &[&str] = &["continuation-token", "id"];
const NONE: &[&str] = &[];

macro_rules! operations {
    ($($name:ident $method:ident $scope:ident $changes:ident $marker:literal $right:expr,
       $params:expr;)*) => {
        /// An operation of the S3 API.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "the names are S3's own")]
        pub enum Operation { $($name,)* Unknown }

        impl Operation {
            /// Every operation that is recognised.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// S3's name for it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* Self::Unknown => "Unknown" }
            }

            /// What a principal needs for it.
            pub fn right(self) -> Right {
                match self { $(Self::$name => $right,)* Self::Unknown => Everything }
            }

            /// What it changes when it comes by this method. An unknown one that does not only read
            /// may change anything in the bucket: renaming an object changes two.
            pub fn changes(self, method: &Method) -> Changes {
                match self {
                    $(Self::$name => Changes::$changes,)*
                    Self::Unknown if self.is_safe(method) => Changes::Nothing,
                    Self::Unknown => Changes::Bucket,
                }
            }
        }

        /// Every operation that is recognised, in the order of [`Operation::ALL`].
        static ROWS: &[Row] = &[$(Row {
            operation: Operation::$name,
            method: Method::$method,
            scope: Scope::$scope,
            marker: $marker,
            params: $params,
        },)*];
    };
}

struct Row {
    operation: Operation,
    method: Method,
    scope: Scope,
    /// The parameters that name the sub-resource, separated by a space; empty for the plain
    /// operation.
    marker: &'static str,
    params: &'static [&'static str],
}

operations! {
    GetObject               GET    Object  Nothing ""             Plain(Read), READ;
    HeadObject              HEAD   Object  Nothing ""             Plain(Read), READ;
    PutObject               PUT    Object  Object  ""             Plain(Write), NONE;
    CopyObject              PUT    Object  Object  "x-amz-copy-source" Plain(Write), NONE;
    DeleteObject            DELETE Object  Object  ""             Plain(Delete), VERSION;
    UploadPart              PUT    Object  Nothing "uploadId"     Plain(Write), PART;
    UploadPartCopy          PUT    Object  Nothing "x-amz-copy-source uploadId" Plain(Write), PART;
    CreateMultipartUpload   POST   Object  Nothing "uploads"      Plain(Write), NONE;
    CompleteMultipartUpload POST   Object  Object  "uploadId"     Plain(Write), NONE;
    AbortMultipartUpload    DELETE Object  Nothing "uploadId"     Plain(Write), NONE;
    ListParts               GET    Object  Nothing "uploadId"     Plain(Write), LIST_PARTS;
    GetObjectAttributes     GET    Object  Nothing "attributes"   Plain(Read), ATTRIBUTES;
    SelectObjectContent     POST   Object  Nothing "select"       Plain(Read), SELECT;
    // Its body may ask for a query whose result goes to another bucket.
    RestoreObject           POST   Object  Object  "restore"      Everything, VERSION;
    GetObjectTagging        GET    Object  Nothing "tagging"      Granted(Read, Tagging), VERSION;
    PutObjectTagging        PUT    Object  Object  "tagging"      Granted(Write, Tagging), VERSION;
    DeleteObjectTagging     DELETE Object  Object  "tagging"      Granted(Write, Tagging), VERSION;
    GetObjectAcl            GET    Object  Nothing "acl"          Granted(Read, Acl), VERSION;
    PutObjectAcl            PUT    Object  Object  "acl"          Granted(Write, Acl), VERSION;
    GetObjectRetention      GET    Object  Nothing "retention"    Granted(Read, Retention), VERSION;
    PutObjectRetention      PUT    Object  Object  "retention"    Granted(Write, Retention), VERSION;
    GetObjectLegalHold      GET    Object  Nothing "legal-hold"   Granted(Read, Retention), VERSION;
    PutObjectLegalHold      PUT    Object  Object  "legal-hold"   Granted(Write, Retention), VERSION;

    ListObjectsV2           GET    Bucket  Nothing "list-type"    Plain(List), LIST_V2;
    ListObjects             GET    Bucket  Nothing ""             Plain(List), LIST_V1;
    ListObjectVersions      GET    Bucket  Nothing "versions"     Granted(List, Versions), LIST_VERSIONS;
    ListMultipartUploads    GET    Bucket  Nothing "uploads"      Plain(List), LIST_UPLOADS;
    DeleteObjects           POST   Bucket  Named   "delete"       Plain(Delete), NONE;
    HeadBucket              HEAD   Bucket  Nothing ""             Visible, NONE;
    GetBucketLocation       GET    Bucket  Nothing "location"     Visible, NONE;
    CreateBucket            PUT    Bucket  Bucket  ""             Plain(Write), NONE;
    DeleteBucket            DELETE Bucket  Bucket  ""             Plain(Delete), NONE;
    GetBucketTagging        GET    Bucket  Nothing "tagging"      Granted(Read, Tagging), NONE;
    PutBucketTagging        PUT    Bucket  Bucket  "tagging"      Granted(Write, Tagging), NONE;
    DeleteBucketTagging     DELETE Bucket  Bucket  "tagging"      Granted(Write, Tagging), NONE;
    GetBucketAcl            GET    Bucket  Nothing "acl"          Granted(Read, Acl), NONE;
    PutBucketAcl            PUT    Bucket  Bucket  "acl"          Granted(Write, Acl), NONE;

    GetBucketAccelerateConfiguration GET Bucket Nothing "accelerate" Granted(Read, BucketConfig), NONE;
    PutBucketAccelerateConfiguration PUT Bucket Bucket "accelerate" Granted(Write, BucketConfig), NONE;
    GetBucketAnalyticsConfiguration GET Bucket Nothing "analytics" Granted(Read, BucketConfig), CONFIG_ID;
    PutBucketAnalyticsConfiguration PUT Bucket Bucket "analytics" Granted(Write, BucketConfig), CONFIG_ID;
    DeleteBucketAnalyticsConfiguration DELETE Bucket Bucket "analytics" Granted(Write, BucketConfig), CONFIG_ID;
    GetBucketCors GET Bucket Nothing "cors" Granted(Read, BucketConfig), NONE;
    PutBucketCors PUT Bucket Bucket "cors" Granted(Write, BucketConfig), NONE;
    DeleteBucketCors DELETE Bucket Bucket "cors" Granted(Write, BucketConfig), NONE;
    GetBucketEncryption GET Bucket Nothing "encryption" Granted(Read, BucketConfig), NONE;
    PutBucketEncryption PUT Bucket Bucket "encryption" Granted(Write, BucketConfig), NONE;
    DeleteBucketEncryption DELETE Bucket Bucket "encryption" Granted(Write, BucketConfig), NONE;
    GetBucketIntelligentTieringConfiguration GET Bucket Nothing "intelligent-tiering" Granted(Read, BucketConfig), CONFIG_ID;
    PutBucketIntelligentTieringConfiguration PUT Bucket Bucket "intelligent-tiering" Granted(Write, BucketConfig), CONFIG_ID;
    DeleteBucketIntelligentTieringConfiguration DELETE Bucket Bucket "intelligent-tiering" Granted(Write, BucketConfig), CONFIG_ID;
    GetBucketInventoryConfiguration GET Bucket Nothing "inventory" Granted(Read, BucketConfig), CONFIG_ID;
    PutBucketInventoryConfiguration PUT Bucket Bucket "inventory" Granted(Write, BucketConfig), CONFIG_ID;
    DeleteBucketInventoryConfiguration DELETE Bucket Bucket "inventory" Granted(Write, BucketConfig), CONFIG_ID;
    GetBucketLifecycle GET Bucket Nothing "lifecycle" Granted(Read, BucketConfig), NONE;
    PutBucketLifecycle PUT Bucket Bucket "lifecycle" Granted(Write, BucketConfig), NONE;
    DeleteBucketLifecycle DELETE Bucket Bucket "lifecycle" Granted(Write, BucketConfig), NONE;
    GetBucketLogging GET Bucket Nothing "logging" Granted(Read, BucketConfig), NONE;
    PutBucketLogging PUT Bucket Bucket "logging" Granted(Write, BucketConfig), NONE;
    GetBucketMetricsConfiguration GET Bucket Nothing "metrics" Granted(Read, BucketConfig), CONFIG_ID;
    PutBucketMetricsConfiguration PUT Bucket Bucket "metrics" Granted(Write, BucketConfig), CONFIG_ID;
    DeleteBucketMetricsConfiguration DELETE Bucket Bucket "metrics" Granted(Write, BucketConfig), CONFIG_ID;
    GetBucketNotification GET Bucket Nothing "notification" Granted(Read, BucketConfig), NONE;
    PutBucketNotification PUT Bucket Bucket "notification" Granted(Write, BucketConfig), NONE;
    GetObjectLockConfiguration GET Bucket Nothing "object-lock" Granted(Read, BucketConfig), NONE;
    PutObjectLockConfiguration PUT Bucket Bucket "object-lock" Granted(Write, BucketConfig), NONE;
    GetBucketOwnershipControls GET Bucket Nothing "ownershipControls" Granted(Read, BucketConfig), NONE;
    PutBucketOwnershipControls PUT Bucket Bucket "ownershipControls" Granted(Write, BucketConfig), NONE;
    DeleteBucketOwnershipControls DELETE Bucket Bucket "ownershipControls" Granted(Write, BucketConfig), NONE;
    GetBucketPolicy GET Bucket Nothing "policy" Granted(Read, BucketConfig), NONE;
    PutBucketPolicy PUT Bucket Bucket "policy" Granted(Write, BucketConfig), NONE;
    DeleteBucketPolicy DELETE Bucket Bucket "policy" Granted(Write, BucketConfig), NONE;
    GetBucketPolicyStatus GET Bucket Nothing "policyStatus" Granted(Read, BucketConfig), NONE;
    GetPublicAccessBlock GET Bucket Nothing "publicAccessBlock" Granted(Read, BucketConfig), NONE;
    PutPublicAccessBlock PUT Bucket Bucket "publicAccessBlock" Granted(Write, BucketConfig), NONE;
    DeletePublicAccessBlock DELETE Bucket Bucket "publicAccessBlock" Granted(Write, BucketConfig), NONE;
    GetBucketReplication GET Bucket Nothing "replication" Granted(Read, BucketConfig), NONE;
    PutBucketReplication PUT Bucket Bucket "replication" Granted(Write, BucketConfig), NONE;
    DeleteBucketReplication DELETE Bucket Bucket "replication" Granted(Write, BucketConfig), NONE;
    GetBucketRequestPayment GET Bucket Nothing "requestPayment" Granted(Read, BucketConfig), NONE;
    PutBucketRequestPayment PUT Bucket Bucket "requestPayment" Granted(Write, BucketConfig), NONE;
    GetBucketVersioning GET Bucket Nothing "versioning" Granted(Read, BucketConfig), NONE;
    PutBucketVersioning PUT Bucket Bucket "versioning" Granted(Write, BucketConfig), NONE;
    GetBucketWebsite GET Bucket Nothing "website" Granted(Read, BucketConfig), NONE;
    PutBucketWebsite PUT Bucket Bucket "website" Granted(Write, BucketConfig), NONE;
    DeleteBucketWebsite DELETE Bucket Bucket "website" Granted(Write, BucketConfig), NONE;

    ListBuckets GET Service Nothing "" Plain(List), LIST_BUCKETS;
}

/// Parameters that no operation minds: they change neither what is done nor the bytes.
/// `x-id` is the SDKs' own label.
const HARMLESS: &[&str] = &["x-id"];

impl Operation {
    /// Recognises the operation from the method, what the path names, and the parameters.
    ///
    /// `has` asks whether a query parameter (or, for `x-amz-copy-source`, a field) is present.
    /// A parameter that the operation does not know makes it `Unknown`: it could be a sub-resource
    /// of which this table has not heard.
    pub fn recognise<'q>(
        method: &Method,
        scope: Scope,
        params: &(impl Iterator<Item = &'q str> + Clone),
        is_copy: bool,
    ) -> Self {
        let fits = |row: &&Row| row.scope == scope && row.method == *method;
        // Without any of them only a row without markers can match, and there is one at most.
        if !is_copy && params.clone().next().is_none() {
            let row = PLAIN_ROWS.iter().copied().find(fits);
            return row.map_or(Self::Unknown, |row| row.operation);
        }
        let has = |name: &str| {
            (is_copy && name == "x-amz-copy-source") || params.clone().any(|param| param == name)
        };
        let rows = ROWS
            .iter()
            .filter(fits)
            .filter(|row| row.markers().all(has));
        // The most specific row wins: the one that demands the most markers.
        let best = rows.max_by_key(|row| row.markers().count());
        match best {
            Some(row) if params.clone().all(|param| row.knows(param)) => row.operation,
            _ => Self::Unknown,
        }
    }

    /// Whether it reads an object as such: what a cache of objects is about.
    pub fn reads_object(self) -> bool {
        matches!(self, Self::GetObject | Self::HeadObject)
    }

    /// Whether it only reads, so that repeating it changes nothing.
    pub fn is_safe(self, method: &Method) -> bool {
        matches!(*method, Method::GET | Method::HEAD) || self == Self::SelectObjectContent
    }
}

/// The rows that demand no parameter.
static PLAIN_ROWS: LazyLock<Vec<&'static Row>> =
    LazyLock::new(|| ROWS.iter().filter(|row| row.marker.is_empty()).collect());

impl Row {
    fn markers(&self) -> impl Iterator<Item = &'static str> {
        self.marker.split_ascii_whitespace()
    }

    /// Whether the parameter is part of this operation.
    fn knows(&self, param: &str) -> bool {
        self.params.contains(&param)
            || self.marker.split(' ').any(|marker| marker == param)
            || HARMLESS.contains(&param)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recognise(method: &Method, scope: Scope, query: &str, is_copy: bool) -> Operation {
        let params = query.split('&').filter(|p| !p.is_empty());
        Operation::recognise(method, scope, &params, is_copy)
    }

    #[test]
    fn markers_pick_the_operation() {
        use Operation as Op;
        let object = |method, query| recognise(&method, Scope::Object, query, false);
        assert_eq!(object(Method::GET, ""), Op::GetObject);
        assert_eq!(object(Method::GET, "x-id&versionId"), Op::GetObject);
        assert_eq!(object(Method::PUT, "partNumber&uploadId"), Op::UploadPart);
        assert_eq!(object(Method::POST, "uploads"), Op::CreateMultipartUpload);
        assert_eq!(
            object(Method::DELETE, "uploadId&x-id"),
            Op::AbortMultipartUpload
        );
        assert_eq!(
            object(Method::GET, "tagging&versionId"),
            Op::GetObjectTagging
        );
        let copy = |query| recognise(&Method::PUT, Scope::Object, query, true);
        assert_eq!(copy(""), Op::CopyObject);
        assert_eq!(copy("partNumber&uploadId"), Op::UploadPartCopy);
        let bucket = |method, query| recognise(&method, Scope::Bucket, query, false);
        assert_eq!(bucket(Method::GET, "prefix&delimiter"), Op::ListObjects);
        assert_eq!(
            bucket(Method::GET, "list-type&prefix&start-after"),
            Op::ListObjectsV2
        );
        assert_eq!(bucket(Method::POST, "delete"), Op::DeleteObjects);
        assert_eq!(bucket(Method::GET, "lifecycle"), Op::GetBucketLifecycle);
        assert_eq!(
            recognise(&Method::GET, Scope::Service, "", false),
            Op::ListBuckets
        );
    }

    #[test]
    fn no_two_operations_are_plain_in_the_same_way() {
        for (index, row) in PLAIN_ROWS.iter().enumerate() {
            let is_twin = |other: &&Row| other.scope == row.scope && other.method == row.method;
            assert!(
                !PLAIN_ROWS[..index]
                    .iter()
                    .copied()
                    .any(|other| is_twin(&other))
            );
        }
    }

    #[test]
    fn what_the_table_does_not_know_is_unknown() {
        for (method, scope, query) in [
            (Method::GET, Scope::Object, "torrent"),
            (Method::GET, Scope::Object, "acl&torrent"),
            (Method::PUT, Scope::Object, "tagging&acl"),
            (Method::PUT, Scope::Object, "renameObject"),
            (Method::GET, Scope::Bucket, "list-type&acl"),
            (Method::POST, Scope::Bucket, ""),
            (Method::POST, Scope::Object, ""),
            (Method::PATCH, Scope::Object, ""),
        ] {
            assert_eq!(
                recognise(&method, scope, query, false),
                Operation::Unknown,
                "{query}"
            );
        }
    }

    #[test]
    fn every_write_but_an_unfinished_upload_changes_something() {
        use Operation as Op;
        let unfinished = [
            Op::UploadPart,
            Op::UploadPartCopy,
            Op::CreateMultipartUpload,
            Op::AbortMultipartUpload,
        ];
        for row in ROWS {
            let changes = row.operation.changes(&row.method);
            let name = row.operation.name();
            if row.operation.is_safe(&row.method) || unfinished.contains(&row.operation) {
                assert_eq!(changes, Changes::Nothing, "{name}");
            } else if row.scope == Scope::Object {
                assert_eq!(changes, Changes::Object, "{name}");
            } else if row.operation == Op::DeleteObjects {
                assert_eq!(changes, Changes::Named, "{name}");
            } else {
                assert_eq!(changes, Changes::Bucket, "{name}");
            }
        }
        assert_eq!(Op::Unknown.changes(&Method::GET), Changes::Nothing);
        assert_eq!(Op::Unknown.changes(&Method::PUT), Changes::Bucket);
    }

    #[test]
    fn copy_needs_the_write_right_and_unknown_needs_everything() {
        assert_eq!(Operation::CopyObject.right(), Plain(Write));
        assert_eq!(Operation::Unknown.right(), Everything);
        assert_eq!(Operation::RestoreObject.right(), Everything);
        assert_eq!(Operation::HeadBucket.right(), Visible);
    }
}
