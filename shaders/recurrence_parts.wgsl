// The end of a time step whose product is in parts: Σ_p parts[p·batch + m, n], four units a thread, one gate after the other, and then the
// cell. As in sum_parts each of `lanes` lanes adds up every lanes-th part, in order, and then the lanes are added up by a tree.
const THREADS: u32 = 256u;

var<workgroup> sums: array<vec4<f32>, THREADS>;

// Zero past the last.
fn part(p: u32, row: u32, col: u32) -> vec4<f32> {
    let value = parts[at(params.parts, min(p, params.count - 1u) * params.batch + row, col)];
    return select(vec4<f32>(), value, p < params.count);
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) i: u32,
) {
    let vectors = (units() + 3u) / 4u;
    let all = params.batch * vectors;
    let width = THREADS / params.lanes; // results of a workgroup
    let lane = i / width;
    for (var first = group.x * width; first < all; first += groups.x * width) {
        let own = min(first + i % width, all - 1u);
        let row = own / vectors;
        let col = own % vectors * 4u;
        var total = Sums();
#for g in 0..SUMS
        {
            let place = $gu * gate_stride() + col;
            var sum = vec4<f32>();
            // Four loads are under way before the first is needed.
            for (var p = lane; p < params.count; p += 4u * params.lanes) {
#for n in 0..4
                let part$n = part(p + $nu * params.lanes, row, place);
#end
#for n in 0..4
                sum += part$n;
#end
            }
            sums[i] = sum;
        }
        workgroupBarrier();
        for (var apart = THREADS / 2u; apart >= width; apart /= 2u) {
            if i < apart {
                sums[i] += sums[i + apart];
            }
            workgroupBarrier();
        }
        total[$g] = sums[i];
        workgroupBarrier();
#end
        if lane == 0u && first + i < all {
            _ = store(immediates.time, row, col, unit(inputs_at(immediates.time, row, col), total));
        }
    }
}
