//! Generations: what the notes of a reload oblige to.

use super::super::rule::{Held, check};
use super::facts::{Facts, Roll, Worker};
use prefork_core::event::{Answer, Request};
use prefork_core::exit::Reason;
use prefork_core::note::ReloadNote;
use prefork_core::{Event, Monotonic, Note, Signal};

impl Facts {
    /// A note that is not of a reload is passed over.
    pub fn reloads(&mut self, now: Monotonic, note: &Note) -> Held {
        let roll = |to: u32, confirmed: bool| Roll {
            to,
            since: now,
            canary: None,
            confirmed,
            hurt: false,
            whole_since: None,
        };
        match *note {
            Note::Reload(generation, ReloadNote::Started) => {
                let asked = match self.event {
                    Event::Signalled(received) => self.name_of(received.signal) == Some(Signal::HUP),
                    Event::Requested(demand) => demand == Request::Reload,
                    Event::Answered(Answer::ConfigurationRead { accepted }) => accepted,
                    _ => false,
                };
                check(asked && self.is_running(), "no reload was asked for, or too late")?;
                check(generation == self.newest + 1, "not the next generation")?;
                (self.newest, self.roll, self.planned_from) =
                    (generation, Some(roll(generation, false)), now);
                self.slots.iter_mut().for_each(|slot| slot.hastens(now));
                for slot in 0..self.wanted() {
                    let overtaken = self.in_slot(slot).nth(1).map(|worker| worker.pid);
                    let overtaken = overtaken.and_then(|pid| self.worker(pid).ok());
                    overtaken.into_iter().for_each(|worker| worker.retired = Some(Reason::Reload));
                }
                Ok(())
            }
            Note::Reload(generation, ReloadNote::Refused) => {
                self.newest += 1;
                check(generation == self.newest, "not the next generation")
            }
            Note::Reload(generation, ReloadNote::Confirmed) => {
                self.generation = generation;
                let is_ready = self.live.iter().any(|w| w.is_up() && w.order.generation == generation);
                let is_tried = self.roll.is_some_and(|roll| roll.to == generation && !roll.confirmed);
                self.roll.iter_mut().for_each(|roll| roll.confirmed = true);
                check(is_ready && is_tried, "it has not proved itself, or has already")
            }
            Note::Reload(_, ReloadNote::Paused { .. }) => {
                self.roll.iter_mut().for_each(|roll| (roll.hurt, roll.whole_since) = (true, None));
                check(self.roll.is_some_and(|roll| roll.confirmed), "it has not proved itself yet")
            }
            Note::Reload(generation, ReloadNote::Failed { reason }) => {
                let roll = self.roll.take().filter(|roll| roll.to == generation && !roll.confirmed);
                check(roll.is_some() && reason.is_failure(), "it has proved itself, or has not failed")
            }
            Note::Reload(generation, ReloadNote::Resumed) => {
                self.roll = Some(roll(generation, true));
                check(generation == self.generation, "it had not proved itself")
            }
            Note::Reload(generation, ReloadNote::Finished { took }) => {
                let roll =
                    self.roll.take().filter(|roll| roll.to == generation && now.since(roll.since) == took);
                check(roll.is_some() && self.is_all_new(generation), "an old one is left")
            }
            _ => Ok(()),
        }
    }

    /// Whether every slot has a ready worker of this generation, and no older one is left.
    fn is_all_new(&self, generation: u32) -> bool {
        let is_new = |w: &Worker| w.is_up() && w.order.generation == generation;
        let is_old = |w: &Worker| w.retired.is_some() && w.order.generation < generation;
        (0..self.wanted()).all(|slot| self.seated(slot).is_some_and(is_new)) && !self.live.iter().any(is_old)
    }

    /// After each step of a pool that runs.
    pub fn reload_is_on_its_way(&mut self, now: Monotonic) -> Held {
        let all_serve = self.serving() == self.wanted();
        let Some(roll) = self.roll.as_mut().filter(|roll| roll.confirmed) else { return Ok(()) };
        if roll.hurt {
            roll.whole_since = roll.whole_since.or(Some(now)).filter(|_| all_serve);
        }
        let to = roll.to;
        check(!self.is_all_new(to), "a reload is over and nothing was said")
    }
}
