//! Loops that are compiled once for every instruction set, so that the processor at hand chooses.

/// A loop; its `run` has to be inlined all the way down for the instruction set to reach the arithmetic.
pub(crate) trait Kernel {
    fn run(self);
}

/// Runs a loop with the widest vectors there are. The results have the same bytes for all: no sum is reordered, and
/// products are not fused with sums.
#[cfg(target_arch = "x86_64")]
pub(crate) fn dispatch(kernel: impl Kernel) {
    #[target_feature(enable = "avx512f")]
    fn avx512(kernel: impl Kernel) {
        kernel.run();
    }
    #[target_feature(enable = "avx2")]
    fn avx2(kernel: impl Kernel) {
        kernel.run();
    }
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the processor has AVX-512F, the only requirement of the function.
        unsafe { avx512(kernel) }
    } else if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, the only requirement of the function.
        unsafe { avx2(kernel) }
    } else {
        kernel.run();
    }
}

/// Runs a loop.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn dispatch(kernel: impl Kernel) {
    kernel.run();
}
