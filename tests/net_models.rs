//! Every kind of network: against PyTorch, as a file and back, in training and out of it.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod golden_kit;

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use golden_kit::{Net, check_net, fill, values};
use s2pipe::net::{
    BlockKind, DeepLabConfig, EncoderKind, FpnConfig, MlpConfig, Mode, Model, ModelConfig, NetError, SegFormerConfig,
    UNetConfig, weights,
};

fn unet(width: usize, depth: usize, block: BlockKind) -> ModelConfig {
    ModelConfig::UNet(UNetConfig { width, depth, block, encoder: EncoderKind::Blocks })
}

fn mlp(width: usize, depth: usize) -> ModelConfig {
    ModelConfig::Mlp(MlpConfig { width, depth })
}

fn fpn(width: usize, depth: usize, pyramid: usize, block: BlockKind) -> ModelConfig {
    ModelConfig::Fpn(FpnConfig { width, depth, pyramid, block, encoder: EncoderKind::Blocks })
}

fn deeplab([width, depth, aspp]: [usize; 3], rates: [usize; 3], block: BlockKind) -> ModelConfig {
    ModelConfig::DeepLab(DeepLabConfig { width, depth, rates, aspp, block, encoder: EncoderKind::Blocks })
}

fn resnet(width: usize, depth: usize) -> ModelConfig {
    ModelConfig::UNet(UNetConfig { encoder: EncoderKind::ResNet18, ..UNetConfig::new(width, depth) })
}

fn segformer([width, depth, blocks]: [usize; 3], [heads, ffn, decoder]: [usize; 3]) -> ModelConfig {
    ModelConfig::SegFormer(SegFormerConfig { width, depth, blocks, heads, ffn, decoder })
}

/// One of each.
fn all() -> [ModelConfig; 8] {
    [
        resnet(3, 3),
        unet(3, 2, BlockKind::Plain),
        unet(3, 2, BlockKind::Residual),
        mlp(7, 2),
        mlp(7, 0),
        fpn(3, 2, 5, BlockKind::Plain),
        deeplab([3, 2, 4], [1, 2, 3], BlockKind::Residual),
        segformer([4, 2, 1], [2, 2, 5]),
    ]
}

fn image(size: usize) -> Tensor {
    fill(1, &[2, size, size, 3]).to_dtype(DType::F32).unwrap()
}

fn bytes(model: &Model) -> Vec<u8> {
    weights::to_bytes(model, &BTreeMap::new()).unwrap()
}

fn check(prefix: &'static str, config: ModelConfig, size: usize) {
    check_net(&Net { file: "net_models.safetensors", prefix, config, size, whole: false });
}

#[test]
fn residual_unet_equals_pytorch() {
    check("unet_residual", unet(3, 2, BlockKind::Residual), 16);
}

#[test]
fn perceptrons_equal_pytorch() {
    check("mlp", mlp(7, 2), 16);
    check("mlp_0", mlp(7, 0), 16);
}

#[test]
fn feature_pyramids_equal_pytorch() {
    check("fpn", fpn(3, 3, 5, BlockKind::Plain), 24);
    check("fpn_residual", fpn(4, 1, 4, BlockKind::Residual), 16);
}

#[test]
fn deeplabs_equal_pytorch() {
    check("deeplab", deeplab([3, 2, 4], [1, 2, 5], BlockKind::Plain), 20);
    check("deeplab_residual", deeplab([3, 1, 4], [2, 4, 8], BlockKind::Residual), 16);
}

#[test]
fn segformers_equal_pytorch() {
    let check = |prefix, config, size| {
        check_net(&Net { file: "net_segformer.safetensors", prefix, config, size, whole: false })
    };
    check("segformer", segformer([6, 3, 2], [2, 3, 5]), 24);
    check("segformer_1", segformer([4, 1, 1], [1, 1, 4]), 16);
}

#[test]
fn every_kind_comes_back_from_its_file() {
    let folder = tempfile::tempdir().unwrap();
    for config in all() {
        let path = folder.path().join("model.safetensors");
        let model = Model::new(&config, 3, 5, 42).unwrap();
        // Moves the running statistics away from where a new model has them.
        model.forward(&image(8), Mode::Train).unwrap();
        weights::save(&model, &path, &BTreeMap::new()).unwrap();
        let (loaded, header) = weights::load(&path).unwrap();
        assert_eq!((loaded.config(), header.model), (&config, config));
        assert_eq!(bytes(&loaded), bytes(&model));
        let logits = |model: &Model| values(&model.forward(&image(8), Mode::Eval).unwrap());
        assert_eq!(logits(&loaded), logits(&model));
        // A copy elsewhere is the same.
        assert_eq!(logits(&model.on(&Device::Cpu).unwrap()), logits(&model));
    }
}

#[test]
fn evaluation_leaves_no_graph_and_no_trace() {
    for config in all() {
        let model = Model::new(&config, 3, 5, 1).unwrap();
        let before = bytes(&model);
        let y = model.forward(&image(8), Mode::Eval).unwrap();
        assert_eq!((y.dims(), y.track_op()), ([2, 8, 8, 5].as_slice(), false), "{config:?}");
        assert_eq!(bytes(&model), before);
        assert!(model.forward(&image(8), Mode::Train).unwrap().track_op());
        assert_eq!(bytes(&model) == before, config == mlp(7, 0), "only it has no statistics: {config:?}");
    }
}

#[test]
fn with_the_statistics_of_a_batch_evaluation_is_training() {
    let x = image(48);
    for config in all() {
        let model = Model::new(&config, 3, 5, 1).unwrap();
        let mut trained = Vec::new();
        // 0.9^100 of the statistics at first is left.
        for _ in 0..100 {
            trained = values(&model.forward(&x, Mode::Train).unwrap());
        }
        let found = values(&model.forward(&x, Mode::Eval).unwrap());
        let typical = (trained.iter().map(|v| v * v).sum::<f64>() / trained.len() as f64).sqrt();
        let worst = found.iter().zip(&trained).map(|(f, t)| (f - t).abs()).fold(0.0, f64::max);
        // What is left over is the factor that makes running variances unbiased: 1 / 288 on the coarsest level, and 2 where
        // DeepLab takes the mean of each of two images. A wrong path would differ by as much as is there.
        assert!(worst < 0.1 * typical, "{config:?}: {worst} of {typical}");
    }
}

#[test]
fn every_kind_takes_images_of_its_multiple_and_no_others() {
    for (config, multiple) in [
        (unet(3, 3, BlockKind::Residual), 8),
        (mlp(7, 8), 1),
        (fpn(3, 3, 5, BlockKind::Plain), 8),
        (deeplab([3, 2, 4], [1, 2, 3], BlockKind::Plain), 4),
        (segformer([4, 3, 1], [1, 2, 5]), 8),
    ] {
        let model = Model::new(&config, 3, 5, 1).unwrap();
        assert_eq!(config.multiple(), multiple);
        let forward = |height, width| {
            let x = Tensor::zeros((1, height, width, 3), DType::F32, &Device::Cpu).unwrap();
            model.forward(&x, Mode::Eval).map(|y| y.dims().to_vec())
        };
        assert_eq!(forward(multiple, 3 * multiple).unwrap(), [1, multiple, 3 * multiple, 5]);
        if multiple > 1 {
            let error = forward(multiple, multiple + 1).unwrap_err().to_string();
            assert!(error.starts_with(config.kind()), "{error}");
            assert!(error.contains(&format!("multiples of {multiple}")), "{error}");
        }
    }
}

#[test]
fn a_perceptron_sees_its_pixel_alone() {
    let model = Model::new(&mlp(7, 2), 3, 5, 1).unwrap();
    let x = image(4);
    let whole = values(&model.forward(&x, Mode::Eval).unwrap());
    let pixel = x.narrow(1, 2, 1).unwrap().narrow(2, 3, 1).unwrap().contiguous().unwrap();
    let alone = values(&model.forward(&pixel, Mode::Eval).unwrap());
    assert_eq!(alone[..5], whole[(2 * 4 + 3) * 5..][..5]);
}

#[test]
fn names_and_shapes_are_as_documented() {
    for (config, expected) in [
        (
            unet(4, 2, BlockKind::Residual),
            vec![
                ("down.0.conv1.weight", vec![4, 3, 3, 3]),
                ("down.0.downsample.0.weight", vec![4, 3, 1, 1]),
                ("down.0.downsample.1.running_var", vec![4]),
                ("down.1.bn2.bias", vec![8]),
                ("up.0.weight", vec![16, 8, 2, 2]),
                ("merge.1.conv2.weight", vec![4, 4, 3, 3]),
                ("head.bias", vec![5]),
            ],
        ),
        (
            mlp(7, 2),
            vec![
                ("layers.0.weight", vec![7, 3, 1, 1]),
                ("layers.4.running_mean", vec![7]),
                ("head.weight", vec![5, 7, 1, 1]),
            ],
        ),
        (
            fpn(4, 2, 6, BlockKind::Plain),
            vec![
                ("down.2.3.weight", vec![16, 16, 3, 3]),
                ("lateral.2.weight", vec![6, 16, 1, 1]),
                ("lateral.2.bias", vec![6]),
                ("smooth.0.0.weight", vec![6, 6, 3, 3]),
                ("smooth.0.1.running_mean", vec![6]),
                ("head.weight", vec![5, 6, 1, 1]),
            ],
        ),
        (
            deeplab([4, 2, 6], [1, 2, 3], BlockKind::Plain),
            vec![
                ("aspp.convs.0.0.weight", vec![6, 16, 1, 1]),
                ("aspp.convs.3.0.weight", vec![6, 16, 3, 3]),
                ("aspp.convs.3.1.bias", vec![6]),
                ("aspp.pool.weight", vec![6, 16, 1, 1]),
                ("aspp.project.0.weight", vec![6, 30, 1, 1]),
                ("low.0.weight", vec![4, 4, 1, 1]),
                ("decode.0.weight", vec![8, 10, 3, 3]),
                ("decode.4.running_var", vec![8]),
                ("head.weight", vec![5, 8, 1, 1]),
            ],
        ),
        (
            segformer([4, 2, 1], [1, 3, 5]),
            vec![
                ("stages.0.embed.weight", vec![4, 3, 3, 3]),
                ("stages.0.embed_norm.bias", vec![4]),
                ("stages.0.blocks.0.attn.reduce.weight", vec![4, 4, 2, 2]),
                ("stages.0.blocks.0.attn.norm.weight", vec![4]),
                ("stages.1.blocks.0.attn.q.weight", vec![8, 8, 1, 1]),
                ("stages.1.blocks.0.ffn.expand.weight", vec![24, 8, 1, 1]),
                ("stages.1.blocks.0.ffn.depthwise.weight", vec![24, 1, 3, 3]),
                ("stages.1.norm.weight", vec![8]),
                ("lateral.1.weight", vec![5, 8, 1, 1]),
                ("fuse.0.weight", vec![5, 10, 1, 1]),
                ("fuse.1.running_var", vec![5]),
                ("head.weight", vec![5, 5, 1, 1]),
            ],
        ),
    ] {
        let state: BTreeMap<String, Tensor> =
            weights::state(&Model::new(&config, 3, 5, 1).unwrap()).unwrap().into_iter().collect();
        for (name, dims) in expected {
            assert_eq!(state.get(name).map(Tensor::dims), Some(dims.as_slice()), "{config:?} {name}");
        }
    }
    // A residual block whose image already has the right channels takes the image itself.
    let state = weights::state(&Model::new(&unet(3, 1, BlockKind::Residual), 3, 5, 1).unwrap()).unwrap();
    assert!(state.iter().all(|(name, _)| !name.starts_with("down.0.downsample")));
}

#[test]
fn sizes_that_make_no_network_are_refused_by_name() {
    let plain = BlockKind::Plain;
    for (config, problem) in [
        (unet(0, 2, BlockKind::Residual), "unet: width"),
        (mlp(0, 2), "mlp: width"),
        (mlp(7, 9), "mlp: depth"),
        (fpn(0, 2, 5, plain), "fpn: width"),
        (fpn(3, 0, 5, plain), "fpn: depth"),
        (fpn(3, 2, 0, plain), "fpn: pyramid"),
        (deeplab([0, 2, 4], [1, 2, 3], plain), "deeplabv3plus: width"),
        (deeplab([3, 9, 4], [1, 2, 3], plain), "deeplabv3plus: depth"),
        (deeplab([3, 2, 0], [1, 2, 3], plain), "deeplabv3plus: aspp"),
        (deeplab([3, 2, 4], [1, 0, 3], plain), "deeplabv3plus: a rate must lie in 1..=64, found 0"),
        (segformer([0, 2, 1], [1, 2, 5]), "segformer: width"),
        (segformer([4, 6, 1], [1, 2, 5]), "segformer: depth"),
        (segformer([4, 2, 0], [1, 2, 5]), "segformer: blocks"),
        (segformer([4, 2, 1], [0, 2, 5]), "segformer: heads"),
        (segformer([4, 2, 1], [1, 9, 5]), "segformer: ffn"),
        (segformer([4, 2, 1], [1, 2, 0]), "segformer: decoder"),
        (
            segformer([4, 2, 1], [3, 2, 5]),
            "segformer: heads must cut the width into equal parts of at most 128 channels",
        ),
        (segformer([258, 2, 1], [2, 2, 5]), "found 2 heads for 258 channels"),
    ] {
        match Model::new(&config, 3, 5, 1) {
            Err(NetError::Config(found)) => assert!(found.contains(problem), "{found}"),
            other => panic!("{config:?}: {other:?}"),
        }
    }
}

#[test]
fn configurations_read_as_the_pipeline_writes_them() {
    let parse = serde_json::from_str::<ModelConfig>;
    for (text, config) in [
        (r#"{"kind":"unet","width":24,"depth":4}"#, unet(24, 4, BlockKind::Plain)),
        (r#"{"kind":"unet","width":24,"depth":4,"block":"residual"}"#, unet(24, 4, BlockKind::Residual)),
        (r#"{"kind":"mlp","width":64,"depth":2}"#, mlp(64, 2)),
        (r#"{"kind":"fpn","width":16,"depth":4,"pyramid":32}"#, fpn(16, 4, 32, BlockKind::Plain)),
        (
            r#"{"kind":"deeplabv3plus","width":16,"depth":3,"rates":[2,4,8],"aspp":64,"block":"residual"}"#,
            deeplab([16, 3, 64], [2, 4, 8], BlockKind::Residual),
        ),
        (
            r#"{"kind":"segformer","width":16,"depth":4,"blocks":2,"heads":1,"ffn":4,"decoder":64}"#,
            segformer([16, 4, 2], [1, 4, 64]),
        ),
    ] {
        assert_eq!(parse(text).unwrap(), config);
        // What is plain is not written: records from before residual blocks stay what they were.
        assert_eq!(serde_json::to_string(&config).unwrap(), text);
    }
    assert_eq!(
        parse(r#"{"kind":"unet","width":24,"depth":4,"block":"plain"}"#).unwrap(),
        unet(24, 4, BlockKind::Plain)
    );
    for bad in [
        r#"{"kind":"unet","width":24,"depth":4,"block":"dense"}"#,
        r#"{"kind":"mlp","width":24,"depth":4,"block":"residual"}"#,
        r#"{"kind":"deeplabv3plus","width":16,"depth":3,"rates":[2,4],"aspp":64}"#,
        r#"{"kind":"segformer","width":16,"depth":4,"blocks":2,"heads":1,"ffn":4}"#,
    ] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}
