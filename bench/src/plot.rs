//! Plots of throughput by number of policies and by number of customers, as SVG.

use std::error::Error;
use std::fs;
use std::io;
use std::path::Path;

use plotters::prelude::*;
use serde::Deserialize;

use crate::numbers::{float, number};
use crate::results::Point;

/// The part of the results that the plots show.
#[derive(Deserialize)]
struct Series {
    by_policies: Vec<Point>,
    by_customers: Vec<Point>,
}

/// Draws the plots into a folder, from the `results.json` in it.
///
/// # Errors
/// The results cannot be read, or a plot cannot be written.
pub fn from_results(folder: &Path) -> io::Result<()> {
    let Series { by_policies, by_customers } =
        serde_json::from_slice(&fs::read(folder.join("results.json"))?)?;
    draw(&folder.join("policies.svg"), "Requests a second by number of policies", &by_policies)?;
    draw(&folder.join("customers.svg"), "Requests a second by number of customers", &by_customers)
}

/// Draws the limit, hits and misses by size. The axis of the size is logarithmic.
fn draw(file: &Path, title: &str, points: &[Point]) -> io::Result<()> {
    try_draw(file, title, points).map_err(|error| io::Error::other(error.to_string()))
}

/// The name of a line, its value at a point, and its colour.
type Line = (&'static str, fn(&Point) -> f64, RGBColor);

fn try_draw(file: &Path, title: &str, points: &[Point]) -> Result<(), Box<dyn Error>> {
    let sizes = points.iter().map(|point| float(point.size));
    let (smallest, largest) = (sizes.clone().fold(f64::MAX, f64::min), sizes.fold(1.0, f64::max));
    let highest = points.iter().flat_map(|point| [point.limit, point.hits]).fold(1.0, f64::max);
    let area = SVGBackend::new(file, (720, 400)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(32)
        .y_label_area_size(72)
        .build_cartesian_2d((smallest..largest * 1.1).log_scale(), 0.0..highest * 1.15)?;
    let format_axis = |n: &f64| if *n < 1_000.0 { format!("{n:.0}") } else { number(*n) };
    chart.configure_mesh().x_label_formatter(&format_axis).y_label_formatter(&format_axis).draw()?;
    let lines: [Line; 3] = [
        ("the limit: parse, and answer a constant", |p| p.limit, RGBColor(120, 120, 120)),
        ("Mandate, remembered", |p| p.hits, RGBColor(20, 110, 60)),
        ("Mandate, cache off", |p| p.uncached, RGBColor(30, 80, 180)),
    ];
    for (name, value, color) in lines {
        let coordinates: Vec<(f64, f64)> =
            points.iter().map(|point| (float(point.size), value(point))).collect();
        chart.draw_series(coordinates.iter().map(|at| Circle::new(*at, 3, color.filled())))?;
        let line = chart.draw_series(LineSeries::new(coordinates, color.stroke_width(2)))?;
        line.label(name).legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerLeft)
        .background_style(WHITE.mix(0.8))
        .label_font(("sans-serif", 13))
        .draw()?;
    area.present()?;
    Ok(())
}
