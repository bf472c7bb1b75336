//! `retrospect sample`: writes text, a character at a time.

use std::path::PathBuf;

use clap::Args;
use ndarray::Array2;
use retrospect::batch::{InitialState, Inputs, Sequences};
use retrospect::model::Config;
use retrospect::random::Random;
use retrospect::{Error, Result};

use super::compute::ComputeArgs;
use super::drawing::Drawing;
use super::evaluate::load;
use super::terminal::print_text;

/// Writes text from a trained run
#[derive(Args)]
pub struct Sample {
    /// The run's folder, or a checkpoint
    run: PathBuf,

    /// What the text begins with [default: a newline, or the first character of the vocabulary]
    #[arg(long, allow_hyphen_values = true)]
    prompt: Option<String>,

    /// Characters to write after the prompt, at most
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 500)]
    length: u64,

    /// Below 1 likelier characters are preferred still more; 0 always takes the likeliest
    #[arg(long, value_name = "X", allow_negative_numbers = true, default_value_t = 1.0, value_parser = super::options::not_negative)]
    temperature: f64,

    /// Draw from the N most probable characters only
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = super::options::size())]
    top_k: Option<usize>,

    /// Draw from the fewest most probable characters only that together have the probability X, in (0, 1]; after --temperature and --top-k
    #[arg(long, value_name = "X", allow_negative_numbers = true, default_value_t = 1.0, hide_default_value = true, value_parser = super::options::share)]
    top_p: f64,

    /// Stop where the text after the prompt ends with this, before --length
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    stop: Option<String>,

    /// What the random choices follow from
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 1)]
    seed: u64,

    #[command(flatten)]
    compute: ComputeArgs,
}

impl Sample {
    pub fn run(&self) -> Result<()> {
        let (checkpoint, _) = load(&self.run)?;
        let Some(vocabulary) = &checkpoint.origin.vocabulary else {
            let name = checkpoint.origin.settings.data.name();
            return Err(Error::Usage(format!("sample writes text, and this run was trained on {name}")));
        };
        let usual = if vocabulary.characters().contains(&'\n') { Some(&'\n') } else { vocabulary.characters().first() };
        let text = self.prompt.clone().unwrap_or_else(|| usual.into_iter().collect());
        let prompt = vocabulary.encode("--prompt", &text)?;
        let Some((first, rest)) = prompt.split_first() else {
            return Err(Error::Usage("the prompt is empty; it needs at least one character".into()));
        };
        let stop = self.stop.as_deref().map(|text| vocabulary.encode("--stop", text)).transpose()?;
        let config = Config { window: 1, batch: 1, ..checkpoint.origin.settings.network.clone() };
        let mut network = checkpoint.network(config, &self.compute.choose()?)?;

        print_text(&text)?;
        let drawing = Drawing { temperature: self.temperature, top_k: self.top_k, top_p: self.top_p };
        let mut random = Random::for_sampling(self.seed);
        let mut token = *first;
        let mut state = InitialState::Zero;
        let mut rest = rest.iter();
        let mut drawn = Vec::new();
        loop {
            let one = |id| Array2::from_elem((1, 1), id);
            let sequences = Sequences { initial_state: state, ..Sequences::new(Inputs::Tokens(one(token))) };
            let logits = network.predict(&sequences)?.outputs;
            if logits.iter().any(|v| !v.is_finite()) {
                return Err(Error::NotFinite { tensor: "an output".into() });
            }
            state = InitialState::Carried;
            token = match rest.next() {
                Some(&next) => next,
                None if drawn.len() as u64 == self.length => return print_text("\n"),
                None => {
                    let next = drawing.draw(logits.as_slice().unwrap_or_default(), random.uniform());
                    print_text(&vocabulary.decode(&[next]))?;
                    drawn.push(next);
                    if stop.as_ref().is_some_and(|stop| drawn.ends_with(stop)) {
                        return print_text("\n");
                    }
                    next
                }
            };
        }
    }
}
