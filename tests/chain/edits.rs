//! Faults in the texts of shaders, as a table: each is planted by `mutants`. A row says what goes wrong, where, and the edit that does it.

/// An edit of a kernel's shaders.
pub struct Edit {
    pub name: &'static str,
    pub kernel: &'static str,
    pub variant: &'static str,
    pub from: &'static str,
    pub to: &'static str,
}

/// An edit of the shaders of a kernel's variant: every occurrence of `from` becomes `to`.
pub const fn edit(name: &'static str, on: [&'static str; 2], from: &'static str, to: &'static str) -> Edit {
    Edit { name, kernel: on[0], variant: on[1], from, to }
}

const NN_TILED: [&str; 2] = ["gemm_nn", "tiled"];
const NT_TILED: [&str; 2] = ["gemm_nt", "tiled"];
const TN_TILED: [&str; 2] = ["gemm_tn", "tiled"];
const NN: [&str; 2] = ["gemm_nn", "software"];
const NT: [&str; 2] = ["gemm_nt", "software"];
const TN: [&str; 2] = ["gemm_tn", "software"];
const BIAS: [&str; 2] = ["gemm_nt_bias", "software"];
const FORWARD: [&str; 2] = ["elman_forward", "software"];
const FORWARD_TILED: [&str; 2] = ["elman_forward", "tiled"];
const BACKWARD: [&str; 2] = ["elman_backward", "software"];
const BACKWARD_TILED: [&str; 2] = ["elman_backward", "tiled"];
const NN_SUBGROUP: [&str; 2] = ["gemm_nn", "subgroup"];
const TN_SUBGROUP: [&str; 2] = ["gemm_tn", "subgroup"];
const NN_LARGE: [&str; 2] = ["gemm_nn", "large"];
const TN_LARGE: [&str; 2] = ["gemm_tn", "large"];
const NT_LARGE: [&str; 2] = ["gemm_nt", "large"];
const BIAS_LARGE: [&str; 2] = ["gemm_nt_bias", "large"];
const NN_WIDE: [&str; 2] = ["gemm_nn", "wide"];
const NT_WIDE: [&str; 2] = ["gemm_nt", "wide"];
const TN_WIDE: [&str; 2] = ["gemm_tn", "wide"];
const NN_TALL: [&str; 2] = ["gemm_nn", "tall"];
const TN_TALL: [&str; 2] = ["gemm_tn", "tall"];
const NT_SMALL: [&str; 2] = ["gemm_nt", "small"];
const NT_SKINNY: [&str; 2] = ["gemm_nt", "skinny"];
const FORWARD_SUBGROUP: [&str; 2] = ["elman_forward", "subgroup"];
const BACKWARD_SUBGROUP: [&str; 2] = ["elman_backward", "subgroup"];
const FORWARD_SKINNY: [&str; 2] = ["elman_forward", "skinny"];
const BACKWARD_SKINNY: [&str; 2] = ["elman_backward", "skinny"];
const FORWARD_NARROW: [&str; 2] = ["elman_forward", "narrow"];
const BACKWARD_NARROW: [&str; 2] = ["elman_backward", "narrow"];
const FORWARD_TURNED: [&str; 2] = ["elman_forward", "turned"];
const BACKWARD_TURNED: [&str; 2] = ["elman_backward", "turned"];
const NT_LARGE_16: [&str; 2] = ["gemm_nt", "large_16"];
const FORWARD_WIDE: [&str; 2] = ["elman_forward", "wide"];
const BACKWARD_LARGE: [&str; 2] = ["elman_backward", "large"];
const FORWARD_SEQUENCE: [&str; 2] = ["elman_forward", "sequence_64"];
const BACKWARD_SEQUENCE: [&str; 2] = ["elman_backward", "sequence_128"];
const FORWARD_SEQUENCES: [&str; 2] = ["elman_forward", "sequences_128"];
const BACKWARD_SEQUENCES: [&str; 2] = ["elman_backward", "sequences_64"];
const LEAKY_FORWARD: [&str; 2] = ["leaky_forward", "software"];
const LEAKY_BACKWARD: [&str; 2] = ["leaky_backward", "software"];
const LSTM_FORWARD: [&str; 2] = ["lstm_forward", "software"];
const LSTM_FORWARD_TILED: [&str; 2] = ["lstm_forward", "tiled"];
const LSTM_FORWARD_NARROW: [&str; 2] = ["lstm_forward", "narrow"];
const LSTM_FORWARD_WIDE: [&str; 2] = ["lstm_forward", "wide"];
const LSTM_BACKWARD: [&str; 2] = ["lstm_backward", "software"];
const LSTM_BACKWARD_TILED: [&str; 2] = ["lstm_backward", "tiled"];
const LSTM_BACKWARD_SEQUENCE: [&str; 2] = ["lstm_backward", "sequence_64"];
const GRU_FORWARD: [&str; 2] = ["gru_forward", "software"];
const GRU_FORWARD_TILED: [&str; 2] = ["gru_forward", "tiled"];
const GRU_BACKWARD: [&str; 2] = ["gru_backward", "software"];
const FORWARD_PERSISTENT: [&str; 2] = ["elman_forward", "persistent_32"];
const BACKWARD_PERSISTENT: [&str; 2] = ["elman_backward", "persistent_32"];
const FORWARD_ALONE: [&str; 2] = ["elman_forward", "persistent_64"];
const BACKWARD_DENSE: [&str; 2] = ["elman_backward", "persistent_16_dense"];
const LOOKUP: [&str; 2] = ["embedding_lookup", "rows"];
const TOKENS: [&str; 2] = ["embedding_gradient", "ordered"];
const SOFTMAX: [&str; 2] = ["softmax_loss", "chunks"];
const VALUES: [&str; 2] = ["value_loss", "rows"];
const SUM: [&str; 2] = ["column_sum", "software"];
const SUM_TREE: [&str; 2] = ["column_sum", "tree"];
const NORM: [&str; 2] = ["norm", "software"];
const NORM_TREE: [&str; 2] = ["norm", "tree"];
const SGD: [&str; 2] = ["sgd", "vectors"];
const MOMENTUM: [&str; 2] = ["momentum", "vectors"];
const ADAM: [&str; 2] = ["adam", "vectors"];
const RMSPROP: [&str; 2] = ["rmsprop", "vectors"];
const JOURNAL: [&str; 2] = ["journal", "one"];
const TRANSPOSE: [&str; 2] = ["transpose", "blocks"];
const DROPOUT: [&str; 2] = ["dropout", "rows"];
const NOISE: [&str; 2] = ["noise", "rows"];
const CONNECTIONS: [&str; 2] = ["connections", "rows"];
const SIGNS: [&str; 2] = ["signs", "rows"];
const ADD: [&str; 2] = ["add", "rows"];
/// The copy of a window.
pub const COPY: [&str; 2] = ["copy", "rows"];
const CARRY: [&str; 2] = ["carry", "in place"];
const GATHER: [&str; 2] = ["gather", "rows"];
const PADDING: [&str; 2] = ["clear_padding", "rows"];
const FILL: [&str; 2] = ["fill", "rows"];
/// The activations alone.
pub const VALUE: [&str; 2] = ["activate", "rows"];
const SLOPE: [&str; 2] = ["activate_gradient", "rows"];

/// Edits that the check has to catch.
pub const EDITS: &[Edit] = &[
    // Rows that are picked, and the ends of sequences.
    edit(
        "what is no row keeps what was there",
        GATHER,
        "index == NO_ROW && params.first == 0u",
        "index == NO_ROW && params.first == 7u",
    ),
    edit("the rows of a later part are those of the first", GATHER, "index - params.first;", "index;"),
    edit(
        "the row itself for the one that is picked",
        GATHER,
        "params.x, row, col",
        "params.x, min(id.y, params.x.rows - 1u), col",
    ),
    edit("one time step of padding is left", PADDING, "row / sequences >= lengths", "row / sequences > lengths"),
    edit("the last time step is taken for padding", PADDING, "row / sequences >= lengths", "row / sequences + 1u >= lengths"),
    edit("the length of the sequence before", PADDING, "offset + row % sequences", "offset + (row + sequences - 1u) % sequences"),
    edit("every segment is the first", PADDING, "params.first + id.y", "id.y"),
    // Windows.
    edit("the window's offset is forgotten", COPY, "(window.offset + row * window.stride", "(row * window.stride"),
    edit("rows as far apart as they are long", NN, "row * window.stride", "row * window.cols"),
    edit("one column too few", COPY, "col < params.x.cols", "col + 4u < params.x.cols"),
    edit(
        "something left in the padding",
        FILL,
        "padded(vec4<f32>(params.value), col, params.out.cols)",
        "vec4<f32>(params.value)",
    ),
    edit(
        "the rows before the last are carried",
        CARRY,
        "params.hidden.rows - params.rows + id.y",
        "params.hidden.rows - params.rows + id.y - min(id.y, 1u)",
    ),
    edit("a block turned the wrong way", TRANSPOSE, "block[0][c], block[1][c]", "block[1][c], block[0][c]"),
    edit("the last rows of a block left out", TRANSPOSE, "row + r < params.a.rows", "row + r + 1u < params.a.rows"),
    // Products.
    edit(
        "no barrier before the sums",
        NN_TILED,
        "stage_b(i, k, col, end);\n        workgroupBarrier();",
        "stage_b(i, k, col, end);",
    ),
    edit("no barrier after the sums", NN_TILED, "        }\n        workgroupBarrier();\n    }", "        }\n    }"),
    edit("the last value of k is lost", TN_TILED, "j < TILE_K;", "j + 1u < TILE_K;"),
    edit("the last tile of k is lost", NT_TILED, "k < end; k += TILE_K", "k + TILE_K < end; k += TILE_K"),
    edit("a's tile is transposed", NN_TILED, "transpose(mat4x4<f32>(\n            from_a(", "(mat4x4<f32>(\n            from_a("),
    edit("b's tile is transposed", NT_TILED, "transpose(mat4x4<f32>(\n            from_b(", "(mat4x4<f32>(\n            from_b("),
    edit("a row of the tile twice", NN_TILED, "s3 += x.w * y;", "s3 += x.z * y;"),
    edit("the product overwrites instead of adding", NN, "select(sum, out[i] + sum, params.accumulate != 0u)", "sum"),
    edit("the product always adds", TN, "select(sum, out[i] + sum, params.accumulate != 0u)", "out[i] + sum"),
    edit("k from 1", TN, "for (var k = 0u; k < params.k; k++)", "for (var k = 1u; k < params.k; k++)"),
    edit("k up to the last but one", NN, "k <= last_k; k += 4u", "k < last_k; k += 4u"),
    edit("a term twice", NT, "x.z * b2", "x.y * b2"),
    edit("the last term 1e-4 too large", NN, "x.w * b3", "1.0001 * x.w * b3"),
    edit("the rows below 4 again", TN, "params.a, k, row + 4u", "params.a, k, row"),
    edit("the bias is lost", BIAS, "select(bias[at(params.bias, 0u, col)], out[i], params.accumulate != 0u)", "out[i]"),
    edit("the bias of column 0", BIAS, "params.bias, 0u, col", "params.bias, 0u, 0u"),
    edit("a row by another's values", NN_SUBGROUP, "s3 += four(subgroupBroadcast(x, 3u)", "s3 += four(subgroupBroadcast(x, 2u)"),
    edit("the second eight rows are the first", NN_SUBGROUP, "min(row + 8u + lane, last_row)", "min(row + lane, last_row)"),
    edit("one of four terms twice", NN_SUBGROUP, "x.z * w2", "x.y * w2"),
    edit("every second k is the one before", TN_SUBGROUP, "let own = k + (lane >> 2u);", "let own = k;"),
    edit("every second k is lost", TN_SUBGROUP, "near)], k < last_k);", "near)], false);"),
    edit("four rows by others' values", TN_SUBGROUP, "subgroupBroadcast(mine, 2u)", "subgroupBroadcast(mine, 1u)"),
    edit("half of a tile's columns twice", NN_LARGE, "q + 8u * 1u", "q"),
    edit("four rows of a tile twice", TN_LARGE, "p + 4u * 1u", "p"),
    edit("one of 16 values of k is lost", NT_LARGE, "s110 = fma(vec4<f32>(x1[1]), y0, s110);", ""),
    edit("the far columns are stored past the end", NN_LARGE, "row < params.rows && col < params.out.cols", "row < params.rows"),
    edit("rows are stored past the end", TN_LARGE, "row < params.rows && col < params.out.cols", "col < params.out.cols"),
    edit(
        "the first tile is used twice",
        NN_LARGE,
        "fetch(i + 0u * THREADS, row, col, k + TILE_K, end)",
        "fetch(i, row, col, begin, end)",
    ),
    edit("the tile that was fetched ahead is not kept", NT_WIDE, "keep(i + 1u * THREADS, next1);", ""),
    edit("the last tile of k is fetched never", TN_WIDE, "if k + TILE_K < end {", "if k + 2u * TILE_K < end {"),
    edit("a's block is not turned", NN_WIDE, "let turned = transpose(values);", "let turned = values;"),
    edit("b's block is not turned", BIAS_LARGE, "let turned = transpose(values);", "let turned = values;"),
    edit("four columns of a large thread tile twice", NT_LARGE_16, "q + 8u * 3u", "q + 8u * 2u"),
    edit(
        "sums of a large thread tile are not stored",
        NT_LARGE_16,
        "col + q * 4u + 32u * 3u, s113",
        "col + q * 4u + 32u * 3u, s112",
    ),
    edit(
        "the turned states of another step",
        BACKWARD_TURNED,
        "(immediates.time + params.later) * params.batch",
        "immediates.time * params.batch",
    ),
    edit("the states are not turned", FORWARD_TURNED, "let turned = transpose(mat4x4<f32>(", "let turned = (mat4x4<f32>("),
    edit("a sequence is turned twice", FORWARD_TURNED, "first + min(m + 3u, last)", "first + min(m + 2u, last)"),
    edit("groups of a block are kept where others are read", NT_LARGE, "slot_a(k + 0u,", "slot_a(k + 4u,"),
    edit("the last value of k is masked", TN_TALL, "if k >= end {", "if k + 1u >= end {"),
    edit("the last four values of k are masked", NT_LARGE, "if c >= end {", "if c + 4u >= end {"),
    edit(
        "no barrier before a large tile is summed",
        TN_LARGE,
        "        workgroupBarrier();\n        if k + TILE_K",
        "        if k + TILE_K",
    ),
    edit(
        "no barrier before the next large tile",
        NN_TALL,
        "        workgroupBarrier();\n    }\n    store_inside",
        "    }\n    store_inside",
    ),
    edit("parts of k overlap", NN_LARGE, "begin + params.chunk)", "begin + params.chunk + 1u)"),
    edit("every part begins at the first", TN_WIDE, "let begin = group.z * params.chunk;", "let begin = 0u;"),
    edit("the parts overwrite each other", NT_LARGE, "part * params.rows + row", "row"),
    edit("a part is left out", NN_LARGE, "value, p < params.count)", "value, p + 1u < max(params.count, 2u))"),
    edit("a lane of parts is left out", TN_TALL, "p += 4u * params.lanes", "p += 4u * params.lanes + 1u"),
    edit("a level of the tree is left out", NN_LARGE, "apart >= width();", "apart > width();"),
    edit("no barrier in the tree", NT_LARGE, "sums[i] = sum;\n    workgroupBarrier();", "sums[i] = sum;"),
    edit("the sum of the parts overwrites", TN_LARGE, "select(sum, out[i] + sum, params.accumulate != 0u)", "sum"),
    edit(
        "the parts' bias is lost",
        BIAS_LARGE,
        "select(bias[at(params.bias, 0u, col)], out[i], params.accumulate != 0u)",
        "out[i]",
    ),
    edit("the last row of a small tile is lost", NT_SMALL, "give(group.z, m + 3u, n, s3);", ""),
    edit("a thread's sum is lost", NT_SKINNY, "j < 8u; j++) {\n        part", "j < 7u; j++) {\n        part"),
    edit("no barrier before a thread's sums are read", NT_SKINNY, "    workgroupBarrier();\n    // Thread i", "    // Thread i"),
    edit("no barrier before the parts are read", NT_SKINNY, "parts[i] = part;\n    workgroupBarrier();", "parts[i] = part;"),
    edit("some k belong to no thread", NT_SKINNY, "k += 256u", "k += 260u"),
    // The recurrence.
    edit(
        "another sequence's state",
        FORWARD_SUBGROUP,
        "let x1_1 = subgroupBroadcast(x1, 1u);",
        "let x1_1 = subgroupBroadcast(x1, 0u);",
    ),
    edit(
        "the first eight sequences twice",
        BACKWARD_SUBGROUP,
        "min(row + 1u * 8u + lane, last_row)",
        "min(row + lane, last_row)",
    ),
    edit("infinite weights meet the padding of a subgroup", FORWARD_SUBGROUP, "k + 1u <= last_k", "true"),
    edit("a slice is lost", FORWARD_SKINNY, "slice < 16u", "slice < 15u"),
    edit("no barrier between the slices", BACKWARD_SKINNY, "    workgroupBarrier();\n    var sum0", "    var sum0"),
    edit("some k belong to no slice", BACKWARD_SKINNY, "k += 64u", "k += 68u"),
    edit("another sequence's slice", FORWARD_SKINNY, "min(row + 5u, last_row)", "min(row + 4u, last_row)"),
    edit("a slice of a narrow workgroup is lost", FORWARD_NARROW, "slice < 16u", "slice < 15u"),
    edit("some k belong to no narrow slice", BACKWARD_NARROW, "k += 256u", "k += 260u"),
    edit("no barrier before the first round", FORWARD_NARROW, "    workgroupBarrier();\n    // Thread i", "    // Thread i"),
    edit("no barrier before the second round", BACKWARD_NARROW, "    workgroupBarrier();\n    var sum0", "    var sum0"),
    edit("a quarter of the slices is lost", FORWARD_NARROW, " + sums[i + 768u]", ""),
    edit("another sequence's inputs", BACKWARD_NARROW, "min(sequence, last_row)", "row"),
    edit(
        "another unit's inputs",
        FORWARD_NARROW,
        "min(sequence, last_row), near)",
        "min(sequence, last_row), min(col, last_col))",
    ),
    edit("a narrow workgroup's last sequence is another", FORWARD_NARROW, "min(row + 3u, last_row)", "min(row + 2u, last_row)"),
    edit(
        "the states of the step before the last",
        FORWARD_WIDE,
        "(immediates.time + params.later) * params.rows",
        "(max(immediates.time, 1u) - 1u + params.later) * params.rows",
    ),
    edit("the states of this step on the way back", BACKWARD_LARGE, "(immediates.time + params.later)", "immediates.time"),
    edit(
        "the cell of the first step's input",
        FORWARD_WIDE,
        "unit(inputs_at(immediates.time, row, col), total)",
        "unit(inputs_at(0u, row, col), total)",
    ),
    edit("a part of a time step is lost", BACKWARD_LARGE, "value, p < params.count)", "value, p + 1u < max(params.count, 2u))"),
    edit("the state does not go on", FORWARD_SEQUENCE, "state[own * DEPTH + 0u * gate_stride() + col + 1u] = after[0][1];", ""),
    edit(
        "no barrier before the sums of a sequence",
        FORWARD_SEQUENCE,
        "        workgroupBarrier();\n        if calls {",
        "        if calls {",
    ),
    edit(
        "no barrier before the next state",
        BACKWARD_SEQUENCE,
        "        workgroupBarrier();\n        for (var s = 0u;",
        "        for (var s = 0u;",
    ),
    edit("a slice of k is lost", BACKWARD_SEQUENCE, "total[0][2] += sums[p0_2 + 1u * LANES];", ""),
    edit(
        "all workgroups have the first sequence",
        FORWARD_SEQUENCE,
        "let first_sequence = group.y * share;",
        "let first_sequence = 0u;",
    ),
    edit("all sequences of a workgroup have the first's state", FORWARD_SEQUENCES, "let p = s * DEPTH + 4u", "let p = 4u"),
    edit("all sequences of a workgroup have the first's sums", BACKWARD_SEQUENCES, "(own * ROWS + ", "("),
    edit("a sequence runs forward on the way back", BACKWARD_SEQUENCE, "return params.steps - 1u - n;", "return n;"),
    edit("every chunk of time is the first", FORWARD_SEQUENCE, "let begin = immediates.time * params.chunk;", "let begin = 0u;"),
    edit("weights of the wrong unit", FORWARD_SEQUENCE, "[col & 3u]", "[k & 3u]"),
    edit(
        "the state of the step before the last",
        FORWARD,
        "return time * params.batch;",
        "return max(time, 1u) * params.batch - params.batch;",
    ),
    edit(
        "the state of the first sequence",
        FORWARD_TILED,
        "state_at(state + row + i / 8u, k + s)",
        "state_at(state + row, k + s)",
    ),
    edit("infinite weights read again meet the padding", FORWARD, "k + 1u <= last_k", "true"),
    edit(
        "the input is lost",
        FORWARD,
        "activate(params.activation, at.input0 + recurrent[0])",
        "activate(params.activation, recurrent[0])",
    ),
    edit(
        "the input of the first step",
        FORWARD_TILED,
        "params.input, row, 0u * gate_stride() + col",
        "params.input, sequence, 0u * gate_stride() + col",
    ),
    edit(
        "no barrier",
        FORWARD_TILED,
        "            tile_weight[j] = value;\n        }\n        workgroupBarrier();",
        "            tile_weight[j] = value;\n        }",
    ),
    edit(
        "no second barrier",
        BACKWARD_TILED,
        "        }\n        workgroupBarrier();\n    }\n    let m",
        "        }\n    }\n    let m",
    ),
    edit("a quarter of the weights twice", BACKWARD_TILED, "tile_weight[w + 24u]", "tile_weight[w + 16u]"),
    edit(
        "the derivative of the step after",
        BACKWARD,
        "kept0[at(params.kept0, row, col)]",
        "kept0[at(params.kept0, row + params.batch, col)]",
    ),
    edit("what came from later is lost", BACKWARD, "(at.d_hidden + recurrent)", "(at.d_hidden)"),
    edit("the gradient of this step's state is lost", BACKWARD_TILED, "(at.d_hidden + recurrent)", "(recurrent)"),
    edit("no derivative", BACKWARD, " * derivative(params.activation, at.kept0)", ""),
    edit("the pieces of a sum over k overwrite each other", FORWARD, "total[0] += before[0];", ""),
    edit("the cell in every piece of a sum", BACKWARD, "if params.more != 0u {", "if false {"),
    // Cells: what has gone wrong elsewhere, and what a cell with several gates can lose.
    edit("a leak of 1 - α for α", LEAKY_FORWARD, "at.constant0 * a, a)", "(1.0 - at.constant0) * a, a)"),
    edit("the state does not leak", LEAKY_FORWARD, "(1.0 - at.constant0) * at.before0", "at.before0"),
    edit("a leak of 1 - α for α on the way back", LEAKY_BACKWARD, "let d_sum = at.constant0", "let d_sum = (1.0 - at.constant0)"),
    edit("the leak of the first units", LEAKY_FORWARD, "params.constant0, 0u, col", "params.constant0, 0u, 0u"),
    edit("what stays of the state has no gradient", LEAKY_BACKWARD, "recurrent + at.direct0", "recurrent"),
    edit("the derivative from the state", LEAKY_BACKWARD, "derivative(params.activation, at.saved0)", "1.0"),
    edit("gates in another order", LSTM_FORWARD, "at.input2 + recurrent[2]", "at.input3 + recurrent[3]"),
    edit(
        "the sums of another gate",
        LSTM_FORWARD_TILED,
        "1u * gate_stride() + col + j % 8u * 4u",
        "0u * gate_stride() + col + j % 8u * 4u",
    ),
    edit("the forget gate is not there", LSTM_FORWARD, "f * at.before1", "at.before1"),
    edit("c without its activation", LSTM_FORWARD_TILED, "o * rational_tanh(c)", "o * c"),
    edit("what is saved is of another gate", LSTM_FORWARD, "padded(after.saved1,", "padded(after.saved0,"),
    edit("a gradient of c lost", LSTM_BACKWARD, "at.direct0 + d_h", "d_h"),
    edit("the gradient of c is not forgotten", LSTM_BACKWARD, "d_c * f);", "d_c);"),
    edit("c after the time step for c before it", LSTM_BACKWARD, "d_c * at.kept0", "d_c * at.kept1"),
    edit(
        "every gradient times 4",
        LSTM_BACKWARD_TILED,
        "Gates(d_i, d_f, d_g, d_o)",
        "Gates(4.0 * d_i, 4.0 * d_f, 4.0 * d_g, 4.0 * d_o)",
    ),
    edit("gradients of gates in another order", LSTM_BACKWARD, "Gates(d_i, d_f, d_g, d_o)", "Gates(d_i, d_g, d_f, d_o)"),
    edit("the way through h of c is lost", LSTM_BACKWARD, " + d_h * o * (1.0 - tanh_c * tanh_c)", ""),
    edit(
        "the state of a unit's own path from two steps on",
        LSTM_BACKWARD,
        "d_state0[at(params.d_state0, row + params.batch, col)],",
        "d_state0[at(params.d_state0, row, col)],",
    ),
    edit(
        "a gate of a sequence does not go on",
        LSTM_BACKWARD_SEQUENCE,
        "state[own * DEPTH + 3u * gate_stride() + col + 2u] = after[3][2];",
        "",
    ),
    edit(
        "a slice of the third gate is lost",
        LSTM_FORWARD_NARROW,
        "sum2 += sums[slice * 16u + i];",
        "sum2 = sums[slice * 16u + i];",
    ),
    edit("the sum of one gate over all of k is that of its last piece", LSTM_FORWARD, "total[2] += before[2];", ""),
    edit("the third gate has the parts of the second", LSTM_FORWARD_WIDE, "2u * gate_stride() + col", "1u * gate_stride() + col"),
    edit("the reset gate leaves the bias alone", GRU_FORWARD, "at.input2 + r * s", "at.input2 + r * recurrent[2] + at.constant0"),
    edit("the reset gate on the input", GRU_FORWARD_TILED, "at.input2 + r * s", "r * at.input2 + s"),
    edit("the update gate the other way round", GRU_FORWARD, "(1.0 - z) * n + z * at.before0", "z * n + (1.0 - z) * at.before0"),
    edit("the gradient of n's sum is not reset", GRU_BACKWARD, "d_n * r)", "d_n)"),
    edit("the gradient of n's input is reset", GRU_BACKWARD, "Gates(d_r, d_z, d_n))", "Gates(d_r, d_z, d_n * r))"),
    edit("what stays of the state has no gradient in a GRU", GRU_BACKWARD, "recurrent + at.direct0", "recurrent"),
    edit("the state after the time step for the one before it", GRU_BACKWARD, "(at.kept0 - n)", "(at.kept0 * z - n * z)"),
    edit("every gradient of a GRU times 4", GRU_BACKWARD, "let d_h = at.d_hidden", "let d_h = 4.0 * at.d_hidden"),
    // Recurrences whose workgroups wait for each other.
    edit("the units of the first workgroup", FORWARD_PERSISTENT, "group.x * UNITS + lane * COLUMNS", "lane * COLUMNS"),
    edit("the third four of k are lost", FORWARD_ALONE, "if 2u < vectors", "if 3u < vectors"),
    edit(
        "a slice has the values of k of the one before",
        FORWARD_PERSISTENT,
        "column(4u * (0u * SLICES + slice)",
        "column(4u * (max(slice, 1u) - 1u)",
    ),
    edit(
        "no barrier before the state is multiplied",
        BACKWARD_PERSISTENT,
        "        workgroupBarrier();\n        if atomicLoad(&over)",
        "        if atomicLoad(&over)",
    ),
    edit(
        "no barrier before the sums are added up",
        FORWARD_PERSISTENT,
        "        workgroupBarrier();\n        if i / (LANES * SHARE)",
        "        if i / (LANES * SHARE)",
    ),
    edit(
        "no barrier before the parts of the sums are added up",
        FORWARD_PERSISTENT,
        "        workgroupBarrier();\n        if calls",
        "        if calls",
    ),
    edit("a term of a part is lost", FORWARD_PERSISTENT, "part += sums[p + 1u * LANES * SHARE];", ""),
    edit("a part of a sum is lost", BACKWARD_DENSE, "total[0][3] += sums[p0_3 + 1u * LANES];", ""),
    edit(
        "the first states of another sequence",
        FORWARD_PERSISTENT,
        "x1_0 = word(word_at(first_row + 1u",
        "x1_0 = word(word_at(first_row",
    ),
    edit(
        "the states of the first sequences",
        FORWARD_PERSISTENT,
        "state_row(step_at(n)) + first_sequence + tile * at_once",
        "state_row(step_at(n)) + first_sequence",
    ),
    edit(
        "the second words are those of the first",
        BACKWARD_DENSE,
        "x0_1 = word(word_at(first_row + 0u, i + 1u * THREADS))",
        "x0_1 = word(word_at(first_row + 0u, i))",
    ),
    edit("a word is looked at once", FORWARD_ALONE, "x0_0 = word(word_at(row + 0u, i + 0u * THREADS));", ""),
    edit(
        "all sequences are the first ones",
        FORWARD_PERSISTENT,
        "let first = first_sequence + tile * at_once;",
        "let first = first_sequence;",
    ),
    edit(
        "the last time step of a dispatch is lost",
        FORWARD_ALONE,
        "min(params.steps, begin + params.chunk) * tiles",
        "max(min(params.steps, begin + params.chunk), begin + 2u) * tiles - tiles",
    ),
    // Activations.
    edit("tanh' = 1 - h", SLOPE, "return 1.0 - h * h;", "return 1.0 - h;"),
    edit("sigmoid' = h", SLOPE, "return h * (1.0 - h);", "return h;"),
    edit("ReLU' = 1 at 0", SLOPE, "h > vec4<f32>()", "h >= vec4<f32>()"),
    edit("tanh' 1e-4 too large", SLOPE, "return 1.0 - h * h;", "return 1.0001 - h * h;"),
    edit("the derivative replaces the gradient", SLOPE, "out[i] *= ", "out[i] = "),
    edit("NaN is clamped by tanh", VALUE, "(abs(x) < vec4<f32>(4e-4)) | is_nan(x)", "abs(x) < vec4<f32>(4e-4)"),
    edit("ReLU by max", VALUE, "select(a, vec4<f32>(), (a < vec4<f32>()) & !is_nan(a))", "max(a, vec4<f32>())"),
    edit("tanh is not clamped", VALUE, "clamp(x, vec4<f32>(-7.905311), vec4<f32>(7.905311))", "x"),
    edit(
        "sigmoid's two sides swapped",
        VALUE,
        "select(vec4<f32>(1.0), e, x < vec4<f32>())",
        "select(e, vec4<f32>(1.0), x < vec4<f32>())",
    ),
    edit("the exponential rounds down", VALUE, "floor(c * 1.44269504 + 0.5)", "floor(c * 1.44269504)"),
    edit("NaN becomes a number in the exponential", VALUE, "return select(y, x, is_nan(x));", "return y;"),
    // Lookups.
    edit("the bias of a lookup is lost", LOOKUP, " + bias[at(params.bias, 0u, col)]", ""),
    edit("the piece's first token is forgotten", LOOKUP, " - params.first", ""),
    edit(
        "the last row of a token is lost",
        TOKENS,
        "let end = starts[token + 1u];",
        "let end = max(starts[token + 1u], 1u) - 1u;",
    ),
    edit(
        "a token that does not occur keeps what was there",
        TOKENS,
        "var sum = vec4<f32>();",
        "if i == end { return; }\n    var sum = vec4<f32>();",
    ),
    edit("only the last block of a token's rows", TOKENS, "sum += block;\n            block", "block"),
    edit("pieces overwrite each other", TOKENS, "select(sum, d_table[out] + sum, params.accumulate != 0u)", "sum"),
    edit(
        "always added to what was there",
        TOKENS,
        "select(sum, d_table[out] + sum, params.accumulate != 0u)",
        "d_table[out] + sum",
    ),
    // Losses.
    edit("the maximum is not subtracted", SOFTMAX, "col)] - m), col, end)", "col)]), col, end)"),
    edit("the only chunk is left out", SOFTMAX, "sum = all.y;", ""),
    edit("chunks are not brought to one maximum", SOFTMAX, "part.y * exp_nonpositive(vec4<f32>(part.x - m)).x", "part.y"),
    edit(
        "the last chunk is lost",
        SOFTMAX,
        "i <= chunks; i++) {\n            let part = statistics[at(params.statistics, id.x, 4u * i)];\n            sum",
        "i < max(chunks, 2u); i++) {\n        let part = statistics[at(params.statistics, id.x, 4u * i)];\n        sum",
    ),
    edit("the gradient is not weighted", SOFTMAX, "w * (p - aims)", "(p - aims)"),
    edit("the class counts for nothing", SOFTMAX, "w * (p - aims)", "w * p"),
    edit("the class of the next column", SOFTMAX, "[class_id & 3u]", "[(class_id + 1u) & 3u]"),
    edit("a row of weight zero hands on NaN", SOFTMAX, "select(w * (p - aims), vec4<f32>(), w == 0.0)", "w * (p - aims)"),
    edit("the gradient 1e-4 too large", SOFTMAX, "w * (p - aims)", "1.0001 * w * (p - aims)"),
    edit("the squared error's gradient is halved", VALUES, "slope = 2.0 * e", "slope = e"),
    edit("the absolute error is not absolute", VALUES, "p = abs(e)", "p = e"),
    edit(
        "Huber's loss is not bent",
        VALUES,
        "abs(e) > k);\n        }\n        case BINARY: {\n            p",
        "abs(e) > 1e30 * k);\n        }\n        case BINARY: {\n            p",
    ),
    edit("Huber's gradient is not clipped", VALUES, "k * sign(e), abs(e) > k", "k * sign(e), abs(e) > 1e30 * k"),
    edit("Huber's loss jumps at the threshold", VALUES, "abs(e) - 0.5 * k", "abs(e)"),
    edit("a label's logarithm is lost", VALUES, " + log(1.0 + exp_nonpositive(-abs(o)))", ""),
    edit("a label's gradient by the other side", VALUES, "select(t, vec4<f32>(1.0), o > vec4<f32>())", "t"),
    edit("a label's gradient forgets the label", VALUES, "/ (1.0 + t) - v", "/ (1.0 + t)"),
    edit("the quantiles exchange their sides", VALUES, "select(-k * e, (1.0 - k) * e,", "select((k - 1.0) * e, k * e,"),
    edit("a quantile's gradient exchanges its sides", VALUES, "-k, e < vec4<f32>()), 1.0 - k,", "k - 1.0, e < vec4<f32>()), k,"),
    edit(
        "the first column's number is that of all",
        VALUES,
        "constants[at(params.constants, 0u, col)]);\n    let d",
        "constants[at(params.constants, 0u, 0u)]);\n    let d",
    ),
    edit("padding counts in a row's sum", VALUES, "padded(p, col, params.outputs.cols)", "p"),
    edit("a gradient reaches the padding", VALUES, "padded(d, col, params.outputs.cols)", "d"),
    edit("not the mean over the components", VALUES, "/ f32(params.components);", ";"),
    edit("the gradient is not the mean's", VALUES, "w / f32(params.components) * slope", "w * slope"),
    edit("a penalty of NaN is a number", VALUES, "return select(p, e, is_nan(e));", "return select(p, vec4<f32>(), is_nan(e));"),
    edit(
        "the gradient of NaN is a number",
        VALUES,
        "return select(slope, e, is_nan(e));",
        "return select(slope, vec4<f32>(), is_nan(e));",
    ),
    edit(
        "a row of weight zero hands on NaN",
        VALUES,
        "select(w / f32(params.components) * slope, vec4<f32>(), w == 0.0)",
        "w / f32(params.components) * slope",
    ),
    edit("the loss is not weighted", VALUES, "w * ((sum.x", "((sum.x"),
    edit("pieces of a row overwrite each other", VALUES, "select(0.0, losses[i].x, params.accumulate != 0u)", "0.0"),
    // Sums, norm, clip.
    edit("rows belong to two threads", SUM, "row += 32u", "row += 31u"),
    edit("the last row is lost", SUM, "row < params.x.rows;", "row + 1u < params.x.rows;"),
    edit("no barrier before the threads' sums are read", SUM, "    workgroupBarrier();\n", ""),
    edit("the last thread's sum is lost", SUM, "part < 32u", "part < 31u"),
    edit("further pieces overwrite", SUM, "select(sum, out[place] + sum, params.accumulate != 0u)", "sum"),
    edit("the norm does not know of negative values", NORM, "abs(value)", "value"),
    edit("the norm is not scaled", NORM, "/ largest, largest > 0.0)", ", largest > 0.0)"),
    edit("the square of the norm", NORM, "m * sqrt(s + block)", "m * (s + block)"),
    edit("the last block is lost", NORM, "m * sqrt(s + block)", "m * sqrt(s)"),
    edit("the place of the first value that is not finite", NORM, "bad = min(bad, 4u * i", "bad = min(bad, i"),
    edit("the place counts from the piece", NORM, "params.first + bad", "bad"),
    edit("partial results are not brought to one maximum", NORM, "block += part.y * q * q;", "block += part.y;"),
    edit("rows belong to two threads of a tree", SUM_TREE, "row += 4u * apart", "row += 3u * apart"),
    edit("a row twice", SUM_TREE, "vector(row + 2u * apart", "vector(row + apart"),
    edit("a quarter of the rows is lost", SUM_TREE, "            s3 += v3;\n", ""),
    edit("the last row of a part again", SUM_TREE, "row < end);", "true);"),
    edit("parts overlap", SUM_TREE, "min((group.y + 1u) * params.rows,", "min((group.y + 1u) * params.rows + 1u,"),
    edit("a branch of the tree is lost", SUM_TREE, "k < count;", "k + 1u < max(count, 2u);"),
    edit("no barrier before the branches", SUM_TREE, "    workgroupBarrier();\n    let width", "    let width"),
    edit("no barrier before the last branch", SUM_TREE, "    workgroupBarrier();\n    if i < lanes", "    if i < lanes"),
    edit("lanes of a tree mixed", SUM_TREE, "branch(i, lanes, width / lanes)", "branch(i, 1u, width / lanes)"),
    edit("the sum of the parts overwrites", SUM_TREE, "select(sum, out[place] + sum, params.accumulate != 0u)", "sum"),
    edit("negative values count as small", NORM_TREE, "let size = abs(value);", "let size = value;"),
    edit("large values are not scaled", NORM_TREE, "vec4<f32>(UNITS.z), is_large", "vec4<f32>(UNITS.y), is_large"),
    edit("small values are not scaled", NORM_TREE, "vec4<f32>(UNITS.x), is_small", "vec4<f32>(UNITS.y), is_small"),
    edit("every value counts as large", NORM_TREE, "select(vec4<f32>(), square, is_large)", "square"),
    edit("large values are lost", NORM_TREE, "select(vec4<f32>(), square, is_large)", "vec4<f32>()"),
    edit("small values are lost", NORM_TREE, "select(vec4<f32>(), square, is_small)", "vec4<f32>()"),
    edit("the rescaling of a sum is forgotten", NORM_TREE, "sums * factors * factors", "sums * factors"),
    edit("the norm is not scaled back", NORM_TREE, " * bitcast<f32>(power);", ";"),
    edit(
        "the square of the norm by a tree",
        NORM_TREE,
        "return sqrt(scaled.x + scaled.y + scaled.z)",
        "return (scaled.x + scaled.y + scaled.z)",
    ),
    edit("a quarter of the values is lost", NORM_TREE, "        add(&sums, v3, v + 3u * threads);\n", ""),
    edit("values belong to two threads", NORM_TREE, "v += 4u * threads", "v += 3u * threads"),
    edit("the last vector again", NORM_TREE, ", i < vectors);", ", true);"),
    edit("a branch of the norm's tree is lost", NORM_TREE, "k < 16u;", "k < 15u;"),
    edit("the first partial results only", NORM_TREE, "row < params.x.rows;", "row < min(params.x.rows, 256u);"),
    edit("the last partial result is lost", NORM_TREE, "row < params.x.rows;", "row + 1u < max(params.x.rows, 2u);"),
    edit("no barrier before the branches of the norm", NORM_TREE, "    workgroupBarrier();\n    if i < 16u", "    if i < 16u"),
    edit("no barrier before the norm's last branch", NORM_TREE, "    workgroupBarrier();\n    if i == 0u", "    if i == 0u"),
    edit("a position is lost in the tree", NORM_TREE, "min(a.place, b.place)", "a.place"),
    edit("a position of vectors", NORM_TREE, "params.first + 4u * i +", "params.first + i +"),
    edit("a position counts from the piece", NORM_TREE, "params.first + 4u * i", "4u * i"),
    edit("the high part of a position is lost", NORM_TREE, "4096u * u32(place.x) +", ""),
    // Updates.
    edit("uphill", SGD, "-= schedule", "+= schedule"),
    edit("the rate 1e-4 too large", SGD, ".x * clipped", ".x * 1.0001 * clipped"),
    edit("the first row of workgroups only", SGD, "id.y * 64u * groups.x + id.x", "id.x"),
    edit("clipped by the bare norm", SGD, "(n + 1e-6)", "n"),
    edit("clip's 1e-6 is 1e-4 of itself too large", SGD, "(n + 1e-6)", "(n + 1.0001e-6)"),
    edit("what is small is scaled up", MOMENTUM, "scale < 1.0 && ", ""),
    edit("the limit 1e-4 too large", ADAM, "params.limit / ", "1.0001 * params.limit / "),
    edit("no limit clips everything", ADAM, "params.limit > 0.0 && ", ""),
    edit("clipped twice", SGD, "select(1.0, scale,", "select(1.0, scale * scale,"),
    edit("clipped twice with momentum", MOMENTUM, "select(1.0, scale,", "select(1.0, scale * scale,"),
    edit("not clipped", MOMENTUM, "select(1.0, scale,", "select(1.0, 1.0,"),
    edit(
        "not clipped by Adam",
        ADAM,
        "clipped(gradient[at(params.gradient, 0u, col)])",
        "gradient[at(params.gradient, 0u, col)]",
    ),
    edit("a diverged run goes on", SGD, " || halted()", ""),
    edit("no momentum", MOMENTUM, "params.momentum * ", ""),
    edit("momentum 1e-4 too large", MOMENTUM, "params.momentum * ", "1.0001 * params.momentum * "),
    edit("a diverged run goes on with momentum", MOMENTUM, " || halted()", ""),
    edit("elements are not clipped", SGD, "if params.bound == 0.0 {", "if true {"),
    edit("the bound 1e-4 too large", MOMENTUM, "vec4<f32>(params.bound), low >", "vec4<f32>(1.0001 * params.bound), low >"),
    edit("Nesterov's step without the gradient", MOMENTUM, "g + params.momentum * mean,", "params.momentum * mean,"),
    edit("no decay", ADAM, "(1.0 - now.x * params.decay)", "1.0"),
    edit("decay 1e-4 too large", ADAM, "now.x * params.decay", "1.0001 * now.x * params.decay"),
    edit("the squares' share 1e-4 too small", RMSPROP, "params.kept * v[", "0.9999 * params.kept * v["),
    edit("no root of the squares", RMSPROP, "sqrt(square)", "square"),
    edit("a diverged run goes on with rmsprop", RMSPROP, " || halted()", ""),
    edit("the moments' decays swapped", ADAM, "params.beta1 * m[", "params.beta2 * m["),
    edit("beta1 1e-4 too small", ADAM, "params.beta1 * m[", "0.9999 * params.beta1 * m["),
    edit("1 - beta1 1e-4 too large", ADAM, "(1.0 - params.beta1) * g", "1.0001 * (1.0 - params.beta1) * g"),
    edit("beta2 1e-4 too small", ADAM, "params.beta2 * v[", "0.9999 * params.beta2 * v["),
    edit("1 - beta2 1e-4 too large", ADAM, "(1.0 - params.beta2) * g * g", "1.0001 * (1.0 - params.beta2) * g * g"),
    edit("the mean is not corrected", ADAM, "now.x * now.y * mean", "now.x * mean"),
    edit("the square is not corrected", ADAM, "sqrt(now.z * square)", "sqrt(square)"),
    edit("epsilon under the root", ADAM, "(sqrt(now.z * square) + params.epsilon)", "sqrt(now.z * square + params.epsilon)"),
    edit("epsilon 1e-4 too large", ADAM, "+ params.epsilon)", "+ 1.0001 * params.epsilon)"),
    // Dropout.
    edit("the mask of the first layer", DROPOUT, "params.layer, now(2u)", "0u, now(2u)"),
    edit("the mask of the first 2^32 training steps", DROPOUT, "now(2u), now(3u))", "now(2u), 0u)"),
    edit("the mask of the step before", DROPOUT, "now(2u), now(3u))", "now(2u) - 1u, now(3u))"),
    edit("the high word of the seed is lost", DROPOUT, "now(0u), now(1u)", "now(0u), 0u"),
    edit("places of a mask counted from the piece", DROPOUT, "params.first + row", "row"),
    edit("a mask that follows from the share of the batch", DROPOUT, "all / params.batch * params.besides", "0u"),
    edit("a mask of the first sequences of the batch", DROPOUT, " + params.before", ""),
    edit("noise that follows from the share of the batch", NOISE, "all / params.batch * params.besides", "0u"),
    edit("noise of the first sequences of the batch", NOISE, " + params.before", ""),
    edit("places beyond 2^32 are lost", DROPOUT, "(n.x << 30u) | ", ""),
    edit("a carry to 2^32 is lost", DROPOUT, "n.x + select(0u, 1u, low < n.y)", "n.x"),
    edit("a carry between halves is lost", DROPOUT, " + (carried >> 16u)", ""),
    edit("the second key does not change", DROPOUT, "0xbb67ae85u", "0u"),
    edit("blocks begin at every row", DROPOUT, "let at = n.y & 3u;", "let at = 0u;"),
    edit("a word of the next block again", DROPOUT, "one.zw, next.xy", "one.zw, next.xx"),
    edit("the mask of the first direction", DROPOUT, "params.col + col", "col"),
    edit("what is dropped is kept", DROPOUT, "words(places) < ", "words(places) >= "),
    edit("scaled by 1 - P", DROPOUT, "vec4<f32>(params.scale)", "vec4<f32>(1.0 / params.scale)"),
    edit("not scaled", DROPOUT, "vec4<f32>(params.scale)", "vec4<f32>(1.0)"),
    edit("dropout where there is no training step", DROPOUT, "(now(2u) | now(3u)) == 0u", "false"),
    edit("labels are not smoothed", SOFTMAX, "vec4<f32>(params.others), vec4<f32>(params.aim)", "vec4<f32>(), vec4<f32>(1.0)"),
    edit("the class is the others' aim", SOFTMAX, "vec4<f32>(params.aim)", "vec4<f32>(params.others)"),
    // Noise, and constraints of recurrent weights.
    edit("the noise of the first layer", NOISE, "params.layer, now(2u)", "0u, now(2u)"),
    edit("the noise of the step behind", NOISE, "now(2u), now(3u))", "now(2u) + 1u, now(3u))"),
    edit("the mean is not taken off", NOISE, " - vec2<f32>(1020.0)", ""),
    edit("even bytes twice", NOISE, "words >> vec4<u32>(8u)", "words >> vec4<u32>(0u)"),
    edit("the upper halves are lost", NOISE, " + (pairs >> vec2<u32>(16u))", ""),
    edit("an odd first element as an even one", NOISE, "(n & 1u) == 1u", "false"),
    edit("places of noise counted from the piece", NOISE, "params.first + row", "row"),
    edit("noise where there is no training step", NOISE, " || (now(2u) | now(3u)) == 0u", ""),
    edit("noise 1e-4 too large", NOISE, "params.scale * noise", "1.0001 * params.scale * noise"),
    edit("the mask of the first row", CONNECTIONS, "mask[at(params.mask, id.y, col)]", "mask[at(params.mask, 0u, col)]"),
    edit("what has a connection is taken away", CONNECTIONS, "== vec4<f32>()", "!= vec4<f32>()"),
    edit("the signs exchanged", SIGNS, "is_negative == is_excitatory", "is_negative != is_excitatory"),
    edit("every vector begins with the first unit", SIGNS, "vec4<u32>(col) + ", ""),
    edit("one unit more is excitatory", SIGNS, "units < vec4", "units <= vec4"),
    edit("the factor of a sum is lost", ADD, "params.factor * ", ""),
    // The journal.
    edit("halted is not told", JOURNAL, "select(n.x, bitcast<f32>(params.history.rows | 0x7fc00000u), halted)", "n.x"),
    edit("NaN does not halt", JOURNAL, "if any(not_finite(vec4<f32>(l, n.x, 0.0, 0.0))) {", "if l != l {"),
    edit("a norm of NaN does not halt", JOURNAL, "vec4<f32>(l, n.x, 0.0, 0.0)", "vec4<f32>(l, 0.0, 0.0, 0.0)"),
    edit("a part's rows counted from the whole's first", JOURNAL, "- params.first;", ";"),
    edit("a part's last row for those of later parts", JOURNAL, "f32(params.rows - 1u)", "f32(params.history.rows - 1u)"),
    edit("always the first row", JOURNAL, "history[at(params.history, row, 0u)]", "history[at(params.history, 0u, 0u)]"),
];

/// Edits that change nothing that can be seen, and why.
pub const EQUIVALENT: &[(Edit, &str)] = &[
    (
        edit("one row too many", COPY, "id.y < params.x.rows", "id.y <= params.x.rows"),
        "a binding ends with its window, and what is written beyond is dropped",
    ),
    (
        edit("a's tile is not filled up with zeros along k", TN_TILED, "k + r < end && row + c", "row + c"),
        "a binding ends with its window, and what lies beyond reads as zero, or meets the zeros of b's tile",
    ),
    (
        edit("b's tile is not filled up with zeros along k", NN_TILED, "k + r < end && col + c", "col + c"),
        "a binding ends with its window, and what lies beyond reads as zero, or meets the zeros of a's tile",
    ),
    (
        edit("rows of a's tile past the last are not left out", NN_TILED, "row < params.a.rows && k < end", "k < end"),
        "they make sums of rows that are not stored",
    ),
    (
        edit("columns of b's tile past the last are not left out", NT_TILED, "col < params.b.rows && k < end", "k < end"),
        "they make sums of columns that are not stored, or that `padded` sets to zero",
    ),
    (edit("sequences past the last are read", FORWARD, "min(row + r, last_row)", "(row + r)"), "their sums are not stored"),
    (edit("rows of a past the last are read", NN, "min(row + r, last_row)", "(row + r)"), "their sums are not stored"),
    (
        edit("the norm's factors multiplied first", NORM_TREE, "sums * factors * factors", "sums * (factors * factors)"),
        "a compiler may do the same, and a GPU's did where a factor's square was infinite: zero times that is NaN",
    ),
    (
        edit("the sums of partial norms in one block", NORM, "if (i & 63u) == 63u {", "if false {"),
        "the same sum in another order, which only rounds more",
    ),
];
