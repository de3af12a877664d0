//! DynamoDB's expressions, as far as the store writes them: conditions of comparisons and `attribute_exists`, joined by
//! `AND` and `OR`, and updates with `SET`, `REMOVE` and `ADD`. The store test (tests/store) compares each condition here
//! with the embedded DynamoDB.
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.OperatorsAndFunctions.html>

use std::cmp::Ordering;

use agent_trigger::store::{
    expression::Expression,
    item::{Item, Key},
    table::ConditionalWrite,
};
use aws_sdk_dynamodb::types::AttributeValue;

/// A condition as a tree.
#[derive(Debug, Clone)]
pub(crate) enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Clause(Clause),
}

/// One condition that has no parts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Clause {
    Compare(String, Operator, AttributeValue),
    Exists(String),
    NotExists(String),
    /// Holds for every item. A mutation puts it in the place of another clause.
    Always,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    Less,
    AtMost,
    More,
}

/// One action of an update.
#[derive(Debug, Clone)]
pub(crate) enum Action {
    Set(String, AttributeValue),
    /// Sets the attribute if it is absent.
    Default(String, AttributeValue),
    Remove(String),
    Add(String, i64),
}

/// What a write does to its item.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Put(Item),
    Update(Vec<Action>),
}

/// A conditional write, parsed.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) key: Key,
    pub(crate) condition: Condition,
    pub(crate) change: Change,
    /// Whether its sender had asked for the end of another execution when it sent this.
    pub(crate) has_waited: bool,
}

impl From<ConditionalWrite> for Request {
    fn from(write: ConditionalWrite) -> Self {
        match write {
            ConditionalWrite::Put { item, condition, expression } => {
                let part = |name| item[name].as_s().expect("a key is a string").clone();
                let key = (part("PK"), part("SK"));
                Self {
                    key,
                    condition: Condition::parse(&condition, &expression),
                    change: Change::Put(item),
                    has_waited: false,
                }
            }
            ConditionalWrite::Update { key, update, condition, expression } => {
                let condition = condition
                    .map_or(Condition::Clause(Clause::Always), |condition| Condition::parse(&condition, &expression));
                let change = Change::Update(Parser::new(&update, &expression).update());
                Self { key, condition, change, has_waited: false }
            }
        }
    }
}

impl Request {
    /// Returns the item after the write, or `None` if the condition does not hold.
    pub(crate) fn applied_to(&self, old: Option<&Item>) -> Option<Item> {
        if !self.condition.holds(old) {
            return None;
        }
        let actions = match &self.change {
            Change::Put(item) => return Some(item.clone()),
            Change::Update(actions) => actions,
        };
        let mut item = old.cloned().unwrap_or_else(|| {
            let (pk, sk) = self.key.clone();
            Item::from([("PK".to_owned(), AttributeValue::S(pk)), ("SK".to_owned(), AttributeValue::S(sk))])
        });
        for action in actions {
            match action {
                Action::Set(name, value) => {
                    item.insert(name.clone(), value.clone());
                }
                Action::Default(name, value) => {
                    item.entry(name.clone()).or_insert_with(|| value.clone());
                }
                Action::Remove(name) => {
                    item.remove(name);
                }
                Action::Add(name, number) => {
                    let sum = item.get(name).and_then(integer).unwrap_or(0) + number;
                    item.insert(name.clone(), AttributeValue::N(sum.to_string()));
                }
            }
        }
        Some(item)
    }

    /// Returns the value that the write gives an attribute.
    pub(crate) fn value(&self, attribute: &str) -> Option<&AttributeValue> {
        match &self.change {
            Change::Put(item) => item.get(attribute),
            Change::Update(actions) => actions.iter().find_map(|action| match action {
                Action::Set(name, value) if name == attribute => Some(value),
                _ => None,
            }),
        }
    }

    /// Changes the value that an update gives an attribute, if it gives one.
    pub(crate) fn replace(&mut self, attribute: &str, new: &AttributeValue) {
        if let Change::Update(actions) = &mut self.change {
            for action in actions {
                if let Action::Set(name, value) = action
                    && name == attribute
                {
                    *value = new.clone();
                }
            }
        }
    }
}

impl Condition {
    pub(crate) fn parse(text: &str, expression: &Expression) -> Self {
        let mut parser = Parser::new(text, expression);
        let condition = parser.any();
        assert_eq!(parser.peek(), None, "a condition that this evaluator does not know: {text}");
        condition
    }

    pub(crate) fn holds(&self, item: Option<&Item>) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(item)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(item)),
            Self::Clause(clause) => clause.holds(item),
        }
    }

    /// Passes each clause to `edit`.
    pub(crate) fn edit(&mut self, edit: &mut impl FnMut(&mut Clause)) {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter_mut().for_each(|part| part.edit(edit)),
            Self::Clause(clause) => edit(clause),
        }
    }

    /// Returns true if `is_looked_for` returns true for a clause.
    pub(crate) fn has(&self, is_looked_for: &impl Fn(&Clause) -> bool) -> bool {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().any(|part| part.has(is_looked_for)),
            Self::Clause(clause) => is_looked_for(clause),
        }
    }
}

impl Clause {
    fn holds(&self, item: Option<&Item>) -> bool {
        let value = |name: &String| item.and_then(|item| item.get(name));
        match self {
            Self::Always => true,
            Self::Exists(name) => value(name).is_some(),
            Self::NotExists(name) => value(name).is_none(),
            // An absent attribute or one of another type compares as false, with whatever.
            Self::Compare(name, operator, other) => {
                value(name).and_then(|value| compare(value, other)).is_some_and(|ordering| match operator {
                    Operator::Equal => ordering.is_eq(),
                    Operator::Less => ordering.is_lt(),
                    Operator::AtMost => ordering.is_le(),
                    Operator::More => ordering.is_gt(),
                })
            }
        }
    }

    pub(crate) fn attribute(&self) -> &str {
        match self {
            Self::Compare(name, ..) | Self::Exists(name) | Self::NotExists(name) => name,
            Self::Always => "",
        }
    }

    /// Returns true if the clause compares this attribute in this way.
    pub(crate) fn compares(&self, attribute: &str, operator: Operator) -> bool {
        matches!(self, Self::Compare(name, found, _) if name == attribute && *found == operator)
    }
}

fn compare(value: &AttributeValue, other: &AttributeValue) -> Option<Ordering> {
    match (value, other) {
        (AttributeValue::S(value), AttributeValue::S(other)) => Some(value.as_bytes().cmp(other.as_bytes())),
        (AttributeValue::N(_), AttributeValue::N(_)) => Some(integer(value)?.cmp(&integer(other)?)),
        (AttributeValue::Bool(value), AttributeValue::Bool(other)) => Some(value.cmp(other)),
        _ => None,
    }
}

pub(crate) fn integer(value: &AttributeValue) -> Option<i64> {
    value.as_n().ok()?.parse().ok()
}

/// Reads an expression with its names and values.
struct Parser<'a> {
    words: Vec<&'a str>,
    at: usize,
    expression: &'a Expression,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, expression: &'a Expression) -> Self {
        let mut words = Vec::new();
        for word in text.split_whitespace() {
            let mut rest = word;
            while let Some(end) = rest.find(['(', ')', ',']) {
                words.extend([&rest[..end], &rest[end..=end]].into_iter().filter(|word| !word.is_empty()));
                rest = &rest[end + 1..];
            }
            words.extend(Some(rest).filter(|word| !word.is_empty()));
        }
        Self { words, at: 0, expression }
    }

    fn peek(&self) -> Option<&'a str> {
        self.words.get(self.at).copied()
    }

    fn next(&mut self) -> &'a str {
        let word = self.peek().expect("an expression that goes on");
        self.at += 1;
        word
    }

    fn takes(&mut self, word: &str) -> bool {
        let is_next = self.peek() == Some(word);
        self.at += usize::from(is_next);
        is_next
    }

    fn name(&mut self) -> String {
        let word = self.next();
        self.expression.names.get(word).unwrap_or_else(|| panic!("{word} is not a name")).clone()
    }

    fn value(&mut self) -> AttributeValue {
        let word = self.next();
        self.expression.values.get(word).unwrap_or_else(|| panic!("{word} is not a value")).clone()
    }

    fn any(&mut self) -> Condition {
        let mut parts = vec![self.all()];
        while self.takes("OR") {
            parts.push(self.all());
        }
        if parts.len() == 1 { parts.remove(0) } else { Condition::Any(parts) }
    }

    fn all(&mut self) -> Condition {
        let mut parts = vec![self.part()];
        while self.takes("AND") {
            parts.push(self.part());
        }
        if parts.len() == 1 { parts.remove(0) } else { Condition::All(parts) }
    }

    fn part(&mut self) -> Condition {
        if self.takes("(") {
            let inner = self.any();
            assert!(self.takes(")"), "a closing parenthesis");
            return inner;
        }
        let exists = self.takes("attribute_exists");
        if exists || self.takes("attribute_not_exists") {
            assert!(self.takes("("), "an opening parenthesis");
            let name = self.name();
            assert!(self.takes(")"), "a closing parenthesis");
            return Condition::Clause(if exists { Clause::Exists(name) } else { Clause::NotExists(name) });
        }
        let name = self.name();
        let operator = match self.next() {
            "=" => Operator::Equal,
            "<" => Operator::Less,
            "<=" => Operator::AtMost,
            ">" => Operator::More,
            other => panic!("an operator that this evaluator does not know: {other}"),
        };
        Condition::Clause(Clause::Compare(name, operator, self.value()))
    }

    fn update(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        let mut section = "";
        while let Some(word) = self.peek() {
            if matches!(word, "SET" | "REMOVE" | "ADD" | ",") {
                self.at += 1;
                section = if word == "," { section } else { word };
                continue;
            }
            let name = self.name();
            actions.push(match section {
                "REMOVE" => Action::Remove(name),
                "ADD" => Action::Add(name, integer(&self.value()).expect("a number")),
                _ => {
                    assert!(self.takes("="), "an assignment");
                    if self.takes("if_not_exists") {
                        assert!(self.takes("(") && self.name() == name && self.takes(","), "its own default");
                        let value = self.value();
                        assert!(self.takes(")"), "a closing parenthesis");
                        Action::Default(name, value)
                    } else {
                        Action::Set(name, self.value())
                    }
                }
            });
        }
        actions
    }
}
