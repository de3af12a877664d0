//! Converts DynamoDB's typed JSON to plain JSON and back.

use serde_json::{Map, Number, Value, json};

/// Converts `{"S":"x"}` to `"x"`, and so on through maps and lists. Sets become arrays.
pub(crate) fn unwrap(value: &Value) -> Value {
    let Some((kind, inner)) = value.as_object().and_then(|object| object.iter().next()) else { return Value::Null };
    let all = |f: fn(&Value) -> Value| Value::Array(inner.as_array().into_iter().flatten().map(f).collect());
    match kind.as_str() {
        "N" => number(inner),
        "NS" => all(number),
        "L" => all(unwrap),
        "M" => unwrap_item(inner),
        "NULL" => Value::Null,
        _ => inner.clone(),
    }
}

/// Converts the attributes of an item or map to plain JSON.
pub(crate) fn unwrap_item(item: &Value) -> Value {
    item.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), unwrap(value))).collect()
}

fn number(text: &Value) -> Value {
    let text = text.as_str().unwrap_or_default();
    if let Ok(n) = text.parse::<i64>() {
        return n.into();
    }
    text.parse::<f64>().ok().and_then(Number::from_f64).map_or_else(|| text.into(), Value::Number)
}

/// Converts plain JSON to typed JSON.
pub(crate) fn wrap(value: &Value) -> Value {
    match value {
        Value::Null => json!({"NULL": true}),
        Value::Bool(b) => json!({"BOOL": b}),
        Value::Number(n) => json!({"N": n.to_string()}),
        Value::String(s) => json!({"S": s}),
        Value::Array(list) => json!({"L": list.iter().map(wrap).collect::<Vec<_>>()}),
        Value::Object(map) => json!({"M": wrap_map(map)}),
    }
}

/// Converts an item's attributes to typed JSON.
pub(crate) fn wrap_map(map: &Map<String, Value>) -> Map<String, Value> {
    map.iter().map(|(name, value)| (name.clone(), wrap(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips() {
        let plain = json!({"s": "x", "n": 12, "b": true, "m": {"l": [1, "two"]}, "none": null});
        assert_eq!(unwrap(&wrap(&plain)), plain);
        assert_eq!(unwrap(&json!({"NS": ["1", "2.5"]})), json!([1, 2.5]));
    }
}
