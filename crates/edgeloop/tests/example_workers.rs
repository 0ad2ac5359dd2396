//! The example `workers`, as a program.

use testkit::{Peer, Server, example};

#[test]
fn what_a_client_has_asked_is_answered_in_order_before_the_end() {
    let server = Server::start(&example("workers"), &["127.0.0.1:0"]);
    for (asked, answered) in [
        ("10\n100\n1000\n", "4\n25\n168\n"),
        ("20000\r\n10\n", "2262\n4\n"),
        // Half a line is no question.
        ("10\n100", "4\n"),
        ("10\nten\n10\n", "4\nnot a number\n"),
        ("", ""),
    ] {
        // Several at once, so that the workers have some to choose from.
        let peers: Vec<_> = (0..5)
            .map(|_| {
                let peer = Peer::connect(server.address());
                peer.send(asked.as_bytes());
                peer.half_close();
                peer
            })
            .collect();
        for peer in peers {
            let all = peer.receive_to_end();
            assert_eq!(all.escape_ascii().to_string(), answered.escape_default().to_string());
        }
    }
}
