//! A text as words: those of Unicode's rules (UAX #29), punctuation marks one by one, and white space in runs. Put together again they are the
//! text.

use std::cmp::Reverse;
use std::collections::HashMap;

use unicode_segmentation::UnicodeSegmentation;

/// What stands for words that are not known. No word is the same, since its marks are tokens of their own.
pub(super) const UNKNOWN: &str = "<unk>";

/// The words that a network knows, by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    /// The most frequent first; [`UNKNOWN`] is the last where there were others.
    list: Vec<String>,
    ids: HashMap<String, u32>,
}

impl Words {
    /// The `most` most frequent words of a text.
    pub fn of_text(text: &str, most: usize) -> Words {
        // How often each word comes, and its place among the different words.
        let mut counts: HashMap<&str, (usize, usize)> = HashMap::new();
        for (_, word) in split(text) {
            let place = counts.len();
            counts.entry(word).or_insert((0, place)).0 += 1;
        }
        let mut words: Vec<(&str, (usize, usize))> = counts.into_iter().collect();
        words.sort_unstable_by_key(|&(_, (count, place))| (Reverse(count), place));
        let others = (words.len() > most).then_some(UNKNOWN);
        Words::indexed(words.iter().take(most).map(|(word, _)| *word).chain(others).map(str::to_owned).collect())
    }

    /// Makes the words of a list; the error says what is wrong with it.
    pub fn from_list(list: Vec<String>) -> Result<Words, String> {
        if list.is_empty() {
            return Err("there are no words in it".into());
        }
        let words = Words::indexed(list);
        match words.list.iter().enumerate().find(|(id, word)| words.ids[*word] as usize != *id) {
            Some((_, word)) => Err(format!("{word:?} comes twice")),
            None => Ok(words),
        }
    }

    fn indexed(list: Vec<String>) -> Words {
        Words { ids: list.iter().cloned().zip(0..).collect(), list }
    }

    /// All of them, by id.
    pub fn list(&self) -> &[String] {
        &self.list
    }

    /// The id of [`UNKNOWN`], if it is one of the words.
    pub fn unknown(&self) -> Option<u32> {
        self.ids.get(UNKNOWN).copied()
    }

    /// The id of a word, or of what is not known.
    pub fn id(&self, word: &str) -> Option<u32> {
        self.ids.get(word).copied().or(self.unknown())
    }
}

/// The words of a text, each with where it begins, in bytes.
pub(super) fn split(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut segments = text.split_word_bound_indices().peekable();
    let is_space = |segment: &str| segment.chars().all(char::is_whitespace);
    std::iter::from_fn(move || {
        let (start, first) = segments.next()?;
        let mut end = start + first.len();
        while is_space(first)
            && let Some((at, more)) = segments.next_if(|(_, next)| is_space(next))
        {
            end = at + more.len();
        }
        Some((start, &text[start..end]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<&str> {
        split(text).map(|(_, word)| word).collect()
    }

    #[test]
    fn words_marks_and_white_space_are_the_text_again() {
        assert_eq!(
            words("It can't cost 3.50…  no?!\r\n\n\tSo-so"),
            ["It", " ", "can't", " ", "cost", " ", "3.50", "…", "  ", "no", "?", "!", "\r\n\n\t", "So", "-", "so"]
        );
        // A letter and its accent as two characters are in one word, and so are all of an emoji.
        assert_eq!(words("cafe\u{301} über_alles 👩‍👩‍👧"), ["cafe\u{301}", " ", "über_alles", " ", "👩‍👩‍👧"]);
        assert_eq!(words("..<unk>"), [".", ".", "<", "unk", ">"]);
        for text in ["", " ", "\u{a0}\u{2003}x\n", "日本語の文\u{3000}です。", "a\u{0}b\u{fffd}"] {
            assert_eq!(words(text).concat(), text);
            assert!(split(text).all(|(at, word)| text[at..].starts_with(word) && !word.is_empty()));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_its_words(text in "\\PC*[ \\n\\ta-c.,]{0,30}\\PC*") {
            proptest::prop_assert_eq!(words(&text).concat(), text);
        }
    }
}
