//! AdamW: Adam with decoupled weight decay (Loshchilov and Hutter 2019), one sweep over the memory of all parameters.

use std::cell::RefCell;

use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, InplaceOp2, Layout, Var};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::config::{AdamWConfig, StepFactors};
use crate::net::ops::{GradientsOf, lanes};
use crate::net::{NetError, Result};

/// Running moments of one parameter's gradient, row-major as the parameter.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Moments {
    /// Of the gradient.
    pub first: Vec<f32>,
    /// Of its square; empty for optimisers that keep none.
    pub second: Vec<f32>,
}

impl Moments {
    /// Refuses moments that are not those of parameters of `sizes`; `both`: of an optimiser that has the second.
    pub(crate) fn check(moments: &[Self], sizes: &[usize], both: bool) -> Result<()> {
        let second = |size: usize| if both { size } else { 0 };
        let fits = |(m, size): (&Self, &usize)| m.first.len() == *size && m.second.len() == second(*size);
        if moments.len() == sizes.len() && moments.iter().zip(sizes).all(fits) {
            return Ok(());
        }
        Err(NetError::Config("the saved optimiser moments are those of another model".into()))
    }
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
    /// An optimiser of `vars`, moments 0. Each variable may be there once: a step locks all of them.
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
        let sizes: Vec<usize> = self.vars.iter().map(|var| var.elem_count()).collect();
        Moments::check(&moments, &sizes, true)?;
        self.moments = moments;
        self.steps = steps;
        Ok(())
    }

    /// One step on gradients multiplied by `scale` (see [`super::clip_factor`]) at learning rate `lr`. A variable without a
    /// gradient stays as it is, moments too.
    ///
    /// # Errors
    /// [`candle_core::Error`] when a parameter or gradient is not a contiguous f32 tensor on the CPU.
    pub fn step_scaled(&mut self, grads: &(impl GradientsOf + ?Sized), scale: f64, lr: f64) -> candle_core::Result<()> {
        self.steps += 1;
        let factors = self.config.factors(self.steps, lr);
        let decayed = Sweep { factors, scale: scale as f32 };
        let plain = Sweep { factors: StepFactors { keep: 1.0, ..factors }, ..decayed };
        // Small parameters are shared out whole, and while one thread cuts up a large one the others help: nobody waits
        // between two parameters.
        self.vars.par_iter().zip(&mut self.moments).try_for_each(|(var, moments)| {
            let Some(grad) = grads.of(var) else { return Ok(()) };
            let sweep = if var.rank() > 1 { decayed } else { plain };
            var.inplace_op2(&grad.contiguous()?, &Parameter { sweep, moments: RefCell::new(moments) })
        })
    }
}

impl super::Optimizer for AdamW {
    fn step(&mut self, gradients: &dyn GradientsOf, scale: f64, lr: f64) -> candle_core::Result<()> {
        self.step_scaled(gradients, scale, lr)
    }

    fn steps(&self) -> u64 {
        self.steps()
    }

    fn moments(&self) -> &[Moments] {
        self.moments()
    }

    fn restore(&mut self, moments: Vec<Moments>, steps: u64) -> Result<()> {
        self.restore(moments, steps)
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
    factors: StepFactors,
    /// What gradients are first multiplied by.
    scale: f32,
}

/// A sweep over the same places of four streams.
struct Update<'a> {
    sweep: Sweep,
    params: &'a mut [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
    grads: &'a [f32],
}

impl WithSimd for Update<'_> {
    type Output = ();

    // No fused multiply-add is asked for: the bits are the same on every instruction set.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Sweep { factors: f, scale } = self.sweep;
        for (((p, m), v), g) in self.params.iter_mut().zip(self.first).zip(self.second).zip(self.grads) {
            let g = g * scale;
            *m += (g - *m) * f.fresh1;
            *v = *v * f.keep2 + g * g * f.fresh2;
            let root = v.sqrt() / f.root_correction2 + f.eps;
            *p = *p * f.keep - f.step_size * (*m / root);
        }
    }
}

/// [`Sweep`] as an operation that candle lets write into a variable. The cell is there because candle hands operations
/// out by shared reference; it is borrowed once.
struct Parameter<'a> {
    sweep: Sweep,
    moments: RefCell<&'a mut Moments>,
}

/// Values updated by one thread at a time: 16 KiB in each of four streams.
const CHUNK: usize = 1 << 12;

impl InplaceOp2 for Parameter<'_> {
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
            .for_each(|(((params, first), second), grads)| {
                lanes::dispatch(Update { sweep, params, first, second, grads });
            });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};
    use candle_nn::Optimizer as _;
    use serde::Deserialize;

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

    fn waves(count: usize, from: usize) -> Vec<f32> {
        (from..from + count).map(|i| (i as f32 * 0.37).sin()).collect()
    }

    /// 10,001 values: several chunks and an odd end.
    fn large() -> (Var, GradStore) {
        let values = waves(10_001, 0);
        let var = Var::from_tensor(&tensor(&values, &[10_001, 1])).unwrap();
        let grads = var.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        (var, grads)
    }

    /// The step's formula, a value at a time.
    fn step_of_one(value: f32, grad: f32, config: AdamWConfig, decay: f64) -> f32 {
        let [beta1, beta2] = config.betas;
        let (first, second) = (grad * (1.0 - beta1) as f32, grad * grad * (1.0 - beta2) as f32);
        let root = second.sqrt() / ((1.0 - beta2.powi(1)).sqrt() as f32) + config.eps as f32;
        let step_size = (config.lr / (1.0 - beta1.powi(1))) as f32;
        value * (1.0 - config.lr * decay) as f32 - step_size * (first / root)
    }

    #[test]
    fn many_parameters_get_the_bits_of_the_formula_on_any_number_of_threads() {
        let config = AdamWConfig { weight_decay: 0.3, ..AdamWConfig::with_lr(0.1) };
        let lengths = [1, 3, 4096, 17, 9000, 2, 30_001, 64];
        for threads in [1, 2, 4] {
            let vars: Vec<Var> = (0..lengths.len())
                .map(|n| {
                    let shape: &[usize] = if n % 2 == 0 { &[lengths[n], 1] } else { &[lengths[n]] };
                    Var::from_tensor(&tensor(&waves(lengths[n], n), shape)).unwrap()
                })
                .collect();
            let mut grads = vars[0].sum_all().unwrap().backward().unwrap();
            vars.iter().for_each(|var| drop(grads.insert(var, var.affine(0.5, 0.01).unwrap())));
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| AdamW::of(vars.clone(), config).step_scaled(&grads, 1.0, config.lr).unwrap());
            for (n, var) in vars.iter().enumerate() {
                let decay = if n % 2 == 0 { config.weight_decay } else { 0.0 };
                let gradient = with_values(grads.get(var).unwrap(), <[f32]>::to_vec).unwrap();
                let pairs = waves(lengths[n], n).into_iter().zip(gradient);
                let bits: Vec<u32> = pairs.map(|(v, g)| step_of_one(v, g, config, decay).to_bits()).collect();
                with_values(var, |v| assert!(v.iter().map(|v| v.to_bits()).eq(bits), "{n}")).unwrap();
            }
        }
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
        for lr in [0.0, f64::NAN] {
            assert!(AdamWConfig { lr, ..good }.check().is_err(), "{lr}");
        }
        for bad in [
            AdamWConfig { weight_decay: -1.0, ..good },
            AdamWConfig { betas: [0.9, 1.0], ..good },
            AdamWConfig { eps: 0.0, ..good },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
