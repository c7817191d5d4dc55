//! A text as tokens. What a character means depends on where it stands: in braces words are names of labels, in brackets
//! they are those of durations.

use crate::ast::{AggregateOp, BinaryOp, Span};

/// A token and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) span: Span,
}

/// The kinds of tokens.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TokenKind {
    /// The end of the text.
    End,
    /// Here the text is no PromQL; nothing follows.
    Error(String),
    /// A word that is nothing else.
    Identifier,
    /// A word with a colon in it.
    MetricIdentifier,
    Number,
    Duration,
    String,
    Keyword(Keyword),
    Aggregate(AggregateOp),
    Operator(BinaryOp),
    /// `=`
    Assign,
    /// `=~`
    MatchRegex,
    /// `!~`
    MatchNotRegex,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    Comma,
    Colon,
    At,
}

/// Words with a meaning of their own, less aggregations and operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keyword {
    Anchored,
    Bool,
    By,
    End,
    Fill,
    FillLeft,
    FillRight,
    GroupLeft,
    GroupRight,
    Ignoring,
    MaxOf,
    MinOf,
    Offset,
    On,
    Range,
    Smoothed,
    Start,
    Step,
    Without,
}

/// All words with a meaning, less numbers, in lower case: that is how they are compared.
const WORDS: &[(&str, TokenKind)] = &[
    ("anchored", TokenKind::Keyword(Keyword::Anchored)),
    ("and", TokenKind::Operator(BinaryOp::And)),
    ("atan2", TokenKind::Operator(BinaryOp::Atan2)),
    ("bool", TokenKind::Keyword(Keyword::Bool)),
    ("by", TokenKind::Keyword(Keyword::By)),
    ("end", TokenKind::Keyword(Keyword::End)),
    ("fill", TokenKind::Keyword(Keyword::Fill)),
    ("fill_left", TokenKind::Keyword(Keyword::FillLeft)),
    ("fill_right", TokenKind::Keyword(Keyword::FillRight)),
    ("group_left", TokenKind::Keyword(Keyword::GroupLeft)),
    ("group_right", TokenKind::Keyword(Keyword::GroupRight)),
    ("ignoring", TokenKind::Keyword(Keyword::Ignoring)),
    ("inf", TokenKind::Number),
    ("max_of", TokenKind::Keyword(Keyword::MaxOf)),
    ("min_of", TokenKind::Keyword(Keyword::MinOf)),
    ("nan", TokenKind::Number),
    ("offset", TokenKind::Keyword(Keyword::Offset)),
    ("on", TokenKind::Keyword(Keyword::On)),
    ("or", TokenKind::Operator(BinaryOp::Or)),
    ("range", TokenKind::Keyword(Keyword::Range)),
    ("smoothed", TokenKind::Keyword(Keyword::Smoothed)),
    ("start", TokenKind::Keyword(Keyword::Start)),
    ("step", TokenKind::Keyword(Keyword::Step)),
    ("unless", TokenKind::Operator(BinaryOp::Unless)),
    ("without", TokenKind::Keyword(Keyword::Without)),
];

/// The meaning of a word, upper and lower case being the same.
fn word(text: &str) -> Option<TokenKind> {
    WORDS
        .iter()
        .find(|(word, _)| word.eq_ignore_ascii_case(text))
        .map(|(_, kind)| kind.clone())
        .or_else(|| aggregate(text).map(TokenKind::Aggregate))
}

fn aggregate(text: &str) -> Option<AggregateOp> {
    AggregateOp::ALL.into_iter().find(|op| op.text().eq_ignore_ascii_case(text))
}

/// All words with a meaning, for those who look for the nearest one.
pub(crate) fn words() -> impl Iterator<Item = &'static str> {
    WORDS.iter().map(|(word, _)| *word).chain(AggregateOp::ALL.into_iter().map(AggregateOp::text))
}

/// The tokens of a text without its comments. The last one is [`TokenKind::End`] or [`TokenKind::Error`].
pub(crate) fn lex(text: &str) -> Vec<Token> {
    let mut lexer = Lexer { text, at: 0, parens: 0, braces: false, brackets: false };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blank();
        let start = lexer.at;
        let kind = lexer.next().unwrap_or_else(TokenKind::Error);
        let last = matches!(kind, TokenKind::End | TokenKind::Error(_));
        let end = if matches!(kind, TokenKind::Error(_)) { text.len() } else { lexer.at };
        tokens.push(Token { kind, span: Span::new(start, end) });
        if last {
            return tokens;
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    /// The next byte.
    at: usize,
    /// How many parentheses are open.
    parens: usize,
    braces: bool,
    brackets: bool,
}

fn is_word_start(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphabetic()
}

fn is_word(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric()
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The character that stands here, for messages.
    fn here(&self) -> char {
        self.rest().chars().next().unwrap_or_default()
    }

    fn accept(&mut self, set: &[u8]) -> bool {
        let found = self.peek().is_some_and(|byte| set.contains(&byte));
        self.at += usize::from(found);
        found
    }

    fn accept_while(&mut self, which: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&which) {
            self.at += 1;
        }
    }

    fn skip_blank(&mut self) {
        loop {
            self.accept_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
            if self.peek() != Some(b'#') {
                return;
            }
            self.accept_while(|byte| !matches!(byte, b'\n' | b'\r'));
        }
    }

    fn next(&mut self) -> Result<TokenKind, String> {
        let Some(byte) = self.peek() else { return self.end() };
        if let b'"' | b'\'' | b'`' = byte
            && !self.brackets
        {
            return self.string(byte);
        }
        if self.braces {
            self.in_braces(byte)
        } else if self.brackets {
            self.in_brackets(byte)
        } else {
            self.outside(byte)
        }
    }

    fn end(&self) -> Result<TokenKind, String> {
        if self.braces {
            Err("unexpected end of input inside braces".to_owned())
        } else if self.brackets {
            Err("unclosed left bracket".to_owned())
        } else if self.parens > 0 {
            Err("unclosed left parenthesis".to_owned())
        } else {
            Ok(TokenKind::End)
        }
    }

    /// What stands in parentheses and outside, and is the same in brackets.
    fn common(&mut self, byte: u8) -> Option<Result<TokenKind, String>> {
        let kind = match byte {
            b',' => TokenKind::Comma,
            b'+' => TokenKind::Operator(BinaryOp::Add),
            b'-' => TokenKind::Operator(BinaryOp::Sub),
            b'*' => TokenKind::Operator(BinaryOp::Mul),
            b'/' => TokenKind::Operator(BinaryOp::Div),
            b'%' => TokenKind::Operator(BinaryOp::Mod),
            b'^' => TokenKind::Operator(BinaryOp::Pow),
            b'(' => {
                self.parens += 1;
                TokenKind::LeftParen
            }
            b')' if self.parens == 0 => return Some(Err("unexpected right parenthesis ')'".to_owned())),
            b')' => {
                self.parens -= 1;
                TokenKind::RightParen
            }
            b'0'..=b'9' => return Some(self.number_or_duration()),
            b'.' if self.text.as_bytes().get(self.at + 1).is_some_and(u8::is_ascii_digit) => {
                return Some(self.number_or_duration());
            }
            _ => return None,
        };
        self.at += 1;
        Some(Ok(kind))
    }

    fn outside(&mut self, byte: u8) -> Result<TokenKind, String> {
        if let Some(token) = self.common(byte) {
            return token;
        }
        if is_word_start(byte) || byte == b':' {
            return Ok(self.word());
        }
        let here = self.here();
        let (kind, length) = match (byte, self.text.as_bytes().get(self.at + 1)) {
            (b'=', Some(b'=')) => (TokenKind::Operator(BinaryOp::Equal), 2),
            (b'=', Some(b'~')) => return Err("unexpected character after '=': '~'".to_owned()),
            (b'=', _) => (TokenKind::Assign, 1),
            (b'!', Some(b'=')) => (TokenKind::Operator(BinaryOp::NotEqual), 2),
            (b'!', _) => {
                self.at += 1;
                return Err(format!("unexpected character after '!': {:?}", self.here()));
            }
            (b'<', Some(b'=')) => (TokenKind::Operator(BinaryOp::LessEqual), 2),
            (b'<', Some(b'/')) => (TokenKind::Operator(BinaryOp::TrimUpper), 2),
            (b'<', _) => (TokenKind::Operator(BinaryOp::Less), 1),
            (b'>', Some(b'=')) => (TokenKind::Operator(BinaryOp::GreaterEqual), 2),
            (b'>', Some(b'/')) => (TokenKind::Operator(BinaryOp::TrimLower), 2),
            (b'>', _) => (TokenKind::Operator(BinaryOp::Greater), 1),
            (b'{', _) => {
                self.braces = true;
                (TokenKind::LeftBrace, 1)
            }
            (b'[', _) => {
                self.brackets = true;
                (TokenKind::LeftBracket, 1)
            }
            (b']', _) => return Err("unexpected right bracket ']'".to_owned()),
            (b'@', _) => (TokenKind::At, 1),
            _ => return Err(format!("unexpected character: {here:?}")),
        };
        self.at += length;
        Ok(kind)
    }

    /// A word, a name of a metric with colons in it, or a name of a function.
    fn word(&mut self) -> TokenKind {
        let start = self.at;
        self.accept_while(|byte| is_word(byte) || byte == b':');
        let text = &self.text[start..self.at];
        match word(text) {
            // Only before a parenthesis, so that a metric can be called so.
            Some(TokenKind::Keyword(Keyword::Fill | Keyword::FillLeft | Keyword::FillRight))
                if !self.rest().trim_start_matches([' ', '\t', '\n', '\r']).starts_with('(') =>
            {
                TokenKind::Identifier
            }
            Some(kind) => kind,
            None if text.contains(':') => TokenKind::MetricIdentifier,
            None => TokenKind::Identifier,
        }
    }

    fn in_braces(&mut self, byte: u8) -> Result<TokenKind, String> {
        if is_word_start(byte) {
            self.accept_while(is_word);
            return Ok(TokenKind::Identifier);
        }
        let here = self.here();
        let (kind, length) = match (byte, self.text.as_bytes().get(self.at + 1)) {
            (b',', _) => (TokenKind::Comma, 1),
            (b'=', Some(b'~')) => (TokenKind::MatchRegex, 2),
            (b'=', _) => (TokenKind::Assign, 1),
            (b'!', Some(b'~')) => (TokenKind::MatchNotRegex, 2),
            (b'!', Some(b'=')) => (TokenKind::Operator(BinaryOp::NotEqual), 2),
            (b'!', _) => {
                self.at += 1;
                return Err(format!("unexpected character after '!' inside braces: {:?}", self.here()));
            }
            (b'{', _) => return Err("unexpected left brace '{'".to_owned()),
            (b'}', _) => {
                self.braces = false;
                (TokenKind::RightBrace, 1)
            }
            _ => return Err(format!("unexpected character inside braces: {here:?}")),
        };
        self.at += length;
        Ok(kind)
    }

    fn in_brackets(&mut self, byte: u8) -> Result<TokenKind, String> {
        if let Some(token) = self.common(byte) {
            return token;
        }
        if is_word_start(byte) {
            let start = self.at;
            self.accept_while(is_word_start);
            return match word(&self.text[start..self.at]) {
                Some(kind @ TokenKind::Keyword(Keyword::Step | Keyword::Range | Keyword::MaxOf | Keyword::MinOf)) => {
                    Ok(kind)
                }
                _ => Err(format!("unexpected character in duration expression: {:?}", byte as char)),
            };
        }
        let here = self.here();
        let kind = match byte {
            b':' => TokenKind::Colon,
            b']' => {
                self.brackets = false;
                TokenKind::RightBracket
            }
            b'[' => return Err("unexpected left bracket '['".to_owned()),
            _ => return Err(format!("unexpected character in duration expression: {here:?}")),
        };
        self.at += 1;
        Ok(kind)
    }

    fn string(&mut self, quote: u8) -> Result<TokenKind, String> {
        let mut bytes = self.rest().bytes().enumerate().skip(1);
        while let Some((at, byte)) = bytes.next() {
            match byte {
                byte if byte == quote => {
                    self.at += at + 1;
                    return Ok(TokenKind::String);
                }
                b'\\' if quote != b'`' => {
                    bytes.next();
                }
                b'\n' if quote != b'`' => break,
                _ => {}
            }
        }
        Err(if quote == b'`' { "unterminated raw string" } else { "unterminated quoted string" }.to_owned())
    }

    fn number_or_duration(&mut self) -> Result<TokenKind, String> {
        let start = self.at;
        if self.number() {
            return Ok(TokenKind::Number);
        }
        self.at = start;
        self.accept_while(|byte| byte.is_ascii_digit());
        if self.duration() {
            return Ok(TokenKind::Duration);
        }
        self.accept_while(is_word);
        Err(format!("bad number or duration syntax: {:?}", &self.text[start..self.at]))
    }

    /// After the first digits: a unit, then more digits and units. Whether it is a duration is seen when it is read.
    fn duration(&mut self) -> bool {
        loop {
            if !self.accept(b"smhdwy") {
                return false;
            }
            self.accept(b"s");
            if !self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
                return !self.peek().is_some_and(is_word);
            }
            self.accept_while(|byte| byte.is_ascii_digit());
        }
    }

    /// A number: decimal with or without a fraction and an exponent, hexadecimal, octal; `_` between digits.
    fn number(&mut self) -> bool {
        let start = self.at;
        let hexadecimal = self.accept(b"0") && self.accept(b"xX");
        let digits: &[u8] = if hexadecimal { b"0123456789abcdefABCDEF" } else { b"0123456789" };
        if hexadecimal {
            self.accept(b"_");
            if !self.peek().is_some_and(|byte| digits.contains(&byte)) {
                return false;
            }
        } else {
            self.at = start;
        }
        let (mut point, mut exponent) = (false, false);
        loop {
            if self.accept(digits) {
                continue;
            }
            if self.accept(b"_") {
                if !self.peek().is_some_and(|byte| digits.contains(&byte)) {
                    return false;
                }
            } else if self.accept(b".") {
                if point || exponent || hexadecimal || self.accept(b"_.") {
                    return false;
                }
                point = true;
            } else if !hexadecimal && self.accept(b"eE") {
                self.accept(b"+-");
                if exponent || !self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
                    return false;
                }
                exponent = true;
            } else {
                return self.at > start && !self.peek().is_some_and(is_word);
            }
        }
    }
}

/// What a number token is worth; nothing where it is too great.
pub(crate) fn number(text: &str) -> Option<f64> {
    if text.eq_ignore_ascii_case("inf") {
        return Some(f64::INFINITY);
    }
    if text.eq_ignore_ascii_case("nan") {
        return Some(f64::NAN);
    }
    let plain = text.replace('_', "");
    let integer = |digits: &str, radix| i64::from_str_radix(digits, radix).ok().map(|number| number as f64);
    if let Some(digits) = plain.strip_prefix("0x").or_else(|| plain.strip_prefix("0X")) {
        return integer(digits, 16);
    }
    // As in Go, a zero in front makes it octal, unless it is a number that way only.
    if plain.len() > 1
        && plain.starts_with('0')
        && let Some(number) = integer(&plain, 8)
    {
        return Some(number);
    }
    plain.parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<TokenKind> {
        lex(text).into_iter().map(|token| token.kind).collect()
    }

    #[test]
    fn words_are_names_in_braces() {
        use TokenKind::{Aggregate, Assign, End, Identifier, LeftBrace, RightBrace, String};
        assert_eq!(
            kinds("sum{by='x'}"),
            [Aggregate(AggregateOp::Sum), LeftBrace, Identifier, Assign, String, RightBrace, End]
        );
    }

    #[test]
    fn a_metric_may_be_called_fill() {
        assert_eq!(kinds("fill"), [TokenKind::Identifier, TokenKind::End]);
        assert_eq!(kinds("fill (")[0], TokenKind::Keyword(Keyword::Fill));
    }

    #[test]
    fn numbers_and_durations_are_told_apart() {
        for text in ["1", ".5", "1.", "1e3", "1e-3", "0x1F", "0X_1f", "1_000", "017", "inf", "NaN"] {
            assert_eq!(kinds(text), [TokenKind::Number, TokenKind::End], "{text}");
        }
        for text in ["5m", "1h30m", "10ms", "1m1h"] {
            assert_eq!(kinds(text), [TokenKind::Duration, TokenKind::End], "{text}");
        }
        for text in ["1..2", "1e", "1_", "0x", "5mm", "1x", "1.5m", "1__0"] {
            assert!(matches!(lex(text)[0].kind, TokenKind::Error(_)), "{text}");
        }
    }

    #[test]
    fn numbers_are_worth_what_they_say() {
        assert_eq!(number("0x1F"), Some(31.0));
        assert_eq!(number("017"), Some(15.0));
        assert_eq!(number("08"), Some(8.0));
        assert_eq!(number("1_000.5"), Some(1000.5));
        assert_eq!(number("1e400"), None);
    }

    #[test]
    fn spans_are_bytes_without_the_blank_around() {
        let tokens = lex("  up # ü\n + 1");
        assert_eq!(tokens[0].span, Span::new(2, 4));
        assert_eq!(tokens[1].span, Span::new(11, 12));
    }
}
