//! Networks that go down by a ResNet: against PyTorch and torchvision, by name, and what is refused.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod golden_kit;

use std::collections::BTreeMap;

use candle_core::Tensor;
use golden_kit::{Net, check_net};
use s2pipe::net::EncoderKind::{self, Blocks, ResNet18, ResNet34};
use s2pipe::net::{BlockKind, DeepLabConfig, FpnConfig, Model, ModelConfig, NetError, UNetConfig, weights};

fn unet(width: usize, depth: usize, encoder: EncoderKind) -> ModelConfig {
    ModelConfig::UNet(UNetConfig { width, depth, block: BlockKind::Plain, encoder })
}

fn fpn(width: usize, depth: usize, pyramid: usize, encoder: EncoderKind) -> ModelConfig {
    ModelConfig::Fpn(FpnConfig { width, depth, pyramid, block: BlockKind::Plain, encoder })
}

fn deeplab([width, depth, aspp]: [usize; 3], encoder: EncoderKind) -> ModelConfig {
    ModelConfig::DeepLab(DeepLabConfig { width, depth, rates: [1, 2, 3], aspp, block: BlockKind::Plain, encoder })
}

fn check(prefix: &'static str, config: ModelConfig, size: usize) {
    check_net(&Net { file: "net_resnet.safetensors", prefix, config, size, whole: false });
}

#[test]
fn unets_equal_pytorch() {
    check("unet_resnet18", unet(8, 3, ResNet18), 24);
    check("unet_resnet18_shallow", unet(3, 1, ResNet18), 16);
}

#[test]
fn a_whole_resnet_equals_pytorch() {
    check("unet_resnet18_whole", unet(4, 5, ResNet18), 96);
}

#[test]
fn feature_pyramids_equal_pytorch() {
    check("fpn_resnet34", fpn(4, 3, 5, ResNet34), 24);
}

#[test]
fn deeplabs_equal_pytorch() {
    check("deeplab_resnet18", deeplab([8, 2, 4], ResNet18), 20);
}

#[test]
fn names_and_shapes_are_those_of_torchvision() {
    let of = |config| -> BTreeMap<String, Tensor> {
        weights::state(&Model::new(&config, 4, 5, 1).unwrap()).unwrap().into_iter().collect()
    };
    let whole = of(unet(64, 5, ResNet18));
    for (name, dims) in [
        ("encoder.conv1.weight", vec![64, 4, 7, 7]),
        ("encoder.bn1.running_var", vec![64]),
        ("encoder.layer1.0.conv1.weight", vec![64, 64, 3, 3]),
        ("encoder.layer2.0.conv1.weight", vec![128, 64, 3, 3]),
        ("encoder.layer2.0.downsample.0.weight", vec![128, 64, 1, 1]),
        ("encoder.layer2.0.downsample.1.running_mean", vec![128]),
        ("encoder.layer4.1.conv2.weight", vec![512, 512, 3, 3]),
        ("fine.0.weight", vec![16, 4, 3, 3]),
        ("up.0.weight", vec![512, 256, 2, 2]),
        ("merge.4.0.weight", vec![16, 32, 3, 3]),
        ("head.weight", vec![5, 16, 1, 1]),
    ] {
        assert_eq!(whole.get(name).map(Tensor::dims), Some(dims.as_slice()), "{name}");
    }
    // As many as torchvision's ResNets have beside the classifier and the counters of batches.
    let encoder = |state: &BTreeMap<String, Tensor>| state.keys().filter(|name| name.starts_with("encoder.")).count();
    assert_eq!(encoder(&whole), 100);
    assert_eq!(encoder(&of(unet(4, 5, ResNet34))), 180);
    assert!(!whole.keys().any(|name| name.starts_with("down.") || name.contains("layer1.0.downsample")));
    // Shallower networks are the first part of deeper ones.
    let deepest = |depth| {
        let layers = of(fpn(4, depth, 3, ResNet18));
        (1..=4).rev().find(|layer| layers.keys().any(|name| name.starts_with(&format!("encoder.layer{layer}"))))
    };
    assert_eq!([1, 2, 3, 4, 5].map(deepest), [None, Some(1), Some(2), Some(3), Some(4)]);
}

#[test]
fn what_a_resnet_cannot_be_is_refused() {
    let refused = |config: &ModelConfig| match Model::new(config, 3, 5, 1) {
        Err(NetError::Config(problem)) => problem,
        other => panic!("{config:?}: {other:?}"),
    };
    for (kind, config) in [
        ("unet", unet(4, 6, ResNet18)),
        ("fpn", fpn(4, 0, 5, ResNet34)),
        ("deeplabv3plus", deeplab([4, 8, 4], ResNet18)),
    ] {
        let problem = refused(&config);
        assert!(problem.starts_with(&format!("{kind}: depth of a ResNet must lie in 1..=5")), "{problem}");
    }
    let block = BlockKind::Residual;
    let problem = refused(&ModelConfig::UNet(UNetConfig { width: 4, depth: 2, block, encoder: ResNet18 }));
    assert!(problem.contains("residual blocks of its own") && problem.contains("leave block out"), "{problem}");
}

#[test]
fn configurations_read_as_the_pipeline_writes_them() {
    let parse = serde_json::from_str::<ModelConfig>;
    for (text, config) in [
        (r#"{"kind":"unet","width":64,"depth":5,"encoder":"resnet18"}"#, unet(64, 5, ResNet18)),
        (r#"{"kind":"fpn","width":16,"depth":4,"pyramid":32,"encoder":"resnet34"}"#, fpn(16, 4, 32, ResNet34)),
        // Blocks are not written: records from before ResNets stay what they were.
        (r#"{"kind":"unet","width":24,"depth":4}"#, unet(24, 4, Blocks)),
    ] {
        assert_eq!(parse(text).unwrap(), config);
        assert_eq!(serde_json::to_string(&config).unwrap(), text);
    }
    assert_eq!(parse(r#"{"kind":"unet","width":24,"depth":4,"encoder":"blocks"}"#).unwrap(), unet(24, 4, Blocks));
    for bad in [
        r#"{"kind":"unet","width":24,"depth":4,"encoder":"resnet50"}"#,
        r#"{"kind":"mlp","width":24,"depth":4,"encoder":"resnet18"}"#,
    ] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}
