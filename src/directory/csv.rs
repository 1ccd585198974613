//! Users from CSV: a header line names the columns, in any order; every wrong line is told.

use std::sync::Arc;

use csv::{ByteRecord, ReaderBuilder, Trim};

use super::row::{Place, Row};
use crate::config::Problem;
use crate::machine::directory::Appearance;

const COLUMNS: [&str; 5] = ["sip", "line", "device", "partition", "licensed"];
const REQUIRED: usize = 3;

/// Rows in order and what is wrong; stops after `rows_max` rows or `problems_max` problems.
pub(super) fn read(text: &[u8], file: &Arc<str>, rows_max: usize, problems_max: usize) -> (Vec<Row>, Vec<Problem>) {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut reader =
        ReaderBuilder::new().has_headers(false).flexible(true).trim(Trim::All).comment(Some(b'#')).from_reader(text);
    let mut record = ByteRecord::new();
    let mut rows = Vec::new();
    let mut problems = Vec::new();
    let mut columns: Option<Header> = None;
    while matches!(reader.read_byte_record(&mut record), Ok(true)) {
        if rows.len() >= rows_max || problems.len() >= problems_max {
            break;
        }
        let place = record.position().map_or(0, csv::Position::line);
        let line = usize::try_from(place).unwrap_or(usize::MAX);
        match &columns {
            None => match header(&record, line, file) {
                Ok(header) => columns = Some(header),
                Err(faults) => return (rows, faults),
            },
            Some(header) => match row(&record, line, header, file) {
                Ok(row) => rows.push(row),
                Err(faults) => problems.extend(faults),
            },
        }
    }
    if columns.is_none() {
        problems.push(
            told(Problem::fault("csv_header", "header"), file, 1, None)
                .allowed("the first line names the columns: sip,line,device,partition,licensed")
                .remedy("add it; partition and licensed may be left out"),
        );
    }
    (rows, problems)
}

struct Header {
    /// Field number (from 0) of each of `COLUMNS`.
    fields: [Option<usize>; COLUMNS.len()],
    width: usize,
    /// For problems: names with field numbers from 1.
    columns: Arc<[(&'static str, usize)]>,
}

fn told(problem: Problem, file: &Arc<str>, line: usize, column: Option<usize>) -> Problem {
    Problem { file: Some(file.to_string()), line: Some(line), column, ..problem }
}

fn header(record: &ByteRecord, line: usize, file: &Arc<str>) -> Result<Header, Vec<Problem>> {
    let mut fields = [None; COLUMNS.len()];
    let mut faults = Vec::new();
    for (n, name) in record.iter().enumerate() {
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        let known = COLUMNS.iter().position(|column| *column == name);
        let fault = match known {
            Some(column) if fields[column].is_none() => {
                fields[column] = Some(n);
                continue;
            }
            Some(_) => ("csv_column_twice", "each column is named once", "remove one of the two".to_owned()),
            None => {
                let near = COLUMNS.iter().min_by_key(|column| strsim::damerau_levenshtein(&name, column));
                let near = near.filter(|column| strsim::damerau_levenshtein(&name, column) <= 2);
                let remedy = near.map_or("remove it".to_owned(), |near| format!("did you mean `{near}`?"));
                ("csv_column", "the columns are sip,line,device,partition,licensed", remedy)
            }
        };
        let problem = Problem::fault(fault.0, "header").value(format!("{name:?}"));
        faults.push(told(problem.allowed(fault.1).remedy(fault.2), file, line, Some(n + 1)));
    }
    for (column, _) in COLUMNS.iter().zip(&fields).take(REQUIRED).filter(|(_, field)| field.is_none()) {
        let problem = Problem::fault("csv_header", "header").allowed(format!("the column `{column}` is missing"));
        let problem = problem.remedy("name it in the first line; fields are separated by commas");
        faults.push(told(problem, file, line, None));
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let columns = COLUMNS.iter().zip(&fields).filter_map(|(name, field)| field.map(|n| (*name, n + 1))).collect();
    Ok(Header { fields, width: record.len(), columns })
}

fn row(record: &ByteRecord, line: usize, header: &Header, file: &Arc<str>) -> Result<Row, Vec<Problem>> {
    let mut faults = Vec::new();
    if record.len() != header.width {
        let problem = Problem::fault("csv_fields", "entry").value(format!("{} fields", record.len()));
        let problem = problem.allowed(format!("the header names {} columns", header.width));
        faults.push(told(problem.remedy("give each line as many; quote fields that hold commas"), file, line, None));
        return Err(faults);
    }
    let mut texts = [const { String::new() }; COLUMNS.len()];
    for (n, text) in texts.iter_mut().enumerate() {
        let Some(field) = header.fields[n] else { continue };
        match std::str::from_utf8(&record[field]) {
            Ok(field) => field.clone_into(text),
            Err(_) => {
                let problem = Problem::fault("csv_text", COLUMNS[n]).value(String::from_utf8_lossy(&record[field]));
                let problem = problem.allowed("the text is no UTF-8").remedy("save the file as UTF-8");
                faults.push(told(problem, file, line, Some(field + 1)));
            }
        }
    }
    let [sip, number, device, partition, licensed] = texts;
    let licensed = match licensed.to_ascii_lowercase().as_str() {
        "" | "true" | "yes" | "1" => true,
        "false" | "no" | "0" => false,
        _ => {
            let problem = Problem::fault("csv_licensed", "licensed").value(format!("{licensed:?}"));
            let problem =
                problem.allowed("allowed is true or false; nothing means true").remedy("write one of the two");
            faults.push(told(problem, file, line, header.fields[4].map(|field| field + 1)));
            false
        }
    };
    if !faults.is_empty() {
        return Err(faults);
    }
    let partition = (!partition.is_empty()).then_some(partition);
    let place = Place::Line { file: file.clone(), line, columns: header.columns.clone() };
    Ok(Row { appearance: Appearance { sip, line: number, device, partition, licensed }, place })
}
