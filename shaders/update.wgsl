// Optimiser steps, 4 values an invocation. `schedule` holds what changes each step: the learning rate and Adam's
// corrections 1 / (1 - β1^t) and 1 / (1 - β2^t). Once the status says that training diverged, nothing changes any more.
fn halted() -> bool {
    return status[at(params.status, 0u, 0u)].x != 0.0;
}
