//! Reads the part of PromQL that the dashboard and the alert rules use, with Grafana's variables in it. What it does
//! not know is an error, so that nothing goes unchecked. The language:
//! <https://prometheus.io/docs/prometheus/latest/querying/basics/>.

/// An expression.
#[derive(Debug, PartialEq)]
pub(super) enum Expr {
    Number,
    Selector(Selector),
    Call {
        function: String,
        arguments: Vec<Expr>,
    },
    Aggregation {
        grouping: Grouping,
        argument: Box<Expr>,
    },
    Binary {
        operator: String,
        on: Option<Vec<String>>,
        left: Box<Expr>,
        right: Box<Expr>,
    },
}

/// Series of one metric.
#[derive(Debug, PartialEq)]
pub(super) struct Selector {
    pub(super) name: String,
    pub(super) matchers: Vec<Matcher>,
    /// Whether it is about a span of time: `[5m]`.
    pub(super) is_range: bool,
}

/// What a label has to be.
#[derive(Debug, PartialEq)]
pub(super) struct Matcher {
    pub(super) label: String,
    pub(super) operator: String,
    pub(super) value: String,
}

/// Which labels an aggregation keeps.
#[derive(Debug, PartialEq)]
pub(super) enum Grouping {
    By(Vec<String>),
    Without(Vec<String>),
}

const AGGREGATIONS: &[&str] = &["avg", "count", "max", "min", "sum"];

/// Binary operators, the loosest first.
const OPERATORS: &[&[&str]] = &[
    &["or"],
    &["and", "unless"],
    &["==", "!=", "<=", ">=", "<", ">"],
    &["+", "-"],
    &["*", "/"],
];

/// Signs, the longer of two that begin alike first.
const SIGNS: &[&str] = &[
    "==", "!=", "<=", ">=", "=~", "!~", "<", ">", "=", "+", "-", "*", "/", "(", ")", "{", "}", "[",
    "]", ",",
];

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    /// A number, a duration or a variable of Grafana's.
    Amount(String),
    Text(String),
    Sign(&'static str),
}

/// Reads a whole expression.
pub(super) fn parse(text: &str) -> Result<Expr, String> {
    let mut reader = Reader {
        tokens: tokens(text)?,
        next: 0,
    };
    let expr = reader.binary(0)?;
    match reader.peek() {
        None => Ok(expr),
        Some(token) => Err(format!("{token:?} does not belong there")),
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        let length = |is_part: &dyn Fn(char) -> bool| {
            let tail = rest[1..].find(|c| !is_part(c));
            tail.map_or(rest.len(), |length| length + 1)
        };
        let taken = if first == '"' {
            let end = rest[1..].find('"').ok_or("a text without an end")?;
            tokens.push(Token::Text(rest[1..=end].to_owned()));
            end + 2
        } else if first.is_ascii_digit() || first == '$' {
            let length = length(&|c| is_word(c) || c == '.');
            tokens.push(Token::Amount(rest[..length].to_owned()));
            length
        } else if is_word(first) {
            let length = length(&is_word);
            tokens.push(Token::Word(rest[..length].to_owned()));
            length
        } else {
            let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
            let sign = sign.ok_or_else(|| format!("what is {first:?}?"))?;
            tokens.push(Token::Sign(sign));
            sign.len()
        };
        rest = rest[taken..].trim_start();
    }
    Ok(tokens)
}

struct Reader {
    tokens: Vec<Token>,
    next: usize,
}

impl Reader {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next)
    }

    fn take(&mut self) -> Result<Token, String> {
        let token = self.peek().cloned().ok_or("it ends too early")?;
        self.next += 1;
        Ok(token)
    }

    /// Takes a sign or a word if it comes next.
    fn takes(&mut self, wanted: &str) -> bool {
        let comes = match self.peek() {
            Some(Token::Sign(sign)) => *sign == wanted,
            Some(Token::Word(word)) => word == wanted,
            _ => false,
        };
        self.next += usize::from(comes);
        comes
    }

    fn expect(&mut self, wanted: &str) -> Result<(), String> {
        if self.takes(wanted) {
            return Ok(());
        }
        Err(format!("{wanted} instead of {:?}", self.peek()))
    }

    fn word(&mut self) -> Result<String, String> {
        match self.take()? {
            Token::Word(word) => Ok(word),
            token => Err(format!("a name instead of {token:?}")),
        }
    }

    fn amount(&mut self) -> Result<(), String> {
        match self.take()? {
            Token::Amount(_) => Ok(()),
            token => Err(format!("a number instead of {token:?}")),
        }
    }

    fn binary(&mut self, level: usize) -> Result<Expr, String> {
        let Some(operators) = OPERATORS.get(level) else {
            return self.operand();
        };
        let mut left = self.binary(level + 1)?;
        while let Some(operator) = operators.iter().find(|operator| self.takes(operator)) {
            let on = if self.takes("on") {
                Some(self.names()?)
            } else {
                None
            };
            left = Expr::Binary {
                operator: (*operator).to_owned(),
                on,
                left: Box::new(left),
                right: Box::new(self.binary(level + 1)?),
            };
        }
        Ok(left)
    }

    fn operand(&mut self) -> Result<Expr, String> {
        if self.takes("(") {
            let inner = self.binary(0)?;
            self.expect(")")?;
            return Ok(inner);
        }
        if matches!(self.peek(), Some(Token::Amount(_))) {
            self.amount()?;
            return Ok(Expr::Number);
        }
        let name = self.word()?;
        if AGGREGATIONS.contains(&name.as_str()) {
            return self.aggregation();
        }
        if self.takes("(") {
            let arguments = self.list(")", |reader| reader.binary(0))?;
            return Ok(Expr::Call {
                function: name,
                arguments,
            });
        }
        self.selector(name).map(Expr::Selector)
    }

    fn aggregation(&mut self) -> Result<Expr, String> {
        let grouping = if self.takes("by") {
            Grouping::By(self.names()?)
        } else if self.takes("without") {
            Grouping::Without(self.names()?)
        } else {
            Grouping::By(Vec::new())
        };
        self.expect("(")?;
        let argument = Box::new(self.binary(0)?);
        self.expect(")")?;
        Ok(Expr::Aggregation { grouping, argument })
    }

    fn selector(&mut self, name: String) -> Result<Selector, String> {
        let matchers = if self.takes("{") {
            self.list("}", Self::matcher)?
        } else {
            Vec::new()
        };
        let is_range = self.takes("[");
        if is_range {
            self.amount()?;
            self.expect("]")?;
        }
        if self.takes("offset") {
            self.amount()?;
        }
        Ok(Selector {
            name,
            matchers,
            is_range,
        })
    }

    fn matcher(&mut self) -> Result<Matcher, String> {
        let label = self.word()?;
        let operators = ["=", "!=", "=~", "!~"];
        let operator = operators.into_iter().find(|operator| self.takes(operator));
        let operator = operator.ok_or_else(|| format!("no operator behind {label}"))?;
        match self.take()? {
            Token::Text(value) => Ok(Matcher {
                label,
                operator: operator.to_owned(),
                value,
            }),
            token => Err(format!("a text instead of {token:?}")),
        }
    }

    fn names(&mut self) -> Result<Vec<String>, String> {
        self.expect("(")?;
        self.list(")", Self::word)
    }

    fn list<T>(
        &mut self,
        end: &str,
        item: impl Fn(&mut Self) -> Result<T, String>,
    ) -> Result<Vec<T>, String> {
        let mut items = Vec::new();
        while !self.takes(end) {
            if !items.is_empty() {
                self.expect(",")?;
            }
            items.push(item(self)?);
        }
        Ok(items)
    }
}
