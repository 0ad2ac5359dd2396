//! The example `control`, as a program.

use std::os::unix::fs::PermissionsExt as _;

use testkit::{Launch, PATIENCE, Peer, eventually, example};

#[test]
fn an_operator_sees_and_closes_clients_and_drains_the_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("control");
    let arguments = ["127.0.0.1:0", path.to_str().expect("a path in UTF-8")];
    let mut server = Launch::new(&example("control")).args(&arguments).listeners(2).start();
    let mode = path.metadata().expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let operator = Peer::connect_unix(&path);
    let ask = |line: &str, answer: &str| {
        operator.send(line.as_bytes());
        operator.expect(answer.as_bytes());
    };
    ask("list\nhelp\n", "0 clients\nexpected stats, list, close ID or drain\n");
    let [one, other] = [(); 2].map(|()| Peer::connect(server.address()));
    one.expect_echo(b"stats\n");
    other.expect_echo(b"drain\n");
    let [first, second] = [&one, &other].map(Peer::address);
    ask("stats\n", "connections=3 accepted=3 bytes_in=28 bytes_out=62\n");
    ask("list\r\n", &format!("2@1 {first}\n3@2 {second}\n2 clients\n"));
    ask("close 7@7\nclose 2@1\n", &format!("no such client\nclosing {first}\n"));
    one.expect_eof();
    ask("drain\n", "draining\n");
    eventually("it listens no more", || !path.exists());
    server.log().expect_line("user ");
    other.expect_echo(b"served on");
    drop((one, other));
    operator.half_close();
    operator.expect_eof();
    assert_eq!(server.exit_code_within(PATIENCE), 0);
}
