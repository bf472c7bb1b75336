// One time step of a recurrence, forward (step_forward) or backward (step_backward), for few sequences: the weight is read once for
// 8 of them. A workgroup has 32 units, with all gates, and of the sums over k each of 16 slices of 8 threads every 16th four; then the slices'
// sums are added up in order, one gate after the other, and the cell is called.
var<workgroup> sums: array<vec4<f32>, 1024>; // 16 slices, 8 sequences, 8 times 4 units

@compute @workgroup_size(8, 16)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) thread: vec3<u32>,
    @builtin(local_invocation_index) i: u32,
) {
    let col = (group.x * 8u + thread.x) * 4u;
    let near = min(col, (units() - 1u) & ~3u);
    let stride = gate_stride();
    let row = group.y * 8u;
    let state = state_row(immediates.time);
    let last_row = params.batch - 1u;
    let last_k = params.weight.rows - 1u;
#for r in 0..8
#for g in 0..SUMS
    var s$r_$g = vec4<f32>();
#end
#end
    for (var k = thread.y * 4u; k <= last_k; k += 64u) {
#for g in 0..SUMS
        let w$g_0 = weight[at(params.weight, k, $gu * stride + near)];
        let w$g_1 = select(vec4<f32>(), weight[at(params.weight, min(k + 1u, last_k), $gu * stride + near)], k + 1u <= last_k);
        let w$g_2 = select(vec4<f32>(), weight[at(params.weight, min(k + 2u, last_k), $gu * stride + near)], k + 2u <= last_k);
        let w$g_3 = select(vec4<f32>(), weight[at(params.weight, min(k + 3u, last_k), $gu * stride + near)], k + 3u <= last_k);
#end
#for r in 0..8
        let x$r = state_at(state + min(row + $ru, last_row), k);
#for g in 0..SUMS
        s$r_$g += four(x$r, w$g_0, w$g_1, w$g_2, w$g_3);
#end
#end
    }
    let place = thread.y * 64u + thread.x;
#for g in 0..SUMS
#for r in 0..8
    sums[place + $ru * 8u] = s$r_$g;
#end
    workgroupBarrier();
    var sum$g = vec4<f32>();
    if thread.y < 8u {
        for (var slice = 0u; slice < 16u; slice++) {
            sum$g += sums[slice * 64u + i];
        }
    }
    workgroupBarrier();
#end
    let sequence = row + thread.y;
    if thread.y >= 8u || sequence > last_row || col >= units() {
        return;
    }
    _ = finish(immediates.time, sequence, col, Sums(
#for g in 0..SUMS
        sum$g,
#end
    ));
}
