//! What an engine must be able to do.

/// A rank that is gone, or whatever else ends the work together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Which one; `None`: it is not known.
    pub rank: Option<usize>,
    /// What is known of it, for people: "has not answered for 60 s".
    pub why: String,
}

/// Bytes from rank to rank: all that an engine has to do. It lives in the thread of a [`super::Worker`].
pub trait Messages {
    /// The number of this rank, from 0.
    fn rank(&self) -> usize;

    /// How many ranks there are.
    fn size(&self) -> usize;

    /// Sends each rank its bytes and receives those of each, of lengths that both sides know. Where there are none, nothing is sent; a rank
    /// sends nothing to itself.
    ///
    /// # Errors
    /// When another rank is gone. Nothing else is called then.
    fn exchange(&mut self, to: &[&[u8]], from: &mut [&mut [u8]]) -> Result<(), Lost>;

    /// Called now and then while there is nothing to do: answers those who ask whether this rank is still there.
    ///
    /// # Errors
    /// When another rank is gone.
    fn answer(&mut self) -> Result<(), Lost> {
        Ok(())
    }

    /// Tells the others that this rank ends without them.
    fn leave(&mut self) {}

    /// Ends without the others. Dropping it is an orderly end of all.
    fn abandon(self)
    where
        Self: Sized,
    {
    }
}
