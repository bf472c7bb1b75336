// A forward step: h_t = unit_forward(p_t, h_{t-1}·weight). Block t of hidden is the state before step t.
// A piece that is not the last of the sum over k leaves the sum so far in block t + 1.
struct Params {
    input: Window,
    weight: Window,
    hidden: Window,
    batch: u32,
    activation: u32,
    k: u32,
    more: u32,
    steps: u32,
    chunk: u32,
}

var<immediate> time: u32;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> hidden: array<vec4<f32>>;

fn state_row(time: u32) -> u32 {
    return time * params.batch;
}

fn state_at(row: u32, k: u32) -> vec4<f32> {
    return hidden[at(params.hidden, row, params.k + k)];
}

// The time step that is the n-th to be computed.
fn step_at(n: u32) -> u32 {
    return n;
}

// Gives what is left in the new state.
fn finish(time: u32, sequence: u32, col: u32, sum: vec4<f32>) -> vec4<f32> {
    let row = time * params.batch + sequence;
    let out = at(params.hidden, row + params.batch, col);
    var total = sum;
    if params.k > 0u {
        total += hidden[out];
    }
    if params.more == 0u {
        total = unit_forward(params.activation, input[at(params.input, row, col)], total);
    }
    total = padded(total, col, params.weight.cols);
    hidden[out] = total;
    return total;
}
