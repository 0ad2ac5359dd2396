//! Listeners with options of their own, beside others that go by the loop's.

mod common;

use std::sync::mpsc;
use std::time::Duration;

use common::{Script, next};
use edgeloop::{Action, Config, ErrorKind, Limits, ListenOptions, Reason, Sent, Stop};
use testkit::Peer;

#[test]
fn what_a_listener_accepts_has_the_limits_of_its_options() {
    let (report, sent) = mpsc::channel();
    let (tell, address) = mpsc::channel();
    let narrow = Limits::new()
        .idle_timeout(Some(Duration::from_millis(200)))
        .high_watermark(30_000)
        .low_watermark(10_000)
        .output_limit(100_000);
    let server = Script::new()
        .config(Config::new().idle_timeout(Some(Duration::from_secs(60))).read_buffer(4096))
        .opened(move |cx| {
            report.send((cx.id(), cx.send(&[7; 200_000]))).expect("the test listens");
            Action::Continue
        })
        .start_after(move |event_loop| {
            let options = ListenOptions::new().limits(narrow);
            let bound = event_loop.listen_with("127.0.0.1:0", &options).expect("listen");
            tell.send(bound.as_tcp().expect("an IP")).expect("the test listens");
        });
    let (_wide, wide_id) = server.connect();
    let (id, first) = next(&sent, "first send");
    assert!(id == wide_id && first.is_accepted(), "{first:?}");
    let narrow = Peer::connect(next(&address, "address"));
    let (narrow_id, refused) = next(&sent, "second send");
    assert_eq!(refused, Sent::Refused, "beyond the output limit of that listener");
    assert_eq!(narrow.receive_to_end(), b"", "it is idle, and the other is not");
    narrow.close();
    let closed = server.closed();
    assert_eq!((closed.id, closed.reason), (narrow_id, Reason::IdleTimeout));
    assert!(server.is_open(wide_id));
    server.stop(Stop::Now);
}

#[test]
fn a_listener_has_a_backlog_and_an_ipv6_of_its_own() {
    const TOO_LONG: u32 = 1 << 30;
    let server = Script::new().start_after(|event_loop| {
        let only = ListenOptions::new().ipv6_only(true).backlog(TOO_LONG);
        let bound = event_loop.listen_with("[::]:0", &only).expect("an IPv6 listener");
        // It leaves IPv4 alone.
        event_loop
            .listen(("0.0.0.0", bound.port().expect("an IP")))
            .expect("an IPv4 listener beside it");
    });
    let notice = server.notice("backlog");
    assert!(notice.contains("1073741824"), "{notice}");
    server.stop(Stop::Now);
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let _ = Script::new().start_after(|event_loop| {
        let wrong = [
            (ListenOptions::new().backlog(1), "a backlog of 1"),
            (ListenOptions::new().keepalive(Some(Duration::ZERO)), "a keepalive after 0ns"),
            (ListenOptions::new().limits(Limits::new().output_limit(1)), "output limit of 1 bytes"),
            (ListenOptions::new().send_buffer(Some(1)), "a send buffer of 1 bytes"),
        ];
        for (options, words) in wrong {
            let error = event_loop.listen_with("127.0.0.1:0", &options).expect_err(words);
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(words), "{error}");
        }
    });
}
