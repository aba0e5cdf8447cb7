//! The objects of Elements and how they are drawn. Edges are hard, so that a mask is exact to the pixel.

use image::{Rgb, RgbImage};
use rand::{Rng, RngExt};

use crate::dataset::mask::Mask;

/// Height and width of every picture in pixels.
pub const CANVAS: usize = 64;

/// Thickness of the bars of plus and cross, as a share of the object's size.
const BAR: f32 = 0.3;
/// Period of stripes and spots in pixels, whatever the object's size: finer ones would be lost at this scale.
const PERIOD: usize = 4;

/// What an object's outline is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// The whole box.
    Square,
    /// The disc that fills the box.
    Circle,
    /// One corner above, two below.
    Triangle,
    /// An upright and a level bar.
    Plus,
    /// The two diagonal bars.
    Cross,
}

/// What an object is painted with; the brightness comes on top.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "colours are what their names say")]
pub enum Colour {
    Red,
    Green,
    Blue,
    Yellow,
    Cyan,
    Magenta,
}

/// Which pixels of an object are painted; the others stay white.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Texture {
    /// All.
    Solid,
    /// All but a grid of small white spots.
    SpotsPolka,
    /// Every other diagonal stripe.
    StripesDiagonal,
}

/// One attribute an object can have: the concepts of Elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Attribute {
    /// An outline.
    Shape(Shape),
    /// A paint.
    Colour(Colour),
    /// A pattern.
    Texture(Texture),
}

/// Every attribute: 5 shapes, 6 colours, 3 textures.
pub const ATTRIBUTES: [Attribute; 14] = [
    Attribute::Shape(Shape::Square),
    Attribute::Shape(Shape::Circle),
    Attribute::Shape(Shape::Triangle),
    Attribute::Shape(Shape::Plus),
    Attribute::Shape(Shape::Cross),
    Attribute::Colour(Colour::Red),
    Attribute::Colour(Colour::Green),
    Attribute::Colour(Colour::Blue),
    Attribute::Colour(Colour::Yellow),
    Attribute::Colour(Colour::Cyan),
    Attribute::Colour(Colour::Magenta),
    Attribute::Texture(Texture::Solid),
    Attribute::Texture(Texture::SpotsPolka),
    Attribute::Texture(Texture::StripesDiagonal),
];

impl Attribute {
    /// Its name as a concept.
    pub fn name(self) -> &'static str {
        match self {
            Self::Shape(Shape::Square) => "square",
            Self::Shape(Shape::Circle) => "circle",
            Self::Shape(Shape::Triangle) => "triangle",
            Self::Shape(Shape::Plus) => "plus",
            Self::Shape(Shape::Cross) => "cross",
            Self::Colour(Colour::Red) => "red",
            Self::Colour(Colour::Green) => "green",
            Self::Colour(Colour::Blue) => "blue",
            Self::Colour(Colour::Yellow) => "yellow",
            Self::Colour(Colour::Cyan) => "cyan",
            Self::Colour(Colour::Magenta) => "magenta",
            Self::Texture(Texture::Solid) => "solid",
            Self::Texture(Texture::SpotsPolka) => "spots_polka",
            Self::Texture(Texture::StripesDiagonal) => "stripes_diagonal",
        }
    }

    /// The attribute with this name.
    pub fn named(name: &str) -> Option<Self> {
        ATTRIBUTES.into_iter().find(|a| a.name() == name)
    }

    /// Whether both are shapes, both colours or both textures.
    pub fn is_kin(self, other: Self) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }

    /// Another value of the same kind; each is as likely.
    pub(super) fn other(self, rng: &mut impl Rng) -> Self {
        let others: Vec<Self> = ATTRIBUTES.into_iter().filter(|a| a.is_kin(self) && *a != self).collect();
        others[rng.random_range(0..others.len())]
    }
}

/// One object of a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Object {
    /// Its outline.
    pub shape: Shape,
    /// Its paint.
    pub colour: Colour,
    /// Its pattern.
    pub texture: Texture,
    /// The painted channels' value, in (0.6, 1].
    pub brightness: f32,
    /// Left edge of its box in pixels.
    pub left: usize,
    /// Upper edge of its box in pixels.
    pub top: usize,
    /// Height and width of its box in pixels.
    pub size: usize,
}

impl Object {
    /// Whether it has an attribute.
    pub fn has(&self, attribute: Attribute) -> bool {
        match attribute {
            Attribute::Shape(shape) => self.shape == shape,
            Attribute::Colour(colour) => self.colour == colour,
            Attribute::Texture(texture) => self.texture == texture,
        }
    }

    /// Gives it an attribute, in place of the one of that kind it had.
    pub(super) fn set(&mut self, attribute: Attribute) {
        match attribute {
            Attribute::Shape(shape) => self.shape = shape,
            Attribute::Colour(colour) => self.colour = colour,
            Attribute::Texture(texture) => self.texture = texture,
        }
    }

    /// Its attribute of the same kind as another one.
    pub(super) fn kin(&self, of: Attribute) -> Attribute {
        match of {
            Attribute::Shape(_) => Attribute::Shape(self.shape),
            Attribute::Colour(_) => Attribute::Colour(self.colour),
            Attribute::Texture(_) => Attribute::Texture(self.texture),
        }
    }

    /// Its attribute that goes along with one of another kind: the colour of a shape or texture, the shape of a colour.
    pub(super) fn companion(&self, of: Attribute) -> Attribute {
        match of {
            Attribute::Shape(_) | Attribute::Texture(_) => Attribute::Colour(self.colour),
            Attribute::Colour(_) => Attribute::Shape(self.shape),
        }
    }

    /// Whether the boxes share a pixel.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let meet = |a: usize, a_size: usize, b: usize, b_size: usize| a < b + b_size && b < a + a_size;
        meet(self.left, self.size, other.left, other.size) && meet(self.top, self.size, other.top, other.size)
    }

    /// The pixels (column, row) inside its outline, painted or not.
    pub(super) fn pixels(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let inside = |(x, y): &(usize, usize)| {
            let at = |i: usize| (i as f32 + 0.5) / self.size as f32;
            self.shape.contains(at(*x), at(*y))
        };
        let all = (0..self.size).flat_map(|y| (0..self.size).map(move |x| (x, y)));
        all.filter(inside).map(|(x, y)| (self.left + x, self.top + y))
    }

    /// Those of its pixels that are painted.
    pub(super) fn painted(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.pixels().filter(|(x, y)| self.texture.paints(x - self.left, y - self.top))
    }

    fn rgb(&self) -> Rgb<u8> {
        let value = (self.brightness * 255.0).round() as u8;
        Rgb(self.colour.channels().map(|on| if on { value } else { 0 }))
    }
}

impl Shape {
    /// Whether a point of the unit box, from its upper left corner, is inside.
    fn contains(self, x: f32, y: f32) -> bool {
        let (dx, dy) = (x - 0.5, y - 0.5);
        match self {
            Self::Square => true,
            Self::Circle => dx * dx + dy * dy <= 0.25,
            Self::Triangle => dx.abs() <= y / 2.0,
            Self::Plus => dx.abs().min(dy.abs()) < BAR / 2.0,
            Self::Cross => (dx - dy).abs().min((dx + dy).abs()) < BAR / 2.0 * std::f32::consts::SQRT_2,
        }
    }
}

impl Colour {
    /// Which of red, green and blue light it has.
    fn channels(self) -> [bool; 3] {
        match self {
            Self::Red => [true, false, false],
            Self::Green => [false, true, false],
            Self::Blue => [false, false, true],
            Self::Yellow => [true, true, false],
            Self::Cyan => [false, true, true],
            Self::Magenta => [true, false, true],
        }
    }
}

impl Texture {
    /// Whether the pixel at this place of an object's box is painted.
    fn paints(self, x: usize, y: usize) -> bool {
        let odd = |at: usize| at % PERIOD >= PERIOD / 2;
        match self {
            Self::Solid => true,
            Self::SpotsPolka => !(odd(x) && odd(y)),
            Self::StripesDiagonal => odd(x + y),
        }
    }
}

/// Draws objects on a white canvas.
pub(super) fn render(objects: &[Object]) -> RgbImage {
    let mut image = RgbImage::from_pixel(CANVAS as u32, CANVAS as u32, Rgb([255; 3]));
    for object in objects {
        let rgb = object.rgb();
        object.painted().for_each(|(x, y)| image.put_pixel(x as u32, y as u32, rgb));
    }
    image
}

/// Where an attribute is: everything inside the outline for a shape or a colour (a textured object's white holes
/// belong to it), the painted pixels for a texture.
pub(super) fn mask(objects: &[Object], attribute: Attribute) -> Mask {
    let mut pixels = vec![false; CANVAS * CANVAS];
    for object in objects.iter().filter(|o| o.has(attribute)) {
        let mut set = |(x, y): (usize, usize)| pixels[y * CANVAS + x] = true;
        match attribute {
            Attribute::Texture(_) => object.painted().for_each(&mut set),
            Attribute::Shape(_) | Attribute::Colour(_) => object.pixels().for_each(&mut set),
        }
    }
    Mask { width: CANVAS, height: CANVAS, pixels }
}
