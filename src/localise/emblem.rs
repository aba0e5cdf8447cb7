//! Maps on one scale for all pictures: what positive shares of pictures with and without a concept usually amount to,
//! after Visual-TCAV (De Santis et al. 2024).

use serde::{Deserialize, Serialize};

/// The range that the maps of one direction are brought to [0, 1] from.
///
/// Of a map L, `M = max(L, 0)`, and its emblem is `sum of M² / sum of M`, the mean of M weighted by itself. The range ends
/// are the medians of the emblems of the fit split's pictures without the concept and with it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Emblem {
    /// Median over pictures without the concept.
    pub low: f64,
    /// Median over pictures with it.
    pub high: f64,
}

impl Emblem {
    /// The range of pictures with these emblems; NaN where there are none.
    pub fn new(with: Vec<f64>, without: Vec<f64>) -> Self {
        Self { low: median(without), high: median(with) }
    }

    /// Whether pictures with the concept lie above those without; where not, every map is zero.
    pub fn separates(&self) -> bool {
        self.high > self.low
    }

    /// The map cut to the range and brought to [0, 1]; zero where the range does not separate.
    pub fn apply(&self, map: &mut [f32]) {
        let scaled = |value: f64| ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0) as f32;
        let separates = self.separates();
        map.iter_mut().for_each(|v| *v = if separates { scaled(f64::from(v.max(0.0))) } else { 0.0 });
    }
}

/// `sum of M² / sum of M` of a map's positive part M, at least 0; 0 of a map without one.
pub fn emblem(map: &[f32]) -> f64 {
    let (mut sum, mut squares) = (0.0, 0.0);
    for value in map.iter().map(|v| f64::from(v.max(0.0))) {
        sum += value;
        squares += value * value;
    }
    if sum > 0.0 { squares / sum } else { 0.0 }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n => f64::midpoint(values[(n - 1) / 2], values[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        assert_eq!(emblem(&[1.0, 3.0, -7.0, 0.0]), 2.5);
        assert_eq!((emblem(&[-1.0, 0.0]), emblem(&[])), (0.0, 0.0));
        assert_eq!(emblem(&[2.0; 9]), 2.0);
        let range = Emblem::new(vec![4.0, 3.0, 9.0], vec![1.0, 3.0]);
        assert_eq!((range.low, range.high), (2.0, 4.0));
        let mut map = [-5.0, 1.0, 2.0, 3.0, 4.0, 100.0];
        range.apply(&mut map);
        assert_eq!(map, [0.0, 0.0, 0.0, 0.5, 1.0, 1.0]);
    }

    #[test]
    fn where_the_range_does_not_separate_the_map_is_zero() {
        for range in
            [Emblem::new(vec![1.0], vec![1.0]), Emblem::new(vec![1.0], vec![2.0]), Emblem::new(vec![1.0], vec![])]
        {
            let mut map = [0.5, 3.0];
            range.apply(&mut map);
            assert!(!range.separates() && map == [0.0; 2]);
        }
    }
}
