//! Clients that take their time.

use std::time::Duration;

use super::call::{Call, Framed};
use super::client::Client;
use super::origin::Origin;
use super::proxy::{Setup, everything};

#[tokio::test]
async fn a_body_that_is_read_before_the_origin_hears_of_it_has_its_time() {
    let origin = Origin::start().await;
    let proxy = Setup::of(&origin)
        .limit("body_timeout: 1s")
        .limit("read_timeout: 1m")
        .start()
        .await;
    let key = everything();
    let put = Call::put("/lake/a", vec![b'x'; 100]).sign(&key);
    let framed = Call::new("PUT", "/lake/a").framed(&key, &Framed::signed(&[b'x'; 100]));
    let delete = Call::new("POST", "/lake?delete").body(vec![b'x'; 100]);
    for call in [put, framed, delete.sign(&key)] {
        let mut client = Client::connect(proxy.address).await;
        client.send(&call.head()).await;
        for byte in &call.body[..8] {
            client.send(&[*byte]).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let answer = client.answer_to(&call.method).await.expect("an answer");
        answer.expect(400, "RequestTimeout");
    }
    origin.assert_untouched("bodies that did not arrive");
}
