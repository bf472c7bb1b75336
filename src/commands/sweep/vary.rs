//! What a sweep varies: a flag, and its values or a range.

use std::str::FromStr;

use retrospect::random::Random;
use retrospect::{Error, Result};

/// The most runs of a sweep.
const MOST_RUNS: usize = 10_000;

/// A range whose end is this many times its start is drawn from by logarithms.
const WIDE: f64 = 10.0;

/// A flag of `train`, and what it is given.
#[derive(Debug, Clone, PartialEq)]
pub struct Vary {
    /// Without its dashes.
    pub flag: String,
    values: Values,
}

#[derive(Debug, Clone, PartialEq)]
enum Values {
    List(Vec<String>),
    /// From, to, and whether both are whole.
    Range(f64, f64, bool),
}

impl FromStr for Vary {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Vary, String> {
        let expected = "expected FLAG=VALUE,VALUE,… or FLAG=LOW..HIGH, such as lr=1e-3,3e-3 or hidden=16..256";
        let (flag, values) = text.split_once('=').ok_or(expected)?;
        let flag = flag.trim_start_matches("--").to_owned();
        if flag.is_empty() || values.is_empty() || flag.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(expected.into());
        }
        let number = |text: &str| f64::from_str(text).ok().filter(|x| x.is_finite());
        let ends = values.split_once("..").and_then(|(low, high)| Some((number(low)?, number(high)?, low, high)));
        let values = match ends {
            Some((from, to, ..)) if from >= to => return Err(format!("a range goes up, and {from} is not below {to}")),
            Some((from, to, low, high)) => Values::Range(from, to, [low, high].iter().all(|end| i64::from_str(end).is_ok())),
            None => Values::List(values.split(',').map(String::from).collect()),
        };
        Ok(Vary { flag, values })
    }
}

impl Vary {
    /// A value by a random number in [0, 1).
    fn draw(&self, random: f64) -> String {
        match &self.values {
            Values::List(values) => values[(random * values.len() as f64) as usize].clone(),
            // Of whole numbers each is as likely as the next, or as its logarithm.
            Values::Range(low, high, is_whole) => {
                let end = if *is_whole { high + 1.0 } else { *high };
                let drawn =
                    if *low > 0.0 && high / low >= WIDE { low * (end / low).powf(random) } else { low + (end - low) * random };
                if *is_whole { drawn.floor().min(*high).to_string() } else { shortened(drawn, *low, *high) }
            }
        }
    }
}

/// A random number of a range with as many digits as tell apart a thousandth of it, or of the number where that is less.
fn shortened(x: f64, low: f64, high: f64) -> String {
    let fine = ((high - low) / 1000.0).min(if low > 0.0 { x / 100.0 } else { f64::INFINITY });
    let decimals = (-fine.log10().floor()).clamp(0.0, 300.0) as usize;
    let rounded = format!("{x:.decimals$}").parse::<f64>().unwrap_or(x);
    format!("{:?}", rounded.clamp(low, high))
}

/// The values of the flags for each run: every combination, of which the last flag changes the fastest, or so many random ones, of which those that are alike count once.
///
/// # Errors
/// [`Error::Usage`] for a range without random choices, for a flag that is varied twice, and for too many runs.
pub fn combinations(all: &[Vary], random: Option<usize>) -> Result<Vec<Vec<String>>> {
    if let Some((place, vary)) = all.iter().enumerate().find(|(place, vary)| all[..*place].iter().any(|o| o.flag == vary.flag)) {
        return Err(Error::Usage(format!("--vary {}: it is varied {} times; one list is enough", vary.flag, place + 1)));
    }
    let too_many = |count: u128| Error::Usage(format!("{count} runs; a sweep has at most {MOST_RUNS}"));
    if let Some(count) = random {
        if count > MOST_RUNS {
            return Err(too_many(count as u128));
        }
        let mut random = Random::new(1, 0);
        let mut drawn: Vec<Vec<String>> = Vec::new();
        for _ in 0..count {
            let values = all.iter().map(|vary| vary.draw(random.uniform().into())).collect();
            // The same network twice would tell nothing.
            if !drawn.contains(&values) {
                drawn.push(values);
            }
        }
        return Ok(drawn);
    }
    let mut combinations = vec![Vec::new()];
    for vary in all {
        let Values::List(values) = &vary.values else {
            return Err(Error::Usage(format!("--vary {}: a range needs --random N, the number of runs", vary.flag)));
        };
        let count = combinations.len() as u128 * values.len() as u128;
        if count > MOST_RUNS as u128 {
            return Err(too_many(count));
        }
        let with =
            |before: &Vec<String>| values.iter().map(|v| [&before[..], std::slice::from_ref(v)].concat()).collect::<Vec<_>>();
        combinations = combinations.iter().flat_map(with).collect();
    }
    Ok(combinations)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vary(text: &str) -> Vary {
        text.parse().unwrap()
    }

    #[test]
    fn grids_have_every_combination_in_order() {
        let found = combinations(&[vary("--lr=0.1,0.2"), vary("hidden=4,8,16")], None).unwrap();
        let names: Vec<String> = found.iter().map(|values| values.join(" ")).collect();
        assert_eq!(names, ["0.1 4", "0.1 8", "0.1 16", "0.2 4", "0.2 8", "0.2 16"]);
        assert!(combinations(&[vary("lr=1..2")], None).unwrap_err().to_string().contains("--random"));
        assert!(combinations(&[vary("lr=1"), vary("lr=2")], None).is_err());
        let many = (0..20_000).map(|v: u32| v.to_string()).collect::<Vec<_>>().join(",");
        assert!(combinations(&[vary(&format!("seed={many}"))], None).unwrap_err().to_string().contains("20000 runs"));
        assert!(combinations(&[vary("lr=1..2")], Some(1_000_000)).is_err());
    }

    #[test]
    fn random_values_fill_their_ranges() {
        let all = [vary("lr=1e-4..1e-1"), vary("hidden=1..3"), vary("dropout=0..0.5"), vary("cell=gru,lstm")];
        let found = combinations(&all, Some(2000)).unwrap();
        assert_eq!(found, combinations(&all, Some(2000)).unwrap(), "the same each time");
        let narrow = combinations(&[vary("beta2=0.999..0.9999"), vary("clip=-1.0..1.0")], Some(500)).unwrap();
        let ends = [(0.999, 0.9999), (-1.0, 1.0)];
        for values in &narrow {
            let inside = |(value, (low, high)): (&String, (f64, f64))| (low..=high).contains(&value.parse::<f64>().unwrap());
            assert!(values.iter().zip(ends).all(inside), "{values:?}");
        }
        assert!(narrow.len() > 480, "{} are apart", narrow.len());
        assert_eq!(combinations(&[vary("cell=gru,lstm")], Some(9)).unwrap().len(), 2);
        let numbers = |place: usize| found.iter().map(|values| values[place].parse::<f64>().unwrap()).collect::<Vec<_>>();
        // Each decade has a third.
        let low = numbers(0).iter().filter(|x| **x < 1e-3).count();
        assert!((500..833).contains(&low) && numbers(0).iter().all(|x| (1e-4..=1e-1).contains(x)), "{low}");
        for whole in [1.0, 2.0, 3.0] {
            let count = numbers(1).iter().filter(|x| **x == whole).count();
            assert!((500..833).contains(&count), "{whole}: {count}");
        }
        assert!(numbers(2).iter().all(|x| (0.0..=0.5).contains(x)));
        assert!((800..1200).contains(&found.iter().filter(|values| values[3] == "gru").count()));
    }

    #[test]
    fn paths_with_dots_are_no_ranges() {
        assert_eq!(combinations(&[vary("data=../a.csv,b.csv")], None).unwrap(), [["../a.csv"], ["b.csv"]]);
    }

    #[test]
    fn other_texts_are_no_variation() {
        for wrong in ["lr", "=1", "lr=", "lr=2..1", "l r=1"] {
            assert!(wrong.parse::<Vary>().is_err(), "{wrong}");
        }
    }
}
