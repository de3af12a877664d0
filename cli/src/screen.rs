//! The output: a terminal, where lines replace those drawn before, or any other reader.

use std::io::{self, Write};

use console::Term;

use crate::words::{self, View};

/// The width where there is no terminal.
const WIDTH: usize = 100;

pub(crate) struct Screen {
    term: Term,
    /// The number of lines that are drawn and will be replaced, and the width at which they were drawn.
    drawn: Option<(usize, usize)>,
}

impl Screen {
    pub(crate) fn new() -> Self {
        Self { term: Term::buffered_stdout(), drawn: None }
    }

    pub(crate) fn view(&self) -> View {
        View { now: words::now(), width: self.width().unwrap_or(WIDTH), colours: console::colors_enabled() }
    }

    /// Returns the width of the terminal in columns, or `None` if the output is none.
    pub(crate) fn width(&self) -> Option<usize> {
        self.term.size_checked().map(|(_, columns)| usize::from(columns))
    }

    /// Prints lines, and does not fail if the reader has gone.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub(crate) fn print(&self, lines: &[String]) -> Result<(), String> {
        self.write(format!("{}\n", lines.join("\n")).as_bytes())
    }

    /// Writes bytes, and does not fail if the reader has gone.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<(), String> {
        let mut out = io::stdout().lock();
        has_reader(out.write_all(bytes).and_then(|()| out.flush())).map(drop)
    }

    /// Draws lines in place of those drawn before, as many as the terminal has room for. The cursor stays visible:
    /// whatever ends the program leaves the terminal as it was. Returns false if the reader has gone.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub(crate) fn redraw(&mut self, lines: Vec<String>) -> Result<bool, String> {
        has_reader(self.replace(lines))
    }

    fn replace(&mut self, mut lines: Vec<String>) -> io::Result<()> {
        let Some((height, width)) = self.term.size_checked() else {
            let mut out = io::stdout().lock();
            return writeln!(out, "{}\n", lines.join("\n")).and_then(|()| out.flush());
        };
        let (height, width) = (usize::from(height), usize::from(width));
        // The last row is kept free for the cursor.
        let room = height.saturating_sub(2).max(1);
        if lines.len() > room {
            let hidden = lines.len() - room;
            lines.truncate(room);
            lines.push(format!("… {}", words::counted(i64::try_from(hidden).unwrap_or(i64::MAX), "more line")));
        }
        match self.drawn {
            Some((count, drawn_width)) if drawn_width == width => self.term.clear_last_lines(count)?,
            // A terminal that was resized has wrapped its lines in a new way.
            Some(_) => self.term.clear_screen()?,
            None => {}
        }
        for line in &lines {
            self.term.write_line(&words::cut(line, width))?;
        }
        self.drawn = Some((lines.len(), width));
        self.term.flush()
    }
}

/// Writes a line to the standard error. If that is not possible, there is nowhere else to say it, and the program goes
/// on.
pub(crate) fn warn(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Returns whether what was written had a reader: one that has gone is no error.
fn has_reader(written: io::Result<()>) -> Result<bool, String> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(format!("cannot write the output: {error}")),
    }
}
