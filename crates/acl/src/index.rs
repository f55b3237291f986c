//! Which rules are about a topic, without looking at all of them.
//!
//! A tree of levels: a node has its literal levels, and one branch for `+`. The property tests of
//! `rules` compare it with looking at every rule.

use crate::topic::with_first_level;
use noctule_mqtt::topic::LEVEL_SEPARATOR;
use std::collections::HashMap;

/// The place of a rule in the list of all.
pub(crate) type RuleId = u32;

/// The rules of a set whose topics have no names in them.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    nodes: Vec<Node>,
}

#[derive(Debug, Clone, Default)]
struct Node {
    literal: HashMap<Box<str>, usize>,
    plus: Option<usize>,
    /// Rules whose filter ends here.
    here: Vec<RuleId>,
    /// Rules whose filter ends with `#` here.
    below: Vec<RuleId>,
}

impl Default for Index {
    fn default() -> Self {
        Self { nodes: vec![Node::default()] }
    }
}

impl Index {
    /// Adds a rule with this filter.
    pub(crate) fn insert(&mut self, filter: &str, rule: RuleId) {
        let mut at = 0;
        for level in filter.split(LEVEL_SEPARATOR) {
            if level == "#" {
                return self.nodes[at].below.push(rule);
            }
            let new = self.nodes.len();
            let node = &mut self.nodes[at];
            at = match level {
                "+" => *node.plus.get_or_insert(new),
                level => *node.literal.entry(level.into()).or_insert(new),
            };
            if at == new {
                self.nodes.push(Node::default());
            }
        }
        self.nodes[at].here.push(rule);
    }

    /// Visits the rules whose filter covers this one, which may be a topic. A wildcard is covered by
    /// wildcards alone.
    pub(crate) fn covering(&self, filter: &str, mut visit: impl FnMut(RuleId)) {
        // A wildcard in first place does not match what begins with `$`.
        let is_reserved = filter.starts_with('$');
        let mut paths = vec![(0, Some(with_first_level(filter)))];
        while let Some((at, rest)) = paths.pop() {
            let node = &self.nodes[at];
            let wild = !(is_reserved && at == 0);
            if wild {
                node.below.iter().copied().for_each(&mut visit);
            }
            let Some(rest) = rest else {
                node.here.iter().copied().for_each(&mut visit);
                continue;
            };
            let (level, behind) = match rest.split_once(LEVEL_SEPARATOR) {
                Some((level, behind)) => (level, Some(behind)),
                None => (rest, None),
            };
            if level == "#" {
                continue;
            }
            if let Some(plus) = node.plus.filter(|_| wild) {
                paths.push((plus, behind));
            }
            if let Some(literal) = node.literal.get(level) {
                paths.push((*literal, behind));
            }
        }
    }
}
