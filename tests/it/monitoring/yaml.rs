//! A file of YAML as a value of JSON in which every scalar is a text.

use saphyr_parser::Event;
use saphyr_parser::Parser;
use saphyr_parser::StrInput;
use serde_json::Map;
use serde_json::Value;

/// Reads a file of one document.
pub(super) fn parse(text: &str) -> Value {
    let mut parser = Parser::new_from_str(text);
    loop {
        match next(&mut parser) {
            Event::StreamStart | Event::DocumentStart(_) => {}
            event => return node(&mut parser, event),
        }
    }
}

fn next<'a>(parser: &mut Parser<'a, StrInput<'a>>) -> Event<'a> {
    parser.next_event().unwrap().unwrap().0
}

fn node<'a>(parser: &mut Parser<'a, StrInput<'a>>, event: Event<'a>) -> Value {
    match event {
        Event::Scalar(text, ..) => Value::String(text.into_owned()),
        Event::SequenceStart(..) => {
            let mut items = Vec::new();
            loop {
                match next(parser) {
                    Event::SequenceEnd => return Value::Array(items),
                    event => items.push(node(parser, event)),
                }
            }
        }
        Event::MappingStart(..) => {
            let mut entries = Map::new();
            loop {
                let key = match next(parser) {
                    Event::MappingEnd => return Value::Object(entries),
                    Event::Scalar(key, ..) => key.into_owned(),
                    event => panic!("{event:?} is no key"),
                };
                let event = next(parser);
                let value = node(parser, event);
                assert!(entries.insert(key.clone(), value).is_none(), "{key} twice");
            }
        }
        event => panic!("{event:?} is not expected"),
    }
}
