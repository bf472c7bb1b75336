const UNITS: u32 = 64u;
