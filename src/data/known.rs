//! Data for a network that is trained already: a text is read with the vocabulary that the network has.

use super::choice::fingerprint;
use super::{Choice, Opened, Options, Reading, Text, Vocabulary, read_text};
use crate::Result;

impl Choice {
    /// Opens it for training as [`Choice::open`] does, but a text with `vocabulary`, if there is one: its tokens are then those of the
    /// network, also where the text has fewer characters.
    ///
    /// # Errors
    /// As [`Choice::open`]; [`crate::Error::BadInput`] for a character that is not in the vocabulary, with its position.
    pub fn open_with(&self, options: &Options, reading: Reading, vocabulary: Option<&Vocabulary>) -> Result<Opened> {
        let (Choice::Text(path), Some(vocabulary)) = (self, vocabulary) else { return self.open(options, reading) };
        let what = path.display();
        let content = read_text(path)?;
        let text = Text::divide(&what, &content, vocabulary.clone(), options.batch, options.window, reading.validation)?;
        let (own, all) = (Vocabulary::from_text(&content).size(), vocabulary.size());
        let note = (own < all).then(|| format!("{what}: {own} of the {all} characters of the vocabulary are in it."));
        Ok(Opened {
            source: Box::new(text),
            vocabulary: Some(vocabulary.clone()),
            notes: note.into_iter().collect(),
            fingerprint: Some(fingerprint(path)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Inputs;

    #[test]
    fn a_text_is_read_with_the_vocabulary_of_the_network() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t");
        std::fs::write(&path, "acacacacacacacacacac").unwrap();
        let options = Options { seed: 1, batch: 1, window: 4 };
        let open = |characters: &str| {
            let vocabulary = Vocabulary::from_text(characters);
            Choice::Text(path.clone()).open_with(&options, Reading::default(), Some(&vocabulary))
        };
        let mut opened = open("abc").unwrap();
        assert_eq!(opened.vocabulary, Some(Vocabulary::from_text("abc")));
        assert_eq!(opened.source.shape().outputs, 3);
        let Inputs::Tokens(tokens) = opened.source.batch(0).inputs else { panic!("a text has tokens") };
        assert_eq!(tokens.into_iter().collect::<Vec<_>>(), [0, 2, 0, 2]);
        assert!(opened.notes[0].ends_with("2 of the 3 characters of the vocabulary are in it."), "{:?}", opened.notes);
        assert!(open("ac").unwrap().notes.is_empty());
        let error = open("abd").err().unwrap();
        assert!(error.exit_code() == 7 && error.to_string().contains("line 1, column 2: 'c' is none of the 3"), "{error}");
        let own = Choice::Text(path.clone()).open_with(&options, Reading::default(), None).unwrap();
        assert_eq!((own.source.shape().outputs, own.fingerprint), (2, open("abc").unwrap().fingerprint));
    }
}
