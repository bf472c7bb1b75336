// out[part, col] = Σ x[row, col] (+ out) over the rows of each part: a workgroup has one part and so many vectors of columns as there are
// lanes, a power of two. Its 256 threads lie over the lanes, and what is left of them over the rows; then their sums are added up
// by a tree, 16 or fewer at a time: always in the same order.
struct Params {
    x: Window,
    out: Window,
    rows: u32, // of a part
    lanes: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;

var<workgroup> sums: array<vec4<f32>, 256>;

// A vector of a row, zero past the last.
fn vector(row: u32, col: u32, end: u32) -> vec4<f32> {
    return select(vec4<f32>(), x[at(params.x, min(row, end - 1u), col)], row < end);
}

// A branch of the tree.
fn branch(first: u32, apart: u32, count: u32) -> vec4<f32> {
    var sum = sums[first];
    for (var k = 1u; k < count; k++) {
        sum += sums[first + k * apart];
    }
    return sum;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let lanes = params.lanes;
    let apart = 256u / lanes;
    let col = 4u * (group.x * lanes + i % lanes);
    let end = min((group.y + 1u) * params.rows, params.x.rows);
    var s0 = vec4<f32>();
    var s1 = vec4<f32>();
    var s2 = vec4<f32>();
    var s3 = vec4<f32>();
    if col < params.x.cols {
        // Four loads are under way before the first is needed.
        for (var row = group.y * params.rows + i / lanes; row < end; row += 4u * apart) {
            let v0 = vector(row, col, end);
            let v1 = vector(row + apart, col, end);
            let v2 = vector(row + 2u * apart, col, end);
            let v3 = vector(row + 3u * apart, col, end);
            s0 += v0;
            s1 += v1;
            s2 += v2;
            s3 += v3;
        }
    }
    sums[i] = (s0 + s1) + (s2 + s3);
    workgroupBarrier();
    let width = max(lanes, 16u);
    if i < width {
        sums[i] = branch(i, width, 256u / width);
    }
    workgroupBarrier();
    if i < lanes && col < params.x.cols {
        let sum = branch(i, lanes, width / lanes);
        let place = at(params.out, group.y, col);
        out[place] = select(sum, out[place] + sum, params.accumulate != 0u);
    }
}
