// Many time steps of a recurrence, forward (step_forward) or backward (step_backward), in one dispatch. A workgroup has UNITS units, with
// all gates, of some sequences, of which at most SEQUENCES at a time. Its part of the weight stays in registers: a thread has COLUMNS units
// and every SLICES-th four values of k. Each thread leaves its sums in workgroup memory. Those of the slices are added up in one stage or in
// two. The last stage is part of the call of the cell, by a thread for four units each.
//
// Where one workgroup has all units, the state stays in workgroup memory. Where several share them, a state is read as soon as the others
// have written it, a word at a time (see flags). Waiting is sound only where all workgroups of a sequence run at the same time. So a thread
// that has looked `patience` times in vain sets `given_up`, and all workgroups end. The first time step of a dispatch waits for nothing:
// another dispatch made the one before it. Of its own workgroup a thread waits only for words that were written before a barrier or by a
// thread with a smaller number, since some drivers run the threads one after the other.
const SLICES: u32 = THREADS * COLUMNS / UNITS;
const LANES: u32 = UNITS / COLUMNS; // threads of a slice
const DEPTH: u32 = 4u * SLICES * VECTORS; // the most values of k
const ROWS: u32 = COLUMNS * SUMS; // sums of a thread for a sequence

var<workgroup> state: array<f32, SEQUENCES * DEPTH>;
var<workgroup> sums: array<f32, SEQUENCES * ROWS * THREADS>;
#for w in 0..WAITS
var<workgroup> over: atomic<u32>;
var<private> patience: u32;
#end

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

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let slice = i / LANES;
    let lane = i % LANES;
#for c in 0..COLUMNS
#for g in 0..SUMS
#for v in 0..VECTORS
    let w$c_$g_$v = column(4u * ($vu * SLICES + slice), $gu, group.x * UNITS + lane * COLUMNS + $cu);
#end
#end
#end
    let vectors = (params.weight.rows + 4u * SLICES - 1u) / (4u * SLICES);
    // The first threads call the cell, each for four units of a sequence.
    let own = i / (UNITS / 4u);
    let near = i % (UNITS / 4u) * 4u;
    let col = group.x * UNITS + near;
#for w in 0..WAITS
    let share = params.sequences;
    let at_once = params.at_once;
#end
#for x in WAITS..1
    let share = SEQUENCES;
    let at_once = SEQUENCES;
#end
    let first_sequence = group.y * share;
    let behind = min(first_sequence + share, params.batch);
    let tiles = (share + at_once - 1u) / at_once;
    let begin = immediates.time * params.chunk;
    let end = min(params.steps, begin + params.chunk) * tiles;
    var round = begin * tiles;
    var n = begin;
    var tile = 0u;
#for w in 0..WAITS
    patience = params.patience;
    if i == 0u && atomicLoad(&given_up[0]) != 0u {
        atomicStore(&over, 1u);
    }
    // A word of a state that this thread brings: zero where there is none.
    let first_row = state_row(step_at(begin)) + first_sequence;
#for s in 0..SEQUENCES
#for q in 0..WORDS
    var x$s_$q = 0u;
    if $su < at_once && first_sequence + $su < behind && i + $qu * THREADS < params.weight.rows {
        x$s_$q = word(word_at(first_row + $su, i + $qu * THREADS));
    }
#end
#end
#end
#for x in WAITS..1
    for (var p = i; p < SEQUENCES * DEPTH / 4u; p += THREADS) {
        let sequence = first_sequence + p / (DEPTH / 4u);
        let k = p % (DEPTH / 4u) * 4u;
        var value = vec4<f32>();
        if sequence < behind && k < params.weight.rows {
            value = own_state(state_row(step_at(begin)) + sequence, k);
        }
#for e in 0..4
        state[4u * p + $eu] = value[$e];
#end
    }
#end
    for (; round < end; round++) {
        let time = step_at(n);
        let first = first_sequence + tile * at_once;
        let here = min(at_once, max(first, behind) - first);
        let calls = own < here && col < units();
        // Everything is on its way before the first word is waited for.
        var inputs = Inputs();
        if calls {
            inputs = inputs_at(time, first + own, col);
        }
#for w in 0..WAITS
        if n > begin {
            let row = state_row(time) + first;
            let most = patience;
            for (var looks = 0u; looks < most; looks++) {
                var is_missing = false;
#for s in 0..SEQUENCES
#for q in 0..WORDS
                if x$s_$q == UNWRITTEN {
                    x$s_$q = word(word_at(row + $su, i + $qu * THREADS));
                    is_missing = true;
                }
#end
#end
                if !is_missing {
                    break;
                }
                patience -= 1u;
                if (looks & 63u) == 63u && atomicLoad(&given_up[0]) != 0u {
                    break;
                }
            }
#for s in 0..SEQUENCES
#for q in 0..WORDS
            if x$s_$q == UNWRITTEN {
                atomicStore(&over, 1u);
            }
#end
#end
        }
#for s in 0..SEQUENCES
#for q in 0..WORDS
        if $su < here && i + $qu * THREADS < DEPTH {
            state[$su * DEPTH + i + $qu * THREADS] = bitcast<f32>(x$s_$q);
        }
#end
#end
#end
        tile = select(tile + 1u, 0u, tile + 1u == tiles);
        n += u32(tile == 0u);
#for w in 0..WAITS
        // Where the next round has other sequences, their states may be there already.
        let next_row = state_row(step_at(n)) + first_sequence + tile * at_once;
#for s in 0..SEQUENCES
#for q in 0..WORDS
        let is$s_$q = round + 1u < end && $su < at_once && first_sequence + tile * at_once + $su < behind && i + $qu * THREADS < params.weight.rows;
        x$s_$q = select(0u, UNWRITTEN, is$s_$q);
#end
#end
        if tiles > 1u {
#for s in 0..SEQUENCES
#for q in 0..WORDS
            if is$s_$q {
                x$s_$q = word(word_at(next_row + $su, i + $qu * THREADS));
            }
#end
#end
        }
#end
        workgroupBarrier();
#for w in 0..WAITS
        if atomicLoad(&over) != 0u {
            break;
        }
#end
        for (var s = 0u; s < here; s++) {
#for c in 0..COLUMNS
#for g in 0..SUMS
            var a$c_$g = 0.0;
#end
#end
#for v in 0..VECTORS
            if $vu < vectors {
                let p = s * DEPTH + 4u * ($vu * SLICES + slice);
#for e in 0..4
                let h$e = state[p + $eu];
#end
#for e in 0..4
#for c in 0..COLUMNS
#for g in 0..SUMS
                a$c_$g = fma(w$c_$g_$v[$e], h$e, a$c_$g);
#end
#end
#end
            }
#end
#for c in 0..COLUMNS
#for g in 0..SUMS
            sums[(s * ROWS + $cu * SUMS + $gu) * THREADS + i] = a$c_$g;
#end
#end
        }
        workgroupBarrier();
#for f in 0..FOLDS
        if i / (LANES * SHARE) < here * ROWS {
            let p = i / (LANES * SHARE) * THREADS + i % (LANES * SHARE);
            var part = 0.0;
#for n in 0..TERMS
            part += sums[p + $nu * LANES * SHARE];
#end
            sums[p] = part;
        }
        workgroupBarrier();
#end
        if calls {
            var total = Sums();
#for g in 0..SUMS
#for e in 0..4
            let p$g_$e = (own * ROWS + (near + $eu) % COLUMNS * SUMS + $gu) * THREADS + (near + $eu) / COLUMNS;
#for r in 0..SHARE
            total[$g][$e] += sums[p$g_$e + $ru * LANES];
#end
#end
#end
            let after = store(time, first + own, col, unit(inputs, total));
#for x in WAITS..1
#for g in 0..PARTS
#for e in 0..4
            state[own * DEPTH + $gu * gate_stride() + col + $eu] = after[$g][$e];
#end
#end
#end
        }
    }
#for w in 0..WAITS
    // Also where a driver ends a loop too early.
    if round < end {
        atomicStore(&given_up[0], 1u);
    }
#end
}
