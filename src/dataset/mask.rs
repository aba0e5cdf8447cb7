//! Binary concept masks.

/// Which pixels show the concept: row-major, one flag a pixel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// `height * width` flags, row by row.
    pub pixels: Vec<bool>,
}

impl Mask {
    /// Share of pixels set, in [0, 1].
    pub fn coverage(&self) -> f32 {
        if self.pixels.is_empty() {
            return 0.0;
        }
        self.pixels.iter().filter(|p| **p).count() as f32 / self.pixels.len() as f32
    }

    /// Share of every cell of a grid `(height, width)` that the mask covers, `[height * width]` in [0, 1].
    ///
    /// The grid lies over `window` (left, top, width, height, in pixels). Cell `(y, x)` is the exact rectangle from
    /// `top + y * height / h` to `top + (y + 1) * height / h`, and so across: a pixel it cuts counts by the part
    /// inside. What lies outside the picture is not covered.
    pub fn grid_coverage(&self, window: (f64, f64, f64, f64), grid: (usize, usize)) -> Vec<f32> {
        let (left, top, width, height) = window;
        let (h, w) = grid;
        let across: Vec<_> = cells(left, width, w, self.width).collect();
        let mut sums = vec![0.0f64; h * w];
        for (cell, down) in sums.chunks_exact_mut(w.max(1)).zip(cells(top, height, h, self.height)) {
            for (y, part) in down {
                let row = &self.pixels[y * self.width..(y + 1) * self.width];
                for (sum, overlaps) in cell.iter_mut().zip(&across) {
                    let covered: f64 = overlaps.iter().filter(|(x, _)| row[*x]).map(|(_, share)| share).sum();
                    *sum += part * covered;
                }
            }
        }
        sums.into_iter().map(|s| s.clamp(0.0, 1.0) as f32).collect()
    }

    /// The part of the mask inside a window, rounded to whole pixels and cut at the picture's edge.
    #[must_use]
    pub fn window(&self, left: f64, top: f64, width: f64, height: f64) -> Self {
        // A negative edge becomes zero by the cast.
        let edge = |at: f64, size: usize| (at.round() as usize).min(size);
        let (x0, x1) = (edge(left, self.width), edge(left + width, self.width));
        let (y0, y1) = (edge(top, self.height), edge(top + height, self.height));
        let row = |y: usize| self.pixels[y * self.width + x0..y * self.width + x1.max(x0)].iter().copied();
        Self { width: x1.saturating_sub(x0), height: y1.saturating_sub(y0), pixels: (y0..y1).flat_map(row).collect() }
    }

    /// The mask at another size: a pixel is set where at least half of its area is.
    #[must_use]
    pub fn resize(&self, width: usize, height: usize) -> Self {
        if (width, height) == (self.width, self.height) {
            return self.clone();
        }
        let whole = (0.0, 0.0, self.width as f64, self.height as f64);
        // A sum of parts that makes one half may fall short of it by rounding.
        let pixels = self.grid_coverage(whole, (height, width)).into_iter().map(|c| c > 0.5 - 1e-6).collect();
        Self { width, height, pixels }
    }

    /// The pixels `(x, y)` of the mask that touch, by a side, a pixel outside it or the edge of the picture.
    pub fn outline(&self) -> Vec<(usize, usize)> {
        let (w, h) = (self.width, self.height);
        let inner = |x: usize, y: usize| {
            let i = y * w + x;
            let p = &self.pixels;
            x > 0 && y > 0 && x + 1 < w && y + 1 < h && p[i - 1] && p[i + 1] && p[i - w] && p[i + w]
        };
        let all = (0..h).flat_map(|y| (0..w).map(move |x| (x, y)));
        all.filter(|(x, y)| self.pixels[y * w + x] && !inner(*x, *y)).collect()
    }

    /// The mask with every pixel added whose centre is at most `radius` pixels from that of a pixel set.
    #[must_use]
    pub fn dilate(&self, radius: f64) -> Self {
        let mut out = self.clone();
        let reach = radius.max(0.0) as usize;
        if reach == 0 {
            return out;
        }
        // Discs about the outline do for the whole: what is inside it is set anyway.
        for (x, y) in self.outline() {
            for row in y.saturating_sub(reach)..(y + reach + 1).min(self.height) {
                let dy = row.abs_diff(y) as f64;
                let half = (radius * radius - dy * dy).max(0.0).sqrt() as usize;
                let (from, to) = (x.saturating_sub(half), (x + half + 1).min(self.width));
                out.pixels[row * self.width + from..row * self.width + to].fill(true);
            }
        }
        out
    }
}

/// For every one of `count` cells over `[start, start + length)`: the pixels below `size` it overlaps, each with the
/// overlap as a share of the cell.
pub(crate) fn cells(start: f64, length: f64, count: usize, size: usize) -> impl Iterator<Item = Vec<(usize, f64)>> {
    let cell = length / count as f64;
    (0..count).map(move |i| {
        let (from, to) = (start + i as f64 * cell, start + (i + 1) as f64 * cell);
        let pixels = (from.floor().max(0.0) as usize)..(to.ceil().max(0.0) as usize).min(size);
        let overlap = |p: usize| (to.min((p + 1) as f64) - from.max(p as f64)).max(0.0) / cell;
        pixels.map(|p| (p, overlap(p))).filter(|(_, share)| *share > 0.0).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(rows: &[&str]) -> Mask {
        let pixels = rows.concat().chars().map(|c| c == '#').collect();
        Mask { width: rows.first().map_or(0, |r| r.len()), height: rows.len(), pixels }
    }

    #[test]
    fn cells_of_whole_pixels() {
        let m = mask(&["##..", "##..", "...#", "...."]);
        assert_eq!(m.grid_coverage((0.0, 0.0, 4.0, 4.0), (2, 2)), [1.0, 0.0, 0.0, 0.25]);
        assert_eq!(m.grid_coverage((0.0, 0.0, 4.0, 4.0), (1, 1)), [m.coverage()]);
        // Twice as fine as the mask.
        let fine = m.grid_coverage((0.0, 0.0, 4.0, 4.0), (8, 8));
        assert!((0..64).all(|i| fine[i] == f32::from(u8::from(m.pixels[i / 16 * 4 + i % 8 / 2]))));
    }

    #[test]
    fn cells_cut_pixels() {
        let m = mask(&["#.#"]);
        // Cells are 1.5 pixels wide.
        let c = m.grid_coverage((0.0, 0.0, 3.0, 1.0), (1, 2));
        assert!((c[0] - 2.0 / 3.0).abs() < 1e-6 && (c[1] - 2.0 / 3.0).abs() < 1e-6);
        // A window with fractions: [0.5, 2.5) has half of the first and half of the last pixel.
        assert!((m.grid_coverage((0.5, 0.0, 2.0, 1.0), (1, 1))[0] - 0.5).abs() < 1e-6);
        // Half of the window is outside.
        assert!((m.grid_coverage((-1.0, 0.0, 2.0, 1.0), (1, 1))[0] - 0.5).abs() < 1e-6);
        assert_eq!(m.grid_coverage((10.0, 0.0, 2.0, 1.0), (1, 2)), [0.0, 0.0]);
    }

    #[test]
    fn the_mean_over_cells_is_the_coverage() {
        let pixels = (0..37 * 23).map(|i| i % 7 < 3).collect();
        let m = Mask { width: 37, height: 23, pixels };
        let c = m.grid_coverage((0.0, 0.0, 37.0, 23.0), (7, 5));
        assert!((c.iter().sum::<f32>() / 35.0 - m.coverage()).abs() < 1e-5);
    }

    #[test]
    fn windows_are_cut_at_the_edge() {
        let m = mask(&["#..", ".#.", "..#"]);
        assert_eq!(m.window(1.0, 1.0, 2.0, 2.0), mask(&["#.", ".#"]));
        assert_eq!(m.window(-1.0, 0.4, 2.0, 1.0), mask(&["#"]));
        assert_eq!(m.window(2.0, 2.0, 9.0, 9.0), mask(&["#"]));
        assert_eq!(m.window(5.0, 0.0, 2.0, 1.0).pixels, [false; 0]);
        assert_eq!(m.window(0.0, 0.0, 3.0, 3.0), m);
    }

    #[test]
    fn resizing_goes_by_the_larger_part() {
        let m = mask(&["##..", "#...", "####", "####"]);
        assert_eq!(m.resize(2, 2), mask(&["#.", "##"]));
        assert_eq!(m.resize(4, 4), m);
        assert_eq!(mask(&["#."]).resize(1, 1), mask(&["#"]));
        assert_eq!(mask(&["#."]).resize(4, 2), mask(&["##..", "##.."]));
    }

    #[test]
    fn an_outline_is_what_touches_the_outside() {
        let m = mask(&[".....", ".###.", ".###.", ".###.", "....."]);
        let outline = m.outline();
        assert_eq!(outline.len(), 8);
        assert!(!outline.contains(&(2, 2)));
        assert_eq!(mask(&["###", "###", "###"]).outline().len(), 8);
        assert_eq!(mask(&["..."]).outline(), []);
    }

    #[test]
    fn dilation_is_by_a_disc() {
        let m = mask(&[".....", ".....", "..#..", ".....", "....."]);
        assert_eq!(m.dilate(0.5), m);
        assert_eq!(m.dilate(1.0), mask(&[".....", "..#..", ".###.", "..#..", "....."]));
        assert_eq!(m.dilate(1.5), mask(&[".....", ".###.", ".###.", ".###.", "....."]));
        assert_eq!(m.dilate(2.0), mask(&["..#..", ".###.", "#####", ".###.", "..#.."]));
    }
}
