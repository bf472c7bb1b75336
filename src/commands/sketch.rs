//! Curves as lines of bars, for terminals.

use std::io::IsTerminal;

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
pub const COLUMNS: usize = 40;

/// Whether someone sees them.
pub fn is_wanted() -> bool {
    std::io::stdout().is_terminal()
}

/// Values from 0 to 1 as bars, at most 40: of more, some. A dot where there is none.
pub fn bars(values: &[Option<f64>]) -> String {
    let columns = COLUMNS.min(values.len());
    let bar = |value: Option<f64>| match value {
        Some(value) if value.is_finite() => BARS[(value.clamp(0.0, 1.0) * (BARS.len() - 1) as f64).round() as usize],
        _ => '·',
    };
    (0..columns).map(|column| bar(values[values.len() * column / columns])).collect()
}

/// The means of neighbours, as many as there are columns.
pub fn means(values: &[f64]) -> Vec<Option<f64>> {
    let mean = |near: &[f64]| Some(near.iter().sum::<f64>() / near.len() as f64);
    let ends = |column: usize| values.len() * column / COLUMNS;
    match values.len() {
        few if few <= COLUMNS => values.iter().copied().map(Some).collect(),
        _ => (0..COLUMNS).map(|column| mean(&values[ends(column)..ends(column + 1)])).collect(),
    }
}

/// Values as bars that fill the height.
pub fn spread(values: &[Option<f64>]) -> String {
    let known = || values.iter().flatten().copied().filter(|value| value.is_finite());
    let (low, high) = known().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    let height = if high > low { high - low } else { 1.0 };
    bars(&values.iter().map(|value| value.map(|value| (value - low) / height)).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_rise_with_their_values() {
        assert_eq!(bars(&[Some(0.0), Some(0.5), Some(1.0), Some(7.0), None, Some(f64::NAN)]), "▁▅██··");
        assert_eq!(spread(&[Some(-3.0), Some(4.0), None]), "▁█·");
        assert_eq!((spread(&[Some(2.0); 3]), spread(&[None]), bars(&[])), ("▁▁▁".into(), "·".into(), String::new()));
        let few: Vec<f64> = (0..3).map(f64::from).collect();
        let more: Vec<f64> = (0..100).map(f64::from).collect();
        assert_eq!((means(&few), means(&[])), (vec![Some(0.0), Some(1.0), Some(2.0)], vec![]));
        assert_eq!((means(&more).len(), means(&more)[0], means(&more)[39]), (40, Some(0.5), Some(98.0)));
        let many: Vec<_> = (0..1000).map(|i| Some(f64::from(i))).collect();
        let drawn: Vec<char> = spread(&many).chars().collect();
        assert!(drawn.len() == COLUMNS && drawn[0] == '▁' && drawn[39] == '█' && drawn.is_sorted(), "{drawn:?}");
    }
}
