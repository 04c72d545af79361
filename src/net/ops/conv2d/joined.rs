//! Convolution of two images side by side, as of their concatenation, but without making it.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, WithDType, bail};

use super::super::concat::concat_channels;
use super::super::element::{dims4, host, same_dtype, same_types, slice, with_float};
use super::super::lanes::Lanes;
use super::super::tape;
use super::geometry::{Conv2dConfig, Geometry};
use super::kernel::flip;
use super::op::{conv2d, conv2d_relu};
use super::winograd::{self, Finish, Parts, WIDEST};

const NAME: &str = "conv2d_joined";

/// [`conv2d`] of `a: [N, H, W, A]` and `b: [N, H, W, B]` side by side, with `w: [k, k, A + B, Co]` and no bias; the same
/// bits as of their concatenation.
///
/// # Errors
/// Images of different sizes, and as [`conv2d`].
pub fn conv2d_joined(a: &Tensor, b: &Tensor, w: &Tensor, config: Conv2dConfig) -> Result<Tensor> {
    same_dtype(NAME, &[a, b])?;
    same_types(NAME, a, &[w])?;
    if !fits(a, b, w, config)? {
        return conv2d(&concat_channels(a, b)?, w, None, config);
    }
    tape::apply3(&a.contiguous()?, &b.contiguous()?, &w.contiguous()?, Joined { config, bias: None })
}

/// [`conv2d_relu`] of two images side by side, as [`conv2d_joined`].
///
/// # Errors
/// As [`conv2d_joined`].
pub fn conv2d_relu_joined(
    (a, b): (&Tensor, &Tensor),
    w: &Tensor,
    bias: &Tensor,
    config: Conv2dConfig,
) -> Result<Tensor> {
    same_dtype(NAME, &[a, b])?;
    same_types(NAME, a, &[w, bias])?;
    if !fits(a, b, w, config)? {
        return conv2d_relu(&concat_channels(a, b)?, w, bias, config);
    }
    let op = Joined { config, bias: Some(bias.contiguous()?) };
    a.contiguous()?.apply_op3_no_bwd(&b.contiguous()?, &w.contiguous()?, &op)
}

/// Whether both images can be read where they are.
fn fits(a: &Tensor, b: &Tensor, w: &Tensor, config: Conv2dConfig) -> Result<bool> {
    let (first, g) = geometry(a.layout(), b.layout(), w.layout(), config)?;
    // On the GPU cuDNN reads one image: a pass to join them costs less than a slower convolution.
    Ok(a.device().is_cpu() && winograd::fits(&g) && first.is_multiple_of(WIDEST) && first < g.channels)
}

/// Channels of the first image, and the sizes with the channels of both.
fn geometry(a: &Layout, b: &Layout, w: &Layout, config: Conv2dConfig) -> Result<(usize, Geometry)> {
    let ([n, h, width, first], [nb, hb, wb, rest]) = (dims4(NAME, a)?, dims4(NAME, b)?);
    if [n, h, width] != [nb, hb, wb] {
        bail!("{NAME}: images of {:?} and {:?} do not lie on each other", a.dims(), b.dims());
    }
    Ok((first, Geometry::new([n, h, width, first + rest], dims4(NAME, w)?, config)?))
}

struct Joined {
    config: Conv2dConfig,
    /// With it, what is negative then becomes 0.
    bias: Option<Tensor>,
}

impl Joined {
    fn backward<T: Lanes>(&self, a: &Tensor, b: &Tensor, w: &Tensor, dy: &Tensor) -> Result<[Tensor; 3]> {
        let (first, g) = geometry(a.layout(), b.layout(), w.layout(), self.config)?;
        let (ha, hb, hw, hdy) = (host(NAME, a), host(NAME, b), host(NAME, w), host(NAME, dy));
        let x = Parts::joined([ha.slice::<T>()?, hb.slice()?], first, g.channels);
        let dy = hdy.slice::<T>()?;
        let [da, db] = winograd::input_gradient(&g, dy, &flip(&g, hw.slice()?), first);
        let dw = winograd::kernel_gradient(&g, x, dy);
        Ok([
            Tensor::from_vec(da, a.shape(), a.device())?,
            Tensor::from_vec(db, b.shape(), b.device())?,
            Tensor::from_vec(dw, w.shape(), w.device())?,
        ])
    }
}

impl CustomOp3 for Joined {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        al: &Layout,
        b: &CpuStorage,
        bl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (first, g) = geometry(al, bl, wl, self.config)?;
        let bias = self.bias.as_ref().map(|bias| host(NAME, bias));
        let y = with_float!(NAME, a.dtype(), T => {
            let bias = bias.as_ref().map(|bias| bias.slice::<T>()).transpose()?;
            if bias.is_some_and(|b| b.len() != g.out_channels) {
                bail!("{NAME}: the bias has not one value for each of {} output channels", g.out_channels);
            }
            let x = Parts::joined([slice::<T>(NAME, a, al)?, slice(NAME, b, bl)?], first, g.channels);
            let finish = Finish { bias, relu: bias.is_some() };
            T::to_cpu_storage_owned(winograd::forward(&g, x, slice(NAME, w, wl)?, finish))
        });
        Ok((y, Shape::from((g.batch, g.out_height, g.out_width, g.out_channels))))
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        w: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        let [da, db, dw] = with_float!(NAME, a.dtype(), T => self.backward::<T>(a, b, w, &dy))?;
        Ok((Some(da), Some(db), Some(dw)))
    }
}
