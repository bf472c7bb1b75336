//! How long one time step of an LSTM takes alone on the CPU, as an audio plug-in makes them, beside a prediction of one time step.

use criterion::Criterion;
use ndarray::Array3;
use retrospect::backend::Compute;
use retrospect::batch::{InitialState, Input, Inputs, Loss, Sequences};
use retrospect::cells::Cell;
use retrospect::model::{Config, RecurrentInit};
use retrospect::network::Network;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("lstm");
    let cell = Cell::named("lstm").expect("there is an LSTM");
    for (layers, hidden) in [(1, 16), (1, 40), (2, 40), (1, 256)] {
        let config = Config { cell, layers, ..Config::new(Input::Vectors(1), hidden, 1, Loss::SquaredError, 1, 1) };
        let mut network = Network::new(&config, &Compute::Cpu(Some(1))).expect("a small network");
        network.initialise(1, RecurrentInit::Uniform).expect("a usual start");
        let mut output = [0.0];
        let name = format!("{layers}x{hidden}");
        group.bench_function(format!("step/{name}"), |bencher| {
            bencher.iter(|| network.step(&[0.3], &mut output).expect("one number"));
        });
        group.bench_function(format!("predict/{name}"), |bencher| {
            bencher.iter(|| {
                let x = Inputs::Vectors(Array3::from_elem((1, 1, 1), 0.3));
                let one = Sequences { initial_state: InitialState::Carried, ..Sequences::new(x) };
                network.predict(&one).expect("one time step")
            });
        });
    }
    group.finish();
}
