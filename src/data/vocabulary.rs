//! The characters of a text as tokens.

use std::collections::BTreeSet;
use std::str::FromStr;

use crate::{Error, Result};

/// The characters a text is made of, sorted by code point; a character's token is its index.
///
/// As a string (`to_string`, `parse`) it is its characters in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocabulary {
    characters: Vec<char>,
}

impl Vocabulary {
    /// The characters of `text`.
    #[must_use]
    pub fn from_text(text: &str) -> Vocabulary {
        Vocabulary { characters: text.chars().collect::<BTreeSet<_>>().into_iter().collect() }
    }

    /// How many characters there are.
    #[must_use]
    pub fn size(&self) -> usize {
        self.characters.len()
    }

    /// The characters in order.
    #[must_use]
    pub fn characters(&self) -> &[char] {
        &self.characters
    }

    /// The tokens of `text`; `what` it is (a file, the prompt) goes into the message.
    ///
    /// # Errors
    /// [`Error::BadInput`] with the first character that is not in the vocabulary, its line and column.
    pub fn encode(&self, what: impl ToString, text: &str) -> Result<Vec<u32>> {
        let (mut line, mut column) = (1, 0);
        let token = |c: char| {
            column += 1;
            let token = self.characters.binary_search(&c).map_err(|_| {
                let problem =
                    format!("line {line}, column {column}: {c:?} is none of the {} characters of the vocabulary", self.size());
                Error::input(what.to_string(), problem)
            })?;
            if c == '\n' {
                (line, column) = (line + 1, 0);
            }
            Ok(token as u32)
        };
        text.chars().map(token).collect()
    }

    /// The text of `tokens`; U+FFFD for one that is not a character's.
    #[must_use]
    pub fn decode(&self, tokens: &[u32]) -> String {
        tokens.iter().map(|&t| self.characters.get(t as usize).copied().unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
    }
}

impl std::fmt::Display for Vocabulary {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        self.characters.iter().try_for_each(|c| write!(f, "{c}"))
    }
}

impl FromStr for Vocabulary {
    type Err = Error;

    /// [`Error::BadInput`] if there are no characters, or if they are out of order.
    fn from_str(characters: &str) -> Result<Vocabulary> {
        let vocabulary = Vocabulary { characters: characters.chars().collect() };
        if vocabulary.characters.is_empty() {
            return Err(Error::input("vocabulary", "there are no characters in it"));
        }
        match vocabulary.characters.windows(2).find(|pair| pair[0] >= pair[1]) {
            Some(pair) => {
                let problem = format!("{:?} comes before {:?}; expected each character once, by code point", pair[0], pair[1]);
                Err(Error::input("vocabulary", problem))
            }
            None => Ok(vocabulary),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vocabularies_are_sorted_and_come_back_from_strings() {
        let vocabulary = Vocabulary::from_text("hé \n世é\"h");
        assert_eq!(vocabulary.characters(), ['\n', ' ', '"', 'h', 'é', '世']);
        let tokens = vocabulary.encode("t", "世h\n").unwrap();
        assert_eq!((&tokens[..], vocabulary.decode(&tokens)), (&[5, 3, 0][..], "世h\n".into()));
        assert_eq!(vocabulary.decode(&[3, 6]), "h\u{fffd}");
        assert_eq!(vocabulary.to_string().parse::<Vocabulary>().unwrap(), vocabulary);
        let error = vocabulary.encode("prompt", "h\nhéx").unwrap_err();
        assert_eq!(error.to_string(), "prompt: line 2, column 3: 'x' is none of the 6 characters of the vocabulary");
        for bad in ["", "ba", "aa"] {
            assert_eq!(bad.parse::<Vocabulary>().unwrap_err().exit_code(), 7, "{bad:?}");
        }
    }
}
