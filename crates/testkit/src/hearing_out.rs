//! Clients that hear out what there is for them: each acknowledges what comes at QoS 1, all at once, until
//! nothing comes any more. The same for one shard and for several.

use crate::packets::Said;
use crate::{PacketType, ReasonCode, Shards, World};

/// Clients and whatever they are connected to.
pub trait Company {
    /// Takes all that a client has heard.
    fn all_heard(&mut self, name: &str) -> Vec<Said>;
    /// A client says something, which nobody has dealt with yet.
    fn say(&mut self, name: &str, said: Said);
    /// Everything is dealt with.
    fn settle(&mut self);
}

/// What each of these clients hears from now on, in order.
pub fn hear_out(company: &mut impl Company, names: &[String]) -> Vec<Vec<Said>> {
    let mut heard = vec![Vec::new(); names.len()];
    loop {
        let mut acknowledged = false;
        for (name, heard) in names.iter().zip(&mut heard) {
            for said in company.all_heard(name) {
                if let Said::Publish(publish) = &said
                    && let Some(id) = publish.id.filter(|_| publish.qos.bits() == 1)
                {
                    let (packet, reason) = (PacketType::Puback, ReasonCode::Success);
                    company.say(name, Said::Ack { packet, id, reason });
                    acknowledged = true;
                }
                heard.push(said);
            }
        }
        if !acknowledged {
            return heard;
        }
        company.settle();
    }
}

impl Company for World {
    fn all_heard(&mut self, name: &str) -> Vec<Said> {
        self.all_heard(name)
    }

    fn say(&mut self, name: &str, said: Said) {
        self.say(name, said);
    }

    fn settle(&mut self) {
        self.settle();
    }
}

impl Company for Shards {
    fn all_heard(&mut self, name: &str) -> Vec<Said> {
        self.all_heard(name)
    }

    fn say(&mut self, name: &str, said: Said) {
        self.say(name, said);
    }

    fn settle(&mut self) {
        self.settle();
    }
}
