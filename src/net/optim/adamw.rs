//! AdamW: Adam with decoupled weight decay (Loshchilov and Hutter 2019), one sweep over memory a parameter.

use std::cell::RefCell;

use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, InplaceOp2, Layout, Var};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::net::{NetError, Result};

/// Hyper-parameters of [`AdamW`], PyTorch's names and defaults (but for `lr`, which every task must choose).
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdamWConfig {
    /// Learning rate, above 0. With a schedule: its peak.
    pub lr: f64,
    /// Decay per step as a share of `lr`, 0 or more. Applied to convolution kernels and other parameters of two or more
    /// dimensions, not to biases nor to the scale and shift of normalisation, which all have one: pulling those to 0 does not
    /// regularise, it only shifts what the next layer sees.
    #[serde(default = "default_weight_decay")]
    pub weight_decay: f64,
    /// Memory of the first and second moment, each in `[0, 1)`.
    #[serde(default = "default_betas")]
    pub betas: [f64; 2],
    /// Added to the root of the second moment, above 0.
    #[serde(default = "default_eps")]
    pub eps: f64,
}

const fn default_weight_decay() -> f64 {
    0.01
}

const fn default_betas() -> [f64; 2] {
    [0.9, 0.999]
}

const fn default_eps() -> f64 {
    1e-8
}

impl AdamWConfig {
    /// The defaults around a learning rate.
    pub fn with_lr(lr: f64) -> Self {
        Self { lr, weight_decay: default_weight_decay(), betas: default_betas(), eps: default_eps() }
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`NetError::Config`] naming the value that is out of range.
    pub fn check(&self) -> Result<()> {
        let problem = if !(self.lr > 0.0 && self.lr.is_finite()) {
            format!("optimizer.lr is above 0, found {}", self.lr)
        } else if !(self.weight_decay >= 0.0 && self.weight_decay.is_finite()) {
            format!("optimizer.weight_decay is 0 or more, found {}", self.weight_decay)
        } else if let Some(beta) = self.betas.iter().find(|b| !(0.0..1.0).contains(*b)) {
            format!("optimizer.betas are from 0 to below 1, found {beta}")
        } else if !(self.eps > 0.0 && self.eps.is_finite()) {
            format!("optimizer.eps is above 0, found {}", self.eps)
        } else {
            return Ok(());
        };
        Err(NetError::Config(problem))
    }
}

/// Running moments of one parameter's gradient, row-major as the parameter.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Moments {
    /// Of the gradient.
    pub first: Vec<f32>,
    /// Of its square.
    pub second: Vec<f32>,
}

/// The optimiser. Parameters and moments live on the CPU, f32.
#[derive(Debug)]
pub struct AdamW {
    vars: Vec<Var>,
    moments: Vec<Moments>,
    steps: u64,
    lr: f64,
    config: AdamWConfig,
}

impl AdamW {
    /// An optimiser of `vars`, moments 0.
    pub fn of(vars: impl IntoIterator<Item = Var>, config: AdamWConfig) -> Self {
        let vars: Vec<Var> = vars.into_iter().collect();
        let zeros = |var: &Var| vec![0.0; var.elem_count()];
        let moments = vars.iter().map(|var| Moments { first: zeros(var), second: zeros(var) }).collect();
        Self { vars, moments, steps: 0, lr: config.lr, config }
    }

    /// Moments of every parameter, in parameter order.
    pub fn moments(&self) -> &[Moments] {
        &self.moments
    }

    /// Steps taken; the bias correction depends on it.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Goes on from saved moments.
    ///
    /// # Errors
    /// [`NetError::Config`] when their number or lengths are not those of the parameters.
    pub fn restore(&mut self, moments: Vec<Moments>, steps: u64) -> Result<()> {
        let fits = moments.len() == self.vars.len()
            && moments
                .iter()
                .zip(&self.vars)
                .all(|(m, v)| m.first.len() == v.elem_count() && m.second.len() == v.elem_count());
        if !fits {
            return Err(NetError::Config("the saved optimiser moments are those of another model".into()));
        }
        self.moments = moments;
        self.steps = steps;
        Ok(())
    }

    /// One step on gradients multiplied by `scale` (see [`super::clip_factor`]) at learning rate `lr`. A variable without a
    /// gradient stays as it is, moments too.
    ///
    /// # Errors
    /// [`candle_core::Error`] when a parameter or gradient is not a contiguous f32 tensor on the CPU.
    pub fn step_scaled(&mut self, grads: &GradStore, scale: f64, lr: f64) -> candle_core::Result<()> {
        self.steps += 1;
        let [beta1, beta2] = self.config.betas;
        let power = i32::try_from(self.steps).unwrap_or(i32::MAX);
        let (correction1, correction2) = (1.0 - beta1.powi(power), 1.0 - beta2.powi(power));
        for (var, moments) in self.vars.iter().zip(&mut self.moments) {
            let Some(grad) = grads.get(var) else { continue };
            let decay = if var.rank() > 1 { self.config.weight_decay } else { 0.0 };
            let sweep = Sweep {
                scale: scale as f32,
                keep: (1.0 - lr * decay) as f32,
                fresh1: (1.0 - beta1) as f32,
                keep2: beta2 as f32,
                fresh2: (1.0 - beta2) as f32,
                step_size: (lr / correction1) as f32,
                root_correction2: correction2.sqrt() as f32,
                eps: self.config.eps as f32,
            };
            var.inplace_op2(&grad.contiguous()?, &Update { sweep, moments: RefCell::new(moments) })?;
        }
        Ok(())
    }
}

impl candle_nn::Optimizer for AdamW {
    type Config = AdamWConfig;

    fn new(vars: Vec<Var>, config: AdamWConfig) -> candle_core::Result<Self> {
        Ok(Self::of(vars, config))
    }

    fn step(&mut self, grads: &GradStore) -> candle_core::Result<()> {
        self.step_scaled(grads, 1.0, self.lr)
    }

    fn learning_rate(&self) -> f64 {
        self.lr
    }

    fn set_learning_rate(&mut self, lr: f64) {
        self.lr = lr;
    }
}

/// The numbers of one step for one parameter.
#[derive(Clone, Copy)]
struct Sweep {
    scale: f32,
    keep: f32,
    fresh1: f32,
    keep2: f32,
    fresh2: f32,
    step_size: f32,
    root_correction2: f32,
    eps: f32,
}

impl Sweep {
    fn run(self, params: &mut [f32], first: &mut [f32], second: &mut [f32], grads: &[f32]) {
        for (((p, m), v), g) in params.iter_mut().zip(first).zip(second).zip(grads) {
            let g = g * self.scale;
            *m += (g - *m) * self.fresh1;
            *v = *v * self.keep2 + g * g * self.fresh2;
            let root = v.sqrt() / self.root_correction2 + self.eps;
            *p = *p * self.keep - self.step_size * (*m / root);
        }
    }
}

/// [`Sweep`] as an operation that candle lets write into a variable. The cell is there because candle hands operations
/// out by shared reference; it is borrowed once.
struct Update<'a> {
    sweep: Sweep,
    moments: RefCell<&'a mut Moments>,
}

/// Values updated by one thread at a time: 16 KiB in each of four streams.
const CHUNK: usize = 1 << 12;

impl InplaceOp2 for Update<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(
        &self,
        params: &mut CpuStorage,
        params_layout: &Layout,
        grads: &CpuStorage,
        grads_layout: &Layout,
    ) -> candle_core::Result<()> {
        let CpuStorage::F32(params) = params else {
            candle_core::bail!("adamw: parameters must be f32");
        };
        let (Some((from, to)), Some((grads_from, grads_to))) =
            (params_layout.contiguous_offsets(), grads_layout.contiguous_offsets())
        else {
            candle_core::bail!("adamw: parameters and gradients must be contiguous");
        };
        let moments = &mut **self.moments.borrow_mut();
        if to - from != moments.first.len() || grads_to - grads_from != to - from {
            candle_core::bail!("adamw: {} parameters, {} gradients", to - from, grads_to - grads_from);
        }
        let grads = &grads.as_slice::<f32>()?[grads_from..grads_to];
        let sweep = self.sweep;
        params[from..to]
            .par_chunks_mut(CHUNK)
            .zip(moments.first.par_chunks_mut(CHUNK))
            .zip(moments.second.par_chunks_mut(CHUNK))
            .zip(grads.par_chunks(CHUNK))
            .for_each(|(((p, m), v), g)| sweep.run(p, m, v, g));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};
    use candle_nn::Optimizer as _;

    use super::*;
    use crate::net::values::with_values;

    /// Written by `tests/golden/net_optim.py`: torch.optim.AdamW with two parameter groups.
    #[derive(Deserialize)]
    struct Golden {
        adamw: Case,
    }

    #[derive(Deserialize)]
    struct Case {
        config: AdamWConfig,
        shapes: Vec<Vec<usize>>,
        start: Vec<Vec<f32>>,
        steps: Vec<Step>,
        first: Vec<Vec<f32>>,
        second: Vec<Vec<f32>>,
    }

    #[derive(Deserialize)]
    struct Step {
        lr: f64,
        grads: Vec<Vec<f32>>,
        params: Vec<Vec<f32>>,
    }

    fn tensor(values: &[f32], shape: &[usize]) -> Tensor {
        Tensor::from_slice(values, shape, &Device::Cpu).unwrap()
    }

    fn near(ours: &[f32], theirs: &[f32]) {
        assert_eq!(ours.len(), theirs.len());
        for (a, b) in ours.iter().zip(theirs) {
            assert!((a - b).abs() <= 2e-6 * b.abs().max(0.01), "{a} {b}");
        }
    }

    #[test]
    fn equals_pytorch_with_and_without_decay() {
        let golden: Golden = serde_json::from_str(include_str!("../../../tests/golden/net_optim.json")).unwrap();
        let case = golden.adamw;
        let vars: Vec<Var> =
            case.start.iter().zip(&case.shapes).map(|(v, s)| Var::from_tensor(&tensor(v, s)).unwrap()).collect();
        let mut optimizer = AdamW::new(vars.clone(), case.config).unwrap();
        for step in &case.steps {
            let mut grads = vars[0].sum_all().unwrap().backward().unwrap();
            for ((var, grad), shape) in vars.iter().zip(&step.grads).zip(&case.shapes) {
                grads.insert(var, tensor(grad, shape));
            }
            optimizer.set_learning_rate(step.lr);
            optimizer.step(&grads).unwrap();
            for (var, expected) in vars.iter().zip(&step.params) {
                with_values(var, |ours| near(ours, expected)).unwrap();
            }
        }
        assert_eq!(optimizer.steps(), case.steps.len() as u64);
        for ((ours, first), second) in optimizer.moments().iter().zip(&case.first).zip(&case.second) {
            near(&ours.first, first);
            near(&ours.second, second);
        }
    }

    /// 10,001 values: several chunks and an odd end.
    fn large() -> (Var, GradStore) {
        let values: Vec<f32> = (0..10_001).map(|i| (i as f32 * 0.37).sin()).collect();
        let var = Var::from_tensor(&tensor(&values, &[10_001, 1])).unwrap();
        let grads = var.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        (var, grads)
    }

    #[test]
    fn is_bit_identical_with_any_number_of_threads() {
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let (var, grads) = large();
                AdamW::of([var.clone()], AdamWConfig::with_lr(0.1)).step_scaled(&grads, 0.5, 0.1).unwrap();
                with_values(&var, |v| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>()).unwrap()
            })
        };
        assert_eq!(run(1), run(2));
    }

    #[test]
    fn scaling_gradients_in_the_sweep_equals_scaling_them_before() {
        let (scaled, grads) = large();
        let (plain, mut small) = large();
        let half = (small.get(&plain).unwrap() * 0.5).unwrap();
        small.insert(&plain, half);
        AdamW::of([scaled.clone()], AdamWConfig::with_lr(0.1)).step_scaled(&grads, 0.5, 0.1).unwrap();
        AdamW::of([plain.clone()], AdamWConfig::with_lr(0.1)).step_scaled(&small, 1.0, 0.1).unwrap();
        with_values(&scaled, |a| with_values(&plain, |b| assert_eq!(a, b)).unwrap()).unwrap();
    }

    #[test]
    fn leaves_what_has_no_gradient_alone() {
        let (used, grads) = large();
        let unused = Var::new(&[[1.0_f32, 2.0]], &Device::Cpu).unwrap();
        let mut optimizer = AdamW::of([used, unused.clone()], AdamWConfig::with_lr(0.1));
        optimizer.step(&grads).unwrap();
        with_values(&unused, |v| assert_eq!(v, [1.0, 2.0])).unwrap();
        assert_eq!(optimizer.moments()[1].first, [0.0, 0.0]);
    }

    #[test]
    fn refuses_moments_of_another_model_and_values_out_of_range() {
        let (var, _) = large();
        let mut optimizer = AdamW::of([var], AdamWConfig::with_lr(0.1));
        assert!(optimizer.restore(vec![Moments { first: vec![0.0; 3], second: vec![0.0; 3] }], 1).is_err());
        let good = AdamWConfig::with_lr(0.1);
        assert!(good.check().is_ok());
        for bad in [
            AdamWConfig { lr: 0.0, ..good },
            AdamWConfig { lr: f64::NAN, ..good },
            AdamWConfig { weight_decay: -1.0, ..good },
            AdamWConfig { betas: [0.9, 1.0], ..good },
            AdamWConfig { eps: 0.0, ..good },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
