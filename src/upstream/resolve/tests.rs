//! Names to addresses, under a paused clock.

use std::sync::atomic::AtomicBool;

use super::*;

/// Answers from a script that the test holds on to.
#[derive(Clone, Default)]
struct Script(Arc<ScriptState>);

#[derive(Default)]
struct ScriptState {
    answer: Mutex<Vec<IpAddr>>,
    fails: AtomicBool,
    takes: Mutex<Duration>,
    asked: AtomicUsize,
}

impl Script {
    fn of(addresses: &[&str]) -> Self {
        let script = Self::default();
        script.answer(addresses);
        script
    }

    fn answer(&self, addresses: &[&str]) {
        *self.0.answer.lock() = addresses.iter().map(|a| a.parse().unwrap()).collect();
    }

    fn fail(&self, fails: bool) {
        self.0.fails.store(fails, Ordering::SeqCst);
    }

    fn take(&self, duration: Duration) {
        *self.0.takes.lock() = duration;
    }

    fn asked(&self) -> usize {
        self.0.asked.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Lookup for Script {
    async fn lookup(&self, _host: &str) -> io::Result<Vec<IpAddr>> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        let takes = *self.0.takes.lock();
        tokio::time::sleep(takes).await;
        if self.0.fails.load(Ordering::SeqCst) {
            return Err(io::Error::other("name server is down"));
        }
        Ok(self.0.answer.lock().clone())
    }
}

async fn advance(secs: u64) {
    tokio::time::advance(Duration::from_secs(secs)).await;
}

async fn ips(resolver: &Resolver, count: usize) -> Vec<String> {
    let mut ips = Vec::new();
    for _ in 0..count {
        let address = resolver.resolve("origin", 9000).await.unwrap();
        assert_eq!(address.port(), 9000);
        ips.push(address.ip().to_string());
    }
    ips
}

#[test]
fn refuses_addresses_that_no_origin_can_have() {
    for refused in [
        "0.0.0.0",
        "0.1.2.3",
        "169.254.169.254",
        "169.254.0.1",
        "224.0.0.1",
        "239.255.255.255",
        "255.255.255.255",
        "100.100.100.200",
        "168.63.129.16",
        "::",
        "fe80::1",
        "febf::1",
        "ff02::1",
        "fd00:ec2::254",
        "::ffff:169.254.169.254",
        "::ffff:0.0.0.0",
        "::169.254.169.254",
        "64:ff9b::169.254.169.254",
        "2002:a9fe:a9fe::1",
    ] {
        assert!(is_refused(refused.parse().unwrap()), "{refused}");
    }
    for fine in [
        "127.0.0.1",
        "10.0.0.1",
        "192.168.1.1",
        "172.16.0.1",
        "52.218.0.1",
        "100.64.0.1",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "fd00::1",
        "2a05:d018::1",
    ] {
        assert!(!is_refused(fine.parse().unwrap()), "{fine}");
    }
}

#[tokio::test(start_paused = true)]
async fn literal_addresses_are_not_looked_up() {
    let script = Script::default();
    let resolver = Resolver::with_lookup(script.clone());
    for (host, address) in [
        ("127.0.0.1", "127.0.0.1:80"),
        ("::1", "[::1]:80"),
        ("[::1]", "[::1]:80"),
    ] {
        let found = resolver.resolve(host, 80).await.unwrap();
        assert_eq!(found, address.parse().unwrap());
    }
    let error = resolver.resolve("169.254.169.254", 80).await.unwrap_err();
    assert!(matches!(error, ResolveError::Refused { .. }), "{error}");
    assert_eq!(script.asked(), 0);
}

#[tokio::test]
async fn the_system_knows_localhost() {
    let resolved = Resolver::new().resolve("localhost", 80).await.unwrap();
    assert!(resolved.ip().is_loopback());
}

#[tokio::test(start_paused = true)]
async fn rotates_and_asks_once_in_thirty_seconds() {
    let script = Script::of(&["10.0.0.1", "10.0.0.2", "10.0.0.1", "10.0.0.3"]);
    let resolver = Resolver::with_lookup(script.clone());
    let expected = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.1"];
    assert_eq!(ips(&resolver, 4).await, expected);
    advance(29).await;
    ips(&resolver, 1).await;
    assert_eq!(script.asked(), 1);
    advance(2).await;
    script.answer(&["10.0.0.9"]);
    assert_eq!(ips(&resolver, 2).await, ["10.0.0.9", "10.0.0.9"]);
    assert_eq!(script.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_other_family_is_for_when_the_preferred_one_failed() {
    let script = Script::of(&["2001:db8::1", "10.0.0.1", "2001:db8::2"]);
    let resolver = Resolver::with_lookup(script);
    let expected = ["2001:db8::1", "2001:db8::2", "2001:db8::1"];
    assert_eq!(ips(&resolver, 3).await, expected);
    resolver.mark_failed("[2001:db8::1]:9000".parse().unwrap());
    assert_eq!(ips(&resolver, 2).await, ["2001:db8::2", "2001:db8::2"]);
    resolver.mark_failed("[2001:db8::2]:9000".parse().unwrap());
    assert_eq!(ips(&resolver, 2).await, ["10.0.0.1", "10.0.0.1"]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_address_comes_last_for_ten_seconds() {
    let script = Script::of(&["10.0.0.1", "10.0.0.2"]);
    let resolver = Resolver::with_lookup(script);
    resolver.mark_failed("10.0.0.1:9000".parse().unwrap());
    assert_eq!(ips(&resolver, 3).await, ["10.0.0.2"; 3]);
    advance(3).await;
    resolver.mark_failed("10.0.0.2:9000".parse().unwrap());
    // All have failed: the one that did so longest ago.
    assert_eq!(ips(&resolver, 2).await, ["10.0.0.1"; 2]);
    advance(11).await;
    let again = ips(&resolver, 2).await;
    assert_ne!(again[0], again[1]);
    // Another port of the address is another service.
    resolver.mark_failed("10.0.0.1:9001".parse().unwrap());
    let both = ips(&resolver, 2).await;
    assert_ne!(both[0], both[1]);
}

#[tokio::test(start_paused = true)]
async fn a_failing_name_server_is_outlived_for_five_minutes() {
    let script = Script::of(&["10.0.0.1"]);
    let resolver = Resolver::with_lookup(script.clone());
    ips(&resolver, 1).await;
    script.fail(true);
    advance(100).await;
    assert_eq!(ips(&resolver, 50).await, ["10.0.0.1"; 50]);
    // The failure spaces out the next question.
    assert_eq!(script.asked(), 2);
    advance(2).await;
    ips(&resolver, 1).await;
    assert_eq!(script.asked(), 3);
    advance(200).await;
    let error = resolver.resolve("origin", 9000).await.unwrap_err();
    assert!(matches!(error, ResolveError::Lookup(..)), "{error}");
    script.fail(false);
    advance(2).await;
    assert_eq!(ips(&resolver, 1).await, ["10.0.0.1"]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_name_server_delays_a_stale_answer_by_a_quarter_second_only() {
    let script = Script::of(&["10.0.0.1"]);
    let resolver = Resolver::with_lookup(script.clone());
    ips(&resolver, 1).await;
    advance(60).await;
    script.answer(&["10.0.0.2"]);
    script.take(Duration::from_secs(2));
    let start = Instant::now();
    assert_eq!(ips(&resolver, 3).await, ["10.0.0.1"; 3]);
    assert_eq!(start.elapsed().as_millis(), 250);
    assert_eq!(script.asked(), 2);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(ips(&resolver, 1).await, ["10.0.0.2"]);
}

#[tokio::test(start_paused = true)]
async fn one_lookup_serves_all_waiters_and_outlives_the_first() {
    let script = Script::of(&["10.0.0.1"]);
    script.take(Duration::from_secs(2));
    let resolver = Arc::new(Resolver::with_lookup(script.clone()));
    let mut waiters = Vec::new();
    for _ in 0..100 {
        let resolver = Arc::clone(&resolver);
        waiters.push(tokio::spawn(
            async move { resolver.resolve("origin", 1).await },
        ));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    waiters.remove(0).abort();
    for waiter in waiters {
        waiter.await.unwrap().unwrap();
    }
    assert_eq!(script.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lookup_ends_after_five_seconds() {
    let script = Script::of(&["10.0.0.1"]);
    script.take(Duration::from_mins(1));
    let resolver = Resolver::with_lookup(script);
    let start = Instant::now();
    let error = resolver.resolve("origin", 1).await.unwrap_err();
    assert!(matches!(error, ResolveError::TimedOut(_)), "{error}");
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_name_cannot_lead_to_the_metadata_service() {
    let script = Script::of(&["169.254.169.254", "::ffff:169.254.169.254"]);
    let resolver = Resolver::with_lookup(script.clone());
    let error = resolver.resolve("rebound", 80).await.unwrap_err();
    let text = "rebound resolves to ::ffff:169.254.169.254, which is refused: \
                link-local, metadata or multicast";
    assert_eq!(error.to_string(), text);
    // Beside usable addresses it is left out.
    script.answer(&["169.254.169.254", "10.0.0.1"]);
    assert_eq!(ips(&resolver, 2).await, ["10.0.0.1"; 2]);
    script.answer(&[]);
    let error = resolver.resolve("nowhere", 80).await.unwrap_err();
    assert!(matches!(error, ResolveError::NoAddress(_)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_number_of_hosts_is_bounded() {
    let script = Script::of(&["10.0.0.1"]);
    let resolver = Resolver::with_lookup(script.clone());
    for bucket in 0..MAX_HOSTS + 10 {
        resolver.resolve("origin", 1).await.unwrap();
        let host = format!("bucket-{bucket}.origin");
        resolver.resolve(&host, 1).await.unwrap();
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    assert_eq!(resolver.hosts.read().len(), MAX_HOSTS);
    assert!(resolver.hosts.read().contains_key("origin"));
}
