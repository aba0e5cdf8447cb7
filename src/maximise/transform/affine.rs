//! Geometry as one map: each step of a chain is walked backwards, from a pixel of its result to a place in the picture.

/// A map from a pixel of the result to a place in the picture, in pixels: `(a x + b y + c, d x + e y + f)`; pixel
/// centres are whole numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine(pub [f64; 6]);

impl Affine {
    /// Changes nothing.
    pub const IDENTITY: Self = Self([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);

    /// The place `(x, y)` that a pixel `(x, y)` of the result is taken from.
    pub fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let [a, b, c, d, e, f] = self.0;
        (a * x + b * y + c, d * x + e * y + f)
    }

    /// A picture `[height, width]` turned about its centre, by radians.
    pub fn turned(size: [usize; 2], angle: f64) -> Self {
        let mut canvas = Canvas::new(size);
        canvas.rotate(angle);
        canvas.finish(size)
    }

    /// A picture resized by a factor, and cut or bordered to its size.
    pub fn scaled(size: [usize; 2], factor: f64) -> Self {
        let mut canvas = Canvas::new(size);
        canvas.scale(factor);
        canvas.finish(size)
    }

    /// A picture mirrored left to right.
    pub fn mirrored(size: [usize; 2]) -> Self {
        let mut canvas = Canvas::new(size);
        canvas.flip();
        canvas.finish(size)
    }

    /// First `inner`, then this map.
    fn after(&self, inner: &Self) -> Self {
        let (origin, right, down) = (inner.at(0.0, 0.0), inner.at(1.0, 0.0), inner.at(0.0, 1.0));
        let [origin, right, down] = [origin, right, down].map(|(x, y)| self.at(x, y));
        let step = |to: (f64, f64)| (to.0 - origin.0, to.1 - origin.1);
        let (right, down) = (step(right), step(down));
        Self([right.0, down.0, origin.0, right.1, down.1, origin.1])
    }
}

/// A canvas on its way through a chain: its size, and where its pixels come from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Canvas {
    size: [f64; 2],
    map: Affine,
}

impl Canvas {
    /// A picture of `[height, width]` pixels as it is. Where the height is 1 nothing happens along it.
    pub(super) fn new([height, width]: [usize; 2]) -> Self {
        Self { size: [height as f64, width as f64], map: Affine::IDENTITY }
    }

    fn is_series(&self) -> bool {
        self.size[0] == 1.0
    }

    fn step(&mut self, map: Affine) {
        self.map = self.map.after(&map);
    }

    /// A border of so many pixels.
    pub(super) fn pad(&mut self, pixels: f64) {
        let down = if self.is_series() { 0.0 } else { pixels };
        self.size = [self.size[0] + 2.0 * down, self.size[1] + 2.0 * pixels];
        self.step(Affine([1.0, 0.0, -pixels, 0.0, 1.0, -down]));
    }

    /// Cut by `pixels` in all, from `(y, x)` on.
    pub(super) fn cut(&mut self, pixels: f64, (y, x): (f64, f64)) {
        let (y, down) = if self.is_series() { (0.0, 0.0) } else { (y, pixels) };
        self.size = [self.size[0] - down, self.size[1] - pixels];
        self.step(Affine([1.0, 0.0, x, 0.0, 1.0, y]));
    }

    /// Resized by a factor, to whole pixels.
    pub(super) fn scale(&mut self, factor: f64) {
        let resized = |length: f64| (factor * length).round().max(1.0);
        let new = [if self.is_series() { 1.0 } else { resized(self.size[0]) }, resized(self.size[1])];
        let (down, across) = (self.size[0] / new[0], self.size[1] / new[1]);
        self.step(Affine([across, 0.0, (across - 1.0) / 2.0, 0.0, down, (down - 1.0) / 2.0]));
        self.size = new;
    }

    /// Turned about its centre.
    pub(super) fn rotate(&mut self, angle: f64) {
        if self.is_series() {
            return;
        }
        let (sin, cos) = angle.sin_cos();
        let (x, y) = ((self.size[1] - 1.0) / 2.0, (self.size[0] - 1.0) / 2.0);
        self.step(Affine([cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y]));
    }

    /// A window of `share` of both sides about the centre `(y, x)`, in shares of the sides, as large as the whole.
    pub(super) fn window(&mut self, share: f64, (y, x): (f64, f64)) {
        let at = |length: f64, centre: f64| (centre - share / 2.0).clamp(0.0, (1.0 - share).max(0.0)) * length;
        let (top, left) = (at(self.size[0], y), at(self.size[1], x));
        let inside = (share - 1.0) / 2.0;
        let (down, top) = if self.is_series() { (1.0, 0.0) } else { (share, top + inside) };
        self.step(Affine([share, 0.0, left + inside, 0.0, down, top]));
    }

    /// Mirrored, left to right.
    pub(super) fn flip(&mut self) {
        self.step(Affine([-1.0, 0.0, self.size[1] - 1.0, 0.0, 1.0, 0.0]));
    }

    /// The map of its centre, as large as the network's input `[height, width]`.
    pub(super) fn finish(mut self, [height, width]: [usize; 2]) -> Affine {
        let (y, x) = ((self.size[0] - height as f64) / 2.0, (self.size[1] - width as f64) / 2.0);
        self.step(Affine([1.0, 0.0, x, 0.0, 1.0, y]));
        self.map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(map: Affine, pixel: (f64, f64), wanted: (f64, f64)) {
        let got = map.at(pixel.0, pixel.1);
        assert!((got.0 - wanted.0).abs() < 1e-9 && (got.1 - wanted.1).abs() < 1e-9, "{got:?} {wanted:?}");
    }

    #[test]
    fn steps_by_hand() {
        let canvas = Canvas::new([8, 8]);
        let mut padded = canvas;
        padded.pad(2.0);
        padded.cut(4.0, (4.0, 0.0));
        // The border is cut off on one side alone.
        close(padded.finish([8, 8]), (3.0, 3.0), (1.0, 5.0));
        let mut doubled = canvas;
        doubled.scale(2.0);
        close(doubled.finish([8, 8]), (3.5, 3.5), (3.5, 3.5));
        close(doubled.finish([8, 8]), (4.5, 3.5), (4.0, 3.5));
        let mut turned = canvas;
        turned.rotate(std::f64::consts::FRAC_PI_2);
        close(turned.finish([8, 8]), (7.0, 0.0), (7.0, 7.0));
        let mut mirrored = canvas;
        mirrored.flip();
        close(mirrored.finish([8, 8]), (0.0, 2.0), (7.0, 2.0));
        let mut quarter = canvas;
        quarter.window(0.5, (0.0, 1.0));
        close(quarter.finish([8, 8]), (-0.5, -0.5), (3.5, -0.5));
        close(quarter.finish([8, 8]), (7.5, 7.5), (7.5, 3.5));
    }

    #[test]
    fn nothing_happens_across_a_series() {
        let mut series = Canvas::new([1, 20]);
        series.pad(3.0);
        series.cut(2.0, (1.0, 1.0));
        series.scale(1.3);
        series.rotate(0.4);
        series.window(0.5, (0.5, 0.2));
        let map = series.finish([1, 20]);
        assert_eq!(map.at(7.0, 0.0).1, 0.0);
    }
}
