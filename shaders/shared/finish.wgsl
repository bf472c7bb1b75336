// Stores what a piece of the sum over k makes of the new state, and returns it: a piece that is not the last leaves the sum so far, and the
// last calls the cell.
fn finish(time: u32, sequence: u32, col: u32, sum: vec4<f32>) -> vec4<f32> {
    return finish_with(inputs_at(time, sequence, col), time, sequence, col, sum);
}

// The same with what the cell takes already fetched.
fn finish_with(inputs: Inputs, time: u32, sequence: u32, col: u32, sum: vec4<f32>) -> vec4<f32> {
    let i = place(time, sequence, col);
    var total = sum;
    if params.k > 0u {
        total += load_state(i);
    }
    if params.more == 0u {
        total = unit(inputs, total);
    }
    return store_state(i, col, total);
}
