//! The text of a level in the tree of filters, in 16 bytes if it is short, as nearly all are.

/// A level of a filter.
pub(super) enum Level {
    Short {
        len: u8,
        bytes: [u8; SHORT_MAX],
    },
    /// Behind one pointer, so that the others do not take more for it.
    Long(Box<Box<[u8]>>),
}

const SHORT_MAX: usize = 14;

impl Level {
    pub(super) fn new(text: &[u8]) -> Self {
        let mut bytes = [0; SHORT_MAX];
        match bytes.get_mut(..text.len()) {
            Some(short) => {
                short.copy_from_slice(text);
                Self::Short { len: text.len() as u8, bytes }
            }
            None => Self::Long(Box::new(text.into())),
        }
    }

    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short { len, bytes } => &bytes[..usize::from(*len)],
            Self::Long(text) => text,
        }
    }
}

impl std::fmt::Debug for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(&String::from_utf8_lossy(self.as_bytes()), f)
    }
}

/// The levels of a topic: where each ends. Found once for all who ask.
#[derive(Debug)]
pub(crate) struct Levels<'a> {
    bytes: &'a [u8],
    ends: smallvec::SmallVec<[u32; 16]>,
}

impl<'a> Levels<'a> {
    pub(crate) fn new(topic: &'a [u8]) -> Self {
        let mut ends = smallvec::SmallVec::new();
        for (at, byte) in topic.iter().enumerate() {
            if *byte == b'/' {
                ends.push(at as u32);
            }
        }
        ends.push(topic.len() as u32);
        Self { bytes: topic, ends }
    }

    /// How many there are: one at least.
    pub(crate) fn count(&self) -> usize {
        self.ends.len()
    }

    /// The level of this number; none behind the last.
    #[inline]
    pub(super) fn get(&self, number: usize) -> Option<&'a [u8]> {
        let end = *self.ends.get(number)? as usize;
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before] as usize + 1);
        Some(&self.bytes[start..end])
    }

    /// The first so many levels with what is between them; all if there are fewer.
    #[inline]
    pub(crate) fn first(&self, count: usize) -> &'a [u8] {
        let end = self.ends.get(count - 1).map_or(self.bytes.len(), |end| *end as usize);
        &self.bytes[..end]
    }

    /// All of it.
    #[inline]
    pub(crate) fn topic(&self) -> &'a [u8] {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_what_it_was_made_of() {
        assert_eq!(size_of::<Level>(), 16);
        for len in 0..40 {
            let text = vec![b'a' + len as u8 % 26; len];
            assert_eq!(Level::new(&text).as_bytes(), text);
        }
    }

    #[test]
    fn levels_are_what_lies_between_the_separators() {
        for topic in ["a", "/", "a//b/cc", "/a/", "é/ü"] {
            let levels = Levels::new(topic.as_bytes());
            let all: Vec<_> = (0..).map_while(|number| levels.get(number)).collect();
            let expected: Vec<_> = topic.split('/').map(str::as_bytes).collect();
            assert_eq!(all, expected);
            assert_eq!(levels.count(), expected.len());
            for count in 1..5 {
                let first: Vec<_> = topic.split('/').take(count).collect();
                assert_eq!(levels.first(count), first.join("/").as_bytes());
            }
        }
    }
}
