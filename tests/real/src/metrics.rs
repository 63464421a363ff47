//! What a node of etcd counts itself.

/// The page of one node, in Prometheus' text format.
#[derive(Clone, Debug)]
pub struct Metrics(pub(crate) String);

impl Metrics {
    /// The sum of a metric over its labels, of which one may be asked for: `method="Range"`. 0 if the node has
    /// no such metric.
    #[must_use]
    pub fn sum(&self, name: &str, label: &str) -> f64 {
        let values = self.0.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let (labels, value) = rest.rsplit_once(' ')?;
            let is_it = labels.is_empty() || labels.starts_with('{');
            (is_it && labels.contains(label)).then(|| value.parse::<f64>().ok())?
        });
        values.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_labels_and_not_taken_for_one_with_a_longer_name() {
        let page = "# TYPE a counter\na{m=\"Range\",c=\"OK\"} 2\na{m=\"Range\",c=\"No\"} 1e+01\n\
                    a{m=\"Txn\"} 5\na_total 7\nb 1.5\n";
        let page = Metrics(page.to_owned());
        assert_eq!(page.sum("a", "m=\"Range\""), 12.0);
        assert_eq!(page.sum("a", ""), 17.0);
        assert_eq!(page.sum("b", ""), 1.5);
        assert_eq!(page.sum("c", ""), 0.0);
    }
}
