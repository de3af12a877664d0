//! A reader of the CloudFormation template that returns its pipes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value, json};

use crate::pipe::PipeDefinition;
use crate::rule::RuleDefinition;

/// A template in which the short forms (`!Sub`) are written out (`Fn::Sub`), and in which the functions are evaluated
/// that need only names and the parameters' defaults: `Ref` and `Fn::Sub`.
#[derive(Clone, Debug)]
pub struct Template(Value);

impl Template {
    /// Reads a template's file.
    ///
    /// # Errors
    /// Names the file and the problem.
    pub fn read(path: &Path) -> Result<Self, String> {
        Self::read_with(path, &[])
    }

    /// Reads a template's file, with these parameters instead of their defaults.
    ///
    /// # Errors
    /// Names the file and the problem.
    pub fn read_with(path: &Path, parameters: &[(&str, &str)]) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        Self::parse_with(&text, parameters).map_err(|e| format!("{}: {e}", path.display()))
    }

    /// Reads a template's text.
    ///
    /// # Errors
    /// Names the place where it is not YAML.
    pub fn parse(yaml: &str) -> Result<Self, String> {
        Self::parse_with(yaml, &[])
    }

    fn parse_with(yaml: &str, parameters: &[(&str, &str)]) -> Result<Self, String> {
        let template = self::yaml(yaml)?;
        let mut names = names(&template);
        names.extend(parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Ok(Self(resolved(&template, &names)))
    }

    /// Returns the resources of a type (`AWS::Pipes::Pipe`): their logical ids and properties.
    pub fn resources(&self, kind: &str) -> Vec<(String, Value)> {
        let all = self.0["Resources"].as_object().into_iter().flatten();
        let of_kind = all.filter(|(_, resource)| resource["Type"] == kind);
        of_kind.map(|(id, resource)| (id.clone(), resource["Properties"].clone())).collect()
    }

    /// Returns the condition on which the stack has the resource with this logical id, if it has one.
    pub fn condition(&self, id: &str) -> Option<&str> {
        self.0["Resources"][id]["Condition"].as_str()
    }

    /// Returns the types of all resources.
    pub fn kinds(&self) -> BTreeSet<String> {
        let all = self.0["Resources"].as_object().into_iter().flatten();
        all.filter_map(|(_, resource)| resource["Type"].as_str().map(str::to_owned)).collect()
    }

    /// Returns the pipe that announces executions.
    ///
    /// # Errors
    /// If there is no such pipe, or if a pipe lacks a property that the stand-in needs.
    pub fn pipe(&self) -> Result<PipeDefinition, String> {
        let announces = |pipe: &PipeDefinition| pipe.detail_type == "Execution Status Change";
        self.pipes()?.into_iter().find(announces).ok_or_else(|| "the template has no pipe for executions".to_owned())
    }

    /// Returns every pipe.
    ///
    /// # Errors
    /// If a pipe lacks a property that the stand-in needs.
    pub fn pipes(&self) -> Result<Vec<PipeDefinition>, String> {
        self.resources("AWS::Pipes::Pipe").iter().map(|(id, pipe)| definition(id, pipe)).collect()
    }

    /// Returns the rules whose target is the function with this logical id, whether or not they are enabled.
    pub fn rules(&self, function: &str) -> Vec<RuleDefinition> {
        let arn = json!({"Fn::GetAtt": format!("{function}.Arn")});
        // Without its parameter an Fn::If has its last branch.
        let is_target = |target: &&Value| target["Arn"] == arn || target["Arn"]["Fn::If"][2] == arn;
        let rule = |(id, rule): (String, Value)| {
            let target = rule["Targets"].as_array()?.iter().find(is_target)?;
            let paths = target["InputTransformer"]["InputPathsMap"].as_object().into_iter().flatten();
            let paths = paths.filter_map(|(name, path)| Some((name.clone(), path.as_str()?.to_owned()))).collect();
            Some(RuleDefinition {
                input_paths: paths,
                bus: rule["EventBusName"].as_str().map(str::to_owned),
                pattern: rule["EventPattern"].clone(),
                input_template: target["InputTransformer"]["InputTemplate"].as_str().map(str::to_owned),
                id,
            })
        };
        self.resources("AWS::Events::Rule").into_iter().filter_map(rule).collect()
    }
}

/// Reads YAML as JSON. It may have CloudFormation's tags.
///
/// # Errors
/// Names the place where it is not YAML.
pub fn yaml(text: &str) -> Result<Value, String> {
    let documents = Yaml::load_from_str(text).map_err(|e| e.to_string())?;
    documents.first().map(json_of).ok_or_else(|| "the document is empty".to_owned())
}

/// Reads a pipe's definition from its properties.
fn definition(id: &str, pipe: &Value) -> Result<PipeDefinition, String> {
    let pattern = |filter: &Value| {
        let text = filter["Pattern"].as_str().ok_or_else(|| format!("{id}: a filter without a Pattern"))?;
        serde_json::from_str(text).map_err(|e| format!("{id}: {e} in the pattern {text}"))
    };
    let filters = pipe["SourceParameters"]["FilterCriteria"]["Filters"].as_array();
    let target = &pipe["TargetParameters"];
    let bus = &target["EventBridgeEventBusParameters"];
    let text = |name: &str| bus[name].as_str().map(str::to_owned).ok_or_else(|| format!("{id}: no {name}"));
    Ok(PipeDefinition {
        filters: filters.into_iter().flatten().map(pattern).collect::<Result<_, String>>()?,
        input_template: target["InputTemplate"].as_str().map(str::to_owned),
        source: text("Source")?,
        detail_type: text("DetailType")?,
        time: bus["Time"].as_str().map(str::to_owned),
        twice: false,
    })
}

/// Converts YAML to JSON, with tags written out as CloudFormation's functions.
fn json_of(yaml: &Yaml<'_>) -> Value {
    match yaml {
        Yaml::Value(Scalar::Boolean(b)) => (*b).into(),
        Yaml::Value(Scalar::Integer(n)) => (*n).into(),
        Yaml::Value(Scalar::FloatingPoint(n)) => n.into_inner().into(),
        Yaml::Value(Scalar::String(s)) => s.as_ref().into(),
        Yaml::Sequence(list) => list.iter().map(json_of).collect(),
        Yaml::Mapping(map) => map.iter().map(|(name, value)| (name_of(name), json_of(value))).collect(),
        Yaml::Tagged(tag, node) => {
            let function = match tag.suffix.as_str() {
                name @ ("Ref" | "Condition") => name.to_owned(),
                name => format!("Fn::{name}"),
            };
            json!({ function: json_of(node) })
        }
        _ => Value::Null,
    }
}

fn name_of(name: &Yaml<'_>) -> String {
    match json_of(name) {
        Value::String(name) => name,
        other => other.to_string(),
    }
}

/// Returns the values of names: the pseudo parameters, the parameters with a default, and the resources, which stand
/// for themselves.
fn names(template: &Value) -> BTreeMap<String, String> {
    let pseudo = [
        ("AWS::AccountId", "123456789012"),
        ("AWS::Partition", "aws"),
        ("AWS::Region", "us-east-1"),
        ("AWS::StackName", "standin-stack"),
        ("AWS::URLSuffix", "amazonaws.com"),
    ];
    let members = |name: &str| template[name].as_object().into_iter().flatten();
    let defaults = members("Parameters").filter_map(|(name, parameter)| {
        let default = parameter.get("Default")?;
        Some((name.clone(), default.as_str().map_or_else(|| default.to_string(), str::to_owned)))
    });
    let resources = members("Resources").map(|(id, _)| (id.clone(), id.clone()));
    pseudo
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into_iter()
        .chain(resources)
        .chain(defaults)
        .collect()
}

fn resolved(value: &Value, names: &BTreeMap<String, String>) -> Value {
    match value {
        Value::Array(list) => list.iter().map(|value| resolved(value, names)).collect(),
        Value::Object(map) => {
            let map: Map<_, _> = map.iter().map(|(name, value)| (name.clone(), resolved(value, names))).collect();
            let worked_out = match map.iter().next() {
                Some((function, of)) if map.len() == 1 => called(function, of, names),
                _ => None,
            };
            worked_out.unwrap_or(Value::Object(map))
        }
        other => other.clone(),
    }
}

/// Returns the value of `Ref` or `Fn::Sub`, or `None` for anything else and for an unknown name.
fn called(function: &str, of: &Value, names: &BTreeMap<String, String>) -> Option<Value> {
    match (function, of) {
        ("Ref", Value::String(name)) => names.get(name).map(|value| value.as_str().into()),
        ("Fn::Sub", Value::String(text)) => substituted(text, names, &Value::Null).map(Value::from),
        ("Fn::Sub", Value::Array(parts)) => {
            substituted(parts.first()?.as_str()?, names, parts.get(1)?).map(Value::from)
        }
        _ => None,
    }
}

fn substituted(text: &str, names: &BTreeMap<String, String>, own: &Value) -> Option<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after.split_once('}')?;
        out.push_str(before);
        match name.strip_prefix('!') {
            // `${!Name}` is the way to write a literal `${Name}`.
            Some(literal) => out.push_str(&format!("${{{literal}}}")),
            None => out.push_str(own[name].as_str().or_else(|| names.get(name).map(String::as_str))?),
        }
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}
