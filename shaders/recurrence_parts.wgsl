// The end of a time step whose product is in parts, four units a thread: their sums, one gate after the other (see add_up), and then the cell.
@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) i: u32,
) {
    let vectors = (units() + 3u) / 4u;
    let all = params.batch * vectors;
    for (var first = group.x * width(); first < all; first += groups.x * width()) {
        let own = min(first + i % width(), all - 1u);
        let row = own / vectors;
        let col = own % vectors * 4u;
        var total = Sums();
#for g in 0..SUMS
        add_up(i, params.batch, row, $gu * gate_stride() + col);
        total[$g] = sums[i];
        workgroupBarrier();
#end
        if i < width() && first + i < all {
            _ = store(immediates.time, row, col, unit(inputs_at(immediates.time, row, col), total));
        }
    }
}
