//! Templates of keys and annotations, on minijinja: no files, no environment, an end to what they may cost.

use std::collections::BTreeSet;
use std::sync::Arc;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde::Serialize;

/// Steps a template may take.
const FUEL: u64 = 20_000;
const MAX_LENGTH: usize = 64 * 1024;

/// A compiled template.
#[derive(Clone, Debug)]
pub struct Template {
    source: Arc<str>,
    /// Takes what is not there as empty text.
    lenient: Arc<Environment<'static>>,
    /// Fails where something is not there, so that it can be counted.
    strict: Arc<Environment<'static>>,
}

const NAME: &str = "template";

impl Template {
    /// Compiles a template.
    pub fn new(source: &str) -> Result<Self, String> {
        let environment = |undefined| {
            let mut environment = Environment::new();
            environment.set_undefined_behavior(undefined);
            environment.set_auto_escape_callback(|_| AutoEscape::None);
            environment.set_fuel(Some(FUEL));
            environment.set_recursion_limit(20);
            environment.add_template_owned(NAME, source.to_owned()).map(|()| Arc::new(environment))
        };
        if source.len() > MAX_LENGTH {
            return Err(format!("template of {} bytes; at most {MAX_LENGTH} are taken", source.len()));
        }
        let compiled = environment(UndefinedBehavior::Chainable)
            .and_then(|lenient| Ok((lenient, environment(UndefinedBehavior::Strict)?)));
        match compiled {
            Ok((lenient, strict)) => Ok(Self { source: source.into(), lenient, strict }),
            Err(error) => Err(format!("no template: {}", said(&error))),
        }
    }

    /// The names that it asks its context for, such as `rule.id`.
    pub fn names(&self) -> BTreeSet<String> {
        let template = self.lenient.get_template(NAME);
        template.map(|template| template.undeclared_variables(true).into_iter().collect()).unwrap_or_default()
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What the template makes of a context, what is missing as empty text.
    pub fn render<S: Serialize>(&self, context: &S) -> Result<String, String> {
        render(&self.lenient, context)
    }

    /// Likewise, and what was missing or failed.
    pub fn render_counted<S: Serialize>(&self, context: &S) -> (Option<String>, Option<String>) {
        match render(&self.strict, context) {
            Ok(text) => (Some(text), None),
            Err(error) => (self.render(context).ok(), Some(error)),
        }
    }
}

fn render<S: Serialize>(environment: &Environment<'_>, context: &S) -> Result<String, String> {
    let context = minijinja::Value::from(Serde(context));
    let rendered = environment.get_template(NAME).and_then(|template| template.render(context));
    let text = rendered.map_err(|error| said(&error))?;
    if text.len() > MAX_LENGTH {
        return Err(format!("the template gives {} bytes; at most {MAX_LENGTH} are taken", text.len()));
    }
    Ok(text)
}

fn said(error: &minijinja::Error) -> String {
    error.detail().map_or_else(|| error.kind().to_string(), |detail| format!("{}: {detail}", error.kind()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> serde_json::Value {
        serde_json::json!({"rule": {"id": "cpu"}, "tags": {"instance_id": "db-1"}, "metric": "cpu_usage"})
    }

    #[test]
    fn what_is_missing_is_empty_and_counted() {
        let key = Template::new("{{ rule.id }}:{{ tags.instance_id }}:{{ metric }}").expect("a template");
        assert_eq!(key.render_counted(&context()), (Some("cpu:db-1:cpu_usage".to_owned()), None));
        let (text, error) = Template::new("on {{ tags.nope.x }}!").expect("a template").render_counted(&context());
        assert_eq!(text.as_deref(), Some("on !"));
        assert!(error.expect("an error").contains("undefined"));
    }

    #[test]
    fn a_template_comes_to_an_end_and_reads_nothing_else() {
        let endless = Template::new("{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}");
        assert!(endless.expect("compiles").render(&context()).expect_err("no fuel").contains("fuel"));
        assert!(Template::new("{% include '/etc/passwd' %}").and_then(|template| template.render(&context())).is_err());
        assert!(Template::new("{{ x").expect_err("no template").contains("no template"));
        assert!(Template::new("{{ env('HOME') }}").expect("compiles").render(&context()).is_err());
    }
}
