// The state that a piece of the sum over k multiplies by.
fn state_at(row: u32, k: u32) -> vec4<f32> {
    return own_state(row, params.k + k);
}

// Stores what a piece of the sum over k makes of the new state, and returns it: a piece that is not the last leaves the sums so far, and the
// last calls the cell.
fn finish(time: u32, sequence: u32, col: u32, sums: Sums) -> State {
    return finish_with(inputs_at(time, sequence, col), time, sequence, col, sums);
}

// The same with what the cell takes already fetched.
fn finish_with(inputs: Inputs, time: u32, sequence: u32, col: u32, sums: Sums) -> State {
    var total = sums;
    if params.k > 0u {
        let before = load_sums(time, sequence, col);
#for g in 0..SUMS
        total[$g] += before[$g];
#end
    }
    if params.more != 0u {
        store_sums(time, sequence, col, total);
        return State();
    }
    return store(time, sequence, col, unit(inputs, total));
}
