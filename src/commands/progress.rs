//! How a run is going: a bar on a terminal; elsewhere a line now and then.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use retrospect::train::{ColumnError, Event, Metrics, Settings};

use super::terminal::{is_quiet, note, rounded, significant, thousands};

/// Where stderr is no terminal, a line at most this often.
const QUIET: Duration = Duration::from_secs(10);

/// The columns whose errors a line shows.
const MOST_COLUMNS: usize = 6;

pub struct Progress {
    bar: ProgressBar,
    steps: u64,
    said: Instant,
}

impl Progress {
    pub fn new(settings: &Settings) -> Progress {
        let target = if is_quiet() { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr_with_hz(10) };
        let bar = ProgressBar::with_draw_target(Some(settings.steps), target);
        let style = ProgressStyle::with_template("{bar:24} step {pos}/{len}{msg}, {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸ "));
        Progress { bar, steps: settings.steps, said: Instant::now() }
    }

    pub fn hear(&mut self, event: Event) {
        match event {
            Event::Step(step) => {
                // What was done before a run went on says nothing about the time that is left.
                if self.bar.position() == 0 && step > 1 {
                    self.bar.reset_eta();
                }
                self.bar.set_position(step);
            }
            Event::Logged(Metrics::Step { step, loss, tokens_per_s, .. }) => {
                let speed = thousands(*tokens_per_s as u64);
                self.bar.set_message(format!(", loss {}, {speed} tokens/s", significant((*loss).into())));
                if self.bar.is_hidden() && self.said.elapsed() > QUIET {
                    self.said = Instant::now();
                    note(format_args!("step {step} of {}: loss {}, {speed} tokens/s", self.steps, significant((*loss).into())));
                }
            }
            Event::Logged(Metrics::Evaluation { step, validation_loss, perplexity, accuracy, columns }) => {
                let mut found = vec![format!("validation loss {}", significant(*validation_loss))];
                found.extend(perplexity.map(|perplexity| format!("perplexity {}", significant(perplexity))));
                found.extend(accuracy.map(|share| format!("accuracy {}", significant(share))));
                let of_column = |column: &ColumnError| {
                    let error = column.root_mean_squared_error.map_or("beyond f64".into(), significant);
                    format!("RMSE of {} {error}", column.name)
                };
                found.extend(columns.iter().take(MOST_COLUMNS).map(of_column));
                self.bar.suspend(|| note(format_args!("step {step}: {}", found.join(", "))));
            }
            Event::RolledBack { from, to, lr } => {
                let said = format!(
                    "The run diverged at step {from}. It goes on from step {to} with a learning rate of {}.",
                    rounded(lr, 5, 1e-3..1e7)
                );
                self.bar.suspend(|| note(said));
            }
            Event::Exploded { step, loss, first, kept } => {
                let (loss, first) = (significant(loss.into()), significant(first.into()));
                let said = format!(
                    "The loss is {loss} at step {step}, and was {first} at first. The last checkpoint from before stays until the run ends well: {}",
                    kept.display()
                );
                self.bar.suspend(|| note(said));
            }
            Event::NotSaved(error) => {
                self.bar.suspend(|| note(format_args!("{error}; the checkpoint is written once more.")));
            }
            Event::Logged(Metrics::Trace { .. }) | Event::Evaluating(_) | Event::Saved(_) => {}
        }
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
