// What goes from time step to time step, as words that other workgroups wait for: each is its own flag. Before the dispatch all of them are
// UNWRITTEN, a NaN that is never written: another NaN takes its place. How they are reached, word and set_word, is in the step.
alias StateWord = atomic<u32>;
const WAITS: u32 = 1u;
const UNWRITTEN: u32 = 0xffffffffu;

fn own_state(row: u32, col: u32) -> vec4<f32> {
    let place = word_at(row, col);
    return bitcast<vec4<f32>>(vec4<u32>(word(place), word(place + 1u), word(place + 2u), word(place + 3u)));
}

fn set_state(row: u32, col: u32, value: vec4<f32>) {
    let place = word_at(row, col);
    let bits = bitcast<vec4<u32>>(value);
    let words = select(bits, vec4<u32>(0x7fc00000u), bits == vec4<u32>(UNWRITTEN));
#for n in 0..4
    set_word(place + $nu, words[$n]);
#end
}
