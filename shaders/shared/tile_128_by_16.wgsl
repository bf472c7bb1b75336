// Tiles of 128 × 128, 16 values of k at a time, of which a thread sums 8 × 16; it fetches two blocks of 4 × 4 values of them.
const TILE_M: u32 = 128u;
const TILE_N: u32 = 128u;
const TILE_K: u32 = 16u;
const BLOCKS: u32 = 2u;
const FOURS: u32 = 4u;
