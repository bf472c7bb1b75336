//! What a class counts for in the loss of training: where some are rare, more than others.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Columns;
use crate::batch::{Batch, Targets};
use crate::table::{Table, Wanted, Words, read_bytes};
use crate::{Error, Result};

/// Where the weights of classes come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClassWeights {
    /// All classes weigh alike as a whole: one that comes n of N times among K classes has the weight N/(K·n).
    Balanced,
    /// A table with the columns `class` and `weight`. A class that is not there has the weight 1.
    File(PathBuf),
    /// Those of a file, once it was read: a run goes on with what it began with.
    Given(Vec<f32>),
}

impl ClassWeights {
    /// The weights `[O]` of the classes of a batch, by those of its outputs that count and train.
    ///
    /// # Errors
    /// [`Error::Usage`] when there are no classes; what the table's reading reports, and [`Error::BadInput`] for a class that there is not.
    pub(super) fn weights(
        &self,
        batch: &Batch,
        outputs: usize,
        columns: Option<&Columns>,
        trains: impl Fn(usize, usize) -> bool,
    ) -> Result<Vec<f32>> {
        let Targets::Classes(classes) = &batch.targets else {
            return Err(Error::Usage("--class-weights is for classes, and these are values".into()));
        };
        match self {
            ClassWeights::Given(weights) => Ok(weights.clone()),
            ClassWeights::File(path) => of_file(path, outputs, columns),
            ClassWeights::Balanced => {
                let mut counts = vec![0_u64; outputs];
                let training = batch.counted_places().filter(|&(t, b)| trains(t, b));
                training.for_each(|at| counts[classes[at] as usize] += 1);
                let (all, kinds) = (counts.iter().sum::<u64>() as f64, counts.iter().filter(|&&n| n > 0).count() as f64);
                Ok(counts.iter().map(|&n| if n == 0 { 1.0 } else { (all / (kinds * n as f64)) as f32 }).collect())
            }
        }
    }
}

fn of_file(path: &Path, outputs: usize, columns: Option<&Columns>) -> Result<Vec<f32>> {
    let what = path.display().to_string();
    let wanted = |names: &[String]| {
        let kind = |name: &String| match name.as_str() {
            "class" => Wanted::Words,
            "weight" => Wanted::Numbers,
            _ => Wanted::Nothing,
        };
        Ok(names.iter().map(kind).collect())
    };
    let table = Table::read(&what, &read_bytes(path)?, wanted)?;
    let (classes, numbers) = (table.words("class")?, table.numbers("weight")?);
    let names: Vec<String> = match columns.and_then(Columns::classes) {
        Some(names) => names[..outputs.min(names.len())].to_vec(),
        None => (0..outputs).map(|class| class.to_string()).collect(),
    };
    let mut weights = vec![1.0; outputs];
    for (row, (&id, &weight)) in classes.ids.iter().zip(numbers).enumerate() {
        let name = if id == Words::MISSING { "" } else { &classes.names[id as usize] };
        let Some(place) = names.iter().position(|other| other == name) else {
            let problem = format!("\"{name}\" is no class; there are {}", names.join(", "));
            return Err(table.bad_field(row, "class", &problem));
        };
        if classes.ids[..row].contains(&id) {
            return Err(table.bad_field(row, "class", &format!("\"{name}\" comes twice")));
        }
        if weight.is_nan() || weight < 0.0 {
            return Err(table.bad_field(row, "weight", "expected a number that is not negative"));
        }
        weights[place] = weight as f32;
    }
    Ok(weights)
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;
    use crate::batch::{Inputs, Loss};

    #[test]
    fn rare_classes_weigh_more_and_a_file_says_its_own() {
        let classes = array![[0, 0, 2, 0, 2, 1]];
        let mut batch = Batch::new(Inputs::Tokens(Array2::zeros((1, 6))), Targets::Classes(classes));
        // The first and the last are held out: 0, 2, 0, 2 are left.
        let trains = |_: usize, b: usize| (1..5).contains(&b);
        let found = ClassWeights::Balanced.weights(&batch, 4, None, trains).unwrap();
        assert_eq!(found, [1.0, 1.0, 1.0, 1.0]);
        let found = ClassWeights::Balanced.weights(&batch, 3, None, |_, _| true).unwrap();
        // Of six outputs three, one and two: 6/9, 6/3, 6/6.
        assert_eq!(found, [2.0 / 3.0, 2.0, 1.0]);
        batch.class_weights = Some(found);
        assert_eq!(batch.weights(&Loss::CrossEntropy), [2.0_f32 / 18.0, 2.0 / 18.0, 1.0 / 6.0, 2.0 / 18.0, 1.0 / 6.0, 1.0 / 3.0]);
        batch.check_alone(crate::batch::Input::Tokens(1), 3).unwrap();
        for (weights, expected) in [
            (vec![1.0; 4], "class weights: expected shape [3], got [4]"),
            (vec![0.0; 3], "class weights: all 3 are 0, so there is no loss"),
            (vec![1.0, -1.0, 0.0], "class weights: [1] is -1; expected a finite number that is not negative"),
        ] {
            let wrong = Batch { class_weights: Some(weights), ..batch.clone() };
            assert_eq!(wrong.check_alone(crate::batch::Input::Tokens(1), 3).unwrap_err().to_string(), expected);
        }

        // Where all that counts has the weight 0 there is nothing to learn.
        let none = Batch { class_weights: Some(vec![0.0, 0.0, 0.0, 5.0]), ..batch.clone() };
        none.check_alone(crate::batch::Input::Tokens(1), 4).unwrap();
        assert_eq!(none.weights(&Loss::CrossEntropy), [0.0; 6]);

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.csv");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            ClassWeights::File(path.clone()).weights(&batch, 3, None, |_, _| true)
        };
        assert_eq!(read("weight,class\n2.5,2\n0,0\n").unwrap(), [0.0, 1.0, 2.5]);
        assert!(read("weight,class\n2.5,7\n").unwrap_err().to_string().contains("\"7\" is no class; there are 0, 1, 2"));
        assert!(read("weight,class\n1,1\n2,1\n").unwrap_err().to_string().contains("\"1\" comes twice"));
        assert!(read("weight,class\n-1,1\n").unwrap_err().to_string().contains("column weight: expected a number"));
    }
}
