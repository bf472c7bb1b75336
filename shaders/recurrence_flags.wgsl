// Fills the states that workgroups wait for: before the dispatch with what is never written, and after it with NaN where one has given up, so
// that nothing is trained with what is not whole. The dispatch writes what lies between the gates and behind them as well.
struct Params {
    out: Window,
    given_up: Window,
    word: u32,
    always: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> out: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> given_up: array<u32>;

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let col = id.x * 4u;
    if id.y >= params.out.rows || col >= params.out.cols || (params.always == 0u && given_up[0] == 0u) {
        return;
    }
    out[at(params.out, id.y, col)] = vec4<u32>(params.word);
}
