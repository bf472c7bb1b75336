// Many time steps of a recurrence, forward (step_forward) or backward (step_backward), in one dispatch. A workgroup has UNITS units, with
// all gates, of `sequences` sequences, of which SEQUENCES at a time. Its part of the weight stays in registers: of the values of k each
// slice of UNITS threads has the next `16·blocks`, and a thread those of one unit. What other workgroups make of the time step before is read as soon as it is written,
// a word at a time (see flags), and brought to workgroup memory; the sums of the slices are added up in order, and the cell is called.
//
// Waiting is sound only where all workgroups of a sequence run at the same time. So who has looked `patience` times in vain says so in `given_up`,
// and all of them end. The first time step of a dispatch waits for nothing: the one before it was another dispatch's.
const THREADS: u32 = 256u;
const SLICES: u32 = THREADS / UNITS;
const DEPTH: u32 = SLICES * BLOCKS * 16u; // the most values of k

var<workgroup> state: array<f32, SEQUENCES * DEPTH>;
var<workgroup> sums: array<f32, SEQUENCES * SUMS * THREADS>;
var<workgroup> over: atomic<u32>;
var<private> patience: u32;

// An element of the weight; zero beyond it.
fn entry(k: u32, gate: u32, unit: u32) -> f32 {
    if k >= params.weight.rows || unit >= units() {
        return 0.0;
    }
    let col = gate * gate_stride() + unit;
    return weight[at(params.weight, k, col & ~3u)][col & 3u];
}

fn column(k: u32, gate: u32, unit: u32) -> vec4<f32> {
    return vec4<f32>(entry(k, gate, unit), entry(k + 1u, gate, unit), entry(k + 2u, gate, unit), entry(k + 3u, gate, unit));
}

// A word once it is written, from what a first look at it saw; UNWRITTEN where it was waited for in vain.
fn written(place: u32, seen: u32) -> u32 {
    var bits = seen;
    let most = patience;
    for (var looks = 0u; looks < most; looks++) {
        if bits != UNWRITTEN {
            break;
        }
        patience -= 1u;
        if (looks & 63u) == 63u && atomicLoad(&given_up[0]) != 0u {
            break;
        }
        bits = word(place);
    }
    return bits;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let first_k = i / UNITS * 16u * params.blocks;
    let column_unit = group.x * UNITS + i % UNITS;
#for g in 0..SUMS
#for b in 0..BLOCKS
#for v in 0..4
    let w$g_$b_$v = column(first_k + 16u * $bu + 4u * $vu, $gu, column_unit);
#end
#end
#end
    // The first threads call the cell, each for four units of a sequence.
    let own = i / (UNITS / 4u);
    let near = i % (UNITS / 4u) * 4u;
    let col = group.x * UNITS + near;
    let passes = params.sequences / SEQUENCES;
    let begin = immediates.time * params.chunk;
    let end = min(params.steps, begin + params.chunk) * passes;
    patience = params.patience;
    if i == 0u && atomicLoad(&given_up[0]) != 0u {
        atomicStore(&over, 1u);
    }
    var round = begin * passes;
    for (; round < end; round++) {
        let time = step_at(round / passes);
        let first = group.y * params.sequences + round % passes * SEQUENCES;
        let waits = round / passes > begin;
        let calls = own < SEQUENCES && first + own < params.batch && col < units();
        // Everything is on its way before the first word is waited for.
        var inputs = Inputs();
        if calls {
            inputs = inputs_at(time, first + own, col);
        }
#for s in 0..SEQUENCES
#for q in 0..WORDS
        let place$s_$q = word_at(state_row(time) + first + $su, i + $qu * THREADS);
        let is$s_$q = first + $su < params.batch && i + $qu * THREADS < params.weight.rows;
        var x$s_$q = 0u;
        if is$s_$q {
            x$s_$q = word(place$s_$q);
        }
#end
#end
#for s in 0..SEQUENCES
#for q in 0..WORDS
        if waits {
            x$s_$q = written(place$s_$q, x$s_$q);
            if x$s_$q == UNWRITTEN {
                atomicStore(&over, 1u);
            }
        }
        if i + $qu * THREADS < DEPTH {
            state[$su * DEPTH + i + $qu * THREADS] = bitcast<f32>(x$s_$q);
        }
#end
#end
        workgroupBarrier();
        if atomicLoad(&over) != 0u {
            break;
        }
#for s in 0..SEQUENCES
#for g in 0..SUMS
        var sum$s_$g = 0.0;
#end
#end
#for b in 0..BLOCKS
        if $bu < params.blocks {
#for v in 0..4
            let k$b_$v = first_k + 16u * $bu + 4u * $vu;
#for s in 0..SEQUENCES
            let h$s_$v = vec4<f32>(state[$su * DEPTH + k$b_$v], state[$su * DEPTH + k$b_$v + 1u], state[$su * DEPTH + k$b_$v + 2u], state[$su * DEPTH + k$b_$v + 3u]);
#for g in 0..SUMS
            sum$s_$g += dot(w$g_$b_$v, h$s_$v);
#end
#end
#end
        }
#end
#for s in 0..SEQUENCES
#for g in 0..SUMS
        sums[($su * SUMS + $gu) * THREADS + i] = sum$s_$g;
#end
#end
        workgroupBarrier();
        if calls {
            var total = Sums();
            for (var p = own * SUMS * THREADS + near; p < (own * SUMS + 1u) * THREADS; p += UNITS) {
#for g in 0..SUMS
                let p$g = p + $gu * THREADS;
                total[$g] += vec4<f32>(sums[p$g], sums[p$g + 1u], sums[p$g + 2u], sums[p$g + 3u]);
#end
            }
            _ = store(time, first + own, col, unit(inputs, total));
        }
        // What this workgroup has written none of its threads waits for.
        storageBarrier();
    }
    // Also where a driver ends a loop too early.
    if round < end {
        atomicStore(&given_up[0], 1u);
    }
}
