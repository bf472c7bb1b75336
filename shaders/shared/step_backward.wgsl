// A backward step: what unit_backward makes of the gradient of h from above, of d_{t+1}·weight and of what was kept. Block t of d_sum is d_t,
// the gradient of the recurrent sums, and the one behind the last is what comes from later.

// The sums of a thread, and the parts of the state that the product reads.
const SUMS: u32 = 1u;
const PARTS: u32 = GATES;
alias Sums = array<vec4<f32>, SUMS>;
alias State = array<vec4<f32>, PARTS>;
alias Inputs = Behind;

// How the gradient of the sums that goes from time step to time step is reached: as vectors, or as words that other workgroups wait for.
#for x in WAITS..1
fn own_state(row: u32, col: u32) -> vec4<f32> {
    return d_sum[at(params.d_sum, row, col)];
}

fn set_state(row: u32, col: u32, value: vec4<f32>) {
    d_sum[at(params.d_sum, row, col)] = value;
}
#end
#for x in 0..WAITS
fn word_at(row: u32, col: u32) -> u32 {
    return params.d_sum.offset + row * params.d_sum.stride + col;
}

fn word(place: u32) -> u32 {
    return atomicLoad(&d_sum[place]);
}

fn set_word(place: u32, bits: u32) {
    atomicStore(&d_sum[place], bits);
}
#end

fn units() -> u32 {
    return params.d_hidden.cols;
}

// What the cell takes of a time step besides the recurrent sum, for four units of a sequence.
fn inputs_at(time: u32, sequence: u32, col: u32) -> Inputs {
    let row = time * params.batch + sequence;
    return Inputs(
        d_hidden[at(params.d_hidden, row, col)],
#for c in 0..CONSTANTS
        constant$c[at(params.constant$c, 0u, col)],
#end
#for k in 0..KEPT
        kept$k[at(params.kept$k, row, col)],
#end
#for k in 0..SAVED
        saved[at(params.saved, row, $ku * gate_stride() + col)],
#end
#for d in 0..DIRECT
        d_state$d[at(params.d_state$d, row + params.batch, col)],
#end
    );
}

fn unit(inputs: Inputs, sums: Sums) -> Gradients {
    return unit_backward(inputs, sums[0]);
}

fn store(time: u32, sequence: u32, col: u32, gradients: Gradients) -> State {
    let row = time * params.batch + sequence;
#for g in 0..GATES
    let d$g = padded(gradients.recurrent[$g], col, units());
    set_state(row, $gu * gate_stride() + col, d$g);
#end
#for d in 0..DIRECT
    d_state$d[at(params.d_state$d, row, col)] = padded(gradients.direct$d, col, units());
#end
#for x in 0..DISTINCT
#for g in 0..GATES
    d_input[at(params.d_input, row, $gu * gate_stride() + col)] = padded(gradients.input[$g], col, units());
#end
#end
    return State(
#for g in 0..GATES
        d$g,
#end
    );
}

// The sum over some of k lies where the first gate's gradient goes.
fn load_sums(time: u32, sequence: u32, col: u32) -> Sums {
    return Sums(own_state(time * params.batch + sequence, col));
}

fn store_sums(time: u32, sequence: u32, col: u32, sums: Sums) {
    set_state(time * params.batch + sequence, col, padded(sums[0], col, units()));
}
