//! `retrospect sample`: writes text, a token at a time.

use std::path::PathBuf;

use clap::Args;
use retrospect::batch::{Input, Loss};
use retrospect::data::{Tokens, Vocabulary, note_unknown, read_text};
use retrospect::model::Config;
use retrospect::network::Network;
use retrospect::random::Random;
use retrospect::train::Checkpoint;
use retrospect::{Error, Result};

use super::bare::BareArgs;
use super::compute::ComputeArgs;
use super::drawing::Drawing;
use super::terminal::{note, print_content};
use super::trained::WhichArgs;

/// Writes text from a trained run, in the tokens that it was trained on
#[derive(Args)]
pub struct Sample {
    /// The run's folder, a checkpoint, or weights alone (PyTorch's names) with --vocabulary
    run: PathBuf,

    /// For weights without a run: a text whose characters, sorted by code point, are the tokens
    #[arg(long, value_name = "FILE")]
    vocabulary: Option<PathBuf>,

    /// What the text begins with. Words that the run does not know are <unk>, as in training; where it kept all words of its text, and for
    /// characters, they are an error [default: a newline, or the first token of the vocabulary]
    #[arg(long, allow_hyphen_values = true)]
    prompt: Option<String>,

    /// Tokens to write after the prompt, at most
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 500)]
    length: u64,

    /// Below 1 likelier tokens are preferred still more; 0 always takes the likeliest
    #[arg(long, value_name = "X", allow_negative_numbers = true, default_value_t = 1.0, value_parser = super::options::not_negative)]
    temperature: f64,

    /// Draw from the N most probable tokens only
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = super::options::size())]
    top_k: Option<usize>,

    /// Draw only from the smallest set of most probable tokens whose probabilities add up to at least X, in (0, 1] (nucleus sampling); after
    /// --temperature and --top-k
    #[arg(long, value_name = "X", allow_negative_numbers = true, default_value_t = 1.0, hide_default_value = true, value_parser = super::options::share)]
    top_p: f64,

    /// Stop where the text after the prompt ends with this, before --length
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    stop: Option<String>,

    /// Random seed
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 1)]
    seed: u64,

    #[command(flatten)]
    which: WhichArgs,

    #[command(flatten)]
    bare: BareArgs,

    #[command(flatten)]
    compute: ComputeArgs,
}

impl Sample {
    pub fn run(&self) -> Result<()> {
        let checkpoint = self.checkpoint()?;
        let Some(vocabulary) = &checkpoint.origin.vocabulary else {
            let name = checkpoint.origin.settings.data.name();
            return Err(Error::Usage(format!("sample writes text, and this run was trained on {name}")));
        };
        let (text, first, mut token) = self.prompt(vocabulary)?;
        let config = Config { window: 1, batch: 1, ..checkpoint.origin.settings.network.clone() };
        let mut network = checkpoint.network(config, &self.compute.choose()?)?;

        print_content(&text)?;
        let drawing = Drawing { temperature: self.temperature, top_k: self.top_k, top_p: self.top_p };
        let mut random = Random::for_sampling(self.seed);
        let mut logits = vec![0.0; vocabulary.size()];
        for id in first {
            next(&mut network, id, &mut logits)?;
        }
        let mut drawn = Vec::new();
        for _ in 0..self.length {
            next(&mut network, token, &mut logits)?;
            token = drawing.draw(&logits, random.uniform());
            let written = vocabulary.decode(&[token]);
            print_content(&written)?;
            if let Some(stop) = &self.stop {
                drawn.extend(written);
                if drawn.ends_with(stop.as_bytes()) {
                    break;
                }
            }
        }
        // Bytes are what they are.
        if vocabulary.tokens() == Tokens::Bytes { Ok(()) } else { print_content(b"\n") }
    }

    /// The run, or weights alone.
    fn checkpoint(&self) -> Result<Checkpoint> {
        let (run, bare) = (self.run.display(), self.bare.open(&self.run)?);
        if bare.is_some() {
            self.which.expect_none(&self.run)?;
        }
        match (bare, &self.vocabulary) {
            (None, None) => Ok(self.which.load(&self.run)?.0),
            (None, Some(_)) => Err(Error::Usage(format!("--vocabulary is for weights alone; {run} has its own"))),
            (Some(_), None) => {
                Err(Error::Usage(format!("{run} are weights alone: --vocabulary FILE names a text of their characters")))
            }
            (Some(file), Some(path)) => {
                let vocabulary = Vocabulary::from_text(&read_text(path)?);
                self.bare.checkpoint(&self.run, file, Input::Tokens, (Loss::CrossEntropy, Some(vocabulary)))
            }
        }
    }

    /// What the text begins with, its tokens but the last, and that.
    fn prompt(&self, vocabulary: &Vocabulary) -> Result<(Vec<u8>, Vec<u32>, u32)> {
        let newline = vocabulary.encode("newline", "\n").ok().filter(|ids| ids.first().copied() != vocabulary.unknown());
        let usual = || vocabulary.decode(&newline.unwrap_or_else(|| vec![0]));
        let text = self.prompt.as_ref().map_or_else(usual, |text| text.clone().into_bytes());
        let mut prompt = vocabulary.encode("--prompt", &text)?;
        note_unknown("--prompt", vocabulary, &prompt).iter().for_each(note);
        let Some(last) = prompt.pop() else {
            let noun = vocabulary.tokens().noun();
            return Err(Error::Usage(format!("the prompt is empty; it needs at least one {noun}")));
        };
        // A character that there is not would be waited for in vain.
        if let (Tokens::Chars, Some(stop)) = (vocabulary.tokens(), &self.stop) {
            vocabulary.encode("--stop", stop)?;
        }
        Ok((text, prompt, last))
    }
}

/// The logits of what follows a token.
fn next(network: &mut Network, token: u32, logits: &mut [f32]) -> Result<()> {
    network.step(&[token], logits)?;
    if logits.iter().any(|v| !v.is_finite()) {
        return Err(Error::NotFinite { tensor: "an output".into() });
    }
    Ok(())
}
