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
        let width = self.term.size_checked().map_or(WIDTH, |(_, columns)| usize::from(columns));
        View { now: words::now(), width, colours: console::colors_enabled() }
    }

    /// Returns true if the output is a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        self.term.is_term()
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
        match out.write_all(bytes).and_then(|()| out.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(format!("cannot write the output: {error}")),
            _ => Ok(()),
        }
    }

    /// Draws lines in place of those drawn before, as many as the terminal has room for.
    ///
    /// # Errors
    /// If the reader has gone.
    pub(crate) fn redraw(&mut self, mut lines: Vec<String>) -> io::Result<()> {
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
