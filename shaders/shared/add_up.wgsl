// Adds up the parts of a product, `params.count` of them, which lie one below the other in `parts`: Σ_p parts[p·rows + row, col..col + 4], in
// order. Each of `params.lanes` lanes of a workgroup has every lanes-th part, and then the lanes are added up by a tree. Few results have
// several lanes, so that there are threads enough. The sum is in sums[i] of the first lane.
const THREADS: u32 = 256u;

var<workgroup> sums: array<vec4<f32>, THREADS>;

// Results of a workgroup.
fn width() -> u32 {
    return THREADS / params.lanes;
}

// Zero past the last.
fn part(p: u32, rows: u32, row: u32, col: u32) -> vec4<f32> {
    let value = parts[at(params.parts, min(p, params.count - 1u) * rows + row, col)];
    return select(vec4<f32>(), value, p < params.count);
}

fn add_up(i: u32, rows: u32, row: u32, col: u32) {
    var sum = vec4<f32>();
    // Four loads are under way before the first is needed.
    for (var p = i / width(); p < params.count; p += 4u * params.lanes) {
#for n in 0..4
        let part$n = part(p + $nu * params.lanes, rows, row, col);
#end
#for n in 0..4
        sum += part$n;
#end
    }
    sums[i] = sum;
    workgroupBarrier();
    for (var apart = THREADS / 2u; apart >= width(); apart /= 2u) {
        if i < apart {
            sums[i] += sums[i + apart];
        }
        workgroupBarrier();
    }
}
