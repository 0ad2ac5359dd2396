//! How the server of a run behaves, and the settings that it is held to; both by chance.

use std::time::Duration;

use edgeloop::sim::Random;
use edgeloop::sim::internals::{Budgets, MAIL, World};
use edgeloop::{Config, MIN_BUFFER_LIMIT, Stop};

/// The longest piece of input that a handler waits for.
const MOST_LEFT: usize = 100;

/// How the echo is made. Chances are of a thousand callbacks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    /// Only whole pieces of so many bytes are taken; the rest is left to be shown again.
    pub(crate) piece: usize,
    /// It does nothing but to echo, so that bytes may pass on unseen.
    pub(crate) echoes: bool,
    /// Nothing is taken before the end of the peer's stream.
    pub(crate) hoards: bool,
    /// The most that may be left of a connection's input.
    pub(crate) input_limit: usize,
    /// Pauses reading for a millisecond.
    pub(crate) pauses: usize,
    /// After so many bytes the server closes the connection.
    pub(crate) enough: u64,
    /// Ends another connection.
    pub(crate) strikes: usize,
    /// Acts on a connection that is gone.
    pub(crate) stale: usize,
    /// Sends to a connection that never reads until no more is taken.
    pub(crate) floods: usize,
    /// Connects to a service.
    pub(crate) dials: usize,
    /// Gives its own loop a stream.
    pub(crate) adopts: usize,
    /// Panics, in any callback.
    pub(crate) panics: usize,
    /// Refuses a connection its session, or panics instead of making it.
    pub(crate) births: usize,
    /// Connects to a service from a closed callback, from a wake-up, or when notified.
    pub(crate) redials: usize,
    /// Pauses reading for good; the peer then says nothing more, or resets.
    pub(crate) abandons: usize,
    /// Sets, moves or cancels the connection's timeout.
    pub(crate) alarms: usize,
    /// Sets timers near the write timeout of whoever waits for room.
    pub(crate) watches: usize,
    /// Sets, moves or cancels the loop's wake-up.
    pub(crate) wakes: usize,
    /// Is read above the high watermark, and pauses there by itself.
    pub(crate) reads_on: bool,
    /// Its loop is turned by others, and waits for as long as they say.
    pub(crate) embedded: bool,
    /// Is shown each step of the loop.
    pub(crate) traces: bool,
    /// How large its sessions are, by the number of the size.
    pub(crate) size: usize,
    /// Leaves its own stream open for a millisecond when the peer's has ended.
    pub(crate) stays: usize,
    /// Ends its own stream alone where it has had enough, and reads on.
    pub(crate) finishes: usize,
    /// Closes the second listener and listens there again, or has another one for a while.
    pub(crate) listens: usize,
    /// Has sessions called, from any callback.
    pub(crate) pokes: usize,
    /// Echoes when the loop asks for more.
    pub(crate) pulls: usize,
    /// Wants to be called at the end of the turn.
    pub(crate) turn_ends: usize,
    /// Sends what it echoes by pieces.
    pub(crate) splits: usize,
    /// Sends what it echoes from many places.
    pub(crate) places: usize,
    /// Echoes, and floods, by bytes that are shared.
    pub(crate) shares: usize,
    /// Sends the pieces so far at once.
    pub(crate) flushes: usize,
    /// Is busy with something else for a while.
    pub(crate) busies: usize,
    /// Gives its connections limits of their own.
    pub(crate) limits: usize,
    /// How many datagram sockets it has from the start. Without any, it has none later.
    pub(crate) datagrams: usize,
    /// Closes a datagram socket, or binds another.
    pub(crate) rebinds: usize,
    /// Sends datagrams that are no answers.
    pub(crate) sprays: usize,
}

impl Manner {
    pub(crate) const PLAIN: Self = Self {
        piece: 1,
        echoes: false,
        hoards: false,
        input_limit: usize::MAX,
        pauses: 0,
        enough: u64::MAX,
        strikes: 0,
        stale: 0,
        floods: 0,
        dials: 0,
        adopts: 0,
        panics: 0,
        births: 0,
        redials: 0,
        abandons: 0,
        alarms: 0,
        watches: 0,
        wakes: 0,
        reads_on: false,
        embedded: false,
        traces: false,
        size: 0,
        stays: 0,
        finishes: 0,
        listens: 0,
        pokes: 0,
        pulls: 0,
        turn_ends: 0,
        splits: 0,
        places: 0,
        shares: 0,
        flushes: 0,
        busies: 0,
        limits: 0,
        datagrams: 0,
        rebinds: 0,
        sprays: 0,
    };

    pub(crate) fn of(random: &mut Random) -> Self {
        let hoards = random.chance(50);
        let echoes = !hoards && random.chance(400);
        Self {
            piece: if echoes { 1 } else { random.pick(&[1, 1, 2, 7, MOST_LEFT]) },
            echoes,
            hoards,
            // One that waits for a whole piece must be let wait.
            input_limit: if hoards { random.pick(&[usize::MAX, 1000]) } else { usize::MAX },
            pauses: random.pick(&[0, 0, 10, 200]),
            enough: random.pick(&[u64::MAX, u64::MAX, 1, 100, 1000]),
            strikes: random.pick(&[0, 0, 0, 10, 50]),
            stale: random.pick(&[0, 0, 100]),
            floods: random.pick(&[0, 0, 50]),
            dials: random.pick(&[0, 0, 20]),
            adopts: random.pick(&[0, 100]),
            panics: random.pick(&[0, 0, 0, 5]),
            births: random.pick(&[0, 0, 0, 100, 500]),
            redials: random.pick(&[0, 0, 300]),
            abandons: random.pick(&[0, 0, 0, 50]),
            alarms: if hoards { 0 } else { random.pick(&[0, 0, 50, 300]) },
            watches: if hoards { 0 } else { random.pick(&[0, 200, 900]) },
            wakes: random.pick(&[0, 0, 0, 100]),
            reads_on: random.chance(150),
            embedded: random.chance(250),
            traces: random.chance(150),
            size: random.pick(&[0, 0, 0, 1, 2]),
            stays: random.pick(&[0, 0, 500]),
            finishes: random.pick(&[0, 500]),
            pokes: random.pick(&[0, 0, 100]),
            pulls: if echoes { 0 } else { random.pick(&[0, 0, 100, 500]) },
            turn_ends: random.pick(&[0, 0, 0, 200]),
            splits: random.pick(&[0, 300, 950]),
            places: random.pick(&[0, 0, 500]),
            shares: random.pick(&[0, 0, 500]),
            flushes: random.pick(&[0, 0, 0, 100]),
            busies: if hoards { 0 } else { random.pick(&[0, 0, 50]) },
            limits: random.pick(&[0, 0, 30, 300]),
            listens: random.pick(&[0, 0, 30]),
            datagrams: if random.chance(300) { random.size(1, 3) } else { 0 },
            rebinds: random.pick(&[0, 0, 20, 100]),
            sprays: random.pick(&[0, 100]),
        }
    }
}

/// The settings that every run is held to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) high_watermark: usize,
    pub(crate) low_watermark: usize,
    pub(crate) output_limit: usize,
    /// The ceiling of all queued bytes is low enough to be met.
    pub(crate) low_ceiling: bool,
    pub(crate) idle: Option<Duration>,
    /// Lingering, and waiting for output to be taken, may end too early for an honest peer.
    pub(crate) short_linger: bool,
    pub(crate) short_write: bool,
    /// Somebody may have to wait until another connection ends.
    pub(crate) scarce: bool,
}

impl Limits {
    /// Watermarks that no run comes to.
    pub(crate) const NONE: Self = Self {
        high_watermark: usize::MAX,
        low_watermark: usize::MAX,
        output_limit: usize::MAX,
        low_ceiling: false,
        idle: None,
        short_linger: false,
        short_write: false,
        scarce: false,
    };
}

/// Small buffers and small budgets, so that every limit is met.
pub(crate) fn settings(world: &mut World) -> (Config, Limits) {
    let low_ceiling = world.random.chance(60);
    let random = &mut world.random;
    let high_watermark = if low_ceiling { random.size(5000, 30_000) } else { random.size(1, 4000) };
    // With so few descriptors that the rest of the program may take all that are left, or with a
    // low cap, the silent ones must leave, who would keep the others waiting for ever.
    let scarce = random.chance(200);
    let cap = random.chance(150).then(|| random.size(1, 6));
    let idle = (scarce || cap.is_some() || random.chance(250))
        .then(|| Duration::from_millis(random.size(5000, 100_000) as u64));
    let read_buffer = random.size(1, 3000);
    // Room for what was left for the next piece, or for one letter.
    let output_limit = high_watermark + read_buffer + MOST_LEFT.max(MAIL);
    let turn_bytes = random.size(1, 3000);
    let (accepts, jobs) = (random.size(1, 4), random.size(1, 16));
    let low_watermark = random.size(0, high_watermark - 1);
    let pipes = random.pick(&[0, 1, 2, 16]);
    let mut config = Config::new()
        .event_batch(random.size(1, 8))
        .read_buffer(read_buffer)
        .output_limit(output_limit)
        .turn_bytes(turn_bytes)
        .turn_accepts(accepts)
        .turn_jobs(jobs)
        .high_watermark(high_watermark)
        .low_watermark(low_watermark)
        .pipes(pipes)
        .max_connections(cap)
        .idle_timeout(idle)
        .spin(Duration::from_micros(random.pick(&[0, 0, 0, 3, 30])))
        .until_stopped(random.chance(200));
    if low_ceiling {
        config = config.buffer_limit(MIN_BUFFER_LIMIT);
    }
    let scarce_slots = scarce || cap.is_some();
    let (config, short_linger, short_write) = timeouts(config, random, low_ceiling || scarce_slots);
    // Whoever waits for memory waits for the write timeout of others.
    world.outlasts = idle.is_some() || low_ceiling;
    // What streams is sent before the next splice, and near the ceiling nothing is copied.
    let is_joined = pipes == 0 && !low_ceiling;
    world.vigil.budgets = Budgets {
        bytes: turn_bytes,
        accepts: accepts as u64,
        closes: jobs as u64,
        // What exceeds the turn's budget is sent by calls of its own (C13).
        joined: if is_joined { high_watermark.min(turn_bytes).min(1024) } else { 0 },
    };
    world.ignores_sigpipe = world.random.chance(900);
    if scarce {
        world.files.limit = world.random.size(8, 40);
        world.foreign = world.random.size(1, 40);
    }
    let limits = Limits {
        high_watermark,
        low_watermark,
        output_limit,
        low_ceiling,
        idle,
        short_linger,
        short_write,
        scarce: scarce_slots,
    };
    (config, limits)
}

/// The other times of the loop, short ones too; and whether those of lingering and of writing are.
/// Where somebody may wait for another's end, each must come to one.
fn timeouts(config: Config, random: &mut Random, waits: bool) -> (Config, bool, bool) {
    let millis = Duration::from_millis;
    let mut some = |usual: u64, least: usize, most: usize| {
        if random.chance(600) { usual } else { random.size(least, most) as u64 }
    };
    let write = millis(some(60_000, 20, 5000));
    let connect = millis(some(10_000, 1, 2000));
    let linger = millis(some(5000, 1, 100));
    let (quiet, drain_linger) = (millis(some(1000, 20, 1500)), millis(some(1000, 1, 100)));
    let discards = if random.chance(200) { random.size(1, 3000) } else { 1024 * 1024 };
    let write = Some(write).filter(|_| waits || random.chance(900));
    let connect = Some(connect).filter(|_| waits || random.chance(900));
    let busy_poll = Duration::from_micros(random.pick(&[0, 0, 20, 200]));
    let config = config
        .write_timeout(write)
        .connect_timeout(connect)
        .linger_timeout(linger)
        .linger_limit(discards)
        .drain_quiet(quiet)
        .drain_linger_timeout(drain_linger)
        .busy_poll(busy_poll)
        .mailbox_limit(random.pick(&[usize::MAX, usize::MAX, 1, 200]));
    let short_linger = linger.min(drain_linger) < millis(1000) || discards <= 3000;
    (config, short_linger, write.is_some_and(|write| write < millis(10_000)))
}

/// A stop in the midst of a run: after how long, and which.
pub(crate) fn early_stop(random: &mut Random) -> Option<(Duration, Stop)> {
    if !random.chance(150) {
        return None;
    }
    let after = Duration::from_nanos(random.next() % random.pick(&[50_000, 1_000_000, 50_000_000]));
    let drain = |millis| Stop::Drain(Some(Duration::from_millis(millis)));
    let stop = match random.below(8) {
        0 => Stop::Now,
        1 => Stop::Drain(Some(Duration::ZERO)),
        2 => drain(random.size(1, 3000) as u64),
        _ => drain(10_000),
    };
    Some((after, stop))
}
