// A backward step: d_t = unit_backward(dh_t, d_{t+1}·weight, h_t), the gradient of the pre-activation. Block t of
// d_sum is d_t and the one behind the last is what comes from later. A piece that is not the last of the sum over k
// leaves the sum so far in block t.
struct Params {
    d_hidden: Window,
    weight: Window,
    hidden: Window,
    d_sum: Window,
    batch: u32,
    activation: u32,
    k: u32,
    more: u32,
    steps: u32,
    chunk: u32,
}

var<immediate> time: u32;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> d_hidden: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> hidden: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> d_sum: array<vec4<f32>>;

fn state_row(time: u32) -> u32 {
    return (time + 1u) * params.batch;
}

fn state_at(row: u32, k: u32) -> vec4<f32> {
    return d_sum[at(params.d_sum, row, params.k + k)];
}

// The time step that is the n-th to be computed.
fn step_at(n: u32) -> u32 {
    return params.steps - 1u - n;
}

// Gives what is left in the new state.
fn finish(time: u32, sequence: u32, col: u32, sum: vec4<f32>) -> vec4<f32> {
    let row = time * params.batch + sequence;
    let out = at(params.d_sum, row, col);
    var total = sum;
    if params.k > 0u {
        total += d_sum[out];
    }
    if params.more == 0u {
        total = unit_backward(params.activation, d_hidden[at(params.d_hidden, row, col)], total, hidden[at(params.hidden, row, col)]);
    }
    total = padded(total, col, params.weight.cols);
    d_sum[out] = total;
    return total;
}
