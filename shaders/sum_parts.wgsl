// The sum of a product's parts, four columns a thread: see add_up. What becomes of it is in `store`.
@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) i: u32,
) {
    let rows = params.parts.rows / params.count;
    let vectors = (params.parts.cols + 3u) / 4u;
    let all = rows * vectors;
    for (var first = group.x * width(); first < all; first += groups.x * width()) {
        let own = min(first + i % width(), all - 1u);
        let row = own / vectors;
        let col = own % vectors * 4u;
        add_up(i, rows, row, col);
        if i < width() && first + i < all {
            store(row, col, sums[i]);
        }
    }
}
