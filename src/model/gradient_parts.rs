//! The gradients in the order in which the backward pass completes them: so what is complete can be added up over ranks while the layers below
//! are computed.

use std::ops::Range;

use super::parameters::{Parameters, Role};
use crate::program::Mat;

/// Gradients that are complete at the same step of the program.
#[derive(Debug, Clone)]
pub(crate) struct GradientPart {
    /// The steps of the backward pass that lead to them, from the part before on.
    pub steps: Range<usize>,
    /// Where they lie in the arena, in rows of one.
    pub windows: Vec<Mat>,
}

/// The parts of a backward pass, of which `complete` has the end of the steps for the head, which is `None`, and for each layer, in the order of
/// the steps. What belongs to neither is complete at the end. What is not trained has no gradient.
pub(super) fn gradient_parts(
    arena: Mat,
    parameters: &Parameters,
    complete: &[(usize, Option<usize>)],
    backward: &Range<usize>,
) -> Vec<GradientPart> {
    let place = |role: Role, layer: Option<usize>| match role {
        Role::Embedding => complete.len(),
        _ => complete.iter().position(|(_, of)| *of == layer).unwrap_or(complete.len()),
    };
    let mut windows: Vec<Vec<Range<u32>>> = vec![Vec::new(); complete.len() + 1];
    for (parameter, window) in parameters.table.iter().zip(&parameters.windows).filter(|(parameter, _)| parameter.is_trained()) {
        let (start, end) = (window.offset as u32, window.end() as u32);
        let runs = &mut windows[place(parameter.role, parameter.layer)];
        match runs.last_mut() {
            Some(run) if run.end == start => run.end = end,
            _ => runs.push(start..end),
        }
    }
    let ends = complete.iter().map(|(end, _)| *end).chain([backward.end]);
    let mut start = backward.start;
    let parts = ends.zip(windows).map(|(end, runs)| {
        let steps = start..end;
        start = end;
        GradientPart { steps, windows: runs.into_iter().map(|run| arena.slice_cols(run)).collect() }
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use crate::batch::{Input, Loss};
    use crate::model::{Biases, Config, Model};

    /// All gradients that are trained are in one part alone, the parts follow one another to the end, and the first is the head's, long before the
    /// end.
    #[test]
    fn every_gradient_is_in_one_part() {
        let base = Config::new(Input::Tokens(7), 5, 7, Loss::CrossEntropy, 3, 6);
        let two = Config { layers: 2, embedding: Some(3), biases: Biases::Two, ..base.clone() };
        let both = Config { bidirectional: true, ..two.clone() };
        let masked = Config { recurrent_mask: true, recompute: Some(2), ..two.clone() };
        for config in [base, two, both, masked] {
            let model = Model::new(&config).unwrap();
            let mut next = model.backward.start;
            let mut covered = Vec::new();
            for part in &model.gradient_parts {
                assert_eq!(part.steps.start, next);
                next = part.steps.end;
                covered.extend(part.windows.iter().flat_map(|window| window.offset..window.end()));
            }
            assert_eq!(next, model.backward.end);
            covered.sort_unstable();
            let trained = model.parameters.table.iter().zip(&model.gradients).filter(|(parameter, _)| parameter.is_trained());
            let expected: Vec<u64> = trained.flat_map(|(_, window)| window.offset..window.end()).collect();
            assert_eq!(covered, expected, "{config:?}");
            let places = config.layers * config.directions();
            assert_eq!(model.gradient_parts.len(), places + 2);
            // Of several segments none is complete before the last one.
            assert!(config.recompute.is_some() || model.gradient_parts[0].steps.len() < model.backward.len() / 2);
        }
    }
}
