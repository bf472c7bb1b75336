// Tiles of 32 × 32, 32 values of k at a time.
const TILE_M: u32 = 32u;
const TILE_N: u32 = 32u;
const TILE_K: u32 = 32u;
