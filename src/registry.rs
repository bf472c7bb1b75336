//! Every kernel of this crate: those of [`kernels`](crate::kernels), and the recurrences of the [`cells`]. Tests and checks go through them, and
//! [`Device::choose`](crate::backend::Device::choose) finds those that a record names.

use crate::cells;
use crate::kernels::{
    column_sum, constraint, dropout, embedding, fill, gather, gemm, journal, map, noise, norm, padding, softmax_loss, transpose,
    update, value_loss,
};
use crate::program::Kernel;

/// Every kernel.
#[must_use]
pub fn kernels() -> Vec<&'static Kernel> {
    let mut kernels = vec![
        &gemm::NN,
        &gemm::NT,
        &gemm::TN,
        &gemm::NT_BIAS,
        &column_sum::COLUMN_SUM,
        &embedding::LOOKUP,
        &embedding::GRADIENT,
        &softmax_loss::SOFTMAX_LOSS,
        &value_loss::VALUE_LOSS,
        &norm::NORM,
        &journal::JOURNAL,
        &update::SGD,
        &update::MOMENTUM,
        &update::ADAM,
        &update::RMSPROP,
        &transpose::TRANSPOSE,
        &fill::FILL,
        &fill::COPY,
        &fill::ADD,
        &fill::CARRY,
        &gather::GATHER,
        &padding::CLEAR_PADDING,
        &map::ACTIVATE,
        &map::ACTIVATE_GRADIENT,
        &dropout::DROPOUT,
        &noise::NOISE,
        &constraint::CONNECTIONS,
        &constraint::SIGNS,
    ];
    for cell in cells::ALL {
        kernels.extend([cell.forward, cell.backward]);
    }
    kernels
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a variant without run-time checks would run is marked as in bounds; otherwise it would run with them.
    #[test]
    fn shaders_without_checks_stay_in_bounds() {
        let variants = kernels().into_iter().flat_map(|kernel| kernel.variants).filter(|variant| variant.checked.is_some());
        let shaders: Vec<bool> = variants.flat_map(|variant| variant.shaders).map(|shader| shader.stays_in_bounds).collect();
        assert!(shaders.len() > 100 && shaders.iter().all(|&marked| marked), "{shaders:?}");
    }
}
