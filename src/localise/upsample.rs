//! From a map of the layer's grid to one of pixels, never rescaled: maps stay comparable between probes and pictures.

use super::options::Upsampling;
use crate::dataset::Mask;
use crate::ops::resize::bilinear;

/// A map `(h, w)` at another size `(height, width)`, `[height * width]`. All modes agree with torch's `interpolate`.
pub fn upsample(map: &[f32], from: (usize, usize), to: (usize, usize), mode: Upsampling) -> Vec<f32> {
    if from == to {
        return map.to_vec();
    }
    if mode == Upsampling::Bicubic {
        return bicubic(map, from, to);
    }
    linear(map, from, to, &[taps(from.0, to.0, mode), taps(from.1, to.1, mode)])
}

/// A map by the taps of rows and of columns.
fn linear(map: &[f32], from: (usize, usize), to: (usize, usize), [down, across]: &[Vec<Tap>; 2]) -> Vec<f32> {
    // Rows first: there are few of them before the height grows.
    let mut wide = Vec::with_capacity(from.0 * to.1);
    for row in map.chunks_exact(from.1.max(1)) {
        wide.extend(across.iter().map(|t| row[t.low] + t.share * (row[t.high] - row[t.low])));
    }
    let mut out = Vec::with_capacity(to.0 * to.1);
    for t in down {
        let row = |y: usize| &wide[y * to.1..(y + 1) * to.1];
        out.extend(row(t.low).iter().zip(row(t.high)).map(|(a, b)| a + t.share * (b - a)));
    }
    out
}

/// Where the cells of a grid lie along one axis, in shares of the picture's side: cell i at `first + i step`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Centres {
    /// The first cell's centre.
    pub first: f64,
    /// From cell to cell.
    pub step: f64,
}

/// From the grids of one layer to pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Enlarging {
    mode: Upsampling,
    /// Down and across; `None` where cells lie evenly.
    centres: Option<[Centres; 2]>,
}

impl Enlarging {
    /// By a mode, of a layer whose cells look at `centres`, down and across, where that is known.
    pub fn new(mode: Upsampling, centres: Option<[Centres; 2]>) -> Self {
        Self { mode, centres: centres.filter(|_| mode == Upsampling::Receptive) }
    }

    /// Whether no value rises above those of the map.
    pub fn stays_within(&self) -> bool {
        self.mode != Upsampling::Bicubic
    }

    /// A map `(h, w)` at another size `(height, width)`, `[height * width]`.
    pub fn apply(&self, map: &[f32], from: (usize, usize), to: (usize, usize)) -> Vec<f32> {
        let Some([down, across]) = self.centres else { return upsample(map, from, to, self.mode) };
        linear(map, from, to, &[between(from.0, to.0, down), between(from.1, to.1, across)])
    }

    /// That of maps without `rings` rings of a grid's border cells, on the part of the picture under the others.
    #[must_use]
    pub fn without_rings(&self, (h, w): (usize, usize), rings: usize) -> Self {
        let inner = |cells: usize, centres: Centres| {
            let cut = rings as f64 / cells as f64;
            let (first, left) = (centres.first + rings as f64 * centres.step - cut, 1.0 - 2.0 * cut);
            Centres { first: first / left, step: centres.step / left }
        };
        let kept = rings > 0 && h > 2 * rings && w > 2 * rings;
        let centres =
            self.centres.map(|[down, across]| if kept { [inner(h, down), inner(w, across)] } else { [down, across] });
        Self { centres, ..*self }
    }

    /// The best map a grid `(h, w)` can give of a mask: the mask's own coverage of the cells, at the mask's size. Its
    /// segmentation scores are the ceiling of every probe of that layer. Our definition.
    pub fn ceiling(&self, mask: &Mask, grid: (usize, usize)) -> Vec<f32> {
        let whole = (0.0, 0.0, mask.width as f64, mask.height as f64);
        self.apply(&mask.grid_coverage(whole, grid), grid, (mask.height, mask.width))
    }
}

/// Taps of a result whose pixels lie between the centres of cells; before the first and behind the last their values hold.
fn between(from: usize, to: usize, centres: Centres) -> Vec<Tap> {
    let last = from.saturating_sub(1);
    let tap = |i: usize| {
        let place = (i as f64 + 0.5) / to as f64;
        let at = ((place - centres.first) / centres.step).clamp(0.0, last as f64);
        let low = (at as usize).min(last);
        Tap { low, high: (low + 1).min(last), share: (at - low as f64) as f32 }
    };
    (0..to).map(tap).collect()
}

/// Where one value of the result comes from: `(1 - share)` of the value at `low` and `share` of that at `high`.
struct Tap {
    low: usize,
    high: usize,
    share: f32,
}

fn taps(from: usize, to: usize, mode: Upsampling) -> Vec<Tap> {
    let last = from.saturating_sub(1);
    let tap = |i: usize| match mode {
        Upsampling::Nearest => {
            let at = (i * from / to).min(last);
            Tap { low: at, high: at, share: 0.0 }
        }
        // Bicubic has four of them: see [`cubic_taps`]; where what cells see is not known, they lie evenly.
        Upsampling::Bilinear | Upsampling::Bicubic | Upsampling::Receptive => {
            let (low, high, share) = bilinear(i, from, to);
            Tap { low, high, share: share as f32 }
        }
    };
    (0..to).map(tap).collect()
}

/// Keys' cubic convolution (1981) with a = -0.75, along rows and then along columns.
fn bicubic(map: &[f32], from: (usize, usize), to: (usize, usize)) -> Vec<f32> {
    let (down, across) = (cubic_taps(from.0, to.0), cubic_taps(from.1, to.1));
    let mut wide = Vec::with_capacity(from.0 * to.1);
    for row in map.chunks_exact(from.1.max(1)) {
        wide.extend(across.iter().map(|taps| taps.iter().map(|(x, weight)| weight * row[*x]).sum::<f32>()));
    }
    let mut out = vec![0.0; to.0 * to.1];
    for (out, taps) in out.chunks_exact_mut(to.1.max(1)).zip(&down) {
        for (y, weight) in taps {
            let row = &wide[y * to.1..(y + 1) * to.1];
            out.iter_mut().zip(row).for_each(|(out, value)| *out += weight * value);
        }
    }
    out
}

/// The four places that a value of the result comes from, with their weights; beyond the edge the last value holds.
fn cubic_taps(from: usize, to: usize) -> Vec<[(usize, f32); 4]> {
    const A: f64 = -0.75;
    let near = |x: f64| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let far = |x: f64| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
    let last = from.saturating_sub(1) as f64;
    let taps = |i: usize| {
        let at = (i as f64 + 0.5) * from as f64 / to as f64 - 0.5;
        let (low, t) = (at.floor(), at - at.floor());
        let weights = [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)];
        [0usize, 1, 2, 3].map(|k| ((low + k as f64 - 1.0).clamp(0.0, last) as usize, weights[k] as f32))
    };
    (0..to).map(taps).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: [f32; 6] = [1.0, -2.0, 4.0, 0.5, 3.0, -1.0];

    fn close(ours: &[f32], torch: &[f32]) {
        assert_eq!(ours.len(), torch.len());
        for (a, b) in ours.iter().zip(torch) {
            assert!((a - b).abs() < 1e-5, "{ours:?}\n{torch:?}");
        }
    }

    /// `torch.nn.functional.interpolate(map, (5, 7), mode="bilinear", align_corners=False)`.
    #[test]
    fn bilinear_agrees_with_torch() {
        #[rustfmt::skip]
        let torch = [
            1.0, 0.57143, -0.71429, -2.0, 0.57143, 3.14286, 4.0,
            0.95, 0.6, -0.45, -1.5, 0.64286, 2.78571, 3.5,
            0.75, 0.71429, 0.60714, 0.5, 0.92857, 1.35714, 1.5,
            0.55, 0.82857, 1.66429, 2.5, 1.21429, -0.07143, -0.5,
            0.5, 0.85714, 1.92857, 3.0, 1.28571, -0.42857, -1.0,
        ];
        close(&upsample(&MAP, (2, 3), (5, 7), Upsampling::Bilinear), &torch);
        // Height up, width down, without a wider filter.
        #[rustfmt::skip]
        let torch = [
            0.25, 2.5,
            0.6875, 1.25,
            1.125, 0.0,
        ];
        close(&upsample(&MAP, (2, 3), (3, 2), Upsampling::Bilinear), &torch);
    }

    /// `torch.nn.functional.interpolate(map, (5, 7), mode="nearest")`.
    #[test]
    fn nearest_agrees_with_torch() {
        #[rustfmt::skip]
        let torch = [
            1.0, 1.0, 1.0, -2.0, -2.0, 4.0, 4.0,
            1.0, 1.0, 1.0, -2.0, -2.0, 4.0, 4.0,
            1.0, 1.0, 1.0, -2.0, -2.0, 4.0, 4.0,
            0.5, 0.5, 0.5, 3.0, 3.0, -1.0, -1.0,
            0.5, 0.5, 0.5, 3.0, 3.0, -1.0, -1.0,
        ];
        close(&upsample(&MAP, (2, 3), (5, 7), Upsampling::Nearest), &torch);
    }

    /// `torch.nn.functional.interpolate(map, (5, 7), mode="bicubic", align_corners=False)`.
    #[test]
    fn bicubic_agrees_with_torch() {
        #[rustfmt::skip]
        let torch = [
            1.44941, 0.52561, -1.78265, -2.55125, 0.05205, 3.64460, 5.32776,
            1.23768, 0.58264, -1.06354, -1.59000, 0.31716, 2.92982, 4.15633,
            0.77733, 0.70663, 0.50000, 0.50000, 0.89359, 1.37573, 1.60933,
            0.31698, 0.83063, 2.06354, 2.59000, 1.47001, -0.17837, -0.93767,
            0.10526, 0.88766, 2.78266, 3.55125, 1.73513, -0.89314, -2.10910,
        ];
        close(&upsample(&MAP, (2, 3), (5, 7), Upsampling::Bicubic), &torch);
        #[rustfmt::skip]
        let torch = [
            0.01409, 2.75573,
            0.65820, 1.26465,
            1.30231, -0.22643,
        ];
        close(&upsample(&MAP, (2, 3), (3, 2), Upsampling::Bicubic), &torch);
    }

    #[test]
    fn the_same_size_and_one_cell() {
        assert_eq!(upsample(&MAP, (2, 3), (2, 3), Upsampling::Bilinear), MAP);
        assert_eq!(upsample(&[2.5], (1, 1), (2, 2), Upsampling::Bilinear), [2.5; 4]);
        assert_eq!(upsample(&[2.5], (1, 1), (2, 2), Upsampling::Nearest), [2.5; 4]);
        close(&upsample(&[2.5], (1, 1), (2, 2), Upsampling::Bicubic), &[2.5; 4]);
    }

    #[test]
    fn maps_lie_where_their_cells_look() {
        let even = Centres { first: 1.0 / 6.0, step: 1.0 / 3.0 };
        let rows = Centres { first: 0.25, step: 0.5 };
        let receptive = Enlarging::new(Upsampling::Receptive, Some([rows, even]));
        close(&receptive.apply(&MAP, (2, 3), (5, 7)), &upsample(&MAP, (2, 3), (5, 7), Upsampling::Bilinear));
        // A third of a side to the right: what stood at a cell's centre stands there now.
        let shifted = Enlarging::new(Upsampling::Receptive, Some([rows, Centres { first: 0.5, ..even }]));
        let wide = shifted.apply(&[1.0, 2.0, 4.0], (1, 3), (1, 6));
        close(&wide, &[1.0, 1.0, 1.0, 1.25, 1.75, 2.5]);
        // Four cells of one side without the border: the inner two on the inner half.
        let four = Centres { first: 0.125 + 0.05, step: 0.25 };
        let inner = Enlarging::new(Upsampling::Receptive, Some([four, four])).without_rings((4, 4), 1);
        let wanted = Centres { first: 0.25 + 0.1, step: 0.5 };
        let [down, _] = inner.centres.unwrap();
        assert!((down.first - wanted.first).abs() < 1e-12 && (down.step - wanted.step).abs() < 1e-12, "{down:?}");
        assert_eq!(Enlarging::new(Upsampling::Bilinear, Some([even, even])).centres, None);
    }

    #[test]
    fn the_ceiling_of_a_fine_grid_is_perfect() {
        let pixels = (0..64).map(|i| i % 8 < 4 && i < 32).collect();
        let mask = Mask { width: 8, height: 8, pixels };
        let scores = |grid| {
            let map = Enlarging::new(Upsampling::Nearest, None).ceiling(&mask, grid);
            crate::metric::segmentation::evaluate(&map, &mask, 0.0).unwrap()
        };
        assert_eq!(scores((8, 8)).iou, 1.0);
        assert_eq!(scores((2, 2)).iou, 1.0);
        assert!(scores((3, 3)).iou < 1.0);
        assert!(scores((1, 1)).nra.abs() < 1e-12);
    }
}
