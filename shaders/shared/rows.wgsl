// Where a row of a window lies in the whole batch: for shaders with the scalars of `Rows` (first, batch, besides, before).
fn place_of(row: u32) -> u32 {
    let all = params.first + row;
    return all + all / params.batch * params.besides + params.before;
}
