// The end of a time step whose product is in parts: Σ_p parts[p·batch + m, n] of 32 units of a sequence at a time, one gate after the other.
// Each of 8 lanes adds up every eighth part of 4 columns, in order, and then the lanes are added up by a tree. Then the cell is called.
const LANES: u32 = 8u;

var<workgroup> sums: array<vec4<f32>, 64>; // 8 lanes, 8 times 4 columns

@compute @workgroup_size(8, LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) thread: vec3<u32>,
    @builtin(local_invocation_index) i: u32,
) {
    let col = (group.x * 8u + thread.x) * 4u;
    let near = min(col, (units() - 1u) & ~3u);
    let stride = gate_stride();
    for (var row = group.y; row < params.batch; row += groups.y) {
        var total = Sums();
#for g in 0..SUMS
        {
            var sum = vec4<f32>();
            for (var p = thread.y; p < params.count; p += LANES) {
                sum += parts[at(params.parts, p * params.batch + row, $gu * stride + near)];
            }
            sums[i] = sum;
        }
        workgroupBarrier();
#for level in 0..3
        if thread.y < (LANES >> $levelu) / 2u {
            sums[i] += sums[i + (LANES >> $levelu) * 4u];
        }
        workgroupBarrier();
#end
        if thread.y == 0u {
            total[$g] = sums[i];
        }
#end
        if thread.y == 0u && col < units() {
            _ = store(immediates.time, row, col, unit(inputs_at(immediates.time, row, col), total));
        }
    }
}
