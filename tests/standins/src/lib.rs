//! Stand-ins for the services the function talks to.
