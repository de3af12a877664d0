//! The errors of the table's operations.

use crate::{
    domain::failure::{ErrorType, Failure},
    error_chain::chain,
};

/// The reason why the table did not give a result.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// DynamoDB answered with an error.
    #[error("DynamoDB {operation} failed: {code}: {message}")]
    Service {
        /// The operation.
        operation: &'static str,
        /// DynamoDB's error code.
        code: String,
        /// DynamoDB's message.
        message: String,
    },
    /// No answer came: whether something was written is unknown.
    #[error("DynamoDB {operation} got no answer: {cause}")]
    NoAnswer {
        /// The operation.
        operation: &'static str,
        /// What happened to the request.
        cause: String,
    },
    /// The invocation's time was up first: whether something was written is unknown.
    #[error("DynamoDB had not answered when the invocation's time was nearly up")]
    OutOfTime,
    /// The items changed under every write.
    #[error("the execution's items changed too often while they were written")]
    Contended,
    /// A write of a transaction can never be made: the item would be too large, or holds what the update cannot change.
    /// Nothing was written.
    #[error("DynamoDB TransactWriteItems cannot make the write {index}: {message}")]
    Unwritable {
        /// The write's index in the transaction.
        index: usize,
        /// DynamoDB's message.
        message: String,
    },
    /// A stored item is not one that this version understands.
    #[error("the stored execution has no status this version knows")]
    Unreadable,
}

impl StoreError {
    /// Returns true if DynamoDB refuses the request itself, so that it would refuse it again: a `ValidationException`,
    /// or a write that can never be made.
    pub(crate) fn is_of_request(&self) -> bool {
        match self {
            Self::Service { code, .. } => code == "ValidationException",
            Self::Unwritable { .. } => true,
            Self::NoAnswer { .. } | Self::OutOfTime | Self::Contended | Self::Unreadable => false,
        }
    }
}

impl From<StoreError> for Failure {
    /// Returns a failure `RecordStoreFailed` that is retryable, with the chain of causes.
    fn from(error: StoreError) -> Self {
        Self::retryable(ErrorType::RecordStoreFailed, chain(&error))
    }
}
