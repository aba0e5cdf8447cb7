//! Settings of second opinions: the `[opinion]` table of a study.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Fill;
use crate::error::{Error, Result};
use crate::probe::kind::{KINDS, kind_names};

/// A way of asking the network where a score comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Grad-CAM (Selvaraju et al. 2017), with its sign.
    GradCam,
    /// Grad-CAM++ (Chattopadhay et al. 2018).
    GradCamPlus,
    /// HiResCAM (Draelos & Carin 2020): gradient times activation, with its sign.
    HiresCam,
    /// LayerCAM (Jiang et al. 2021): the positive part of the gradient times the activation.
    LayerCam,
    /// XGrad-CAM (Fu et al. 2020).
    XgradCam,
    /// Occlusion (Zeiler & Fergus 2014).
    Occlusion,
    /// Integrated gradients (Sundararajan et al. 2017).
    IntegratedGradients,
    /// Gradient times input.
    GradientInput,
    /// A short ascent from the picture itself: how far every pixel moves. Only where it is named.
    Am,
}

/// Steps of a short ascent.
const ASCENT: usize = 16;

#[allow(clippy::trivially_copy_pass_by_ref)] // the signature is serde's
fn is_usual(steps: &usize) -> bool {
    *steps == ASCENT
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 9] = [
        Self::GradCam,
        Self::GradCamPlus,
        Self::HiresCam,
        Self::LayerCam,
        Self::XgradCam,
        Self::Occlusion,
        Self::IntegratedGradients,
        Self::GradientInput,
        Self::Am,
    ];

    /// The name in study files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::GradCam => "grad_cam",
            Self::GradCamPlus => "grad_cam_plus",
            Self::HiresCam => "hires_cam",
            Self::LayerCam => "layer_cam",
            Self::XgradCam => "xgrad_cam",
            Self::Occlusion => "occlusion",
            Self::IntegratedGradients => "integrated_gradients",
            Self::GradientInput => "gradient_input",
            Self::Am => "am",
        }
    }

    /// Whether it works on an earlier layer's activation and gradient.
    pub fn is_cam(self) -> bool {
        !matches!(self, Self::Occlusion | Self::IntegratedGradients | Self::GradientInput | Self::Am)
    }
}

/// The `[opinion]` table. Lengths are pixels of a picture 224 pixels wide.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OpinionOptions {
    /// Methods, by name; left out, all but "am".
    pub methods: Vec<Method>,
    /// Kinds of probe that are asked about.
    #[schemars(extend("items" = kind_names()))]
    pub kinds: Vec<String>,
    /// Layers whose probes are asked about; left out, all of the study.
    pub layers: Vec<String>,
    /// Test pictures with the concept, for each concept; every probe is asked about the same ones.
    #[schemars(range(min = 1, max = 1000))]
    pub pictures: usize,
    /// The earlier layer of the methods that need one; left out, the study's layer before the probe's own.
    pub earlier: Option<String>,
    /// What stands for nothing: hidden patches, the start of integrated gradients, removed pixels.
    pub fill: Fill,
    /// Side of the patch that occlusion hides.
    #[schemars(range(min = 1, max = 224))]
    pub patch: f64,
    /// From one patch to the next.
    #[schemars(range(min = 1))]
    pub stride: f64,
    /// Steps of integrated gradients.
    #[schemars(range(min = 2, max = 1000))]
    pub steps: usize,
    /// Steps of "am".
    #[serde(skip_serializing_if = "is_usual")]
    #[schemars(extend("default" = ASCENT, "minimum" = 1, "maximum" = 1000))]
    pub ascent: usize,
    /// Steps in which pixels are removed or inserted; 0: neither is done.
    #[schemars(range(max = 100))]
    pub removals: usize,
}

impl Default for OpinionOptions {
    fn default() -> Self {
        Self {
            methods: Method::ALL.into_iter().filter(|method| *method != Method::Am).collect(),
            kinds: vec!["classifier".to_owned()],
            layers: Vec::new(),
            pictures: 10,
            earlier: None,
            fill: Fill::Blur,
            patch: 28.0,
            stride: 14.0,
            steps: 50,
            ascent: ASCENT,
            removals: 10,
        }
    }
}

impl OpinionOptions {
    /// Checks every value.
    ///
    /// # Errors
    /// When a kind does not exist or a number is out of range; the message names the key.
    pub fn check(&self) -> Result<()> {
        if let Some(unknown) = self.kinds.iter().find(|k| !KINDS.iter().any(|known| known.name() == *k)) {
            return Err(Error::unknown("probe kind", unknown, KINDS.iter().map(|k| k.name())));
        }
        let within = |key: &str, ok: bool, wanted: &str| {
            if ok { Ok(()) } else { Err(Error::key(key, "out of range", wanted)) }
        };
        within("opinion.methods", !self.methods.is_empty(), "name at least one method, such as \"occlusion\"")?;
        let twice = (1..self.methods.len()).any(|i| self.methods[..i].contains(&self.methods[i]));
        within("opinion.methods", !twice, "name every method once")?;
        within("opinion.kinds", !self.kinds.is_empty(), "name at least one kind, such as \"classifier\"")?;
        within("opinion.pictures", (1..=1000).contains(&self.pictures), "1 to 1000; 10 is the default")?;
        within("opinion.patch", (1.0..=224.0).contains(&self.patch), "1 to 224 pixels; 28 is the default")?;
        within(
            "opinion.stride",
            self.stride >= 1.0 && self.stride <= self.patch,
            "1 to opinion.patch; 14 is the default",
        )?;
        within("opinion.steps", (2..=1000).contains(&self.steps), "2 to 1000; 50 is the default")?;
        within("opinion.ascent", (1..=1000).contains(&self.ascent), "1 to 1000; 16 is the default")?;
        within("opinion.removals", self.removals != 1 && self.removals <= 100, "0, or 2 to 100; 10 is the default")
    }

    /// A length in pixels of an input `width` pixels wide, at least 1.
    pub fn pixels(length: f64, width: usize) -> usize {
        ((length * width as f64 / 224.0).round() as usize).clamp(1, width.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_study_files() {
        for method in Method::ALL {
            assert_eq!(serde_json::to_value(method).unwrap(), method.name());
        }
    }

    #[test]
    fn values_are_checked_and_errors_name_the_key() {
        let good: OpinionOptions = toml::from_str("methods = [\"occlusion\"]\nfill = \"mean\"\npictures = 3").unwrap();
        assert_eq!((good.fill, good.methods.as_slice()), (Fill::Mean, [Method::Occlusion].as_slice()));
        good.check().unwrap();
        OpinionOptions::default().check().unwrap();
        let message = |o: OpinionOptions| o.check().unwrap_err().to_string();
        assert!(message(OpinionOptions { stride: 40.0, ..good.clone() }).contains("opinion.stride"));
        assert!(message(OpinionOptions { ascent: 0, ..good.clone() }).contains("opinion.ascent"));
        assert!(message(OpinionOptions { removals: 1, ..good.clone() }).contains("opinion.removals"));
        assert!(message(OpinionOptions { kinds: vec!["clasifier".into()], ..good.clone() }).contains("`classifier`"));
        assert!(message(OpinionOptions { methods: vec![Method::GradCam; 2], ..good }).contains("opinion.methods"));
        assert!(toml::from_str::<OpinionOptions>("methods = [\"gradcam\"]").is_err());
    }

    #[test]
    fn lengths_go_with_the_width() {
        assert_eq!([(28.0, 224), (28.0, 64), (1.0, 32)].map(|(l, w)| OpinionOptions::pixels(l, w)), [28, 8, 1]);
    }
}
