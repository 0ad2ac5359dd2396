//! The keys with their values, and the commands on them.

use std::collections::{HashMap, VecDeque};

use crate::protocol::{Reply, integer};

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

#[derive(Default)]
pub(crate) struct Keys(HashMap<Vec<u8>, Value>);

impl Keys {
    /// Runs a command. Returns whether there is one with this name and number of arguments.
    ///
    /// # Errors
    ///
    /// What the client is told instead.
    pub(crate) fn run(
        &mut self,
        name: &[u8],
        args: &[&[u8]],
        reply: &mut Reply,
    ) -> Result<bool, &'static str> {
        match (name, args) {
            (b"GET", [key]) => reply.string_or_null(self.string(key)?),
            // It takes no options.
            (b"SET", [_, _, _, ..]) => return Err("ERR syntax error"),
            (b"SET" | b"MSET", [_, ..]) if args.len().is_multiple_of(2) => {
                args.chunks_exact(2).for_each(|pair| self.put(pair[0], pair[1].to_vec()));
                reply.ok();
            }
            (b"INCR", [key]) => reply.number(self.add(key, 1)?),
            (b"DECR", [key]) => reply.number(self.add(key, -1)?),
            (b"LPUSH" | b"RPUSH", [key, elements @ ..]) if !elements.is_empty() => {
                let list = self.0.entry(key.to_vec()).or_insert(Value::List(List::new())).list()?;
                let push = if name == b"LPUSH" { List::push_front } else { List::push_back };
                elements.iter().for_each(|element| push(list, element.to_vec()));
                reply.number(list.len());
            }
            (b"LPOP" | b"RPOP", [key]) => {
                let pop = if name == b"LPOP" { List::pop_front } else { List::pop_back };
                reply.string_or_null(self.list(key)?.and_then(pop));
                if self.list(key)?.is_some_and(|list| list.is_empty()) {
                    self.0.remove(*key);
                }
            }
            (b"LLEN", [key]) => reply.number(self.list(key)?.map_or(0, |list| list.len())),
            (b"LRANGE", [key, first, last]) => {
                let (first, last) = (integer(first)?, integer(last)?);
                let none = List::new();
                let list = self.list(key)?.map_or(&none, |list| &*list);
                // -1 is the last one.
                let place = |at| if at < 0 { at + list.len() as i64 } else { at };
                let within = |at: i64| usize::try_from(at).unwrap_or(0).min(list.len());
                let end = within(place(last).saturating_add(1));
                reply.strings(list.range(within(place(first)).min(end)..end));
            }
            (b"DEL", [_, ..]) => {
                reply.number(args.iter().filter(|&&key| self.0.remove(key).is_some()).count());
            }
            (b"EXISTS", [_, ..]) => {
                reply.number(args.iter().filter(|&&key| self.0.contains_key(key)).count());
            }
            (b"DBSIZE", []) => reply.number(self.0.len()),
            (b"FLUSHALL", []) => {
                *self = Self::default();
                reply.ok();
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn string(&mut self, key: &[u8]) -> Result<Option<&mut Vec<u8>>, &'static str> {
        self.0.get_mut(key).map(Value::string).transpose()
    }

    fn list(&mut self, key: &[u8]) -> Result<Option<&mut List>, &'static str> {
        self.0.get_mut(key).map(Value::list).transpose()
    }

    fn put(&mut self, key: &[u8], string: Vec<u8>) {
        match self.0.get_mut(key) {
            Some(value) => *value = Value::String(string),
            None => drop(self.0.insert(key.to_vec(), Value::String(string))),
        }
    }

    /// Adds to the number that a key holds; if it does not exist, that is 0.
    fn add(&mut self, key: &[u8], by: i64) -> Result<i64, &'static str> {
        let Some(string) = self.string(key)? else {
            self.put(key, by.to_string().into_bytes());
            return Ok(by);
        };
        let sum = integer(string)?.checked_add(by);
        let sum = sum.ok_or("ERR increment or decrement would overflow")?;
        string.clear();
        string.extend_from_slice(itoa::Buffer::new().format(sum).as_bytes());
        Ok(sum)
    }
}
