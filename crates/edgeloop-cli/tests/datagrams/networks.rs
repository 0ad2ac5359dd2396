//! Forged packets, in networks of their own.

use testkit::{Ended, Launch, NETWORKS, PYTHON, skip_unless};

use crate::serve::program;

const HARNESS: &str = include_str!("networks.py");

/// Runs a script in a network of its own. `None` if none can be made here.
#[track_caller]
fn run(test: &str, script: &str) -> Option<Vec<String>> {
    if skip_unless(test, NETWORKS) || skip_unless(test, PYTHON) {
        return None;
    }
    let script = format!("{HARNESS}\n{script}");
    let Ended { code, stdout, stderr } = Launch::new("unshare")
        .args(&["-rn", "--kill-child", "python3", "-c", &script, &program()])
        .run();
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    Some(stdout.lines().map(str::to_owned).collect())
}

#[test]
fn c51_two_echoes_set_on_each_other_fall_silent_within_ten_packets() {
    let test = "c51_two_echoes_set_on_each_other_fall_silent_within_ten_packets";
    let script = r#"
def fight(wire, one, other, forged, host=None):
    servers = [Server(f"udp://{one[0]}:{one[1]}"), Server(f"udp://{other[0]}:{other[1]}", host=host)]
    for number in range(forged):
        # As if the other server had sent it.
        forge(one, other, b"fight %d" % number)
    count = wire.until_silent()
    for server in servers:
        server.end()
    print(forged, count)

lo = Wire("lo")
fight(lo, ("127.0.0.1", 3001), ("127.0.0.1", 3002), 1)
fight(lo, ("127.0.0.1", 3001), ("127.0.0.2", 3001), 1)
fight(lo, ("127.0.0.1", 3001), ("127.0.0.1", 3002), 100)
host = Host()
wire = Wire("here")
wire.until_silent()
fight(wire, ("10.0.0.1", 3001), ("10.0.0.2", 3002), 1, host)
fight(wire, ("10.0.0.1", 3001), ("10.0.0.2", 3001), 1, host)
fight(wire, ("10.0.0.1", 3001), ("10.0.0.2", 3001), 100, host)
host.end()
"#;
    let Some(lines) = run(test, script) else { return };
    assert_eq!(lines.len(), 6, "{lines:?}");
    for line in &lines {
        let numbers: Vec<u64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
        let [forged, seen] = numbers[..] else { panic!("{line}") };
        // They do answer each other, or this shows nothing.
        assert!(seen >= 3 * forged && seen <= 10 * forged, "{seen} for {forged} forged: {lines:?}");
    }
}

#[test]
fn c51_a_forged_packet_of_a_service_or_of_our_own_gets_no_answer() {
    let test = "c51_a_forged_packet_of_a_service_or_of_our_own_gets_no_answer";
    let script = r#"
run("ip address add 10.0.0.1/32 dev lo")
lo = Wire("lo")
server = Server("udp://0.0.0.0:3000", "udp://127.0.0.5:4000", "udp://[::1]:3000", "--ipv6-only")
services = [0, 7, 13, 17, 19, 53, 69, 123, 1900, 5353, 11211]
for port in services:
    forge(("127.0.0.9", port), ("127.0.0.1", 3000), b"x")
# Their own, and those that the wildcard is.
for source in ["127.0.0.1", "127.0.0.2", "10.0.0.1"]:
    forge((source, 3000), ("127.0.0.1", 3000), b"own")
forge(("10.0.0.1", 3000), ("10.0.0.1", 3000), b"own")
forge(("127.0.0.5", 4000), ("127.0.0.1", 3000), b"own")
forge(("127.0.0.1", 3000), ("127.0.0.5", 4000), b"own")
for port in [7, 19]:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
        client.bind(("::1", port))
        client.sendto(b"x", ("::1", 3000))
print(lo.until_silent() - len(services) - 6 - 2)
# Where an answer is right, there is one. Not to be reached is no reason: nobody listens there.
forge(("127.0.0.5", 3000 + 1), ("127.0.0.1", 3000), b"other")
forge(("127.0.0.9", 4000), ("127.0.0.5", 4000), b"other")
print(lo.until_silent() - 2)
totals = server.end()
print(totals["refused_port"], totals["refused_own"], totals["datagrams_out"])
"#;
    let Some(lines) = run(test, script) else { return };
    assert_eq!(lines, ["0", "2", "13 6 2"]);
}

#[test]
fn c51_what_was_sent_to_many_gets_no_answer() {
    let test = "c51_what_was_sent_to_many_gets_no_answer";
    let script = r#"
host = Host()
server = Server("udp://0.0.0.0:3000", "udp://[::]:3000", "--ipv6-only")
both = Server("udp://[::]:4000")
asking = """
import socket
def ask(family, to, port=3000):
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"there")
        client.sendto(to.encode(), socket.getaddrinfo(to, port, family)[0][4])
        # An answer to a later question shows that the earlier one has been seen.
        client.settimeout(%s)
        try:
            print(client.recvfrom(100)[0].decode())
        except TimeoutError:
            print("silence")
v4, v6 = socket.AF_INET, socket.AF_INET6
"""
print(host.python(asking % 0.3 + """
ask(v4, "10.0.0.255")
ask(v4, "255.255.255.255")
ask(v4, "224.0.0.1")
ask(v6, "ff02::1%there")
ask(v4, "10.0.0.255", 4000)
ask(v4, "255.255.255.255", 4000)
ask(v4, "224.0.0.1", 4000)
ask(v6, "ff02::1%there", 4000)
"""), end="")
link = subprocess.check_output("ip -6 address show dev here scope link".split(), text=True)
link = re.search(r"fe80::[0-9a-f:]+", link)[0]
print(host.python(asking % PATIENCE + f"""
ask(v4, "10.0.0.1")
ask(v6, "fd00::1")
ask(v6, "{link}%there")
ask(v4, "10.0.0.1", 4000)
ask(v6, "fd00::1", 4000)
""").replace(link, "link"), end="")
totals = server.end()
print(totals["refused_group"], totals["datagrams_out"])
totals = both.end()
# The kernel does not say of the first one that it was sent to many, but sends no answer from there.
print(totals["datagrams_failed"], totals["datagrams_out"])
host.end()
"#;
    let Some(lines) = run(test, script) else { return };
    assert_eq!(lines[..8], ["silence"; 8], "{lines:?}");
    let answers = ["10.0.0.1", "fd00::1", "link%there", "10.0.0.1", "fd00::1"];
    assert_eq!(lines[8..13], answers, "{lines:?}");
    assert_eq!(lines[13..], ["4 3", "1 2"]);
}
