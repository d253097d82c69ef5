//! The objects of the embedded origin: s3s-fs stores and lists them, this file serves the reads.
//!
//! Reads are ours because s3s-fs 0.14 ignores preconditions, fails a suffix range that is longer than the object, answers
//! HEAD with a range as if there were none, reads 4 KiB at a time, hashes the whole file on each request when
//! it was not uploaded through it, and lists no ETags and no URL-encoded keys. It does not own the listener, its delay or its counters.

use std::fs::Metadata;
use std::io::{self, SeekFrom};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CommonPrefix,
    CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CopyObjectInput, CopyObjectOutput,
    CreateBucketInput, CreateBucketOutput, CreateMultipartUploadInput, CreateMultipartUploadOutput,
    DeleteBucketInput, DeleteBucketOutput, DeleteObjectInput, DeleteObjectOutput,
    DeleteObjectsInput, DeleteObjectsOutput, ETag, ETagCondition, EncodingType,
    GetBucketLocationInput, GetBucketLocationOutput, GetObjectInput, GetObjectOutput,
    HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput, ListBucketsInput,
    ListBucketsOutput, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input,
    ListObjectsV2Output, ListPartsInput, ListPartsOutput, Object, PutObjectInput, PutObjectOutput,
    Range, StreamingBlob, Timestamp, UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput,
    UploadPartOutput,
};
use s3s::{S3, S3Error, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

/// Bytes per read of a file. Each read is one trip to a blocking thread.
const READ_SIZE: usize = 256 * 1024;

/// What `encoding-type=url` leaves as it is.
const LIST_KEY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// A directory served as a store: its folders are the buckets.
#[derive(Debug)]
pub(crate) struct Objects {
    root: PathBuf,
    files: FileSystem,
}

/// The preconditions of one read, as RFC 9110 section 13.2.2 orders them.
#[derive(Debug, Default)]
#[allow(clippy::struct_field_names, reason = "the names of the header fields")]
struct Preconditions {
    if_match: Option<ETagCondition>,
    if_unmodified_since: Option<Timestamp>,
    if_none_match: Option<ETagCondition>,
    if_modified_since: Option<Timestamp>,
}

/// The bytes one read asks for, as the response names them.
#[derive(Debug, PartialEq, Eq)]
struct Span {
    first: u64,
    length: u64,
    content_range: Option<String>,
}

impl Objects {
    pub(crate) fn new(root: &Path) -> io::Result<Self> {
        let root = root.canonicalize()?;
        let files =
            FileSystem::new(&root).map_err(|error| io::Error::other(format!("{error:?}")))?;
        Ok(Self { root, files })
    }

    async fn get(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let mut head = HeadObjectInput::builder();
        head.set_bucket(req.input.bucket.clone())
            .set_key(req.input.key.clone());
        let head = head
            .build()
            .map_err(|error| s3_error!(error, InternalError))?;
        let GetObjectInput {
            bucket,
            key,
            range,
            if_match,
            if_unmodified_since,
            if_none_match,
            if_modified_since,
            ..
        } = req.input.clone();
        // Opened first: the bytes stay those of this file when the object is replaced meanwhile.
        let mut file = tokio::fs::File::open(self.path(&bucket, &key)?)
            .await
            .map_err(|_| self.missing(&bucket))?;
        let stat = file
            .metadata()
            .await
            .map_err(|error| s3_error!(error, InternalError))?;
        let meta = self.meta(req.map_input(|_| head), &stat).await?;
        Preconditions {
            if_match,
            if_unmodified_since,
            if_none_match,
            if_modified_since,
        }
        .check(&meta)?;

        let span = Span::of(range, stat.len())?;
        file.seek(SeekFrom::Start(span.first))
            .await
            .map_err(|error| s3_error!(error, InternalError))?;
        let body = ReaderStream::with_capacity(file.take(span.length), READ_SIZE);
        let whole = span.content_range.is_none();
        let output = GetObjectOutput {
            accept_ranges: meta.accept_ranges,
            body: Some(StreamingBlob::wrap(body)),
            cache_control: meta.cache_control,
            checksum_crc32: meta.checksum_crc32.filter(|_| whole),
            checksum_crc32c: meta.checksum_crc32c.filter(|_| whole),
            checksum_crc64nvme: meta.checksum_crc64nvme.filter(|_| whole),
            checksum_sha1: meta.checksum_sha1.filter(|_| whole),
            checksum_sha256: meta.checksum_sha256.filter(|_| whole),
            content_disposition: meta.content_disposition,
            content_encoding: meta.content_encoding,
            content_language: meta.content_language,
            content_length: i64::try_from(span.length).ok(),
            content_range: span.content_range,
            content_type: meta.content_type,
            e_tag: meta.e_tag,
            expires: meta.expires,
            last_modified: meta.last_modified,
            metadata: meta.metadata,
            ..Default::default()
        };
        Ok(S3Response::new(output))
    }

    async fn head(
        &self,
        req: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let HeadObjectInput {
            bucket,
            key,
            range,
            if_match,
            if_unmodified_since,
            if_none_match,
            if_modified_since,
            ..
        } = req.input.clone();
        let stat = tokio::fs::metadata(self.path(&bucket, &key)?)
            .await
            .map_err(|_| self.missing(&bucket))?;
        let mut meta = self.meta(req, &stat).await?;
        Preconditions {
            if_match,
            if_unmodified_since,
            if_none_match,
            if_modified_since,
        }
        .check(&meta)?;
        let span = Span::of(range, stat.len())?;
        meta.content_length = i64::try_from(span.length).ok();
        meta.content_range = span.content_range;
        Ok(S3Response::new(meta))
    }

    /// What HeadObject says about a file, whose validators come from `stat`.
    async fn meta(
        &self,
        req: S3Request<HeadObjectInput>,
        stat: &Metadata,
    ) -> S3Result<HeadObjectOutput> {
        if !stat.is_file() {
            return Err(s3_error!(NoSuchKey)); // a folder is not an object
        }
        let uploaded = self
            .is_uploaded(&req.input.bucket, &req.input.key, stat)
            .await;
        let mut meta = if uploaded {
            self.files.head_object(req).await?.output
        } else {
            HeadObjectOutput::default()
        };
        if !uploaded {
            meta.e_tag = Some(e_tag_of(stat));
            meta.content_length = i64::try_from(stat.len()).ok();
        }
        meta.last_modified = Some(last_modified_of(stat));
        meta.accept_ranges = Some("bytes".to_owned());
        Ok(meta)
    }

    /// Whether s3s-fs knows this very file: it writes its notes after the bytes, so a file newer than its
    /// notes was replaced behind its back (or is being replaced), and their ETag would be wrong.
    async fn is_uploaded(&self, bucket: &str, key: &str, stat: &Metadata) -> bool {
        let encode = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        let notes = self.root.join(format!(
            ".bucket-{}.object-{}.internal.json",
            encode(bucket),
            encode(key)
        ));
        let written = tokio::fs::metadata(notes)
            .await
            .and_then(|notes| notes.modified());
        matches!((written, stat.modified()), (Ok(notes), Ok(file)) if notes >= file)
    }

    /// Where the object lies; never outside the root.
    fn path(&self, bucket: &str, key: &str) -> S3Result<PathBuf> {
        let relative = Path::new(bucket).join(key);
        if relative
            .components()
            .any(|part| !matches!(part, Component::Normal(_)))
            || key.ends_with('/')
        {
            return Err(s3_error!(NoSuchKey));
        }
        Ok(self.root.join(relative))
    }

    fn missing(&self, bucket: &str) -> S3Error {
        if self.root.join(bucket).is_dir() {
            s3_error!(NoSuchKey)
        } else {
            s3_error!(NoSuchBucket)
        }
    }

    async fn list(
        &self,
        req: S3Request<ListObjectsInput>,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        let bucket = req.input.bucket.clone();
        let mut response = self.files.list_objects(req).await?;
        let page = &mut response.output;
        self.add_e_tags(&bucket, page.contents.as_deref_mut()).await;
        if is_url(page.encoding_type.as_ref()) {
            encode_keys(
                page.contents.as_deref_mut(),
                page.common_prefixes.as_deref_mut(),
            );
            encode_names([&mut page.prefix, &mut page.delimiter, &mut page.next_marker]);
        }
        Ok(response)
    }

    async fn list_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let bucket = req.input.bucket.clone();
        let mut response = self.files.list_objects_v2(req).await?;
        let page = &mut response.output;
        self.add_e_tags(&bucket, page.contents.as_deref_mut()).await;
        if is_url(page.encoding_type.as_ref()) {
            encode_keys(
                page.contents.as_deref_mut(),
                page.common_prefixes.as_deref_mut(),
            );
            encode_names([&mut page.prefix, &mut page.delimiter, &mut page.start_after]);
        }
        Ok(response)
    }

    async fn add_e_tags(&self, bucket: &str, objects: Option<&mut [Object]>) {
        for object in objects.into_iter().flatten() {
            let Some(key) = object.key.clone() else {
                continue;
            };
            let mut head = HeadObjectInput::builder();
            head.set_bucket(bucket.to_owned()).set_key(key);
            let Ok(input) = head.build() else { continue };
            if let Ok(response) = self.head(unsigned(input)).await {
                object.e_tag = response.output.e_tag;
                object.last_modified = response.output.last_modified;
            }
        }
    }
}

impl Preconditions {
    fn check(&self, meta: &HeadObjectOutput) -> S3Result<()> {
        let is = |condition: &ETagCondition, same: fn(&ETag, &ETag) -> bool| match (
            condition,
            &meta.e_tag,
        ) {
            (ETagCondition::Any, _) => true,
            (ETagCondition::ETag(wanted), Some(present)) => same(present, wanted),
            (ETagCondition::ETag(_), None) => false,
        };
        let is_newer = |date: &Timestamp| {
            meta.last_modified
                .as_ref()
                .is_some_and(|modified| modified > date)
        };

        if let Some(condition) = &self.if_match {
            if !is(condition, ETag::strong_cmp) {
                return Err(s3_error!(PreconditionFailed));
            }
        } else if self.if_unmodified_since.as_ref().is_some_and(is_newer) {
            return Err(s3_error!(PreconditionFailed));
        }
        if let Some(condition) = &self.if_none_match {
            if is(condition, ETag::weak_cmp) {
                return Err(s3_error!(NotModified));
            }
        } else if self
            .if_modified_since
            .as_ref()
            .is_some_and(|date| !is_newer(date))
        {
            return Err(s3_error!(NotModified));
        }
        Ok(())
    }
}

impl Span {
    fn of(range: Option<Range>, size: u64) -> S3Result<Self> {
        let Some(range) = range else {
            return Ok(Self {
                first: 0,
                length: size,
                content_range: None,
            });
        };
        let wanted = range.check(size)?;
        if wanted.is_empty() {
            return Err(s3_error!(InvalidRange)); // a suffix of an empty object
        }
        let content_range = format!("bytes {}-{}/{size}", wanted.start, wanted.end - 1);
        Ok(Self {
            first: wanted.start,
            length: wanted.end - wanted.start,
            content_range: Some(content_range),
        })
    }
}

/// The ETag of a file that nobody uploaded: it changes with the file, and costs no hashing.
fn e_tag_of(stat: &Metadata) -> ETag {
    let modified = stat
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    ETag::Strong(format!(
        "{:032x}-{:x}",
        modified.unwrap_or_default().as_nanos(),
        stat.len()
    ))
}

/// In whole seconds, as the header can say it, or a condition on the same date would fail.
fn last_modified_of(stat: &Metadata) -> Timestamp {
    let modified = stat.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    let seconds = modified
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    Timestamp::from(UNIX_EPOCH + Duration::from_secs(seconds))
}

fn is_url(encoding: Option<&EncodingType>) -> bool {
    encoding.is_some_and(|encoding| encoding.as_str() == EncodingType::URL)
}

fn encode_keys(objects: Option<&mut [Object]>, prefixes: Option<&mut [CommonPrefix]>) {
    encode_names(objects.into_iter().flatten().map(|object| &mut object.key));
    encode_names(
        prefixes
            .into_iter()
            .flatten()
            .map(|common| &mut common.prefix),
    );
}

fn encode_names<'a>(names: impl IntoIterator<Item = &'a mut Option<String>>) {
    for name in names.into_iter().flatten() {
        *name = utf8_percent_encode(name, LIST_KEY).to_string();
    }
}

/// A request of our own, after the client's has been verified.
fn unsigned<T>(input: T) -> S3Request<T> {
    S3Request {
        input,
        method: http::Method::HEAD,
        uri: http::Uri::default(),
        headers: http::HeaderMap::default(),
        extensions: http::Extensions::default(),
        credentials: None,
        region: None,
        service: None,
        trailing_headers: None,
    }
}

/// Implements `S3`: the first list by the method of `Objects` it names, the second by s3s-fs.
macro_rules! serve {
    (ours { $($method:ident = $ours:ident($input:ident) -> $output:ident,)* } files { $($kept:ident($kept_input:ident) -> $kept_output:ident,)* }) => {
        #[async_trait::async_trait]
        impl S3 for Objects {
            $(async fn $method(&self, req: S3Request<$input>) -> S3Result<S3Response<$output>> { self.$ours(req).await })*
            $(async fn $kept(&self, req: S3Request<$kept_input>) -> S3Result<S3Response<$kept_output>> { self.files.$kept(req).await })*
        }
    };
}

serve! {
    ours {
        get_object = get(GetObjectInput) -> GetObjectOutput,
        head_object = head(HeadObjectInput) -> HeadObjectOutput,
        list_objects = list(ListObjectsInput) -> ListObjectsOutput,
        list_objects_v2 = list_v2(ListObjectsV2Input) -> ListObjectsV2Output,
    }
    files {
        abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput,
        complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput,
        copy_object(CopyObjectInput) -> CopyObjectOutput,
        create_bucket(CreateBucketInput) -> CreateBucketOutput,
        create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput,
        delete_bucket(DeleteBucketInput) -> DeleteBucketOutput,
        delete_object(DeleteObjectInput) -> DeleteObjectOutput,
        delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput,
        get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput,
        head_bucket(HeadBucketInput) -> HeadBucketOutput,
        list_buckets(ListBucketsInput) -> ListBucketsOutput,
        list_parts(ListPartsInput) -> ListPartsOutput,
        put_object(PutObjectInput) -> PutObjectOutput,
        upload_part(UploadPartInput) -> UploadPartOutput,
        upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput,
    }
}
