//! The table of networks.

use super::efficientnet::Scale;
use super::plan::Plan;
use super::vit::Origin;
use super::{convnext, efficientnet, elements_cnn, googlenet, mlp, mobilenet, resnet, series, vgg, vit};
use crate::error::Result;
use crate::model::graph::Graph;

/// How a network's logits become probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outputs {
    /// One class a picture: softmax.
    Exclusive,
    /// Any number of labels a picture: a logistic function each.
    Independent,
}

/// A network of the zoo.
#[derive(Clone, Copy)]
pub struct ModelInfo {
    /// Its name in study files and on the command line.
    pub name: &'static str,
    /// One line for `cavern ls models`.
    pub about: &'static str,
    /// Whether cavern brings the weights along.
    pub embedded: bool,
    /// `[channel, height, width]` of its usual input.
    pub input: [usize; 3],
    /// What its logits mean.
    pub outputs: Outputs,
    /// Its usual width, where that can be chosen: see [`Options::width`](super::Options::width).
    pub width: Option<usize>,
    /// Its usual depth, where that can be chosen: see [`Options::depth`](super::Options::depth).
    pub depth: Option<usize>,
    pub(super) assemble: fn(&Plan) -> Result<Graph>,
    pub(super) bytes: Option<&'static [u8]>,
    /// The course of the embedded weights' training, as `cavern train` writes it.
    pub(super) curve: Option<&'static str>,
}

const TRAINED_ON_ELEMENTS: ModelInfo = ModelInfo {
    name: "elements_cnn",
    about: "six convolutions, trained on Elements (world e1) to name shapes, colours and textures",
    embedded: true,
    input: [3, elements_cnn::INPUT, elements_cnn::INPUT],
    outputs: Outputs::Independent,
    width: None,
    depth: None,
    assemble: elements_cnn::assemble,
    bytes: Some(include_bytes!("../../../datasets/elements_cnn.safetensors")),
    curve: Some(include_str!("../../../datasets/elements_cnn.curve.json")),
};

/// A classifier of pictures of 224 pixels whose weights come from a file.
const fn file(name: &'static str, about: &'static str, assemble: fn(&Plan) -> Result<Graph>) -> ModelInfo {
    let (input, outputs) = ([3, 224, 224], Outputs::Exclusive);
    let (width, depth, bytes, curve) = (None, None, None, None);
    ModelInfo { name, about, embedded: false, input, outputs, width, depth, assemble, bytes, curve }
}

/// The same of another input.
const fn of(input: [usize; 3], info: ModelInfo) -> ModelInfo {
    ModelInfo { input, ..info }
}

/// A network for small pictures, to be trained: its usual width, and its depth where that is left to choose.
const fn small(width: usize, depth: Option<usize>, info: ModelInfo) -> ModelInfo {
    of([3, 32, 32], ModelInfo { width: Some(width), depth, ..info })
}

/// Every network.
pub static MODELS: &[ModelInfo] = &[
    TRAINED_ON_ELEMENTS,
    file("resnet18", "ResNet-18, torchvision's names", |p| resnet::imagenet(p, [2; 4], false)),
    file("resnet34", "ResNet-34, torchvision's names", |p| resnet::imagenet(p, [3, 4, 6, 3], false)),
    file("resnet50", "ResNet-50 (v1.5), torchvision's names", |p| resnet::imagenet(p, [3, 4, 6, 3], true)),
    file("resnet101", "ResNet-101 (v1.5), torchvision's names", |p| resnet::imagenet(p, [3, 4, 23, 3], true)),
    small(16, None, file("resnet8", "ResNet-8 for small pictures", |p| resnet::cifar(p, 1))),
    small(16, None, file("resnet20", "ResNet-20 for small pictures", |p| resnet::cifar(p, 3))),
    small(16, None, file("vgg_mini", "six 3x3 convolutions without norms, for small pictures", vgg::mini)),
    small(64, Some(4), file("vit_mini", "a ViT of 4-pixel patches for small pictures, timm's names", vit::mini)),
    file("vgg11", "VGG-11, torchvision's names", |p| vgg::assemble(p, vgg::VGG11, false)),
    file("vgg13", "VGG-13, torchvision's names", |p| vgg::assemble(p, vgg::VGG13, false)),
    file("vgg16", "VGG-16, torchvision's names", |p| vgg::assemble(p, vgg::VGG16, false)),
    file("vgg19", "VGG-19, torchvision's names", |p| vgg::assemble(p, vgg::VGG19, false)),
    file("vgg11_bn", "VGG-11 with batch norms, torchvision's names", |p| vgg::assemble(p, vgg::VGG11, true)),
    file("vgg13_bn", "VGG-13 with batch norms, torchvision's names", |p| vgg::assemble(p, vgg::VGG13, true)),
    file("vgg16_bn", "VGG-16 with batch norms, torchvision's names", |p| vgg::assemble(p, vgg::VGG16, true)),
    file("vgg19_bn", "VGG-19 with batch norms, torchvision's names", |p| vgg::assemble(p, vgg::VGG19, true)),
    file("googlenet", "GoogLeNet (Inception-v1), torchvision's names", googlenet::v1),
    file("mobilenet_v2", "MobileNetV2, torchvision's names", mobilenet::v2),
    file("efficientnet_lite0", "EfficientNet-Lite0, names of efficientnet-lite0-57934424.pth or timm's tf_", |p| {
        efficientnet::lite(p, &Scale { width: 1.0, depth: 1.0 })
    }),
    of(
        [3, 240, 240],
        file("efficientnet_lite1", "EfficientNet-Lite1, the same names", |p| {
            efficientnet::lite(p, &Scale { width: 1.0, depth: 1.1 })
        }),
    ),
    of(
        [3, 260, 260],
        file("efficientnet_lite2", "EfficientNet-Lite2, the same names", |p| {
            efficientnet::lite(p, &Scale { width: 1.1, depth: 1.2 })
        }),
    ),
    of(
        [3, 280, 280],
        file("efficientnet_lite3", "EfficientNet-Lite3, the same names", |p| {
            efficientnet::lite(p, &Scale { width: 1.2, depth: 1.4 })
        }),
    ),
    of(
        [3, 300, 300],
        file("efficientnet_lite4", "EfficientNet-Lite4, the same names", |p| {
            efficientnet::lite(p, &Scale { width: 1.4, depth: 1.8 })
        }),
    ),
    file("convnext_tiny", "ConvNeXt-T, torchvision's names", convnext::tiny),
    file("vit_tiny_patch8", "ViT-Ti/8, timm's names", |p| vit::published(p, vit::TINY, 8, Origin::Timm)),
    file("vit_tiny_patch14", "ViT-Ti/14, timm's names", |p| vit::published(p, vit::TINY, 14, Origin::Timm)),
    file("vit_tiny_patch16", "ViT-Ti/16, timm's names", |p| vit::published(p, vit::TINY, 16, Origin::Timm)),
    file("vit_small_patch8", "ViT-S/8, timm's names", |p| vit::published(p, vit::SMALL, 8, Origin::Timm)),
    file("vit_small_patch14", "ViT-S/14, DINOv2's names; no classes", |p| {
        vit::published(p, vit::SMALL, 14, Origin::Dinov2)
    }),
    file("vit_small_patch16", "ViT-S/16, timm's names", |p| vit::published(p, vit::SMALL, 16, Origin::Timm)),
    file("vit_base_patch8", "ViT-B/8, timm's names", |p| vit::published(p, vit::BASE, 8, Origin::Timm)),
    file("vit_base_patch14", "ViT-B/14, DINOv2's names; no classes", |p| {
        vit::published(p, vit::BASE, 14, Origin::Dinov2)
    }),
    file("vit_base_patch16", "ViT-B/16, timm's names", |p| vit::published(p, vit::BASE, 16, Origin::Timm)),
    file("vit_b_16", "ViT-B/16, torchvision's names", |p| vit::published(p, vit::BASE, 16, Origin::Torchvision)),
    of([1, 28, 28], file("mlp", "a multilayer perceptron of any shape: fc1, fc2, ...", mlp::assemble)),
    of([1, 1, 128], file("fcn", "the fully convolutional network for time series, tsai's names", series::fcn)),
    of([1, 1, 128], file("resnet1d", "the ResNet for time series, tsai's names", series::resnet)),
];
