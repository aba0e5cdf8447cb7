//! How much memory a piece of code holds at once, in its own thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static NOW: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

fn add(bytes: usize) {
    NOW.set(NOW.get().wrapping_add(bytes));
    // What another thread allocated may be freed here: then the count is below its start, which is no peak.
    if NOW.get() as isize > PEAK.get() as isize {
        PEAK.set(NOW.get());
    }
}

// SAFETY: every call goes to the system's allocator unchanged; the counters are plain cells without destructors, and
// counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.set(NOW.get().wrapping_sub(layout.size()));
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes a function holds at once beyond those held before.
pub(crate) fn peak<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let before = NOW.get();
    PEAK.set(before);
    let result = run();
    (result, PEAK.get().wrapping_sub(before))
}

#[test]
fn the_peak_is_counted() {
    let ((), peak) = peak(|| drop((vec![0u8; 1000], vec![0u8; 500])));
    assert!((1500..3000).contains(&peak), "{peak}");
}
