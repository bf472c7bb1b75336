// A forward step: h_t = unit_forward(p_t, h_{t-1}·weight). Block t of hidden is the state before step t.

// What the cell takes of a time step besides the recurrent sum, for four units of a sequence.
struct Inputs {
    input: vec4<f32>,
}

fn inputs_at(time: u32, sequence: u32, col: u32) -> Inputs {
    return Inputs(input[at(params.input, time * params.batch + sequence, col)]);
}

fn unit(inputs: Inputs, sum: vec4<f32>) -> vec4<f32> {
    return unit_forward(params.activation, inputs.input, sum);
}

// Where the new state lies.
fn place(time: u32, sequence: u32, col: u32) -> u32 {
    return at(params.hidden, (time + 1u) * params.batch + sequence, col);
}

fn load_state(i: u32) -> vec4<f32> {
    return hidden[i];
}

fn store_state(i: u32, col: u32, value: vec4<f32>) -> vec4<f32> {
    let state = padded(value, col, params.hidden.cols);
    hidden[i] = state;
    return state;
}
