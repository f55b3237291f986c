//! Curves as small pictures, both axes in decades.

use std::fmt::Write;

/// A curve with its name.
pub(super) struct Series {
    pub(super) label: String,
    /// Both above nothing.
    pub(super) points: Vec<(f64, f64)>,
}

/// The picture as SVG; `None` if there is nothing to draw.
pub(super) fn svg(title: &str, x: &str, y: &str, series: &[Series]) -> Option<String> {
    let across =
        Axis::around(series.iter().flat_map(|one| one.points.iter().map(|point| point.0)))?;
    let up = Axis::around(series.iter().flat_map(|one| one.points.iter().map(|point| point.1)))?;
    let at_x = |value: f64| LEFT + across.share(value) * (WIDTH - LEFT - RIGHT);
    let at_y = |value: f64| HEIGHT - BOTTOM - up.share(value) * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"20\" font-size=\"14\">{title}</text>\n"
    );
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    for value in up.decades() {
        let at = at_y(value);
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"#ddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            at + 4.0,
            number(value)
        );
    }
    for value in across.decades() {
        let at = at_x(value);
        let _ = writeln!(
            svg,
            "<path d=\"M{at:.1} {TOP}V{bottom}\" stroke=\"#ddd\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            bottom + 16.0,
            number(value)
        );
    }
    let middle = f64::midpoint(LEFT, right);
    let _ = writeln!(
        svg,
        "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{x}</text>\n\
         <text x=\"{LEFT}\" y=\"36\" fill=\"#555\">{y}</text>",
        HEIGHT - 6.0
    );
    let drawn = series.iter().filter(|one| !one.points.is_empty());
    for (one, colour) in drawn.zip(COLOURS.iter().cycle()) {
        let at: Vec<_> =
            one.points.iter().map(|(x, y)| format!("{:.1},{:.1}", at_x(*x), at_y(*y))).collect();
        let path = at.join(" ");
        let _ = write!(
            svg,
            "<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
        );
        for ((x, y), value) in one.points.iter().map(|(x, y)| ((at_x(*x), at_y(*y)), y)) {
            let _ = write!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"{colour}\">{}</text>",
                y - 7.0,
                number(*value)
            );
        }
        let (x, y) = one.points.last().map_or((0.0, 0.0), |(x, y)| (at_x(*x), at_y(*y)));
        let label = &one.label;
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{label}</text>",
            x + 16.0,
            y + 4.0
        );
    }
    svg.push_str("</svg>\n");
    Some(svg)
}

/// From one decade to another.
struct Axis {
    low: f64,
    high: f64,
}

impl Axis {
    /// The decades around all values; `None` if there is none, or one that has no logarithm.
    fn around(values: impl Iterator<Item = f64> + Clone) -> Option<Self> {
        let low = values.clone().min_by(f64::total_cmp).filter(|low| *low > 0.0)?.log10().floor();
        let high = values.max_by(f64::total_cmp)?.log10().ceil();
        Some(Self { low, high: high.max(low + 1.0) })
    }

    fn share(&self, value: f64) -> f64 {
        (value.log10() - self.low) / (self.high - self.low)
    }

    fn decades(&self) -> impl Iterator<Item = f64> {
        (self.low as i32..=self.high as i32).map(|exponent| 10f64.powi(exponent))
    }
}

/// In three digits, with k and M.
pub(super) fn number(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        size if size >= 1e6 => (value / 1e6, " M"),
        size if size >= 1e4 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let digits = match scaled.abs() {
        size if size >= 100.0 || size == 0.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{scaled:.digits$}");
    let text =
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 60.0;
/// Room for the names of the curves.
const RIGHT: f64 = 130.0;
const TOP: f64 = 46.0;
const BOTTOM: f64 = 44.0;
const COLOURS: [&str; 4] = ["#0b6e4f", "#7a7a7a", "#b5421d", "#2a5db0"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        let all = [0.0271, 0.12, 1.5, 42.0, 742.4, 19_000.0, 16_700_000.0, 1e5];
        let words: Vec<_> = all.into_iter().map(number).collect();
        assert_eq!(words, ["0.027", "0.12", "1.5", "42", "742", "19 k", "16.7 M", "100 k"]);
    }

    #[test]
    fn a_curve_goes_from_decade_to_decade() {
        let points = vec![(1.0, 0.1), (1_000.0, 10.0)];
        let series = [Series { label: "ours".into(), points }];
        let svg = svg("a title", "pairs", "µs", &series).unwrap();
        // The first point is the lower left corner, the last one the upper right one.
        assert!(svg.contains("points=\"60.0,276.0 510.0,46.0\""), "{svg}");
        assert!(svg.contains(">ours</text>") && svg.ends_with("</svg>\n"));
    }

    #[test]
    fn nothing_is_not_drawn() {
        assert!(svg("", "", "", &[]).is_none());
        let zero = Series { label: String::new(), points: vec![(1.0, 0.0)] };
        assert!(svg("", "", "", &[zero]).is_none());
    }
}
