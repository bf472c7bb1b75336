// The LSTM: c = f·c_before + i·g, h = o·tanh(c), with i, f and o = σ(input + recurrent) and g = tanh(input + recurrent), which are saved.
const GATES: u32 = 4u; // i, f, g, o
const STATES: u32 = 2u; // h, c
const SAVED: u32 = 4u;
const SAVES: u32 = 1u;
const CONSTANTS: u32 = 0u;
const KEPT: u32 = 2u; // c before the time step and after it
const DIRECT: u32 = 1u; // of c
const DISTINCT: u32 = 0u;

fn unit_forward(at: Before, recurrent: Gates) -> After {
    let i = sigmoid(at.input0 + recurrent[0]);
    let f = sigmoid(at.input1 + recurrent[1]);
    let g = rational_tanh(at.input2 + recurrent[2]);
    let o = sigmoid(at.input3 + recurrent[3]);
    let c = f * at.before1 + i * g;
    return After(o * rational_tanh(c), c, i, f, g, o);
}

fn unit_backward(at: Behind, recurrent: vec4<f32>) -> Gradients {
    let i = at.saved0;
    let f = at.saved1;
    let g = at.saved2;
    let o = at.saved3;
    let tanh_c = rational_tanh(at.kept1);
    let d_h = at.d_hidden + recurrent;
    let d_c = at.direct0 + d_h * o * (1.0 - tanh_c * tanh_c);
    let d_i = d_c * g * (i * (1.0 - i));
    let d_f = d_c * at.kept0 * (f * (1.0 - f));
    let d_g = d_c * i * (1.0 - g * g);
    let d_o = d_h * tanh_c * (o * (1.0 - o));
    return Gradients(Gates(d_i, d_f, d_g, d_o), d_c * f);
}
