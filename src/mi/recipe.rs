//! Matching of parameters: a command lists the sets of names it takes, its recipes.

use std::borrow::Cow;

use super::failure::Failure;
use super::json::Json;

/// One way to call a command: the exact set of its parameters, in their order.
pub(crate) type Recipe = &'static [&'static str];

/// Parameters as a client gave them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Given {
    /// None, or an empty array or object.
    Nothing,
    /// By position.
    Positional(Vec<Json>),
    /// By name.
    Named(Vec<(String, Json)>),
}

impl Given {
    /// Selects the recipe: by the number of parameters when they come by position, else by the
    /// set of their names.
    pub(crate) fn fit(self, recipes: &[Recipe]) -> Result<Arguments, Failure> {
        match self {
            Self::Nothing => fit_count(recipes, Vec::new()),
            Self::Positional(values) => fit_count(recipes, values),
            Self::Named(members) => fit_names(recipes, members),
        }
    }
}

fn fit_count(recipes: &[Recipe], values: Vec<Json>) -> Result<Arguments, Failure> {
    let mut fitting = recipes.iter().filter(|recipe| recipe.len() == values.len());
    let recipe = fitting.next().ok_or_else(Failure::bad_count)?;
    if fitting.next().is_some() {
        return Err(Failure::params(
            "Ambiguous call, use named parameters instead",
        ));
    }
    Ok(Arguments(recipe.iter().copied().zip(values).collect()))
}

fn fit_names(recipes: &[Recipe], members: Vec<(String, Json)>) -> Result<Arguments, Failure> {
    let fits = |recipe: &&Recipe| {
        // Equal in number, and each name there: a name given twice leaves another one out.
        recipe.len() == members.len()
            && recipe
                .iter()
                .all(|name| members.iter().any(|(given, _)| given == name))
    };
    let recipe = recipes
        .iter()
        .find(fits)
        .ok_or_else(|| Failure::params("Named parameters do not match"))?;
    let named = members.into_iter().filter_map(|(given, value)| {
        let name = recipe.iter().find(|name| **name == given)?;
        Some((*name, value))
    });
    Ok(Arguments(named.collect()))
}

/// Parameters that fit a recipe. Types are looked at when a value is asked for, in the order in
/// which the command asks, as OpenSIPS does.
#[derive(Debug)]
pub(crate) struct Arguments(Vec<(&'static str, Json)>);

impl Arguments {
    /// The parameter of that name, if the recipe has it.
    pub(crate) fn get(&self, name: &str) -> Option<&Json> {
        self.0
            .iter()
            .find(|(have, _)| *have == name)
            .map(|(_, value)| value)
    }

    /// A text that may not be empty; a number stands for its decimal text.
    pub(crate) fn text(&self, name: &'static str) -> Result<Option<Cow<'_, str>>, Failure> {
        self.get(name)
            .map(|value| text(value).ok_or_else(|| Failure::bad_type(name)))
            .transpose()
    }

    /// A text that every recipe of the command has.
    pub(crate) fn required_text(&self, name: &'static str) -> Result<Cow<'_, str>, Failure> {
        self.text(name)?.ok_or_else(Failure::bad_count)
    }

    /// A whole number; its decimal text is as good, and fractions are cut.
    pub(crate) fn whole(&self, name: &'static str) -> Result<Option<i64>, Failure> {
        self.get(name)
            .map(|value| whole(value).ok_or_else(|| Failure::bad_type(name)))
            .transpose()
    }

    /// A list of texts; one bare text is a list of one.
    pub(crate) fn texts(&self, name: &'static str) -> Result<Vec<Cow<'_, str>>, Failure> {
        match self.get(name) {
            None => Ok(Vec::new()),
            Some(Json::Array(items)) if items.is_empty() => Err(Failure::params(format!(
                "Empty array in parameter '{name}'"
            ))),
            Some(Json::Array(items)) => items
                .iter()
                .map(|item| {
                    text(item).ok_or_else(|| {
                        Failure::params(format!("Bad type for array item in parameter '{name}'"))
                    })
                })
                .collect(),
            Some(value) => text(value)
                .map(|one| vec![one])
                .ok_or_else(|| Failure::bad_type(name)),
        }
    }
}

fn text(value: &Json) -> Option<Cow<'_, str>> {
    match value {
        Json::Text(text) if text.is_empty() => None,
        Json::Text(text) => Some(Cow::Borrowed(text)),
        Json::Int(number) => Some(Cow::Owned(number.to_string())),
        Json::Uint(number) => Some(Cow::Owned(number.to_string())),
        Json::Float(number) => Some(Cow::Owned((number.trunc() as i64).to_string())),
        Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => None,
    }
}

fn whole(value: &Json) -> Option<i64> {
    match value {
        Json::Int(number) => Some(*number),
        Json::Uint(_) => Some(i64::MAX),
        Json::Float(number) => Some(number.trunc() as i64),
        Json::Text(text) => text.parse().ok(),
        Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBSCRIBE: &[Recipe] = &[&["event", "socket"], &["event", "socket", "expire"]];

    fn given(params: &str) -> Given {
        match Json::whole(params).unwrap() {
            Json::Array(items) => Given::Positional(items),
            Json::Object(members) => Given::Named(members),
            other => panic!("{other:?}"),
        }
    }

    fn refusal(params: &str) -> String {
        given(params).fit(SUBSCRIBE).unwrap_err().data.unwrap()
    }

    #[test]
    fn by_position_the_count_selects() {
        let two = given(r#"["E","s"]"#).fit(SUBSCRIBE).unwrap();
        assert_eq!(two.required_text("socket").unwrap(), "s");
        assert_eq!(two.whole("expire").unwrap(), None);
        let three = given(r#"["E","s","60"]"#).fit(SUBSCRIBE).unwrap();
        assert_eq!(three.whole("expire").unwrap(), Some(60));
        assert_eq!(refusal(r#"["E"]"#), "Too few or too many parameters");
        assert_eq!(
            refusal(r#"["E","s",1,2]"#),
            "Too few or too many parameters"
        );
    }

    #[test]
    fn by_name_the_set_selects() {
        let found = given(r#"{"socket":"s","event":"E"}"#)
            .fit(SUBSCRIBE)
            .unwrap();
        assert_eq!(found.required_text("event").unwrap(), "E");
        for wrong in [
            r#"{"event":"E"}"#,
            r#"{"event":"E","sock":"s"}"#,
            r#"{"event":"E","event":"F"}"#,
            r#"{"event":"E","socket":"s","socket":"t"}"#,
            r#"{"event":"E","socket":"s","expire":1,"x":2}"#,
        ] {
            assert_eq!(refusal(wrong), "Named parameters do not match", "{wrong}");
        }
    }

    #[test]
    fn two_recipes_of_one_count_are_ambiguous_by_position_only() {
        const TWINS: &[Recipe] = &[&["a"], &["b"]];
        let failure = given("[1]").fit(TWINS).unwrap_err();
        assert_eq!(
            failure.data.unwrap(),
            "Ambiguous call, use named parameters instead"
        );
        assert_eq!(
            given(r#"{"b":1}"#).fit(TWINS).unwrap().whole("b").unwrap(),
            Some(1)
        );
    }

    #[test]
    fn types_are_told_by_name() {
        for (params, name) in [
            (r#"["","s"]"#, "event"),
            (r#"["E",""]"#, "socket"),
            (r#"["E",null]"#, "socket"),
            (r#"["E",["s"]]"#, "socket"),
            (r#"[true,"s"]"#, "event"),
        ] {
            let found = given(params).fit(SUBSCRIBE).unwrap();
            let failure = found
                .required_text("event")
                .and_then(|_| found.required_text("socket"))
                .unwrap_err();
            assert_eq!(
                failure.data.unwrap(),
                format!("Bad type for parameter '{name}'")
            );
        }
        for expire in ["\"abc\"", "\"\"", "\" 1\"", "null", "true", "[1]", "{}"] {
            let found = given(&format!(r#"["E","s",{expire}]"#))
                .fit(SUBSCRIBE)
                .unwrap();
            let failure = found.whole("expire").unwrap_err();
            assert_eq!(
                failure.data.unwrap(),
                "Bad type for parameter 'expire'",
                "{expire}"
            );
        }
    }

    #[test]
    fn numbers_and_their_texts_stand_for_each_other() {
        let found = given(r#"[12,3.7,60.9]"#).fit(SUBSCRIBE).unwrap();
        assert_eq!(found.required_text("event").unwrap(), "12");
        assert_eq!(found.required_text("socket").unwrap(), "3");
        assert_eq!(found.whole("expire").unwrap(), Some(60));
    }

    #[test]
    fn lists_take_one_bare_text() {
        const LIST: &[Recipe] = &[&["names"]];
        let texts = |params: &str| {
            let found = given(params).fit(LIST).unwrap();
            found
                .texts("names")
                .map(|texts| texts.join(","))
                .map_err(|f| f.data.unwrap())
        };
        assert_eq!(texts(r#"[["a","b:",3]]"#).unwrap(), "a,b:,3");
        assert_eq!(texts(r#"["all"]"#).unwrap(), "all");
        assert_eq!(
            texts("[[]]").unwrap_err(),
            "Empty array in parameter 'names'"
        );
        let item = "Bad type for array item in parameter 'names'";
        assert_eq!(texts(r#"[["a",null]]"#).unwrap_err(), item);
        assert_eq!(texts("[{}]").unwrap_err(), "Bad type for parameter 'names'");
    }
}
