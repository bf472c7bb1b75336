// The GRU: h = (1 - z)·n + z·h_before, with r and z = σ(input + recurrent), n = tanh(input + r·s) and s = recurrent + bias. The reset gate r
// scales the recurrent sum, so that of the third gate the input's part and the recurrent sum have gradients of their own.
const GATES: u32 = 3u; // r, z, n
const STATES: u32 = 1u;
const SAVED: u32 = 4u; // r, z, n, s
const SAVES: u32 = 1u;
const CONSTANTS: u32 = 1u; // the recurrent bias of n
const KEPT: u32 = 1u; // h before the time step
const DIRECT: u32 = 1u; // of h
const DISTINCT: u32 = 1u;

fn unit_forward(at: Before, recurrent: Gates) -> After {
    let r = sigmoid(at.input0 + recurrent[0]);
    let z = sigmoid(at.input1 + recurrent[1]);
    let s = recurrent[2] + at.constant0;
    let n = rational_tanh(at.input2 + r * s);
    return After((1.0 - z) * n + z * at.before0, r, z, n, s);
}

fn unit_backward(at: Behind, recurrent: vec4<f32>) -> Gradients {
    let r = at.saved0;
    let z = at.saved1;
    let n = at.saved2;
    let d_h = at.d_hidden + recurrent + at.direct0;
    let d_n = d_h * (1.0 - z) * (1.0 - n * n);
    let d_z = d_h * (at.kept0 - n) * (z * (1.0 - z));
    let d_r = d_n * at.saved3 * (r * (1.0 - r));
    return Gradients(Gates(d_r, d_z, d_n * r), d_h * z, Gates(d_r, d_z, d_n));
}
