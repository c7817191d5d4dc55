//! What each function takes and returns.

use crate::types::ValueType::{self, Matrix, Scalar, String, Vector};

/// A function of PromQL.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// The types of its arguments; those beyond the list have the type of the last one.
    pub arguments: &'static [ValueType],
    /// The least number of arguments.
    pub least: usize,
    /// The greatest number of arguments, where there is one.
    pub most: Option<usize>,
    /// What it returns.
    pub returns: ValueType,
    /// Whether Prometheus has it behind a feature flag. Here it is always there.
    pub experimental: bool,
}

impl Function {
    /// The function of a name; names are case-sensitive.
    pub fn named(name: &str) -> Option<&'static Self> {
        FUNCTIONS.binary_search_by(|function| function.name.cmp(name)).ok().map(|at| &FUNCTIONS[at])
    }

    /// The type of the argument with this index, counted from zero; nothing of a function without arguments.
    pub fn argument_type(&self, index: usize) -> Option<ValueType> {
        self.arguments.get(index).or(self.arguments.last()).copied()
    }

    const fn taking(mut self, least: usize, most: Option<usize>) -> Self {
        self.least = least;
        self.most = most;
        self
    }
}

const fn stable(name: &'static str, arguments: &'static [ValueType], returns: ValueType) -> Function {
    let count = arguments.len();
    Function { name, arguments, least: count, most: Some(count), returns, experimental: false }
}

const fn experimental(name: &'static str, arguments: &'static [ValueType], returns: ValueType) -> Function {
    let mut function = stable(name, arguments, returns);
    function.experimental = true;
    function
}

/// All functions, by their names.
pub static FUNCTIONS: &[Function] = &[
    stable("abs", &[Vector], Vector),
    stable("absent", &[Vector], Vector),
    stable("absent_over_time", &[Matrix], Vector),
    stable("acos", &[Vector], Vector),
    stable("acosh", &[Vector], Vector),
    stable("asin", &[Vector], Vector),
    stable("asinh", &[Vector], Vector),
    stable("atan", &[Vector], Vector),
    stable("atanh", &[Vector], Vector),
    stable("avg_over_time", &[Matrix], Vector),
    stable("ceil", &[Vector], Vector),
    stable("changes", &[Matrix], Vector),
    stable("clamp", &[Vector, Scalar, Scalar], Vector),
    stable("clamp_max", &[Vector, Scalar], Vector),
    stable("clamp_min", &[Vector, Scalar], Vector),
    stable("cos", &[Vector], Vector),
    stable("cosh", &[Vector], Vector),
    stable("count_over_time", &[Matrix], Vector),
    stable("day_of_month", &[Vector], Vector).taking(0, Some(1)),
    stable("day_of_week", &[Vector], Vector).taking(0, Some(1)),
    stable("day_of_year", &[Vector], Vector).taking(0, Some(1)),
    stable("days_in_month", &[Vector], Vector).taking(0, Some(1)),
    stable("deg", &[Vector], Vector),
    stable("delta", &[Matrix], Vector),
    stable("deriv", &[Matrix], Vector),
    experimental("double_exponential_smoothing", &[Matrix, Scalar, Scalar], Vector),
    experimental("end", &[], Scalar),
    stable("exp", &[Vector], Vector),
    stable("first_over_time", &[Matrix], Vector),
    stable("floor", &[Vector], Vector),
    stable("histogram_avg", &[Vector], Vector),
    stable("histogram_count", &[Vector], Vector),
    stable("histogram_fraction", &[Scalar, Scalar, Vector], Vector),
    stable("histogram_quantile", &[Scalar, Vector], Vector),
    experimental("histogram_quantiles", &[Vector, String, Scalar, Scalar], Vector).taking(3, Some(12)),
    stable("histogram_stddev", &[Vector], Vector),
    stable("histogram_stdvar", &[Vector], Vector),
    stable("histogram_sum", &[Vector], Vector),
    stable("hour", &[Vector], Vector).taking(0, Some(1)),
    stable("idelta", &[Matrix], Vector),
    stable("increase", &[Matrix], Vector),
    experimental("info", &[Vector, Vector], Vector).taking(1, Some(2)),
    stable("irate", &[Matrix], Vector),
    stable("label_join", &[Vector, String, String, String], Vector).taking(3, None),
    stable("label_replace", &[Vector, String, String, String, String], Vector),
    stable("last_over_time", &[Matrix], Vector),
    stable("ln", &[Vector], Vector),
    stable("log10", &[Vector], Vector),
    stable("log2", &[Vector], Vector),
    experimental("mad_over_time", &[Matrix], Vector),
    experimental("max_of", &[Scalar, Scalar], Scalar),
    stable("max_over_time", &[Matrix], Vector),
    experimental("min_of", &[Scalar, Scalar], Scalar),
    stable("min_over_time", &[Matrix], Vector),
    stable("minute", &[Vector], Vector).taking(0, Some(1)),
    stable("month", &[Vector], Vector).taking(0, Some(1)),
    stable("pi", &[], Scalar),
    stable("predict_linear", &[Matrix, Scalar], Vector),
    stable("present_over_time", &[Matrix], Vector),
    stable("quantile_over_time", &[Scalar, Matrix], Vector),
    stable("rad", &[Vector], Vector),
    experimental("range", &[], Scalar),
    stable("rate", &[Matrix], Vector),
    stable("resets", &[Matrix], Vector),
    stable("round", &[Vector, Scalar], Vector).taking(1, Some(2)),
    stable("scalar", &[Vector], Scalar),
    stable("sgn", &[Vector], Vector),
    stable("sin", &[Vector], Vector),
    stable("sinh", &[Vector], Vector),
    stable("sort", &[Vector], Vector),
    experimental("sort_by_label", &[Vector, String], Vector).taking(1, None),
    experimental("sort_by_label_desc", &[Vector, String], Vector).taking(1, None),
    stable("sort_desc", &[Vector], Vector),
    stable("sqrt", &[Vector], Vector),
    experimental("start", &[], Scalar),
    experimental("start_timestamp", &[Vector], Vector),
    stable("stddev_over_time", &[Matrix], Vector),
    stable("stdvar_over_time", &[Matrix], Vector),
    experimental("step", &[], Scalar),
    stable("sum_over_time", &[Matrix], Vector),
    stable("tan", &[Vector], Vector),
    stable("tanh", &[Vector], Vector),
    stable("time", &[], Scalar),
    stable("timestamp", &[Vector], Vector),
    experimental("ts_of_first_over_time", &[Matrix], Vector),
    experimental("ts_of_last_over_time", &[Matrix], Vector),
    experimental("ts_of_max_over_time", &[Matrix], Vector),
    experimental("ts_of_min_over_time", &[Matrix], Vector),
    stable("vector", &[Scalar], Vector),
    stable("year", &[Vector], Vector).taking(0, Some(1)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_found_by_its_name() {
        for function in FUNCTIONS {
            assert_eq!(Function::named(function.name), Some(function));
        }
        assert_eq!(Function::named("Rate"), None);
    }

    #[test]
    fn arguments_beyond_the_list_have_the_type_of_the_last_one() {
        let join = Function::named("label_join").unwrap();
        assert_eq!((join.least, join.most), (3, None));
        assert_eq!(join.argument_type(0), Some(Vector));
        assert_eq!(join.argument_type(9), Some(String));
        assert_eq!(Function::named("time").unwrap().argument_type(0), None);
    }
}
