//! A record of a training step's operators, to run them backwards without candle's bookkeeping.
//!
//! candle's backward pass adds every gradient to a tensor of zeros, over threads of its own that wait by spinning: about
//! a third of a U-Net's step. While [`record`] runs a network, operators are written on a tape instead; the first gradient
//! of a tensor is moved, and what the step no longer needs is freed on the way back. Training goes back over the record
//! itself. Where a graph of candle's is wanted, [`as_one_node`] makes the network one node of it, after a chain of links,
//! one a parameter, that hand the gradients over: `loss.backward()` works as ever.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::backprop::GradStore;
use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, DType, Device, Layout, Result, Shape, Tensor, TensorId, Var,
    WithDType, bail,
};

use super::chunks;
use super::element::{Element, host, with_float};
use super::scratch::in_chunks;

thread_local! {
    /// The tape that operators called on this thread write on.
    static ACTIVE: RefCell<Option<Tape>> = const { RefCell::new(None) };
}

enum Op {
    One(Box<dyn CustomOp1 + Send + Sync>),
    Two(Box<dyn CustomOp2 + Send + Sync>),
    Three(Box<dyn CustomOp3 + Send + Sync>),
}

struct Step {
    op: Op,
    inputs: Vec<Tensor>,
    output: Tensor,
}

/// What was done to `root` (the network's input, which gets no gradient), in order.
struct Tape {
    root: TensorId,
    steps: Vec<Step>,
}

impl Tape {
    fn made(&self, tensor: &Tensor) -> bool {
        self.steps.iter().rev().any(|step| step.output.id() == tensor.id())
    }

    /// Refuses tensors that came from elsewhere, whose gradients would silently be lost.
    fn check(&self, op: &str, inputs: &[&Tensor]) -> Result<()> {
        let known = |t: &&&Tensor| t.is_variable() || t.id() == self.root || self.made(t);
        match inputs.iter().find(|t| !known(t)) {
            None => Ok(()),
            Some(t) => bail!(
                "{op}: an operand {:?} is no parameter and was not made by an operator of `net::ops`: no gradient would \
                 pass through it",
                t.dims()
            ),
        }
    }
}

/// Whether a gradient of `tensor` will be asked for.
pub(super) fn needs_gradient(tensor: &Tensor) -> bool {
    ACTIVE.with_borrow(|tape| tape.as_ref().is_some_and(|tape| tape.made(tensor))) || tensor.track_op()
}

/// Runs `op` and writes it on this thread's tape, if there is one; else leaves the graph to candle.
///
/// The tape is put away while the kernel runs: the kernel waits for rayon, and this thread may meanwhile work for somebody
/// else, whose operators are not ours.
pub(super) fn apply1<C: CustomOp1 + Send + Sync + 'static>(x: &Tensor, op: C) -> Result<Tensor> {
    let Some(tape) = ACTIVE.take() else { return x.apply_op1(op) };
    let y = tape.check(op.name(), &[x]).and_then(|()| x.apply_op1_no_bwd(&op));
    tape.resume(Op::One(Box::new(op)), &[x], y)
}

/// As [`apply1`], of two operands.
pub(super) fn apply2<C: CustomOp2 + Send + Sync + 'static>(a: &Tensor, b: &Tensor, op: C) -> Result<Tensor> {
    let Some(tape) = ACTIVE.take() else { return a.apply_op2(b, op) };
    let y = tape.check(op.name(), &[a, b]).and_then(|()| a.apply_op2_no_bwd(b, &op));
    tape.resume(Op::Two(Box::new(op)), &[a, b], y)
}

/// As [`apply1`], of three operands.
pub(super) fn apply3<C: CustomOp3 + Send + Sync + 'static>(
    a: &Tensor,
    b: &Tensor,
    c: &Tensor,
    op: C,
) -> Result<Tensor> {
    let Some(tape) = ACTIVE.take() else { return a.apply_op3(b, c, op) };
    let y = tape.check(op.name(), &[a, b, c]).and_then(|()| a.apply_op3_no_bwd(b, c, &op));
    tape.resume(Op::Three(Box::new(op)), &[a, b, c], y)
}

impl Tape {
    /// Adds what was done, if it succeeded, and becomes this thread's tape again.
    fn resume(mut self, op: Op, inputs: &[&Tensor], output: Result<Tensor>) -> Result<Tensor> {
        if let Ok(output) = &output {
            let inputs = inputs.iter().map(|t| (*t).clone()).collect();
            self.steps.push(Step { op, inputs, output: output.clone() });
        }
        ACTIVE.set(Some(self));
        output
    }

    /// Gradients of all variables, given that of `output`. Steps are freed as they are undone.
    fn backward(mut self, output: &Tensor, gradient: &Tensor) -> Result<HashMap<TensorId, Tensor>> {
        let mut gradients = HashMap::from([(output.id(), gradient.clone())]);
        while let Some(step) = self.steps.pop() {
            let Some(gradient) = gradients.remove(&step.output.id()) else { continue };
            for (input, found) in step.inputs.iter().zip(step.backward(&gradient)?) {
                let Some(found) = found.filter(|_| input.id() != self.root) else { continue };
                match gradients.entry(input.id()) {
                    Entry::Vacant(entry) => {
                        entry.insert(found);
                    }
                    Entry::Occupied(mut entry) => {
                        let total = add(entry.get(), &found)?;
                        entry.insert(total);
                    }
                }
            }
        }
        Ok(gradients)
    }
}

impl Step {
    /// Gradients of the inputs, in their order.
    fn backward(&self, gradient: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let (i, y) = (&self.inputs, &self.output);
        Ok(match &self.op {
            Op::One(op) => vec![op.bwd(&i[0], y, gradient)?],
            Op::Two(op) => {
                let (a, b) = op.bwd(&i[0], &i[1], y, gradient)?;
                vec![a, b]
            }
            Op::Three(op) => {
                let (a, b, c) = op.bwd(&i[0], &i[1], &i[2], y, gradient)?;
                vec![a, b, c]
            }
        })
    }
}

/// Sum of two gradients of one tensor.
pub(super) fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if a.device().is_cuda() {
        return super::cuda::pointwise::add(&a.contiguous()?, &b.contiguous()?);
    }
    fn sum<T: Element>(a: &[T], b: &[T]) -> Vec<T> {
        let step = chunks::rows(1);
        in_chunks(a.len(), step, |number, sum| {
            for ((s, a), b) in sum.iter_mut().zip(&a[number * step..]).zip(&b[number * step..]) {
                *s = *a + *b;
            }
        })
    }
    let (a, b) = (a.contiguous()?, b.contiguous()?);
    let (ha, hb) = (host("add", &a), host("add", &b));
    with_float!("add", a.dtype(), T => Tensor::from_vec(sum::<T>(ha.slice()?, hb.slice()?), a.shape(), a.device()))
}

/// Puts back what was this thread's tape before, also when the network panics.
struct Restore(Option<Tape>);

impl Drop for Restore {
    fn drop(&mut self) {
        ACTIVE.set(self.0.take());
    }
}

/// A network's result, and how it came about.
pub struct Recorded {
    tape: Tape,
    output: Tensor,
}

impl Recorded {
    /// The result.
    #[must_use]
    pub fn output(&self) -> &Tensor {
        &self.output
    }

    /// Gradients of all parameters, given that of the result. What the network kept for this is freed on the way.
    ///
    /// # Errors
    /// Those of the operators.
    pub fn backward(self, gradient: &Tensor) -> Result<Gradients> {
        self.tape.backward(&self.output, gradient).map(Gradients)
    }
}

/// Gradients by variable.
pub struct Gradients(HashMap<TensorId, Tensor>);

/// Where gradients are found: ours, or candle's.
pub trait GradientsOf: Sync {
    /// That of `var`, if there is one.
    fn of(&self, var: &Var) -> Option<&Tensor>;
}

impl GradientsOf for Gradients {
    fn of(&self, var: &Var) -> Option<&Tensor> {
        self.0.get(&var.id())
    }
}

impl GradientsOf for GradStore {
    fn of(&self, var: &Var) -> Option<&Tensor> {
        self.get(var)
    }
}

/// Runs `network`, which must turn `x` into its result by operators of this module and variables alone, and writes down what
/// it does.
///
/// # Errors
/// `network`'s; a tensor in it that would not pass its gradient on.
pub fn record(x: &Tensor, network: impl FnOnce() -> Result<Tensor>) -> Result<Recorded> {
    let outer = Restore(ACTIVE.replace(Some(Tape { root: x.id(), steps: Vec::new() })));
    let output = network()?;
    let tape = ACTIVE.take();
    drop(outer);
    match tape.filter(|tape| tape.made(&output)) {
        Some(tape) => Ok(Recorded { tape, output }),
        None => {
            bail!("the network's result was not made by an operator of `net::ops`: no gradient would pass through it")
        }
    }
}

/// As [`record`], on the CPU, with the network as one node of candle's graph. Where `x` needs a gradient itself, candle keeps
/// the graph.
///
/// # Errors
/// As [`record`].
pub(crate) fn as_one_node(
    x: &Tensor,
    parameters: &[(String, Var)],
    network: impl FnOnce() -> Result<Tensor>,
) -> Result<Tensor> {
    if x.track_op() {
        return network();
    }
    let Recorded { tape, output } = record(x, network)?;
    let gradients = Handover::default();
    let mut token = Tensor::zeros((), DType::F32, &Device::Cpu)?;
    for (_, parameter) in parameters {
        token = token.apply_op2(parameter, Link(Arc::clone(&gradients)))?;
    }
    token.apply_op1(Replay { recorded: Mutex::new(Some((tape, output))), gradients })
}

/// Where the tape leaves the gradients for the links.
type Handover = Arc<Mutex<HashMap<TensorId, Tensor>>>;

/// Hands one parameter's gradient to candle. Its value is a scalar of no meaning.
struct Link(Handover);

impl CustomOp2 for Link {
    fn name(&self) -> &'static str {
        "parameter"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((f32::to_cpu_storage_owned(vec![0.0]), Shape::from(())))
    }

    fn bwd(
        &self,
        token: &Tensor,
        parameter: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let found = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&parameter.id());
        Ok((token.track_op().then(|| grad.clone()), found))
    }
}

/// The network as one node: its value is the recorded result, its backward pass the tape's.
struct Replay {
    recorded: Mutex<Option<(Tape, Tensor)>>,
    gradients: Handover,
}

impl CustomOp1 for Replay {
    fn name(&self) -> &'static str {
        "network"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        let recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((_, output)) = recorded.as_ref() else { bail!("network: nothing was recorded") };
        let host = host("network", output);
        let values = with_float!("network", output.dtype(), T => T::to_cpu_storage(host.slice::<T>()?));
        Ok((values, output.shape().clone()))
    }

    fn bwd(&self, token: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((tape, output)) = recorded else {
            bail!("network: backward ran already and has freed what it needs; run forward again");
        };
        let found = tape.backward(&output, gradient)?;
        *self.gradients.lock().unwrap_or_else(PoisonError::into_inner) = found;
        token.zeros_like().map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{concat_channels, relu, upsample_nearest2x};
    use super::*;

    fn image(value: f32) -> Tensor {
        Tensor::full(value, (1, 2, 2, 3), &Device::Cpu).unwrap()
    }

    #[test]
    fn an_operand_from_elsewhere_is_refused() {
        let lost = |x: &Tensor| relu(&(relu(x)? * 2.0)?);
        let error = as_one_node(&image(1.0), &[], || lost(&image(1.0))).unwrap_err().to_string();
        assert!(error.contains("relu") && error.contains("no gradient would pass"), "{error}");
        // The failed recording is over: operators work as usual again.
        assert!(lost(&image(1.0)).is_ok());
        let x = image(1.0);
        let error = as_one_node(&x, &[], || relu(&x)? * 2.0).unwrap_err().to_string();
        assert!(error.contains("result was not made by an operator"), "{error}");
    }

    #[test]
    fn gradients_of_all_consumers_of_a_parameter_add_up() {
        let parameter = Var::from_tensor(&image(3.0)).unwrap();
        let x = image(1.0);
        let network = || upsample_nearest2x(&concat_channels(&relu(&parameter)?, &concat_channels(&x, &parameter)?)?);
        let y = as_one_node(&x, &[("p".to_owned(), parameter.clone())], network).unwrap();
        let grads = y.sum_all().unwrap().backward().unwrap();
        let grad = grads.get(&parameter).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(grad, vec![8.0; 12]);
    }

    #[test]
    fn a_second_backward_pass_says_that_it_needs_a_second_forward_pass() {
        let parameter = Var::from_tensor(&image(3.0)).unwrap();
        let y = as_one_node(&image(1.0), &[("p".to_owned(), parameter.clone())], || relu(&parameter)).unwrap();
        let loss = y.sum_all().unwrap();
        assert!(loss.backward().is_ok());
        assert!(loss.backward().unwrap_err().to_string().contains("run forward again"));
    }
}
