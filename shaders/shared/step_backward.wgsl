// A backward step: d_t = unit_backward(dh_t, d_{t+1}·weight, h_t), the gradient of the pre-activation. Block t of d_sum is d_t and the one
// behind the last is what comes from later.

// What the cell takes of a time step besides the recurrent sum, for four units of a sequence.
struct Inputs {
    d_hidden: vec4<f32>,
    hidden: vec4<f32>,
}

fn inputs_at(time: u32, sequence: u32, col: u32) -> Inputs {
    let row = time * params.batch + sequence;
    return Inputs(d_hidden[at(params.d_hidden, row, col)], hidden[at(params.hidden, row, col)]);
}

fn unit(inputs: Inputs, sum: vec4<f32>) -> vec4<f32> {
    return unit_backward(params.activation, inputs.d_hidden, sum, inputs.hidden);
}

// Where the new state lies.
fn place(time: u32, sequence: u32, col: u32) -> u32 {
    return at(params.d_sum, time * params.batch + sequence, col);
}

fn load_state(i: u32) -> vec4<f32> {
    return d_sum[i];
}

fn store_state(i: u32, col: u32, value: vec4<f32>) -> vec4<f32> {
    let state = padded(value, col, params.d_sum.cols);
    d_sum[i] = state;
    return state;
}
