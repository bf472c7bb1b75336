// Tiles of 128 × 128, 16 values of k at a time; a thread fetches one block of 4 × 4 values of them.
const TILE_M: u32 = 128u;
const TILE_N: u32 = 128u;
const TILE_K: u32 = 16u;
const BLOCKS: u32 = 1u;
const FOURS: u32 = 2u;
