const UNITS: u32 = 128u;
