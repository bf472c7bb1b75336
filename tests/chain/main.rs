//! The chain of trust: each link between the equations and what a GPU computes, held on its own, and a fault planted in each.

mod blocks;
mod device;
mod edits;
mod faulty;
mod fixtures;
mod naive;
mod persistent;
mod reference_cases;
mod reflection;

mod accumulation;
mod discrete;
mod dropout;
mod embedding;
mod flow;
mod following;
mod invariance;
mod kernels;
mod limits;
mod lockstep;
mod losses;
mod mutants;
mod network;
mod optimizers;
mod properties;
mod reductions;
mod reference;
mod reference_faults;
mod sequences;
mod shaders;
mod shapes;
mod simulation;
mod training;
mod translation;
mod tune;
mod widths;
