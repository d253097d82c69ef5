//! Our store as the cache of another Pingora program: what its clients see.

use std::time::Duration;

use super::client::Answer;
use super::origin::{Origin, Seen};
use super::pattern;
use super::pingora_program::{Program, Serving};
use super::poll_until;
use super::reply::{End, Gate, Payload, Reply};
use super::segment_files as spoiled;

const MIB: u64 = 1 << 20;

/// `/NUMBER` is so many bytes of the pattern.
fn patterned(seen: &Seen) -> Reply {
    let length = seen.path()[1..].parse().unwrap();
    Reply::new(200, Payload::Pattern(length)).header("ETag", "\"e\"")
}

async fn origin() -> Origin {
    let origin = Origin::start().await;
    origin.respond(patterned);
    origin
}

#[track_caller]
fn expect(answer: &Answer, phase: &str, status: u16, interval: std::ops::Range<u64>) {
    let found = (answer.status, answer.field("x-phase"));
    assert_eq!(found, (status, Some(phase)));
    assert!(answer.is_complete, "{phase}");
    assert_eq!(answer.body_bytes, interval.end - interval.start);
    assert!(pattern::matches(interval.start, &answer.body));
}

/// Asks until the write that goes on is finished, so that what follows is a hit of its own.
async fn filled(program: &Serving, path: &str, length: u64) {
    let answer = program.get(path).await;
    expect(&answer, "miss", 200, 0..length);
    program.storage.flush().await;
}

#[tokio::test]
async fn a_miss_and_then_hits_whole_and_in_ranges() {
    let root = tempfile::tempdir().unwrap();
    let origin = origin().await;
    for dir in [None, Some(root.path())] {
        let program = Program::new(origin.address, dir).start().await;
        for length in [0, 5, 65_536, 9 * MIB + 77] {
            let path = format!("/{length}");
            filled(&program, &path, length).await;
            origin.take_one();
            expect(&program.get(&path).await, "hit", 200, 0..length);
            let head = program.ask("HEAD", &path, "").await;
            assert_eq!(head.field("content-length"), Some(&*length.to_string()));
            for (first, last) in [(0, 0), (65_530, 65_600), (MIB - 1, 5 * MIB)] {
                if last < length {
                    let answer = program.range(&path, &format!("{first}-{last}")).await;
                    expect(&answer, "hit", 206, first..last + 1);
                }
            }
            if length > 0 {
                let last = program.range(&path, "-3").await;
                expect(&last, "hit", 206, length - 3..length);
                let beyond = program.range(&path, &format!("{length}-")).await;
                assert_eq!(beyond.status, 416);
            }
            origin.assert_untouched(&path);
        }
    }
}

#[tokio::test]
async fn many_ranges_of_a_hit_are_one_answer() {
    let origin = origin().await;
    let program = Program::new(origin.address, None).start().await;
    let length = 3 * MIB;
    filled(&program, &format!("/{length}"), length).await;
    let ranges = "0-9,65530-65545,2000000-2000009";
    let answer = program.range(&format!("/{length}"), ranges).await;
    assert_eq!(answer.status, 206);
    let whole = pattern::bytes(usize::try_from(length).unwrap());
    for part in [
        &whole[0..10],
        &whole[65_530..65_546],
        &whole[2_000_000..2_000_010],
    ] {
        let is_there = answer.body.windows(part.len()).any(|found| found == part);
        assert!(is_there, "{}", answer.text());
    }
}

#[tokio::test]
async fn a_ranged_miss_fills_all_of_it() {
    let origin = origin().await;
    let program = Program::new(origin.address, None).start().await;
    let path = format!("/{}", 5 * MIB);
    let answer = program.range(&path, "1000000-1000099").await;
    expect(&answer, "miss", 206, 1_000_000..1_000_100);
    poll_until("the fill to end", || program.eviction_items() == 1).await;
    expect(&program.get(&path).await, "hit", 200, 0..5 * MIB);
    assert_eq!(origin.take_one().field("range"), None);
}

#[tokio::test]
async fn a_body_of_unknown_length_is_kept_too() {
    let origin = Origin::start().await;
    let bytes = pattern::bytes(3 << 20);
    let chunked = [
        format!("{:x}\r\n", bytes.len()).as_bytes(),
        &bytes,
        b"\r\n0\r\n\r\n",
    ]
    .concat();
    let reply = Reply::new(200, Payload::Raw(chunked)).header("Transfer-Encoding", "chunked");
    origin.respond(move |_| reply.clone());
    let program = Program::new(origin.address, None).start().await;
    filled(&program, "/chunked", 3 * MIB).await;
    origin.take_one();
    expect(&program.get("/chunked").await, "hit", 200, 0..3 * MIB);
    origin.assert_untouched("chunked");
}

#[tokio::test]
async fn a_restart_finds_what_was_stored() {
    let root = tempfile::tempdir().unwrap();
    let origin = origin().await;
    let lengths = [5, 65_536, 9 * MIB + 77];
    let before = Program::new(origin.address, Some(root.path()))
        .start()
        .await;
    for length in lengths {
        filled(&before, &format!("/{length}"), length).await;
    }
    drop(before);
    origin.take();
    let after = Program::sized(origin.address, 0, Some(root.path()));
    let after = after.start().await;
    for length in lengths {
        let answer = after.get(&format!("/{length}")).await;
        expect(&answer, "hit", 200, 0..length);
        assert_eq!(answer.field("etag"), Some("\"e\""));
    }
    origin.assert_untouched("after a restart");
}

#[tokio::test]
async fn a_purged_response_is_fetched_again() {
    let root = tempfile::tempdir().unwrap();
    let origin = origin().await;
    let program = Program::new(origin.address, Some(root.path()))
        .start()
        .await;
    let path = format!("/{}", 2 * MIB);
    filled(&program, &path, 2 * MIB).await;
    assert_eq!(program.eviction_items(), 1);
    assert_eq!(program.ask("DELETE", &path, "").await.status, 200);
    assert_eq!(program.eviction_items(), 0, "it is told");
    assert_eq!(program.ask("DELETE", &path, "").await.status, 404);
    program.storage.flush().await;
    assert_eq!(spoiled::segments(root.path()).len(), 0);
    filled(&program, &path, 2 * MIB).await;
    assert_eq!(origin.take().len(), 2);
}

#[tokio::test]
async fn an_expired_response_is_validated_and_its_body_used() {
    let root = tempfile::tempdir().unwrap();
    let origin = origin().await;
    let program = Program::new(origin.address, Some(root.path()))
        .start()
        .await;
    let path = format!("/{}", 2 * MIB);
    filled(&program, &path, 2 * MIB).await;
    origin.take();
    origin.respond(|seen| {
        assert_eq!(seen.field("if-none-match"), Some("\"e\""));
        Reply::status(304).header("ETag", "\"e\"")
    });
    assert_eq!(program.ask("PATCH", &path, "").await.status, 200);
    let answer = program.get(&path).await;
    expect(&answer, "revalidated", 200, 0..2 * MIB);
    origin.take_one();
    // The new meta took the place of the stale one, on disk too.
    expect(&program.get(&path).await, "hit", 200, 0..2 * MIB);
    program.storage.flush().await;
    let after = Program::new(origin.address, Some(root.path()))
        .start()
        .await;
    expect(&after.get(&path).await, "hit", 200, 0..2 * MIB);
    origin.assert_untouched("validated once");
}

#[tokio::test]
async fn a_body_cut_at_the_origin_is_cut_and_not_kept() {
    let origin = Origin::start().await;
    let program = Program::new(origin.address, None).start().await;
    origin.respond(|seen| patterned(seen).ending(End::CutAfter(3 * MIB)));
    let path = format!("/{}", 5 * MIB);
    let answer = program.get(&path).await;
    assert!(!answer.is_complete && answer.body_bytes <= 3 * MIB);
    assert!(answer.is_pattern);
    assert_eq!(program.eviction_items(), 0);
    origin.respond(patterned);
    filled(&program, &path, 5 * MIB).await;
    assert_eq!(origin.take().len(), 2);
}

#[tokio::test]
async fn readers_follow_a_write_and_one_who_leaves_costs_the_others_nothing() {
    let origin = Origin::start().await;
    let program = Program::new(origin.address, None).start().await;
    let gate = Gate::closed();
    let held = gate.clone();
    origin.respond(move |seen| patterned(seen).held_at(3 * MIB, &held));
    let path = format!("/{}", 8 * MIB);
    let request = format!("GET {path} HTTP/1.1\r\nHost: program\r\n\r\n");
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut client = program.client().await;
        client.send(request.as_bytes()).await;
        // All of them have bytes while the origin holds the rest back.
        client.wait_for_byte().await;
        clients.push(client);
    }
    // The one who began it.
    drop(clients.remove(0));
    gate.open();
    for mut client in clients {
        let answer = client.answer_to("GET").await.expect("an answer");
        assert!(answer.is_complete && answer.is_pattern);
        assert_eq!(answer.body_bytes, 8 * MIB);
    }
    origin.take_one();
    poll_until("the fill to end", || program.eviction_items() == 1).await;
    expect(&program.get(&path).await, "hit", 200, 0..8 * MIB);
}

#[tokio::test]
async fn a_damaged_file_gives_no_wrong_byte() {
    let root = tempfile::tempdir().unwrap();
    let origin = origin().await;
    let (short, long) = (200_000, 9 * MIB);
    let before = Program::new(origin.address, Some(root.path()))
        .start()
        .await;
    filled(&before, &format!("/{short}"), short).await;
    filled(&before, &format!("/{long}"), long).await;
    drop(before);
    for file in spoiled::segments(root.path()) {
        // Not the head; a bit in each block.
        spoiled::flip_bits(&file, 4096 + 1000, 65_536);
    }
    origin.take();
    let after = Program::sized(origin.address, 0, Some(root.path()));
    let after = after.start().await;
    // Read before anything was promised: a miss.
    let answer = after.get(&format!("/{short}")).await;
    expect(&answer, "miss", 200, 0..short);
    // Too long for that: the answer is cut, and the next one is whole.
    let cut = after.get(&format!("/{long}")).await;
    assert!(!cut.is_complete && cut.is_pattern);
    filled(&after, &format!("/{long}"), long).await;
    expect(&after.get(&format!("/{long}")).await, "hit", 200, 0..long);
    assert_eq!(origin.take().len(), 2);
}

#[tokio::test]
async fn a_stale_response_is_replaced() {
    let origin = origin().await;
    let program = Program::new(origin.address, None).fresh_for(Duration::ZERO);
    let program = program.start().await;
    for round in 0..3 {
        let answer = program.get("/100000").await;
        let phase = if round == 0 { "miss" } else { "expired" };
        expect(&answer, phase, 200, 0..100_000);
    }
    assert_eq!(program.eviction_items(), 1);
    assert_eq!(origin.take().len(), 3);
}

impl Serving {
    fn eviction_items(&self) -> usize {
        use pingora_cache::eviction::EvictionManager;
        self.eviction.total_items()
    }
}
