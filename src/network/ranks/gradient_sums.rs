//! The gradients of all ranks, added up while those below them are computed.

use std::collections::VecDeque;
use std::thread;
use std::time::{Duration, Instant};

use super::{Network, Team};
use crate::Result;
use crate::backend::{Backend, Ticket};
use crate::model::GradientPart;
use crate::program::Mat;

/// Numbers that are added up in one sum at least, while there are more: a sum of few takes as long as the way to the others and back.
const FEWEST: usize = 1 << 14;

/// So often it is looked whether numbers have come from the device, and after how long, before the device is waited for.
const LOOKS: usize = 20_000;
const BETWEEN_LOOKS: Duration = Duration::from_micros(20);

/// The sums of a training step. The first one begins with the loss, and with whether the rank wants to stop.
struct Sums<'a> {
    backend: &'a mut dyn Backend,
    team: &'a mut Team,
    /// Windows whose numbers are on their way from the device.
    coming: VecDeque<(Mat, Ticket)>,
    /// Numbers that have come, and their windows, for the next sum.
    values: Vec<f32>,
    windows: Vec<Mat>,
    /// The windows of each sum that is under way.
    begun: Vec<Vec<Mat>>,
}

impl Network {
    /// The backward pass, of which each gradient is added up over the ranks as soon as it is there, while those below it are computed; and with
    /// them the loss. Where the pass has run, `has_run`, they are added up alone.
    pub(in crate::network) fn back_propagate_together(&mut self, has_run: bool) -> Result<()> {
        let Some(team) = &mut self.team else {
            return if has_run { Ok(()) } else { self.backend.run(self.model.backward.clone()) };
        };
        let (coming, values, windows, begun) = (VecDeque::new(), Vec::new(), Vec::new(), Vec::new());
        let mut sums = Sums { backend: &mut *self.backend, team, coming, values, windows, begun };
        sums.request(self.model.head.loss)?;
        for GradientPart { steps, windows } in &self.model.gradient_parts {
            if !has_run {
                sums.backend.run(steps.clone())?;
            }
            windows.iter().copied().flat_map(Mat::blocks).try_for_each(|block| sums.request(block))?;
            sums.begin(false)?;
        }
        sums.begin(true)?;
        sums.finish()
    }
}

impl Sums<'_> {
    fn request(&mut self, window: Mat) -> Result<()> {
        let ticket = self.backend.request(window)?;
        self.coming.push_back((window, ticket));
        Ok(())
    }

    /// Begins the sums of what has come from the device, in order; with `all` waits for it.
    fn begin(&mut self, all: bool) -> Result<()> {
        let mut looks = 0;
        while let Some(&(window, ticket)) = self.coming.front() {
            match self.backend.take(ticket)? {
                Some(values) => {
                    self.coming.pop_front();
                    self.add(window, values)?;
                    looks = 0;
                }
                None if !all => return Ok(()),
                // To wait for the device is to wait for all of it, when what is there could be on its way to the others.
                None if looks < LOOKS => {
                    looks += 1;
                    thread::sleep(BETWEEN_LOOKS);
                }
                None => self.backend.wait()?,
            }
        }
        if all { self.begin_sum() } else { Ok(()) }
    }

    fn add(&mut self, window: Mat, values: Vec<f32>) -> Result<()> {
        let is_loss = self.windows.is_empty() && self.begun.is_empty();
        self.windows.push(window);
        if self.values.is_empty() {
            self.values = values;
        } else {
            self.values.extend(values);
        }
        if is_loss {
            self.values.push(self.team.vote());
        }
        if self.values.len() >= FEWEST { self.begin_sum() } else { Ok(()) }
    }

    fn begin_sum(&mut self) -> Result<()> {
        if self.windows.is_empty() {
            return Ok(());
        }
        self.begun.push(std::mem::take(&mut self.windows));
        self.team.collective.begin_sum(std::mem::take(&mut self.values))
    }

    /// Waits for the sums, and writes them where the rank's own numbers were.
    fn finish(self) -> Result<()> {
        let waiting = Instant::now();
        self.team.sums = self.begun.len();
        for (place, windows) in self.begun.into_iter().enumerate() {
            let sums = self.team.collective.finish_sum()?;
            let mut rest = &sums[..];
            for (number, window) in windows.into_iter().enumerate() {
                let values;
                (values, rest) = rest.split_at(window.len());
                self.backend.write(window, values)?;
                if place == 0 && number == 0 {
                    self.team.count_votes(rest[0]);
                    rest = &rest[1..];
                }
            }
        }
        self.team.waited += waiting.elapsed();
        Ok(())
    }
}
