//! The chain of trust: each link between the equations and what a GPU computes, held on its own, and a fault planted in each.

mod device;
mod faulty;
mod fixtures;
mod naive;
mod reflection;

mod flow;
mod invariance;
mod kernels;
mod lockstep;
mod mutants;
mod network;
mod properties;
mod reference;
mod shaders;
mod training;
mod tune;
mod widths;
