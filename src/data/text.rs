//! Text, token by token: predict each next one. Tokens are characters, bytes or words.
//!
//! The first 90 % of the tokens, or another share, train; behind them come the shares for validation and for a test. With `N` tokens and a batch of `B`, stream `b` is tokens
//! `b·S … b·S + S` with `S = ⌊(N − 1)/B⌋`; window `k` of a pass feeds tokens `b·S + kT … b·S + kT + T − 1` and predicts each next one. The
//! hidden state goes from window to window and starts each pass at zero. A training pass ends when fewer than `T` tokens are
//! left; the held-out streams are read to their end, the last window masked.

use std::path::Path;

use ndarray::Array2;

use super::divided::Divided;
use super::opened::{Fingerprints, OpenedData, fingerprint};
use super::split::{HeldOut, Part};
use super::vocabulary::{SHORTER, utf8};
use super::{Options, Reading, Shape, Source, Tokens, Vocabulary};
use crate::batch::{Batch, InitialState, Input, Inputs, TargetKind, Targets};
use crate::memory::read_whole;
use crate::{Error, Result};

/// Reads a file, for [`Vocabulary::encode`].
///
/// # Errors
/// [`Error::BadInput`] if it cannot be read; [`Error::DoesNotFit`] when it is larger than the memory.
pub fn read_content(path: impl AsRef<Path>) -> Result<Vec<u8>> {
    read_whole(path.as_ref(), SHORTER)
}

/// Reads a file of UTF-8.
///
/// # Errors
/// [`Error::BadInput`] if it cannot be read, or with the position of the first byte that is not UTF-8.
pub fn read_text(path: impl AsRef<Path>) -> Result<String> {
    let (what, content) = (path.as_ref().display(), read_content(&path)?);
    Ok(utf8(what, &content)?.to_owned())
}

/// What to tell of the tokens of a text that are `<unk>`, with their share, if some are.
#[must_use]
pub fn note_unknown(what: impl std::fmt::Display, vocabulary: &Vocabulary, ids: &[u32]) -> Option<String> {
    let unknown = vocabulary.unknown()?;
    let count = ids.iter().filter(|&&id| id == unknown).count();
    let (share, known) = (100.0 * count as f64 / ids.len() as f64, vocabulary.size() - 1);
    let of = format!("{count} of {} tokens ({share:.2} %)", ids.len());
    (count > 0).then(|| format!("{what}: {of} are not among the {known} of the vocabulary, and are <unk>."))
}

/// `count` streams of `length` tokens to predict each, one after another from token `start`, in windows.
#[derive(Debug, Clone, PartialEq)]
struct Streams {
    start: usize,
    count: usize,
    length: usize,
    /// How many windows a pass has.
    windows: u64,
}

impl Streams {
    /// The streams of a held-out part, all of which counts.
    ///
    /// A part with a token to predict, but not one for each stream, is one stream: its few tokens are
    /// measured rather than none.
    fn held_out(start: usize, tokens: usize, batch: usize, window: usize) -> Streams {
        let predicted = tokens.saturating_sub(1);
        let (count, length) = if predicted < batch { (1, predicted) } else { (batch, predicted / batch) };
        Streams { start, count, length, windows: length.div_ceil(window) as u64 }
    }
}

/// A text as batches of windows.
///
/// `tokens` and `classes` `[T, B]`; the mask is there only in a last held-out window that is not full.
#[derive(Debug, Clone)]
pub struct Text {
    vocabulary: Vocabulary,
    tokens: Vec<u32>,
    batch: usize,
    window: usize,
    training: Streams,
    held_out: Streams,
}

impl Text {
    /// A file to train on, character by character; its vocabulary is that of the whole file.
    ///
    /// # Errors
    /// As [`read_text`] and [`Text::new`].
    pub fn load(path: impl AsRef<Path>, batch: usize, window: usize, validation: f64) -> Result<Text> {
        Text::new(path.as_ref().display(), &read_text(&path)?, batch, window, validation)
    }

    /// A file to train on, or to measure its test part; its vocabulary is that of a network that is trained already, or of the whole file.
    ///
    /// # Errors
    /// As [`read_content`], [`Vocabulary::encode`] and [`Text::new`].
    pub(super) fn open(
        path: &Path,
        options: &Options,
        reading: &Reading,
        part: Part,
        vocabulary: Option<&Vocabulary>,
    ) -> Result<OpenedData> {
        let Options { batch, window, .. } = *options;
        let (what, content) = (path.display(), read_content(path)?);
        let own = || Vocabulary::of_content(&what, &content, reading.tokens, reading.most_words);
        let is_known = vocabulary.is_some();
        let vocabulary = vocabulary.cloned().map_or_else(own, Ok)?;
        let text = Text::divided(&what, &content, vocabulary.clone(), [batch, window], (reading.shares(), part))?;
        let notes = [text.note_missing(&what).filter(|_| is_known), note_unknown(&what, &vocabulary, &text.tokens)];
        let sum = fingerprint(&content[..]).ok();
        let (source, held_out): (Box<dyn Source>, _) = match reading.held_out(part) {
            HeldOut::Share(_) => (Box::new(text), None),
            HeldOut::File(other) => {
                let (what, content) = (other.display().to_string(), read_content(other)?);
                let sum = fingerprint(&content[..]).ok();
                let measured = Text::with_vocabulary(&what, content, vocabulary.clone(), batch, window)?;
                (Box::new(Divided::new(&what, Box::new(text), Box::new(measured))?), sum)
            }
        };
        let fingerprints = Fingerprints::new(sum, held_out, reading, part);
        let notes = notes.into_iter().flatten().collect();
        Ok(OpenedData {
            source,
            vocabulary: Some(vocabulary),
            columns: None,
            class_weights: None,
            notes,
            measured_ids: Vec::new(),
            fingerprints,
        })
    }

    /// What to tell where some of the vocabulary is not in the text. Of bytes that is usual.
    fn note_missing(&self, what: impl std::fmt::Display) -> Option<String> {
        let (all, noun) = (self.vocabulary.size(), self.vocabulary.tokens().noun());
        let mut found = vec![false; all];
        self.tokens.iter().for_each(|&id| found[id as usize] = true);
        let in_it = found.into_iter().filter(|found| *found).count();
        let is_told = in_it < all && self.vocabulary.tokens() != Tokens::Bytes;
        is_told.then(|| format!("{what}: {in_it} of the {all} {noun}s of the vocabulary are in it."))
    }

    /// A text to train on, character by character, of which the share `validation`, at least 0 and below 1, is held out at the end; `what` it is (its file) goes
    /// into messages.
    ///
    /// A held-out part of fewer than two tokens has no batches: [`Source::held_out_batches`] is 0.
    ///
    /// # Errors
    /// [`Error::BadInput`] for a text too short for one window, with how many characters there are, how many are needed and what would
    /// fit. [`Error::Usage`] for a batch or a window of 0.
    pub fn new(what: impl ToString, text: &str, batch: usize, window: usize, validation: f64) -> Result<Text> {
        Text::divided(what, text, Vocabulary::from_text(text), [batch, window], ([validation, 0.0], Part::Validation))
    }

    /// As [`Text::new`], with a given vocabulary, which may have more tokens than the text, and with two shares at the end, for validation and
    /// for a test; `part` says which is measured.
    fn divided(
        what: impl ToString,
        content: impl AsRef<[u8]>,
        vocabulary: Vocabulary,
        [batch, window]: [usize; 2],
        ([validation, test], part): ([f64; 2], Part),
    ) -> Result<Text> {
        let tokens = vocabulary.encode(what.to_string(), content)?;
        Options { seed: 0, batch, window }.check(Some(window))?;
        let total = tokens.len();
        // A little more, so that a product that should be whole is.
        let without = |share: f64| ((1.0 - share) * total as f64 + 1e-6) as usize;
        let (train, validated) = (without(validation + test), without(test));
        let length = train.saturating_sub(1) / batch;
        if length < window {
            return Err(Error::input(what, too_short(&vocabulary, [total, train], batch, window)));
        }
        let training = Streams { start: 0, count: batch, length, windows: (length / window) as u64 };
        let held_out = match part {
            Part::Validation => Streams::held_out(train, validated - train, batch, window),
            Part::Test => Streams::held_out(validated, total - validated, batch, window),
        };
        Ok(Text { vocabulary, tokens, batch, window, training, held_out })
    }

    /// A text to evaluate a network on that was trained with `vocabulary`: all of it is held out, and the training batches are the same.
    ///
    /// # Errors
    /// [`Error::BadInput`] for a token that is not in the vocabulary and for a text without one to predict.
    /// [`Error::Usage`] for a batch or a window of 0.
    pub fn with_vocabulary(
        what: impl ToString,
        content: impl AsRef<[u8]>,
        vocabulary: Vocabulary,
        batch: usize,
        window: usize,
    ) -> Result<Text> {
        let tokens = vocabulary.encode(what.to_string(), content)?;
        Options { seed: 0, batch, window }.check(Some(window))?;
        if tokens.len() < 2 {
            return Err(Error::input(
                what,
                format!("{}; expected at least 2, to predict the second", holds(&vocabulary, tokens.len())),
            ));
        }
        let held_out = Streams::held_out(0, tokens.len(), batch, window);
        Ok(Text { vocabulary, tokens, batch, window, training: held_out.clone(), held_out })
    }

    /// The tokens that there are, by id.
    #[must_use]
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// What to tell of the tokens that are `<unk>`, if some are.
    #[must_use]
    pub fn note_unknown(&self, what: impl std::fmt::Display) -> Option<String> {
        note_unknown(what, &self.vocabulary, &self.tokens)
    }

    /// Window `k` of `streams`; what lies beyond them is token 0 and masked.
    fn read(&self, streams: &Streams, k: u64) -> Batch {
        let first = k as usize * self.window;
        let there = |t: usize, b: usize| b < streams.count && first + t < streams.length;
        let token = |t: usize, b: usize, ahead: usize| match there(t, b) {
            true => self.tokens[streams.start + b * streams.length + first + t + ahead],
            false => 0,
        };
        let shape = (self.window, self.batch);
        let inputs = Array2::from_shape_fn(shape, |(t, b)| token(t, b, 0));
        let classes = Array2::from_shape_fn(shape, |(t, b)| token(t, b, 1));
        let full = there(self.window - 1, self.batch - 1);
        let mask = (!full).then(|| Array2::from_shape_fn(shape, |(t, b)| if there(t, b) { 1.0 } else { 0.0 }));
        let initial_state = if k == 0 { InitialState::Zero } else { InitialState::Carried };
        Batch { mask, initial_state, ..Batch::new(Inputs::Tokens(inputs), Targets::Classes(classes)) }
    }
}

fn holds(vocabulary: &Vocabulary, tokens: usize) -> String {
    match (tokens, vocabulary.tokens().noun()) {
        (0, _) => "is empty".into(),
        (1, noun) => format!("has 1 {noun}"),
        (n, noun) => format!("has {n} {noun}s"),
    }
}

fn too_short(vocabulary: &Vocabulary, [total, train]: [usize; 2], batch: usize, window: usize) -> String {
    let needed = batch as u128 * window as u128 + 1;
    let there = holds(vocabulary, total);
    let problem = format!("{there}; {train} train, and batch {batch} with window {window} needs {needed} (batch·window + 1)");
    let predicted = train.saturating_sub(1);
    let fits = match (predicted / batch, predicted / window) {
        (0, 0) if predicted == 0 => "nothing fits so few".into(),
        (0, 0) => format!("batch 1 with window {predicted} would fit"),
        (0, largest) => format!("batch {largest} would fit"),
        (longest, 0) => format!("window {longest} would fit"),
        (longest, largest) => format!("window {longest} would fit, or batch {largest}"),
    };
    format!("{problem}; {fits}")
}

impl Source for Text {
    fn window(&self) -> (usize, usize) {
        (self.window, self.batch)
    }

    fn shape(&self) -> Shape {
        let size = self.vocabulary.size();
        Shape { input: Input::Tokens(size), targets: size, kind: TargetKind::Classes }
    }

    fn carries(&self) -> bool {
        true
    }

    fn batches_in_pass(&self) -> Option<u64> {
        Some(self.training.windows)
    }

    fn batch(&mut self, step: u64) -> Batch {
        self.read(&self.training, step % self.training.windows)
    }

    fn held_out_batches(&self) -> u64 {
        self.held_out.windows
    }

    fn held_out(&mut self, index: u64) -> Batch {
        self.read(&self.held_out, index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of a batch's characters, targets and mask, one string a sequence.
    fn rows(text: &Text, batch: &Batch) -> Vec<(String, String, String)> {
        let (Inputs::Tokens(x), Targets::Classes(y)) = (&batch.inputs, &batch.targets) else { panic!("{batch:?}") };
        let mask = |b: usize| batch.mask.as_ref().map_or(String::new(), |m| m.column(b).iter().map(|v| v.to_string()).collect());
        (0..x.ncols()).map(|b| (decoded(text, &x.column(b).to_vec()), decoded(text, &y.column(b).to_vec()), mask(b))).collect()
    }

    fn decoded(text: &Text, ids: &[u32]) -> String {
        String::from_utf8(text.vocabulary.decode(ids)).unwrap()
    }

    fn row(x: &str, y: &str, mask: &str) -> (String, String, String) {
        (x.into(), y.into(), mask.into())
    }

    #[test]
    fn streams_windows_and_passes_are_those_of_the_interface() {
        // N = ⌊0.9·28⌋ = 25 characters train: S = ⌊24/3⌋ = 8, two windows of 3 a pass. M = 3 are held out.
        let mut text = Text::new("t", "abcdefghijklmnopqrstuvwxyz!?", 3, 3, 0.1).unwrap();
        assert_eq!(text.shape(), Shape { input: Input::Tokens(28), targets: 28, kind: TargetKind::Classes });
        let first = [row("abc", "bcd", ""), row("ijk", "jkl", ""), row("qrs", "rst", "")];
        let second = [row("def", "efg", ""), row("lmn", "mno", ""), row("tuv", "uvw", "")];
        for (step, expected, state) in [
            (0, &first, InitialState::Zero),
            (1, &second, InitialState::Carried),
            (2, &first, InitialState::Zero),
            (7, &second, InitialState::Carried),
        ] {
            let batch = text.batch(step);
            assert_eq!((rows(&text, &batch), batch.initial_state), (expected.to_vec(), state), "step {step}");
        }
        // Two predictions for three streams: one stream has them.
        assert_eq!(text.held_out_batches(), 1);
        let batch = text.held_out(0);
        assert_eq!(rows(&text, &batch), [row("z!!", "!?!", "110"), row("!!!", "!!!", "000"), row("!!!", "!!!", "000")]);
        assert_eq!(batch.counted(), 2);
    }

    #[test]
    fn held_out_characters_all_count_and_the_last_window_is_masked() {
        // All 12 characters are held out: S = ⌊11/2⌋ = 5, windows of 2, 2 and 1; the twelfth character is one too many.
        let vocabulary = Vocabulary::from_text("abcdefghijklmnop");
        let mut text = Text::with_vocabulary("t", "abcdefghijkl", vocabulary, 2, 2).unwrap();
        let expected = [
            [row("ab", "bc", ""), row("fg", "gh", "")],
            [row("cd", "de", ""), row("hi", "ij", "")],
            [row("ea", "fa", "10"), row("ja", "ka", "10")],
        ];
        assert_eq!((text.held_out_batches(), text.shape().targets), (3, 16));
        for (k, expected) in expected.iter().enumerate() {
            let batch = text.held_out(k as u64);
            assert_eq!(rows(&text, &batch), expected);
            assert_eq!(batch.initial_state, if k == 0 { InitialState::Zero } else { InitialState::Carried });
            assert_eq!(text.batch(k as u64 + 3), batch);
        }
        for (characters, batch, window, counted) in
            [(2, 1, 1, 1), (2, 5, 3, 1), (5, 4, 9, 4), (6, 5, 1, 5), (100, 7, 4, 98), (100, 99, 64, 99)]
        {
            let mut text = Text::with_vocabulary("t", "a".repeat(characters), Vocabulary::from_text("a"), batch, window).unwrap();
            let sum: usize = (0..text.held_out_batches()).map(|k| text.held_out(k).counted()).sum();
            assert_eq!(sum, counted, "{characters} characters in {batch} streams");
        }
    }

    #[test]
    fn texts_that_are_too_short_say_what_would_fit() {
        for (length, batch, window, expected) in [
            (0, 1, 1, "is empty; 0 train, and batch 1 with window 1 needs 2 (batch·window + 1); nothing fits so few"),
            (1, 1, 1, "has 1 character; 0 train, and batch 1 with window 1 needs 2 (batch·window + 1); nothing fits so few"),
            (
                100,
                32,
                64,
                "has 100 characters; 90 train, and batch 32 with window 64 needs 2049 (batch·window + 1); window 2 would fit, or batch 1",
            ),
            (
                10,
                32,
                64,
                "has 10 characters; 9 train, and batch 32 with window 64 needs 2049 (batch·window + 1); batch 1 with window 8 would fit",
            ),
            (
                100,
                99,
                2,
                "has 100 characters; 90 train, and batch 99 with window 2 needs 199 (batch·window + 1); batch 44 would fit",
            ),
            (
                100,
                2,
                99,
                "has 100 characters; 90 train, and batch 2 with window 99 needs 199 (batch·window + 1); window 44 would fit",
            ),
        ] {
            let error = Text::new("t.txt", &"x".repeat(length), batch, window, 0.1).unwrap_err();
            assert_eq!((error.to_string(), error.exit_code()), (format!("t.txt: {expected}"), 7));
        }
        // The number named is enough, and one less is not.
        for (batch, window) in [(1, 1), (32, 64), (7, 19)] {
            let needed = ((batch * window + 1) * 10_usize).div_ceil(9);
            assert!(Text::new("t", &"x".repeat(needed), batch, window, 0.1).is_ok());
            assert!(Text::new("t", &"x".repeat(needed - 1), batch, window, 0.1).is_err());
        }
        for (batch, window) in [(0, 1), (1, 0), (usize::MAX, usize::MAX), (1 << 20, 1 << 20)] {
            assert_eq!(Text::new("t", "abc", batch, window, 0.1).unwrap_err().exit_code(), 2);
        }
        for (share, training) in [(0.0, 1000), (0.1, 900), (0.25, 750), (0.3, 700), (0.8, 200), (0.999, 1)] {
            let text = Text::new("t", &"xy".repeat(500), 1, 1, share);
            match text {
                Ok(text) => assert_eq!((text.training.length, text.held_out.start), (training - 1, training)),
                Err(error) => assert!(training < 2 && error.exit_code() == 7),
            }
        }
        assert_eq!(Text::new("t", "abc", 1, 1, 0.1).unwrap().held_out_batches(), 0, "one character is left: nothing to predict");
        let error = Text::with_vocabulary("t", "a", Vocabulary::from_text("a"), 1, 1).unwrap_err();
        assert_eq!(error.to_string(), "t: has 1 character; expected at least 2, to predict the second");
    }

    #[test]
    fn files_that_are_no_text_are_bad_input() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.txt");
        for (bytes, at) in
            [(&b"abc\xffdef"[..], "byte 3 (counted from 0), 0xff,"), (b"caf\xc3", "byte 3 (counted from 0), 0xc3,")]
        {
            std::fs::write(&path, bytes).unwrap();
            let error = Text::load(&path, 1, 1, 0.1).unwrap_err();
            assert_eq!(error.exit_code(), 7);
            assert!(error.to_string().contains(at), "{error}");
        }
        std::fs::write(&path, "to be or not to be").unwrap();
        assert_eq!(*Text::load(&path, 2, 3, 0.1).unwrap().vocabulary(), Vocabulary::from_text(" benort"));
        assert_eq!(Text::load(folder.path().join("missing"), 1, 1, 0.1).unwrap_err().exit_code(), 7);
    }
}
