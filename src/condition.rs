//! stub
use serde_json::Value;
/// stub
#[derive(Debug)]
pub struct Conditions;
impl Conditions {
    /// stub
    ///
    /// # Errors
    /// stub
    pub fn parse(_: &Value) -> Result<Self, Vec<String>> {
        Ok(Self)
    }
    /// stub
    pub fn matches(&self, _: &Value) -> bool {
        true
    }
}
