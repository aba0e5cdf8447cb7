//! The innermost loop of every product: sums of up to 8 rows and 48 columns, held in registers.
//!
//! The right side is a panel `[depth][48]`; the left side are rows with their depth contiguous, or another panel. Every sum
//! runs over the depth in order, in one accumulator: how a product is cut into tiles, and which side is left, changes none
//! of its bytes. The wider sums of AVX-512 and AVX2 fuse products with sums, the plain loop does not: bytes are those of
//! one kind of processor.

#![expect(clippy::inline_always, reason = "lanes take the instruction set of the function they are inlined into")]

use half::bf16;

use super::Real;

/// Rows of a tile.
pub(crate) const ROWS: usize = 8;
/// Columns of a panel.
pub(crate) const PANEL: usize = 48;

/// How the two sides of a tile lie: rows on the left with their depth contiguous, a panel on the right;
const PACKED: u8 = 0;
/// the same rows, and a right side whose rows lie anywhere;
const SCATTERED: u8 = 1;
/// a panel on either side.
const PANELS: u8 = 2;

/// The sums of a tile; rows and columns behind its size hold anything.
pub(crate) type Tile<T> = [[T; PANEL]; ROWS];

/// What a product multiplies: a number, or a pair of short numbers that are neighbours in depth.
pub(crate) trait Operand: Copy + Default + Send + Sync + 'static {
    /// The type of a sum of products.
    type Sum: Real;

    /// `sums = left * panel`: `rows` rows `stride` apart, `panel` is `[depth][PANEL]` of which `columns` count.
    fn tile(left: &[Self], stride: usize, panel: &[Self], (rows, columns): (usize, usize), sums: &mut Tile<Self::Sum>) {
        let depth = panel.len() / PANEL;
        assert!((1..=ROWS).contains(&rows) && (1..=PANEL).contains(&columns), "tile: {rows} rows, {columns} columns");
        assert!((rows - 1) * stride + depth <= left.len(), "tile: the left side has too few values");
        let (left, panel, sums) = (left.as_ptr(), panel.as_ptr(), sums.as_mut_ptr().cast());
        let place = Place { left, stride, panel, at: std::ptr::null(), depth, sums };
        // SAFETY: asserted above: rows `0..rows` of `depth` values lie in `left`, `depth` rows of PANEL values in
        // `panel`; `sums` has ROWS rows of PANEL values, and no tile goes beyond rows and PANEL columns.
        unsafe { Self::dispatch::<PACKED>(&place, rows, columns) }
    }

    /// The same sums with a right side that lies in memory as it is: its columns from `first` on.
    fn tile_of(
        left: &[Self],
        stride: usize,
        (right, first): (&Scattered<'_, Self>, usize),
        (rows, columns): (usize, usize),
        sums: &mut Tile<Self::Sum>,
    ) {
        let depth = right.at.len();
        assert!((1..=ROWS).contains(&rows) && (1..=PANEL).contains(&columns), "tile: {rows} rows, {columns} columns");
        assert!((rows - 1) * stride + depth <= left.len(), "tile: the left side has too few values");
        assert!(right.most + first + PANEL <= right.values.len(), "tile: the right side has too few values");
        let (left, panel, sums) = (left.as_ptr(), right.values[first..].as_ptr(), sums.as_mut_ptr().cast());
        let place = Place { left, stride, panel, at: right.at.as_ptr(), depth, sums };
        // SAFETY: asserted above: rows `0..rows` of `depth` values lie in `left`; none of the `depth` places in `at` is
        // beyond `most`, and behind that of the first column PANEL values lie in `right`; `sums` as above.
        unsafe { Self::dispatch::<SCATTERED>(&place, rows, columns) }
    }

    /// The same sums with a panel on either side: rows are columns of the left panel, from `first` on.
    fn tile_across(
        (left, first): (&[Self], usize),
        panel: &[Self],
        (rows, columns): (usize, usize),
        sums: &mut Tile<Self::Sum>,
    ) {
        let depth = panel.len() / PANEL;
        assert!((1..=ROWS).contains(&rows) && (1..=PANEL).contains(&columns), "tile: {rows} rows, {columns} columns");
        assert!(depth * PANEL <= left.len() && first + rows <= PANEL, "tile: the left side has too few values");
        let (left, panel, sums) = (left[first..].as_ptr(), panel.as_ptr(), sums.as_mut_ptr().cast());
        let place = Place { left, stride: 1, panel, at: std::ptr::null(), depth, sums };
        // SAFETY: asserted above: `left` has `depth` rows of PANEL values, of which those from `first` on reach as far as
        // `rows`; `panel` as above, `sums` too.
        unsafe { Self::dispatch::<PANELS>(&place, rows, columns) }
    }

    /// Runs the widest loop there is.
    ///
    /// # Safety
    /// `place` holds `rows` rows on the left, whose depth is contiguous or, in the form `PANELS`, PANEL apart; and PANEL
    /// columns of the right side: a panel, or in the form `SCATTERED` behind each of the places in `at`.
    #[doc(hidden)]
    unsafe fn dispatch<const FORM: u8>(place: &Place<Self, Self::Sum>, rows: usize, columns: usize);
}

/// A right side whose rows, one for every step of the depth, lie anywhere in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scattered<'a, O> {
    values: &'a [O],
    at: &'a [usize],
    /// The largest of the places.
    most: usize,
}

impl<'a, O> Scattered<'a, O> {
    /// Rows that start at the places `at`.
    pub(crate) fn new(values: &'a [O], at: &'a [usize]) -> Self {
        Self { values, at, most: at.iter().copied().max().unwrap_or(0) }
    }
}

/// Where a tile's operands and sums are.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub(crate) struct Place<O, T> {
    left: *const O,
    stride: usize,
    panel: *const O,
    /// Where the right side is scattered: how far behind `panel` each of its rows starts.
    at: *const usize,
    depth: usize,
    sums: *mut T,
}

/// Two neighbours in depth, the first in the low half.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Pair(u32);

impl Pair {
    /// A pair.
    #[inline(always)]
    pub(crate) fn new(first: bf16, second: bf16) -> Self {
        Self(u32::from(first.to_bits()) | u32::from(second.to_bits()) << 16)
    }

    /// The same pair with another second number.
    #[inline(always)]
    pub(crate) fn with_second(self, second: bf16) -> Self {
        Self(self.0 & 0xffff | u32::from(second.to_bits()) << 16)
    }
}

/// A register of sums, and how operands are added to it.
trait Lanes: Copy {
    type Operand: Operand;
    type Left: Copy;
    type Right: Copy;
    /// Sums in one register.
    const COUNT: usize;
    /// Most rows of a tile that registers hold beside three vectors of the panel.
    const MOST: usize;
    unsafe fn zero() -> Self;
    unsafe fn left(at: *const Self::Operand) -> Self::Left;
    unsafe fn right(at: *const Self::Operand) -> Self::Right;
    unsafe fn add(self, left: Self::Left, right: Self::Right) -> Self;
    unsafe fn store(self, at: *mut <Self::Operand as Operand>::Sum);
}

/// A tile of `R` rows and `N` registers.
#[inline(always)]
unsafe fn run<L: Lanes, const R: usize, const N: usize, const FORM: u8>(
    p: Place<L::Operand, <L::Operand as Operand>::Sum>,
) {
    // SAFETY: the caller's: R rows, N registers and `depth` steps lie inside.
    unsafe {
        let mut sums = [[L::zero(); N]; R];
        for k in 0..p.depth {
            let row = p.panel.add(if FORM == SCATTERED { *p.at.add(k) } else { k * PANEL });
            let right: [L::Right; N] = std::array::from_fn(|n| L::right(row.add(n * L::COUNT)));
            for (r, sums) in sums.iter_mut().enumerate() {
                let at = if FORM == PANELS { k * PANEL + r } else { r * p.stride + k };
                let left = L::left(p.left.add(at));
                for (sum, right) in sums.iter_mut().zip(right) {
                    *sum = sum.add(left, right);
                }
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            for (n, sum) in sums.into_iter().enumerate() {
                sum.store(p.sums.add(r * PANEL + n * L::COUNT));
            }
        }
    }
}

/// All rows of `N` registers of columns.
#[inline(always)]
unsafe fn strip<L: Lanes, const N: usize, const FORM: u8>(
    p: Place<L::Operand, <L::Operand as Operand>::Sum>,
    rows: usize,
) {
    let mut r = 0;
    while r < rows {
        // SAFETY: row `r` and as many as are taken below lie inside.
        unsafe {
            let at = Place { left: p.left.add(r * p.stride), sums: p.sums.add(r * PANEL), ..p };
            r += match (rows - r).min(L::MOST) {
                8.. => {
                    run::<L, 8, N, FORM>(at);
                    8
                }
                4.. => {
                    run::<L, 4, N, FORM>(at);
                    4
                }
                2.. => {
                    run::<L, 2, N, FORM>(at);
                    2
                }
                _ => {
                    run::<L, 1, N, FORM>(at);
                    1
                }
            };
        }
    }
}

/// A whole tile.
#[inline(always)]
unsafe fn grid<L: Lanes, const FORM: u8>(
    p: &Place<L::Operand, <L::Operand as Operand>::Sum>,
    rows: usize,
    columns: usize,
) {
    for first in (0..columns).step_by(3 * L::COUNT) {
        // SAFETY: PANEL is a multiple of three registers: what starts inside lies inside.
        unsafe {
            let at = Place { panel: p.panel.add(first), sums: p.sums.add(first), ..*p };
            match (columns - first).div_ceil(L::COUNT) {
                1 => strip::<L, 1, FORM>(at, rows),
                2 => strip::<L, 2, FORM>(at, rows),
                _ => strip::<L, 3, FORM>(at, rows),
            }
        }
    }
}

/// Sums in an array: every processor has it.
#[derive(Clone, Copy)]
struct Plain<T>([T; 8]);

impl<T: Real + Operand<Sum = T>> Lanes for Plain<T> {
    type Operand = T;
    type Left = T;
    type Right = [T; 8];
    const COUNT: usize = 8;
    const MOST: usize = 2;
    #[inline(always)]
    unsafe fn zero() -> Self {
        Self([T::zero(); 8])
    }
    #[inline(always)]
    unsafe fn left(at: *const T) -> T {
        // SAFETY: the caller's.
        unsafe { *at }
    }
    #[inline(always)]
    unsafe fn right(at: *const T) -> [T; 8] {
        // SAFETY: the caller's: eight values.
        unsafe { at.cast::<[T; 8]>().read() }
    }
    #[inline(always)]
    unsafe fn add(mut self, left: T, right: [T; 8]) -> Self {
        for (sum, right) in self.0.iter_mut().zip(right) {
            *sum += left * right;
        }
        self
    }
    #[inline(always)]
    unsafe fn store(self, at: *mut T) {
        // SAFETY: the caller's: room for eight values.
        unsafe { at.cast::<[T; 8]>().write(self.0) }
    }
}

/// The same of pairs, widened.
#[derive(Clone, Copy)]
struct PlainPairs([f32; 8]);

#[inline(always)]
fn widen(pair: Pair) -> [f32; 2] {
    [f32::from_bits(pair.0 << 16), f32::from_bits(pair.0 & 0xffff_0000)]
}

impl Lanes for PlainPairs {
    type Operand = Pair;
    type Left = [f32; 2];
    type Right = [Pair; 8];
    const COUNT: usize = 8;
    const MOST: usize = 2;
    #[inline(always)]
    unsafe fn zero() -> Self {
        Self([0.0; 8])
    }
    #[inline(always)]
    unsafe fn left(at: *const Pair) -> [f32; 2] {
        // SAFETY: the caller's.
        widen(unsafe { *at })
    }
    #[inline(always)]
    unsafe fn right(at: *const Pair) -> [Pair; 8] {
        // SAFETY: the caller's: eight pairs.
        unsafe { at.cast::<[Pair; 8]>().read() }
    }
    #[inline(always)]
    unsafe fn add(mut self, left: [f32; 2], right: [Pair; 8]) -> Self {
        for (sum, right) in self.0.iter_mut().zip(right) {
            let right = widen(right);
            *sum += left[0] * right[0];
            *sum += left[1] * right[1];
        }
        self
    }
    #[inline(always)]
    unsafe fn store(self, at: *mut f32) {
        // SAFETY: the caller's: room for eight values.
        unsafe { at.cast::<[f32; 8]>().write(self.0) }
    }
}

impl Operand for f64 {
    type Sum = f64;
    unsafe fn dispatch<const FORM: u8>(place: &Place<f64, f64>, rows: usize, columns: usize) {
        // SAFETY: the caller's.
        unsafe { grid::<Plain<f64>, FORM>(place, rows, columns) }
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl Operand for f32 {
    type Sum = f32;
    unsafe fn dispatch<const FORM: u8>(place: &Place<f32, f32>, rows: usize, columns: usize) {
        // SAFETY: the caller's.
        unsafe { grid::<Plain<f32>, FORM>(place, rows, columns) }
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl Operand for Pair {
    type Sum = f32;
    unsafe fn dispatch<const FORM: u8>(place: &Place<Pair, f32>, rows: usize, columns: usize) {
        // SAFETY: the caller's.
        unsafe { grid::<PlainPairs, FORM>(place, rows, columns) }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m256, __m512, __m512bh, __m512i, _mm256_broadcast_ss, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_setzero_ps,
        _mm256_storeu_ps, _mm512_dpbf16_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_set1_epi32,
        _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
    };

    use super::{Lanes, Operand, Pair, Place, Plain, PlainPairs, grid};

    /// Writes the functions of [`Lanes`] out of intrinsics.
    macro_rules! lanes {
        ($name:ident, $operand:ty, $left:ty, $right:ty, $count:literal, $most:literal,
         $zero:expr, $broadcast:expr, $load:expr, $add:expr, $store:expr) => {
            impl Lanes for $name {
                type Operand = $operand;
                type Left = $left;
                type Right = $right;
                const COUNT: usize = $count;
                const MOST: usize = $most;
                #[inline(always)]
                unsafe fn zero() -> Self {
                    // SAFETY: the caller runs on a processor that has the instruction.
                    unsafe { Self($zero()) }
                }
                #[inline(always)]
                unsafe fn left(at: *const $operand) -> $left {
                    // SAFETY: the caller's: the processor has the instruction, and one operand is there.
                    unsafe { $broadcast(at) }
                }
                #[inline(always)]
                unsafe fn right(at: *const $operand) -> $right {
                    // SAFETY: the caller's: the processor has the instruction, and COUNT operands are there.
                    unsafe { $load(at) }
                }
                #[inline(always)]
                unsafe fn add(self, left: $left, right: $right) -> Self {
                    // SAFETY: the caller runs on a processor that has the instruction.
                    unsafe { Self($add(self.0, left, right)) }
                }
                #[inline(always)]
                unsafe fn store(self, at: *mut f32) {
                    // SAFETY: the caller's: the processor has the instruction, and there is room for COUNT sums.
                    unsafe { $store(at, self.0) }
                }
            }
        };
    }

    #[derive(Clone, Copy)]
    struct Avx512(__m512);
    lanes!(
        Avx512,
        f32,
        __m512,
        __m512,
        16,
        8,
        _mm512_setzero_ps,
        |at: *const f32| _mm512_set1_ps(*at),
        _mm512_loadu_ps,
        |sum, a, b| _mm512_fmadd_ps(a, b, sum),
        _mm512_storeu_ps
    );

    #[derive(Clone, Copy)]
    struct Avx2(__m256);
    lanes!(
        Avx2,
        f32,
        __m256,
        __m256,
        8,
        4,
        _mm256_setzero_ps,
        |at: *const f32| _mm256_broadcast_ss(&*at),
        _mm256_loadu_ps,
        |sum, a, b| _mm256_fmadd_ps(a, b, sum),
        _mm256_storeu_ps
    );

    #[derive(Clone, Copy)]
    struct Avx512Pairs(__m512);
    lanes!(
        Avx512Pairs,
        Pair,
        __m512bh,
        __m512bh,
        16,
        8,
        _mm512_setzero_ps,
        |at: *const Pair| std::mem::transmute::<__m512i, __m512bh>(_mm512_set1_epi32((*at).0.cast_signed())),
        |at: *const Pair| std::mem::transmute::<__m512i, __m512bh>(_mm512_loadu_si512(at.cast())),
        _mm512_dpbf16_ps,
        _mm512_storeu_ps
    );

    #[target_feature(enable = "avx512f")]
    unsafe fn avx512<const FORM: u8>(place: &Place<f32, f32>, rows: usize, columns: usize) {
        // SAFETY: the caller's.
        unsafe { grid::<Avx512, FORM>(place, rows, columns) }
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn avx2<const FORM: u8>(place: &Place<f32, f32>, rows: usize, columns: usize) {
        // SAFETY: the caller's.
        unsafe { grid::<Avx2, FORM>(place, rows, columns) }
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    unsafe fn avx512_pairs<const FORM: u8>(place: &Place<Pair, f32>, rows: usize, columns: usize) {
        // SAFETY: the caller's.
        unsafe { grid::<Avx512Pairs, FORM>(place, rows, columns) }
    }

    #[target_feature(enable = "avx2")]
    unsafe fn avx2_pairs<const FORM: u8>(place: &Place<Pair, f32>, rows: usize, columns: usize) {
        // SAFETY: the caller's.
        unsafe { grid::<PlainPairs, FORM>(place, rows, columns) }
    }

    impl Operand for f32 {
        type Sum = f32;
        unsafe fn dispatch<const FORM: u8>(place: &Place<f32, f32>, rows: usize, columns: usize) {
            // SAFETY: the caller's; the instructions are there.
            unsafe {
                if is_x86_feature_detected!("avx512f") {
                    avx512::<FORM>(place, rows, columns);
                } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                    avx2::<FORM>(place, rows, columns);
                } else {
                    grid::<Plain<f32>, FORM>(place, rows, columns);
                }
            }
        }
    }

    impl Operand for Pair {
        type Sum = f32;
        unsafe fn dispatch<const FORM: u8>(place: &Place<Pair, f32>, rows: usize, columns: usize) {
            // SAFETY: the caller's; the instructions are there.
            unsafe {
                if is_x86_feature_detected!("avx512bf16") {
                    avx512_pairs::<FORM>(place, rows, columns);
                } else if is_x86_feature_detected!("avx2") {
                    avx2_pairs::<FORM>(place, rows, columns);
                } else {
                    grid::<PlainPairs, FORM>(place, rows, columns);
                }
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::super::{PACKED, PANEL, PANELS, ROWS, SCATTERED, Tile, tests};
        use super::*;

        const FORMS: [u8; 3] = [PACKED, SCATTERED, PANELS];

        /// The loop for every form.
        type Loops<O> = [unsafe fn(&Place<O, f32>, usize, usize); 3];

        #[test]
        fn every_instruction_set_gives_the_sums_of_plain_loops() {
            let mut loops: Vec<Loops<f32>> =
                vec![[grid::<Plain<f32>, PACKED>, grid::<Plain<f32>, SCATTERED>, grid::<Plain<f32>, PANELS>]];
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                loops.push([avx2::<PACKED>, avx2::<SCATTERED>, avx2::<PANELS>]);
            }
            if is_x86_feature_detected!("avx512f") {
                loops.push([avx512::<PACKED>, avx512::<SCATTERED>, avx512::<PANELS>]);
            }
            for (form, run) in loops.into_iter().flat_map(|forms| FORMS.into_iter().zip(forms)) {
                // SAFETY: the processor has the instructions; the sizes are those of `check`.
                tests::check(form, |place, rows, columns| unsafe { run(place, rows, columns) }, |v| v as f32);
            }
        }

        #[test]
        fn every_instruction_set_multiplies_pairs() {
            let mut loops: Vec<Loops<Pair>> =
                vec![[grid::<PlainPairs, PACKED>, grid::<PlainPairs, SCATTERED>, grid::<PlainPairs, PANELS>]];
            if is_x86_feature_detected!("avx2") {
                loops.push([avx2_pairs::<PACKED>, avx2_pairs::<SCATTERED>, avx2_pairs::<PANELS>]);
            }
            if is_x86_feature_detected!("avx512bf16") {
                loops.push([avx512_pairs::<PACKED>, avx512_pairs::<SCATTERED>, avx512_pairs::<PANELS>]);
            }
            let pair = |v: f64| Pair::new(half::bf16::from_f64(v), half::bf16::from_f64(0.0));
            for (form, run) in loops.iter().flat_map(|forms| FORMS.into_iter().zip(forms)) {
                // SAFETY: the processor has the instructions; the sizes are those of `check`.
                tests::check(form, |place, rows, columns| unsafe { run(place, rows, columns) }, pair);
            }
            for [packed, ..] in loops {
                let (left, panel) = ([Pair::new(half::bf16::ONE, half::bf16::from_f32(3.0))], [left_two(); 48]);
                let mut sums: Tile<f32> = [[0.0; PANEL]; ROWS];
                let place = Place {
                    left: left.as_ptr(),
                    stride: 1,
                    panel: panel.as_ptr(),
                    at: std::ptr::null(),
                    depth: 1,
                    sums: sums.as_mut_ptr().cast(),
                };
                // SAFETY: one row, one panel row.
                unsafe { packed(&place, 1, 48) };
                assert_eq!(sums[0], [2.0 + 12.0; 48]);
            }
        }

        fn left_two() -> Pair {
            Pair::new(half::bf16::from_f32(2.0), half::bf16::from_f32(4.0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::WithDType;

    /// Sums of small whole numbers, which every type holds exactly.
    pub(super) fn check<O: Operand>(form: u8, run: impl Fn(&Place<O, O::Sum>, usize, usize), of: impl Fn(f64) -> O) {
        for (rows, columns, depth) in [(8, 48, 5), (7, 47, 3), (3, 17, 1), (1, 1, 9), (5, 33, 2), (2, 8, 4)] {
            let value = |i: usize| ((i * 7) % 11) as f64 - 5.0;
            let stride = depth + 2;
            let across = |i: usize| if form == PANELS { i % PANEL * stride + i / PANEL } else { i };
            let size = if form == PANELS { depth * PANEL } else { rows * stride };
            let left: Vec<O> = (0..size).map(|i| of(value(across(i)))).collect();
            let apart = if form == PANELS { 1 } else { stride };
            let panel: Vec<O> = (0..depth * PANEL).map(|i| of(value(i + 3))).collect();
            let mut sums: Tile<O::Sum> = crate::ops::blocked::tile();
            // Scattered: the same panel from its last row to its first.
            let row = |k: usize| if form == SCATTERED { depth - 1 - k } else { k };
            let at: Vec<usize> = (0..depth).map(|k| row(k) * PANEL).collect();
            let (sums_at, left, panel) = (sums.as_mut_ptr().cast(), left.as_ptr(), panel.as_ptr());
            run(&Place { left, stride: apart, panel, at: at.as_ptr(), depth, sums: sums_at }, rows, columns);
            for (r, sums) in sums.iter().enumerate().take(rows) {
                for (c, sum) in sums.iter().enumerate().take(columns) {
                    let wanted: f64 = (0..depth).map(|k| value(r * stride + k) * value(row(k) * PANEL + c + 3)).sum();
                    assert_eq!(sum.to_f64(), wanted, "row {r} column {c} of {rows}x{columns}, depth {depth}");
                }
            }
        }
    }

    #[test]
    fn doubles_give_the_sums_of_plain_loops() {
        // SAFETY: the sizes are those of `check`.
        check(PACKED, |place, rows, columns| unsafe { f64::dispatch::<PACKED>(place, rows, columns) }, |v| v);
        // SAFETY: as above.
        check(SCATTERED, |place, rows, columns| unsafe { f64::dispatch::<SCATTERED>(place, rows, columns) }, |v| v);
        // SAFETY: as above.
        check(PANELS, |place, rows, columns| unsafe { f64::dispatch::<PANELS>(place, rows, columns) }, |v| v);
    }
}
