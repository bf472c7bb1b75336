// d_table[v] = Σ d[r] over the rows r whose token is v, ascending: an invocation sums 4 columns of a token. `order`
// lists the rows by token, `starts` where each token's begin. A piece holds the rows of d from `first_row` on and the
// tokens from `first_token` on; it looks for its first row by bisection. Sums run in blocks of 64 rows.
struct Params {
    order: Window,
    starts: Window,
    d: Window,
    d_table: Window,
    first_row: u32,
    first_token: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> order: array<u32>;
@group(0) @binding(2) var<storage, read> starts: array<u32>;
@group(0) @binding(3) var<storage, read> d: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> d_table: array<vec4<f32>>;

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let col = id.x * 4u;
    if id.y >= params.d_table.rows || col >= params.d_table.cols {
        return;
    }
    let token = params.starts.offset + params.first_token + id.y;
    let base = params.order.offset;
    let end = starts[token + 1u];
    var i = starts[token];
    var high = end;
    while i < high {
        let middle = (i + high) / 2u;
        if order[base + middle] < params.first_row {
            i = middle + 1u;
        } else {
            high = middle;
        }
    }
    var sum = vec4<f32>();
    var block = vec4<f32>();
    var count = 0u;
    while i < end {
        let row = order[base + i] - params.first_row;
        if row >= params.d.rows {
            break;
        }
        block += d[at(params.d, row, col)];
        count++;
        i++;
        if (count & 63u) == 0u {
            sum += block;
            block = vec4<f32>();
        }
    }
    sum += block;
    let out = at(params.d_table, id.y, col);
    d_table[out] = select(sum, d_table[out] + sum, params.accumulate != 0u);
}
