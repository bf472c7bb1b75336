//! How long the batches of each task and of a text take to make: on another thread, ahead of the device, which must not wait for them.

use criterion::{Criterion, Throughput};
use retrospect::batch::Batch;
use retrospect::data::{ALL, Options, Source, Text};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("batch");
    for task in ALL {
        let options = Options { seed: 1, batch: 32, window: task.defaults.window };
        let source = (task.source)(&options).expect("the task's own sizes");
        time(&mut group, task.name, source);
    }
    // Half a million characters of fifty kinds.
    let text: String = (0..500_000u32).map(|i| char::from(b'A' + (i.wrapping_mul(2_654_435_761) >> 24) as u8 % 50)).collect();
    time(&mut group, "text", Box::new(Text::new("text", &text, 32, 64, 0.1).expect("a text")));
    group.finish();
}

fn time(group: &mut criterion::BenchmarkGroup<criterion::measurement::WallTime>, name: &str, mut source: Box<dyn Source>) {
    let (steps, batch) = source.window();
    group.throughput(Throughput::Elements((steps * batch) as u64));
    let mut step = 0;
    group.bench_function(name, |bencher| {
        bencher.iter(|| -> Batch {
            step += 1;
            source.batch(step)
        });
    });
}
