// Σ_p parts[p·rows + m, n] of 32 columns of a row at a time: each of 8 lanes adds up every eighth part of 4 columns, in order, and then the
// lanes are added up by a tree. What becomes of the sum is in `store`.
const LANES: u32 = 8u;

var<workgroup> sums: array<vec4<f32>, 64>; // 8 lanes, 8 times 4 columns

@compute @workgroup_size(8, LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) thread: vec3<u32>,
    @builtin(local_invocation_index) i: u32,
) {
    let rows = params.parts.rows / params.count;
    let col = (group.x * 8u + thread.x) * 4u;
    let near = min(col, (params.parts.cols - 1u) & ~3u);
    for (var row = group.y; row < rows; row += groups.y) {
        var sum = vec4<f32>();
        for (var p = thread.y; p < params.count; p += LANES) {
            sum += parts[at(params.parts, p * rows + row, near)];
        }
        sums[i] = sum;
        workgroupBarrier();
#for level in 0..3
        if thread.y < (LANES >> $levelu) / 2u {
            sums[i] += sums[i + (LANES >> $levelu) * 4u];
        }
        workgroupBarrier();
#end
        if thread.y == 0u && col < params.parts.cols {
            store(row, col, sums[i]);
        }
    }
}
