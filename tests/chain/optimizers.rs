//! Twenty steps of each optimiser beside PyTorch's own, whose weights `scripts/pytorch_optimizers.py` prints.

use retrospect::kernels::update::{self, Adam, Control};
use retrospect::program::{Mat, Program};

use super::device::{backend, device};

const ADAMW: Adam = Adam { beta1: 0.8, beta2: 0.99, epsilon: 1e-6 };
const RATE: f64 = 0.05;

/// An optimiser, how its step is recorded from the windows of weight, gradient, m and v, and PyTorch's weights after the steps [`AFTER`].
struct Case {
    name: &'static str,
    adam: Adam,
    record: fn(&mut Program, [Mat; 4], Control),
    weights: [[f64; 4]; 4],
}

const AFTER: [u32; 4] = [1, 2, 7, 20];

const CASES: [Case; 7] = [
    Case {
        name: "sgd",
        adam: Adam::USUAL,
        record: |program, [w, g, ..], control| update::sgd(program, w, g, control),
        weights: [
            [0.475911045, -0.345464871, 0.767946509, 0.12555411],
            [0.463023511, -0.337577587, 0.824706696, 0.225546436],
            [0.463984989, -0.330482996, 0.83810099, 0.238675976],
            [0.484662333, -0.333930584, 0.768158376, 0.102917654],
        ],
    },
    Case {
        name: "momentum",
        adam: Adam::USUAL,
        record: |program, [w, g, m, _], control| update::momentum(program, w, g, m, control, 0.9, false),
        weights: [
            [0.475911045, -0.345464871, 0.767946509, 0.12555411],
            [0.441343452, -0.378495971, 0.795858554, 0.248545135],
            [0.390325622, -0.397558082, 0.905173525, 0.509625893],
            [0.367521942, -0.375995756, 1.02305989, 0.706939821],
        ],
    },
    Case {
        name: "nesterov",
        adam: Adam::USUAL,
        record: |program, [w, g, m, _], control| update::momentum(program, w, g, m, control, 0.9, true),
        weights: [
            [0.454230986, -0.386383256, 0.739098367, 0.148552809],
            [0.410232618, -0.40822396, 0.820979395, 0.359237058],
            [0.365278049, -0.418285269, 0.932757162, 0.60733928],
            [0.365432081, -0.402326764, 0.968912279, 0.649163493],
        ],
    },
    Case {
        name: "adam",
        adam: Adam::USUAL,
        record: |program, [w, g, m, v], control| update::adam(program, w, g, m, v, control, Adam::USUAL, 0.0),
        weights: [
            [0.450000001, -0.349999999, 0.750000001, 0.149999999],
            [0.402903914, -0.376646611, 0.765933684, 0.194340909],
            [0.371226596, -0.374034241, 0.805646823, 0.254069573],
            [0.362503592, -0.368006422, 0.82437523, 0.276652184],
        ],
    },
    Case {
        name: "adamw",
        adam: ADAMW,
        record: |program, [w, g, m, v], control| update::adam(program, w, g, m, v, control, ADAMW, 0.5),
        weights: [
            [0.437500104, -0.342499945, 0.730000078, 0.147499902],
            [0.380256287, -0.358244778, 0.73047852, 0.189553536],
            [0.314086357, -0.311124302, 0.674645639, 0.211001937],
            [0.235763161, -0.21418918, 0.490682192, 0.150020186],
        ],
    },
    Case {
        name: "rmsprop",
        adam: Adam::USUAL,
        record: |program, [w, g, _, v], control| update::rmsprop(program, w, g, v, control, [0.95, 1.0 - 0.95], 1e-8),
        weights: [
            [0.276393223, -0.523606787, 0.576393218, 0.323606778],
            [0.168799106, -0.484423369, 0.772286385, 0.540583622],
            [0.222521726, -0.427410218, 0.807279343, 0.537206682],
            [0.321308433, -0.41663346, 0.724207206, 0.398249824],
        ],
    },
    Case {
        name: "adagrad",
        adam: Adam::USUAL,
        record: |program, [w, g, _, v], control| update::rmsprop(program, w, g, v, control, [1.0, 1.0], 1e-10),
        weights: [
            [0.45, -0.35, 0.75, 0.15],
            [0.426413482, -0.341453608, 0.793537455, 0.198443079],
            [0.439330883, -0.328289604, 0.801317001, 0.196755002],
            [0.459691679, -0.324653656, 0.786262798, 0.169763961],
        ],
    },
];

/// The gradient of the script.
fn gradient(t: u32) -> [f32; 4] {
    [0, 1, 2, 3].map(|i| (f64::from(i + 1) / 2.0 * (1.3 * f64::from(t) + 0.7 * f64::from(i)).sin()) as f32)
}

#[test]
fn twenty_steps_are_pytorch_s() {
    for case in CASES {
        for on in ["CPU", "tiled"] {
            let mut program = Program::new();
            let [w, g, m, v] = ["w", "g", "m", "v"].map(|name| program.matrix(name, 1, 4));
            let [schedule, status, norm] = ["schedule", "status", "norm"].map(|name| program.matrix(name, 1, 4));
            (case.record)(&mut program, [w, g, m, v], Control { schedule, status, norm, clip: None, clip_value: None });
            let mut backend = backend(&program, device(), on);
            backend.write(w, &[0.5, -0.3, 0.8, 0.1]).unwrap();
            for t in 1..=20 {
                let correction = |beta: f32| (1.0 / (1.0 - f64::from(beta).powi(t as i32))) as f32;
                let corrections = [case.adam.beta1, case.adam.beta2].map(correction);
                backend.write(schedule, &[RATE as f32, corrections[0], corrections[1], 0.0]).unwrap();
                backend.write(g, &gradient(t)).unwrap();
                backend.run(0..1).unwrap();
                let Some(place) = AFTER.iter().position(|after| *after == t) else { continue };
                for (found, expected) in backend.read(w).unwrap().into_iter().zip(case.weights[place]) {
                    let off = (f64::from(found) - expected).abs();
                    assert!(off < 1e-6, "{} on {on}, step {t}: {found}, and PyTorch has {expected}", case.name);
                }
            }
        }
    }
}
