//! `retrospect sample`: writes text, a character at a time.

use std::path::PathBuf;

use clap::Args;
use ndarray::Array2;
use retrospect::batch::{InitialState, Inputs, Sequences};
use retrospect::model::Config;
use retrospect::random::Random;
use retrospect::{Error, Result};

use super::compute::ComputeArgs;
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

    /// Characters to write after the prompt
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 500)]
    length: u64,

    /// Below 1 likelier characters are preferred still more; 0 always takes the likeliest
    #[arg(long, value_name = "X", allow_negative_numbers = true, default_value_t = 1.0, value_parser = super::options::not_negative)]
    temperature: f64,

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
        let config = Config { window: 1, batch: 1, ..checkpoint.origin.settings.network.clone() };
        let mut network = checkpoint.network(config, &self.compute.choose()?)?;

        print_text(&text)?;
        let mut random = Random::for_sampling(self.seed);
        let mut token = *first;
        let mut state = InitialState::Zero;
        let mut rest = rest.iter();
        let mut left = self.length;
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
                None if left == 0 => return print_text("\n"),
                None => {
                    left -= 1;
                    let next = draw(logits.as_slice().unwrap_or_default(), self.temperature, random.uniform());
                    print_text(&vocabulary.decode(&[next]))?;
                    next
                }
            };
        }
    }
}

/// The class of the largest number.
pub fn likeliest<T: PartialOrd>(numbers: &[T]) -> usize {
    (1..numbers.len()).fold(0, |best, k| if numbers[k] > numbers[best] { k } else { best })
}

/// The class k that softmax(logits / temperature) gives to `uniform` in [0, 1): the first whose cumulative probability
/// exceeds it.
pub fn draw(logits: &[f32], temperature: f64, uniform: f32) -> u32 {
    let best = likeliest(logits);
    if temperature == 0.0 {
        return best as u32;
    }
    let weights: Vec<f64> = logits.iter().map(|&l| (f64::from(l - logits[best]) / temperature).exp()).collect();
    let wanted = f64::from(uniform) * weights.iter().sum::<f64>();
    let mut sum = 0.0;
    let found = weights.iter().position(|w| {
        sum += w;
        sum > wanted
    });
    found.unwrap_or(best) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_the_softmax() {
        let logits = [0.0, 2.0_f32.ln(), -1000.0, 1.0_f32.ln()]; // ¼, ½, 0, ¼
        for (uniform, expected) in [(0.0, 0), (0.2499, 0), (0.2501, 1), (0.7499, 1), (0.7501, 3), (0.999_999, 3)] {
            assert_eq!(draw(&logits, 1.0, uniform), expected, "{uniform}");
        }
        // At half the temperature the odds are squared: 1 : 4 : 1.
        assert_eq!([draw(&logits, 0.5, 0.16), draw(&logits, 0.5, 0.17)], [0, 1]);
        assert_eq!([0.0, 0.99].map(|u| draw(&logits, 0.0, u)), [1, 1]);
        assert_eq!(draw(&[3e38, -3e38], 1e-30, 0.5), 0);
    }
}
