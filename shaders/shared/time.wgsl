// The time step of a dispatch. It is in a struct, since naga has no other immediates in HLSL.
struct Immediates {
    time: u32,
}

var<immediate> immediates: Immediates;
