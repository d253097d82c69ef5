//! What is let into the cache: nothing but exactly what was asked for.

use super::cached::{CacheSetup, Cached, KIB, MIB, ranged};
use super::object_origin::is_object_read;
use super::reply::{End, Payload, Reply};

/// What does not fit is refused, whatever its status says, and never found again.
#[tokio::test]
async fn only_what_was_asked_for_is_let_in() {
    type Bend = Box<dyn Fn(Reply) -> Reply + Send + Sync>;
    let size = 8 * MIB;
    let total = |reply: Reply, told: &str| reply.set("Content-Range", told);
    let shifted = |reply: &Reply| {
        let mut reply = reply.clone();
        if let Payload::Object(content, interval) = &reply.body {
            let moved = interval.start + 8..interval.end + 8;
            reply.body = Payload::Object(content.clone(), moved);
        }
        reply
    };
    let bends: Vec<(&str, Bend)> = vec![
        (
            "another interval, honestly told",
            Box::new(move |reply| {
                let told = format!("bytes {}-{}/{size}", 5_046_272 + 8, 5_111_807 + 8);
                total(shifted(&reply), &told)
            }),
        ),
        (
            "no interval",
            Box::new(|reply| reply.without("content-range")),
        ),
        (
            "another size",
            Box::new(move |reply| total(reply, &format!("bytes 5046272-5111807/{}", size + 1))),
        ),
        (
            "an unknown size",
            Box::new(move |reply| total(reply, "bytes 5046272-5111807/*")),
        ),
        (
            "no unit",
            Box::new(move |reply| total(reply, &format!("5046272-5111807/{size}"))),
        ),
        (
            "backwards",
            Box::new(move |reply| total(reply, &format!("bytes 5111807-5046272/{size}"))),
        ),
        (
            "a longer length",
            Box::new(|reply| reply.set("Content-Length", "65537").ending(End::Close)),
        ),
        (
            "a shorter length",
            Box::new(|reply| reply.set("Content-Length", "65535").ending(End::Close)),
        ),
        (
            "another ETag",
            Box::new(|reply| reply.set("ETag", "\"other\"")),
        ),
        (
            "a weak ETag",
            Box::new(|reply| {
                let etag = reply
                    .headers
                    .iter()
                    .find(|(name, _)| name == "ETag")
                    .unwrap()
                    .1
                    .clone();
                reply.set("ETag", &format!("W/{etag}"))
            }),
        ),
        ("no ETag", Box::new(|reply| reply.without("etag"))),
        (
            "parts in parts",
            Box::new(|reply| reply.set("Content-Type", "multipart/byteranges; boundary=x")),
        ),
        ("no content", Box::new(|_| Reply::status(204))),
        (
            "an error that says 200",
            Box::new(|_| Reply::ok("<Error><Code>InternalError</Code></Error>")),
        ),
    ];
    for (name, bend) in bends {
        let cached = CacheSetup::memory()
            .origin_key("timeouts: {read: 3s}")
            .origin_key("max_retries: 0")
            .start()
            .await;
        let version = cached.put("lake/a", size);
        cached
            .range("/lake/a", "bytes=0-9")
            .await
            .expect_part(&version, 0, 9);
        cached.store.bend(move |seen, reply| {
            if is_object_read(seen) && reply.status == 206 {
                bend(reply)
            } else {
                reply
            }
        });
        let mut client = cached.proxy.connect().await;
        client
            .send(&ranged("/lake/a", "bytes=5050000-5050099").bytes())
            .await;
        if let Some(answer) = client.answer_to("GET").await
            && answer.status < 300
            && answer.is_complete
        {
            // Either the origin's own words, as a client without a proxy would have them, or what was
            // asked for.
            let is_forwarded = answer.cache_status().fwd.as_deref() == Some("bypass");
            assert!(is_forwarded || answer.status == 206, "{name}");
            assert!(
                is_forwarded || version.content.matches(5_050_000, &answer.body),
                "{name}: wrong bytes"
            );
        }
        cached.store.straighten();
        if name == "another ETag" {
            continue; // that was another version, for as long as it is fresh
        }
        println!("after {name}");
        cached.asks();
        let answer = cached.range("/lake/a", "bytes=5050000-5050099").await;
        assert!(!cached.asks().is_empty(), "{name}: it was kept");
        answer.expect_part(&version, 5_050_000, 5_050_099);
        cached.get("/lake/a").await.expect_whole(&version);
    }
}

/// The first answer about an object brings bytes too, and they have to be those that were asked for.
#[tokio::test]
async fn a_first_answer_about_other_bytes_is_not_let_in() {
    let size = 8 * MIB;
    for (range, first, last) in [
        ("bytes=5050000-5050099", 5_050_000, 5_050_099),
        ("bytes=-100", size - 100, size - 1),
    ] {
        let cached = Cached::start().await;
        let version = cached.put("lake/a", size);
        cached.store.bend(move |seen, mut reply| {
            let Payload::Object(content, interval) = &reply.body else {
                return reply;
            };
            if seen.field("range").is_none() {
                return reply;
            }
            // As many bytes, from the block before, and honestly told.
            let moved = interval.start - 64 * KIB..interval.end - 64 * KIB;
            let told = format!("bytes {}-{}/{size}", moved.start, moved.end - 1);
            reply.body = Payload::Object(content.clone(), moved);
            reply.set("Content-Range", &told)
        });
        cached
            .range("/lake/a", range)
            .await
            .expect_forwarded("bypass");
        cached.store.straighten();
        for _ in 0..2 {
            let answer = cached.range("/lake/a", range).await;
            answer.expect_part(&version, first, last);
        }
    }
}

/// An origin that does not know ranges: everything is an answer to it.
#[tokio::test]
async fn a_whole_object_in_the_place_of_a_part_is_cut_to_it() {
    let cached = Cached::start().await;
    let version = cached.put("lake/a", 300_000);
    let whole = version.clone();
    cached.store.bend(move |seen, reply| {
        if !is_object_read(seen) || reply.status != 206 {
            return reply;
        }
        let body = Payload::Object(whole.content.clone(), 0..whole.size());
        Reply {
            status: 200,
            body,
            ..reply
        }
        .without("content-range")
    });
    for _ in 0..2 {
        for (range, first, last) in [("bytes=100-199", 100, 199), ("bytes=-50", 299_950, 299_999)] {
            let answer = cached.range("/lake/a", range).await;
            if answer.status == 200 {
                answer.expect_whole(&version);
            } else {
                answer.expect_part(&version, first, last);
            }
        }
    }
    cached.store.straighten();
    cached.get("/lake/a").await.expect_whole(&version);
}
