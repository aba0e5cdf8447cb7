//! `metrics.csv`, `metrics.parquet`, `samples.parquet`, `comparisons.csv`, `correlations.csv`: long tables, sorted by key, the same bytes for the same rows.
//!
//! A number that is not defined (NaN) is null in parquet and an empty cell in csv; an empty name is `""` in csv, so the
//! two differ. The parquet files carry [`SCHEMA_VERSION`] in their key-value metadata under [`SCHEMA_KEY`]; csv has no
//! place for it, the run's `manifest.json` has it instead. No other file sees polars.
//!
//! The bytes depend on nothing but the rows: no time is written, row groups have a fixed size, and columns are
//! written one after another, so that polars' thread pool (sized by `POLARS_MAX_THREADS`) has nothing to reorder.

use std::fmt::Debug;
use std::io::Cursor;

use polars::prelude::{
    Column, CsvWriter, DataFrame, KeyValueMetadata, ParquetCompression, ParquetReader, ParquetWriter, PolarsError,
    SerReader, SerWriter,
};

use super::comparison::Comparison;
use super::correlation::Correlation;
use super::difference::{Difference, Matched};
use super::row::{MetricRow, SampleRow};
use crate::error::{Error, Result};
use crate::metric::Estimate;

/// Version of the tables' columns; raised whenever one is added, renamed or changes its meaning.
pub const SCHEMA_VERSION: &str = "1";

/// Where [`SCHEMA_VERSION`] stands in a parquet file's key-value metadata.
pub const SCHEMA_KEY: &str = "cavern.schema";

const ROW_GROUP: usize = 65_536;

/// The metric table as csv, with a header line.
///
/// # Errors
/// When two rows have the same key.
pub fn metrics_csv(rows: &[MetricRow]) -> Result<Vec<u8>> {
    csv(metric_frame(rows)?)
}

/// The comparisons as csv, with a header line, in their order.
///
/// # Errors
/// When the table cannot be written.
pub fn comparisons_csv(rows: &[Comparison]) -> Result<Vec<u8>> {
    csv(comparison_frame(rows)?)
}

/// The comparisons as parquet.
///
/// # Errors
/// When the table cannot be written.
pub fn comparisons_parquet(rows: &[Comparison]) -> Result<Vec<u8>> {
    parquet(comparison_frame(rows)?)
}

/// The correlations as csv, with a header line, in their order.
///
/// # Errors
/// When the table cannot be written.
pub fn correlations_csv(rows: &[Correlation]) -> Result<Vec<u8>> {
    csv(correlation_frame(rows)?)
}

/// What runs have over the first one, over concepts, as csv with a header line, in their order.
///
/// # Errors
/// When the table cannot be written.
pub fn differences_csv(rows: &[Difference]) -> Result<Vec<u8>> {
    columns_csv(&[
        text("run", rows, |d| &d.run),
        text("layer", rows, |d| &d.layer),
        text("probe", rows, |d| &d.probe),
        text("variant", rows, |d| &d.variant),
        text("metric", rows, |d| &d.metric),
        number("first", rows, |d| d.first),
        number("other", rows, |d| d.other),
        number("difference", rows, |d| d.difference),
        number("ci_low", rows, |d| d.ci_low),
        number("ci_high", rows, |d| d.ci_high),
        number("p", rows, |d| d.p),
        number("p_holm", rows, |d| d.p_holm),
        number("effect_dz", rows, |d| d.effect),
        number("n", rows, |d| d.n as f64),
        flag("higher_is_better", rows, |d| d.higher_is_better),
        flag("shown", rows, Difference::holds),
    ])
}

/// Every row that two runs have, as csv with a header line, in their order.
///
/// # Errors
/// When the table cannot be written.
pub fn matched_csv(rows: &[Matched<'_>]) -> Result<Vec<u8>> {
    columns_csv(&[
        text("run", rows, |m| m.run),
        text("layer", rows, |m| &m.first.layer),
        text("concept", rows, |m| &m.first.concept),
        text("probe", rows, |m| &m.first.probe),
        text("variant", rows, |m| &m.first.variant),
        text("split", rows, |m| &m.first.split),
        text("metric", rows, |m| &m.first.metric),
        text("parameter", rows, |m| &m.first.parameter),
        number("first", rows, |m| m.first.estimate.value),
        number("first_low", rows, |m| m.first.estimate.ci_low),
        number("first_high", rows, |m| m.first.estimate.ci_high),
        number("other", rows, |m| m.other.estimate.value),
        number("other_low", rows, |m| m.other.estimate.ci_low),
        number("other_high", rows, |m| m.other.estimate.ci_high),
        number("difference", rows, |m| m.other.estimate.value - m.first.estimate.value),
    ])
}

/// A column of a table that no other command reads again.
pub enum Values {
    /// Names.
    Text(Vec<String>),
    /// Numbers; NaN is an empty cell.
    Number(Vec<f64>),
    /// Yes or no.
    Flag(Vec<bool>),
}

/// A column with its name.
pub type NamedValues = (String, Values);

/// A column of a number of every row.
pub fn number<R>(name: &str, rows: &[R], of: impl Fn(&R) -> f64) -> NamedValues {
    (name.to_owned(), Values::Number(rows.iter().map(of).collect()))
}

/// A column of a name of every row.
pub fn text<'r, R, T: Into<String>>(name: &str, rows: &'r [R], of: impl Fn(&'r R) -> T) -> NamedValues {
    (name.to_owned(), Values::Text(rows.iter().map(|row| of(row).into()).collect()))
}

/// A column of a yes or no of every row.
pub fn flag<R>(name: &str, rows: &[R], of: impl Fn(&R) -> bool) -> NamedValues {
    (name.to_owned(), Values::Flag(rows.iter().map(of).collect()))
}

/// Columns of one length as csv, with a header line.
///
/// # Errors
/// When two columns have the same name or other lengths.
pub fn columns_csv(columns: &[NamedValues]) -> Result<Vec<u8>> {
    let rows = columns.first().map_or(0, |(_, values)| match values {
        Values::Text(v) => v.len(),
        Values::Number(v) => v.len(),
        Values::Flag(v) => v.len(),
    });
    let column = |(name, values): &NamedValues| match values {
        Values::Text(v) => text_column(name, v.iter().map(String::as_str)),
        Values::Number(v) => number_column(name, v.iter().copied()),
        Values::Flag(v) => flag_column(name, v.iter().copied()),
    };
    csv(DataFrame::new(rows, columns.iter().map(column).collect()).map_err(failed("build a table"))?)
}

/// The metric table as parquet.
///
/// # Errors
/// When two rows have the same key.
pub fn metrics_parquet(rows: &[MetricRow]) -> Result<Vec<u8>> {
    parquet(metric_frame(rows)?)
}

/// The table of scores as parquet.
///
/// # Errors
/// When two rows have the same layer, concept, probe, variant, split, sample and name.
pub fn samples_parquet(rows: &[SampleRow]) -> Result<Vec<u8>> {
    parquet(sample_frame(rows)?)
}

/// Reads what [`metrics_parquet`] wrote; null becomes NaN again.
///
/// # Errors
/// When the bytes are no parquet file, or one of another schema version.
pub fn read_metrics_parquet(bytes: &[u8]) -> Result<Vec<MetricRow>> {
    let mut reader = ParquetReader::new(Cursor::new(bytes));
    check_version(&mut reader)?;
    let frame = reader.finish().map_err(failed("read metrics.parquet"))?;
    rows_of(&frame).map_err(failed("read metrics.parquet"))
}

fn check_version(reader: &mut ParquetReader<Cursor<&[u8]>>) -> Result<()> {
    let metadata = reader.get_metadata().map_err(failed("read metrics.parquet"))?;
    let pairs = metadata.key_value_metadata().as_deref().unwrap_or_default();
    let version = pairs.iter().find(|p| p.key == SCHEMA_KEY).and_then(|p| p.value.as_deref());
    if version == Some(SCHEMA_VERSION) {
        return Ok(());
    }
    Err(Error::data(
        "metrics.parquet",
        format!("schema version {}, not {SCHEMA_VERSION}", version.unwrap_or("unknown")),
        "make the file again with this version of cavern",
    ))
}

fn rows_of(frame: &DataFrame) -> Result<Vec<MetricRow>, PolarsError> {
    let text = |name: &str| -> Result<Vec<String>, PolarsError> {
        Ok(frame.column(name)?.str()?.iter().map(|v| v.unwrap_or_default().to_owned()).collect())
    };
    let number = |name: &str| -> Result<Vec<f64>, PolarsError> {
        Ok(frame.column(name)?.f64()?.iter().map(|v| v.unwrap_or(f64::NAN)).collect())
    };
    let count = |name: &str| -> Result<Vec<u64>, PolarsError> {
        Ok(frame.column(name)?.u64()?.iter().map(Option::unwrap_or_default).collect())
    };
    let (study, model, layer) = (text("study")?, text("model")?, text("layer")?);
    let (concept, probe, variant) = (text("concept")?, text("probe")?, text("variant")?);
    let (split, metric, parameter) = (text("split")?, text("metric")?, text("parameter")?);
    let (value, ci_low, ci_high) = (number("value")?, number("ci_low")?, number("ci_high")?);
    let (null, null_kind, n, seed) = (number("null")?, text("null_kind")?, count("n")?, count("seed")?);
    let better: Vec<bool> = frame.column("higher_is_better")?.bool()?.iter().map(|v| v.unwrap_or(true)).collect();
    let estimate = |i: usize| Estimate {
        value: value[i],
        ci_low: ci_low[i],
        ci_high: ci_high[i],
        null: null[i],
        null_kind: null_kind[i].clone(),
        n: n[i] as usize,
    };
    let row = |i: usize| MetricRow {
        study: study[i].clone(),
        model: model[i].clone(),
        layer: layer[i].clone(),
        concept: concept[i].clone(),
        probe: probe[i].clone(),
        variant: variant[i].clone(),
        seed: seed[i],
        split: split[i].clone(),
        metric: metric[i].clone(),
        parameter: parameter[i].clone(),
        estimate: estimate(i),
        higher_is_better: better[i],
    };
    Ok((0..frame.height()).map(row).collect())
}

fn csv(mut frame: DataFrame) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    CsvWriter::new(&mut bytes).n_threads(1).finish(&mut frame).map_err(failed("write a csv table"))?;
    Ok(bytes)
}

fn parquet(mut frame: DataFrame) -> Result<Vec<u8>> {
    let version = vec![(SCHEMA_KEY.to_owned(), SCHEMA_VERSION.to_owned())];
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes)
        .with_compression(ParquetCompression::Zstd(None))
        .with_row_group_size(Some(ROW_GROUP))
        .with_key_value_metadata(Some(KeyValueMetadata::from_static(version)))
        .set_parallel(false)
        .finish(&mut frame)
        .map_err(failed("write a parquet table"))?;
    Ok(bytes)
}

type MetricKey<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str, &'a str, u64, &'a str, &'a str, &'a str);

/// What may not be there twice; also the order of the rows.
pub(super) fn metric_key(r: &MetricRow) -> MetricKey<'_> {
    (&r.study, &r.model, &r.layer, &r.concept, &r.probe, &r.variant, r.seed, &r.split, &r.metric, &r.parameter)
}

fn sample_key(r: &SampleRow) -> (&str, &str, &str, &str, &str, &str, &str) {
    (&r.layer, &r.concept, &r.probe, &r.variant, &r.split, &r.sample, &r.name)
}

/// The rows in the order of their keys.
fn in_order<'a, R, K: Ord + Debug>(rows: &'a [R], table: &str, key: impl Fn(&'a R) -> K) -> Result<Vec<&'a R>> {
    let mut order: Vec<&R> = rows.iter().collect();
    order.sort_by_key(|r| key(r));
    match order.windows(2).find(|pair| key(pair[0]) == key(pair[1])) {
        Some(pair) => Err(Error::Failure(format!("two rows of the {table} table have the key {:?}", key(pair[0])))),
        None => Ok(order),
    }
}

fn metric_frame(rows: &[MetricRow]) -> Result<DataFrame> {
    let rows = in_order(rows, "metric", metric_key)?;
    let text = |name: &str, f: fn(&MetricRow) -> &str| text_column(name, rows.iter().map(|r| f(r)));
    let number = |name: &str, f: fn(&Estimate) -> f64| number_column(name, rows.iter().map(|r| f(&r.estimate)));
    let columns = vec![
        text("study", |r| &r.study),
        text("model", |r| &r.model),
        text("layer", |r| &r.layer),
        text("concept", |r| &r.concept),
        text("probe", |r| &r.probe),
        text("variant", |r| &r.variant),
        count_column("seed", rows.iter().map(|r| r.seed)),
        text("split", |r| &r.split),
        text("metric", |r| &r.metric),
        text("parameter", |r| &r.parameter),
        number("value", |e| e.value),
        number("ci_low", |e| e.ci_low),
        number("ci_high", |e| e.ci_high),
        number("null", |e| e.null),
        text("null_kind", |r| &r.estimate.null_kind),
        count_column("n", rows.iter().map(|r| r.estimate.n as u64)),
        flag_column("higher_is_better", rows.iter().map(|r| r.higher_is_better)),
    ];
    DataFrame::new(rows.len(), columns).map_err(failed("build the metric table"))
}

fn sample_frame(rows: &[SampleRow]) -> Result<DataFrame> {
    let rows = in_order(rows, "sample", sample_key)?;
    let text = |name: &str, f: fn(&SampleRow) -> &str| text_column(name, rows.iter().map(|r| f(r)));
    let columns = vec![
        text("layer", |r| &r.layer),
        text("concept", |r| &r.concept),
        text("probe", |r| &r.probe),
        text("variant", |r| &r.variant),
        text("split", |r| &r.split),
        text("sample", |r| &r.sample),
        text("name", |r| &r.name),
        flag_column("present", rows.iter().map(|r| r.present)),
        number_column("score", rows.iter().map(|r| r.score)),
    ];
    DataFrame::new(rows.len(), columns).map_err(failed("build the sample table"))
}

fn comparison_frame(rows: &[Comparison]) -> Result<DataFrame> {
    let text = |name: &str, f: fn(&Comparison) -> &str| text_column(name, rows.iter().map(f));
    let number = |name: &str, f: fn(&Comparison) -> f64| number_column(name, rows.iter().map(f));
    let columns = vec![
        text("layer", |r| &r.layer),
        text("metric", |r| &r.metric),
        text("concept", |r| &r.concept),
        text("probe_a", |r| &r.probe_a),
        text("variant_a", |r| &r.variant_a),
        text("probe_b", |r| &r.probe_b),
        text("variant_b", |r| &r.variant_b),
        number("difference", |r| r.difference),
        number("ci_low", |r| r.ci_low),
        number("ci_high", |r| r.ci_high),
        number("within_low", |r| r.within_low),
        number("within_high", |r| r.within_high),
        number("p", |r| r.p),
        number("p_holm", |r| r.p_holm),
        number("effect_dz", |r| r.effect),
        count_column("n", rows.iter().map(|r| r.n as u64)),
        count_column("runs", rows.iter().map(|r| r.runs as u64)),
        flag_column("higher_is_better", rows.iter().map(|r| r.higher_is_better)),
    ];
    DataFrame::new(rows.len(), columns).map_err(failed("build the table of comparisons"))
}

fn correlation_frame(rows: &[Correlation]) -> Result<DataFrame> {
    let text = |name: &str, f: fn(&Correlation) -> &str| text_column(name, rows.iter().map(f));
    let number = |name: &str, f: fn(&Correlation) -> f64| number_column(name, rows.iter().map(f));
    let count = |name: &str, f: fn(&Correlation) -> usize| count_column(name, rows.iter().map(|r| f(r) as u64));
    let columns = vec![
        text("against", |r| &r.against),
        text("layer", |r| &r.layer),
        text("variant", |r| &r.variant),
        text("probe", |r| &r.probe),
        text("metric", |r| &r.metric),
        number("rho", |r| r.rho),
        number("ci_low", |r| r.ci_low),
        number("ci_high", |r| r.ci_high),
        number("within_low", |r| r.within_low),
        number("within_high", |r| r.within_high),
        number("gain", |r| r.gain),
        number("gain_low", |r| r.gain_low),
        number("gain_high", |r| r.gain_high),
        count("concepts", |r| r.concepts),
        count("runs", |r| r.runs),
        count("points", |r| r.points),
    ];
    DataFrame::new(rows.len(), columns).map_err(failed("build the table of correlations"))
}

fn text_column<'a>(name: &str, values: impl Iterator<Item = &'a str>) -> Column {
    Column::new(name.into(), values.collect::<Vec<_>>())
}

fn number_column(name: &str, values: impl Iterator<Item = f64>) -> Column {
    Column::new(name.into(), values.map(|v| (!v.is_nan()).then_some(v)).collect::<Vec<Option<f64>>>())
}

fn count_column(name: &str, values: impl Iterator<Item = u64>) -> Column {
    Column::new(name.into(), values.collect::<Vec<_>>())
}

fn flag_column(name: &str, values: impl Iterator<Item = bool>) -> Column {
    Column::new(name.into(), values.collect::<Vec<_>>())
}

fn failed(action: &'static str) -> impl Fn(PolarsError) -> Error {
    move |e| Error::Failure(format!("cannot {action}: {e}"))
}

#[cfg(test)]
mod tests {
    use super::super::demo;
    use super::*;

    fn two_rows() -> Vec<MetricRow> {
        let mut first = demo::row("layer3", "red", "classifier", "full", "accuracy", 0.9);
        first.estimate.null = 0.5;
        first.estimate.null_kind = "chance".to_owned();
        let mut second = demo::row("layer2", "a \"b\", c", "fp", "ti", "seg_iou", f64::NAN);
        second.parameter = "of_ceiling".to_owned();
        vec![first, second]
    }

    #[test]
    fn csv_is_sorted_and_leaves_undefined_numbers_empty() {
        let text = String::from_utf8(metrics_csv(&two_rows()).unwrap()).unwrap();
        insta::assert_snapshot!(text, @r#"
        study,model,layer,concept,probe,variant,seed,split,metric,parameter,value,ci_low,ci_high,null,null_kind,n,higher_is_better
        demo,resnet50,layer2,"a ""b"", c",fp,ti,1,test,seg_iou,of_ceiling,,,,,"",400,true
        demo,resnet50,layer3,red,classifier,full,1,test,accuracy,"",0.9,,,0.5,chance,400,true
        "#);
    }

    #[test]
    fn columns_of_any_kind_make_a_table() {
        let text = |v: &[&str]| Values::Text(v.iter().map(|v| (*v).to_owned()).collect());
        let columns = [
            ("name".to_owned(), text(&["a, b", "c"])),
            ("value".to_owned(), Values::Number(vec![0.5, f64::NAN])),
            ("ok".to_owned(), Values::Flag(vec![true, false])),
        ];
        let csv = String::from_utf8(columns_csv(&columns).unwrap()).unwrap();
        assert_eq!(csv, "name,value,ok\n\"a, b\",0.5,true\nc,,false\n");
        assert!(columns_csv(&[("a".to_owned(), text(&["x"])), ("a".to_owned(), text(&["y"]))]).is_err());
    }

    #[test]
    fn parquet_comes_back() {
        let rows = two_rows();
        let back = read_metrics_parquet(&metrics_parquet(&rows).unwrap()).unwrap();
        assert_eq!(back.len(), 2);
        // NaN is unlike itself, so the texts are compared.
        assert_eq!(format!("{:?}", back[1]), format!("{:?}", rows[0]));
        assert_eq!(format!("{:?}", back[0]), format!("{:?}", rows[1]));
    }

    #[test]
    fn comparisons_and_correlations_have_a_line_each() {
        use super::super::{ByProbe, Run, comparisons, correlations};
        use crate::metric::CompareOptions;
        use crate::seed::Seed;
        let rows = demo::rows(&demo::Size::small());
        let (runs, options) = ([Run { name: "demo", rows: &rows }], CompareOptions { bootstrap: 100 });
        let compared = comparisons(&runs, &ByProbe::new(), &options, Seed(1));
        let text = String::from_utf8(comparisons_csv(&compared).unwrap()).unwrap();
        assert_eq!(text.lines().count(), compared.len() + 1);
        assert!(text.starts_with("layer,metric,concept,probe_a,variant_a,probe_b,variant_b,difference,"), "{text}");
        assert!(!text.contains("NaN") && !comparisons_parquet(&compared).unwrap().is_empty());
        let correlated = correlations(&runs, "accuracy", &options, Seed(1));
        let text = String::from_utf8(correlations_csv(&correlated).unwrap()).unwrap();
        assert_eq!(text.lines().count(), correlated.len() + 1);
        assert!(text.contains("accuracy,layer2,full,classifier,hard_h3,"), "{text}");
    }

    #[test]
    fn an_empty_table_has_its_columns() {
        assert_eq!(read_metrics_parquet(&metrics_parquet(&[]).unwrap()).unwrap(), []);
        let text = String::from_utf8(metrics_csv(&[]).unwrap()).unwrap();
        assert!(
            text.starts_with("study,model,layer,concept,probe,variant,seed,split,metric,parameter,value,"),
            "{text}"
        );
    }

    #[test]
    fn a_key_twice_is_a_failure() {
        let row = demo::row("layer3", "red", "classifier", "full", "accuracy", 0.9);
        let error = metrics_csv(&[row.clone(), row]).unwrap_err();
        assert!(error.to_string().contains("\"red\""), "{error}");
    }

    #[test]
    fn a_score_twice_is_a_failure() {
        let row = demo::sample_row(1);
        assert!(samples_parquet(&[row.clone(), row]).is_err());
    }

    #[test]
    fn bytes_do_not_depend_on_order_or_threads() {
        let mut rows = demo::rows(&demo::Size::small());
        let mut samples: Vec<SampleRow> = (0..70_000).map(demo::sample_row).collect();
        let write = |rows: &[MetricRow], samples: &[SampleRow]| {
            (metrics_parquet(rows).unwrap(), metrics_csv(rows).unwrap(), samples_parquet(samples).unwrap())
        };
        let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let one = pool(1).install(|| write(&rows, &samples));
        rows.reverse();
        samples.reverse();
        let two = pool(2).install(|| write(&rows, &samples));
        assert!(one == two);
    }

    /// Prints a digest of the tables, for the next test's child processes.
    #[test]
    #[ignore = "run by `bytes_do_not_depend_on_polars_threads`"]
    fn print_digest() {
        let rows = demo::rows(&demo::Size::small());
        let bytes = [metrics_parquet(&rows).unwrap(), metrics_csv(&rows).unwrap()].concat();
        println!("digest={}", blake3::hash(&bytes));
    }

    #[test]
    fn bytes_do_not_depend_on_polars_threads() {
        // Polars sizes its pool once a process, hence a process for each size.
        let digest = |threads: &str| {
            let output = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["report::table::tests::print_digest", "--exact", "--ignored", "--nocapture"])
                .env("POLARS_MAX_THREADS", threads)
                .output()
                .unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let at = text.find("digest=").unwrap_or_else(|| panic!("no digest in {text}"));
            text[at..at + 71].to_owned()
        };
        assert_eq!(digest("1"), digest("2"));
    }

    #[test]
    fn another_schema_version_is_refused() {
        let mut bytes = Vec::new();
        let mut frame = metric_frame(&two_rows()).unwrap();
        ParquetWriter::new(&mut bytes).finish(&mut frame).unwrap();
        assert!(read_metrics_parquet(&bytes).unwrap_err().to_string().contains("schema version unknown"));
    }
}
