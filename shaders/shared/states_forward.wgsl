// The states that go from time step to time step, as vectors.
alias StateWord = vec4<f32>;
const WAITS: u32 = 0u;

fn own_state(row: u32, col: u32) -> vec4<f32> {
    return hidden[at(params.hidden, row, col)];
}

fn set_state(row: u32, col: u32, value: vec4<f32>) {
    hidden[at(params.hidden, row, col)] = value;
}
