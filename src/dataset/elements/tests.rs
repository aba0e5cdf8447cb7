use image::Rgb;

use super::*;
use crate::dataset::Format;

const WHITE: Rgb<u8> = Rgb([255; 3]);

fn spec(world: World, count: usize) -> DatasetSpec {
    DatasetSpec { world: Some(world), count: Some(count), ..DatasetSpec::of(Format::Elements) }
}

fn elements(world: World, count: usize) -> Elements {
    open(&spec(world, count), Seed(7)).unwrap()
}

fn concept(elements: &Elements, name: &str) -> usize {
    elements.concepts().iter().position(|c| c == name).unwrap()
}

#[test]
fn a_picture_does_not_depend_on_how_many_there_are() {
    let (few, many) = (elements(World::E2, 5), elements(World::E2, 50));
    assert_eq!(few.samples(), &many.samples()[..5]);
    assert_eq!(few.image(3).unwrap(), many.image(3).unwrap());
    assert_ne!(few.image(3).unwrap(), open(&spec(World::E2, 5), Seed(8)).unwrap().image(3).unwrap());
}

#[test]
fn every_object_keeps_the_worlds_rule_and_its_ranges() {
    for world in [World::E1, World::E2, World::E3] {
        let elements = elements(world, 500);
        let objects: Vec<Object> = elements.scenes.iter().flatten().copied().collect();
        assert!(objects.len() > 1950, "{} objects", objects.len());
        let red_else = objects.iter().filter(|o| o.colour == Colour::Red && o.shape != Shape::Triangle).count();
        let triangle_else = objects.iter().filter(|o| o.colour != Colour::Red && o.shape == Shape::Triangle).count();
        assert_eq!((red_else > 0, triangle_else > 0), (world == World::E1, world != World::E3), "{world:?}");
        for o in objects {
            assert!((12..20).contains(&o.size) && o.left + o.size <= CANVAS && o.top + o.size <= CANVAS, "{o:?}");
            assert!(o.brightness > 0.6 && o.brightness <= 1.0, "{o:?}");
        }
        for scene in &elements.scenes {
            let meet = |(i, a): (usize, &Object)| scene[i + 1..].iter().any(|b| a.overlaps(b));
            assert!(!scene.iter().enumerate().any(meet));
        }
    }
}

#[test]
fn shapes_and_colours_occur_in_a_quarter_to_three_quarters_of_the_pictures() {
    for world in [World::E1, World::E2, World::E3] {
        let elements = elements(world, 1000);
        for attribute in ATTRIBUTES.iter().filter(|a| !matches!(a, Attribute::Texture(_))) {
            let c = concept(&elements, attribute.name());
            let share = |p: Presence| elements.samples().iter().filter(|s| s.presence[c] == p).count() as f64 / 1e3;
            let (present, absent) = (share(Presence::Present), share(Presence::Absent));
            assert!(present >= 0.25 && absent >= 0.25, "{world:?} {}: {present} {absent}", attribute.name());
        }
    }
}

#[test]
fn labels_and_presence_agree_with_the_objects() {
    let elements = elements(World::E1, 100);
    for (i, sample) in elements.samples().iter().enumerate() {
        for ((c, a), label) in ATTRIBUTES.iter().enumerate().zip(elements_labels(sample)) {
            let has = elements.objects(i).unwrap().iter().any(|o| o.has(*a));
            assert_eq!(label, has);
            let wanted = match (has, sample.coverage[c] >= 0.02) {
                (false, _) => Presence::Absent,
                (true, true) => Presence::Present,
                (true, false) => Presence::Unknown,
            };
            assert_eq!(sample.presence[c], wanted);
        }
    }
}

#[test]
fn masks_are_exact() {
    let elements = elements(World::E1, 200);
    let solid = concept(&elements, "solid");
    for i in 0..200 {
        let image = elements.image(i).unwrap();
        let masks: Vec<Mask> = (0..14).map(|c| elements.mask(i, c).unwrap().unwrap()).collect();
        for (at, pixel) in image.pixels().enumerate() {
            let count = |range: std::ops::Range<usize>| range.filter(|c| masks[*c].pixels[at]).count();
            let (shapes, colours, textures) = (count(0..5), count(5..11), count(11..14));
            assert_eq!(shapes, colours, "one shape has one colour");
            assert_eq!(textures == 1, *pixel != WHITE, "a texture is where it paints");
            assert!(textures <= shapes && shapes <= 1);
            let [r, g, b] = pixel.0.map(|v| v > 0);
            let light = [[true, false, false], [false, true, false], [false, false, true]];
            let light = [light[0], light[1], light[2], [true, true, false], [false, true, true], [true, false, true]];
            for (c, on) in light.iter().enumerate().filter(|(c, _)| *pixel != WHITE && masks[5 + c].pixels[at]) {
                assert_eq!(*on, [r, g, b], "colour {c}");
                assert!(pixel.0.iter().all(|v| *v == 0 || *v >= 153), "{pixel:?}");
            }
        }
        let painted = |o: &Object| (o.painted().count(), o.pixels().count());
        let all = elements.objects(i).unwrap().iter().filter(|o| o.texture == Texture::Solid).map(painted);
        assert!(all.clone().all(|(painted, pixels)| painted == pixels));
        assert_eq!(all.map(|n| n.0).sum::<usize>(), masks[solid].pixels.iter().filter(|p| **p).count());
    }
}

/// Pixels at which two pictures differ all lie in the boxes of the objects that changed.
fn assert_local(elements: &Elements, sample: usize, objects: &[Object], image: &RgbImage) {
    let before = elements.image(sample).unwrap();
    let changed: Vec<&Object> =
        elements.objects(sample).unwrap().iter().zip(objects).filter(|(a, b)| a != b).map(|(a, _)| a).collect();
    assert!(!changed.is_empty());
    for (x, y, pixel) in image.enumerate_pixels() {
        let (column, row) = (x as usize, y as usize);
        let inside =
            |o: &&Object| (o.left..o.left + o.size).contains(&column) && (o.top..o.top + o.size).contains(&row);
        assert!(pixel == before.get_pixel(x, y) || changed.iter().any(inside));
    }
}

#[test]
fn removing_and_keeping_change_one_attribute_each() {
    let elements = elements(World::E3, 300);
    let triangle = concept(&elements, "triangle");
    let mut seen = 0;
    for (i, sample) in elements.samples().iter().enumerate() {
        let [removed, kept] = [Edit::Removed, Edit::Kept].map(|e| elements.edited_objects(i, triangle, e).unwrap());
        if sample.presence[triangle] != Presence::Present {
            assert!(removed.is_none() && kept.is_none());
            continue;
        }
        seen += 1;
        let (removed, kept) = (removed.unwrap(), kept.unwrap());
        for ((before, removed), kept) in elements.objects(i).unwrap().iter().zip(&removed).zip(&kept) {
            if before.shape == Shape::Triangle {
                assert!(removed.shape != Shape::Triangle && removed.colour == Colour::Red, "a red square, say");
                assert!(kept.shape == Shape::Triangle && kept.colour != Colour::Red, "a blue triangle, say");
                assert_eq!(Object { shape: removed.shape, ..*before }, *removed);
                assert_eq!(Object { colour: kept.colour, ..*before }, *kept);
            } else {
                assert_eq!((before, before), (removed, kept));
            }
        }
        for (edit, objects) in [(Edit::Removed, removed), (Edit::Kept, kept)] {
            let image = elements.edited(i, triangle, edit).unwrap().unwrap();
            assert_local(&elements, i, &objects, &image);
        }
    }
    assert!(seen > 75);
}

#[test]
fn companions_of_colours_are_shapes_and_of_textures_colours() {
    let elements = elements(World::E3, 60);
    let (red, stripes) = (concept(&elements, "red"), concept(&elements, "stripes_diagonal"));
    for i in 0..60 {
        let before = elements.objects(i).unwrap();
        for (a, b) in before.iter().zip(elements.edited_objects(i, red, Edit::Kept).unwrap().iter().flatten()) {
            assert_eq!(a.colour, b.colour);
            assert_eq!(a.colour == Colour::Red, a.shape != b.shape);
        }
        for (a, b) in before.iter().zip(elements.edited_objects(i, stripes, Edit::Kept).unwrap().iter().flatten()) {
            assert_eq!((a.texture, a.shape), (b.texture, b.shape));
            assert_eq!(a.texture == Texture::StripesDiagonal, a.colour != b.colour);
        }
    }
}

#[test]
fn a_pair_differs_in_the_concept_alone_and_ignores_the_worlds_rule() {
    let elements = elements(World::E3, 300);
    for name in ["triangle", "red", "spots_polka"] {
        let (c, attribute) = (concept(&elements, name), Attribute::named(name).unwrap());
        let mut red_squares = 0;
        for i in 0..300 {
            let [with, without] =
                [Edit::With, Edit::Without].map(|e| elements.edited_objects(i, c, e).unwrap().unwrap());
            let differ: Vec<_> = with.iter().zip(&without).filter(|(a, b)| a != b).collect();
            let [(a, b)] = differ.as_slice() else { panic!("one object differs, not {}", differ.len()) };
            assert!(a.has(attribute) && !b.has(attribute));
            assert!(ATTRIBUTES.iter().all(|k| k.is_kin(attribute) || a.has(*k) == b.has(*k)));
            red_squares += usize::from((a.shape == Shape::Triangle) != (a.colour == Colour::Red));
        }
        assert!(red_squares > 60, "{name}: the rule is not kept: {red_squares}");
    }
}

#[test]
fn a_sham_edit_changes_one_object_without_the_concept() {
    let elements = elements(World::E1, 200);
    for name in ["triangle", "red", "spots_polka"] {
        let (c, attribute) = (concept(&elements, name), Attribute::named(name).unwrap());
        for i in 0..200 {
            let before = elements.objects(i).unwrap();
            let Some(after) = elements.edited_objects(i, c, Edit::Sham).unwrap() else {
                assert!(before.iter().all(|o| o.has(attribute)));
                continue;
            };
            let changed: Vec<_> = before.iter().zip(&after).filter(|(a, b)| a != b).collect();
            let [(a, b)] = changed.as_slice() else { panic!("one object differs, not {}", changed.len()) };
            assert!(!a.has(attribute) && !b.has(attribute));
            assert!(ATTRIBUTES.iter().all(|k| k.is_kin(attribute) || a.has(*k) == b.has(*k)));
        }
    }
    assert!(elements.edited(0, 0, Edit::ShamFilled { region: 1 }).unwrap().is_none());
}

#[test]
fn edits_are_repeatable() {
    let (a, b) = (elements(World::E2, 20), elements(World::E2, 30));
    for edit in [Edit::Removed, Edit::Kept, Edit::With, Edit::Without, Edit::Sham] {
        assert_eq!(a.edited(4, 2, edit).unwrap(), b.edited(4, 2, edit).unwrap());
    }
}

#[test]
fn keys_and_names_that_do_not_belong_are_refused() {
    let wrong = [
        DatasetSpec { root: Some("x".into()), ..spec(World::E1, 5) },
        DatasetSpec { count: Some(0), ..spec(World::E1, 5) },
        DatasetSpec { present_from: f32::NAN, ..spec(World::E1, 5) },
        DatasetSpec { concepts: vec!["triangel".into()], ..spec(World::E1, 5) },
    ];
    for spec in wrong {
        assert!(open(&spec, Seed(1)).unwrap_err().is_users_mistake());
    }
    let two = DatasetSpec { concepts: vec!["red".into(), "cross".into()], ..spec(World::E1, 5) };
    let two = open(&two, Seed(1)).unwrap();
    assert_eq!(two.concepts(), ["red", "cross"]);
    assert!(two.mask(0, 2).is_err() && two.image(5).is_err() && two.edited(5, 0, Edit::With).is_err());
}
