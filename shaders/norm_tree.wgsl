// The Euclidean norm of a row, right from 2⁻¹²⁶ to 2¹²⁸, and the position of its first value that is not finite. In two dispatches:
// main: workgroup g's partial result, row g of out, (large, usual, small, 0) and the position as (high, low, 0, 0), high·4096 + low;
// total: all partial results into (norm, high, low, 0), high -1 where all is finite.
// Squares are added up in three sums, as in Blue (1978), A Portable Fortran Program to Find the Euclidean Norm of a Vector: those of values
// from 2²⁰ on divided by 2⁶⁴, of those below 2⁻²⁰ times 2⁶⁴, and of the others. No sum overflows or vanishes before the norm does, x is
// read once, and as the factors are powers of two nothing is rounded but squares and sums.
// A workgroup's 256 results are added up by a tree, 16 at a time: always in the same order.
struct Params {
    x: Window,
    out: Window,
    first: u32, // the position of x's first value
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;

const UNITS = vec3<f32>(18446744073709551616.0, 1.0, 5.4210108624275222e-20); // 2⁶⁴, 1, 2⁻⁶⁴
const LARGE = 1048576.0; // 2²⁰
const SMALL = 9.5367431640625e-7; // 2⁻²⁰
const LARGEST = 1152921504606846976.0; // 2⁶⁰
const NOWHERE = 0xffffffffu; // no arena has as many values

struct Partial {
    sums: vec3<f32>, // of large values, of usual ones and of small ones
    place: u32, // the first that is not finite
}

var<workgroup> partials: array<Partial, 256>;

fn merged(a: Partial, b: Partial) -> Partial {
    return Partial(a.sums + b.sums, min(a.place, b.place));
}

// A branch of the tree.
fn sixteen(first: u32, apart: u32) -> Partial {
    var all = partials[first];
    for (var k = 1u; k < 16u; k++) {
        all = merged(all, partials[first + k * apart]);
    }
    return all;
}

struct Sums {
    large: vec4<f32>,
    usual: vec4<f32>,
    small: vec4<f32>,
    place: u32,
}

// The i-th vector, zero past the last.
fn vector(i: u32, vectors: u32) -> vec4<f32> {
    return select(vec4<f32>(), x[at(params.x, 0u, 4u * min(i, vectors - 1u))], i < vectors);
}

fn add(sums: ptr<function, Sums>, value: vec4<f32>, i: u32) {
    let size = abs(value);
    let is_large = size >= vec4<f32>(LARGE);
    let is_small = size < vec4<f32>(SMALL);
    let y = value * select(select(vec4<f32>(UNITS.y), vec4<f32>(UNITS.x), is_small), vec4<f32>(UNITS.z), is_large);
    let square = y * y;
    (*sums).large += select(vec4<f32>(), square, is_large);
    (*sums).usual += select(square, vec4<f32>(), is_large | is_small);
    (*sums).small += select(vec4<f32>(), square, is_small);
    let bad = not_finite(value);
    if any(bad) {
        let place = params.first + 4u * i + select(select(select(3u, 2u, bad.z), 1u, bad.y), 0u, bad.x);
        (*sums).place = min((*sums).place, place);
    }
}

fn across(v: vec4<f32>) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) i: u32,
) {
    let vectors = (params.x.cols + 3u) / 4u;
    let threads = groups.x * 256u;
    var sums = Sums(vec4<f32>(), vec4<f32>(), vec4<f32>(), NOWHERE);
    // Four loads are under way before the first is needed.
    for (var v = group.x * 256u + i; v < vectors; v += 4u * threads) {
        let v0 = vector(v, vectors);
        let v1 = vector(v + threads, vectors);
        let v2 = vector(v + 2u * threads, vectors);
        let v3 = vector(v + 3u * threads, vectors);
        add(&sums, v0, v);
        add(&sums, v1, v + threads);
        add(&sums, v2, v + 2u * threads);
        add(&sums, v3, v + 3u * threads);
    }
    partials[i] = Partial(vec3<f32>(across(sums.large), across(sums.usual), across(sums.small)), sums.place);
    workgroupBarrier();
    if i < 16u {
        partials[i] = sixteen(i, 16u);
    }
    workgroupBarrier();
    if i == 0u {
        let all = sixteen(0u, 1u);
        out[at(params.out, group.x, 0u)] = vec4<f32>(all.sums, 0.0);
        out[at(params.out, group.x, 4u)] = vec4<f32>(f32(all.place / 4096u), f32(all.place % 4096u), 0.0, 0.0);
    }
}

@compute @workgroup_size(256)
fn total(@builtin(local_invocation_index) i: u32) {
    var own = Partial(vec3<f32>(), NOWHERE);
    for (var row = i; row < params.x.rows; row += 256u) {
        let place = x[at(params.x, row, 4u)];
        own = merged(own, Partial(x[at(params.x, row, 0u)].xyz, 4096u * u32(place.x) + u32(place.y)));
    }
    partials[i] = own;
    workgroupBarrier();
    if i < 16u {
        partials[i] = sixteen(i, 16u);
    }
    workgroupBarrier();
    if i == 0u {
        let all = sixteen(0u, 1u);
        let is_finite = all.place == NOWHERE;
        // NaN from a value that compilers do not know: a constant would be refused.
        let norm = select(bitcast<f32>(params.x.rows | 0x7fc00000u), root(all.sums), is_finite);
        let position = vec2<f32>(f32(all.place / 4096u), f32(all.place % 4096u));
        out[at(params.out, 0u, 0u)] = vec4<f32>(norm, select(position, vec2<f32>(-1.0, 0.0), is_finite), 0.0);
    }
}

// The root of the three sums together, in units of a power of two about as large as it is. A compiler may multiply the factors first, as
// WGSL allows: none is so large that its square is infinite, which zero times would be NaN. Only a sum that is zero has one cut here.
fn root(sums: vec3<f32>) -> f32 {
    let norms = sqrt(sums) * UNITS;
    let largest = max(max(norms.x, norms.y), norms.z);
    // Its exponent's bits, from 2⁻⁶² on, so that no factor is infinite, up to 2¹²⁶, of which there is an inverse.
    let power = clamp(bitcast<u32>(largest) & 0x7f800000u, 0x20800000u, 0x7e800000u);
    let factors = min(UNITS * bitcast<f32>(0x7f000000u - power), vec3<f32>(LARGEST));
    let scaled = sums * factors * factors;
    return sqrt(scaled.x + scaled.y + scaled.z) * bitcast<f32>(power);
}
