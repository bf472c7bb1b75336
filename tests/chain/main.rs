//! The chain of trust: each link between the equations and what a GPU computes, held on its own, and a fault planted in each.

mod compare;
mod device;
mod fixtures;
mod naive;
mod networks;
mod pair;
mod reflection;

mod invariance;
mod kernels;
mod lockstep;
mod network;
mod reference;
mod shaders;
mod training;
