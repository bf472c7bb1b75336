//! `retrospect predict`: what a trained run says of new inputs, held against the equations in f64 and against feeding by hand.

use std::path::Path;

use ndarray::{Array2, Array3, Axis, concatenate, s};
use retrospect::tensors::Tensors;

use super::{run, succeed, text};

fn vectors(steps: usize, sequences: usize, width: usize) -> Array3<f32> {
    Array3::from_shape_fn((steps, sequences, width), |(t, b, i)| ((t * 7 + b * 3 + i * 5) % 11) as f32 / 11.0 - 0.4)
}

fn write(folder: &Path, name: &str, tensors: Vec<(&str, Array3<f32>)>) {
    let mut file = Tensors::new();
    tensors.into_iter().for_each(|(name, tensor)| file.insert(name, tensor));
    file.write(folder.join(name)).unwrap();
}

fn read(folder: &Path, name: &str) -> Tensors {
    Tensors::read(folder.join(name)).unwrap()
}

fn outputs(tensors: &Tensors) -> Array3<f64> {
    let outputs = tensors.get("outputs").unwrap();
    let retrospect::tensors::Data::F32(values) = outputs.data() else { panic!("{outputs:?}") };
    let values = values.iter().map(|&v| f64::from(v)).collect();
    Array3::from_shape_vec((outputs.shape()[0], outputs.shape()[1], outputs.shape()[2]), values).unwrap()
}

/// Of each cell, in one direction and in both: longer sequences than in training, and more than in a batch.
#[test]
fn predictions_are_what_the_equations_give() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write(at, "train", vec![("inputs", vectors(9, 8, 3)), ("values", vectors(9, 8, 2))]);
    let (steps, sequences) = (150, 7);
    let mut new = Tensors::new();
    new.insert("inputs", vectors(steps, sequences, 3));
    let lengths: Vec<i64> = vec![150, 1, 149, 64, 65, 128, 3];
    new.write(at.join("new")).unwrap();
    new.write_npz(at.join("new.npz")).unwrap();
    new.insert("lengths", ndarray::Array1::from(lengths.clone()));
    new.write(at.join("varied")).unwrap();
    for name in ["new", "varied"] {
        let mut batch = read(at, name);
        batch.insert("values", Array3::<f32>::zeros((steps, sequences, 2)));
        batch.write(at.join(format!("{name}-batch"))).unwrap();
    }
    for (number, cell) in ["elman", "leaky", "gru", "lstm", "lstm --bidirectional --dropout 0.5"].into_iter().enumerate() {
        let train = format!("train --data train --cell {cell} --layers 2 --hidden 5 --batch 3 --steps 3 --lr 0.05");
        succeed(at, &format!("{train} --backend cpu --out run{number}"));
        for (data, backend) in [("new", "cpu"), ("varied", "cpu"), ("varied", "gpu")] {
            succeed(
                at,
                &format!("predict run{number} --checkpoint last --data {data} --out found.safetensors --backend {backend}"),
            );
            succeed(at, &format!("gradient --weights run{number} --batch {data}-batch --out expected --backend reference"));
            let (found, expected) = (read(at, "found.safetensors"), read(at, "expected").f64("outputs").unwrap());
            let outputs = outputs(&found);
            for ((t, b, o), &value) in outputs.indexed_iter() {
                if data == "varied" && t as i64 >= lengths[b] {
                    assert!(value.is_nan(), "{cell}: {value} at {t}, {b}, behind the end");
                } else {
                    let off = (value - expected[[t, b, o]]).abs();
                    assert!(off < 1e-5, "{cell} on {backend}: [{t}, {b}, {o}] is off by {off:e}");
                }
            }
            let states: Vec<&str> = found.names().collect();
            let named: &[&str] = if cell.starts_with("lstm") { &["c", "h", "outputs"] } else { &["h", "outputs"] };
            assert_eq!(states, named);
            assert_eq!(found.get("h").unwrap().shape(), [if cell.contains("bi") { 4 } else { 2 }, sequences, 5]);
        }
        // A NumPy file says the same.
        succeed(at, &format!("predict run{number} --data new.npz --out found.npz --backend cpu"));
        succeed(at, &format!("predict run{number} --data new --out found.safetensors --backend cpu"));
        assert_eq!(outputs(&read(at, "found.npz")), outputs(&read(at, "found.safetensors")));
    }
}

/// Where the states go is seen by going on from them.
#[test]
fn prediction_goes_on_from_the_states_that_it_gives() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write(at, "train", vec![("inputs", vectors(9, 8, 3)), ("values", vectors(9, 8, 2))]);
    succeed(at, "train --data train --cell lstm --layers 2 --hidden 5 --batch 3 --steps 3 --backend cpu --out run");
    let all = vectors(30, 4, 3);
    write(at, "all", vec![("inputs", all.clone())]);
    write(at, "begin", vec![("inputs", all.slice(s![..17, .., ..]).to_owned())]);
    succeed(at, "predict run --data all --out all.npz --backend cpu");
    succeed(at, "predict run --data begin --out begin.npz --backend cpu");
    let begin = read(at, "begin.npz");
    let mut end = Tensors::new();
    end.insert("inputs", all.slice(s![17.., .., ..]).to_owned());
    end.insert("h0", begin.f32("h").unwrap());
    end.insert("c0", begin.f32("c").unwrap());
    end.write(at.join("end")).unwrap();
    succeed(at, "predict run --data end --out end.npz --backend cpu");
    let joined = concatenate(Axis(0), &[outputs(&begin).view(), outputs(&read(at, "end.npz")).view()]).unwrap();
    assert_eq!(joined, outputs(&read(at, "all.npz")));
}

/// What follows a sequence is what is predicted when each prediction is appended to the inputs.
#[test]
fn each_further_step_reads_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write(at, "train", vec![("inputs", vectors(9, 8, 2)), ("values", vectors(9, 8, 2))]);
    succeed(at, "train --data train --cell gru --hidden 6 --batch 3 --steps 20 --lr 0.05 --backend cpu --out run");
    let whole = vectors(73, 4, 2);
    let begun = [70_i64, 1, 64, 65];
    let (mut inputs, mut lengths) = (whole.clone(), begun.to_vec());
    let write = |name: &str, inputs: &Array3<f32>, lengths: &[i64]| {
        let mut file = Tensors::new();
        file.insert("inputs", inputs.clone());
        file.insert("lengths", ndarray::Array1::from(lengths.to_vec()));
        file.write(at.join(name)).unwrap();
    };
    write("new", &inputs.slice(s![..70, .., ..]).to_owned(), &lengths);
    succeed(at, "predict run --data new --steps 3 --out found.npz --backend cpu");
    let found = outputs(&read(at, "found.npz"));
    assert_eq!(found.dim(), (73, 4, 2));
    for _ in 0..3 {
        write("longer", &inputs, &lengths);
        succeed(at, "predict run --data longer --last --out last.npz --backend cpu");
        let last: Array2<f32> = read(at, "last.npz").f32("outputs").unwrap().into_dimensionality().unwrap();
        for (b, length) in lengths.iter_mut().enumerate() {
            inputs.slice_mut(s![*length as usize, b, ..]).assign(&last.row(b));
            *length += 1;
        }
    }
    for (b, &begun) in begun.iter().enumerate() {
        for t in 0..73 {
            let value = found[[t, b, 1]];
            if t as i64 >= begun + 3 {
                assert!(value.is_nan(), "{value} at {t}, {b}, behind the end");
            } else if t as i64 >= begun - 1 && (t as i64) < begun + 2 {
                let off = (value - f64::from(inputs[[t + 1, b, 1]])).abs();
                assert!(off < 1e-5, "[{t}, {b}] is off by {off:e}");
            } else {
                assert!(value.is_finite());
            }
        }
    }
    // States are those after the last further step.
    write("last", &inputs, &lengths);
    succeed(at, "predict run --data last --out last.npz --backend cpu");
    let [one, other] = ["found.npz", "last.npz"].map(|name| read(at, name).f64("h").unwrap());
    let off = (&one - &other).fold(0.0, |most: f64, v| most.max(v.abs()));
    assert!(off < 1e-5, "the states are off by {off:e}");
}

/// Probabilities, classes and characters as CSV.
#[test]
fn classes_come_with_their_probabilities() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("t.txt"), text(3000)).unwrap();
    succeed(at, "train --text t.txt --hidden 24 --batch 8 --window 16 --steps 150 --lr 0.01 --backend cpu --out run");
    std::fs::write(at.join("new.txt"), "the king\n").unwrap();
    let csv = succeed(at, "predict run --text new.txt --backend cpu");
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 10);
    assert!(lines[0].starts_with(r"sequence,step,class,p(\n),p( ),"), "{}", lines[0]);
    for (step, line) in lines[1..].iter().enumerate() {
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!(cells[..2], ["0", &step.to_string()]);
        let numbers: Vec<f64> =
            cells[cells.len() - (lines[0].matches("p(").count() - 1)..].iter().map(|v| v.parse().unwrap()).collect();
        assert!(numbers.iter().all(|p| (0.0..=1.0).contains(p)) && numbers.iter().sum::<f64>() < 1.0 + 1e-5, "{line}");
    }

    // The most probable characters after a text are those that sampling at temperature 0 writes.
    let sampled = succeed(at, "sample run --prompt the --length 12 --temperature 0 --backend cpu");
    std::fs::write(at.join("prompt.txt"), "the").unwrap();
    succeed(at, "predict run --text prompt.txt --steps 12 --out more.csv --backend cpu");
    let more = std::fs::read_to_string(at.join("more.csv")).unwrap();
    let mut reader = csv_rows(&more);
    let written: String = reader.drain(..).skip(2).take(12).map(|row| row[2].replace(r"\n", "\n")).collect();
    assert_eq!(format!("the{written}"), sampled.strip_suffix('\n').unwrap());
    // What is drawn is what is written, and what the next step reads.
    let draw = "predict run --text prompt.txt --steps 9 --temperature 1.5 --backend cpu";
    let [drawn, again, other] =
        ["--seed 3", "--seed 3", "--seed 4"].map(|seed| csv_rows(&succeed(at, &format!("{draw} {seed}"))));
    assert!(drawn == again && drawn != other);
    let characters: String = drawn[2..].iter().map(|row| row[2].replace(r"\n", "\n")).collect();
    assert_eq!(characters.chars().count(), 10);
    let best = |row: &Vec<String>| {
        let p: Vec<f64> = row[3..].iter().map(|p| p.parse().unwrap()).collect();
        (0..p.len()).max_by(|&a, &b| p[a].total_cmp(&p[b])).unwrap()
    };
    let heading = csv_rows(&format!("\n{csv}")).swap_remove(0);
    let likeliest: String = drawn[2..].iter().map(|row| heading[3 + best(row)].clone()).collect();
    assert_ne!(likeliest.replace("p(", "").replace(')', ""), characters, "something less probable is drawn");
    std::fs::write(at.join("drawn.txt"), format!("the{characters}")).unwrap();
    let fed = csv_rows(&succeed(at, "predict run --text drawn.txt --backend cpu"));
    for (a, b) in drawn.iter().zip(&fed) {
        let off = |(a, b): (&String, &String)| (a.parse::<f64>().unwrap() - b.parse::<f64>().unwrap()).abs();
        assert!(a[3..].iter().zip(&b[3..]).map(off).fold(0.0, f64::max) < 1e-5, "{a:?} is not {b:?}");
    }
    succeed(at, "predict run --text new.txt --out classes.safetensors --backend cpu");
    let found = read(at, "classes.safetensors");
    let (classes, p) = (found.i64("classes").unwrap(), outputs(&found));
    assert_eq!(classes.shape(), [9, 1]);
    for (t, row) in p.axis_iter(Axis(0)).enumerate() {
        assert!((row.sum() - 1.0).abs() < 1e-6);
        assert!(row.iter().all(|&p| p <= row[[0, classes[[t, 0]] as usize]]));
    }
}

/// The cells of CSV without its heading, of which none holds a line break.
fn csv_rows(text: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| {
        let (mut cells, mut quoted) = (vec![String::new()], false);
        for c in line.chars() {
            match c {
                '"' => quoted = !quoted,
                ',' if !quoted => cells.push(String::new()),
                c => cells.last_mut().unwrap().push(c),
            }
        }
        cells
    };
    text.lines().skip(1).map(cells).collect()
}

#[test]
fn what_cannot_be_predicted_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write(at, "train", vec![("inputs", vectors(9, 8, 3)), ("values", vectors(9, 8, 2))]);
    succeed(at, "train --data train --hidden 5 --batch 3 --steps 3 --backend cpu --out run");
    write(at, "narrow", vec![("inputs", vectors(4, 2, 2))]);
    write(at, "new", vec![("inputs", vectors(4, 2, 3))]);
    write(at, "begun", vec![("inputs", vectors(4, 2, 3)), ("h0", vectors(1, 3, 5))]);
    let cases = [
        ("predict run", 2, "--data"),
        ("predict run --data new --text new", 2, "cannot be used with"),
        ("predict run --data narrow", 7, "narrow: inputs: expected shape [4, 2, 3], got [4, 2, 2]"),
        ("predict run --data begun", 7, "h0: expected shape [1, 2, 5], got [1, 3, 5]"),
        ("predict run --data new --steps 2", 2, "it reads 3 numbers and predicts 2"),
        ("predict run --text new", 2, "this one was trained on"),
        ("predict run --data missing", 7, "missing: cannot be read"),
        ("predict run --data new --out new", 2, "--out would overwrite new"),
        ("predict run --data new --out run/checkpoint.safetensors", 2, "--out would overwrite run"),
        ("predict run --data new --steps 2 --temperature 1", 2, "it reads 3 numbers and predicts 2"),
        ("predict run --data new --out new.txt", 2, "expected a name that ends in .csv, .npz or .safetensors"),
        ("predict nothing --data new", 7, "nothing"),
    ];
    for (line, code, message) in cases {
        let (got, out, err) = run(at, &format!("{line} --backend cpu"));
        assert!(got == code && err.contains(message) && out.is_empty(), "{line}: {got}, {err}");
    }
    // More than there is memory for is refused, and CSV needs none.
    write(at, "train-two", vec![("inputs", vectors(9, 8, 2)), ("values", vectors(9, 8, 2))]);
    succeed(at, "train --data train-two --hidden 5 --batch 3 --steps 3 --backend cpu --out two");
    write(at, "new-two", vec![("inputs", vectors(4, 2, 2))]);
    let (code, _, err) = run(at, "predict two --data new-two --steps 4294967295 --out found.npz --backend cpu");
    assert!(code == 4 && err.contains("the predictions"), "{err}");
    let csv = succeed(at, "predict two --data new-two --steps 5000 --backend cpu");
    assert_eq!(csv.lines().count(), 1 + 2 * 5004);
    // What fails on the way leaves nothing.
    let (code, _, err) = run(at, "predict run --data narrow --out found.csv --backend cpu");
    assert!(code == 7 && err.contains("narrow: inputs"), "{err}");
    let left: Vec<String> =
        std::fs::read_dir(at).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!left.iter().any(|name| name.starts_with("found")), "{left:?}");
}
