//! The keys with their values, and the commands on them.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::mem::replace;
use std::time::Duration;

use edgeloop::Time;

use crate::protocol::{MAX_BULK, Reply, integer};

type List = VecDeque<Vec<u8>>;

enum Value {
    String(Vec<u8>),
    List(List),
}

impl Value {
    fn string(&mut self) -> Result<&mut Vec<u8>, &'static str> {
        if let Self::String(string) = self { Ok(string) } else { Err(WRONG_TYPE) }
    }

    fn list(&mut self) -> Result<&mut List, &'static str> {
        if let Self::List(list) = self { Ok(list) } else { Err(WRONG_TYPE) }
    }
}

const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";

pub(crate) struct Entry {
    value: Value,
    /// [`Time::NEVER`] for one that does not expire.
    expires: Time,
}

/// An expired key is gone for every command at once. Its memory goes when the loop wakes up for it
/// ([`expire`](Self::expire)).
#[derive(Default)]
pub(crate) struct Keys {
    pub(crate) entries: HashMap<Vec<u8>, Entry>,
    /// The keys that expire, the next one first.
    deadlines: BTreeSet<(Time, Vec<u8>)>,
    /// The time of this turn.
    pub(crate) now: Time,
}

impl Keys {
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Removes keys that have expired, `most` of them at once.
    pub(crate) fn expire(&mut self, most: usize) {
        for _ in 0..most {
            let due = self.deadlines.first().filter(|(at, _)| *at <= self.now);
            let Some((_, key)) = due.cloned() else { return };
            self.remove(&key);
        }
    }

    /// Runs a command. Returns whether there is one with this name and number of arguments.
    ///
    /// # Errors
    ///
    /// What the client is told instead.
    pub(crate) fn run(
        &mut self,
        name: &str,
        args: &[&[u8]],
        reply: &mut Reply,
    ) -> Result<bool, String> {
        match (name, args) {
            ("GET", [key]) => reply.string_or_null(self.string(key)?),
            ("SET", [key, string, options @ ..]) => match self.set(key, string, options)? {
                true => reply.ok(),
                false => reply.line(b'$', "-1"),
            },
            ("INCR", [key]) => reply.number(self.add(key, 1)?),
            ("DECR", [key]) => reply.number(self.add(key, -1)?),
            ("INCRBY", [key, by]) => reply.number(self.add(key, integer(by)?)?),
            ("DECRBY", [key, by]) => {
                let by = integer(by)?.checked_neg().ok_or("ERR decrement would overflow")?;
                reply.number(self.add(key, by)?);
            }
            ("APPEND", [key, more]) => {
                let string = self.value_or(key, Value::String(Vec::new())).string()?;
                if string.len() + more.len() > MAX_BULK {
                    return Err("ERR string exceeds maximum allowed size".to_owned());
                }
                string.extend_from_slice(more);
                reply.number(string.len());
            }
            ("STRLEN", [key]) => reply.number(self.string(key)?.map_or(0, |string| string.len())),
            ("MGET", [_, ..]) => {
                reply.array(args.len());
                args.iter().for_each(|key| reply.string_or_null(self.string(key).ok().flatten()));
            }
            ("MSET", [_, ..]) if args.len().is_multiple_of(2) => {
                for pair in args.chunks_exact(2) {
                    self.put(pair[0], Value::String(pair[1].to_vec()), Time::NEVER);
                }
                reply.ok();
            }
            ("LPUSH" | "RPUSH", [key, elements @ ..]) if !elements.is_empty() => {
                let list = self.value_or(key, Value::List(List::new())).list()?;
                let push = if name == "LPUSH" { List::push_front } else { List::push_back };
                elements.iter().for_each(|element| push(list, element.to_vec()));
                reply.number(list.len());
            }
            ("LPOP" | "RPOP", [key, count @ ..]) if count.len() <= 1 => {
                let most = count.first().map_or(Ok(1), |count| integer(count)).ok();
                let most = most.and_then(|most| usize::try_from(most).ok());
                let most = most.ok_or("ERR value is out of range, must be positive")?;
                let pop = if name == "LPOP" { List::pop_front } else { List::pop_back };
                match (self.list(key)?, count) {
                    (None, []) => reply.line(b'$', "-1"),
                    (None, _) => reply.line(b'*', "-1"),
                    (Some(list), []) => reply.string_or_null(pop(list)),
                    (Some(list), _) => {
                        let most = most.min(list.len());
                        reply.strings((0..most).map(|_| pop(list).unwrap_or_default()));
                    }
                }
                if self.list(key)?.is_some_and(|list| list.is_empty()) {
                    self.remove(key);
                }
            }
            ("LLEN", [key]) => reply.number(self.list(key)?.map_or(0, |list| list.len())),
            ("LRANGE", [key, first, last]) => {
                let (first, last) = (integer(first)?, integer(last)?);
                let none = List::new();
                let list = self.list(key)?.map_or(&none, |list| &*list);
                let end =
                    place(last, list).map_or(0, |last| last.saturating_add(1).min(list.len()));
                let begin = place(first, list).unwrap_or(0).min(end);
                reply.strings(list.range(begin..end));
            }
            ("LINDEX", [key, at]) => reply.string_or_null(match self.list(key)? {
                Some(list) => place(integer(at)?, list).and_then(|at| list.get(at)),
                None => None,
            }),
            ("DEL", [_, ..]) => reply.number(args.iter().filter(|key| self.remove(key)).count()),
            ("EXISTS", [_, ..]) => {
                reply.number(args.iter().filter(|key| self.entry(key).is_some()).count());
            }
            ("TYPE", [key]) => match self.entry(key).map(|entry| &entry.value) {
                Some(Value::String(_)) => reply.line(b'+', "string"),
                Some(Value::List(_)) => reply.line(b'+', "list"),
                None => reply.line(b'+', "none"),
            },
            ("EXPIRE" | "PEXPIRE", [key, after]) => {
                let at = self.deadline(after, if name == "EXPIRE" { 1000 } else { 1 }, name)?;
                reply.number(self.expire_at(key, at));
            }
            ("PERSIST", [key]) if self.time_left(key, 1) < 0 => reply.number(0),
            ("PERSIST", [key]) => reply.number(self.expire_at(key, Time::NEVER)),
            ("TTL", [key]) => reply.number(self.time_left(key, 1000)),
            ("PTTL", [key]) => reply.number(self.time_left(key, 1)),
            ("KEYS", [pattern]) => {
                let live = self.entries.iter().filter(|(_, entry)| entry.expires > self.now);
                let keys: Vec<_> = live.filter(|(key, _)| matches(pattern, key)).collect();
                reply.strings(keys.iter().map(|(key, _)| key));
            }
            ("DBSIZE", []) => reply.number(self.entries.len()),
            ("FLUSHALL" | "FLUSHDB", []) => {
                *self = Self { now: self.now, ..Self::default() };
                reply.ok();
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Returns whether it is set.
    fn set(&mut self, key: &[u8], string: &[u8], options: &[&[u8]]) -> Result<bool, String> {
        let (mut expires, mut must_exist) = (Time::NEVER, None);
        let mut options = options.iter();
        while let Some(option) = options.next() {
            match &*option.to_ascii_uppercase() {
                b"NX" if must_exist != Some(true) => must_exist = Some(false),
                b"XX" if must_exist != Some(false) => must_exist = Some(true),
                unit @ (b"EX" | b"PX") if expires == Time::NEVER => {
                    let after = options.next().ok_or("ERR syntax error")?;
                    expires = self.deadline(after, if unit == b"EX" { 1000 } else { 1 }, "SET")?;
                }
                _ => return Err("ERR syntax error".to_owned()),
            }
        }
        let sets = must_exist.is_none_or(|must| must == self.entry(key).is_some());
        if sets {
            self.put(key, Value::String(string.to_vec()), expires);
        }
        Ok(sets)
    }

    /// Adds to the number that a key holds; if it does not exist, that is 0.
    fn add(&mut self, key: &[u8], by: i64) -> Result<i64, &'static str> {
        let Some(string) = self.string(key)? else {
            self.put(key, Value::String(by.to_string().into_bytes()), Time::NEVER);
            return Ok(by);
        };
        let sum = integer(string)?.checked_add(by);
        let sum = sum.ok_or("ERR increment or decrement would overflow")?;
        string.clear();
        string.extend_from_slice(itoa::Buffer::new().format(sum).as_bytes());
        Ok(sum)
    }

    fn entry(&mut self, key: &[u8]) -> Option<&mut Entry> {
        self.entries.get_mut(key).filter(|entry| entry.expires > self.now)
    }

    fn string(&mut self, key: &[u8]) -> Result<Option<&mut Vec<u8>>, &'static str> {
        self.entry(key).map(|entry| entry.value.string()).transpose()
    }

    fn list(&mut self, key: &[u8]) -> Result<Option<&mut List>, &'static str> {
        self.entry(key).map(|entry| entry.value.list()).transpose()
    }

    /// The value of a key; if it does not exist, it is made with this one.
    fn value_or(&mut self, key: &[u8], new: Value) -> &mut Value {
        // One that has just expired is as good as none.
        let none = Entry { value: Value::String(Vec::new()), expires: self.now };
        let entry = self.entries.entry(key.to_vec()).or_insert(none);
        if entry.expires <= self.now {
            self.deadlines.remove(&(entry.expires, key.to_vec()));
            *entry = Entry { value: new, expires: Time::NEVER };
        }
        &mut entry.value
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

    /// Has a key expire at this time. Returns how many there are of it.
    fn expire_at(&mut self, key: &[u8], at: Time) -> u8 {
        let Some(entry) = self.entry(key) else { return 0 };
        let before = replace(&mut entry.expires, at);
        self.move_deadline(key, before, at);
        1
    }

    fn move_deadline(&mut self, key: &[u8], before: Time, after: Time) {
        if before != Time::NEVER {
            self.deadlines.remove(&(before, key.into()));
        }
        if after != Time::NEVER {
            self.deadlines.insert((after, key.into()));
        }
    }

    /// When this many units are over, each of this many milliseconds. For all but SET, less than
    /// nothing is nothing.
    fn deadline(&self, count: &[u8], unit: i64, command: &str) -> Result<Time, String> {
        let millis = integer(count)?.checked_mul(unit).filter(|&it| it > 0 || command != "SET");
        let millis = millis.map(|it| Duration::from_millis(it.max(0).unsigned_abs()));
        let at = millis.map(|after| self.now.after(after)).filter(|&at| at != Time::NEVER);
        let wrong = || format!("ERR invalid expire time in '{}' command", command.to_lowercase());
        at.ok_or_else(wrong)
    }

    /// In units of this many milliseconds; -1 of a key that does not expire, and -2 of none.
    fn time_left(&mut self, key: &[u8], unit: u128) -> i64 {
        let now = self.now;
        match self.entry(key).map(|entry| entry.expires) {
            None => -2,
            Some(Time::NEVER) => -1,
            Some(at) => {
                let left = (at.since(now).as_millis() + unit / 2) / unit;
                left.try_into().unwrap_or(i64::MAX)
            }
        }
    }
}

/// A place in a list, where -1 is the last one; `None` before the first.
fn place(at: i64, list: &List) -> Option<usize> {
    usize::try_from(if at < 0 { at + list.len() as i64 } else { at }).ok()
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
