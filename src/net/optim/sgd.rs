//! Stochastic gradient descent with momentum (Sutskever, Martens, Dahl, Hinton 2013), with the arithmetic of
//! `torch.optim.SGD`: one sweep over the memory of all parameters.

use std::cell::RefCell;

use candle_core::{CpuStorage, InplaceOp2, Layout, Result, Var, bail};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::adamw::Moments;
use crate::net::NetError;
use crate::net::ops::{GradientsOf, lanes};

/// Hyper-parameters of [`Sgd`], PyTorch's names.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SgdConfig {
    /// Learning rate, above 0. With a schedule: its peak.
    pub lr: f64,
    /// What of the running sum of gradients a step leaves in it, in `[0, 1)`.
    #[serde(default = "default_momentum")]
    pub momentum: f64,
    /// Whether the step looks ahead by the momentum (Nesterov 1983). Without momentum there is nothing to look ahead by.
    #[serde(default = "yes")]
    pub nesterov: bool,
    /// Added to the gradient as a share of the parameter, 0 or more; of parameters of two or more dimensions only, as for
    /// [`AdamWConfig::weight_decay`](super::AdamWConfig::weight_decay).
    #[serde(default = "default_weight_decay")]
    pub weight_decay: f64,
}

const fn default_momentum() -> f64 {
    0.9
}

const fn yes() -> bool {
    true
}

const fn default_weight_decay() -> f64 {
    1e-4
}

/// The numbers of one step, the same for every parameter.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct SgdFactors {
    /// Learning rate.
    pub(crate) lr: f32,
    /// Memory of the running sum.
    pub(crate) momentum: f32,
    /// What of the running sum is added to the gradient once more, to look ahead.
    pub(crate) ahead: f32,
    /// What of the gradient goes into the step beside the running sum: 1 to look ahead, else 0.
    pub(crate) direct: f32,
    /// Weight decay, where a parameter decays.
    pub(crate) decay: f32,
}

impl SgdConfig {
    /// The defaults around a learning rate.
    pub fn with_lr(lr: f64) -> Self {
        Self { lr, momentum: default_momentum(), nesterov: true, weight_decay: default_weight_decay() }
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`NetError::Config`] naming the value that is out of range.
    pub fn check(&self) -> crate::net::Result<()> {
        let problem = if !(self.lr > 0.0 && self.lr.is_finite()) {
            format!("optimizer.lr is above 0, found {}", self.lr)
        } else if !(0.0..1.0).contains(&self.momentum) {
            format!("optimizer.momentum is from 0 to below 1, found {}", self.momentum)
        } else if !(self.weight_decay >= 0.0 && self.weight_decay.is_finite()) {
            format!("optimizer.weight_decay is 0 or more, found {}", self.weight_decay)
        } else {
            return Ok(());
        };
        Err(NetError::Config(problem))
    }

    /// The numbers of a step at learning rate `lr`.
    pub(crate) fn factors(&self, lr: f64) -> SgdFactors {
        let momentum = self.momentum as f32;
        let (ahead, direct) = if self.nesterov { (momentum, 1.0) } else { (1.0, 0.0) };
        SgdFactors { lr: lr as f32, momentum, ahead, direct, decay: self.weight_decay as f32 }
    }
}

/// The optimiser. Parameters and running sums live on the CPU, f32.
#[derive(Debug)]
pub struct Sgd {
    vars: Vec<Var>,
    /// The running sum of a parameter's gradients is its first moment; it has no second.
    moments: Vec<Moments>,
    steps: u64,
    config: SgdConfig,
}

impl Sgd {
    /// An optimiser of `vars`, running sums 0. Each variable may be there once: a step locks all of them.
    pub fn of(vars: impl IntoIterator<Item = Var>, config: SgdConfig) -> Self {
        let vars: Vec<Var> = vars.into_iter().collect();
        let sums = vars.iter().map(|var| Moments { first: vec![0.0; var.elem_count()], second: Vec::new() }).collect();
        Self { vars, moments: sums, steps: 0, config }
    }
}

impl super::Optimizer for Sgd {
    fn step(&mut self, gradients: &dyn GradientsOf, scale: f64, lr: f64) -> Result<()> {
        self.steps += 1;
        let decayed = Sweep { factors: self.config.factors(lr), scale: scale as f32 };
        let plain = Sweep { factors: SgdFactors { decay: 0.0, ..decayed.factors }, ..decayed };
        self.vars.par_iter().zip(&mut self.moments).try_for_each(|(var, moments)| {
            let Some(gradient) = gradients.of(var) else { return Ok(()) };
            let sweep = if var.rank() > 1 { decayed } else { plain };
            var.inplace_op2(&gradient.contiguous()?, &Parameter { sweep, sum: RefCell::new(&mut moments.first) })
        })
    }

    fn steps(&self) -> u64 {
        self.steps
    }

    fn moments(&self) -> &[Moments] {
        &self.moments
    }

    fn restore(&mut self, moments: Vec<Moments>, steps: u64) -> crate::net::Result<()> {
        let sizes: Vec<usize> = self.vars.iter().map(|var| var.elem_count()).collect();
        Moments::check(&moments, &sizes, false)?;
        self.moments = moments;
        self.steps = steps;
        Ok(())
    }
}

/// The numbers of one step for one parameter.
#[derive(Clone, Copy)]
struct Sweep {
    factors: SgdFactors,
    /// What gradients are first multiplied by.
    scale: f32,
}

/// A sweep over the same places of three streams.
struct Update<'a> {
    sweep: Sweep,
    params: &'a mut [f32],
    sum: &'a mut [f32],
    grads: &'a [f32],
}

impl WithSimd for Update<'_> {
    type Output = ();

    // No fused multiply-add is asked for: the bits are the same on every instruction set.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Sweep { factors: f, scale } = self.sweep;
        for ((p, sum), g) in self.params.iter_mut().zip(self.sum).zip(self.grads) {
            let g = g * scale + f.decay * *p;
            *sum = *sum * f.momentum + g;
            *p -= f.lr * (g * f.direct + f.ahead * *sum);
        }
    }
}

/// [`Sweep`] as an operation that candle lets write into a variable. The cell is there because candle hands operations
/// out by shared reference; it is borrowed once.
struct Parameter<'a> {
    sweep: Sweep,
    sum: RefCell<&'a mut [f32]>,
}

/// Values updated by one thread at a time: 16 KiB in each of three streams.
const CHUNK: usize = 1 << 12;

impl InplaceOp2 for Parameter<'_> {
    fn name(&self) -> &'static str {
        "sgd"
    }

    fn cpu_fwd(
        &self,
        params: &mut CpuStorage,
        params_layout: &Layout,
        grads: &CpuStorage,
        grads_layout: &Layout,
    ) -> Result<()> {
        let CpuStorage::F32(params) = params else { bail!("sgd: parameters must be f32") };
        let (Some((from, to)), Some((grads_from, grads_to))) =
            (params_layout.contiguous_offsets(), grads_layout.contiguous_offsets())
        else {
            bail!("sgd: parameters and gradients must be contiguous");
        };
        let sum = &mut **self.sum.borrow_mut();
        if to - from != sum.len() || grads_to - grads_from != to - from {
            bail!("sgd: {} parameters, {} gradients", to - from, grads_to - grads_from);
        }
        let grads = &grads.as_slice::<f32>()?[grads_from..grads_to];
        let sweep = self.sweep;
        let sweeps = params[from..to].par_chunks_mut(CHUNK).zip(sum.par_chunks_mut(CHUNK)).zip(grads.par_chunks(CHUNK));
        sweeps.for_each(|((params, sum), grads)| lanes::dispatch(Update { sweep, params, sum, grads }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use candle_core::{Device, Tensor, TensorId};
    use serde::Deserialize;

    use super::super::Optimizer;
    use super::*;
    use crate::net::values::with_values;

    /// Written by `tests/golden/net_optim.py`: torch.optim.SGD with two parameter groups.
    #[derive(Deserialize)]
    struct Golden {
        sgd: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        config: SgdConfig,
        shapes: Vec<Vec<usize>>,
        start: Vec<Vec<f32>>,
        steps: Vec<Step>,
        sums: Vec<Vec<f32>>,
    }

    #[derive(Deserialize)]
    struct Step {
        lr: f64,
        grads: Vec<Vec<f32>>,
        params: Vec<Vec<f32>>,
    }

    struct Given(HashMap<TensorId, Tensor>);

    impl GradientsOf for Given {
        fn of(&self, var: &Var) -> Option<&Tensor> {
            self.0.get(&var.id())
        }
    }

    fn tensor(values: &[f32], shape: &[usize]) -> Tensor {
        Tensor::from_slice(values, shape, &Device::Cpu).unwrap()
    }

    fn near(ours: &[f32], theirs: &[f32]) {
        assert_eq!(ours.len(), theirs.len());
        for (a, b) in ours.iter().zip(theirs) {
            // Steps are as large as 10 here, and a parameter may be the small difference of two.
            assert!((a - b).abs() <= 1e-6 * b.abs().max(1.0), "{a} {b}");
        }
    }

    #[test]
    fn equals_pytorch_with_and_without_momentum_and_nesterov() {
        let golden: Golden = serde_json::from_str(include_str!("../../../tests/golden/net_optim.json")).unwrap();
        assert_eq!(golden.sgd.len(), 3);
        for case in golden.sgd {
            let vars: Vec<Var> =
                case.start.iter().zip(&case.shapes).map(|(v, s)| Var::from_tensor(&tensor(v, s)).unwrap()).collect();
            let mut optimizer = Sgd::of(vars.clone(), case.config);
            for step in &case.steps {
                let grads = step.grads.iter().zip(&case.shapes).map(|(grad, shape)| tensor(grad, shape));
                let grads = Given(vars.iter().map(|var| var.id()).zip(grads).collect());
                optimizer.step(&grads, 1.0, step.lr).unwrap();
                for (var, expected) in vars.iter().zip(&step.params) {
                    with_values(var, |ours| near(ours, expected)).unwrap();
                }
            }
            assert_eq!(optimizer.steps(), case.steps.len() as u64);
            optimizer.moments().iter().zip(&case.sums).for_each(|(ours, sums)| near(&ours.first, sums));
        }
    }

    #[test]
    fn has_the_same_bits_on_any_number_of_threads_and_leaves_what_has_no_gradient_alone() {
        let config = SgdConfig { weight_decay: 0.1, ..SgdConfig::with_lr(0.1) };
        let values: Vec<f32> = (0..30_001).map(|i| (i as f32 * 0.37).sin()).collect();
        let run = |threads: usize| {
            let vars = [&[30_001, 1][..], &[30_001]].map(|shape| Var::from_tensor(&tensor(&values, shape)).unwrap());
            let mut optimizer = Sgd::of(vars.clone(), config);
            let grads = Given([(vars[0].id(), vars[0].affine(0.5, 0.01).unwrap())].into());
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| optimizer.step(&grads, 0.5, 0.1).unwrap());
            assert_eq!(with_values(&vars[1], <[f32]>::to_vec).unwrap(), values);
            with_values(&vars[0], |v| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>()).unwrap()
        };
        let one = run(1);
        assert_eq!((&one, &one), (&run(2), &run(4)));
        // The first value by hand: the gradient 0.01, halved.
        assert_eq!(f32::from_bits(one[0]), 0.0 - 0.1 * (0.005 + 0.9 * 0.005));
    }

    #[test]
    fn refuses_sums_of_another_model_and_values_out_of_range() {
        let var = Var::from_tensor(&tensor(&[1.0, 2.0], &[2])).unwrap();
        let mut optimizer = Sgd::of([var], SgdConfig::with_lr(0.1));
        for (first, second) in [(3, 0), (2, 2)] {
            let moments = Moments { first: vec![0.0; first], second: vec![0.0; second] };
            assert!(optimizer.restore(vec![moments], 1).is_err());
        }
        assert!(optimizer.restore(vec![Moments { first: vec![0.0; 2], second: Vec::new() }], 1).is_ok());
        let good = SgdConfig::with_lr(0.1);
        assert!(good.check().is_ok());
        for bad in [
            SgdConfig { lr: 0.0, ..good },
            SgdConfig { momentum: 1.0, ..good },
            SgdConfig { momentum: f64::NAN, ..good },
            SgdConfig { weight_decay: -1.0, ..good },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
