//! What the optimisers compute: plain loops for f64, which define it, and for f32 on the CPU.

use num_traits::Float;
use rayon::prelude::*;

use super::{AdamScalars, Clipping, MomentumScalars, RmsPropScalars};
use crate::program::{View, scalars};
use crate::simd::arch;

fn number<T: Float>(value: f64) -> T {
    T::from(value).expect("a float")
}

/// What gradients are scaled by: 1 where they are not.
pub(super) fn factor<T: Float>(norm: &View<T>, limit: f32) -> T {
    let scale = number::<T>(f64::from(limit)) / (norm.at(0, 0) + number(1e-6));
    // NaN compares false.
    if limit > 0.0 && scale < T::one() { scale } else { T::one() }
}

/// Clips gradients, by their norm and each for itself.
#[derive(Clone, Copy)]
pub(super) struct Clipper<T> {
    factor: T,
    /// Infinite where elements are not clipped.
    pub(super) bound: T,
}

impl<T: Float> Clipper<T> {
    pub(super) fn new(norm: &View<T>, Clipping { limit, bound }: Clipping) -> Clipper<T> {
        let bound = if bound > 0.0 { number(f64::from(bound)) } else { T::infinity() };
        Clipper { factor: factor(norm, limit), bound }
    }

    #[inline(always)]
    pub(super) fn clip(self, g: T) -> T {
        let g = g * self.factor;
        // NaN stays.
        if g > self.bound {
            self.bound
        } else if g < -self.bound {
            -self.bound
        } else {
            g
        }
    }
}

/// The values of a row in blocks of a fixed size, in parallel.
fn par_blocks<T: Send>(view: &mut [T]) -> impl IndexedParallelIterator<Item = &mut [T]> {
    view.par_chunks_mut(BLOCK)
}

const BLOCK: usize = 1 << 14;

pub(super) fn run_sgd<T: Float + Send + Sync>(views: &mut [View<T>], bytes: &[u8]) {
    let [weight, gradient, schedule, status, norm] = views else { unreachable!("five windows") };
    if status.at(0, 0) != T::zero() {
        return;
    }
    let (rate, clipper) = (schedule.at(0, 0), Clipper::new(norm, scalars(bytes)));
    par_blocks(weight.row_mut(0)).zip(gradient.row(0).par_chunks(BLOCK)).for_each(|(w, g)| {
        w.iter_mut().zip(g).for_each(|(w, &g)| *w = *w - rate * clipper.clip(g));
    });
}

pub(super) fn run_momentum<T: Float + Send + Sync>(views: &mut [View<T>], bytes: &[u8]) {
    let [weight, gradient, m, schedule, status, norm] = views else { unreachable!("six windows") };
    if status.at(0, 0) != T::zero() {
        return;
    }
    let MomentumScalars { momentum, clipping, nesterov } = scalars(bytes);
    let (rate, mu, clipper) = (schedule.at(0, 0), number::<T>(f64::from(momentum)), Clipper::new(norm, clipping));
    par_blocks(weight.row_mut(0)).zip(par_blocks(m.row_mut(0))).zip(gradient.row(0).par_chunks(BLOCK)).for_each(|((w, m), g)| {
        for ((w, m), &g) in w.iter_mut().zip(m).zip(g) {
            let g = clipper.clip(g);
            *m = mu * *m + g;
            *w = *w - rate * if nesterov == 1 { g + mu * *m } else { *m };
        }
    });
}

pub(super) fn run_adam<T: Float + Send + Sync>(views: &mut [View<T>], bytes: &[u8]) {
    let [weight, gradient, m, v, schedule, status, norm] = views else { unreachable!("seven windows") };
    if status.at(0, 0) != T::zero() {
        return;
    }
    let AdamScalars { constants, clipping, decay } = scalars(bytes);
    let [b1, b2, epsilon, decay] =
        [constants.beta1, constants.beta2, constants.epsilon, decay].map(|c| number::<T>(f64::from(c)));
    let clipper = Clipper::new(norm, clipping);
    let (a1, a2) = (T::one() - b1, T::one() - b2);
    let (rate, correct) = (schedule.at(0, 0) * schedule.at(0, 1), schedule.at(0, 2));
    let kept = T::one() - schedule.at(0, 0) * decay;
    let moments = par_blocks(m.row_mut(0)).zip(par_blocks(v.row_mut(0)));
    par_blocks(weight.row_mut(0)).zip(moments).zip(gradient.row(0).par_chunks(BLOCK)).for_each(|((w, (m, v)), g)| {
        arch().dispatch(|| {
            for (((w, m), v), &g) in w.iter_mut().zip(&mut *m).zip(&mut *v).zip(g) {
                let g = clipper.clip(g);
                *m = b1 * *m + a1 * g;
                *v = b2 * *v + a2 * g * g;
                *w = kept * *w - rate * *m / ((correct * *v).sqrt() + epsilon);
            }
        });
    });
}

pub(super) fn run_rmsprop<T: Float + Send + Sync>(views: &mut [View<T>], bytes: &[u8]) {
    let [weight, gradient, v, schedule, status, norm] = views else { unreachable!("six windows") };
    if status.at(0, 0) != T::zero() {
        return;
    }
    let RmsPropScalars { kept, added, epsilon, clipping } = scalars(bytes);
    let [kept, added, epsilon] = [kept, added, epsilon].map(|c| number::<T>(f64::from(c)));
    let (rate, clipper) = (schedule.at(0, 0), Clipper::new(norm, clipping));
    par_blocks(weight.row_mut(0)).zip(par_blocks(v.row_mut(0))).zip(gradient.row(0).par_chunks(BLOCK)).for_each(|((w, v), g)| {
        arch().dispatch(|| {
            for ((w, v), &g) in w.iter_mut().zip(&mut *v).zip(g) {
                let g = clipper.clip(g);
                *v = kept * *v + added * g * g;
                *w = *w - rate * g / (v.sqrt() + epsilon);
            }
        });
    });
}
