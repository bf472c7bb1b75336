// out = Σ_k a·b in tiles of TILE_M × TILE_N, of which each thread sums 8 rows × 4·FOURS columns: TILE_K values of k of both sides lie in
// workgroup memory, and the next ones are fetched into registers while these are summed. The 32 threads of a subgroup are laid over a tile
// as 4 × 8, so that what they read from workgroup memory at a time is broadcast or lies in different banks: a thread has its rows in two
// groups of four, 16 apart, and its columns in FOURS groups of four, 32 apart. Which way a and b lie, and where in workgroup memory a group
// of one k is, is in fetch_a and fetch_b. Workgroups along z have a part of k each.
const THREADS: u32 = TILE_M * TILE_N / (32u * FOURS);
const ACROSS: u32 = TILE_N / (32u * FOURS); // subgroups along a row of the tile
const A_BLOCKS: u32 = TILE_M * TILE_K / 16u;
const B_BLOCKS: u32 = TILE_N * TILE_K / 16u;

var<workgroup> tile_a: array<vec4<f32>, TILE_M * TILE_K / 4u>; // for each k the rows, four in a vector
var<workgroup> tile_b: array<vec4<f32>, TILE_N * TILE_K / 4u>; // for each k the columns

fn fetch(block: u32, row: u32, col: u32, k: u32, end: u32) -> mat4x4<f32> {
    if block < A_BLOCKS {
        return fetch_a(block, row, k, end);
    }
    if block < A_BLOCKS + B_BLOCKS {
        return fetch_b(block - A_BLOCKS, k, col, end);
    }
    return mat4x4<f32>();
}

fn keep(block: u32, values: mat4x4<f32>) {
    if block < A_BLOCKS {
        keep_a(block, values);
    } else if block < A_BLOCKS + B_BLOCKS {
        keep_b(block - A_BLOCKS, values);
    }
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let row = group.y * TILE_M;
    let col = group.x * TILE_N;
    let begin = group.z * params.chunk;
    let end = min(params.k, begin + params.chunk);
    let subgroup = i / 32u;
    let lane = i % 32u;
    let p = subgroup / ACROSS * 8u + lane / 8u;
    let q = subgroup % ACROSS * (8u * FOURS) + lane % 8u;
#for g in 0..2
#for r in 0..4
#for h in 0..FOURS
    var s$g$r$h = vec4<f32>();
#end
#end
#end
#for b in 0..BLOCKS
    var next$b = fetch(i + $bu * THREADS, row, col, begin, end);
#end
    for (var k = begin; k < end; k += TILE_K) {
#for b in 0..BLOCKS
        keep(i + $bu * THREADS, next$b);
#end
        workgroupBarrier();
        if k + TILE_K < end {
#for b in 0..BLOCKS
            next$b = fetch(i + $bu * THREADS, row, col, k + TILE_K, end);
#end
        }
#for j in 0..TILE_K
        {
#for g in 0..2
            let x$g = tile_a[slot_a($ju, p + 4u * $gu)];
#end
#for h in 0..FOURS
            let y$h = tile_b[slot_b($ju, q + 8u * $hu)];
#end
#for g in 0..2
#for r in 0..4
#for h in 0..FOURS
            s$g$r$h = fma(vec4<f32>(x$g[$r]), y$h, s$g$r$h);
#end
#end
#end
        }
#end
        workgroupBarrier();
    }
#for g in 0..2
#for r in 0..4
#for h in 0..FOURS
    store_inside(group.z, row + p * 4u + 16u * $gu + $ru, col + q * 4u + 32u * $hu, s$g$r$h);
#end
#end
#end
}

fn store_inside(part: u32, row: u32, col: u32, sum: vec4<f32>) {
    if row < params.rows && col < params.out.cols {
        store(part, row, col, sum);
    }
}
