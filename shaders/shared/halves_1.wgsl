const HALVES: u32 = 1u;
