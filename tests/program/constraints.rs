//! Masks of connections, fixed signs and noise from the command line.

use std::fs;
use std::path::Path;

use ndarray::Array2;
use retrospect::tensors::{TensorFile, Tensors};

use super::{run, succeed};

const LINE: &str =
    "train --task adding --window 12 --cell leaky --batch 5 --lr 0.01 --state-noise 0.2 --activity-l2 0.1 --dale 0.75";

/// Masks of two layers of 24 units in which every third connection is missing.
fn write_masks(folder: &Path, value: f32) {
    let mut tensors = Tensors::new();
    for layer in 0..2 {
        let mask = Array2::from_shape_fn((24, 24), |(i, j)| if (i + 2 * j + layer) % 3 == 0 { 0.0 } else { value });
        tensors.insert(format!("rnn.mask_hh_l{layer}"), mask);
    }
    tensors.write(folder.join("mask.safetensors")).unwrap();
}

fn weight(run: &Path, layer: usize) -> Vec<f64> {
    TensorFile::open(run.join("checkpoint.safetensors"))
        .unwrap()
        .f64(&format!("rnn.weight_hh_l{layer}"))
        .unwrap()
        .into_iter()
        .collect()
}

/// Masks alone say the sizes; what is not connected stays 0, and no sign changes; a run that was stopped goes on to the same bits, and every
/// device adds the same noise.
#[test]
fn a_sparse_network_with_signs_is_trained_and_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write_masks(at, 1.0);
    for (steps, name) in [(40, "whole"), (20, "half")] {
        succeed(at, &format!("{LINE} --init mask.safetensors --steps {steps} --backend cpu --out {name}"));
    }
    succeed(at, "train --resume half --steps 40");
    succeed(at, &format!("{LINE} --init mask.safetensors --steps 40 --backend gpu --out gpu"));
    for layer in 0..2 {
        let [whole, resumed, gpu] = ["whole", "half", "gpu"].map(|name| weight(&at.join(name), layer));
        assert!(whole == resumed && whole.len() == 24 * 24);
        let off = whole.iter().zip(&gpu).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(off < 1e-4, "layer {layer} of the GPU is off by {off}");
        for (place, w) in whole.into_iter().enumerate() {
            let (i, j) = (place / 24, place % 24);
            let is_right = match (i + 2 * j + layer) % 3 {
                0 => w == 0.0,
                _ if j < 18 => w >= 0.0,
                _ => w <= 0.0,
            };
            assert!(is_right, "layer {layer} [{i}, {j}] is {w}");
        }
    }
    // The mask is part of the run: it goes on where its weights are a start.
    succeed(at, "train --init whole --task adding --window 12 --cell leaky --batch 5 --steps 3 --backend cpu --out next");
    assert!(
        weight(&at.join("next"), 1)
            .iter()
            .enumerate()
            .filter(|(place, _)| (place / 24 + 2 * (place % 24) + 1) % 3 == 0)
            .all(|(_, w)| *w == 0.0)
    );
    let config = fs::read_to_string(at.join("next/run.toml")).unwrap();
    assert!(config.contains("recurrent_mask = true"), "{config}");
}

#[test]
fn what_cannot_be_constrained_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write_masks(at, 0.5);
    fs::copy(at.join("mask.safetensors"), at.join("halves.safetensors")).unwrap();
    write_masks(at, 1.0);
    let more = {
        let mut tensors = Tensors::new();
        tensors.insert("rnn.mask_hh_l0", Array2::<f32>::ones((24, 24)));
        tensors.insert("decoder.bias", ndarray::arr1(&[1.0f32]));
        tensors
    };
    more.write(at.join("more.safetensors")).unwrap();
    let line = "train --task adding --window 5 --steps 1 --backend cpu";
    for (flags, code, expected) in [
        ("--cell gru --state-noise 0.1", 2, "noise on the state is for elman and leaky; gru has gates"),
        ("--cell lstm --dale 0.8", 2, "Dale's principle is for elman and leaky; lstm has gates"),
        ("--hidden 4 --dale 0.05", 2, "of 4 units a share of 0.05 is excitatory; there must be units of both kinds"),
        (
            "--dale 0.5 --recurrent-init identity",
            2,
            "with signs that are fixed (dale) the recurrent weights cannot start as the identity",
        ),
        ("--label-smoothing 0.1", 2, "label smoothing is for the cross-entropy of classes; the loss is squared error"),
        ("--label-smoothing 1", 2, "1 is not in [0, 1)"),
        ("--state-noise -1", 2, "-1"),
        ("--activity-l2 NaN", 2, "NaN is not a finite number"),
        ("--init halves.safetensors", 7, "rnn.mask_hh_l0: [0, 1] is 0.5; expected 0 where there is no connection, and else 1"),
        ("--init mask.safetensors --hidden 25", 7, "expected shape [25, 25], got [24, 24]"),
        ("--init mask.safetensors --layers 1", 7, "rnn.mask_hh_l1: it is no mask of this network"),
        ("--init mask.safetensors --bidirectional", 7, "rnn.mask_hh_l0_reverse"),
        (
            "--init more.safetensors",
            7,
            "decoder.bias: it is no mask of this network, and without weights there may be masks alone",
        ),
    ] {
        let (got, _, err) = run(at, &format!("{line} {flags}"));
        assert!(got == code && err.contains(expected), "{flags}: {got}, {err}");
    }
}

/// The gradient of a training step with noise, a penalty and a mask, in f64 and on devices.
#[test]
fn the_gradient_of_a_training_step_is_the_same_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write_masks(at, 1.0);
    succeed(at, &format!("{LINE} --init mask.safetensors --steps 2 --backend cpu --out start"));
    let mut batch = Tensors::new();
    batch.insert("inputs", ndarray::Array3::from_shape_fn((7, 3, 2), |(t, b, i)| ((t * 5 + b * 3 + i) % 7) as f32 / 7.0));
    batch.insert("values", ndarray::Array3::from_shape_fn((7, 3, 1), |(t, b, _)| ((t + b) % 3) as f32));
    batch.write(at.join("batch.safetensors")).unwrap();
    let line = "gradient --weights start --batch batch.safetensors --state-noise 0.3 --activity-l2 0.7 --seed 5 --step 9";
    for backend in ["reference", "cpu", "gpu"] {
        succeed(at, &format!("{line} --backend {backend} --out {backend}.safetensors"));
    }
    succeed(at, "gradient --weights start --batch batch.safetensors --backend reference --out plain.safetensors");
    let [reference, cpu, gpu, plain] =
        ["reference", "cpu", "gpu", "plain"].map(|name| TensorFile::open(at.join(format!("{name}.safetensors"))).unwrap());
    for name in ["loss", "rnn.weight_hh_l0", "rnn.weight_hh_l1", "rnn.weight_ih_l0", "rnn.bias_ih_l1", "h0"] {
        let expected = reference.f64(name).unwrap();
        let largest = expected.iter().fold(0.0, |a: f64, b| a.max(b.abs()));
        let off =
            |file: &TensorFile| (file.f64(name).unwrap() - &expected).iter().fold(0.0, |a: f64, b| a.max(b.abs())) / largest;
        assert!(off(&cpu) < 2e-5 && off(&gpu) < 2e-5, "{name}: {} and {}", off(&cpu), off(&gpu));
        assert!(off(&plain) > 1e-3, "{name} has no noise and no penalty in it");
    }
    // Masks that are none, or that one layer has and another has not.
    let change = |name: &str, change: &dyn Fn(&mut Tensors)| {
        let mut tensors = Tensors::read(at.join("start/checkpoint.safetensors")).unwrap();
        change(&mut tensors);
        tensors.write(at.join(name)).unwrap();
    };
    change("halves", &|tensors| tensors.insert("rnn.mask_hh_l0", Array2::<f32>::from_elem((24, 24), 0.5)));
    for backend in ["reference", "cpu"] {
        let line = format!("gradient --weights halves --batch batch.safetensors --cell leaky --backend {backend} --out none");
        let (code, _, err) = run(at, &line);
        assert!(code == 7 && err.contains("rnn.mask_hh_l0: [0, 0] is 0.5; expected 0 where there is no connection"), "{err}");
    }
    let cut = reference.f64("rnn.weight_hh_l1").unwrap();
    assert!(cut.indexed_iter().filter(|(at, _)| (at[0] + 2 * at[1] + 1) % 3 == 0).all(|(_, d)| *d == 0.0));
}
