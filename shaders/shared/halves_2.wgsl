const HALVES: u32 = 2u;
