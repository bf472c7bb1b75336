// One time step of a recurrence, forward (step_forward) or backward (step_backward), in tiles of 16 sequences × 32
// units: a workgroup of 8 × 16 threads brings 32 values of k of the state, and of one gate's weight after the other, into workgroup memory;
// each thread sums 4 units, of all gates, of one sequence, then calls the cell.
const TILE_K: u32 = 32u;

var<workgroup> tile_state: array<vec4<f32>, 128>; // 16 sequences × 32 values of k
var<workgroup> tile_weight: array<vec4<f32>, 256>; // 32 values of k × 32 units

@compute @workgroup_size(8, 16)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) thread: vec3<u32>,
    @builtin(local_invocation_index) i: u32,
) {
    let row = group.y * 16u;
    let col = group.x * 32u;
    let state = state_row(immediates.time);
    var sums = Sums();
    for (var k = 0u; k < params.weight.rows; k += TILE_K) {
        let s = i % 8u * 4u;
        var value = vec4<f32>();
        if row + i / 8u < params.batch && k + s < params.weight.rows {
            value = state_at(state + row + i / 8u, k + s);
        }
        tile_state[i] = value;
#for g in 0..SUMS
        for (var j = i; j < 256u; j += 128u) {
            value = vec4<f32>();
            if k + j / 8u < params.weight.rows && col + j % 8u * 4u < units() {
                value = weight[at(params.weight, k + j / 8u, $gu * gate_stride() + col + j % 8u * 4u)];
            }
            tile_weight[j] = value;
        }
        workgroupBarrier();
        for (var j = 0u; j < TILE_K / 4u; j++) {
            let x = tile_state[thread.y * 8u + j];
            let w = j * 32u + thread.x;
            sums[$g] += x.x * tile_weight[w] + x.y * tile_weight[w + 8u] + x.z * tile_weight[w + 16u] + x.w * tile_weight[w + 24u];
        }
        workgroupBarrier();
#end
    }
    let m = row + thread.y;
    let c = col + thread.x * 4u;
    if m < params.batch && c < units() {
        _ = finish(immediates.time, m, c, sums);
    }
}
