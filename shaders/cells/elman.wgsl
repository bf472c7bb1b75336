// The Elman cell: h = φ(input + recurrent), and the gradient of its pre-activation from that of h and from h itself.
const GATES: u32 = 1u;
const STATES: u32 = 1u;
const SAVED: u32 = 0u;
const SAVES: u32 = 0u;
const CONSTANTS: u32 = 0u;
const KEPT: u32 = 1u; // h after the time step
const DIRECT: u32 = 0u;
const DISTINCT: u32 = 0u;

fn unit_forward(at: Before, recurrent: Gates) -> After {
    return After(activate(params.activation, at.input0 + recurrent[0]));
}

fn unit_backward(at: Behind, recurrent: vec4<f32>) -> Gradients {
    return Gradients(Gates((at.d_hidden + recurrent) * derivative(params.activation, at.kept0)));
}
