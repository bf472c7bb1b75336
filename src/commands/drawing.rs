//! Drawing a class by what a network says of all classes.

use std::cmp::Ordering;

use retrospect::train::likeliest;

/// How a class is drawn: by softmax(logits / temperature), of which the most probable classes may be kept alone.
#[derive(Clone, Copy)]
pub struct Drawing {
    /// 0 takes the most probable class.
    pub temperature: f64,
    /// Keeps this number of classes, the most probable ones; of equal ones the first.
    pub top_k: Option<usize>,
    /// Of the classes that `top_k` keeps, keeps the fewest that together have this probability, in (0, 1], the most probable ones; 1 keeps
    /// all.
    pub top_p: f64,
}

impl Drawing {
    /// From all classes.
    pub fn from_all(temperature: f64) -> Drawing {
        Drawing { temperature, top_k: None, top_p: 1.0 }
    }

    /// The class that `uniform` in [0, 1) draws: the first whose cumulative probability exceeds it.
    pub fn draw(&self, logits: &[f32], uniform: f32) -> u32 {
        let best = likeliest(logits);
        if self.temperature == 0.0 {
            return best as u32;
        }
        let mut weights: Vec<f64> = logits.iter().map(|&l| (f64::from(l - logits[best]) / self.temperature).exp()).collect();
        self.keep(logits, &mut weights);
        let wanted = f64::from(uniform) * weights.iter().sum::<f64>();
        let mut sum = 0.0;
        let found = weights.iter().position(|w| {
            sum += w;
            sum > wanted
        });
        found.unwrap_or(best) as u32
    }

    /// Sets the weights of the classes that are not kept to 0.
    fn keep(&self, logits: &[f32], weights: &mut [f64]) {
        if self.top_k.is_none() && self.top_p >= 1.0 {
            return;
        }
        let mut order: Vec<usize> = (0..logits.len()).collect();
        // By the logits: weights may be so small that all are 0.
        order.sort_by(|&a, &b| logits[b].partial_cmp(&logits[a]).unwrap_or(Ordering::Equal));
        let most = self.top_k.unwrap_or(order.len()).min(order.len());
        let all: f64 = order[..most].iter().map(|&k| weights[k]).sum();
        let mut sum = 0.0;
        let is_wanted = |&&k: &&usize| {
            let reached = sum;
            sum += weights[k];
            self.top_p >= 1.0 || reached < self.top_p * all
        };
        let kept = order[..most].iter().take_while(is_wanted).count();
        order[kept..].iter().for_each(|&k| weights[k] = 0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The probability of each class, by draws that are spread evenly over [0, 1).
    fn shares(drawing: Drawing, logits: &[f32]) -> Vec<f64> {
        let draws = 10_000;
        let mut counts = vec![0.0; logits.len()];
        (0..draws).for_each(|k| counts[drawing.draw(logits, (k as f32 + 0.5) / draws as f32) as usize] += 1.0 / f64::from(draws));
        counts
    }

    fn expect(drawing: Drawing, probabilities: &[f64], expected: &[f64]) {
        let logits: Vec<f32> = probabilities.iter().map(|p| p.ln() as f32).collect();
        let found = shares(drawing, &logits);
        let off = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(off < 3e-4, "{found:?} is not {expected:?}");
    }

    #[test]
    fn draws_follow_the_softmax() {
        let logits = [0.0, 2.0_f32.ln(), -1000.0, 1.0_f32.ln()]; // ¼, ½, 0, ¼
        let draw = |logits: &[f32], temperature, uniform| Drawing::from_all(temperature).draw(logits, uniform);
        for (uniform, expected) in [(0.0, 0), (0.2499, 0), (0.2501, 1), (0.7499, 1), (0.7501, 3), (0.999_999, 3)] {
            assert_eq!(draw(&logits, 1.0, uniform), expected, "{uniform}");
        }
        // At half the temperature the odds are squared: 1 : 4 : 1.
        assert_eq!([draw(&logits, 0.5, 0.16), draw(&logits, 0.5, 0.17)], [0, 1]);
        assert_eq!([0.0, 0.99].map(|u| draw(&logits, 0.0, u)), [1, 1]);
        assert_eq!(draw(&[3e38, -3e38], 1e-30, 0.5), 0);
    }

    #[test]
    fn top_k_keeps_the_most_probable() {
        let top = |k: usize| Drawing { top_k: Some(k), ..Drawing::from_all(1.0) };
        let probabilities = [0.1, 0.4, 0.2, 0.3];
        expect(top(1), &probabilities, &[0.0, 1.0, 0.0, 0.0]);
        expect(top(2), &probabilities, &[0.0, 4.0 / 7.0, 0.0, 3.0 / 7.0]);
        expect(top(4), &probabilities, &probabilities);
        expect(top(9), &probabilities, &probabilities);
        // Of equal ones the first, and always as many as asked for.
        expect(top(2), &[0.25; 4], &[0.5, 0.5, 0.0, 0.0]);
        assert_eq!(top(2).draw(&[0.0, -3e38, 0.0, -3e38], 0.99), 2);
    }

    #[test]
    fn top_p_keeps_the_fewest_that_reach_the_probability() {
        let top = |p: f64| Drawing { top_p: p, ..Drawing::from_all(1.0) };
        let probabilities = [0.1, 0.4, 0.2, 0.3];
        expect(top(1e-9), &probabilities, &[0.0, 1.0, 0.0, 0.0]);
        expect(top(0.39), &probabilities, &[0.0, 1.0, 0.0, 0.0]);
        expect(top(0.41), &probabilities, &[0.0, 4.0 / 7.0, 0.0, 3.0 / 7.0]);
        expect(top(0.71), &probabilities, &[0.0, 4.0 / 9.0, 2.0 / 9.0, 3.0 / 9.0]);
        expect(top(0.91), &probabilities, &probabilities);
        expect(top(1.0), &probabilities, &probabilities);
    }

    /// The temperature changes what is kept, and top-p counts within what top-k leaves.
    #[test]
    fn temperature_comes_first_and_top_p_last() {
        let probabilities = [0.1, 0.4, 0.2, 0.3];
        // At half the temperature: 1 : 16 : 4 : 9 of 30, of which 16 and 9 have 83 %.
        let cold = Drawing { temperature: 0.5, top_k: None, top_p: 0.8 };
        expect(cold, &probabilities, &[0.0, 16.0 / 25.0, 0.0, 9.0 / 25.0]);
        expect(Drawing { temperature: 1.0, ..cold }, &probabilities, &[0.0, 4.0 / 9.0, 2.0 / 9.0, 3.0 / 9.0]);
        // Of two classes the first has 57 %, and of all only 40 %.
        let both = Drawing { temperature: 1.0, top_k: Some(2), top_p: 0.5 };
        expect(both, &probabilities, &[0.0, 1.0, 0.0, 0.0]);
        expect(Drawing { top_k: None, ..both }, &probabilities, &[0.0, 4.0 / 7.0, 0.0, 3.0 / 7.0]);
    }
}
