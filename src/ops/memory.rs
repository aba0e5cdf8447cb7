//! Memory that layers free stays with the process, for the layers that follow.

use std::sync::Once;

/// Bytes up to which freed memory is kept, and blocks are taken from it: what the layers of a few pictures need.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT: std::ffi::c_int = 512 << 20;

/// Has the system's allocator keep what is freed. By default glibc returns blocks of some megabytes to the kernel at once,
/// and every page of the next layer's result is cleared and mapped again: a tenth of a forward pass. Elsewhere it does
/// nothing. Once is enough; more do no harm.
pub(crate) fn keep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        {
            unsafe extern "C" {
                fn mallopt(parameter: std::ffi::c_int, value: std::ffi::c_int) -> std::ffi::c_int;
            }
            const TRIM_THRESHOLD: std::ffi::c_int = -1;
            const MMAP_THRESHOLD: std::ffi::c_int = -3;
            for parameter in [TRIM_THRESHOLD, MMAP_THRESHOLD] {
                // SAFETY: glibc's own function, which may be called at any time and locks what it changes; it returns 0
                // where it refuses, which costs only speed.
                unsafe { mallopt(parameter, KEPT) };
            }
        }
    });
}
