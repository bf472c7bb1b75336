// Softmax cross-entropy of a row z with class c and weight w, and its gradient, in three entries:
// chunk: for each 1,024 columns the maximum m and Σ exp(z - m), into statistics [row, 4·(chunk + 1)];
// row: M = max m and S = Σ exp(z - M) from these, or of the only chunk, into statistics [row, 0..4], and the loss w·(ln S + M - z_c);
// gradient: w·(exp(z - M) / S - t), where t is the aim of the class, or that of the others.
// A row of weight zero counts for nothing, whatever it holds. In another a logit of NaN makes everything NaN by way of S, though max may
// lose it, and so does one of +infinity, less itself; one of -infinity is a probability of zero.
const CHUNK: u32 = 1024u;

struct Params {
    logits: Window,
    classes: Window,
    weights: Window,
    d_logits: Window,
    losses: Window,
    statistics: Window,
    aim: f32,
    others: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> classes: array<u32>;
@group(0) @binding(3) var<storage, read> weights: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> d_logits: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> losses: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> statistics: array<vec4<f32>>;

fn of_chunk(row: u32, first: u32) -> vec4<f32> {
    let end = min(first + CHUNK, params.logits.cols);
    var highest = vec4<f32>(-3.0e38);
    for (var col = first; col < end; col += 4u) {
        let z = logits[at(params.logits, row, col)];
        let inside = vec4<u32>(col) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(end);
        highest = max(highest, select(vec4<f32>(-3.0e38), z, inside));
    }
    let m = max(max(highest.x, highest.y), max(highest.z, highest.w));
    var sum = vec4<f32>();
    for (var col = first; col < end; col += 4u) {
        sum += padded(exp_nonpositive(logits[at(params.logits, row, col)] - m), col, end);
    }
    return vec4<f32>(m, (sum.x + sum.y) + (sum.z + sum.w), 0.0, 0.0);
}

@compute @workgroup_size(64)
fn chunk(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < params.logits.rows {
        statistics[at(params.statistics, id.x, 4u * (id.y + 1u))] = of_chunk(id.x, id.y * CHUNK);
    }
}

@compute @workgroup_size(64)
fn row(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= params.logits.rows {
        return;
    }
    let chunks = (params.logits.cols + CHUNK - 1u) / CHUNK;
    var m = -3.0e38;
    var sum = 0.0;
    if chunks == 1u {
        let all = of_chunk(id.x, 0u);
        m = all.x;
        sum = all.y;
    } else {
        for (var i = 1u; i <= chunks; i++) {
            m = max(m, statistics[at(params.statistics, id.x, 4u * i)].x);
        }
        for (var i = 1u; i <= chunks; i++) {
            let part = statistics[at(params.statistics, id.x, 4u * i)];
            sum += part.y * exp_nonpositive(vec4<f32>(part.x - m)).x;
        }
    }
    statistics[at(params.statistics, id.x, 0u)] = vec4<f32>(m, sum, 0.0, 0.0);
    let class_id = classes[params.classes.offset + id.x];
    let z = logits[at(params.logits, id.x, class_id & ~3u)][class_id & 3u];
    let w = weights[at(params.weights, id.x, 0u)].x;
    // SwiftShader's log of NaN is a number.
    let log_sum = select(log(sum), sum, is_nan(vec4<f32>(sum)).x);
    let loss = select(w * (log_sum + (m - z)), 0.0, w == 0.0);
    losses[at(params.losses, id.x, 0u)] = vec4<f32>(loss, 0.0, 0.0, 0.0);
}

@compute @workgroup_size(8, 8)
fn gradient(@builtin(global_invocation_id) id: vec3<u32>) {
    let col = id.x * 4u;
    if id.y >= params.logits.rows || col >= params.logits.cols {
        return;
    }
    let row = statistics[at(params.statistics, id.y, 0u)];
    let w = weights[at(params.weights, id.y, 0u)].x;
    let class_id = classes[params.classes.offset + id.y];
    let aims = select(vec4<f32>(params.others), vec4<f32>(params.aim), vec4<u32>(col) + vec4<u32>(0u, 1u, 2u, 3u) == vec4<u32>(class_id));
    let p = exp_nonpositive(logits[at(params.logits, id.y, col)] - row.x) / row.y;
    let d = select(w * (p - aims), vec4<f32>(), w == 0.0);
    d_logits[at(params.d_logits, id.y, col)] = padded(d, col, params.logits.cols);
}
