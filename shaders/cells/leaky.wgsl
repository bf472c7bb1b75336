// The leaky cell: h = (1 - α)·h_before + α·a with a = φ(input + recurrent). a is saved.
const GATES: u32 = 1u;
const STATES: u32 = 1u;
const SAVED: u32 = 1u;
const SAVES: u32 = 1u;
const CONSTANTS: u32 = 1u; // α
const KEPT: u32 = 0u;
const DIRECT: u32 = 1u; // of h
const DISTINCT: u32 = 0u;

fn unit_forward(at: Before, recurrent: Gates) -> After {
    let a = activate(params.activation, at.input0 + recurrent[0]);
    return After((1.0 - at.constant0) * at.before0 + at.constant0 * a, a);
}

fn unit_backward(at: Behind, recurrent: vec4<f32>) -> Gradients {
    let d_h = at.d_hidden + recurrent + at.direct0;
    let d_sum = at.constant0 * d_h * derivative(params.activation, at.saved0);
    return Gradients(Gates(d_sum), (1.0 - at.constant0) * d_h);
}
