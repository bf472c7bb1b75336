//! `retrospect study gradients`.

use std::path::{Path, PathBuf};

use clap::Args;
use retrospect::cells::Cell;
use retrospect::data::Part;
use retrospect::flow::Trend;
use retrospect::model::RecurrentInit;
use retrospect::study::{self, Setup};
use retrospect::{Activation, Error, Result};

use super::{Output, moderate};
use crate::commands::cell;
use crate::commands::compute::ComputeArgs;
use crate::commands::options::{activation, size};
use crate::commands::plot;
use crate::commands::sketch;
use crate::commands::terminal::{rounded, table_with, wrapped};
use crate::commands::trained::WhichArgs;

/// The norm of ∂L/∂h_t at every time step of a network, and of an LSTM's ∂L/∂c_t, for a loss at the last step alone
#[derive(Args)]
pub struct Gradients {
    /// The network and the data of a run, in place of untrained networks
    #[arg(long, value_name = "RUN", conflicts_with_all = ["cell", "leak", "forget_bias", "hidden", "input", "window", "batch", "seeds", "activation", "gain", "recurrent_init"])]
    run: Option<PathBuf>,

    /// Cells; those that have an activation with each of --activation
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "elman", value_parser = cell::named)]
    cell: Vec<&'static Cell>,

    /// α of a leaky network, in (0, 1] [default: 0.2]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = cell::leak)]
    leak: Option<f64>,

    /// Added to the bias of an LSTM's forget gate [default: 0]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = cell::finite)]
    forget_bias: Option<f32>,

    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = activation, help = format!("Activations of {} [default: all]", Activation::names()))]
    activation: Vec<Activation>,

    /// Largest singular values that the recurrent weight is scaled to, or the block of each gate
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "0.5,1,1.5", allow_negative_numbers = true, value_parser = moderate)]
    gain: Vec<f64>,

    /// Units
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = size())]
    hidden: usize,

    /// The size of an input vector
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = size())]
    input: usize,

    /// Time steps
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = size())]
    window: usize,

    /// Sequences
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = size())]
    batch: usize,

    /// Networks with weights of their own
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = size())]
    seeds: usize,

    /// What the recurrent weight is made from
    #[arg(long, value_name = "NAME", default_value = "orthogonal")]
    recurrent_init: RecurrentInit,

    #[command(flatten)]
    which: WhichArgs,

    #[command(flatten)]
    output: Output,

    #[command(flatten)]
    compute: ComputeArgs,
}

impl Gradients {
    pub fn run(&self) -> Result<()> {
        let all = match &self.run {
            Some(run) => self.of_run(run)?,
            None if self.which.is_given() => return Err(Error::Usage("--checkpoint is for --run".into())),
            None => self.untrained()?,
        };
        let rows = all.iter().flat_map(|gradients| {
            let flow = &gradients.flow;
            let phi = gradients.activation.map_or("", Activation::name);
            let head = format!("{},{},{phi},{},{:.6}", gradients.cell, gradients.state, gradients.layer, gradients.gain);
            flow.norms.iter().enumerate().map(move |(back, norm)| {
                let saturated = flow.saturated.get(back).map_or(String::new(), f64::to_string);
                let is_known = flow.out_of_range.is_none_or(|end| back < end);
                format!("{head},{back},{:e},{:e},{:e},{},{is_known},{saturated}", norm.mean, norm.low, norm.high, norm.zero)
            })
        });
        let heading =
            "cell,state,activation,layer,gain,steps_back,norm_mean,norm_low,norm_high,zero_share,within_f32,saturated_share";
        let csv = self.output.csv(heading, rows);
        let plot = self.output.plot(|path| {
            // A cell for each gain with all activations, or for each layer.
            let of_a_layer = all.iter().take_while(|gradients| gradients.layer == all[0].layer).count();
            let in_a_cell = if self.run.is_some() { of_a_layer } else { all.len() / self.gain.len().max(1) };
            let named = |first: &study::Gradients| {
                let layer = if self.run.is_some() { format!("layer {}, ", first.layer) } else { String::new() };
                format!("{layer}‖W‖ = {}", short(first.gain))
            };
            let cells = all.chunks(in_a_cell).map(|cell| (named(&cell[0]), cell)).collect::<Vec<_>>();
            plot::gradients(path, &cells)
        });
        self.output.print(&all, || self.show(&all), [csv, plot])
    }

    fn untrained(&self) -> Result<Vec<study::Gradients>> {
        let compute = self.compute.choose()?;
        let setup = |cell| Setup {
            cell,
            leak: self.leak.filter(|_| cell.has_leak).map(|leak| leak as f32),
            forget_bias: self.forget_bias.filter(|_| cell.forget_gate.is_some()).unwrap_or_default(),
            hidden: self.hidden,
            input: self.input,
            window: self.window,
            batch: self.batch,
            seeds: self.seeds as u64,
            init: self.recurrent_init,
        };
        let activations = if self.activation.is_empty() { Activation::ALL.to_vec() } else { self.activation.clone() };
        self.check_cells()?;
        let mut all = Vec::new();
        for &gain in &self.gain {
            for &cell in &self.cell {
                let activations = if cell.has_activation { &activations[..] } else { &[Activation::Tanh] };
                for &activation in activations {
                    all.extend(study::gradients(&compute, &setup(cell), activation, gain)?);
                }
            }
        }
        Ok(all)
    }

    /// Checks that what only some cells have is asked of one that has it.
    fn check_cells(&self) -> Result<()> {
        type Flag = (&'static str, bool, fn(&Cell) -> bool);
        let flags: [Flag; 3] = [
            ("activation", !self.activation.is_empty(), |cell| cell.has_activation),
            ("leak", self.leak.is_some(), |cell| cell.has_leak),
            ("forget-bias", self.forget_bias.is_some(), |cell| cell.forget_gate.is_some()),
        ];
        match flags.iter().find(|(_, is_given, has)| *is_given && !self.cell.iter().any(|cell| has(cell))) {
            Some((flag, _, has)) => Err(Error::Usage(format!("--{flag} is for {}", Cell::names_with(*has)))),
            None => Ok(()),
        }
    }

    /// The layers of the network of a run, on its first held-out batch, or else its first batch.
    fn of_run(&self, run: &Path) -> Result<Vec<study::Gradients>> {
        let (checkpoint, _) = self.which.load(run)?;
        let compute = self.compute.choose()?;
        let mut source = checkpoint.origin.open(Part::Validation)?.source;
        // Windows without a target are read for the state alone.
        let measured = (0..source.held_out_batches()).map(|index| source.held_out(index)).find(|batch| batch.counted() > 0);
        let batch = measured.unwrap_or_else(|| source.batch(0));
        study::gradients_of(&compute, &checkpoint.origin.settings.network, &checkpoint.parameters()?, &batch)
    }

    fn show(&self, all: &[study::Gradients]) -> String {
        let heading = [
            "network",
            "layer",
            "‖W‖",
            "least",
            "a step",
            "at most",
            "÷ 1000 after",
            "× 1000 after",
            "saturated",
            "dead",
            "",
            "f32 ran out after",
            "imprecise after",
        ];
        let mut rows = vec![heading.map(String::from).to_vec()];
        for gradients in all {
            let flow = &gradients.flow;
            let steps = |steps: Option<usize>| steps.map_or(String::new(), |n| n.to_string());
            let share = |x: Option<f64>| x.map_or(String::new(), |x| format!("{:.1} %", x * 100.0));
            let saturated = flow.mean_saturated();
            rows.push(vec![
                plot::network_name(gradients),
                gradients.layer.to_string(),
                short(gradients.gain),
                short(gradients.smallest),
                flow.rate.map_or(String::new(), |rate| format!("× {rate:.4}")),
                gradients.bound.map_or(String::new(), |bound| format!("× {}", short(bound))),
                steps(flow.vanished_after),
                steps(flow.exploded_after),
                share(saturated),
                share(saturated.map(|_| flow.dead)),
                flow.trend.map_or("not known", Trend::name).into(),
                steps(flow.out_of_range),
                steps(flow.imprecise_after),
            ]);
        }
        // What has nothing to say is left out.
        let is_told = |column: usize| match heading[column] {
            "layer" => self.run.is_some(),
            "at most" | "saturated" | "dead" | "f32 ran out after" | "imprecise after" => {
                rows[1..].iter().any(|row| !row[column].is_empty())
            }
            _ => true,
        };
        let told: Vec<usize> = (0..heading.len()).filter(|column| is_told(*column)).collect();
        let rows: Vec<Vec<String>> = rows.iter().map(|row| told.iter().map(|column| row[*column].clone()).collect()).collect();
        // The network, its layer where that is told, and the size of its weight say what a row is.
        let names = 2 + usize::from(self.run.is_some());
        let table = table_with(&rows, names);
        let mut text = String::from(
            "\n‖W‖ and least: the largest and smallest singular value of the recurrent weight, or the means of its gates' blocks.\n\
                 a step: the factor by which the norm of the gradient changes with each time step back, fitted.\n",
        );
        if all.iter().any(|gradients| gradients.bound.is_some()) {
            text += "at most: γ·‖W‖, and of a leaky network 1 − α + α·γ·‖W‖.\n";
        }
        if all.iter().any(|gradients| !gradients.flow.saturated.is_empty()) {
            text += "saturated: units with a derivative below 0.01; dead: those that are so at every step of every sequence.\n";
        }
        if all.iter().any(|gradients| gradients.flow.imprecise_after.is_some()) {
            text += "imprecise: by more than 1e-4, by an estimate; f32 leaves few places to the derivatives of saturated units, and where \
                     gradients explode, so do the roundings of the states.\n";
        }
        text += "\n";
        let name = |gradients: &study::Gradients| {
            let layer = if self.run.is_some() { format!(", layer {}", gradients.layer) } else { String::new() };
            format!("{}{layer}, ‖W‖ = {}", plot::network_name(gradients), short(gradients.gain))
        };
        if sketch::is_wanted() {
            let names: Vec<String> = all.iter().map(name).collect();
            let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
            text += "From the last step (left) back to the first; a bar is a factor of a thousand, a dot beyond f32:\n";
            for (gradients, name) in all.iter().zip(names) {
                text += &format!("{name:width$}  {}\n", sketch(gradients, 21.0));
            }
            text += "\n";
        }
        for gradients in all {
            let is_top = all.iter().all(|other| other.layer <= gradients.layer);
            text += &format!("{}: {}\n", name(gradients), verdict(gradients, is_top));
        }
        table + &wrapped(&text)
    }
}

/// A size with four digits.
fn short(x: f64) -> String {
    rounded(x, 4, 1e-3..1e4)
}

/// The logarithms of the norms as a line of bars, the last step's on the left; the highest and the lowest bar are `decades` apart.
fn sketch(gradients: &study::Gradients, decades: f64) -> String {
    let known = gradients.flow.known();
    let highest = known.iter().map(|n| n.mean).fold(0.0, f64::max);
    let height = |back: usize| known.get(back).map(|n| 1.0 + (n.mean / highest).log10().max(-decades) / decades);
    sketch::bars(&(0..gradients.flow.norms.len()).map(height).collect::<Vec<_>>())
}

/// What a flow means, and what to change; `is_top`: no layer is above.
fn verdict(gradients: &study::Gradients, is_top: bool) -> String {
    let flow = &gradients.flow;
    let Some(trend) = flow.trend else {
        return match flow.out_of_range {
            Some(_) => "not known: f32 ran out before the first step back.".into(),
            None => "not known: there is no gradient, or a single step of it.".into(),
        };
    };
    let is_orthogonal = gradients.smallest > 0.9 * gradients.gain;
    // An orthogonal weight scaled by 1 over the rate would keep the gradient of the top layer but for what else that changes.
    let is_elman = gradients.cell == Cell::usual();
    let near = flow.rate.filter(|_| is_elman && is_top && is_orthogonal).map(|rate| gradients.gain / rate);
    let known = flow.known();
    let a_step = || flow.rate.map_or("f32 ran out".into(), |rate| format!("× {rate:.4} a step"));
    let steps = |n: usize| if n == 1 { "a step".into() } else { format!("{n} steps") };
    match trend {
        Trend::Vanishing => {
            let what = match flow.vanished_after {
                Some(n) if known[n].zero > 0.5 => {
                    format!("nothing is left of most sequences after {}, and what is further back is not learnt", steps(n))
                }
                Some(n) => format!("a thousandth is left after {}, and what is further back is not learnt", steps(n)),
                None => a_step(),
            };
            let identity = "ReLU with an identity weight";
            let orthogonal = "an orthogonal recurrent weight";
            let change = match gradients.activation {
                None if gradients.cell.forget_gate.is_some() => "a larger --forget-bias, which keeps more of c".into(),
                None if is_orthogonal => "a larger recurrent weight".into(),
                None => orthogonal.into(),
                Some(_) if !is_elman => "a smaller --leak, which keeps more of h, or a larger recurrent weight".into(),
                Some(phi) if phi.steepest() * gradients.gain < 1.0 && phi.steepest() < 1.0 => {
                    let (most, least) = (phi.steepest(), short(1.0 / phi.steepest()));
                    format!("tanh, or {identity}: φ′ is at most {most}, so that ‖W‖ would have to be above {least}")
                }
                Some(phi) if phi.steepest() < 1.0 => {
                    format!("tanh, or {identity}: φ′ is at most {}, and less where units are saturated", phi.steepest())
                }
                Some(phi) if phi.has_dead_side() && flow.dead > 0.2 => {
                    format!("a smaller rate or smaller weights: {:.0} % of the units are dead", flow.dead * 100.0)
                }
                Some(phi) if !phi.is_straight() && flow.mean_saturated().is_some_and(|share| share > 0.05) => {
                    "smaller weights and inputs, for fewer saturated units".into()
                }
                _ if gradients.smallest < 0.5 * gradients.gain => {
                    let (gain, smallest) = (short(gradients.gain), short(gradients.smallest));
                    format!("{orthogonal}: the singular values of this one fall from {gain} to {smallest}")
                }
                Some(activation) => match near.filter(|near| *near > 1.01 * gradients.gain && *near < 1.6) {
                    // With larger weights more of its units are saturated.
                    Some(near) if !activation.is_straight() => {
                        format!("a larger recurrent weight, with ‖W‖ of {near:.2} or more")
                    }
                    Some(near) => format!("a larger recurrent weight, with ‖W‖ near {near:.2}"),
                    None if activation.has_dead_side() => "an identity weight".into(),
                    None => format!("{orthogonal} that is larger, or {identity}"),
                },
            };
            format!("vanishing: {what}. To change: {change}.")
        }
        Trend::Stable => format!("stable: what is {} back still counts.", steps(known.len() - 1)),
        Trend::Exploding => {
            let what = match flow.exploded_after {
                Some(n) => format!("a thousand times as large after {}", steps(n)),
                None => a_step(),
            };
            let above = if is_top { "" } else { ", also by what arrives from the layer above" };
            let smaller = near.map_or(String::new(), |near| format!(" with ‖W‖ near {near:.2}"));
            let bias = if gradients.cell.forget_gate.is_some() { " or --forget-bias" } else { "" };
            format!("exploding: {what}{above}. To change: --clip, or a smaller recurrent weight{smaller}{bias}.")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use retrospect::backend::Compute;

    #[test]
    fn a_sketch_falls_and_ends_where_f32_does() {
        let (cell, leak, forget_bias, init) = (Cell::usual(), None, 0.0, RecurrentInit::Orthogonal);
        let setup = Setup { cell, leak, forget_bias, hidden: 8, input: 2, window: 120, batch: 1, seeds: 1, init };
        let of = |activation, gain| {
            sketch(&study::gradients(&Compute::Cpu(Some(1)), &setup, activation, gain).expect("it runs")[0], 21.0)
        };
        assert_eq!(of(Activation::Identity, 1.0), "█".repeat(40));
        let sigmoid: Vec<char> = of(Activation::Sigmoid, 1.0).chars().collect();
        assert!(sigmoid[0] == '█' && sigmoid[39] == '·' && sigmoid.len() == 40, "{sigmoid:?}");
        assert!(sigmoid.windows(2).all(|pair| pair[0] >= pair[1] || pair[1] == '·'), "{sigmoid:?}");
    }
}
