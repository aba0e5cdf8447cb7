//! Where channels and positions stand in an activation, whatever its layout.

use crate::model::graph::Layout;

/// A layer's activation as channels by positions. Tokens that stand for no patch lie outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Channels.
    pub channels: usize,
    /// Rows and columns of positions.
    pub grid: [usize; 2],
    /// Values of the whole activation, tokens outside included.
    pub values: usize,
    first: usize,
    by_channel: usize,
    by_position: usize,
}

impl View {
    /// The view of a layout.
    pub fn of(layout: Layout) -> Self {
        let [channels, height, width] = layout.map_shape();
        let positions = height * width;
        let (first, by_channel, by_position) = match layout {
            Layout::Tokens { before, .. } => (before * channels, 1, channels),
            Layout::Map(_) | Layout::Vector(_) => (0, positions, 1),
        };
        let values = first + channels * positions;
        Self { channels, grid: [height, width], values, first, by_channel, by_position }
    }

    /// How many positions there are.
    pub fn positions(&self) -> usize {
        self.grid[0] * self.grid[1]
    }

    /// Tokens of the layer, those that stand for no patch included.
    pub fn tokens(&self) -> usize {
        self.values / self.channels.max(1)
    }

    /// The place of a channel's value at a position.
    pub fn at(&self, channel: usize, position: usize) -> usize {
        self.first + channel * self.by_channel + position * self.by_position
    }

    /// The inner product of a direction with the channels at a position.
    pub fn product(&self, direction: &[f32], z: &[f32], position: usize) -> f64 {
        let term = |(c, v): (usize, &f32)| f64::from(*v) * f64::from(z[self.at(c, position)]);
        direction.iter().enumerate().map(term).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_the_layout() {
        let map = View::of(Layout::Map([3, 2, 4]));
        assert_eq!((map.at(2, 5), map.values, map.positions()), (2 * 8 + 5, 24, 8));
        let tokens = View::of(Layout::Tokens { before: 1, grid: [2, 2], channels: 3 });
        assert_eq!((tokens.at(2, 1), tokens.values, tokens.tokens()), (3 + 3 + 2, 15, 5));
        let vector = View::of(Layout::Vector(7));
        assert_eq!((vector.at(4, 0), vector.values, vector.positions()), (4, 7, 1));
    }
}
