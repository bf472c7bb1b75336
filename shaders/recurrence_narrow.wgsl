// One time step of a recurrence, forward or backward, for middle sizes: a workgroup has only 16 units, with all gates, of 4 sequences, so that
// there are many of them. Of the sums over k each of 64 slices of 4 threads has every 64th four; then the slices' sums are added up in two
// rounds, one gate after the other, and the cell is called.
var<workgroup> sums: array<vec4<f32>, 1024>; // 64 slices, 4 sequences, 4 times 4 units

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let last_row = params.batch - 1u;
    let last_k = params.weight.rows - 1u;
    let last_col = (units() - 1u) & ~3u;
    let stride = gate_stride();
    let row = group.y * 4u;
    let col = group.x * 16u;
    // Of the last round the first 16 threads: thread i has units i % 4 of sequence i / 4.
    let sequence = row + i / 4u % 4u;
    let own = col + i % 4u * 4u;
    let near = min(own, last_col);
    let inputs = inputs_at(immediates.time, min(sequence, last_row), near);
    let state = state_row(immediates.time);
#for s in 0..4
#for g in 0..SUMS
    var s$s_$g = vec4<f32>();
#end
#end
    for (var k = i / 4u * 4u; k <= last_k; k += 256u) {
#for g in 0..SUMS
        let w$g_0 = weight[at(params.weight, k, $gu * stride + near)];
        let w$g_1 = select(vec4<f32>(), weight[at(params.weight, min(k + 1u, last_k), $gu * stride + near)], k + 1u <= last_k);
        let w$g_2 = select(vec4<f32>(), weight[at(params.weight, min(k + 2u, last_k), $gu * stride + near)], k + 2u <= last_k);
        let w$g_3 = select(vec4<f32>(), weight[at(params.weight, min(k + 3u, last_k), $gu * stride + near)], k + 3u <= last_k);
#end
#for s in 0..4
        let x$s = state_at(state + min(row + $su, last_row), k);
#for g in 0..SUMS
        s$s_$g += four(x$s, w$g_0, w$g_1, w$g_2, w$g_3);
#end
#end
    }
#for g in 0..SUMS
#for s in 0..4
    sums[i / 4u * 16u + $su * 4u + i % 4u] = s$s_$g;
#end
    workgroupBarrier();
    // Thread i adds up every 16th slice, from i / 16 on, of sequence i / 4 % 4 and units i % 4. What it writes only it has read.
    sums[i] = (sums[i] + sums[i + 256u]) + (sums[i + 512u] + sums[i + 768u]);
    workgroupBarrier();
    var sum$g = vec4<f32>();
    if i < 16u {
        for (var slice = 0u; slice < 16u; slice++) {
            sum$g += sums[slice * 16u + i];
        }
    }
    workgroupBarrier();
#end
    if i >= 16u || sequence > last_row || own >= units() {
        return;
    }
    _ = finish_with(inputs, immediates.time, sequence, own, Sums(
#for g in 0..SUMS
        sum$g,
#end
    ));
}
