//! The example `crowd`, as a program.

use testkit::{Peer, Server, example};

/// The next line.
#[track_caller]
fn line(member: &Peer) -> String {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        line.extend(member.receive(1));
    }
    String::from_utf8(line).expect("UTF-8")
}

/// The next line that does not say who has joined: who hears of whom depends on who was first.
#[track_caller]
fn said(member: &Peer) -> String {
    loop {
        let line = line(member);
        if !line.ends_with(" joins\n") {
            return line;
        }
    }
}

#[test]
fn c52_what_one_says_all_others_read_whichever_loop_they_are_on() {
    const LOOPS: usize = 3;
    let server = Server::start(&example("crowd"), &["127.0.0.1:0", "3"]);
    let mut loads = [0; LOOPS];
    let mut members: Vec<Peer> = Vec::new();
    for number in 0..9 {
        let member = Peer::connect(server.address());
        let greeting = line(&member);
        let of = (0..LOOPS).find(|of| greeting == format!("* this is loop {of}; who are you?\n"));
        loads[of.expect("one of the loops")] += 1;
        member.send(format!("M{number}\n").as_bytes());
        // Whoever is there hears of it, and then the member is.
        for other in &members {
            while line(other) != format!("* M{number} joins\n") {}
        }
        members.push(member);
    }
    assert!(loads.iter().all(|&load| load > 0), "{loads:?}");
    members[0].send(b"hello\nall of you\n");
    for member in &members[1..] {
        assert_eq!((said(member), said(member)), ("M0: hello\n".into(), "M0: all of you\n".into()));
    }
    members[8].half_close();
    members[8].expect_eof();
    for member in &members[..8] {
        assert_eq!(said(member), "* M8 leaves\n");
    }
}
