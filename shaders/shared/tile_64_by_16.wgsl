// Tiles of 64 × 128, 16 values of k at a time, of which a thread sums 8 × 16; it fetches three blocks of 4 × 4 values of them.
const TILE_M: u32 = 64u;
const TILE_N: u32 = 128u;
const TILE_K: u32 = 16u;
const BLOCKS: u32 = 3u;
const FOURS: u32 = 4u;
