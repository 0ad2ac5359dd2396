//! What comes back is compared with what was sent, and each way to be wrong is told by its name.

use testkit::{OddServer, Oddity};

use crate::run::{DONE, NETWORK_ERRORS, Ran, VERIFICATION_FAILED, bench};

/// Twenty messages of 64 bytes, all in flight at once on one connection.
const TWENTY: &str = "-c 1 -n 20 -p 20 --grace 10s";

/// A run of twenty messages against a server that gets this wrong.
#[track_caller]
fn twenty(oddity: Oddity) -> Ran {
    bench(OddServer::start(oddity).address(), TWENTY)
}

#[test]
fn an_echo_as_it_should_be_is_verified_to_the_last_byte_and_the_exit_code_is_0() {
    let ran = twenty(Oddity::None);
    ran.expect_exit(DONE).expect_wrong(0, 0, 0).expect_messages(20, 0).expect_errors(&[]);
    for path in ["/bytes_sent", "/bytes_received", "/verify/checked"] {
        assert_eq!(ran.number(path), 20 * 64, "{path}");
    }
    ran.expect_said("1.28 kB, all as they were sent");
}

#[test]
fn bytes_that_are_lost_are_missing_and_the_exit_code_is_3() {
    for count in [1, 8, 64, 200] {
        let ran = twenty(Oddity::Loses { at: 128, count });
        ran.expect_exit(VERIFICATION_FAILED).expect_wrong(0, count, 0).expect_errors(&[]);
        // Those messages of which a part was lost have no answer.
        let touched = count.div_ceil(64);
        ran.expect_messages(20 - touched, touched);
        ran.expect_said("connection 0, offset 1").expect_said("missing");
    }
}

#[test]
fn an_answer_that_lacks_its_last_byte_is_unanswered_for_that_may_still_come() {
    let server = OddServer::start(Oddity::Loses { at: 5 * 64 + 63, count: 1 });
    let ran = bench(server.address(), "-c 1 -d 300ms --grace 100ms");
    ran.expect_exit(NETWORK_ERRORS).expect_wrong(0, 0, 0).expect_messages(5, 1);
    // A later byte proves it.
    let server = OddServer::start(Oddity::Loses { at: 5 * 64 + 63, count: 1 });
    let ran = bench(server.address(), "-c 1 -p 2 -n 20 -d 300ms --grace 100ms");
    ran.expect_exit(VERIFICATION_FAILED).expect_wrong(0, 1, 0).expect_messages(19, 1);
    ran.expect_said("connection 0, offset 383: 1 byte missing");
}

#[test]
fn bytes_that_come_twice_are_too_many() {
    let ran = twenty(Oddity::Repeats { at: 640, count: 64 });
    ran.expect_exit(VERIFICATION_FAILED).expect_wrong(0, 0, 64).expect_messages(20, 0);
    ran.expect_said("connection 0, offset 576: 64 bytes too many");
}

#[test]
fn a_flipped_bit_is_one_byte_changed_at_its_offset() {
    for at in [0, 100, 1279] {
        let ran = twenty(Oddity::Flips { at });
        ran.expect_exit(VERIFICATION_FAILED).expect_wrong(1, 0, 0).expect_messages(20, 0);
        ran.expect_said(&format!("connection 0, offset {at}: 1 byte changed"));
        ran.expect_said("WRONG: 1 byte changed, 0 missing, 0 too many");
    }
}

#[test]
fn of_two_messages_that_are_swapped_one_is_missing_and_one_is_too_many() {
    let ran = twenty(Oddity::Swaps { at: 128, size: 64 });
    ran.expect_exit(VERIFICATION_FAILED).expect_wrong(0, 64, 64);
    ran.expect_said("connection 0, offset 128: 64 bytes missing");
    // When the first comes after all, nobody waits for it any more.
    ran.expect_said("connection 0, offset 128: 64 bytes too many");
}

#[test]
fn an_answer_to_what_nobody_asked_is_too_many() {
    let ran = twenty(Oddity::Adds { at: 640, bytes: b"and more" });
    ran.expect_exit(VERIFICATION_FAILED).expect_wrong(0, 0, 8).expect_messages(20, 0);
    ran.expect_said("connection 0, offset 640: 8 bytes too many");
}

#[test]
fn more_than_was_asked_is_too_many_even_between_messages() {
    // One in flight: when these bytes come, nothing else is owed.
    let server = OddServer::start(Oddity::Repeats { at: 640, count: 64 });
    let ran = bench(server.address(), "-c 1 -n 20 --grace 10s");
    ran.expect_exit(VERIFICATION_FAILED).expect_wrong(0, 0, 64).expect_messages(20, 0);
}

#[test]
fn answers_on_the_wrong_connection_are_changed_on_both() {
    let server = OddServer::start(Oddity::Crosses);
    let ran = bench(server.address(), "-c 2 -d 300ms --grace 300ms");
    ran.expect_exit(VERIFICATION_FAILED).expect_errors(&[]);
    let (mismatched, checked) = (ran.number("/verify/mismatched"), ran.number("/verify/checked"));
    // One byte in 256 is the same by chance.
    assert!(checked > 0 && mismatched * 10 > checked * 9, "{mismatched} of {checked}");
    ran.expect_said("connection 0, offset ").expect_said("connection 1, offset ");
}

#[test]
fn the_summary_tells_the_first_ten_findings_and_all_their_bytes() {
    let server = OddServer::start(Oddity::Flips { at: 70 });
    // Each of twelve connections has its own.
    let ran = bench(server.address(), "-c 12 -n 60 -p 5 --grace 10s");
    ran.expect_exit(VERIFICATION_FAILED).expect_wrong(12, 0, 0).expect_messages(60, 0);
    assert_eq!(ran.summary.matches(", offset 70: 1 byte changed").count(), 10, "{}", ran.summary);
}

#[test]
fn what_is_not_verified_is_only_counted() {
    let server = OddServer::start(Oddity::Flips { at: 100 });
    let ran = bench(server.address(), &format!("{TWENTY} --no-verify"));
    ran.expect_exit(DONE)
        .expect_wrong(0, 0, 0)
        .expect_messages(20, 0)
        .expect_said("verified    no");
    assert_eq!((ran.at("/verify/on").as_bool(), ran.number("/verify/checked")), (Some(false), 0));
}
