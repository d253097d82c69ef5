//! The key tables as people read them: the reference file and the table in the documents.
//!
//! A test compares `conf/reference.yaml` and `docs/configuration.md` with what is written here.

use super::keys::ROOT;
use super::schema::Change;
use super::schema::Default;
use super::schema::Key;
use super::schema::Kind;
use super::schema::below;

const WIDTH: usize = 100;

const REFERENCE_HEAD: &str = "\
# Every key of s3proxy with its meaning. This file says what holds without it: only `origins` has no
# default. Check a file with `s3proxy -c FILE -t`.
#
# A key behind `#` is absent by default and shown with an example; remove the `#` of its line, or of
# all lines of its block, to set it. `##` is the same once more, within a block behind `#`.
";

/// The whole of `conf/reference.yaml`.
pub fn reference_yaml() -> String {
    let mut writer = Reference {
        out: REFERENCE_HEAD.to_owned(),
        shown: Vec::new(),
    };
    writer.keys(ROOT, 0, 0);
    writer.out
}

/// The table in `docs/configuration.md`: key, value, default, what a change takes, meaning.
pub fn key_table() -> String {
    let mut out = String::from(
        "| key | value | default | a change takes | meaning |\n|---|---|---|---|---|\n",
    );
    write_rows(&mut out, &mut Vec::new(), ROOT, ("", Change::Reload));
    out
}

fn write_rows(
    out: &mut String,
    shown: &mut Vec<Shown>,
    keys: &'static [Key],
    (path, above): (&str, Change),
) {
    for key in keys {
        let full = below(path, key.name);
        let inner = key.kind.keys();
        let earlier = shown.iter().find(|table| table.is(inner));
        let mut meaning = match &key.kind {
            Kind::Refused(reason) => format!("Not taken; {reason}."),
            _ => key.meaning.to_owned(),
        };
        if let Some(earlier) = earlier {
            meaning = format!("{meaning} Keys as in `{}`.", earlier.path);
        }
        let is_known = earlier.is_some();
        let (value, default) = (key.kind.expected(), default_cell(key));
        let change = key.change.below(above);
        let takes = match (change, &key.kind) {
            (_, Kind::Refused(_)) => "",
            (Change::Restart, _) => "restart",
            (Change::Inherited | Change::Reload, _) => "reload",
        };
        let row = format!("| `{full}` | {value} | {default} | {takes} | {meaning} |\n");
        out.push_str(&row);
        if !is_known && !inner.is_empty() {
            let path = format!("{full}{}", if key.kind.is_list() { "[]" } else { "" });
            shown.push(Shown {
                keys: inner,
                path: path.clone(),
            });
            write_rows(out, shown, inner, (&path, change));
        }
    }
}

fn default_cell(key: &Key) -> String {
    match (&key.default, &key.kind) {
        (_, Kind::Refused(_)) => "refused".to_owned(),
        (Default::Is(_), Kind::Section(_)) => "see its keys".to_owned(),
        (Default::Is(text), _) => format!("`{text}`"),
        (Default::Absent(_), _) => "absent".to_owned(),
        (Default::Required(_), _) => "**required**".to_owned(),
        (Default::Alternative(_), _) => "this or another".to_owned(),
    }
}

/// A table that has been written, and where: several keys share one.
struct Shown {
    keys: &'static [Key],
    path: String,
}

impl Shown {
    /// Constants have no address of their own, so tables are the same when they say the same.
    fn is(&self, keys: &[Key]) -> bool {
        let says = |keys: &[Key]| -> Vec<_> { keys.iter().map(|k| (k.name, k.meaning)).collect() };
        !keys.is_empty() && says(self.keys) == says(keys)
    }
}

struct Reference {
    out: String,
    shown: Vec<Shown>,
}

impl Reference {
    /// Writes keys, `off` of them behind that many `#`.
    fn keys(&mut self, keys: &'static [Key], indent: usize, off: usize) {
        for key in keys {
            if matches!(key.kind, Kind::Refused(_)) {
                continue;
            }
            if indent == 0 {
                self.out.push('\n');
            }
            self.comment(key, indent, off);
            match key.default {
                Default::Absent(text) => self.key(key, text, indent, off + 1),
                Default::Is(text) | Default::Required(text) | Default::Alternative(text) => {
                    self.key(key, text, indent, off);
                }
            }
        }
    }

    fn key(&mut self, key: &'static Key, text: &str, indent: usize, off: usize) {
        let inner = key.kind.keys();
        let is_block = match &key.kind {
            Kind::List(_) => !inner.is_empty() && text != "[]",
            Kind::Section(_) | Kind::OneOf(_) => true,
            _ => false,
        };
        if is_block {
            self.block(key, indent, off);
            return;
        }
        self.line(&format!("{}: {text}", key.name), indent, off);
        if !inner.is_empty() && !self.shown.iter().any(|table| table.is(inner)) {
            self.block(key, indent, off + 1);
        }
    }

    fn block(&mut self, key: &'static Key, indent: usize, off: usize) {
        let keys = key.kind.keys();
        let path = String::new();
        self.shown.push(Shown { keys, path });
        self.line(&format!("{}:", key.name), indent, off);
        if key.kind.is_list() {
            self.line("-", indent + 2, off);
            self.keys(keys, indent + 4, off);
        } else {
            self.keys(keys, indent + 2, off);
        }
    }

    fn line(&mut self, text: &str, indent: usize, off: usize) {
        let line = format!("{}{}{text}\n", "#".repeat(off), " ".repeat(indent));
        self.out.push_str(&line);
    }

    fn comment(&mut self, key: &Key, indent: usize, off: usize) {
        let required = match key.default {
            Default::Required(_) => "Required. ",
            _ => "",
        };
        let values = match &key.kind {
            Kind::Word(_) => format!(" One of {}.", key.kind.expected()),
            Kind::List(item) if matches!(item, Kind::Word(_)) => {
                format!(" Each {}.", item.expected())
            }
            _ => String::new(),
        };
        let text = format!("{required}{}{values}", key.meaning);
        let mut line = String::from("#");
        for word in text.split_whitespace() {
            if off + indent + line.len() + 1 + word.len() > WIDTH {
                self.line(&line, indent, off);
                line.truncate(1);
            }
            line.push(' ');
            line.push_str(word);
        }
        self.line(&line, indent, off);
    }
}
