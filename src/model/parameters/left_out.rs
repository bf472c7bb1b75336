//! The tensors of a file that a network does not read. Those of something else are listed; those that belong to another network are refused.

use std::collections::BTreeSet;

use super::file::expect_directions;
use super::{MASK, REVERSE, Role, table};
use crate::Result;
use crate::model::Config;
use crate::tensors::TensorFile;

/// The names of a file's tensors that a network does not read, in order, but for what a checkpoint keeps beside its weights (`optimizer.…`,
/// `state.…`).
///
/// # Errors
/// [`crate::Error::BadInput`] for a tensor that is one of a network by its name (`rnn.…`, `decoder.…`, `encoder.…`), but of another one: of a
/// direction or a layer that this one does not have, an embedding, a leak of a cell that has none; for a second bias or a leak that other
/// layers have and one has not; and for weights of one direction where the network has two.
pub fn left_out<'a>(config: &Config, file: &'a TensorFile) -> Result<Vec<&'a str>> {
    expect_directions(config, "", file)?;
    expect_in_all_layers(config, file)?;
    let read: BTreeSet<String> = table(config).iter().flat_map(|p| [Some(p.name.clone()), p.second_bias()]).flatten().collect();
    let is_beside = |name: &str| name.starts_with("optimizer.") || name.starts_with("state.");
    let others: Vec<&str> = file.all_names().filter(|name| !read.contains(*name) && !is_beside(name)).collect();
    match others.iter().find_map(|name| Some((name, reason(config, file, name)?))) {
        Some((name, reason)) => Err(file.bad(name, reason)),
        None => Ok(others),
    }
}

/// Checks that what a layer may lack, all layers and directions lack or none does.
fn expect_in_all_layers(config: &Config, file: &TensorFile) -> Result<()> {
    let table = table(config);
    let second_biases: Vec<String> = table.iter().filter_map(|parameter| parameter.second_bias()).collect();
    // A leak that is asked for is that of all units, whatever the file has.
    let has_leaks = |role: Role| role == Role::Leak && config.leak.is_none();
    let leaks: Vec<String> = table.iter().filter(|p| has_leaks(p.role)).map(|p| p.name.clone()).collect();
    let masks: Vec<String> = table.iter().filter(|p| p.role == Role::Mask).map(|p| p.name.clone()).collect();
    for names in [second_biases, leaks, masks] {
        let (there, missing): (Vec<&String>, Vec<&String>) = names.iter().partition(|name| file.contains(name));
        if let (Some(there), Some(missing)) = (there.first(), missing.first()) {
            return Err(file.bad(missing, format!("it is missing, and {there} is there")));
        }
    }
    Ok(())
}

/// Why a network does not have a tensor; `None` for a name that is none of a network's.
fn reason(config: &Config, file: &TensorFile, name: &str) -> Option<String> {
    if name.starts_with("encoder.") {
        let problem = match config.embedding {
            None => "it is of an embedding, which this network does not have",
            Some(_) => "this network has none; of its embedding there is encoder.weight",
        };
        return Some(problem.into());
    }
    if name.starts_with("decoder.") {
        return Some("this network has none; of its decoder there are decoder.weight and decoder.bias".into());
    }
    let (kind, place) = name.strip_prefix("rnn.")?.rsplit_once("_l").unwrap_or_default();
    let (layer, is_reverse) = place.strip_suffix(REVERSE).map_or((place, false), |layer| (layer, true));
    let Ok(layer) = layer.parse::<usize>() else { return Some("this network has no such tensor".into()) };
    let recurrent = |layer: usize| format!("rnn.weight_hh_l{layer}{}", if is_reverse { REVERSE } else { "" });
    let missing = (0..=layer).map(recurrent).find(|name| !file.contains(name));
    Some(match missing {
        _ if kind == "weight_hr" => "it is of a projection (PyTorch's proj_size), which this network does not have".into(),
        Some(missing) => format!("it is of a layer that is not whole: {missing} is missing"),
        None if layer >= config.layers => format!("it is of layer {layer}, counted from 0; the network has {}", config.layers),
        None if kind == MASK => "it is a mask of connections, and this network has none".into(),
        None if kind == "leak" => format!("it is of a leaky network; the cell is {}", config.cell),
        None => "this network has no such tensor".into(),
    })
}

#[cfg(test)]
mod tests {
    use ndarray::{ArrayD, IxDyn};

    use super::*;
    use crate::batch::{Input, Loss};
    use crate::cells::Cell;
    use crate::tensors::Tensors;

    fn network(cell: &str, bidirectional: bool) -> Config {
        let cell = Cell::named(cell).unwrap();
        Config { layers: 2, cell, bidirectional, ..Config::new(Input::Vectors(3), 4, 2, Loss::SquaredError, 1, 5) }
    }

    /// What is left out of a network's tensors after one of them was taken out, "-name", or others were added, "+name,name".
    fn after(config: &Config, change: &str) -> Result<Vec<String>> {
        let mut names: Vec<String> =
            table(config).iter().flat_map(|p| [Some(p.name.clone()), p.second_bias()]).flatten().collect();
        match change.split_at(change.len().min(1)) {
            ("+", more) => names.extend(more.split(',').map(String::from)),
            (_, gone) => names.retain(|name| name != gone),
        }
        let mut tensors = Tensors::new();
        names.iter().for_each(|name| tensors.insert(name, ArrayD::<f32>::zeros(IxDyn(&[1, 1]))));
        let folder = tempfile::tempdir().unwrap();
        tensors.write(folder.path().join("w")).unwrap();
        let file = TensorFile::open(folder.path().join("w")).unwrap();
        Ok(left_out(config, &file)?.into_iter().map(String::from).collect())
    }

    #[test]
    fn all_that_a_network_reads_is_known() {
        for cell in ["elman", "leaky", "gru", "lstm"] {
            for both in [false, true] {
                assert_eq!(after(&network(cell, both), "").unwrap(), [""; 0], "{cell}");
            }
        }
        let more = "+optimizer.m.decoder.bias,state.h0,tokens,attention.weight";
        assert_eq!(after(&network("gru", true), more).unwrap(), ["attention.weight", "tokens"]);
    }

    #[test]
    fn tensors_of_another_network_are_refused() {
        for (cell, both, change, expected) in [
            ("gru", false, "+encoder.weight", "encoder.weight: it is of an embedding"),
            ("gru", false, "+decoder.0.weight", "decoder.0.weight: this network has none"),
            ("gru", false, "+rnn.weight_hh_l0_reverse", "l0_reverse: these weights are bidirectional"),
            ("gru", false, "+rnn.bias_ih_l1_reverse", "rnn.weight_hh_l0_reverse is missing"),
            ("lstm", false, "+rnn.weight_ih_l3", "rnn.weight_ih_l3: it is of a layer that is not whole"),
            ("lstm", false, "+rnn.bias_hh_l2", "rnn.weight_hh_l2 is missing"),
            ("lstm", false, "+rnn.weight_hh_l2", "it is of layer 2, counted from 0; the network has 2"),
            ("lstm", false, "+rnn.weight_hr_l0", "rnn.weight_hr_l0: it is of a projection"),
            ("lstm", false, "+rnn.weight_ih_l", "rnn.weight_ih_l: this network has no such tensor"),
            ("lstm", false, "+rnn.weight", "rnn.weight: this network has no such tensor"),
            ("elman", false, "+rnn.leak_l1", "rnn.leak_l1: it is of a leaky network; the cell is elman"),
            ("elman", false, "-rnn.bias_hh_l0", "rnn.bias_hh_l0: it is missing, and rnn.bias_hh_l1 is there"),
            ("gru", true, "-rnn.bias_hh_l1_reverse", "rnn.bias_hh_l1_reverse: it is missing"),
            ("leaky", false, "-rnn.leak_l1", "rnn.leak_l1: it is missing, and rnn.leak_l0 is there"),
            ("lstm", true, "-rnn.weight_hh_l0_reverse", "these weights are of one direction"),
        ] {
            let error = after(&network(cell, both), change).unwrap_err();
            assert!(error.exit_code() == 7 && error.to_string().contains(expected), "{expected}: {error}");
        }
        let asked = Config { leak: Some(0.5), ..network("leaky", false) };
        assert!(after(&asked, "-rnn.leak_l1").is_ok(), "the leak that is asked for is that of all layers");
    }
}
