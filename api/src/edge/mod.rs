//! The two edges of the API: Lambda behind API Gateway, and a port of this machine. Both serve the same router, and
//! both identify the caller by putting [`Claims`](crate::auth::Claims) into the request.

pub mod lambda;
pub mod local;
