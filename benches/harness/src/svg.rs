//! The plot: the share of each aim's limit that is used.

use std::fmt::Write;

use crate::report::Aim;
use crate::samples::digits;

const ROW: usize = 26;
const LABELS: usize = 490;
const BARS: usize = 320;
const VALUES: usize = 170;

/// Draws a bar for each aim, with a line where the limit is.
pub fn draw(aims: &[Aim]) -> String {
    let (width, height) = (LABELS + BARS + VALUES, ROW * (aims.len() + 2));
    // A bar ends at one and a quarter of the limit, so that a missed aim is seen to cross the line.
    let limit = LABELS + BARS * 4 / 5;
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">
<rect width="{width}" height="{height}" fill="#fff"/>
<text x="{limit}" y="18" text-anchor="middle" fill="#555">limit</text>
"##
    );
    for (at, aim) in aims.iter().enumerate() {
        let (y, share) = (ROW * (at + 1), aim.value / aim.limit);
        let bar = (share.min(1.25) * (limit - LABELS) as f64).round();
        let colour = if share < 1.0 { "#3b7dd8" } else { "#d8553b" };
        let (label, text, top) = (LABELS - 10, y + 17, y + 4);
        let value = format!("{} of {} {}", digits(aim.value), digits(aim.limit), aim.unit);
        let what = aim.what.replace('&', "&amp;").replace('<', "&lt;");
        let _ = writeln!(
            svg,
            r#"<text x="{label}" y="{text}" text-anchor="end">{what}</text><rect x="{LABELS}" y="{top}" width="{bar}" height="18" fill="{colour}"/><text x="{}" y="{text}">{value}</text>"#,
            LABELS + BARS + 8
        );
    }
    let bottom = height - ROW + 8;
    let _ = writeln!(svg, r##"<path d="M{limit} 24V{bottom}" stroke="#333" stroke-dasharray="4 3"/>"##);
    svg + "</svg>\n"
}
