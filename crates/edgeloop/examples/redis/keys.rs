//! The keys with their values, and the commands on them.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::mem::replace;
use std::time::Duration;

use edgeloop::Time;

use crate::protocol::Reply::{self, Array, Null, NullArray, Number, Unknown, Word};
use crate::protocol::{MAX_BULK, integer};

const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";

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
        args: &[&'a [u8]],
    ) -> Result<Reply<'a>, String> {
        Ok(match (name, args) {
            (b"GET", [key]) => Reply::bulk(self.string(key)?),
            (b"SET", [key, value, options @ ..]) => self.set(key, value, options)?,
            (b"INCR", [key]) => self.add(key, 1)?,
            (b"DECR", [key]) => self.add(key, -1)?,
            (b"INCRBY", [key, by]) => self.add(key, integer(by)?)?,
            (b"DECRBY", [key, by]) => {
                self.add(key, integer(by)?.checked_neg().ok_or("ERR decrement would overflow")?)?
            }
            (b"APPEND", [key, more]) => {
                if self.string(key)?.map_or(0, <[u8]>::len) + more.len() > MAX_BULK {
                    return Err("ERR string exceeds maximum allowed size".to_owned());
                }
                let string = self.string_or(key, b"")?;
                string.extend_from_slice(more);
                Reply::count(string.len())
            }
            (b"STRLEN", [key]) => Reply::count(self.string(key)?.map_or(0, <[u8]>::len)),
            (b"MGET", keys @ [_, ..]) => {
                Array(keys.iter().map(|key| Reply::bulk(self.string(key).ok().flatten())).collect())
            }
            (b"MSET", pairs @ [_, ..]) if pairs.len().is_multiple_of(2) => {
                for pair in pairs.chunks_exact(2) {
                    self.put(pair[0], Value::String(pair[1].to_vec()), Time::NEVER);
                }
                Word("OK")
            }
            (b"LPUSH" | b"RPUSH", [key, elements @ ..]) if !elements.is_empty() => {
                let list = self.list_or_new(key)?;
                let push = if name == b"LPUSH" { List::push_front } else { List::push_back };
                elements.iter().for_each(|element| push(list, element.to_vec()));
                Reply::count(list.len())
            }
            (b"LPOP" | b"RPOP", [key]) => match self.pop(name, key, 1)? {
                Some(popped) => popped.into_iter().next().unwrap_or(Null),
                None => Null,
            },
            (b"LPOP" | b"RPOP", [key, count]) => {
                let count = integer(count).ok().and_then(|count| usize::try_from(count).ok());
                let count = count.ok_or("ERR value is out of range, must be positive")?;
                self.pop(name, key, count)?.map_or(NullArray, Array)
            }
            (b"LLEN", [key]) => Reply::count(self.list(key)?.map_or(0, List::len)),
            (b"LRANGE", [key, first, last]) => {
                let (first, last) = (integer(first)?, integer(last)?);
                let Some(list) = self.list(key)? else { return Ok(Array(Vec::new())) };
                let begin = place(first, list).unwrap_or(0);
                let end = place(last, list).map_or(0, |last| last.saturating_add(1));
                let elements = list.iter().take(end).skip(begin);
                Array(elements.map(|element| Reply::bulk(&**element)).collect())
            }
            (b"LINDEX", [key, at]) => match self.list(key)? {
                Some(list) => {
                    let element = place(integer(at)?, list).and_then(|at| list.get(at));
                    Reply::bulk(element.map(Vec::as_slice))
                }
                None => Null,
            },
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
            (b"EXPIRE" | b"PEXPIRE", [key, after]) => {
                let at = self.deadline(name, integer(after)?.max(0))?;
                Number(self.limit(key, at).is_some().into())
            }
            (b"PERSIST", [key]) => {
                Number(self.limit(key, Time::NEVER).is_some_and(|at| at != Time::NEVER).into())
            }
            (b"TTL" | b"PTTL", [key]) => Number(match self.entry(key).map(|entry| entry.expires) {
                None => -2,
                Some(Time::NEVER) => -1,
                Some(at) => {
                    let millis = i64::try_from(at.since(self.now).as_millis()).unwrap_or(i64::MAX);
                    if name == b"TTL" { (millis + 500) / 1000 } else { millis }
                }
            }),
            (b"KEYS", [pattern]) => {
                let live = self.entries.iter().filter(|(_, entry)| entry.expires > self.now);
                let keys = live.map(|(key, _)| &**key).filter(|key| matches(pattern, key));
                Array(keys.map(Reply::bulk).collect())
            }
            (b"DBSIZE", []) => Reply::count(self.len()),
            (b"FLUSHALL" | b"FLUSHDB", []) => {
                *self = Self { now: self.now, ..Self::default() };
                Word("OK")
            }
            _ => Unknown,
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
                (unit @ (b"EX" | b"PX"), [count, rest @ ..]) if expires == Time::NEVER => {
                    // No time at all is an error here.
                    let count = Some(integer(count)?).filter(|&count| count > 0).unwrap_or(-1);
                    (expires, options) = (self.deadline(unit, count)?, rest);
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

    fn add(&mut self, key: &[u8], by: i64) -> Result<Reply<'static>, String> {
        let string = self.string_or(key, b"0")?;
        let sum = integer(string)?.checked_add(by);
        let sum = sum.ok_or("ERR increment or decrement would overflow")?;
        *string = sum.to_string().into_bytes();
        Ok(Number(sum))
    }

    /// Takes elements from the end of a list that the command is named after.
    fn pop(
        &mut self,
        name: &[u8],
        key: &[u8],
        count: usize,
    ) -> Result<Option<Vec<Reply<'static>>>, &'static str> {
        if self.list(key)?.is_none() {
            return Ok(None);
        }
        let list = self.list_or_new(key)?;
        let pop = if name == b"LPOP" { List::pop_front } else { List::pop_back };
        let popped = (0..count).map_while(|_| pop(list).map(|bytes| Reply::Bulk(bytes.into())));
        let popped = popped.collect();
        if list.is_empty() {
            self.remove(key);
        }
        Ok(Some(popped))
    }

    fn entry(&self, key: &[u8]) -> Option<&Entry> {
        self.entries.get(key).filter(|entry| entry.expires > self.now)
    }

    fn string(&self, key: &[u8]) -> Result<Option<&[u8]>, &'static str> {
        match self.entry(key).map(|entry| &entry.value) {
            Some(Value::String(string)) => Ok(Some(string)),
            Some(Value::List(_)) => Err(WRONG_TYPE),
            None => Ok(None),
        }
    }

    fn list(&self, key: &[u8]) -> Result<Option<&List>, &'static str> {
        match self.entry(key).map(|entry| &entry.value) {
            Some(Value::List(list)) => Ok(Some(list)),
            Some(Value::String(_)) => Err(WRONG_TYPE),
            None => Ok(None),
        }
    }

    /// The value of a key, which is made if it is missing.
    fn value_or(&mut self, key: &[u8], missing: impl FnOnce() -> Value) -> Option<&mut Value> {
        if self.entry(key).is_none() {
            self.put(key, missing(), Time::NEVER);
        }
        self.entries.get_mut(key).map(|entry| &mut entry.value)
    }

    fn string_or(&mut self, key: &[u8], missing: &[u8]) -> Result<&mut Vec<u8>, &'static str> {
        match self.value_or(key, || Value::String(missing.to_vec())) {
            Some(Value::String(string)) => Ok(string),
            _ => Err(WRONG_TYPE),
        }
    }

    fn list_or_new(&mut self, key: &[u8]) -> Result<&mut List, &'static str> {
        match self.value_or(key, || Value::List(List::new())) {
            Some(Value::List(list)) => Ok(list),
            _ => Err(WRONG_TYPE),
        }
    }

    fn put(&mut self, key: &[u8], value: Value, expires: Time) {
        let before = match self.entries.get_mut(key) {
            Some(entry) => replace(entry, Entry { value, expires }).expires,
            None => {
                self.entries.insert(key.into(), Entry { value, expires });
                Time::NEVER
            }
        };
        self.move_deadline(key, before, expires);
    }

    fn remove(&mut self, key: &[u8]) -> bool {
        let Some(entry) = self.entries.remove(key) else { return false };
        self.move_deadline(key, entry.expires, Time::NEVER);
        entry.expires > self.now
    }

    /// Has a key expire at this time; returns the time before, or `None` if there is no such key.
    fn limit(&mut self, key: &[u8], at: Time) -> Option<Time> {
        let entry = self.entries.get_mut(key).filter(|entry| entry.expires > self.now)?;
        let before = replace(&mut entry.expires, at);
        self.move_deadline(key, before, at);
        Some(before)
    }

    fn move_deadline(&mut self, key: &[u8], before: Time, after: Time) {
        if before != Time::NEVER {
            self.deadlines.remove(&(before, key.into()));
        }
        if after != Time::NEVER {
            self.deadlines.insert((after, key.into()));
        }
    }

    /// When a time is over that is given in seconds, or in milliseconds where a P says so.
    fn deadline(&self, name: &[u8], count: i64) -> Result<Time, String> {
        let unit = if name.starts_with(b"P") { 1 } else { 1000 };
        let millis = u64::try_from(count).ok().and_then(|count| count.checked_mul(unit));
        let at = millis.map(|millis| self.now.after(Duration::from_millis(millis)));
        let name = match name {
            b"EXPIRE" => "expire",
            b"PEXPIRE" => "pexpire",
            _ => "set",
        };
        let at = at.filter(|&at| at != Time::NEVER);
        at.ok_or_else(|| format!("ERR invalid expire time in '{name}' command"))
    }
}

/// A place in a list, where -1 is the last one; `None` before the first.
fn place(at: i64, list: &List) -> Option<usize> {
    match usize::try_from(at) {
        Ok(at) => Some(at),
        Err(_) => list.len().checked_sub(usize::try_from(at.unsigned_abs()).ok()?),
    }
}

/// Whether all of `text` matches a pattern with `*` and `?`. Takes no more steps than the product of
/// both lengths: only the last `*` is ever tried again.
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
