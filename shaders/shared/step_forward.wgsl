// A forward step: what unit_forward makes of the input, of h_{t-1}·weight and of the states before. Block t of a state is before step t.

// The sums of a thread, and the parts of the state that the product reads.
const SUMS: u32 = GATES;
const PARTS: u32 = 1u;
alias Sums = array<vec4<f32>, SUMS>;
alias State = array<vec4<f32>, PARTS>;
alias Inputs = Before;

// How the state that goes from time step to time step is reached: as vectors, or as words that other workgroups wait for.
#for x in WAITS..1
fn own_state(row: u32, col: u32) -> vec4<f32> {
    return hidden[at(params.hidden, row, col)];
}

fn set_state(row: u32, col: u32, value: vec4<f32>) {
    hidden[at(params.hidden, row, col)] = value;
}
#end
#for x in 0..WAITS
fn word_at(row: u32, col: u32) -> u32 {
    return params.hidden.offset + row * params.hidden.stride + col;
}

fn word(place: u32) -> u32 {
    return atomicLoad(&hidden[place]);
}

fn set_word(place: u32, bits: u32) {
    atomicStore(&hidden[place], bits);
}
#end

fn units() -> u32 {
    return params.hidden.cols;
}

// What the cell takes of a time step besides the recurrent sums, for four units of a sequence.
fn inputs_at(time: u32, sequence: u32, col: u32) -> Inputs {
    let row = time * params.batch + sequence;
    return Inputs(
#for g in 0..GATES
        input[at(params.input, row, $gu * gate_stride() + col)],
#end
#for c in 0..CONSTANTS
        constant$c[at(params.constant$c, 0u, col)],
#end
        own_state(row, col),
#for s in 1..STATES
        state$s[at(params.state$s, row, col)],
#end
    );
}

fn unit(inputs: Inputs, sums: Sums) -> After {
    return unit_forward(inputs, sums);
}

fn store(time: u32, sequence: u32, col: u32, after: After) -> State {
    let row = time * params.batch + sequence;
    let state = padded(after.state0, col, units());
    set_state(row + params.batch, col, state);
#for s in 1..STATES
    state$s[at(params.state$s, row + params.batch, col)] = padded(after.state$s, col, units());
#end
#for k in 0..SAVED
    saved[at(params.saved, row, $ku * gate_stride() + col)] = padded(after.saved$k, col, units());
#end
    return State(state);
}

// Where the sums over some of k lie meanwhile: where what is saved goes, or of a cell that saves nothing the state.
fn load_sums(time: u32, sequence: u32, col: u32) -> Sums {
    let row = time * params.batch + sequence;
    return Sums(
#for x in SAVES..1
        own_state(row + params.batch, col),
#end
#for x in 0..SAVES
#for g in 0..GATES
        saved[at(params.saved, row, $gu * gate_stride() + col)],
#end
#end
    );
}

fn store_sums(time: u32, sequence: u32, col: u32, sums: Sums) {
    let row = time * params.batch + sequence;
#for x in SAVES..1
    set_state(row + params.batch, col, padded(sums[0], col, units()));
#end
#for x in 0..SAVES
#for g in 0..GATES
    saved[at(params.saved, row, $gu * gate_stride() + col)] = padded(sums[$g], col, units());
#end
#end
}
