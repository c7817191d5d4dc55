//! Text of an expression into tokens.

use super::error::ExpressionError;

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum TokenKind {
    /// A name, or a word such as `in`.
    Name(String),
    /// A number, as it is written.
    Number(String),
    /// Text in quotes, without them.
    Text(String),
    /// An operator or a bracket.
    Sign(&'static str),
    /// Nothing follows.
    End,
}

/// A token and where it stands, in bytes.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Longer ones first.
const SIGNS: [&str; 20] =
    ["==", "!=", "<=", ">=", "&&", "||", "<", ">", "!", "(", ")", "[", "]", ",", ".", "+", "-", "*", "/", "%"];

pub(super) fn tokens(text: &str) -> Result<Vec<Token>, ExpressionError> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let start = at;
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let kind = if first.is_ascii_digit() {
            at += number_length(&text[at..]);
            TokenKind::Number(text[start..at].to_owned())
        } else if first.is_alphabetic() || first == '_' {
            at += text[at..].find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len() - at);
            TokenKind::Name(text[start..at].to_owned())
        } else if first == '"' || first == '\'' {
            let (value, length) = quoted(&text[at..], first, start)?;
            at += length;
            TokenKind::Text(value)
        } else if let Some(sign) = SIGNS.iter().find(|sign| text[at..].starts_with(**sign)) {
            at += sign.len();
            TokenKind::Sign(sign)
        } else {
            let remedy = match first {
                '=' => "; equality is `==`",
                '&' => "; both conditions is `&&`",
                '|' => "; either condition is `||`",
                '~' => "; a pattern is tried with `matches`",
                _ => "",
            };
            return Err(ExpressionError::new(start, first.len_utf8(), format!("{first:?} means nothing here{remedy}")));
        };
        found.push(Token { kind, start, end: at });
    }
    found.push(Token { kind: TokenKind::End, start: text.len(), end: text.len() });
    Ok(found)
}

/// Digits, a fraction, an exponent.
fn number_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut length = digits(0);
    if bytes.get(length) == Some(&b'.') && digits(length + 1) > 0 {
        length += 1 + digits(length + 1);
    }
    if matches!(bytes.get(length), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(length + 1), Some(b'+' | b'-')));
        let exponent = bytes.get(length + 1 + sign..).map_or(0, |_| digits(length + 1 + sign));
        if exponent > 0 {
            length += 1 + sign + exponent;
        }
    }
    length
}

fn quoted(text: &str, quote: char, start: usize) -> Result<(String, usize), ExpressionError> {
    let mut value = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 't')) => value.push('\t'),
                Some((_, next)) if next == quote || next == '\\' => value.push(next),
                // As in patterns: `\d` stays what it is.
                Some((_, next)) => value.extend(['\\', next]),
                None => break,
            },
            _ if character == quote => return Ok((value, at + 1)),
            _ => value.push(character),
        }
    }
    Err(ExpressionError::new(start, text.len(), format!("text is not ended; close it with {quote}")))
}
