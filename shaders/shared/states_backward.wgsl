// The gradients of the sums that go from time step to time step, as vectors.
alias StateWord = vec4<f32>;
const WAITS: u32 = 0u;

fn own_state(row: u32, col: u32) -> vec4<f32> {
    return d_sum[at(params.d_sum, row, col)];
}

fn set_state(row: u32, col: u32, value: vec4<f32>) {
    d_sum[at(params.d_sum, row, col)] = value;
}
