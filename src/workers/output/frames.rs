//! Splits the pieces that a pipe yields into lines.

/// Longer lines are cut into parts, because a worker that never ends its line must not take all memory. Most JSON log
/// lines and tracebacks are shorter.
pub const LONGEST: usize = 64 * 1024;

/// The longest UTF-8 character, in bytes.
const LONGEST_CHARACTER: usize = 4;

/// A line, or a part of one, without its newline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// May end in a carriage return.
    pub text: &'a [u8],
    /// Whether the line continues in the next frame.
    pub partial: bool,
}

/// The begun line, at most [`LONGEST`] bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frames {
    begun: Vec<u8>,
}

impl Frames {
    #[must_use]
    pub fn begun_with(begun: &[u8]) -> Self {
        Self { begun: begun.to_vec() }
    }

    /// The bytes of the line that has not ended.
    #[must_use]
    pub fn begun(&self) -> &[u8] {
        &self.begun
    }

    /// Takes in a piece. Calls `tell` for each line that ends in it, and for each part of a line that is too long.
    pub fn feed(&mut self, mut piece: &[u8], mut tell: impl FnMut(Frame<'_>)) {
        while let Some(end) = piece.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = piece.split_at(end);
            if self.begun.is_empty() {
                emit_line(line, &mut tell);
            } else {
                self.begun.extend_from_slice(line);
                self.end(&mut tell);
            }
            piece = rest.get(1..).unwrap_or_default();
        }
        if !piece.is_empty() {
            self.begun.extend_from_slice(piece);
            let left = emit_parts(&self.begun, &mut tell).len();
            self.begun.drain(..self.begun.len().saturating_sub(left));
        }
    }

    /// Calls `tell` for a last line without a newline, if there is one. No piece may follow.
    pub fn finish(&mut self, mut tell: impl FnMut(Frame<'_>)) {
        if !self.begun.is_empty() {
            self.end(&mut tell);
        }
    }

    fn end(&mut self, tell: &mut impl FnMut(Frame<'_>)) {
        emit_line(&self.begun, tell);
        // Most lines come in one piece, so this buffer is not kept.
        self.begun = Vec::new();
    }
}

fn emit_line(line: &[u8], tell: &mut impl FnMut(Frame<'_>)) {
    let text = emit_parts(line, tell);
    tell(Frame { text, partial: false });
}

/// Calls `tell` for parts of the line until at most [`LONGEST`] bytes are left, and returns the rest.
fn emit_parts<'a>(mut line: &'a [u8], tell: &mut impl FnMut(Frame<'_>)) -> &'a [u8] {
    while line.len() > LONGEST {
        let (text, rest) = line.split_at(cut(line));
        tell(Frame { text, partial: true });
        line = rest;
    }
    line
}

/// Where to cut a line that is too long: in UTF-8, between two characters.
fn cut(line: &[u8]) -> usize {
    let goes_on = |at: &usize| line.get(*at).is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000);
    let least = LONGEST.saturating_sub(LONGEST_CHARACTER);
    (least..=LONGEST).rev().find(|at| !goes_on(at)).unwrap_or(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(pieces: &[&[u8]]) -> Vec<(Vec<u8>, bool)> {
        let (mut frames, mut told) = (Frames::default(), Vec::new());
        for piece in pieces {
            frames.feed(piece, |frame| told.push((frame.text.to_vec(), frame.partial)));
            assert!(frames.begun().len() <= LONGEST);
        }
        frames.finish(|frame| told.push((frame.text.to_vec(), frame.partial)));
        frames.finish(|_| panic!("finished twice"));
        told
    }

    fn whole(lines: &[&[u8]]) -> Vec<(Vec<u8>, bool)> {
        lines.iter().map(|line| (line.to_vec(), false)).collect()
    }

    #[test]
    fn a_line_is_one_line_in_however_many_pieces_it_comes() {
        let text = b"one\n\ntwo and\r\n\x00\xff\xfe\nlast";
        let expected = whole(&[b"one", b"", b"two and\r", b"\x00\xff\xfe", b"last"]);
        assert_eq!(told(&[text]), expected);
        assert_eq!(told(&text.chunks(1).collect::<Vec<_>>()), expected);
        for at in 0..text.len() {
            assert_eq!(told(&[&text[..at], &text[at..]]), expected, "in two at {at}");
        }
    }

    #[test]
    fn what_ends_without_a_newline_is_told_at_the_end_and_nothing_else_is() {
        assert_eq!(told(&[b"a\n"]), whole(&[b"a"]));
        assert_eq!(told(&[b"a\n", b"b"]), whole(&[b"a", b"b"]));
        assert_eq!(told(&[]), []);
        assert_eq!(told(&[b"\n"]), whole(&[b""]));
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_and_says_so() {
        let long: Vec<u8> = (0..3 * LONGEST + 7).map(|at| b'a' + u8::try_from(at % 23).unwrap()).collect();
        let text = [&long[..], b"\nnext\n"].concat();
        for size in [text.len(), 16 * 1024, 1000, 1] {
            let told = told(&text.chunks(size).collect::<Vec<_>>());
            let partial: Vec<bool> = told.iter().map(|(_, partial)| *partial).collect();
            assert_eq!(partial, [true, true, true, false, false], "in pieces of {size}");
            let line: Vec<u8> = told[..4].iter().flat_map(|(text, _)| text.clone()).collect();
            assert!(line == long && told[..3].iter().all(|(text, _)| text.len() == LONGEST));
            assert_eq!(told[4].0, b"next");
        }
        let just = vec![b'x'; LONGEST];
        assert_eq!(told(&[&just, b"\n"]), whole(&[&just]));
    }

    #[test]
    fn no_character_is_cut_in_two() {
        for shift in 0..4 {
            let text = format!("{}{}", &"abcd"[..shift], "\u{1f40c}".repeat(LONGEST / 3));
            let told = told(&text.as_bytes().chunks(4099).collect::<Vec<_>>());
            assert!(told.len() > 1 && told.iter().all(|(text, _)| std::str::from_utf8(text).is_ok()));
        }
        // Bytes that are no text are cut anywhere.
        let garbage = vec![0x80; 2 * LONGEST];
        assert_eq!(told(&[&garbage]).iter().map(|(text, _)| text.len()).sum::<usize>(), 2 * LONGEST);
    }
}
