//! One study seed, and the named random streams drawn from it.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// The seed of a study. Everything random draws from a stream with a name of its own, so that adding one draw
/// somewhere never moves another, whatever the order or the number of threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub u64);

impl Seed {
    /// The random stream called `name`; the same name gives the same numbers.
    pub fn stream(self, name: &str) -> ChaCha8Rng {
        let mut hasher = blake3::Hasher::new_derive_key("cavern random stream v1");
        hasher.update(&self.0.to_le_bytes());
        hasher.update(name.as_bytes());
        ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
    }
}

/// A standard normal number (Box and Muller 1958).
pub fn gaussian(rng: &mut impl rand::Rng) -> f64 {
    let (u, v): (f64, f64) = (rng.random(), rng.random());
    (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    #[test]
    fn streams_are_named_and_repeatable() {
        let draw = |seed, name: &str| Seed(seed).stream(name).next_u64();
        assert_eq!(draw(1, "a"), draw(1, "a"));
        assert_ne!(draw(1, "a"), draw(1, "b"));
        assert_ne!(draw(1, "a"), draw(2, "a"));
    }
}
