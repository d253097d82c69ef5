//! Metas that outlive the process: what was known of an object when it was learned, on disk.

use std::time::Duration;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use sha2::Digest;
use sha2::Sha256;

use super::disk::MetaId;
use crate::cache::CachedMeta;
use crate::cache::Generation;
use crate::cache::ObjectName;
use crate::s3::ObjectMeta;

/// Apart from whatever else names metas in the same directory.
const DOMAIN: &[u8] = b"object meta";

const TIME_BYTES: usize = 8;

/// Which meta is this object's.
pub(super) fn id_of(object: &ObjectName) -> MetaId {
    let parts = [
        DOMAIN,
        object.origin.as_bytes(),
        object.bucket.as_str().as_bytes(),
        object.key.as_str().as_bytes(),
    ];
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let mut id = [0; 16];
    id.copy_from_slice(&hash.finalize()[..16]);
    MetaId(id)
}

/// When it was learned, in nanoseconds since 1970, and the meta.
pub(super) fn encode(cached: &CachedMeta) -> Bytes {
    let since = cached.learned.duration_since(UNIX_EPOCH);
    let nanoseconds = since.unwrap_or_default().as_nanos();
    let nanoseconds = u64::try_from(nanoseconds).unwrap_or(u64::MAX);
    let mut bytes = nanoseconds.to_le_bytes().to_vec();
    bytes.extend(cached.meta.to_bytes());
    bytes.into()
}

/// What [`encode`] wrote, and nothing else.
pub(super) fn decode(
    bytes: &[u8],
    object: ObjectName,
    generation: Generation,
) -> Option<CachedMeta> {
    let (time, meta) = bytes.split_at_checked(TIME_BYTES)?;
    let nanoseconds = u64::from_le_bytes(time.try_into().ok()?);
    let learned = UNIX_EPOCH.checked_add(Duration::from_nanos(nanoseconds))?;
    let meta = ObjectMeta::from_bytes(meta)?;
    Some(CachedMeta::new(object, meta, learned, generation))
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http::HeaderValue;
    use http::StatusCode;

    use super::*;
    use crate::cache::Generations;
    use crate::s3::Bucket;
    use crate::s3::Key;

    fn name(key: &str) -> ObjectName {
        ObjectName {
            origin: "origin".into(),
            bucket: Bucket::new("lake").unwrap(),
            key: Key::new(key).unwrap(),
        }
    }

    #[test]
    fn what_was_learned_comes_back_as_it_was() {
        let mut headers = HeaderMap::new();
        headers.insert("etag", HeaderValue::from_static("\"e\""));
        headers.insert("content-length", HeaderValue::from_static("5"));
        headers.insert("x-amz-meta-a", HeaderValue::from_static("b"));
        let (meta, _) = ObjectMeta::from_answer(StatusCode::OK, &headers, false).unwrap();
        let generation = Generations::default().current(&name("k"));
        let learned = UNIX_EPOCH + Duration::from_nanos(1_791_900_000_123_456_789);
        let cached = CachedMeta::new(name("k"), meta, learned, generation);
        let bytes = encode(&cached);
        assert_eq!(decode(&bytes, name("k"), generation), Some(cached));
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut], name("k"), generation), None, "{cut}");
        }
    }

    #[test]
    fn each_object_has_a_meta_of_its_own() {
        let other_bucket = ObjectName {
            bucket: Bucket::new("lak").unwrap(),
            ..name("ek")
        };
        let ids = [name("k"), name("kk"), other_bucket].map(|name| id_of(&name));
        assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
        assert_eq!(id_of(&name("k")), id_of(&name("k")));
    }
}
