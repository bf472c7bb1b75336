// What a cell takes and makes, four units at a time. How many numbers there are of each kind is in the cell's constants.
alias Gates = array<vec4<f32>, GATES>;

// What new states are made of, besides the recurrent sums.
struct Before {
#for g in 0..GATES
    input$g: vec4<f32>,
#end
#for c in 0..CONSTANTS
    constant$c: vec4<f32>,
#end
#for s in 0..STATES
    before$s: vec4<f32>,
#end
}

// The new states, and what is saved for the way back.
struct After {
#for s in 0..STATES
    state$s: vec4<f32>,
#end
#for k in 0..SAVED
    saved$k: vec4<f32>,
#end
}

// What gradients are made of, besides what comes back through the recurrent sums.
struct Behind {
    d_hidden: vec4<f32>,
#for c in 0..CONSTANTS
    constant$c: vec4<f32>,
#end
#for k in 0..KEPT
    kept$k: vec4<f32>,
#end
#for k in 0..SAVED
    saved$k: vec4<f32>,
#end
#for d in 0..DIRECT
    direct$d: vec4<f32>,
#end
}

// The gradients of the recurrent sums, those that go to states on paths of their own, and those of the input's parts where they differ.
struct Gradients {
    recurrent: Gates,
#for d in 0..DIRECT
    direct$d: vec4<f32>,
#end
#for x in 0..DISTINCT
    input: Gates,
#end
}

// The columns from one gate to the next.
fn gate_stride() -> u32 {
    return (units() + 3u) & ~3u;
}
