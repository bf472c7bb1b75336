// Tiles of 64 × 128, 16 values of k at a time; a thread fetches at most two blocks of 4 × 4 values of them.
const TILE_M: u32 = 64u;
const TILE_N: u32 = 128u;
const TILE_K: u32 = 16u;
const BLOCKS: u32 = 2u;
const FOURS: u32 = 2u;
