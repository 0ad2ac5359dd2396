//! The keys with their values, and the commands on them.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::mem::replace;
use std::time::Duration;

use edgeloop::Time;

use crate::protocol::Reply::{self, Array, Bulk, Null, NullArray, Number, Word};
use crate::protocol::{MAX_BULK, integer, write_integer};

const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";

/// The commands, to tell one with wrong arguments from one that is not known.
const COMMANDS: &str = "APPEND COMMAND CONFIG DBSIZE DECR DECRBY DEL ECHO EXISTS EXPIRE FLUSHALL \
    FLUSHDB GET INCR INCRBY INFO KEYS LINDEX LLEN LPOP LPUSH LRANGE MGET MSET PERSIST PEXPIRE PING \
    PTTL PUBLISH RPOP RPUSH SELECT SET STRLEN SUBSCRIBE TTL TYPE UNSUBSCRIBE";

type List = VecDeque<Vec<u8>>;

enum Value {
    String(Vec<u8>),
    List(List),
}

struct Entry {
    value: Value,
    /// [`Time::NEVER`] for one that does not expire.
    expires: Time,
}

/// An expired key is gone for every command at once. Its memory goes when the loop wakes up for it
/// ([`expire`](Self::expire)).
#[derive(Default)]
pub(crate) struct Keys {
    entries: HashMap<Vec<u8>, Entry>,
    /// The keys that expire, the next one first.
    pub(crate) deadlines: BTreeSet<(Time, Vec<u8>)>,
    /// The time of this turn.
    pub(crate) now: Time,
}

impl Keys {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Removes keys that have expired, `most` of them at once.
    pub(crate) fn expire(&mut self, most: usize) {
        for _ in 0..most {
            let Some((at, key)) = self.deadlines.pop_first() else { return };
            if at > self.now {
                self.deadlines.insert((at, key));
                return;
            }
            self.entries.remove(&key);
        }
    }

    /// Runs a command, whose name is in capitals.
    ///
    /// # Errors
    ///
    /// What the client is told.
    pub(crate) fn run<'a>(
        &'a mut self,
        name: &[u8],
        request: &[&'a [u8]],
    ) -> Result<Reply<'a>, String> {
        Ok(match (name, &request[1..]) {
            (b"GET", [key]) => self.string(key)?.map_or(Null, |string| Reply::bulk(string)),
            (b"SET", [key, value, options @ ..]) => self.set(key, value, options)?,
            (b"INCR", [key]) => self.add(key, 1)?,
            (b"DECR", [key]) => self.add(key, -1)?,
            (b"INCRBY", [key, by]) => self.add(key, integer(by)?)?,
            (b"DECRBY", [key, by]) => {
                self.add(key, integer(by)?.checked_neg().ok_or("ERR decrement would overflow")?)?
            }
            (b"APPEND", [key, more]) => match self.string(key)? {
                Some(string) if string.len() + more.len() > MAX_BULK => {
                    return Err("ERR string exceeds maximum allowed size".to_owned());
                }
                Some(string) => {
                    string.extend_from_slice(more);
                    Reply::count(string.len())
                }
                None => {
                    self.put(key, Value::String(more.to_vec()), Time::NEVER);
                    Reply::count(more.len())
                }
            },
            (b"STRLEN", [key]) => Reply::count(self.string(key)?.map_or(0, |string| string.len())),
            (b"MGET", keys @ [_, ..]) => {
                let mut string = |key: &&[u8]| self.string(key).ok().flatten().cloned();
                let bulk =
                    |string: Option<Vec<u8>>| string.map_or(Null, |string| Bulk(string.into()));
                Array(keys.iter().map(|key| bulk(string(key))).collect())
            }
            (b"MSET", pairs @ [_, ..]) if pairs.len().is_multiple_of(2) => {
                for pair in pairs.chunks_exact(2) {
                    self.put(pair[0], Value::String(pair[1].to_vec()), Time::NEVER);
                }
                Word("OK")
            }
            (b"LPUSH" | b"RPUSH", [key, elements @ ..]) if !elements.is_empty() => {
                if self.list(key)?.is_none() {
                    self.put(key, Value::List(List::new()), Time::NEVER);
                }
                let list = self.list(key)?.ok_or(WRONG_TYPE)?;
                let push = if name == b"LPUSH" { List::push_front } else { List::push_back };
                elements.iter().for_each(|element| push(list, element.to_vec()));
                Reply::count(list.len())
            }
            (b"LPOP" | b"RPOP", [key]) => {
                let popped = self.pop(name, key, 1)?.unwrap_or_default();
                popped.into_iter().next().unwrap_or(Null)
            }
            (b"LPOP" | b"RPOP", [key, count]) => {
                let count = integer(count).ok().and_then(|count| usize::try_from(count).ok());
                let count = count.ok_or("ERR value is out of range, must be positive")?;
                self.pop(name, key, count)?.map_or(NullArray, Array)
            }
            (b"LLEN", [key]) => Reply::count(self.list(key)?.map_or(0, |list| list.len())),
            (b"LRANGE", [key, first, last]) => {
                let (first, last) = (integer(first)?, integer(last)?);
                let Some(list) = self.list(key)? else { return Ok(Array(Vec::new())) };
                let begin = place(first, list).unwrap_or(0);
                let end = place(last, list).map_or(0, |last| last.saturating_add(1));
                let elements = list.iter().take(end).skip(begin);
                Array(elements.map(|element| Reply::bulk(element)).collect())
            }
            (b"LINDEX", [key, at]) => {
                let Some(list) = self.list(key)? else { return Ok(Null) };
                let element = place(integer(at)?, list).and_then(|at| list.get(at));
                element.map_or(Null, |element| Reply::bulk(element))
            }
            (b"DEL", keys @ [_, ..]) => {
                Reply::count(keys.iter().filter(|key| self.remove(key)).count())
            }
            (b"EXISTS", keys @ [_, ..]) => {
                Reply::count(keys.iter().filter(|key| self.entry(key).is_some()).count())
            }
            (b"TYPE", [key]) => Word(match self.entry(key).map(|entry| &entry.value) {
                Some(Value::String(_)) => "string",
                Some(Value::List(_)) => "list",
                None => "none",
            }),
            (b"EXPIRE", [key, after]) => self.limit(key, self.deadline(after, 1000, "expire")?),
            (b"PEXPIRE", [key, after]) => self.limit(key, self.deadline(after, 1, "pexpire")?),
            (b"PERSIST", [key]) if self.time_left(key) < 0 => Number(0),
            (b"PERSIST", [key]) => self.limit(key, Time::NEVER),
            (b"PTTL", [key]) => Number(self.time_left(key)),
            (b"TTL", [key]) => Number(match self.time_left(key) {
                millis @ 0.. => (millis + 500) / 1000,
                none => none,
            }),
            (b"KEYS", [pattern]) => {
                let live = self.entries.iter().filter(|(_, entry)| entry.expires > self.now);
                let keys = live.filter(|(key, _)| matches(pattern, key));
                Array(keys.map(|(key, _)| Reply::bulk(key)).collect())
            }
            (b"DBSIZE", []) => Reply::count(self.entries.len()),
            (b"FLUSHALL" | b"FLUSHDB", []) => {
                *self = Self { now: self.now, ..Self::default() };
                Word("OK")
            }
            _ => return Err(unknown(name, request)),
        })
    }

    fn set(
        &mut self,
        key: &[u8],
        value: &[u8],
        mut options: &[&[u8]],
    ) -> Result<Reply<'static>, String> {
        let (mut expires, mut must_exist) = (Time::NEVER, None);
        while let [option, rest @ ..] = options {
            options = rest;
            match (&*option.to_ascii_uppercase(), rest) {
                (b"NX", _) if must_exist != Some(true) => must_exist = Some(false),
                (b"XX", _) if must_exist != Some(false) => must_exist = Some(true),
                (unit @ (b"EX" | b"PX"), [after, rest @ ..]) if expires == Time::NEVER => {
                    // No time at all is an error here.
                    let after = if *after == b"0" { b"-1" } else { *after };
                    expires = self.deadline(after, if unit == b"EX" { 1000 } else { 1 }, "set")?;
                    options = rest;
                }
                _ => return Err("ERR syntax error".to_owned()),
            }
        }
        if must_exist.is_some_and(|must| must != self.entry(key).is_some()) {
            return Ok(Null);
        }
        self.put(key, Value::String(value.to_vec()), expires);
        Ok(Word("OK"))
    }

    fn add(&mut self, key: &[u8], by: i64) -> Result<Reply<'static>, &'static str> {
        let Some(string) = self.string(key)? else {
            self.put(key, Value::String(by.to_string().into_bytes()), Time::NEVER);
            return Ok(Number(by));
        };
        let sum = integer(string)?.checked_add(by);
        let sum = sum.ok_or("ERR increment or decrement would overflow")?;
        string.clear();
        write_integer(string, sum);
        Ok(Number(sum))
    }

    /// Takes elements from the end of a list that the command is named after.
    fn pop(
        &mut self,
        name: &[u8],
        key: &[u8],
        count: usize,
    ) -> Result<Option<Vec<Reply<'static>>>, &'static str> {
        let Some(list) = self.list(key)? else { return Ok(None) };
        let pop = if name == b"LPOP" { List::pop_front } else { List::pop_back };
        let popped = (0..count).map_while(|_| pop(list).map(|bytes| Bulk(bytes.into()))).collect();
        if list.is_empty() {
            self.remove(key);
        }
        Ok(Some(popped))
    }

    fn entry(&mut self, key: &[u8]) -> Option<&mut Entry> {
        self.entries.get_mut(key).filter(|entry| entry.expires > self.now)
    }

    fn string(&mut self, key: &[u8]) -> Result<Option<&mut Vec<u8>>, &'static str> {
        match self.entry(key).map(|entry| &mut entry.value) {
            Some(Value::String(string)) => Ok(Some(string)),
            other => other.map_or(Ok(None), |_| Err(WRONG_TYPE)),
        }
    }

    fn list(&mut self, key: &[u8]) -> Result<Option<&mut List>, &'static str> {
        match self.entry(key).map(|entry| &mut entry.value) {
            Some(Value::List(list)) => Ok(Some(list)),
            other => other.map_or(Ok(None), |_| Err(WRONG_TYPE)),
        }
    }

    fn put(&mut self, key: &[u8], value: Value, expires: Time) {
        let entry = Entry { value, expires };
        let before = match self.entries.get_mut(key) {
            Some(before) => Some(replace(before, entry)),
            None => self.entries.insert(key.into(), entry),
        };
        self.move_deadline(key, before.map_or(Time::NEVER, |before| before.expires), expires);
    }

    fn remove(&mut self, key: &[u8]) -> bool {
        let Some(entry) = self.entries.remove(key) else { return false };
        self.move_deadline(key, entry.expires, Time::NEVER);
        entry.expires > self.now
    }

    /// Has a key expire at this time. The reply says whether there is such a key.
    fn limit(&mut self, key: &[u8], at: Time) -> Reply<'static> {
        let Some(entry) = self.entry(key) else { return Number(0) };
        let before = replace(&mut entry.expires, at);
        self.move_deadline(key, before, at);
        Number(1)
    }

    fn move_deadline(&mut self, key: &[u8], before: Time, after: Time) {
        if before != Time::NEVER {
            self.deadlines.remove(&(before, key.into()));
        }
        if after != Time::NEVER {
            self.deadlines.insert((after, key.into()));
        }
    }

    /// When this many units, each of this many milliseconds, are over. For all but SET, less than
    /// nothing is nothing.
    fn deadline(&self, count: &[u8], unit: u64, command: &str) -> Result<Time, String> {
        let count = integer(count)?.max(if command == "set" { -1 } else { 0 });
        let millis = u64::try_from(count).ok().and_then(|count| count.checked_mul(unit));
        let at = millis.map(|millis| self.now.after(Duration::from_millis(millis)));
        let at = at.filter(|&at| at != Time::NEVER);
        at.ok_or_else(|| format!("ERR invalid expire time in '{command}' command"))
    }

    /// In milliseconds; -1 of a key that does not expire, and -2 of none.
    fn time_left(&mut self, key: &[u8]) -> i64 {
        let now = self.now;
        match self.entry(key).map(|entry| entry.expires) {
            None => -2,
            Some(Time::NEVER) => -1,
            Some(at) => i64::try_from(at.since(now).as_millis()).unwrap_or(i64::MAX),
        }
    }
}

/// What is wrong with a command that was not run, in the words of Redis.
fn unknown(capitals: &[u8], request: &[&[u8]]) -> String {
    let text = |bytes: &[u8], most: usize| {
        String::from_utf8_lossy(&bytes[..bytes.len().min(most)]).into_owned()
    };
    let name = text(request[0], 128);
    if COMMANDS.split(' ').any(|known| known.as_bytes() == capitals) {
        return format!("ERR wrong number of arguments for '{}' command", name.to_lowercase());
    }
    let mut first = String::new();
    for arg in &request[1..] {
        if first.len() < 128 {
            first += &format!("'{}' ", text(arg, 128 - first.len()));
        }
    }
    format!("ERR unknown command '{name}', with args beginning with: {first}")
}

/// A place in a list, where -1 is the last one; `None` before the first.
fn place(at: i64, list: &List) -> Option<usize> {
    match usize::try_from(at) {
        Ok(at) => Some(at),
        Err(_) => list.len().checked_sub(usize::try_from(at.unsigned_abs()).ok()?),
    }
}

/// Whether all of `text` matches a pattern with `*` and `?`. Takes no more steps than the product
/// of both lengths: only the last `*` is ever tried again.
fn matches(mut pattern: &[u8], mut text: &[u8]) -> bool {
    // What stands behind the last `*`, and the text that it has not swallowed.
    let mut star = None;
    loop {
        match (pattern, text) {
            ([], []) => return true,
            ([b'*', behind @ ..], _) => (pattern, star) = (behind, Some((behind, text))),
            ([one, behind @ ..], [byte, rest @ ..]) if one == byte || *one == b'?' => {
                (pattern, text) = (behind, rest);
            }
            _ => {
                let Some((behind, [_, rest @ ..])) = star else { return false };
                (pattern, text, star) = (behind, rest, Some((behind, rest)));
            }
        }
    }
}
