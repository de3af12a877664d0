//! Where lines go: to the terminal, drawn over what was drawn before, or to whoever reads.

use std::io::{self, Write};

use console::Term;

use crate::words::{self, View};

/// What the list is made for where there is no terminal, and the least where there is one.
const WIDTH: usize = 100;

pub(crate) struct Screen {
    term: Term,
    /// How many lines stand there to be drawn over, and at which width.
    drawn: Option<(usize, usize)>,
}

impl Screen {
    pub(crate) fn new() -> Self {
        Self { term: Term::buffered_stdout(), drawn: None }
    }

    pub(crate) fn view(&self) -> View {
        let width = self.term.size_checked().map_or(WIDTH, |(_, columns)| usize::from(columns));
        View { now: words::now(), width: width.max(WIDTH), colours: console::colors_enabled() }
    }

    /// Prints lines, and does not mind if nobody reads them any more.
    pub(crate) fn print(&self, lines: &[String]) {
        let _ = writeln!(io::stdout().lock(), "{}", lines.join("\n"));
    }

    /// Draws lines in the place of those drawn before, as far as the terminal is high enough.
    ///
    /// # Errors
    /// If nobody reads them any more.
    pub(crate) fn redraw(&mut self, mut lines: Vec<String>) -> io::Result<()> {
        let Some((height, width)) = self.term.size_checked() else {
            let mut out = io::stdout().lock();
            return writeln!(out, "{}\n", lines.join("\n")).and_then(|()| out.flush());
        };
        let (height, width) = (usize::from(height), usize::from(width));
        // The last row is the cursor's.
        let room = height.saturating_sub(2).max(1);
        if lines.len() > room {
            let hidden = lines.len() - room;
            lines.truncate(room);
            lines.push(format!("… {}", words::counted(i64::try_from(hidden).unwrap_or(i64::MAX), "more line")));
        }
        match self.drawn {
            Some((count, drawn_width)) if drawn_width == width => self.term.clear_last_lines(count)?,
            // A terminal that was resized has broken its lines anew.
            Some(_) => self.term.clear_screen()?,
            None => self.term.hide_cursor()?,
        }
        for line in &lines {
            self.term.write_line(&words::cut(line, width))?;
        }
        self.drawn = Some((lines.len(), width));
        self.term.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            let _ = self.term.show_cursor().and_then(|()| self.term.flush());
        }
    }
}
