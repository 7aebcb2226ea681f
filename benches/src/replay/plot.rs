//! Mapped and live bytes over the time of a trace, as an SVG.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

use super::error::ReplayError;
use super::run::Level;
use crate::trace::{PAGE, Trace};

const SIZE: (u32, u32) = (1000, 450);

/// Moments that are told apart: about one a point of the picture.
const MOMENTS: usize = 900;

/// How much higher the picture is than what it shows: the legend stands there.
const ROOM: f64 = 1.3;

/// What happened around one moment.
#[derive(Debug, Clone, Copy)]
struct Moment {
    least_live: u64,
    most_live: u64,
    mapped: u64,
}

/// A picture that is filled while a trace runs.
#[derive(Debug)]
pub struct Plot {
    title: String,
    unit: &'static str,
    first: f64,
    span: f64,
    moments: Vec<Option<Moment>>,
}

impl Plot {
    /// An empty picture for a trace.
    pub fn new(trace: &Trace) -> Self {
        let [first, last] = [trace.steps.first(), trace.steps.last()]
            .map(|step| step.map_or(0.0, |step| step.t_us));
        let title = Path::new(&trace.name).file_name().unwrap_or_default().to_string_lossy();
        let unit = if trace.page == PAGE { "seconds" } else { "millions of the trace's ticks" };
        let span = (last - first).max(f64::MIN_POSITIVE);
        Self { title: title.into_owned(), unit, first, span, moments: vec![None; MOMENTS] }
    }

    /// What holds from a time on.
    pub fn add(&mut self, t_us: f64, level: Level) {
        let place = ((t_us - self.first) / self.span * MOMENTS as f64) as usize;
        let Level { live, mapped } = level;
        let moment = self.moments[place.min(MOMENTS - 1)].get_or_insert(Moment {
            least_live: live,
            most_live: live,
            mapped,
        });
        moment.least_live = moment.least_live.min(live);
        moment.most_live = moment.most_live.max(live);
        moment.mapped = moment.mapped.max(mapped);
    }

    /// Time and MiB, so that lines go through every extreme.
    fn lines(&self) -> [Vec<(f64, f64)>; 2] {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let mut lines = [Vec::new(), Vec::new()];
        for (place, moment) in self.moments.iter().enumerate() {
            let at =
                |part: f64| (self.first + self.span * (place as f64 + part) / MOMENTS as f64) / 1e6;
            let [mapped, live] = &mut lines;
            match moment {
                Some(it) => {
                    mapped.push((at(0.5), mib(it.mapped)));
                    live.push((at(0.25), mib(it.least_live)));
                    live.push((at(0.75), mib(it.most_live)));
                }
                // Nothing happens: what held goes on.
                None => lines.iter_mut().for_each(|line| {
                    line.extend(line.last().map(|last: &(f64, f64)| (at(0.5), last.1)));
                }),
            }
        }
        lines
    }

    /// Writes the picture.
    ///
    /// # Errors
    /// If it cannot be drawn or the file not be written.
    pub fn write(&self, file: &Path) -> Result<(), ReplayError> {
        let failed = |reason| ReplayError::Plot { file: file.to_owned(), reason };
        let svg = self.svg().map_err(|error| failed(error.to_string()))?;
        std::fs::write(file, svg).map_err(|error| failed(error.to_string()))
    }

    fn svg(&self) -> Result<String, Box<dyn Error>> {
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
            area.fill(&WHITE)?;
            self.draw(&area)?;
            area.present()?;
        }
        Ok(svg)
    }

    fn draw(
        &self,
        area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    ) -> Result<(), Box<dyn Error>> {
        let [mapped, live] = self.lines();
        let top = mapped.iter().chain(&live).map(|point| point.1).fold(1e-6, f64::max) * ROOM;
        let times = self.first / 1e6..(self.first + self.span) / 1e6;
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, ("sans-serif", 22))
            .margin(10)
            .x_label_area_size(40)
            .y_label_area_size(60)
            .build_cartesian_2d(times, 0.0..top)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .label_style(("sans-serif", 16))
            .x_desc(self.unit)
            .y_desc("MiB")
            .draw()?;
        for (name, line, colour) in
            [("mapped", mapped, RGBColor(200, 80, 0)), ("live", live, RGBColor(0, 90, 180))]
        {
            chart
                .draw_series(LineSeries::new(line, colour))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .label_font(("sans-serif", 16))
            .background_style(WHITE)
            .border_style(BLACK)
            .draw()?;
        Ok(())
    }
}
