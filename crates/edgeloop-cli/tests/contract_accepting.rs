//! Contract, Accepting: C21 to C27.

mod serve;

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::time::Duration;

use rustix::process::Signal;
use serve::{SOCKETS_AND_EVENTS, edgeloop, serve, server};
use testkit::{
    Crowd, Launch, PATIENCE, Peer, STRACE, Server, TcpSockets, descriptors_granted, eventually,
    eventually_some, holds_for, raise_descriptor_limit, say, skip_unless,
};

/// All members of the crowd have sent a word; those that get it back are served.
fn served(peers: &[Peer]) -> usize {
    peers.iter().filter(|peer| peer.hears_within(Duration::from_millis(1))).count()
}

#[test]
fn c21_fifty_connections_of_one_wake_up_are_all_served() {
    let server = serve(&[]);
    let peers: Vec<Peer> = server.stopped(|| {
        (0..50)
            .map(|number: u32| {
                let peer = Peer::connect(server.address());
                peer.send(&number.to_be_bytes());
                peer
            })
            .collect()
    });
    for (number, peer) in (0_u32..).zip(&peers) {
        peer.expect(&number.to_be_bytes());
    }
}

#[test]
fn c21_more_than_one_budget_of_connections_needs_no_further_edge() {
    let test = "c21_more_than_one_budget_of_connections_needs_no_further_edge";
    let size = descriptors_granted(test, 1000);
    let server = serve(&[]);
    let peers: Vec<Peer> =
        server.stopped(|| (0..size).map(|_| Peer::connect(server.address())).collect());
    for peer in &peers {
        peer.expect_echo(b"hello");
    }
}

#[test]
fn c22_an_error_of_one_connection_is_skipped() {
    if skip_unless("c22_an_error_of_one_connection_is_skipped", STRACE) {
        return;
    }
    let errors = [
        "ECONNABORTED",
        "EPERM",
        "EPROTO",
        "ENETDOWN",
        "ENOPROTOOPT",
        "EHOSTDOWN",
        "ENONET",
        "EHOSTUNREACH",
        "EOPNOTSUPP",
        "ENETUNREACH",
        "EINTR",
    ];
    for error in errors {
        // The call is not made, so the connection stays in the backlog: it costs one more try.
        let fault = format!("inject=accept4:error={error}:when=1+2");
        let server = server(&[]).traced(&["-e", "trace=accept4", "-e", &fault]).start();
        let peers: Vec<Peer> =
            server.stopped(|| (0..8).map(|_| Peer::connect(server.address())).collect());
        for peer in &peers {
            peer.expect_echo(error.as_bytes());
        }
        eventually(&format!("{error} is in the trace"), || server.trace().text().contains(error));
        let pauses = server.log().lines_with("pauses");
        assert!(pauses.is_empty(), "{error} is no shortage: {pauses:?}");
    }
}

#[test]
fn c22_a_broken_listener_ends_alone() {
    if skip_unless("c22_a_broken_listener_ends_alone", STRACE) {
        return;
    }
    for error in ["EBADF", "EINVAL", "ENOTSOCK", "EFAULT"] {
        let fault = format!("inject=accept4:error={error}:when=1");
        let mut server = server(&["127.0.0.1:0"])
            .listeners(2)
            .traced(&["-e", "trace=accept4", "-e", &fault])
            .start();
        let [broken, whole] = server.addresses() else { panic!("two listeners") };
        let (broken, whole) = (*broken, *whole);
        // Whether it is refused or reset does not matter: this address is gone.
        let _ = Peer::try_connect(broken);
        let line = server.log().expect_line("failed");
        assert!(line.contains(&broken.to_string()), "{error}: {line}");
        for _ in 0..10 {
            Peer::connect(whole).expect_echo(b"the other one serves on");
        }
        assert!(server.is_running(), "{error}");
        eventually("the broken listener is closed", || {
            TcpSockets::now().listener(broken.port()).is_none()
        });
    }
}

#[test]
fn c23_want_of_descriptors_or_memory_pauses_and_needs_no_new_syn_to_resume() {
    let test = "c23_want_of_descriptors_or_memory_pauses_and_needs_no_new_syn_to_resume";
    if skip_unless(test, STRACE) {
        return;
    }
    for error in ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"] {
        let fault = format!("inject=accept4:error={error}:when=1..3");
        let server = server(&[]).traced(&["-e", "trace=accept4", "-e", &fault]).start();
        // The only connection there is or will be: no edge and no closing helps, only the timer.
        let peer = Peer::connect(server.address());
        peer.expect_echo(error.as_bytes());
        eventually(&format!("{error} is in the trace"), || server.trace().text().contains(error));
    }
}

#[test]
fn c23_a_shortage_that_lasts_neither_spins_nor_floods_the_log() {
    let test = "c23_a_shortage_that_lasts_neither_spins_nor_floods_the_log";
    if skip_unless(test, STRACE) {
        return;
    }
    let server = server(&[])
        .traced(&["-e", "trace=accept4", "-e", "inject=accept4:error=EMFILE:when=3+"])
        .start();
    // The first is accepted, and the second call finds the backlog empty.
    let connected = Peer::connect(server.address());
    connected.expect_echo(b"served");
    eventually("the shortage has begun", || {
        let _ = Peer::try_connect(server.address());
        server.trace().text().contains("(INJECTED)")
    });
    let span = Duration::from_secs(4);
    let mark = server.trace().mark();
    holds_for(span, "those connected are served", || {
        connected.expect_echo(b"still served");
        std::thread::sleep(Duration::from_millis(50));
        true
    });
    let tries = server.trace().calls_since(mark).len();
    assert!((1..=60).contains(&tries), "{tries} tries to accept in {span:?}");
    let lines = server.log().lines_with("pauses").len();
    assert!((1..=3).contains(&lines), "{lines} lines of log in {span:?}:\n{}", server.log().text());
}

#[test]
fn c23_at_the_end_every_notice_was_shown_or_counted() {
    if skip_unless("c23_at_the_end_every_notice_was_shown_or_counted", STRACE) {
        return;
    }
    // The alarm, the waker, the signal and the listener are registered, and nothing after them.
    let mut server = server(&[])
        .traced(&["-e", "trace=epoll_ctl", "-e", "inject=epoll_ctl:error=ENOSPC:when=5+"])
        .start();
    let refused = 20;
    for _ in 0..refused {
        Peer::connect(server.address()).expect_eof();
    }
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code_within(PATIENCE), 0);
    let count = |line: &String, name: &str| -> u64 {
        let Some((_, rest)) = line.split_once(&format!(" {name}=")) else { return 0 };
        rest.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number")
    };
    let lines = server.log().lines_with("No space left on device");
    let told = lines.iter().map(|line| match count(line, "repeated") {
        0 => 1 + count(line, "suppressed"),
        repeated => repeated,
    });
    assert_eq!(told.sum::<u64>(), refused, "{lines:#?}");
}

#[test]
fn c23_with_64_descriptors_150_clients_neither_spin_it_nor_starve() {
    let server = server(&["-v"]).descriptors(64).start();
    let mut peers: Vec<Peer> = (0..150).map(|_| Peer::connect(server.address())).collect();
    for peer in &peers {
        peer.send(b"word");
    }
    // How many depends on the reserve; that they become no more shows the cap.
    eventually("the server has nothing left to do", || {
        served(&peers) > 0 && server.process().sleeps()
    });
    let connected = served(&peers);
    assert!((16..64).contains(&connected), "{connected} served with 64 descriptors");

    let used = server.process().cpu_time();
    let span = Duration::from_secs(3);
    holds_for(span, "the others wait", || served(&peers) == connected);
    let used = server.process().cpu_time() - used;
    assert!(used < span / 20, "it used {used:?} of {span:?} while it could do nothing");

    // Those who are served leave, and as many of the waiting take their place at once.
    let mut total = 0;
    while !peers.is_empty() {
        let (done, waiting): (Vec<Peer>, Vec<Peer>) =
            peers.into_iter().partition(|peer| peer.hears_within(Duration::from_millis(1)));
        total += done.len();
        for peer in done {
            peer.expect(b"word");
            peer.expect_echo(b"more");
        }
        peers = waiting;
        if let Some(next) = peers.first() {
            assert!(
                next.hears_within(PATIENCE),
                "{} wait though descriptors are free",
                peers.len()
            );
        }
    }
    assert_eq!(total, 150);
}

#[test]
fn c24_the_tool_raises_its_soft_limit_to_the_hard_one() {
    let server = server(&[]).soft_descriptors(128).start();
    let (soft, hard) = server.process().descriptor_limits();
    assert_eq!(soft, hard);
    assert_ne!(hard, Some(128), "the test could not tell");
}

#[test]
fn c24_the_cap_keeps_a_reserve_of_descriptors() {
    if skip_unless("c24_the_cap_keeps_a_reserve_of_descriptors", STRACE) {
        return;
    }
    let server = server(&[]).descriptors(64).traced(&["-e", "trace=accept4"]).start();
    let peers: Vec<Peer> = (0..100).map(|_| Peer::connect(server.address())).collect();
    for peer in &peers {
        peer.send(b"word");
    }
    eventually("the cap is reached", || !server.log().lines_with("connection limit").is_empty());
    eventually("those accepted are served", || served(&peers) > 0);
    assert!(server.process().descriptor_count() < 64, "no descriptor is left");
    let trace = server.trace().text();
    assert!(!trace.contains("EMFILE"), "the limit was discovered by running into it");
}

#[test]
fn c24_many_listeners_count_in_the_cap() {
    // The fewer descriptors they leave, the smaller the reserve; there is always one.
    for listeners in [100, 170] {
        let addresses = vec!["127.0.0.1:0"; listeners];
        let server = edgeloop(&addresses).descriptors(200).listeners(listeners).start();
        let peers: Vec<Peer> = (0..120).map(|_| Peer::connect(server.address())).collect();
        for peer in &peers {
            peer.send(b"word");
        }
        eventually("the cap is reached", || {
            !server.log().lines_with("connection limit").is_empty()
        });
        eventually("those accepted are served", || served(&peers) > 0);
        let open = server.process().descriptor_count();
        assert!(open < 200, "with {listeners} listeners no descriptor is left");
        let exhausted = server.log().lines_with("Too many open files");
        assert!(exhausted.is_empty(), "with {listeners} listeners: {exhausted:?}");
    }
}

#[test]
fn c24_at_the_cap_waiters_stay_in_the_backlog() {
    let server = serve(&["--max-connections", "4"]);
    let inside = Crowd::connect(&server, 4);
    inside.expect_echoes(b"hello");
    let waiting = [Peer::connect(server.address()), Peer::connect(server.address())];
    for peer in &waiting {
        peer.send(b"may I?");
    }
    waiting[0].expect_silence(Duration::from_millis(500));
    eventually("they wait in the backlog", || {
        TcpSockets::now().listener(server.port()).is_some_and(|listener| listener.unread == 2)
    });
    inside.expect_echoes(b"still served");
    drop(inside);
    for peer in &waiting {
        peer.expect(b"may I?");
    }
}

#[test]
fn c24_nothing_is_sized_by_the_limit() {
    let test = "c24_nothing_is_sized_by_the_limit";
    let most: usize = fs::read_to_string("/proc/sys/fs/nr_open")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .expect("fs.nr_open");
    // Only a privileged process may exceed its hard limit.
    let may = Launch::new("true").descriptors(most).run().code == Some(0);
    let ceiling = if may { most } else { raise_descriptor_limit() };
    if ceiling < most {
        say(&format!("SCALED DOWN: {test}: a limit of {ceiling} descriptors, not {most}"));
    }
    let held = |limit: usize| {
        let server = server(&[]).descriptors(limit).start();
        // It stays, since some lists go back when the last connection has ended.
        let peer = Peer::connect(server.address());
        peer.expect_echo(b"hello");
        server.process().memory().anonymous
    };
    let (small, large) = (held(256), held(ceiling));
    // Noise is some pages; 8 bytes for each of 20,000 descriptors are forty.
    assert!(
        large < small + 64 * 1024,
        "{large} bytes with {ceiling} descriptors, {small} with 256"
    );
}

fn somaxconn() -> u32 {
    fs::read_to_string("/proc/sys/net/core/somaxconn")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .expect("net.core.somaxconn")
}

#[test]
fn c25_the_backlog_asked_for_is_4096() {
    if skip_unless("c25_the_backlog_asked_for_is_4096", STRACE) {
        return;
    }
    for (options, asked) in [(&[][..], "4096"), (&["--backlog", "5000"][..], "5000")] {
        let server = server(options).traced(&["-e", "trace=listen"]).start();
        let listened =
            || server.trace().calls().into_iter().find(|call| call.returned() == Some(0));
        let call = eventually_some("it has called listen", listened);
        assert_eq!(call.argument(1), asked, "{call:?}");
    }
}

#[test]
fn c25_a_lower_somaxconn_is_said_at_start() {
    let granted = somaxconn();
    let asked = (granted + 1).max(4096);
    let server = serve(&["--backlog", &asked.to_string()]);
    let line = server.log().expect_line("somaxconn");
    assert!(line.contains(&granted.to_string()) && line.contains(&asked.to_string()), "{line}");
}

#[test]
fn c25_a_sufficient_somaxconn_is_not_worth_a_line() {
    if somaxconn() < 4096 {
        say("SKIPPED: c25_a_sufficient_somaxconn_is_not_worth_a_line: somaxconn is below 4096");
        return;
    }
    let server = serve(&[]);
    Peer::connect(server.address()).expect_echo(b"hello");
    assert!(server.log().lines_with("somaxconn").is_empty());
}

#[test]
fn c25_a_backlog_below_4096_is_a_usage_error() {
    let ended = edgeloop(&["serve", "--backlog", "128", "127.0.0.1:0"]).run();
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
}

#[test]
fn c26_a_restart_binds_at_once() {
    let first = serve(&["--idle-timeout", "200ms"]);
    let address = first.address();
    // The server closes first, so TIME_WAIT is on its side; and some are open when it is killed.
    let ended = Peer::connect(address);
    ended.expect_eof();
    ended.close();
    let open: Vec<Peer> = (0..5).map(|_| Peer::connect(address)).collect();
    for peer in &open {
        peer.expect_echo(b"hello");
    }
    first.signal(Signal::KILL);
    drop(first);
    let second = edgeloop(&["serve", &address.to_string()]).start();
    assert_eq!(second.address(), address);
    Peer::connect(address).expect_echo(b"hello again");
}

fn on(ip: impl Into<std::net::IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(ip.into(), port)
}

#[test]
fn c26_any_v6_address_serves_both_families() {
    let server = edgeloop(&["serve", "[::]:0"]).start();
    Peer::connect(on(Ipv6Addr::LOCALHOST, server.port())).expect_echo(b"over IPv6");
    Peer::connect(on(Ipv4Addr::LOCALHOST, server.port())).expect_echo(b"over IPv4");
}

#[test]
fn c26_any_v6_address_leaves_ipv4_alone_when_asked() {
    // The server of another test may have the same port for IPv4, but not each time.
    let leaves_it_alone = |_| {
        let server = edgeloop(&["serve", "--ipv6-only", "[::]:0"]).start();
        Peer::connect(on(Ipv6Addr::LOCALHOST, server.port())).expect_echo(b"over IPv6");
        Peer::try_connect(on(Ipv4Addr::LOCALHOST, server.port())).is_err()
    };
    assert!((0..3).any(leaves_it_alone), "an IPv4 client got in");
}

#[test]
fn c26_the_distributions_default_is_never_relied_on() {
    if skip_unless("c26_the_distributions_default_is_never_relied_on", STRACE) {
        return;
    }
    for (options, value) in [(&[][..], "[0]"), (&["--ipv6-only"][..], "[1]")] {
        let server =
            edgeloop(&["serve", "[::]:0"]).args(options).traced(SOCKETS_AND_EVENTS).start();
        let listened = || server.trace().calls().iter().any(|call| call.name == "listen");
        eventually("the listener is in the trace", listened);
        let calls = server.trace().calls();
        let set = |call: &&testkit::Call| call.arguments.contains("IPV6_V6ONLY");
        let call = calls.iter().find(set).expect("IPV6_V6ONLY is set");
        assert!(call.arguments.contains(value), "{call:?}");
        assert!(calls.iter().any(|call| call.arguments.contains("SO_REUSEADDR")));
    }
}

#[track_caller]
fn expect_bind_error(address: &str, cause: &str) {
    let ended = edgeloop(&["serve", address]).run();
    assert_eq!(ended.code, Some(2), "{address}: {}", ended.stderr);
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(lines.len(), 1, "one line, not {lines:?}");
    assert!(lines[0].contains(address), "the address is missing: {}", lines[0]);
    let said = lines[0].to_lowercase();
    assert!(said.contains(cause), "\"{cause}\" is missing: {}", lines[0]);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
}

#[test]
fn c27_a_bind_error_names_the_address_and_the_cause() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("bind");
    let taken = holder.local_addr().expect("address").to_string();
    expect_bind_error(&taken, "in use");
    expect_bind_error("203.0.113.77:3000", "address");
}

#[test]
fn c27_one_bad_address_of_several_ends_the_start() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = taken.local_addr().expect("address").to_string();
    let ended = edgeloop(&["serve", "127.0.0.1:0", &address]).run();
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains(&address), "{}", ended.stderr);
}

#[test]
fn c27_what_is_no_address_is_a_usage_error() {
    for nonsense in ["127.0.0.1:99999", "nonsense", "[::1:3000", "127.0.0.1:", ":", ""] {
        let ended = edgeloop(&["serve", nonsense]).run();
        assert_eq!(ended.code, Some(2), "{nonsense:?}: {}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{nonsense:?}: {}", ended.stderr);
    }
}

#[test]
fn c27_port_0_prints_the_port_it_got_once_listening() {
    let server: Server = serve(&["-q"]);
    assert_ne!(server.port(), 0);
    assert!(TcpSockets::now().listener(server.port()).is_some(), "it said so too early");
    Peer::connect(server.address()).expect_echo(b"hello");
}

#[test]
fn c27_each_address_gets_its_line() {
    let server = server(&["127.0.0.1:0", "[::1]:0"]).listeners(3).start();
    for address in server.addresses() {
        Peer::connect(*address).expect_echo(b"hello");
    }
}
