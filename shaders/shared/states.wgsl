// What goes from time step to time step, as vectors: see own_state and set_state of the step.
alias StateWord = vec4<f32>;
const WAITS: u32 = 0u;
