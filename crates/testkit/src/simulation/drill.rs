//! A race between two shards, on purpose: one takes in a SUBSCRIBE and the other a message to be
//! retained, one of them in the middle of the other's work. Whoever comes first, the subscriber must
//! know the message in the end, and hear the next one.
//!
//! In a run at large this happens too, but seldom at the moments that matter, and mostly something
//! else covers it up.

use super::Simulation;
use super::guest::Phase;

/// For one message the interest map and the retained messages are asked at about so many moments.
const QUESTIONS: usize = 12;

impl Simulation {
    /// Has two clients race, if there are two on different shards.
    pub(super) fn drill(&mut self) {
        let Some((publisher, subscriber)) = self.choose_racers() else {
            return;
        };
        self.stage.drills += 1;
        let topic = format!("$d/{}", self.stage.drills);
        let filter = self.stage.dice.pick(&[topic.as_str(), "$d/+", "$d/#"]).to_owned();
        let (name, filters) = (self.guests[subscriber].name.clone(), [filter.as_str()]);
        let Some(first) = self.publish_kept(publisher, &topic) else {
            return;
        };
        self.guests[subscriber].subscribe_to(&mut self.stage, &filters, true);
        self.race(publisher, subscriber);
        self.rest();
        let sure = self.stage.books.sure_filters(&name);
        // It may have had too many already.
        let granted = sure.iter().any(|(sure, _)| *sure == filter);
        let undisturbed = self.stage.w.drops().1 == self.stage.drops.1;
        if granted && undisturbed {
            let last = self.guests[subscriber].retained.last.get(&topic).copied();
            if last != Some(first) {
                self.stage
                    .w
                    .fail(&format!("{name} subscribes while {first} is set, and knows {last:?}"));
            }
            if let Some(second) = self.publish_kept(publisher, &topic) {
                self.rest();
                let undisturbed = self.stage.w.drops().1 == self.stage.drops.1;
                if undisturbed && !self.stage.books.has(&name, second) {
                    self.stage.w.fail(&format!("{name} does not hear {second} on {topic}"));
                }
            }
        }
        // Leaves nothing behind.
        self.guests[publisher].publish_to(&mut self.stage, &topic, 1, Some(true), 0);
        self.guests[subscriber].unsubscribe_from(&mut self.stage, &filter);
        self.rest();
    }

    fn choose_racers(&mut self) -> Option<(usize, usize)> {
        let Self { stage, guests } = self;
        let (one, other) = (stage.dice.below(guests.len()), stage.dice.below(guests.len()));
        let places = [one, other].map(|at| {
            let guest = &guests[at];
            let there = guest.phase == Phase::Connected && guest.is_at_rest();
            there.then(|| stage.w.place_of(&guest.label)).flatten()
        });
        let apart = places[0].is_some() && places[1].is_some() && places[0] != places[1];
        apart.then_some((one, other))
    }

    fn publish_kept(&mut self, publisher: usize, topic: &str) -> Option<usize> {
        self.guests[publisher].publish_to(&mut self.stage, topic, 1, Some(false), 3)
    }

    fn race(&mut self, publisher: usize, subscriber: usize) {
        let Self { stage, guests } = self;
        let labels = [&guests[publisher].label, &guests[subscriber].label];
        let (at_work, lurking) =
            if stage.dice.chance(50) { (labels[0], labels[1]) } else { (labels[1], labels[0]) };
        let fuse = stage.dice.below(QUESTIONS);
        stage.w.race(at_work, lurking, fuse);
    }
}
