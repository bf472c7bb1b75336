// Tiles of 64 × 64, 16 values of k at a time.
const TILE_M: u32 = 64u;
const TILE_N: u32 = 64u;
const TILE_K: u32 = 16u;
