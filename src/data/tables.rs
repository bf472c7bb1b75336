//! Which columns of a table are read and predicted, and how its rows are grouped.

mod fit;
mod rows;

pub use rows::Grouped;

use serde::{Deserialize, Serialize};

use super::columns::{Column, Columns, Kind};
use crate::batch::Batch;
use crate::table::{Table, Wanted, Words, place};
use crate::{Error, Result};

/// What a missing input becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum Fill {
    /// The last one before it in its sequence.
    Last,
    /// 0 in the column's own unit; no category.
    Zero,
    /// The mean of the training data; no category.
    Mean,
}

/// Which columns of a table are read and predicted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TableOptions {
    /// The columns to predict.
    pub targets: Vec<String>,
    /// The columns to read. None: all others; with `ahead` those to predict too.
    pub inputs: Vec<String>,
    /// Those of them that are categories though they are numbers, such as codes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    /// The column that tells sequences apart. `None`: all rows are one series.
    pub sequence: Option<String>,
    /// The target of a row is so many rows later in its sequence.
    pub ahead: usize,
    /// Whether the column to predict holds classes though they are numbers.
    pub classes: bool,
    /// What a missing input becomes. `None`: it is an error.
    pub fill: Option<Fill>,
}

impl TableOptions {
    /// How the columns of a header are read to train.
    ///
    /// # Errors
    /// [`Error::Usage`] without a column to predict, or for one to read and predict at once; [`Error::BadInput`] for names that are not
    /// there.
    pub fn wanted(&self, what: &str, names: &[String]) -> Result<Vec<Wanted>> {
        if self.targets.is_empty() {
            let names = names.join(", ");
            return Err(Error::Usage(format!("{what} needs --target COLUMN, which is predicted; there are {names}")));
        }
        for list in [&self.targets, &self.inputs, &self.categories] {
            if let Some(twice) = list.iter().enumerate().find(|(at, name)| list[..*at].contains(name)) {
                return Err(Error::Usage(format!("column {} is named twice", twice.1)));
            }
        }
        let all_others = if self.inputs.is_empty() { Wanted::Either } else { Wanted::Nothing };
        let usual = |name: &String| if name.is_empty() { Wanted::Nothing } else { all_others };
        let mut wanted: Vec<Wanted> = names.iter().map(usual).collect();
        for name in self.inputs.iter().chain(&self.targets) {
            wanted[place(what, names, name)?] = Wanted::Either;
        }
        if self.classes {
            for name in &self.targets {
                wanted[place(what, names, name)?] = Wanted::Words;
            }
        }
        for name in &self.categories {
            if self.targets.contains(name) {
                return Err(Error::Usage(format!("column {name} is predicted; --classes says that its numbers are classes")));
            }
            if !self.inputs.is_empty() && !self.inputs.contains(name) {
                return Err(Error::Usage(format!("column {name} is not read: --input does not name it")));
            }
            wanted[place(what, names, name)?] = Wanted::Words;
        }
        if self.ahead == 0
            && let Some(both) = self.inputs.iter().find(|name| self.targets.contains(name))
        {
            return Err(Error::Usage(format!(
                "column {both} is read and predicted; without --ahead the answer would be its own input"
            )));
        }
        if let Some(sequence) = &self.sequence {
            let named = self.inputs.iter().chain(&self.targets).chain(&self.categories);
            if let Some(name) = named.into_iter().find(|name| *name == sequence) {
                return Err(Error::Usage(format!("column {name} tells the sequences apart; it cannot be read or predicted too")));
            }
            wanted[place(what, names, sequence)?] = Wanted::Words;
        }
        Ok(wanted)
    }

    /// How the columns of a header are read by a network that was trained on `columns`, with the targets or without.
    ///
    /// # Errors
    /// [`Error::BadInput`] for columns that are not there.
    pub fn wanted_again(&self, what: &str, names: &[String], columns: &Columns, with_targets: bool) -> Result<Vec<Wanted>> {
        let mut wanted = vec![Wanted::Nothing; names.len()];
        let mut ask = |column: &Column| {
            wanted[place(what, names, &column.name)?] = match column.kind {
                Kind::Number(_) => Wanted::Numbers,
                Kind::Categories(_) => Wanted::Words,
            };
            Ok(())
        };
        columns.inputs.iter().try_for_each(&mut ask)?;
        if with_targets {
            columns.targets.iter().try_for_each(&mut ask)?;
        }
        if let Some(sequence) = &self.sequence {
            wanted[place(what, names, sequence)?] = Wanted::Words;
        }
        Ok(wanted)
    }

    /// Checks that no other columns are asked for than those of a network that was trained already.
    ///
    /// # Errors
    /// [`Error::Usage`] with both.
    pub(super) fn check_same(&self, columns: &Columns) -> Result<()> {
        let parts =
            [("predicts", "--target", &self.targets, &columns.targets), ("reads", "--input", &self.inputs, &columns.inputs)];
        for (does, flag, asked, known) in parts {
            let names: Vec<&str> = known.iter().map(|column| column.name.as_str()).collect();
            // Inputs that are not named are those of the network.
            if *asked != names && !(flag == "--input" && asked.is_empty()) {
                let (names, asked) = (names.join(","), asked.join(","));
                let asked = if asked.is_empty() { "no column".to_owned() } else { asked };
                return Err(Error::Usage(format!("this network {does} {names}, and {flag} names {asked}")));
            }
        }
        Ok(())
    }

    /// The sequences of a table.
    ///
    /// # Errors
    /// [`Error::BadInput`] for a row that is of no sequence.
    pub fn group(&self, table: &Table) -> Result<Grouped> {
        let Some(column) = &self.sequence else {
            return Ok(Grouped { ids: Vec::new(), rows: vec![(0..table.rows).collect()] });
        };
        let words = table.words(column)?;
        let mut rows = vec![Vec::new(); words.names.len()];
        for (row, &id) in words.ids.iter().enumerate() {
            if id == Words::MISSING {
                return Err(table.bad_field(row, column, "is missing; expected the sequence that the row is of"));
            }
            rows[id as usize].push(row);
        }
        Ok(Grouped { ids: words.names.clone(), rows })
    }

    /// What should be told of missing targets.
    ///
    /// # Errors
    /// What is wrong when all are missing.
    pub(super) fn missing(&self, batch: &Batch, grouped: &Grouped) -> std::result::Result<Option<String>, String> {
        let targets = self.targets.join(", ");
        let later = if self.ahead > 0 { format!(" {} rows later", self.ahead) } else { String::new() };
        let could = grouped.rows.iter().map(|rows| rows.len().saturating_sub(self.ahead)).sum::<usize>();
        match batch.counted() {
            0 => Err(format!("no row has a target (column {targets}{later})")),
            there if there < could => Ok(Some(format!("{} of {could} rows have no target and do not count", could - there))),
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::batch::{Inputs, Targets};
    use crate::data::Scale;

    const TABLE: &str = "id,day,x,kind,y\na,1,1,p,10\na,2,3,q,\nb,1,5,p,30\na,3,5,p,40\nb,2,,q,50\n";

    fn options(line: &[&str]) -> TableOptions {
        let list = |text: &str| text.split(',').filter(|name| !name.is_empty()).map(String::from).collect();
        TableOptions { targets: list(line[0]), inputs: list(line[1]), sequence: Some("id".into()), ..TableOptions::default() }
    }

    fn table(text: &str, options: &TableOptions) -> Result<Table> {
        Table::read("t", text.as_bytes(), |names| options.wanted("t", names))
    }

    /// A batch of a table all of whose rows train.
    fn batch(text: &str, options: &TableOptions, scale: Scale) -> Result<(Columns, Vec<String>, Batch)> {
        let table = table(text, options)?;
        let grouped = options.group(&table)?.with_targets(&table, options);
        let (columns, notes) = options.fit(&table, [scale; 2], grouped.rows.iter().flatten())?;
        let batch = grouped.batch(&table, &columns, options)?;
        Ok((columns, notes, batch))
    }

    #[test]
    fn numbers_that_are_codes_become_categories() {
        let codes = |line: &[&str], names: &[&str]| TableOptions {
            categories: names.iter().map(|n| (*n).into()).collect(),
            ..options(line)
        };
        let all = TableOptions { fill: Some(Fill::Last), ..codes(&["y", "x,day"], &["day"]) };
        let (columns, _, found) = batch(TABLE, &all, Scale::None).unwrap();
        assert_eq!(columns.inputs[1].kind, Kind::Categories(["1", "2", "3"].map(String::from).into()));
        let Inputs::Vectors(x) = &found.inputs else { panic!("{found:?}") };
        assert_eq!(x.slice(ndarray::s![.., 0, 1..]), array![[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]);
        for (line, names, said) in [
            (["y", "x"], ["day"], "--input does not name it"),
            (["day", ""], ["day"], "--classes says that its numbers are classes"),
            (["y", ""], ["id"], "tells the sequences apart"),
            (["y", ""], ["month"], "there is no column month"),
        ] {
            let error = table(TABLE, &codes(&line, &names)).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn rows_become_sequences_with_their_targets() {
        let with = |fill| TableOptions { fill: Some(fill), ..options(&["y", "x,kind"]) };
        let (columns, notes, found) = batch(TABLE, &with(Fill::Last), Scale::None).unwrap();
        assert!(notes.is_empty() && columns.input_width() == 3);
        let Inputs::Vectors(x) = &found.inputs else { panic!("{found:?}") };
        // [T, B, (x, kind p, kind q)]; b has two rows, and its second x is the one before.
        let expected =
            array![[[1.0, 1.0, 0.0], [5.0, 1.0, 0.0]], [[3.0, 0.0, 1.0], [5.0, 0.0, 1.0]], [[5.0, 1.0, 0.0], [0.0, 0.0, 0.0]],];
        assert_eq!((x, &found.lengths), (&expected, &Some(vec![3, 2])));
        assert_eq!(found.mask, Some(array![[1.0, 1.0], [0.0, 1.0], [1.0, 0.0]]), "a missing target does not count");
        let Targets::Values(y) = &found.targets else { panic!("{found:?}") };
        assert_eq!(y, &array![[[10.0], [30.0]], [[0.0], [50.0]], [[40.0], [0.0]]]);
        for (fill, expected) in [(Fill::Zero, 0.0), (Fill::Mean, 14.0 / 4.0)] {
            let Inputs::Vectors(x) = batch(TABLE, &with(fill), Scale::None).unwrap().2.inputs else { panic!() };
            assert_eq!(x[[1, 1, 0]], expected);
        }

        // One row ahead: the last rows have no target.
        let ahead = TableOptions { ahead: 1, fill: Some(Fill::Last), ..options(&["x", "x"]) };
        let (columns, _, found) = batch(TABLE, &ahead, Scale::Minmax).unwrap();
        let Targets::Values(y) = &found.targets else { panic!("{found:?}") };
        // x is from 1 to 5, and that of b's second row is missing: nothing of b counts, and it is left out.
        assert_eq!((y, &found.mask), (&array![[[0.5]], [[1.0]], [[0.0]]], &Some(array![[1.0], [1.0], [0.0]])));
        assert_eq!(columns.feedback(), Ok(vec![0]));
    }

    #[test]
    fn classes_keep_their_names_and_new_tables_are_read_alike() {
        let classes = TableOptions { classes: true, fill: Some(Fill::Mean), ..options(&["day", "x"]) };
        let text = TABLE.replace("a,3", "a,10");
        let (columns, _, found) = batch(&text, &classes, Scale::Standard).unwrap();
        let names: Vec<&str> = columns.classes().unwrap().iter().map(String::as_str).collect();
        assert_eq!(names, ["1", "2", "10"], "in the order of numbers");
        let Targets::Classes(y) = &found.targets else { panic!("{found:?}") };
        assert_eq!(y, &array![[0, 0], [1, 1], [2, 0]]);
        let (columns, ..) = batch(TABLE, &options(&["kind", "day"]), Scale::Standard).unwrap();
        assert_eq!(columns.classes().unwrap(), ["p", "q"]);

        // With the columns of training: no targets are needed, and no others are read.
        let again = "z,day,id\n?,3,a\n?,1,a\n";
        let options = options(&["kind", "day"]);
        let read = |needs: bool| Table::read("n", again.as_bytes(), |names| options.wanted_again("n", names, &columns, needs));
        let table = read(false).unwrap();
        let found = options.group(&table).unwrap().sequences(&table, &columns, None).unwrap();
        let Inputs::Vectors(x) = &found.inputs else { panic!("{found:?}") };
        let day = columns.inputs[0].scaling();
        assert_eq!(x, &array![[[day.apply(3.0)]], [[day.apply(1.0)]]]);
        assert_eq!(read(true).unwrap_err().to_string(), "n: there is no column kind; there are z, day, id");
    }

    #[test]
    fn columns_of_no_use_are_left_out_and_said() {
        let mut text = String::from("id,when,,none,same,x,y\n");
        (0..150).for_each(|row| text += &format!("s,day-{row},{row},,7,{},{}\n", row % 7, row % 3));
        let (columns, notes, _) = batch(&text, &options(&["y", ""]), Scale::Standard).unwrap();
        assert_eq!(columns.inputs.iter().map(|column| &column.name[..]).collect::<Vec<_>>(), ["same", "x"]);
        assert_eq!(
            notes,
            [
                "a column without a name is left out",
                "column none is empty and is left out; --input reads it all the same",
                "column same is 7 wherever it trains, and is not divided by its deviation of 0",
                "column when has 150 different words and is left out; --input reads it all the same",
            ]
        );
        let named = batch(&text, &options(&["y", "when"]), Scale::Standard).unwrap().0;
        assert_eq!(named.input_width(), 150);
    }

    #[test]
    fn what_cannot_be_read_is_said_with_row_and_column() {
        let fill = |fill| TableOptions { fill, ..options(&["y", "x"]) };
        for (text, options, code, expected) in [
            (
                TABLE,
                fill(None),
                7,
                "t: row 5 (the header aside), column x: is missing; --fill last, zero or mean says what to read instead",
            ),
            (
                "id,x,y\na,,1\n",
                fill(Some(Fill::Last)),
                7,
                "t: row 1 (the header aside), column x: is missing, and there is none before it in its sequence; --fill zero or mean would do",
            ),
            (TABLE, options(&["", ""]), 2, "t needs --target COLUMN, which is predicted; there are id, day, x, kind, y"),
            (TABLE, options(&["z", ""]), 7, "t: there is no column z; there are id, day, x, kind, y"),
            (
                TABLE,
                options(&["y", "x,y"]),
                2,
                "column y is read and predicted; without --ahead the answer would be its own input",
            ),
            (TABLE, options(&["y", "id"]), 2, "column id tells the sequences apart; it cannot be read or predicted too"),
            (
                TABLE,
                options(&["y,kind", "day"]),
                2,
                "column kind has classes, which are predicted alone; --target names 2. Several labels of 0 and 1 are numbers, for --loss binary-cross-entropy",
            ),
            ("id,y\na,1\n", options(&["y", ""]), 2, "t has no column to read; --input COLUMN names one"),
            (
                "id,x,y\n,1,2\n",
                options(&["y", "x"]),
                7,
                "t: row 1 (the header aside), column id: is missing; expected the sequence that the row is of",
            ),
        ] {
            let error = batch(text, &options, Scale::Standard).unwrap_err();
            assert_eq!((error.to_string().as_str(), error.exit_code()), (expected, code));
        }
        let (columns, ..) = batch(TABLE, &options(&["y", "kind"]), Scale::Standard).unwrap();
        let options = options(&["y", "kind"]);
        let table = Table::read("n", b"id,kind\na,r\n", |names| options.wanted_again("n", names, &columns, false)).unwrap();
        let error = options.group(&table).unwrap().sequences(&table, &columns, None).unwrap_err();
        assert_eq!(error.to_string(), "n: row 1 (the header aside), column kind: \"r\" did not come in training, which had p, q");
    }
}
