//! Who is at the other end of a connection: a client that checks its echo, one of two that a proxy
//! joins, or a script.

pub(crate) mod client;
#[cfg(feature = "udp")]
pub(crate) mod correspondent;
#[cfg(feature = "udp")]
pub(crate) mod datagram_script;
pub(crate) mod place;
pub(crate) mod player;
pub(crate) mod script;
pub(crate) mod talker;

use client::Client;
use place::{Place, Stage};
use player::Player;
use talker::Talker;

use crate::api::address::Address;
use crate::api::time::Time;
use crate::sim::{Link, Random, Woken};

/// What a peer does.
#[derive(Debug)]
pub enum Role {
    Client(Client),
    Talker(Talker),
    Script(Player),
}

#[derive(Debug)]
pub struct Peer {
    pub place: Place,
    pub role: Role,
}

impl Peer {
    pub const fn new(role: Role) -> Self {
        Self { place: Place::NEW, role }
    }

    /// The client that this peer is.
    ///
    /// # Panics
    ///
    /// When it is none.
    pub fn client(&mut self) -> &mut Client {
        match &mut self.role {
            Role::Client(client) => client,
            Role::Talker(_) | Role::Script(_) => panic!("{:?} is no client", self.place),
        }
    }

    /// The talker that this peer is, if it is one.
    pub const fn talker(&self) -> Option<&Talker> {
        if let Role::Talker(talker) = &self.role { Some(talker) } else { None }
    }

    /// The address that it connects to, if not the first.
    pub(crate) const fn wants(&self) -> Option<&Address> {
        match &self.role {
            Role::Client(client) => client.wants.as_ref(),
            Role::Talker(_) => None,
            Role::Script(player) => player.wants(),
        }
    }

    /// Whether it wants little, and reads at once.
    pub(crate) const fn is_light(&self) -> bool {
        matches!(&self.role, Role::Client(client) if matches!(client.kind, client::Kind::Light))
    }

    /// Whether it wants to connect now.
    pub(crate) fn can_connect(&self, now: Time) -> bool {
        match &self.role {
            Role::Client(_) | Role::Talker(_) => true,
            Role::Script(player) => player.connects_at() <= now,
        }
    }

    /// Whether it can do anything now.
    pub(crate) fn can_act(&self, link: &Link, now: Time) -> bool {
        match &self.role {
            Role::Client(client) => client.can_act(link, now),
            Role::Talker(talker) => talker.can_act(link, now),
            Role::Script(player) => player.can_act(link, now),
        }
    }

    /// When it can do something again, if it only waits.
    pub(crate) fn deadline(&self) -> Time {
        match (&self.role, self.place.stage) {
            (Role::Script(player), Stage::Unborn) => player.connects_at(),
            (Role::Script(player), Stage::Connected(_)) => player.deadline(),
            (Role::Client(client), Stage::Connected(_)) => client.deadline(),
            (Role::Talker(talker), Stage::Connected(_)) => talker.deadline(),
            _ => Time::NEVER,
        }
    }

    /// Does one of the things that it can do. Answers who is woken, or what is wrong.
    pub(crate) fn act(
        &mut self,
        link: &mut Link,
        random: &mut Random,
        now: Time,
    ) -> Result<Woken, String> {
        match &mut self.role {
            Role::Client(client) => client.act(&mut self.place, link, random, now),
            Role::Talker(talker) => {
                talker.act(&mut self.place, link, random, now);
                Ok(Woken::default())
            }
            Role::Script(player) => player.act(&mut self.place, link, random, now),
        }
    }

    /// What another thread of the server would send it now, at most so many bytes.
    pub(crate) fn next_mail(&self, most: usize) -> Option<Vec<u8>> {
        match &self.role {
            Role::Client(client) => client.next_mail(most),
            Role::Talker(_) | Role::Script(_) => None,
        }
    }

    /// Whether it will do nothing more of its own accord.
    pub(crate) fn is_done(&self) -> bool {
        match self.place.stage {
            Stage::Unborn | Stage::Dialled(_) => false,
            Stage::Gone { .. } => true,
            Stage::Connected(_) => match &self.role {
                Role::Client(client) => client.is_quiet(),
                Role::Talker(talker) => talker.is_quiet(),
                Role::Script(player) => player.is_quiet(),
            },
        }
    }
}
