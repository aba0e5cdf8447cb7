//! Depthwise convolution of one plane, forward and backward, vectorised by the compiler for the processor at hand.
//!
//! The plane is copied once into a padded form whose rows are split by phase (column modulo stride), so that every tap
//! reads consecutive values whatever the stride.

use super::Real;

/// Outputs computed together: one AVX-512 register of f32.
const LANES: usize = 16;

/// Sizes of one plane's convolution.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plane {
    pub(super) input: (usize, usize),
    pub(super) output: (usize, usize),
    pub(super) kernel: (usize, usize),
    pub(super) stride: usize,
    pub(super) dilation: usize,
    pub(super) top: usize,
    pub(super) left: usize,
}

impl Plane {
    fn padded_rows(&self) -> usize {
        (self.output.0 - 1) * self.stride + (self.kernel.0 - 1) * self.dilation + 1
    }

    /// Length of one phase of a padded row, with room for a whole vector behind the last output.
    fn phase_length(&self) -> usize {
        self.output.1.next_multiple_of(LANES) + (self.kernel.1 - 1) * self.dilation / self.stride + 1
    }

    /// Length of the padded form.
    pub(super) fn scratch(&self) -> usize {
        self.padded_rows() * self.stride * self.phase_length()
    }

    /// Where tap `(i, j)` of output row `y` starts in the padded form.
    fn tap(&self, y: usize, i: usize, j: usize) -> usize {
        let row = y * self.stride + i * self.dilation;
        let column = j * self.dilation;
        (row * self.stride + column % self.stride) * self.phase_length() + column / self.stride
    }

    /// Calls `visit(index in the plane, index in the padded form)` for every value of the plane that is used.
    fn for_each_value(&self, mut visit: impl FnMut(usize, usize)) {
        let (height, width) = self.input;
        let length = self.phase_length();
        for y in 0..height.min(self.padded_rows().saturating_sub(self.top)) {
            let row = (y + self.top) * self.stride;
            for x in 0..width {
                let column = x + self.left;
                if column / self.stride < length {
                    visit(y * width + x, (row + column % self.stride) * length + column / self.stride);
                }
            }
        }
    }
}

/// `out = plane * kernel`; `scratch` has [`Plane::scratch`] values and is overwritten.
pub(super) fn forward<T: Real>(p: &Plane, plane: &[T], kernel: &[T], scratch: &mut [T], out: &mut [T]) {
    scratch.fill(T::zero());
    p.for_each_value(|from, to| scratch[to] = plane[from]);
    dispatch(Forward { p, kernel, scratch, out });
}

/// `plane += transposed convolution of gradient`; `scratch` as in [`forward`].
pub(super) fn backward<T: Real>(p: &Plane, gradient: &[T], kernel: &[T], scratch: &mut [T], plane: &mut [T]) {
    scratch.fill(T::zero());
    dispatch(Backward { p, kernel, gradient, scratch: &mut *scratch });
    p.for_each_value(|to, from| plane[to] += scratch[from]);
}

/// `kernel += correlation of plane and gradient`; `scratch` as in [`forward`].
pub(super) fn backward_kernel<T: Real>(p: &Plane, plane: &[T], gradient: &[T], scratch: &mut [T], kernel: &mut [T]) {
    scratch.fill(T::zero());
    p.for_each_value(|from, to| scratch[to] = plane[from]);
    for i in 0..p.kernel.0 {
        for j in 0..p.kernel.1 {
            let mut sum = T::zero();
            for (y, row) in gradient.chunks_exact(p.output.1).enumerate() {
                let at = p.tap(y, i, j);
                for (g, x) in row.iter().zip(&scratch[at..]) {
                    sum += *g * *x;
                }
            }
            kernel[i * p.kernel.1 + j] += sum;
        }
    }
}

/// A loop that is compiled once for every instruction set.
trait Kernel {
    fn run(self);
}

struct Forward<'a, T> {
    p: &'a Plane,
    kernel: &'a [T],
    scratch: &'a [T],
    out: &'a mut [T],
}

impl<T: Real> Kernel for Forward<'_, T> {
    #[inline(always)]
    fn run(self) {
        let width = self.p.output.1;
        for (y, row) in self.out.chunks_exact_mut(width).enumerate() {
            for (block, out) in row.chunks_mut(LANES).enumerate() {
                let mut sums = [T::zero(); LANES];
                for i in 0..self.p.kernel.0 {
                    for j in 0..self.p.kernel.1 {
                        let weight = self.kernel[i * self.p.kernel.1 + j];
                        let at = self.p.tap(y, i, j) + block * LANES;
                        let x = &self.scratch[at..at + LANES];
                        for l in 0..LANES {
                            sums[l] += weight * x[l];
                        }
                    }
                }
                out.copy_from_slice(&sums[..out.len()]);
            }
        }
    }
}

struct Backward<'a, T> {
    p: &'a Plane,
    kernel: &'a [T],
    gradient: &'a [T],
    scratch: &'a mut [T],
}

impl<T: Real> Kernel for Backward<'_, T> {
    #[inline(always)]
    fn run(self) {
        let width = self.p.output.1;
        for (y, row) in self.gradient.chunks_exact(width).enumerate() {
            for i in 0..self.p.kernel.0 {
                for j in 0..self.p.kernel.1 {
                    let weight = self.kernel[i * self.p.kernel.1 + j];
                    let at = self.p.tap(y, i, j);
                    for (x, g) in self.scratch[at..at + width].iter_mut().zip(row) {
                        *x += weight * *g;
                    }
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn dispatch(kernel: impl Kernel) {
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

#[cfg(not(target_arch = "x86_64"))]
fn dispatch(kernel: impl Kernel) {
    kernel.run();
}
