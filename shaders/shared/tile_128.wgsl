// Tiles of 128 × 128, 16 values of k at a time.
const TILE_M: u32 = 128u;
const TILE_N: u32 = 128u;
const TILE_K: u32 = 16u;
