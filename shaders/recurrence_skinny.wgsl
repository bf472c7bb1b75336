// One time step of a recurrence, forward (step_forward) or backward (step_backward), for few sequences: the weight is read once for
// 8 of them. A workgroup has 32 units, and of the sum over k each of 16 slices of 8 threads every 16th four; then the slices' sums
// are added up in order and the cell is called.
var<workgroup> sums: array<vec4<f32>, 1024>; // 16 slices, 8 sequences, 8 times 4 units

@compute @workgroup_size(8, 16)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) thread: vec3<u32>,
    @builtin(local_invocation_index) i: u32,
) {
    let col = (group.x * 8u + thread.x) * 4u;
    let near = min(col, (params.weight.cols - 1u) & ~3u);
    let row = group.y * 8u;
    let state = state_row(immediates.time);
    let last_row = params.batch - 1u;
    let last_k = params.weight.rows - 1u;
    var s0 = vec4<f32>();
    var s1 = vec4<f32>();
    var s2 = vec4<f32>();
    var s3 = vec4<f32>();
    var s4 = vec4<f32>();
    var s5 = vec4<f32>();
    var s6 = vec4<f32>();
    var s7 = vec4<f32>();
    for (var k = thread.y * 4u; k <= last_k; k += 64u) {
        let w0 = weight[at(params.weight, k, near)];
        let w1 = select(vec4<f32>(), weight[at(params.weight, min(k + 1u, last_k), near)], k + 1u <= last_k);
        let w2 = select(vec4<f32>(), weight[at(params.weight, min(k + 2u, last_k), near)], k + 2u <= last_k);
        let w3 = select(vec4<f32>(), weight[at(params.weight, min(k + 3u, last_k), near)], k + 3u <= last_k);
        s0 += four(state_at(state + row, k), w0, w1, w2, w3);
        s1 += four(state_at(state + min(row + 1u, last_row), k), w0, w1, w2, w3);
        s2 += four(state_at(state + min(row + 2u, last_row), k), w0, w1, w2, w3);
        s3 += four(state_at(state + min(row + 3u, last_row), k), w0, w1, w2, w3);
        s4 += four(state_at(state + min(row + 4u, last_row), k), w0, w1, w2, w3);
        s5 += four(state_at(state + min(row + 5u, last_row), k), w0, w1, w2, w3);
        s6 += four(state_at(state + min(row + 6u, last_row), k), w0, w1, w2, w3);
        s7 += four(state_at(state + min(row + 7u, last_row), k), w0, w1, w2, w3);
    }
    let place = thread.y * 64u + thread.x;
    sums[place + 0u] = s0;
    sums[place + 8u] = s1;
    sums[place + 16u] = s2;
    sums[place + 24u] = s3;
    sums[place + 32u] = s4;
    sums[place + 40u] = s5;
    sums[place + 48u] = s6;
    sums[place + 56u] = s7;
    workgroupBarrier();
    let sequence = row + thread.y;
    if thread.y >= 8u || sequence > last_row || col >= params.weight.cols {
        return;
    }
    var sum = vec4<f32>();
    for (var slice = 0u; slice < 16u; slice++) {
        sum += sums[slice * 64u + i];
    }
    _ = finish(immediates.time, sequence, col, sum);
}
