//! What a network that is trained already knows of its data.

use super::{Columns, Vocabulary};

/// The vocabulary and the columns of a trained network. Data that are opened with them are read as its training data were.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    /// The tokens of its texts. A text may have fewer.
    pub vocabulary: Option<&'a Vocabulary>,
    /// The columns of its tables, or of tensors that are scaled.
    pub columns: Option<&'a Columns>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Inputs;
    use crate::data::{Choice, Options, Part, Reading};

    #[test]
    fn a_text_is_read_with_the_vocabulary_of_the_network() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t");
        std::fs::write(&path, "acacacacacacacacacac").unwrap();
        let options = Options { seed: 1, batch: 1, window: 4 };
        let open = |characters: &str| {
            let vocabulary = Vocabulary::from_text(characters);
            let known = Known { vocabulary: Some(&vocabulary), columns: None };
            Choice::Text(path.clone()).open(&options, &Reading::default(), Part::Validation, known)
        };
        let mut opened = open("abc").unwrap();
        assert_eq!(opened.vocabulary, Some(Vocabulary::from_text("abc")));
        assert_eq!(opened.source.shape().targets, 3);
        let Inputs::Tokens(tokens) = opened.source.batch(0).inputs else { panic!("a text has tokens") };
        assert_eq!(tokens.into_iter().collect::<Vec<_>>(), [0, 2, 0, 2]);
        assert!(opened.notes[0].ends_with("2 of the 3 characters of the vocabulary are in it."), "{:?}", opened.notes);
        assert!(open("ac").unwrap().notes.is_empty());
        let error = open("abd").err().unwrap();
        assert!(error.exit_code() == 7 && error.to_string().contains("line 1, column 2: 'c' is none of the 3"), "{error}");
        let own = Choice::Text(path.clone()).open(&options, &Reading::default(), Part::Validation, Known::default()).unwrap();
        assert_eq!((own.source.shape().targets, own.fingerprints), (2, open("abc").unwrap().fingerprints));
    }
}
