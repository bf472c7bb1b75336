//! What a text is made of, as tokens: its characters, bytes, or words.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::words::{self, Words};
use crate::memory::{check_memory_or, with_room};
use crate::{Error, Result};

/// What would fit where a text does not.
pub(super) const SHORTER: &str = "a shorter text would fit";

/// The kinds of tokens that a text may be read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Tokens {
    /// Its characters, of a text in UTF-8.
    #[default]
    Chars,
    /// Its bytes, of any file.
    Bytes,
    /// Its words, punctuation marks and runs of white space, of a text in UTF-8; those that are not kept are `<unk>`.
    Words,
}

impl Tokens {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Tokens::Chars => "chars",
            Tokens::Bytes => "bytes",
            Tokens::Words => "words",
        }
    }

    /// A token of this kind, for people.
    #[must_use]
    pub fn noun(self) -> &'static str {
        match self {
            Tokens::Chars => "character",
            Tokens::Bytes => "byte",
            Tokens::Words => "word",
        }
    }

    fn named(name: &str) -> Option<Tokens> {
        [Tokens::Chars, Tokens::Bytes, Tokens::Words].into_iter().find(|kind| kind.name() == name)
    }
}

/// The tokens that a network knows, by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocabulary(Known);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Known {
    /// Sorted by code point.
    Characters(Vec<char>),
    Bytes,
    Words(Words),
}

impl Vocabulary {
    /// The characters of `text`, sorted by code point.
    #[must_use]
    pub fn from_text(text: &str) -> Vocabulary {
        // One by one: collecting would first list them all.
        let mut characters = BTreeSet::new();
        text.chars().for_each(|c| {
            characters.insert(c);
        });
        Vocabulary(Known::Characters(characters.into_iter().collect()))
    }

    /// All bytes, by value.
    #[must_use]
    pub fn bytes() -> Vocabulary {
        Vocabulary(Known::Bytes)
    }

    /// The `most` most frequent words of `text`, of two as frequent ones the one that comes first; behind them `<unk>`, if there are more.
    #[must_use]
    pub fn from_words(text: &str, most: usize) -> Vocabulary {
        Vocabulary(Known::Words(Words::of_text(text, most)))
    }

    /// The vocabulary of a file's content, for a kind of tokens. `what` names the file in messages.
    ///
    /// # Errors
    /// [`Error::BadInput`] for characters or words of what is not UTF-8.
    pub(super) fn of_content(what: impl ToString, content: &[u8], tokens: Tokens, most_words: usize) -> Result<Vocabulary> {
        Ok(match tokens {
            Tokens::Chars => Vocabulary::from_text(utf8(what, content)?),
            Tokens::Bytes => Vocabulary::bytes(),
            Tokens::Words => Vocabulary::from_words(utf8(what, content)?, most_words),
        })
    }

    /// The kind of its tokens.
    #[must_use]
    pub fn tokens(&self) -> Tokens {
        match &self.0 {
            Known::Characters(_) => Tokens::Chars,
            Known::Bytes => Tokens::Bytes,
            Known::Words(_) => Tokens::Words,
        }
    }

    /// How many tokens there are, `<unk>` included.
    #[must_use]
    pub fn size(&self) -> usize {
        match &self.0 {
            Known::Characters(characters) => characters.len(),
            Known::Bytes => 256,
            Known::Words(words) => words.list().len(),
        }
    }

    /// The id of `<unk>`, if there is one.
    #[must_use]
    pub fn unknown(&self) -> Option<u32> {
        match &self.0 {
            Known::Words(words) => words.unknown(),
            _ => None,
        }
    }

    /// The ids of the tokens of `content`; `what` it is (a file, the prompt) goes into the message.
    ///
    /// # Errors
    /// [`Error::BadInput`] with the first token that is not in the vocabulary, where that has no `<unk>`, with its line and column in
    /// characters; or with the first byte that is not UTF-8.
    pub fn encode(&self, what: impl ToString, content: impl AsRef<[u8]>) -> Result<Vec<u32>> {
        let content = content.as_ref();
        let id = |token: &str| match &self.0 {
            Known::Characters(all) => token.chars().next().and_then(|c| all.binary_search(&c).ok()).map(|id| id as u32),
            Known::Bytes => None,
            Known::Words(words) => words.id(token),
        };
        let room = |count: usize| {
            check_memory_or("the list of a text's tokens", count as u64 * 4, |_| SHORTER.into())?;
            with_room::<u32>("the list of a text's tokens", count as u64, SHORTER)
        };
        if self.tokens() == Tokens::Bytes {
            let mut ids = room(content.len())?;
            ids.extend(content.iter().map(|&byte| u32::from(byte)));
            return Ok(ids);
        }
        let text = utf8(what.to_string(), content)?;
        let missing = |at: usize, token: &str| self.missing(what.to_string(), &text[..at], token);
        let find = |(at, token)| id(token).ok_or_else(|| missing(at, token));
        match self.tokens() {
            Tokens::Words => words::split(text).map(find).collect(),
            _ => {
                let mut ids = room(text.chars().count())?;
                for (at, c) in text.char_indices() {
                    ids.push(find((at, &text[at..at + c.len_utf8()]))?);
                }
                Ok(ids)
            }
        }
    }

    /// An error that names a token and its place, which follows the text `before`.
    fn missing(&self, what: String, before: &str, token: &str) -> Error {
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let (shown, noun) = match self.tokens() {
            Tokens::Words => (format!("{token:?}"), "words"),
            _ => (token.chars().map(|c| format!("{c:?}")).collect(), "characters"),
        };
        let problem = format!("line {line}, column {column}: {shown} is none of the {} {noun} of the vocabulary", self.size());
        Error::input(what, problem)
    }

    /// Joins tokens to the text that they were made from, with `<unk>` for unknown words. An id that is no token's becomes U+FFFD.
    #[must_use]
    pub fn decode(&self, ids: &[u32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for &id in ids {
            match &self.0 {
                Known::Bytes if id < 256 => bytes.push(id as u8),
                Known::Characters(all) if (id as usize) < all.len() => {
                    bytes.extend_from_slice(all[id as usize].encode_utf8(&mut [0; 4]).as_bytes());
                }
                Known::Words(words) if (id as usize) < words.list().len() => {
                    bytes.extend_from_slice(words.list()[id as usize].as_bytes());
                }
                _ => bytes.extend_from_slice(char::REPLACEMENT_CHARACTER.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        bytes
    }

    /// A token on one line: control characters, and bytes that are no ASCII, as escapes.
    #[must_use]
    pub fn label(&self, id: u32) -> String {
        match &self.0 {
            Known::Bytes if !(0x20..0x7f).contains(&id) => format!("\\x{id:02x}"),
            _ => {
                let shown = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
                String::from_utf8_lossy(&self.decode(&[id])).chars().map(shown).collect()
            }
        }
    }

    /// The metadata of a checkpoint: `vocabulary`, the characters as they are or the words as JSON; and `tokens`, the kind, unless it is
    /// characters.
    pub(crate) fn to_metadata(&self) -> Vec<(String, String)> {
        let listed = match &self.0 {
            Known::Characters(characters) => Some(characters.iter().collect()),
            Known::Bytes => None,
            Known::Words(words) => Some(serde_json::to_string(words.list()).expect("strings")),
        };
        let kind = (self.tokens() != Tokens::Chars).then(|| ("tokens".to_owned(), self.tokens().name().to_owned()));
        listed.map(|listed| ("vocabulary".to_owned(), listed)).into_iter().chain(kind).collect()
    }

    /// The vocabulary of a checkpoint's metadata, if it has one.
    ///
    /// # Errors
    /// [`Error::BadInput`] for a kind that there is not, for none of its tokens, or one that comes twice.
    pub fn from_metadata(metadata: &BTreeMap<String, String>) -> Result<Option<Vocabulary>> {
        let bad = |problem: String| Error::input("vocabulary", problem);
        let kind = metadata.get("tokens").map_or(Some(Tokens::Chars), |name| Tokens::named(name));
        let kind = kind.ok_or_else(|| bad("its tokens are neither chars, bytes nor words".into()))?;
        let listed = metadata.get("vocabulary");
        Ok(match (kind, listed) {
            (Tokens::Bytes, _) => Some(Vocabulary::bytes()),
            (Tokens::Words, Some(listed)) => {
                let list = serde_json::from_str(listed).map_err(|e| bad(format!("expected a list of words: {e}")))?;
                Some(Vocabulary(Known::Words(Words::from_list(list).map_err(bad)?)))
            }
            (Tokens::Words, None) => return Err(bad("there are no words in it".into())),
            (Tokens::Chars, listed) => listed.map(|characters| from_characters(characters).map_err(bad)).transpose()?,
        })
    }
}

/// Characters in the order of a vocabulary.
fn from_characters(characters: &str) -> std::result::Result<Vocabulary, String> {
    let characters: Vec<char> = characters.chars().collect();
    if characters.is_empty() {
        return Err("there are no characters in it".into());
    }
    match characters.windows(2).find(|pair| pair[0] >= pair[1]) {
        Some(pair) => Err(format!("{:?} comes before {:?}; expected each character once, by code point", pair[0], pair[1])),
        None => Ok(Vocabulary(Known::Characters(characters))),
    }
}

/// Bytes as the text that they are.
///
/// # Errors
/// [`Error::BadInput`] with the position of the first byte that is not UTF-8.
pub(super) fn utf8(what: impl ToString, bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|e| {
        let at = e.valid_up_to();
        let problem = format!("byte {at} (counted from 0), {:#04x}, is not UTF-8; expected text in UTF-8", bytes[at]);
        Error::input(what, problem)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a checkpoint keeps of a vocabulary, read again.
    fn kept(vocabulary: &Vocabulary) -> Vocabulary {
        let metadata = vocabulary.to_metadata().into_iter().collect();
        Vocabulary::from_metadata(&metadata).unwrap().expect("there is one")
    }

    #[test]
    fn characters_are_sorted_and_kept_as_a_string() {
        let vocabulary = Vocabulary::from_text("hé \n世é\"h");
        let tokens = vocabulary.encode("t", "世h\n").unwrap();
        assert_eq!((&tokens[..], vocabulary.decode(&tokens)), (&[5, 3, 0][..], "世h\n".into()));
        assert_eq!(vocabulary.decode(&[3, 6]), "h\u{fffd}".as_bytes());
        assert_eq!(vocabulary.to_metadata(), [("vocabulary".to_owned(), "\n \"hé世".to_owned())]);
        assert_eq!((kept(&vocabulary), vocabulary.label(0)), (vocabulary.clone(), "\\n".into()));
        let error = vocabulary.encode("prompt", "h\nhéx").unwrap_err();
        assert_eq!(error.to_string(), "prompt: line 2, column 3: 'x' is none of the 6 characters of the vocabulary");
        assert_eq!(Vocabulary::from_metadata(&BTreeMap::new()).unwrap(), None);
    }

    #[test]
    fn bytes_are_all_there_are() {
        let vocabulary = Vocabulary::bytes();
        let all: Vec<u8> = (0..=255).rev().collect();
        let tokens = vocabulary.encode("t", &all).unwrap();
        assert_eq!((tokens[0], vocabulary.size(), vocabulary.decode(&tokens)), (255, 256, all));
        assert_eq!(kept(&vocabulary), vocabulary);
        assert_eq!([10, 65, 32, 200].map(|id| vocabulary.label(id)), ["\\x0a", "A", " ", "\\xc8"]);
    }

    #[test]
    fn words_are_kept_by_frequency_and_the_others_are_unknown() {
        let text = "a b c, a b d. a";
        // " " six times, "a" three, "b" two; then one each, in the order of the text.
        let vocabulary = Vocabulary::from_words(text, 4);
        let tokens = vocabulary.encode("t", text).unwrap();
        assert_eq!((vocabulary.size(), vocabulary.unknown()), (5, Some(4)));
        assert_eq!(tokens, [1, 0, 2, 0, 3, 4, 0, 1, 0, 2, 0, 4, 4, 0, 1]);
        assert_eq!(vocabulary.decode(&tokens), b"a b c<unk> a b <unk><unk> a");
        assert_eq!(vocabulary.encode("t", "new\n").unwrap(), [4, 4]);
        assert_eq!(kept(&vocabulary), vocabulary);

        // All words are kept, and so nothing is known of others.
        let vocabulary = Vocabulary::from_words(text, 7);
        assert_eq!((vocabulary.size(), vocabulary.unknown(), kept(&vocabulary)), (7, None, vocabulary.clone()));
        assert_eq!(vocabulary.decode(&vocabulary.encode("t", text).unwrap()), text.as_bytes());
        let error = vocabulary.encode("prompt", "a b, new").unwrap_err();
        assert_eq!(error.to_string(), "prompt: line 1, column 6: \"new\" is none of the 7 words of the vocabulary");
    }

    #[test]
    fn metadata_that_are_wrong_are_refused() {
        let words = [("tokens", "words")];
        for (bad, said) in [
            (vec![("vocabulary", "")], "there are no characters"),
            (vec![("vocabulary", "ba")], "'b' comes before 'a'"),
            (vec![("vocabulary", "aa")], "each character once"),
            (vec![("tokens", "syllables")], "neither chars, bytes nor words"),
            (words.to_vec(), "no words"),
            ([&words[..], &[("vocabulary", "ab")]].concat(), "expected a list of words"),
            ([&words[..], &[("vocabulary", "[]")]].concat(), "no words"),
            ([&words[..], &[("vocabulary", r#"["a","b","a"]"#)]].concat(), "\"a\" comes twice"),
        ] {
            let metadata = bad.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            let error = Vocabulary::from_metadata(&metadata).unwrap_err();
            assert!(error.exit_code() == 7 && error.to_string().contains(said), "{bad:?}: {error}");
        }
    }
}
