//! How far the optimisers' results in f32 may be from their definitions.

use super::definition::{Clipper, factor};
use super::{AdamScalars, Clipping, MomentumScalars, RmsPropScalars};
use crate::program::{View, scalars};
use crate::rounding::{DIVISION, SQUARE_ROOT, TINY, Terms, U, flushed};

/// Whether nothing changes: then everything is exact.
fn is_halted(status: f64, written: &mut [&mut View<f64>]) -> bool {
    if status != 0.0 {
        written.iter_mut().for_each(|view| view.row_mut(0).fill(0.0));
    }
    status != 0.0
}

/// A gradient as it counts, and how far it may be off: a sum, a quotient, a product and the f32 constant 1e-6; exact where nothing is
/// clipped.
fn clipped(norm: &View<f64>, clipping: Clipping) -> impl Fn(f64) -> [f64; 2] {
    const OFF: f64 = DIVISION + 3.0 * U;
    let Clipping { limit, .. } = clipping;
    let (factor, clipper) = (factor(norm, limit), Clipper::new(norm, clipping));
    let is_scaled = limit > 0.0 && f64::from(limit) / (norm.at(0, 0) + 1e-6) <= 1.0 + OFF;
    move |g| {
        let off = match is_scaled {
            true => OFF * (g * factor).abs() + flushed(g) * factor + g.abs() * flushed(factor) + TINY,
            false => flushed(g),
        };
        // A bound brings numbers no further apart, and what is beyond it either way is the bound itself.
        let is_beyond = (g * factor).abs() - off > clipper.bound || (g * factor).is_infinite();
        [clipper.clip(g), if is_beyond && clipper.bound.is_finite() { 0.0 } else { off }]
    }
}

/// w − rate·g: a product and a sum.
pub(super) fn bound_sgd(views: &mut [View<f64>], bytes: &[u8]) {
    let [weight, gradient, schedule, status, norm] = views else { unreachable!("five windows") };
    if is_halted(status.at(0, 0), &mut [weight]) {
        return;
    }
    let (rate, clipped) = (schedule.at(0, 0), clipped(norm, scalars(bytes)));
    for (w, &g) in weight.row_mut(0).iter_mut().zip(gradient.row(0)) {
        let [g, off] = clipped(g);
        *w = stepped(*w, rate, g, off);
    }
}

/// How far w − rate·x is off, of an x that is itself off by `off`.
fn stepped(w: f64, rate: f64, x: f64, off: f64) -> f64 {
    let mut terms = Terms::default();
    terms.number(w);
    terms.product(rate, x);
    terms.of_products() + (1.0 + 2.0 * U) * rate.abs() * off
}

/// The mean's product and sum, and what they do to w.
pub(super) fn bound_momentum(views: &mut [View<f64>], bytes: &[u8]) {
    let [weight, gradient, m, schedule, status, norm] = views else { unreachable!("six windows") };
    if is_halted(status.at(0, 0), &mut [weight, m]) {
        return;
    }
    let MomentumScalars { momentum, clipping, nesterov } = scalars(bytes);
    let (rate, mu, clipped) = (schedule.at(0, 0), f64::from(momentum), clipped(norm, clipping));
    for ((w, m), &g) in weight.row_mut(0).iter_mut().zip(m.row_mut(0)).zip(gradient.row(0)) {
        let [g, g_off] = clipped(g);
        let mut terms = Terms::default();
        terms.product(mu, *m);
        terms.number(g);
        let off = terms.of_products() + g_off;
        let mean = mu * *m + g;
        *w = match nesterov {
            1 => {
                let mut ahead = Terms::default();
                ahead.number(g);
                ahead.product(mu, mean);
                stepped(*w, rate, g + mu * mean, ahead.of_products() + g_off + mu * off * (1.0 + 2.0 * U))
            }
            _ => stepped(*w, rate, mean, off),
        };
        *m = off;
    }
}

/// How far kept·v + added·g² is off, of a g that is itself off: that goes into its square twice, and once squared itself.
fn off_of_squares(v: f64, [kept, added]: [f64; 2], [g, g_off]: [f64; 2]) -> f64 {
    let mut square = Terms::default();
    square.product(kept, v);
    square.product(added * g, g);
    square.of_products() + added * (U * g * g + (2.0 * g.abs() + g_off) * g_off)
}

/// The square root of x, and how far it is off, of an x that is itself off: √(x + d) is within √x·d/2x of √x, and within √d.
fn root(x: f64, off: f64) -> [f64; 2] {
    let root = x.sqrt();
    [root, off.sqrt().min(off / root) + SQUARE_ROOT * root]
}

/// The moments' sums of products, of which g² has one more; then a quotient of two products by a root and ε: relative errors add up.
pub(super) fn bound_adam(views: &mut [View<f64>], bytes: &[u8]) {
    let [weight, gradient, m, v, schedule, status, norm] = views else { unreachable!("seven windows") };
    if is_halted(status.at(0, 0), &mut [weight, m, v]) {
        return;
    }
    let AdamScalars { constants, clipping, decay } = scalars(bytes);
    let [b1, b2, epsilon, decay] = [constants.beta1, constants.beta2, constants.epsilon, decay].map(f64::from);
    let (rate, correct, clipped) = (schedule.at(0, 0) * schedule.at(0, 1), schedule.at(0, 2), clipped(norm, clipping));
    // A product, a difference and a product; nothing where there is no decay.
    let taken = (schedule.at(0, 0) * decay).abs();
    let kept = 1.0 - schedule.at(0, 0) * decay;
    let kept_off = if decay > 0.0 { U * (taken + 2.0 * kept.abs()) } else { 0.0 };
    let moments = m.row_mut(0).iter_mut().zip(v.row_mut(0));
    for ((w, (m, v)), &g) in weight.row_mut(0).iter_mut().zip(moments).zip(gradient.row(0)) {
        let [g, g_off] = clipped(g);
        let mut mean = Terms::default();
        mean.product(b1, *m);
        mean.product(1.0 - b1, g);
        let mean_off = mean.of_products() + (1.0 - b1) * g_off;
        let square_off = off_of_squares(*v, [b2, 1.0 - b2], [g, g_off]);
        let (mean, square) = (b1 * *m + (1.0 - b1) * g, b2 * *v + (1.0 - b2) * g * g);
        let [root, root_off] = root(correct * square, correct * square_off + U * correct * square + TINY);
        let below = root + epsilon;
        if below.is_infinite() {
            // Nothing is taken from w, unless its mean is infinite as well.
            (*w, *m, *v) = ((U + kept_off) * w.abs() + TINY, mean_off, square_off);
            continue;
        }
        let relative = (root_off + U * below) / below + DIVISION + 3.0 * U;
        let off = rate.abs() * (mean_off + mean.abs() * relative) / below + TINY;
        *w = U * ((kept * *w).abs() + (rate * mean / below).abs()) + (kept_off * w.abs() + off) * (1.0 + 2.0 * U);
        (*m, *v) = (mean_off, square_off);
    }
}

/// The sum of squares as Adam's; then a quotient by a root and ε: relative errors add up.
pub(super) fn bound_rmsprop(views: &mut [View<f64>], bytes: &[u8]) {
    let [weight, gradient, v, schedule, status, norm] = views else { unreachable!("six windows") };
    if is_halted(status.at(0, 0), &mut [weight, v]) {
        return;
    }
    let RmsPropScalars { kept, added, epsilon, clipping } = scalars(bytes);
    let [kept, added, epsilon] = [kept, added, epsilon].map(f64::from);
    let (rate, clipped) = (schedule.at(0, 0), clipped(norm, clipping));
    for ((w, v), &g) in weight.row_mut(0).iter_mut().zip(v.row_mut(0)).zip(gradient.row(0)) {
        let [g, g_off] = clipped(g);
        let square_off = off_of_squares(*v, [kept, added], [g, g_off]);
        let [root, root_off] = root(kept * *v + added * g * g, square_off + TINY);
        let below = root + epsilon;
        if below.is_infinite() {
            (*w, *v) = (U * w.abs() + TINY, square_off);
            continue;
        }
        let relative = (root_off + U * below) / below + DIVISION + 2.0 * U;
        let off = rate.abs() * (g_off + g.abs() * relative) / below + TINY;
        *w = U * (w.abs() + (rate * g / below).abs()) + off * (1.0 + 2.0 * U);
        *v = square_off;
    }
}
